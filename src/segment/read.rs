//! One open segment: finding the frames of a handle with positioned reads.

use crate::sync::Arc;
use crate::sync::atomic::AtomicUsize;
use std::path::{Path, PathBuf};

use super::index::{self, Index, block_for};
use super::{unread, unreadable};
use crate::crypto::Digest;
use crate::env::{self, Env, File, OpenMode, ReadAhead};
use crate::error::{Error, Result};
use crate::format::frame::{FrameView, Frames};
use crate::format::segment::{
    BLOCK_ENTRIES, BLOCK_LIMIT, Block, IndexEntry, SEGMENT_HEAD_BYTES, SegmentHead, Summary, TRAILER_BYTES, Trailer,
    decode_sparse,
};
use crate::ident::{Handle, PartitionNumber, Salt};
use crate::window::Day;

/// Index blocks are walked in pieces of this many bytes.
const PIECE: usize = 64 << 10;

/// Where the frames of one handle lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first frame, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes of all its frames.
    pub bytes: u64,
    /// How many frames.
    pub count: u32,
}

/// An open segment: its file, its summary and the sparse table over its index.
#[derive(Debug)]
pub struct Segment {
    file: Arc<dyn File>,
    path: PathBuf,
    length: u64,
    head: SegmentHead,
    summary: Summary,
    digest: Digest,
    sparse: Vec<Handle>,
    index: Index,
}

