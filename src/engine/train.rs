//! Training: a stream's dictionary, made of what many of its customers share, from the records of its living customers.
//!
//! Nothing that appends need is held meanwhile. What was sampled may be erased before the training is over: then the
//! dictionary is dropped, which the ledger decides at the moment it would become visible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::Engine;
use super::catalog::{Snapshot, Totals};
use super::dictionaries::{Dictionaries, Gift, publish};
use super::partitions::Partition;
use super::sample::{Allowance, Sampling, is_free};
use crate::compress::{self, Dictionary, Sample, Trained, Training};
use crate::error::Result;
use crate::format::dictionary::Provenance;
use crate::format::ledger::State;
use crate::ident::{CustomerId, PartitionId, PartitionNumber, Stream};
use crate::policy::Policy;
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
    known(engine.ledger().state())?;
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

/// What must not change between the first look at a record and the moment a dictionary becomes visible: the acts so far,
/// and the policy. None while an act is under way, which readers may not know of yet.
fn known(state: &State) -> Option<(u64, u32)> {
    state.acts.pending().next().is_none().then(|| (state.acts.next(), state.policy.0))
}

/// Trains `due` and makes what comes of it visible, if it is worth it. `stop` is asked now and then.
///
/// # Errors
/// What the operating system, the keyring or the ledger answers when it is published.
pub fn train(engine: &Engine, due: &Due, stop: &dyn Fn() -> bool) -> Result<Option<Report>> {
    let _one_at_a_time = engine.writer()?.training.lock().expect("no holder of this lock panics");
    // Before anything is looked at: whoever is let go of from here on is noticed at the end.
    let Some(before) = known(engine.ledger().state()) else { return Ok(None) };
    let stop = || stop() || engine.fences.has_partition(due.target.number);
    let mut sampling = Sampling::new(engine);
    sampling.walk(&due.partitions, &stop);
    if stop() {
        return Ok(None);
    }
    let dictionaries = &engine.catalog.dictionaries;
    let old = match dictionaries.current(&*engine.env, &engine.root, &due.target) {
        Some((_, old)) => Some(old),
        None => dictionaries.newest_prepared(engine, &due.stream),
    };
    let Some(made) = make(engine, &sampling.samples(), due.size, old.as_deref(), &stop)? else { return Ok(None) };
    reveal(engine, &due.target, made, &|state| known(state) != Some(before))
}

/// Trains the streams of `records`, which are not in the store yet, where they have no dictionary: each for the partition
/// that most of its records go to.
///
/// # Errors
/// As [`train`].
pub fn train_from(engine: &Engine, records: &[Record], stop: &dyn Fn() -> bool) -> Result<Vec<Report>> {
    let _one_at_a_time = engine.writer()?.training.lock().expect("no holder of this lock panics");
    // Before anybody is looked up: whoever is let go of from here on is noticed at the end.
    let Some(before) = known(engine.ledger().state()) else { return Ok(Vec::new()) };
    let stale = |state: &State| known(state) != Some(before);
    let (policy, now) = (engine.policy(), engine.now());
    let mut streams: BTreeMap<&Stream, Option<Intake<'_>>> = BTreeMap::new();
    for record in records {
        if stop() {
            return Ok(Vec::new());
        }
        let intake = streams.entry(&record.stream).or_insert_with(|| {
            let wanted = policy.dictionary(&record.stream);
            let lacks = engine.catalog.dictionaries.newest(&record.stream).is_none();
            (wanted && lacks).then(Intake::default)
        });
        if let Some(intake) = intake {
            intake.take(engine, record, &policy, now)?;
        }
    }
    let mut reports = Vec::new();
    for intake in streams.into_values().flatten() {
        let size = size(intake.partitions.iter());
        let target = intake.partitions.iter().max_by_key(|(_, totals)| totals.raw_bytes);
        let (Some(size), Some((target, _))) = (size, target) else { continue };
        let Some(made) = make(engine, &intake.samples, size, None, stop)? else { continue };
        if stale(engine.ledger().state()) {
            break;
        }
        let (target, _) = engine.partitions.use_partition(&engine.keyring, target)?;
        reports.extend(reveal(engine, &target, made, &stale)?);
    }
    Ok(reports)
}

/// What of the records that are going to be appended to one stream is trained from.
#[derive(Default)]
struct Intake<'r> {
    /// What the partitions are going to hold.
    partitions: BTreeMap<PartitionId, Totals>,
    samples: Vec<Sample<'r>>,
    numbers: HashMap<&'r CustomerId, u64>,
    allowance: Allowance,
}

impl<'r> Intake<'r> {
    fn take(&mut self, engine: &Engine, record: &'r Record, policy: &Policy, now: Timestamp) -> Result<()> {
        let Ok(length) = policy.admits(&record.stream, record.at, now) else { return Ok(()) };
        let span = Some((record.at.day(), record.at.day()));
        let raw_bytes = record.body.len() as u64;
        let id = PartitionId::holding(record.stream.clone(), record.at, length);
        let totals = Totals { records: 1, chunks: 0, raw_bytes, frame_bytes: 0, span };
        self.partitions.entry(id).or_default().add(&totals);
        if self.allowance.is_used_up() {
            return Ok(());
        }
        let customer = match self.numbers.get(&record.customer) {
            Some(customer) => *customer,
            None => {
                if engine.keyring.customer(&record.customer)?.is_some_and(|found| !is_free(engine, &found.entry)) {
                    return Ok(());
                }
                let next = self.numbers.len() as u64;
                *self.numbers.entry(&record.customer).or_insert(next)
            }
        };
        let part = self.allowance.take(customer, &record.body);
        self.samples.extend(part.map(|body| Sample { customer, body }));
        Ok(())
    }
}

/// A dictionary that is worth it, and how many customers and records it was sampled from.
struct Made {
    trained: Trained,
    customers: u64,
    records: u64,
}

/// Trains, and judges whether it takes more than 3 % off what the `old` dictionary, or none, makes of the records of
/// customers who were held out.
fn make(
    engine: &Engine,
    samples: &[Sample<'_>],
    size: usize,
    old: Option<&Dictionary>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Made>> {
    let threshold = engine.writer()?.tuning.train_at;
    let customers = samples.iter().map(|sample| sample.customer).collect::<HashSet<_>>().len();
    if customers < threshold.customers.max(K) {
        return Ok(None);
    }
    let Some(trained) = compress::train(samples, &Training { k: K, size }, stop) else { return Ok(None) };
    let before = old.map_or(trained.plain_bytes, |old| compress::measure(samples, Some(old)));
    let is_better = trained.with_bytes.saturating_mul(100) < before.saturating_mul(97);
    let (customers, records) = (customers as u64, samples.len() as u64);
    Ok(is_better.then_some(Made { trained, customers, records }))
}

/// Publishes what was made, unless the state makes it `stale`.
fn reveal(engine: &Engine, target: &Partition, made: Made, stale: &dyn Fn(&State) -> bool) -> Result<Option<Report>> {
    let Made { trained: Trained { dictionary, plain_bytes, with_bytes }, customers, records } = made;
    let provenance = Provenance { trained: engine.now(), origin: target.number, plain_bytes, with_bytes };
    let bytes = dictionary.bytes().len() as u64;
    let gift = Gift { partition: target, dictionary: Arc::new(dictionary), provenance };
    let published = publish(engine, &[gift], stale)?.pop().unwrap_or(Ok(false))?;
    Ok(published.then(|| Report {
        stream: target.id.stream.clone(),
        partition: target.id.clone(),
        bytes,
        customers,
        records,
        plain_bytes,
        with_bytes,
    }))
}
