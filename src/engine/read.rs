//! Reading one cell: every frame of its handle in a snapshot, checked, opened and put in the order of writing.
//!
//! Frames are opened but bodies stay compressed until somebody wants them: ordering, time ranges and ids need only the
//! prefix. The same frame found twice (in a journal and in the segment it was settled into) is one.

use crate::sync::Arc;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::catalog::{Catalog, JournalFile, SegmentSlot, Snapshot};
use super::large;
use super::partitions::Partition;
use super::recent::{Known, KnownCell, Taking};
use super::row::Probe;
use super::windows::Windows;
use crate::compress::{self, Dictionary};
use crate::crypto::{CellKey, Sealer};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Malformed;
use crate::format::frame::{FrameContext, FrameKind, FrameView, Origin};
use crate::format::manifest::Manifest;
use crate::format::plain::Prefix;
use crate::ident::{CustomerId, Handle, PartitionNumber, RecordId, Salt, StoreId, Stream};
use crate::journal;
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
    pub partition: Own<Partition>,
    /// Whether it is no record, but refuses one that was redacted.
    pub gone: bool,
    /// The id of the record that it amends.
    pub amends: Option<RecordId>,
    /// How its body is to be understood.
    pub kind: BodyKind,
    /// When it really happened, where it was carried forward.
    pub since: Option<Timestamp>,
    raw_length: u32,
    compressed: bool,
    large: bool,
    body: Bytes,
    /// The id in the frame, and what it names where the body is compressed.
    dictionary: (u32, Option<Own<Dictionary>>),
}

/// A share in what many threads read, by way of a count of the reader's own: were there one count for all of them, they
/// would take it from each other with every record.
pub type Own<T> = Arc<Arc<T>>;

impl Hit {
    /// When it happened, as its customer knows it. `at` is where it stands: for what was carried forward, the time of that.
    pub fn event(&self) -> Timestamp {
        self.since.unwrap_or(self.at)
    }

    /// What a record is known by within its customer.
    pub fn name(&self) -> (Stream, Timestamp, RecordId) {
        (self.partition.id.stream.clone(), self.event(), self.id)
    }

    /// The id of the dictionary that the body as stored is compressed with; zero is none.
    pub fn dictionary(&self) -> u32 {
        self.dictionary.0
    }

    /// The body as stored.
    pub fn stored(&self) -> &[u8] {
        &self.body
    }

    /// The length of its body as it came in; of one whose chunks cannot be made out, that of their list.
    pub fn length(&self) -> u64 {
        let large = self.manifest().ok().flatten().map(|manifest| manifest.length);
        large.unwrap_or_else(|| self.raw_length.into())
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
            amends: self.amends.filter(|_| body),
            since: self.since,
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
        let at = self.event();
        let body = match self.compressed {
            _ if self.large => Bytes::new(),
            // By itself: what was read with it is not to be kept for as long.
            false => Bytes::copy_from_slice(&self.body),
            true => {
                let body = compress::decompress(
                    &self.body,
                    self.raw_length as usize,
                    self.dictionary.1.as_deref().map(|own| &**own),
                );
                body.map(Bytes::from).map_err(|_| {
                    let what = format!("a body in partition {} does not decompress", self.partition.id);
                    Error::new(ErrorKind::Corrupt, what).hint("run `tenure verify --deep` and report this")
                })?
            }
        };
        Ok(Stored {
            customer: customer.clone(),
            stream: self.partition.id.stream.clone(),
            at,
            kind: self.kind,
            body,
            id: self.id,
            large,
            amends: self.amends,
        })
    }
}

/// Reads cells of one snapshot.
pub struct CellReader<'a> {
    catalog: &'a Catalog,
    snapshot: &'a Snapshot,
    store: StoreId,
    /// Whether cells are asked for in the order of their handles.
    ahead: bool,
    buffers: RefCell<Buffers>,
    /// What is to be kept of what is read.
    pub notes: Notes,
}

/// Where a reader notes what it reads, to be kept.
pub type Notes = RefCell<Option<Box<Taking>>>;

/// What was read last: a reader that takes over the buffers of another goes on where that was.
#[derive(Default)]
pub struct Buffers {
    windows: Windows,
    /// A frame of a run that is too long for a window.
    frame: Vec<u8>,
    /// Plaintexts: the bodies of hits are parts of it, and its memory is used again once they are gone.
    plain: BytesMut,
    shares: Shares,
}

