//! Timeline, get and grep: one customer's records in the order of events.

use crate::sync::Arc;
use std::cell::OnceCell;
use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::engine::partitions::Partition;
use crate::engine::read::{CellReader, Hit, order};
use crate::engine::recent::{Asked, Known};
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
use crate::policy::{Facts, HoldScope, Policy};
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

/// With whose eyes a customer is looked at, and what the answer depends on.
struct View<'a> {
    sight: Sight,
    range: Range,
    policy: &'a Policy,
    now: Timestamp,
    facts: Facts,
    /// What is held of the customer.
    scopes: Vec<&'a HoldScope>,
    /// Keys may be kept that were read in it.
    epoch: u64,
}

impl View<'_> {
    /// Whether a partition is looked into.
    fn has_partition(&self, partition: &Partition) -> bool {
        match self.sight {
            Sight::Held => self.scopes.iter().any(|scope| scope.meets(&partition.id, self.policy)),
            _ => partition.key.is_some() && self.range.meets(partition),
        }
    }

    /// Whether what stands under a secret is looked at.
    fn has_secret(&self, secret: &Secret) -> bool {
        match self.sight {
            Sight::Ordinary | Sight::History => !secret.restricted,
            Sight::Held => true,
            Sight::Restricted => secret.restricted,
        }
    }

    /// Whether a record is seen that happened then. What the policy says of a partition is asked where there is one.
    fn times<'p>(&'p self, partition: &'p Partition) -> impl Fn(Timestamp) -> bool + use<'p> {
        let is_shown = OnceCell::new();
        let is_shown = move |at| is_shown.get_or_init(|| shown(self.policy, partition, &self.facts, self.now))(at);
        let stream = &partition.id.stream;
        let is_held = move |at| self.scopes.iter().any(|scope| scope.contains(stream, at, self.policy));
        let is_kept = move |at| is_held(at) || duty::keeps(self.policy, stream, at, &self.facts, self.now);
        move |at| match self.sight {
            Sight::Ordinary | Sight::History => self.range.contains(at) && is_shown(at),
            Sight::Held => is_held(at),
            Sight::Restricted => self.range.contains(at) && is_kept(at),
        }
    }
}

/// Everything in `range` that may be seen, or only the record `wanted`: then partitions are gone through in the order of
/// time.
fn hits(engine: &Engine, customer: &CustomerId, sight: Sight, range: Range, wanted: Option<&Wanted>) -> Result<Found> {
    let (policy, now) = (engine.policy(), engine.now());
    // Others are not asked: that takes the ledger's lock, which is held across syncs.
    let holds = match sight {
        Sight::Held | Sight::Restricted => hold::standing(engine),
        Sight::Ordinary | Sight::History => Holds::default(),
    };
    let (since, before) = (engine.fences.parted(), engine.fences.changes());
    // Before the entry: a column that explodes in between is found as it was, with its key. The other way round the entry
    // might lack a held cell's key, and the column its own.
    let columns = if sight == Sight::Held { engine.partitions.all() } else { Vec::new() };
    let epoch = engine.writer.as_ref().map_or(0, |writer| writer.recent.epoch());
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Found::default()) };
    let (entry, subject) = (&*found.entry, found.entry.subject);
    if entry.state == CustomerState::Living && engine.fences.has_subject(&subject) {
        return Err(Error::new(ErrorKind::Erased, "the customer is being erased").hint("ask again when that is done"));
    }
    let facts = duty::facts(engine, &policy, entry)?;
    let scopes = holds.on(&subject).map(|(_, hold)| &hold.scope).collect();
    let view = View { sight, range, policy: &policy, now, facts, scopes, epoch };
    let mut partitions = match sight {
        Sight::Held => columns.into_iter().filter(|partition| covers(entry, partition)).collect(),
        _ => covered_or_held(engine, entry),
    };
    let states = if sight == Sight::Ordinary { states(&policy, entry) } else { Vec::new() };
    partitions.retain(|partition| view.has_partition(partition) && !states.contains(&partition.id.stream));
    if wanted.is_some() {
        partitions.sort_by_key(|partition| partition.id.window.start());
    }
    let mut hits = read(engine, &found.entry, &view, (&partitions, &states), wanted)?;
    order(&mut hits);
    if sight == Sight::Ordinary {
        amend::supersede(&mut hits);
    }
    let passed = engine.fences.changes();
    engine.fences.check_part(&subject, since)?;
    // What was closed off while it was read is not handed out.
    lease::look(engine)?;
    hits.retain(|hit| check(engine, &subject, hit.partition.number, sight).is_ok());
    if matches!(sight, Sight::Ordinary | Sight::History)
        && engine.fences.changes() != before
        && entry.streams.iter().any(|used| policy.is_state(&used.stream))
    {
        // A state may have been carried out of a window that was closed off: where it is now was not looked.
        return self::hits(engine, customer, sight, range, wanted);
    }
    Ok(Found { subject, passed, hits })
}

