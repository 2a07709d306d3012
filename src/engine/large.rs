//! Large bodies: written as chunks of 1 MiB in the cell of their record, found again by the manifest that stands where the
//! record's body would. Neither way holds more than a few chunks in memory.
//!
//! Chunks come first, commit by commit, and the record last: without it they are nothing, and go with their partition.

use crate::sync::Arc;
use std::collections::HashMap;

use super::catalog::{JournalFile, Place, SegmentSlot, Snapshot};
use super::cells::{Cell, probes};
use super::committer::Pending;
use super::encode::{Encoder, Pen, finish};
use super::partitions::Partition;
use super::read::Hit;
use super::{Engine, Writer};
use crate::compress;
use crate::crypto::{CellKey, Sealer};
use crate::env::{self, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, FrameContext, FrameHead, FrameKind, Origin};
use crate::format::group::{GroupBuilder, SourceMark};
use crate::format::manifest::{CHUNK_BYTES, Manifest};
use crate::format::plain::Prefix;
use crate::ident::{Handle, RecordId, Salt};
use crate::journal;
use crate::keyring::CustomerEntry;
use crate::record::{Batch, BodyKind, Record, SourceOffset};
use crate::window::Timestamp;

/// Shorter frames are read even where they claim to be chunks: so a damaged kind never hides a record.
const SHORT_FRAME_BYTES: u32 = 64 << 10;
/// Chunks that travel in one commit.
pub const CHUNKS_AT_ONCE: usize = 4;

/// Whether a frame is a chunk, which nobody reads but through its manifest.
pub fn is_passed_over(head: &FrameHead, length: u32) -> bool {
    head.kind == FrameKind::Chunk && length > SHORT_FRAME_BYTES
}

/// The same for a frame of the journal, of which at most the head is read.
///
/// # Errors
/// The system's; [`ErrorKind::Corrupt`] where there is no head.
pub fn is_chunk(journal: &JournalFile, place: Place) -> Result<bool> {
    if place.length <= SHORT_FRAME_BYTES {
        return Ok(false);
    }
    let (head, length) = journal_head(journal, place)?;
    Ok(is_passed_over(&head, length))
}

/// The head of a frame of the journal, not checked by a checksum, and the frame's length.
///
/// # Errors
/// As [`is_chunk`].
pub fn journal_head(journal: &JournalFile, place: Place) -> Result<(FrameHead, u32)> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    env::read_exact_at(&*journal.file, &mut bytes, place.offset)
        .map_err(|error| Error::io("read a frame of the journal", &journal.path, error))?;
    FrameHead::peek(&bytes).map_err(|wrong| Error::corrupt(&journal.path, place.offset, wrong.0))
}

/// Where the record of a large body goes, as long as its customer's secret stays what it was.
#[derive(Clone, Debug)]
pub struct Target {
    partition: Arc<Partition>,
    handle: Handle,
}

/// A chunk as it is stored.
pub struct Chunk {
    raw_length: u32,
    compressed: bool,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Compresses a chunk.
    pub fn new(body: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let compressed = compress::store_into(body, None, &mut bytes);
        Chunk { raw_length: body.len() as u32, compressed, bytes }
    }
}

