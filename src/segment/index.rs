//! Blocks of a segment's index that were read and checked before, kept so that finding a handle needs no read.
//!
//! What all segments of a store keep is counted in one place; whoever counts also says when a segment forgets.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, PoisonError, RwLock};

use crate::format::segment::IndexEntry;
use crate::ident::Handle;

/// A checked block, with the first eight bytes of every handle apart: a look for what is not there, and most are that,
/// reads little memory.
pub(super) struct Block {
    starts: Box<[u64]>,
    entries: Box<[IndexEntry]>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({} entries)", self.entries.len())
    }
}

impl Block {
    /// A block of these entries, in the order of their handles.
    pub fn new(entries: Box<[IndexEntry]>) -> Self {
        Block { starts: entries.iter().map(|entry| start(&entry.handle)).collect(), entries }
    }

    /// The entry of `handle`, whose block this is: the first handle of the one behind it is `until`.
    fn find(&self, handle: &Handle, until: Option<&Handle>) -> Option<IndexEntry> {
        let wanted = start(handle);
        let (first, until) = (self.starts.first().copied()?, until.map_or(u64::MAX, start));
        let at = about(wanted, first, until, self.starts.len());
        let at = walk(&self.starts, at, |start| *start < wanted);
        let alike = self.starts[at..].iter().take_while(|start| **start == wanted).count();
        self.entries[at..at + alike].iter().find(|entry| entry.handle == *handle).copied()
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.entries)
    }
}

/// The checked blocks of one segment.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: RwLock<Vec<Option<Block>>>,
    kept_bytes: Arc<AtomicUsize>,
}

fn start(handle: &Handle) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *handle.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Where `wanted` would stand among `count` numbers from `first` on and below `until`, were they evenly spread. Handles
/// are outputs of a MAC, so that it is off by about half the root of their count: a look there meets cold memory once or
/// twice, where halving would meet it at every step.
fn about(wanted: u64, first: u64, until: u64, count: usize) -> usize {
    let (into, span) = (wanted.saturating_sub(first), until.saturating_sub(first).max(1));
    ((u128::from(into) * count as u128 / u128::from(span)) as usize).min(count)
}

/// The first of `sorted` that is not `before`, looked for from `at` on.
fn walk<T>(sorted: &[T], mut at: usize, before: impl Fn(&T) -> bool) -> usize {
    while at > 0 && !before(&sorted[at - 1]) {
        at -= 1;
    }
    while sorted.get(at).is_some_and(&before) {
        at += 1;
    }
    at
}

/// The last of `firsts` that is not after `handle`.
pub(super) fn block_for(firsts: &[Handle], handle: &Handle) -> Option<usize> {
    let number = |handle: &Handle| u128::from_be_bytes(*handle.as_bytes());
    let wanted = number(handle);
    let at = about(start(handle), 0, u64::MAX, firsts.len());
    walk(firsts, at, |first| number(first) <= wanted).checked_sub(1)
}

impl Index {
    /// Nothing kept yet; `kept_bytes` counts what this one and others keep.
    pub fn counted(kept_bytes: Arc<AtomicUsize>) -> Self {
        Index { blocks: RwLock::default(), kept_bytes }
    }

    /// What block `index` says of `handle`, the blocks beginning with `firsts`; the outer none where it is not kept.
    pub fn find(&self, index: usize, firsts: &[Handle], handle: &Handle) -> Option<Option<IndexEntry>> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(index)?.as_ref().map(|block| block.find(handle, firsts.get(index + 1)))
    }

    /// Keeps block `index` of those that begin with `firsts`, and answers what it says of `handle`.
    pub fn keep(&self, index: usize, firsts: &[Handle], block: Block, handle: &Handle) -> Option<IndexEntry> {
        let entry = block.find(handle, firsts.get(index + 1));
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() < firsts.len() {
            blocks.resize_with(firsts.len(), || None);
        }
        if let Some(place) = blocks.get_mut(index)
            && place.is_none()
        {
            self.kept_bytes.fetch_add(block.bytes(), Ordering::Relaxed);
            *place = Some(block);
        }
        entry
    }

    /// Forgets everything.
    pub fn forget(&self) {
        let blocks = std::mem::take(&mut *self.blocks.write().unwrap_or_else(PoisonError::into_inner));
        let bytes: usize = blocks.iter().flatten().map(Block::bytes).sum();
        self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_finds_what_it_holds_also_where_handles_begin_alike(
            numbers in proptest::collection::btree_set((0_u64..4, any::<u64>()), 1..64),
            other: u64,
        ) {
            let handle = |(start, end): (u64, u64)| {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&start.to_be_bytes());
                bytes[8..].copy_from_slice(&end.to_be_bytes());
                Handle::from_bytes(bytes)
            };
            let entry = |(offset, number): (usize, &(u64, u64))| {
                IndexEntry { handle: handle(*number), offset: offset as u64, bytes: 1, count: 1 }
            };
            let block = Block::new(numbers.iter().enumerate().map(entry).collect());
            // The bound only says where to begin to look: with one that is too low everything is found as well.
            for until in [None, Some(handle((4, 0))), Some(handle((2, other)))] {
                for (offset, number) in numbers.iter().enumerate() {
                    prop_assert_eq!(block.find(&handle(*number), until.as_ref()), Some(entry((offset, number))));
                }
                for start in 0..5 {
                    let found = block.find(&handle((start, other)), until.as_ref());
                    prop_assert!(numbers.contains(&(start, other)) || found.is_none());
                }
            }
        }

        #[test]
        fn the_block_of_a_handle_is_the_last_that_does_not_begin_after_it(
            firsts in proptest::collection::btree_set(any::<u128>(), 0..200),
            wanted: u128,
            near: proptest::sample::Index,
        ) {
            let firsts: Vec<Handle> = firsts.into_iter().map(|one| Handle::from_bytes(one.to_be_bytes())).collect();
            let known = if firsts.is_empty() { wanted } else { u128::from_be_bytes(*near.get(&firsts).as_bytes()) };
            for wanted in [wanted, known, known.saturating_sub(1), 0, u128::MAX] {
                let handle = Handle::from_bytes(wanted.to_be_bytes());
                let expected = firsts.partition_point(|first| *first <= handle).checked_sub(1);
                prop_assert_eq!(block_for(&firsts, &handle), expected);
            }
        }
    }
}
