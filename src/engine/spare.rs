//! What groups are made with and was used before: their buffers, since fresh memory costs a page fault for every 4 KiB, and
//! compressors, since many threads that each have their own find nothing of it in a cache.

use crate::compress::Compressor;
use crate::sync::{Mutex, MutexGuard};

/// Kept of each.
const COUNT_LIMIT: usize = 12;
/// Longer buffers are let go of, in bytes.
const BYTES_LIMIT: usize = 4 << 20;

#[derive(Default)]
struct Kept {
    /// Empty. What stood in them was ciphertext.
    buffers: Vec<Vec<u8>>,
    /// The one used last on top.
    compressors: Vec<Compressor>,
}

/// What nobody is using.
#[derive(Default)]
pub struct Spare(Mutex<Kept>);

impl Spare {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// An empty buffer and a compressor, such as were used before where there are any.
    pub fn take(&self) -> (Vec<u8>, Compressor) {
        let mut kept = self.kept();
        (kept.buffers.pop().unwrap_or_default(), kept.compressors.pop().unwrap_or_default())
    }

    /// Keeps a buffer for later.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > BYTES_LIMIT {
            return;
        }
        buffer.clear();
        let mut kept = self.kept();
        if kept.buffers.len() < COUNT_LIMIT {
            kept.buffers.push(buffer);
        }
    }

    /// Drops all compressors, which wipe what they have seen.
    pub fn purge(&self) {
        let compressors = std::mem::take(&mut self.kept().compressors);
        drop(compressors);
    }

    /// Keeps a compressor for later.
    pub fn give_back(&self, compressor: Compressor) {
        let mut kept = self.kept();
        if kept.compressors.len() < COUNT_LIMIT {
            kept.compressors.push(compressor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_buffers_of_so_many_bytes_are_kept() {
        let spare = Spare::default();
        spare.give(Vec::with_capacity(BYTES_LIMIT + 1));
        assert_eq!(spare.take().0.capacity(), 0);
        (0..COUNT_LIMIT + 3).for_each(|_| spare.give(vec![1; 100]));
        let kept = (0..COUNT_LIMIT + 3).filter(|_| spare.take().0.capacity() >= 100).count();
        assert_eq!(kept, COUNT_LIMIT);
    }
}
