//! Timeline, get and grep: one customer's records in the order of events.

use crate::sync::Arc;
use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::engine::partitions::Partition;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::row::{Probe, Row};
use crate::engine::visible::{Range, Sight, covered_or_held, covers, shown};
use crate::engine::{Engine, amend, duty, hold, latest, lease};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::Origin;
use crate::format::ledger::Holds;
use crate::ident::{CustomerId, PartitionNumber, RecordId, Stream, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState, Secret};
use crate::ops::body;
use crate::ops::refresh::settled;
use crate::policy::{Facts, HoldScope};
use crate::record::Stored;
use crate::window::Timestamp;

/// One customer's records, in the order of events. Bodies are decompressed one at a time. After an error it is over, as a
/// scan is: it never goes on past a gap.
pub struct Timeline {
    engine: Arc<Engine>,
    customer: CustomerId,
    subject: SubjectNumber,
    since: u64,
    /// What was closed off when everything was found to be open.
    passed: u64,
    hits: VecDeque<Hit>,
    pattern: Option<Regex>,
    /// What it shows.
    sight: Sight,
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timeline({} records ahead)", self.hits.len())
    }
}

impl Timeline {
    /// Whether there was nothing to hand out.
    pub(crate) fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// Refuses what has been closed off meanwhile.
    fn check(&self, hit: &Hit) -> Result<()> {
        lease::look(&self.engine)?;
        let fences = &self.engine.fences;
        if fences.changes() == self.passed {
            return Ok(());
        }
        check(&self.engine, &self.subject, hit.partition.number, self.sight)?;
        fences.check_part(&self.subject, self.since)
    }

    /// The record, if it is to be shown and nothing has been closed off.
    fn show(&self, hit: Hit) -> Result<Option<Stored>> {
        self.check(&hit)?;
        let stored = hit.into_record(&self.customer)?;
        let shown = match &self.pattern {
            None => true,
            Some(pattern) if stored.large.is_none() => pattern.is_match(&stored.body),
            Some(pattern) => body::matches(&self.engine, &stored, self.sight, pattern)?,
        };
        Ok(shown.then_some(stored))
    }
}

