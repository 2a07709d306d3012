//! Report: facts about a customer that periods run from, as the embedding service knows them.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Fact;
use crate::ident::CustomerId;
use crate::keyring::Anchor;
use crate::policy::AHEAD_LIMIT_SECONDS;
use crate::window::Timestamp;

/// What is reported of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The relationship ended at this time.
    RelationshipEnded(Timestamp),
    /// It did not end, or has begun again.
    RelationshipResumed,
    /// A request was closed at this time. The latest counts.
    RequestClosed(Timestamp),
    /// There was a contact at this time. The latest counts.
    Contacted(Timestamp),
}

impl Reported {
    /// As the keyring keeps it: which kind, and when.
    pub fn anchor(self) -> (u8, Option<Timestamp>) {
        match self {
            Reported::RelationshipEnded(at) => (Anchor::RELATIONSHIP_ENDED, Some(at)),
            Reported::RelationshipResumed => (Anchor::RELATIONSHIP_ENDED, None),
            Reported::RequestClosed(at) => (Anchor::REQUEST_CLOSED, Some(at)),
            Reported::Contacted(at) => (Anchor::LAST_CONTACT, Some(at)),
        }
    }
}

/// Keeps a fact about a customer; `false` where nobody knows the customer.
///
/// # Errors
/// What keyring and ledger answer: the fact is kept then after the next opening, or is not.
pub fn report(engine: &Engine, customer: &CustomerId, reported: Reported) -> Result<bool> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    writer.committer.check()?;
    let (kind, at) = reported.anchor();
    kept(engine, customer, kind, at)
}

/// Keeps a fact, and puts it on record. Housekeeping must be held.
///
/// # Errors
/// As [`report`]; [`ErrorKind::Invalid`] for what is still to come: of most facts the latest counts, so that a year
/// mistyped could never be taken back.
pub fn kept(engine: &Engine, customer: &CustomerId, kind: u8, at: Option<Timestamp>) -> Result<bool> {
    if at.is_some_and(|at| at > engine.now().plus_seconds(AHEAD_LIMIT_SECONDS)) {
        return Err(Error::new(ErrorKind::Invalid, "a fact lies more than 24 hours ahead")
            .hint("report it once it has come to pass; see whether the clock of this machine is right"));
    }
    let Some(subject) = engine.keyring.report(customer, kind, at)? else { return Ok(false) };
    engine.schedule.forget();
    engine.record(&[Fact::Reported { subject, kind, at }])?;
    Ok(true)
}
