//! Hold: what is on record of customers is kept for a legal matter, whatever the policy says; until it is released.

use crate::engine::due::Expired;
use crate::engine::schedule::Search;
use crate::engine::{Engine, Writer, acts, due, erase, hold, schedule};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, Fact, Hold as Held};
use crate::ident::{CustomerId, Stream, SubjectNumber};
use crate::keyring::{CustomerState, HoldEntry, MATTER_LIMIT, REASON_LIMIT};
use crate::ops::receipt::receipt;
use crate::policy::HoldScope;
use crate::record::Hold;
use crate::report::{HoldReport, Receipt};
use crate::window::Day;

/// The most acts that a hold names which came before it: the latest ones.
const AFTER_LIMIT: usize = 64;

/// Places a hold on a customer, or on everybody where there is none, and returns its number. `None` where nobody knows the
/// customer.
///
/// # Errors
/// [`ErrorKind::Invalid`] for words that are too long, or an end before the beginning; [`ErrorKind::Erased`] where the
/// customer is being let go of, or was erased; what keyring and ledger answer: the hold then stands after the next opening,
/// or does not.
pub fn place(engine: &Engine, customer: Option<&CustomerId>, hold: &Hold) -> Result<Option<u64>> {
    let writer = engine.writer()?;
    checked(hold)?;
    let _one_at_a_time = writer.housekeep()?;
    placed(engine, writer, customer, hold)
}

/// Places a hold. Housekeeping must be held.
///
/// # Errors
/// As [`place`].
pub fn placed(engine: &Engine, writer: &Writer, customer: Option<&CustomerId>, hold: &Hold) -> Result<Option<u64>> {
    let scope = checked(hold)?;
    let customer = match customer {
        None => None,
        Some(id) => {
            let Some(subject) = subject(engine, id)? else { return Ok(None) };
            Some((subject, id.clone()))
        }
    };
    writer.committer.check()?;
    let subject = customer.as_ref().map(|(subject, _)| *subject);
    let last = engine.keyring.holds()?.last().map_or(0, |hold| hold.number);
    let number = hold::standing(engine).given.max(last).saturating_add(1);
    engine.keyring.place_hold(&HoldEntry {
        number,
        customer,
        scope: scope.clone(),
        placed: engine.now(),
        matter: hold.matter.clone(),
        reason: hold.reason.clone(),
    })?;
    let after = before(engine, subject.as_ref(), &scope);
    engine.record(&[Fact::HoldPlaced { number, hold: Held { subject, scope, after } }])?;
    Ok(Some(number))
}

/// The number of a customer who can be held; none of somebody whom nobody knows.
///
/// # Errors
/// [`ErrorKind::Erased`] where it is too late.
pub fn subject(engine: &Engine, customer: &CustomerId) -> Result<Option<SubjectNumber>> {
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(None) };
    let subject = found.entry.subject;
    if let CustomerState::Tombstone { erased } = found.entry.state {
        return Err(Error::new(
            ErrorKind::Erased,
            format!("the hold comes too late: the customer was erased at {erased}"),
        )
        .hint("`tenure receipt list` shows what was let go of; nothing can be held of it"));
    }
    match engine.fences.has_subject(&subject) || is_being_let_go(engine, &subject) {
        false => Ok(Some(subject)),
        true => Err(Error::new(ErrorKind::Erased, "the customer is being erased, or a part of what is to be held")
            .hint("it is on record and will be done; ask again when that is so")),
    }
}

/// The acts on record that have let go of what a hold would have kept, or may have.
fn before(engine: &Engine, subject: Option<&SubjectNumber>, scope: &HoldScope) -> Vec<u64> {
    let concerns = |one: &SubjectNumber| subject.is_none_or(|subject| subject == one);
    let touches = |act: &Act| match act {
        Act::Erase { subjects, kept, .. } => {
            subjects.iter().any(concerns) || kept.iter().any(|(subject, _)| concerns(subject))
        }
        Act::ErasePart { subject, .. } | Act::Redact { subject, .. } => concerns(subject),
        Act::Release { cells, rows, .. } => {
            let of_cells = cells.iter().flat_map(|(_, subjects)| subjects);
            of_cells.chain(rows.iter().map(|(subject, _)| subject)).any(concerns)
        }
        Act::Expire { partitions, rows, .. } => {
            // Of its windows an expiry kept the ends alone; a window is a year at most.
            let begins = |end: &Day| {
                scope.from.is_none_or(|from| from < end.start())
                    && scope.until.is_none_or(|until| end.start() < until.plus_seconds(366 * 86_400))
            };
            let is_of = |stream: &Stream| scope.stream.as_ref().is_none_or(|one| one == stream);
            partitions.iter().any(|(_, stream, end)| is_of(stream) && begins(end))
                || rows.iter().any(|(subject, _)| concerns(subject))
        }
    };
    let ledger = engine.ledger();
    let acts = ledger.state().acts.by_number.iter().rev().filter(|(_, state)| touches(&state.act));
    let mut numbers: Vec<u64> = acts.map(|(number, _)| *number).take(AFTER_LIMIT).collect();
    numbers.reverse();
    numbers
}

