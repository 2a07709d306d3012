//! Appending to one journal file.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::path::{Path, PathBuf};

use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{JOURNAL_HEAD_BYTES, JournalHead};
use crate::format::position::Position;

/// Space is reserved in steps of this many bytes.
const STEP: u64 = 8 << 20;
/// Parts shorter than this are gathered, so that many small groups are one write.
const GATHERED: usize = 64 << 10;
/// Gathered bytes are written out beyond this.
const GATHER_LIMIT: usize = 1 << 20;

/// The one who appends to a journal file.
#[derive(Debug)]
pub struct JournalWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    poisoned: AtomicBool,
    head: JournalHead,
    end: u64,
    reserved: u64,
    gathered: Vec<u8>,
}

impl JournalWriter {
    /// Creates the file in `dir`, visible and durable with its head and its first 8 MiB reserved.
    ///
    /// # Errors
    /// The system's. What remains of a failed creation is a temporary file, or a file without groups.
    pub fn create(env: &dyn Env, dir: &Path, head: JournalHead) -> Result<Self> {
        let path = super::path(dir, head.file);
        let failed = |error| Error::io("create a journal file", &path, error);
        let temporary = env::temporary_name(env, &path).map_err(failed)?;
        let file = env.open(&temporary, OpenMode::CreateNew).map_err(failed)?;
        let published = env::write_all_at(&*file, &head.encode(), 0)
            .and_then(|()| file.allocate(JOURNAL_HEAD_BYTES as u64, STEP - JOURNAL_HEAD_BYTES as u64))
            .and_then(|()| file.sync_data())
            .and_then(|()| env.rename_new(&temporary, &path));
        if let Err(error) = published {
            let _ = env.remove_file(&temporary); // What remains is swept at the next opening.
            return Err(failed(error));
        }
        env.sync_dir(env::parent(&path)).map_err(failed)?;
        Ok(JournalWriter {
            file,
            path,
            poisoned: AtomicBool::new(false),
            head,
            end: JOURNAL_HEAD_BYTES as u64,
            reserved: STEP,
            gathered: Vec::new(),
        })
    }

    /// Writes `parts` back to back and returns the position after them. Not durable before a sync.
    ///
    /// # Errors
    /// Where no space can be reserved, nothing was written and the writer stays usable. After a failed write it is
    /// poisoned: everything later answers [`ErrorKind::Poisoned`].
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<Position> {
        self.check()?;
        let total: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.reserve(self.end + total)?;
        let mut at = self.end;
        for part in parts {
            if part.len() < GATHERED {
                self.gathered.extend_from_slice(part);
            } else {
                at = self.flush(at)?;
                at = self.write(part, at)?;
            }
            if self.gathered.len() >= GATHER_LIMIT {
                at = self.flush(at)?;
            }
        }
        self.end = self.flush(at)?;
        Ok(self.position())
    }

    fn reserve(&mut self, end: u64) -> Result<()> {
        if end > self.reserved {
            let reserved = end.next_multiple_of(STEP);
            let more = self.file.allocate(self.reserved, reserved - self.reserved);
            more.map_err(|error| Error::io("reserve space for the journal", &self.path, error))?;
            self.reserved = reserved;
        }
        Ok(())
    }

    fn flush(&mut self, at: u64) -> Result<u64> {
        let gathered = std::mem::take(&mut self.gathered);
        let after = self.write(&gathered, at)?;
        self.gathered = gathered;
        self.gathered.clear();
        Ok(after)
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<u64> {
        let written = env::write_all_at(&*self.file, bytes, at);
        written.map_err(|error| self.poison("write to the journal", error))?;
        Ok(at + bytes.len() as u64)
    }

    /// Makes durable what was appended. One sync.
    ///
    /// # Errors
    /// The system's, once; from then on [`ErrorKind::Poisoned`], here and in [`JournalWriter::append`]: after a failed
    /// sync nobody knows what is on the disk, so it is never tried again.
    pub fn sync(&self) -> Result<()> {
        self.check()?;
        self.file.sync_data().map_err(|error| self.poison("make the journal durable", error))
    }

    fn check(&self) -> Result<()> {
        if !self.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Poisoned, "an earlier write or sync of the journal failed")
            .in_file(&self.path)
            .hint("open the store again; nothing acknowledged is lost"))
    }

    fn poison(&self, doing: &str, error: std::io::Error) -> Error {
        self.poisoned.store(true, Ordering::Release);
        Error::io(doing, &self.path, error)
    }

    /// The file, for reading frames back.
    pub fn handle(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// Where the next group goes.
    pub fn position(&self) -> Position {
        Position { file: self.head.file, offset: self.end }
    }
}
