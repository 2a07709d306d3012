//! Maintenance: do what other processes ask, settle full journal files, fold and compact the keyring, merge segments, within a budget.

use crate::engine::scrub::Scrubbed;
use crate::engine::{Engine, Writer, access, column, forget, housekeeping, lease, merge, scrub, settle, train};
use crate::error::{Error, Result};
use crate::ops::serve;
use crate::report::{Budget, Maintenance};
use crate::sync::atomic::Ordering;

/// Does what other processes ask, then what is due, one step after the other, until there is none or `budget` is used up. A step once begun is
/// finished.
///
/// # Errors
/// The first step that fails; the steps before it stand.
pub fn maintain(engine: &Engine, budget: Budget) -> Result<Maintenance> {
    let writer = engine.writer()?;
    let began = engine.env.monotonic();
    let mut done = Maintenance::default();
    keep_house(engine, writer, budget, writer.tuning.merge_at_least, &mut done).map_err(|failed| failed.error)?;
    let within = || engine.env.monotonic().saturating_sub(began) < budget.time;
    // Nobody is kept waiting for seconds of training.
    let stop = || writer.closing.load(Ordering::Relaxed) || !within();
    while !done.more && within() {
        let Some(trained) = train::next(engine, &stop)? else { break };
        done.dictionaries_trained += u64::from(trained.is_some());
    }
    Ok(done)
}

/// A step that failed.
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Whether the store cannot go on taking in records without it. All else can be done later, or by another opening.
    pub is_vital: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed { error, is_vital: false }
    }
}

impl Failed {
    fn vital(error: Error) -> Self {
        Failed { error, is_vital: true }
    }
}

/// Whether there is anything to do for [`keep_house`]: asks clocks, counts and lists, and reads no file.
pub fn is_due(engine: &Engine, writer: &Writer, merge_at_least: usize) -> bool {
    !housekeeping::waiting(engine).is_empty()
        || housekeeping::fold_is_due(engine, writer)
        || engine.keyring.needs_compaction()
        || forget::is_due(engine)
        || scrub::is_due(engine)
        || engine.trim_due.load(Ordering::Relaxed)
        || engine.catalog.can_sweep()
        || merge::candidate(engine, writer, merge_at_least).is_some()
}

/// Everything but training, one thread at a time, until nothing is due, `budget` is used up, or the store is being closed.
/// Partitions are merged that have `merge_at_least` small segments.
///
/// # Errors
/// As [`maintain`].
pub fn keep_house(
    engine: &Engine,
    writer: &Writer,
    budget: Budget,
    merge_at_least: usize,
    done: &mut Maintenance,
) -> Result<(), Failed> {
    let _one_at_a_time = writer.housekeep_beside_settling()?;
    let began = engine.env.monotonic();
    let settling = writer.settle_alone()?;
    serve::serve(engine, writer)?;
    drop(settling);
    while step(engine, writer, merge_at_least, done)? {
        // A close settles what there is, and leaves the rest to the next opening.
        let is_over = engine.env.monotonic().saturating_sub(began) >= budget.time;
        if is_over || writer.closing.load(Ordering::Relaxed) {
            done.more = true;
            break;
        }
    }
    lease::record_fenced(engine, writer)?;
    access::tell_ledger_in_passing(engine)?;
    engine.catalog.sweep()?;
    done.damage = writer.trouble.damaged();
    Ok(())
}

/// Does the most urgent thing there is; `false` where nothing is due. Others may settle while it folds or merges, which
/// can take long.
fn step(engine: &Engine, writer: &Writer, merge_at_least: usize, done: &mut Maintenance) -> Result<bool, Failed> {
    let settling = writer.settle_alone()?;
    if let Some(file) = housekeeping::waiting(engine).into_iter().next() {
        settle::settle(engine, &file, done).map_err(Failed::vital)?;
        // Whoever waits for a commit need not wait for the next settling as well.
        writer.committer.commit_waiting(&engine.tools(writer));
        return Ok(true);
    }
    drop(settling);
    if housekeeping::fold_is_due(engine, writer) {
        fold(engine, done)?;
        return Ok(true);
    }
    if forget::is_due(engine) {
        let _settling = writer.settle_alone()?;
        done.customers_forgotten += forget::forget(engine)?;
        return Ok(true);
    }
    if scrub::is_due(engine) {
        let _settling = writer.settle_alone()?;
        scrub::scrub(engine, done)?; // Damage is noted, and it is not due again before that has gone.
        return Ok(true);
    }
    if engine.trim_due.load(Ordering::Relaxed) {
        column::trim(engine, done)?;
        return Ok(true);
    }
    match merge::candidate(engine, writer, merge_at_least) {
        Some((partition, slots)) => {
            let _ = merge::attempt(engine, partition, slots, done)?; // Damage is noted, and passed over from now on.
            Ok(true)
        }
        // With every fold goes a share of it: by itself it can wait for all else.
        None if engine.keyring.needs_compaction() => {
            fold(engine, done)?;
            Ok(true)
        }
        None => Ok(false),
    }
}

fn fold(engine: &Engine, done: &mut Maintenance) -> Result<(), Failed> {
    let folded = housekeeping::fold_and_carry(engine).map_err(Failed::vital)?;
    done.entries_folded += folded.entries;
    done.keyring_compacted |= folded.compacted;
    Ok(())
}

/// Settles what the journal holds now, the growing file included.
///
/// # Errors
/// What made an earlier commit fail, or the first step that fails.
pub fn settle(engine: &Engine) -> Result<Maintenance> {
    housekeeping::settle_all(engine)
}

/// Drops every dead frame there is, in the journal as well as in segments. There is `more` to do where somebody still reads
/// what it stands in: it goes on by itself after.
///
/// # Errors
/// The first step that fails; doing it again goes on from there. Damage is told after all else was done.
pub fn scrub(engine: &Engine) -> Result<Maintenance> {
    let _one_at_a_time = engine.writer()?.housekeep()?;
    let mut done = Maintenance::default();
    let scrubbed = scrub::scrub(engine, &mut done)?;
    let damage = column::trim(engine, &mut done)?;
    engine.catalog.sweep()?;
    match (scrubbed, damage) {
        (Scrubbed::Damaged(error), _) | (_, Some(error)) => return Err(error),
        (Scrubbed::Read, None) => done.more = true,
        (Scrubbed::All, None) => {}
    }
    Ok(done)
}
