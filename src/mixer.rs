//! A cheap hash for the names that the store gives: handles and subject numbers are as good as random and partitions are
//! numbered, so nobody outside can choose names that meet. Never for what callers choose. And how names are dealt to shards.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes the keys of a map cheaply.
pub type Mixed = BuildHasherDefault<Mixer>;

/// Mixes the bytes of a key.
#[derive(Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _: usize) {} // The length of an array, which never differs.

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// The places of what goes to each of `SHARDS` shards, in their order: who looks many things up goes to each shard once.
pub fn apart<const SHARDS: usize>(shards: impl ExactSizeIterator<Item = usize>) -> [Vec<u32>; SHARDS] {
    let expected = shards.len() / SHARDS;
    let mut places = [const { Vec::new() }; SHARDS];
    for (place, shard) in shards.enumerate() {
        let places: &mut Vec<u32> = &mut places[shard];
        if places.is_empty() {
            places.reserve(expected + expected / 2 + 1);
        }
        places.push(place as u32);
    }
    places
}
