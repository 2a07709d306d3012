//! What goes wrong in a simulation: by chance, at a given operation, or by a planted bug.

use std::fmt;
use std::io;

use super::chance::Chance;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device answers with an error (EIO). The operation may have taken effect, wholly or in part.
    Io,
    /// No space is left (ENOSPC). A write may have taken effect in part.
    Full,
    /// Too many files are open (EMFILE). Nothing happened.
    TooManyOpen,
    /// A signal came first (EINTR). Nothing happened; only reads and writes are ever interrupted.
    Interrupted,
    /// Power is cut: this and every later operation fails until [`super::Sim::restart`]. The operation may have taken
    /// effect, wholly or in part.
    Crash,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Failure::Io => io::Error::from_raw_os_error(5),
            Failure::Full => io::Error::from_raw_os_error(28),
            Failure::TooManyOpen => io::Error::from_raw_os_error(24),
            Failure::Interrupted => io::Error::from_raw_os_error(4),
            Failure::Crash => io::Error::other(PowerCut),
        }
    }

    /// Whether the operation may have happened all the same.
    pub(super) fn may_take_effect(self) -> bool {
        matches!(self, Failure::Io | Failure::Crash)
    }
}

#[derive(Debug)]
struct PowerCut;

impl fmt::Display for PowerCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated machine is off")
    }
}

impl std::error::Error for PowerCut {}

/// Whether an operation failed because the simulated machine is off (or was, since its file was opened).
pub fn is_crash(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PowerCut>())
}

/// How often things go wrong by chance: each once in so many operations of its kind, zero for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Reads and writes that move fewer bytes than asked.
    pub short_io: u32,
    /// Reads and writes that a signal interrupts.
    pub interrupts: u32,
    /// Writes after which the system writes some sectors, and changes of names, to the medium by itself.
    pub write_back: u32,
    /// Reads, maps and listings that fail with EIO.
    pub read_errors: u32,
    /// Writes, allocations and changes of length that fail with EIO.
    pub write_errors: u32,
    /// Syncs of files that fail with EIO, and lie when asked again.
    pub sync_errors: u32,
    /// Syncs of directories, creations, renames and removals that fail with EIO.
    pub name_errors: u32,
    /// Writes, allocations and creations that find no space, though a later one may.
    pub full: u32,
    /// Openings that find too many files open.
    pub too_many_open: u32,
}

impl Faults {
    /// What must never change a result: short reads and writes, interrupts, early write-back.
    pub fn harmless(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut knob = || [0, 50, 3][chance.below(3) as usize];
        Faults { short_io: knob(), interrupts: knob(), write_back: knob(), ..Faults::default() }
    }

    /// Every fault off, rare or common, each by itself: a different mixture for every seed.
    pub fn swarm(seed: u64) -> Self {
        let mut chance = Chance::new(!seed);
        let mut knob = || [0, 0, 300, 30][chance.below(4) as usize];
        Faults {
            read_errors: knob(),
            write_errors: knob(),
            sync_errors: knob(),
            name_errors: knob(),
            full: knob(),
            too_many_open: knob(),
            ..Faults::harmless(seed)
        }
    }
}

/// A bug planted under the engine: calls that do nothing and say that all is well, as if they had been left out. A
/// crash suite that does not notice is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Directories are never synced.
    NoDirSync,
    /// Files whose name (less that of a temporary) ends so are never synced; every file, where it is empty.
    NoDataSync {
        /// The end of the name, such as `.journal`.
        suffix: &'static str,
    },
}

/// What survives a power cut of that which was not synced. What was synced always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Each sector, length and name by chance; how likely is drawn for each power cut, from never to always.
    Some,
    /// All.
    All,
    /// None.
    None,
}

impl Survivors {
    /// How likely each single one survives.
    pub(super) fn eighths(self, chance: &mut Chance) -> u64 {
        match self {
            Survivors::Some => [0, 1, 4, 4, 4, 7, 8][chance.below(7) as usize],
            Survivors::All => 8,
            Survivors::None => 0,
        }
    }
}