/// What the hits of a reader have in common with the ones before.
#[derive(Default)]
struct Shares {
    partition: Option<Own<Partition>>,
    /// The dictionary that was named last.
    dictionary: Option<(PartitionNumber, u32, Own<Dictionary>)>,
}

impl Shares {
    fn partition(&mut self, partition: &Arc<Partition>) -> Own<Partition> {
        let known = self.partition.take().filter(|known| Arc::ptr_eq(&**known, partition));
        self.partition.insert(known.unwrap_or_else(|| Arc::new(partition.clone()))).clone()
    }

    /// The dictionary that a frame names; cells that are read one after the other seldom name more than one.
    fn dictionary(&mut self, catalog: &Catalog, partition: &Partition, id: u32) -> Result<Option<Own<Dictionary>>> {
        if id == 0 {
            return Ok(None);
        }
        let is = |(number, known, _): &(PartitionNumber, u32, _)| (*number, *known) == (partition.number, id);
        let known = match self.dictionary.take().filter(is) {
            Some((.., known)) => known,
            None => Arc::new(catalog.dictionary(partition, id)?),
        };
        let (.., dictionary) = self.dictionary.insert((partition.number, id, known));
        Ok(Some(dictionary.clone()))
    }
}

/// Room for plaintexts is made in pieces of this many bytes at least.
const PLAIN_BYTES: usize = 16 << 10;

impl<'a> CellReader<'a> {
    /// Reads from `snapshot`.
    pub fn new(catalog: &'a Catalog, snapshot: &'a Snapshot, store: StoreId) -> Self {
        CellReader { catalog, snapshot, store, ahead: false, buffers: RefCell::default(), notes: Notes::default() }
    }

    /// The same for many cells of a partition, asked for in the order of their handles: what lies behind one is read with
    /// it.
    pub fn ahead(catalog: &'a Catalog, snapshot: &'a Snapshot, store: StoreId, buffers: Buffers) -> Self {
        CellReader { ahead: true, buffers: buffers.into(), ..CellReader::new(catalog, snapshot, store) }
    }

    /// What it has read last.
    pub fn into_buffers(self) -> Buffers {
        self.buffers.into_inner()
    }

