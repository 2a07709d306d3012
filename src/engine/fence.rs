//! What may no longer pass: customers that are being erased, partitions that are being expired, and the gate that
//! appends go through, so that a verb can wait until those under way are out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::ident::{PartitionNumber, Stream, SubjectNumber};
use crate::ledger::Ledger;
use crate::window::{Day, Timestamp};

/// Takes over what the ledger says of destructive acts. Of those that take a part, a reader keeps out for as long as they
/// are under way; a writer closes and opens such fences itself.
pub fn follow_acts(engine: &Engine, ledger: &Ledger) {
    let acts = &ledger.state().acts;
    let mut closed = engine.fences.closed.write().expect("no holder of this lock panics");
    for (number, state) in acts.by_number.range(closed.followed + 1..) {
        closed.followed = *number;
        if let Act::Erase { subjects, .. } = &state.act {
            closed.subjects.extend(subjects);
        }
        if let (Act::ErasePart { subject, .. } | Act::Redact { subject, .. }, None) = (&state.act, &engine.writer) {
            closed.parts.insert(*number, *subject);
            closed.strike(*subject);
        }
    }
    closed.parts.retain(|number, _| acts.by_number.get(number).is_some_and(|state| state.done.is_none()));
    closed.partitions.extend(&acts.expired);
    closed.expired_until = acts.expired_until.clone();
    closed.lapsed = acts.lapsed_fence;
}

#[derive(Debug, Default)]
struct Closed {
    subjects: HashSet<SubjectNumber>,
    partitions: HashSet<PartitionNumber>,
    expired_until: BTreeMap<Stream, Day>,
    lapsed: Option<Timestamp>,
    /// Customers of whom a part is being erased, by act, as a reader has learnt.
    parts: BTreeMap<u64, SubjectNumber>,
    /// Customers of whom a part was erased, and at which stroke.
    struck: HashMap<SubjectNumber, u64>,
    /// How often a part was erased.
    strokes: u64,
    /// Acts up to this number have been taken over.
    followed: u64,
}

impl Closed {
    fn strike(&mut self, subject: SubjectNumber) {
        self.strokes += 1;
        self.struck.insert(subject, self.strokes);
    }

    fn has_subject(&self, subject: &SubjectNumber) -> bool {
        self.subjects.contains(subject) || self.parts.values().any(|part| part == subject)
    }
}

/// The fences of one opening.
#[derive(Debug, Default)]
pub struct Fences {
    closed: RwLock<Closed>,
    gate: RwLock<()>,
}

impl Fences {
    /// Lets an append pass; held until its group is queued.
    pub fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().expect("no holder of this lock panics")
    }

    /// Waits until no append is on its way to the queue, and lets none in while held.
    pub fn shut(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().expect("no holder of this lock panics")
    }

    /// Closes off customers.
    pub fn close_subjects(&self, subjects: &[SubjectNumber]) {
        self.closed.write().expect("no holder of this lock panics").subjects.extend(subjects);
    }

    /// Lets customers in again of whom a part was erased. What was being read of them before does not go on.
    pub fn open_subject(&self, subject: &SubjectNumber) {
        let mut closed = self.closed.write().expect("no holder of this lock panics");
        closed.subjects.remove(subject);
        closed.strike(*subject);
    }

    /// What a reading begins with, for [`Fences::check`].
    pub fn strokes(&self) -> u64 {
        self.closed.read().expect("no holder of this lock panics").strokes
    }

    /// Closes off partitions, each with its stream and the first day after its window.
    pub fn close_partitions(&self, partitions: &[(PartitionNumber, Stream, Day)]) {
        let mut closed = self.closed.write().expect("no holder of this lock panics");
        for (number, stream, end) in partitions {
            closed.partitions.insert(*number);
            let until = closed.expired_until.entry(stream.clone()).or_insert(*end);
            *until = (*until).max(*end);
        }
    }

    /// The latest erasure whose fence has lapsed.
    pub fn lapsed(&self) -> Option<Timestamp> {
        self.closed.read().expect("no holder of this lock panics").lapsed
    }

    /// Notes that fences up to an erasure have lapsed.
    pub fn lapse(&self, erased: Timestamp) {
        let mut closed = self.closed.write().expect("no holder of this lock panics");
        closed.lapsed = closed.lapsed.max(Some(erased));
    }

    /// Whether a customer is closed off.
    pub fn has_subject(&self, subject: &SubjectNumber) -> bool {
        self.closed.read().expect("no holder of this lock panics").has_subject(subject)
    }

    /// Whether a partition is closed off: its key is dead or dying.
    pub fn has_partition(&self, partition: PartitionNumber) -> bool {
        self.closed.read().expect("no holder of this lock panics").partitions.contains(&partition)
    }

    /// Whether the window of an event has expired in its stream.
    pub fn has_expired(&self, stream: &Stream, at: Timestamp) -> bool {
        let closed = self.closed.read().expect("no holder of this lock panics");
        closed.expired_until.get(stream).is_some_and(|until| at < until.start())
    }

    /// Refuses to go on with what has been closed off meanwhile, or was while a part of it was erased: since `strokes`.
    ///
    /// # Errors
    /// [`ErrorKind::Erased`].
    pub fn check(&self, subject: &SubjectNumber, partition: PartitionNumber, strokes: u64) -> Result<()> {
        let closed = self.closed.read().expect("no holder of this lock panics");
        let struck = closed.struck.get(subject).is_some_and(|stroke| *stroke > strokes);
        match struck || closed.has_subject(subject) || closed.partitions.contains(&partition) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Erased, "what was being read has been erased or has expired")),
        }
    }
}
