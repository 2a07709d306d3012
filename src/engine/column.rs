//! Exploding a column: a partition's key is destroyed, and the keys of those of its cells that somebody holds go into
//! their customers' entries before, in the same rewrite. What is left of the partition is a list of their handles. And
//! the end of that: held cells that are let go.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::catalog::SegmentSlot;
use super::partitions::Partition;
use super::read::CellReader;
use super::row::Row;
use super::scrub::DeadCell;
use super::split::{self, Cut};
use super::{Engine, Writer, acts, dictionaries, merge, trouble};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, GoingRows, HeldCells};
use crate::ident::{CustomerId, PartitionNumber, Stream, SubjectNumber};
use crate::keyring::{Changes, Column, CustomerEntry, HoldEntry, Remnant, Secret, SecretScope};
use crate::report::Maintenance;
use crate::window::Day;

/// Customers' entries by subject number.
pub type Rows = BTreeMap<SubjectNumber, CustomerEntry>;

/// What is left of partitions, nothing where nothing is.
type Left = BTreeMap<PartitionNumber, Option<Arc<Remnant>>>;

/// Destroys the keys of partitions, all in one rewrite, but not the cells that are `held`.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn expire(
    engine: &Engine,
    writer: &Writer,
    number: u64,
    (partitions, held, going): (&[(PartitionNumber, Stream, Day)], &HeldCells, &GoingRows),
    ids: Option<&[CustomerId]>,
) -> Result<()> {
    // While entries of customers are rewritten nobody else may write them.
    let shut = engine.fences.shut();
    let _shut = (!held.is_empty() || !going.is_empty()).then_some(shut);
    let parts = Parts::close(engine, going.iter().map(|(subject, _)| *subject));
    acts::flush(engine, writer)?;
    let of_held = held.iter().flat_map(|(_, subjects)| subjects.iter().copied());
    let subjects = of_held.chain(going.iter().map(|(subject, _)| *subject)).collect();
    let mut rows = rows(engine, &subjects, ids)?;
    let (mut changes, mut left) = (Changes::new(), Left::new());
    for (partition, ..) in partitions {
        let Some(known) = engine.partitions.numbered(*partition) else {
            left.insert(*partition, None);
            continue;
        };
        if known.key.is_none() {
            continue; // Done before a crash.
        }
        let subjects = held.iter().find(|(one, _)| one == partition).map_or(&[][..], |(_, subjects)| subjects);
        let remnant = take_out(engine, &known, subjects, &mut rows)?;
        put(engine, &mut changes, &known, remnant.as_ref())?;
        #[cfg(feature = "simulation")]
        if writer.tuning.keep_columns && remnant.is_some() {
            changes.remove(&engine.keyring.partition_key(&known.id));
        }
        left.insert(*partition, remnant);
    }
    let dead = let_go(engine, &mut rows, going);
    for row in rows.into_values() {
        let id = row.id.clone();
        acts::put_row(engine, &mut changes, &id, split::rest(engine, row)?.as_ref())?;
    }
    acts::note(&mut changes, number, &dead);
    acts::shred(engine, number, &changes)?;
    if !going.is_empty() {
        engine.scrub.add(number, &dead);
    }
    writer.cells.purge();
    drop(parts);
    show(engine, &left)
}

/// Customers of whom readers are kept away while parts of them go.
struct Parts<'a>(&'a Engine, Vec<SubjectNumber>);

impl<'a> Parts<'a> {
    fn close(engine: &'a Engine, subjects: impl Iterator<Item = SubjectNumber>) -> Self {
        let subjects: Vec<_> = subjects.collect();
        subjects.iter().for_each(|subject| engine.fences.close_part(*subject));
        Parts(engine, subjects)
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|subject| self.0.fences.open_part(*subject));
    }
}

/// Takes what goes out of its customers' rows. Returns the cells that die of it.
fn let_go(engine: &Engine, rows: &mut Rows, going: &GoingRows) -> Vec<DeadCell> {
    let mut dead = Vec::new();
    for (subject, parts) in going {
        let Some(row) = rows.get_mut(subject) else { continue };
        let spans = |all: bool| parts.iter().filter(|part| part.all || !all).map(|part| &part.span).collect::<Vec<_>>();
        let (free, restricted) = (Cut::within(engine, row, &spans(true)), Cut::within(engine, row, &spans(false)));
        dead.extend(free.dead(engine, row, &|secret| !secret.restricted));
        dead.extend(restricted.dead(engine, row, &|secret| secret.restricted));
        let left = row.secrets.iter().flat_map(|secret| match (secret.restricted, &secret.scope) {
            // Held: the end of the hold ends it.
            (_, SecretScope::Cell(..)) => vec![secret.duplicate()],
            (true, _) => restricted.left(engine, row, secret),
            (false, _) => free.left(engine, row, secret),
        });
        row.secrets = left.collect();
    }
    dead
}

