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

    /// The entry of `handle`.
    pub fn find(&self, handle: &Handle) -> Option<IndexEntry> {
        let wanted = start(handle);
        let at = self.starts.partition_point(|start| *start < wanted);
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

/// The last of `firsts` that is not after `handle`.
pub(super) fn block_for(firsts: &[Handle], handle: &Handle) -> Option<usize> {
    let number = |handle: &Handle| u128::from_be_bytes(*handle.as_bytes());
    let wanted = number(handle);
    firsts.partition_point(|first| number(first) <= wanted).checked_sub(1)
}

impl Index {
    /// Nothing kept yet; `kept_bytes` counts what this one and others keep.
    pub fn counted(kept_bytes: Arc<AtomicUsize>) -> Self {
        Index { blocks: RwLock::default(), kept_bytes }
    }

    /// What block `index` says of `handle`; the outer none where the block is not kept.
    pub fn find(&self, index: usize, handle: &Handle) -> Option<Option<IndexEntry>> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(index)?.as_ref().map(|block| block.find(handle))
    }

    /// Keeps block `index` of a segment that has `count` of them.
    pub fn keep(&self, index: usize, count: usize, block: Block) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() < count {
            blocks.resize_with(count, || None);
        }
        if let Some(place) = blocks.get_mut(index)
            && place.is_none()
        {
            self.kept_bytes.fetch_add(block.bytes(), Ordering::Relaxed);
            *place = Some(block);
        }
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
            for (offset, number) in numbers.iter().enumerate() {
                prop_assert_eq!(block.find(&handle(*number)), Some(entry((offset, number))));
            }
            for start in 0..5 {
                prop_assert!(numbers.contains(&(start, other)) || block.find(&handle((start, other))).is_none());
            }
        }
    }
}
