//! A dictionary made ready for use.

use std::fmt;

use zstd::dict::{CDict, DDict};

use super::LEVEL;
use super::codec::Malformed;

/// What starts a dictionary that has entropy tables (RFC 8878, 5). Any other bytes are content and nothing else.
pub(super) const MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// A dictionary with its prepared forms for compression and decompression. It is prepared once and shared by threads.
pub struct Dictionary {
    bytes: Vec<u8>,
    compression: CDict<'static>,
    decompression: DDict<'static>,
}

impl Dictionary {
    /// Prepares `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] where they are empty, or start as a dictionary with entropy tables and are none.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Err(Malformed);
        }
        let compression = CDict::try_create(&bytes, LEVEL).ok_or(Malformed)?;
        let decompression = DDict::try_create(&bytes).ok_or(Malformed)?;
        Ok(Dictionary { bytes, compression, decompression })
    }

    /// The bytes it was made of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number that the bytes give themselves, which zstd repeats in every frame unless it is zero.
    pub fn id(&self) -> u32 {
        match (self.bytes.first_chunk::<4>(), self.bytes.get(4..8).and_then(|id| id.try_into().ok())) {
            (Some(&MAGIC), Some(id)) => u32::from_le_bytes(id),
            _ => 0,
        }
    }

    pub(super) fn compression(&self) -> &CDict<'static> {
        &self.compression
    }

    pub(super) fn decompression(&self) -> &DDict<'static> {
        &self.decompression
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({} bytes)", self.bytes.len())
    }
}
