//! Scan: every readable record, one at a time or on many threads.

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, side_by_side};
use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::engine::catalog::Snapshot;
use crate::engine::pass::{Filled, Pass, Piece};
use crate::engine::read::{CellReader, Hit};
use crate::engine::visible::Range;
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::ident::{CustomerId, PartitionNumber, Stream, SubjectNumber};
use crate::ops::refresh::has_moved;
use crate::record::Stored;

/// Every readable record of some streams and times.
pub struct Scan {
    engine: Arc<Engine>,
    pass: Pass,
    ahead: std::ops::Range<usize>,
    piece: Option<Piece>,
    customer: Option<(CustomerId, SubjectNumber)>,
    hits: VecDeque<Hit>,
    failed: bool,
}

/// Begins a scan of `stream` (or of all) over `range`.
pub fn scan(engine: Arc<Engine>, stream: Option<&Stream>, range: Range) -> Scan {
    let pass = Pass::new(&engine, stream, range, 1);
    let ahead = 0..pass.pieces();
    Scan { pass, ahead, piece: None, customer: None, hits: VecDeque::new(), failed: false, engine }
}

/// Whether a record of a cell may be handed out: not where the cell was closed off since it was read, and an error where
/// a part of its customer was.
fn passes(engine: &Engine, since: u64, subject: &SubjectNumber, partition: PartitionNumber) -> Result<bool> {
    lease::look(engine)?;
    engine.fences.check_part(subject, since)?;
    Ok(engine.fences.check(subject, partition).is_ok())
}

impl Scan {
    fn advance(&mut self) -> Result<Option<Stored>> {
        loop {
            if let (Some(hit), Some((customer, subject))) = (self.hits.pop_front(), &self.customer) {
                match passes(&self.engine, self.pass.since, subject, hit.partition.number)? {
                    true => return hit.into_record(customer).map(Some),
                    false => self.hits.clear(), // Erased or expired since it was read.
                }
            }
            if let Some(piece) = &mut self.piece {
                let reader = CellReader::new(&self.engine.catalog, &self.pass.snapshot, self.engine.store);
                match self.pass.next(&self.engine, &reader, piece) {
                    Ok(Some(Filled { customer, subject, hits })) => {
                        (self.customer, self.hits) = (Some((customer, subject)), hits.into());
                    }
                    Ok(None) => self.piece = None,
                    // It goes on with the same cell, from what there is now.
                    Err(error) if has_moved(&self.engine, &error)? => {
                        self.pass.snapshot = self.engine.catalog.snapshot();
                    }
                    Err(error) => return Err(error),
                }
            } else if let Some(number) = self.ahead.next() {
                self.piece = Some(self.pass.piece(&self.engine, number)?);
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
        write!(f, "Scan({} pieces ahead)", self.ahead.len())
    }
}

/// How a scan on many threads ended before its end.
enum End<B> {
    Broken(B),
    Failed(crate::error::Error),
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
    let threads = threads.max(1);
    let pass = Pass::new(engine, stream, range, threads);
    let (next, over, end) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    side_by_side(threads, &|| {
        let mut snapshot = pass.snapshot.clone();
        while !over.load(Ordering::Acquire) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= pass.pieces() {
                break;
            }
            if let Err(early) = visit_piece(engine, (&pass, number), &mut snapshot, &over, visit) {
                over.store(true, Ordering::Release);
                end.lock().expect("no holder of this lock panics").get_or_insert(early);
            }
        }
    });
    match end.into_inner().expect("no holder of this lock panics") {
        None => Ok(ControlFlow::Continue(())),
        Some(End::Broken(value)) => Ok(ControlFlow::Break(value)),
        Some(End::Failed(error)) => Err(error),
    }
}

/// Visits what is in a piece; should the writer merge meanwhile in another process, from a newer `snapshot` in the end.
fn visit_piece<B>(
    engine: &Engine,
    (pass, number): (&Pass, usize),
    snapshot: &mut Snapshot,
    over: &AtomicBool,
    visit: &(dyn Fn(Stored) -> ControlFlow<B> + Sync),
) -> std::result::Result<(), End<B>> {
    let mut piece = pass.piece(engine, number).map_err(End::Failed)?;
    loop {
        let reader = CellReader::new(&engine.catalog, snapshot, engine.store);
        match visit_cells(engine, (pass, &mut piece), &reader, over, visit) {
            Err(End::Failed(error)) => match has_moved(engine, &error) {
                Ok(true) => *snapshot = engine.catalog.snapshot(),
                Ok(false) => return Err(End::Failed(error)),
                Err(error) => return Err(End::Failed(error)),
            },
            outcome => return outcome,
        }
    }
}

fn visit_cells<B>(
    engine: &Engine,
    (pass, piece): (&Pass, &mut Piece),
    reader: &CellReader<'_>,
    over: &AtomicBool,
    visit: &(dyn Fn(Stored) -> ControlFlow<B> + Sync),
) -> std::result::Result<(), End<B>> {
    while let Some(filled) = pass.next(engine, reader, piece).map_err(End::Failed)? {
        for hit in filled.hits {
            if over.load(Ordering::Acquire) {
                return Ok(());
            }
            if !passes(engine, pass.since, &filled.subject, hit.partition.number).map_err(End::Failed)? {
                break; // Erased or expired since it was read.
            }
            if let ControlFlow::Break(value) = visit(hit.into_record(&filled.customer).map_err(End::Failed)?) {
                return Err(End::Broken(value));
            }
        }
    }
    Ok(())
}
