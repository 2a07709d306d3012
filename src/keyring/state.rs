//! What the keyring holds in memory besides caches: the tree in force, and the entries that it does not hold yet.

use crate::sync::Arc;
use std::collections::{HashMap, VecDeque};

use super::tree::Tree;
use crate::crypto::Nonce;
use crate::format::keyring::{EntryBody, EntryHead, EntryKind, EntrySeal, Place, TreeKey, seal_entry};
use crate::format::keyring_tree::{Chain, Child, Payload};

/// An entry that was appended after the root in force was sealed.
#[derive(Debug)]
pub struct Unfolded {
    /// Where it belongs.
    pub key: TreeKey,
    /// Its number.
    pub number: u64,
    /// Whether nothing stood under its key before.
    pub first: bool,
    /// What it says.
    pub payload: Payload,
}

/// The part of the keyring that changes. Its lock is held for microseconds, never across input or output but for the
/// few entries that arrive while a new tree is being made.
#[derive(Debug)]
pub struct State {
    /// The tree in force.
    pub tree: Arc<Tree>,
    /// What it does not hold, by number.
    pub entries: VecDeque<Arc<Unfolded>>,
    /// The same by key; of two under one key, the later.
    pub by_key: HashMap<TreeKey, Arc<Unfolded>>,
    /// The chains of the leaves that they belong to, with what the tree knows of them, by name of the leaf.
    pub chains: HashMap<u64, Chain>,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Number of the next entry.
    pub next_number: u64,
    /// Number of the next partition.
    pub next_partition: u64,
    /// Customers, living or not.
    pub customers: u64,
    /// Up to where a reader has read the log.
    pub scanned: u64,
}

impl State {
    /// What follows from a tree alone.
    pub fn over(tree: Arc<Tree>) -> Self {
        State {
            entries: VecDeque::new(),
            by_key: HashMap::new(),
            chains: HashMap::new(),
            bytes: 0,
            next_number: tree.root.next_entry,
            next_partition: tree.root.next_partition,
            customers: tree.root.customers,
            scanned: tree.root.fold,
            tree,
        }
    }

    /// The chain of a leaf, unfolded entries included.
    pub fn chain(&self, leaf: &Child) -> Chain {
        self.chains.get(&leaf.id).copied().unwrap_or(leaf.chain)
    }

    /// The entries after `number`, in order.
    pub fn since(&self, number: u64) -> Vec<Arc<Unfolded>> {
        let from = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.range(from..).cloned().collect()
    }

    /// Takes in an entry that stands at `place`.
    pub fn note(&mut self, leaf: &Child, entry: Unfolded, place: Place) {
        let chain = self.chain(leaf);
        let chain = Chain { head: place, count: chain.count + 1, bytes: chain.bytes.saturating_add(place.length) };
        self.chains.insert(leaf.id, chain);
        self.bytes += u64::from(place.length);
        self.next_number = entry.number + 1;
        if entry.first && entry.key.kind() == EntryKind::Customer as u8 {
            self.customers += 1;
        }
        let entry = Arc::new(entry);
        self.by_key.insert(entry.key, entry.clone());
        self.entries.push_back(entry);
    }

    /// Appends an entry to the log, in memory, chained to its `leaf` and sealed under the keys of the tree in force.
    pub fn push(&mut self, leaf: &Child, entry: Unfolded, nonces: (Nonce, Nonce), durable: u64) {
        let tree = self.tree.clone();
        let head = EntryHead { number: entry.number, epoch: tree.root.epoch, durable };
        let previous = self.chain(leaf).head;
        let body = EntryBody { key: entry.key, first: entry.first, previous, payload: &entry.payload };
        let seal = EntrySeal { route: &tree.route, leaf: &leaf.key, route_nonce: nonces.0, body_nonce: nonces.1 };
        let place = tree.log.append(|out| seal_entry(out, &tree.store, &head, &seal, &body));
        self.note(leaf, entry, place);
    }
}
