//! The state of a simulated machine and what its system calls do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::chance::{Chance, Trace};
use super::faults::{Failure, Faults, Plant};
use super::names::{Entry, Names, name_of};
use super::node::Node;
use crate::env::{DirEntry, Medium, Metadata, OpenMode};
use std::path::Path;

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
enum Turn {
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
    entropy: Chance,
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
/// The history keeps this much of what stands around a write, so that words cut in two by writes are still found.
const AROUND: u64 = 256;

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
    fn begin(&mut self, op: Op, about: About<'_>, a: u64, b: u64) -> io::Result<Turn> {
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
    fn ask(&mut self, op: Op, about: About<'_>) -> io::Result<()> {
        match self.begin(op, about, 0, 0)? {
            Turn::Well => Ok(()),
            Turn::Badly(failure) => Err(failure.error()),
        }
    }

    /// For operations that happen or not: the failure to answer with in spite of having done it, if any.
    fn attempt(&mut self, op: Op, about: About<'_>, a: u64, b: u64) -> io::Result<Option<Failure>> {
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

    fn node(&mut self, node: u64) -> io::Result<&mut Node> {
        self.nodes.get_mut(&node).ok_or_else(|| Failure::Crash.error())
    }

    fn new_node(&mut self, node: Node) -> u64 {
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, node);
        number
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        let name = name_of(path)?;
        let node = if mode == OpenMode::CreateNew {
            let failed = self.attempt(Op::Create, About::Name(&name), 0, 0)?;
            self.names.is_free(&name)?;
            let node = self.new_node(Node::new(name.clone().into_owned()));
            self.names.change(&name, Some(Entry::File(node)), None);
            self.node(node)?.names = 1;
            done(failed, node)?
        } else {
            self.ask(Op::Open, About::Name(&name))?;
            self.names.file(&name)?
        };
        self.node(node)?.handles += 1;
        Ok(node)
    }

    pub(super) fn close(&mut self, node: u64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.handles -= 1;
        }
    }

    pub(super) fn read(&mut self, node: u64, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Turn::Badly(failure) = self.begin(Op::Read, About::Node(node), offset, buffer.len() as u64)? {
            return Err(failure.error());
        }
        let most = self.at_most(buffer.len());
        let count = self.node(node)?.read(&mut buffer[..most], offset);
        self.counts.reads += 1;
        self.counts.bytes_read += count as u64;
        self.trace.mix(count as u64);
        Ok(count)
    }

    /// How many of `len` bytes a read or write gets to move.
    fn at_most(&mut self, len: usize) -> usize {
        match len > 1 && self.chance.one_in(self.faults.short_io) {
            true => 1 + self.chance.below(len as u64 - 1) as usize,
            false => len,
        }
    }

    pub(super) fn write(&mut self, node: u64, data: &[u8], offset: u64) -> io::Result<usize> {
        let turn = self.begin(Op::Write, About::Node(node), offset, data.len() as u64)?;
        self.trace.mix_bytes(data);
        let room = self.room(node, offset, data.len() as u64)?;
        let (count, answer) = match turn {
            Turn::Badly(Failure::Interrupted | Failure::TooManyOpen) => (0, Err(Failure::Interrupted)),
            Turn::Badly(failure) => (self.chance.below(room + 1), Err(failure)),
            Turn::Well if room == 0 && !data.is_empty() => (0, Err(Failure::Full)),
            Turn::Well => {
                let count = self.at_most(room as usize) as u64;
                (count, Ok(count as usize))
            }
        };
        // A write that finds no space says so only if nothing was written; the caller learns of the rest by its count.
        let answer = if count > 0 && matches!(answer, Err(Failure::Full)) { Ok(count as usize) } else { answer };
        self.put(node, &data[..count as usize], offset)?;
        self.trace.mix(count);
        answer.map_err(Failure::error)
    }

    fn put(&mut self, node: u64, data: &[u8], offset: u64) -> io::Result<()> {
        self.counts.writes += 1;
        self.counts.bytes_written += data.len() as u64;
        let early = self.chance.one_in(self.faults.write_back);
        let file = self.nodes.get_mut(&node).ok_or_else(|| Failure::Crash.error())?;
        file.write(data, offset);
        if let Some(history) = &mut self.history
            && !data.is_empty()
        {
            let from = offset.saturating_sub(AROUND);
            let mut seen = vec![0; (offset + data.len() as u64 + AROUND - from) as usize];
            let count = file.read(&mut seen, from);
            seen.truncate(count);
            history.push((file.path.clone(), seen));
        }
        if early {
            file.write_back(&mut self.chance);
            self.names.write_back(&mut self.chance);
        }
        Ok(())
    }

