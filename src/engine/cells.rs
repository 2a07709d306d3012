//! Cells made ready to write: handle and data key of one customer in one partition, and the customer's key of the year that
//! they follow from, kept for this opening.
//!
//! A bounded cache in shards, so that appending threads rarely meet; [`Cells::purge`] empties all, because a key that lives on in a cache is not dead.

use crate::sync::{Arc, Mutex};
use std::collections::HashMap;

use super::lately::Lately;
use super::partitions::{Partition, Season};
use super::row::{Probe, Row};
use crate::crypto::{Sealer, YearKey};
use crate::ident::{Handle, PartitionNumber, Salt, StoreId, SubjectNumber};
use crate::keyring::CustomerEntry;
use crate::mixer::{Mixed, apart};

const SHARDS: usize = 16;
/// Cells per shard: with some 80 bytes each, all of them are 5 MiB.
const CELLS: usize = 4096;
/// Keys of years per shard: with some 200 bytes each, all of them stay below 8 MiB.
const YEARS: usize = 2048;

/// A cell made ready to write. It stands where it is used and is copied: behind a shared pointer, counting would cost more
/// than the copy.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The pseudonym its frames carry.
    pub handle: Handle,
    /// Encrypts its frames of this opening.
    pub sealer: Sealer,
}

type CellName = (SubjectNumber, PartitionNumber);
type YearName = (SubjectNumber, Season);

struct Shard {
    cells: Lately<CellName, Cell>,
    years: Lately<YearName, Arc<YearKey>>,
}

/// What had to be derived.
#[derive(Default)]
struct Made {
    cells: HashMap<CellName, Cell, Mixed>,
    years: HashMap<YearName, Arc<YearKey>, Mixed>,
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
    pub fn get(&self, customer: &CustomerEntry, partition: &Partition) -> Cell {
        self.all(&[(customer, partition)]).pop().expect("one cell for one use")
    }

    /// The cells of many uses, in their order. A shard is locked once for all that it has: what is looked for lies in cold
    /// memory, and without a lock between two looks the processor waits for several of them at a time.
    pub fn all(&self, uses: &[(&CustomerEntry, &Partition)]) -> Vec<Cell> {
        let mut found: Vec<Option<Cell>> = vec![None; uses.len()];
        let shards =
            apart::<SHARDS>(uses.iter().map(|(customer, _)| usize::from(customer.subject.as_bytes()[0]) % SHARDS));
        for (shard, places) in self.shards.iter().zip(&shards).filter(|(_, places)| !places.is_empty()) {
            let mut lacking = Vec::new();
            let mut held = shard.lock().expect("no holder of this lock panics");
            for place in places.iter().map(|place| *place as usize) {
                let (customer, partition) = uses[place];
                found[place] = held.cells.get(&(customer.subject, partition.number));
                if found[place].is_none() {
                    lacking.push((place, held.years.get(&(customer.subject, partition.season))));
                }
            }
            drop(held);
            if !lacking.is_empty() {
                let made = self.make(uses, &mut found, lacking);
                let mut held = shard.lock().expect("no holder of this lock panics");
                made.cells.into_iter().for_each(|(name, cell)| held.cells.insert(name, cell));
                made.years.into_iter().for_each(|(name, year)| held.years.insert(name, year));
            }
        }
        found.into_iter().map(|cell| cell.expect("every use is in one of the shards")).collect()
    }

    /// Derives what is lacking, each cell and year once however many uses there are of it.
    fn make(
        &self,
        uses: &[(&CustomerEntry, &Partition)],
        found: &mut [Option<Cell>],
        lacking: Vec<(usize, Option<Arc<YearKey>>)>,
    ) -> Made {
        let mut made = Made::default();
        for (place, known) in lacking {
            let (customer, partition) = uses[place];
            let (name, season) = ((customer.subject, partition.number), (customer.subject, partition.season));
            let cell = made.cells.entry(name).or_insert_with(|| {
                let year = known.unwrap_or_else(|| {
                    let derived = || Row::new(&self.store, customer).newest_year(partition);
                    let year = made.years.entry(season);
                    year.or_insert_with(|| {
                        Arc::new(derived().expect("an admitted customer has a secret to write under"))
                    })
                    .clone()
                });
                let column = partition.key.as_ref().expect("a partition that is written to has its own key");
                let secret = year.cell_secret(partition.number);
                Cell { handle: column.handle(&secret), sealer: column.cell(&secret).sealer(&self.salt) }
            });
            found[place] = Some(cell.clone());
        }
        made
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
