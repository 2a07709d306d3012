//! Writing one segment, front to back.

use crate::sync::Arc;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::crypto::{Digest, Hasher};
use crate::env::{self, BLOCK, Blocks, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FrameHead, FrameKind, FrameView};
use crate::format::segment::{
    BLOCK_ENTRIES, DICTIONARIES_LIMIT, IndexEntry, SALTS_LIMIT, SegmentHead, Summary, Trailer, Widths, encode_block,
    encode_sparse,
};
use crate::window::Day;

/// Bytes are written out in pieces of this many, or of the whole blocks in somewhat more.
const PIECE: usize = 1 << 20;
/// Room for the frame that completes a piece, mostly.
const ROOM: usize = PIECE + (64 << 10);

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// SHA-256 of all that precedes the trailer, which it is also stored in.
    pub hash: Digest,
    /// Length of the file.
    pub bytes: u64,
    /// Frames.
    pub records: u64,
    /// How many of them are chunks of large bodies.
    pub chunks: u64,
    /// The day of the earliest event.
    pub first_day: Day,
    /// The day of the latest event.
    pub last_day: Day,
}

/// Where a segment goes. What has not got its name when this goes is removed, whatever went wrong; what cannot be removed is
/// swept at the next opening.
struct Target {
    env: Arc<dyn Env>,
    file: Arc<dyn File>,
    temporary: PathBuf,
    path: PathBuf,
    is_named: bool,
}

/// A segment that is being written, under a temporary name. Dropped unfinished, it leaves nothing behind.
pub struct SegmentWriter {
    /// Where it goes; none where only its hash is asked for.
    target: Option<Target>,
    head: SegmentHead,
    buffer: Blocks,
    /// How much of the buffer has been hashed.
    hashed: usize,
    /// Where the buffer goes in the file.
    flushed: u64,
    hasher: Hasher,
    entries: Vec<IndexEntry>,
    dictionaries: BTreeSet<u32>,
    last: Option<FrameHead>,
    /// That of the frame being added.
    header: Vec<u8>,
    records: u64,
    chunks: u64,
}

impl SegmentWriter {
    /// Begins a segment that will appear at `path`; missing directories are created.
    ///
    /// # Errors
    /// The system's; [`ErrorKind::Invalid`] where the salts are not ascending by opening.
    pub fn create(env: Arc<dyn Env>, path: &Path, head: SegmentHead) -> Result<Self> {
        SegmentWriter::begin(env, path, head, OpenMode::CreateNew)
    }

    /// The same past the page cache: the kernel copies nothing and gives no memory to what is written. Who reads it first
    /// reads it from the disk.
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create_direct(env: Arc<dyn Env>, path: &Path, head: SegmentHead) -> Result<Self> {
        SegmentWriter::begin(env, path, head, OpenMode::CreateDirect)
    }

