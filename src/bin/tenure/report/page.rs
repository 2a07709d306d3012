//! The report as a page: what stands in it, in words and bars. How it looks stands in `page.html`, which escapes everything
//! that is put into it.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::value::Serde;
use serde_json::{Value, json};
use tenure::report::{ActsReport, Age, Due, Report, RowDue, Scheduled, Slice, StreamGrowth, Times, Verb, Volume};
use tenure::{Day, PartitionId, Period, Timestamp};

use super::document::month;
use crate::failure::Failure;
use crate::page::Pages;
use crate::words::{bytes, count, counted, duration};

/// Overdue partitions that are listed one by one.
const LISTED: usize = 40;
/// Months of event in the chart, and months in a stream's small one.
const MONTHS_SHOWN: u32 = 48;
const MONTHS_SMALL: u32 = 24;
const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The page.
pub fn page(report: &Report) -> Result<String, Failure> {
    let pages = Pages::new(&[("report", include_str!("page.html"))], include_str!("style.css"));
    let top = pages.top(&format!("Retention report, {}", day_in_words(report.now)))?;
    Ok(top + &pages.render("report", Serde(view(report)).into())?)
}

/// What it comes to, sentence by sentence, the gravest first.
pub fn sentences(report: &Report) -> Vec<String> {
    let mut said = overdue_in_words(report);
    said.extend(damage_in_words(report));
    said.extend(notices_in_words(report));
    said.push(next_in_words(report));
    said.push(holds_in_words(report));
    said.push(restricted_in_words(report));
    said.push(pending_in_words(report));
    said.push(total_in_words(report));
    said
}

fn view(report: &Report) -> Value {
    let volume_of = |wanted: Option<Due>| report.due.iter().find(|slice| slice.of == wanted).map(|slice| slice.volume);
    let share = |wanted: Option<Due>| volume_of(wanted).map(|volume| records_in_words(&volume));
    json!({
        "store": report.store,
        "store_short": report.store.chars().take(8).collect::<String>(),
        "day": day_in_words(report.now),
        "now": report.now.to_string(),
        "policy": report.policy,
        "few": counted(report.crowd, "customer"),
        "verdict": { "bad": report.is_overdue(), "words": overdue_in_words(report).join(" ") },
        "damage": (!report.damage.is_empty()).then(|| json!({
            "words": format!("{} damaged.", counted(report.damage.len() as u64, "file")),
            "files": report.damage.iter().map(|one| json!({
                "path": one.path.display().to_string(), "what": one.what, "offset": one.offset.map(count),
            })).collect::<Vec<_>>(),
        })),
        "total": report.total.as_ref().map(|total| json!({
            "records": count(total.records),
            "raw": bytes(total.raw_bytes),
            "stored": bytes(total.stored_bytes),
            "ratio": format!("{:.2}", total.ratio()),
            "customers": report.customers.map(count),
            "empty": total.records == 0,
        })),
        "overdue": report.overdue.iter().take(LISTED).map(|one| due_partition(&one.partition, one.deadline, one.volume)).collect::<Vec<_>>(),
        "overdue_more": report.overdue.len().saturating_sub(LISTED),
        "next": next_in_words(report),
        "due": due_chart(report),
        "notices": report.notices.iter().take(LISTED).map(|one| {
            let mut row = due_partition(&one.partition, one.deadline, one.volume);
            row["since"] = json!(one.since.day().to_string());
            row
        }).collect::<Vec<_>>(),
        "notices_more": report.notices.len().saturating_sub(LISTED),
        "scheduled": scheduled(report).into_iter().map(|(when, customers)| json!({ "when": when, "customers": customers })).collect::<Vec<_>>(),
        "due_later": share(Some(Due::Later)),
        "due_by_customer": share(Some(Due::ByCustomer)),
        "due_never": share(Some(Due::Never)),
        "due_several": share(None),
        "held": share(Some(Due::Held)),
        "holds": holds_in_words(report),
        "restricted": restricted_in_words(report),
        "access_from": report.access.from.day().to_string(),
        "access": report.access.roles.iter().map(|one| json!({
            "role": one.role.name(), "uses": count(one.uses), "reads": count(one.reads), "refused": count(one.refused),
            "taken": count(one.taken),
        })).collect::<Vec<_>>(),
        "pending": pending_in_words(report),
        "streams": streams(report),
        "months": months_chart(report),
        "months_several": report.months.iter().find(|slice| slice.of.is_none()).map(|one| records_in_words(&one.volume)),
        "ages": ages(report),
        "acts": report.acts.iter().map(acts).collect::<Vec<_>>(),
    })
}

