//! What is told of a store without telling of anybody: the report, aggregates, and the page made of them.

use std::collections::{BTreeMap, BTreeSet};

use tenure::env::sim::Sim;
use tenure::report::{Aggregate, Due, Facet, ReportOptions};
use tenure::{Record, Store, Stream, Timestamp};

use crate::machine::{at, open};

/// A record of a customer in a stream and month.
type Told = (usize, &'static str, &'static str, u32);

/// Crowded months, months of a few, a class of a few in one place and of others in another, and a lonely customer.
fn records() -> Vec<Told> {
    let mut records = Vec::new();
    let mut add = |customers: std::ops::Range<usize>, class, jurisdiction, month| {
        records.extend(customers.map(|customer| (customer, class, jurisdiction, month)));
    };
    for month in 1..=6 {
        add(0..30, "chat", "EU", month);
    }
    add(0..7, "chat", "EU", 7);
    add(40..75, "chat", "UK", 1);
    add(40..75, "chat", "UK", 2);
    add(50..62, "email", "UK", 1);
    add(58..70, "email", "UK", 2);
    add(80..112, "email", "EU", 3);
    add(200..201, "survey", "US", 4);
    records
}

fn filled() -> Store {
    let store = open(&Sim::new(7));
    let record = |(index, (customer, class, jurisdiction, month)): (usize, Told)| {
        let at: Timestamp = format!("2025-{month:02}-10T00:00:{:02}Z", index % 60).parse().unwrap();
        let body = "x".repeat(10 + index);
        Record::new(format!("customer-{customer}"), class, jurisdiction, at, body).unwrap()
    };
    let records: Vec<Record> = records().into_iter().enumerate().map(record).collect();
    store.append(records).unwrap().wait().unwrap();
    store
}