    fn begin(env: Arc<dyn Env>, path: &Path, head: SegmentHead, mode: OpenMode) -> Result<Self> {
        if head.salts.len() > SALTS_LIMIT || !head.salts.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Error::new(ErrorKind::Invalid, "the salts of a segment ascend by opening").in_file(path));
        }
        let failed = |error| Error::io("create a segment", path, error);
        env::create_dirs(&*env, env::parent(path)).map_err(failed)?;
        let temporary = env::temporary_name(&*env, path).map_err(failed)?;
        let file = env.open(&temporary, mode).map_err(failed)?;
        let target = Target { env, file, temporary, path: path.to_path_buf(), is_named: false };
        Ok(SegmentWriter { target: Some(target), ..SegmentWriter::measure(head) })
    }

    /// Begins a segment that is written nowhere, to know its hash.
    pub fn measure(head: SegmentHead) -> Self {
        let mut buffer = Blocks::with_room(ROOM);
        buffer.extend_from_slice(&head.encode());
        SegmentWriter {
            target: None,
            buffer,
            hashed: 0,
            head,
            flushed: 0,
            hasher: Hasher::new(),
            entries: Vec::new(),
            dictionaries: BTreeSet::new(),
            last: None,
            header: Vec::new(),
            records: 0,
            chunks: 0,
        }
    }

    /// An error about the file that is being written.
    fn wrong(&self, kind: ErrorKind, what: &str) -> Error {
        let error = Error::new(kind, what);
        match &self.target {
            Some(target) => error.in_file(&target.path),
            None => error,
        }
    }

    /// Adds a frame, in the order of (handle, opening, sequence). The same (handle, opening, sequence) again is one
    /// frame: it is left out, and the answer is `false`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the frame is out of order or of an opening without a salt: then the source it
    /// comes from is not what it should be, and the segment is to be dropped. The system's.
    pub fn push(&mut self, frame: &FrameView<'_>) -> Result<bool> {
        let key = frame.key();
        match self.last {
            Some(last) if last.key() == key => return Ok(false),
            Some(last) if last.key() > key => {
                return Err(self.wrong(ErrorKind::Corrupt, "frames reach a segment out of order"));
            }
            Some(last) if last.opening == key.opening => {}
            _ if self.head.salts.binary_search_by_key(&key.opening, |salt| salt.0).is_ok() => {}
            _ => {
                let what = "a frame is of an opening that the segment has no salt of";
                return Err(self.wrong(ErrorKind::Corrupt, what));
            }
        }
        let offset = self.bytes();
        self.header.clear();
        frame.store_header(self.last.as_ref(), &mut self.header);
        self.buffer.extend_from_slice(&self.header);
        self.buffer.extend_from_slice(frame.sealed());
        let bytes = self.bytes() - offset;
        match self.entries.last_mut() {
            Some(entry) if entry.handle == key.handle => {
                entry.bytes += bytes;
                entry.count += 1;
            }
            _ => self.entries.push(IndexEntry { handle: key.handle, offset, bytes, count: 1 }),
        }
        let dictionary = frame.head().dictionary;
        if dictionary != 0 {
            self.dictionaries.insert(dictionary);
        }
        self.last = Some(*frame.head());
        self.records += 1;
        self.chunks += u64::from(frame.head().kind == FrameKind::Chunk);
        self.flush_pieces()?;
        Ok(true)
    }

    /// Bytes so far, footer not included.
    pub fn bytes(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    fn hash(&mut self, end: usize) {
        self.hasher.update(&self.buffer[self.hashed..end]);
        self.hashed = end;
    }

    /// Writes out what there is in whole blocks, once that is a piece.
    fn flush_pieces(&mut self) -> Result<()> {
        match self.buffer.len() >= PIECE {
            true => self.flush(self.buffer.len() / BLOCK * BLOCK),
            false => Ok(()),
        }
    }

    /// Writes out the first `count` bytes of the buffer.
    fn flush(&mut self, count: usize) -> Result<()> {
        self.hash(count);
        if let Some(target) = &self.target {
            let written = env::write_all_at(&*target.file, &self.buffer[..count], self.flushed);
            written.map_err(|error| Error::io("write a segment", &target.path, error))?;
        }
        self.flushed += count as u64;
        self.buffer.take_front(count);
        self.hashed = 0;
        Ok(())
    }

    /// Writes the footer, syncs the file once and gives it its name, durably. `raw_bytes` and the days of the earliest
    /// and latest event are the caller's knowledge: frames are encrypted.
    ///
    /// # Errors
    /// The system's, and [`ErrorKind::Invalid`] for a segment without frames; nothing has the name then.
    pub fn finish(self, raw_bytes: u64, span: (Day, Day)) -> Result<SegmentSummary> {
        let written = self.write(raw_bytes, span)?;
        let summary = written.summary.clone();
        publish(vec![written])?;
        Ok(summary)
    }

    /// Writes the footer; the segment is then to be published.
    ///
    /// # Errors
    /// As [`SegmentWriter::finish`].
    pub fn write(mut self, raw_bytes: u64, span: (Day, Day)) -> Result<Written> {
        let summary = self.complete(raw_bytes, span)?;
        Ok(Written { summary, target: self.target })
    }

    fn complete(&mut self, raw_bytes: u64, (first_day, last_day): (Day, Day)) -> Result<SegmentSummary> {
        if self.records == 0 || first_day > last_day || self.dictionaries.len() > DICTIONARIES_LIMIT {
            return Err(Error::new(ErrorKind::Invalid, "a segment has frames, days in order and few dictionaries"));
        }
        let (frames_offset, widths) = (self.head.length() as u64, Widths::of(&self.entries));
        let summary = Summary {
            frames_offset,
            frames_bytes: self.bytes() - frames_offset,
            records: self.records,
            handles: self.entries.len() as u64,
            widths,
            raw_bytes,
            chunks: self.chunks,
            first_day,
            last_day,
            partition: self.head.partition,
            number: self.head.number,
            dictionaries: self.dictionaries.iter().copied().collect(),
            salts: self.head.salts.clone(),
        };
        let entries = std::mem::take(&mut self.entries);
        let mut firsts = Vec::with_capacity(entries.len().div_ceil(BLOCK_ENTRIES));
        let mut footer = Vec::new();
        // Of a million customers an index has 20 MB: block by block it goes where the frames went.
        for block in entries.chunks(BLOCK_ENTRIES) {
            firsts.push(block[0].handle);
            footer.clear();
            encode_block(block, widths, &mut footer);
            self.buffer.extend_from_slice(&footer);
            self.flush_pieces()?;
        }
        drop(entries);
        footer.clear();
        encode_sparse(&firsts, &mut footer);
        summary.encode(&mut footer);
        self.buffer.extend_from_slice(&footer);
        self.hash(self.buffer.len());
        let hash = self.hasher.clone().finish();
        let trailer =
            Trailer { summary_offset: summary.offset(), summary_length: summary.length() as u32, digest: hash };
        self.buffer.extend_from_slice(&trailer.encode());
        self.flush(self.buffer.len())?;
        let (records, chunks) = (self.records, self.chunks);
        Ok(SegmentSummary { hash, bytes: self.flushed, records, chunks, first_day, last_day })
    }
}

/// A segment that was written whole, and has no name and no place on the disk yet. Dropped unpublished, it leaves nothing.
pub struct Written {
    /// What was written.
    pub summary: SegmentSummary,
    target: Option<Target>,
}

/// Syncs segments and gives them their names, durably. All are synced before the first is named, and all named before
/// the first directory is synced: a file system that commits its own journal for one has then done so for all.
///
/// # Errors
/// The system's. Those that have a name by then are nobody's, and swept at the next opening.
pub fn publish(segments: Vec<Written>) -> Result<()> {
    let mut targets: Vec<Target> = segments.into_iter().filter_map(|written| written.target).collect();
    let failed = |target: &Target, error| Error::io("publish a segment", &target.path, error);
    for target in &targets {
        target.file.sync_data().map_err(|error| failed(target, error))?;
    }
    for target in &mut targets {
        target.env.rename_new(&target.temporary, &target.path).map_err(|error| failed(target, error))?;
        target.is_named = true;
    }
    let mut synced = BTreeSet::new();
    for target in &targets {
        let directory = env::parent(&target.path);
        if synced.insert(directory) {
            target.env.sync_dir(directory).map_err(|error| failed(target, error))?;
        }
    }
    Ok(())
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = self.env.remove_file(&self.temporary);
        }
    }
}