impl Encoder<'_> {
    /// Where the large body of `record` will go.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where the record may not come in.
    pub fn target(&self, record: &Record) -> Result<Target> {
        let (cell, partition, _) = self.place(record)?;
        Ok(Target { partition, handle: cell.handle })
    }

    /// A group of chunks of the large body of `record`, and where they will stand.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where the record may not come in any more; [`ErrorKind::Erased`] where its customer was let
    /// go of meanwhile, wholly or in part, and has another secret now.
    pub fn chunks(&self, record: &Record, target: &Target, chunks: &[Chunk]) -> Result<(Pending, Origin)> {
        let (cell, partition, needs) = self.same_place(record, target)?;
        self.pack(&cell, &partition, record.at, needs, chunks)
    }

    /// The group of the record itself, once its chunks are on their way, and the id that it is read back with.
    ///
    /// # Errors
    /// As [`Encoder::chunks`].
    pub fn whole(
        &self,
        record: &Record,
        target: &Target,
        manifest: &Manifest,
        source: Option<&SourceOffset>,
    ) -> Result<(Pending, RecordId)> {
        let (cell, partition, needs) = self.same_place(record, target)?;
        let body = manifest.encode();
        let prefix = Prefix {
            at: record.at,
            raw_length: body.len() as u32,
            kind: record.kind,
            id: record.id,
            original: None,
            compressed: false,
            large: true,
            amends: None,
            since: None,
        };
        let random = self.random()?;
        let sequence = self.sequence.take(1)?;
        let mut group = GroupBuilder::new(1, 1, body.len() + 256);
        let mark =
            source.map(|source| SourceMark { tag: self.keyring.source_tag(&source.name), offset: source.offset });
        mark.into_iter().for_each(|mark| group.source(mark));
        let sources = mark.into_iter().map(|mark| (mark.tag, mark.offset)).collect();
        let which = (FrameKind::Record, sequence, random);
        let place = self.frame(&mut group, (&cell, &partition, None), which, &prefix, &body)?;
        let pending = finish(group, std::iter::once((cell.handle, place)), needs, sources)?;
        Ok((pending, record.id.unwrap_or(RecordId::given(self.opening.number, sequence))))
    }

    /// A group of chunks for `cell`.
    pub(super) fn pack(
        &self,
        cell: &Cell,
        partition: &Partition,
        at: Timestamp,
        needs: u64,
        chunks: &[Chunk],
    ) -> Result<(Pending, Origin)> {
        let random = self.random()?;
        let first = self.sequence.take(chunks.len())?;
        let context = self.opening.context(partition.number);
        let mut group = GroupBuilder::new(1, 0, chunks.iter().map(|chunk| chunk.bytes.len() + 128).sum());
        let mut frames = Vec::with_capacity(chunks.len());
        for (chunk, sequence) in chunks.iter().zip(first..) {
            let head = self.head(FrameKind::Chunk, sequence, random, cell, 0);
            let (raw_length, compressed) = (chunk.raw_length, chunk.compressed);
            let prefix = Prefix {
                at,
                raw_length,
                kind: BodyKind::Bytes,
                id: None,
                original: None,
                compressed,
                large: false,
                amends: None,
                since: None,
            };
            let place = group.push(&context, &cell.sealer, &head, at, raw_length, |out| {
                prefix.encode(out);
                out.extend_from_slice(&chunk.bytes);
            })?;
            frames.push((cell.handle, place));
        }
        let mut pending = finish(group, frames.into_iter(), needs, Vec::new())?;
        for (_, totals) in &mut pending.indexed.totals {
            totals.chunks = totals.records;
        }
        Ok((pending, Origin { opening: self.opening.number, sequence: first }))
    }

    fn same_place(&self, record: &Record, target: &Target) -> Result<(Cell, Arc<Partition>, u64)> {
        let (cell, partition, needs) = self.place(record)?;
        match cell.handle == target.handle && partition.number == target.partition.number {
            true => Ok((cell, partition, needs)),
            false => Err(Error::new(
                ErrorKind::Erased,
                "the customer was erased, wholly or in part, while the body was coming in",
            )
            .hint("nothing of it will be read; upload it again if it may still be kept")),
        }
    }

    fn place(&self, record: &Record) -> Result<(Cell, Arc<Partition>, u64)> {
        let batch = Batch::from([record.clone()]);
        let windows = self.admit(&batch)?;
        let keyed = self.key(&batch.records, windows)?;
        let only = keyed.cells.into_iter().zip(keyed.partitions).next();
        let (cell, partition) = only.expect("one record has one cell, in one partition");
        Ok((cell, partition, keyed.needs))
    }

    pub(super) fn random(&self) -> Result<[u8; 6]> {
        random(self.env).map_err(|error| Error::io("draw random bytes", "the system".as_ref(), error))
    }
}

