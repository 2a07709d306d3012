//! The steps that keep a store in shape, one at a time: settle what waits, fold the keyring, slow appenders down.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;

use super::catalog::JournalFile;
use super::{Engine, Writer, settle};
use crate::crypto::Digest;
use crate::error::Result;
use crate::format::ledger::Fact;
use crate::keyring::Folded;
use crate::report::Maintenance;

/// Journal files that may wait to be settled before an appender settles one itself.
const WAITING_FILES: usize = 2;
/// The same where the store has a thread of its own for it.
const WAITING_FILES_WITH_WORKER: usize = 4;
/// Of so many customers one entry may wait for a fold, up to a limit: an opening after a crash takes all of them in again.
const CUSTOMERS_PER_ENTRY: u64 = 128;
const UNFOLDED_LIMIT: u64 = 1 << 16;

/// Journal files of which nothing more will be written, oldest first.
pub fn waiting(engine: &Engine) -> Vec<Arc<JournalFile>> {
    // In this order: a file is called growing before it is in any snapshot, so none that is in this one and not called
    // growing after it will grow again. The other way round, one that began in between would be settled and lost.
    let snapshot = engine.catalog.snapshot();
    let growing = engine.writer.as_ref().and_then(|writer| writer.committer.growing());
    snapshot.view.journals.iter().filter(|file| Some(file.number) != growing).cloned().collect()
}

/// Waits until more may be taken in. Before anything of it is queued: whoever is told of a failure sends it again, and it
/// would come in twice.
///
/// # Errors
/// [`crate::ErrorKind::OutOfSpace`] without ballast; what made an earlier commit fail; the first step of settling that fails.
pub fn make_room(engine: &Engine, writer: &Writer) -> Result<()> {
    writer.ballast.require(&*engine.env)?;
    if writer.committer.is_crowded() {
        paused(engine, writer, || writer.committer.flush(&engine.tools(writer)))?;
    }
    keep_up(engine, writer)
}

/// Settles where more journal files wait than an appender may leave behind.
fn keep_up(engine: &Engine, writer: &Writer) -> Result<()> {
    let limit = if writer.has_worker { WAITING_FILES_WITH_WORKER } else { WAITING_FILES };
    match waiting(engine).len() > limit {
        true => paused(engine, writer, || relieve(engine, limit)),
        false => Ok(()),
    }
}

/// Does what an append is held up by, and notes how long that took.
fn paused(engine: &Engine, writer: &Writer, step: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = engine.env.monotonic();
    step()?;
    let pause = engine.env.monotonic().saturating_sub(began).as_micros();
    writer.longest_pause.fetch_max(u64::try_from(pause).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(())
}

/// Settles until at most `limit` journal files wait: how appenders are slowed down to what the disk can take. Waits for
/// nothing but settling.
fn relieve(engine: &Engine, limit: usize) -> Result<()> {
    let writer = engine.writer()?;
    // A close settles everything itself.
    let Ok(settling) = writer.settle_alone() else { return Ok(()) };
    while let Some(file) =
        Some(waiting(engine)).filter(|files| files.len() > limit).and_then(|files| files.into_iter().next())
    {
        settle::settle(engine, &file, &mut Maintenance::default())?;
    }
    drop(settling);
    if fold_is_due(engine, writer)
        && let Some(_one_at_a_time) = writer.try_housekeep_beside_settling()
    {
        fold(engine)?;
    }
    Ok(())
}

/// Whether enough keyring entries wait to be folded. A fold writes every inner node anew that an entry falls below: with
/// many customers those are all there are, so that it waits for more entries.
pub fn fold_is_due(engine: &Engine, writer: &Writer) -> bool {
    let many = (engine.keyring.customers() / CUSTOMERS_PER_ENTRY).min(UNFOLDED_LIMIT);
    engine.keyring.unfolded() >= many.max(writer.tuning.fold_at)
}

/// Settles everything, the growing journal file included.
///
/// # Errors
/// What made an earlier commit fail, or the first step that fails.
pub fn settle_all(engine: &Engine) -> Result<Maintenance> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let mut done = Maintenance::default();
    settle_everything(engine, &mut done)?;
    Ok(done)
}

/// The same, housekeeping being held.
///
/// # Errors
/// As [`settle_all`].
pub fn settle_everything(engine: &Engine, done: &mut Maintenance) -> Result<()> {
    let writer = engine.writer()?;
    writer.committer.flush(&engine.tools(writer))?;
    writer.committer.check()?;
    writer.committer.retire();
    waiting(engine).into_iter().try_for_each(|file| settle::settle(engine, &file, done))
}

/// Folds the keyring under a new root that names the ledger as it is now.
///
/// A fact goes before it, so that no two roots name the same length: an older root is then always seen to be older.
///
/// # Errors
/// What ledger and keyring answer.
pub fn fold(engine: &Engine) -> Result<Folded> {
    engine.record(&[Fact::Watermark])?;
    engine.keyring.fold(position(engine))
}

/// The same, and where most of the keyring's log is dead carries a share of what is alive over to a new file, which takes
/// longer than an appender should wait.
///
/// # Errors
/// As [`fold`].
pub fn fold_and_carry(engine: &Engine) -> Result<Folded> {
    if !engine.keyring.needs_compaction() {
        return fold(engine);
    }
    engine.record(&[Fact::Watermark])?;
    engine.keyring.carry(position(engine))
}

/// How long the ledger is, and its head.
pub fn position(engine: &Engine) -> (u64, Digest) {
    let ledger = engine.ledger();
    (ledger.length(), ledger.head())
}
