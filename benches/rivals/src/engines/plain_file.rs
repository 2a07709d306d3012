//! No engine at all: a file that is appended to and synced. The least that durable bytes cost; nothing can be found again.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::queue::Queue;
use super::{Engine, Visit};
use crate::Result;
use crate::codec::Pair;

const SETTINGS: &str = "plain file: append and fdatasync, one sync for all who wait; reads nothing";

pub struct PlainFile {
    file: File,
    queue: Queue,
}

impl PlainFile {
    pub fn open(dir: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(dir.join("records"))?;
        Ok(PlainFile { file, queue: Queue::default() })
    }
}

impl Engine for PlainFile {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        self.queue.commit(pairs, |pairs| {
            let mut bytes = Vec::with_capacity(pairs.iter().map(|(key, value)| key.len() + value.len() + 4).sum());
            for (key, value) in &pairs {
                bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(value);
            }
            (&self.file).write_all(&bytes)?;
            Ok(self.file.sync_data()?)
        })
    }

    fn get(&self, _: &[u8], _: Visit<'_>) -> Result<()> {
        Err("a plain file is not read by key".into())
    }

    fn range(&self, _: &[u8], _: &[u8], _: Visit<'_>) -> Result<()> {
        Err("a plain file is not read by key".into())
    }

    fn remove(&self, _: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        Err("nothing is removed from a plain file".into())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        Ok(())
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