/// Where one chunk stands.
enum Stand {
    Segment(Arc<SegmentSlot>),
    Journal(Arc<JournalFile>),
}

/// One chunk, found: the head is as it was seen, not yet checked.
struct Found {
    stand: Stand,
    place: Place,
    head: FrameHead,
}

/// The chunks of one large body, found.
pub struct Chunks {
    partition: Arc<Partition>,
    key: CellKey,
    manifest: Manifest,
    places: Vec<Found>,
    sealer: Option<(u32, Sealer)>,
    scratch: Vec<u8>,
}

impl Chunks {
    /// Finds the chunks of the large body `hit` of `customer`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where one of them is missing.
    pub fn find(engine: &Engine, snapshot: &Snapshot, customer: &CustomerEntry, hit: &Hit) -> Result<Option<Self>> {
        let Some(manifest) = hit.manifest()? else { return Ok(None) };
        let mut missing = None;
        for probe in probes(&engine.store, customer, &hit.partition) {
            match locate(engine, snapshot, hit, &probe.handle, &manifest)? {
                Ok(places) => {
                    let (partition, key) = ((*hit.partition).clone(), probe.key(&hit.partition));
                    let (sealer, scratch) = (None, Vec::new());
                    return Ok(Some(Chunks { partition, key, manifest, places, sealer, scratch }));
                }
                Err(index) => missing = missing.max(Some(index)),
            }
        }
        let what = format!(
            "chunk {} of a large body in partition {} is missing",
            missing.unwrap_or_default(),
            hit.partition.id
        );
        Err(Error::new(ErrorKind::Corrupt, what)
            .hint("run `tenure verify`, and bring damaged segments back from a copy"))
    }

