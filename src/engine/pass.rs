//! A pass over everything readable, in bounded memory: what a scan is made of.
//!
//! A segment does not know whose its handles are, so that a pass walks the keyring. It does so in pieces: a share of all
//! customers in some of the partitions, so many that their cells fit. For a piece every cell that its customers may have
//! is derived, each row once for all its partitions, and those of a partition are sorted as its segments are; then they
//! are looked up from front to back. Pieces know nothing of each other, so that threads can divide them.

use crate::sync::Arc;
use std::collections::{BTreeSet, HashMap};

use super::catalog::Snapshot;
use super::partitions::Partition;
use super::read::{CellReader, Hit, order};
use super::row::{Probe, Row};
use super::visible::{Range, covers, shown};
use super::{Engine, amend, latest};
use crate::error::Result;
use crate::ident::{CustomerId, PartitionNumber, Stream, SubjectNumber};
use crate::policy::Policy;

/// The most cells of the pieces that are in memory at one time: with 64 bytes each, 64 MB.
const CELLS: u64 = 1_000_000;

/// A cell that may exist, and whose it is, by place in the piece.
struct Cell {
    probe: Probe,
    customer: u32,
}

/// The cells of one partition, in the order of their handles.
struct Column {
    partition: Arc<Partition>,
    /// Whether the newest record of each customer counts.
    is_state: bool,
    cells: Vec<Cell>,
    /// Further cells of customers who have more than one secret: read with the first.
    more: HashMap<u32, Vec<Probe>>,
}

/// Some customers in some partitions.
pub struct Piece {
    policy: Arc<Policy>,
    customers: Vec<(CustomerId, SubjectNumber)>,
    columns: Vec<Column>,
    column: usize,
    cell: usize,
}

/// What a pass goes over.
pub struct Pass {
    /// What existed when it began.
    pub snapshot: Snapshot,
    /// The parts of customers that had been let go of when it began.
    pub since: u64,
    range: Range,
    partitions: Vec<Arc<Partition>>,
    columns: usize,
    shares: u32,
}

/// What one customer has in one partition.
pub struct Filled {
    /// Who.
    pub customer: CustomerId,
    /// The customer's name where no id may stand.
    pub subject: SubjectNumber,
    /// The records, in the order of events.
    pub hits: Vec<Hit>,
}

impl Pass {
    /// A pass over `stream` (or all) and `range`, by so many threads. One thread meets a partition's customers in the
    /// order of their handles, where there are not too many of them to be in memory at once.
    pub fn new(engine: &Engine, stream: Option<&Stream>, range: Range, threads: usize) -> Self {
        let (since, policy) = (engine.fences.parted(), engine.policy());
        let snapshot = engine.catalog.snapshot();
        let wanted = |partition: &Arc<Partition>| {
            let wanted = stream.is_none_or(|stream| partition.id.stream == *stream);
            // A state that was carried forward happened before the window it stands in.
            let meets = range.meets(partition) || latest::is_state(&policy, &partition.id.stream);
            partition.key.is_some() && wanted && meets
        };
        let partitions: Vec<_> = engine.partitions.all().into_iter().filter(wanted).collect();
        let (customers, threads) = (engine.keyring.customers().max(1), threads.max(1) as u64);
        let cells = CELLS / threads;
        // A piece takes in as many partitions as it can while it holds a good share of the customers: few pieces mean few
        // walks, many customers mean that a segment is read nearly as it lies.
        let share = if threads > 1 { 8 } else { 1 };
        let columns = (share * cells / customers).clamp(1, partitions.len().max(1) as u64);
        let least = if threads > 1 { threads * 8 } else { 1 };
        let shares = (customers * columns).div_ceil(cells).max(least.min(customers));
        let (columns, shares) = (columns as usize, u32::try_from(shares).unwrap_or(u32::MAX));
        Pass { snapshot, since, range, partitions, columns, shares }
    }

