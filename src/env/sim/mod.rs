//! A simulated machine that tears, loses and forgets, the same way for the same seed. For tests only.
//!
//! It owns files, names, clock and randomness in memory, and knows of each what a power cut would leave:
//!
//! - every 512-byte sector not synced survives or not, each by itself; so does a file's length;
//! - names created, renamed or removed survive once their directory is synced; until then any of them, or (by seed)
//!   the first so many of them; a rename leaves the old name, the new one, or both;
//! - a failed sync of a file lies: some sectors have reached the medium, readers see all of them, the next sync
//!   succeeds, and after [`File::drop_cache`] or a restart the others are gone;
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

mod chance;
mod faults;
mod names;
mod node;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::names::{Entry, name_of};
use self::world::{Order, World};
use super::{DirEntry, Env, File, Lock, Map, Medium, Metadata, OpenMode};
use crate::window::Timestamp;

pub use self::faults::{Failure, Faults, Plant, is_crash};
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

/// Files and directories as they were at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Vec<(String, Option<Vec<u8>>)>);

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
        self.world().restart(true);
    }

    /// Kills the process, not the machine: locks are gone and files opened before are dead, but all that was written
    /// is still there - in the cache, where a power cut may yet lose it.
    pub fn kill(&self) {
        self.world().restart(false);
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

/// The disk as an operator, an attacker or decay sees it. All of these reach the medium at once.
impl Sim {
    /// The bytes of a file as readers see them.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let world = self.world();
        let node = world.names.file(&name_of(path.as_ref()).ok()?).ok()?;
        Some(world.nodes.get(&node)?.bytes())
    }

    /// The bytes of a file that a power cut now is sure to leave, if it is sure to leave its name.
    pub fn read_durable(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let world = self.world();
        match world.names.durable.get(&*name_of(path.as_ref()).ok()?)? {
            Entry::File(node) => Some(world.nodes.get(node)?.durable_bytes()),
            Entry::Dir => None,
        }
    }

    /// Every file, sorted by path, with its bytes as readers see them.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let Snapshot(entries) = self.snapshot();
        entries.into_iter().filter_map(|(name, bytes)| Some((PathBuf::from(name), bytes?))).collect()
    }

    /// Creates or replaces a file, and the directories it needs.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let name = name_of(path.as_ref()).expect("a path in UTF-8");
        self.world().place(&name, bytes.to_vec());
    }

    /// Removes a file or an empty directory.
    pub fn remove(&self, path: impl AsRef<Path>) {
        let name = name_of(path.as_ref()).expect("a path in UTF-8");
        self.world().unplace(&name);
    }

    /// Turns over one bit (0 to 7) of one byte, under open files too. Panics where there is no such file or byte.
    pub fn flip(&self, path: impl AsRef<Path>, byte: u64, bit: u8) {
        let mut world = self.world();
        let name = name_of(path.as_ref()).expect("a path in UTF-8");
        let node = world.names.file(&name).expect("a file to damage");
        let node = world.nodes.get_mut(&node).expect("a file to damage");
        assert!(byte < node.len() && bit < 8, "no bit {bit} of byte {byte} in {name}");
        node.flip(byte, bit);
    }

    /// Cuts a file, or extends it with zeros, under open files too. Panics where there is no such file.
    pub fn truncate(&self, path: impl AsRef<Path>, len: u64) {
        let mut world = self.world();
        let name = name_of(path.as_ref()).expect("a path in UTF-8");
        let node = world.names.file(&name).expect("a file to cut");
        let node = world.nodes.get_mut(&node).expect("a file to cut");
        node.set_len(len);
        node.sync();
    }

    /// All files and directories as they are now, as readers see them.
    pub fn snapshot(&self) -> Snapshot {
        let world = self.world();
        let bytes = |entry| match entry {
            Entry::File(node) => Some(world.nodes.get(&node).map_or_else(Vec::new, |node| node.bytes())),
            Entry::Dir => None,
        };
        Snapshot(world.names.live.iter().map(|(name, entry)| (name.clone(), bytes(*entry))).collect())
    }

    /// Puts everything at and below `prefix` back to what it was: newer files and names are gone. The empty prefix is
    /// the whole disk. Files open there go on as unlinked ones.
    pub fn restore(&self, snapshot: &Snapshot, prefix: impl AsRef<Path>) {
        let prefix = name_of(prefix.as_ref()).expect("a path in UTF-8");
        let inside = |name: &str| {
            name.strip_prefix(&*prefix)
                .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        let mut world = self.world();
        let names: Vec<String> = world.names.live.keys().chain(world.names.durable.keys()).cloned().collect();
        names.iter().filter(|name| inside(name)).for_each(|name| world.unplace(name));
        for (name, bytes) in snapshot.0.iter().filter(|(name, _)| inside(name)) {
            match bytes {
                Some(bytes) => world.place(name, bytes.clone()),
                None => world.names.set(name, Some(Entry::Dir)),
            }
        }
    }

    /// Copies everything at and below `from` to `to`, as `cp -r` would.
    pub fn copy_tree(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let (from, to) = (name_of(from.as_ref()).expect("UTF-8"), name_of(to.as_ref()).expect("UTF-8"));
        let Snapshot(entries) = self.snapshot();
        let mut world = self.world();
        for (name, bytes) in entries {
            let Some(rest) = name.strip_prefix(&*from).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
                continue;
            };
            match bytes {
                Some(bytes) => world.place(&format!("{to}{rest}"), bytes),
                None => world.names.set(&format!("{to}{rest}"), Some(Entry::Dir)),
            }
        }
    }

    /// Starts keeping every version of every byte that is written from now on.
    pub fn keep_history(&self) {
        self.world().history.get_or_insert_default();
    }

    /// Shows every path and every byte ever written since [`Sim::keep_history`]: each write in the place it stood in
    /// (with a little of what stood around it), and every file as it is now, on the medium too.
    pub fn every_byte_ever(&self, mut visit: impl FnMut(&str, &[u8])) {
        let world = self.world();
        for (path, bytes) in world.history.iter().flatten() {
            visit(path, bytes);
        }
        for node in world.nodes.values() {
            visit(&node.path, &node.bytes());
            visit(&node.path, &node.durable_bytes());
        }
    }
}

