//! What it costs to put every read on record: one customer's timeline through the plain store and through somebody's
//! rights, in turns; and how many reads a second are noted. `cargo bench --bench access [-- SECONDS]` (5).
#![allow(clippy::disallowed_methods)] // It measures by the clock.

use std::time::{Duration, Instant};

use tenure::{Actor, Batch, Record, RecordId, Role, Store};

const CUSTOMERS: u32 = 1_000;
const RATE: u64 = 10_000;

fn record(number: u32) -> Record {
    let at = "2026-03-01T09:30:00Z".parse().expect("a time");
    let body = format!("record {number} {}", "some words of a conversation ".repeat(20));
    Record::new(&format!("c-{}", number % CUSTOMERS), "chat", "EU", at, body)
        .expect("a record")
        .with_id(RecordId::from_bytes(u128::from(number).to_be_bytes()))
}

/// Reads as fast as it goes for so long; how many.
fn reads(time: Duration, mut read: impl FnMut(&str) -> usize) -> u64 {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < time {
        for _ in 0..100 {
            assert_eq!(read(&format!("c-{}", count * 7 % u64::from(CUSTOMERS))), 4);
            count += 1;
        }
    }
    count
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(5.0_f64);
    let dir = tempfile::tempdir().expect("a directory");
    let options = || Store::options(dir.path().join("calls")).accept_weak_erasure().worker();
    let store = options().create().expect("a store");
    let records: Vec<Record> = (0..4 * CUSTOMERS).map(record).collect();
    store.append(Batch::from(records)).and_then(|commit| commit.wait()).expect("records");
    store.settle().expect("segments");
    let agent = store.acting_as(Actor::new("ana", Role::Agent).purpose("ticket 88"));
    let turn = Duration::from_secs_f64(seconds / 10.0);
    let (mut plain, mut noted) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let rate = |count: u64| count as f64 / turn.as_secs_f64();
        plain.push(rate(reads(turn, |customer| store.timeline(customer, ..).expect("records").count())));
        noted.push(rate(reads(turn, |customer| agent.timeline(customer, ..).expect("records").count())));
    }
    plain.sort_by(f64::total_cmp);
    noted.sort_by(f64::total_cmp);
    println!(
        "timelines a second, one thread, medians of 5: {:.0} plain, {:.0} noted, {:.2} of plain",
        plain[2],
        noted[2],
        noted[2] / plain[2]
    );
    let began = Instant::now();
    let (mut done, mut late) = (0_u64, Duration::ZERO);
    while began.elapsed().as_secs_f64() < seconds {
        let due = Duration::from_secs_f64(done as f64 / RATE as f64);
        match due.checked_sub(began.elapsed()) {
            Some(early) => std::thread::sleep(early.min(Duration::from_millis(1))),
            None => late = late.max(began.elapsed() - due),
        }
        if began.elapsed() >= due {
            agent.timeline(&format!("c-{}", done % u64::from(CUSTOMERS)), ..).expect("records");
            done += 1;
        }
    }
    println!(
        "{:.0} noted reads a second kept up for {seconds} s, at most {} ms behind",
        done as f64 / seconds,
        late.as_millis()
    );
    store.close().expect("a clean close");
}
