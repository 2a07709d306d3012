//! Erasing: the verdict on what is asked for, and the intent that has it in writing. Between the two nobody writes, so that
//! what is judged is all there is; from the intent on nothing passes until it is done.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{Judged, judge, kept};
use super::read::{CellReader, Hit, order};
use super::row::Row;
use super::visible::covered;
use super::{Engine, Writer, acts, duty, explode, hold, judge};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, KeptDuty, KeptRows};
use crate::ident::{CustomerId, PartitionNumber, RecordId, Stream, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState, Found};
use crate::policy::Happened;
use crate::sync::Arc;
use crate::window::Timestamp;

/// Erases whole customers in one rewrite: what a duty or a hold keeps is restricted, everything else dies. `None` where
/// nothing of any of them can be. Housekeeping must be held.
///
/// # Errors
/// The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn whole(engine: &Engine, writer: &Writer, customers: &[CustomerId]) -> Result<Option<u64>> {
    let mut known = BTreeMap::new();
    for customer in customers {
        if let Some(entry) = living(engine, customer)? {
            known.insert(entry.subject, customer);
        }
    }
    // What is judged must be all there is: nothing of them passes from here on.
    let next = engine.ledger().state().acts.next();
    engine.fences.close_until(next, known.keys().copied());
    let intended = acts::drain(engine, writer).and_then(|()| intend(engine, &known));
    match intended {
        Ok(Some((number, ids))) => {
            acts::perform(engine, number, Some(&ids))?;
            engine.schedule.forget();
            Ok(Some(number))
        }
        nothing => {
            engine.fences.finish(next);
            nothing.map(|_| None)
        }
    }
}

/// Judges customers and puts on record what is going to be done; nothing where there is nothing to do.
fn intend(engine: &Engine, customers: &BTreeMap<SubjectNumber, &CustomerId>) -> Result<Option<(u64, Vec<CustomerId>)>> {
    let (mut subjects, mut rows, mut ids) = (Vec::new(), KeptRows::new(), Vec::new());
    for (subject, customer) in customers {
        let Some(entry) = living(engine, customer)? else { continue };
        let judged = judge(engine, &entry, &|_| true)?;
        let kept = kept(&judged);
        // Of whom a hold stands the number stays, also where nothing is left for now.
        match kept.is_empty() {
            true if !hold::is_on(engine, subject) => subjects.push(*subject),
            false if changes_nothing(&entry, &judged) => continue,
            _ => rows.push((*subject, kept)),
        }
        ids.push((*customer).clone());
    }
    if ids.is_empty() {
        return Ok(None);
    }
    let number = acts::intend(engine, Act::Erase { subjects, at: engine.now(), kept: rows })?;
    Ok(Some((number, ids)))
}

/// Whether all that there is of a customer is restricted already and has to stay: then an erasure has nothing to do.
fn changes_nothing(customer: &CustomerEntry, judged: &[Judged]) -> bool {
    customer.secrets.iter().all(|secret| secret.restricted)
        && judged.iter().all(|place| !place.is_used || place.is_kept())
}

/// Erases one stream of a customer, or what lies before `until`, or both. `None` where there is nothing of that.
/// Housekeeping must be held.
///
/// # Errors
/// As [`whole`].
pub fn part(
    engine: &Engine,
    writer: &Writer,
    customer: &CustomerId,
    stream: Option<Stream>,
    until: Option<Timestamp>,
) -> Result<Option<u64>> {
    let shut = engine.fences.shut();
    acts::flush(engine, writer)?;
    let Some(entry) = living(engine, customer)? else { return Ok(None) };
    let mut judged = judge(engine, &entry, &|secret| !secret.restricted)?;
    judged.retain(|place| {
        let id = &place.partition.id;
        stream.as_ref().is_none_or(|stream| *stream == id.stream) && until.is_none_or(|until| id.window.start() < until)
    });
    let subject = entry.subject;
    let act = Act::ErasePart { subject, stream, until, kept: kept(&judged) };
    if !explode::finds(engine, writer, &act, customer)? {
        return Ok(None);
    }
    let number = acts::intend(engine, act)?;
    engine.fences.close_part(subject);
    drop(shut);
    acts::perform(engine, number, Some(std::slice::from_ref(customer)))?;
    engine.schedule.forget();
    Ok(Some(number))
}