/// The entries of customers, found by `ids` or the holds on them or, where that fails, by walking the keyring.
pub fn rows(engine: &Engine, subjects: &BTreeSet<SubjectNumber>, ids: Option<&[CustomerId]>) -> Result<Rows> {
    if subjects.is_empty() {
        return Ok(Rows::new());
    }
    let holds = engine.keyring.holds()?;
    let of_holds = holds.iter().filter_map(|hold| hold.customer.as_ref()).filter(|(one, _)| subjects.contains(one));
    let ids: BTreeSet<_> = of_holds.map(|(_, id)| id).chain(ids.into_iter().flatten()).cloned().collect();
    let wanted: Vec<SubjectNumber> = subjects.iter().copied().collect();
    let mut found = acts::find(engine, &wanted, Some(&ids.into_iter().collect::<Vec<_>>()))?;
    if found.len() < subjects.len() {
        found = acts::find(engine, &wanted, None)?;
    }
    Ok(found.into_iter().map(|customer| (customer.subject, customer)).collect())
}

/// Puts the keys of the held cells of a partition into the entries of their customers. Returns what is to be left of the
/// partition.
fn take_out(
    engine: &Engine,
    partition: &Partition,
    subjects: &[SubjectNumber],
    rows: &mut Rows,
) -> Result<Option<Arc<Remnant>>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let (number, id) = (partition.number, partition.id.clone());
    let mut remnant = Remnant { number, id, dictionaries: Vec::new(), held: Vec::new() };
    for subject in subjects {
        let Some(row) = rows.get_mut(subject) else { continue };
        let mut secrets = Vec::new();
        for (secret, probe) in Row::new(&engine.store, row).secrets(partition) {
            if reader.exists(number, &probe.handle)? {
                remnant.held.push((probe.handle, *subject));
                let scope = SecretScope::Cell(number, probe.handle);
                secrets.push(Secret { scope, restricted: secret.restricted, key: probe.key(partition).key() });
            }
        }
        // In front: writers use the newest, which is the last.
        secrets.append(&mut row.secrets);
        row.secrets = secrets;
    }
    for fact in engine.catalog.dictionaries.of(number) {
        let key = dictionaries::key(partition, &fact)?;
        remnant.dictionaries.push((fact.dictionary, key.key().duplicate()));
    }
    Ok((!remnant.held.is_empty()).then(|| Arc::new(remnant)))
}

fn put(engine: &Engine, changes: &mut Changes, partition: &Partition, left: Option<&Arc<Remnant>>) -> Result<()> {
    let payload = match left {
        None => None,
        Some(remnant) => {
            let payload = Column::Remnant(remnant.clone()).encode();
            Some(payload.ok_or_else(|| Error::new(ErrorKind::Invalid, "a partition has too many held cells"))?)
        }
    };
    changes.insert(engine.keyring.partition_key(&partition.id), payload);
    Ok(())
}

/// Lifts a hold: it and the keys of the cells that it alone has kept are destroyed in one rewrite.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn release(engine: &Engine, writer: &Writer, number: u64, act: &Act, ids: Option<&[CustomerId]>) -> Result<()> {
    let Act::Release { hold, subject, cells, rows: going } = act else { return Ok(()) };
    let _shut = engine.fences.shut();
    let of_cells = cells.iter().flat_map(|(_, subjects)| subjects);
    let subjects: BTreeSet<SubjectNumber> = of_cells.chain(subject).copied().collect();
    let _parts = Parts::close(engine, subjects.iter().copied());
    acts::flush(engine, writer)?;
    let (mut changes, mut dead) = (Changes::new(), Vec::new());
    if !cells.is_empty() || !going.is_empty() {
        let mut rows = rows(engine, &subjects, ids)?;
        dead = let_go(engine, &mut rows, going);
        for mut row in rows.into_values() {
            let of = |one| cells.iter().any(|(partition, held)| *partition == one && held.contains(&row.subject));
            row.secrets.retain(|secret| !matches!(secret.scope, SecretScope::Cell(one, _) if of(one)));
            let id = row.id.clone();
            acts::put_row(engine, &mut changes, &id, split::rest(engine, row)?.as_ref())?;
        }
    }
    let left = strike(engine, &mut changes, cells)?;
    changes.insert(HoldEntry::key(*hold), None);
    acts::note(&mut changes, number, &dead);
    acts::shred(engine, number, &changes)?;
    engine.scrub.add(number, &dead);
    writer.cells.purge();
    engine.forget_due.store(true, Ordering::Relaxed); // It may have been all that the entry was kept for.
    show(engine, &left)
}

