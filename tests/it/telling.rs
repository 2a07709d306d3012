//! What is told of a store without telling of anybody. Bodies are so long that every sum tells which parts it is made of.

use std::collections::BTreeSet;
use std::ops::Range;

use tenure::env::sim::Sim;
use tenure::report::{Facet, Report, ReportOptions, RowDue};
use tenure::{ErrorKind, Record, Store, Timestamp};

use crate::scene;

/// What all records of a stream in a month amount to: the unit, doubled from part to part.
const UNIT: u64 = 128;
const LEAST: usize = 20;

/// Some customers in a stream and month.
type Part = (Range<usize>, &'static str, &'static str, u32);

/// Crowded months, months of a few, a class of a few in one place and of others in another, and a lonely customer.
const PARTS: [Part; 12] = [
    (0..30, "chat", "EU", 1),
    (0..31, "chat", "EU", 2),
    (0..32, "chat", "EU", 3),
    (0..7, "chat", "EU", 4),
    (40..75, "chat", "UK", 1),
    (40..74, "chat", "UK", 2),
    (50..62, "email", "UK", 1),
    (58..70, "email", "UK", 2),
    (80..112, "email", "EU", 3),
    (0..100, "email", "EU", 5),
    (200..201, "survey", "US", 4),
    (201..203, "chat", "US", 4),
];

fn filled(parts: &[Part]) -> Store {
    let store = scene::options(&Sim::new(7)).create().unwrap();
    let mut records = Vec::new();
    for (index, (customers, class, jurisdiction, month)) in parts.iter().enumerate() {
        let (bytes, count) = ((UNIT << index) as usize, customers.len());
        for (place, customer) in customers.clone().enumerate() {
            let length = bytes / count + if place == 0 { bytes % count } else { 0 };
            let at: Timestamp = format!("2025-{month:02}-10T00:00:00Z").parse().unwrap();
            let name = format!("customer-{customer}");
            records.push(Record::new(&name, class, jurisdiction, at, "x".repeat(length)).unwrap());
        }
    }
    store.append(records).unwrap().wait().unwrap();
    store
}

/// Which parts a sum is made of.
fn parts_of(bytes: u64) -> u64 {
    assert_eq!(bytes % UNIT, 0, "no part is told in pieces");
    bytes / UNIT
}

fn of_report(report: &Report) -> Vec<u64> {
    let streams = report
        .streams
        .iter()
        .flat_map(|stream| stream.months.iter().map(|slice| slice.volume.raw_bytes).chain([stream.volume.raw_bytes]));
    let months = report.months.iter().map(|slice| slice.volume.raw_bytes);
    let ages = report.ages.iter().map(|slice| slice.volume.raw_bytes);
    let due = report.due.iter().map(|slice| slice.volume.raw_bytes);
    let total = report.total.iter().map(|volume| volume.raw_bytes);
    streams.chain(months).chain(ages).chain(due).chain(total).map(parts_of).collect()
}

fn of_aggregates(store: &Store) -> Vec<u64> {
    let facets = [Facet::Class, Facet::Jurisdiction, Facet::Year, Facet::Month];
    let mut told = Vec::new();
    for chosen in 0_usize..16 {
        let by: Vec<Facet> = (0..4).filter(|bit| chosen >> bit & 1 == 1).map(|bit| facets[bit]).collect();
        let aggregate = store.aggregate(&by, LEAST as u64, 1 + chosen % 2).unwrap();
        told.extend(aggregate.rows.iter().map(|row| &row.tally).chain(&aggregate.total).map(|tally| tally.bytes));
    }
    told.into_iter().map(parts_of).collect()
}

/// A basis of what sums and differences of `told` give, by elimination among fractions whose denominators are one: modulo a
/// prime that is larger than anything that comes up.
fn basis(told: &[u64], width: usize) -> Vec<(usize, Vec<i64>)> {
    let mut basis = Vec::new();
    for row in told {
        let row = reduced(*row, width, &basis);
        if let Some(pivot) = row.iter().position(|value| *value != 0) {
            let inverse = (1..PRIME).find(|inverse| row[pivot] * inverse % PRIME == 1).unwrap();
            basis.push((pivot, row.iter().map(|value| value * inverse % PRIME).collect()));
        }
    }
    basis
}

const PRIME: i64 = 10_007;

fn reduced(set: u64, width: usize, basis: &[(usize, Vec<i64>)]) -> Vec<i64> {
    let mut row: Vec<i64> = (0..width).map(|bit| (set >> bit & 1) as i64).collect();
    for (pivot, other) in basis {
        let factor = row[*pivot];
        row.iter_mut().zip(other).for_each(|(value, of)| *value = (*value - factor * of).rem_euclid(PRIME));
    }
    row
}

/// Parts of fewer customers than allowed of which something is told, alone or as a difference.
fn given_away(parts: &[Part], told: &[u64]) -> Vec<u64> {
    let basis = basis(told, parts.len());
    let few = |set: &u64| {
        let chosen = parts.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
        chosen.flat_map(|(_, part)| part.0.clone()).collect::<BTreeSet<_>>().len() < LEAST
    };
    let told = |set: &u64| reduced(*set, parts.len(), &basis).iter().all(|value| *value == 0);
    (1..1 << parts.len()).filter(few).filter(told).collect()
}