/// A partition in a list of those that fall due.
fn due_partition(partition: &PartitionId, deadline: Timestamp, volume: Option<Volume>) -> Value {
    json!({
        "stream": format!("{} {}", partition.stream.class(), partition.stream.jurisdiction()),
        "window": partition.window.to_string(),
        "deadline": deadline.day().to_string(),
        "records": volume.map(|volume| count(volume.records)),
        "stored": volume.map(|volume| bytes(volume.stored_bytes)),
    })
}

/// Customers by what is scheduled of them; nothing where nothing is of anybody.
pub fn scheduled(report: &Report) -> Vec<(String, String)> {
    if report.scheduled.iter().all(|one| one.due == Some(RowDue::Nothing)) {
        return Vec::new();
    }
    let row = |one: &Scheduled| {
        let when = match one.due {
            Some(RowDue::Overdue) => "The time has come: the next expiry takes it".into(),
            Some(RowDue::Notice) => "It lies ahead, and the notice is running".into(),
            Some(RowDue::In(day)) => month_in_words(day),
            Some(RowDue::Later) => "Later than in two years".into(),
            Some(RowDue::Waiting) => "Not known yet: what it runs from has not been reported".into(),
            Some(RowDue::Held) => "When a hold is released".into(),
            Some(RowDue::Nothing) => "Nothing of theirs ends by itself".to_owned(),
            None => "Several of these, of too few customers each".into(),
        };
        let restricted = if one.restricted == Some(true) { ", left by an erasure" } else { "" };
        (when + restricted, count(one.customers))
    };
    report.scheduled.iter().map(row).collect()
}

fn records_in_words(volume: &Volume) -> String {
    format!("{} ({})", counted(volume.records, "record"), bytes(volume.stored_bytes))
}

fn overdue_in_words(report: &Report) -> Vec<String> {
    let said: Vec<String> = partitions_overdue(report).into_iter().chain(rows_overdue(report)).collect();
    if said.is_empty() { vec!["Nothing is overdue.".into()] } else { said }
}

fn partitions_overdue(report: &Report) -> Option<String> {
    let first = report.overdue.first()?;
    let known: u64 = report.overdue.iter().filter_map(|one| one.volume).map(|volume| volume.records).sum();
    let all = report.overdue.iter().all(|one| one.volume.is_some());
    let number = report.overdue.len() as u64;
    let records = match (known, all) {
        (0, _) => String::new(),
        (known, true) => format!(" with {}", counted(known, "record")),
        (known, false) => format!(" with more than {}", counted(known, "record")),
    };
    let (verb, since) = if number == 1 { ("is", "since") } else { ("are", "the first since") };
    Some(format!("{}{records} {verb} overdue, {since} {}.", counted(number, "partition"), first.deadline.day()))
}

/// What is overdue by row is also said where it is of too few to be counted, or counted together with others.
fn rows_overdue(report: &Report) -> Option<String> {
    let late = report.scheduled.iter().filter(|one| one.due == Some(RowDue::Overdue));
    let more = report.scheduled.iter().any(|one| one.due.is_none());
    let of = match late.map(|one| one.customers).sum() {
        0 => "some customers, too few to be counted,".into(),
        number if more => format!("{} or more", counted(number, "customer")),
        number => counted(number, "customer"),
    };
    report.rows_overdue.then(|| format!("Of {of} something is overdue that ends customer by customer."))
}

fn damage_in_words(report: &Report) -> Option<String> {
    let files = report.damage.len() as u64;
    (files > 0).then(|| format!("{} damaged: `tenure repair` says what can be done.", counted(files, "file")))
}

fn notices_in_words(report: &Report) -> Option<String> {
    let first = report.notices.first()?;
    let partitions = counted(report.notices.len() as u64, "partition");
    Some(format!("Notice is running for {partitions}, due from {} on.", first.deadline.day()))
}

fn next_in_words(report: &Report) -> String {
    let next = report.due.iter().find_map(|slice| match slice.of {
        Some(Due::In(day)) => Some((day, slice.volume)),
        _ => None,
    });
    match next {
        Some((day, volume)) => format!("Next to fall due: {} in {}.", records_in_words(&volume), month_in_words(day)),
        None => "Nothing that can be told by its month falls due within two years.".into(),
    }
}

