//! Buffers of groups that were committed, for the groups to come: fresh memory costs a page fault for every 4 KiB.

use crate::sync::Mutex;

/// Buffers kept.
const COUNT_LIMIT: usize = 12;
/// Longer ones are let go of, in bytes.
const BYTES_LIMIT: usize = 4 << 20;

/// Empty buffers. What stood in them was ciphertext.
#[derive(Default)]
pub struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Spare {
    /// An empty buffer, one that was used before where there is one.
    pub fn take(&self) -> Vec<u8> {
        self.buffers.lock().expect("no holder of this lock panics").pop().unwrap_or_default()
    }

    /// Keeps a buffer for later.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > BYTES_LIMIT {
            return;
        }
        buffer.clear();
        let mut buffers = self.buffers.lock().expect("no holder of this lock panics");
        if buffers.len() < COUNT_LIMIT {
            buffers.push(buffer);
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
        assert_eq!(spare.take().capacity(), 0);
        (0..COUNT_LIMIT + 3).for_each(|_| spare.give(vec![1; 100]));
        let kept = (0..COUNT_LIMIT + 3).filter(|_| spare.take().capacity() >= 100).count();
        assert_eq!(kept, COUNT_LIMIT);
    }
}
