//! fjall 3 with its values apart from its keys.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Engine, Visit};
use crate::Result;
use crate::codec::{Form, Pair};

const SETTINGS: &str = "fjall 3.1: values apart from 256 B, memtables 64 MB, cache 512 MB, 4 workers, journal written at the sync \
     (SyncData), threads that committed meanwhile share it";

pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    /// Commits made, and how many of them a sync is known to cover.
    commits: AtomicU64,
    synced: Mutex<u64>,
}

impl Fjall {
    pub fn open(dir: &Path, form: Form) -> Result<Self> {
        let compression = match form {
            Form::Plain => CompressionType::Lz4,
            Form::Usual | Form::Expert => CompressionType::None,
        };
        let database = Database::builder(dir)
            .cache_size(512 << 20)
            .worker_threads(4)
            .manual_journal_persist(true)
            .journal_compression(compression)
            .open()?;
        let keyspace = database.keyspace("records", || {
            let apart = KvSeparationOptions::default().separation_threshold(256).compression(compression);
            KeyspaceCreateOptions::default().manual_journal_persist(true).with_kv_separation(Some(apart))
        })?;
        Ok(Fjall { database, keyspace, commits: AtomicU64::new(0), synced: Mutex::new(0) })
    }

    /// fjall does not share syncs; its knowing user does: a sync that began after a commit covers it.
    fn sync(&self) -> Result<()> {
        let mine = self.commits.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = self.synced.lock().expect("no holder panics");
        if *synced < mine {
            let covers = self.commits.load(Ordering::Acquire);
            self.database.persist(PersistMode::SyncData)?;
            *synced = covers;
        }
        Ok(())
    }
}

impl Engine for Fjall {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key, value);
        }
        batch.commit()?;
        self.sync()
    }

    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()> {
        match self.keyspace.get(key)? {
            Some(value) => visit(key, &value),
            None => Ok(()),
        }
    }

    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()> {
        for entry in self.keyspace.range(from..until) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = self.database.batch();
        for (from, until) in ranges {
            for entry in self.keyspace.range(from.as_slice()..until.as_slice()) {
                batch.remove(&self.keyspace, entry.key()?);
            }
        }
        batch.commit()?;
        self.sync()
    }

    fn flush(&self) -> Result<()> {
        self.database.persist(PersistMode::SyncData)?;
        self.keyspace.rotate_memtable()?;
        // It may answer before earlier memtables are written, so we look for ourselves.
        let began = Instant::now();
        while self.keyspace.sealed_memtable_count() > 0 || self.database.outstanding_flushes() > 0 {
            if began.elapsed() > Duration::from_secs(60) {
                return Err("fjall has not written its memtables within a minute".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        self.flush()?;
        Ok(self.keyspace.major_compact()?)
    }

    fn record_bytes(&self) -> Option<u64> {
        Some(self.keyspace.disk_space())
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn state(&self) -> String {
        let (running, tables) = (self.database.active_compactions(), self.keyspace.l0_table_count());
        format!("memtables flushed; {running} compactions running, {tables} tables in the first level")
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}
