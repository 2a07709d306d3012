//! Timeline, get and grep: one customer's records in the order of events.

use crate::sync::Arc;
use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::engine::cells::cell_keys;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::visible::{Range, covered, shown};
use crate::engine::{Engine, lease};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, RecordId, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::record::Stored;

/// One customer's records, in the order of events. Bodies are decompressed one at a time.
pub struct Timeline {
    engine: Arc<Engine>,
    customer: CustomerId,
    subject: SubjectNumber,
    since: u64,
    hits: VecDeque<Hit>,
    pattern: Option<Regex>,
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timeline({} records ahead)", self.hits.len())
    }
}

impl Iterator for Timeline {
    type Item = Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let hit = self.hits.pop_front()?;
            let fences = &self.engine.fences;
            let looked = lease::look(&self.engine);
            let passed = looked.and_then(|()| fences.check(&self.subject, hit.partition.number));
            if let Err(erased) = passed.and_then(|()| fences.check_part(&self.subject, self.since)) {
                self.hits.clear();
                return Some(Err(erased));
            }
            let record = hit.into_record(&self.customer);
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
pub fn timeline(engine: &Arc<Engine>, customer: &CustomerId, range: Range) -> Result<Timeline> {
    let since = engine.fences.parted();
    let (subject, hits) = hits(engine, customer, range)?;
    let (engine, customer) = (engine.clone(), customer.clone());
    Ok(Timeline { engine, customer, subject, since, hits: hits.into(), pattern: None })
}

/// The records of a timeline whose body matches `pattern`, a regular expression over bytes.
///
/// # Errors
/// As [`timeline`]; [`ErrorKind::Invalid`] for a pattern that is none.
pub fn grep(engine: &Arc<Engine>, customer: &CustomerId, pattern: &str, range: Range) -> Result<Timeline> {
    let pattern = Regex::new(pattern).map_err(|_| {
        // Why stays unsaid: the parser repeats the pattern, and people search for names.
        Error::new(ErrorKind::Invalid, "not a regular expression").hint("see docs.rs/regex for the syntax")
    })?;
    timeline(engine, customer, range).map(|timeline| Timeline { pattern: Some(pattern), ..timeline })
}

/// The record of `customer` with `id`.
///
/// # Errors
/// As [`timeline`].
pub fn get(engine: &Engine, customer: &CustomerId, id: RecordId) -> Result<Option<Stored>> {
    let (_, hits) = hits(engine, customer, Range::new(..))?;
    hits.into_iter().find(|hit| hit.id == id).map(|hit| hit.into_record(customer)).transpose()
}

/// A record with what opens it.
pub struct FoundRecord {
    /// Its customer's entry.
    pub entry: Arc<CustomerEntry>,
    /// The record.
    pub hit: Hit,
    /// Acts that had let go of a part of a customer before it was looked for.
    pub since: u64,
}

/// The record of `customer` with `id`, still closed.
///
/// # Errors
/// As [`timeline`].
pub fn find(engine: &Engine, customer: &CustomerId, id: RecordId) -> Result<Option<FoundRecord>> {
    let since = engine.fences.parted();
    let (subject, hits) = hits(engine, customer, Range::new(..))?;
    let hit = hits.into_iter().find(|hit| hit.id == id);
    let Some((hit, found)) = hit.zip(engine.keyring.customer(customer)?) else { return Ok(None) };
    match found.entry.subject == subject {
        true => Ok(Some(FoundRecord { entry: found.entry, hit, since })),
        false => Ok(None), // Erased since, and come again as somebody else.
    }
}

fn hits(engine: &Engine, customer: &CustomerId, range: Range) -> Result<(SubjectNumber, Vec<Hit>)> {
    let since = engine.fences.parted();
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Default::default()) };
    let subject = found.entry.subject;
    if found.entry.state == CustomerState::Living && engine.fences.has_subject(&subject) {
        return Err(Error::new(ErrorKind::Erased, "the customer is being erased").hint("ask again when that is done"));
    }
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
    engine.fences.check_part(&subject, since)?;
    // What was closed off while it was read is not handed out.
    lease::look(engine)?;
    hits.retain(|hit| engine.fences.check(&subject, hit.partition.number).is_ok());
    Ok((subject, hits))
}
