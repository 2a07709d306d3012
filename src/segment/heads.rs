//! The heads of a run's frames, without what they carry: how the chunks of large bodies are passed over, and found.

use super::read::{Run, Segment};
use super::unread;
use crate::env;
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, FrameHead, FrameView};

impl Segment {
    /// Calls `visit` with the head of every frame of `run`, where it begins and how long it is, in order. The heads are
    /// not checked by a checksum; whoever reads a frame checks it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where the frames do not fill the run, or one is of another handle than the first;
    /// the system's; what `visit` answers.
    pub fn heads(&self, run: &Run, visit: &mut dyn FnMut(&FrameHead, u64, u32) -> Result<()>) -> Result<()> {
        let end = run.offset + run.bytes;
        let (mut offset, mut before): (u64, Option<FrameHead>) = (run.offset, None);
        for _ in 0..run.count {
            let damaged = |what: &str| Error::corrupt(self.path(), offset, what);
            // A short frame may be shorter than the longest header.
            let mut bytes = [0; FRAME_HEADER_BYTES];
            let header = bytes.len().min(end.saturating_sub(offset) as usize);
            let bytes = &mut bytes[..header];
            env::read_exact_at(&**self.file(), bytes, offset).map_err(unread(self.path()))?;
            let (head, length) = FrameHead::peek_stored(before.as_ref(), bytes).map_err(|wrong| damaged(wrong.0))?;
            if before.is_some_and(|before| before.handle != head.handle) || offset + u64::from(length) > end {
                return Err(damaged("a run has a frame of another handle, or one that is too long"));
            }
            before = Some(head);
            visit(&head, offset, length)?;
            offset += u64::from(length);
        }
        match offset == end {
            true => Ok(()),
            false => Err(Error::corrupt(self.path(), offset, "a run has more bytes than the index says")),
        }
    }

    /// Reads the frame of `length` bytes at `offset` with this `head`, as [`Segment::heads`] named them, into `buffer`.
    ///
    /// # Errors
    /// The system's; [`crate::ErrorKind::Corrupt`] where the checksum is wrong.
    pub fn read_frame<'b>(
        &self,
        head: &FrameHead,
        (offset, length): (u64, u32),
        buffer: &'b mut Vec<u8>,
    ) -> Result<FrameView<'b>> {
        buffer.resize(length as usize, 0);
        env::read_exact_at(&**self.file(), buffer, offset).map_err(unread(self.path()))?;
        FrameView::parse_known(head, buffer).map_err(|wrong| Error::corrupt(self.path(), offset, wrong.0))
    }
}
