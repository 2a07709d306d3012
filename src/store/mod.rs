//! The store as its users meet it: wires the rooms, decides nothing.

mod audit;
mod commit;
#[cfg(all(test, feature = "simulation"))]
mod failures;
mod large;
mod options;
mod overview;
mod request;
mod rights;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod worker;

use crate::sync::Arc;
use std::borrow::Cow;
use std::ops::{ControlFlow, RangeBounds};

pub use commit::Commit;
pub use large::Upload;
pub use options::Options;

use crate::engine::Engine;
use crate::engine::visible::Range;
use crate::error::Result;
use crate::ident::{CustomerId, RecordId, Stream};
use crate::ops;
use crate::record::{Batch, Classifier, Hold, Record, Stored};
use crate::report::{
    Budget, CustomerLaw, Expiry, HoldReport, Home, Maintenance, PolicyCheck, Progress, Receipt, Recovery, Redaction,
    Repair, Stats, StreamLaw, Training, Verification, VerifyOptions,
};
use crate::rights::Authorizer;
use crate::window::Timestamp;

pub use crate::ops::audit_proof::{Proved, verify_proof};
pub use crate::ops::body::Body;
pub use crate::ops::expire::ExpireOptions;
pub use crate::ops::export::Export;
pub use crate::ops::report::Reported;
pub use crate::ops::scan::Scan;
pub use crate::ops::timeline::Timeline;
use worker::Worker;

/// The policy that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInForce {
    /// Its version, from 1.
    pub version: u32,
    /// The policy file, as it was set.
    pub text: String,
}

/// What a scan reads: everything, unless narrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Only events at or after this time.
    pub from: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
}

impl ScanFilter {
    fn range(&self) -> Range {
        match (self.from, self.until) {
            (None, None) => Range::new(..),
            (Some(from), None) => Range::new(from..),
            (None, Some(until)) => Range::new(..until),
            (Some(from), Some(until)) => Range::new(from..until),
        }
    }
}

struct Shared {
    engine: Arc<Engine>,
    authorizer: Arc<dyn Authorizer>,
    recovery: Recovery,
    worker: Option<Worker>,
    classifier: Option<Arc<dyn Classifier>>,
}

/// An open store. Clones share it; the last one dropped lets go of it as a crash would, so call [`Store::close`].
#[derive(Clone)]
pub struct Store(Arc<Shared>);

impl Store {
    /// How to create or open the store in directory `path`.
    pub fn options(path: impl Into<std::path::PathBuf>) -> Options {
        Options::new(path.into())
    }

    fn start(
        engine: Engine,
        recovery: Recovery,
        worker: bool,
        authorizer: Arc<dyn Authorizer>,
        classifier: Option<Arc<dyn Classifier>>,
    ) -> Self {
        let engine = Arc::new(engine);
        let worker = worker.then(|| Worker::start(&engine));
        Store(Arc::new(Shared { engine, authorizer, recovery, worker, classifier }))
    }

    /// What keeps the access log, and who decides what is allowed.
    pub(crate) fn watch(&self) -> (&Engine, &dyn Authorizer) {
        (&self.0.engine, &*self.0.authorizer)
    }

    /// The engine, brought up to date where this is a read-only opening.
    fn current(&self) -> Result<&Arc<Engine>> {
        ops::refresh::refresh(&self.0.engine)?;
        Ok(&self.0.engine)
    }

    /// Takes in a batch: compresses and encrypts it on this thread and queues it for the next commit. It is durable
    /// once [`Commit::wait`] returns; batches become durable whole or not at all, over any number of partitions.
    ///
    /// # Errors
    /// After any of them nothing of the batch was queued, and it may be sent again.
    /// [`crate::ErrorKind::Refused`] where any record is refused: nothing was written, and
    /// [`crate::Error::refusals`] names every one. [`crate::ErrorKind::Invalid`] where the batch is longer than one
    /// commit may be (40 MiB encoded), or the store was opened for reading only or is closed by now. [`crate::ErrorKind::Poisoned`] after
    /// a failed write or sync.
    pub fn append(&self, batch: impl Into<Batch>) -> Result<Commit> {
        let mut batch = batch.into();
        ops::classify::classify(&self.0.engine, &mut batch.records, self.0.classifier.as_deref());
        Ok(self.queued(ops::append::append(&self.0.engine, &batch)?))
    }

