//! A simulated machine that tears, loses and forgets, the same way for the same seed. For tests only.
//!
//! It owns files, names, clock and randomness in memory, and knows of each what a power cut would leave:
//!
//! - every 512-byte sector not synced survives or not, each by itself; so does a file's length;
//! - names created, renamed or removed survive once their directory is synced; until then any of them, or (by seed)
//!   the first so many of them; a rename leaves the old name, the new one, or both;
//! - a failed sync of a file lies: some sectors have reached the medium, readers see all of them, the next sync
//!   succeeds, and after [`super::File::drop_cache`] or a restart the others are gone;
//! - any operation can fail, be short, find no space, or be the last one before the power cut.
//!
//! It never touches the real machine. One thread at a time makes a run repeatable; more threads are safe.
//!
//! ```
//! use tenure::env::{self, Env, sim::Sim};
//! let sim = Sim::new(7);
//! let env = sim.env();
//! env::create_dirs(&*env, "store".as_ref())?;
//! env::publish_new(&*env, "store/FORMAT".as_ref(), b"0")?;
//! sim.crash_at(sim.operations()); // The next operation is the last.
//! assert!(env::publish_new(&*env, "store/more".as_ref(), b"1").is_err());
//! sim.restart();
//! assert_eq!(sim.read("store/FORMAT"), Some(b"0".to_vec()));
//! # Ok::<(), std::io::Error>(())
//! ```

mod calls;
mod chance;
mod faults;
mod handles;
mod names;
mod node;
mod operator;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::world::{Order, World};
use super::{Env, Medium};
use crate::window::Timestamp;

pub use self::faults::{Failure, Faults, Plant, Survivors, is_crash};
pub use self::operator::Snapshot;
pub use self::world::Counts;

/// A simulated machine. Clones are handles on the same one.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world();
        f.debug_struct("Sim").field("counts", &world.counts).field("crashed", &world.crashed).finish_non_exhaustive()
    }
}

impl Sim {
    /// A machine with an empty file system, no faults, and its clock at the start of 2026. All that happens by chance
    /// follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim { world: Arc::new(Mutex::new(World::new(seed))) }
    }

    /// The environment to hand to what is tested.
    pub fn env(&self) -> Arc<dyn Env> {
        Arc::new(self.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that fails while it holds the lock must not make its destructors fail too.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations there have been.
    pub fn operations(&self) -> u64 {
        self.world().counts.operations
    }

    /// How many of them could change anything: a crash between two changes is a crash at the later one.
    pub fn changes(&self) -> u64 {
        self.world().counts.changes
    }

    /// How often what was done.
    pub fn counts(&self) -> Counts {
        self.world().counts
    }

    /// Syncs of files.
    pub fn syncs(&self) -> u64 {
        self.world().counts.syncs
    }

    /// Syncs of directories.
    pub fn dir_syncs(&self) -> u64 {
        self.world().counts.dir_syncs
    }

    /// Syncs of files whose name ends so. A temporary file counts under the name it is to have in the end.
    pub fn syncs_of(&self, suffix: &str) -> u64 {
        self.world().synced.iter().filter(|(path, _)| path.ends_with(suffix)).map(|(_, count)| count).sum()
    }

    /// Cuts the power at the operation with this index (see [`Sim::operations`]): it takes effect wholly, in part or
    /// not at all, and fails as all later ones do.
    pub fn crash_at(&self, operation: u64) {
        self.world().crash_at_operation = Some(operation);
    }

    /// Cuts the power at the change with this index (see [`Sim::changes`]).
    pub fn crash_at_change(&self, change: u64) {
        self.world().crash_at_change = Some(change);
    }

    /// Cuts the power now.
    pub fn crash(&self) {
        self.world().crashed = true;
    }

    /// Whether the power is cut.
    pub fn crashed(&self) -> bool {
        self.world().crashed
    }

    /// Starts the machine after a power cut (which comes now, if it has not come): chooses what survives. Locks are
    /// gone, files opened before are dead, no crash is ordered any more; clock and randomness go on.
    pub fn restart(&self) {
        self.restart_with(Survivors::Some);
    }

    /// [`Sim::restart`], but it is said what survives of that which was not synced.
    pub fn restart_with(&self, survivors: Survivors) {
        self.world().restart(Some(survivors));
    }

    /// Kills the process, not the machine: locks are gone and files opened before are dead, but all that was written
    /// is still there - in the cache, where a power cut may yet lose it.
    pub fn kill(&self) {
        self.world().restart(None);
    }

    /// How often things go wrong by chance from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Has the operation with this index fail.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        self.world().orders.push(Order { at: operation, failure, for_ever: false });
    }

    /// Has the operation with this index and every later one fail.
    pub fn fail_from(&self, operation: u64, failure: Failure) {
        self.world().orders.push(Order { at: operation, failure, for_ever: true });
    }

    /// Ends all failures ordered by [`Sim::fail_at`] and [`Sim::fail_from`] and all faults.
    pub fn heal(&self) {
        let mut world = self.world();
        world.orders.clear();
        world.faults = Faults::default();
    }

    /// Plants a bug under what is tested.
    pub fn plant(&self, plant: Plant) {
        self.world().plants.push(plant);
    }

    /// The size of the disk in bytes, for all files together; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// What [`Env::medium`] answers.
    pub fn set_medium(&self, medium: Medium) {
        self.world().medium = medium;
    }

    /// Sets the wall clock; the monotonic clock does not move.
    pub fn set_now(&self, now: Timestamp) {
        self.world().wall_micros = now.as_micros();
    }

    /// Lets time pass, by both clocks.
    pub fn advance(&self, time: Duration) {
        self.world().pass(u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 2));
    }

    /// A hash of every operation so far with its arguments and outcome. The same seed and the same calls give the
    /// same one.
    pub fn trace(&self) -> u64 {
        self.world().trace.digest()
    }

    /// Starts writing down operations in words, for [`Sim::narration`].
    pub fn narrate(&self) {
        self.world().trace.lines.get_or_insert_default();
    }

    /// The operations since [`Sim::narrate`], a line each.
    pub fn narration(&self) -> String {
        self.world().trace.lines.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }
}
