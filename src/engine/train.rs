//! Training: a stream's dictionary, made of what many of its customers share, from the records of its living customers.
//!
//! Nothing that appends need is held meanwhile. What was sampled may be erased before the training is over: then the
//! dictionary is dropped, which the ledger decides at the moment it would become visible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::Engine;
use super::catalog::{Snapshot, Totals};
use super::cells::probes;
use super::dictionaries::{Dictionaries, publish};
use super::partitions::Partition;
use super::read::{CellReader, Hit, order};
use super::visible::{covers, shown};
use crate::compress::{self, LEVEL, Sample, Training};
use crate::error::Result;
use crate::format::dictionary::Provenance;
use crate::format::ledger::State;
use crate::ident::{CustomerId, PartitionId, PartitionNumber, Stream};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::record::Record;
use crate::report::Training as Report;
use crate::sync::Arc;
use crate::window::Timestamp;

/// Customers that must share whatever goes into a dictionary.
pub const K: usize = 20;
/// The longest dictionary that is trained, in bytes.
const SIZE_LIMIT: usize = 64 << 10;
/// Shorter ones are not worth their file.
const SIZE_LEAST: usize = 2 << 10;
/// A dictionary is at most one such part of what its partition is expected to take in, in bytes of bodies.
const SHARE: u64 = 50;
/// What is sampled of a stream, and of one customer, in bytes of bodies.
const SAMPLE_BYTES: usize = 8 << 20;
const CUSTOMER_BYTES: usize = 64 << 10;
/// How often it is looked whether a stream is due.
const LOOK: Duration = Duration::from_secs(1);
/// A day's rate is believed for so many days ahead.
const FORESIGHT: u64 = 60;

/// When a stream is trained for the first time, or from another window: at so many records or bytes of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Records in the window, or in all of the stream before the first dictionary.
    pub records: u64,
    /// The same in bytes of bodies: whichever comes first.
    pub raw_bytes: u64,
    /// Customers that the sample must have.
    pub customers: usize,
}

impl Default for Threshold {
    fn default() -> Self {
        Threshold { records: 1_000, raw_bytes: 2 << 20, customers: 200 }
    }
}

impl Threshold {
    fn is_met(&self, totals: &Totals) -> bool {
        totals.records - totals.chunks >= self.records || totals.raw_bytes >= self.raw_bytes
    }
}

/// A stream to train, and the window it is to be trained from.
pub struct Due {
    stream: Stream,
    /// The partitions that are sampled, the newest first.
    partitions: Vec<Arc<Partition>>,
    /// The one that the dictionary is for.
    target: Arc<Partition>,
    /// The most bytes it may have.
    size: usize,
}

/// What was tried before in this opening, so that it is not tried over and over.
#[derive(Default)]
pub struct Tried {
    /// By target: how many bytes of bodies there were.
    at: HashMap<PartitionNumber, u64>,
    looked: Option<Duration>,
}

/// Trains the stream that is due next; `None` where none is. `stop` is asked now and then.
///
/// # Errors
/// As [`train`].
pub fn next(engine: &Engine, stop: &dyn Fn() -> bool) -> Result<Option<Option<Report>>> {
    // One that is under way is waited for: it may be all there is to do.
    drop(engine.writer()?.training.lock().expect("no holder of this lock panics"));
    due(engine, true).map(|due| train(engine, &due, stop)).transpose()
}

/// The stream that is to be trained next. Looks at most once a second, unless it `must`.
pub fn due(engine: &Engine, must: bool) -> Option<Due> {
    let writer = engine.writer.as_ref()?;
    let now = engine.env.monotonic();
    let mut tried = writer.trained.lock().expect("no holder of this lock panics");
    if !must && tried.looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK) {
        return None;
    }
    tried.looked = Some(now);
    let totals = totals(engine, &engine.catalog.snapshot());
    let mut streams: HashMap<Stream, Vec<(Arc<Partition>, Totals)>> = HashMap::new();
    for (number, totals) in totals {
        if let Some(entry) = engine.partitions.numbered(number).filter(|_| !engine.fences.has_partition(number)) {
            streams.entry(entry.id.stream.clone()).or_default().push((entry, totals));
        }
    }
    let policy = engine.policy();
    let threshold = writer.tuning.train_at;
    streams.retain(|stream, _| policy.dictionary(stream));
    let dues = streams.into_iter().filter_map(|(stream, mut partitions)| {
        partitions.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.id.window.start()));
        choose(&engine.catalog.dictionaries, &threshold, engine.now(), (stream, partitions))
    });
    let due = dues.filter(|(due, raw)| tried.at.get(&due.target.number).is_none_or(|before| *raw >= 2 * before));
    let (due, raw) = due.min_by(|(a, _), (b, _)| a.stream.cmp(&b.stream))?;
    tried.at.insert(due.target.number, raw);
    Some(due)
}