/// Takes cells off the lists of what is held in partitions.
///
/// # Errors
/// [`ErrorKind::Invalid`] where a list is too long, which it was not before.
pub fn strike(engine: &Engine, changes: &mut Changes, cells: &HeldCells) -> Result<Left> {
    let mut left = Left::new();
    for (number, subjects) in cells {
        let Some(known) = engine.partitions.numbered(*number) else {
            left.insert(*number, None);
            continue;
        };
        let Some(remnant) = &known.remnant else { continue };
        let held: Vec<_> = remnant.held.iter().filter(|(_, subject)| !subjects.contains(subject)).copied().collect();
        if held.len() == remnant.held.len() {
            continue;
        }
        let dictionaries = remnant.dictionaries.iter().map(|(id, key)| (*id, key.duplicate())).collect();
        let rest = Remnant { number: *number, id: remnant.id.clone(), dictionaries, held };
        let rest = (!rest.held.is_empty()).then(|| Arc::new(rest));
        put(engine, changes, &known, rest.as_ref())?;
        left.insert(*number, rest);
    }
    Ok(left)
}

/// Lets readers see partitions as they are left, and unlinks what nobody reads any more.
///
/// # Errors
/// What the operating system answers.
pub fn show(engine: &Engine, left: &Left) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    engine.partitions.replace(left);
    engine.forget_due.store(true, Ordering::Relaxed);
    engine.trim_due.store(true, Ordering::Relaxed);
    let mut slots = Vec::new();
    engine.catalog.change(|view| {
        for (partition, _) in left.iter().filter(|(_, remnant)| remnant.is_none()) {
            slots.extend(view.segments.remove(partition).unwrap_or_default());
        }
    });
    let mut directories: HashSet<_> =
        slots.iter().filter_map(|slot| slot.path.parent().map(ToOwned::to_owned)).collect();
    engine.catalog.doom(slots);
    engine.catalog.sweep()?;
    let gone = left.iter().filter(|(_, remnant)| remnant.is_none()).map(|(partition, _)| *partition);
    directories.extend(dictionaries::unlink(engine, &gone.collect())?);
    for directory in directories {
        // A reader may still hold a segment there; then the directory goes with the next sweep after a restart.
        let _ = engine.env.remove_dir(&directory);
    }
    Ok(())
}

/// Drops the frames of partitions whose key was destroyed, but for held cells. Housekeeping must be held. Where segments are
/// damaged all others are done, and the first damage comes back.
///
/// # Errors
/// The first step that fails for another reason; doing it again goes on from there.
pub fn trim(engine: &Engine, done: &mut Maintenance) -> Result<Option<Error>> {
    let mut damage = None;
    for remnant in engine.partitions.remnants() {
        let Some(partition) = engine.partitions.numbered(remnant.number) else { continue };
        for slot in engine.catalog.snapshot().segments(remnant.number) {
            let slots = std::slice::from_ref(slot);
            match trouble::noted(engine, slots, holds_dead(engine, slot, &partition))? {
                Ok(true) => damage = damage.or(merge::attempt(engine, remnant.number, slots.to_vec(), done)?.err()),
                Ok(false) => {}
                Err(error) => damage = damage.or(Some(error)),
            }
        }
    }
    // Where something is damaged the next opening looks again.
    engine.trim_due.store(false, Ordering::Relaxed);
    Ok(damage)
}

fn holds_dead(engine: &Engine, slot: &Arc<SegmentSlot>, partition: &Partition) -> Result<bool> {
    let segment = engine.catalog.open(slot)?;
    for handle in segment.handles() {
        if !partition.keeps(&handle?.0) {
            return Ok(true);
        }
    }
    Ok(false)
}
