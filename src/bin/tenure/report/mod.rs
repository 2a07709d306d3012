//! `tenure report`: where a store stands by its policy, for whoever answers for it. It names nobody.

mod document;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use tenure::Timestamp;
use tenure::report::{CROWD, Report, ReportOptions};

use crate::cli::{Format, Global, parse_time};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{bytes, count};

#[derive(Args)]
pub struct ReportArgs {
    /// Write it as one self-contained HTML page; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The fewest customers of a group that anything is told of: 20, or more.
    #[arg(long, value_name = "COUNT", default_value_t = CROWD, value_parser = clap::value_parser!(u64).range(CROWD..))]
    k: u64,
    /// Judge by this time instead of the present: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    now: Option<Timestamp>,
}

pub fn report(global: &Global, args: &ReportArgs, output: &mut Output) -> Outcome {
    let report = global.open_read_only()?.report(&ReportOptions { crowd: args.k, now: args.now })?;
    match (&args.out, output.format()) {
        (Some(file), _) if file == Path::new("-") => output.bytes(page::page(&report)?.as_bytes())?,
        (Some(file), format) => {
            write(file, &page::page(&report)?)?;
            match format {
                Format::Table => output.say(format_args!("wrote {}", file.display())),
                _ => print(&report, output)?,
            }
        }
        (None, _) => print(&report, output)?,
    }
    let bad = report.is_overdue() || !report.damage.is_empty();
    Ok(if bad { Exit::Findings } else { Exit::Done })
}

/// Puts the page where an older one may be, in one step: whoever opens it sees the one or the other.
fn write(file: &Path, page: &str) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(".unfinished");
    let unfinished = PathBuf::from(name);
    let written = fs::write(&unfinished, page).and_then(|()| fs::rename(&unfinished, file));
    written.map_err(|error| Failure::file("write", file, &error))
}

fn print(report: &Report, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json | Format::Jsonl => output.document(document::document(report)),
        Format::Csv => output.csv(&document::COLUMNS, &document::rows(report)),
        Format::Table => print_words(report, output),
    }
}

/// The sentences of the page, and the numbers of it that tell what is to be done.
fn print_words(report: &Report, output: &mut Output) -> Result<(), Failure> {
    page::sentences(report).iter().try_for_each(|sentence| output.line(sentence))?;
    let several = || "several".to_owned();
    let mut due = Sheet::new(&["falls due", "records#", "stored#"]);
    for slice in &report.due {
        let volume = &slice.volume;
        due.row([slice.of.map_or_else(several, document::when), count(volume.records), bytes(volume.stored_bytes)]);
    }
    let mut scheduled = Sheet::new(&["what ends customer by customer", "customers#"]);
    page::scheduled(report).into_iter().for_each(|(when, customers)| scheduled.row([when, customers]));
    let mut acts = Sheet::new(&["what was let go of", "how many#", "stage now"]);
    for one in &report.acts {
        let (verb, stages) = page::verb_and_stages(one);
        acts.row([verb.into(), count(one.count), stages]);
    }
    for sheet in [due, scheduled, volumes(report), acts].iter().filter(|sheet| !sheet.is_empty()) {
        output.line("")?;
        output.sheet(sheet)?;
    }
    Ok(())
}

fn volumes(report: &Report) -> Sheet {
    let mut sheet = Sheet::new(&["class", "jurisdiction", "records#", "raw#", "stored#", "ratio#"]);
    let several = || "several".to_owned();
    for stream in &report.streams {
        let volume = &stream.volume;
        sheet.row([
            stream.class.clone().unwrap_or_else(several),
            stream.jurisdiction.clone().unwrap_or_else(several),
            count(volume.records),
            bytes(volume.raw_bytes),
            bytes(volume.stored_bytes),
            format!("{:.2}x", volume.ratio()),
        ]);
    }
    sheet
}
