//! A pass over everything readable, in bounded memory: what a scan is made of.
//!
//! A segment does not know whose its handles are, so that a pass walks the keyring. It does so in batches: a share of all
//! customers in some of the partitions, so many that their cells fit. First every cell that its customers may have is
//! derived, each row once for all its partitions; then those of a partition are sorted as its segments are and looked up
//! from front to back, so that a segment is read as it lies. Both steps come in parts that know nothing of each other, so
//! that threads can divide them.

use crate::sync::{Arc, Mutex};
use std::cell::OnceCell;
use std::collections::HashMap;

use super::catalog::Snapshot;
use super::partitions::Partition;
use super::read::{CellReader, Hit, order};
use super::row::{Probe, Row};
use super::visible::{Range, covers, shown};
use super::{Engine, amend, duty, latest};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, Handle, Stream, SubjectNumber};
use crate::keyring::CustomerEntry;
use crate::policy::{Facts, Policy};

/// The most cells of a batch: with 64 bytes each, 64 MB.
const CELLS: u64 = 1_000_000;
/// Threads get about so many parts each of the first step, so that none waits long for another.
const PARTS: usize = 4;
/// And so many units of the second, which takes ten times as long.
const UNITS: usize = 16;

/// A cell that may exist, and whose it is, by part of the batch and place in that.
struct Cell {
    probe: Probe,
    part: u32,
    customer: u32,
}

/// A part of a batch: some customers with their cells.
pub struct Drawer {
    customers: Vec<(CustomerId, SubjectNumber)>,
    /// By unit, until that takes them.
    cells: Vec<Mutex<Vec<Cell>>>,
    /// Further cells of customers who have more than one secret, by partition and customer: read with the first.
    more: HashMap<(usize, u32), Vec<Probe>>,
}

/// Some customers in some partitions, their cells derived.
pub struct Batch {
    policy: Arc<Policy>,
    /// Whether any stream ends by row.
    by_row: bool,
    drawers: Vec<Drawer>,
}

/// The cells of one partition, or of a range of handles in it, in the order of their handles.
pub struct Unit {
    column: usize,
    cells: Vec<Cell>,
    next: usize,
}