fn holds_in_words(report: &Report) -> String {
    let mut said = match (report.holds.standing, report.holds.oldest) {
        (0, _) => "No legal hold stands.".to_owned(),
        (1, Some(oldest)) => format!("One legal hold stands, placed on {}.", oldest.day()),
        (number, oldest) => {
            let oldest = oldest.map_or(String::new(), |oldest| format!("; the oldest was placed on {}", oldest.day()));
            format!("{} stand{oldest}.", counted(number, "legal hold"))
        }
    };
    if report.holds.partitions > 0 {
        said += &format!(
            " Of {} past the maximum something is still kept by a hold.",
            counted(report.holds.partitions, "partition")
        );
    }
    said
}

fn restricted_in_words(report: &Report) -> String {
    match (report.restricted.any, report.restricted.customers) {
        (false, _) => "Nothing is restricted.".into(),
        (true, Some(number)) => {
            format!("Of {} an erasure had to leave a part, which is restricted.", counted(number, "customer"))
        }
        (true, None) => {
            "Of some customers, too few to be counted, an erasure had to leave a part, which is restricted.".into()
        }
    }
}

fn pending_in_words(report: &Report) -> String {
    let pending: u64 = report.acts.iter().map(ActsReport::pending).sum();
    match pending {
        0 => "No erasure or expiry is unfinished.".into(),
        1 => "One erasure or expiry is on record and its keys are not destroyed yet.".into(),
        many => format!("{} are on record and their keys are not destroyed yet.", counted(many, "erasure or expiry")),
    }
}

fn total_in_words(report: &Report) -> String {
    match &report.total {
        None => {
            let few = counted(report.crowd, "customer");
            match report.damage.is_empty() {
                true => format!("All records are of fewer than {few}: nothing is told of them."),
                false => format!("What can be read is of fewer than {few}: nothing is told of it."),
            }
        }
        Some(total) if total.records == 0 => "No records are stored.".into(),
        Some(total) => {
            let (raw, stored) = (bytes(total.raw_bytes), bytes(total.stored_bytes));
            let customers =
                report.customers.map_or(String::new(), |number| format!(" of {}", counted(number, "customer")));
            let records = counted(total.records, "record");
            format!("{records}{customers}: {raw} that came in take {stored} on disk, {:.2} to 1.", total.ratio())
        }
    }
}

/// `Nov 2026`.
fn month_in_words(day: Day) -> String {
    let text = month(day);
    let number: Option<usize> = text.get(5..).and_then(|digits| digits.parse().ok());
    let name = number.and_then(|number| NAMES.get(number.checked_sub(1)?));
    name.map_or(text.clone(), |name| format!("{name} {}", &text[..4]))
}

/// `23 Nov 2026`.
fn day_in_words(at: Timestamp) -> String {
    let day = at.day();
    let number = day.to_string().chars().skip(8).collect::<String>();
    format!("{} {}", number.trim_start_matches('0'), month_in_words(day))
}

/// The month that lies so many months before or behind one.
fn later(first: Day, months: u32) -> Day {
    first.start().plus(Period::months(months)).day()
}

fn earlier(first: Day, months: u32) -> Day {
    first.start().minus(Period::months(months)).day()
}

fn first_of_month(at: Timestamp) -> Day {
    format!("{}-01", month(at.day())).parse().unwrap_or(at.day())
}

/// Bars of a chart, one per month from `first` on, on a scale of 100; none where there is nothing to show.
fn bars(volumes: &BTreeMap<Day, Volume>, first: Day, months: u32) -> Option<Value> {
    let days: Vec<Day> = (0..months).map(|number| later(first, number)).collect();
    let records = |day: &Day| volumes.get(day).map_or(0, |volume| volume.records);
    let most = days.iter().map(records).max().filter(|most| *most > 0)?;
    let bar = |(index, day): (usize, &Day)| {
        let volume = volumes.get(day).copied().unwrap_or_default();
        // What is there shows, however little it is.
        let height = if volume.records == 0 { 0.0 } else { (100.0 * volume.records as f64 / most as f64).max(1.5) };
        json!({
            "x": index * 10, "y": format!("{:.1}", 100.0 - height), "height": format!("{height:.1}"),
            "month": month_in_words(*day), "records": count(volume.records), "stored": bytes(volume.stored_bytes),
            "there": volume.records > 0,
        })
    };
    Some(json!({
        "width": months * 10 - 2,
        "most": count(most),
        "first": month_in_words(days[0]),
        "middle": month_in_words(days[days.len() / 2]),
        "last": month_in_words(days[days.len() - 1]),
        "bars": days.iter().enumerate().map(bar).collect::<Vec<_>>(),
    }))
}

fn by_month(slices: &[Slice<Day>]) -> BTreeMap<Day, Volume> {
    slices.iter().filter_map(|slice| Some((slice.of?, slice.volume))).collect()
}

