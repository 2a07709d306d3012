//! Scrubbing: the frames of dead cells are dropped by settling and merging, and once they are gone the notes that named
//! them die as well. Nobody can read those frames; scrubbing keeps the promise that the bytes go too.

use crate::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::catalog::{Leaving, SegmentSlot};
use super::{Engine, column, housekeeping, merge, trouble};
use crate::error::{Error, Result};
use crate::format::ledger::{Act, Acts, Effect, Fact};
use crate::ident::{Handle, PartitionNumber};
use crate::keyring::{Changes, Keyring};
use crate::report::Maintenance;

/// One customer in one partition, whose key is dead.
pub type DeadCell = (PartitionNumber, Handle);

#[derive(Debug, Default)]
struct Dead {
    cells: HashMap<PartitionNumber, HashSet<Handle>>,
    acts: BTreeSet<u64>,
    /// Acts whose frames are in no file that new readers see, and the files that older ones may still read.
    leaving: Option<(Vec<u64>, Leaving)>,
    /// Damaged segments that may hold frames of dead cells: nothing is forced as long as they are there.
    blocked: Vec<Weak<SegmentSlot>>,
}

impl Dead {
    fn add(&mut self, cells: &[DeadCell]) {
        for (partition, handle) in cells {
            self.cells.entry(*partition).or_default().insert(*handle);
        }
    }

    /// The acts of which frames may stand in files that new readers see.
    fn standing(&self) -> impl Iterator<Item = &u64> {
        let leaving = self.leaving.as_ref().map_or(&[][..], |(acts, _)| acts);
        self.acts.iter().filter(move |act| !leaving.contains(act))
    }
}

/// How far scrubbing came.
#[derive(Debug)]
pub enum Scrubbed {
    /// Nothing is left of what is dead.
    All,
    /// Nobody new sees what is dead, but somebody still reads the files it stands in. Goes on by itself once they are let go.
    Read,
    /// All is done but for segments that are damaged; this is the first of them.
    Damaged(Error),
}

/// The dead cells whose frames may still lie around.
#[derive(Debug, Default)]
pub struct Scrub(RwLock<Dead>);

impl Scrub {
    /// Those that the keyring's notes name; and the acts without any, which had nothing to scrub, or whose notes went just
    /// before a crash.
    pub fn load(keyring: &Keyring, acts: &Acts) -> Result<Self> {
        let scrub = Scrub::default();
        keyring.walk_notes(&mut |_, note| {
            scrub.add(note.act, &note.cells);
            Ok(())
        })?;
        for (number, state) in &acts.by_number {
            let has_none = matches!(&state.act, Act::Expire { rows, .. } if rows.is_empty());
            if !has_none && state.shredded.is_some() && state.scrubbed.is_none() {
                scrub.add(*number, &[]);
            }
        }
        Ok(scrub)
    }

    /// Adds the cells that died with an act.
    pub fn add(&self, act: u64, cells: &[DeadCell]) {
        let mut dead = self.change();
        dead.acts.insert(act);
        dead.add(cells);
    }

    fn look(&self) -> RwLockReadGuard<'_, Dead> {
        self.0.read().expect("no holder of this lock panics")
    }

    fn change(&self) -> RwLockWriteGuard<'_, Dead> {
        self.0.write().expect("no holder of this lock panics")
    }

    /// Whether the frames under `handle` are to be dropped.
    pub fn is_dead(&self, partition: PartitionNumber, handle: &Handle) -> bool {
        let dead = self.look();
        dead.cells.get(&partition).is_some_and(|handles| handles.contains(handle))
    }

    /// Whether any frames of a partition are to be dropped.
    pub fn has_partition(&self, partition: PartitionNumber) -> bool {
        self.look().cells.contains_key(&partition)
    }

    /// How many cells of a partition are dead, whose frames may still stand in it.
    pub fn dead_in(&self, partition: PartitionNumber) -> u64 {
        self.look().cells.get(&partition).map_or(0, |handles| handles.len() as u64)
    }

    /// The acts that wait to be scrubbed.
    pub fn acts(&self) -> Vec<u64> {
        self.look().acts.iter().copied().collect()
    }

    fn by_partition(&self) -> BTreeMap<PartitionNumber, Vec<Handle>> {
        let dead = self.look();
        dead.cells.iter().map(|(partition, handles)| (*partition, handles.iter().copied().collect())).collect()
    }
}

