//! Writing the nodes of a new tree, from the leaves up: those that entries or changes fall into, those that are carried over
//! from an older file, and everything above them, each under a fresh key. Nothing here is durable or in force yet.

use crate::sync::Arc;
use std::collections::{BTreeMap, HashMap};

use super::Keyring;
use super::fold::{no_randomness, random_key};
use super::log::Log;
use super::tree::{Tree, put_item};
use crate::crypto::{Key, NONCE_BYTES};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{NodeHead, Place, TreeKey, seal_node};
use crate::format::keyring_tree::{
    Chain, Child, Inner, Item, LEVEL_LIMIT, Payload, decode_leaf, encode_inner, encode_leaf,
};

/// A leaf whose chain is longer than this is rewritten: each entry of a chain is read and decrypted by itself, by whoever
/// looks for one customer of the leaf.
const CHAIN_LIMIT: u32 = 2;
/// A leaf with more items is divided, although a reader takes twice as many: whoever looks for one customer reads and
/// decrypts a leaf for it, and a node on each level above.
const ITEMS_FULL: usize = 32;
/// Its parts get this many.
const ITEMS_WANTED: usize = 24;
/// Where a leaf has too many bytes, its parts get about this many.
const LEAF_BYTES: usize = 1 << 20;
/// An inner node with more children is divided.
const CHILDREN_FULL: usize = 64;
/// Its parts get this many.
const CHILDREN_WANTED: usize = 48;
/// Nodes are written out when this many bytes of them wait.
const WRITE_OUT_BYTES: usize = 1 << 20;

/// Entries to be replaced or, where nothing is given, removed.
pub type Changes = BTreeMap<TreeKey, Option<Payload>>;

/// Which leaves are written anew although nothing changed them, so that a file of the log can be given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carry {
    /// Those whose frames stand before this.
    pub before: u64,
    /// From this key on: what is below has been carried over. None: all has.
    pub from: Option<TreeKey>,
    /// About so many bytes more in this pass.
    pub left: u64,
}

impl Carry {
    /// Whether a child may hold such leaves, all of whose keys are below `until`.
    fn concerns(&self, until: Option<&TreeKey>) -> bool {
        self.left > 0 && self.from.is_some_and(|from| until.is_none_or(|until| from < *until))
    }
}

/// Writes the nodes of a new tree.
pub(super) struct Rewriter<'a> {
    pub keyring: &'a Keyring,
    pub tree: &'a Tree,
    pub log: &'a Log,
    pub epoch: u64,
    pub chains: &'a HashMap<u64, Chain>,
    /// What is replaced (by other bytes) or removed (none), whatever stands there.
    pub changes: &'a Changes,
    /// What is written anew besides.
    pub carry: Carry,
    pub next_node: u64,
    pub live_bytes: u64,
}

