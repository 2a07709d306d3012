//! Receipts: the account of a destructive verb, read from the ledger.

use crate::engine::forget::FENCE_DAYS;
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::format::ledger::{Act, ActState};
use crate::report::{Receipt, Verb};

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

fn tell(number: u64, state: &ActState) -> Receipt {
    let (verb, subjects, partitions, fence_until) = match &state.act {
        Act::Expire { partitions, .. } => (Verb::Expire, Vec::new(), partitions.len() as u64, None),
        Act::Erase { subjects, at } => {
            let until = at.plus_seconds(FENCE_DAYS * 86_400);
            (Verb::Erase, subjects.iter().map(ToString::to_string).collect(), 0, Some(until))
        }
        Act::ErasePart { subject, .. } => (Verb::ErasePart, vec![subject.to_string()], 0, None),
        Act::Redact { subject, .. } => (Verb::Redact, vec![subject.to_string()], 0, None),
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
