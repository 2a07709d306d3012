//! Append: admit, encrypt on the caller's thread, queue; the commit makes it durable.

use crate::sync::atomic::Ordering;

use crate::engine::{Engine, Writer, housekeeping, request};
use crate::error::Result;
use crate::record::Batch;

/// Journal files that may wait to be settled before an appender settles one itself.
const WAITING_FILES: usize = 2;
/// The same where the store has a thread of its own for it.
const WAITING_FILES_WITH_WORKER: usize = 4;

/// Queues `batch` and returns its ticket, zero for an empty batch.
///
/// # Errors
/// [`crate::ErrorKind::Refused`] with every refused record: nothing was written. [`crate::ErrorKind::Poisoned`] after a
/// failed write or sync.
pub fn append(engine: &Engine, batch: &Batch) -> Result<u64> {
    let writer = engine.writer()?;
    writer.committer.check()?;
    if batch.records.is_empty() && batch.source.is_none() {
        return Ok(0);
    }
    writer.ballast.require(&*engine.env)?;
    let policy = engine.policy();
    // Held until the group is queued: whoever closes a fence waits for it.
    let passing = engine.fences.pass();
    let pending = engine.encoder(writer, &policy, engine.now()).encode(batch)?;
    let ticket = writer.committer.submit(pending)?;
    drop(passing);
    make_room(engine, writer, ticket)?;
    if !writer.has_worker {
        request::serve_in_passing(engine, writer);
    }
    Ok(ticket)
}

/// Holds an appender up where more waits than may: first for the disk, then to be settled.
fn make_room(engine: &Engine, writer: &Writer, ticket: u64) -> Result<()> {
    let limit = if writer.has_worker { WAITING_FILES_WITH_WORKER } else { WAITING_FILES };
    let (crowded, behind) = (writer.committer.is_crowded(), housekeeping::waiting(engine).len() > limit);
    if !crowded && !behind {
        return Ok(());
    }
    let began = engine.env.monotonic();
    if crowded {
        writer.committer.wait(ticket, &engine.tools(writer))?;
    }
    if behind {
        housekeeping::relieve(engine, limit)?;
    }
    let pause = engine.env.monotonic().saturating_sub(began).as_micros();
    writer.longest_pause.fetch_max(u64::try_from(pause).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(())
}
