//! Streams that are state: of each customer the newest record counts, wherever it stands.

use super::read::{CellReader, Hit, order};
use super::row::{Probe, Row};
use super::visible::{covered, shown};
use super::{Engine, amend, duty};
use crate::error::Result;
use crate::ident::{RecordId, Stream};
use crate::keyring::CustomerEntry;
use crate::policy::Policy;

/// Whether `stream` is state.
pub fn is_state(policy: &Policy, stream: &Stream) -> bool {
    policy.terms(stream).is_some_and(|terms| terms.latest())
}

/// The newest record of a customer in `stream`, in its last version: by when it happened, and of several at one time the
/// one written last. With `wanted`, only where it is the record with this id or amends it.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] where a part of the stream cannot be read: what is left out might be the newest.
pub fn newest(
    engine: &Engine,
    reader: &CellReader<'_>,
    customer: &CustomerEntry,
    stream: &Stream,
    wanted: Option<RecordId>,
) -> Result<Option<Hit>> {
    let (policy, now) = (engine.policy(), engine.now());
    let facts = duty::facts(engine, &policy, customer)?;
    let mut row = Row::new(&engine.store, customer);
    let mut hits = Vec::new();
    for partition in covered(engine, customer).into_iter().filter(|partition| partition.id.stream == *stream) {
        let probes: Vec<Probe> = row.free(&partition).collect();
        let shown = shown(&policy, &partition, &facts, now);
        for probe in &probes {
            reader.read(&partition, probe, &shown, &mut hits)?;
        }
    }
    order(&mut hits);
    let names = wanted.map(|id| {
        let mut versions = hits.clone();
        amend::keep_versions_since(&mut versions, id);
        versions.iter().map(Hit::name).collect::<Vec<_>>()
    });
    amend::supersede(&mut hits);
    Ok(hits.pop().filter(|hit| names.is_none_or(|names| names.contains(&hit.name()))))
}
