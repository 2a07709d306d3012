//! The state of a simulated machine: how an operation begins and fails, how time passes, what a restart leaves.
//! What the operations do is in `calls`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::chance::{Chance, Trace};
use super::faults::{Failure, Faults, Plant, Survivors};
use super::names::{Entry, Names};
use super::node::Node;
use crate::env::Medium;

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of all kinds, failed ones included.
    pub operations: u64,
    /// Operations that change something: those a crash is worth trying at.
    pub changes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Reads, maps included.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Open = 1,
    Create,
    Read,
    Write,
    Len,
    SetLen,
    Allocate,
    Sync,
    DropCache,
    Map,
    Rename,
    RemoveFile,
    CreateDir,
    RemoveDir,
    List,
    Metadata,
    SyncDir,
    Lock,
    FreeSpace,
    Medium,
    Random,
}

impl Op {
    fn changes(self) -> bool {
        use Op::*;
        matches!(
            self,
            Create | Write | SetLen | Allocate | Sync | Rename | RemoveFile | CreateDir | RemoveDir | SyncDir
        )
    }
}

/// What an operation is about.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Name(&'a str),
    Node(u64),
}

/// How an operation is to go.
pub(super) enum Turn {
    Well,
    Badly(Failure),
}

/// A failure ordered for one operation, or for it and all later ones.
pub(super) struct Order {
    pub(super) at: u64,
    pub(super) failure: Failure,
    pub(super) for_ever: bool,
}

pub(super) struct World {
    pub(super) chance: Chance,
    /// Of its own, so that random bytes do not depend on which faults were drawn. Never rewound.
    pub(super) entropy: Chance,
    pub(super) faults: Faults,
    pub(super) orders: Vec<Order>,
    pub(super) plants: Vec<Plant>,
    pub(super) names: Names,
    pub(super) nodes: BTreeMap<u64, Node>,
    next_node: u64,
    pub(super) locks: BTreeSet<u64>,
    /// How often the machine was started; handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) crash_at_operation: Option<u64>,
    pub(super) crash_at_change: Option<u64>,
    pub(super) crashed: bool,
    pub(super) wall_micros: i64,
    pub(super) monotonic_micros: u64,
    pub(super) capacity: Option<u64>,
    pub(super) medium: Medium,
    pub(super) counts: Counts,
    pub(super) synced: BTreeMap<String, u64>,
    pub(super) trace: Trace,
    pub(super) history: Option<Vec<(String, Vec<u8>)>>,
}

