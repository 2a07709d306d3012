//! Budgets that the comparison with rivals has no part in: opening after a crash, what a partition costs that a timeline
//! looks into for nothing, and bytes written with merging. `cargo bench --bench budgets`; times are medians of 5.
#![allow(clippy::disallowed_methods)] // It measures by the clock and copies files.

use std::fs;
use std::path::Path;
use std::time::Instant;

use tenure::report::Budget;
use tenure::{Batch, Options, Record, Store};

const BATCH: u64 = 1_000;
/// 2021-01-01T00:00:00Z in seconds.
const START: u64 = 1_609_459_200;
const MONTH: u64 = 30 * 86_400;

fn options(dir: &Path) -> Options {
    Store::options(dir).accept_weak_erasure()
}

/// A record of two kilobytes of numbers, of which each is another: about half of it can be compressed away.
fn record(number: u64, customer: u64, second: u64) -> Record {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut body = String::with_capacity(2_100);
    while body.len() < 2_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.push_str(&format!("{state:016x} "));
    }
    let at = tenure::Timestamp::from_micros((START + second) as i64 * 1_000_000);
    Record::new(&format!("c-{customer}"), "chat", "EU", at, body).expect("a record")
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(Batch::from(records)).and_then(|commit| commit.wait()).expect("room for records");
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => {
                fs::copy(entry.path(), &to).expect("a copy");
                // What is acknowledged was on the disk when the power went.
                fs::File::open(to).and_then(|file| file.sync_all()).expect("a copy on the disk");
            }
        }
    }
}

/// A copy of a store and of what lies beside it, of which nothing was closed, is what a machine that lost its power has.
fn after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let live = dir.path().join("live");
    fs::create_dir(&live).expect("a directory");
    let store = options(&live.join("calls")).create().expect("a store");
    let mut number = 0;
    while store.stats().expect("figures").journal_bytes < 128 << 20 {
        append(&store, (number..number + BATCH).map(|number| record(number, number % 5_000, number)).collect());
        number += BATCH;
    }
    let journal = store.stats().expect("figures").journal_bytes;
    let crashed = |turn: u32| dir.path().join(format!("crashed-{turn}"));
    (0..5).for_each(|turn| copy(&live, &crashed(turn)));
    let mut times = Vec::new();
    for turn in 0..5 {
        let crashed = crashed(turn);
        let began = Instant::now();
        let store = options(&crashed.join("calls")).worker().open().expect("a store that was not closed");
        times.push(began.elapsed().as_secs_f64());
        drop(store);
    }
    let took = median(times);
    println!(
        "open after a crash: {:.0} ms with {:.0} MB of journal, {:.2} s per GiB (asked 2)",
        took * 1e3,
        journal as f64 / 1e6,
        took * f64::from(1 << 30) / journal as f64
    );
}

/// Timelines of customers with records in one month, in stores of which one has other months besides.
fn a_probed_partition() {
    const CUSTOMERS: u64 = 1_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = |name: &str, months: u64| {
        let store = options(&dir.path().join(name)).create().expect("a store");
        append(&store, (0..CUSTOMERS).map(|number| record(number, number, number)).collect());
        for month in 1..months {
            let others = (0..CUSTOMERS).map(|number| record(number, CUSTOMERS + number, month * MONTH + number));
            append(&store, others.collect());
        }
        store.settle().expect("segments");
        store.maintain(Budget::ALL).expect("nothing left to do");
        store
    };
    let (one, many, more) = (store("one", 1), store("many", 48), 47.0);
    let round = |store: &Store| {
        // Something new in another stream: what is kept of customers who are asked for again holds no more.
        let elsewhere = tenure::Timestamp::from_micros(START as i64 * 1_000_000);
        append(store, vec![Record::new("else", "email", "EU", elsewhere, "a letter").expect("a record")]);
        store.settle().expect("segments");
        let began = Instant::now();
        for customer in 0..CUSTOMERS {
            let records = store.timeline(&format!("c-{customer}"), ..).expect("records");
            assert_eq!(records.count(), 1);
        }
        began.elapsed().as_secs_f64() * 1e6 / CUSTOMERS as f64
    };
    let rounds = (0..6).map(|_| (round(&one), round(&many))).skip(1).collect::<Vec<_>>();
    let (one, many) = (median(rounds.iter().map(|of| of.0).collect()), median(rounds.iter().map(|of| of.1).collect()));
    println!(
        "a partition looked into for nothing: {:.2} us (asked 2); timelines of {one:.1} us, and {many:.1} with 47 more",
        (many - one) / more
    );
}

/// Bytes that this process has had written to the disk.
fn written() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// A stream that is settled in pieces of a megabyte, and merged whenever so many have come: 64 while records come in, eight
/// where it is quiet after each.
fn with_merging(pieces: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = options(&dir.path().join("calls")).create().expect("a store");
    let Some(before) = written() else { return println!("written with merging: the system does not say") };
    let mut merged = 0;
    for round in 1..=128 {
        let numbers = round * BATCH..(round + 1) * BATCH;
        append(&store, numbers.map(|number| record(number, number % 5_000, number)).collect());
        store.settle().expect("segments");
        if round % pieces == 0 {
            merged += store.maintain(Budget::ALL).expect("merging").segments_merged;
        }
    }
    let written = written().unwrap_or(before) - before;
    let segments: u64 = store.stats().expect("figures").partitions.iter().map(|partition| partition.stored_bytes).sum();
    println!(
        "written, merged whenever {pieces} segments have come: {:.2} bytes per byte of segment (asked 3.5), {merged} merged",
        written as f64 / segments as f64
    );
}

fn main() {
    after_a_crash();
    a_probed_partition();
    with_merging(64);
    with_merging(8);
}
