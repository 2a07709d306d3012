//! Reading the frames of a segment from front to back, without its index.

use crate::sync::Arc;
use std::path::PathBuf;

use super::unread;
use crate::env::{File, ReadAhead};
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, FrameView};

/// A place among the frames of a segment. Holds one piece of the file.
#[derive(Debug)]
pub(super) struct Cursor {
    ahead: ReadAhead,
    path: PathBuf,
    offset: u64,
    end: u64,
}

impl Cursor {
    /// Begins at `offset`, ends at `end`, reads in pieces of `piece` bytes. `path` is for errors.
    pub fn new(file: Arc<dyn File>, path: PathBuf, (offset, end): (u64, u64), piece: usize) -> Result<Self> {
        let ahead = ReadAhead::new(file, piece).map_err(unread(&path))?;
        Ok(Cursor { ahead, path, offset, end })
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
        let start = self.ahead.get(self.offset, FRAME_HEADER_BYTES.min(left as usize)).map_err(&failed)?;
        let length = FrameView::peek_length(start.unwrap_or_default()).map_err(|wrong| damaged(wrong.0))?;
        if length as u64 > left {
            return Err(damaged("the last frame is longer than the room for it"));
        }
        let bytes = self.ahead.get(self.offset, length).map_err(&failed)?;
        let bytes = bytes.ok_or_else(|| damaged("the segment ends in the middle of a frame"))?;
        FrameView::parse(bytes).map(Some).map_err(|wrong| damaged(wrong.0))
    }

    /// Moves over a frame of `length` bytes.
    pub fn skip(&mut self, length: usize) {
        self.offset += length as u64;
    }

    /// The error for something wrong at the current place.
    pub fn damaged(&self, what: &str) -> Error {
        Error::corrupt(&self.path, self.offset, what)
    }
}