    /// The same pass over these partitions alone.
    pub fn only(self, partitions: &BTreeSet<PartitionNumber>) -> Self {
        let partitions = self.partitions.into_iter().filter(|one| partitions.contains(&one.number)).collect();
        Pass { partitions, ..self }
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> usize {
        self.partitions.len().div_ceil(self.columns) * self.shares as usize
    }

    /// Derives the cells of a piece.
    ///
    /// # Errors
    /// Damage in the keyring; [`crate::ErrorKind::Erased`] where a part of one of its customers was let go of since.
    pub fn piece(&self, engine: &Engine, number: usize) -> Result<Piece> {
        let (group, share) = (number / self.shares as usize, (number % self.shares as usize) as u32);
        let partitions = self.partitions.chunks(self.columns).nth(group).unwrap_or_default();
        let policy = engine.policy();
        let column = |partition: &Arc<Partition>| Column {
            partition: partition.clone(),
            is_state: latest::is_state(&policy, &partition.id.stream),
            cells: Vec::new(),
            more: HashMap::new(),
        };
        let mut columns: Vec<Column> = partitions.iter().map(column).collect();
        let mut customers = Vec::new();
        engine.keyring.walk_customers_part(share, self.shares, &mut |customer| {
            if engine.fences.has_subject(&customer.subject) {
                return Ok(());
            }
            // What was appended again since the snapshot is not in it: better no answer than one with a gap.
            engine.fences.check_part(&customer.subject, self.since)?;
            let (mut row, number) = (Row::new(&engine.store, customer), customers.len() as u32);
            let mut any = false;
            for column in columns.iter_mut().filter(|column| covers(customer, &column.partition)) {
                let mut probes = row.probes(&column.partition);
                if let Some(probe) = probes.next() {
                    column.cells.push(Cell { probe, customer: number });
                    any = true;
                    let more: Vec<Probe> = probes.collect();
                    if !more.is_empty() {
                        column.more.insert(number, more);
                    }
                }
            }
            if any {
                customers.push((customer.id.clone(), customer.subject));
            }
            Ok(())
        })?;
        columns.iter_mut().for_each(|column| column.cells.sort_unstable_by_key(|cell| cell.probe.handle));
        Ok(Piece { policy, customers, columns, column: 0, cell: 0 })
    }

    /// The next cell of a piece that has records: those that are still shown and in the range. Cells that were closed off
    /// since are passed over.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where a frame is damaged; [`crate::ErrorKind::Erased`] as for [`Pass::piece`].
    pub fn next(&self, engine: &Engine, reader: &CellReader<'_>, piece: &mut Piece) -> Result<Option<Filled>> {
        while let Some(column) = piece.columns.get(piece.column) {
            let Some(cell) = column.cells.get(piece.cell) else {
                (piece.column, piece.cell) = (piece.column + 1, 0);
                continue;
            };
            let hits =
                self.read(engine, reader, (&piece.policy, column), cell, &piece.customers[cell.customer as usize])?;
            // Not where it could not be read: it may be tried again.
            piece.cell += 1;
            if !hits.is_empty() {
                let (customer, subject) = piece.customers[cell.customer as usize].clone();
                return Ok(Some(Filled { customer, subject, hits }));
            }
        }
        Ok(None)
    }

    fn read(
        &self,
        engine: &Engine,
        reader: &CellReader<'_>,
        (policy, column): (&Policy, &Column),
        cell: &Cell,
        (customer, subject): &(CustomerId, SubjectNumber),
    ) -> Result<Vec<Hit>> {
        let (partition, mut hits) = (&column.partition, Vec::new());
        let more = column.more.get(&cell.customer).map_or(&[][..], Vec::as_slice);
        if more.is_empty() && !reader.exists(partition.number, &cell.probe.handle)? {
            return Ok(hits);
        }
        if engine.fences.check(subject, partition.number).is_err() {
            return Ok(hits); // Erased or expired since the walk.
        }
        engine.fences.check_part(subject, self.since)?;
        let shown = shown(policy, partition, engine.now());
        for probe in std::iter::once(&cell.probe).chain(more) {
            reader.read(partition, probe, &|at| self.range.contains(at) && shown(at), &mut hits)?;
        }
        order(&mut hits);
        amend::supersede(&mut hits);
        if column.is_state && !hits.is_empty() {
            let entry = engine.keyring.customer(customer)?.filter(|found| found.entry.subject == *subject);
            let newest = entry.map(|found| latest::newest(engine, reader, &found.entry, &partition.id.stream, None));
            let newest = newest.transpose()?.flatten().map(|newest| (newest.name(), newest.at));
            hits.retain(|hit| newest.as_ref().is_some_and(|newest| *newest == (hit.name(), hit.at)));
        }
        Ok(hits)
    }
}
