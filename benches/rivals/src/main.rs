//! Tenure beside the engines one would pick instead: same records, same cores, in turns.
//!
//! See README.md for what is measured and how, and for what would be unfair to conclude from it.

mod charts;
mod codec;
mod corpus;
mod engines;
/// Invented chats, the same as those that dictionaries are judged by.
#[path = "../../dictionary/generated.rs"]
#[expect(dead_code, reason = "nothing here looks for what is planted in them")]
mod generated;
mod meters;
mod page;
mod plan;
mod ratios;
mod records;
mod report;
mod results;
mod subjects;
mod work;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Any failure: a benchmark that fails has nothing to recover.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many cores there are to work on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[derive(Parser)]
#[command(about, version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    wish: Wish,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What is wished for.
#[derive(Args, Clone)]
pub struct Wish {
    /// The figures that budgets are judged by, in five minutes (the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every rival, every measurement: about 25 minutes
    #[arg(long)]
    full: bool,
    /// Real transcripts in Tenure's ingest form, .jsonl or .jsonl.zst; otherwise they are invented
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Write everything as JSON, ending with one object `ratios`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw charts (SVG) into this directory
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Write the tables between the marks `<!-- NAME -->` and `<!-- /NAME -->` of this page anew
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Where stores are made: a directory on the disk to be measured
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/scratch"))]
    scratch: PathBuf,
    /// Only these measurements; the curves of `scale` are made when asked for alone
    #[arg(long, value_delimiter = ',', value_parser = plan::PARTS)]
    only: Vec<String>,
    /// Only subjects whose label contains one of these
    #[arg(long, value_delimiter = ',', value_name = "WORD")]
    subjects: Vec<String>,
    /// Interleaved repetitions of everything
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
    /// How long one ingest takes; everything else that is timed takes a share of that
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// Records and customers of the curves, each RECORDS/CUSTOMERS, instead of six sizes up to 10^7 of both
    #[arg(long, value_delimiter = ',', value_parser = plan::size)]
    sizes: Vec<(u64, u64)>,
}

#[derive(Subcommand)]
enum Child {
    /// One measurement in a process of its own (used by the program itself)
    #[command(hide = true)]
    Child { task: String },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Child::Child { task }) = arguments.child {
        return work::child(&task);
    }
    let wish = arguments.wish;
    let results = plan::Plan::of(&wish)?.run()?;
    let ratios = ratios::ratios(&results);
    print!("{}", report::text(&results, &ratios));
    if let Some(file) = &wish.json {
        std::fs::write(file, report::json(&results, &ratios)?)?;
    }
    if let Some(dir) = &wish.charts {
        charts::draw(&results, dir)?;
    }
    if let Some(file) = &wish.page {
        std::fs::write(file, page::written_anew(&std::fs::read_to_string(file)?, &results, &ratios)?)?;
    }
    Ok(())
}