    /// How many of `len` bytes at `offset` there is space for.
    fn room(&mut self, node: u64, offset: u64, len: u64) -> io::Result<u64> {
        let charged = self.node(node)?.charged;
        let owned = charged.saturating_sub(offset).min(len);
        match self.capacity {
            Some(_) if owned < len => {
                // Space before the offset that was never written is taken too.
                let gap = offset.saturating_sub(charged);
                Ok(owned + self.free().saturating_sub(gap).min(len - owned))
            }
            _ => Ok(len),
        }
    }

    /// Free bytes; very many where no capacity is set.
    pub(super) fn free(&self) -> u64 {
        let Some(capacity) = self.capacity else { return 1 << 50 };
        let used = self.nodes.values().filter(|node| node.names + node.handles > 0).map(|node| node.charged);
        capacity.saturating_sub(used.sum())
    }

    pub(super) fn len(&mut self, node: u64) -> io::Result<u64> {
        self.ask(Op::Len, About::Node(node))?;
        Ok(self.node(node)?.len())
    }

    pub(super) fn set_len(&mut self, node: u64, len: u64) -> io::Result<()> {
        let failed = self.attempt(Op::SetLen, About::Node(node), len, 0)?;
        self.node(node)?.set_len(len);
        done(failed, ())
    }

    pub(super) fn allocate(&mut self, node: u64, offset: u64, len: u64) -> io::Result<()> {
        let failed = self.attempt(Op::Allocate, About::Node(node), offset, len)?;
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        let charged = self.node(node)?.charged;
        if self.capacity.is_some() && end.saturating_sub(charged) > self.free() {
            return Err(Failure::Full.error());
        }
        self.node(node)?.allocate(end);
        done(failed, ())
    }

    pub(super) fn sync(&mut self, node: u64) -> io::Result<()> {
        let turn = self.begin(Op::Sync, About::Node(node), 0, 0)?;
        let path = final_name(&self.node(node)?.path).to_owned();
        let planted = |plant: &Plant| matches!(plant, Plant::NoDataSync { suffix } if path.ends_with(suffix));
        if self.plants.iter().any(planted) {
            return Ok(());
        }
        self.counts.syncs += 1;
        match self.synced.get_mut(&path) {
            Some(count) => *count += 1,
            None => drop(self.synced.insert(path, 1)),
        }
        let file = self.nodes.get_mut(&node).ok_or_else(|| Failure::Crash.error())?;
        match turn {
            Turn::Well => {
                file.sync();
                return Ok(());
            }
            Turn::Badly(Failure::Crash) => file.write_back(&mut self.chance),
            Turn::Badly(_) => file.fail_sync(&mut self.chance),
        }
        let Turn::Badly(failure) = turn else { return Ok(()) };
        Err(failure.error())
    }

    pub(super) fn drop_cache(&mut self, node: u64) {
        if self.ask(Op::DropCache, About::Node(node)).is_ok()
            && let Ok(node) = self.node(node)
        {
            node.drop_cache();
        }
    }