/// What is to be trained of one stream, whose `partitions` come newest first, and the bytes there are to train from.
fn choose(
    dictionaries: &Dictionaries,
    threshold: &Threshold,
    now: Timestamp,
    (stream, partitions): (Stream, Vec<(Arc<Partition>, Totals)>),
) -> Option<(Due, u64)> {
    let size = size(partitions.iter().map(|(entry, totals)| (&entry.id, totals)))?;
    let trained: HashSet<_> = dictionaries.of_stream(&stream).iter().map(|fact| fact.provenance.origin).collect();
    if trained.is_empty() {
        let mut sum = Totals::default();
        partitions.iter().for_each(|(_, totals)| sum.add(totals));
        let target = partitions.iter().max_by_key(|(_, totals)| totals.raw_bytes)?.0.clone();
        let partitions = partitions.into_iter().map(|(entry, _)| entry).collect();
        return threshold.is_met(&sum).then_some((Due { stream, partitions, target, size }, sum.raw_bytes));
    }
    // The newest window that has enough to be trained from, if it is newer than those that dictionaries came from.
    let newest = partitions.into_iter().find(|(_, totals)| threshold.is_met(totals))?;
    let fresh = !trained.contains(&newest.0.number) && is_rested(dictionaries, &newest.0.id, now);
    let (target, totals) = newest;
    fresh.then_some((Due { stream, partitions: vec![target.clone()], target, size }, totals.raw_bytes))
}

/// Whether a quarter of a window has passed since the stream was trained: whoever loads years of history at once does not
/// wait for a training of every month.
fn is_rested(dictionaries: &Dictionaries, id: &PartitionId, now: Timestamp) -> bool {
    let window = (id.window.end().as_micros() - id.window.start().as_micros()) / 1_000_000;
    let latest = dictionaries.newest(&id.stream).map(|fact| fact.provenance.trained);
    latest.is_none_or(|trained| trained.plus_seconds(window / 4) <= now)
}

/// What every partition holds, settled or not.
fn totals(engine: &Engine, snapshot: &Snapshot) -> HashMap<PartitionNumber, Totals> {
    let mut sums: HashMap<PartitionNumber, Totals> = HashMap::new();
    for slot in snapshot.view.segments.values().flatten() {
        let fact = &slot.fact;
        let span = Some((fact.first_day, fact.last_day));
        let (records, chunks, raw_bytes) = (fact.records, fact.chunks, fact.raw_bytes);
        let totals = Totals { records, chunks, raw_bytes, frame_bytes: fact.bytes, span };
        sums.entry(fact.partition).or_default().add(&totals);
    }
    for journal in &snapshot.view.journals {
        for (number, totals) in journal.totals() {
            sums.entry(number).or_default().add(&totals);
        }
    }
    sums.retain(|number, _| !engine.fences.has_partition(*number));
    sums
}

/// How long a dictionary may be for a stream with these partitions; none where it would not be worth a file.
fn size<'a>(partitions: impl Iterator<Item = (&'a PartitionId, &'a Totals)>) -> Option<usize> {
    let expected = partitions.map(|(id, totals)| expected(id, totals)).max()?;
    let size = (expected / SHARE).min(SIZE_LIMIT as u64) as usize;
    (size >= SIZE_LEAST).then_some(size)
}

/// What a partition will have taken in by the end of its window, in bytes of bodies, should it go on as it began.
fn expected(id: &PartitionId, totals: &Totals) -> u64 {
    let Some((first, last)) = totals.span else { return totals.raw_bytes };
    let days = |from: i32, to: i32| u64::try_from(to.saturating_sub(from)).unwrap_or(0).max(1);
    let so_far = days(first.number(), last.number() + 1);
    let whole = days(id.window.first_day().number(), id.window.end().day().number());
    (totals.raw_bytes / so_far).saturating_mul(whole.min(so_far * FORESIGHT)).max(totals.raw_bytes)
}

