//! Reading the frames of a segment from front to back, without its index.

use crate::sync::Arc;
use std::path::PathBuf;

use super::unread;
use crate::env::{File, ReadAhead};
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, FrameHead, FrameView};

/// A place among the frames of a segment. Holds one piece of the file.
#[derive(Debug)]
pub(super) struct Cursor {
    ahead: ReadAhead,
    path: PathBuf,
    offset: u64,
    end: u64,
    /// The frame before the current one, and how long the current one is.
    before: Option<FrameHead>,
    current: Option<(FrameHead, u64)>,
}

impl Cursor {
    /// Begins at `offset`, the first frame of a cell, ends at `end`, reads in pieces of `piece` bytes. `path` is for errors.
    pub fn new(file: Arc<dyn File>, path: PathBuf, (offset, end): (u64, u64), piece: usize) -> Result<Self> {
        let ahead = ReadAhead::new(file, piece).map_err(unread(&path))?;
        Ok(Cursor { ahead, path, offset, end, before: None, current: None })
    }

    /// Where the current frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The current frame, its checksum checked; `None` at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where the bytes are no frame, or the last one goes beyond the end.
    pub fn frame(&mut self) -> Result<Option<FrameView<'_>>> {
        let left = self.end.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let (path, offset) = (&self.path, self.offset);
        let damaged = |what: &str| Error::corrupt(path, offset, what);
        let failed = unread(path);
        let start = self.ahead.get(self.offset, left.min(FRAME_HEADER_BYTES as u64) as usize).map_err(&failed)?;
        let peeked = FrameHead::peek_stored(self.before.as_ref(), start.unwrap_or_default());
        let (_, length) = peeked.map_err(|wrong| damaged(wrong.0))?;
        if u64::from(length) > left {
            return Err(damaged("the last frame is longer than the room for it"));
        }
        let bytes = self.ahead.get(self.offset, length as usize).map_err(&failed)?;
        let bytes = bytes.ok_or_else(|| damaged("the segment ends in the middle of a frame"))?;
        let frame = FrameView::parse_stored(self.before.as_ref(), bytes).map_err(|wrong| damaged(wrong.0))?;
        self.current = Some((*frame.head(), length.into()));
        Ok(Some(frame))
    }

    /// Moves over the frame that was looked at.
    pub fn skip(&mut self) {
        if let Some((head, length)) = self.current.take() {
            self.before = Some(head);
            self.offset += length;
        }
    }

    /// The error for something wrong at the current place.
    pub fn damaged(&self, what: &str) -> Error {
        Error::corrupt(&self.path, self.offset, what)
    }
}
