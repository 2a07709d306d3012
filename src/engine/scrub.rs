//! Scrubbing: the frames of dead cells are dropped by settling and merging, and once they are gone the notes that named
//! them die as well. Nobody can read those frames; scrubbing keeps the promise that the bytes go too.

use crate::sync::{Arc, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::catalog::SegmentSlot;
use super::{Engine, column, housekeeping, merge};
use crate::error::Result;
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
            let expired = matches!(state.act, Act::Expire { .. });
            if !expired && state.shredded.is_some() && state.scrubbed.is_none() {
                scrub.add(*number, &[]);
            }
        }
        Ok(scrub)
    }

    /// Adds the cells that died with an act.
    pub fn add(&self, act: u64, cells: &[DeadCell]) {
        let mut dead = self.0.write().expect("no holder of this lock panics");
        dead.acts.insert(act);
        for (partition, handle) in cells {
            dead.cells.entry(*partition).or_default().insert(*handle);
        }
    }

    /// Whether the frames under `handle` are to be dropped.
    pub fn is_dead(&self, partition: PartitionNumber, handle: &Handle) -> bool {
        let dead = self.0.read().expect("no holder of this lock panics");
        dead.cells.get(&partition).is_some_and(|handles| handles.contains(handle))
    }

    /// Whether any frames of a partition are to be dropped.
    pub fn has_partition(&self, partition: PartitionNumber) -> bool {
        self.0.read().expect("no holder of this lock panics").cells.contains_key(&partition)
    }

    /// The acts that wait to be scrubbed.
    pub fn acts(&self) -> Vec<u64> {
        self.0.read().expect("no holder of this lock panics").acts.iter().copied().collect()
    }

    fn by_partition(&self) -> BTreeMap<PartitionNumber, Vec<Handle>> {
        let dead = self.0.read().expect("no holder of this lock panics");
        dead.cells.iter().map(|(partition, handles)| (*partition, handles.iter().copied().collect())).collect()
    }

    fn clear(&self) {
        *self.0.write().expect("no holder of this lock panics") = Dead::default();
    }
}

/// Dead bytes are dropped by force once they are this old; until then they go with ordinary merges.
const FORCE_AFTER_DAYS: i64 = 60;

/// Whether the oldest erasure that waits to be scrubbed has waited long enough. The promise is 90 days.
pub fn is_due(engine: &Engine) -> bool {
    let now = engine.trusted.now(&*engine.env);
    let acts = engine.scrub.acts();
    let ledger = engine.ledger();
    acts.iter().any(|number| match ledger.state().acts.by_number.get(number) {
        Some(state) => state.intended.plus_seconds(FORCE_AFTER_DAYS * 86_400) <= now,
        // When it was is lost with a part of the ledger.
        None => true,
    })
}

/// Drops every dead frame there is, then the notes. Housekeeping must be held.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn scrub(engine: &Engine, done: &mut Maintenance) -> Result<()> {
    let acts = engine.scrub.acts();
    if acts.is_empty() {
        return Ok(());
    }
    // Settling leaves dead frames behind; once the notes are gone nothing would.
    housekeeping::settle_everything(engine, done)?;
    for (partition, handles) in engine.scrub.by_partition() {
        for slot in engine.catalog.snapshot().segments(partition) {
            if holds_any(engine, slot, &handles)? {
                merge::merge(engine, partition, vec![slot.clone()], done)?;
            }
        }
    }
    column::trim(engine, done)?;
    engine.catalog.sweep()?;
    let mut changes = Changes::new();
    engine.keyring.walk_notes(&mut |key, note| {
        if acts.contains(&note.act) {
            changes.insert(key, None);
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
    engine.scrub.clear();
    Ok(())
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
