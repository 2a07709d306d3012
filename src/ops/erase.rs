//! Erase: customers lose their secrets, whole, in part, or for one record.

use std::collections::BTreeSet;

use crate::engine::cells::probes;
use crate::engine::read::{CellReader, order};
use crate::engine::visible::covered;
use crate::engine::{Engine, acts, explode, hold};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::ident::{CustomerId, RecordId, Stream};
use crate::keyring::CustomerState;
use crate::ops::receipt::receipt;
use crate::report::Receipt;
use crate::window::Timestamp;

/// Erases whole customers in one rewrite. `None` where none of them is known.
///
/// # Errors
/// [`ErrorKind::Held`] where a hold stands on any of them; nothing was done then. The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn erase(engine: &Engine, customers: &[CustomerId]) -> Result<Option<Receipt>> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let mut subjects = Vec::new();
    let mut ids = Vec::new();
    for customer in customers {
        if let Some(found) = engine.keyring.customer(customer)?
            && found.entry.state == CustomerState::Living
            && !subjects.contains(&found.entry.subject)
        {
            subjects.push(found.entry.subject);
            ids.push(customer.clone());
        }
    }
    if subjects.is_empty() {
        return Ok(None);
    }
    hold::refuse(engine, &subjects)?;
    let number = acts::intend(engine, Act::Erase { subjects, at: engine.now() })?;
    acts::perform(engine, number, Some(&ids))?;
    Ok(receipt(engine, number))
}

/// Erases one stream of a customer, or what lies before `until`, or both. `None` where there is nothing of
/// that.
///
/// # Errors
/// [`ErrorKind::Invalid`] where neither is named: that would be [`erase`]. Otherwise as there.
pub fn erase_part(
    engine: &Engine,
    customer: &CustomerId,
    stream: Option<Stream>,
    until: Option<Timestamp>,
) -> Result<Option<Receipt>> {
    if stream.is_none() && until.is_none() {
        return Err(Error::new(ErrorKind::Invalid, "a partial erasure names a stream, or a time, or both"));
    }
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let Some(found) = living(engine, customer)? else { return Ok(None) };
    hold::refuse(engine, &[found])?;
    let act = Act::ErasePart { subject: found, stream, until };
    if !explode::finds(engine, writer, &act, customer)? {
        return Ok(None);
    }
    let number = acts::intend(engine, act)?;
    acts::perform(engine, number, Some(std::slice::from_ref(customer)))?;
    Ok(receipt(engine, number))
}

/// Destroys one record of a customer and refuses its id from now on. `None` where there is no such record.
///
/// # Errors
/// As [`erase`].
pub fn redact(engine: &Engine, customer: &CustomerId, id: RecordId) -> Result<Option<Receipt>> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let Some(subject) = living(engine, customer)? else { return Ok(None) };
    hold::refuse(engine, &[subject])?;
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(None) };
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut hits = Vec::new();
    for partition in covered(engine, &found.entry) {
        for probe in probes(&engine.store, &found.entry, &partition) {
            reader.read(&partition, &probe, &|_| true, &mut hits)?;
        }
    }
    let all = hits.clone();
    order(&mut hits);
    let Some(hit) = hits.into_iter().find(|hit| hit.id == id) else { return Ok(None) };
    // What was carried forward may still stand where it came from.
    let copies = all.iter().filter(|one| !one.gone && one.name() == hit.name()).map(|one| one.partition.number);
    let (opening, sequence) = (hit.origin.opening, hit.origin.sequence);
    let mut last = None;
    for partition in copies.collect::<BTreeSet<_>>() {
        let number = acts::intend(engine, Act::Redact { subject, partition, opening, sequence })?;
        acts::perform(engine, number, Some(std::slice::from_ref(customer)))?;
        last = receipt(engine, number);
    }
    Ok(last)
}

fn living(engine: &Engine, customer: &CustomerId) -> Result<Option<crate::ident::SubjectNumber>> {
    let found = engine.keyring.customer(customer)?;
    Ok(found.filter(|found| found.entry.state == CustomerState::Living).map(|found| found.entry.subject))
}
