//! LMDB, through heed.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};

use super::queue::Queue;
use super::{Engine, Visit};
use crate::Result;
use crate::codec::Pair;

const SETTINGS: &str =
    "LMDB 0.9 (heed 0.23): map of 64 GB, every commit synced, keys sorted, one transaction for all who wait";

pub struct Lmdb {
    env: Env,
    database: Database<'static, Bytes, Bytes>,
    queue: Queue,
}

impl Lmdb {
    pub fn open(dir: &Path) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(64 << 30).max_readers(256);
        // SAFETY: the directory is this process's alone while it is open, and nobody else changes the files.
        #[expect(unsafe_code, reason = "a mapped file is only sound while nobody else changes it")]
        let env = unsafe { options.open(dir)? };
        let transaction = env.write_txn()?;
        let made = env.create_databases_and_commit(transaction, |opener, transaction| {
            opener.create_database::<Bytes, Bytes>(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let database = made.unwrap_commit();
        Ok(Lmdb { env, database, queue: Queue::default() })
    }
}

impl Engine for Lmdb {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        self.queue.commit(pairs, |pairs| {
            let mut transaction = self.env.write_txn()?;
            for (key, value) in &pairs {
                self.database.put(&mut transaction, key, value)?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()> {
        let transaction = self.env.read_txn()?;
        match self.database.get(&transaction, key)? {
            Some(value) => visit(key, value),
            None => Ok(()),
        }
    }

    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for entry in self.database.range(&transaction, &(Bound::Included(from), Bound::Excluded(until)))? {
            let (key, value) = entry?;
            visit(key, value)?;
        }
        Ok(())
    }

    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (from, until) in ranges {
            self.database.delete_range(
                &mut transaction,
                &(Bound::Included(from.as_slice()), Bound::Excluded(until.as_slice())),
            )?;
        }
        Ok(transaction.commit()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        // A compacted copy is another file that the service would have to be restarted on: `record_bytes` has its size.
        Ok(())
    }

    fn record_bytes(&self) -> Option<u64> {
        let transaction = self.env.read_txn().ok()?;
        Some(self.database.stat(&transaction).ok()?.non_free_page_size() as u64)
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
