//! A buffer that begins where a block of memory does, so that a disk can take its bytes without the kernel copying them.

use std::ops::Deref;

/// What memory, offset and length of a write must be a multiple of, to pass the page cache by.
pub const BLOCK: usize = 4096;

/// Bytes that begin at a multiple of [`BLOCK`] in memory.
#[derive(Debug)]
pub struct Blocks {
    /// As long as what it may hold without moving, and a block more.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Blocks {
    /// Empty, with room for `room` bytes.
    pub fn with_room(room: usize) -> Self {
        let memory = vec![0; room + BLOCK];
        // The answer may be that nobody knows: then the disk is written to as any other file is.
        let start = Some(memory.as_ptr().align_offset(BLOCK)).filter(|start| *start < BLOCK).unwrap_or(0);
        Blocks { memory, start, length: 0 }
    }

    fn room(&self) -> usize {
        self.memory.len() - BLOCK
    }

    /// Adds `bytes` at the end. Where there is no room for them, all of it moves.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let length = self.length + bytes.len();
        if length > self.room() {
            let mut larger = Blocks::with_room(length.max(2 * self.room()));
            larger.memory[larger.start..][..self.length].copy_from_slice(self);
            larger.length = self.length;
            *self = larger;
        }
        self.memory[self.start + self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length = length;
    }

    /// Takes `count` bytes away from the front; what follows moves there.
    pub fn take_front(&mut self, count: usize) {
        let count = count.min(self.length);
        self.memory.copy_within(self.start + count..self.start + self.length, self.start);
        self.length -= count;
    }
}

impl Deref for Blocks {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_and_begins_where_a_block_does() {
        let (mut blocks, mut expected) = (Blocks::with_room(10), Vec::new());
        for step in 0..200_usize {
            let bytes = vec![step as u8; step * 37 % 5_000];
            blocks.extend_from_slice(&bytes);
            expected.extend_from_slice(&bytes);
            if step % 7 == 6 {
                let count = expected.len() / BLOCK * BLOCK;
                blocks.take_front(count);
                expected.drain(..count);
            }
            assert_eq!(*blocks, expected);
            assert_eq!(blocks.as_ptr().align_offset(BLOCK), 0);
        }
        blocks.take_front(usize::MAX);
        assert!(blocks.is_empty());
    }
}
