//! The disk as an operator, an attacker or decay sees it: read, damaged, copied, rolled back.

use std::path::{Path, PathBuf};

use super::Sim;
use super::names::{Entry, name_of};
use super::node::Node;
use super::world::World;

/// Files and directories as they were at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Vec<(String, Option<Contents>)>);

/// A file's bytes, without the zeros that follow up to its length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    head: Vec<u8>,
    len: u64,
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
        let world = self.world();
        let bytes = |entry: &Entry| match entry {
            Entry::File(node) => world.nodes.get(node).map(Node::bytes),
            Entry::Dir => None,
        };
        world.names.live.iter().filter_map(|(name, entry)| Some((PathBuf::from(name), bytes(entry)?))).collect()
    }

    /// Creates or replaces a file, and the directories it needs.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let name = name_of(path.as_ref()).expect("a path in UTF-8");
        self.world().place(&name, bytes.to_vec(), bytes.len() as u64);
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
        let contents = |entry: &Entry| match entry {
            Entry::File(node) => world.nodes.get(node).map(|n| Contents { head: n.head().to_vec(), len: n.len() }),
            Entry::Dir => None,
        };
        Snapshot(world.names.live.iter().map(|(name, entry)| (name.clone(), contents(entry))).collect())
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
        for (name, contents) in snapshot.0.iter().filter(|(name, _)| inside(name)) {
            match contents {
                Some(file) => world.place(name, file.head.clone(), file.len),
                None => world.names.set(name, Some(Entry::Dir)),
            }
        }
    }

    /// Puts back what lay at and below `prefix` and does not any more, leaving what is there now alone: a restore from
    /// a backup over a living disk.
    pub fn restore_missing(&self, snapshot: &Snapshot, prefix: impl AsRef<Path>) {
        let prefix = name_of(prefix.as_ref()).expect("a path in UTF-8");
        let mut world = self.world();
        for (name, contents) in snapshot.0.iter().filter(|(name, _)| name.starts_with(&*prefix)) {
            if world.names.live.contains_key(name) {
                continue;
            }
            match contents {
                Some(file) => world.place(name, file.head.clone(), file.len),
                None => world.names.set(name, Some(Entry::Dir)),
            }
        }
    }

    /// Copies everything at and below `from` to `to`, as `cp -r` would.
    pub fn copy_tree(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let (from, to) = (name_of(from.as_ref()).expect("UTF-8"), name_of(to.as_ref()).expect("UTF-8"));
        let Snapshot(entries) = self.snapshot();
        let mut world = self.world();
        for (name, contents) in entries {
            let Some(rest) = name.strip_prefix(&*from).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
                continue;
            };
            match contents {
                Some(file) => world.place(&format!("{to}{rest}"), file.head, file.len),
                None => world.names.set(&format!("{to}{rest}"), Some(Entry::Dir)),
            }
        }
    }

    /// Starts keeping every version of every byte that is written from now on.
    pub fn keep_history(&self) {
        self.world().history.get_or_insert_default();
    }

    /// Shows every path and every byte ever written since [`Sim::keep_history`]: each write in the place it stood in
    /// (with a little of what stood around it), and every file as it is now, with what the medium has instead of it.
    pub fn every_byte_ever(&self, mut visit: impl FnMut(&str, &[u8])) {
        let world = self.world();
        for (path, bytes) in world.history.iter().flatten() {
            visit(path, bytes);
        }
        for node in world.nodes.values() {
            visit(&node.path, &node.written());
            node.hidden().for_each(|sector| visit(&node.path, sector));
        }
    }
}

impl World {
    /// Puts a file where it is said to be, on the medium too; an older one of the name is unlinked.
    pub(super) fn place(&mut self, name: &str, data: Vec<u8>, len: u64) {
        let parents: Vec<usize> = name.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        for at in parents {
            if !self.names.durable.contains_key(&name[..at]) {
                self.names.set(&name[..at], Some(Entry::Dir));
            }
        }
        self.unplace(name);
        let mut node = Node::settled(name.to_owned(), data, len);
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
