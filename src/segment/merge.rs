//! Several segments of a partition into one. Frames are copied, never opened.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cursor::Cursor;
use super::{Segment, SegmentWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameKey;
use crate::ident::{Handle, Salt};

/// Each source is read in pieces of this many bytes; 64 of them are 16 MiB.
const PIECE: usize = 256 << 10;

/// What a merge did with the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Written.
    pub kept: u64,
    /// Left out because their handle is not kept.
    pub dropped: u64,
    /// Left out because the same (opening, sequence) was written already.
    pub repeated: u64,
}

/// The salts of all `sources` together, for the head of the segment they are merged into.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] where two of them give one opening different salts.
pub fn merged_salts(sources: &[&Segment]) -> Result<Vec<(u32, Salt)>> {
    let mut salts: Vec<(u32, Salt)> = sources.iter().flat_map(|source| source.salts().iter().copied()).collect();
    salts.sort_unstable();
    salts.dedup();
    match salts.is_sorted_by(|a, b| a.0 < b.0) {
        true => Ok(salts),
        false => Err(Error::new(ErrorKind::Corrupt, "segments of one partition disagree about an opening's salt")),
    }
}

/// Writes the frames of all `sources` to `writer`, by (handle, opening, sequence), leaving out those whose handle `keep`
/// refuses and those that are there twice. Memory: a piece per source.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] at the first damaged frame, naming its file, and where a source has other frames than
/// its summary says; the system's. The writer is then to be dropped.
pub fn merge(sources: &[&Segment], keep: &dyn Fn(&Handle) -> bool, writer: &mut SegmentWriter) -> Result<Merged> {
    let mut merged = Merged::default();
    let mut heap = BinaryHeap::with_capacity(sources.len());
    let mut readers = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        let mut reader = Source::new(source)?;
        if let Some(key) = reader.settle(keep, &mut merged)? {
            heap.push(Reverse((key, index)));
        }
        readers.push(reader);
    }
    while let Some(Reverse((_, index))) = heap.pop() {
        let reader = &mut readers[index];
        let Some(frame) = reader.cursor.frame()? else { continue };
        match writer.push(&frame)? {
            true => merged.kept += 1,
            false => merged.repeated += 1,
        }
        reader.cursor.skip();
        reader.seen += 1;
        if let Some(key) = reader.settle(keep, &mut merged)? {
            heap.push(Reverse((key, index)));
        }
    }
    Ok(merged)
}

struct Source<'a> {
    segment: &'a Segment,
    cursor: Cursor,
    seen: u64,
    /// The last handle asked about, and the answer: frames of a handle come together.
    judged: Option<(Handle, bool)>,
}

impl<'a> Source<'a> {
    fn new(segment: &'a Segment) -> Result<Self> {
        let summary = segment.summary();
        let extent = (summary.frames_offset, summary.index_offset());
        let cursor = Cursor::new(segment.file().clone(), segment.path().to_path_buf(), extent, PIECE)?;
        Ok(Source { segment, cursor, seen: 0, judged: None })
    }

    /// Moves on to the next frame that is kept and returns its key; `None` after the last.
    fn settle(&mut self, keep: &dyn Fn(&Handle) -> bool, merged: &mut Merged) -> Result<Option<FrameKey>> {
        while let Some(frame) = self.cursor.frame()? {
            let key = frame.key();
            let kept = match self.judged {
                Some((handle, kept)) if handle == key.handle => kept,
                _ => keep(&key.handle),
            };
            self.judged = Some((key.handle, kept));
            if kept {
                return Ok(Some(key));
            }
            self.cursor.skip();
            self.seen += 1;
            merged.dropped += 1;
        }
        match self.seen == self.segment.records() {
            true => Ok(None),
            false => {
                let at = self.cursor.offset();
                Err(Error::corrupt(self.segment.path(), at, "the segment has other frames than its summary says"))
            }
        }
    }
}