/// Trains `due` and makes what comes of it visible, if it is worth it. `stop` is asked now and then.
///
/// # Errors
/// What the operating system, the keyring or the ledger answers when it is published.
pub fn train(engine: &Engine, due: &Due, stop: &dyn Fn() -> bool) -> Result<Option<Report>> {
    let _one_at_a_time = engine.writer()?.training.lock().expect("no holder of this lock panics");
    let known = |state: &State| (state.acts.next(), state.policy.0);
    let before = known(engine.ledger().state());
    let stale = |state: &State| known(state) != before;
    let stop = || stop() || engine.fences.has_partition(due.target.number);
    let Some(bodies) = sample(engine, due, &stop) else { return Ok(None) };
    let samples: Vec<Sample<'_>> = bodies.iter().map(|(customer, body)| Sample { customer: *customer, body }).collect();
    make(engine, &due.target, &samples, due.size, &stop, &stale)
}

/// Trains the streams of `records`, which are not in the store yet, where they have no dictionary: each for the partition
/// that most of its records go to.
///
/// # Errors
/// As [`train`].
pub fn train_from(engine: &Engine, records: &[Record], stop: &dyn Fn() -> bool) -> Result<Vec<Report>> {
    let (policy, now) = (engine.policy(), engine.now());
    let mut streams: BTreeMap<&Stream, Vec<(&Record, PartitionId)>> = BTreeMap::new();
    for record in records {
        let wanted = policy.dictionary(&record.stream);
        let lacks = engine.catalog.dictionaries.newest(&record.stream).is_none();
        if wanted
            && lacks
            && let Ok(length) = policy.admits(&record.stream, record.at, now)
            && is_free(engine, &record.customer)?
        {
            let id = PartitionId::holding(record.stream.clone(), record.at, length);
            streams.entry(&record.stream).or_default().push((record, id));
        }
    }
    let mut reports = Vec::new();
    for records in streams.into_values() {
        reports.extend(train_stream(engine, &records, stop)?);
    }
    Ok(reports)
}

fn train_stream(
    engine: &Engine,
    records: &[(&Record, PartitionId)],
    stop: &dyn Fn() -> bool,
) -> Result<Option<Report>> {
    let mut partitions: BTreeMap<&PartitionId, Totals> = BTreeMap::new();
    let mut numbers = HashMap::new();
    let mut samples = Vec::new();
    for (record, id) in records {
        let span = Some((record.at.day(), record.at.day()));
        let raw_bytes = record.body.len() as u64;
        partitions.entry(id).or_default().add(&Totals { records: 1, chunks: 0, raw_bytes, frame_bytes: 0, span });
        let next = numbers.len() as u64;
        let customer = *numbers.entry(&record.customer).or_insert(next);
        samples.push(Sample { customer, body: &record.body });
    }
    let size = size(partitions.iter().map(|(id, totals)| (*id, totals)));
    let target = partitions.iter().max_by_key(|(_, totals)| totals.raw_bytes);
    let (Some(size), Some((id, _))) = (size, target) else { return Ok(None) };
    let known = |state: &State| (state.acts.next(), state.policy.0);
    let before = known(engine.ledger().state());
    let (target, _) = engine.partitions.use_partition(&engine.keyring, id)?;
    make(engine, &target, &samples, size, stop, &|state| known(state) != before)
}

/// Whether a customer has not been erased, as far as anybody knows.
fn is_free(engine: &Engine, customer: &CustomerId) -> Result<bool> {
    let found = engine.keyring.customer(customer)?;
    Ok(found.is_none_or(|found| {
        found.entry.state == CustomerState::Living && !engine.fences.has_subject(&found.entry.subject)
    }))
}

