//! What grows with records and customers, and what does not: taking in, opening, timelines, erasing, expiring, memory,
//! files. Bodies are short on purpose (some 80 bytes), so that numbers and not bytes are what grows.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tenure::report::Budget;
use tenure::{Day, ExpireOptions, Record, Store, Timestamp};

use super::{Outcome, Task, fresh, quantile};
use crate::Result;
use crate::generated::Numbers;
use crate::meters::{self, Memory};
use crate::records::{YEAR, YEAR_START};
use crate::subjects::on_threads;

const BATCH: u64 = 1_000;
const IN_FLIGHT: usize = 2;
const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P1D\"\n";

/// The customer of a record: one by chance.
fn customer(record: u64, customers: u64) -> String {
    format!("c-{:08}", Numbers(record).below(customers))
}

/// Record `number`, in the order of time, as records come.
fn record(number: u64, records: u64, customers: u64) -> tenure::Result<Record> {
    let at = YEAR_START + number as i64 * (YEAR / records as i64);
    let parcel = Numbers(number ^ 0x7061_7263_656c).below(100_000);
    let body = format!("record {number} of somebody who asked about parcel {parcel}");
    Record::new(&customer(number, customers), "chat", "EU", Timestamp::from_micros(at), body)
}

/// The longest that anybody waited: for a call that appends to return, and for what it appended to be durable.
#[derive(Clone, Copy, Default)]
struct Longest {
    call: Duration,
    durable: Duration,
}

/// Takes in everything; every call is timed.
fn ingest(store: &Store, records: u64, customers: u64) -> Result<Longest> {
    let (next, longest) = (AtomicU64::new(0), Mutex::new(Longest::default()));
    on_threads(crate::cores(), |_| {
        let (mut flying, mut mine) = (VecDeque::new(), Longest::default());
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let over = first >= records;
            while flying.len() >= if over { 1 } else { IN_FLIGHT } {
                let (commit, began): (tenure::Commit, Instant) = flying.pop_front().expect("it is not empty");
                commit.wait()?;
                mine.durable = mine.durable.max(began.elapsed());
            }
            if over {
                break;
            }
            let batch = (first..records.min(first + BATCH)).map(|number| record(number, records, customers));
            let batch = batch.collect::<tenure::Result<Vec<_>>>()?;
            let began = Instant::now();
            flying.push_back((store.append(batch)?, began));
            mine.call = mine.call.max(began.elapsed());
        }
        let mut all = longest.lock().expect("no holder panics");
        *all = Longest { call: all.call.max(mine.call), durable: all.durable.max(mine.durable) };
        Ok(())
    })?;
    Ok(longest.into_inner()?)
}

/// Looks every few milliseconds how many bytes a directory has, until told to stop; the most.
fn most_bytes(dir: &Path, stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        // A file that is removed while we look is one that no longer counts.
        most = most.max(meters::disk_bytes(dir).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    most
}

/// The median of what so many steps took, in milliseconds.
fn median(steps: impl Iterator<Item = u64>, mut step: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for number in steps {
        let began = Instant::now();
        step(number)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(quantile(&times, 0.5))
}

pub fn scale(task: &Task, records: u64, customers: u64) -> Result<Outcome> {
    let dir = fresh(&task.dir)?.join("calls");
    let options = || Store::options(&dir).worker().accept_weak_erasure();
    let mut outcome = Outcome::default();
    outcome.set("records", records as f64);
    outcome.set("customers", customers as f64);
    let memory = Memory::watch()?;
    let store = options().create()?;
    let (stop, journal, began) = (AtomicBool::new(false), dir.join("journal"), Instant::now());
    let (longest, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| most_bytes(&journal, &stop));
        let longest = ingest(&store, records, customers);
        stop.store(true, Ordering::Relaxed);
        (longest, watch.join().unwrap_or(0))
    });
    let longest = longest?;
    store.settle()?;
    let took = began.elapsed().as_secs_f64();
    outcome.set("records/s", records as f64 / took);
    outcome.set("seconds", took);
    outcome.set("longest append ms", longest.call.as_secs_f64() * 1e3);
    outcome.set("longest until durable ms", longest.durable.as_secs_f64() * 1e3);
    outcome.set("longest wait for room ms", store.stats()?.longest_pause.as_secs_f64() * 1e3);
    outcome.set("journal bytes", most as f64);
    outcome.set("peak memory", memory.peak()? as f64);
    store.maintain(Budget::ALL)?;
    store.close()?;
    outcome.set("disk bytes", meters::disk_bytes(&task.dir)? as f64);

    outcome.set("open ms", median(0..5, |_| Ok(options().open()?.close()?))?);
    let store = options().open()?;
    let timeline = median(0..301, |number| {
        Ok(store.timeline(&customer(number, customers), ..)?.try_for_each(|one| one.map(drop))?)
    })?;
    outcome.set("timeline us", timeline * 1e3);
    outcome.set(
        "erase ms",
        median(1_000..1_009, |number| {
            store.erase(&[&customer(number, customers)])?.ok_or("nobody knows the customer")?;
            Ok(())
        })?,
    );
    store.set_policy_confirmed(POLICY, "the measurement")?;
    let expire = median(2..8, |month| {
        let end: Day = format!("2025-{month:02}-03").parse()?;
        let gone = store.expire(ExpireOptions { now: Some(end.start()), ..ExpireOptions::default() })?;
        if gone.partitions.len() == 1 { Ok(()) } else { Err("not one month expired".into()) }
    })?;
    outcome.set("expire ms", expire);
    outcome.set("keyring bytes", store.stats()?.keyring_bytes as f64);
    store.close()?;
    std::fs::remove_dir_all(&task.dir)?;
    Ok(outcome)
}
