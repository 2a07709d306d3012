//! Cells made ready to write: handle and data key of one customer in one partition, and the customer's key of the year that
//! they follow from, kept for this opening.
//!
//! A bounded cache in shards, so that appending threads rarely meet. A full shard lets go of one at a time that was
//! not asked for lately; [`Cells::purge`] empties all, because a key that lives on in a cache is not dead.

use crate::sync::{Arc, Mutex};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::partitions::{Partition, Season};
use super::row::{Probe, Row};
use crate::crypto::{Sealer, YearKey};
use crate::ident::{Handle, PartitionNumber, Salt, StoreId, SubjectNumber};
use crate::keyring::CustomerEntry;
use crate::mixer::Mixed;

const SHARDS: usize = 16;
/// Cells per shard: with less than 250 bytes each, all of them stay below 16 MiB.
const CELLS: usize = 4096;
/// Keys of years per shard: with some 200 bytes each, all of them stay below 8 MiB.
const YEARS: usize = 2048;

/// A cell made ready to write.
#[derive(Debug)]
pub struct Cell {
    /// The pseudonym its frames carry.
    pub handle: Handle,
    /// Encrypts its frames of this opening.
    pub sealer: Sealer,
}

/// So many values by name: those that were put there or asked for lately.
struct Lately<K, V> {
    kept: HashMap<K, (V, bool), Mixed>,
    /// In the order in which they came, but for those that were asked for when it was their turn to go.
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Hash + Eq + Copy, V: Clone> Lately<K, V> {
    fn new(limit: usize) -> Self {
        Lately { kept: HashMap::default(), order: VecDeque::new(), limit }
    }

    fn get(&mut self, name: &K) -> Option<V> {
        let (value, touched) = self.kept.get_mut(name)?;
        *touched = true;
        Some(value.clone())
    }

    fn insert(&mut self, name: K, value: V) {
        while self.kept.len() >= self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            let touched = self.kept.get_mut(&oldest).is_some_and(|(_, touched)| std::mem::take(touched));
            match touched {
                true => self.order.push_back(oldest),
                false => drop(self.kept.remove(&oldest)),
            }
        }
        if self.kept.insert(name, (value, false)).is_none() {
            self.order.push_back(name);
        }
    }
}

struct Shard {
    cells: Lately<(SubjectNumber, PartitionNumber), Arc<Cell>>,
    years: Lately<(SubjectNumber, Season), Arc<YearKey>>,
}

impl Default for Shard {
    fn default() -> Self {
        Shard { cells: Lately::new(CELLS), years: Lately::new(YEARS) }
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

    /// The cell of `customer` in `partition`, which has its own key, under the customer's newest whole secret.
    pub fn get(&self, customer: &CustomerEntry, partition: &Partition) -> Arc<Cell> {
        let (name, season) = ((customer.subject, partition.number), (customer.subject, partition.season));
        let shard = &self.shards[usize::from(customer.subject.as_bytes()[0]) % SHARDS];
        let mut held = shard.lock().expect("no holder of this lock panics");
        if let Some(cell) = held.cells.get(&name) {
            return cell;
        }
        let year = held.years.get(&season);
        drop(held);
        let (known, year) = match year {
            Some(year) => (true, year),
            None => {
                let newest = Row::new(&self.store, customer).newest_year(partition);
                (false, Arc::new(newest.expect("an admitted customer has a secret to write under")))
            }
        };
        let column = partition.key.as_ref().expect("a partition that is written to has its own key");
        let secret = year.cell_secret(partition.number);
        let (handle, sealer) = (column.handle(&secret), column.cell(&secret).sealer(&self.salt));
        let cell = Arc::new(Cell { handle, sealer });
        let mut held = shard.lock().expect("no holder of this lock panics");
        held.cells.insert(name, cell.clone());
        if !known {
            held.years.insert(season, year);
        }
        cell
    }

    /// Forgets every cell and year, wiping their keys.
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

    fn name(number: u64) -> SubjectNumber {
        SubjectNumber::from_bytes((u128::from(number) << 64 | 5).to_le_bytes())
    }

    #[test]
    fn what_is_full_lets_go_of_what_nobody_asked_for() {
        const LIMIT: u64 = 4096;
        let mut lately = Lately::new(LIMIT as usize);
        for number in 0..LIMIT {
            lately.insert(name(number), cell(1));
        }
        for number in 0..100 {
            assert!(lately.get(&name(number)).is_some());
        }
        for number in 0..1_000 {
            lately.insert(name(1 << 40 | number), cell(2));
        }
        assert_eq!((lately.kept.len(), lately.order.len()), (LIMIT as usize, LIMIT as usize));
        assert!((0..100).all(|number| lately.get(&name(number)).is_some()), "they were asked for");
        assert!((100..1_100).all(|number| lately.get(&name(number)).is_none()), "they were not");
        assert!((1_100..LIMIT).all(|number| lately.get(&name(number)).is_some()), "nothing else had to go");
        assert_eq!(lately.get(&name(1 << 40)).unwrap().handle, cell(2).handle);
    }
}