impl Rewriter<'_> {
    fn key(&self) -> Result<Key> {
        #[cfg(all(test, feature = "simulation"))]
        if let Some(key) = planted::take() {
            return Ok(key);
        }
        random_key(&*self.keyring.env)
    }

    fn write(&mut self, level: u8, plain: &[u8]) -> Result<(u64, Place, Key)> {
        let id = self.next_node;
        self.next_node += 1;
        let key = self.key()?;
        let nonce = env::random::<NONCE_BYTES>(&*self.keyring.env).map_err(no_randomness)?;
        let head = NodeHead { id, level, epoch: self.epoch };
        let place = self.log.append(|out| seal_node(out, &self.keyring.store, &head, &key, &nonce, plain));
        self.live_bytes += u64::from(place.length);
        if self.log.waiting() > WRITE_OUT_BYTES {
            self.log.write_out()?;
        }
        Ok((id, place, key))
    }

    /// What nothing reaches any more is not alive.
    fn forget(&mut self, child: &Child) {
        let bytes = u64::from(child.place.length) + u64::from(child.chain.bytes);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }

    fn leaf(&mut self, child: &Child, entries: &[Item], until: Option<TreeKey>) -> Result<Vec<Child>> {
        let chain = self.chains.get(&child.id).copied().unwrap_or(child.chain);
        let changed = entries.iter().any(|item| self.changes.contains_key(&item.key));
        let mut carried = false;
        if self.carry.concerns(until.as_ref()) {
            self.carry.from = until;
            carried = child.place.offset < self.carry.before;
        }
        if carried {
            let bytes = u64::from(child.place.length) + u64::from(chain.bytes);
            self.carry.left = self.carry.left.saturating_sub(bytes);
        } else if !changed && chain.count <= CHAIN_LIMIT && chain.count * 2 <= child.items {
            self.live_bytes += u64::from(chain.bytes - child.chain.bytes);
            return Ok(vec![Child { chain, ..child.duplicate() }]);
        }
        let mut items = Vec::clone(&*self.tree.leaf(&self.keyring.nodes, child, false)?);
        items.retain(|item| !self.changes.contains_key(&item.key));
        let kept = entries.iter().filter(|item| !matches!(self.changes.get(&item.key), Some(None)));
        kept.for_each(|item| put_item(&mut items, item.clone()));
        self.forget(child);
        #[cfg(all(test, feature = "simulation"))]
        planted::offer(&child.key);
        // Whoever walks from leaf to leaf does not empty the cache.
        self.leaves(child.first, &items, !carried || !entries.is_empty())
    }

    fn leaves(&mut self, first: TreeKey, items: &[Item], keep: bool) -> Result<Vec<Child>> {
        let parts = if items.len() > ITEMS_FULL { items.len().div_ceil(ITEMS_WANTED) } else { 1 };
        let wanted = items.len().div_ceil(parts).max(1);
        let mut children = Vec::with_capacity(parts);
        let mut rest = items;
        loop {
            let mut bytes = 0;
            let fits = rest.iter().take(wanted).take_while(|item| {
                let fits = bytes < LEAF_BYTES;
                bytes += item.payload.len();
                fits
            });
            let (part, others) = rest.split_at(fits.count());
            let plain = encode_leaf(part);
            let (id, place, key) = self.write(0, &plain)?;
            let first = if children.is_empty() { first } else { part[0].key };
            children.push(Child { first, place, id, key, items: part.len() as u32, chain: Chain::default() });
            if keep {
                // Decoded anew, so that it keeps nothing of the leaf before it in memory.
                if let Ok(items) = decode_leaf(plain) {
                    self.keyring.nodes.insert_leaf(id, 0, Arc::new(items));
                }
            }
            rest = others;
            if rest.is_empty() {
                return Ok(children);
            }
        }
    }

    /// What takes the place of `child`, with `entries` (in order, all belonging below it) taken in. Its keys are below
    /// `until`, or up to the last.
    fn child(&mut self, child: &Child, level: u8, entries: &[Item], until: Option<TreeKey>) -> Result<Vec<Child>> {
        if level == 0 {
            return self.leaf(child, entries, until);
        }
        let node = self.tree.inner(&self.keyring.nodes, child, level)?;
        let mut new = Vec::with_capacity(node.count() + 1);
        let mut rest = entries;
        // Where all that is below has been carried over before, nothing changes.
        let mut same = child.place.offset >= self.carry.before;
        for (index, below) in node.children().enumerate() {
            let count = rest.partition_point(|item| node.index_of(&item.key) <= index);
            let (mine, others) = rest.split_at(count);
            let until = if index + 1 < node.count() { Some(node.first(index + 1)) } else { until };
            match mine.is_empty() && !self.carry.concerns(until.as_ref()) {
                true => new.push(below),
                false => {
                    let parts = self.child(&below, level - 1, mine, until)?;
                    same &= parts.iter().all(|part| (part.id, part.chain) == (below.id, below.chain));
                    new.extend(parts);
                }
            }
            rest = others;
        }
        if same {
            return Ok(vec![child.duplicate()]);
        }
        self.forget(child);
        #[cfg(all(test, feature = "simulation"))]
        planted::offer(&child.key);
        self.inners(child.first, level, new)
    }

    fn inners(&mut self, first: TreeKey, level: u8, mut children: Vec<Child>) -> Result<Vec<Child>> {
        let parts = if children.len() > CHILDREN_FULL { children.len().div_ceil(CHILDREN_WANTED) } else { 1 };
        let wanted = children.len().div_ceil(parts);
        let mut inners = Vec::with_capacity(parts);
        while !children.is_empty() {
            let others = children.split_off(wanted.min(children.len()));
            let plain = encode_inner(&children);
            let (id, place, key) = self.write(level, &plain)?;
            let first = if inners.is_empty() { first } else { children[0].first };
            inners.push(Child { first, place, id, key, items: children.len() as u32, chain: Chain::default() });
            if let Ok(node) = Inner::decode(plain) {
                self.keyring.nodes.insert_inner(id, Arc::new(node));
            }
            children = others;
        }
        Ok(inners)
    }

    /// Writes everything below the crown; returns the top and its level.
    pub fn run(&mut self, entries: &[Item]) -> Result<(Child, u8)> {
        let crown = &self.tree.crown;
        let mut level = crown.level;
        let mut tops = match entries.is_empty() && !self.carry.concerns(None) {
            true => vec![crown.top.duplicate()],
            false => self.child(&crown.top, level, entries, None)?,
        };
        loop {
            match (tops.pop(), tops.is_empty()) {
                (Some(top), true) => return Ok((top, level)),
                (Some(last), false) if level < LEVEL_LIMIT => {
                    tops.push(last);
                    level += 1;
                    tops = self.inners(TreeKey::default(), level, tops)?;
                }
                _ => return Err(Error::new(ErrorKind::Invalid, "the keyring's tree is too deep")),
            }
        }
    }
}

/// A planted fault: a node that is written anew keeps the key of the one before. The attack in the tests must notice.
#[cfg(all(test, feature = "simulation"))]
pub(super) mod planted {
    use std::cell::{Cell, RefCell};

    use crate::crypto::Key;

    thread_local! {
        static PLANTED: Cell<bool> = const { Cell::new(false) };
        static OFFERED: RefCell<Option<Key>> = const { RefCell::new(None) };
    }

    /// Does `work` with the fault in place.
    pub fn without_fresh_keys<T>(work: impl FnOnce() -> T) -> T {
        PLANTED.set(true);
        let done = work();
        PLANTED.set(false);
        done
    }

    pub(super) fn offer(key: &Key) {
        if PLANTED.get() {
            OFFERED.set(Some(key.duplicate()));
        }
    }

    pub(super) fn take() -> Option<Key> {
        OFFERED.take()
    }
}