    /// Bytes of the whole body.
    pub fn length(&self) -> u64 {
        self.manifest.length
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// Chunk `index` as it came in.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset where it is damaged.
    pub fn read(&mut self, engine: &Engine, index: u64) -> Result<Vec<u8>> {
        let expected = self.manifest.chunk_length(index);
        let chunk = self.stored(engine, index)?;
        let body = match chunk.compressed {
            false => Ok(chunk.bytes),
            true => compress::decompress(&chunk.bytes, chunk.raw_length as usize, None),
        };
        body.ok().filter(|body| body.len() as u64 == expected).ok_or_else(|| {
            let what = format!("chunk {index} of a large body in partition {} does not decompress", self.partition.id);
            Error::new(ErrorKind::Corrupt, what).hint("run `tenure verify --deep` and report this")
        })
    }

    /// Chunk `index` as it is stored.
    pub(super) fn stored(&mut self, engine: &Engine, index: u64) -> Result<Chunk> {
        let Found { stand, place, head } = &self.places[index as usize];
        let (opening, mut bytes) = (head.opening, Vec::new());
        let (path, frame, salt) = match stand {
            Stand::Segment(slot) => {
                let segment = engine.catalog.open(slot)?;
                let frame = segment.read_frame(head, (place.offset, place.length), &mut bytes)?;
                (&slot.path, frame, segment.salt(opening).copied())
            }
            Stand::Journal(file) => {
                let place = (place.offset, place.length);
                let frame = journal::read_frame(&*file.file, &file.path, place, &mut bytes)?;
                (&file.path, frame, Some(file.salt))
            }
        };
        let damaged = |what: &str| Error::corrupt(path, place.offset, what);
        let salt: Salt = salt.ok_or_else(|| damaged("a frame names an unknown opening"))?;
        if self.sealer.as_ref().is_none_or(|(known, _)| *known != opening) {
            self.sealer = Some((opening, self.key.sealer(&salt)));
        }
        let Some((_, sealer)) = &self.sealer else { return Err(damaged("a frame names an unknown opening")) };
        let context = FrameContext { store: &engine.store, partition: self.partition.number, salt: &salt };
        let plain = frame.open(&context, sealer, &mut self.scratch).map_err(|wrong| damaged(wrong.0))?;
        Ok(Chunk { raw_length: plain.raw_length, compressed: plain.compressed, bytes: plain.body.to_vec() })
    }
}

/// The places of all chunks under one handle, or the first that is not there.
fn locate(
    engine: &Engine,
    snapshot: &Snapshot,
    hit: &Hit,
    handle: &Handle,
    manifest: &Manifest,
) -> Result<Result<Vec<Found>, u64>> {
    let mut wanted: HashMap<Origin, u64> = manifest.chunks().zip(0..).collect();
    let mut found: Vec<Option<Found>> = Vec::new();
    found.resize_with(wanted.len(), || None);
    let mut take = |head: &FrameHead, place: Place, stand: &dyn Fn() -> Stand| {
        let origin = Origin { opening: head.opening, sequence: head.sequence };
        if head.kind == FrameKind::Chunk
            && let Some(index) = wanted.remove(&origin)
        {
            found[index as usize] = Some(Found { stand: stand(), place, head: *head });
        }
    };
    for slot in snapshot.segments(hit.partition.number) {
        let segment = engine.catalog.open(slot)?;
        if let Some(run) = segment.find(handle)? {
            segment.heads(&run, &mut |head, offset, length| {
                take(head, Place { offset, length }, &|| Stand::Segment(slot.clone()));
                Ok(())
            })?;
        }
    }
    for file in &snapshot.view.journals {
        for place in file.places(handle, snapshot.limit(file)) {
            let (head, _) = journal_head(file, place)?;
            take(&head, place, &|| Stand::Journal(file.clone()));
        }
    }
    let first = found.iter().position(Option::is_none);
    Ok(match first {
        None => Ok(found.into_iter().flatten().collect()),
        Some(index) => Err(index as u64),
    })
}

/// Writes the chunks of a large body again where `pen` writes, durable on return, since the cell they
/// stand in is about to die. The hit that comes back names them where they are now. Any other hit comes back as it is.
///
/// # Errors
/// What reading and committing answer; doing it again is harmless.
pub fn again(engine: &Engine, writer: &Writer, customer: &CustomerEntry, pen: &Pen<'_>, hit: Hit) -> Result<Hit> {
    let snapshot = engine.catalog.snapshot();
    let Some(mut chunks) = Chunks::find(engine, &snapshot, customer, &hit)? else { return Ok(hit) };
    let cell = (pen.cell)(&hit.partition);
    let manifest = copy(engine, writer, &mut chunks, (&cell, &hit.partition, hit.at, pen.needs))?;
    Ok(hit.with_manifest(&manifest))
}

/// Writes chunks again in a cell, durable on return. The manifest that comes back names them there.
///
/// # Errors
/// As [`again`].
pub fn copy(
    engine: &Engine,
    writer: &Writer,
    chunks: &mut Chunks,
    (cell, partition, at, needs): (&Cell, &Partition, Timestamp, u64),
) -> Result<Manifest> {
    let policy = engine.policy();
    let encoder = engine.encoder(writer, &policy, engine.now());
    let mut manifest = Manifest { length: chunks.length(), parts: Vec::new() };
    let mut index = 0;
    while index < chunks.count() {
        let end = chunks.count().min(index + CHUNKS_AT_ONCE as u64);
        let stored: Vec<Chunk> = (index..end).map(|index| chunks.stored(engine, index)).collect::<Result<_>>()?;
        let (pending, first) = encoder.pack(cell, partition, at, needs, &stored)?;
        let ticket = writer.committer.submit(pending)?;
        writer.committer.wait(ticket, &engine.tools(writer))?;
        manifest.push(first, stored.len() as u32);
        index = end;
    }
    Ok(manifest)
}

/// Bytes of the body that travel in one commit.
pub const PIECE_BYTES: usize = CHUNKS_AT_ONCE * CHUNK_BYTES as usize;