#[test]
fn no_number_and_no_difference_is_about_too_few() {
    let store = filled(&PARTS);
    for settled in [false, true] {
        if settled {
            store.settle().unwrap();
        }
        let report = store.report(&ReportOptions::default()).unwrap();
        let (told, summed) = (of_report(&report), of_aggregates(&store));
        let all = (1 << PARTS.len()) - 1;
        assert!(told.contains(&all) && summed.contains(&all), "the sums are told");
        assert!(told.contains(&2) && summed.contains(&2), "and so is what is about enough");
        let together = [told, summed].concat();
        assert_eq!(given_away(&PARTS, &together), [0; 0]);
        // The test would see it.
        assert_ne!(given_away(&PARTS, &[together.clone(), vec![all & !8]].concat()), [0; 0]);
        assert!(report.damage.is_empty() && report.overdue.is_empty());
    }
}

#[test]
fn too_few_in_all_are_not_told_of() {
    let store = filled(&[(0..19, "chat", "EU", 1), (3..12, "email", "EU", 2)]);
    let report = store.report(&ReportOptions::default()).unwrap();
    assert!(report.total.is_none() && report.customers.is_none() && of_report(&report).is_empty());
    assert!(of_aggregates(&store).is_empty());
    let wanting = ReportOptions { crowd: 19, now: None };
    assert_eq!(store.report(&wanting).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.aggregate(&[], 19, 1).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Who has been erased counts for nobody, though the frames are still there.
#[test]
fn the_dead_are_no_crowd() {
    let store = filled(&[(0..21, "chat", "EU", 1)]);
    store.settle().unwrap();
    let report = store.report(&ReportOptions::default()).unwrap();
    assert_eq!((report.total.is_some(), report.customers), (true, Some(21)));
    store.erase(&["customer-3", "customer-4"]).unwrap();
    let report = store.report(&ReportOptions::default()).unwrap();
    assert!(report.total.is_none() && report.streams.is_empty());
    assert_eq!(report.customers, None, "tombstones are nobody");
    assert_eq!((report.acts.len(), report.acts[0].count, report.acts[0].shredded.count), (1, 1, 1));
}

const SCHEDULE: &str = "\
[[rule]]
class = \"profile\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
keep_at_most = \"P1Y\"
[[rule]]
class = \"letter\"
jurisdiction = \"*\"
keep_at_least = \"P5Y\"
[[rule]]
class = \"*\"
jurisdiction = \"*\"
keep_at_most = \"P2Y\"
notice = \"P1Y\"
";

/// What ends customer by customer is told by month, of enough; every customer counts once, whatever is asked.
#[test]
fn what_is_scheduled_by_row_is_told_of_enough() {
    let sim = Sim::new(8);
    sim.set_now("2026-01-15T00:00:00Z".parse().unwrap());
    let store = scene::options(&sim).policy(SCHEDULE).create().unwrap();
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let record = |customer: usize, class: &str| {
        Record::new(&format!("customer-{customer}"), class, "EU", at("2025-03-10T00:00:00Z"), "x").unwrap()
    };
    let records = (0..80).map(|one| record(one, "profile")).chain((0..80).map(|one| record(one, "chat")));
    store
        .append(records.chain((80..110).map(|one| record(one, "letter"))).collect::<Vec<_>>())
        .unwrap()
        .wait()
        .unwrap();
    let end = |customers: Range<usize>, when: &str| {
        customers.for_each(|one| assert!(store.relationship_ended(&format!("customer-{one}"), at(when)).unwrap()));
    };
    let told = |now: Option<&str>| {
        let report = store.report(&ReportOptions { now: now.map(at), ..ReportOptions::default() }).unwrap();
        let rows: Vec<_> = report.scheduled.iter().map(|one| (one.due, one.restricted, one.customers)).collect();
        (rows, report)
    };
    let april = RowDue::In("2026-04-01".parse().unwrap());
    let may = RowDue::In("2026-05-01".parse().unwrap());
    end(0..25, "2025-04-01T00:00:00Z");
    end(25..35, "2025-05-01T00:00:00Z");
    let some = |due, customers| (Some(due), Some(false), customers);
    // Ten in May are too few: April, of the same year, is told with them.
    let together = [some(RowDue::Waiting, 45), some(RowDue::Nothing, 30), (None, Some(false), 35)];
    assert_eq!(told(None).0, together);
    end(35..50, "2025-05-01T00:00:00Z");
    let apart = [some(april, 25), some(may, 25), some(RowDue::Waiting, 30), some(RowDue::Nothing, 30)];
    assert_eq!(told(None).0, apart);
    let (rows, report) = told(Some("2026-04-02T00:00:00Z"));
    assert_eq!(rows[0], some(RowDue::Overdue, 25));
    assert!(report.rows_overdue && report.is_overdue() && report.overdue.is_empty());
    // The notice that the policy gives of a partition is running by then.
    let notices: Vec<_> =
        report.notices.iter().map(|one| (one.partition.to_string(), one.volume.unwrap().records)).collect();
    assert_eq!(notices, [("chat/EU/2025-03-01-month".to_owned(), 80)]);
    assert_eq!(report.notices[0].deadline.day().to_string(), "2027-04-01");
    assert!(told(None).1.notices.is_empty() && !told(None).1.is_overdue());

    // What an erasure has left counts as such, and where that would be too few, with others.
    let names: Vec<String> = (80..110).map(|one| format!("customer-{one}")).collect();
    store.erase(&[&*names[0], &names[1], &names[2]]).unwrap();
    let (rows, report) = told(None);
    assert!(
        rows.contains(&(None, None, 28)) && report.restricted.any && report.restricted.customers.is_none(),
        "{rows:?}"
    );
    store.erase(&names.iter().map(|name| &**name).collect::<Vec<_>>()).unwrap();
    let (rows, report) = told(None);
    assert!(rows.contains(&(Some(RowDue::Later), Some(true), 30)), "{rows:?}");
    assert_eq!((report.restricted.any, report.restricted.customers), (true, Some(30)));
    assert!(rows.iter().all(|row| row.2 >= LEAST as u64) && report.damage.is_empty());
}
