//! Reading a file from front to back in bounded pieces.

use std::io;
use std::sync::Arc;

use super::{File, read_exact_at};

/// A window that slides over a file: asked for bytes, it reads a piece ahead. Holds one piece, or what was last asked
/// for where that is longer. Sees the file as long as it was at the start, or as short as it has become since.
#[derive(Debug)]
pub struct ReadAhead {
    file: Arc<dyn File>,
    length: u64,
    piece: usize,
    start: u64,
    buffer: Vec<u8>,
}

impl ReadAhead {
    /// Reads `file` in pieces of `piece` bytes.
    pub fn new(file: Arc<dyn File>, piece: usize) -> io::Result<Self> {
        let length = file.len()?;
        Ok(ReadAhead { file, length, piece, start: 0, buffer: Vec::new() })
    }

    /// Length of the file, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// `count` bytes at `offset`; `None` where the file ends before. Nothing is allocated beyond the file's length.
    pub fn get(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let left = self.length.saturating_sub(offset);
        if count as u64 > left {
            return Ok(None);
        }
        let skip =
            offset.checked_sub(self.start).map_or(usize::MAX, |skip| usize::try_from(skip).unwrap_or(usize::MAX));
        match self.buffer.len().checked_sub(skip) {
            Some(held) if held >= count => return Ok(Some(&self.buffer[skip..skip + count])),
            Some(_) => drop(self.buffer.drain(..skip)),
            None => self.buffer.clear(),
        }
        self.start = offset;
        let held = self.buffer.len();
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(count.max(self.piece));
        self.buffer.resize(wanted, 0);
        match read_exact_at(&*self.file, &mut self.buffer[held..], offset + held as u64) {
            Ok(()) => Ok(Some(&self.buffer[..count])),
            Err(error) => {
                self.buffer.truncate(held);
                // Whoever opens a store for writing cuts what a crash has left torn, whoever else may read it.
                match error.kind() == io::ErrorKind::UnexpectedEof && self.file.len()? < self.length {
                    true => self.shortened(offset, count),
                    false => Err(error),
                }
            }
        }
    }

    fn shortened(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        self.length = self.file.len()?;
        self.get(offset, count)
    }
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use super::ReadAhead;
    use crate::env::sim::Sim;
    use crate::env::{OpenMode, publish_new};
    use std::path::Path;

    #[test]
    fn a_file_that_is_cut_while_it_is_read_ends_there() {
        let sim = Sim::new(1);
        publish_new(&*sim.env(), Path::new("a"), &[7; 100]).unwrap();
        let file = sim.env().open(Path::new("a"), OpenMode::Write).unwrap();
        let mut ahead = ReadAhead::new(file.clone(), 10).unwrap();
        assert_eq!(ahead.get(0, 5).unwrap(), Some(&[7; 5][..]));
        file.set_len(40).unwrap();
        assert_eq!(ahead.get(35, 10).unwrap(), None);
        assert_eq!(ahead.get(30, 10).unwrap(), Some(&[7; 10][..]));
        assert_eq!(ahead.get(40, 1).unwrap(), None);
    }
}
