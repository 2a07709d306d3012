//! A batch becomes a group on its caller's thread: admitted, keyed, compressed, encrypted and framed.
//!
//! Everything that can refuse a batch comes first (see `admit`) and looks at every record, so that a refused batch has
//! written nothing and names all that is wrong with it.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::path::Path;

use super::admit::{Admitted, AdmittedRow};
use super::catalog::{Indexed, Place, Totals};
use super::cells::{Cell, Cells};
use super::committer::{Opening, Pending};
use super::dictionaries::{Dictionaries, Named};
use super::fence::Fences;
use super::partitions::{Partition, Partitions};
use super::read::Hit;
use super::spare::Spare;
use crate::compress;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FRAME_OVERHEAD, FrameHead, FrameKind};
use crate::format::group::{FramePlace, GroupBuilder, SourceMark};
use crate::format::plain::Prefix;
use crate::ident::{Handle, PartitionId};
use crate::keyring::{CustomerEntry, Found, Keyring};
use crate::policy::Policy;
use crate::record::{Batch, Record};
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
    /// The store's directory.
    pub root: &'a Path,
    /// What bodies are compressed with.
    pub dictionaries: &'a Dictionaries,
    /// The opening's sequence.
    pub sequence: &'a Sequence,
    /// The keys.
    pub keyring: &'a Keyring,
    /// The partitions known so far.
    pub partitions: &'a Partitions,
    /// Buffers to be used again.
    pub spare: &'a Spare,
    /// The cells written lately.
    pub cells: &'a Cells,
    /// What may no longer pass.
    pub fences: &'a Fences,
    /// The policy in force.
    pub policy: &'a Policy,
    /// Now, as admission sees it.
    pub now: Timestamp,
}

/// What came of a batch.
pub enum Encoded {
    /// A group, to be queued.
    Group(Pending),
    /// Nothing: these partitions have no dictionary yet, and their streams have one.
    Lacking(Vec<Arc<Partition>>),
}

/// One record, ready to be framed.
struct Ready<'a> {
    record: &'a Record,
    /// Its customer and its partition, among those of the batch.
    row: u32,
    column: u32,
    sequence: u64,
}

/// The records of a batch with their keys: one run per partition; within it, records stay in the order of the batch.
pub(super) struct Keyed<'a> {
    pub(super) partitions: Vec<Arc<Partition>>,
    ready: Vec<Ready<'a>>,
    /// The cell of each of them.
    pub(super) cells: Vec<Cell>,
    /// The highest keyring entry that any of them depends on.
    pub(super) needs: u64,
}

impl<'a> Keyed<'a> {
    fn runs(&self) -> impl Iterator<Item = (&Arc<Partition>, &[Ready<'a>], &[Cell])> {
        let mut cells = &self.cells[..];
        self.ready.chunk_by(|a, b| a.column == b.column).map(move |run| {
            let (these, others) = cells.split_at(run.len());
            cells = others;
            (&self.partitions[run[0].column as usize], run, these)
        })
    }
}

/// What records of a customer are written again with.
pub struct Pen<'a> {
    /// The cell in a partition that they come to.
    pub cell: &'a dyn Fn(&Partition) -> Cell,
    /// The keyring entry that this depends on.
    pub needs: u64,
}