fn due_chart(report: &Report) -> Option<Value> {
    let due = report.due.iter().filter_map(|slice| match slice.of {
        Some(Due::In(day)) => Some((day, slice.volume)),
        _ => None,
    });
    bars(&due.collect(), first_of_month(report.now), 24)
}

/// The months from the first with anything in it, as many as are shown.
fn months_chart(report: &Report) -> Option<Value> {
    let volumes = by_month(&report.months);
    let last = (*volumes.last_key_value()?.0).max(first_of_month(report.now));
    let months = (12..=MONTHS_SHOWN)
        .step_by(12)
        .find(|months| earlier(last, months - 1) <= *volumes.keys().next().unwrap_or(&last));
    let months = months.unwrap_or(MONTHS_SHOWN);
    let mut chart = bars(&volumes, earlier(last, months - 1), months)?;
    let before = volumes.range(..earlier(last, months - 1)).map(|(_, volume)| volume.records).sum::<u64>();
    chart["before"] = json!((before > 0).then(|| counted(before, "record")));
    Some(chart)
}

fn streams(report: &Report) -> Vec<Value> {
    let this = first_of_month(report.now);
    let stream = |stream: &StreamGrowth| {
        let volumes = by_month(&stream.months);
        let within = |from: u32, until: u32| -> u64 {
            volumes.range(earlier(this, from)..earlier(this, until)).map(|(_, volume)| volume.records).sum()
        };
        let (year, before) = (within(12, 0), within(24, 12));
        // Where months are missing that are too small to be told, or are gone already, growth would be a guess.
        let begun = volumes.keys().next().is_some_and(|first| *first <= earlier(this, 24));
        let whole = stream.months.iter().all(|slice| slice.of.is_some()) && (begun || before == 0);
        let growth = match (year, before) {
            (0, 0) => None,
            _ if !whole => None,
            (_, 0) => Some("new".to_owned()),
            (year, before) => Some(format!("{:+.0} %", 100.0 * (year as f64 / before as f64 - 1.0))),
        };
        json!({
            "name": match (&stream.class, &stream.jurisdiction) {
                (None, None) => "several".to_owned(),
                (class, law) => [class, law].map(|name| name.as_deref().unwrap_or("several")).join(" "),
            },
            "records": count(stream.volume.records),
            "raw": bytes(stream.volume.raw_bytes),
            "stored": bytes(stream.volume.stored_bytes),
            "ratio": format!("{:.2}", stream.volume.ratio()),
            "growth": growth,
            "chart": bars(&volumes, earlier(this, MONTHS_SMALL - 1), MONTHS_SMALL),
        })
    };
    report.streams.iter().map(stream).collect()
}

fn ages(report: &Report) -> Vec<Value> {
    let most = report.ages.iter().map(|slice| slice.volume.records).max().unwrap_or(0).max(1);
    let age = |slice: &Slice<Age>| {
        json!({
            "age": slice.of.map(age_in_words),
            "records": count(slice.volume.records),
            "stored": bytes(slice.volume.stored_bytes),
            "width": format!("{:.1}", (100.0 * slice.volume.records as f64 / most as f64).max(0.5)),
        })
    };
    report.ages.iter().map(age).collect()
}

fn age_in_words(age: Age) -> String {
    let years = |months: u32| counted(u64::from(months / 12), "year");
    match (age.from_months, age.until_months) {
        (from, None) => format!("{} or older", years(from)),
        (0, Some(until)) => format!("under {until} months"),
        (from, Some(until)) if until <= 12 => format!("{from} to {until} months"),
        (from, Some(until)) => format!("{} to {}", from / 12, years(until)),
    }
}

/// What acts are of, and how many stand at which stage.
pub fn verb_and_stages(acts: &ActsReport) -> (&'static str, String) {
    let stages: Vec<String> = acts.stages.iter().map(|(stage, number)| format!("{} {stage}", count(*number))).collect();
    let verb = match acts.verb {
        Verb::Expire => "Expiries",
        Verb::Erase => "Erasures of customers",
        Verb::ErasePart => "Erasures of a part",
        Verb::Redact => "Redactions",
        Verb::Release => "Holds lifted",
    };
    (verb, stages.join(", "))
}

fn acts(acts: &ActsReport) -> Value {
    let (verb, stages) = verb_and_stages(acts);
    json!({
        "verb": verb,
        "count": count(acts.count),
        "stages": stages,
        "times": [times(&acts.fenced), times(&acts.shredded), times(&acts.finished), times(&acts.scrubbed)],
    })
}

