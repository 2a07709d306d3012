//! HMAC-SHA-256 (RFC 2104) of short messages of fixed length, under a key made ready once: what it takes to mix in the
//! key is kept, so that a message of up to 55 bytes costs two compressions of SHA-256.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

const BLOCK_BYTES: usize = 64;
/// The longest message: with its padding it fills two blocks.
const MESSAGE_LIMIT: usize = 2 * BLOCK_BYTES - 9;

/// Where SHA-256 begins (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// 32 secret bytes that wipe themselves, kept where they stand: for keys that live for one derivation.
pub(super) struct Secret(pub [u8; 32]);

/// A key made ready: the states of the inner and the outer hash after it. They are as secret as the key.
#[derive(Clone)]
pub(super) struct Mac {
    inner: [u32; 8],
    outer: [u32; 8],
}

// As slices: an array is wiped byte by byte, which takes as long as hashing it.
impl Drop for Secret {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl Drop for Mac {
    fn drop(&mut self) {
        self.inner.as_mut_slice().zeroize();
        self.outer.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}
impl ZeroizeOnDrop for Mac {}

fn absorbed(key: &[u8], pad: u8) -> [u32; 8] {
    let mut block = [pad; BLOCK_BYTES];
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    block.as_mut_slice().zeroize();
    state
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(chunk, word)| *chunk = word.to_be_bytes());
    bytes
}

/// Goes on from `state`, which one block led to, to the end of the message that `parts` are, one after the other.
#[inline]
fn finish(state: &[u32; 8], parts: &[&[u8]]) -> [u8; 32] {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    assert!(length <= MESSAGE_LIMIT, "messages are of a short, fixed length");
    match length + 9 <= BLOCK_BYTES {
        true => finish_in::<1>(state, parts, length),
        false => finish_in::<2>(state, parts, length),
    }
}

/// The same, where message and padding fill so many blocks.
#[inline]
fn finish_in<const BLOCKS: usize>(state: &[u32; 8], parts: &[&[u8]], length: usize) -> [u8; 32] {
    let mut blocks = [[0; BLOCK_BYTES]; BLOCKS];
    let padded = blocks.as_flattened_mut();
    let mut at = 0;
    for part in parts {
        padded[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    padded[length] = 0x80;
    let bits = 8 * (BLOCK_BYTES + length) as u64;
    padded[BLOCKS * BLOCK_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
    let mut state = *state;
    compress256(&mut state, &blocks);
    blocks.as_flattened_mut().zeroize();
    let bytes = bytes(&state);
    state.as_mut_slice().zeroize();
    bytes
}

impl Mac {
    /// Makes a key of at most a block ready.
    pub fn new<const K: usize>(key: &[u8; K]) -> Self {
        const { assert!(K <= BLOCK_BYTES, "longer keys would have to be hashed first") };
        Mac { inner: absorbed(key, 0x36), outer: absorbed(key, 0x5c) }
    }

    /// Whether a message is short enough.
    pub const fn takes(length: usize) -> bool {
        length <= MESSAGE_LIMIT
    }

    /// The code of the message that `parts` are, to be used as a key.
    pub fn of(&self, parts: &[&[u8]]) -> Secret {
        let inner = Secret(finish(&self.inner, parts));
        let secret = Secret(finish(&self.outer, &[&inner.0]));
        #[cfg(feature = "simulation")]
        super::keys::note(&secret.0);
        secret
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac as _};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    fn reference(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    proptest! {
        #[test]
        fn it_is_the_usual_hmac(key: [u8; 32], message in proptest::collection::vec(any::<u8>(), 0..=MESSAGE_LIMIT)) {
            let (one, other) = message.split_at(message.len() / 3);
            prop_assert_eq!(Mac::new(&key).of(&[one, other]).0, reference(&key, &message));
            let short: &[u8; 16] = key.first_chunk().unwrap();
            prop_assert_eq!(Mac::new(short).of(&[&message]).0, reference(short, &message));
        }
    }

    #[test]
    fn messages_of_every_length_are_padded_right() {
        for length in 0..=MESSAGE_LIMIT {
            let message = vec![length as u8; length];
            assert_eq!(Mac::new(&[7; 32]).of(&[&message]).0, reference(&[7; 32], &message), "{length} bytes");
        }
    }
}
