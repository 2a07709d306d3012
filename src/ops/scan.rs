//! Scan: every readable record, one at a time or on many threads.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::engine::catalog::Snapshot;
use crate::engine::partitions::Partition;
use crate::engine::pass::{Batch, Drawer, Filled, Pass, Unit};
use crate::engine::read::{Buffers, CellReader, Hit};
use crate::engine::visible::Range;
use crate::engine::{Engine, lease, tasks};
use crate::error::Result;
use crate::ident::{CustomerId, Stream, SubjectNumber};
use crate::ops::refresh::has_moved;
use crate::record::Stored;

/// Every readable record of some streams and times.
pub struct Scan {
    engine: Arc<Engine>,
    pass: Pass,
    batches: std::ops::Range<usize>,
    batch: Option<(usize, Batch)>,
    units: std::ops::Range<usize>,
    unit: Option<Unit>,
    customer: Option<(CustomerId, SubjectNumber)>,
    hits: VecDeque<Hit>,
    /// What was read last.
    buffers: Buffers,
    failed: bool,
}

/// Begins a scan of `stream` (or of all) over `range`.
pub fn scan(engine: Arc<Engine>, stream: Option<&Stream>, range: Range) -> Scan {
    let pass = Pass::new(&engine, stream, range, 1);
    let batches = 0..pass.batches();
    let (batch, units, unit, customer, hits) = (None, 0..0, None, None, VecDeque::new());
    Scan { pass, batches, batch, units, unit, customer, hits, buffers: Buffers::default(), failed: false, engine }
}

/// Whether a record may be handed out, as [`Pass::passes`] says, and by this opening.
fn passes(engine: &Engine, pass: &Pass, subject: &SubjectNumber, partition: &Partition) -> Result<bool> {
    lease::look(engine)?;
    pass.passes(engine, subject, partition)
}

impl Scan {
    fn advance(&mut self) -> Result<Option<Stored>> {
        loop {
            if let (Some(hit), Some((customer, subject))) = (self.hits.pop_front(), &self.customer) {
                match passes(&self.engine, &self.pass, subject, &hit.partition)? {
                    true => return hit.into_record(customer).map(Some),
                    false => self.hits.clear(), // Erased or expired since it was read.
                }
            }
            if let (Some(unit), Some((number, batch))) = (&mut self.unit, &self.batch) {
                let buffers = std::mem::take(&mut self.buffers);
                let reader = CellReader::ahead(&self.engine.catalog, &self.pass.snapshot, self.engine.store, buffers);
                let next = self.pass.next(&self.engine, &reader, (*number, batch), unit);
                self.buffers = reader.into_buffers();
                match next {
                    Ok(Some(Filled { customer, subject, hits })) => {
                        (self.customer, self.hits) = (Some((customer, subject)), hits.into());
                    }
                    Ok(None) => self.unit = None,
                    // It goes on with the same cell, from what there is now.
                    Err(error) if has_moved(&self.engine, &error)? => {
                        self.pass.snapshot = self.engine.catalog.snapshot();
                    }
                    Err(error) => return Err(error),
                }
            } else if let (Some(unit), Some((_, batch))) = (self.units.next(), &self.batch) {
                self.unit = Some(self.pass.unit(batch, unit));
            } else if let Some(number) = self.batches.next() {
                let drawers = (0..self.pass.parts()).map(|part| self.pass.derive(&self.engine, number, part));
                let drawers = drawers.collect::<Result<Vec<Drawer>>>()?;
                self.batch = Some((number, self.pass.batch(&self.engine, drawers)));
                self.units = 0..self.pass.units();
            } else {
                return Ok(None);
            }
        }
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
        write!(f, "Scan({} batches ahead)", self.batches.len())
    }
}

/// Hands every readable record of `stream` (or of all) over `range` to `visit`, on this thread and so many others beside
/// it that they are `threads`. All records of a customer in a partition come one after the other, in the order of events,
/// on one thread.
///
/// # Errors
/// The first that any thread meets; records that others had in hand may still be visited, none after this returns.
pub fn scan_parallel<B: Send>(
    engine: &Engine,
    stream: Option<&Stream>,
    range: Range,
    threads: usize,
    visit: &(dyn Fn(Stored) -> ControlFlow<B> + Sync),
) -> Result<ControlFlow<B>> {
    hits_parallel(engine, stream, range, threads, &|(customer, _), hit| Ok(visit(hit.into_record(customer)?)))
}

/// Whose a hit is: by id, and by the number that stands for it on record.
pub(super) type Whose<'a> = (&'a CustomerId, &'a SubjectNumber);
/// What is done with each hit.
type Visitor<'a, B> = dyn Fn(Whose<'_>, Hit) -> Result<ControlFlow<B>> + Sync + 'a;

/// As [`scan_parallel`], with records as they were found: their bodies as stored.
///
/// # Errors
/// As there, and the visitor's.
pub(super) fn hits_parallel<B: Send>(
    engine: &Engine,
    stream: Option<&Stream>,
    range: Range,
    threads: usize,
    visit: &Visitor<'_, B>,
) -> Result<ControlFlow<B>> {
    let threads = threads.max(1);
    let pass = Pass::new(engine, stream, range, threads);
    for number in 0..pass.batches() {
        let drawers = tasks::shared(threads, pass.parts(), &|| (), &|(), part| pass.derive(engine, number, part))?;
        let batch = pass.batch(engine, drawers);
        let over = AtomicBool::new(false);
        let tool = || (pass.snapshot.clone(), Buffers::default());
        let visited = tasks::shared(threads, pass.units(), &tool, &|tool, unit| {
            let outcome = visit_unit(engine, &pass, tool, ((number, &batch), unit), &over, visit);
            if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
                over.store(true, Ordering::Release);
            }
            outcome
        })?;
        if let Some(broken) = visited.into_iter().find(ControlFlow::is_break) {
            return Ok(broken);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Visits what is in a unit; should the writer merge meanwhile in another process, from a newer `snapshot` in the end.
fn visit_unit<B>(
    engine: &Engine,
    pass: &Pass,
    (snapshot, buffers): &mut (Snapshot, Buffers),
    (batch, unit): ((usize, &Batch), usize),
    over: &AtomicBool,
    visit: &Visitor<'_, B>,
) -> Result<ControlFlow<B>> {
    let mut unit = pass.unit(batch.1, unit);
    loop {
        let reader = CellReader::ahead(&engine.catalog, snapshot, engine.store, std::mem::take(buffers));
        let visited = visit_cells(engine, pass, &reader, (batch, &mut unit), over, visit);
        *buffers = reader.into_buffers();
        match visited {
            Err(error) if has_moved(engine, &error)? => *snapshot = engine.catalog.snapshot(),
            outcome => return outcome,
        }
    }
}

fn visit_cells<B>(
    engine: &Engine,
    pass: &Pass,
    reader: &CellReader<'_>,
    (batch, unit): ((usize, &Batch), &mut Unit),
    over: &AtomicBool,
    visit: &Visitor<'_, B>,
) -> Result<ControlFlow<B>> {
    let is_over = || over.load(Ordering::Acquire);
    while let Some(filled) = if is_over() { None } else { pass.next(engine, reader, batch, unit)? } {
        for hit in filled.hits {
            if is_over() {
                return Ok(ControlFlow::Continue(()));
            }
            if !passes(engine, pass, &filled.subject, &hit.partition)? {
                break; // Erased or expired since it was read.
            }
            if let broken @ ControlFlow::Break(_) = visit((&filled.customer, &filled.subject), hit)? {
                return Ok(broken);
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
