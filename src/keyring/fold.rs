//! Making a new tree: folding entries into it, or rewriting all of it into a new log file. Every node on the path to a
//! change is written anew under a fresh key, a new root is sealed, and nothing older is destroyed here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::custodian::Evidence;
use super::log::{Log, locked};
use super::roots::{Slot, read_roots, write_roots};
use super::state::{State, Unfolded};
use super::tree::{ITEM_BYTES, Node, Tree, child_for, put_item};
use super::{Access, Keyring};
use zeroize::Zeroizing;

use crate::crypto::{Digest, Key, NONCE_BYTES, sha256};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Malformed;
use crate::format::keyring::{CROWN_LEVEL, EntryKind, NodeHead, Place, TreeKey, seal_node};
use crate::format::keyring_root::{RootRecord, RootSlot};
use crate::format::keyring_tree::{
    CHILDREN_LIMIT, Chain, Child, Crown, ITEMS_LIMIT, Item, LEVEL_LIMIT, Payload, decode_leaf, encode_inner,
    encode_leaf,
};

/// A leaf whose chain is longer than this is rewritten.
const CHAIN_LIMIT: u32 = 8;
/// Where a leaf has too many items, its parts get this many.
const ITEMS_WANTED: usize = 48;
/// Where a leaf has too many bytes, its parts get about this many.
const LEAF_BYTES: usize = 1 << 20;
/// Where an inner node has too many children, its parts get this many.
const CHILDREN_WANTED: usize = 192;
/// Nodes are written out when this many bytes of them wait.
const WRITE_OUT_BYTES: usize = 4 << 20;

/// What a fold did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Entries that the tree holds now and did not before.
    pub entries: u64,
    /// The epoch of the new root.
    pub epoch: u64,
}

/// Entries to be replaced or, where nothing is given, removed.
pub type Changes = BTreeMap<TreeKey, Option<Payload>>;

/// Writes the nodes of a new tree.
pub(super) struct Rewriter<'a> {
    keyring: &'a Keyring,
    tree: &'a Tree,
    log: &'a Log,
    epoch: u64,
    chains: &'a HashMap<u64, Chain>,
    /// What is replaced (by other bytes) or removed (none), whatever stands there.
    changes: &'a Changes,
    /// Whether nodes that nothing changed are written anew too.
    whole: bool,
    next_node: u64,
    live_bytes: u64,
}

