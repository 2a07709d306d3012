//! The heads of a run's frames, without what they carry: how the chunks of large bodies are passed over, and found.

use super::read::{Run, Segment};
use super::unread;
use crate::env;
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, FrameHead};

impl Segment {
    /// Calls `visit` with the head of every frame of `run`, where it begins and how long it is, in order. The heads are
    /// not checked by a checksum; whoever reads a frame checks it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where the frames do not fill the run, or one is of another handle than the first;
    /// the system's; what `visit` answers.
    pub fn heads(&self, run: &Run, visit: &mut dyn FnMut(&FrameHead, u64, u32) -> Result<()>) -> Result<()> {
        let end = run.offset + run.bytes;
        let (mut offset, mut handle) = (run.offset, None);
        for _ in 0..run.count {
            let damaged = |what: &str| Error::corrupt(self.path(), offset, what);
            let mut bytes = [0; FRAME_HEADER_BYTES];
            if offset + bytes.len() as u64 > end {
                return Err(damaged("a run has fewer frames than the index says"));
            }
            env::read_exact_at(&**self.file(), &mut bytes, offset).map_err(unread(self.path()))?;
            let (head, length) = FrameHead::peek(&bytes).map_err(|wrong| damaged(wrong.0))?;
            if *handle.get_or_insert(head.handle) != head.handle || offset + u64::from(length) > end {
                return Err(damaged("a run has a frame of another handle, or one that is too long"));
            }
            visit(&head, offset, length)?;
            offset += u64::from(length);
        }
        match offset == end {
            true => Ok(()),
            false => Err(Error::corrupt(self.path(), offset, "a run has more bytes than the index says")),
        }
    }

    /// Reads the frame of `length` bytes at `offset`, as [`Segment::heads`] named them, into `buffer`. Its checksum is
    /// for whoever parses it.
    ///
    /// # Errors
    /// The system's.
    pub fn read_frame(&self, offset: u64, length: u32, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(length as usize, 0);
        env::read_exact_at(&**self.file(), buffer, offset).map_err(unread(self.path()))
    }
}