/// Trains, judges and publishes.
fn make(
    engine: &Engine,
    target: &Partition,
    samples: &[Sample<'_>],
    size: usize,
    stop: &dyn Fn() -> bool,
    stale: &dyn Fn(&State) -> bool,
) -> Result<Option<Report>> {
    let threshold = engine.writer()?.tuning.train_at;
    let customers: HashSet<u64> = samples.iter().map(|sample| sample.customer).collect();
    if customers.len() < threshold.customers.max(K) {
        return Ok(None);
    }
    let Some(trained) = compress::train(samples, &Training { k: K, size, level: LEVEL }, stop) else { return Ok(None) };
    if !is_better(engine, target, samples, (trained.plain_bytes, trained.with_bytes), &trained.dictionary) {
        return Ok(None);
    }
    let (plain_bytes, with_bytes) = (trained.plain_bytes, trained.with_bytes);
    let provenance = Provenance { trained: engine.now(), origin: target.number, plain_bytes, with_bytes };
    let published = publish(engine, target, &trained.dictionary, provenance, stale)?;
    Ok(published.then(|| Report {
        stream: target.id.stream.clone(),
        partition: target.id.clone(),
        bytes: trained.dictionary.bytes().len() as u64,
        customers: customers.len() as u64,
        records: samples.len() as u64,
        plain_bytes,
        with_bytes,
    }))
}

/// Whether a new dictionary takes more than 3 % off what the one in use, or none, makes of the same records.
fn is_better(
    engine: &Engine,
    target: &Partition,
    samples: &[Sample<'_>],
    (plain, with): (u64, u64),
    new: &compress::Dictionary,
) -> bool {
    let gains = |before: u64, after: u64| after.saturating_mul(100) < before.saturating_mul(97);
    let dictionaries = &engine.catalog.dictionaries;
    let old = match dictionaries.current(&*engine.env, &engine.root, target) {
        Some((_, old)) => Some(old),
        None => dictionaries.newest_prepared(engine, &target.id.stream),
    };
    let Some(old) = old else { return gains(plain, with) };
    let (mut before, mut after, mut out) = (0, 0, Vec::new());
    // A sample of the sample, spread over all of it.
    for sample in samples.iter().step_by((samples.len() / 1_000).max(1)) {
        for (dictionary, sum) in [(&*old, &mut before), (new, &mut after)] {
            out.clear();
            let smaller = compress::compress_into(sample.body, Some(dictionary), &mut out);
            *sum += if smaller { out.len() as u64 } else { sample.body.len() as u64 };
        }
    }
    gains(before, after)
}

/// Bodies of living customers, each with a number for its customer: a bounded part, of many customers. What cannot be
/// read is left out; whoever reads it is told.
fn sample(engine: &Engine, due: &Due, stop: &dyn Fn() -> bool) -> Option<Vec<(u64, Vec<u8>)>> {
    let snapshot = engine.catalog.snapshot();
    let mut bodies = Vec::new();
    let mut bytes = 0;
    for partition in &due.partitions {
        let walked = engine.keyring.walk_customers(&mut |customer| {
            if bytes < SAMPLE_BYTES && covers(customer, partition) && !stop() {
                let taken = of_customer(engine, &snapshot, customer, partition);
                bytes += taken.iter().map(Vec::len).sum::<usize>();
                bodies.extend(taken.into_iter().map(|body| (fingerprint(customer), body)));
            }
            Ok(())
        });
        if walked.is_err() || bytes >= SAMPLE_BYTES {
            break;
        }
    }
    (!stop()).then_some(bodies)
}

/// A number for a customer, the same in all partitions.
fn fingerprint(customer: &CustomerEntry) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *customer.subject.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What may be sampled of one customer in one partition: nothing restricted, hidden or redacted.
fn of_customer(
    engine: &Engine,
    snapshot: &Snapshot,
    customer: &CustomerEntry,
    partition: &Arc<Partition>,
) -> Vec<Vec<u8>> {
    if customer.state != CustomerState::Living || engine.fences.has_subject(&customer.subject) {
        return Vec::new();
    }
    let mut free = customer.duplicate();
    free.secrets.retain(|secret| !secret.restricted);
    let reader = CellReader::new(&engine.catalog, snapshot, engine.store);
    let (policy, now) = (engine.policy(), engine.now());
    let shown = shown(&policy, partition, now);
    let mut hits: Vec<Hit> = Vec::new();
    for probe in probes(&engine.store, &free, partition) {
        if reader.read(partition, &probe, &|at| shown(at), &mut hits).is_err() {
            return Vec::new();
        }
    }
    order(&mut hits);
    let mut left = CUSTOMER_BYTES;
    let bodies = hits.into_iter().filter_map(|hit| hit.into_record(&customer.id).ok()).map(|record| record.body);
    // A large body stays where it is.
    let bodies = bodies.filter(|body| !body.is_empty());
    bodies
        .take_while(|body| {
            let fits = body.len() <= left;
            left = left.saturating_sub(body.len());
            fits
        })
        .map(|body| body.to_vec())
        .collect()
}
