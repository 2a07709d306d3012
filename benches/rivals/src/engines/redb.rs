//! redb 4.

use std::path::Path;
use std::sync::RwLock;

use redb::{Database, ReadableDatabase, TableDefinition};

use super::queue::Queue;
use super::{Engine, Visit};
use crate::Result;
use crate::codec::Pair;

const SETTINGS: &str = "redb 4.6: cache 1 GB, durability immediate, keys sorted, one transaction for all who wait";
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");

pub struct Redb {
    /// Locked for writing only while it is compacted, which wants it alone.
    database: RwLock<Database>,
    queue: Queue,
}

impl Redb {
    pub fn open(dir: &Path) -> Result<Self> {
        let database = Database::builder().set_cache_size(1 << 30).create(dir.join("records.redb"))?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(Redb { database: RwLock::new(database), queue: Queue::default() })
    }
}

impl Engine for Redb {
    fn commit(&self, pairs: Vec<Pair>) -> Result<()> {
        self.queue.commit(pairs, |pairs| {
            let transaction = self.database.read().expect("no holder panics").begin_write()?;
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in &pairs {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    fn get(&self, key: &[u8], visit: Visit<'_>) -> Result<()> {
        let table = self.database.read().expect("no holder panics").begin_read()?.open_table(TABLE)?;
        match table.get(key)? {
            Some(value) => visit(key, value.value()),
            None => Ok(()),
        }
    }

    fn range(&self, from: &[u8], until: &[u8], visit: Visit<'_>) -> Result<()> {
        let table = self.database.read().expect("no holder panics").begin_read()?.open_table(TABLE)?;
        for entry in table.range::<&[u8]>(from..until)? {
            let (key, value) = entry?;
            visit(key.value(), value.value())?;
        }
        Ok(())
    }

    fn remove(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let transaction = self.database.read().expect("no holder panics").begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        for (from, until) in ranges {
            table.retain_in::<&[u8], _>(from.as_slice()..until.as_slice(), |_, _| false)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        self.database.write().expect("no holder panics").compact()?;
        Ok(())
    }

    fn settings(&self) -> &'static str {
        SETTINGS
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
