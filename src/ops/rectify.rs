//! Rectify: a record is put right by another one that stands in its place; the history keeps both.

use crate::engine::visible::Sight;
use crate::engine::{Engine, Writer, housekeeping};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, RecordId};
use crate::ops::timeline;
use crate::record::BODY_LIMIT;

/// Amends the record of `customer` with `id`, in its last version, and returns the id of the amendment, durable by then.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is no such record that anybody is shown; [`ErrorKind::Erased`] while its customer is
/// being erased; [`ErrorKind::Invalid`] for a body that is too long; what the commit answers.
pub fn rectify(engine: &Engine, customer: &CustomerId, id: RecordId, body: &[u8]) -> Result<RecordId> {
    let writer = engine.writer()?;
    writer.committer.check()?;
    check(body)?;
    housekeeping::make_room(engine, writer)?;
    let _one_at_a_time = writer.housekeep_beside_settling()?;
    amended(engine, writer, customer, id, body)
}

/// Whether a body can stand in the place of another.
///
/// # Errors
/// [`ErrorKind::Invalid`].
pub fn check(body: &[u8]) -> Result<()> {
    match body.len() > BODY_LIMIT {
        true => Err(Error::new(ErrorKind::Invalid, "the body of an amendment is longer than 16 MiB")),
        false => Ok(()),
    }
}

/// There is nothing to be put right.
pub fn no_such_record() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such record to be amended: unknown, redacted, erased or expired")
        .hint("`tenure timeline CUSTOMER` lists the ids of a customer's records")
}

/// Amends the record. Housekeeping must be held: nothing is let go of meanwhile, and no two amend the same version.
///
/// # Errors
/// As [`rectify`].
pub fn amended(engine: &Engine, writer: &Writer, customer: &CustomerId, id: RecordId, body: &[u8]) -> Result<RecordId> {
    let found = timeline::find(engine, customer, id, Sight::Ordinary)?.ok_or_else(no_such_record)?;
    let policy = engine.policy();
    let passing = engine.pass()?;
    let (pending, id) = engine.encoder(writer, &policy, engine.now()).amendment(customer, &found.hit, body)?;
    let ticket = writer.committer.submit(pending)?;
    drop(passing);
    writer.committer.wait(ticket, &engine.tools(writer))?;
    Ok(id)
}
