//! Reading a journal file behind its living writer.

use crate::sync::Arc;
use std::path::{Path, PathBuf};

use super::decode_head;
use super::scan::{PIECE, group_at};
use crate::env::{Env, File, OpenMode, ReadAhead};
use crate::error::{Error, Result};
use crate::format::group::GroupView;
use crate::format::journal::{JOURNAL_HEAD_BYTES, JournalHead};

/// Where a read-only opener has come to in one journal file.
#[derive(Debug)]
pub struct Follower {
    file: Arc<dyn File>,
    path: PathBuf,
    head: JournalHead,
    offset: u64,
}

impl Follower {
    /// Begins before the first group of the file.
    ///
    /// # Errors
    /// As [`super::scan`].
    pub fn open(env: &dyn Env, path: &Path) -> Result<Self> {
        let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("read the journal", path, error))?;
        Follower::over(file, path)
    }

    /// The same for a file that is open already, and may be unlinked by now.
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn over(file: Arc<dyn File>, path: &Path) -> Result<Self> {
        let failed = |error| Error::io("read the journal", path, error);
        let mut ahead = ReadAhead::new(Arc::clone(&file), JOURNAL_HEAD_BYTES).map_err(failed)?;
        let head = decode_head(path, ahead.get(0, JOURNAL_HEAD_BYTES).map_err(failed)?)?;
        Ok(Follower { file, path: path.to_path_buf(), head, offset: JOURNAL_HEAD_BYTES as u64 })
    }

    /// The file's head.
    pub fn head(&self) -> &JournalHead {
        &self.head
    }

    /// The file, for reading frames.
    pub fn handle(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// Hands the groups up to the offset `to`, which the writer has published as durable, to `visit`, each with its
    /// offset. A group that begins before `to` is read whole.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where a group before `to` is not whole; the follower stays before it. The errors
    /// of `visit`, which is called again for the same group at the next call.
    pub fn advance_to(&mut self, to: u64, visit: &mut dyn FnMut(GroupView<'_>, u64) -> Result<()>) -> Result<()> {
        self.advance(to, false, visit)
    }

    /// The same without a living writer: up to the end of the valid prefix, whatever follows.
    ///
    /// # Errors
    /// The system's, and those of `visit`.
    pub fn advance_to_end(&mut self, visit: &mut dyn FnMut(GroupView<'_>, u64) -> Result<()>) -> Result<()> {
        self.advance(u64::MAX, true, visit)
    }

    fn advance(
        &mut self,
        to: u64,
        prefix: bool,
        visit: &mut dyn FnMut(GroupView<'_>, u64) -> Result<()>,
    ) -> Result<()> {
        if self.offset >= to {
            return Ok(());
        }
        let failed = |error| Error::io("read the journal", &self.path, error);
        let piece = usize::try_from(to - self.offset).unwrap_or(PIECE).min(PIECE);
        let mut ahead = ReadAhead::new(Arc::clone(&self.file), piece).map_err(failed)?;
        while self.offset < to {
            match group_at(&mut ahead, &self.path, self.offset)? {
                Ok(group) => {
                    let length = group.bytes().len() as u64;
                    visit(group, self.offset)?;
                    self.offset += length;
                }
                Err(_) if prefix => break,
                Err(malformed) => return Err(Error::corrupt(&self.path, self.offset, malformed.0)),
            }
        }
        Ok(())
    }
}
