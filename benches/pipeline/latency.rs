//! Single durable appends of 64 threads against a bare fdatasync of the same size on a preallocated file, in turns.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenure::{Record, Store};

use crate::Figures;
use crate::load::Load;
use crate::store::directory;

const THREADS: usize = 64;
const TURNS: usize = 5;
/// Appends of each thread in a turn.
const APPENDS: usize = 60;
const SYNCS: usize = 300;

/// Zeros written and synced first, so that a sync finds its blocks; each write is as long as a commit of one record.
fn syncs(path: &Path, length: usize, times: &mut Vec<Duration>) {
    let file = File::create(path).unwrap();
    file.write_all_at(&vec![0; length * (SYNCS + 1)], 0).unwrap();
    file.sync_all().unwrap();
    for number in 0..SYNCS {
        let began = Instant::now();
        file.write_all_at(&vec![7; length], (number * length) as u64).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    std::fs::remove_file(path).unwrap();
}

fn appends(store: &Store, turn: usize, record: impl Fn(usize, usize) -> Record + Sync, times: &mut Vec<Duration>) {
    std::thread::scope(|scope| {
        let record = &record;
        let running: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let one = |number: usize| {
                        let record = record(thread, turn * APPENDS + number);
                        let began = Instant::now();
                        store.append(vec![record]).unwrap().wait().unwrap();
                        began.elapsed()
                    };
                    (0..APPENDS).map(one).collect::<Vec<Duration>>()
                })
            })
            .collect();
        times.extend(running.into_iter().flat_map(|thread| thread.join().unwrap()));
    });
}

fn percentiles(name: &str, mut times: Vec<Duration>) -> [(String, f64); 2] {
    times.sort_unstable();
    let ms = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    [(format!("{name}_p50_ms"), ms(50)), (format!("{name}_p99_ms"), ms(99))]
}

/// Measures all of it.
pub fn run() -> Figures {
    let load = Load::new(0);
    let dir = directory();
    let store = Store::options(dir.path().join("calls")).worker().create().unwrap();
    let records: Vec<Record> = (0..10).flat_map(|number| load.batch(0, number).0.records).collect();
    for chunk in records.chunks(1_000) {
        store.append(chunk.to_vec()).unwrap().wait().unwrap();
    }
    let fresh = AtomicUsize::new(0);
    let known = |thread: usize, number: usize| records[(thread * 131 + number) % records.len()].clone();
    let new = |thread: usize, number: usize| {
        let Record { stream, at, body, .. } = known(thread, number);
        let name = format!("new-{}", fresh.fetch_add(1, Ordering::Relaxed));
        Record::new(&name, stream.class(), stream.jurisdiction(), at, body).unwrap()
    };
    let (mut bare, mut of_known, mut of_new) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        syncs(&dir.path().join("bare"), 1_300, &mut bare);
        appends(&store, turn, known, &mut of_known);
        syncs(&dir.path().join("bare"), 1_300, &mut bare);
        appends(&store, turn, new, &mut of_new);
    }
    let mut figures: Figures = [("fdatasync", bare), ("known", of_known), ("new", of_new)]
        .into_iter()
        .flat_map(|(name, times)| percentiles(name, times))
        .collect();
    for name in ["known", "new"] {
        figures.insert(
            format!("{name}_p99_to_fdatasync_p50"),
            figures[&format!("{name}_p99_ms")] / figures["fdatasync_p50_ms"],
        );
    }
    figures
}
