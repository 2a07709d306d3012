//! What grows with records and customers, and what does not: ingest, opening, timelines, erasure, expiry, memory and
//! files at 20,000 and 200,000 records, or as many as are asked for.
//!
//! ```text
//! cargo bench --bench scale -- 100000 1000000 10000000      a tenth as many customers each; RECORDS/CUSTOMERS says otherwise
//! ```
//! Bodies are short on purpose (some 80 bytes), so that numbers and not bytes are what grows. One table at the end.

#![allow(clippy::disallowed_methods)] // It measures the machine.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tenure::report::Budget;
use tenure::{Day, ExpireOptions, Record, Store, Timestamp};

const BATCH: u64 = 1_000;
const MONTHS: u64 = 12;
const SECOND: i64 = 1_000_000;
/// 2025-01-01T00:00:00Z.
const START: i64 = 1_735_689_600 * SECOND;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A number that looks like chance (splitmix64).
fn mixed(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn customer(number: u64) -> String {
    format!("c-{number:08}")
}

/// Record `number`: in the order of time, as records come, each of a customer by chance.
fn record(number: u64, records: u64, customers: u64) -> tenure::Result<Record> {
    let at = START + (number as i64) * (365 * 86_400 * SECOND / records as i64);
    let body = format!("record {number} of somebody who asked about parcel {}", mixed(number) % 100_000);
    Record::new(&customer(mixed(number) % customers), "chat", "EU", Timestamp::from_micros(at), body)
}

/// The most memory since it was last forgotten, in MB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn ingest(store: &Store, records: u64, customers: u64) -> Outcome<Duration> {
    let next = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let work = || -> Result<(), tenure::Error> {
            let mut flying = VecDeque::new();
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= records {
                    return flying.iter().try_for_each(tenure::Commit::wait);
                }
                let batch = (first..records.min(first + BATCH)).map(|number| record(number, records, customers));
                flying.push_back(store.append(batch.collect::<tenure::Result<Vec<_>>>()?)?);
                if flying.len() >= 2 {
                    flying.pop_front().expect("two are flying").wait()?;
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no thread panics"))
    })?;
    store.settle()?;
    Ok(began.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> tenure::Result<T>) -> Outcome<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

fn row(records: u64, customers: u64) -> Outcome<String> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = || Store::options(dir.path().join("calls")).worker().accept_weak_erasure();
    forget_peak();
    let before = peak();
    let store = options().create()?;
    let took = ingest(&store, records, customers)?;
    let pause = store.stats()?.longest_pause;
    let grown = peak().saturating_sub(before);
    store.maintain(Budget::ALL)?;
    store.close()?;

    let opening = |_| timed(|| options().open()?.close());
    let open = median((0..5).map(opening).collect::<Outcome<_>>()?);
    let store = options().open()?;
    let reading =
        |number| timed(|| store.timeline(&customer(mixed(number) % customers), ..)?.try_for_each(|one| one.map(drop)));
    let timeline = median((0..301).map(reading).collect::<Outcome<_>>()?);
    let erasing = |number| timed(|| store.erase(&[&customer(mixed(number) % customers)]));
    let erase = median((1_000..1_009).map(erasing).collect::<Outcome<_>>()?);
    store.set_policy_confirmed(
        "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P1D\"\n",
        "the measurement",
    )?;
    let expiring = |month: u64| {
        let end: Day = format!("2025-{:02}-03", month + 2).parse().expect("a day of 2025");
        timed(|| store.expire(ExpireOptions { now: Some(end.start()), ..ExpireOptions::default() }))
    };
    let expire = median((0..MONTHS / 2 - 1).map(expiring).collect::<Outcome<_>>()?);
    let stats = store.stats()?;
    store.close()?;
    let (rate, ms) = (records as f64 / took.as_secs_f64(), |time: Duration| time.as_secs_f64() * 1e3);
    Ok(format!(
        "| {records} | {customers} | {rate:.0} | {:.0} | {grown} | {:.2} | {:.0} | {:.2} | {:.2} | {:.1} |",
        ms(pause),
        ms(open),
        ms(timeline) * 1e3,
        ms(erase),
        ms(expire),
        stats.keyring_bytes as f64 / 1e6,
    ))
}

fn main() -> Outcome<()> {
    let mut sizes = Vec::new();
    // Words that are no sizes belong to other benches.
    for word in std::env::args().skip(1) {
        let (records, customers) = word.split_once('/').unwrap_or((&word, ""));
        if let Ok(records @ 1_000..) = records.parse::<u64>() {
            sizes.push((records, customers.parse().unwrap_or(records / 10)));
        }
    }
    // What `cargo bench` of everything runs: a few seconds.
    if sizes.is_empty() {
        sizes = vec![(20_000, 2_000), (200_000, 20_000)];
    }
    let rows: Vec<String> =
        sizes.iter().map(|(records, customers)| row(*records, *customers)).collect::<Outcome<_>>()?;
    println!(
        "| records | customers | records/s | longest pause ms | memory MB | open+close ms | timeline us | erase ms | expire ms | keyring MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}
