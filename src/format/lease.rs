//! A lease: how far a read-only opener has followed the ledger, so that the writer knows when nobody reads what has been
//! closed off.

use super::bytes::{Malformed, Reader, Writer};
use super::keyring_entry::take_time;
use super::mark::FORMAT_VERSION;
use crate::ident::StoreId;
use crate::window::Timestamp;

const MAGIC: &[u8; 8] = b"TNRLEAS\0";

/// Length of the file in bytes: within one sector, so that it is hardly ever seen half written.
pub const LEASE_BYTES: usize = 52;

/// What a reader says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The store it reads.
    pub store: StoreId,
    /// How many leaves of the ledger it has taken in.
    pub length: u64,
    /// When it said so, by its wall clock.
    pub at: Timestamp,
}

impl Lease {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put_u64(self.length);
        out.put_i64(self.at.as_micros());
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        out
    }

    /// Reads the whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = opened(bytes, MAGIC)?;
        if from.array()? != [0; 6] {
            return Err(Malformed("reserved bytes are not zero"));
        }
        let store = StoreId::from_bytes(from.array()?);
        let lease = Lease { store, length: from.u64()?, at: take_time(&mut from)? };
        from.finish()?;
        Ok(lease)
    }
}

/// What follows magic and version in a small file that ends with the checksum of all before it.
pub(super) fn opened<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Reader<'a>, Malformed> {
    let (covered, checksum) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
        return Err(Malformed("its checksum does not fit"));
    }
    let mut from = Reader::new(covered);
    if from.array()? != *magic {
        return Err(Malformed("it is another kind of file"));
    }
    match from.u16()? == FORMAT_VERSION {
        true => Ok(from),
        false => Err(Malformed("it has an unknown format version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_reads_back_and_no_bit_of_it_may_flip() {
        let lease = Lease { store: StoreId::from_bytes([7; 16]), length: 99, at: Timestamp::from_micros(1_700) };
        let bytes = lease.encode();
        assert_eq!((bytes.len(), Lease::decode(&bytes)), (LEASE_BYTES, Ok(lease)));
        for index in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[index / 8] ^= 1 << (index % 8);
            assert!(Lease::decode(&damaged).is_err());
        }
        assert!((0..bytes.len()).all(|length| Lease::decode(&bytes[..length]).is_err()));
        let mut beyond = bytes;
        beyond[40..48].copy_from_slice(&i64::MAX.to_le_bytes());
        let checksum = crc32fast::hash(&beyond[..48]);
        beyond[48..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Lease::decode(&beyond), Err(Malformed("a time outside the calendar")));
    }
}
