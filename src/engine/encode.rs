//! A batch becomes a group on its caller's thread: admitted, keyed, compressed, encrypted and framed.
//!
//! Everything that can refuse a batch comes first and looks at every record, so that a refused batch has written
//! nothing and names all that is wrong with it.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;

use super::catalog::{Indexed, Place, Totals};
use super::cells::{Cell, Cells};
use super::committer::{Opening, Pending};
use super::fence::Fences;
use super::partitions::Partitions;
use super::read::Hit;
use crate::compress;
use crate::env::{Env, random};
use crate::error::{Error, ErrorKind, Refusal, RefusalReason, Result};
use crate::format::frame::{FRAME_OVERHEAD, FrameContext, FrameHead, FrameKind, Prefix};
use crate::format::group::{FramePlace, GroupBuilder, SourceMark};
use crate::ident::{CustomerId, Handle, PartitionId};
use crate::keyring::{CustomerEntry, CustomerState, Found, Keyring, PartitionEntry};
use crate::policy::Policy;
use crate::record::{BODY_LIMIT, Batch, Record};
use crate::window::Timestamp;

/// The 48-bit sequence of one opening.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    pub(super) fn take(&self, count: usize) -> Result<u64> {
        let first = self.0.fetch_add(count as u64, Ordering::Relaxed);
        match first + (count as u64) < crate::format::frame::SEQUENCE_LIMIT {
            true => Ok(first),
            false => Err(Error::new(ErrorKind::Invalid, "this opening has given out all its sequence numbers")
                .hint("close the store and open it again")),
        }
    }
}

/// What a batch is encoded with.
pub struct Encoder<'a> {
    /// The world, for randomness.
    pub env: &'a dyn Env,
    /// Who writes.
    pub opening: Opening,
    /// The opening's sequence.
    pub sequence: &'a Sequence,
    /// The keys.
    pub keyring: &'a Keyring,
    /// The partitions known so far.
    pub partitions: &'a Partitions,
    /// The cells written lately.
    pub cells: &'a Cells,
    /// What may no longer pass.
    pub fences: &'a Fences,
    /// The policy in force.
    pub policy: &'a Policy,
    /// Now, as admission sees it.
    pub now: Timestamp,
}

/// One record, ready to be framed.
pub(super) struct Ready<'a> {
    record: &'a Record,
    pub(super) partition: Arc<PartitionEntry>,
    pub(super) cell: Arc<Cell>,
    sequence: u64,
}