impl Iterator for Timeline {
    type Item = Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let hit = self.hits.pop_front()?;
            match self.show(hit) {
                Ok(None) => {}
                Ok(Some(stored)) => return Some(Ok(stored)),
                Err(error) => {
                    self.hits.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Every record of `customer` with its event in `range`; empty for a customer nobody knows.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where a part of it cannot be read: a gap is never passed over.
pub fn timeline(engine: &Arc<Engine>, customer: &CustomerId, range: Range) -> Result<Timeline> {
    seen(engine, customer, Sight::Ordinary, range)
}

/// Everything in `range` that somebody may see of a customer.
fn seen(engine: &Arc<Engine>, customer: &CustomerId, sight: Sight, range: Range) -> Result<Timeline> {
    let since = engine.fences.parted();
    let Found { subject, passed, hits } = settled(engine, || hits(engine, customer, sight, range, None))?;
    let (engine, customer) = (engine.clone(), customer.clone());
    Ok(Timeline { engine, customer, subject, since, passed, hits: hits.into(), pattern: None, sight })
}

/// Every record of `customer` in every version that it had, those before an amendment and all states of a stream whose
/// newest counts, in the order of events and then of writing.
///
/// # Errors
/// As [`timeline`].
pub fn history(engine: &Arc<Engine>, customer: &CustomerId) -> Result<Timeline> {
    seen(engine, customer, Sight::History, Range::new(..))
}

/// Every record of `customer` that a hold keeps, those included that have expired and nobody else is shown; empty where no
/// hold stands.
///
/// # Errors
/// As [`timeline`].
pub fn held(engine: &Arc<Engine>, customer: &CustomerId) -> Result<Timeline> {
    seen(engine, customer, Sight::Held, Range::new(..))
}

/// Every record of `customer` that an erasure has left because a duty or a hold keeps it; empty where there is none.
///
/// # Errors
/// As [`timeline`].
pub fn restricted(engine: &Arc<Engine>, customer: &CustomerId) -> Result<Timeline> {
    seen(engine, customer, Sight::Restricted, Range::new(..))
}

/// The records of a timeline whose body matches `pattern`, a regular expression over bytes. A large body is searched in
/// pieces, see [`body::matches`].
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
    let (_, hit) = by_id(engine, customer, id, Sight::Ordinary)?;
    hit.map(|hit| hit.into_record(customer)).transpose()
}

/// Whether a record may still be shown.
///
/// # Errors
/// [`ErrorKind::Erased`].
pub fn check(engine: &Engine, subject: &SubjectNumber, number: PartitionNumber, sight: Sight) -> Result<()> {
    let Some(partition) = engine.partitions.numbered(number).filter(|_| sight == Sight::Held) else {
        return engine.fences.check(subject, number);
    };
    let checked = engine.fences.check_held(subject, &partition);
    if checked.is_err() && partition.key.is_some() && !engine.fences.has_subject(subject) {
        // It is closed off and has its key still: an expiry is about to take out what its intent says is held.
        let ledger = engine.ledger();
        if ledger.state().acts.held.get(&number).is_some_and(|held| held.contains(subject)) {
            return Ok(());
        }
    }
    checked
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

/// The record of `customer` with `id`, still closed, where it may be seen.
///
/// # Errors
/// As [`timeline`].
pub fn find(engine: &Engine, customer: &CustomerId, id: RecordId, sight: Sight) -> Result<Option<FoundRecord>> {
    let since = engine.fences.parted();
    let (subject, hit) = by_id(engine, customer, id, sight)?;
    let Some((hit, found)) = hit.zip(engine.keyring.customer(customer)?) else { return Ok(None) };
    match found.entry.subject == subject {
        true => Ok(Some(FoundRecord { entry: found.entry, hit, since })),
        false => Ok(None), // Erased since, and come again as somebody else.
    }
}

/// A record by its id, and the frame that it may be told by.
struct Wanted {
    id: RecordId,
    origin: Option<Origin>,
}

impl Wanted {
    /// Whether nothing that happened at `start` or later can come before what was found.
    fn found_before(&self, start: Timestamp, hits: &[Hit]) -> bool {
        hits.iter().any(|hit| hit.at < start) && !hits.iter().any(|hit| hit.gone)
    }
}

/// An id that the store gave tells the frame, which can be seen without opening any. The frames of what was appended
/// again are others, so that everything is looked through where it is not there.
fn by_id(engine: &Engine, customer: &CustomerId, id: RecordId, sight: Sight) -> Result<(SubjectNumber, Option<Hit>)> {
    let one = |origin| {
        let wanted = Wanted { id, origin };
        let found = settled(engine, || hits(engine, customer, sight, Range::new(..), Some(&wanted)))?;
        Ok((found.subject, found.hits.into_iter().next()))
    };
    if let Some((opening, sequence)) = id.spelled() {
        let found = one(Some(Origin { opening, sequence }))?;
        if found.1.is_some() {
            return Ok(found);
        }
    }
    one(None)
}

/// What there is of a customer, and what was closed off when it was found to be open.
#[derive(Default)]
struct Found {
    subject: SubjectNumber,
    passed: u64,
    hits: Vec<Hit>,
}

/// What somebody may look at.
struct View<'a> {
    /// The partitions.
    partitions: &'a dyn Fn(&Partition) -> bool,
    /// The times of events in one of them.
    times: &'a dyn Fn(&Partition) -> Times<'a>,
    /// The secrets under which to look.
    secrets: &'a dyn Fn(&Secret) -> bool,
    /// With whose eyes that is.
    sight: Sight,
    /// When it happened.
    range: Range,
    /// What is known of the customer.
    facts: &'a Facts,
}

type Times<'a> = Box<dyn Fn(Timestamp) -> bool + 'a>;

/// Everything in `range` that may be seen, or only the record `wanted`.
fn hits(engine: &Engine, customer: &CustomerId, sight: Sight, range: Range, wanted: Option<&Wanted>) -> Result<Found> {
    let (policy, now) = (engine.policy(), engine.now());
    // Whoever is shown the same with and without holds does not wait for the ledger, which may be syncing.
    let holds = match sight {
        Sight::Ordinary | Sight::History => Holds::default(),
        Sight::Held | Sight::Restricted => hold::standing(engine),
    };
    let entry = engine.keyring.customer(customer)?.map(|found| found.entry);
    let subject = entry.as_ref().map(|entry| entry.subject).unwrap_or_default();
    let facts = entry.as_ref().map(|entry| duty::facts(engine, &policy, entry)).transpose()?.unwrap_or_default();
    let scopes: Vec<&HoldScope> = holds.on(&subject).map(|(_, hold)| &hold.scope).collect();
    let (policy, facts) = (&*policy, &facts);
    let is_held = |stream: &Stream, at| scopes.iter().any(|scope| scope.contains(stream, at, policy));
    let partitions = |partition: &Partition| match sight {
        Sight::Held => scopes.iter().any(|scope| scope.meets(&partition.id, policy)),
        _ => partition.key.is_some() && range.meets(partition),
    };
    let times = |partition: &Partition| -> Times<'_> {
        let (shown, stream) = (shown(policy, partition, facts, now), partition.id.stream.clone());
        match sight {
            Sight::Ordinary | Sight::History => Box::new(move |at| range.contains(at) && shown(at)),
            Sight::Held => Box::new(move |at| is_held(&stream, at)),
            Sight::Restricted => Box::new(move |at| {
                range.contains(at) && (is_held(&stream, at) || duty::keeps(policy, &stream, at, facts, now))
            }),
        }
    };
    let secrets = |secret: &Secret| match sight {
        Sight::Ordinary | Sight::History => !secret.restricted,
        Sight::Held => true,
        Sight::Restricted => secret.restricted,
    };
    let view = View { partitions: &partitions, times: &times, secrets: &secrets, sight, range, facts };
    read(engine, customer, &view, wanted)
}

/// What there is in a view, or only the record `wanted`: then partitions are gone through in the order of time.
fn read(engine: &Engine, customer: &CustomerId, view: &View<'_>, wanted: Option<&Wanted>) -> Result<Found> {
    let since = engine.fences.parted();
    // Before the entry: a column that explodes in between is found as it was, with its key. The other way round the entry
    // might lack a held cell's key, and the column its own.
    let columns = if view.sight == Sight::Held { engine.partitions.all() } else { Vec::new() };
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Found::default()) };
    let subject = found.entry.subject;
    if found.entry.state == CustomerState::Living && engine.fences.has_subject(&subject) {
        return Err(Error::new(ErrorKind::Erased, "the customer is being erased").hint("ask again when that is done"));
    }
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, &found.entry);
    let mut hits = Vec::new();
    let mut partitions = match view.sight {
        Sight::Held => columns.into_iter().filter(|partition| covers(&found.entry, partition)).collect(),
        _ => covered_or_held(engine, &found.entry),
    };
    let states = match view.sight {
        Sight::Ordinary => states(engine, &found.entry),
        _ => Vec::new(),
    };
    partitions.retain(|partition| (view.partitions)(partition) && !states.contains(&partition.id.stream));
    if wanted.is_some() {
        partitions.sort_by_key(|partition| partition.id.window.start());
    }
    for partition in partitions {
        if wanted.is_some_and(|wanted| wanted.found_before(partition.id.window.start(), &hits)) {
            break;
        }
        let probes: Vec<Probe> =
            row.secrets(&partition).filter(|(one, _)| (view.secrets)(one)).map(|(_, probe)| probe).collect();
        if let Some(origin) = wanted.and_then(|wanted| wanted.origin)
            && !any(&probes, |probe| reader.names(partition.number, &probe.handle, origin))?
        {
            continue;
        }
        let times = (view.times)(&partition);
        for probe in &probes {
            reader.read(&partition, probe, &times, &mut hits)?;
        }
        if let Some(wanted) = wanted {
            match view.sight {
                Sight::Ordinary => amend::keep_versions_since(&mut hits, wanted.id),
                _ => hits.retain(|hit| hit.id == wanted.id),
            }
        }
    }
    for stream in &states {
        if wanted.is_some() && !hits.is_empty() {
            break;
        }
        let (whose, id) = ((&*found.entry, view.facts), wanted.map(|wanted| wanted.id));
        let newest = latest::newest(engine, &reader, whose, stream, id, &mut |_, error| Err(error))?;
        hits.extend(newest.filter(|hit| view.range.contains(hit.event())));
    }
    order(&mut hits);
    if view.sight == Sight::Ordinary {
        amend::supersede(&mut hits);
    }
    let passed = engine.fences.changes();
    engine.fences.check_part(&subject, since)?;
    // What was closed off while it was read is not handed out.
    lease::look(engine)?;
    hits.retain(|hit| check(engine, &subject, hit.partition.number, view.sight).is_ok());
    Ok(Found { subject, passed, hits })
}

/// The streams of a customer of which the newest record counts.
fn states(engine: &Engine, customer: &CustomerEntry) -> Vec<Stream> {
    let policy = engine.policy();
    let streams = customer.streams.iter().map(|used| used.stream.clone());
    streams.filter(|stream| policy.is_state(stream)).collect()
}

/// Whether any of `probes` is one that `asked` says yes to.
fn any(probes: &[Probe], asked: impl Fn(&Probe) -> Result<bool>) -> Result<bool> {
    for probe in probes {
        if asked(probe)? {
            return Ok(true);
        }
    }
    Ok(false)
}