/// What a hold covers, where its words and times can be kept.
///
/// # Errors
/// [`ErrorKind::Invalid`].
pub fn checked(hold: &Hold) -> Result<HoldScope> {
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
        Act::Erase { subjects, kept, .. } => subjects.contains(subject) || kept.iter().any(|(one, _)| one == subject),
        Act::ErasePart { subject: one, .. } | Act::Redact { subject: one, .. } => one == subject,
        Act::Expire { rows, .. } => rows.iter().any(|(one, _)| one == subject),
        Act::Release { cells, rows, .. } => {
            let of_cells = cells.iter().flat_map(|(_, subjects)| subjects);
            of_cells.chain(rows.iter().map(|(one, _)| one)).any(|one| one == subject)
        }
    })
}

/// Lifts a hold. `None` where no such hold stands.
///
/// # Errors
/// The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn release(engine: &Engine, number: u64) -> Result<Option<Receipt>> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let act = released(engine, number)?;
    Ok(act.and_then(|act| receipt(engine, act)))
}

/// Lifts a hold; the number of the act that did it. Housekeeping must be held.
///
/// # Errors
/// As [`release`].
pub fn released(engine: &Engine, number: u64) -> Result<Option<u64>> {
    let entry = engine.keyring.holds()?.into_iter().find(|hold| hold.number == number);
    let customer = entry.and_then(|hold| hold.customer).map(|(_, id)| id);
    let row = customer.as_ref().map(|id| erase::living(engine, id)).transpose()?.flatten();
    let now = engine.trusted.now(&*engine.env);
    let going = row.map(|row| schedule::without_hold(engine, &row, number, now)).transpose()?.unwrap_or_default();
    let Some(act) = hold::lifting(engine, number, going) else { return Ok(None) };
    let on_all = matches!(&act, Act::Release { subject: None, .. });
    let act = acts::intend(engine, act)?;
    acts::perform(engine, act, customer.as_ref().map(std::slice::from_ref))?;
    engine.schedule.forget();
    if on_all {
        // Of whom it has kept something is not known without going through all.
        due::expire_rows(engine, engine.writer()?, Search::new(engine, now), &mut Expired::default())?;
    }
    Ok(Some(act))
}

/// Every hold that stands.
///
/// # Errors
/// Damage in the keyring.
pub fn list(engine: &Engine) -> Result<Vec<HoldReport>> {
    let (standing, policy) = (hold::standing(engine).standing, engine.policy());
    let remnants = engine.partitions.remnants();
    let holds = engine.keyring.holds()?.into_iter().filter(|hold| standing.contains_key(&hold.number));
    let report = |entry: HoldEntry| {
        let holds = |(_, held): &(_, SubjectNumber)| entry.subject().is_none_or(|subject| subject == *held);
        let kept =
            remnants.iter().filter(|remnant| entry.scope.meets(&remnant.id, &policy) && remnant.held.iter().any(holds));
        HoldReport {
            number: entry.number,
            subject: entry.subject().map(|subject| subject.to_string()),
            placed: entry.placed,
            after: standing.get(&entry.number).map(|hold| hold.after.clone()).unwrap_or_default(),
            kept: kept.count() as u64,
            hold: Hold {
                matter: entry.matter,
                reason: entry.reason,
                stream: entry.scope.stream,
                from: entry.scope.from,
                until: entry.scope.until,
            },
            customer: entry.customer.map(|(_, id)| id),
        }
    };
    Ok(holds.map(report).collect())
}
