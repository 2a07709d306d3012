//! Blocks of a segment's index that were read and checked before, kept so that finding a handle needs no read.
//!
//! What all segments of a store keep is counted in one place; whoever counts also says when a segment forgets.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, PoisonError, RwLock};

use crate::format::segment::IndexEntry;
use crate::ident::Handle;

type Block = Box<[IndexEntry]>;

/// The checked blocks of one segment.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: RwLock<Vec<Option<Block>>>,
    kept_bytes: Arc<AtomicUsize>,
}

fn number(handle: &Handle) -> u128 {
    u128::from_be_bytes(*handle.as_bytes())
}

/// The last of `firsts` that is not after `handle`.
pub(super) fn block_for(firsts: &[Handle], handle: &Handle) -> Option<usize> {
    let wanted = number(handle);
    firsts.partition_point(|first| number(first) <= wanted).checked_sub(1)
}

/// The entry of `handle` in a block.
pub(super) fn entry_in(block: &[IndexEntry], handle: &Handle) -> Option<IndexEntry> {
    let wanted = number(handle);
    block.binary_search_by(|entry| number(&entry.handle).cmp(&wanted)).ok().map(|at| block[at])
}

impl Index {
    /// Nothing kept yet; `kept_bytes` counts what this one and others keep.
    pub fn counted(kept_bytes: Arc<AtomicUsize>) -> Self {
        Index { blocks: RwLock::default(), kept_bytes }
    }

    /// What block `index` says of `handle`; the outer none where the block is not kept.
    pub fn find(&self, index: usize, handle: &Handle) -> Option<Option<IndexEntry>> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(index)?.as_ref().map(|block| entry_in(block, handle))
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
            self.kept_bytes.fetch_add(size_of_val(&*block), Ordering::Relaxed);
            *place = Some(block);
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        let blocks = std::mem::take(&mut *self.blocks.write().unwrap_or_else(PoisonError::into_inner));
        let bytes: usize = blocks.iter().flatten().map(|block| size_of_val(&**block)).sum();
        self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.forget();
    }
}
