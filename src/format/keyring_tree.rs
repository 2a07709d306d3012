//! The keyring's tree, byte for byte: what stands inside the crown, inner nodes and leaves once they are decrypted.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{PAYLOAD_LIMIT, PLACE_BYTES, Place, TREE_KEY_BYTES, TreeKey};
use crate::crypto::Key;

/// The most children of an inner node.
pub const CHILDREN_LIMIT: usize = 256;
/// The most items of a leaf.
pub const ITEMS_LIMIT: usize = 64;
/// The deepest tree: far beyond what 2^64 entries need.
pub const LEVEL_LIMIT: u8 = 16;

const CHILD_BYTES: usize = TREE_KEY_BYTES + PLACE_BYTES + 8 + 32 + 4 + PLACE_BYTES + 4 + 4;
const CROWN_BYTES: usize = 64 + 1 + CHILD_BYTES + 8 + 8 + 8;

/// Secret bytes of an entry: a part of what was decrypted with it, wiped when the last part is dropped.
#[derive(Clone)]
pub struct Payload {
    whole: Arc<Zeroizing<Vec<u8>>>,
    from: usize,
    length: usize,
}

impl Payload {
    /// A payload by itself. It takes no more memory than it is long: what is encoded gets more room than it needs, since a
    /// vector that grows leaves copies behind, and many payloads wait for a fold.
    pub fn own(bytes: Zeroizing<Vec<u8>>) -> Self {
        Payload { from: 0, length: bytes.len(), whole: Arc::new(Zeroizing::new(bytes.to_vec())) }
    }

    /// The last `length` bytes of a decrypted body.
    pub fn end_of(bytes: Zeroizing<Vec<u8>>, length: usize) -> Self {
        Payload { from: bytes.len() - length, length, whole: Arc::new(bytes) }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.from..self.from + self.length]
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.length)
    }
}

/// The entries appended to a leaf since it was written, newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The newest.
    pub head: Place,
    /// How many.
    pub count: u32,
    /// Bytes of their frames.
    pub bytes: u32,
}

/// How a parent knows a child: the only place that holds its key.
#[derive(Debug)]
pub struct Child {
    /// No key in it is lower.
    pub first: TreeKey,
    /// Its frame.
    pub place: Place,
    /// Its name.
    pub id: u64,
    /// Its key.
    pub key: Key,
    /// Of a leaf: how many items it holds. Of an inner node: how many children.
    pub items: u32,
    /// Of a leaf: what was appended to it before the root that names it was sealed.
    pub chain: Chain,
}

impl Child {
    /// A second one, key included.
    pub fn duplicate(&self) -> Self {
        Child { key: self.key.duplicate(), ..*self }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.first.0);
        self.place.encode(out);
        out.put_u64(self.id);
        out.put(self.key.expose());
        out.put_u32(self.items);
        self.chain.head.encode(out);
        out.put_u32(self.chain.count);
        out.put_u32(self.chain.bytes);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = from.take(CHILD_BYTES)?;
        let (place, chain) = Child::check(bytes)?;
        let mut from = Reader::new(bytes);
        let first = TreeKey(from.array()?);
        Place::decode(&mut from)?;
        Ok(Child { first, place, id: from.u64()?, key: Key::take(&mut from.array()?), items: from.u32()?, chain })
    }

    /// What of a child's bytes may be wrong: where it is, and its chain.
    fn check(bytes: &[u8]) -> Result<(Place, Chain), Malformed> {
        let mut from = Reader::new(bytes);
        from.take(TREE_KEY_BYTES)?;
        let place = Place::decode(&mut from)?;
        from.take(8 + 32 + 4)?;
        let chain = Chain { head: Place::decode(&mut from)?, count: from.u32()?, bytes: from.u32()? };
        match place.is_some() && chain.head.is_some() == (chain.count > 0) {
            true => Ok((place, chain)),
            false => Err(Malformed("a node without a place, or a chain without a head")),
        }
    }
}

/// The node that the root record opens: the keys of the whole tree, and the child on its top.
#[derive(Debug)]
pub struct Crown {
    /// Under which tags are made. The same for the life of the store.
    pub lookup: Key,
    /// Under which the routes of appended entries are sealed. Renewed with every root.
    pub route: Key,
    /// Level of the top child.
    pub level: u8,
    /// The top of the tree.
    pub top: Child,
    /// Name of the next node.
    pub next_node: u64,
    /// Bytes of the frames that the tree reaches below the crown.
    pub live_bytes: u64,
    /// Number of the last entry that the tree holds, chains included.
    pub folded: u64,
}

