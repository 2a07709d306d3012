//! Append: admit, encrypt on the caller's thread, queue; the commit makes it durable.

use crate::engine::{Engine, housekeeping, request};
use crate::error::Result;
use crate::record::Batch;

/// Queues `batch` and returns its ticket, zero for an empty batch.
///
/// # Errors
/// [`crate::ErrorKind::Refused`] with every refused record: nothing was written. [`crate::ErrorKind::Poisoned`] after a
/// failed write or sync. [`crate::ErrorKind::Invalid`] once the store is closed.
pub fn append(engine: &Engine, batch: &Batch) -> Result<u64> {
    let writer = engine.writer()?;
    writer.committer.check()?;
    if batch.records.is_empty() && batch.source.is_none() {
        return Ok(0);
    }
    writer.ballast.require(&*engine.env)?;
    let policy = engine.policy();
    // Held until the group is queued: whoever closes a fence, or the store, waits for it.
    let passing = engine.pass()?;
    let pending = engine.encoder(writer, &policy, engine.now()).encode(batch)?;
    let ticket = writer.committer.submit(pending)?;
    drop(passing);
    if writer.committer.is_crowded() {
        writer.committer.wait(ticket, &engine.tools(writer))?;
    }
    housekeeping::keep_up(engine, writer)?;
    if !writer.has_worker {
        request::serve_in_passing(engine, writer);
    }
    Ok(ticket)
}
