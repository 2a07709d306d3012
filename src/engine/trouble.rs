//! What background work stumbles over: damaged segments, which are passed over until the store is opened again or they are
//! repaired, and the step that failed last. Nobody waits for that work, so it is told by reports.

use crate::sync::{Arc, Mutex, Weak};
use std::path::Path;

use super::Engine;
use super::catalog::SegmentSlot;
use crate::error::{Error, ErrorKind, Result};
use crate::report::Damage;

#[derive(Default)]
struct Known {
    damaged: Vec<(Weak<SegmentSlot>, Damage)>,
    failure: Option<Damage>,
}

/// The troubles of one opening.
#[derive(Default)]
pub struct Trouble(Mutex<Known>);

impl Trouble {
    /// Whether a segment was found damaged.
    pub fn has(&self, slot: &Arc<SegmentSlot>) -> bool {
        let known = self.0.lock().expect("no holder of this lock panics");
        known.damaged.iter().any(|(damaged, _)| std::ptr::eq(damaged.as_ptr(), Arc::as_ptr(slot)))
    }

    /// The segments that were found damaged.
    pub fn slots(&self) -> Vec<Weak<SegmentSlot>> {
        let known = self.0.lock().expect("no holder of this lock panics");
        known.damaged.iter().map(|(slot, _)| slot.clone()).collect()
    }

    /// What is wrong with those of them that are still there.
    pub fn damaged(&self) -> Vec<Damage> {
        let known = self.0.lock().expect("no holder of this lock panics");
        let there = known.damaged.iter().filter(|(slot, _)| slot.strong_count() > 0);
        there.map(|(_, damage)| damage.clone()).collect()
    }

    /// The same, and the step that failed last if none has succeeded since.
    pub fn all(&self) -> Vec<Damage> {
        let mut all = self.damaged();
        all.extend(self.0.lock().expect("no holder of this lock panics").failure.clone());
        all
    }

    /// Notes what became of a step that nobody waits for.
    pub fn failed(&self, failure: Option<&Error>, root: &Path) {
        let failure = failure.map(|error| damage(error, root));
        self.0.lock().expect("no holder of this lock panics").failure = failure;
    }

    fn note(&self, slot: &Arc<SegmentSlot>, error: &Error) {
        if !self.has(slot) {
            let mut known = self.0.lock().expect("no holder of this lock panics");
            known.damaged.retain(|(slot, _)| slot.strong_count() > 0);
            known.damaged.push((Arc::downgrade(slot), damage(error, &slot.path)));
        }
    }
}

/// Whether something that was to be read cannot be.
pub fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Io)
}

/// What a report says of an error, which happened at `path` unless it names another.
pub fn damage(error: &Error, path: &Path) -> Damage {
    let path = error.path().unwrap_or(path).to_path_buf();
    Damage { path, offset: error.offset(), what: error.without_place() }
}

/// Tells damage in one of `slots`, which is noted and comes back inside, from all else that made a step over them fail.
///
/// # Errors
/// What is no damage of one of them.
pub fn noted<T>(engine: &Engine, slots: &[Arc<SegmentSlot>], outcome: Result<T>) -> Result<Result<T, Error>> {
    let Err(error) = outcome else { return Ok(outcome) };
    let slot = slots.iter().find(|slot| error.path() == Some(&*slot.path));
    match slot.filter(|_| is_damage(&error)) {
        Some(slot) => {
            engine.writer()?.trouble.note(slot, &error);
            Ok(Err(error))
        }
        None => Err(error),
    }
}