/// Dead bytes are dropped by force once they are this old; until then they go with ordinary merges.
const FORCE_AFTER_DAYS: i64 = 60;

/// Whether there is anything to do: the oldest erasure that waits to be scrubbed has waited long enough (the promise is 90
/// days), or the last reader of what was scrubbed has gone.
pub fn is_due(engine: &Engine) -> bool {
    let now = engine.trusted.now(&*engine.env);
    let ledger = engine.ledger();
    let is_old = |number: &u64| match ledger.state().acts.by_number.get(number) {
        Some(state) => state.intended.plus_seconds(FORCE_AFTER_DAYS * 86_400) <= now,
        // When it was is lost with a part of the ledger.
        None => true,
    };
    let dead = engine.scrub.look();
    let is_blocked = dead.blocked.iter().any(|slot| slot.strong_count() > 0);
    dead.leaving.as_ref().is_some_and(|(_, leaving)| leaving.is_let_go()) || !is_blocked && dead.standing().any(is_old)
}

/// Drops every dead frame there is, then, once nobody reads the files they stood in, the notes. Housekeeping must be held.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn scrub(engine: &Engine, done: &mut Maintenance) -> Result<Scrubbed> {
    bury(engine)?;
    let acts = engine.scrub.acts();
    if acts.is_empty() {
        return Ok(Scrubbed::All);
    }
    if engine.scrub.look().standing().next().is_none() {
        return Ok(Scrubbed::Read);
    }
    // Settling leaves dead frames behind; once the notes are gone nothing would.
    housekeeping::settle_everything(engine, done)?;
    let mut damage = None;
    for (partition, handles) in engine.scrub.by_partition() {
        for slot in engine.catalog.snapshot().segments(partition) {
            damage = damage.or(drop_from(engine, (partition, slot), &handles, done)?.err());
        }
    }
    let held = column::trim(engine, done)?;
    if let Some(error) = damage.or(held) {
        engine.scrub.change().blocked = engine.writer()?.trouble.slots();
        return Ok(Scrubbed::Damaged(error));
    }
    engine.scrub.change().leaving = Some((acts, engine.catalog.leaving()));
    bury(engine)?;
    match engine.scrub.look().leaving.is_none() {
        true => Ok(Scrubbed::All),
        false => Ok(Scrubbed::Read),
    }
}

/// Puts on record that nothing is left of the acts whose files are gone, after the notes that named their cells.
fn bury(engine: &Engine) -> Result<()> {
    engine.catalog.sweep()?;
    let acts = match &engine.scrub.look().leaving {
        Some((acts, leaving)) if leaving.is_gone() => acts.clone(),
        _ => return Ok(()),
    };
    let (mut changes, mut left) = (Changes::new(), Dead::default());
    engine.keyring.walk_notes(&mut |key, note| {
        match acts.contains(&note.act) {
            true => drop(changes.insert(key, None)),
            false => left.add(&note.cells),
        }
        Ok(())
    })?;
    engine.record(&[Fact::Watermark])?;
    engine.keyring.shred(&changes, housekeeping::position(engine))?;
    // Of an act that was lost with a part of the ledger there is nothing to say.
    let known = |number: &&u64| engine.ledger().state().acts.by_number.contains_key(number);
    let scrubbed = |number: &u64| Fact::Effected { number: *number, effect: Effect::Scrubbed };
    let facts: Vec<Fact> = acts.iter().filter(known).map(scrubbed).collect();
    engine.record(&facts)?;
    let mut dead = engine.scrub.change();
    left.acts = dead.acts.iter().filter(|act| !acts.contains(act)).copied().collect();
    left.blocked = std::mem::take(&mut dead.blocked);
    *dead = left;
    Ok(())
}

/// Drops the frames of dead cells from a segment that has any. Damage in it is noted and comes back inside.
fn drop_from(
    engine: &Engine,
    (partition, slot): (PartitionNumber, &Arc<SegmentSlot>),
    handles: &[Handle],
    done: &mut Maintenance,
) -> Result<Result<(), Error>> {
    let slots = std::slice::from_ref(slot);
    match trouble::noted(engine, slots, holds_any(engine, slot, handles))? {
        Ok(true) => merge::attempt(engine, partition, slots.to_vec(), done),
        Ok(false) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
    }
}

fn holds_any(engine: &Engine, slot: &Arc<SegmentSlot>, handles: &[Handle]) -> Result<bool> {
    let segment = engine.catalog.open(slot)?;
    for handle in handles {
        if segment.find(handle)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
