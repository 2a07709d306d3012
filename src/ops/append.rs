//! Append: admit, encrypt on the caller's thread, queue; the commit makes it durable.

use crate::engine::encode::Encoded;
use crate::engine::partitions::Partition;
use crate::engine::{Engine, Writer, dictionaries, housekeeping};
use crate::error::Result;
use crate::ops::serve;
use crate::record::Batch;
use crate::sync::Arc;

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
    housekeeping::make_room(engine, writer)?;
    let mut patient = true;
    let ticket = loop {
        match submit(engine, writer, batch, patient)? {
            Submitted::Queued(ticket) => break ticket,
            // Once for each new partition, and while nothing is held that other appends need.
            Submitted::Lacking(partitions) => dictionaries::spread(engine, &partitions)?,
        }
        patient = false;
    };
    // From here on nothing fails: a caller who is told of a failure sends the batch again.
    if !writer.has_worker {
        serve::serve_in_passing(engine, writer);
    }
    Ok(ticket)
}

/// What came of a batch.
enum Submitted {
    /// It waits for a commit, under this ticket.
    Queued(u64),
    /// Nothing was queued: these partitions have no dictionary yet, and their streams have one.
    Lacking(Vec<Arc<Partition>>),
}

/// Encodes and queues `batch`, unless it is `patient` and a partition may have a dictionary first.
fn submit(engine: &Engine, writer: &Writer, batch: &Batch, patient: bool) -> Result<Submitted> {
    let policy = engine.policy();
    // Held until the group is queued: whoever closes a fence, or the store, waits for it.
    let _passing = engine.pass()?;
    match engine.encoder(writer, &policy, engine.now()).encode(batch, patient)? {
        Encoded::Group(pending) => writer.committer.submit(pending).map(Submitted::Queued),
        Encoded::Lacking(partitions) => Ok(Submitted::Lacking(partitions)),
    }
}
