//! Reading: opening, timelines of typical and of heavy customers, single records, everything.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Material, Outcome, Task, fresh, quantile};
use crate::Result;
use crate::generated::Numbers;
use crate::meters::{self, Memory};
use crate::records::{Feed, Pool, Until};
use crate::subjects::{self, Making, Reader, Seen, Subject};

/// Where Tenure's second store stands: the same records as one stream in one yearly window, so that every cell that a scan
/// looks for is there. Whoever knows no windows has one store for both scans.
pub fn year_dir(dir: &Path) -> PathBuf {
    dir.with_extension("year")
}

fn has_windows(task: &Task) -> bool {
    task.name.engine == "tenure"
}

/// Makes the store and leaves it there, with nothing left to do in the background.
pub fn fill(task: &Task) -> Result<Outcome> {
    let material = Material::load(task)?;
    let (pool, training) = (material.pool(task)?, material.training());
    let mut outcome = fill_one(task, &task.dir, &pool, material.making(&training))?;
    outcome.set("disk bytes", meters::disk_bytes(&task.dir)? as f64);
    outcome.set("raw bytes", pool.bytes() as f64);
    if has_windows(task) {
        let making = Making { yearly: true, ..material.making(&training) };
        fill_one(task, &year_dir(&task.dir), &pool.in_one_stream(), making)?;
    }
    Ok(outcome)
}

fn fill_one(task: &Task, dir: &Path, pool: &Pool, making: Making<'_>) -> Result<Outcome> {
    let subject = subjects::open(&task.name, fresh(dir)?, making)?;
    subject.ingest(&Feed::new(pool, 1_000, Until::Once), crate::cores())?;
    subject.settle()?;
    subject.tidy()?;
    let outcome = Outcome { settings: subject.settings(), state: subject.state(), ..Outcome::default() };
    subject.close()?;
    meters::warm(dir)?;
    Ok(outcome)
}

/// Who is asked for, in an order that has nothing to do with how they lie.
struct Crowd {
    typical: Vec<u32>,
    heavy: Vec<u32>,
}

impl Crowd {
    fn of(pool: &Pool) -> Self {
        let counts = pool.counts();
        let mut some: Vec<u32> = counts.iter().copied().filter(|count| *count > 0).collect();
        some.sort_unstable();
        let median = some[some.len() / 2];
        let with = |wanted: &dyn Fn(u32) -> bool| {
            let chosen =
                counts.iter().enumerate().filter(|(_, count)| wanted(**count)).map(|(number, _)| number as u32);
            let mut chosen: Vec<u32> = chosen.collect();
            let mut n = Numbers(3);
            (1..chosen.len()).rev().for_each(|last| chosen.swap(last, n.below(last as u64 + 1) as usize));
            chosen
        };
        Crowd { typical: with(&|count| count == median), heavy: with(&|count| count >= 30) }
    }
}

/// What timelines took, in microseconds, and how much was read.
struct Timelines {
    mean: f64,
    p50: f64,
    p99: f64,
    /// The median of those of customers who had not been asked for before.
    first: f64,
    rate: f64,
}

