//! Erase: customers lose their secrets, whole, in part, or for one record; but for what a duty or a hold keeps.

use crate::engine::{Engine, erase as step};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, RecordId, Stream};
use crate::ops::receipt::{self, receipt};
use crate::report::{Receipt, Redaction};
use crate::window::Timestamp;

/// Erases whole customers in one rewrite, but for what must be kept of them. `None` where none of them is known, or all that
/// there is of them must be kept and is restricted already.
///
/// # Errors
/// The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn erase(engine: &Engine, customers: &[CustomerId]) -> Result<Option<Receipt>> {
    let writer = engine.writer()?;
    let _one_at_a_time = writer.housekeep()?;
    let number = step::whole(engine, writer, customers)?;
    Ok(number.and_then(|number| receipt(engine, number)))
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
    let number = step::part(engine, writer, customer, stream, until)?;
    Ok(number.and_then(|number| receipt(engine, number)))
}

/// Destroys one record of a customer and refuses its id from now on; `despite` a duty to keep it, where that is said. `None`
/// where there is no such record.
///
/// # Errors
/// [`ErrorKind::Held`] where a hold keeps the record, [`ErrorKind::Refused`] where a duty does. Otherwise as [`erase`].
pub fn redact(engine: &Engine, customer: &CustomerId, id: RecordId, despite: bool) -> Result<Option<Receipt>> {
    let _one_at_a_time = engine.writer()?.housekeep()?;
    let number = step::record(engine, customer, id, despite)?;
    Ok(number.and_then(|number| receipt(engine, number)))
}

/// What [`redact`] would take: the same look and the same verdict, and nothing is put on record. `None` where there is no
/// such record.
///
/// # Errors
/// As [`redact`].
pub fn redaction(engine: &Engine, customer: &CustomerId, id: RecordId, despite: bool) -> Result<Option<Redaction>> {
    let aim = step::aim(engine, customer, id, despite)?;
    Ok(aim.map(|aim| Redaction {
        stream: aim.hit.partition.id.stream.clone(),
        at: aim.hit.event(),
        raw_bytes: aim.hit.length(),
        restricted: aim.is_restricted,
        duty: receipt::duty(aim.duty),
    }))
}
