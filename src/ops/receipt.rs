//! Receipts: the account of a destructive verb, read from the ledger.

use crate::engine::forget::FENCE_DAYS;
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::format::ledger::{Act, ActState, Effect, Fact};
use crate::report::{Receipt, Verb};
use crate::window::Timestamp;

/// The account of act `number`; none where there is no such act.
pub fn receipt(engine: &Engine, number: u64) -> Option<Receipt> {
    engine.ledger().state().acts.by_number.get(&number).map(|state| tell(number, state))
}

/// The accounts of all acts, oldest first, with what readers have come to see by now.
///
/// # Errors
/// What the ledger of a writing opening answers.
pub fn receipts(engine: &Engine) -> Result<Vec<Receipt>> {
    // Whoever keeps house records it too, and after a close nobody may.
    if let Some(writer) = &engine.writer
        && let Some(_one_at_a_time) = writer.try_housekeep()
    {
        lease::record_fenced(engine, writer)?;
    }
    let ledger = engine.ledger();
    Ok(ledger.state().acts.by_number.iter().map(|(number, state)| tell(*number, state)).collect())
}

/// The account that `facts`, which were proved, add up to; none where they are not all of act `number`, in order.
pub fn from_facts(number: u64, facts: &[(Timestamp, Fact)]) -> Option<Receipt> {
    let mut facts = facts.iter();
    let Some((intended, Fact::Intended { number: first, act })) = facts.next() else { return None };
    let mut state = ActState {
        act: act.clone(),
        intended: *intended,
        fenced: None,
        shredded: None,
        is_final: false,
        evidence: String::new(),
        scrubbed: None,
        done: None,
    };
    for (at, fact) in facts {
        match fact {
            Fact::Effected { number: other, effect } if *other == number => match effect {
                Effect::Fenced => drop(state.fenced.get_or_insert(*at)),
                Effect::Scrubbed => drop(state.scrubbed.get_or_insert(*at)),
                Effect::Shredded { epoch, is_final, evidence } => {
                    state.shredded = Some((*at, *epoch));
                    (state.is_final, state.evidence) = (*is_final, evidence.clone());
                }
            },
            Fact::Done { number: other } if *other == number => drop(state.done.get_or_insert(*at)),
            _ => return None,
        }
    }
    (*first == number).then(|| tell(number, &state))
}

fn tell(number: u64, state: &ActState) -> Receipt {
    let (verb, subjects, partitions, fence_until) = match &state.act {
        Act::Expire { partitions, .. } => (Verb::Expire, Vec::new(), partitions.len() as u64, None),
        Act::Erase { subjects, at } => {
            let until = at.plus_seconds(FENCE_DAYS * 86_400);
            (Verb::Erase, subjects.iter().map(ToString::to_string).collect(), 0, Some(until))
        }
        Act::ErasePart { subject, .. } => (Verb::ErasePart, vec![subject.to_string()], 0, None),
        Act::Redact { subject, .. } => (Verb::Redact, vec![subject.to_string()], 0, None),
        Act::Release { subject, cells, .. } => (Verb::Release, vec![subject.to_string()], cells.len() as u64, None),
    };
    Receipt {
        number,
        verb,
        subjects,
        partitions,
        intended: state.intended,
        fenced: state.fenced,
        shredded: state.shredded.map(|(at, _)| at),
        epoch: state.shredded.map_or(0, |(_, epoch)| epoch),
        is_final: state.is_final,
        evidence: state.evidence.clone(),
        scrubbed: state.scrubbed,
        fence_until,
    }
}
