//! The folded part of the keyring, as one root sees it: immutable, read node by node through a bounded cache. Appended
//! entries that the root does not hold yet are none of its business.

use crate::sync::Arc;

use zeroize::Zeroizing;

use super::log::Log;
use crate::cache::Cache;
use crate::crypto::{Key, Sealer};
use crate::error::{Error, Result};
use crate::format::bytes::Malformed;
use crate::format::keyring::{CROWN_LEVEL, EntryBody, LogFrame, Place, TreeKey};
use crate::format::keyring_root::RootRecord;
use crate::format::keyring_tree::{Chain, Child, Crown, Inner, Item, Payload, decode_leaf};
use crate::ident::StoreId;

/// What an item of a cached leaf weighs besides its payload, about.
pub const ITEM_BYTES: usize = 96;

/// Nodes that were read lately, in two caches: a walk from customer to customer never meets a leaf again, and would have
/// every inner node, which it does meet again, go for one.
#[derive(Debug)]
pub struct Nodes {
    /// By name.
    inners: Cache<u64, Arc<Inner>>,
    /// By name and the newest entry of their chain; what was appended is merged in.
    leaves: Cache<(u64, u64), Arc<Vec<Item>>>,
}

impl Nodes {
    /// Room for about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Nodes { inners: Cache::new(limit / 8 * 7), leaves: Cache::new(limit / 8) }
    }

    /// Keeps an inner node.
    pub fn insert_inner(&self, id: u64, node: Arc<Inner>) {
        let weight = node.weight();
        self.inners.insert(id, node, weight);
    }

    /// Keeps a leaf whose chain ends at `chain`.
    pub fn insert_leaf(&self, id: u64, chain: u64, items: Arc<Vec<Item>>) {
        let weight = items.iter().map(|item| item.payload.len() + ITEM_BYTES).sum::<usize>() + ITEM_BYTES;
        self.leaves.insert((id, chain), items, weight);
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.inners.clear();
        self.leaves.clear();
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.inners.bytes() + self.leaves.bytes()
    }
}

/// The tree under one root.
#[derive(Debug)]
pub struct Tree {
    /// The store it belongs to.
    pub store: StoreId,
    /// The log that is written, with all its nodes but those in the file before.
    pub log: Arc<Log>,
    /// The file before, from which nodes are still to be carried over.
    pub before: Option<Arc<Log>>,
    /// What the custodian sealed.
    pub root: RootRecord,
    /// The node that it opens.
    pub crown: Crown,
    /// The route key, made ready.
    pub route: Sealer,
}

/// Damage at `place` of `log`.
pub fn damaged(log: &Log, place: Place, what: Malformed) -> Error {
    let path = log.mirrors().first().map(|mirror| mirror.path.clone()).unwrap_or_default();
    Error::corrupt(&path, place.offset.saturating_sub(log.base()), format!("the keyring's tree: {what}"))
        .hint("bring this file back from a mirror of the keyring; everything else keeps serving")
}

/// The plaintext of the node at `place`, checked to be the one that its parent means.
pub fn open_node(
    log: &Log,
    store: &StoreId,
    place: Place,
    id: u64,
    level: u8,
    key: &Key,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    let bytes = log.read(place)?;
    let plain = match LogFrame::parse(&bytes) {
        Ok((LogFrame::Node(frame), _)) if frame.head.id == id && frame.head.level == level => frame.open(store, key),
        Ok(_) => Err(Malformed("another frame stands where a node should be")),
        Err(what) => Err(what),
    };
    Ok((plain.map_err(|what| damaged(log, place, what))?, bytes))
}

impl Tree {
    /// Reads the crown that `root` names.
    pub fn open(store: StoreId, (log, before): (Arc<Log>, Option<Arc<Log>>), root: RootRecord) -> Result<Self> {
        let (plain, bytes) = open_node(&log, &store, root.crown, root.crown_id, CROWN_LEVEL, &root.crown_key)?;
        if crate::crypto::sha256(&bytes) != root.crown_hash {
            return Err(damaged(&log, root.crown, Malformed("the crown is not the one that the root names")));
        }
        let crown = Crown::decode(&plain).map_err(|what| damaged(&log, root.crown, what))?;
        Ok(Tree::under(store, (log, before), root, crown))
    }

    /// A tree whose crown was just written.
    pub fn under(store: StoreId, (log, before): (Arc<Log>, Option<Arc<Log>>), root: RootRecord, crown: Crown) -> Self {
        let route = Sealer::new(&crown.route);
        Tree { store, log, before, root, crown, route }
    }

    /// The file that the frame at `place` stands in.
    fn file_of(&self, place: Place) -> &Log {
        match &self.before {
            Some(before) if place.offset < self.log.base() => before,
            _ => &self.log,
        }
    }

    /// Its files, the oldest first.
    pub fn files(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.before.iter().chain([&self.log])
    }

    /// Bytes of its files, in one mirror.
    pub fn bytes(&self) -> u64 {
        self.log.end() - self.before.as_ref().map_or(self.log.base(), |before| before.base())
    }

