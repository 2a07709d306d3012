//! `tenure stats`: what is stored, per stream and partition.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure::report::{DictionaryStats, PartitionStats, Stats, Volume};

use crate::cli::{Format, Global};
use crate::failure::{Exit, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{bytes, count, counted};

const COLUMNS: [&str; 18] = [
    "class",
    "jurisdiction",
    "window",
    "records",
    "raw_bytes",
    "stored_bytes",
    "ratio",
    "segments",
    "first_day",
    "last_day",
    "deadline",
    "overdue",
    "window_end",
    "held",
    "dictionary",
    "dictionary_bytes",
    "dictionary_gain",
    "deferred",
];

/// Sums over partitions.
#[derive(Default)]
struct Sum {
    volume: Volume,
    overdue: u64,
}

impl Sum {
    fn add(&mut self, partition: &PartitionStats) {
        self.volume.add(&partition.into());
        self.overdue += u64::from(partition.overdue);
    }

    fn to_json(&self) -> Value {
        let mut value = volume_as_json(&self.volume);
        value["overdue"] = json!(self.overdue);
        value
    }
}

/// A volume for programs.
pub fn volume_as_json(volume: &Volume) -> Value {
    json!({
        "partitions": volume.partitions,
        "records": volume.records,
        "raw_bytes": volume.raw_bytes,
        "stored_bytes": volume.stored_bytes,
        "ratio": rounded(volume.ratio()),
    })
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn dictionary_json(dictionary: &DictionaryStats) -> Value {
    json!({
        "id": dictionary.id,
        "bytes": dictionary.bytes,
        "trained": dictionary.trained.to_string(),
        "plain_bytes": dictionary.plain_bytes,
        "with_bytes": dictionary.with_bytes,
        "gain": rounded(dictionary.gain()),
    })
}

fn partition_json(p: &PartitionStats) -> Value {
    let newest = p.dictionaries.last();
    json!({
        "class": p.partition.stream.class(),
        "jurisdiction": p.partition.stream.jurisdiction(),
        "window": p.partition.window.to_string(),
        "window_start": p.partition.window.start().to_string(),
        "window_end": p.partition.window.end().to_string(),
        "records": p.records,
        "raw_bytes": p.raw_bytes,
        "stored_bytes": p.stored_bytes,
        "ratio": rounded(p.ratio()),
        "segments": p.segments,
        "first_day": p.span.map(|span| span.0.to_string()),
        "last_day": p.span.map(|span| span.1.to_string()),
        "deadline": p.deadline.map(|deadline| deadline.to_string()),
        "overdue": p.overdue,
        "held": p.held,
        "deferred": p.deferred,
        "dictionary": newest.map(|dictionary| &dictionary.id),
        "dictionary_bytes": newest.map(|dictionary| dictionary.bytes),
        "dictionary_gain": newest.map(|dictionary| rounded(dictionary.gain())),
        "dictionaries": p.dictionaries.iter().map(dictionary_json).collect::<Vec<_>>(),
    })
}

pub fn stats(global: &Global, output: &mut Output) -> Outcome {
    let stats = global.open_read_only()?.stats()?;
    let mut total = Sum::default();
    let mut streams: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for partition in &stats.partitions {
        let stream = &partition.partition.stream;
        streams.entry((stream.class().into(), stream.jurisdiction().into())).or_default().add(partition);
        total.add(partition);
    }
    match output.format() {
        Format::Table => print_tables(&stats, &streams, &total, output)?,
        Format::Json => output.document(document(&stats, &streams, &total))?,
        Format::Jsonl => stats.partitions.iter().try_for_each(|p| output.line(partition_json(p)))?,
        Format::Csv => {
            let rows: Vec<Value> = stats.partitions.iter().map(partition_json).collect();
            output.csv(&COLUMNS, &rows)?;
        }
    }
    Ok(if total.overdue > 0 { Exit::Findings } else { Exit::Done })
}

fn document(stats: &Stats, streams: &BTreeMap<(String, String), Sum>, total: &Sum) -> Value {
    let streams: Vec<Value> = streams
        .iter()
        .map(|((class, jurisdiction), sum)| {
            let mut value = sum.to_json();
            value["class"] = json!(class);
            value["jurisdiction"] = json!(jurisdiction);
            value
        })
        .collect();
    json!({
        "store": stats.store,
        "customers": stats.customers,
        "total": total.to_json(),
        "streams": streams,
        "partitions": stats.partitions.iter().map(partition_json).collect::<Vec<_>>(),
        "journals": stats.journals,
        "journal_bytes": stats.journal_bytes,
        "keyring_bytes": stats.keyring_bytes,
        "ledger_leaves": stats.ledger_leaves,
        "ledger_root": stats.ledger_root,
        "opening": stats.opening,
    })
}

fn print_tables(
    stats: &Stats,
    streams: &BTreeMap<(String, String), Sum>,
    total: &Sum,
    output: &mut Output,
) -> Result<(), crate::failure::Failure> {
    let row = |name: String, Sum { volume, .. }: &Sum| {
        let (raw, stored) = (bytes(volume.raw_bytes), bytes(volume.stored_bytes));
        [name, count(volume.partitions), count(volume.records), raw, stored, format!("{:.2}x", volume.ratio())]
    };
    let mut sheet = Sheet::new(&["stream", "partitions#", "records#", "raw#", "stored#", "ratio#"]);
    for ((class, jurisdiction), sum) in streams {
        sheet.row(row(format!("{class}/{jurisdiction}"), sum));
    }
    sheet.row(row("total".into(), total));
    output.sheet(&sheet)?;

    if !stats.partitions.is_empty() {
        let mut sheet = Sheet::new(&[
            "partition",
            "records#",
            "raw#",
            "stored#",
            "ratio#",
            "segments#",
            "first event",
            "last event",
            "deadline",
            "dictionary",
        ]);
        for p in &stats.partitions {
            let day = |day: Option<tenure::Day>| day.map_or("-".into(), |day| day.to_string());
            sheet.row([
                p.partition.to_string(),
                count(p.records),
                bytes(p.raw_bytes),
                bytes(p.stored_bytes),
                format!("{:.2}x", p.ratio()),
                count(p.segments),
                day(p.span.map(|span| span.0)),
                day(p.span.map(|span| span.1)),
                deadline_in_words(p),
                dictionary_in_words(p),
            ]);
        }
        output.line("")?;
        output.sheet(&sheet)?;
    }

    output.line("")?;
    output.line(format_args!(
        "store      {}, opened for writing {} so far",
        stats.store,
        counted(stats.opening, "time")
    ))?;
    output.line(format_args!("customers  {}, keyring {}", count(stats.customers), bytes(stats.keyring_bytes)))?;
    let journal = format!("{}, {}", counted(stats.journals, "file"), bytes(stats.journal_bytes));
    output.line(format_args!("journal    {journal} not yet settled"))?;
    let leaves = counted(stats.ledger_leaves, "leaf");
    output.line(format_args!("ledger     {leaves}, root {}", stats.ledger_root))?;
    if total.overdue > 0 {
        output.say(format_args!("{} overdue: `tenure expire` lets go of them", counted(total.overdue, "partition")));
    }
    Ok(())
}

/// The dictionary in use: what it is called, how long it is, when it was trained and what it takes off a record.
fn dictionary_in_words(partition: &PartitionStats) -> String {
    partition.dictionaries.last().map_or("none".into(), |dictionary| {
        let (size, gain) = (bytes(dictionary.bytes), 100.0 * dictionary.gain());
        format!("{} {size} {} -{gain:.0} %", dictionary.id, dictionary.trained.day())
    })
}

fn deadline_in_words(partition: &PartitionStats) -> String {
    match (partition.deadline, partition.overdue) {
        (deadline, _) if partition.held > 0 => {
            let since = deadline.map_or(String::new(), |deadline| format!("{} ", deadline.day()));
            format!("{since}held: {}", counted(partition.held, "cell"))
        }
        (Some(deadline), _) if partition.deferred => format!("{} held: all of it", deadline.day()),
        (None, _) => "none".into(),
        (Some(deadline), false) => deadline.day().to_string(),
        (Some(deadline), true) => format!("{} OVERDUE", deadline.day()),
    }
}
