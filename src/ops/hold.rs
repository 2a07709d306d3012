//! Hold: what is on record of customers is kept for a legal matter, whatever the policy says; until it is released.

use crate::engine::{Engine, acts, hold};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, Fact, Hold as Held};
use crate::ident::{CustomerId, SubjectNumber};
use crate::keyring::{CustomerState, HoldEntry, MATTER_LIMIT, REASON_LIMIT};
use crate::ops::receipt::receipt;
use crate::policy::HoldScope;
use crate::record::Hold;
use crate::report::{HoldReport, Receipt};

/// Places a hold on a customer and returns its number. `None` where nobody knows the customer.
///
/// # Errors
/// [`ErrorKind::Invalid`] for words that are too long, or an end before the beginning; [`ErrorKind::Erased`] where the
/// customer is being let go of; what keyring and ledger answer: the hold then stands after the next opening, or does not.
pub fn place(engine: &Engine, customer: &CustomerId, hold: &Hold) -> Result<Option<u64>> {
    let writer = engine.writer()?;
    let scope = checked(hold)?;
    let _one_at_a_time = writer.housekeep()?;
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(None) };
    if found.entry.state != CustomerState::Living {
        return Ok(None);
    }
    let subject = found.entry.subject;
    if engine.fences.has_subject(&subject) || is_being_let_go(engine, &subject) {
        return Err(Error::new(ErrorKind::Erased, "the customer is being erased, or a part of what is to be held")
            .hint("it is on record and will be done; ask again when that is so"));
    }
    writer.committer.check()?;
    let last = engine.keyring.holds()?.last().map_or(0, |hold| hold.number);
    let number = hold::standing(engine).given.max(last).saturating_add(1);
    engine.keyring.place_hold(&HoldEntry {
        number,
        subject,
        customer: customer.clone(),
        scope: scope.clone(),
        placed: engine.now(),
        matter: hold.matter.clone(),
        reason: hold.reason.clone(),
    })?;
    engine.record(&[Fact::HoldPlaced { number, hold: Held { subject, scope } }])?;
    Ok(Some(number))
}

fn checked(hold: &Hold) -> Result<HoldScope> {
    let scope = HoldScope { stream: hold.stream.clone(), from: hold.from, until: hold.until };
    let wrong = |what: String| Err(Error::new(ErrorKind::Invalid, what));
    match (hold.matter.len(), hold.reason.len()) {
        (0, _) | (_, 0) => wrong("a hold needs a matter and a reason".into()),
        (matter, _) if matter > MATTER_LIMIT => wrong(format!("the matter of a hold has at most {MATTER_LIMIT} bytes")),
        (_, reason) if reason > REASON_LIMIT => wrong(format!("the reason of a hold has at most {REASON_LIMIT} bytes")),
        _ if !scope.is_possible() => wrong("a hold ends after it begins".into()),
        _ => Ok(scope),
    }
}

fn is_being_let_go(engine: &Engine, subject: &SubjectNumber) -> bool {
    engine.ledger().state().acts.pending().any(|(_, state)| match &state.act {
        Act::Erase { subjects, .. } => subjects.contains(subject),
        Act::ErasePart { subject: one, .. } | Act::Redact { subject: one, .. } => one == subject,
        Act::Expire { .. } | Act::Release { .. } => false,
    })
}

/// Lifts a hold. `None` where no such hold stands.
///
/// # Errors
/// The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn release(engine: &Engine, number: u64) -> Result<Option<Receipt>> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let Some(act) = hold::lifting(engine, number) else { return Ok(None) };
    let act = acts::intend(engine, act)?;
    acts::perform(engine, act, None)?;
    Ok(receipt(engine, act))
}

/// Every hold that stands.
///
/// # Errors
/// Damage in the keyring.
pub fn list(engine: &Engine) -> Result<Vec<HoldReport>> {
    let standing = hold::standing(engine).standing;
    let remnants = engine.partitions.remnants();
    let holds = engine.keyring.holds()?.into_iter().filter(|hold| standing.contains_key(&hold.number));
    let report = |entry: HoldEntry| {
        let holds = |(_, held): &(_, SubjectNumber)| *held == entry.subject;
        let kept = remnants.iter().filter(|remnant| entry.scope.meets(&remnant.id) && remnant.held.iter().any(holds));
        HoldReport {
            number: entry.number,
            subject: entry.subject.to_string(),
            placed: entry.placed,
            kept: kept.count() as u64,
            hold: Hold {
                matter: entry.matter,
                reason: entry.reason,
                stream: entry.scope.stream,
                from: entry.scope.from,
                until: entry.scope.until,
            },
            customer: entry.customer,
        }
    };
    Ok(holds.map(report).collect())
}
