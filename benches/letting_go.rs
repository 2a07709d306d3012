//! Erasure and expiry on the real disk: neither may take longer where more records are.
//!
//! `cargo bench --bench letting_go`. The store with ten times the records is measured in turns with the other, so that
//! what else the machine does meets both; medians and their ratio are printed. Every step destroys something, so that it
//! cannot be repeated on the same data: hence no statistics beyond that.

#![allow(clippy::disallowed_methods)] // It measures by the clock.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tenure::env::{Env, disk::Disk};
use tenure::report::Budget;
use tenure::{ExpireOptions, Record, Store, Timestamp};

const CUSTOMERS: u64 = 2_000;
const DAYS: u64 = 60;
const RECORDS: u64 = 5_000;
const ERASURES: u64 = 150;
const DAY: i64 = 86_400;

const KEEP: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"day\"\n";
const EXPIRE: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"day\"\nkeep_at_most = \"P30D\"\n";

/// Chats for a day from the end of the relationship, everything else for ever.
const ENDS: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"day\"\n\
    [[rule]]\nclass = \"chat\"\njurisdiction = \"*\"\nwindow = \"day\"\nanchor = \"relationship-end\"\nkeep_at_most = \"P1D\"\n";

fn first() -> Timestamp {
    "2025-03-01T00:00:00Z".parse().unwrap()
}

fn record(serial: u64, customers: u64) -> Record {
    let at = first().plus_seconds((serial % DAYS) as i64 * DAY + (serial / DAYS % 80_000) as i64);
    // Customers and days have no common measure in this, so that everybody is spread over all days.
    let customer = serial.wrapping_mul(7_919) % customers;
    let body = format!("{serial} said something that is about as long as a short message {}", "and on ".repeat(20));
    Record::new(&format!("customer-{customer}"), "chat", "EU", at, body).unwrap()
}

fn filled(dir: &Path, records: u64, customers: u64) -> Store {
    let options = Store::options(dir.join("calls")).policy(KEEP).accept_weak_erasure();
    let store = options.create().unwrap();
    let serials: Vec<u64> = (0..records).collect();
    for chunk in serials.chunks(1_000) {
        let batch: Vec<Record> = chunk.iter().map(|serial| record(*serial, customers)).collect();
        store.append(batch).unwrap().wait().unwrap();
    }
    store.settle().unwrap();
    store.maintain(Budget::ALL).unwrap();
    store.close().unwrap();
    Store::options(dir.join("calls")).accept_weak_erasure().open().unwrap()
}

fn timed(step: impl FnOnce()) -> Duration {
    let began = Instant::now();
    step();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Does a step on the small store and the large one in turns.
fn compare(what: &str, stores: &[Store; 2], steps: u64, step: impl Fn(&Store, u64)) {
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..steps {
        for (store, times) in stores.iter().zip(&mut times) {
            times.push(timed(|| step(store, number)));
        }
    }
    let [small, large] = times.map(median);
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    println!("{what}: {small:.2?} with {RECORDS} records, {large:.2?} with {}, ratio {ratio:.2}", RECORDS * 10);
}

fn main() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stores = [filled(dirs[0].path(), RECORDS, CUSTOMERS), filled(dirs[1].path(), RECORDS * 10, CUSTOMERS)];
    for (store, records) in stores.iter().zip([RECORDS, RECORDS * 10]) {
        let stats = store.stats().unwrap();
        assert_eq!((stats.customers, stats.partitions.len() as u64), (CUSTOMERS, DAYS));
        assert_eq!(stats.partitions.iter().map(|partition| partition.records).sum::<u64>(), records);
    }
    compare("erase one customer", &stores, ERASURES, |store, number| {
        assert!(store.erase(&[&format!("customer-{number}")]).unwrap().is_some());
    });
    for store in &stores {
        store.set_policy_confirmed(EXPIRE, "the measurement").unwrap();
    }
    compare("expire one partition", &stores, DAYS / 2, |store, number| {
        let now = Some(first().plus_seconds((number as i64 + 31) * DAY));
        let expiry = store.expire(ExpireOptions { now, ..ExpireOptions::default() }).unwrap();
        assert_eq!(expiry.partitions.len(), 1);
    });
    drop(stores);
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 100_000, 100_000);
    let customers: Vec<String> = (0..5_000).map(|number| format!("customer-{number}")).collect();
    let times = customers.chunks(1_000).map(|chunk| {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        timed(|| drop(store.erase(&chunk).unwrap().unwrap()))
    });
    println!("erase 1000 of 100000 customers at once: {:.2?}", median(times.collect()));
    beside(&store, dir.path());
    drop(store);
    by_row();
}

