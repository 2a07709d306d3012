//! Maintenance: do what other processes ask, settle full journal files, fold and compact the keyring, merge segments, within a budget.

use crate::engine::{
    Engine, Writer, access, column, forget, housekeeping, lease, merge, request, scrub, settle, train,
};
use crate::error::Result;
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
    keep_house(engine, writer, budget, writer.tuning.merge_at_least, &mut done)?;
    let within = || engine.env.monotonic().saturating_sub(began) < budget.time;
    // Nobody is kept waiting for seconds of training.
    let stop = || writer.closing.load(Ordering::Relaxed) || !within();
    while !done.more && within() {
        let Some(trained) = train::next(engine, &stop)? else { break };
        done.dictionaries_trained += u64::from(trained.is_some());
    }
    Ok(done)
}

/// Everything but training, one thread at a time. Partitions are merged that have `merge_at_least` small segments.
///
/// # Errors
/// As [`maintain`].
pub fn keep_house(
    engine: &Engine,
    writer: &Writer,
    budget: Budget,
    merge_at_least: usize,
    done: &mut Maintenance,
) -> Result<()> {
    let _one_at_a_time = writer.housekeep_beside_settling()?;
    let began = engine.env.monotonic();
    let settling = writer.settle_alone()?;
    request::serve(engine, writer)?;
    drop(settling);
    while step(engine, writer, merge_at_least, done)? {
        if engine.env.monotonic().saturating_sub(began) >= budget.time {
            done.more = true;
            break;
        }
    }
    lease::record_fenced(engine, writer)?;
    access::tell_ledger_in_passing(engine)?;
    engine.catalog.sweep().map(drop)
}

/// Does the most urgent thing there is; `false` where nothing is due. Others may settle while it folds or merges, which
/// can take long.
fn step(engine: &Engine, writer: &Writer, merge_at_least: usize, done: &mut Maintenance) -> Result<bool> {
    let settling = writer.settle_alone()?;
    if let Some(file) = housekeeping::waiting(engine).into_iter().next() {
        settle::settle(engine, &file, done)?;
        // Whoever waits for a commit need not wait for the next settling as well.
        writer.committer.commit_waiting(&engine.tools(writer));
        return Ok(true);
    }
    drop(settling);
    if housekeeping::fold_is_due(engine, writer) {
        done.entries_folded += housekeeping::fold(engine)?;
        return Ok(true);
    }
    if engine.keyring.needs_compaction() {
        housekeeping::compact(engine)?;
        done.keyring_compacted = true;
        return Ok(true);
    }
    if forget::is_due(engine) {
        let _settling = writer.settle_alone()?;
        done.customers_forgotten += forget::forget(engine)?;
        return Ok(true);
    }
    if scrub::is_due(engine) {
        let _settling = writer.settle_alone()?;
        scrub::scrub(engine, done)?;
        return Ok(true);
    }
    if engine.trim_due.load(Ordering::Relaxed) {
        column::trim(engine, done)?;
        return Ok(true);
    }
    match merge::candidate(engine, merge_at_least) {
        Some((partition, slots)) => merge::merge(engine, partition, slots, done).map(|()| true),
        None => Ok(false),
    }
}

/// Settles what the journal holds now, the growing file included.
///
/// # Errors
/// What made an earlier commit fail, or the first step that fails.
pub fn settle(engine: &Engine) -> Result<Maintenance> {
    housekeeping::settle_all(engine)
}

/// Drops every dead frame there is, in the journal as well as in segments.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn scrub(engine: &Engine) -> Result<Maintenance> {
    let _one_at_a_time = engine.writer()?.housekeep()?;
    let mut done = Maintenance::default();
    scrub::scrub(engine, &mut done)?;
    column::trim(engine, &mut done)?;
    engine.catalog.sweep()?;
    Ok(done)
}