/// Timelines of these customers, one after another and then again, for so long.
fn timelines(reader: &mut dyn Reader, pool: &Pool, crowd: &[u32], seconds: f64) -> Result<Timelines> {
    let counts = pool.counts();
    let (warm, asked) = crowd.split_at((crowd.len() / 10).min(100));
    for number in warm {
        reader.timeline(&pool.names[*number as usize])?;
    }
    let (mut micros, mut seen) = (Vec::new(), Seen::default());
    let began = Instant::now();
    for number in asked.iter().cycle() {
        let start = Instant::now();
        let one = reader.timeline(&pool.names[*number as usize])?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        if one.records != u64::from(counts[*number as usize]) {
            return Err(format!("{} records in a timeline of {}", one.records, counts[*number as usize]).into());
        }
        seen.add(one);
        if began.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let mut first = micros[..asked.len().min(micros.len())].to_vec();
    first.sort_by(f64::total_cmp);
    micros.sort_by(f64::total_cmp);
    Ok(Timelines {
        mean: took * 1e6 / micros.len() as f64,
        p50: quantile(&micros, 0.5),
        p99: quantile(&micros, 0.99),
        first: quantile(&first, 0.5),
        rate: seen.bytes as f64 / took / 1e6,
    })
}

fn gets(reader: &mut dyn Reader, pool: &Pool, crowd: &[u32], seconds: f64) -> Result<f64> {
    let mut wanted = vec![false; pool.names.len()];
    crowd.iter().take(1_000).for_each(|number| wanted[*number as usize] = true);
    let chosen = (0..pool.records.len()).filter(|index| wanted[pool.records[*index].customer as usize]);
    let mut items: Vec<_> = chosen.map(|index| pool.item(index as u64)).collect();
    items.sort_by_key(|item| item.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    reader.prepare(&items)?;
    let began = Instant::now();
    let mut count = 0_u32;
    for item in items.iter().cycle() {
        let seen = reader.get(item)?;
        if (seen.records, seen.bytes) != (1, item.body.len() as u64) {
            return Err("a record was not found, or another".into());
        }
        count += 1;
        if began.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn scan(subject: &dyn Subject, pool: &Pool, seconds: f64) -> Result<f64> {
    let all = Seen { records: pool.records.len() as u64, bytes: pool.bytes() };
    let (mut rounds, began) = (0_u32, Instant::now());
    while rounds == 0 || began.elapsed().as_secs_f64() < seconds {
        let seen = subject.scan(crate::cores())?;
        if seen != all {
            return Err(format!("a scan saw {seen:?} of {all:?}").into());
        }
        rounds += 1;
    }
    Ok(all.bytes as f64 * f64::from(rounds) / began.elapsed().as_secs_f64() / 1e6)
}

pub fn reads(task: &Task, seconds: f64) -> Result<Outcome> {
    let material = Material::load(task)?;
    let pool = material.pool(task)?;
    let is_kernel = task.name.engine == "kernel";
    let memory = Memory::watch()?;
    let began = Instant::now();
    let subject = subjects::open(&task.name, &task.dir, Making { keeps: is_kernel, ..material.making(&[]) })?;
    let opened = began.elapsed().as_secs_f64() * 1e3;
    if is_kernel {
        subject.ingest(&Feed::new(&pool, 1_000, Until::Once), 1)?;
    }
    let crowd = Crowd::of(&pool);
    let mut outcome = Outcome { settings: subject.settings(), state: subject.state(), ..Outcome::default() };
    let mut reader = subject.reader()?;
    for (kind, crowd) in [("typical", &crowd.typical), ("heavy", &crowd.heavy)] {
        let Timelines { mean, p50, p99, first, rate } = timelines(&mut *reader, &pool, crowd, seconds)?;
        outcome.set(&format!("timeline {kind} us"), mean);
        outcome.set(&format!("timeline {kind} p50"), p50);
        outcome.set(&format!("timeline {kind} p99"), p99);
        outcome.set(&format!("timeline {kind} first p50"), first);
        outcome.set(&format!("timeline {kind} MB/s"), rate);
    }
    if !is_kernel {
        outcome.set("get us", gets(&mut *reader, &pool, &crowd.typical, seconds)?);
        outcome.set("open ms", opened);
    }
    drop(reader);
    let sparse = scan(&*subject, &pool, seconds)?;
    outcome.set("peak memory", memory.peak()? as f64);
    subject.close()?;
    if !is_kernel && !has_windows(task) {
        outcome.set("scan MB/s", sparse);
        return Ok(outcome);
    }
    outcome.set("sparse scan MB/s", sparse);
    let pool = pool.in_one_stream();
    let making = Making { keeps: is_kernel, yearly: true, ..material.making(&[]) };
    let subject = subjects::open(&task.name, &year_dir(&task.dir), making)?;
    if is_kernel {
        subject.ingest(&Feed::new(&pool, 1_000, Until::Once), 1)?;
    }
    outcome.set("scan MB/s", scan(&*subject, &pool, seconds)?);
    subject.close()?;
    Ok(outcome)
}