/// What there is in a view: in these partitions, and of these streams the newest; or only the record `wanted`.
fn read(
    engine: &Engine,
    entry: &Arc<CustomerEntry>,
    view: &View<'_>,
    (partitions, states): (&[Arc<Partition>], &[Stream]),
    wanted: Option<&Wanted>,
) -> Result<Vec<Hit>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let is_usual = view.sight == Sight::Ordinary && wanted.is_none() && states.is_empty();
    let recent = engine.writer.as_ref().filter(|_| is_usual).map(|writer| &writer.recent);
    match recent.map(|recent| recent.ask(view.epoch, entry, snapshot.view.generation, partitions)) {
        Some(Asked::Known(known)) => {
            // Whatever goes wrong, who reads the files can tell where.
            if let Ok(hits) = read_known(&reader, &known, view, partitions) {
                return Ok(hits);
            }
        }
        Some(Asked::Again(taking)) if view.range.is_whole() => drop(reader.notes.replace(Some(taking))),
        _ => {}
    }
    let mut row = Row::new(&engine.store, entry);
    let (mut hits, mut probes) = (Vec::new(), Vec::new());
    for partition in partitions {
        if wanted.is_some_and(|wanted| wanted.found_before(partition.id.window.start(), &hits)) {
            break;
        }
        probes.clear();
        probes.extend(row.secrets(partition).filter(|(one, _)| view.has_secret(one)).map(|(_, probe)| probe));
        if let Some(origin) = wanted.and_then(|wanted| wanted.origin)
            && !any(&probes, |probe| reader.names(partition.number, &probe.handle, origin))?
        {
            continue;
        }
        let times = view.times(partition);
        reader.note(partition);
        for probe in probes.drain(..) {
            reader.read(partition, &probe, &times, &mut hits)?;
            reader.note_cell(probe);
        }
        if let Some(wanted) = wanted {
            match view.sight {
                Sight::Ordinary => amend::keep_versions_since(&mut hits, wanted.id),
                _ => hits.retain(|hit| hit.id == wanted.id),
            }
        }
    }
    for stream in states {
        if wanted.is_some() && !hits.is_empty() {
            break;
        }
        let (whose, id) = ((&**entry, &view.facts), wanted.map(|wanted| wanted.id));
        let newest = latest::newest(engine, &reader, whose, stream, id, &mut |_, error| Err(error))?;
        hits.extend(newest.filter(|hit| view.range.contains(hit.event())));
    }
    if let Some((recent, taking)) = recent.zip(reader.notes.take()) {
        recent.keep(*taking);
    }
    Ok(hits)
}

/// What there is in a view of a customer whose cells are known.
fn read_known(
    reader: &CellReader<'_>,
    known: &Known,
    view: &View<'_>,
    partitions: &[Arc<Partition>],
) -> Result<Vec<Hit>> {
    let mut hits = Vec::new();
    for column in known.columns(partitions).flatten() {
        let times = view.times(&column.partition);
        for cell in &column.cells {
            reader.read_known((known, &column.partition, cell), &times, &mut hits)?;
        }
    }
    Ok(hits)
}

/// The streams of a customer of which the newest record counts.
fn states(policy: &Policy, customer: &CustomerEntry) -> Vec<Stream> {
    let streams = customer.streams.iter().map(|used| &used.stream);
    streams.filter(|stream| policy.is_state(stream)).cloned().collect()
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