/// What is due by row is found by going through all customers, and states are carried out of windows that go: how long that
/// takes, and how long an append beside it waits at most.
fn by_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 100_000, 100_000);
    let alone = longest_append(&store, || std::thread::sleep(Duration::from_secs(2)));
    println!("an append alone: {:.2?} at the longest", alone.1);
    let expire = |rows: usize| {
        let expiry = store.expire(ExpireOptions::default()).unwrap();
        assert_eq!(expiry.rows.iter().map(|row| &row.subject).collect::<BTreeSet<_>>().len(), rows);
    };
    store.set_policy_confirmed(ENDS, "the measurement").unwrap();
    let (took, wait) = longest_append(&store, || expire(0));
    println!(
        "go through 100000 customers of whom nothing is due: {took:.2?}, an append beside it {wait:.2?} at the longest"
    );
    for number in 0..2_000 {
        assert!(store.relationship_ended(&format!("customer-{number}"), first()).unwrap());
    }
    let (took, wait) = longest_append(&store, || expire(2_000));
    println!("let go of 2000 of them: {took:.2?}, an append beside it {wait:.2?} at the longest");
    store.set_policy_confirmed(&format!("{ENDS}latest = true\n"), "the measurement").unwrap();
    let (took, wait) = longest_append(&store, || expire(0));
    println!("carry 98000 states forward: {took:.2?}, an append beside it {wait:.2?} at the longest");
}

/// Does a step while somebody appends, one record at a time. Answers how long the step took, and the longest append.
fn longest_append(store: &Store, step: impl FnOnce()) -> (Duration, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            for serial in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let body = format!("{serial} is appended while something goes on");
                let at = Timestamp::from_micros(Disk::new().now().as_micros());
                let one = Record::new("customer-99999", "call", "EU", at, body).unwrap();
                longest = longest.max(timed(|| store.append(vec![one]).unwrap().wait().unwrap()));
            }
            longest
        });
        let took = timed(step);
        done.store(true, Ordering::Relaxed);
        (took, appending.join().unwrap())
    })
}

/// Erasures one at a time, done here, and asked for by another opener and then done here.
fn beside(store: &Store, dir: &Path) {
    let reader = Store::options(dir.join("calls")).accept_weak_erasure().open_read_only().unwrap();
    let (mut here, mut asked) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let [one, other] = [10_000, 20_000].map(|first| format!("customer-{}", first + number));
        store.maintain(Budget::ALL).unwrap();
        here.push(timed(|| drop(store.erase(&[&one]).unwrap().unwrap())));
        let longest = std::thread::scope(|scope| {
            let asking = scope.spawn(|| reader.request_erase(&[&other], Duration::from_secs(60)).unwrap().unwrap());
            let mut longest = Duration::ZERO;
            while !asking.is_finished() {
                longest = longest.max(timed(|| {
                    store.maintain(Budget::ALL).unwrap();
                }));
            }
            longest
        });
        asked.push(longest);
    }
    let (here, asked) = (median(here), median(asked));
    println!("erase one of 95000 customers: {here:.2?}, when another process asks for it {asked:.2?}");
}
