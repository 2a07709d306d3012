//! What opens a keyring, byte for byte: the root slot with the sealed root record in it, and the opening file beside it.

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{FORMAT_VERSION, LOG_HEAD_BYTES, Place, checked, put_crc, zeros};
use crate::crypto::{Digest, Key};
use crate::ident::StoreId;

/// First bytes of a root slot.
pub const ROOT_MAGIC: [u8; 8] = *b"TNRROOT\0";
/// Length of a root slot in bytes.
pub const SLOT_BYTES: usize = 1024;
/// The longest sealed root record in bytes.
pub const SEALED_LIMIT: usize = SLOT_BYTES - 44;
/// First bytes of half an opening file.
pub const OPENING_MAGIC: [u8; 8] = *b"TNROPEN\0";
/// Length of one of the two halves of an opening file, in bytes.
pub const OPENING_HALF_BYTES: usize = 512;

/// A file `root.a` or `root.b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSlot {
    /// The store it belongs to.
    pub store: StoreId,
    /// The epoch it was sealed in.
    pub epoch: u64,
    /// The root record as the custodian sealed it.
    pub sealed: Vec<u8>,
}

impl RootSlot {
    /// Its 1024 bytes. `sealed` holds at most [`SEALED_LIMIT`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.sealed.len() <= SEALED_LIMIT, "callers bound what a custodian returns");
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.put(&ROOT_MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put_u16(self.sealed.len() as u16);
        out.put_u32(0);
        out.put(self.store.as_bytes());
        out.put_u64(self.epoch);
        out.put(&self.sealed);
        out.resize(SLOT_BYTES - 4, 0);
        put_crc(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != SLOT_BYTES {
            return Err(Malformed("a root slot has 1024 bytes"));
        }
        let mut from = checked(bytes, &ROOT_MAGIC)?;
        let length = usize::from(from.u16()?);
        zeros(from.take(4)?)?;
        let (store, epoch) = (StoreId::from_bytes(from.array()?), from.u64()?);
        let sealed = from.take(length)?.to_vec();
        zeros(from.rest())?;
        Ok(RootSlot { store, epoch, sealed })
    }
}

/// What the custodian seals: the way into the tree, and what must not run back.
#[derive(Debug)]
pub struct RootRecord {
    /// The store it belongs to.
    pub store: StoreId,
    /// The epoch it was sealed in.
    pub epoch: u64,
    /// Number of the log file that is written.
    pub file: u64,
    /// Number of the oldest that the tree reaches into: the same, or, while nodes are carried over, the one before.
    pub oldest: u64,
    /// Where the crown stands.
    pub crown: Place,
    /// The crown's name.
    pub crown_id: u64,
    /// The crown's key.
    pub crown_key: Key,
    /// SHA-256 of the crown's frame.
    pub crown_hash: Digest,
    /// From where entries are still to be read.
    pub fold: u64,
    /// Number of the first entry there.
    pub next_entry: u64,
    /// Number of the next partition.
    pub next_partition: u64,
    /// How many customers the tree holds.
    pub customers: u64,
    /// Leaves of the ledger when it was sealed.
    pub ledger_length: u64,
    /// The ledger's Merkle root over them.
    pub ledger_head: Digest,
}

impl RootRecord {
    /// Its plaintext.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        out.put_u16(FORMAT_VERSION);
        out.put(self.store.as_bytes());
        out.put_u64(self.epoch);
        out.put_u64(self.file);
        self.crown.encode(&mut out);
        out.put_u64(self.crown_id);
        out.put(self.crown_key.expose());
        out.put(&self.crown_hash);
        out.put_u64(self.fold);
        out.put_u64(self.next_entry);
        out.put_u64(self.next_partition);
        out.put_u64(self.customers);
        out.put_u64(self.ledger_length);
        out.put(&self.ledger_head);
        if self.oldest != self.file {
            out.put_u64(self.oldest);
        }
        out
    }

    /// Reads its plaintext.
    pub fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(plain);
        if from.u16()? != FORMAT_VERSION {
            return Err(Malformed("its format is newer than this program"));
        }
        let mut record = RootRecord {
            store: StoreId::from_bytes(from.array()?),
            epoch: from.u64()?,
            file: from.u64()?,
            oldest: 0,
            crown: Place::decode(&mut from)?,
            crown_id: from.u64()?,
            crown_key: Key::take(&mut from.array()?),
            crown_hash: from.array()?,
            fold: from.u64()?,
            next_entry: from.u64()?,
            next_partition: from.u64()?,
            customers: from.u64()?,
            ledger_length: from.u64()?,
            ledger_head: from.array()?,
        };
        let carrying = !from.rest().is_empty();
        record.oldest = if carrying { from.u64()? } else { record.file };
        from.finish()?;
        let sound = record.crown.is_some()
            && record.fold > LOG_HEAD_BYTES as u64
            && record.next_entry > 0
            && record.file.checked_sub(record.oldest) == Some(u64::from(carrying));
        if sound { Ok(record) } else { Err(Malformed("a root record that names no tree")) }
    }
}

/// One opening of a store for writing, as the custodian registers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpeningToken {
    /// Its number; zero before the first.
    pub number: u64,
    /// Random, so that two copies of a store never mean the same opening.
    pub token: [u8; 16],
}

impl OpeningToken {
    /// Appends its 24 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put(&self.token);
    }

    /// Takes its 24 bytes.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(OpeningToken { number: from.u64()?, token: from.array()? })
    }
}

/// One half of the file `opening`: what was registered, and what was about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningIntent {
    /// Grows with every writing; the higher of the two halves counts.
    pub generation: u64,
    /// The store it belongs to.
    pub store: StoreId,
    /// The last opening of this copy of the store that the custodian had registered.
    pub current: OpeningToken,
    /// What the custodian was about to be asked to register.
    pub intended: OpeningToken,
}

impl OpeningIntent {
    /// Whether `opening`, which the custodian has registered, is one of this copy of the store.
    pub fn is_of(&self, opening: &OpeningToken) -> bool {
        [self.current, self.intended].contains(opening)
    }

    /// Its 512 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(OPENING_HALF_BYTES);
        out.put(&OPENING_MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put_u64(self.generation);
        out.put(self.store.as_bytes());
        self.current.encode(&mut out);
        self.intended.encode(&mut out);
        out.resize(OPENING_HALF_BYTES - 4, 0);
        put_crc(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != OPENING_HALF_BYTES {
            return Err(Malformed("half an opening file has 512 bytes"));
        }
        let mut from = checked(bytes, &OPENING_MAGIC)?;
        zeros(from.take(6)?)?;
        let intent = OpeningIntent {
            generation: from.u64()?,
            store: StoreId::from_bytes(from.array()?),
            current: OpeningToken::decode(&mut from)?,
            intended: OpeningToken::decode(&mut from)?,
        };
        zeros(from.rest())?;
        Ok(intent)
    }
}
