//! The store on the same records: batches of 1,000, a sync each, two in flight per thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenure::{Commit, Store};

use crate::Figures;
use crate::load::{BATCH, Load};
use crate::process;

/// Batches of one thread that are appended and not yet known durable.
const IN_FLIGHT: usize = 2;

/// A directory for a store, removed in the end.
pub fn directory() -> tempfile::TempDir {
    match std::env::var_os("TENURE_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

#[derive(Default)]
struct Times {
    raw: u64,
    appends: Vec<Duration>,
    waits: Vec<Duration>,
}

fn timed<T>(times: &mut Vec<Duration>, step: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = step();
    times.push(began.elapsed());
    value
}

fn work(store: &Store, load: &Load, thread: usize, batches: usize) -> Times {
    let mut times = Times::default();
    let mut in_flight: VecDeque<Commit> = VecDeque::new();
    for number in 0..batches {
        let (batch, _) = load.batch(thread, number);
        times.raw += batch.records.iter().map(|record| record.body.len() as u64).sum::<u64>();
        in_flight.push_back(timed(&mut times.appends, || store.append(batch).unwrap()));
        if in_flight.len() > IN_FLIGHT {
            timed(&mut times.waits, || in_flight.pop_front().unwrap().wait().unwrap());
        }
    }
    for commit in in_flight {
        commit.wait().unwrap();
    }
    times
}

/// Measures it on `threads` threads, with the store's own worker beside them.
pub fn run(threads: usize, customers: usize, megabytes: usize) -> Figures {
    let load = Load::new(customers);
    let dir = directory();
    let batches = (megabytes as f64 * 1e6 / load.average() / (BATCH * threads) as f64).ceil() as usize;
    let mut options = Store::options(dir.path().join("calls"));
    if std::env::var_os("TENURE_NO_WORKER").is_none() {
        options = options.worker();
    }
    let store = options.create().unwrap();
    let loaded = process::resident_mib();
    let (cpu, written, began) = (process::cpu_seconds(), process::written_bytes(), Instant::now());
    let done = AtomicUsize::new(0);
    let times: Vec<Times> = std::thread::scope(|scope| {
        let (store, load, done) = (&store, &load, &done);
        let run = move |thread| {
            let times = work(store, load, thread, batches);
            done.fetch_add(1, Ordering::Relaxed);
            times
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    store.settle().unwrap();
    let settled = began.elapsed().as_secs_f64();
    let cpu = process::cpu_seconds() - cpu;
    let written = process::written_bytes() - written;
    let peak = process::peak_mib();
    let raw = times.iter().map(|times| times.raw).sum::<u64>() as f64;
    let stats = store.stats().unwrap();
    let kept = stats.partitions.iter().map(|partition| partition.stored_bytes).sum::<u64>() as f64;
    let records: u64 = stats.partitions.iter().map(|partition| partition.records).sum();
    assert_eq!(records as usize, threads * batches * BATCH);
    let mut appends: Vec<Duration> = times.iter().flat_map(|times| times.appends.clone()).collect();
    appends.sort_unstable();
    let waits = times.iter().flat_map(|times| times.waits.iter().max()).max().copied().unwrap_or_default();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let figures = [
        ("seconds", seconds),
        ("settled_seconds", settled),
        ("cpu_seconds", cpu),
        ("megabytes", raw / 1e6),
        ("customers", stats.customers as f64),
        ("cells", (load.customers() * load.months()) as f64),
        ("longest_append_ms", ms(appends[appends.len() - 1])),
        ("p99_append_ms", ms(appends[appends.len() * 99 / 100])),
        ("longest_wait_ms", ms(waits)),
        ("peak_mib", peak),
        ("loaded_mib", loaded),
        ("written_to_segment", written / kept),
        ("kept_of_raw", kept / raw),
    ];
    figures.map(|(name, value)| (name.to_owned(), value)).into()
}