impl Crown {
    /// Its plaintext.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(CROWN_BYTES));
        out.put(self.lookup.expose());
        out.put(self.route.expose());
        out.put_u8(self.level);
        self.top.encode(&mut out);
        out.put_u64(self.next_node);
        out.put_u64(self.live_bytes);
        out.put_u64(self.folded);
        out
    }

    /// Reads its plaintext.
    pub fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(plain);
        let crown = Crown {
            lookup: Key::take(&mut from.array()?),
            route: Key::take(&mut from.array()?),
            level: from.u8()?,
            top: Child::decode(&mut from)?,
            next_node: from.u64()?,
            live_bytes: from.u64()?,
            folded: from.u64()?,
        };
        from.finish()?;
        if crown.level > LEVEL_LIMIT { Err(Malformed("a tree of impossible depth")) } else { Ok(crown) }
    }
}

/// Encodes an inner node.
pub fn encode_inner(children: &[Child]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(4 + children.len() * CHILD_BYTES));
    out.put_u32(u32::try_from(children.len()).expect("at most 256 children"));
    children.iter().for_each(|child| child.encode(&mut out));
    out
}

/// An inner node as it was decrypted: 1 to 256 children in order. They are decoded one at a time, when they are asked for:
/// a search goes through one of them, and their keys are as many allocations. Wiped when dropped.
pub struct Inner(Zeroizing<Vec<u8>>);

impl Inner {
    /// A node of these bytes, every child of it checked.
    pub fn decode(plain: Zeroizing<Vec<u8>>) -> Result<Self, Malformed> {
        let count = Reader::new(&plain).u32()? as usize;
        if !(1..=CHILDREN_LIMIT).contains(&count) {
            return Err(Malformed("a node with too few or too many children"));
        }
        if plain.len() != 4 + count * CHILD_BYTES {
            return Err(Malformed("a node that is longer or shorter than its children"));
        }
        let inner = Inner(plain);
        if !(0..count).is_sorted_by(|a, b| inner.first(*a) < inner.first(*b)) {
            return Err(Malformed("children out of order"));
        }
        (0..count).try_for_each(|index| Child::check(inner.at(index)).map(drop))?;
        Ok(inner)
    }

    fn at(&self, index: usize) -> &[u8] {
        &self.0[4 + index * CHILD_BYTES..][..CHILD_BYTES]
    }

    /// How many children it has.
    pub fn count(&self) -> usize {
        self.0.len() / CHILD_BYTES
    }

    /// Bytes in memory.
    pub fn weight(&self) -> usize {
        self.0.len() + 64
    }

    /// The lowest key that may be in a child.
    pub fn first(&self, index: usize) -> TreeKey {
        TreeKey(std::array::from_fn(|byte| self.at(index)[byte]))
    }

    /// Which child holds `key`.
    pub fn index_of(&self, key: &TreeKey) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            match self.at(middle)[..TREE_KEY_BYTES] <= key.0[..] {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low.saturating_sub(1)
    }

    /// A child, its key included.
    pub fn child(&self, index: usize) -> Child {
        Child::decode(&mut Reader::new(self.at(index))).expect("every child was checked")
    }

    /// All of them.
    pub fn children(&self) -> impl Iterator<Item = Child> {
        (0..self.count()).map(|index| self.child(index))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inner({} children)", self.count())
    }
}

/// One entry in a leaf.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it belongs.
    pub key: TreeKey,
    /// Number of the entry that it came with.
    pub number: u64,
    /// What it says, encoded.
    pub payload: Payload,
}

/// Encodes a leaf.
pub fn encode_leaf(items: &[Item]) -> Zeroizing<Vec<u8>> {
    let size = items.iter().map(|item| TREE_KEY_BYTES + 12 + item.payload.len()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(4 + size));
    out.put_u32(u32::try_from(items.len()).expect("at most 64 items"));
    for item in items {
        out.put(&item.key.0);
        out.put_short(item.number);
        out.put_short(item.payload.len() as u64);
        out.put(&item.payload);
    }
    out
}

/// Reads a leaf: at most 64 items in order. They share its bytes.
pub fn decode_leaf(plain: Zeroizing<Vec<u8>>) -> Result<Vec<Item>, Malformed> {
    let whole = Arc::new(plain);
    let mut from = Reader::new(&whole);
    let count = from.u32()? as usize;
    if count > ITEMS_LIMIT {
        return Err(Malformed("a leaf with too many items"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let key = TreeKey(from.array()?);
        let number = from.short()?;
        let length = from.short_u32()? as usize;
        if length > PAYLOAD_LIMIT {
            return Err(Malformed("an entry of impossible length"));
        }
        let start = whole.len() - from.rest().len();
        from.take(length)?;
        items.push(Item { key, number, payload: Payload { whole: whole.clone(), from: start, length } });
    }
    from.finish()?;
    match items.is_sorted_by(|a, b| a.key < b.key) {
        true => Ok(items),
        false => Err(Malformed("items out of order")),
    }
}