/// What a pass goes over.
pub struct Pass {
    /// What existed when it began.
    pub snapshot: Snapshot,
    /// The parts of customers that had been let go of when it began.
    pub since: u64,
    /// What had been closed off when it began.
    pub passed: u64,
    range: Range,
    partitions: Vec<Arc<Partition>>,
    /// Partitions of a batch, shares of the customers, parts of a batch, and ranges of handles of a partition.
    columns: usize,
    shares: u32,
    parts: u32,
    ranges: usize,
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
        let (since, passed, snapshot, partitions) = loop {
            let (since, passed) = (engine.fences.parted(), engine.fences.changes());
            // The snapshot first: what is in it has its partition in the list.
            let snapshot = engine.catalog.snapshot();
            let partitions = partitions(engine, stream, &range);
            if engine.fences.changes() == passed {
                break (since, passed, snapshot, partitions);
            }
            // What was carried out of a partition that has been closed off meanwhile may not be in it.
        };
        let customers = engine.keyring.customers().max(1);
        // Few batches mean few walks, many customers mean that a segment is read nearly as it lies.
        let share = if threads > 1 { 8 } else { 1 };
        let columns = (share * CELLS / customers).clamp(1, partitions.len().max(1) as u64);
        let shares = u32::try_from((customers * columns).div_ceil(CELLS)).unwrap_or(u32::MAX >> 10);
        let columns = columns as usize;
        let (parts, ranges) = match threads {
            0 | 1 => (1, 1),
            _ => ((threads * PARTS).min(1 << 10), (threads * UNITS).div_ceil(columns).min(256)),
        };
        Pass { snapshot, since, passed, range, partitions, columns, shares, parts: parts as u32, ranges }
    }

    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.partitions.len().div_ceil(self.columns) * self.shares as usize
    }

    /// How many parts the derivation of a batch has.
    pub fn parts(&self) -> usize {
        self.parts as usize
    }

    /// How many units a batch has, some of them perhaps empty.
    pub fn units(&self) -> usize {
        self.columns * self.ranges
    }

    /// The partitions of a batch, and its share of the customers.
    fn place(&self, batch: usize) -> (&[Arc<Partition>], u32) {
        let (group, share) = (batch / self.shares as usize, (batch % self.shares as usize) as u32);
        (self.partitions.chunks(self.columns).nth(group).unwrap_or_default(), share)
    }

    fn unit_of(&self, column: usize, handle: &Handle) -> usize {
        column * self.ranges + usize::from(handle.as_bytes()[0]) * self.ranges / 256
    }

    /// Derives the cells of one part of a batch.
    ///
    /// # Errors
    /// Damage in the keyring; [`crate::ErrorKind::Erased`] where a part of one of its customers was let go of since.
    pub fn derive(&self, engine: &Engine, batch: usize, part: usize) -> Result<Drawer> {
        let (partitions, share) = self.place(batch);
        let mut cells: Vec<Vec<Cell>> = Vec::new();
        cells.resize_with(self.units(), Vec::new);
        let (mut customers, mut more) = (Vec::new(), HashMap::new());
        let part = part as u32;
        engine.keyring.walk_customers_part(share * self.parts + part, self.shares * self.parts, &mut |entry| {
            if engine.fences.has_subject(&entry.subject) {
                return Ok(());
            }
            // What was appended again since the snapshot is not in it: better no answer than one with a gap.
            engine.fences.check_part(&entry.subject, self.since)?;
            let (mut row, customer) = (Row::new(&engine.store, entry), customers.len() as u32);
            let mut any = false;
            for (column, partition) in partitions.iter().enumerate().filter(|(_, one)| covers(entry, one)) {
                let mut probes = row.free(partition);
                if let Some(probe) = probes.next() {
                    cells[self.unit_of(column, &probe.handle)].push(Cell { probe, part, customer });
                    any = true;
                    let others: Vec<Probe> = probes.collect();
                    if !others.is_empty() {
                        more.insert((column, customer), others);
                    }
                }
            }
            if any {
                customers.push((entry.id.clone(), entry.subject));
            }
            Ok(())
        })?;
        Ok(Drawer { customers, cells: cells.into_iter().map(Mutex::new).collect(), more })
    }

    /// A batch of all its parts, in their order.
    pub fn batch(&self, engine: &Engine, drawers: Vec<Drawer>) -> Batch {
        let policy = engine.policy();
        Batch { by_row: policy.ends_by_row(), policy, drawers }
    }

    /// Takes a unit out of a batch.
    pub fn unit(&self, batch: &Batch, number: usize) -> Unit {
        let mut cells = Vec::new();
        for drawer in &batch.drawers {
            cells.append(&mut drawer.cells[number].lock().expect("no holder of this lock panics"));
        }
        cells.sort_unstable_by_key(|cell| cell.probe.handle);
        Unit { column: number / self.ranges, cells, next: 0 }
    }

    /// The next cell of a unit of batch `number` that has records: those that are still shown and in the range. Cells that
    /// were closed off since are passed over.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where a frame is damaged; [`crate::ErrorKind::Erased`] as for [`Pass::derive`].
    pub fn next(
        &self,
        engine: &Engine,
        reader: &CellReader<'_>,
        (number, batch): (usize, &Batch),
        unit: &mut Unit,
    ) -> Result<Option<Filled>> {
        let (partitions, _) = self.place(number);
        while let Some(cell) = unit.cells.get(unit.next) {
            let drawer = &batch.drawers[cell.part as usize];
            let (customer, subject) = &drawer.customers[cell.customer as usize];
            let more = match drawer.more.is_empty() {
                true => None,
                false => drawer.more.get(&(unit.column, cell.customer)),
            };
            let probes = std::iter::once(&cell.probe).chain(more.into_iter().flatten());
            let hits = self.read(engine, reader, (batch, &partitions[unit.column]), probes, (customer, subject))?;
            // Not where it could not be read: it may be tried again.
            unit.next += 1;
            if !hits.is_empty() {
                return Ok(Some(Filled { customer: customer.clone(), subject: *subject, hits }));
            }
        }
        Ok(None)
    }

    fn read<'p>(
        &self,
        engine: &Engine,
        reader: &CellReader<'_>,
        (batch, partition): (&Batch, &Arc<Partition>),
        probes: impl Iterator<Item = &'p Probe>,
        (customer, subject): (&CustomerId, &SubjectNumber),
    ) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        if !self.passes(engine, subject, partition)? {
            return Ok(hits);
        }
        let facts = match batch.by_row {
            true => facts(engine, &batch.policy, partition, (customer, subject))?,
            false => Facts::NONE,
        };
        let is_shown = OnceCell::new();
        let wanted = |at| {
            let shown = is_shown.get_or_init(|| shown(&batch.policy, partition, &facts, engine.now()));
            self.range.contains(at) && shown(at)
        };
        for probe in probes {
            reader.read(partition, probe, &wanted, &mut hits)?;
        }
        order(&mut hits);
        amend::supersede(&mut hits);
        if !hits.is_empty() && batch.policy.is_state(&partition.id.stream) {
            if let Some(found) = engine.keyring.customer(customer)?.filter(|found| found.entry.subject == *subject) {
                self.keep_newest(engine, reader, (&found.entry, &facts), partition, &mut hits)?;
            } else {
                hits.clear(); // Erased since the walk.
            }
            self.check_states(engine, &batch.policy, partition)?;
        }
        Ok(hits)
    }

    /// Keeps the newest state of a customer where it is one of `hits`; otherwise it is met in another partition.
    fn keep_newest(
        &self,
        engine: &Engine,
        reader: &CellReader<'_>,
        whose: (&CustomerEntry, &Facts),
        partition: &Partition,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let newest = latest::newest(engine, reader, whose, &partition.id.stream, None, &mut |_, error| Err(error))?;
        let Some(newest) = newest else {
            hits.clear();
            return Ok(());
        };
        let (name, at) = (newest.name(), newest.at);
        hits.retain(|hit| (hit.name(), hit.at) == (name.clone(), at));
        if !hits.is_empty() || reader.sees(&self.snapshot) {
            return Ok(());
        }
        // It is looked for in what was not there when the pass began: it may stand where that has been already.
        let place = |number| self.partitions.iter().position(|one| one.number == number);
        match self.parts == 1 && place(newest.partition.number) > place(partition.number) {
            true => Ok(()),
            false => Err(moved("a state has been replaced while its stream was read")),
        }
    }

    /// Whether what a customer has in a partition may be handed out: not where either was closed off since the pass began.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Erased`] where a part of the customer was let go of since, and where the partition is of a stream
    /// of states of which a window was: what was carried out of that may be in no snapshot from before.
    pub fn passes(&self, engine: &Engine, subject: &SubjectNumber, partition: &Partition) -> Result<bool> {
        if engine.fences.changes() == self.passed {
            return Ok(true);
        }
        engine.fences.check_part(subject, self.since)?;
        let is_open = engine.fences.check(subject, partition.number).is_ok();
        // Afterwards: a window that is closed off between the two would be passed over in silence.
        self.check_states(engine, &engine.policy(), partition)?;
        Ok(is_open)
    }

    /// Refuses to go on with states of a stream of which a window was closed off since.
    fn check_states(&self, engine: &Engine, policy: &Policy, of: &Partition) -> Result<()> {
        let is_closed = |one: &Arc<Partition>| one.id.stream == of.id.stream && engine.fences.has_partition(one.number);
        match engine.fences.changes() != self.passed
            && policy.is_state(&of.id.stream)
            && self.partitions.iter().any(is_closed)
        {
            false => Ok(()),
            true => Err(moved("states have been carried forward while they were read")),
        }
    }
}

