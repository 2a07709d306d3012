//! The report as a document for programs.

use serde_json::{Value, json};
use tenure::report::{ActsReport, Age, Due, Report, RowDue, Slice, Times, Volume};
use tenure::{Day, PartitionId, Timestamp};

use crate::stats::volume_as_json as volume;
use crate::verify;

pub const COLUMNS: [&str; 7] = ["class", "jurisdiction", "partitions", "records", "raw_bytes", "stored_bytes", "ratio"];

/// The report as one document. `null` in the place of a name: several, each too small to be told by itself.
pub fn document(report: &Report) -> Value {
    json!({
        "store": report.store,
        "now": report.now.to_string(),
        "k": report.crowd,
        "policy_version": report.policy,
        "customers": report.customers,
        "total": report.total.as_ref().map(volume),
        "overdue": report.overdue.iter().map(|one| due_partition(&one.partition, one.deadline, one.volume)).collect::<Vec<_>>(),
        "rows_overdue": report.rows_overdue,
        "notices": report.notices.iter().map(|one| {
            let mut row = due_partition(&one.partition, one.deadline, one.volume);
            row["since"] = json!(one.since.to_string());
            row
        }).collect::<Vec<_>>(),
        "scheduled": report.scheduled.iter().map(|one| json!({
            "when": one.due.map(row_when), "restricted": one.restricted, "customers": one.customers,
        })).collect::<Vec<_>>(),
        "due": slices(&report.due, "when", |due| json!(when(*due))),
        "streams": report.streams.iter().map(|stream| {
            let mut row = volume(&stream.volume);
            row["class"] = json!(stream.class);
            row["jurisdiction"] = json!(stream.jurisdiction);
            row["months"] = Value::Array(months(&stream.months));
            row
        }).collect::<Vec<_>>(),
        "months": months(&report.months),
        "ages": slices(&report.ages, "age", |age: &Age| json!({
            "from_months": age.from_months, "until_months": age.until_months,
        })),
        "holds": {
            "standing": report.holds.standing,
            "oldest": report.holds.oldest.map(|at: Timestamp| at.to_string()),
            "partitions": report.holds.partitions,
        },
        "restricted": { "any": report.restricted.any, "customers": report.restricted.customers },
        "access": {
            "from": report.access.from.to_string(),
            "roles": report.access.roles.iter().map(|one| json!({
                "role": one.role.name(), "uses": one.uses, "reads": one.reads, "refused": one.refused, "taken": one.taken,
            })).collect::<Vec<_>>(),
        },
        "acts": report.acts.iter().map(acts).collect::<Vec<_>>(),
        "damage": verify::damage_as_json(&report.damage),
    })
}

/// The volumes, a row for each class and jurisdiction.
pub fn rows(report: &Report) -> Vec<Value> {
    let row = |stream: &tenure::report::StreamGrowth| {
        let mut row = volume(&stream.volume);
        row["class"] = json!(stream.class);
        row["jurisdiction"] = json!(stream.jurisdiction);
        row
    };
    report.streams.iter().map(row).collect()
}

fn due_partition(partition: &PartitionId, deadline: Timestamp, of: Option<Volume>) -> Value {
    json!({
        "class": partition.stream.class(),
        "jurisdiction": partition.stream.jurisdiction(),
        "window": partition.window.to_string(),
        "deadline": deadline.to_string(),
        "volume": of.as_ref().map(volume),
    })
}

fn row_when(due: RowDue) -> String {
    match due {
        RowDue::Overdue => "overdue".into(),
        RowDue::Notice => "notice".into(),
        RowDue::In(day) => month(day),
        RowDue::Later => "later".into(),
        RowDue::Waiting => "waiting".into(),
        RowDue::Held => "held".into(),
        RowDue::Nothing => "nothing".into(),
    }
}

fn slices<T>(slices: &[Slice<T>], name: &str, label: impl Fn(&T) -> Value) -> Vec<Value> {
    let slice = |slice: &Slice<T>| {
        let mut row = volume(&slice.volume);
        row[name] = slice.of.as_ref().map_or(Value::Null, &label);
        row
    };
    slices.iter().map(slice).collect()
}

fn months(months: &[Slice<Day>]) -> Vec<Value> {
    slices(months, "month", |day| json!(month(*day)))
}

/// A month as `2026-11`.
pub fn month(day: Day) -> String {
    day.to_string().chars().take(7).collect()
}

/// When something falls due, in a word or as a month.
pub fn when(due: Due) -> String {
    match due {
        Due::Overdue => "overdue".into(),
        Due::In(day) => month(day),
        Due::Later => "later".into(),
        Due::ByCustomer => "by-customer".into(),
        Due::Never => "never".into(),
        Due::Held => "held".into(),
    }
}

fn acts(acts: &ActsReport) -> Value {
    let stages = acts.stages.iter().map(|(stage, count)| ((*stage).to_owned(), json!(count))).collect();
    json!({
        "verb": crate::receipt::verb_name(acts.verb),
        "count": acts.count,
        "pending": acts.pending(),
        "stages": Value::Object(stages),
        "fenced": times(&acts.fenced),
        "shredded": times(&acts.shredded),
        "final": times(&acts.finished),
        "scrubbed": times(&acts.scrubbed),
    })
}

fn times(times: &Times) -> Value {
    match times.count {
        0 => json!({ "count": 0, "median_seconds": null, "max_seconds": null }),
        count => json!({
            "count": count, "median_seconds": times.median.as_secs_f64(), "max_seconds": times.max.as_secs_f64(),
        }),
    }
}
