//! What may no longer pass: customers that are being erased, partitions that are being expired, and the gate that
//! appends go through, so that a verb can wait until those under way are out.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Engine;
use super::partitions::Partition;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::ident::{PartitionNumber, Stream, SubjectNumber};
use crate::ledger::Ledger;
use crate::window::{Day, Timestamp};

/// Takes over what the ledger says of destructive acts.
pub fn follow_acts(engine: &Engine, ledger: &Ledger) {
    let acts = &ledger.state().acts;
    let mut closed = engine.fences.closing();
    for (number, state) in acts.by_number.range(closed.followed + 1..) {
        closed.followed = *number;
        match &state.act {
            Act::Erase { subjects, kept, .. } => {
                closed.subjects.extend(subjects);
                closed.pending.extend(kept.iter().map(|(subject, _)| (*subject, *number)));
            }
            Act::ErasePart { subject, .. } | Act::Redact { subject, .. } => closed.part(*subject),
            Act::Release { subject, cells, .. } => {
                let of_cells = cells.iter().flat_map(|(_, subjects)| subjects);
                of_cells.chain(subject).for_each(|subject| closed.part(*subject));
            }
            Act::Expire { rows, .. } => rows.iter().for_each(|(subject, _)| closed.part(*subject)),
        }
    }
    let pending: BTreeSet<u64> = closed.pending.values().copied().collect();
    let is_done = |number: &u64| acts.by_number.get(number).is_none_or(|state| state.done.is_some());
    pending.into_iter().filter(is_done).for_each(|number| closed.finish(number));
    closed.partitions.extend(&acts.expired);
    closed.expired_until = acts.expired_until.clone();
    closed.lapsed = acts.lapsed_fence;
}

/// What is closed off.
#[derive(Debug, Default)]
pub struct Closed {
    subjects: HashSet<SubjectNumber>,
    /// Customers of whom all but what must be kept is let go, each with the act: nothing passes until it is done.
    pending: HashMap<SubjectNumber, u64>,
    /// Customers of whom a part was let go, each with the count of such acts so far; the highest while it is going.
    parts: HashMap<SubjectNumber, u64>,
    /// Acts so far that let go of a part of a customer.
    parted: u64,
    partitions: HashSet<PartitionNumber>,
    expired_until: BTreeMap<Stream, Day>,
    /// The same of windows that are about to expire: nothing comes into them any more.
    barred: BTreeMap<Stream, Day>,
    lapsed: Option<Timestamp>,
    /// Acts up to this number have been taken over.
    followed: u64,
}

impl Closed {
    /// Whether a customer is.
    pub fn has(&self, subject: &SubjectNumber) -> bool {
        self.subjects.contains(subject) || self.pending.contains_key(subject)
    }

    /// The latest erasure whose fence has lapsed.
    pub fn lapsed(&self) -> Option<Timestamp> {
        self.lapsed
    }

    /// Lets those pass again whom act `number` has left something of; what was read before is stale.
    fn finish(&mut self, number: u64) {
        let done = self.pending.iter().filter(|(_, act)| **act == number);
        for subject in done.map(|(subject, _)| *subject).collect::<Vec<_>>() {
            self.pending.remove(&subject);
            if !self.subjects.contains(&subject) {
                self.part(subject);
            }
        }
    }

    fn part(&mut self, subject: SubjectNumber) {
        self.parted += 1;
        self.parts.insert(subject, self.parted);
    }
}

/// The fences of one opening.
#[derive(Debug, Default)]
pub struct Fences {
    closed: RwLock<Closed>,
    changes: AtomicU64,
    gate: RwLock<()>,
}

/// Windows into which nothing comes. One expiry at a time has any.
pub struct Barred<'a>(&'a Fences);

impl Drop for Barred<'_> {
    fn drop(&mut self) {
        let mut closed = self.0.closed.write().expect("no holder of this lock panics");
        closed.barred.clear();
    }
}

