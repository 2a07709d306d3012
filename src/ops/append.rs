//! Append: admit, encrypt on the caller's thread, queue; the commit makes it durable.

use crate::engine::partitions::Partition;
use crate::engine::{Engine, Writer, dictionaries, housekeeping, request};
use crate::error::Result;
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
    writer.ballast.require(&*engine.env)?;
    let mut patient = true;
    let ticket = loop {
        match submit(engine, writer, batch, patient)? {
            Submitted::Queued(ticket) => break ticket,
            // Once for each new partition, and while nothing is held that other appends need.
            Submitted::Lacking(partitions) => dictionaries::spread(engine, &partitions)?,
        }
        patient = false;
    };
    if writer.committer.is_crowded() {
        housekeeping::paused(engine, writer, || writer.committer.wait(ticket, &engine.tools(writer)))?;
    }
    housekeeping::keep_up(engine, writer)?;
    if !writer.has_worker {
        request::serve_in_passing(engine, writer);
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
    let pending = engine.encoder(writer, &policy, engine.now()).encode(batch)?;
    if patient {
        let numbers = pending.indexed.totals.iter().map(|(number, _)| *number);
        let partitions = numbers.filter_map(|number| engine.partitions.numbered(number));
        let wanted = |entry: &Partition| policy.dictionary(&entry.id.stream);
        let dictionaries = &engine.catalog.dictionaries;
        let lacking: Vec<_> = partitions.filter(|entry| wanted(entry) && dictionaries.lacks(entry)).collect();
        if !lacking.is_empty() {
            return Ok(Submitted::Lacking(lacking));
        }
    }
    writer.committer.submit(pending).map(Submitted::Queued)
}
