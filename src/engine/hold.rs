//! Legal holds: what they forbid, what they keep from an expiry, and how ledger and keyring agree about them. The ledger
//! decides; who it is and why stands in the keyring alone, which wins where the two differ.

use std::collections::{BTreeMap, BTreeSet};

use super::cells::probes;
use super::column::{Rows, rows};
use super::partitions::Partition;
use super::read::CellReader;
use super::visible::covers;
use super::{Engine, trouble};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, Fact, Going, HeldCells, Hold, Holds};
use crate::ident::{PartitionId, PartitionNumber, Stream, SubjectNumber};
use crate::keyring::{CustomerEntry, HoldEntry};
use crate::policy::Policy;
use crate::report::Expiring;
use crate::window::Timestamp;

/// The most customers who may have a held cell in one partition: their list is one entry of the keyring.
const CELLS_OF_PARTITION: usize = 16_384;
/// The most secrets of one customer, who gets one for each held cell.
const SECRETS_OF_CUSTOMER: usize = 8_192;
/// The most held cells of a store: one fact of the ledger must be able to name them all.
const CELLS_OF_STORE: usize = 500_000;

/// The holds that stand.
pub fn standing(engine: &Engine) -> Holds {
    engine.ledger().state().holds.clone()
}

/// Whether a hold stands on a customer.
pub fn is_on(engine: &Engine, subject: &SubjectNumber) -> bool {
    engine.ledger().state().holds.standing.values().any(|hold| hold.subject.as_ref() == Some(subject))
}

/// Refuses to destroy one record while holds keep it.
///
/// # Errors
/// [`ErrorKind::Held`], naming the holds.
pub fn refuse_record(engine: &Engine, subject: &SubjectNumber, stream: &Stream, at: Timestamp) -> Result<()> {
    let (holds, policy) = (standing(engine), engine.policy());
    let against = holds.on(subject).filter(|(_, hold)| hold.scope.contains(stream, at, &policy));
    let numbers: Vec<String> = against.map(|(number, _)| number.to_string()).collect();
    match numbers.is_empty() {
        true => Ok(()),
        false => Err(held(&numbers)),
    }
}

fn held(numbers: &[String]) -> Error {
    let (holds, stand) = if numbers.len() == 1 { ("hold", "stands") } else { ("holds", "stand") };
    let message = format!("nothing was done: {holds} {} {stand} against it", numbers.join(", "));
    Error::new(ErrorKind::Held, message).hint("`tenure hold list` shows why; `tenure hold release NUMBER` lifts one")
}

/// Defers partitions of which a hold on everybody keeps something: they stay as they are, hidden from everybody who is not
/// shown what is held.
pub fn defer(engine: &Engine, due: &mut [(PartitionNumber, Expiring)]) {
    let (holds, policy) = (standing(engine), engine.policy());
    for (_, expiring) in due {
        expiring.holds = on_all(&holds, &expiring.partition, &policy).collect();
        expiring.deferred = !expiring.holds.is_empty();
    }
}

/// The holds on everybody that keep something of a partition: while one stands, its key stays.
pub fn on_all<'a>(
    holds: &'a Holds,
    partition: &'a PartitionId,
    policy: &'a Policy,
) -> impl Iterator<Item = u64> + use<'a> {
    holds.over(partition, policy).filter(|(_, hold)| hold.subject.is_none()).map(|(number, _)| number)
}

/// Finds the held cells of partitions that are due, and notes at each what keeps them. A partition that would have more
/// of them than can be kept is deferred as a whole, and so is one of which it cannot be told.
///
/// # Errors
/// Damage in the keyring.
pub fn held_back(engine: &Engine, due: &mut [(PartitionNumber, Expiring)]) -> Result<HeldCells> {
    let (holds, policy) = (standing(engine), engine.policy());
    let mut room = Room::of(engine);
    let mut held = HeldCells::new();
    let concerned =
        |id: &PartitionId| holds.over(id, &policy).filter_map(|(_, hold)| hold.subject).collect::<BTreeSet<_>>();
    let subjects = due.iter().flat_map(|(_, expiring)| concerned(&expiring.partition)).collect();
    let rows = rows(engine, &subjects, None)?;
    for (number, expiring) in due.iter_mut().filter(|(_, expiring)| !expiring.deferred) {
        let Some(partition) = engine.partitions.numbered(*number) else { continue };
        let cells = match cells(engine, &partition, (&holds, &policy), &rows) {
            Err(error) if trouble::is_damage(&error) => {
                (expiring.damage, expiring.deferred) = (Some(trouble::damage(&error, &engine.root)), true);
                continue;
            }
            cells => cells?,
        };
        if cells.is_empty() {
            continue;
        }
        expiring.held = cells.len() as u64;
        let by: BTreeSet<u64> = cells.values().flat_map(|cell| &cell.holds).copied().collect();
        expiring.holds = by.into_iter().collect();
        expiring.deferred = !room.take(&cells, &rows);
        if !expiring.deferred {
            held.push((*number, cells.into_keys().collect()));
        }
    }
    held.sort_unstable();
    Ok(held)
}

/// What is held of one customer in one partition.
#[derive(Default)]
struct HeldCell {
    /// How many keys open it: one for each secret that it was written under.
    keys: usize,
    holds: Vec<u64>,
}