impl Fences {
    /// The right to change what is closed. Counted before anything changes, so that whoever sees the new count and then
    /// looks waits for the change.
    fn closing(&self) -> RwLockWriteGuard<'_, Closed> {
        let closed = self.closed.write().expect("no holder of this lock panics");
        self.changes.fetch_add(1, Ordering::AcqRel);
        closed
    }

    /// What is closed off now, for whoever asks of many; nothing more is while it is held.
    pub fn closed(&self) -> RwLockReadGuard<'_, Closed> {
        self.closed.read().expect("no holder of this lock panics")
    }

    /// A number that is another one once anything more has been closed: what passed at the same number passes still.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

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
        self.closing().subjects.extend(subjects);
    }

    /// Closes off customers until act `number` is finished.
    pub fn close_until(&self, number: u64, subjects: impl Iterator<Item = SubjectNumber>) {
        self.closing().pending.extend(subjects.map(|subject| (subject, number)));
    }

    /// Act `number` is done.
    pub fn finish(&self, number: u64) {
        self.closing().finish(number);
    }

    /// Keeps readers from a customer of whom a part is let go.
    pub fn close_part(&self, subject: SubjectNumber) {
        self.closing().parts.insert(subject, u64::MAX);
    }

    /// Lets readers in again; what was read before is stale.
    pub fn open_part(&self, subject: SubjectNumber) {
        self.closing().part(subject);
    }

    /// How many parts of customers have been let go so far: readers note it before they look at anything.
    pub fn parted(&self) -> u64 {
        self.closed().parted
    }

    /// Refuses to go on with what was read of a customer of whom a part has been let go `since`.
    ///
    /// # Errors
    /// [`ErrorKind::Erased`].
    pub fn check_part(&self, subject: &SubjectNumber, since: u64) -> Result<()> {
        let closed = self.closed();
        match closed.parts.get(subject).is_some_and(|part| *part > since) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Erased, "a part of what was being read has been erased")
                .hint("read again; what was to stay is still there")),
        }
    }

    /// Closes off partitions, each with its stream and the first day after its window.
    pub fn close_partitions(&self, partitions: &[(PartitionNumber, Stream, Day)]) {
        let mut closed = self.closing();
        for (number, stream, end) in partitions {
            closed.partitions.insert(*number);
            let until = closed.expired_until.entry(stream.clone()).or_insert(*end);
            *until = (*until).max(*end);
        }
    }

    /// Lets nothing more into windows, each named by its stream and the first day after it, until what comes back is dropped.
    /// What passed before may still be on its way.
    pub fn bar(&self, windows: &[(Stream, Day)]) -> Barred<'_> {
        if !windows.is_empty() {
            let mut closed = self.closing();
            for (stream, end) in windows {
                let until = closed.barred.entry(stream.clone()).or_insert(*end);
                *until = (*until).max(*end);
            }
        }
        Barred(self)
    }

    /// The latest erasure whose fence has lapsed.
    pub fn lapsed(&self) -> Option<Timestamp> {
        self.closed().lapsed
    }

    /// Notes that fences up to an erasure have lapsed.
    pub fn lapse(&self, erased: Timestamp) {
        let mut closed = self.closing();
        closed.lapsed = closed.lapsed.max(Some(erased));
    }

    /// Whether a customer is closed off.
    pub fn has_subject(&self, subject: &SubjectNumber) -> bool {
        self.closed().has(subject)
    }

    /// Whether a partition is closed off: its key is dead or dying.
    pub fn has_partition(&self, partition: PartitionNumber) -> bool {
        self.closed().partitions.contains(&partition)
    }

    /// The time before which the windows of a stream have expired, or are about to.
    pub fn expired_until(&self, stream: &Stream) -> Option<Timestamp> {
        let closed = self.closed();
        closed.expired_until.get(stream).max(closed.barred.get(stream)).map(|until| until.start())
    }

    /// Refuses to go on with what is held where it was closed off meanwhile. That its partition has expired does not.
    ///
    /// # Errors
    /// [`ErrorKind::Erased`].
    pub fn check_held(&self, subject: &SubjectNumber, partition: &Partition) -> Result<()> {
        match !self.has_subject(subject) && partition.holds(subject) {
            true => Ok(()),
            false => self.check(subject, partition.number),
        }
    }

    /// Refuses to go on with what has been closed off meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Erased`].
    pub fn check(&self, subject: &SubjectNumber, partition: PartitionNumber) -> Result<()> {
        let closed = self.closed();
        match closed.has(subject) || closed.partitions.contains(&partition) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Erased, "what was being read has been erased or has expired")),
        }
    }
}