    /// Whether any frame of `handle` stands in `partition`.
    pub fn exists(&self, partition: PartitionNumber, handle: &Handle) -> Result<bool> {
        for journal in &self.snapshot.view.journals {
            if journal.holds(handle, self.snapshot.limit(journal)) {
                return Ok(true);
            }
        }
        for slot in self.snapshot.segments(partition) {
            if self.find(slot, handle)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this reads what is in `snapshot`, and nothing newer.
    pub fn sees(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.snapshot.view, &snapshot.view)
    }

    /// Whether the frame `origin` may stand under `handle` in `partition`. Nothing is opened; every frame there is checked.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] naming file and offset of a frame that fails its checksum.
    pub fn names(&self, partition: PartitionNumber, handle: &Handle, origin: Origin) -> Result<bool> {
        let is = |frame: &FrameView<'_>| {
            let head = frame.head();
            Origin { opening: head.opening, sequence: head.sequence } == origin
        };
        for slot in self.snapshot.segments(partition) {
            let Some((segment, run)) = self.find(slot, handle)? else { continue };
            if segment.salt(origin.opening).is_none() {
                continue; // It holds no frame of that opening.
            }
            if run.bytes > LONG_RUN_BYTES {
                return Ok(true); // It may; who reads on will see.
            }
            let windows = &mut self.buffers.borrow_mut().windows;
            let bytes = windows.get(&segment, &run, self.ahead)?;
            for frame in segment.frames(&run, bytes) {
                if is(&frame?) {
                    return Ok(true);
                }
            }
        }
        for journal in self.snapshot.view.journals.iter().filter(|journal| journal.opening == origin.opening) {
            for place in journal.places(handle, self.snapshot.limit(journal)) {
                if large::is_chunk(journal, place)? {
                    continue;
                }
                let bytes = &mut self.buffers.borrow_mut().frame;
                let place = (place.offset, place.length);
                if is(&journal::read_frame(&*journal.file, &journal.path, place, bytes)?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Every record of a cell that `wanted` accepts by the time at which it happened, in no particular order. Where there is no frame of it,
    /// nothing is derived.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] naming file and offset of a frame that fails its checksum or does not open.
    pub fn read(
        &self,
        partition: &Arc<Partition>,
        probe: &Probe,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let mut cell = Cell { reader: self, partition, probe, key: None, sealer: None };
        for slot in self.snapshot.segments(partition.number) {
            self.read_segment(slot, &mut cell, wanted, hits)?;
        }
        self.read_journals(&mut cell, wanted, hits)
    }

    /// The same of a cell whose frames in segments are known.
    ///
    /// # Errors
    /// As [`CellReader::read`]; of a known frame that does not open, nothing but that there is one.
    pub fn read_known(
        &self,
        (known, partition, cell): (&Known, &Own<Partition>, &KnownCell),
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let mut open = Cell { reader: self, partition, probe: &cell.probe, key: None, sealer: None };
        for (frame, salt, sealer) in known.frames(cell) {
            let Buffers { plain, shares, .. } = &mut *self.buffers.borrow_mut();
            shares.partition = Some(partition.clone());
            open.unseal(&frame, (sealer, salt), (Path::new("memory"), 0), (plain, shares), wanted, hits)?;
        }
        self.read_journals(&mut open, wanted, hits)
    }

    fn read_journals(
        &self,
        cell: &mut Cell<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        self.snapshot.view.journals.iter().try_for_each(|journal| self.read_journal(journal, cell, wanted, hits))
    }

    /// Notes that a partition is about to be looked into, where what is read is to be kept.
    pub fn note(&self, partition: &Arc<Partition>) {
        if let Some(taking) = &mut *self.notes.borrow_mut() {
            taking.partition(self.buffers.borrow_mut().shares.partition(partition));
        }
    }

    /// Notes that a cell of it was read.
    pub fn note_cell(&self, probe: Probe) {
        if let Some(taking) = &mut *self.notes.borrow_mut() {
            taking.cell(probe);
        }
    }

    /// The segment of `slot` and where the frames of `handle` lie in it, if it has any.
    fn find(&self, slot: &Arc<SegmentSlot>, handle: &Handle) -> Result<Option<(Arc<Segment>, Run)>> {
        let segment = self.catalog.open(slot)?;
        let run = segment.find(handle)?;
        self.catalog.trim();
        Ok(run.map(|run| (segment, run)))
    }

    fn read_segment(
        &self,
        slot: &Arc<SegmentSlot>,
        cell: &mut Cell<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let Some((segment, run)) = self.find(slot, &cell.probe.handle)? else { return Ok(()) };
        let Buffers { windows, frame, plain, shares } = &mut *self.buffers.borrow_mut();
        if run.bytes > LONG_RUN_BYTES {
            self.notes.borrow_mut().iter_mut().for_each(|taking| taking.give_up());
            return read_long((&segment, &run), cell, (frame, (plain, shares)), wanted, hits);
        }
        let bytes = windows.get(&segment, &run, self.ahead)?;
        if plain.capacity() < bytes.len() {
            plain.reserve(bytes.len().max(PLAIN_BYTES));
        }
        let mut offset = run.offset;
        for frame in segment.frames(&run, bytes) {
            let frame = frame?;
            let salt = segment.salt(frame.head().opening);
            let salt = *salt.ok_or_else(|| Error::corrupt(&slot.path, offset, "a frame names an unknown opening"))?;
            cell.open(&frame, &salt, (&slot.path, offset), (plain, shares), wanted, hits)?;
            if let (Some(taking), Some((_, sealer))) = (&mut *self.notes.borrow_mut(), &cell.sealer)
                && frame.head().kind != FrameKind::Chunk
            {
                taking.frame(&frame, &salt, sealer);
            }
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
        for place in journal.places(&cell.probe.handle, self.snapshot.limit(journal)) {
            if large::is_chunk(journal, place)? {
                continue;
            }
            let Buffers { frame: bytes, plain, shares, .. } = &mut *self.buffers.borrow_mut();
            let frame = journal::read_frame(&*journal.file, &journal.path, (place.offset, place.length), bytes)?;
            let place = (&*journal.path, place.offset);
            cell.open(&frame, &journal.salt, place, (plain, shares), wanted, hits)?;
        }
        Ok(())
    }
}

/// Reads a run that is too long to be read at once: frame by frame, and of chunks the heads only.
fn read_long(
    (segment, run): (&Segment, &Run),
    cell: &mut Cell<'_>,
    (bytes, (plain, shares)): (&mut Vec<u8>, Scratch<'_>),
    wanted: &dyn Fn(Timestamp) -> bool,
    hits: &mut Vec<Hit>,
) -> Result<()> {
    segment.heads(run, &mut |head, offset, length| {
        if large::is_passed_over(head, length) {
            return Ok(());
        }
        let frame = segment.read_frame(head, (offset, length), bytes)?;
        let salt = segment.salt(head.opening);
        let salt = *salt.ok_or_else(|| Error::corrupt(segment.path(), offset, "a frame names an unknown opening"))?;
        cell.open(&frame, &salt, (segment.path(), offset), (plain, shares), wanted, hits)
    })
}

/// What opening a frame takes of a reader's buffers: room for the plaintext, and what it shares with the one before.
type Scratch<'a> = (&'a mut BytesMut, &'a mut Shares);

/// A cell while it is read: its key once it was found, and the data key of the opening that wrote the frame before.
struct Cell<'a> {
    reader: &'a CellReader<'a>,
    partition: &'a Arc<Partition>,
    probe: &'a Probe,
    key: Option<CellKey>,
    sealer: Option<(u32, Sealer)>,
}

impl Cell<'_> {
    fn open(
        &mut self,
        frame: &FrameView<'_>,
        salt: &Salt,
        (path, offset): (&Path, u64),
        (buffer, shares): Scratch<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let head = *frame.head();
        if head.handle != self.probe.handle {
            return Err(Error::corrupt(path, offset, "a frame stands under another cell's handle"));
        }
        match head.kind {
            FrameKind::Record | FrameKind::Amendment | FrameKind::Tombstone => {}
            FrameKind::Chunk => return Ok(()), // Read through its manifest alone.
            FrameKind::SourceOffset => {
                return Err(Error::corrupt(path, offset, "a frame is of a kind that no cell has in this version"));
            }
        }
        let sealer = match self.sealer.take().filter(|(opening, _)| *opening == head.opening) {
            Some((_, sealer)) => sealer,
            None => self.key.get_or_insert_with(|| self.probe.key(self.partition)).sealer(salt),
        };
        let opened = self.unseal(frame, (&sealer, salt), (path, offset), (buffer, shares), wanted, hits);
        self.sealer = Some((head.opening, sealer));
        opened
    }

    /// Opens a frame of this cell, a record or what stands for one, with the data key of the opening that wrote it.
    fn unseal(
        &self,
        frame: &FrameView<'_>,
        (sealer, salt): (&Sealer, &Salt),
        (path, offset): (&Path, u64),
        (buffer, shares): Scratch<'_>,
        wanted: &dyn Fn(Timestamp) -> bool,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let head = *frame.head();
        let context = FrameContext { store: &self.reader.store, partition: self.partition.number, salt };
        let damaged = |wrong: Malformed| Error::corrupt(path, offset, wrong.0);
        buffer.clear();
        buffer.extend_from_slice(frame.ciphertext());
        frame.decrypt(&context, sealer, buffer).map_err(damaged)?;
        let whole = buffer.split().freeze();
        let plain = frame.read(&whole).map_err(damaged)?;
        if !wanted(plain.since.unwrap_or(plain.at)) {
            return Ok(());
        }
        let dictionary = match plain.compressed {
            true => shares.dictionary(self.reader.catalog, self.partition, head.dictionary)?,
            false => None,
        };
        hits.push(Hit {
            at: plain.at,
            origin: plain.origin(&head),
            id: plain.record_id(&head),
            partition: shares.partition(self.partition),
            gone: head.kind == FrameKind::Tombstone,
            amends: plain.amends,
            kind: plain.kind,
            since: plain.since,
            raw_length: plain.raw_length,
            compressed: plain.compressed,
            large: plain.large,
            body: whole.slice_ref(plain.body),
            dictionary: (head.dictionary, dictionary),
        });
        Ok(())
    }
}

/// Puts hits of one customer in the order of events (then of writing), and keeps of equal records, those with the
/// same stream, time and id, the first written. Redacted ones are left out, however often they were sent.
pub fn order(hits: &mut Vec<Hit>) {
    if hits.iter().any(|hit| hit.gone) {
        let gone: HashSet<_> = hits.iter().filter(|hit| hit.gone).map(Hit::name).collect();
        hits.retain(|hit| !gone.contains(&hit.name()));
    }
    // Of what was carried forward, the copy that lives longest.
    hits.sort_by_key(|hit| (hit.event(), hit.origin, Reverse(hit.at)));
    // Hardly any two have the same time, so that there is nothing to compare by id.
    if hits.is_sorted_by(|one, next| one.event() < next.event()) {
        return;
    }
    let mut seen = HashSet::new();
    let mut time = None;
    hits.retain(|hit| {
        if time != Some(hit.event()) {
            time = Some(hit.event());
            seen.clear();
        }
        seen.insert((hit.partition.id.stream.clone(), hit.id))
    });
}
