//! What is due: partitions whose window and maximum are over, and the time that this may be judged by.

use super::schedule::{self, AT_ONCE, DueRow};
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

/// What an expiry did.
#[derive(Default)]
pub struct Expired {
    /// The partitions that were due.
    pub partitions: Vec<Expiring>,
    /// What was due by row.
    pub rows: Vec<DueRow>,
    /// The acts that did it; none where nothing was to be done.
    pub acts: Vec<u64>,
}

/// Expires what is due at `now`, which the caller has judged. Housekeeping must be held.
///
/// # Errors
/// The first step that fails. Once an intent is on record it will be done: the next opening finishes it.
pub fn expire(engine: &Engine, writer: &Writer, now: Timestamp) -> Result<Expired> {
    access::expire(engine, now)?;
    let mut due = due(engine, now);
    let states = states(engine, &due);
    carry::carry(engine, writer, &states, now)?;
    let rows = schedule::due(engine, now, AT_ONCE)?;
    let shut = engine.fences.shut();
    // Nobody writes between the look for held cells and the intent that names them, or into windows whose states were just
    // carried out; else nobody need wait.
    let more = rows.len() == AT_ONCE;
    let must = !hold::standing(engine).standing.is_empty() || rows.iter().any(DueRow::takes_all) || !states.is_empty();
    let shut = must.then_some(shut);
    if shut.is_some() {
        acts::flush(engine, writer)?;
    }
    if !states.is_empty() && has_more(engine, &due, now) {
        carry::carry(engine, writer, &states, now)?;
    }
    let held = hold::held_back(engine, &mut due)?;
    let rows = schedule::still_due(engine, rows, now)?;
    let number = intend(engine, &due, (held, &rows), now)?;
    drop(shut);
    let partitions = due.into_iter().map(|(_, expiring)| expiring).collect();
    let mut expired = Expired { partitions, rows: Vec::new(), acts: Vec::new() };
    if let Some(number) = number {
        perform(engine, number, rows, &mut expired)?;
    }
    if more {
        expire_rows(engine, now, &mut expired)?;
    }
    Ok(expired)
}

/// Lets go of all that is due by row at `now`. Housekeeping must be held.
///
/// # Errors
/// As [`expire`].
pub fn expire_rows(engine: &Engine, now: Timestamp, expired: &mut Expired) -> Result<()> {
    loop {
        let rows = schedule::due(engine, now, AT_ONCE)?;
        let shut = engine.fences.shut();
        let shut = rows.iter().any(DueRow::takes_all).then_some(shut);
        if shut.is_some() {
            acts::flush(engine, engine.writer()?)?;
        }
        let rows = schedule::still_due(engine, rows, now)?;
        let intended = intend(engine, &[], (HeldCells::new(), &rows), now)?;
        drop(shut);
        match intended {
            Some(number) => perform(engine, number, rows, expired)?,
            None => return Ok(()),
        }
    }
}

fn perform(engine: &Engine, number: u64, rows: Vec<DueRow>, expired: &mut Expired) -> Result<()> {
    let ids: Vec<_> = rows.iter().map(|row| row.customer.clone()).collect();
    acts::perform(engine, number, Some(&ids))?;
    expired.acts.push(number);
    expired.rows.extend(rows);
    Ok(())
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
    (held, rows): (HeldCells, &[DueRow]),
    now: Timestamp,
) -> Result<Option<u64>> {
    let goes = due.iter().filter(|(_, expiring)| !expiring.deferred);
    let mut partitions: Vec<_> = goes
        .map(|(number, expiring)| {
            let id = &expiring.partition;
            (*number, id.stream.clone(), id.window.end().day())
        })
        .collect();
    if partitions.is_empty() && rows.is_empty() {
        return Ok(None);
    }
    partitions.sort_unstable_by_key(|(number, ..)| *number);
    let going = rows.iter().map(|row| (row.subject, row.going.clone())).collect();
    let number = acts::intend(engine, Act::Expire { partitions: partitions.clone(), now, held, rows: going })?;
    engine.fences.close_partitions(&partitions);
    // Of some of them nothing may come in before it is done: it would go with the rest.
    let all = rows.iter().filter(|row| row.takes_all()).map(|row| row.subject);
    engine.fences.close_until(number, all);
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
