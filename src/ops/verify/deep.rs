//! Deep verification: every frame that a key of anybody living opens is opened, decompressed, and read whole where it is a
//! large body.
//!
//! Customers are taken in shares that know nothing of each other. Of a share every cell that may exist is derived, and those
//! are looked up in the order of partitions and handles, in which segments lie.

use crate::sync::Arc;
use std::collections::{BTreeSet, HashSet};

use super::damage;
use crate::engine::catalog::{Snapshot, View};
use crate::engine::large::Chunks;
use crate::engine::partitions::Partition;
use crate::engine::read::CellReader;
use crate::engine::row::{Probe, Row};
use crate::engine::visible::{Sight, covers};
use crate::engine::{Engine, tasks};
use crate::error::Result;
use crate::keyring::CustomerEntry;
use crate::ops::{refresh, timeline};
use crate::report::Damage;

/// The most cells that are in memory at one time, all threads together: with about 80 bytes each, 80 MB.
const CELLS: u64 = 1_000_000;

/// What was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Records.
    pub records: u64,
    /// What else stands in cells beside records: tombstones.
    pub others: u64,
    /// Chunks of their large bodies.
    pub chunks: u64,
    /// Everything that is wrong, each thing once.
    pub damage: BTreeSet<Damage>,
}

/// A cell that may exist, in which column and whose, by their places in the share.
struct Cell {
    column: u32,
    probe: Probe,
    customer: u32,
}

/// What a deep verification goes by.
pub struct Deep<'a> {
    /// The store.
    pub engine: &'a Engine,
    /// What existed when it began.
    pub snapshot: &'a Snapshot,
    /// The segments to look into, by number; all of them where there are none.
    pub only: Option<HashSet<u64>>,
    /// The acts that had let go of a part of a customer when it began.
    pub since: u64,
}

impl Deep<'_> {
    /// Opens everything, on so many threads.
    pub fn run(&self, threads: usize) -> Opened {
        let partitions = self.engine.partitions.all();
        let (threads, customers) = (threads.max(1) as u64, self.engine.keyring.customers().max(1));
        let shares = (customers * partitions.len().max(1) as u64 * threads).div_ceil(CELLS);
        let shares = shares.max(if threads > 1 { threads * 8 } else { 1 }).min(customers);
        let shares = u32::try_from(shares).unwrap_or(u32::MAX);
        let mut all = Opened::default();
        for one in
            tasks::each(threads as usize, shares as usize, &|share| self.share(share as u32, shares, &partitions))
        {
            all.records += one.records;
            all.others += one.others;
            all.chunks += one.chunks;
            all.damage.extend(one.damage);
        }
        all
    }

    fn share(&self, share: u32, shares: u32, partitions: &[Arc<Partition>]) -> Opened {
        let (mut opened, mut customers, mut cells) = (Opened::default(), Vec::new(), Vec::new());
        let walked = self.engine.keyring.walk_customers_part(share, shares, &mut |customer| {
            let (mut row, before) = (Row::new(&self.engine.store, customer), cells.len());
            for (column, partition) in partitions.iter().enumerate().filter(|(_, one)| covers(customer, one)) {
                let (column, customer) = (column as u32, customers.len() as u32);
                cells.extend(row.probes(partition).map(|probe| Cell { column, probe, customer }));
            }
            if cells.len() > before {
                customers.push(customer.duplicate());
            }
            Ok(())
        });
        if let Err(error) = walked {
            opened.damage.insert(damage(&self.engine.root, &error));
        }
        cells.sort_unstable_by_key(|cell| (cell.column, cell.probe.handle));
        // A column that is just being exploded has its held cells in both ways.
        cells.dedup_by_key(|cell| (cell.column, cell.probe.handle));
        let mut snapshot = self.snapshot.clone();
        let mut ahead = cells.iter();
        while let Some(moved) = self.cells(&mut ahead, partitions, &customers, &snapshot, &mut opened) {
            snapshot = moved;
        }
        opened
    }

    /// Opens cells until there are none ahead, or those to come are to be looked for in a newer snapshot: that is returned.
    fn cells(
        &self,
        ahead: &mut std::slice::Iter<'_, Cell>,
        partitions: &[Arc<Partition>],
        customers: &[CustomerEntry],
        snapshot: &Snapshot,
        opened: &mut Opened,
    ) -> Option<Snapshot> {
        let narrow = self.narrowed(snapshot);
        let reader = CellReader::new(&self.engine.catalog, &narrow, self.engine.store);
        while let Some(cell) = ahead.as_slice().first() {
            let (partition, customer) = (&partitions[cell.column as usize], &customers[cell.customer as usize]);
            match self.open(snapshot, &reader, partition, cell, customer) {
                Ok(one) => {
                    opened.records += one.records;
                    opened.others += one.others;
                    opened.chunks += one.chunks;
                }
                Err(_) if self.is_closed(partition, customer) => {}
                Err(error) => match refresh::has_moved(self.engine, &error) {
                    Ok(true) => return Some(self.engine.catalog.snapshot()),
                    _ => drop(opened.damage.insert(damage(&self.engine.root, &error))),
                },
            }
            ahead.next();
        }
        None
    }

    /// Whether a cell was let go of since, so that it may well not be whole.
    fn is_closed(&self, partition: &Partition, customer: &CustomerEntry) -> bool {
        timeline::check(self.engine, &customer.subject, partition.number, Sight::Held).is_err()
            || self.engine.fences.check_part(&customer.subject, self.since).is_err()
    }

    /// The snapshot without the segments that are not to be looked into.
    fn narrowed(&self, snapshot: &Snapshot) -> Snapshot {
        let Some(only) = &self.only else { return snapshot.clone() };
        let mut view = View::clone(&snapshot.view);
        view.segments.values_mut().for_each(|slots| slots.retain(|slot| only.contains(&slot.fact.segment)));
        Snapshot { view: Arc::new(view), ..*snapshot }
    }

    fn open(
        &self,
        snapshot: &Snapshot,
        reader: &CellReader<'_>,
        partition: &Arc<Partition>,
        cell: &Cell,
        customer: &CustomerEntry,
    ) -> Result<Opened> {
        let (mut hits, mut opened) = (Vec::new(), Opened::default());
        reader.read(partition, &cell.probe, &|_| true, &mut hits)?;
        for hit in hits {
            *(if hit.gone { &mut opened.others } else { &mut opened.records }) += 1;
            if let Some(mut chunks) = Chunks::find(self.engine, snapshot, customer, &hit)? {
                (0..chunks.count()).try_for_each(|index| chunks.read(self.engine, index).map(drop))?;
                opened.chunks += chunks.count();
            }
            hit.into_record(&customer.id)?;
        }
        Ok(opened)
    }
}
