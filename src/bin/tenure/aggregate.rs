//! `tenure scan --aggregate`: how much there is, by groups of customers who are enough.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tenure::report::{Aggregate, CROWD, Facet, Tally};

use crate::cli::{Format, Global};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::words::{bytes, count, counted};

#[derive(Args)]
pub struct AggregateArgs {
    /// Instead of records, print how many there are and how many bytes, by groups of so many customers that nobody stands
    /// out. Goes over the whole store, whatever it is asked.
    #[arg(long, conflicts_with_all = ["class", "jurisdiction", "from", "until"])]
    pub aggregate: bool,
    /// What the groups are told apart by [default: class,jurisdiction].
    #[arg(long, value_name = "WHAT", value_delimiter = ',', requires = "aggregate")]
    pub by: Vec<By>,
    /// The fewest customers of a group: 20, or more.
    #[arg(long, value_name = "COUNT", requires = "aggregate", value_parser = clap::value_parser!(u64).range(CROWD..))]
    pub k: Option<u64>,
}

/// What groups are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum By {
    /// What kind of data.
    Class,
    /// Whose law.
    Jurisdiction,
    /// The year of the event.
    Year,
    /// The month of the event.
    Month,
}

impl From<By> for Facet {
    fn from(by: By) -> Self {
        match by {
            By::Class => Facet::Class,
            By::Jurisdiction => Facet::Jurisdiction,
            By::Year => Facet::Year,
            By::Month => Facet::Month,
        }
    }
}

pub fn aggregate(global: &Global, args: &AggregateArgs, threads: usize, output: &mut Output) -> Outcome {
    let mut by: Vec<Facet> = Vec::new();
    let usual = [By::Class, By::Jurisdiction];
    for facet in if args.by.is_empty() { &usual[..] } else { &args.by } {
        if !by.contains(&(*facet).into()) {
            by.push((*facet).into());
        }
    }
    let aggregate = global.open_read_only()?.aggregate(&by, args.k.unwrap_or(CROWD), threads)?;
    print(&aggregate, output)?;
    Ok(Exit::Done)
}

fn print(aggregate: &Aggregate, output: &mut Output) -> Result<(), Failure> {
    let groups: Vec<Value> = aggregate.rows.iter().map(|row| object(aggregate, &row.labels, &row.tally)).collect();
    match output.format() {
        Format::Table => print_table(aggregate, output),
        Format::Json => output.document(json!({
            "by": aggregate.by.iter().map(|facet| facet.name()).collect::<Vec<_>>(),
            "k": aggregate.crowd,
            "groups": groups,
            "total": aggregate.total.map(|total| json!({ "records": total.records, "bytes": total.bytes })),
        })),
        Format::Jsonl => groups.iter().try_for_each(|group| output.line(group)),
        Format::Csv => {
            let columns: Vec<&str> =
                aggregate.by.iter().map(|facet| facet.name()).chain(["records", "bytes"]).collect();
            output.csv(&columns, &groups)
        }
    }
}

fn object(aggregate: &Aggregate, labels: &[Option<String>], tally: &Tally) -> Value {
    let mut object = Map::new();
    for (facet, label) in aggregate.by.iter().zip(labels) {
        object.insert(facet.name().into(), json!(label));
    }
    object.insert("records".into(), json!(tally.records));
    object.insert("bytes".into(), json!(tally.bytes));
    Value::Object(object)
}

/// Columns as wide as what stands in them: how many there are is not known before.
fn print_table(aggregate: &Aggregate, output: &mut Output) -> Result<(), Failure> {
    let Some(total) = aggregate.total else {
        let few = counted(aggregate.crowd, "customer");
        return output.line(format_args!("fewer than {few} in all: nothing is told of them"));
    };
    let heading: Vec<String> = aggregate.by.iter().map(|facet| facet.name().to_owned()).collect();
    let numbers = |tally: &Tally| [count(tally.records), bytes(tally.bytes)];
    let mut rows = vec![[heading, vec!["records".into(), "bytes".into()]].concat()];
    for row in &aggregate.rows {
        let labels: Vec<String> = row.labels.iter().map(|label| label.clone().unwrap_or("several".into())).collect();
        rows.push([labels, numbers(&row.tally).to_vec()].concat());
    }
    let mut last = vec![String::new(); aggregate.by.len()];
    if let Some(first) = last.first_mut() {
        "total".clone_into(first);
    }
    rows.push([last, numbers(&total).to_vec()].concat());
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..aggregate.by.len() + 2).map(width).collect();
    for row in &rows {
        let cell = |(column, text): (usize, &String)| match column < aggregate.by.len() {
            true => format!("{text:width$}", width = widths[column]),
            false => format!("{text:>width$}", width = widths[column]),
        };
        let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        output.line(line.trim_end())?;
    }
    if aggregate.rows.iter().any(|row| row.labels.contains(&None)) {
        let few = counted(aggregate.crowd, "customer");
        output.say(format_args!("'several' are groups of fewer than {few}, told together, with others where need be"));
    }
    Ok(())
}