    /// An inner node, from the cache or the log.
    pub fn inner(&self, nodes: &Nodes, child: &Child, level: u8) -> Result<Arc<Inner>> {
        if let Some(node) = nodes.inners.get(&child.id) {
            return Ok(node);
        }
        let log = self.file_of(child.place);
        let (plain, _) = open_node(log, &self.store, child.place, child.id, level, &child.key)?;
        let node = Arc::new(Inner::decode(plain).map_err(|what| damaged(log, child.place, what))?);
        nodes.insert_inner(child.id, node.clone());
        Ok(node)
    }

    /// A leaf with what was appended to it, from the cache or the log; kept in the cache where `keep`.
    pub fn leaf(&self, nodes: &Nodes, child: &Child, keep: bool) -> Result<Arc<Vec<Item>>> {
        let chain = child.chain.head.offset;
        if let Some(items) = nodes.leaves.get(&(child.id, chain)) {
            return Ok(items);
        }
        let log = self.file_of(child.place);
        let (plain, _) = open_node(log, &self.store, child.place, child.id, 0, &child.key)?;
        let mut items = decode_leaf(plain).map_err(|what| damaged(log, child.place, what))?;
        for item in self.chain(child, &child.chain)? {
            put_item(&mut items, item);
        }
        let items = Arc::new(items);
        if keep {
            nodes.insert_leaf(child.id, chain, items.clone());
        }
        Ok(items)
    }

    /// What was appended to a leaf, newest first.
    pub fn chain(&self, child: &Child, chain: &Chain) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(chain.count.min(64) as usize);
        let mut place = chain.head;
        for left in (0..chain.count).rev() {
            let log = self.file_of(place);
            let bytes = log.read(place)?;
            let wrong = |what| damaged(log, place, what);
            let Ok((LogFrame::Entry(frame), _)) = LogFrame::parse(&bytes) else {
                return Err(wrong(Malformed("another frame stands where an entry should be")));
            };
            let plain = frame.open_body(&self.store, &child.key).map_err(wrong)?;
            let EntryBody { key, previous, payload, .. } = EntryBody::decode(&plain).map_err(wrong)?;
            if previous.is_some() != (left > 0) || previous.offset >= place.offset.max(1) {
                return Err(wrong(Malformed("the chain of a leaf is longer or shorter than its parent says")));
            }
            let length = payload.len();
            items.push(Item { key, number: frame.head.number, payload: Payload::end_of(plain, length) });
            place = previous;
        }
        Ok(items)
    }

    /// The record of the leaf that `key` belongs to, from its parent or the crown.
    pub fn leaf_of(&self, nodes: &Nodes, key: &TreeKey) -> Result<Child> {
        let mut child = self.crown.top.duplicate();
        for level in (1..=self.crown.level).rev() {
            let node = self.inner(nodes, &child, level)?;
            child = node.child(node.index_of(key));
        }
        Ok(child)
    }

    /// What the tree holds under `key`.
    pub fn get(&self, nodes: &Nodes, key: &TreeKey) -> Result<Option<Item>> {
        let leaf = self.leaf(nodes, &self.leaf_of(nodes, key)?, true)?;
        Ok(leaf.binary_search_by_key(key, |item| item.key).ok().map(|index| leaf[index].clone()))
    }

    /// Visits every item from `from` on and below `to` (to the end, where none), in order. Leaves are not kept in the
    /// cache, so that a walk does not empty it.
    pub fn walk(
        &self,
        nodes: &Nodes,
        from: &TreeKey,
        to: Option<&TreeKey>,
        visit: &mut dyn FnMut(&Item) -> Result<()>,
    ) -> Result<()> {
        self.walk_child(nodes, &self.crown.top, self.crown.level, (from, to), visit)
    }

    fn walk_child(
        &self,
        nodes: &Nodes,
        child: &Child,
        level: u8,
        range: (&TreeKey, Option<&TreeKey>),
        visit: &mut dyn FnMut(&Item) -> Result<()>,
    ) -> Result<()> {
        let (from, to) = range;
        let below = |key: &TreeKey| to.is_none_or(|to| key < to);
        if level == 0 {
            let items = self.leaf(nodes, child, false)?;
            let start = items.partition_point(|item| item.key < *from);
            return items[start..].iter().take_while(|item| below(&item.key)).try_for_each(visit);
        }
        let node = self.inner(nodes, child, level)?;
        let start = node.index_of(from);
        for index in start..node.count() {
            if index > start && !below(&node.first(index)) {
                break;
            }
            self.walk_child(nodes, &node.child(index), level - 1, range, visit)?;
        }
        Ok(())
    }
}

/// Puts `item` in its place; of two under one key the later number counts.
pub fn put_item(items: &mut Vec<Item>, item: Item) {
    match items.binary_search_by_key(&item.key, |held| held.key) {
        Ok(index) if items[index].number < item.number => items[index] = item,
        Ok(_) => {}
        Err(index) => items.insert(index, item),
    }
}
