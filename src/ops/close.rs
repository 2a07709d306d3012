//! Close: settle everything, say so in the ledger, fold the keyring under a root that knows it.

use crate::engine::{Engine, Writer, access, housekeeping};
use crate::error::Result;
use crate::format::ledger::Fact;
use crate::format::position::Known;
use crate::report::Maintenance;
use crate::sync::atomic::Ordering;

/// Leaves the store such that the next opening has nothing to recover, and damage anywhere is seen as damage.
///
/// # Errors
/// What the steps answer; the store is then as after a crash, and the next opening recovers it. Whoever closes it again is
/// told the same.
pub fn close(engine: &Engine) -> Result<()> {
    let Some(writer) = &engine.writer else {
        engine.access.log.sync()?;
        engine.lease.give_back();
        return Ok(());
    };
    // A training is not waited for, and nothing of it is published any more.
    writer.closing.store(true, Ordering::Release);
    let Ok(_one_at_a_time) = writer.housekeep() else {
        // Closed already through another handle, or tried to be.
        let failure = writer.close_failure.lock().expect("no holder of this lock panics");
        return failure.clone().map_or(Ok(()), Err);
    };
    let outcome = shut(engine, writer);
    *writer.close_failure.lock().expect("no holder of this lock panics") = outcome.as_ref().err().cloned();
    outcome
}

fn shut(engine: &Engine, writer: &Writer) -> Result<()> {
    writer.shut_down();
    // Whoever came before is in the queue after this, and settled with the rest; whoever comes now is told.
    drop(engine.fences.shut());
    housekeeping::settle_everything(engine, &mut Maintenance::default())?;
    let entry = engine.keyring.sync()?;
    let known = Known { journal: writer.committer.durable(), entry };
    engine.catalog.sweep()?;
    access::tell_ledger(engine)?;
    engine.record(&[Fact::CleanClose { known }])?;
    match engine.keyring.is_soon_compacted() {
        true => engine.keyring.compact(housekeeping::position(engine))?,
        false => engine.keyring.fold(housekeeping::position(engine))?,
    };
    writer.cells.purge();
    writer.recent.purge();
    engine.keyring.release()?;
    // Handles that live on can read, but another writer may come.
    *writer.lock.lock().expect("no holder of this lock panics") = None;
    Ok(())
}
