//! Opening, erasing and expiring with so many records and with ten times as many, of the same customers in the same
//! windows. The two take turns, so that what else the machine does meets both.

use std::time::Instant;

use super::{Material, Outcome, Task, fresh, quantile};
use crate::Result;
use crate::corpus;
use crate::records::{Feed, Pool, Until};
use crate::subjects::{self, Making, Subject};

/// Erasures in each store.
const ERASURES: usize = 60;
/// Months that are expired in each, one at a time.
const MONTHS: usize = 10;
/// How often each is opened.
const OPENINGS: usize = 9;

fn timed(step: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    step()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Does one thing to both in turns; sets both medians and their ratio.
fn compare(
    outcome: &mut Outcome,
    what: &str,
    rounds: usize,
    mut step: impl FnMut(usize, usize) -> Result<f64>,
) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (which, times) in times.iter_mut().enumerate() {
            times.push(step(which, round)?);
        }
    }
    let [once, tenfold] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        quantile(&times, 0.5)
    });
    outcome.set(&format!("{what} ms"), once);
    outcome.set(&format!("{what} ms at 10x"), tenfold);
    outcome.set(&format!("{what} 10x"), tenfold / once);
    Ok(())
}

pub fn letting_go(task: &Task, customers: u32, each: usize) -> Result<Outcome> {
    let material = Material::load(task)?;
    let pools = [corpus::sparse(customers, each), corpus::sparse(customers, each * 10)];
    let dirs = ["once", "tenfold"].map(|name| task.dir.join(name));
    let making: Making<'_> =
        Making { dictionary: Some(&material.dictionary), shared: Some(&material.shared), ..Making::default() };
    let mut outcome = Outcome::default();
    for (pool, dir) in pools.iter().zip(&dirs) {
        let subject = subjects::open(&task.name, fresh(dir)?, making)?;
        subject.ingest(&Feed::new(pool, 1_000, Until::Once), crate::cores())?;
        subject.settle()?;
        subject.tidy()?;
        outcome.settings = subject.settings();
        subject.close()?;
    }
    compare(&mut outcome, "open", OPENINGS, |which, _| {
        let mut opened = None;
        let took = timed(|| {
            opened = Some(subjects::open(&task.name, &dirs[which], making)?);
            Ok(())
        })?;
        opened.map_or(Ok(()), |subject| subject.close())?;
        Ok(took)
    })?;
    let stores: Result<Vec<Box<dyn Subject>>> =
        dirs.iter().map(|dir| subjects::open(&task.name, dir, making)).collect();
    let stores = stores?;
    compare(&mut outcome, "erase", ERASURES, |which, round| {
        timed(|| stores[which].erase(&pools[which].names[round * 7 + 1]))
    })?;
    gone(&stores, &pools)?;
    stores.iter().try_for_each(|store| store.will_expire())?;
    compare(&mut outcome, "expire", MONTHS, |which, month| timed(|| stores[which].expire(&pools[which], month)))?;
    stores.into_iter().try_for_each(|store| store.close())?;
    std::fs::remove_dir_all(&task.dir)?;
    Ok(outcome)
}

/// Who was erased has no records any more, and who was not has all.
fn gone(stores: &[Box<dyn Subject + '_>], pools: &[Pool; 2]) -> Result<()> {
    for (store, pool) in stores.iter().zip(pools) {
        let mut reader = store.reader()?;
        let left = u64::from(pool.counts()[2]);
        let seen = [reader.timeline(&pool.names[1])?.records, reader.timeline(&pool.names[2])?.records];
        if seen != [0, left] {
            return Err(format!("after erasing one, timelines have {seen:?} records").into());
        }
    }
    Ok(())
}