impl Segment {
    /// Opens a segment, reading head, trailer, summary and sparse table and checking their checksums. With `expected`,
    /// the hash it was published with, a file of another content is refused.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset, [`crate::ErrorKind::NotFound`],
    /// [`crate::ErrorKind::Unsupported`] for a newer version, or the system's.
    pub fn open(env: &dyn Env, path: &Path, expected: Option<&Digest>) -> Result<Self> {
        let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("open a segment", path, error))?;
        let length = file.len().map_err(unread(path))?;
        let head = read_head(&*file, path, length)?;
        let (trailer, summary) = read_end(&*file, path, length)?;
        if expected.is_some_and(|expected| *expected != trailer.digest) {
            return Err(Error::corrupt(path, length - TRAILER_BYTES as u64, "the segment is not the one it should be"));
        }
        let agrees = summary.frames_offset == head.length() as u64
            && summary.partition == head.partition
            && summary.number == head.number
            && summary.salts == head.salts;
        if !agrees {
            return Err(Error::corrupt(path, trailer.summary_offset, "head and summary of the segment differ"));
        }
        let mut table = vec![0; summary.sparse_bytes() as usize];
        env::read_exact_at(&*file, &mut table, summary.sparse_offset()).map_err(unread(path))?;
        let sparse = decode_sparse(&table).map_err(|wrong| Error::corrupt(path, summary.sparse_offset(), wrong.0))?;
        let (path, digest, index) = (path.to_path_buf(), trailer.digest, Index::default());
        Ok(Segment { file, path, length, head, summary, digest, sparse, index })
    }

    /// The same segment, which counts in `kept_bytes` what it keeps of its index.
    pub fn counted(self, kept_bytes: Arc<AtomicUsize>) -> Self {
        Segment { index: Index::counted(kept_bytes), ..self }
    }

    /// Forgets what it has kept of its index; it is read again when it is needed.
    pub fn forget_index(&self) {
        self.index.forget();
    }

    /// Where the frames of `handle` lie, if it has any. Needs one positioned read where the block of the index that may
    /// name it has not been read before, and none where the handle lies before all others.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where that block is damaged: then nobody can say whether the handle is there.
    pub fn find(&self, handle: &Handle) -> Result<Option<Run>> {
        let Some(index) = block_for(&self.sparse, handle) else { return Ok(None) };
        let offset = self.summary.block(index as u64).0;
        let entry = match self.index.find(index, &self.sparse, handle) {
            Some(entry) => entry,
            None => self.index.keep(index, &self.sparse, self.block(index)?, handle),
        };
        entry.map(|entry| self.run(&entry, offset)).transpose()
    }

    /// Reads and checks a block of the index.
    fn block(&self, index: usize) -> Result<index::Block> {
        let (offset, length) = self.summary.block(index as u64);
        let mut buffer = [0; BLOCK_LIMIT];
        let buffer = &mut buffer[..length];
        env::read_exact_at(&*self.file, buffer, offset).map_err(unread(&self.path))?;
        let entries = Block::decode(buffer, self.summary.widths).and_then(|block| block.entries().collect());
        entries.map(index::Block::new).map_err(|wrong| Error::corrupt(&self.path, offset, wrong.0))
    }

    /// The run of an index entry, within the frames of this file.
    fn run(&self, entry: &IndexEntry, block_offset: u64) -> Result<Run> {
        let end = entry.offset.checked_add(entry.bytes);
        let within = entry.offset >= self.summary.frames_offset
            && end.is_some_and(|end| end <= self.summary.index_offset())
            && entry.count > 0;
        match within {
            true => Ok(Run { offset: entry.offset, bytes: entry.bytes, count: entry.count }),
            false => Err(Error::corrupt(&self.path, block_offset, "an entry of the index points out of the frames")),
        }
    }

    /// Reads the frames of a run into `buffer`, whose earlier contents are dropped, with what follows them: `ahead` bytes
    /// at least, as far as there are so many. They are checked by [`Segment::frames`].
    ///
    /// # Errors
    /// The system's; [`crate::ErrorKind::Corrupt`] where the run lies outside of the frames.
    pub fn read_ahead(&self, run: &Run, ahead: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let past = self.summary.index_offset();
        let end = run.offset.checked_add(run.bytes).filter(|end| *end <= past);
        let end =
            end.ok_or_else(|| Error::corrupt(&self.path, run.offset, "a run ends beyond the frames of its segment"))?;
        let end = end.max(run.offset.saturating_add(ahead).min(past));
        buffer.resize((end - run.offset) as usize, 0);
        env::read_exact_at(&*self.file, buffer, run.offset).map_err(unread(&self.path))
    }

    /// The frames of a run that was read into `buffer`, each one's checksum checked. After an error it ends; and it is
    /// an error where there are fewer frames than the index says, or frames of another handle than the first's.
    pub fn frames<'a>(&'a self, run: &Run, buffer: &'a [u8]) -> impl Iterator<Item = Result<FrameView<'a>>> + use<'a> {
        let (mut frames, offset, mut left) = (Frames::in_segment(buffer), run.offset, run.count);
        let mut handle = None;
        std::iter::from_fn(move || {
            let at = offset + frames.offset() as u64;
            let damaged = |what: &str| Some(Err(Error::corrupt(&self.path, at, what)));
            let wrong = match frames.next() {
                None if left == 0 => return None,
                None => "a run has fewer frames than the index says",
                Some(Err(malformed)) => malformed.0,
                Some(Ok(_)) if left == 0 => "a run has more frames than the index says",
                Some(Ok(frame)) if *handle.get_or_insert(frame.head().handle) != frame.head().handle => {
                    "a run has a frame of another handle"
                }
                Some(Ok(frame)) => {
                    left -= 1;
                    return Some(Ok(frame));
                }
            };
            (frames, left) = (Frames::new(&[]), 0);
            damaged(wrong)
        })
    }

    /// All handles with their runs, in order.
    pub fn handles(&self) -> Handles<'_> {
        Handles { segment: self, ahead: None, block: 0, entries: Vec::new().into_iter(), last: None, failed: false }
    }

    /// The salt of an opening.
    pub fn salt(&self, opening: u32) -> Option<&Salt> {
        let index = self.head.salts.binary_search_by_key(&opening, |salt| salt.0).ok()?;
        Some(&self.head.salts[index].1)
    }

    /// All salts, ascending by opening.
    pub fn salts(&self) -> &[(u32, Salt)] {
        &self.head.salts
    }

    /// What it says of itself.
    pub fn head(&self) -> &SegmentHead {
        &self.head
    }

    /// The partition's number.
    pub fn partition(&self) -> PartitionNumber {
        self.head.partition
    }

    /// The path it was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of all that precedes its trailer, as stored there.
    pub fn hash(&self) -> &Digest {
        &self.digest
    }

    /// Frames.
    pub fn records(&self) -> u64 {
        self.summary.records
    }

    /// Handles.
    pub fn handle_count(&self) -> u64 {
        self.summary.handles
    }

    /// Frames that are chunks of large bodies.
    pub fn chunks(&self) -> u64 {
        self.summary.chunks
    }

    /// Bytes of the bodies as they came in.
    pub fn raw_bytes(&self) -> u64 {
        self.summary.raw_bytes
    }

    /// Length of the file, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.length
    }

    /// The days of the earliest and the latest event.
    pub fn span(&self) -> (Day, Day) {
        (self.summary.first_day, self.summary.last_day)
    }

    /// The dictionaries that its frames name, ascending.
    pub fn dictionaries(&self) -> &[u32] {
        &self.summary.dictionaries
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }
}

