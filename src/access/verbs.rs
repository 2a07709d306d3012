//! Every verb of the store, under the right that it needs. What a verb does, and how it fails, is told at the store's call
//! of the same name; beside that each fails with [`crate::ErrorKind::Forbidden`] where the role does not allow it, and with
//! what the access log answers.

use std::ops::{ControlFlow, RangeBounds};
use std::time::Duration;

use super::records::told;
use super::{Acting, End, Recording, Records};
use crate::error::Result;
use crate::ident::{RecordId, Stream};
use crate::ops::audit::{self, AccessFilter};
use crate::record::{Batch, Hold, Record, Stored};
use crate::report::{
    AccessReport, Aggregate, Budget, CustomerLaw, Expiry, Facet, HoldReport, Home, Maintenance, Notice, PolicyCheck,
    Progress, ProvedReceipt, Receipt, Redaction, Repair, Report, ReportOptions, Stats, StreamLaw, Training,
    Verification, VerifyOptions,
};
use crate::rights::{PURPOSE_LIMIT, Right};
use crate::store::{
    Body, Commit, ExpireOptions, Export, PolicyInForce, Reported, Scan, ScanFilter, Store, Timeline, Upload,
};
use crate::sync::Arc;
use crate::window::Timestamp;

/// What came of something destructive; none where there was nothing to do.
type Receipts = Option<Receipt>;

#[expect(
    clippy::missing_errors_doc,
    reason = "the module says it once for all; each is documented at the store's call"
)]
impl Acting {
    /// [`Store::append`].
    pub fn append(&self, batch: impl Into<Batch>) -> Result<Commit> {
        self.perform(Right::Append, &[], |store| store.append(batch))
    }

    /// [`Store::upload`].
    pub fn upload(&self, record: Record) -> Result<Upload> {
        self.perform(Right::Append, &[], |store| store.upload(record))
    }

    /// [`Store::classify`].
    pub fn classify(&self, record: &mut Record) -> Result<bool> {
        self.perform(Right::Append, &[], |store| Ok(store.classify(record)))
    }

    /// [`Store::source_offset`].
    pub fn source_offset(&self, name: &str) -> Result<Option<u64>> {
        self.maybe(Right::Append, &[], |store| store.source_offset(name))
    }

    /// [`Store::timeline`].
    pub fn timeline(&self, customer: &str, range: impl RangeBounds<Timestamp>) -> Result<Records<Timeline>> {
        self.records(Right::Timeline, customer, |store| store.timeline(customer, range))
    }

    /// [`Store::grep`].
    pub fn grep(&self, customer: &str, pattern: &str, range: impl RangeBounds<Timestamp>) -> Result<Records<Timeline>> {
        self.records(Right::Grep, customer, |store| store.grep(customer, pattern, range))
    }

    /// [`Store::held`].
    pub fn held(&self, customer: &str) -> Result<Records<Timeline>> {
        self.records(Right::Held, customer, |store| store.held(customer))
    }

    /// [`Store::restricted`].
    pub fn restricted(&self, customer: &str) -> Result<Records<Timeline>> {
        self.records(Right::Restricted, customer, |store| store.restricted(customer))
    }

    /// [`Store::homes`].
    pub fn homes(&self, customer: &str) -> Result<Vec<Home>> {
        let end = |homes: &Vec<Home>| if homes.is_empty() { End::Nothing } else { End::Done };
        self.run(Right::Explain, &[customer], end, |store| store.homes(customer))
    }

    /// [`Store::homes_before`].
    pub fn homes_before(&self, customer: &str, until: Timestamp) -> Result<Vec<Home>> {
        let end = |homes: &Vec<Home>| if homes.is_empty() { End::Nothing } else { End::Done };
        self.run(Right::Explain, &[customer], end, |store| store.homes_before(customer, until))
    }