    pub(super) fn map(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let name = name_of(path)?;
        self.ask(Op::Map, About::Name(&name))?;
        let node = self.names.file(&name)?;
        let bytes = self.node(node)?.bytes();
        self.counts.reads += 1;
        self.counts.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    pub(super) fn rename_new(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (name_of(from)?, name_of(to)?);
        self.trace.mix_bytes(to.as_bytes());
        let failed = self.attempt(Op::Rename, About::Name(&from), 0, 0)?;
        let node = self.names.file(&from)?;
        self.names.is_free(&to)?;
        let arrival = self.names.change(&to, Some(Entry::File(node)), None);
        self.names.change(&from, None, Some(arrival));
        self.node(node)?.path = to.into_owned();
        done(failed, ())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let name = name_of(path)?;
        let failed = self.attempt(Op::RemoveFile, About::Name(&name), 0, 0)?;
        let node = self.names.file(&name)?;
        self.names.change(&name, None, None);
        self.node(node)?.names -= 1;
        done(failed, ())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let name = name_of(path)?;
        let failed = self.attempt(Op::CreateDir, About::Name(&name), 0, 0)?;
        self.names.is_free(&name)?;
        self.names.change(&name, Some(Entry::Dir), None);
        done(failed, ())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let name = name_of(path)?;
        let failed = self.attempt(Op::RemoveDir, About::Name(&name), 0, 0)?;
        if self.names.get(&name)? != Entry::Dir {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if self.names.below(&name).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.names.change(&name, None, None);
        done(failed, ())
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let name = name_of(path)?;
        self.ask(Op::List, About::Name(&name))?;
        if self.names.get(&name)? != Entry::Dir {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let children = self.names.children(&name);
        let mut entries: Vec<DirEntry> =
            children.map(|(own, entry)| DirEntry { name: own.to_owned(), is_dir: entry == Entry::Dir }).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(super) fn metadata(&mut self, path: &Path) -> io::Result<Metadata> {
        let name = name_of(path)?;
        self.ask(Op::Metadata, About::Name(&name))?;
        match self.names.get(&name)? {
            Entry::Dir => Ok(Metadata { len: 0, is_dir: true }),
            Entry::File(node) => Ok(Metadata { len: self.node(node)?.len(), is_dir: false }),
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let name = name_of(path)?;
        let turn = self.begin(Op::SyncDir, About::Name(&name), 0, 0)?;
        if self.names.get(&name)? != Entry::Dir {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if self.plants.contains(&Plant::NoDirSync) {
            return Ok(());
        }
        self.counts.dir_syncs += 1;
        match turn {
            Turn::Well => {
                if self.names.sync(&name) {
                    self.sweep();
                }
                return Ok(());
            }
            Turn::Badly(Failure::Crash) => self.names.write_back(&mut self.chance),
            Turn::Badly(Failure::TooManyOpen) => {}
            Turn::Badly(_) => self.names.fail_sync(&name, &mut self.chance),
        }
        let Turn::Badly(failure) = turn else { return Ok(()) };
        Err(failure.error())
    }

    /// Forgets files that no name stands for or may stand for again, and that nobody has open.
    fn sweep(&mut self) {
        let named: BTreeSet<u64> = self.names.files().collect();
        self.nodes.retain(|number, node| node.handles > 0 || named.contains(number));
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<u64> {
        let name = name_of(path)?;
        self.ask(Op::Lock, About::Name(&name))?;
        let node = self.names.file(&name)?;
        match self.locks.insert(node) {
            true => Ok(node),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn free_space(&mut self, path: &Path) -> io::Result<u64> {
        let name = name_of(path)?;
        self.ask(Op::FreeSpace, About::Name(&name))?;
        self.names.get(&name)?;
        Ok(self.free())
    }

    pub(super) fn medium(&mut self, path: &Path) -> io::Result<Medium> {
        let name = name_of(path)?;
        self.ask(Op::Medium, About::Name(&name))?;
        self.names.get(&name)?;
        Ok(self.medium)
    }

    pub(super) fn fill_random(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.ask(Op::Random, About::Node(buffer.len() as u64))?;
        self.entropy.fill(buffer);
        Ok(())
    }

    /// The machine starts again; after a power cut with whatever survived, else with all that was written.
    pub(super) fn restart(&mut self, power_cut: bool) {
        self.life += 1;
        self.crashed = false;
        self.crash_at_operation = None;
        self.crash_at_change = None;
        self.locks.clear();
        if power_cut {
            self.names.crash(&mut self.chance);
        }
        for node in self.nodes.values_mut() {
            node.handles = 0;
            node.names = 0;
        }
        self.sweep();
        let eighths = [0, 1, 4, 4, 4, 7, 8][self.chance.below(7) as usize];
        for entry in self.names.live.values() {
            if let Entry::File(node) = entry
                && let Some(node) = self.nodes.get_mut(node)
            {
                node.names += 1;
            }
        }
        if power_cut {
            self.nodes.values_mut().for_each(|node| node.crash(&mut self.chance, eighths));
            self.names_of_nodes();
        }
        self.trace.mix(self.chance.clone().next());
    }

    /// After a crash a file may have another newest name than the one it had.
    fn names_of_nodes(&mut self) {
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

    /// Puts a file where it is said to be, on the medium too; an older one of the name is unlinked.
    pub(super) fn place(&mut self, name: &str, data: Vec<u8>) {
        let parents: Vec<usize> = name.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        for at in parents {
            if !self.names.durable.contains_key(&name[..at]) {
                self.names.set(&name[..at], Some(Entry::Dir));
            }
        }
        self.unplace(name);
        let mut node = Node::settled(name.to_owned(), data);
        node.names = 1;
        let node = self.new_node(node);
        self.names.set(name, Some(Entry::File(node)));
    }

    /// Removes a name, on the medium too.
    pub(super) fn unplace(&mut self, name: &str) {
        if let Ok(old) = self.names.file(name)
            && let Some(old) = self.nodes.get_mut(&old)
        {
            old.names -= 1;
        }
        self.names.set(name, None);
    }
}

fn done<T>(failed: Option<Failure>, value: T) -> io::Result<T> {
    match failed {
        Some(failure) => Err(failure.error()),
        None => Ok(value),
    }
}

/// The name that a temporary file (`env::temporary_name`) is to have in the end.
fn final_name(path: &str) -> &str {
    let stem = path.strip_suffix(crate::env::TEMPORARY);
    stem.and_then(|stem| stem.rsplit_once('.')).map_or(path, |(name, _)| name)
}
