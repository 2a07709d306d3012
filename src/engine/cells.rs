//! Cells made ready to write: handle and data key of one customer in one partition, kept for this opening.
//!
//! A bounded cache in shards, so that appending threads rarely meet. A full shard lets go of one cell at a time that was
//! not asked for lately; [`Cells::purge`] empties all, because a key that lives on in a cache is not dead.

use crate::sync::{Arc, Mutex};
use std::collections::{HashMap, VecDeque};

use super::mixer::Mixed;
use super::partitions::Partition;
use super::row::{Probe, Row};
use crate::crypto::Sealer;
use crate::ident::{Handle, PartitionNumber, Salt, StoreId, SubjectNumber};
use crate::keyring::CustomerEntry;

const SHARDS: usize = 16;
/// Cells per shard: with less than 250 bytes each, the whole cache stays below 16 MiB.
const SHARD_LIMIT: usize = 4096;

/// A cell made ready to write.
#[derive(Debug)]
pub struct Cell {
    /// The pseudonym its frames carry.
    pub handle: Handle,
    /// Encrypts its frames of this opening.
    pub sealer: Sealer,
}

type Name = (SubjectNumber, PartitionNumber);

#[derive(Default)]
struct Shard {
    cells: HashMap<Name, (Arc<Cell>, bool), Mixed>,
    /// In the order in which they came, but for those that were asked for when it was their turn to go.
    order: VecDeque<Name>,
}

impl Shard {
    fn get(&mut self, name: &Name) -> Option<Arc<Cell>> {
        let (cell, touched) = self.cells.get_mut(name)?;
        *touched = true;
        Some(cell.clone())
    }

    fn insert(&mut self, name: Name, cell: Arc<Cell>) {
        while self.cells.len() >= SHARD_LIMIT {
            let Some(oldest) = self.order.pop_front() else { break };
            let touched = self.cells.get_mut(&oldest).is_some_and(|(_, touched)| std::mem::take(touched));
            match touched {
                true => self.order.push_back(oldest),
                false => drop(self.cells.remove(&oldest)),
            }
        }
        if self.cells.insert(name, (cell, false)).is_none() {
            self.order.push_back(name);
        }
    }
}

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

    /// The cell of `customer` in `partition`, under the customer's newest whole secret.
    pub fn get(&self, customer: &CustomerEntry, partition: &Partition) -> Arc<Cell> {
        let key = (customer.subject, partition.number);
        let shard = &self.shards[usize::from(customer.subject.as_bytes()[0]) % SHARDS];
        if let Some(cell) = shard.lock().expect("no holder of this lock panics").get(&key) {
            return cell;
        }
        let newest = Row::new(&self.store, customer).newest(partition);
        let newest = newest.expect("an admitted customer has a secret to write under");
        let cell = Arc::new(Cell { handle: newest.handle, sealer: newest.key(partition).sealer(&self.salt) });
        shard.lock().expect("no holder of this lock panics").insert(key, cell.clone());
        cell
    }

    /// Forgets every cell, wiping its key.
    pub fn purge(&self) {
        for shard in &self.shards {
            *shard.lock().expect("no holder of this lock panics") = Shard::default();
        }
    }
}

/// Every cell in which `customer` may have records in `partition`, in the order of its secrets.
pub fn probes(store: &StoreId, customer: &CustomerEntry, partition: &Partition) -> Vec<Probe> {
    Row::new(store, customer).probes(partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;

    fn cell(byte: u8) -> Arc<Cell> {
        Arc::new(Cell { handle: Handle::from_bytes([byte; 16]), sealer: Sealer::new(&Key::take(&mut [byte; 32])) })
    }

    fn name(number: u64) -> Name {
        (SubjectNumber::from_bytes((u128::from(number) << 64 | 5).to_le_bytes()), PartitionNumber(number % 7))
    }

    #[test]
    fn a_full_shard_lets_go_of_what_nobody_asked_for() {
        let mut shard = Shard::default();
        for number in 0..SHARD_LIMIT as u64 {
            shard.insert(name(number), cell(1));
        }
        for number in 0..100 {
            assert!(shard.get(&name(number)).is_some());
        }
        for number in 0..1_000 {
            shard.insert(name(1 << 40 | number), cell(2));
        }
        assert_eq!((shard.cells.len(), shard.order.len()), (SHARD_LIMIT, SHARD_LIMIT));
        assert!((0..100).all(|number| shard.get(&name(number)).is_some()), "they were asked for");
        assert!((100..1_100).all(|number| shard.get(&name(number)).is_none()), "they were not");
        assert!((1_100..SHARD_LIMIT as u64).all(|number| shard.get(&name(number)).is_some()), "nothing else had to go");
        assert_eq!(shard.get(&name(1 << 40)).unwrap().handle, cell(2).handle);
    }
}
