//! The worked year of docs/operations.md: a bank in the EU, the UK and the US under the example schedule, fourteen months, an
//! erasure under duty, two holds that overlap, and a law that changes in between.

use jiff::ToSpan;

use super::drive::{Drive, streams_named};
use super::fate::Place;
use super::steps::{Ago, Coming, Fact, Step, Where};

const SCHEDULE: &str = include_str!("../../../examples/schedule.toml");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const STREAMS: [&str; 10] = [
    "call-investment/EU",
    "call-quality/FR",
    "business-letter/DE",
    "survey/FR",
    "transaction/UK",
    "complaint/UK",
    "call-collection/US",
    "call-swap/US",
    "credit-application/US",
    "profile/EU",
];
const FIRST: usize = 1;
const ANA: usize = 0;
const BO: usize = 1;
const CY: usize = 2;

fn ago(days: i64) -> Ago {
    Ago(days, Where::Within(3600))
}

/// One record each of some customers in some streams, so many days ago.
fn come(customers: &[usize], streams: &[usize], days: i64) -> Step {
    let one = |customer: usize| streams.iter().map(move |stream| Coming { customer, stream: *stream, ago: ago(days) });
    Step::Append(customers.iter().flat_map(|customer| one(*customer)).collect())
}

/// What people do in a month, the first being November 2027.
fn month(number: usize) -> Vec<Step> {
    let hold = |stream, from, until| Step::Hold { customer: Some(ANA), stream, from, until };
    match number {
        1 => [700, 800, 1050].map(|days| come(&[ANA, BO, CY], &[0, 2, 3, 4, 6, 8], days)).to_vec(),
        // A court wants all that Ana said about quality in the last months; later a regulator, everything of the year.
        3 => vec![hold(Some(FIRST), Some(ago(120)), None)],
        4 => vec![Step::Erase(vec![BO])],
        5 => vec![hold(None, Some(ago(365)), Some(ago(10)))],
        7 => vec![Step::Fact(CY, Fact::Ended(ago(3))), Step::Fact(CY, Fact::Closed(ago(20)))],
        9 => vec![Step::Erase(vec![ANA]), Step::Redact(40, false)],
        10 => vec![Step::Release(0)],
        12 => vec![Step::Release(0), Step::Reopen],
        13 => vec![Step::ErasePart(CY, Some(8), Some(ago(200)))],
        _ => Vec::new(),
    }
}

#[test]
fn the_worked_year_goes_as_the_law_says() {
    let mut bank = Drive::new(1, 3, streams_named(&STREAMS), SCHEDULE).expect("the example schedule is sound");
    let mut months = Vec::new();
    for number in 1..=14 {
        let everybody = come(&[ANA, BO, CY], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 2);
        let mut steps = vec![everybody];
        steps.extend(month(number));
        for step in &steps {
            bank.step(step).unwrap();
            bank.compare();
        }
        if number == 6 {
            // Surveys may be kept for thirteen months from now on, and for collections the duty is five years.
            let law = SCHEDULE.replace("keep_at_most = \"P24M\"", "keep_at_most = \"P13M\"");
            let collection = law.find("class = \"call-collection\"").unwrap();
            let (before, after) = law.split_at(collection);
            bank.law(&(before.to_owned() + &after.replacen("P3Y", "P5Y", 1)), true).unwrap();
            bank.compare();
        }
        bank.step(&Step::MonthEnd(true)).unwrap();
        bank.compare();
        bank.step(&Step::Expire).unwrap();
        bank.compare();
        // Each record for itself: a count may be right where one is gone too early and another too late.
        bank.seize();
        months.push(told(&bank));
        println!("{}", months[number - 1]);
    }
    let gone = bank.oracle.fates.iter().filter(|fate| fate.place == Place::Gone).count();
    assert!(gone > 50 && bank.oracle.holds.is_empty(), "{gone} are gone");
    assert_eq!(months, table(), "what the year gives (left) and the table of docs/operations.md");
}

/// The rows of the worked year in docs/operations.md, but for what happened.
fn table() -> Vec<String> {
    let (_, passage) = OPERATIONS.split_once("## A worked year\n").expect("operations.md tells of a worked year");
    let passage = passage.split("\n## ").next().unwrap_or_default();
    let cells = passage.lines().filter(|line| line.starts_with("| 20")).map(|line| line.split('|'));
    cells.map(|cells| cells.take(7).collect::<Vec<_>>().join("|") + "|").collect()
}

/// How many records are where at the end of a month, as a row of that table.
fn told(bank: &Drive) -> String {
    let (now, fates) = (bank.now(), &bank.oracle.fates);
    let seen = bank.oracle.seen(now);
    let gone = fates.iter().filter(|fate| fate.place == Place::Gone).count();
    let shown = |id| seen.free.contains(id) || seen.restricted.contains(id) || seen.held.contains(id);
    let hidden = fates.iter().filter(|fate| fate.place != Place::Gone && !shown(&fate.id)).count();
    let (kept, restricted, held) = (seen.free.len(), seen.restricted.len(), seen.held.len());
    // The month is over by less than two days.
    let month = &(now - 48.hours()).to_string()[..7];
    format!("| {month} | {kept} | {hidden} | {restricted} | {held} | {gone} |")
}
