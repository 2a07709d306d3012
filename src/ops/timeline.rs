//! Timeline, get and grep: one customer's records in the order of events.

use crate::sync::Arc;
use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::engine::cells::cell_keys;
use crate::engine::partitions::Partition;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::visible::{Range, covered_or_held, shown};
use crate::engine::{Engine, hold, lease};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, PartitionNumber, RecordId, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::policy::HoldScope;
use crate::record::Stored;
use crate::window::Timestamp;

/// One customer's records, in the order of events. Bodies are decompressed one at a time.
pub struct Timeline {
    engine: Arc<Engine>,
    customer: CustomerId,
    subject: SubjectNumber,
    since: u64,
    hits: VecDeque<Hit>,
    pattern: Option<Regex>,
    /// Whether it shows what is held, whatever has expired.
    held: bool,
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
            let passed = looked.and_then(|()| check(&self.engine, &self.subject, hit.partition.number, self.held));
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
    Ok(Timeline { engine, customer, subject, since, hits: hits.into(), pattern: None, held: false })
}

/// Every record of `customer` that a hold keeps, those included that have expired and nobody else is shown; empty where no
/// hold stands.
///
/// # Errors
/// As [`timeline`].
pub fn held(engine: &Arc<Engine>, customer: &CustomerId) -> Result<Timeline> {
    let since = engine.fences.parted();
    let (subject, hits) = held_hits(engine, customer)?;
    let (engine, customer) = (engine.clone(), customer.clone());
    Ok(Timeline { engine, customer, subject, since, hits: hits.into(), pattern: None, held: true })
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

/// Whether a record may still be shown.
///
/// # Errors
/// [`ErrorKind::Erased`].
pub fn check(engine: &Engine, subject: &SubjectNumber, number: PartitionNumber, held: bool) -> Result<()> {
    let Some(partition) = engine.partitions.numbered(number).filter(|_| held) else {
        return engine.fences.check(subject, number);
    };
    engine.fences.check_held(subject, &partition)
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

/// The record of `customer` with `id`, still closed; `held`, also where nobody else is shown it.
///
/// # Errors
/// As [`timeline`].
pub fn find(engine: &Engine, customer: &CustomerId, id: RecordId, held: bool) -> Result<Option<FoundRecord>> {
    let since = engine.fences.parted();
    let (subject, hits) = match held {
        true => held_hits(engine, customer)?,
        false => hits(engine, customer, Range::new(..))?,
    };
    let hit = hits.into_iter().find(|hit| hit.id == id);
    let Some((hit, found)) = hit.zip(engine.keyring.customer(customer)?) else { return Ok(None) };
    match found.entry.subject == subject {
        true => Ok(Some(FoundRecord { entry: found.entry, hit, since })),
        false => Ok(None), // Erased since, and come again as somebody else.
    }
}

fn held_hits(engine: &Engine, customer: &CustomerId) -> Result<(SubjectNumber, Vec<Hit>)> {
    let subject = engine.keyring.customer(customer)?.map(|found| found.entry.subject).unwrap_or_default();
    let scopes: Vec<HoldScope> = hold::standing(engine).on(&subject).map(|(_, hold)| hold.scope.clone()).collect();
    let kept = |partition: &Partition| scopes.iter().any(|scope| scope.meets(&partition.id));
    let wanted = |partition: &Partition, at| scopes.iter().any(|scope| scope.contains(&partition.id.stream, at));
    read(engine, customer, &kept, &wanted, true)
}

fn hits(engine: &Engine, customer: &CustomerId, range: Range) -> Result<(SubjectNumber, Vec<Hit>)> {
    let (policy, now) = (engine.policy(), engine.now());
    let kept = |partition: &Partition| partition.key.is_some() && range.meets(partition);
    let wanted = |partition: &Partition, at| range.contains(at) && shown(&policy, partition, now)(at);
    read(engine, customer, &kept, &wanted, false)
}

fn read(
    engine: &Engine,
    customer: &CustomerId,
    kept: &dyn Fn(&Partition) -> bool,
    wanted: &dyn Fn(&Partition, Timestamp) -> bool,
    held: bool,
) -> Result<(SubjectNumber, Vec<Hit>)> {
    let since = engine.fences.parted();
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Default::default()) };
    let subject = found.entry.subject;
    if found.entry.state == CustomerState::Living && engine.fences.has_subject(&subject) {
        return Err(Error::new(ErrorKind::Erased, "the customer is being erased").hint("ask again when that is done"));
    }
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut hits = Vec::new();
    for partition in covered_or_held(engine, &found.entry).into_iter().filter(|partition| kept(partition)) {
        for key in cell_keys(&engine.store, &found.entry, &partition) {
            reader.read(&partition, &key, &|at| wanted(&partition, at), &mut hits)?;
        }
    }
    order(&mut hits);
    engine.fences.check_part(&subject, since)?;
    // What was closed off while it was read is not handed out.
    lease::look(engine)?;
    hits.retain(|hit| check(engine, &subject, hit.partition.number, held).is_ok());
    Ok((subject, hits))
}
