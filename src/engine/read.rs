//! Reading one cell: every frame of its handle in a snapshot, checked, opened and put in the order of writing.
//!
//! Frames are opened but bodies stay compressed until somebody wants them: ordering, time ranges and ids need only the
//! prefix. The same frame found twice (in a journal and in the segment it was settled into) is one.

use crate::sync::Arc;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use bytes::Bytes;

use super::catalog::{Catalog, JournalFile, SegmentSlot, Snapshot};
use super::large;
use crate::compress;
use crate::crypto::{CellKey, Sealer};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FrameContext, FrameKind, FrameView, Origin, Prefix};
use crate::format::manifest::Manifest;
use crate::ident::{CustomerId, Handle, PartitionNumber, RecordId, Salt, StoreId};
use crate::journal;
use crate::keyring::PartitionEntry;
use crate::record::{BodyKind, Stored};
use crate::segment::{Run, Segment};
use crate::window::Timestamp;

/// Runs longer than this are read frame by frame.
const LONG_RUN_BYTES: u64 = 1 << 20;

/// A record that was found, its body still as stored.
#[derive(Clone, Debug)]
pub struct Hit {
    /// When it happened.
    pub at: Timestamp,
    /// Its place in the order of writing.
    pub origin: Origin,
    /// Its id.
    pub id: RecordId,
    /// Its partition.
    pub partition: Arc<PartitionEntry>,
    /// Whether it is no record, but refuses one that was redacted.
    pub gone: bool,
    kind: BodyKind,
    raw_length: u32,
    compressed: bool,
    large: bool,
    body: Bytes,
}

impl Hit {
    /// The body as stored.
    pub fn stored(&self) -> &[u8] {
        &self.body
    }

    /// What stands before the body when it is appended again: original place and id kept. Without its `body`, the
    /// prefix of a tombstone.
    pub fn prefix(&self, body: bool) -> Prefix {
        Prefix {
            at: self.at,
            raw_length: if body { self.raw_length } else { 0 },
            kind: self.kind,
            id: Some(self.id),
            original: Some(self.origin),
            compressed: body && self.compressed,
            large: body && self.large,
        }
    }

    /// Where the chunks of its body are, if it is a large one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where that makes no sense: a fault of the writer, since the cipher has vouched
    /// for the bytes.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        if !self.large {
            return Ok(None);
        }
        let manifest = Manifest::decode(&self.body);
        manifest.map(Some).map_err(|wrong| {
            let what = format!("a large body in partition {}: {}", self.partition.id, wrong.0);
            Error::new(ErrorKind::Corrupt, what).hint("run `tenure verify --deep` and report this")
        })
    }

    /// The same record with its chunks elsewhere.
    pub fn with_manifest(self, manifest: &Manifest) -> Self {
        let body = Bytes::from(manifest.encode());
        Hit { raw_length: body.len() as u32, compressed: false, large: true, body, ..self }
    }

    /// The record itself, decompressed; a large body stays where it is.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where the body does not decompress to the length it promises. The cipher has
    /// vouched for the bytes, so this would be a fault of the writer.
    pub fn into_record(self, customer: &CustomerId) -> Result<Stored> {
        let large = self.manifest()?.map(|manifest| manifest.length);
        let body = match self.compressed {
            _ if self.large => Bytes::new(),
            false => self.body,
            true => compress::decompress(&self.body, self.raw_length as usize).map(Bytes::from).map_err(|_| {
                let what = format!("a body in partition {} does not decompress", self.partition.id);
                Error::new(ErrorKind::Corrupt, what).hint("run `tenure verify --deep` and report this")
            })?,
        };
        Ok(Stored {
            customer: customer.clone(),
            stream: self.partition.id.stream.clone(),
            at: self.at,
            kind: self.kind,
            body,
            id: self.id,
            large,
        })
    }
}

/// Reads cells of one snapshot.
pub struct CellReader<'a> {
    catalog: &'a Catalog,
    snapshot: &'a Snapshot,
    store: StoreId,
}

impl<'a> CellReader<'a> {
    /// Reads from `snapshot`.
    pub fn new(catalog: &'a Catalog, snapshot: &'a Snapshot, store: StoreId) -> Self {
        CellReader { catalog, snapshot, store }
    }