fn times(times: &Times) -> Value {
    match times.count {
        0 => Value::Null,
        count => json!({ "count": count, "median": took(times.median), "max": took(times.max) }),
    }
}

/// As [`duration`], up to days.
fn took(time: Duration) -> String {
    match time.as_secs() {
        0..120 => duration(time),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => counted(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure::report::{AccessByRole, Damage, Holding, Noticed, Overdue, Restriction};

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn partition(window: &str) -> PartitionId {
        PartitionId { stream: tenure::Stream::new("chat", "EU").unwrap(), window: window.parse().unwrap() }
    }

    fn report() -> Report {
        let volume = Volume { partitions: 1, records: 1_234, raw_bytes: 9_000_000, stored_bytes: 3_000_000 };
        let months = vec![Slice { of: Some(day("2025-01-01")), volume }, Slice { of: None, volume }];
        Report {
            store: "5dba5034c9577fea".into(),
            now: day("2026-11-23").start(),
            crowd: 20,
            policy: 3,
            customers: Some(77),
            total: Some(volume),
            overdue: vec![Overdue {
                partition: partition("2025-01-01-month"),
                deadline: day("2026-02-01").start(),
                volume: Some(volume),
            }],
            rows_overdue: true,
            notices: vec![Noticed {
                partition: partition("2026-01-01-month"),
                since: day("2026-11-01").start(),
                deadline: day("2027-02-01").start(),
                volume: None,
            }],
            scheduled: [Some(RowDue::Overdue), Some(RowDue::In(day("2027-03-01"))), Some(RowDue::Later), None]
                .map(|due| Scheduled { due, restricted: Some(due == Some(RowDue::Later)), customers: 1_021 })
                .to_vec(),
            due: vec![
                Slice { of: Some(Due::Overdue), volume },
                Slice { of: Some(Due::In(day("2027-02-01"))), volume },
                Slice { of: Some(Due::Never), volume },
            ],
            streams: vec![StreamGrowth {
                class: Some("chat".into()),
                jurisdiction: None,
                volume,
                months: months.clone(),
            }],
            months,
            ages: vec![Slice { of: Some(Age { from_months: 120, until_months: None }), volume }],
            holds: Holding { standing: 2, oldest: Some(day("2026-01-02").start()), partitions: 1 },
            restricted: Restriction { any: true, customers: None },
            access: AccessByRole::default(),
            acts: Vec::new(),
            damage: vec![Damage {
                path: "calls/<script>alert(1)</script>&\"'.seg".into(),
                offset: Some(4_096),
                what: "<img src=x onerror=alert(2)>".into(),
            }],
        }
    }

    #[test]
    fn whatever_stands_in_it_the_page_runs_nothing_and_fetches_nothing() {
        let page = page(&report()).unwrap();
        for live in
            ["<script", "<img", "onerror=alert(2)>", "http://", "https://", "src=\"", "url(", "@import", "<link"]
        {
            assert!(!page.contains(live), "{live}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;") && page.contains("&lt;img"));
        assert!(page.contains("default-src 'none'"));
        assert!(page.is_ascii() && page.ends_with("</html>"));
    }

    #[test]
    fn it_says_in_words_what_it_comes_to() {
        let said = sentences(&report()).join("\n");
        for words in [
            "1 partition with 1,234 records is overdue, since 2026-02-01.",
            "Of 1,021 customers or more something is overdue that ends customer by customer.",
            "1 file damaged: `tenure repair`",
            "Next to fall due: 1,234 records (3.0 MB) in Feb 2027.",
            "2 legal holds stand; the oldest was placed on 2026-01-02. Of 1 partition past the maximum something",
            "Notice is running for 1 partition, due from 2027-02-01 on.",
            "Of some customers, too few to be counted, an erasure",
            "1,234 records of 77 customers: 9.0 MB that came in take 3.0 MB on disk, 3.00 to 1.",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let page = page(&report()).unwrap();
        for words in [
            "Feb 2027: 1,234 records",
            "10 years or older",
            "Never, because the policy has no maximum",
            "Store 5dba5034",
            "<td>Mar 2027</td><td class=\"n\">1,021</td>",
            "<td>Later than in two years, left by an erasure</td>",
            "<td class=\"label\">2027-02-01</td><td class=\"n\">not told</td>",
        ] {
            assert!(page.contains(words), "{words}");
        }
        assert_eq!(day_in_words(day("2026-11-03").start()), "3 Nov 2026");
        assert_eq!(took(Duration::from_secs(90_000)), "25 h");
    }
}
