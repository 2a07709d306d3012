//! Scan: every readable record, partition by partition, customer by customer in the order of their handles.
//!
//! A segment does not know whose its handles are, so a scan walks the keyring for each partition, derives the cells of
//! the customers whose entry covers it, keeps those that exist and sorts them as the segments are sorted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::crypto::CellKey;
use crate::engine::catalog::Snapshot;
use crate::engine::cells::cell_keys;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::visible::{Range, covers, shown};
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::ident::{CustomerId, Handle, Stream, SubjectNumber};
use crate::keyring::PartitionEntry;
use crate::record::Stored;

/// A cell that exists, with what opens it.
struct Cell {
    handle: Handle,
    key: CellKey,
    customer: CustomerId,
    subject: SubjectNumber,
}

/// Every readable record of some streams and times.
pub struct Scan {
    engine: Arc<Engine>,
    snapshot: Snapshot,
    range: Range,
    partitions: VecDeque<Arc<PartitionEntry>>,
    partition: Option<Arc<PartitionEntry>>,
    cells: VecDeque<Cell>,
    customer: Option<(CustomerId, SubjectNumber)>,
    strokes: u64,
    hits: VecDeque<Hit>,
    failed: bool,
}

/// Begins a scan of `stream` (or of all) over `range`.
pub fn scan(engine: Arc<Engine>, stream: Option<&Stream>, range: Range) -> Scan {
    let partitions = engine.partitions.all().into_iter();
    let wanted = |partition: &Arc<PartitionEntry>| {
        stream.is_none_or(|stream| partition.id.stream == *stream) && range.meets(partition)
    };
    Scan {
        snapshot: engine.catalog.snapshot(),
        range,
        partitions: partitions.filter(wanted).collect(),
        partition: None,
        cells: VecDeque::new(),
        customer: None,
        strokes: engine.fences.strokes(),
        hits: VecDeque::new(),
        failed: false,
        engine,
    }
}

impl Scan {
    fn advance(&mut self) -> Result<Option<Stored>> {
        loop {
            if let (Some(hit), Some((customer, subject))) = (self.hits.pop_front(), &self.customer) {
                lease::look(&self.engine)?;
                self.engine.fences.check(subject, hit.partition.number, self.strokes)?;
                return hit.into_record(customer).map(Some);
            }
            if let (Some(cell), Some(partition)) = (self.cells.pop_front(), self.partition.clone()) {
                self.read(&partition, cell)?;
            } else if let Some(partition) = self.partitions.pop_front() {
                self.cells = cells(&self.engine, &self.snapshot, &partition)?.into();
                self.partition = Some(partition);
            } else {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, partition: &Arc<PartitionEntry>, cell: Cell) -> Result<()> {
        lease::look(&self.engine)?;
        let fences = &self.engine.fences;
        if fences.has_subject(&cell.subject) || fences.has_partition(partition.number) {
            return Ok(()); // Erased or expired since the walk, and nothing of it was handed out.
        }
        fences.check(&cell.subject, partition.number, self.strokes)?;
        let policy = self.engine.policy();
        let shown = shown(&policy, partition, self.engine.now());
        let reader = CellReader::new(&self.engine.catalog, &self.snapshot, self.engine.store);
        let mut hits = Vec::new();
        let range = self.range;
        reader.read(partition, &cell.key, &|at| range.contains(at) && shown(at), &mut hits)?;
        order(&mut hits);
        self.customer = Some((cell.customer, cell.subject));
        self.hits = hits.into();
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Stored>;

    /// After an error the scan is over: it never goes on past a gap.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scan({} partitions ahead)", self.partitions.len())
    }
}

fn cells(engine: &Engine, snapshot: &Snapshot, partition: &PartitionEntry) -> Result<Vec<Cell>> {
    let reader = CellReader::new(&engine.catalog, snapshot, engine.store);
    let mut cells = Vec::new();
    engine.keyring.walk_customers(&mut |customer| {
        if covers(customer, partition) && !engine.fences.has_subject(&customer.subject) {
            for key in cell_keys(&engine.store, customer, partition) {
                let handle = key.handle();
                if reader.exists(partition.number, &handle)? {
                    cells.push(Cell { handle, key, customer: customer.id.clone(), subject: customer.subject });
                }
            }
        }
        Ok(())
    })?;
    cells.sort_by_key(|cell| cell.handle);
    Ok(cells)
}
