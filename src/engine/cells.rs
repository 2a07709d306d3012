//! Cells made ready to write: handle and data key of one customer in one partition, kept for this opening.
//!
//! A bounded cache in shards, so that appending threads rarely meet. Emptied as a whole when a shard is full, and by
//! [`Cells::purge`], because a key that lives on in a cache is not dead.

use crate::sync::{Arc, Mutex};
use std::collections::HashMap;

use super::row::Row;
use crate::crypto::{CellKey, Sealer};
use crate::ident::{Handle, PartitionNumber, Salt, StoreId, SubjectNumber};
use crate::keyring::{CustomerEntry, PartitionEntry};

const SHARDS: usize = 16;
/// Cells per shard: with about 200 bytes each, the whole cache stays below 16 MiB.
const SHARD_LIMIT: usize = 4096;

/// A cell made ready to write.
#[derive(Debug)]
pub struct Cell {
    /// The pseudonym its frames carry.
    pub handle: Handle,
    /// Encrypts its frames of this opening.
    pub sealer: Sealer,
}

type Shard = HashMap<(SubjectNumber, PartitionNumber), Arc<Cell>>;

/// The cells written lately.
pub struct Cells {
    store: StoreId,
    salt: Salt,
    shards: [Mutex<Shard>; SHARDS],
}

impl Cells {
    /// No cells yet, for an opening with `salt`.
    pub fn new(store: StoreId, salt: Salt) -> Self {
        Cells { store, salt, shards: Default::default() }
    }

    /// The cell of `customer` in `partition`, under the customer's newest secret.
    pub fn get(&self, customer: &CustomerEntry, partition: &PartitionEntry) -> Arc<Cell> {
        let key = (customer.subject, partition.number);
        let shard = &self.shards[usize::from(customer.subject.as_bytes()[0]) % SHARDS];
        if let Some(cell) = shard.lock().expect("no holder of this lock panics").get(&key) {
            return cell.clone();
        }
        let cell_key = cell_keys(&self.store, customer, partition).pop();
        let cell_key = cell_key.expect("an admitted customer has a secret to write under");
        let cell = Arc::new(Cell { handle: cell_key.handle(), sealer: cell_key.sealer(&self.salt) });
        let mut shard = shard.lock().expect("no holder of this lock panics");
        if shard.len() >= SHARD_LIMIT {
            shard.clear();
        }
        shard.insert(key, cell.clone());
        cell
    }

    /// Forgets every cell, wiping its key.
    pub fn purge(&self) {
        for shard in &self.shards {
            shard.lock().expect("no holder of this lock panics").clear();
        }
    }
}

/// Every cell key under which `customer` may have records in `partition`, the one to write under last.
pub fn cell_keys(store: &StoreId, customer: &CustomerEntry, partition: &PartitionEntry) -> Vec<CellKey> {
    Row::new(store, customer).keys(partition).collect()
}
