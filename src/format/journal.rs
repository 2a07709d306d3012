//! The head of a journal file: 512 bytes, then groups.

use super::bytes::{Malformed, Reader, Writer};
use crate::ident::{Salt, StoreId};

/// The first eight bytes of a journal file.
pub const JOURNAL_MAGIC: [u8; 8] = *b"TNRJRNL\0";
/// Length of the head in bytes: where the first group begins.
pub const JOURNAL_HEAD_BYTES: usize = 512;

const VERSION: u16 = 0;
const CRC_AT: usize = JOURNAL_HEAD_BYTES - 4;

/// What a journal file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The store.
    pub store: StoreId,
    /// Its number, counted up in the store.
    pub file: u64,
    /// The opening that writes it: each file is of one opening.
    pub opening: u32,
    /// The salt of that opening.
    pub salt: Salt,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The bytes are damaged.
    Malformed(Malformed),
    /// It is intact, and of another version of the format.
    Version(u16),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Unreadable::Malformed(malformed)
    }
}

impl JournalHead {
    /// Its bytes.
    pub fn encode(&self) -> [u8; JOURNAL_HEAD_BYTES] {
        let mut fields = Vec::with_capacity(JOURNAL_HEAD_BYTES);
        fields.put(&JOURNAL_MAGIC);
        fields.put_u16(VERSION);
        fields.put_u16(0);
        fields.put_u32(self.opening);
        fields.put(self.store.as_bytes());
        fields.put_u64(self.file);
        fields.put(self.salt.as_bytes());
        let mut bytes = [0; JOURNAL_HEAD_BYTES];
        bytes[..fields.len()].copy_from_slice(&fields);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Unreadable`]: damaged, or of another version.
    pub fn decode(bytes: &[u8; JOURNAL_HEAD_BYTES]) -> Result<Self, Unreadable> {
        let mut reader = Reader::new(bytes);
        if reader.array::<8>()? != JOURNAL_MAGIC {
            return Err(Malformed("this is no journal file").into());
        }
        if crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return Err(Malformed("the checksum of the journal's head is wrong").into());
        }
        let version = reader.u16()?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let reserved = reader.u16()?;
        let opening = reader.u32()?;
        let store = StoreId::from_bytes(reader.array()?);
        let file = reader.u64()?;
        let salt = Salt::from_bytes(reader.array()?);
        let padding = &reader.rest()[..reader.rest().len() - 4];
        match reserved == 0 && padding.iter().all(|byte| *byte == 0) {
            true => Ok(JournalHead { store, file, opening, salt }),
            false => Err(Malformed("reserved bytes of the journal's head are not zero").into()),
        }
    }
}
