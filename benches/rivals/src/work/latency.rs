//! How long one record takes until it is durable, and what the bare sync under it takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Material, Outcome, Task, fresh, quantile};
use crate::Result;
use crate::records::{Feed, Item, Pool, Until};
use crate::subjects::{self, Subject, on_threads};

/// Sets what is told of so many waits, each figure under a name that begins so.
fn figures(outcome: &mut Outcome, whose: &str, mut micros: Vec<f64>) {
    micros.sort_by(f64::total_cmp);
    for (name, value) in [
        ("p50", quantile(&micros, 0.5)),
        ("p99", quantile(&micros, 0.99)),
        ("max", quantile(&micros, 1.0)),
        ("count", micros.len() as f64),
    ] {
        outcome.set(&format!("{whose}{name}"), value);
    }
}

/// How long each of many single appends took, in microseconds: of customers who have written before, or of one new
/// customer each.
fn appends(subject: &dyn Subject, pool: &Pool, threads: usize, seconds: f64, newcomers: bool) -> Result<Vec<f64>> {
    let all = Mutex::new(Vec::new());
    let feed = Feed::new(pool, 1, Until::Time(Instant::now() + Duration::from_secs_f64(seconds))).again();
    on_threads(threads, |_| {
        let mut appender = subject.appender()?;
        let mut mine = Vec::new();
        while let Some(items) = feed.next() {
            for item in &items {
                let name = format!("new-{:08}", item.sequence);
                let name = if newcomers { name.as_str() } else { item.name };
                let start = Instant::now();
                appender.append(&[Item { name, ..*item }])?;
                mine.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        all.lock().expect("no holder panics").extend(mine);
        Ok(())
    })?;
    Ok(all.into_inner()?)
}

pub fn latency(task: &Task, threads: usize, seconds: f64) -> Result<Outcome> {
    let material = Material::load(task)?;
    let (pool, training) = (material.pool(task)?, material.training());
    let dir = fresh(&task.dir)?;
    let subject = subjects::open(&task.name, dir, material.making(&training))?;
    // Customers are known: everybody has written before.
    subject.ingest(&Feed::new(&pool, 1_000, Until::Once), crate::cores())?;
    subject.settle()?;
    let mut outcome = Outcome::default();
    for (whose, newcomers) in [("", false), ("new ", true)] {
        let began = Instant::now();
        let micros = appends(&*subject, &pool, threads, seconds, newcomers)?;
        outcome.set(&format!("{whose}records/s"), micros.len() as f64 / began.elapsed().as_secs_f64());
        figures(&mut outcome, whose, micros);
    }
    outcome.settings = subject.settings();
    subject.close()?;
    std::fs::remove_dir_all(dir)?;
    Ok(outcome)
}

/// The file is reserved and written through once, so that a sync has no block to find and no length to change.
pub fn fdatasync(task: &Task, bytes: usize, seconds: f64) -> Result<Outcome> {
    const LENGTH: u64 = 64 << 20;
    let dir = fresh(&task.dir)?;
    let file = File::options().create_new(true).write(true).open(dir.join("bare"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, LENGTH)?;
    let zeros = vec![0; 1 << 20];
    for block in 0..LENGTH >> 20 {
        file.write_all_at(&zeros, block << 20)?;
    }
    file.sync_all()?;
    let block = vec![0x5a; bytes];
    let mut micros = Vec::new();
    let mut offset = 0;
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        file.write_all_at(&block, offset)?;
        file.sync_data()?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        offset = (offset + bytes as u64) % (LENGTH - bytes as u64);
    }
    std::fs::remove_dir_all(dir)?;
    let settings = format!("write of {bytes} B and fdatasync, one thread, file reserved and written through before");
    let mut outcome = Outcome { settings, ..Outcome::default() };
    figures(&mut outcome, "", micros);
    Ok(outcome)
}