/// Whose cells in `partition` are held: cells of which there is a frame.
fn cells(
    engine: &Engine,
    partition: &Partition,
    (holds, policy): (&Holds, &Policy),
    rows: &Rows,
) -> Result<BTreeMap<SubjectNumber, HeldCell>> {
    let mut cells: BTreeMap<SubjectNumber, HeldCell> = BTreeMap::new();
    for (number, hold) in holds.over(&partition.id, policy) {
        let Some((subject, row)) = hold.subject.and_then(|subject| Some((subject, rows.get(&subject)?))) else {
            continue;
        };
        let cell = cells.entry(subject).or_default();
        if cell.holds.is_empty() {
            cell.keys = keys(engine, partition, row)?;
        }
        cell.holds.push(number);
    }
    cells.retain(|_, cell| cell.keys > 0);
    Ok(cells)
}

/// How many keys of `customer` open a frame in `partition`.
fn keys(engine: &Engine, partition: &Partition, customer: &CustomerEntry) -> Result<usize> {
    if !covers(customer, partition) {
        return Ok(0);
    }
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut keys = 0;
    for probe in probes(&engine.store, customer, partition) {
        keys += usize::from(reader.exists(partition.number, &probe.handle)?);
    }
    Ok(keys)
}

/// How many more cells can be held.
struct Room {
    store: usize,
    taken: BTreeMap<SubjectNumber, usize>,
}

impl Room {
    fn of(engine: &Engine) -> Self {
        let held: usize = engine.ledger().state().acts.held.values().map(BTreeSet::len).sum();
        Room { store: CELLS_OF_STORE.saturating_sub(held), taken: BTreeMap::new() }
    }

    fn take(&mut self, cells: &BTreeMap<SubjectNumber, HeldCell>, rows: &Rows) -> bool {
        let secrets = |subject: &SubjectNumber| {
            rows.get(subject).map_or(0, |row| row.secrets.len()) + self.taken.get(subject).copied().unwrap_or(0)
        };
        let fits = cells.len() <= self.store
            && cells.values().map(|cell| cell.keys).sum::<usize>() <= CELLS_OF_PARTITION
            && cells.iter().all(|(subject, cell)| secrets(subject) + cell.keys <= SECRETS_OF_CUSTOMER);
        if fits {
            self.store -= cells.len();
            for (subject, cell) in cells {
                *self.taken.entry(*subject).or_default() += cell.keys;
            }
        }
        fits
    }
}

/// The lifting of hold `number`, as the ledger will have it: with the held cells that no other hold keeps, and what it alone
/// has kept of an erasure. None where no such hold stands.
pub fn lifting(engine: &Engine, number: u64, going: Vec<Going>) -> Option<Act> {
    let (holds, policy) = (standing(engine), engine.policy());
    let lifted = holds.standing.get(&number)?;
    let mut cells = HeldCells::new();
    for remnant in engine.partitions.remnants() {
        let is_kept = |subject: &SubjectNumber| {
            holds.on(subject).any(|(other, hold)| other != number && hold.scope.meets(&remnant.id, &policy))
        };
        let subjects: BTreeSet<SubjectNumber> = remnant.held.iter().map(|(_, subject)| *subject).collect();
        let goes = subjects.into_iter().filter(|subject| lifted.concerns(subject) && !is_kept(subject));
        let goes: Vec<SubjectNumber> = goes.collect();
        if !goes.is_empty() {
            cells.push((remnant.number, goes));
        }
    }
    cells.sort_unstable();
    let rows = lifted.subject.filter(|_| !going.is_empty()).map(|subject| (subject, going)).into_iter().collect();
    Some(Act::Release { hold: number, subject: lifted.subject, cells, rows })
}

/// Makes the ledger say of holds what the keyring says: a crash came between the two, or the ledger is an older copy.
///
/// # Errors
/// Damage in the keyring; what the ledger answers.
pub fn reconcile(engine: &Engine) -> Result<()> {
    let kept: BTreeMap<u64, HoldEntry> = engine.keyring.holds()?.into_iter().map(|hold| (hold.number, hold)).collect();
    let mut standing = standing(engine).standing;
    let mut facts = Vec::new();
    for (number, entry) in kept {
        if standing.remove(&number).is_none() {
            let hold = Hold { subject: entry.subject(), scope: entry.scope, after: Vec::new() };
            facts.push(Fact::HoldPlaced { number, hold });
        }
    }
    facts.extend(standing.into_keys().map(|number| Fact::HoldReleased { number }));
    match facts.is_empty() {
        true => Ok(()),
        false => engine.record(&facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let subject = |byte: u8| SubjectNumber::from_bytes([byte; 16]);
        let cells = |keys: usize| {
            let cell = |_| HeldCell { keys, holds: vec![1] };
            (1..=4).map(|byte| (subject(byte), cell(byte))).collect::<BTreeMap<_, _>>()
        };
        let rows = Rows::new();
        let mut room = Room { store: 11, taken: BTreeMap::new() };
        assert!(!room.take(&cells(CELLS_OF_PARTITION / 4 + 1), &rows), "more than one list of held cells can name");
        assert!(!room.take(&cells(SECRETS_OF_CUSTOMER + 1), &rows), "more than a customer's entry can keep");
        assert!(room.take(&cells(CELLS_OF_PARTITION / 4), &rows));
        assert!(room.take(&cells(CELLS_OF_PARTITION / 4), &rows));
        assert!(!room.take(&cells(1), &rows), "the customers have enough, and the store has not 4 cells to spare");
        assert_eq!(room.store, 3);
    }
}
