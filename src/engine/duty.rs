//! What the policy says of a part of a row: whether a duty keeps it, and whether its time has come. Where the engine asks of
//! a customer, and not of a column, it asks here.

use super::Engine;
use super::read::{CellReader, Hit};
use super::row::Row;
use super::visible::covered;
use crate::error::Result;
use crate::format::ledger::KeptDuty;
use crate::ident::Stream;
use crate::keyring::{Anchor, CustomerEntry};
use crate::policy::{AnchorKind, Facts, Happened, Policy, Question, Verdict, verdict};
use crate::window::{Timestamp, Window};

fn latest(anchors: &[Anchor], kind: u8) -> Option<Timestamp> {
    anchors.iter().filter(|anchor| anchor.kind == kind).map(|anchor| anchor.at).max()
}

/// What was reported of a customer, but for contacts: a record may be later.
pub fn reported(anchors: &[Anchor]) -> Facts {
    let relationship_ended = latest(anchors, Anchor::RELATIONSHIP_ENDED);
    Facts { relationship_ended, request_closed: latest(anchors, Anchor::REQUEST_CLOSED), last_contact: None }
}

/// The last contact that was reported.
pub fn reported_contact(anchors: &[Anchor]) -> Option<Timestamp> {
    latest(anchors, Anchor::LAST_CONTACT)
}

/// All that is known of a customer and that any of its streams asks for.
///
/// # Errors
/// Damage in what has to be read: the last contact is that of the newest record, or a later one that was reported.
pub fn facts(engine: &Engine, policy: &Policy, customer: &CustomerEntry) -> Result<Facts> {
    let asks = |stream: &Stream| {
        policy.terms(stream).is_some_and(|terms| terms.rules().any(|rule| rule.anchor() == AnchorKind::LastContact))
    };
    if !policy.runs_from(AnchorKind::LastContact) {
        return Ok(reported(&customer.anchors));
    }
    let last_contact = match customer.streams.iter().any(|used| asks(&used.stream)) {
        // Where there was none, a period runs from the event itself.
        true => last_contact(engine, policy, customer)?.or(Some(Timestamp::from_micros(i64::MIN))),
        false => None,
    };
    Ok(Facts { last_contact, ..reported(&customer.anchors) })
}

/// The last contact that was reported, or the event of a customer's newest record in streams that are not state, whichever is
/// later. Partitions are gone through from the newest on.
fn last_contact(engine: &Engine, policy: &Policy, customer: &CustomerEntry) -> Result<Option<Timestamp>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, customer);
    let mut partitions = covered(engine, customer);
    partitions.retain(|partition| !policy.is_state(&partition.id.stream));
    partitions.sort_by_key(|partition| std::cmp::Reverse(partition.id.window.end()));
    let mut last = reported_contact(&customer.anchors);
    for partition in partitions {
        if last.is_some_and(|last| partition.id.window.end() <= last) {
            break;
        }
        let mut hits = Vec::new();
        for probe in row.probes(&partition) {
            reader.read(&partition, &probe, &|at| last.is_none_or(|last| last < at), &mut hits)?;
        }
        last = last.max(hits.iter().filter(|hit| !hit.gone).map(Hit::event).max());
    }
    Ok(last)
}

/// The duty that binds at `now` to keep what `happened`.
pub fn duty(policy: &Policy, stream: &Stream, happened: Happened, facts: &Facts, now: Timestamp) -> KeptDuty {
    let duty = policy.terms(stream).and_then(|terms| terms.duty(happened, facts)).filter(|duty| duty.binds(now));
    match duty.map(|duty| duty.until) {
        None => KeptDuty::None,
        Some(None) => KeptDuty::Open,
        Some(Some(until)) => KeptDuty::Until(until),
    }
}

/// Whether a duty keeps a record of `at` whose erasure has been asked for.
pub fn keeps(policy: &Policy, stream: &Stream, at: Timestamp, facts: &Facts, now: Timestamp) -> bool {
    duty(policy, stream, Happened::At(at), facts, now) != KeptDuty::None
}

/// Whether the time of a window has come for one customer: a restricted one's once its duty is over, any other's where a
/// maximum is over that runs from a fact about the customer.
pub fn is_due(
    policy: &Policy,
    (stream, window): (&Stream, &Window),
    (facts, held, restricted): (&Facts, bool, bool),
    now: Timestamp,
) -> bool {
    let terms = policy.terms(stream);
    if !restricted && !terms.is_some_and(|terms| terms.ends_by_row()) {
        return false; // The column ends it.
    }
    let happened = Happened::Within(*window);
    let erasure = restricted.then_some(now);
    matches!(verdict(terms, &Question { happened, facts: *facts, held, erasure, now }), Verdict::Due { .. })
}

/// The earliest time after `now` at which [`is_due`] may become true by the passing of time alone.
pub fn next(
    policy: &Policy,
    (stream, window): (&Stream, &Window),
    (facts, restricted): (&Facts, bool),
    now: Timestamp,
) -> Option<Timestamp> {
    let (terms, happened) = (policy.terms(stream)?, Happened::Within(*window));
    let duty = terms.duty(happened, facts).filter(|_| restricted).and_then(|duty| duty.until);
    let limit = terms.limit(happened, facts).map(|limit| limit.at).filter(|_| terms.ends_by_row());
    [duty, limit].into_iter().flatten().filter(|at| now < *at).min()
}

/// The citation of the rule whose duty binds.
pub fn basis(policy: &Policy, stream: &Stream, happened: Happened, facts: &Facts) -> Option<String> {
    let duty = policy.terms(stream)?.duty(happened, facts)?;
    policy.rules().get(duty.rule)?.basis().map(str::to_owned)
}