pub(super) fn read_head(file: &dyn File, path: &Path, length: u64) -> Result<SegmentHead> {
    let damaged = |what: &str| Error::corrupt(path, 0, what);
    let mut fixed = [0; SEGMENT_HEAD_BYTES];
    if length < SEGMENT_HEAD_BYTES as u64 {
        return Err(damaged("the file is shorter than the head of a segment"));
    }
    env::read_exact_at(file, &mut fixed, 0).map_err(unread(path))?;
    let head = SegmentHead::peek_length(&fixed).map_err(|wrong| damaged(wrong.0))?;
    if head as u64 > length {
        return Err(damaged("the head of the segment is longer than the file"));
    }
    let mut bytes = vec![0; head];
    env::read_exact_at(file, &mut bytes, 0).map_err(unread(path))?;
    SegmentHead::decode(&bytes).map_err(|wrong| unreadable(path, wrong))
}

pub(super) fn read_end(file: &dyn File, path: &Path, length: u64) -> Result<(Trailer, Summary)> {
    let at = length.checked_sub(TRAILER_BYTES as u64);
    let at = at.ok_or_else(|| Error::corrupt(path, 0, "the file is shorter than the end of a segment"))?;
    let mut bytes = [0; TRAILER_BYTES];
    env::read_exact_at(file, &mut bytes, at).map_err(unread(path))?;
    let trailer = Trailer::decode(&bytes, length).map_err(|wrong| Error::corrupt(path, at, wrong.0))?;
    let mut bytes = vec![0; trailer.summary_length as usize];
    env::read_exact_at(file, &mut bytes, trailer.summary_offset).map_err(unread(path))?;
    let summary = Summary::decode(&bytes, trailer.summary_offset)
        .map_err(|wrong| Error::corrupt(path, trailer.summary_offset, wrong.0))?;
    Ok((trailer, summary))
}

/// Walks the handles of a segment in order. After an error it ends.
#[derive(Debug)]
pub struct Handles<'a> {
    segment: &'a Segment,
    ahead: Option<ReadAhead>,
    block: u64,
    entries: std::vec::IntoIter<IndexEntry>,
    last: Option<Handle>,
    failed: bool,
}

impl Handles<'_> {
    fn advance(&mut self) -> Result<Option<(Handle, Run)>> {
        if self.entries.len() == 0 {
            self.load()?;
        }
        let Some(entry) = self.entries.next() else { return Ok(None) };
        let (offset, _) = self.segment.summary.block(self.block - 1);
        if self.last.is_some_and(|last| last >= entry.handle) {
            return Err(Error::corrupt(&self.segment.path, offset, "the index is not in order"));
        }
        self.last = Some(entry.handle);
        Ok(Some((entry.handle, self.segment.run(&entry, offset)?)))
    }

    fn load(&mut self) -> Result<()> {
        let Segment { summary, path, sparse, file, .. } = self.segment;
        if self.block >= summary.blocks() {
            return Ok(());
        }
        let (offset, length) = summary.block(self.block);
        let ahead = match &mut self.ahead {
            Some(ahead) => ahead,
            slot => slot.insert(ReadAhead::new(Arc::clone(file), PIECE).map_err(unread(path))?),
        };
        let damaged = |what: &str| Error::corrupt(path, offset, what);
        let bytes = ahead.get(offset, length).map_err(unread(path))?;
        let bytes = bytes.ok_or_else(|| damaged("the index ends too early"))?;
        let block = Block::decode(bytes, summary.widths).map_err(|wrong| damaged(wrong.0))?;
        let mut entries = Vec::with_capacity(BLOCK_ENTRIES);
        for entry in block.entries() {
            entries.push(entry.map_err(|wrong| damaged(wrong.0))?);
        }
        if entries.first().map(|entry| entry.handle) != sparse.get(self.block as usize).copied() {
            return Err(damaged("index and sparse table differ"));
        }
        self.entries = entries.into_iter();
        self.block += 1;
        Ok(())
    }
}

impl Iterator for Handles<'_> {
    type Item = Result<(Handle, Run)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
