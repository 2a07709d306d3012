//! SQLite in WAL mode.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::Queue;
use super::{Engine, Visit};
use crate::Result;
use crate::codec::Pair;

const SETTINGS: &str = "SQLite 3 (rusqlite 0.41): WAL, synchronous FULL, pages of 16 KB, rows as they come and an index of keys, cache 256 MB, mmap 4 GB, \
     keys sorted, one transaction for all who wait";

pub struct Sqlite {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    queue: Queue,
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144;
         PRAGMA mmap_size = 4294967296; PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

impl Sqlite {
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("records.sqlite");
        let writer = connect(&path)?;
        // WITHOUT ROWID, keys and values in one tree, takes in half as much and writes four times the bytes.
        writer.execute_batch("CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, value BLOB NOT NULL)")?;
        Ok(Sqlite { path, writer: Mutex::new(writer), readers: Mutex::default(), queue: Queue::default() })
    }

    fn reading<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let free = self.readers.lock().expect("no holder panics").pop();
        let connection = match free {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let answer = read(&connection);
        self.readers.lock().expect("no holder panics").push(connection);
        answer
    }
}

impl Engine for Sqlite {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        self.queue.commit(pairs, |pairs| {
            let mut writer = self.writer.lock().expect("no holder panics");
            let transaction = writer.transaction()?;
            let mut insert = transaction.prepare_cached("INSERT INTO records (key, value) VALUES (?1, ?2)")?;
            for (key, value) in &pairs {
                insert.execute(params![key, value])?;
            }
            drop(insert);
            Ok(transaction.commit()?)
        })
    }

    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()> {
        self.reading(|connection| {
            let mut select = connection.prepare_cached("SELECT value FROM records WHERE key = ?1")?;
            let found = select.query_row([key], |row| Ok(visit(key, row.get_ref(0)?.as_blob()?))).optional()?;
            found.unwrap_or(Ok(()))
        })
    }

    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()> {
        self.reading(|connection| {
            let text = "SELECT key, value FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key";
            let mut select = connection.prepare_cached(text)?;
            let mut rows = select.query([from, until])?;
            while let Some(row) = rows.next()? {
                visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?)?;
            }
            Ok(())
        })
    }

    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut writer = self.writer.lock().expect("no holder panics");
        let transaction = writer.transaction()?;
        for (from, until) in ranges {
            let mut delete = transaction.prepare_cached("DELETE FROM records WHERE key >= ?1 AND key < ?2")?;
            delete.execute([from, until])?;
        }
        Ok(transaction.commit()?)
    }

    fn flush(&self) -> Result<()> {
        let writer = self.writer.lock().expect("no holder panics");
        Ok(writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    fn compact(&self) -> Result<()> {
        self.writer.lock().expect("no holder panics").execute_batch("VACUUM")?;
        self.flush()
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn state(&self) -> String {
        "log checkpointed".into()
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.readers);
        let writer = self.writer.into_inner().map_err(|_| "a writer panicked")?;
        writer.close().map_err(|(_, error)| error.into())
    }
}
