//! Timeline, get and grep: one customer's records in the order of events.

use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::engine::Engine;
use crate::engine::cells::cell_keys;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::visible::{Range, covered, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, RecordId};
use crate::record::Stored;

/// One customer's records, in the order of events. Bodies are decompressed one at a time.
#[derive(Debug)]
pub struct Timeline {
    customer: CustomerId,
    hits: VecDeque<Hit>,
    pattern: Option<Regex>,
}

impl Iterator for Timeline {
    type Item = Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = self.hits.pop_front()?.into_record(&self.customer);
            match (&record, &self.pattern) {
                (Ok(stored), Some(pattern)) if !pattern.is_match(&stored.body) => {}
                _ => return Some(record),
            }
        }
    }
}

/// Every record of `customer` with its event in `range`; empty for a customer nobody knows.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where a part of it cannot be read: a gap is never passed over.
pub fn timeline(engine: &Engine, customer: &CustomerId, range: Range) -> Result<Timeline> {
    let hits = hits(engine, customer, range)?;
    Ok(Timeline { customer: customer.clone(), hits: hits.into(), pattern: None })
}

/// The records of a timeline whose body matches `pattern`, a regular expression over bytes.
///
/// # Errors
/// As [`timeline`]; [`ErrorKind::Invalid`] for a pattern that is none.
pub fn grep(engine: &Engine, customer: &CustomerId, pattern: &str, range: Range) -> Result<Timeline> {
    let pattern = Regex::new(pattern).map_err(|error| {
        Error::new(ErrorKind::Invalid, "not a regular expression")
            .caused_by(error)
            .hint("see docs.rs/regex for the syntax")
    })?;
    timeline(engine, customer, range).map(|timeline| Timeline { pattern: Some(pattern), ..timeline })
}

/// The record of `customer` with `id`.
///
/// # Errors
/// As [`timeline`].
pub fn get(engine: &Engine, customer: &CustomerId, id: RecordId) -> Result<Option<Stored>> {
    let hits = hits(engine, customer, Range::new(..))?;
    hits.into_iter().find(|hit| hit.id == id).map(|hit| hit.into_record(customer)).transpose()
}

fn hits(engine: &Engine, customer: &CustomerId, range: Range) -> Result<Vec<Hit>> {
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Vec::new()) };
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let (policy, now) = (engine.policy(), engine.now());
    let mut hits = Vec::new();
    for partition in covered(engine, &found.entry) {
        if !range.meets(&partition) {
            continue;
        }
        let shown = shown(&policy, &partition, now);
        for key in cell_keys(&engine.store, &found.entry, &partition) {
            reader.read(&partition, &key, &|at| range.contains(at) && shown(at), &mut hits)?;
        }
    }
    order(&mut hits);
    Ok(hits)
}
