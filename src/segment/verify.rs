//! Checking a whole segment without a key.

use crate::sync::Arc;
use std::path::Path;

use super::cursor::Cursor;
use super::{Segment, unread};
use crate::crypto::{Digest, Hasher};
use crate::env::{Env, ReadAhead};
use crate::error::{Error, Result};
use crate::format::frame::FrameKey;
use crate::format::segment::TRAILER_BYTES;

const PIECE: usize = 1 << 20;

/// What a verification saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCheck {
    /// Frames whose checksum was checked.
    pub frames: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Checks everything about a segment that needs no key: its hash, every checksum, the order of its frames and that the
/// index finds exactly them. With `expected`, also that it is the segment that was published.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] with file and offset of the first thing that is wrong; the system's.
pub fn verify(env: &dyn Env, path: &Path, expected: Option<&Digest>) -> Result<SegmentCheck> {
    let segment = Segment::open(env, path, expected)?;
    let frames = check_frames(&segment)?;
    // Last, since it says only that something is wrong: the checks above name the place.
    check_hash(&segment)?;
    Ok(SegmentCheck { frames, bytes: segment.stored_bytes() })
}

fn check_hash(segment: &Segment) -> Result<()> {
    let path = segment.path();
    let mut ahead = ReadAhead::new(Arc::clone(segment.file()), PIECE).map_err(unread(path))?;
    let (mut hasher, mut offset) = (Hasher::new(), 0);
    let end = segment.stored_bytes() - TRAILER_BYTES as u64;
    while offset < end {
        let count = (end - offset).min(PIECE as u64) as usize;
        let bytes = ahead.get(offset, count).map_err(unread(path))?;
        hasher.update(bytes.ok_or_else(|| Error::corrupt(path, offset, "the segment is shorter than it was"))?);
        offset += count as u64;
    }
    match hasher.finish() == *segment.hash() {
        true => Ok(()),
        false => Err(Error::corrupt(path, end, "the hash of the segment is not that of its contents")),
    }
}

fn check_frames(segment: &Segment) -> Result<u64> {
    let summary = segment.summary();
    let extent = (summary.frames_offset, summary.index_offset());
    let mut cursor = Cursor::new(segment.file().clone(), segment.path().to_path_buf(), extent, PIECE)?;
    let mut last: Option<FrameKey> = None;
    let mut frames = 0;
    for entry in segment.handles() {
        let (handle, run) = entry?;
        let start = cursor.offset();
        let mut count = 0;
        while cursor.offset() < run.offset.saturating_add(run.bytes) {
            let at = cursor.offset();
            let damaged = |what| Err(Error::corrupt(segment.path(), at, what));
            let Some(frame) = cursor.frame()? else { break };
            let key = frame.key();
            if last.is_some_and(|last| last >= key) {
                return damaged("the frames of the segment are not in order");
            }
            if key.handle != handle || segment.salt(key.opening).is_none() {
                return damaged("a frame is not where the index expects it");
            }
            let dictionary = frame.head().dictionary;
            if dictionary != 0 && segment.dictionaries().binary_search(&dictionary).is_err() {
                return damaged("a frame names a dictionary that the summary does not");
            }
            last = Some(key);
            count += 1;
            cursor.skip();
        }
        if start != run.offset || cursor.offset() != run.offset + run.bytes || count != run.count {
            return Err(Error::corrupt(segment.path(), run.offset, "index and frames of the segment differ"));
        }
        frames += u64::from(count);
    }
    match cursor.offset() == extent.1 && frames == summary.records {
        true => Ok(frames),
        false => Err(Error::corrupt(segment.path(), cursor.offset(), "the segment has frames that the index lacks")),
    }
}
