//! Exploding a row: a customer's secret is replaced by the derived keys that must survive, so that the rest can never be
//! derived again, and a fresh secret for what is to come. Records of a dying cell that must survive are appended again
//! before, under the fresh secret, with their original ids and order.
//!
//! What is restricted stays so: it was erased before, and goes when its time has come. Only a redaction reaches it.

use std::collections::{BTreeSet, HashSet};

use super::acts::{find, note, put_row, shred};
use super::cells::Cell;
use super::encode::Pen;
use super::large;
use super::partitions::Partition;
use super::read::{CellReader, Hit};
use super::row::Row;
use super::split::{self, Cut};
use super::{Engine, Writer, acts, amend};
use crate::error::Result;
use crate::format::frame::Origin;
use crate::format::ledger::{Act, Kept};
use crate::ident::{CustomerId, PartitionNumber};
use crate::keyring::{Changes, CustomerEntry, Secret, SecretScope};
use crate::window::Timestamp;

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
    let cut = cut(engine, act, &found.entry);
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, &found.entry);
    for partition in cut.cells.iter().filter_map(|number| engine.partitions.numbered(*number)) {
        let whole = until.is_none_or(|until| partition.id.window.end() <= until);
        for probe in row.free(&partition) {
            if !reader.exists(partition.number, &probe.handle)? {
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
    let plan = Plan::of(engine, act, customer)?;
    // Fresh secrets are additions like any other; what is appended again already stands under them.
    let fresh = engine.keyring.renew(&customer.id, &plan.apart, !(plan.free.0.is_empty() && plan.free.1.is_empty()))?;
    let free = |partition: &Partition| writer.cells.get(&fresh.entry, partition);
    let apart = |partition: &Partition| restricted_cell(engine, writer, &fresh.entry, partition);
    let pens = [Pen { cell: &free, needs: fresh.number }, Pen { cell: &apart, needs: fresh.number }];
    for (pen, (kept, gone)) in pens.iter().zip([plan.free, plan.restricted]) {
        let kept = kept.into_iter().map(|hit| large::again(engine, writer, customer, pen, hit));
        let kept: Vec<Hit> = kept.collect::<Result<_>>()?;
        if let Some(pending) = engine.encoder(writer, &engine.policy(), engine.now()).again(pen, &kept, &gone)? {
            let ticket = writer.committer.submit(pending)?;
            writer.committer.wait(ticket, &engine.tools(writer))?;
        }
    }
    let mut dead = plan.cut.dead(engine, customer, &is_free);
    dead.retain(|(number, _)| plan.rest.cells.contains(number));
    dead.extend(plan.cut_restricted.dead(engine, customer, &|secret| secret.restricted));
    let mut left = fresh.entry.duplicate();
    let newest = left.secrets.split_off(customer.secrets.len());
    let stays = |secret: &Secret| match (&secret.scope, secret.restricted) {
        (SecretScope::Cell(..), _) => vec![secret.duplicate()],
        (_, true) => plan.cut_restricted.left(engine, customer, secret),
        (_, false) => {
            let kept = plan.rest.left(engine, customer, secret).into_iter();
            let kept = kept.map(|secret| Secret { restricted: true, ..secret });
            plan.cut.left(engine, customer, secret).into_iter().chain(kept).collect()
        }
    };
    left.secrets = customer.secrets.iter().flat_map(stays).collect();
    left.secrets.extend(newest);
    let mut changes = Changes::new();
    put_row(engine, &mut changes, &customer.id, split::rest(engine, left)?.as_ref())?;
    note(&mut changes, number, &dead);
    shred(engine, number, &changes)?;
    engine.scrub.add(number, &dead);
    writer.cells.purge();
    Ok(())
}

/// Whether a secret is anybody's to read under.
fn is_free(secret: &Secret) -> bool {
    !secret.restricted
}

/// The cell of a customer's newest secret that is for a partition alone, and restricted.
fn restricted_cell(engine: &Engine, writer: &Writer, customer: &CustomerEntry, partition: &Partition) -> Cell {
    let is_one = |secret: &Secret| secret.restricted && secret.scope == SecretScope::Window(partition.number);
    let probe = Row::new(&engine.store, customer).secrets(partition).filter(|(secret, _)| is_one(secret)).last();
    let (_, probe) = probe.expect("it was made for this");
    Cell { handle: probe.handle, sealer: probe.key(partition).sealer(&writer.opening.salt) }
}

/// Records to be appended again, and those that are refused from now on.
type Again = (Vec<Hit>, Vec<Hit>);

/// What an act does to a row.
struct Plan {
    /// What it cuts off free secrets.
    cut: Cut,
    /// All but what is left of them restricted.
    rest: Cut,
    /// What it cuts off restricted secrets.
    cut_restricted: Cut,
    /// What is appended again for everybody.
    free: Again,
    /// What is appended again, restricted.
    restricted: Again,
    /// The partitions of that.
    apart: Vec<PartitionNumber>,
}

impl Plan {
    fn of(engine: &Engine, act: &Act, customer: &CustomerEntry) -> Result<Plan> {
        let cut = cut(engine, act, customer);
        let (free, restricted) = read(engine, customer, &cut)?;
        match act {
            Act::ErasePart { until, kept, .. } => Ok(Plan::part(engine, customer, (cut, free), (*until, kept))),
            Act::Redact { opening, sequence, .. } => {
                let origin = Origin { opening: *opening, sequence: *sequence };
                Ok(Plan::redaction(engine, customer, cut, (free, restricted), origin))
            }
            _ => Ok(Plan::nothing(engine, customer)),
        }
    }

    fn nothing(engine: &Engine, customer: &CustomerEntry) -> Plan {
        let (cut, cut_restricted) = (Cut::default(), Cut::default());
        let rest = Cut::all_but(engine, customer, &[]);
        Plan { cut, rest, cut_restricted, free: Again::default(), restricted: Again::default(), apart: Vec::new() }
    }

    /// An erasure of what lies before `until`. Of a cell through which that goes, what is later is appended again for
    /// everybody, and what is earlier and must be kept is appended again too, restricted.
    fn part(
        engine: &Engine,
        customer: &CustomerEntry,
        (cut, hits): (Cut, Vec<Hit>),
        (until, kept): (Option<Timestamp>, &[Kept]),
    ) -> Plan {
        let is_kept = |partition: &Partition| kept.iter().any(|kept| kept.span.meets(&partition.id));
        let is_halved = |partition: &Partition| until.is_some_and(|until| until < partition.id.window.end());
        let stays = |partition: &Partition| {
            cut.cells.contains(&partition.number) && is_kept(partition) && !is_halved(partition)
        };
        let rest = Cut::of(engine, customer, &|partition| !stays(partition));
        let is_later = |hit: &Hit| until.is_some_and(|until| until <= hit.at);
        let (later, earlier): (Vec<Hit>, Vec<Hit>) = hits.into_iter().partition(is_later);
        let halves = |hit: &Hit| is_kept(&hit.partition) && is_halved(&hit.partition);
        let restricted = sorted(earlier.into_iter().filter(halves).collect());
        let apart = partitions(&restricted);
        Plan { rest, cut_restricted: Cut::default(), free: sorted(later), restricted, apart, cut }
    }

    /// The end of one record in all its versions, wherever they stand.
    fn redaction(
        engine: &Engine,
        customer: &CustomerEntry,
        cut: Cut,
        (free, restricted): (Vec<Hit>, Vec<Hit>),
        origin: Origin,
    ) -> Plan {
        let mut plan = Plan::nothing(engine, customer);
        // It may have been sent, and written, more than once, and partly before an erasure.
        let versions = amend::versions(&[&free[..], &restricted].concat(), origin);
        let is_it = |hit: &Hit| versions.contains(&hit.origin) && !hit.gone;
        let again = |mut hits: Vec<Hit>| {
            let redacted: Vec<Hit> = hits.extract_if(.., |hit| is_it(hit)).collect();
            let (kept, mut gone) = sorted(hits);
            let mut seen = HashSet::new();
            gone.extend(redacted.into_iter().filter(|hit| seen.insert((hit.partition.number, hit.name()))));
            (kept, gone)
        };
        let has = |hits: &[Hit]| hits.iter().any(is_it);
        if has(&restricted) {
            plan.restricted = again(restricted);
            plan.apart = partitions(&plan.restricted);
            plan.cut_restricted =
                Cut { streams: cut.streams.clone(), cells: cut.cells.clone(), whole: cut.whole.clone() };
        }
        if has(&free) {
            (plan.free, plan.cut) = (again(free), cut);
        }
        plan
    }
}

/// What is to be appended again of what was read, each once and in order, and what was redacted before.
fn sorted(mut hits: Vec<Hit>) -> Again {
    let mut seen = HashSet::new();
    let gone: Vec<Hit> = hits.iter().filter(|hit| hit.gone).cloned().collect();
    super::read::order(&mut hits);
    (hits, gone.into_iter().filter(|hit| seen.insert((hit.partition.number, hit.at, hit.id))).collect())
}

fn partitions((kept, gone): &Again) -> Vec<PartitionNumber> {
    let numbers: BTreeSet<PartitionNumber> = kept.iter().chain(gone).map(|hit| hit.partition.number).collect();
    numbers.into_iter().collect()
}

/// What an act touches of a customer's row.
fn cut(engine: &Engine, act: &Act, customer: &CustomerEntry) -> Cut {
    match act {
        Act::ErasePart { stream, until, .. } => Cut::of(engine, customer, &|partition| {
            stream.as_ref().is_none_or(|stream| *stream == partition.id.stream)
                && until.is_none_or(|until| partition.id.window.start() < until)
        }),
        Act::Redact { partition, .. } => Cut::of(engine, customer, &|known| known.number == *partition),
        _ => Cut::default(),
    }
}

/// Everything that stands in the touched cells, in no particular order: what is free, and what is restricted.
fn read(engine: &Engine, customer: &CustomerEntry, cut: &Cut) -> Result<(Vec<Hit>, Vec<Hit>)> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let (mut free, mut restricted) = (Vec::new(), Vec::new());
    let mut row = Row::new(&engine.store, customer);
    for partition in cut.cells.iter().filter_map(|number| engine.partitions.numbered(*number)) {
        for (secret, probe) in row.secrets(&partition) {
            let hits = if is_free(secret) { &mut free } else { &mut restricted };
            reader.read(&partition, &probe, &|_| true, hits)?;
        }
    }
    Ok((free, restricted))
}