/// An open file of one life of the machine.
struct SimFile {
    sim: Sim,
    node: u64,
    life: u64,
    writable: bool,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("node", &self.node).finish_non_exhaustive()
    }
}

impl SimFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.sim.world();
        match world.life == self.life {
            true => Ok(world),
            false => Err(Failure::Crash.error()),
        }
    }

    fn world_to_write(&self) -> io::Result<MutexGuard<'_, World>> {
        match self.writable {
            true => self.world(),
            false => Err(io::Error::from_raw_os_error(9)), // EBADF
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world() {
            world.close(self.node);
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.world()?.read(self.node, buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.world_to_write()?.write(self.node, data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.world()?.len(self.node)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.world_to_write()?.set_len(self.node, len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.world_to_write()?.allocate(self.node, offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.world()?.sync(self.node)
    }

    fn drop_cache(&self) {
        if let Ok(mut world) = self.world() {
            world.drop_cache(self.node);
        }
    }
}

struct SimMap(Vec<u8>);

impl Deref for SimMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Map for SimMap {}

#[derive(Debug)]
struct SimLock {
    sim: Sim,
    node: u64,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        if world.life == self.life {
            world.locks.remove(&self.node);
        }
    }
}

impl Lock for SimLock {}

impl Env for Sim {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut world = self.world();
        let node = world.open(path, mode)?;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { sim: self.clone(), node, life: world.life, writable }))
    }

    fn map(&self, path: &Path) -> io::Result<Box<dyn Map<Target = [u8]>>> {
        Ok(Box::new(SimMap(self.world().map(path)?)))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world().rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.world().remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.world().create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.world().remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.world().list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.world().metadata(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.world().sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut world = self.world();
        let node = world.lock(path)?;
        Ok(Box::new(SimLock { sim: self.clone(), node, life: world.life }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.world().free_space(path)
    }

    fn medium(&self, path: &Path) -> io::Result<Medium> {
        self.world().medium(path)
    }

    fn now(&self) -> Timestamp {
        let mut world = self.world();
        world.pass(1);
        Timestamp::from_micros(world.wall_micros)
    }

    fn monotonic(&self) -> Duration {
        let mut world = self.world();
        world.pass(1);
        Duration::from_micros(world.monotonic_micros)
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.world().fill_random(buffer)
    }
}