impl Encoder<'_> {
    /// Encodes `batch`, unless it is `patient` and a partition may have a dictionary first.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with every refused record, before anything is written; [`ErrorKind::Invalid`] where the
    /// batch is longer than one commit may be; what the keyring answers.
    pub fn encode(&self, batch: &Batch, patient: bool) -> Result<Encoded> {
        let admitted = self.admit(batch)?;
        let keyed = self.key(&batch.records, admitted)?;
        if patient && let lacking @ [_, ..] = &*self.lacking(&keyed.partitions) {
            return Ok(Encoded::Lacking(lacking.to_vec()));
        }
        let mut group = self.seal(&keyed)?;
        let mut sources = Vec::new();
        if let Some(source) = &batch.source {
            let tag = self.keyring.source_tag(&source.name);
            group.0.source(SourceMark { tag, offset: source.offset });
            sources.push((tag, source.offset));
        }
        let (builder, places) = group;
        let handles = keyed.cells.iter().map(|cell| cell.handle);
        finish(builder, handles.zip(places), keyed.needs, sources).map(Encoded::Group)
    }

    /// The partitions that records go to and that may have a dictionary first. Asked before anything is compressed.
    fn lacking(&self, partitions: &[Arc<Partition>]) -> Vec<Arc<Partition>> {
        let lacks = |one: &Partition| self.policy.dictionary(&one.id.stream) && self.dictionaries.lacks(one);
        partitions.iter().filter(|one| lacks(one)).cloned().collect()
    }

    /// Encodes records of one customer that are already stored for another time, under the customer's newest secret:
    /// those in `kept` with their original ids and order, those in `gone` as tombstones that refuse their ids. `None`
    /// where there is nothing to write.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it is more than one commit may hold.
    pub fn again(&self, pen: &Pen<'_>, kept: &[Hit], gone: &[Hit]) -> Result<Option<Pending>> {
        let kind = |hit: &Hit| if hit.amends.is_some() { FrameKind::Amendment } else { FrameKind::Record };
        let mut all: Vec<(&Hit, FrameKind)> = kept.iter().map(|hit| (hit, kind(hit))).collect();
        all.extend(gone.iter().map(|hit| (hit, FrameKind::Tombstone)));
        all.sort_by_key(|(hit, _)| hit.partition.number);
        if all.is_empty() {
            return Ok(None);
        }
        let random = self.random()?;
        let first = self.sequence.take(all.len())?;
        let mut group = GroupBuilder::new(1, 0, all.iter().map(|(hit, _)| hit.stored().len() + 128).sum());
        let mut frames = Vec::with_capacity(all.len());
        for ((hit, kind), sequence) in all.into_iter().zip(first..) {
            let cell = (pen.cell)(&hit.partition);
            let context = self.opening.context(hit.partition.number);
            let lives = kind != FrameKind::Tombstone;
            let dictionary = if lives { hit.dictionary() } else { 0 };
            let head = self.head(kind, sequence, random, &cell, dictionary);
            let body = if lives { hit.stored() } else { &[] };
            let prefix = hit.prefix(lives);
            let place = group.push(&context, &cell.sealer, &head, hit.at, prefix.raw_length, |out| {
                prefix.encode(out);
                out.extend_from_slice(body);
            })?;
            frames.push((cell.handle, place));
        }
        finish(group, frames.into_iter(), pen.needs, Vec::new()).map(Some)
    }

    pub(super) fn head(
        &self,
        kind: FrameKind,
        sequence: u64,
        random: [u8; 6],
        cell: &Cell,
        dictionary: u32,
    ) -> FrameHead {
        let (opening, handle) = (self.opening.number, cell.handle);
        FrameHead { kind, flags: 0, opening, sequence, random, handle, dictionary }
    }

    /// Finds or makes the keys of every record.
    pub(super) fn key<'r>(&self, records: &'r [Record], admitted: Admitted) -> Result<Keyed<'r>> {
        let Admitted { mut rows, columns, cells } = admitted;
        let mut needs = 0;
        let mut partitions = Vec::with_capacity(columns.len());
        for column in &columns {
            let (partition, number) = self.partitions.use_partition(self.keyring, &column.id)?;
            needs = needs.max(number);
            partitions.push(partition);
        }
        let mut ready = Vec::with_capacity(records.len());
        let first = self.sequence.take(records.len())?;
        for ((record, (row, column)), sequence) in records.iter().zip(cells).zip(first..) {
            let customer = self.customer(record, &mut rows[row as usize], &partitions[column as usize].id)?;
            needs = needs.max(customer.number);
            ready.push(Ready { record, row, column, sequence });
        }
        ready.sort_by_key(|ready| partitions[ready.column as usize].number);
        let uses = ready.iter().map(|ready| {
            let found =
                rows[ready.row as usize].found.as_ref().expect("every customer of the batch has been found or made");
            (&*found.entry, &*partitions[ready.column as usize])
        });
        let cells = self.cells.all(&uses.collect::<Vec<_>>());
        Ok(Keyed { partitions, ready, cells, needs })
    }

    /// The entry of a record's customer, made or extended where what was found does not cover the use.
    fn customer<'f>(
        &self,
        record: &Record,
        row: &'f mut AdmittedRow,
        partition: &PartitionId,
    ) -> Result<&'f Found<CustomerEntry>> {
        let (stream, window) = (&record.stream, &partition.window);
        let enough = |found: &Found<CustomerEntry>| found.entry.is_writable() && found.entry.covers(stream, window);
        let found = match row.found.take().filter(enough) {
            Some(found) => found,
            None => {
                let (customer, lapsed) = ((&record.customer, row.tag), self.fences.lapsed());
                self.keyring.use_customer(customer, stream, window, self.now, lapsed)?
            }
        };
        Ok(row.found.insert(found))
    }

    /// What new records of `partition` are compressed with.
    pub(super) fn dictionary(&self, partition: &Partition) -> Option<Named> {
        let wanted = self.policy.dictionary(&partition.id.stream);
        wanted.then(|| self.dictionaries.current(self.env, self.root, partition)).flatten()
    }

    /// Seals every record where it will be written from.
    fn seal(&self, keyed: &Keyed<'_>) -> Result<(GroupBuilder, Vec<FramePlace>)> {
        let random = self.random()?;
        let raw: usize = keyed.ready.iter().map(|ready| ready.record.body.len() / 2 + FRAME_OVERHEAD + 32).sum();
        let (buffer, mut compressor) = self.spare.take();
        let mut group = GroupBuilder::reusing(buffer, keyed.partitions.len(), 1, raw);
        let mut places = Vec::with_capacity(keyed.ready.len());
        for (partition, run, cells) in keyed.runs() {
            let named = self.dictionary(partition);
            let (id, dictionary) = named.as_ref().map_or((0, None), |(id, dictionary)| (*id, Some(&**dictionary)));
            let context = self.opening.context(partition.number);
            let bodies: Vec<&[u8]> = run.iter().map(|ready| &*ready.record.body).collect();
            let first = places.len();
            places.resize(first + run.len(), FramePlace { offset: 0, length: 0 });
            let mut compressed = compressor.run(&bodies, dictionary);
            for _ in run {
                let (n, stored) = compressed.next().expect("every body that was given comes out");
                let (Ready { record, sequence, .. }, cell) = (&run[n], &cells[n]);
                let head = self.head(FrameKind::Record, *sequence, random, cell, id);
                let raw_length = record.body.len() as u32;
                let prefix = Prefix {
                    at: record.at,
                    raw_length,
                    kind: record.kind,
                    id: record.id,
                    original: None,
                    compressed: false,
                    large: false,
                    amends: None,
                    since: None,
                };
                places[first + n] = group.push(&context, &cell.sealer, &head, record.at, raw_length, |out| {
                    prefix.encode_with(out, |out| stored.append_to(out));
                })?;
            }
        }
        self.spare.give_back(compressor);
        Ok((group, places))
    }

    /// Seals a body as it came in, compressed where that gains anything; the manifest of a large one as it is.
    pub(super) fn frame(
        &self,
        group: &mut GroupBuilder,
        (cell, partition, dictionary): (&Cell, &Partition, Option<&Named>),
        (kind, sequence, random): (FrameKind, u64, [u8; 6]),
        prefix: &Prefix,
        body: &[u8],
    ) -> Result<FramePlace> {
        let (id, dictionary) = dictionary.map_or((0, None), |(id, dictionary)| (*id, Some(&**dictionary)));
        let head = self.head(kind, sequence, random, cell, id);
        let context = self.opening.context(partition.number);
        let raw_length = if prefix.large { 0 } else { prefix.raw_length };
        group.push(&context, &cell.sealer, &head, prefix.at, raw_length, |out| {
            prefix.encode_with(out, |out| {
                if prefix.large {
                    out.extend_from_slice(body);
                    return false;
                }
                compress::store_into(body, dictionary, out)
            });
        })
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