/// 2026-01-01T00:00:00Z.
const START_MICROS: i64 = 1_767_225_600_000_000;
/// How long an operation takes.
const OPERATION_MICROS: u64 = 7;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let entropy = Chance::new(chance.next());
        let names = Names::new(chance.coin());
        World {
            chance,
            entropy,
            faults: Faults::default(),
            orders: Vec::new(),
            plants: Vec::new(),
            names,
            nodes: BTreeMap::new(),
            next_node: 1,
            locks: BTreeSet::new(),
            life: 0,
            crash_at_operation: None,
            crash_at_change: None,
            crashed: false,
            wall_micros: START_MICROS,
            monotonic_micros: 0,
            capacity: None,
            medium: Medium::InPlace,
            counts: Counts::default(),
            synced: BTreeMap::new(),
            trace: Trace::new(),
            history: None,
        }
    }

    /// Counts an operation, lets time pass, and decides how it goes. The error is for machines that are off.
    pub(super) fn begin(&mut self, op: Op, about: About<'_>, a: u64, b: u64) -> io::Result<Turn> {
        if self.crashed {
            return Err(Failure::Crash.error());
        }
        let (index, change) = (self.counts.operations, self.counts.changes);
        self.counts.operations += 1;
        self.counts.changes += u64::from(op.changes());
        self.pass(OPERATION_MICROS);
        self.trace.mix(op as u64);
        match about {
            About::Name(name) => self.trace.mix_bytes(name.as_bytes()),
            About::Node(node) => self.trace.mix(node),
        }
        self.trace.mix(a);
        self.trace.mix(b);
        if let Some(lines) = &mut self.trace.lines {
            let name = match about {
                About::Name(name) => name,
                About::Node(node) => self.nodes.get(&node).map_or("?", |node| &node.path),
            };
            lines.push(format!("{index} {op:?} {name} {a} {b}"));
        }
        let crash = self.crash_at_operation == Some(index)
            || (op.changes() && self.crash_at_change.is_some_and(|at| at == change));
        let failure = if crash {
            self.crashed = true;
            Some(Failure::Crash)
        } else {
            self.ordered(index).or_else(|| self.by_chance(op))
        };
        self.trace.mix(failure.map_or(0, |failure| failure as u64 + 1));
        if let (Some(failure), Some(lines)) = (failure, &mut self.trace.lines) {
            lines.push(format!("  fails: {failure:?}"));
        }
        Ok(failure.map_or(Turn::Well, Turn::Badly))
    }

    fn ordered(&self, index: u64) -> Option<Failure> {
        let due = |order: &&Order| order.at == index || (order.for_ever && order.at < index);
        self.orders.iter().find(due).map(|order| order.failure)
    }

    fn by_chance(&mut self, op: Op) -> Option<Failure> {
        if self.faults == Faults::default() {
            return None;
        }
        let faults = self.faults;
        let errors = match op {
            Op::Read | Op::Map | Op::List => faults.read_errors,
            Op::Write | Op::SetLen | Op::Allocate => faults.write_errors,
            Op::Sync => faults.sync_errors,
            Op::SyncDir | Op::Create | Op::Rename | Op::RemoveFile | Op::CreateDir | Op::RemoveDir => {
                faults.name_errors
            }
            _ => 0,
        };
        let full = matches!(op, Op::Write | Op::Allocate | Op::Create | Op::CreateDir);
        let opens = matches!(op, Op::Open | Op::Create | Op::Map | Op::List | Op::SyncDir);
        let chance = &mut self.chance;
        if chance.one_in(errors) {
            Some(Failure::Io)
        } else if full && chance.one_in(faults.full) {
            Some(Failure::Full)
        } else if opens && chance.one_in(faults.too_many_open) {
            Some(Failure::TooManyOpen)
        } else if matches!(op, Op::Read | Op::Write) && chance.one_in(faults.interrupts) {
            Some(Failure::Interrupted)
        } else {
            None
        }
    }

    /// For operations that change nothing: it fails or it goes well.
    pub(super) fn ask(&mut self, op: Op, about: About<'_>) -> io::Result<()> {
        match self.begin(op, about, 0, 0)? {
            Turn::Well => Ok(()),
            Turn::Badly(failure) => Err(failure.error()),
        }
    }

    /// For operations that happen or not: the failure to answer with in spite of having done it, if any.
    pub(super) fn attempt(&mut self, op: Op, about: About<'_>, a: u64, b: u64) -> io::Result<Option<Failure>> {
        match self.begin(op, about, a, b)? {
            Turn::Well => Ok(None),
            Turn::Badly(failure) if failure.may_take_effect() && self.chance.coin() => Ok(Some(failure)),
            Turn::Badly(failure) => Err(failure.error()),
        }
    }

    pub(super) fn pass(&mut self, micros: u64) {
        self.wall_micros = self.wall_micros.saturating_add(micros as i64);
        self.monotonic_micros += micros;
    }

    pub(super) fn node(&mut self, node: u64) -> io::Result<&mut Node> {
        self.nodes.get_mut(&node).ok_or_else(|| Failure::Crash.error())
    }

    pub(super) fn new_node(&mut self, node: Node) -> u64 {
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, node);
        number
    }

    /// Forgets files that no name stands for or may stand for again, and that nobody has open.
    pub(super) fn sweep(&mut self) {
        let named: BTreeSet<u64> = self.names.files().collect();
        self.nodes.retain(|number, node| node.handles > 0 || named.contains(number));
    }

    /// The machine starts again; after a power cut with whatever survived, else with all that was written.
    pub(super) fn restart(&mut self, power_cut: Option<Survivors>) {
        self.life += 1;
        self.crashed = false;
        self.crash_at_operation = None;
        self.crash_at_change = None;
        self.locks.clear();
        if let Some(survivors) = power_cut {
            self.names.crash(&mut self.chance, survivors);
        }
        self.nodes.values_mut().for_each(|node| (node.handles, node.names) = (0, 0));
        self.sweep();
        for entry in self.names.live.values() {
            if let Entry::File(node) = entry
                && let Some(node) = self.nodes.get_mut(node)
            {
                node.names += 1;
            }
        }
        if let Some(survivors) = power_cut {
            let eighths = survivors.eighths(&mut self.chance);
            self.nodes.values_mut().for_each(|node| node.crash(&mut self.chance, eighths));
            self.rename_nodes();
        }
        self.trace.mix(self.chance.clone().next());
    }

    /// After a crash a file may have another newest name than the one it had.
    fn rename_nodes(&mut self) {
        for (name, entry) in &self.names.live {
            if let Entry::File(node) = entry
                && let Some(node) = self.nodes.get_mut(node)
                && node.path != *name
                && self.names.live.get(&node.path) != Some(entry)
            {
                node.path.clone_from(name);
            }
        }
    }
}