fn moved(what: &'static str) -> Error {
    Error::new(ErrorKind::Erased, what).hint("read again; they are all still there")
}

/// The partitions that a pass over `stream` (or all) and `range` goes through.
fn partitions(engine: &Engine, stream: Option<&Stream>, range: &Range) -> Vec<Arc<Partition>> {
    let policy = engine.policy();
    let wanted = |partition: &Arc<Partition>| {
        let wanted = stream.is_none_or(|stream| partition.id.stream == *stream);
        let open = partition.key.is_some() && !engine.fences.has_partition(partition.number);
        // A state that was carried forward happened before the window it stands in.
        let meets = range.meets(partition) || policy.is_state(&partition.id.stream);
        open && wanted && meets
    };
    engine.partitions.all().into_iter().filter(wanted).collect()
}

/// What is known of a customer, where the period of a partition's stream runs from that.
fn facts(
    engine: &Engine,
    policy: &Policy,
    partition: &Partition,
    (id, subject): (&CustomerId, &SubjectNumber),
) -> Result<Facts> {
    if !policy.terms(&partition.id.stream).is_some_and(|terms| terms.ends_by_row()) {
        return Ok(Facts::NONE);
    }
    match engine.keyring.customer(id)?.filter(|found| found.entry.subject == *subject) {
        Some(found) => duty::facts(engine, policy, &found.entry),
        None => Ok(Facts::NONE), // Erased since; nothing of it will be handed out.
    }
}
