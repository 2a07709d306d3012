//! What the system calls of a simulated machine do.

use std::io;
use std::path::Path;

use super::faults::{Failure, Plant};
use super::names::{Entry, name_of};
use super::node::Node;
use super::world::{About, Op, Turn, World};
use crate::env::{DirEntry, Medium, Metadata, OpenMode, TEMPORARY};

/// The history keeps this much of what stands around a write, so that words cut in two by writes are still found.
const AROUND: u64 = 256;

impl World {
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        let name = name_of(path)?;
        let node = if matches!(mode, OpenMode::CreateNew | OpenMode::CreateDirect) {
            let failed = self.attempt(Op::Create, About::Name(&name), 0, 0)?;
            self.names.is_free(&name)?;
            self.note_name(&name);
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

    fn note_name(&mut self, name: &str) {
        if let Some(history) = &mut self.history {
            history.push((name.to_owned(), Vec::new()));
        }
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
        self.note_name(&to);
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
        self.note_name(&name);
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
}

fn done<T>(failed: Option<Failure>, value: T) -> io::Result<T> {
    match failed {
        Some(failure) => Err(failure.error()),
        None => Ok(value),
    }
}

/// The name that a temporary file (`env::temporary_name`) is to have in the end.
fn final_name(path: &str) -> &str {
    let stem = path.strip_suffix(TEMPORARY);
    stem.and_then(|stem| stem.rsplit_once('.')).map_or(path, |(name, _)| name)
}