impl Encoder<'_> {
    /// Encodes `batch`.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with every refused record, before anything is written; [`ErrorKind::Invalid`] where the
    /// batch is longer than one commit may be; what the keyring answers.
    pub fn encode(&self, batch: &Batch) -> Result<Pending> {
        let windows = self.admit(batch)?;
        let (mut ready, needs) = self.key(&batch.records, windows)?;
        // One run per partition; within it, frames stay in the order of the batch.
        ready.sort_by_key(|ready| ready.partition.number);
        let mut group = self.seal(&ready)?;
        let mut sources = Vec::new();
        if let Some(source) = &batch.source {
            let tag = self.keyring.source_tag(&source.name);
            group.0.source(SourceMark { tag, offset: source.offset });
            sources.push((tag, source.offset));
        }
        let (builder, places) = group;
        let handles = ready.iter().map(|ready| ready.cell.handle);
        finish(builder, handles.zip(places), needs, sources)
    }

    /// Encodes records of one customer that are already stored for another time, under the customer's newest secret:
    /// those in `kept` with their original ids and order, those in `gone` as tombstones that refuse their ids. `None`
    /// where there is nothing to write.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it is more than one commit may hold.
    pub fn again(&self, customer: &Found<CustomerEntry>, kept: &[Hit], gone: &[Hit]) -> Result<Option<Pending>> {
        let mut all: Vec<(&Hit, FrameKind)> = kept.iter().map(|hit| (hit, FrameKind::Record)).collect();
        all.extend(gone.iter().map(|hit| (hit, FrameKind::Tombstone)));
        all.sort_by_key(|(hit, _)| hit.partition.number);
        if all.is_empty() {
            return Ok(None);
        }
        let random = random(self.env).map_err(|error| Error::io("draw random bytes", "the system".as_ref(), error))?;
        let first = self.sequence.take(all.len())?;
        let mut group = GroupBuilder::new(1, 0, all.iter().map(|(hit, _)| hit.stored().len() + 128).sum());
        let mut frames = Vec::with_capacity(all.len());
        for ((hit, kind), sequence) in all.into_iter().zip(first..) {
            let cell = self.cells.get(&customer.entry, &hit.partition);
            let context =
                FrameContext { store: &self.opening.store, partition: hit.partition.number, salt: &self.opening.salt };
            let head = self.head(kind, sequence, random, &cell);
            let body = if kind == FrameKind::Record { hit.stored() } else { &[] };
            let prefix = hit.prefix(kind == FrameKind::Record);
            let place = group.push(&context, &cell.sealer, &head, hit.at, prefix.raw_length, |out| {
                prefix.encode(out);
                out.extend_from_slice(body);
            })?;
            frames.push((cell.handle, place));
        }
        finish(group, frames.into_iter(), customer.number, Vec::new()).map(Some)
    }

    pub(super) fn head(&self, kind: FrameKind, sequence: u64, random: [u8; 6], cell: &Cell) -> FrameHead {
        let (opening, handle) = (self.opening.number, cell.handle);
        FrameHead { kind, flags: 0, opening, sequence, random, handle, dictionary: 0 }
    }

    /// The partition that each record belongs to, or every reason why one may not come in.
    pub(super) fn admit(&self, batch: &Batch) -> Result<Vec<PartitionId>> {
        let mut partitions = Vec::with_capacity(batch.records.len());
        let mut refusals = Vec::new();
        let mut known = HashMap::new();
        for (index, record) in batch.records.iter().enumerate() {
            let fence = match known.get(&record.customer) {
                Some(fence) => *fence,
                None => {
                    let fence = self.fence(&record.customer, batch.backfill)?;
                    known.insert(&record.customer, fence);
                    fence
                }
            };
            match self.admit_one(record, fence) {
                Ok(partition) => partitions.push(partition),
                Err(reason) => refusals.push(Refusal { index, reason }),
            }
        }
        let Some(first) = refusals.first() else { return Ok(partitions) };
        let message = match refusals.len() {
            1 => format!("record {} of the batch is refused: {}", first.index, first.reason),
            count => {
                format!(
                    "{count} records of the batch are refused, the first ({}) because {}",
                    first.index, first.reason
                )
            }
        };
        Err(Error::new(ErrorKind::Refused, message)
            .refusing(refusals)
            .hint("nothing was written; append the batch without them"))
    }

    fn admit_one(&self, record: &Record, fence: Option<Timestamp>) -> Result<PartitionId, RefusalReason> {
        if record.body.len() > BODY_LIMIT {
            return Err(RefusalReason::TooLarge);
        }
        let length = self.policy.admits(&record.stream, record.at, self.now)?;
        if self.fences.has_expired(&record.stream, record.at) {
            return Err(RefusalReason::Expired);
        }
        if fence.is_some_and(|fence| record.at <= fence) {
            return Err(RefusalReason::Erased);
        }
        Ok(PartitionId::holding(record.stream.clone(), record.at, length))
    }

    /// The time up to which events of a customer are refused. A backfill passes the fences that have lapsed, but not
    /// the tombstone of an erasure; while that is still to be written, nothing passes: the next life has no secret yet.
    fn fence(&self, customer: &CustomerId, backfill: bool) -> Result<Option<Timestamp>> {
        let lapsed = |time: Option<Timestamp>| time.filter(|_| !backfill);
        Ok(match self.keyring.customer(customer)? {
            None => lapsed(self.fences.lapsed()),
            Some(found) if self.fences.has_subject(&found.entry.subject) => match found.entry.state {
                CustomerState::Tombstone { erased } => Some(erased),
                CustomerState::Living => Some(Timestamp::from_micros(i64::MAX)),
            },
            Some(found) => match found.entry.state {
                CustomerState::Tombstone { erased } => Some(erased),
                CustomerState::Living => lapsed(found.entry.not_before),
            },
        })
    }

    /// Finds or makes the keys of every record. Returns the highest keyring entry that any of them depends on.
    pub(super) fn key<'r>(&self, records: &'r [Record], windows: Vec<PartitionId>) -> Result<(Vec<Ready<'r>>, u64)> {
        let mut needs = 0;
        let mut known: HashMap<(&CustomerId, u64), Arc<Cell>> = HashMap::new();
        let mut ready = Vec::with_capacity(records.len());
        let first = self.sequence.take(records.len())?;
        for ((record, id), sequence) in records.iter().zip(windows).zip(first..) {
            let (partition, entry) = self.partitions.use_partition(self.keyring, &id)?;
            needs = needs.max(entry);
            let cell = match known.get(&(&record.customer, partition.number.0)) {
                Some(cell) => cell.clone(),
                None => {
                    let (customer, entry) = self.customer(record, &id)?;
                    needs = needs.max(entry);
                    let cell = self.cells.get(&customer, &partition);
                    known.insert((&record.customer, partition.number.0), cell.clone());
                    cell
                }
            };
            ready.push(Ready { record, partition, cell, sequence });
        }
        Ok((ready, needs))
    }

    fn customer(&self, record: &Record, partition: &PartitionId) -> Result<(Arc<CustomerEntry>, u64)> {
        let (stream, window) = (&record.stream, &partition.window);
        let lapsed = self.fences.lapsed();
        let found = self.keyring.use_customer(&record.customer, stream, window, self.now, lapsed)?;
        Ok((found.entry, found.number))
    }

    /// Seals every record where it will be written from.
    fn seal(&self, ready: &[Ready<'_>]) -> Result<(GroupBuilder, Vec<FramePlace>)> {
        let random = random(self.env).map_err(|error| Error::io("draw random bytes", "the system".as_ref(), error))?;
        let raw: usize = ready.iter().map(|ready| ready.record.body.len() / 2 + FRAME_OVERHEAD + 32).sum();
        let runs = ready.chunk_by(|a, b| a.partition.number == b.partition.number).count();
        let mut group = GroupBuilder::new(runs, 1, raw);
        let mut places = Vec::with_capacity(ready.len());
        for Ready { record, partition, cell, sequence } in ready {
            let context =
                FrameContext { store: &self.opening.store, partition: partition.number, salt: &self.opening.salt };
            let head = self.head(FrameKind::Record, *sequence, random, cell);
            let raw_length = record.body.len() as u32;
            let prefix = Prefix {
                at: record.at,
                raw_length,
                kind: record.kind,
                id: record.id,
                original: None,
                compressed: false,
                large: false,
            };
            let place = group.push(&context, &cell.sealer, &head, record.at, raw_length, |out| {
                prefix.encode_with(out, |out| {
                    let compressed = compress::compress_into(&record.body, out);
                    if !compressed {
                        out.extend_from_slice(&record.body);
                    }
                    compressed
                });
            })?;
            places.push(place);
        }
        Ok((group, places))
    }
}

/// The group as the committer takes it, with what the index is to know of its frames.
pub(super) fn finish(
    builder: GroupBuilder,
    frames: impl Iterator<Item = (Handle, FramePlace)>,
    needs: u64,
    sources: Vec<([u8; 16], u64)>,
) -> Result<Pending> {
    let group = builder.build()?;
    let base = group.header_length() as u64;
    let frames = frames.map(|(handle, place)| (handle, Place { offset: base + place.offset, length: place.length }));
    let frames = frames.collect();
    let totals = group.runs().iter().map(|run| {
        let span = Some((run.first_day, run.last_day));
        let (raw_bytes, frame_bytes) = (run.raw_bytes, run.frame_bytes);
        (run.partition, Totals { records: run.count.into(), chunks: 0, raw_bytes, frame_bytes, span })
    });
    let totals = totals.collect();
    Ok(Pending { group, needs, indexed: Indexed { frames, totals, sources } })
}