    /// What was just queued.
    fn queued(&self, ticket: u64) -> Commit {
        Commit::new(self.0.engine.clone(), ticket)
    }

    /// Every record of `customer` with its event in `range`, in the order of events; empty for a customer nobody knows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where a part of it cannot be read: a gap is never passed over.
    pub fn timeline(&self, customer: &str, range: impl RangeBounds<Timestamp>) -> Result<Timeline> {
        ops::timeline::timeline(self.current()?, &CustomerId::new(customer)?, Range::new(range))
    }

    /// The record of `customer` with `id`.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub fn get(&self, customer: &str, id: RecordId) -> Result<Option<Stored>> {
        ops::timeline::get(self.current()?, &CustomerId::new(customer)?, id)
    }

    /// The records of a timeline whose body matches `pattern`, a regular expression over bytes (syntax of the `regex`
    /// crate).
    ///
    /// # Errors
    /// As [`Store::timeline`]; [`crate::ErrorKind::Invalid`] for a pattern that is none.
    pub fn grep(&self, customer: &str, pattern: &str, range: impl RangeBounds<Timestamp>) -> Result<Timeline> {
        ops::timeline::grep(self.current()?, &CustomerId::new(customer)?, pattern, Range::new(range))
    }

    /// Every readable record that `filter` lets through, partition by partition. Costs a walk over all customers; in a
    /// store with many of them one for each partition. [`Store::scan_parallel`] is the faster one.
    ///
    /// # Errors
    /// What the first step answers; later ones come out of the iterator, which then ends.
    pub fn scan(&self, filter: ScanFilter) -> Result<Scan> {
        Ok(ops::scan::scan(self.current()?.clone(), filter.stream.as_ref(), filter.range()))
    }

    /// Hands every readable record that `filter` lets through to `visit`, on `threads` threads, this one being the first
    /// of them: for re-indexing and analytics. Memory stays bounded, however many customers and records there are: a
    /// record is decompressed only when `visit` is to have it, and a visitor that takes its time slows the scan down.
    ///
    /// The records of one customer in one partition come one after the other on one thread, in the order of events;
    /// beyond that there is no order. What is erased or expires meanwhile is left out from then on. The answer is what
    /// `visit` broke off with, if it did; others may still be visited while that is noticed, none after the return.
    ///
    /// # Errors
    /// The first that any thread meets, and it ends the scan: a gap is never passed over.
    pub fn scan_parallel<B: Send>(
        &self,
        filter: ScanFilter,
        threads: usize,
        visit: impl Fn(Stored) -> ControlFlow<B> + Sync,
    ) -> Result<ControlFlow<B>> {
        ops::scan::scan_parallel(self.current()?, filter.stream.as_ref(), filter.range(), threads, &visit)
    }

    /// What stands where: records, bytes, spans and deadlines of every partition.
    ///
    /// # Errors
    /// Damage in the keyring or ledger.
    pub fn stats(&self) -> Result<Stats> {
        ops::stats::stats(self.current()?)
    }

    /// Checks every checksum, and with `deep` decrypts every record. Repairs nothing; damage is in the answer. The store
    /// may be at work meanwhile: what comes in or moves is never taken for damage.
    ///
    /// # Errors
    /// Only what keeps the verification itself from going on.
    pub fn verify(&self, options: VerifyOptions, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Verification> {
        self.verify_parallel(options, 1, progress)
    }

    /// The same on `threads` threads, this one being the first of them; what it finds is the same on any number. Memory
    /// stays bounded, however many customers and records there are. `progress` is called from all of them, by one at a
    /// time.
    ///
    /// # Errors
    /// As [`Store::verify`].
    pub fn verify_parallel(
        &self,
        options: VerifyOptions,
        threads: usize,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verification> {
        ops::verify::verify(self.current()?, options, threads, progress)
    }

    /// Checks every segment and dictionary. A dictionary is made anew from another partition's copy of it. Where the head, the index or the end of one is damaged while every frame is whole and
    /// together they are what the ledger names, plans to make it anew; with `apply`, does so. What cannot be proved
    /// whole is named and left alone. Journal and ledger are never repaired; the keyring mends itself from its mirrors.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for `apply` on a store that was opened for reading only; the first step that
    /// fails, where the steps before it stand.
    pub fn repair(&self, apply: bool) -> Result<Repair> {
        ops::repair::repair(self.current()?, apply)
    }

    /// Does background work (settle, fold, merge, train dictionaries) until there is none or `budget` is used up.
    ///
    /// # Errors
    /// The first step that fails; the steps before it stand.
    pub fn maintain(&self, budget: Budget) -> Result<Maintenance> {
        ops::maintain::maintain(&self.0.engine, budget)
    }

    /// Trains a dictionary for every stream of `records` that has none, before they are appended: so that the first of them
    /// profit already. Takes seconds of one core. `records` are a sample of what is to come, some megabytes of at least
    /// 200 customers; nothing of them is stored but what at least 20 of these customers share.
    ///
    /// # Errors
    /// What the operating system, the keyring or the ledger answers. That a stream got no dictionary is no error.
    pub fn train(&self, records: &[Record]) -> Result<Vec<Training>> {
        let mut records = Cow::Borrowed(records);
        if records.iter().any(|record| !record.stream.is_classed()) {
            ops::classify::classify(&self.0.engine, records.to_mut(), self.0.classifier.as_deref());
        }
        ops::train::train(&self.0.engine, &records)
    }

    /// Destroys the keys of partitions whose window and maximum are over, all together, and removes their files. Expired
    /// records die in every copy and backup as well.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] for a time later than trusted time that was not confirmed: nothing has happened.
    /// Otherwise the first step that fails; once the intent is on record, the next opening finishes it.
    pub fn expire(&self, options: ExpireOptions) -> Result<Expiry> {
        ops::expire::expire(&self.0.engine, options)
    }

    /// Erases customers by destroying their secrets, all together in one rewrite, however many records they have. Their
    /// open timelines end in [`crate::ErrorKind::Erased`]; their late events are refused for 35 days by name.
    ///
    /// What a duty of the policy or a hold keeps, stays: nobody but [`Store::restricted`] (and [`Store::held`]) shows it, and
    /// [`Store::expire`] lets go of it once its time has come. The receipt lists it. `None` where nobody knows any of the
    /// customers, or all there is of them has to stay and is restricted already.
    ///
    /// # Errors
    /// The first step that fails; once the intent is on record, the next opening finishes it.
    pub fn erase(&self, customers: &[&str]) -> Result<Option<Receipt>> {
        let ids: Result<Vec<CustomerId>> = customers.iter().map(|id| CustomerId::new(*id)).collect();
        ops::erase::erase(&self.0.engine, &ids?)
    }

    /// Erases one stream of a customer, or what lies before a time, or both; the rest lives on.
    ///
    /// # Errors
    /// As [`Store::erase`]; [`crate::ErrorKind::Invalid`] where neither stream nor time is named.
    pub fn erase_part(
        &self,
        customer: &str,
        stream: Option<Stream>,
        until: Option<Timestamp>,
    ) -> Result<Option<Receipt>> {
        ops::erase::erase_part(&self.0.engine, &CustomerId::new(customer)?, stream, until)
    }

    /// Destroys one record of a customer; it is refused should it be sent again. `None` where there is no such record.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Held`] where a hold keeps the record, [`crate::ErrorKind::Refused`] where a duty does: nothing has
    /// happened. Otherwise as [`Store::erase`].
    pub fn redact(&self, customer: &str, id: RecordId) -> Result<Option<Receipt>> {
        ops::erase::redact(&self.0.engine, &CustomerId::new(customer)?, id, false)
    }

    /// [`Store::redact`], also where a duty to keep the record stands against it: for what must never have been stored, as
    /// card numbers. The ledger says that it was done despite a duty.
    ///
    /// # Errors
    /// As [`Store::redact`]; a hold stands against this too.
    pub fn redact_despite_duty(&self, customer: &str, id: RecordId) -> Result<Option<Receipt>> {
        ops::erase::redact(&self.0.engine, &CustomerId::new(customer)?, id, true)
    }

    /// Places a legal hold on a customer and returns its number: until it is released, what it covers survives erasures,
    /// and the expiry of its partitions, where [`Store::held`] alone shows it. Several may overlap. `None` where nobody knows
    /// the customer. What was let go of before it is not held: [`HoldReport::after`] names the receipts.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for words that are missing or too long; [`crate::ErrorKind::Erased`] where the
    /// customer is being erased, or was. After another failure the hold may stand, once the store is opened again.
    pub fn hold(&self, customer: &str, hold: &Hold) -> Result<Option<u64>> {
        ops::hold::place(&self.0.engine, Some(&CustomerId::new(customer)?), hold)
    }

    /// Places a legal hold on everybody's records of a stream, of a time, or both (or on all there is), and returns its
    /// number. Partitions that it meets do not expire: what is past its maximum in them is shown by [`Store::held`] alone.
    ///
    /// # Errors
    /// As [`Store::hold`].
    pub fn hold_everybody(&self, hold: &Hold) -> Result<u64> {
        let number = ops::hold::place(&self.0.engine, None, hold)?;
        Ok(number.unwrap_or_default())
    }

    /// Lifts a hold, and destroys the keys of what it alone has kept from an expiry or an erasure; of one on everybody, the
    /// former go with the next [`Store::expire`]. `None` where no such hold stands.
    ///
    /// # Errors
    /// The first step that fails; once the intent is on record, the next opening finishes it.
    pub fn release(&self, number: u64) -> Result<Option<Receipt>> {
        ops::hold::release(&self.0.engine, number)
    }

    /// The holds that stand, oldest first.
    ///
    /// # Errors
    /// Damage in the keyring.
    pub fn holds(&self) -> Result<Vec<HoldReport>> {
        ops::hold::list(self.current()?)
    }

    /// Every record of `customer` that a hold keeps, in the order of events, those included that have passed their maximum
    /// and are shown by nothing else; empty where no hold stands.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub fn held(&self, customer: &str) -> Result<Timeline> {
        ops::timeline::held(self.current()?, &CustomerId::new(customer)?)
    }

    /// Every record of `customer` that an erasure has left because a duty or a hold keeps it, in the order of events; nothing
    /// else shows them. A record whose own duty is over is not among them, although it goes with its window.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub fn restricted(&self, customer: &str) -> Result<Timeline> {
        ops::timeline::restricted(self.current()?, &CustomerId::new(customer)?)
    }

    /// Every place in which `customer` lives, and what the law says of it: what an erasure would let go of, and what it would
    /// leave, why and until when. Empty where nobody knows the customer.
    ///
    /// # Errors
    /// Damage in what has to be read.
    pub fn homes(&self, customer: &str) -> Result<Vec<Home>> {
        ops::homes::homes(self.current()?, &CustomerId::new(customer)?, None)
    }

    /// The same of what lies before `until` alone: every record, state and version that an erasure of that would come upon,
    /// whether it is shown or not.
    ///
    /// # Errors
    /// As [`Store::homes`].
    pub fn homes_before(&self, customer: &str, until: Timestamp) -> Result<Vec<Home>> {
        ops::homes::homes(self.current()?, &CustomerId::new(customer)?, Some(until))
    }

    /// What [`Store::redact`] would take, or with `despite` [`Store::redact_despite_duty`], by the same verdict; nothing is
    /// done. `None` where there is no such record.
    ///
    /// # Errors
    /// As [`Store::redact`].
    pub fn redaction(&self, customer: &str, id: RecordId, despite: bool) -> Result<Option<Redaction>> {
        ops::erase::redaction(self.current()?, &CustomerId::new(customer)?, id, despite)
    }

    /// Keeps that the relationship with a customer ended at `at`: periods may run from that. A later report takes the place
    /// of an earlier one. `false` where nobody knows the customer.
    ///
    /// # Errors
    /// What the keyring or the ledger answers; the fact may be kept then, once the store is opened again.
    pub fn relationship_ended(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, Reported::RelationshipEnded(at))
    }

    /// Keeps that the relationship with a customer did not end, or has begun again.
    ///
    /// # Errors
    /// As [`Store::relationship_ended`].
    pub fn relationship_resumed(&self, customer: &str) -> Result<bool> {
        self.inform(customer, Reported::RelationshipResumed)
    }

    /// Keeps that a request of a customer was closed at `at`; the latest counts.
    ///
    /// # Errors
    /// As [`Store::relationship_ended`].
    pub fn request_closed(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, Reported::RequestClosed(at))
    }

    /// Keeps that there was a contact with a customer at `at`, as a time and nothing else; the latest counts. Periods that run
    /// from the last contact take the later of this and the newest record: so they also know of contacts without a record, and
    /// of those whose record has gone since.
    ///
    /// # Errors
    /// As [`Store::relationship_ended`].
    pub fn contacted(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, Reported::Contacted(at))
    }

    fn inform(&self, customer: &str, reported: Reported) -> Result<bool> {
        ops::report::report(&self.0.engine, &CustomerId::new(customer)?, reported)
    }

    /// Drops the bytes of everything erased so far, at once instead of with the merges to come.
    ///
    /// # Errors
    /// The first step that fails; calling again goes on from there.
    pub fn scrub(&self) -> Result<Maintenance> {
        ops::maintain::scrub(&self.0.engine)
    }

    /// The accounts of all erasures and expiries, oldest first.
    ///
    /// # Errors
    /// Damage in what is read anew.
    pub fn receipts(&self) -> Result<Vec<Receipt>> {
        ops::receipt::receipts(self.current()?)
    }

    /// Settles what the journal holds into segments now, without waiting for a file to be full.
    ///
    /// # Errors
    /// What made an earlier commit fail, or the first step that fails.
    pub fn settle(&self) -> Result<Maintenance> {
        ops::maintain::settle(&self.0.engine)
    }

    /// The policy in force.
    pub fn policy(&self) -> PolicyInForce {
        let (version, text) = self.0.engine.ledger().state().policy.clone();
        PolicyInForce { version, text }
    }

    /// Puts a policy file in force and returns its version. It applies to what is already stored, but for the windows
    /// of partitions that are there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the line that is wrong; [`crate::ErrorKind::Refused`] where the policy shortens
    /// a period of anything stored: that is for [`Store::set_policy_confirmed`]. The policy in force stays.
    pub fn set_policy(&self, text: &str) -> Result<u32> {
        ops::policy::set(&self.0.engine, text, None)
    }

    /// The same for a policy that may shorten periods: an earlier maximum, a shorter minimum. `reason` says why, in 1 to
    /// 4,096 bytes. It is for whoever reads the code or the command: it is kept nowhere, since the ledger holds no free
    /// text.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the line that is wrong, or for want of a reason.
    pub fn set_policy_confirmed(&self, text: &str, reason: &str) -> Result<u32> {
        ops::policy::set(&self.0.engine, text, Some(reason))
    }

    /// Compares a policy file with the one in force: which partitions it would make due, overdue or protected, which
    /// streams it would keep shorter, and how long its windows make records outlive their maximum. Changes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the line that is wrong.
    pub fn check_policy(&self, text: &str) -> Result<PolicyCheck> {
        ops::policy::check(self.current()?, text)
    }

    /// What the law says of a stream, and of each of its partitions whoever its customers are.
    ///
    /// # Errors
    /// Damage in what is read anew.
    pub fn explain_stream(&self, stream: &Stream) -> Result<StreamLaw> {
        Ok(ops::policy_explain::stream(self.current()?, stream))
    }

    /// What the law says of a customer: every partition where records of the customer may be, the duty to keep them, the
    /// maximum, the holds. `None` where nobody knows the customer.
    ///
    /// # Errors
    /// Damage in the keyring.
    pub fn explain_customer(&self, customer: &str) -> Result<Option<CustomerLaw>> {
        ops::policy_explain::customer(self.current()?, &CustomerId::new(customer)?)
    }

    /// How far the source `name` has been taken in, as its latest batch said; none for a source nobody knows.
    ///
    /// # Errors
    /// Damage in what is read anew.
    pub fn source_offset(&self, name: &str) -> Result<Option<u64>> {
        ops::stats::source_offset(self.current()?, name)
    }

    /// What this opening found and mended.
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// For the suites on the simulated machine: the words of every dictionary whose key lives.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn dictionaries(&self) -> Result<Vec<Vec<u8>>> {
        ops::train::words(self.current()?)
    }

    /// Settles everything and closes cleanly: the next opening has nothing to recover. Other clones of this handle
    /// can read on, but append no more.
    ///
    /// # Errors
    /// What the steps answer; the store is then as after a crash, and the next opening recovers it.
    pub fn close(self) -> Result<()> {
        if let Some(worker) = &self.0.worker {
            worker.stop();
        }
        ops::close::close(&self.0.engine)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.engine.root.display())
    }
}