/// Destroys one record of a customer and refuses its id from now on; `despite` a duty to keep it, where that is said.
/// `None` where there is no such record. Housekeeping must be held.
///
/// # Errors
/// [`ErrorKind::Held`] where a hold keeps the record, [`ErrorKind::Refused`] where a duty does: nothing has happened.
/// Otherwise as [`whole`].
pub fn record(engine: &Engine, customer: &CustomerId, id: RecordId, despite: bool) -> Result<Option<u64>> {
    let Some(Aim { subject, hit, duty, partitions, .. }) = aim(engine, customer, id, despite)? else { return Ok(None) };
    let (opening, sequence) = (hit.origin.opening, hit.origin.sequence);
    let despite = duty != KeptDuty::None;
    let mut last = None;
    for partition in partitions {
        let act = Act::Redact { subject, partition, opening, sequence, despite };
        let number = acts::intend(engine, act)?;
        acts::perform(engine, number, Some(std::slice::from_ref(customer)))?;
        last = Some(number);
    }
    engine.schedule.forget();
    Ok(last)
}

/// A record that may be redacted.
pub struct Aim {
    /// Whose it is.
    pub subject: SubjectNumber,
    /// The record.
    pub hit: Hit,
    /// Whether an erasure has left it.
    pub is_restricted: bool,
    /// The duty despite which it would go.
    pub duty: KeptDuty,
    /// Where it stands: one partition, and until that has expired the one that it was carried forward from.
    partitions: BTreeSet<PartitionNumber>,
}

/// What a redaction would take, and whether it may: the verdict alone, also for who only asks. `None` where there is no such
/// record.
///
/// # Errors
/// As [`record`].
pub fn aim(engine: &Engine, customer: &CustomerId, id: RecordId, despite: bool) -> Result<Option<Aim>> {
    let Some(entry) = living(engine, customer)? else { return Ok(None) };
    let Some(Wanted { hit, is_restricted, partitions }) = find(engine, &entry, id)? else { return Ok(None) };
    let stream = &hit.partition.id.stream;
    hold::refuse_record(engine, &entry.subject, stream, hit.event())?;
    let now = judge::time(engine);
    let policy = engine.policy();
    let facts = duty::facts(engine, &policy, &entry)?;
    let duty = duty::duty(&policy, stream, Happened::At(hit.event()), &facts, now);
    if duty != KeptDuty::None && !despite {
        return Err(kept_by_duty(duty, is_restricted));
    }
    Ok(Some(Aim { subject: entry.subject, hit, is_restricted, duty, partitions }))
}

fn kept_by_duty(duty: KeptDuty, is_restricted: bool) -> Error {
    let until = match duty {
        KeptDuty::Until(until) => format!("until {until}"),
        KeptDuty::Open => "until what it runs from has been reported".to_owned(),
        KeptDuty::None => "no more".to_owned(),
    };
    let error = Error::new(ErrorKind::Refused, format!("nothing was done: a duty to keep the record runs {until}"));
    match is_restricted {
        true => error.hint("its customer was erased: nobody sees it but who serves the duty, and it goes by itself"),
        false => {
            error.hint("what must never have been stored (card data) is redacted despite the duty, where that is said")
        }
    }
}

/// A record that is to be redacted.
struct Wanted {
    hit: Hit,
    is_restricted: bool,
    /// As of an [`Aim`].
    partitions: BTreeSet<PartitionNumber>,
}

/// A record by its id; a free one where there is also a restricted one.
fn find(engine: &Engine, customer: &CustomerEntry, id: RecordId) -> Result<Option<Wanted>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, customer);
    for is_restricted in [false, true] {
        let mut hits = Vec::new();
        for partition in covered(engine, customer) {
            for (_, probe) in row.secrets(&partition).filter(|(one, _)| one.restricted == is_restricted) {
                reader.read(&partition, &probe, &|_| true, &mut hits)?;
            }
        }
        let all = hits.clone();
        order(&mut hits);
        if let Some(hit) = hits.into_iter().find(|hit| hit.id == id) {
            let copies = all.iter().filter(|one| !one.gone && one.name() == hit.name());
            let partitions = copies.map(|one| one.partition.number).collect();
            return Ok(Some(Wanted { hit, is_restricted, partitions }));
        }
    }
    Ok(None)
}

/// The entry of a customer who lives.
///
/// # Errors
/// Damage in the keyring.
pub fn living(engine: &Engine, customer: &CustomerId) -> Result<Option<Arc<CustomerEntry>>> {
    let found: Option<Found<CustomerEntry>> = engine.keyring.customer(customer)?;
    Ok(found.map(|found| found.entry).filter(|entry| entry.state == CustomerState::Living))
}
