//! Receipts: the account of a destructive verb, read from the ledger.

use crate::engine::forget::FENCE_DAYS;
use crate::engine::{Engine, lease};
use crate::error::Result;
use crate::format::ledger::{Act, ActState, Effect, Fact, Going, GoingRows, Kept, KeptDuty};
use crate::ident::SubjectNumber;
use crate::report::{self, Receipt, Verb};
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
    notice(engine)?;
    let ledger = engine.ledger();
    Ok(ledger.state().acts.by_number.iter().map(|(number, state)| tell(*number, state)).collect())
}

/// Records what readers have come to see by now.
///
/// # Errors
/// As [`receipts`].
pub fn notice(engine: &Engine) -> Result<()> {
    // Whoever keeps house records it too, and after a close nobody may.
    if let Some(writer) = &engine.writer
        && let Some(_one_at_a_time) = writer.try_housekeep()
    {
        lease::record_fenced(engine, writer)?;
    }
    Ok(())
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
    let mut told = Receipt {
        number,
        verb: Verb::Expire,
        subjects: Vec::new(),
        kept: Vec::new(),
        lapsed: Vec::new(),
        partitions: 0,
        intended: state.intended,
        fenced: state.fenced,
        shredded: state.shredded.map(|(at, _)| at),
        epoch: state.shredded.map_or(0, |(_, epoch)| epoch),
        is_final: state.is_final,
        evidence: state.evidence.clone(),
        scrubbed: state.scrubbed,
        fence_until: None,
    };
    match &state.act {
        Act::Expire { partitions, rows, .. } => {
            told.partitions = partitions.len() as u64;
            told.subjects = rows.iter().map(|(subject, _)| subject.to_string()).collect();
            told.lapsed = lapsed(rows);
        }
        Act::Erase { subjects, at, kept } => {
            told.verb = Verb::Erase;
            told.subjects = subjects.iter().chain(kept.iter().map(|(one, _)| one)).map(ToString::to_string).collect();
            told.kept = kept.iter().flat_map(|(subject, kept)| kept_of(subject, kept)).collect();
            told.fence_until = Some(at.plus_seconds(FENCE_DAYS * 86_400));
        }
        Act::ErasePart { subject, kept, .. } => {
            (told.verb, told.subjects) = (Verb::ErasePart, vec![subject.to_string()]);
            told.kept = kept_of(subject, kept);
        }
        Act::Redact { subject, .. } => (told.verb, told.subjects) = (Verb::Redact, vec![subject.to_string()]),
        Act::Release { subject, cells, rows, .. } => {
            (told.verb, told.partitions) = (Verb::Release, cells.len() as u64);
            told.subjects = subject.iter().map(ToString::to_string).collect();
            told.lapsed = lapsed(rows);
        }
    }
    told
}

/// What an act left of customers, as a receipt tells it.
fn kept_of(subject: &SubjectNumber, kept: &[Kept]) -> Vec<report::Kept> {
    let tell = |kept: &Kept| report::Kept {
        subject: subject.to_string(),
        stream: kept.span.stream.clone(),
        from: kept.span.from,
        until: kept.span.until,
        duty: duty(kept.duty),
        holds: kept.holds.clone(),
    };
    kept.iter().map(tell).collect()
}

/// A duty, as reports tell it.
pub fn duty(duty: KeptDuty) -> report::Duty {
    match duty {
        KeptDuty::None => report::Duty::None,
        KeptDuty::Until(until) => report::Duty::Until(until),
        KeptDuty::Open => report::Duty::Open,
    }
}

/// What went of one customer.
pub fn lapsed_of(subject: &SubjectNumber, going: &[Going]) -> Vec<report::Lapsed> {
    let tell = |going: &Going| report::Lapsed {
        subject: subject.to_string(),
        stream: going.span.stream.clone(),
        from: going.span.from,
        until: going.span.until,
        restricted: !going.all,
    };
    going.iter().map(tell).collect()
}

fn lapsed(rows: &GoingRows) -> Vec<report::Lapsed> {
    rows.iter().flat_map(|(subject, going)| lapsed_of(subject, going)).collect()
}
