//! Exploding a row: a customer's secret is replaced by the derived keys that must survive, so that the rest can never be
//! derived again, and a fresh secret for what is to come. Records of a dying cell that must survive are appended again
//! before, under the fresh secret, with their original ids and order.

use crate::sync::Arc;
use std::collections::{BTreeSet, HashSet};

use super::acts::{find, note, shred};
use super::cells::probes;
use super::large;
use super::partitions::Partition;
use super::read::{CellReader, Hit};
use super::scrub::DeadCell;
use super::visible::covered;
use super::{Engine, Writer, acts, amend};
use crate::crypto::{Key, YearKey, stream_key};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::Origin;
use crate::format::ledger::Act;
use crate::ident::{CustomerId, PartitionNumber, Stream};
use crate::keyring::{Changes, CustomerEntry, Secret, SecretScope};

/// Which of a customer's records an act destroys.
struct Scope {
    /// The streams it touches.
    streams: Vec<Stream>,
    /// The cells it kills.
    cells: BTreeSet<PartitionNumber>,
    /// The streams of which nothing survives, whatever partition it may be in.
    whole: Vec<Stream>,
}

/// Does a partial erasure or a redaction.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn perform(engine: &Engine, writer: &Writer, number: u64, act: &Act, ids: Option<&[CustomerId]>) -> Result<()> {
    let subject = match act {
        Act::ErasePart { subject, .. } | Act::Redact { subject, .. } => *subject,
        _ => return Ok(()),
    };
    // Nobody else writes while the row is taken apart and put together again: appenders wait, readers are told.
    let _shut = engine.fences.shut();
    engine.fences.close_part(subject);
    let outcome = take_apart(engine, writer, number, act, ids);
    engine.fences.open_part(subject);
    outcome
}

