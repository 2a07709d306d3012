//! What is due: partitions whose window and maximum are over, and the time that this may be judged by.

use super::schedule::{AT_ONCE, DueRow, Search};
use super::{Engine, Writer, access, acts, carry, hold};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, HeldCells};
use crate::ident::{PartitionNumber, Stream};
use crate::report::{Damage, Expiring};
use crate::window::{Day, Timestamp};

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
    /// What could not be read of single customers, who were passed over.
    pub damage: Vec<Damage>,
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
    hold::defer(engine, &mut due);
    let states = states(engine, &due);
    // Nothing comes any more into windows whose states are carried out, whether they go in the end or not.
    let _barred = engine.fences.bar(&states);
    if !states.is_empty() {
        acts::drain(engine, writer)?;
        carry::carry(engine, writer, &mut due, now)?;
    }
    let mut search = Search::new(engine, now);
    let rows = search.more(engine, AT_ONCE)?;
    // Nobody writes between the look for held cells, or for a contact, and the intent that names what goes; else nobody need
    // wait.
    let must = !hold::standing(engine).standing.is_empty() || rows.iter().any(DueRow::takes_all);
    let shut = must.then(|| engine.fences.shut());
    if shut.is_some() {
        acts::flush(engine, writer)?;
    }
    let held = hold::held_back(engine, &mut due)?;
    let rows = search.still_due(engine, rows)?;
    let number = intend(engine, &due, (held, &rows), now)?;
    drop(shut);
    let partitions = due.into_iter().map(|(_, expiring)| expiring).collect();
    let mut expired = Expired { partitions, ..Expired::default() };
    if let Some(number) = number {
        perform(engine, number, rows, &mut expired)?;
    }
    expire_rows(engine, writer, search, &mut expired)?;
    Ok(expired)
}

/// Lets go of all that is due by row and `search` has not found yet. Housekeeping must be held.
///
/// # Errors
/// As [`expire`].
pub fn expire_rows(engine: &Engine, writer: &Writer, mut search: Search, expired: &mut Expired) -> Result<()> {
    loop {
        let rows = search.more(engine, AT_ONCE)?;
        if rows.is_empty() {
            expired.damage = search.damage;
            return Ok(());
        }
        let shut = rows.iter().any(DueRow::takes_all).then(|| engine.fences.shut());
        if shut.is_some() {
            acts::flush(engine, writer)?;
        }
        let rows = search.still_due(engine, rows)?;
        let intended = intend(engine, &[], (HeldCells::new(), &rows), search.now())?;
        drop(shut);
        if let Some(number) = intended {
            perform(engine, number, rows, expired)?;
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

/// The windows of states that are about to die, each by its stream and the first day after it.
fn states(engine: &Engine, due: &[(PartitionNumber, Expiring)]) -> Vec<(Stream, Day)> {
    let policy = engine.policy();
    let goes = due.iter().filter(|(_, expiring)| !expiring.deferred).map(|(_, expiring)| &expiring.partition);
    let ids = goes.filter(|id| policy.is_state(&id.stream));
    ids.map(|id| (id.stream.clone(), id.window.end().day())).collect()
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
            damage: None,
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