    /// Whether any frame of `handle` stands in `partition`.
    pub fn exists(&self, partition: PartitionNumber, handle: &Handle) -> Result<bool> {
        for journal in &self.snapshot.view.journals {
            if !journal.places(handle, self.snapshot.limit(journal)).is_empty() {
                return Ok(true);
            }
        }
        for slot in self.snapshot.segments(partition) {
            if self.catalog.open(slot)?.find(handle)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every record of a cell that `wanted` accepts by its time, in no particular order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] naming file and offset of a frame that fails its checksum or does not open.
    pub fn read(
        &self,
        partition: &Arc<PartitionEntry>,
        key: &CellKey,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let handle = key.handle();
        let mut cell = Cell { store: self.store, partition, key, handle, sealers: HashMap::new(), scratch: Vec::new() };
        for slot in self.snapshot.segments(partition.number) {
            self.read_segment(slot, &mut cell, wanted, hits)?;
        }
        for journal in &self.snapshot.view.journals {
            self.read_journal(journal, &mut cell, wanted, hits)?;
        }
        Ok(())
    }

    fn read_segment(
        &self,
        slot: &SegmentSlot,
        cell: &mut Cell<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let segment = self.catalog.open(slot)?;
        let Some(run) = segment.find(&cell.handle)? else { return Ok(()) };
        if run.bytes > LONG_RUN_BYTES {
            return read_long(&segment, &run, cell, wanted, hits);
        }
        let mut bytes = Vec::new();
        segment.read_run(&run, &mut bytes)?;
        let mut offset = run.offset;
        for frame in segment.frames(&run, &bytes) {
            let frame = frame?;
            let salt = segment.salt(frame.head().opening);
            let salt = *salt.ok_or_else(|| Error::corrupt(&slot.path, offset, "a frame names an unknown opening"))?;
            cell.open(&frame, &salt, &slot.path, offset, wanted, hits)?;
            offset += frame.length() as u64;
        }
        Ok(())
    }

    fn read_journal(
        &self,
        journal: &JournalFile,
        cell: &mut Cell<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        for place in journal.places(&cell.handle, self.snapshot.limit(journal)) {
            if large::is_chunk(journal, place)? {
                continue;
            }
            let bytes = journal::read_frame(&*journal.file, &journal.path, place.offset, place.length)?;
            let frame = FrameView::parse(&bytes);
            let frame = frame.map_err(|wrong| Error::corrupt(&journal.path, place.offset, wrong.0))?;
            cell.open(&frame, &journal.salt, &journal.path, place.offset, wanted, hits)?;
        }
        Ok(())
    }
}

/// Reads a run that is too long to be read at once: frame by frame, and of chunks the heads only.
fn read_long(
    segment: &Segment,
    run: &Run,
    cell: &mut Cell<'_>,
    wanted: &dyn Fn(Timestamp) -> bool,
    hits: &mut Vec<Hit>,
) -> Result<()> {
    let mut bytes = Vec::new();
    segment.heads(run, &mut |head, offset, length| {
        if large::is_passed_over(head, length) {
            return Ok(());
        }
        segment.read_frame(offset, length, &mut bytes)?;
        let damaged = |what: &str| Error::corrupt(segment.path(), offset, what);
        let frame = FrameView::parse(&bytes).map_err(|wrong| damaged(wrong.0))?;
        let salt = segment.salt(frame.head().opening);
        let salt = *salt.ok_or_else(|| damaged("a frame names an unknown opening"))?;
        cell.open(&frame, &salt, segment.path(), offset, wanted, hits)
    })
}

/// A cell while it is read: its data keys by opening.
struct Cell<'a> {
    store: StoreId,
    partition: &'a Arc<PartitionEntry>,
    key: &'a CellKey,
    handle: Handle,
    sealers: HashMap<u32, Sealer>,
    scratch: Vec<u8>,
}

impl Cell<'_> {
    fn open(
        &mut self,
        frame: &FrameView<'_>,
        salt: &Salt,
        path: &Path,
        offset: u64,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let head = *frame.head();
        if head.handle != self.handle {
            return Err(Error::corrupt(path, offset, "a frame stands under another cell's handle"));
        }
        if !matches!(head.kind, FrameKind::Record | FrameKind::Tombstone) {
            return Ok(()); // Kinds that later versions give a meaning.
        }
        let sealer = self.sealers.entry(head.opening).or_insert_with(|| self.key.sealer(salt));
        let context = FrameContext { store: &self.store, partition: self.partition.number, salt };
        let plain = frame.open(&context, sealer, &mut self.scratch);
        let plain = plain.map_err(|wrong| Error::corrupt(path, offset, wrong.0))?;
        if !wanted(plain.at) {
            return Ok(());
        }
        hits.push(Hit {
            at: plain.at,
            origin: plain.origin(&head),
            id: plain.record_id(&head),
            partition: self.partition.clone(),
            gone: head.kind == FrameKind::Tombstone,
            kind: plain.kind,
            raw_length: plain.raw_length,
            compressed: plain.compressed,
            large: plain.large,
            body: Bytes::copy_from_slice(plain.body),
        });
        Ok(())
    }
}

/// Puts hits of one customer in the order of events (then of writing), and keeps of equal records, those with the
/// same stream, time and id, the first written. Redacted ones are left out, however often they were sent.
pub fn order(hits: &mut Vec<Hit>) {
    let name = |hit: &Hit| (hit.partition.id.stream.clone(), hit.at, hit.id);
    let gone: HashSet<_> = hits.iter().filter(|hit| hit.gone).map(name).collect();
    if !gone.is_empty() {
        hits.retain(|hit| !gone.contains(&name(hit)));
    }
    let place = |hit: &Hit| (hit.at, hit.origin.opening, hit.origin.sequence);
    hits.sort_by_key(place);
    let mut seen = HashSet::new();
    let mut time = None;
    hits.retain(|hit| {
        if time != Some(hit.at) {
            time = Some(hit.at);
            seen.clear();
        }
        seen.insert((hit.partition.id.stream.clone(), hit.id))
    });
}