/// Whether a partial erasure finds anything to erase. What waits to be committed is looked at as well.
///
/// # Errors
/// What made an earlier commit fail; damage in what is read.
pub fn finds(engine: &Engine, writer: &Writer, act: &Act, id: &CustomerId) -> Result<bool> {
    writer.committer.flush(&engine.tools(writer))?;
    let (Some(found), Act::ErasePart { until, .. }) = (engine.keyring.customer(id)?, act) else { return Ok(false) };
    let scope = scope(engine, act, &found.entry);
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    for partition in covered(engine, &found.entry) {
        let whole = until.is_none_or(|until| partition.id.window.end() <= until);
        for probe in probes(&engine.store, &found.entry, &partition) {
            if !scope.cells.contains(&partition.number) || !reader.exists(partition.number, &probe.handle)? {
                continue;
            }
            let mut hits = Vec::new();
            if !whole {
                reader.read(&partition, &probe, &|_| true, &mut hits)?;
            }
            if whole || hits.iter().any(|hit| until.is_some_and(|until| hit.at < until)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn take_apart(engine: &Engine, writer: &Writer, number: u64, act: &Act, ids: Option<&[CustomerId]>) -> Result<()> {
    let subject = match act {
        Act::ErasePart { subject, .. } | Act::Redact { subject, .. } => *subject,
        _ => return Ok(()),
    };
    acts::flush(engine, writer)?;
    match find(engine, &[subject], ids)?.first() {
        Some(customer) if !customer.secrets.is_empty() => explode(engine, writer, number, act, customer),
        _ => shred(engine, number, &Changes::new()),
    }
}

fn explode(engine: &Engine, writer: &Writer, number: u64, act: &Act, customer: &CustomerEntry) -> Result<()> {
    let scope = scope(engine, act, customer);
    // The fresh secret is an addition like any other; what is appended again already stands under it.
    let fresh = engine.keyring.renew(&customer.id)?;
    let hits = read(engine, customer, &scope)?;
    let redacted = redacted(act, &hits);
    let gone = gone(act, &redacted, &hits);
    let survivors = survivors(act, &redacted, hits).into_iter();
    let survivors: Result<Vec<Hit>> =
        survivors.map(|hit| large::again(engine, writer, customer, &fresh, hit)).collect();
    let survivors = survivors?;
    let pending = engine.encoder(writer, &engine.policy(), engine.now()).again(&fresh, &survivors, &gone)?;
    if let Some(pending) = pending {
        let ticket = writer.committer.submit(pending)?;
        writer.committer.wait(ticket, &engine.tools(writer))?;
    }
    let dead = cells_of(engine, customer, &|partition| scope.cells.contains(&partition.number));
    let mut left = fresh.entry.duplicate();
    let newest = left.secrets.pop();
    left.secrets = customer.secrets.iter().flat_map(|secret| split(engine, customer, secret, &scope)).collect();
    left.secrets.extend(newest);
    let payload = left.encode().ok_or_else(|| Error::new(ErrorKind::Invalid, "what is left of a row is too long"))?;
    let mut changes = Changes::new();
    changes.insert(engine.keyring.customer_key(&customer.id), Some(payload));
    note(&mut changes, number, &dead);
    shred(engine, number, &changes)?;
    engine.scrub.add(number, &dead);
    writer.cells.purge();
    Ok(())
}

/// The cells of `customer` in the partitions that `wanted` names.
pub fn cells_of(engine: &Engine, customer: &CustomerEntry, wanted: &dyn Fn(&Partition) -> bool) -> Vec<DeadCell> {
    let partitions = covered(engine, customer).into_iter().filter(|partition| wanted(partition));
    partitions
        .flat_map(|partition| {
            let cells = probes(&engine.store, customer, &partition);
            cells.into_iter().map(move |cell| (partition.number, cell.handle)).collect::<Vec<_>>()
        })
        .collect()
}

fn scope(engine: &Engine, act: &Act, customer: &CustomerEntry) -> Scope {
    let partitions = covered(engine, customer);
    match act {
        Act::ErasePart { stream, until, .. } => {
            let touched = |one: &Stream| stream.as_ref().is_none_or(|stream| stream == one);
            let streams: Vec<Stream> =
                customer.streams.iter().map(|used| used.stream.clone()).filter(|one| touched(one)).collect();
            let dies = |partition: &Partition| {
                touched(&partition.id.stream) && until.is_none_or(|until| partition.id.window.start() < until)
            };
            let cells = partitions.iter().filter(|partition| dies(partition)).map(|partition| partition.number);
            let whole = if until.is_none() { streams.clone() } else { Vec::new() };
            Scope { streams, cells: cells.collect(), whole }
        }
        Act::Redact { partition, .. } => {
            let one = partitions.iter().find(|known| known.number == *partition);
            let streams = one.map(|known| known.id.stream.clone()).into_iter().collect();
            Scope { streams, cells: BTreeSet::from([*partition]), whole: Vec::new() }
        }
        _ => Scope { streams: Vec::new(), cells: BTreeSet::new(), whole: Vec::new() },
    }
}

/// The record that a redaction is about, in all its versions.
fn redacted(act: &Act, hits: &[Hit]) -> HashSet<Origin> {
    match act {
        Act::Redact { opening, sequence, .. } => {
            amend::versions(hits, Origin { opening: *opening, sequence: *sequence })
        }
        _ => HashSet::new(),
    }
}

/// Every record of the dying cells that is to live on.
fn survivors(act: &Act, redacted: &HashSet<Origin>, mut hits: Vec<Hit>) -> Vec<Hit> {
    super::read::order(&mut hits);
    hits.retain(|hit| match act {
        Act::ErasePart { until: Some(until), .. } => hit.at >= *until,
        Act::Redact { .. } => !redacted.contains(&hit.origin),
        _ => false,
    });
    hits
}

/// The records to be refused from now on: the one that a redaction destroys, and those of the dying cells that were
/// redacted before, where the act does not let go of their time altogether.
fn gone(act: &Act, redacted: &HashSet<Origin>, hits: &[Hit]) -> Vec<Hit> {
    let refused = |hit: &&Hit| match act {
        Act::ErasePart { until, .. } => hit.gone && until.is_some_and(|until| hit.at >= until),
        Act::Redact { .. } => hit.gone || redacted.contains(&hit.origin),
        _ => false,
    };
    let mut seen = HashSet::new();
    let once = |hit: &&Hit| seen.insert((hit.partition.number, hit.at, hit.id));
    hits.iter().filter(refused).filter(once).cloned().collect()
}

/// Everything that stands in the dying cells, in no particular order.
fn read(engine: &Engine, customer: &CustomerEntry, scope: &Scope) -> Result<Vec<Hit>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut hits = Vec::new();
    for partition in covered(engine, customer) {
        if scope.cells.contains(&partition.number) {
            for probe in probes(&engine.store, customer, &partition) {
                reader.read(&partition, &probe, &|_| true, &mut hits)?;
            }
        }
    }
    Ok(hits)
}

/// What survives of one secret: itself where nothing of it dies, else the keys below it that do not reach a dead cell.
fn split(engine: &Engine, customer: &CustomerEntry, secret: &Secret, scope: &Scope) -> Vec<Secret> {
    let keep = || vec![secret.duplicate()];
    match &secret.scope {
        SecretScope::Whole => {
            let streams = customer.streams.iter().map(|used| &used.stream);
            streams
                .flat_map(|stream| {
                    let key = stream_key(&engine.store, &secret.key, stream);
                    split_stream(engine, customer, stream, &key, secret.restricted, scope)
                })
                .collect()
        }
        SecretScope::Stream(stream) if scope.streams.contains(stream) => {
            split_stream(engine, customer, stream, &secret.key, secret.restricted, scope)
        }
        SecretScope::Year(stream, year) if scope.streams.contains(stream) => {
            split_year(engine, stream, *year, YearKey::from_key(secret.key.duplicate()), secret.restricted, scope)
        }
        SecretScope::Window(number) | SecretScope::Cell(number, _) => {
            if scope.cells.contains(number) {
                Vec::new()
            } else {
                keep()
            }
        }
        SecretScope::Stream(_) | SecretScope::Year(..) => keep(),
    }
}

fn split_stream(
    engine: &Engine,
    customer: &CustomerEntry,
    stream: &Stream,
    key: &Key,
    restricted: bool,
    scope: &Scope,
) -> Vec<Secret> {
    if scope.whole.contains(stream) {
        return Vec::new();
    }
    if !scope.streams.contains(stream) {
        return vec![Secret { scope: SecretScope::Stream(stream.clone()), restricted, key: key.duplicate() }];
    }
    let Some(used) = customer.streams.iter().find(|used| used.stream == *stream) else { return Vec::new() };
    let years = used.first_day.year()..=used.last_year;
    years
        .flat_map(|year| split_year(engine, stream, year, YearKey::derive(&engine.store, key, year), restricted, scope))
        .collect()
}

fn split_year(
    engine: &Engine,
    stream: &Stream,
    year: i16,
    key: YearKey,
    restricted: bool,
    scope: &Scope,
) -> Vec<Secret> {
    if scope.whole.contains(stream) {
        return Vec::new();
    }
    let partitions: Vec<Arc<Partition>> = engine.partitions.of_stream(stream);
    let mut windows = partitions.iter().filter(|partition| partition.id.window.year() == year).peekable();
    if windows.peek().is_none() {
        return Vec::new(); // Nothing was ever written there; what will be stands under the fresh secret.
    }
    let windows: Vec<_> = windows.collect();
    if !windows.iter().any(|partition| scope.cells.contains(&partition.number)) {
        let scope = SecretScope::Year(stream.clone(), year);
        return vec![Secret { scope, restricted, key: key.key().duplicate() }];
    }
    let living = windows.into_iter().filter(|partition| !scope.cells.contains(&partition.number));
    living
        .map(|partition| {
            let scope = SecretScope::Window(partition.number);
            Secret { scope, restricted, key: key.cell_secret(partition.number).key() }
        })
        .collect()
}