impl Rewriter<'_> {
    fn key(&self) -> Result<Key> {
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

    /// What nothing reaches any more is not alive; a tree that is rewritten as a whole counts from nothing.
    fn forget(&mut self, child: &Child) {
        if self.whole {
            return;
        }
        let bytes = u64::from(child.place.length) + u64::from(child.chain.bytes);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }

    fn leaf(&mut self, child: &Child, entries: &[Item]) -> Result<Vec<Child>> {
        let chain = self.chains.get(&child.id).copied().unwrap_or(child.chain);
        let changed = entries.iter().any(|item| self.changes.contains_key(&item.key));
        if !self.whole && !changed && chain.count <= CHAIN_LIMIT && chain.count * 2 <= child.items {
            self.live_bytes += u64::from(chain.bytes - child.chain.bytes);
            return Ok(vec![Child { chain, ..child.duplicate() }]);
        }
        let leaf = self.tree.leaf(&self.keyring.nodes, child, false)?;
        let Node::Leaf(items) = &*leaf else {
            return Err(Error::new(ErrorKind::Invalid, "an inner node stands in the place of a leaf"));
        };
        let mut items = items.clone();
        items.retain(|item| !self.changes.contains_key(&item.key));
        let kept = entries.iter().filter(|item| !matches!(self.changes.get(&item.key), Some(None)));
        kept.for_each(|item| put_item(&mut items, item.clone()));
        self.forget(child);
        self.leaves(child.first, &items)
    }

    fn leaves(&mut self, first: TreeKey, items: &[Item]) -> Result<Vec<Child>> {
        let parts = if items.len() > ITEMS_LIMIT { items.len().div_ceil(ITEMS_WANTED) } else { 1 };
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
            if !self.whole {
                // Decoded anew, so that it keeps nothing of the leaf before it in memory.
                let weight = plain.len() + part.len() * ITEM_BYTES;
                if let Ok(items) = decode_leaf(plain) {
                    self.keyring.nodes.insert((id, 0), Arc::new(Node::Leaf(items)), weight);
                }
            }
            rest = others;
            if rest.is_empty() {
                return Ok(children);
            }
        }
    }

    /// What takes the place of `child`, with `entries` (in order, all belonging below it) taken in.
    fn child(&mut self, child: &Child, level: u8, entries: &[Item]) -> Result<Vec<Child>> {
        if entries.is_empty() && !self.whole {
            return Ok(vec![child.duplicate()]);
        }
        if level == 0 {
            return self.leaf(child, entries);
        }
        let node = self.tree.inner(&self.keyring.nodes, child, level)?;
        let Node::Inner(children) = &*node else {
            return Err(Error::new(ErrorKind::Invalid, "a leaf stands in the place of an inner node"));
        };
        let mut new = Vec::with_capacity(children.len() + 1);
        let mut rest = entries;
        for (index, below) in children.iter().enumerate() {
            let count = rest.partition_point(|item| child_for(children, &item.key) <= index);
            let (mine, others) = rest.split_at(count);
            new.extend(self.child(below, level - 1, mine)?);
            rest = others;
        }
        self.forget(child);
        self.inners(child.first, level, new)
    }

    fn inners(&mut self, first: TreeKey, level: u8, mut children: Vec<Child>) -> Result<Vec<Child>> {
        let parts = if children.len() > CHILDREN_LIMIT { children.len().div_ceil(CHILDREN_WANTED) } else { 1 };
        let wanted = children.len().div_ceil(parts);
        let mut inners = Vec::with_capacity(parts);
        while !children.is_empty() {
            let others = children.split_off(wanted.min(children.len()));
            let plain = encode_inner(&children);
            let (id, place, key) = self.write(level, &plain)?;
            let first = if inners.is_empty() { first } else { children[0].first };
            inners.push(Child { first, place, id, key, items: children.len() as u32, chain: Chain::default() });
            self.keyring.nodes.insert((id, 0), Arc::new(Node::Inner(children)), plain.len() * 2 + 128);
            children = others;
        }
        Ok(inners)
    }

    /// Writes everything below the crown; returns the top and its level.
    fn run(&mut self, entries: &[Item]) -> Result<(Child, u8)> {
        let crown = &self.tree.crown;
        let mut level = crown.level;
        let mut tops = self.child(&crown.top, level, entries)?;
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

/// A fresh key.
pub(super) fn random_key(env: &dyn env::Env) -> Result<Key> {
    let mut bytes = env::random(env).map_err(no_randomness)?;
    Ok(Key::take(&mut bytes))
}

/// What the operating system said when it was asked for random bytes.
pub(super) fn no_randomness(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot draw random bytes").caused_by(error)
}

/// Everything under the crown of a tree to be, and what the crown and the root must say about it.
struct Draft {
    log: Arc<Log>,
    epoch: u64,
    top: Child,
    level: u8,
    next_node: u64,
    live_bytes: u64,
    folded: u64,
    gone: u64,
    ledger: (u64, Digest),
}

impl Keyring {
    /// Folds what was appended into the tree and seals a new root, which names the `ledger` by length and head. What is
    /// appended meanwhile stays unfolded. No older root is destroyed.
    ///
    /// # Errors
    /// Whatever writing, syncing or the custodian says; the keyring is then [`ErrorKind::Poisoned`] unless nothing was
    /// written yet.
    pub fn fold(&self, ledger: (u64, Digest)) -> Result<Folded> {
        let _folding = locked(&self.folding);
        self.rewrite(ledger, false)
    }

    /// Rewrites the living tree to the next log file, seals a new root, and removes the file before.
    ///
    /// # Errors
    /// As [`Keyring::fold`].
    pub fn compact(&self, ledger: (u64, Digest)) -> Result<Folded> {
        let _folding = locked(&self.folding);
        self.rewrite(ledger, true)
    }

    /// Replaces and removes entries under a new root, and has the custodian destroy every older one: from then on
    /// nothing written before opens what was removed. The caller has seen to it that nobody uses these entries
    /// meanwhile. Repeatable: what is gone stays gone.
    ///
    /// # Errors
    /// As [`Keyring::fold`], or the custodian's: the change may then be durable without older roots being destroyed.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of erasure and expiry"))]
    pub fn shred(&self, changes: &Changes, ledger: (u64, Digest)) -> Result<(Folded, Evidence)> {
        let _folding = locked(&self.folding);
        // Whoever looks past the caches waits, so that nothing dead gets into them again.
        let _stripes: Vec<_> = self.stripes.iter().map(locked).collect();
        let folded = self.rewrite_with(ledger, false, changes)?;
        self.forget();
        self.read_back(folded.epoch)?;
        let evidence = self.custodian.destroy_before(folded.epoch)?;
        Ok((folded, evidence))
    }

    /// Reads the root and the crown under it from the disk, not from a cache, before older ones are given up.
    fn read_back(&self, epoch: u64) -> Result<()> {
        let roots = read_roots(&*self.env, &self.dirs, &self.store, true)?;
        let tree = locked(&self.state).tree.clone();
        tree.log.mirrors().iter().for_each(|mirror| mirror.file.drop_cache());
        let record =
            RootRecord::decode(&self.custodian.open(&roots.newest.sealed)?).map_err(|what| self.damage(what))?;
        let whole = roots.slots.iter().flatten().all(|slot| matches!(slot, Slot::Whole(slot) if slot.epoch == epoch));
        if !whole || record.epoch != epoch {
            return Err(self.damage(Malformed("the new root does not read back as it was written")));
        }
        Tree::open(self.store, tree.log.clone(), record).map(|_| ())
    }

    /// How many of the customers to be removed there are.
    fn gone(&self, changes: &Changes) -> Result<u64> {
        let removed =
            changes.iter().filter(|(key, change)| change.is_none() && key.kind() == EntryKind::Customer as u8);
        removed.map(|(key, _)| Ok(u64::from(self.find(key)?.is_some()))).sum()
    }

    fn rewrite(&self, ledger: (u64, Digest), whole: bool) -> Result<Folded> {
        self.rewrite_with(ledger, whole, &Changes::new())
    }

    /// What is to be taken into a new tree, in order: the unfolded entries, and on top of them the changes.
    fn incoming(state: &State, changes: &Changes) -> Vec<Item> {
        let mut items: BTreeMap<TreeKey, Item> = state
            .by_key
            .values()
            .map(|entry| (entry.key, Item { key: entry.key, number: entry.number, payload: entry.payload.clone() }))
            .collect();
        for (key, change) in changes {
            let payload = change.clone().unwrap_or_else(|| Payload::own(Zeroizing::default()));
            items.insert(*key, Item { key: *key, number: state.next_number - 1, payload });
        }
        items.into_values().collect()
    }

    fn rewrite_with(&self, ledger: (u64, Digest), whole: bool, changes: &Changes) -> Result<Folded> {
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Invalid, "the keyring is open for reading only"));
        }
        let (tree, chains, items, folded) = {
            let state = locked(&self.state);
            let items = Keyring::incoming(&state, changes);
            (state.tree.clone(), state.chains.clone(), items, state.next_number - 1)
        };
        tree.log.check()?;
        let gone = self.gone(changes)?;
        let epoch = self.custodian.next_epoch()?;
        let log = match whole {
            true => Arc::new(Log::create(&*self.env, &self.dirs, tree.root.file + 1, &self.store)?),
            false => tree.log.clone(),
        };
        let live_bytes = if whole { 0 } else { tree.crown.live_bytes };
        let mut rewriter = Rewriter {
            keyring: self,
            tree: &tree,
            log: &log,
            epoch,
            chains: &chains,
            changes,
            whole,
            next_node: tree.crown.next_node,
            live_bytes,
        };
        let (top, level) = rewriter.run(&items).inspect_err(|_| {
            // The names of the nodes written so far will be given again.
            self.nodes.clear();
        })?;
        let (next_node, live_bytes) = (rewriter.next_node, rewriter.live_bytes);
        let log = match whole {
            true => {
                log.sync()?;
                let mut log =
                    Arc::into_inner(log).ok_or_else(|| Error::new(ErrorKind::Io, "the new file is in use"))?;
                log.publish(&*self.env)?;
                Arc::new(log)
            }
            false => log,
        };
        let draft = Draft { log, epoch, top, level, next_node, live_bytes, folded, gone, ledger };
        let installed = self.install(&tree, draft);
        if installed.is_err() {
            // The tree in memory may be newer than any root on disk: nothing more may count as durable.
            tree.log.poison();
            locked(&self.state).tree.log.poison();
        }
        installed?;
        if whole {
            self.remove_log(&tree)?;
        }
        Ok(Folded { entries: folded.saturating_sub(tree.crown.folded), epoch })
    }

    /// Writes the crown, seals what arrived meanwhile anew under the new tree, makes all of it durable, then the root.
    fn install(&self, old: &Tree, draft: Draft) -> Result<()> {
        let _syncing = locked(&self.syncing);
        let (epoch, ledger) = (draft.epoch, draft.ledger);
        let (tree, last) = self.switch(old, draft)?;
        tree.log.sync()?;
        let sealed = self.custodian.seal(epoch, &tree.root.encode())?;
        write_roots(&*self.env, &self.dirs, &RootSlot { store: self.store, epoch, sealed })?;
        self.durable.store(last, std::sync::atomic::Ordering::Release);
        self.custodian.advance(ledger.0, &ledger.1)
    }

    fn switch(&self, old: &Tree, draft: Draft) -> Result<(Arc<Tree>, u64)> {
        let crown = Crown {
            lookup: old.crown.lookup.duplicate(),
            route: random_key(&*self.env)?,
            level: draft.level,
            top: draft.top,
            next_node: draft.next_node + 1,
            live_bytes: draft.live_bytes,
            folded: draft.folded,
        };
        let key = random_key(&*self.env)?;
        let nonce = env::random::<NONCE_BYTES>(&*self.env).map_err(no_randomness)?;
        let head = NodeHead { id: draft.next_node, level: CROWN_LEVEL, epoch: draft.epoch };
        let mut hash = Digest::default();
        let mut state = locked(&self.state);
        let place = draft.log.append(|out| {
            let start = out.len();
            seal_node(out, &self.store, &head, &key, &nonce, &crown.encode());
            hash = sha256(&out[start..]);
        });
        let late: Vec<Arc<Unfolded>> =
            state.entries.iter().filter(|entry| entry.number > draft.folded).cloned().collect();
        let firsts = late.iter().filter(|entry| entry.first && entry.key.kind() == 1).count() as u64;
        let root = RootRecord {
            store: self.store,
            epoch: draft.epoch,
            file: draft.log.number(),
            crown: place,
            crown_id: head.id,
            crown_key: key,
            crown_hash: hash,
            fold: place.offset + u64::from(place.length),
            next_entry: draft.folded + 1,
            next_partition: state.next_partition,
            customers: (state.customers - firsts).saturating_sub(draft.gone),
            ledger_length: draft.ledger.0,
            ledger_head: draft.ledger.1,
        };
        let tree = Arc::new(Tree::under(self.store, draft.log, root, crown));
        let mut new = State::over(tree.clone());
        new.next_partition = state.next_partition;
        for entry in late {
            let leaf = tree.leaf_of(&self.nodes, &entry.key)?;
            let nonces = self.nonces()?;
            let copy =
                Unfolded { key: entry.key, number: entry.number, first: entry.first, payload: entry.payload.clone() };
            new.push(leaf.child(), copy, nonces, self.durable());
        }
        let last = new.next_number - 1;
        *state = new;
        Ok((tree, last))
    }

    fn remove_log(&self, old: &Tree) -> Result<()> {
        for mirror in old.log.mirrors() {
            self.env
                .remove_file(&mirror.path)
                .and_then(|()| self.env.sync_dir(env::parent(&mirror.path)))
                .map_err(|error| Error::io("remove a keyring file", &mirror.path, error))?;
        }
        Ok(())
    }
}