    /// [`Store::redaction`]: a look, and no redaction.
    pub fn redaction(&self, customer: &str, id: RecordId, despite: bool) -> Result<Option<Redaction>> {
        self.maybe(Right::Explain, &[customer], |store| store.redaction(customer, id, despite))
    }

    /// [`Store::relationship_ended`].
    pub fn relationship_ended(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, |store| store.relationship_ended(customer, at))
    }

    /// [`Store::relationship_resumed`].
    pub fn relationship_resumed(&self, customer: &str) -> Result<bool> {
        self.inform(customer, |store| store.relationship_resumed(customer))
    }

    /// [`Store::request_closed`].
    pub fn request_closed(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, |store| store.request_closed(customer, at))
    }

    /// [`Store::contacted`].
    pub fn contacted(&self, customer: &str, at: Timestamp) -> Result<bool> {
        self.inform(customer, |store| store.contacted(customer, at))
    }

    /// [`Store::request_inform`].
    pub fn request_inform(&self, customer: &str, reported: Reported, timeout: Duration) -> Result<bool> {
        self.inform(customer, |store| store.request_inform(customer, reported, timeout))
    }

    fn inform(&self, customer: &str, work: impl FnOnce(&Store) -> Result<bool>) -> Result<bool> {
        let end = |known: &bool| if *known { End::Done } else { End::Nothing };
        let known = self.run(Right::Inform, &[customer], end, work);
        self.discreetly(known, || false)
    }

    fn records(
        &self,
        right: Right,
        customer: &str,
        work: impl FnOnce(&Store) -> Result<Timeline>,
    ) -> Result<Records<Timeline>> {
        let end = |records: &Timeline| if records.is_empty() { End::Nothing } else { End::Done };
        let found = self.run(right, &[customer], end, work);
        self.discreetly(found.map(|records| Records::of(records, self.is_discreet())), Records::none)
    }

    fn recording(
        &self,
        right: Right,
        customer: &str,
        work: impl FnOnce(&Store) -> Result<Option<Body>>,
    ) -> Result<Option<Recording>> {
        let found = self.maybe(right, &[customer], work);
        self.discreetly(found.map(|body| body.map(|body| Recording::of(body, self.is_discreet()))), || None)
    }

    /// [`Store::get`].
    pub fn get(&self, customer: &str, id: RecordId) -> Result<Option<Stored>> {
        let found = self.maybe(Right::Get, &[customer], |store| store.get(customer, id));
        self.discreetly(found, || None)
    }

    /// [`Store::body`].
    pub fn body(&self, customer: &str, id: RecordId) -> Result<Option<Recording>> {
        self.recording(Right::Get, customer, |store| store.body(customer, id))
    }

    /// [`Store::held_body`].
    pub fn held_body(&self, customer: &str, id: RecordId) -> Result<Option<Recording>> {
        self.recording(Right::Held, customer, |store| store.held_body(customer, id))
    }

    /// [`Store::restricted_body`].
    pub fn restricted_body(&self, customer: &str, id: RecordId) -> Result<Option<Recording>> {
        self.recording(Right::Restricted, customer, |store| store.restricted_body(customer, id))
    }

    /// [`Store::history`].
    pub fn history(&self, customer: &str) -> Result<Records<Timeline>> {
        self.records(Right::History, customer, |store| store.history(customer))
    }

    /// [`Store::history_body`].
    pub fn history_body(&self, customer: &str, id: RecordId) -> Result<Option<Recording>> {
        self.recording(Right::History, customer, |store| store.history_body(customer, id))
    }

    /// [`Store::rectify`].
    pub fn rectify(&self, customer: &str, id: RecordId, body: &[u8]) -> Result<RecordId> {
        self.amend(customer, |store| store.rectify(customer, id, body))
    }

    /// [`Store::request_rectify`].
    pub fn request_rectify(&self, customer: &str, id: RecordId, body: &[u8], timeout: Duration) -> Result<RecordId> {
        self.amend(customer, |store| store.request_rectify(customer, id, body, timeout))
    }

    fn amend(&self, customer: &str, work: impl FnOnce(&Store) -> Result<RecordId>) -> Result<RecordId> {
        let amended = self.perform(Right::Rectify, &[customer], work);
        amended.map_err(|error| told(error, self.is_discreet()))
    }

    /// [`Store::export`], for `recipient`, who is on record with the purpose before anything comes out of it.
    pub fn export(&self, customer: &str, recipient: &str) -> Result<Option<Export>> {
        let mut handing = self.clone();
        let purpose = self.actor.purpose_given();
        let told = if purpose.is_empty() { format!("for {recipient}") } else { format!("{purpose}; for {recipient}") };
        handing.actor = Arc::new((*self.actor).clone().purpose(told));
        handing.maybe(Right::Export, &[customer], |store| store.export(customer))
    }

    /// [`Store::scan`].
    pub fn scan(&self, filter: ScanFilter) -> Result<Records<Scan>> {
        let scan = self.perform(Right::Scan, &[], |store| store.scan(filter))?;
        Ok(Records::of(scan, self.is_discreet()))
    }

    /// [`Store::scan_parallel`].
    pub fn scan_parallel<B: Send>(
        &self,
        filter: ScanFilter,
        threads: usize,
        visit: impl Fn(Stored) -> ControlFlow<B> + Sync,
    ) -> Result<ControlFlow<B>> {
        let scanned = self.perform(Right::Scan, &[], |store| store.scan_parallel(filter, threads, visit));
        scanned.map_err(|error| told(error, self.is_discreet()))
    }

    /// [`Store::stats`].
    pub fn stats(&self) -> Result<Stats> {
        self.perform(Right::Stats, &[], Store::stats)
    }

    /// [`Store::report`].
    pub fn report(&self, options: &ReportOptions) -> Result<Report> {
        self.perform(Right::Report, &[], |store| store.report(options))
    }

    /// [`Store::aggregate`]: it names nobody, as a report.
    pub fn aggregate(&self, by: &[Facet], crowd: u64, threads: usize) -> Result<Aggregate> {
        self.perform(Right::Report, &[], |store| store.aggregate(by, crowd, threads))
    }

    /// [`Store::verify`].
    pub fn verify(&self, options: VerifyOptions, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Verification> {
        self.perform(Right::Verify, &[], |store| store.verify(options, progress))
    }

    /// [`Store::verify_parallel`].
    pub fn verify_parallel(
        &self,
        options: VerifyOptions,
        threads: usize,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verification> {
        self.perform(Right::Verify, &[], |store| store.verify_parallel(options, threads, progress))
    }

    /// [`Store::repair`].
    pub fn repair(&self, apply: bool) -> Result<Repair> {
        self.perform(Right::Repair, &[], |store| store.repair(apply))
    }

    /// [`Store::maintain`].
    pub fn maintain(&self, budget: Budget) -> Result<Maintenance> {
        self.perform(Right::Maintain, &[], |store| store.maintain(budget))
    }

    /// [`Store::settle`].
    pub fn settle(&self) -> Result<Maintenance> {
        self.perform(Right::Maintain, &[], Store::settle)
    }

    /// [`Store::scrub`].
    pub fn scrub(&self) -> Result<Maintenance> {
        self.perform(Right::Maintain, &[], Store::scrub)
    }

    /// [`Store::train`]: a part of taking records in.
    pub fn train(&self, records: &[Record]) -> Result<Vec<Training>> {
        self.perform(Right::Append, &[], |store| store.train(records))
    }

    /// [`Store::expire`].
    pub fn expire(&self, options: ExpireOptions) -> Result<Expiry> {
        self.expiry(|store| store.expire(options))
    }

    /// [`Store::request_expire`].
    pub fn request_expire(&self, options: ExpireOptions, timeout: Duration) -> Result<Expiry> {
        self.expiry(|store| store.request_expire(options, timeout))
    }

    fn expiry(&self, work: impl FnOnce(&Store) -> Result<Expiry>) -> Result<Expiry> {
        let is_nothing = |expiry: &Expiry| expiry.partitions.is_empty() && expiry.rows.is_empty();
        let end = |expiry: &Expiry| if is_nothing(expiry) { End::Nothing } else { End::Done };
        self.run(Right::Expire, &[], end, work)
    }

    /// [`Store::erase`].
    pub fn erase(&self, customers: &[&str]) -> Result<Receipts> {
        self.maybe(Right::Erase, customers, |store| store.erase(customers))
    }

    /// [`Store::request_erase`].
    pub fn request_erase(&self, customers: &[&str], timeout: Duration) -> Result<Receipts> {
        self.maybe(Right::Erase, customers, |store| store.request_erase(customers, timeout))
    }

    /// [`Store::erase_part`].
    pub fn erase_part(&self, customer: &str, stream: Option<Stream>, until: Option<Timestamp>) -> Result<Receipts> {
        self.maybe(Right::Erase, &[customer], |store| store.erase_part(customer, stream, until))
    }

    /// [`Store::request_erase_part`].
    pub fn request_erase_part(
        &self,
        customer: &str,
        stream: Option<Stream>,
        until: Option<Timestamp>,
        timeout: Duration,
    ) -> Result<Receipts> {
        self.maybe(Right::Erase, &[customer], |store| store.request_erase_part(customer, stream, until, timeout))
    }

    /// [`Store::redact`].
    pub fn redact(&self, customer: &str, id: RecordId) -> Result<Receipts> {
        self.maybe(Right::Redact, &[customer], |store| store.redact(customer, id))
    }

    /// [`Store::redact_despite_duty`].
    pub fn redact_despite_duty(&self, customer: &str, id: RecordId) -> Result<Receipts> {
        self.maybe(Right::Redact, &[customer], |store| store.redact_despite_duty(customer, id))
    }

    /// [`Store::request_redact`].
    pub fn request_redact(&self, customer: &str, id: RecordId, despite: bool, timeout: Duration) -> Result<Receipts> {
        self.maybe(Right::Redact, &[customer], |store| store.request_redact(customer, id, despite, timeout))
    }

    /// [`Store::hold_everybody`].
    pub fn hold_everybody(&self, hold: &Hold) -> Result<u64> {
        self.perform(Right::PlaceHold, &[], |store| store.hold_everybody(hold))
    }

    /// [`Store::hold`].
    pub fn hold(&self, customer: &str, hold: &Hold) -> Result<Option<u64>> {
        let placed = self.maybe(Right::PlaceHold, &[customer], |store| store.hold(customer, hold));
        self.discreetly(placed, || None)
    }

    /// [`Store::release`].
    pub fn release(&self, number: u64) -> Result<Receipts> {
        self.lift(number, |store| store.release(number))
    }

    /// [`Store::request_hold`].
    pub fn request_hold(&self, customer: &str, hold: &Hold, timeout: Duration) -> Result<Option<u64>> {
        let placed = self.maybe(Right::PlaceHold, &[customer], |store| store.request_hold(customer, hold, timeout));
        self.discreetly(placed, || None)
    }

    /// [`Store::request_hold_everybody`].
    pub fn request_hold_everybody(&self, hold: &Hold, timeout: Duration) -> Result<u64> {
        self.perform(Right::PlaceHold, &[], |store| store.request_hold_everybody(hold, timeout))
    }

    /// [`Store::request_release`].
    pub fn request_release(&self, number: u64, timeout: Duration) -> Result<Receipts> {
        self.lift(number, |store| store.request_release(number, timeout))
    }

    fn lift(&self, number: u64, work: impl FnOnce(&Store) -> Result<Receipts>) -> Result<Receipts> {
        let end = |receipt: &Receipts| if receipt.is_some() { End::Done } else { End::Nothing };
        self.run_on(Right::ReleaseHold, &[], &|engine| audit::held_by(engine, number), end, work)
    }

    /// [`Store::holds`].
    pub fn holds(&self) -> Result<Vec<HoldReport>> {
        self.perform(Right::ListHolds, &[], Store::holds)
    }

    /// [`Store::receipts`].
    pub fn receipts(&self) -> Result<Vec<Receipt>> {
        self.perform(Right::Receipts, &[], Store::receipts)
    }

    /// [`Store::policy`].
    pub fn policy(&self) -> Result<PolicyInForce> {
        self.perform(Right::ReadPolicy, &[], |store| Ok(store.policy()))
    }

    /// [`Store::set_policy`].
    pub fn set_policy(&self, text: &str) -> Result<u32> {
        self.perform(Right::SetPolicy, &[], |store| store.set_policy(text))
    }

    /// [`Store::set_policy_confirmed`]. The reason is on record, behind the purpose where one was given.
    pub fn set_policy_confirmed(&self, text: &str, reason: &str) -> Result<u32> {
        let mut because = self.clone();
        let purpose = match self.actor.purpose_given() {
            "" => reason.to_owned(),
            purpose => format!("{purpose}: {reason}"),
        };
        // Together they may be longer than a purpose: the beginning is kept.
        let kept = purpose.floor_char_boundary(PURPOSE_LIMIT);
        because.actor = Arc::new((*self.actor).clone().purpose(&purpose[..kept]));
        because.perform(Right::SetPolicy, &[], |store| store.set_policy_confirmed(text, reason))
    }

    /// [`Store::check_policy`].
    pub fn check_policy(&self, text: &str) -> Result<PolicyCheck> {
        self.perform(Right::ReadPolicy, &[], |store| store.check_policy(text))
    }

    /// [`Store::explain_stream`].
    pub fn explain_stream(&self, stream: &Stream) -> Result<StreamLaw> {
        self.perform(Right::ReadPolicy, &[], |store| store.explain_stream(stream))
    }

    /// [`Store::notices`].
    pub fn notices(&self) -> Result<Vec<Notice>> {
        let end = |found: &Vec<Notice>| if found.is_empty() { End::Nothing } else { End::Done };
        self.run(Right::Explain, &[], end, Store::notices)
    }

    /// [`Store::explain_customer`].
    pub fn explain_customer(&self, customer: &str) -> Result<Option<CustomerLaw>> {
        self.maybe(Right::Explain, &[customer], |store| store.explain_customer(customer))
    }

    /// [`Store::access_log`].
    pub fn access_log(&self, filter: &AccessFilter) -> Result<AccessReport> {
        let customers: Vec<&str> = filter.customer.iter().map(|id| id.expose()).collect();
        self.perform(Right::AccessLog, &customers, |store| store.access_log(filter))
    }

    /// [`Store::audit_key`].
    pub fn audit_key(&self) -> Result<String> {
        self.perform(Right::Prove, &[], |store| Ok(store.audit_key()))
    }

    /// [`Store::checkpoint`].
    pub fn checkpoint(&self) -> Result<String> {
        self.perform(Right::Prove, &[], Store::checkpoint)
    }

    /// [`Store::prove`].
    pub fn prove(&self, index: u64) -> Result<String> {
        self.perform(Right::Prove, &[], |store| store.prove(index))
    }

    /// [`Store::prove_receipt`].
    pub fn prove_receipt(&self, number: u64) -> Result<Option<String>> {
        self.maybe(Right::Receipts, &[], |store| store.prove_receipt(number))
    }

    /// [`Store::proved_receipts`].
    pub fn proved_receipts(&self, numbers: &[u64]) -> Result<Vec<ProvedReceipt>> {
        self.perform(Right::Receipts, &[], |store| store.proved_receipts(numbers))
    }
}
