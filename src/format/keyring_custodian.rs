//! The file custodian's file, byte for byte: two equal sectors of facts, then blocks of key slots, each slot twice.

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{FORMAT_VERSION, checked, put_crc, zeros};
use super::keyring_root::OpeningToken;
use crate::crypto::{Digest, Key};
use crate::ident::StoreId;

/// First bytes of a sector.
pub const CUSTODIAN_MAGIC: [u8; 8] = *b"TNRCUST\0";
/// Length of a sector in bytes.
pub const SECTOR_BYTES: usize = 512;
/// Where the key slots begin.
pub const SLOTS_START: u64 = 2 * SECTOR_BYTES as u64;
/// Length of a key slot in bytes.
pub const KEY_SLOT_BYTES: usize = 64;
/// Key slots in a block; a block is 512 bytes of slots, then the same again.
pub const SLOTS_IN_BLOCK: u64 = (SECTOR_BYTES / KEY_SLOT_BYTES) as u64;

/// Where both copies of slot `index` stand.
pub fn slot_offsets(index: u64) -> [u64; 2] {
    let block = SLOTS_START + index / SLOTS_IN_BLOCK * 2 * SECTOR_BYTES as u64;
    let first = block + index % SLOTS_IN_BLOCK * KEY_SLOT_BYTES as u64;
    [first, first + SECTOR_BYTES as u64]
}

/// What a custodian file knows besides keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustodianFacts {
    /// Grows with every writing.
    pub generation: u64,
    /// The store whose roots it seals.
    pub store: StoreId,
    /// The opening registered last.
    pub opening: OpeningToken,
    /// The epoch that is given out next.
    pub next_epoch: u64,
    /// The ledger was at least this long.
    pub ledger_length: u64,
    /// And had this Merkle root there.
    pub ledger_head: Digest,
    /// Keys of epochs below this were destroyed.
    pub destroyed_before: u64,
}

impl CustodianFacts {
    /// Its 512 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        out.put(&CUSTODIAN_MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put_u64(self.generation);
        out.put(self.store.as_bytes());
        self.opening.encode(&mut out);
        out.put_u64(self.next_epoch);
        out.put_u64(self.ledger_length);
        out.put(&self.ledger_head);
        out.put_u64(self.destroyed_before);
        out.resize(SECTOR_BYTES - 4, 0);
        put_crc(&mut out);
        out
    }

    /// Reads a sector.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != SECTOR_BYTES {
            return Err(Malformed("it ends too early"));
        }
        let mut from = checked(bytes, &CUSTODIAN_MAGIC)?;
        zeros(from.take(6)?)?;
        let facts = CustodianFacts {
            generation: from.u64()?,
            store: StoreId::from_bytes(from.array()?),
            opening: OpeningToken::decode(&mut from)?,
            next_epoch: from.u64()?,
            ledger_length: from.u64()?,
            ledger_head: from.array()?,
            destroyed_before: from.u64()?,
        };
        zeros(from.rest())?;
        Ok(facts)
    }
}

/// The key of one epoch, for its slot.
#[derive(Debug)]
pub struct EpochKey {
    /// The epoch; never zero.
    pub epoch: u64,
    /// Its key.
    pub key: Key,
}

/// What stands in a slot.
#[derive(Debug)]
pub enum KeySlot {
    /// Zeros.
    Free,
    /// A key.
    Held(EpochKey),
    /// Neither.
    Damaged,
}

impl EpochKey {
    /// Its 64 bytes.
    pub fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut out = zeroize::Zeroizing::new(Vec::with_capacity(KEY_SLOT_BYTES));
        out.put_u64(self.epoch);
        out.put(self.key.expose());
        out.put(&[0; 20]);
        put_crc(&mut out);
        out
    }
}

impl KeySlot {
    /// Reads a slot.
    pub fn decode(bytes: &[u8; KEY_SLOT_BYTES]) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            return KeySlot::Free;
        }
        KeySlot::held(bytes).map_or(KeySlot::Damaged, KeySlot::Held)
    }

    fn held(bytes: &[u8; KEY_SLOT_BYTES]) -> Result<EpochKey, Malformed> {
        let (body, crc) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(Malformed("its checksum does not fit"));
        }
        let mut from = Reader::new(body);
        let epoch = from.u64()?;
        let key = Key::take(&mut from.array()?);
        zeros(from.rest())?;
        if epoch == 0 { Err(Malformed("a key of no epoch")) } else { Ok(EpochKey { epoch, key }) }
    }
}
