//! Streams that are state: of each customer the newest record counts, wherever it stands.

use super::read::{CellReader, Hit, order};
use super::row::{Probe, Row};
use super::visible::{covered, shown};
use super::{Engine, amend};
use crate::error::{Error, Result};
use crate::ident::{PartitionNumber, RecordId, Stream};
use crate::keyring::CustomerEntry;
use crate::policy::Facts;

/// The newest record of a customer in `stream`, in its last version: by when it happened, and of several at one time the
/// one written last. With `wanted`, only where it is the record with this id or amends it.
///
/// # Errors
/// What `unread` makes of a partition that cannot be read: what is left out might be the newest.
pub fn newest(
    engine: &Engine,
    reader: &CellReader<'_>,
    (customer, facts): (&CustomerEntry, &Facts),
    stream: &Stream,
    wanted: Option<RecordId>,
    unread: &mut dyn FnMut(PartitionNumber, Error) -> Result<()>,
) -> Result<Option<Hit>> {
    let (policy, now) = (engine.policy(), engine.now());
    let mut row = Row::new(&engine.store, customer);
    let mut hits = Vec::new();
    for partition in covered(engine, customer).into_iter().filter(|partition| partition.id.stream == *stream) {
        let probes: Vec<Probe> = row.free(&partition).collect();
        let shown = shown(&policy, &partition, facts, now);
        for probe in &probes {
            reader.read(&partition, probe, &shown, &mut hits).or_else(|error| unread(partition.number, error))?;
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
