//! Scan: every readable record, partition by partition, customer by customer in the order of their handles.
//!
//! A segment does not know whose its handles are, so a scan walks the keyring for each partition, derives the cells of
//! the customers whose entry covers it, keeps those that exist and sorts them as the segments are sorted.

use crate::sync::Arc;
use std::collections::VecDeque;

use crate::crypto::CellKey;
use crate::engine::catalog::Snapshot;
use crate::engine::cells::cell_keys;
use crate::engine::partitions::Partition;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::visible::{Range, covers, shown};
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::ident::{CustomerId, Handle, Stream, SubjectNumber};
use crate::record::Stored;

/// What there is of one customer in one partition, with what opens it: a cell for each secret it was written under.
struct Cell {
    handle: Handle,
    keys: Vec<CellKey>,
    customer: CustomerId,
    subject: SubjectNumber,
}

/// Every readable record of some streams and times.
pub struct Scan {
    engine: Arc<Engine>,
    snapshot: Snapshot,
    since: u64,
    range: Range,
    partitions: VecDeque<Arc<Partition>>,
    partition: Option<Arc<Partition>>,
    cells: VecDeque<Cell>,
    customer: Option<(CustomerId, SubjectNumber)>,
    hits: VecDeque<Hit>,
    failed: bool,
}

/// Begins a scan of `stream` (or of all) over `range`.
pub fn scan(engine: Arc<Engine>, stream: Option<&Stream>, range: Range) -> Scan {
    let since = engine.fences.parted();
    let partitions = engine.partitions.all().into_iter();
    let wanted = |partition: &Arc<Partition>| {
        let wanted = stream.is_none_or(|stream| partition.id.stream == *stream);
        partition.key.is_some() && wanted && range.meets(partition)
    };
    Scan {
        snapshot: engine.catalog.snapshot(),
        since,
        range,
        partitions: partitions.filter(wanted).collect(),
        partition: None,
        cells: VecDeque::new(),
        customer: None,
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
                self.engine.fences.check_part(subject, self.since)?;
                match self.engine.fences.check(subject, hit.partition.number) {
                    Ok(()) => return hit.into_record(customer).map(Some),
                    Err(_) => self.hits.clear(), // Erased or expired since it was read.
                }
            }
            if let (Some(cell), Some(partition)) = (self.cells.pop_front(), self.partition.clone()) {
                self.read(&partition, cell)?;
            } else if let Some(partition) = self.partitions.pop_front() {
                self.cells = cells(&self.engine, (&self.snapshot, self.since), &partition)?.into();
                self.partition = Some(partition);
            } else {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, partition: &Arc<Partition>, cell: Cell) -> Result<()> {
        if self.engine.fences.check(&cell.subject, partition.number).is_err() {
            return Ok(()); // Erased or expired since the walk.
        }
        self.engine.fences.check_part(&cell.subject, self.since)?;
        let policy = self.engine.policy();
        let shown = shown(&policy, partition, self.engine.now());
        let reader = CellReader::new(&self.engine.catalog, &self.snapshot, self.engine.store);
        let mut hits = Vec::new();
        let range = self.range;
        for key in &cell.keys {
            reader.read(partition, key, &|at| range.contains(at) && shown(at), &mut hits)?;
        }
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

fn cells(engine: &Engine, (snapshot, since): (&Snapshot, u64), partition: &Partition) -> Result<Vec<Cell>> {
    let reader = CellReader::new(&engine.catalog, snapshot, engine.store);
    let mut cells = Vec::new();
    engine.keyring.walk_customers(&mut |customer| {
        if covers(customer, partition) && !engine.fences.has_subject(&customer.subject) {
            // What was appended again since the snapshot is not in it: better no answer than one with a gap.
            engine.fences.check_part(&customer.subject, since)?;
            let mut keys = Vec::new();
            for key in cell_keys(&engine.store, customer, partition) {
                if reader.exists(partition.number, &key.handle())? {
                    keys.push(key);
                }
            }
            if let Some(handle) = keys.first().map(CellKey::handle) {
                cells.push(Cell { handle, keys, customer: customer.id.clone(), subject: customer.subject });
            }
        }
        Ok(())
    })?;
    cells.sort_by_key(|cell| cell.handle);
    Ok(cells)
}
