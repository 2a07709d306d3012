//! What is due: partitions whose window and maximum are over, and the time that this may be judged by.

use super::{Engine, Writer, access, acts, carry, hold, latest};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, HeldCells};
use crate::ident::{PartitionNumber, Stream};
use crate::report::Expiring;
use crate::window::Timestamp;

/// The time that an expiry is judged by: trusted time, or the one that was named instead.
///
/// # Errors
/// [`ErrorKind::Refused`] for a time later than trusted time that was not confirmed.
pub fn judged_by(engine: &Engine, named: Option<Timestamp>, confirmed: bool) -> Result<Timestamp> {
    let trusted = engine.trusted.now(&*engine.env);
    let now = named.unwrap_or(trusted);
    match now > trusted && !confirmed {
        false => Ok(now),
        true => Err(Error::new(ErrorKind::Refused, format!("{now} is later than the time that can be trusted, {trusted}"))
            .hint("look at what would go with --dry-run, then add --confirm; or open with --trust-clock if the clock is right")),
    }
}

/// Expires what is due at `now`, which the caller has judged. Housekeeping must be held. Returns what was due, and the
/// number of the act, none where nothing was to be done.
///
/// # Errors
/// The first step that fails. Once the intent is on record it will be done: the next opening finishes it.
pub fn expire(engine: &Engine, writer: &Writer, now: Timestamp) -> Result<(Vec<Expiring>, Option<u64>)> {
    access::expire(engine, now)?;
    let mut due = due(engine, now);
    let states = states(engine, &due);
    carry::carry(engine, writer, &states, now)?;
    let shut = engine.fences.shut();
    // Nobody writes between the look for held cells and the intent that names them, or into windows whose states were just
    // carried out; else nobody need wait.
    let shut = (!hold::standing(engine).standing.is_empty() || !states.is_empty()).then_some(shut);
    if shut.is_some() {
        acts::flush(engine, writer)?;
    }
    if !states.is_empty() && has_more(engine, &due, now) {
        carry::carry(engine, writer, &states, now)?;
    }
    let held = hold::held_back(engine, &mut due)?;
    let number = intend(engine, &due, held, now)?;
    drop(shut);
    if let Some(number) = number {
        acts::perform(engine, number, None)?;
    }
    Ok((due.into_iter().map(|(_, expiring)| expiring).collect(), number))
}

/// The partitions that are about to die and hold states.
fn states(engine: &Engine, due: &[(PartitionNumber, Expiring)]) -> Vec<(PartitionNumber, Stream)> {
    let policy = engine.policy();
    let all = due.iter().map(|(number, expiring)| (*number, expiring.partition.stream.clone()));
    all.filter(|(_, stream)| latest::is_state(&policy, stream)).collect()
}

/// Whether anything came into partitions since they were found to be due.
fn has_more(engine: &Engine, before: &[(PartitionNumber, Expiring)], now: Timestamp) -> bool {
    let records = |due: &[(PartitionNumber, Expiring)]| due.iter().map(|(_, expiring)| expiring.records).sum::<u64>();
    records(&due(engine, now)) != records(before)
}

/// Puts the expiry on record and closes off what goes; nothing where all there is has to wait.
fn intend(
    engine: &Engine,
    due: &[(PartitionNumber, Expiring)],
    held: HeldCells,
    now: Timestamp,
) -> Result<Option<u64>> {
    let goes = due.iter().filter(|(_, expiring)| !expiring.deferred);
    let mut partitions: Vec<_> = goes
        .map(|(number, expiring)| {
            let id = &expiring.partition;
            (*number, id.stream.clone(), id.window.end().day())
        })
        .collect();
    if partitions.is_empty() {
        return Ok(None);
    }
    partitions.sort_unstable_by_key(|(number, ..)| *number);
    let number = acts::intend(engine, Act::Expire { partitions: partitions.clone(), now, held })?;
    engine.fences.close_partitions(&partitions);
    Ok(Some(number))
}

/// The partitions whose deadline has passed at `now`, by number.
pub fn due(engine: &Engine, now: Timestamp) -> Vec<(PartitionNumber, Expiring)> {
    let policy = engine.policy();
    let snapshot = engine.catalog.snapshot();
    let mut due = Vec::new();
    for partition in engine.partitions.all().into_iter().filter(|partition| partition.key.is_some()) {
        let terms = policy.terms(&partition.id.stream);
        let deadline = terms.and_then(|terms| terms.partition_deadline(&partition.id.window));
        let Some(deadline) = deadline.filter(|deadline| *deadline <= now) else { continue };
        let mut expiring = Expiring {
            partition: partition.id.clone(),
            records: 0,
            bytes: 0,
            deadline,
            held: 0,
            holds: Vec::new(),
            deferred: false,
        };
        for slot in snapshot.segments(partition.number) {
            expiring.records += slot.fact.records;
            expiring.bytes += slot.fact.bytes;
        }
        for journal in &snapshot.view.journals {
            if let Some(totals) = journal.totals().get(&partition.number) {
                expiring.records += totals.records;
                expiring.bytes += totals.frame_bytes;
            }
        }
        due.push((partition.number, expiring));
    }
    due.sort_by(|a, b| a.1.partition.cmp(&b.1.partition));
    due
}
