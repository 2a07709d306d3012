//! A dictionary's file: what bodies of one partition were compressed with, encrypted under a key of that partition, so
//! that it dies with its column.
//!
//! Sealing is deterministic: the nonce is a MAC over everything that is sealed or bound, so that the same dictionary
//! under the same key is the same file byte for byte, and no nonce ever serves two messages.

use std::ops::Range;

use super::bytes::{Malformed, Reader, Writer};
use super::journal::Unreadable;
use crate::crypto::{DictionaryKey, NONCE_BYTES, TAG_BYTES};
use crate::ident::{PartitionNumber, StoreId};
use crate::window::Timestamp;

/// The longest dictionary, in bytes, packed or not.
pub const DICTIONARY_LIMIT: usize = 1 << 20;
/// Bytes before the ciphertext.
pub const DICTIONARY_HEAD_BYTES: usize = 92;
/// Bytes of the file besides the packed dictionary: head, tag, checksum.
pub const DICTIONARY_OVERHEAD: usize = DICTIONARY_HEAD_BYTES + TAG_BYTES + CRC_BYTES;

const MAGIC: &[u8; 8] = b"TNRDICT\0";
const VERSION: u16 = 0;
const CRC_BYTES: usize = 4;
/// What is bound as associated data: the head up to the nonce.
const BOUND: Range<usize> = 0..DICTIONARY_HEAD_BYTES - NONCE_BYTES;

/// Where a dictionary comes from, and what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// When it was trained.
    pub trained: Timestamp,
    /// The partition whose records it was trained from.
    pub origin: PartitionNumber,
    /// Bytes of the sample's bodies compressed without it.
    pub plain_bytes: u64,
    /// The same with it.
    pub with_bytes: u64,
}

/// What a dictionary's file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictionaryHead {
    /// Whose it is.
    pub store: StoreId,
    /// The partition it belongs to, and dies with.
    pub partition: PartitionNumber,
    /// Its id, as frames name it; never zero.
    pub dictionary: u32,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl DictionaryHead {
    /// The whole file of a packed dictionary. `None` where that is empty or longer than [`DICTIONARY_LIMIT`].
    pub fn seal(&self, key: &DictionaryKey, packed: &[u8]) -> Option<Vec<u8>> {
        if packed.is_empty() || packed.len() > DICTIONARY_LIMIT {
            return None;
        }
        let mut out = Vec::with_capacity(packed.len() + DICTIONARY_OVERHEAD);
        out.put(MAGIC);
        out.put_u16(VERSION);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put_u64(self.partition.0);
        out.put_u32(self.dictionary);
        out.put_u32(packed.len() as u32);
        out.put_i64(self.provenance.trained.as_micros());
        out.put_u64(self.provenance.origin.0);
        out.put_u64(self.provenance.plain_bytes);
        out.put_u64(self.provenance.with_bytes);
        let nonce = key.nonce(&out, packed);
        out.put(&nonce);
        out.put(packed);
        let (head, sealed) = out.split_at_mut(DICTIONARY_HEAD_BYTES);
        let tag = key.sealer().seal(&nonce, &head[BOUND], sealed);
        out.put(&tag);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        Some(out)
    }
}

/// A dictionary's file whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub struct DictionaryView<'a> {
    bytes: &'a [u8],
    head: DictionaryHead,
}

