//! Taking in: how much raw text a second until it is settled, and what that costs in writing and memory.

use std::time::{Duration, Instant};

use super::{Material, Outcome, Task, fresh};
use crate::Result;
use crate::meters::{self, Memory};
use crate::records::{Feed, Pool, Until};
use crate::subjects::{self, Making};

/// One after another, each in a store of its own, in one process: enough to choose by.
pub fn threads(task: &Task, counts: &[usize], batch: usize, seconds: f64) -> Result<Outcome> {
    let material = Material::load(task)?;
    let (pool, training) = (material.pool(task)?, material.training());
    let mut outcome = Outcome::default();
    for threads in counts {
        let one = take_in(task, &pool, material.making(&training), *threads, batch, seconds)?;
        outcome.set(&threads.to_string(), one.figures["MB/s"]);
    }
    Ok(outcome)
}

pub fn ingest(task: &Task, threads: usize, batch: usize, seconds: f64) -> Result<Outcome> {
    let material = Material::load(task)?;
    let (pool, training) = (material.pool(task)?, material.training());
    take_in(task, &pool, material.making(&training), threads, batch, seconds)
}

fn take_in(
    task: &Task,
    pool: &Pool,
    making: Making<'_>,
    threads: usize,
    batch: usize,
    seconds: f64,
) -> Result<Outcome> {
    let dir = fresh(&task.dir)?;
    let memory = Memory::watch()?;
    let subject = subjects::open(&task.name, dir, making)?;
    let written = meters::bytes_written()?;
    let worked = meters::processor_seconds()?;
    let began = Instant::now();
    let feed = Feed::new(pool, batch, Until::Time(began + Duration::from_secs_f64(seconds)));
    subject.ingest(&feed, threads)?;
    let taken_in = began.elapsed().as_secs_f64();
    subject.settle()?;
    let settled = began.elapsed().as_secs_f64();
    let processor = meters::processor_seconds()?;
    let (own, system) = (processor.0 - worked.0, processor.1 - worked.1);
    let (records, bytes) = feed.handed_out();
    let mut outcome = Outcome { settings: subject.settings(), state: subject.state(), ..Outcome::default() };
    outcome.set("MB/s", bytes as f64 / settled / 1e6);
    outcome.set("records/s", records as f64 / settled);
    outcome.set("MB/processor second", bytes as f64 / (own + system) / 1e6);
    outcome.set("share of the system", system / (own + system));
    outcome.set("seconds", settled);
    outcome.set("seconds settling", settled - taken_in);
    outcome.set("peak memory", memory.peak()? as f64);
    let record_bytes = subject.record_bytes()?;
    // What is still to be written belongs to it.
    subject.close()?;
    let written = meters::bytes_written()? - written;
    outcome.set("bytes written", written as f64);
    outcome.set("raw bytes", bytes as f64);
    outcome.set("disk bytes", meters::disk_bytes(dir)? as f64);
    if let Some(record_bytes) = record_bytes {
        outcome.set("record bytes", record_bytes as f64);
        outcome.set("write amplification", written as f64 / record_bytes as f64);
    }
    std::fs::remove_dir_all(dir)?;
    Ok(outcome)
}
