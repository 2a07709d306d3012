//! The rivals behind one interface: ordered keys, values of bytes, durable commits.

mod fjall;
mod lmdb;
mod plain_file;
mod queue;
mod redb;
mod rocks;
mod sqlite;

use std::path::Path;

use crate::Result;
use crate::codec::{Form, Pair};

/// What is called for every entry that is found.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// An engine that keeps values by key, as its knowing user would run it.
pub trait Engine: Send + Sync {
    /// Writes all or nothing; durable when it returns. Callers on many threads may share one sync.
    fn commit(&self, pairs: Vec<Pair>) -> Result<()>;
    /// Calls `visit` with the value of `key`.
    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()>;
    /// Calls `visit` with every entry from `from` to just before `until`, in order.
    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()>;
    /// Removes everything in these ranges, in one durable commit.
    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()>;
    /// Brings what is only in memory and log to where it stays. Does not wait for compactions.
    fn flush(&self) -> Result<()>;
    /// As small as its owner can make it: everything compacted.
    fn compact(&self) -> Result<()>;
    /// Bytes on the disk of what holds the records, without logs, where those can be told apart: a log is of bounded
    /// size, and would weigh too much beside a few thousand records.
    fn record_bytes(&self) -> Option<u64> {
        None
    }
    /// How it was set.
    fn settings(&self) -> &'static str;
    /// What is left to do in the background.
    fn state(&self) -> String {
        "nothing left to do".into()
    }
    /// Closes it in good order.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Opens or makes the engine of this name.
pub fn open(name: &str, form: Form, dir: &Path) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(dir)?;
    Ok(match name {
        "rocksdb" => Box::new(rocks::Rocks::open(dir, form)?),
        "fjall" => Box::new(fjall::Fjall::open(dir, form)?),
        "redb" => Box::new(redb::Redb::open(dir)?),
        "lmdb" => Box::new(lmdb::Lmdb::open(dir)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(dir)?),
        "file" => Box::new(plain_file::PlainFile::open(dir)?),
        _ => return Err(format!("nobody knows the engine {name}").into()),
    })
}