impl<'a> DictionaryView<'a> {
    /// The file that `bytes` are, exactly.
    ///
    /// # Errors
    /// Where it is of another version, or its checksum or a field of its head is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut version = Reader::new(bytes);
        if version.take(8)? != MAGIC {
            return Err(Malformed("it is not a dictionary").into());
        }
        let version = version.u16()?;
        let (covered, crc) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return Err(Malformed("the checksum of the dictionary is wrong").into());
        }
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let mut from = Reader::new(covered);
        from.take(10)?;
        if from.take(6)? != [0; 6] {
            return Err(Malformed("reserved bytes of the dictionary's head are not zero").into());
        }
        let (store, partition) = (StoreId::from_bytes(from.array()?), PartitionNumber(from.u64()?));
        let (dictionary, length) = (from.u32()?, from.u32()? as usize);
        let trained = from.i64()?;
        let provenance = Provenance {
            trained: Timestamp::from_micros(trained),
            origin: PartitionNumber(from.u64()?),
            plain_bytes: from.u64()?,
            with_bytes: from.u64()?,
        };
        if dictionary == 0 || provenance.trained.as_micros() != trained {
            return Err(Malformed("a field of the dictionary's head is out of bounds").into());
        }
        if !(1..=DICTIONARY_LIMIT).contains(&length) || bytes.len() != length + DICTIONARY_OVERHEAD {
            return Err(Malformed("the dictionary is not as long as promised").into());
        }
        Ok(DictionaryView { bytes, head: DictionaryHead { store, partition, dictionary, provenance } })
    }

    /// What it says of itself.
    pub fn head(&self) -> &DictionaryHead {
        &self.head
    }

    /// The dictionary, packed.
    ///
    /// # Errors
    /// [`Malformed`] where the key is not the one it was sealed with.
    pub fn open(&self, key: &DictionaryKey) -> Result<Vec<u8>, Malformed> {
        let (head, rest) = self.bytes.split_at(DICTIONARY_HEAD_BYTES);
        let wrong = Malformed("the dictionary does not open under the key of its partition");
        let (sealed, tag) = rest[..rest.len() - CRC_BYTES].split_last_chunk::<TAG_BYTES>().ok_or(wrong)?;
        let nonce = head.last_chunk::<NONCE_BYTES>().ok_or(wrong)?;
        let mut packed = sealed.to_vec();
        key.sealer().open(nonce, &head[BOUND], &mut packed, tag).map_err(|_| wrong)?;
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Key, PartitionKey};

    fn key(byte: u8) -> DictionaryKey {
        PartitionKey::new(Key::take(&mut [byte; 32])).dictionary(7)
    }

    fn head() -> DictionaryHead {
        let trained = Timestamp::from_micros(1_700_000_000_000_000);
        DictionaryHead {
            store: StoreId::from_bytes([9; 16]),
            partition: PartitionNumber(3),
            dictionary: 7,
            provenance: Provenance { trained, origin: PartitionNumber(2), plain_bytes: 900, with_bytes: 500 },
        }
    }

    #[test]
    fn a_dictionary_comes_back_whole_under_its_own_key_alone() {
        let bytes = head().seal(&key(2), b"Thank you for calling.").unwrap();
        assert_eq!(bytes.len(), 22 + DICTIONARY_OVERHEAD);
        let view = DictionaryView::parse(&bytes).unwrap();
        assert_eq!(*view.head(), head());
        assert_eq!(view.open(&key(2)).unwrap(), b"Thank you for calling.");
        view.open(&key(3)).unwrap_err();
        assert_eq!(head().seal(&key(2), b"Thank you for calling.").unwrap(), bytes);
    }

    #[test]
    fn another_head_or_another_dictionary_takes_another_nonce() {
        let nonce = |head: DictionaryHead, body: &[u8]| head.seal(&key(2), body).unwrap()[80..92].to_vec();
        let mut other = head();
        other.provenance.with_bytes += 1;
        assert_ne!(nonce(head(), b"one"), nonce(head(), b"two"));
        assert_ne!(nonce(head(), b"one"), nonce(other, b"one"));
    }

    #[test]
    fn no_flipped_bit_and_no_other_length_passes() {
        let bytes = head().seal(&key(2), b"Thank you for calling.").unwrap();
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            DictionaryView::parse(&flipped).unwrap_err();
            DictionaryView::parse(&bytes[..index]).unwrap_err();
        }
        assert_eq!(head().seal(&key(2), b""), None);
        assert_eq!(head().seal(&key(2), &vec![1; DICTIONARY_LIMIT + 1]), None);
    }
}
