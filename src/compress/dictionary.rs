//! A dictionary made ready for use.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use zstd::dict::{CDict, DDict};

use super::LEVEL;
use super::codec::{Malformed, decompress};
use super::encode::{Encoder, Prepared};

/// Dictionaries are packed once and copied into every window.
const PACKING_LEVEL: i32 = 19;

/// What starts a dictionary that has entropy tables (RFC 8878, 5). Any other bytes are content and nothing else.
pub(super) const MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// A dictionary with its prepared forms for compression and decompression. It is prepared once and shared by threads.
pub struct Dictionary {
    bytes: Bytes,
    /// As it was unpacked, where it was.
    packed: Option<Vec<u8>>,
    /// For our own encoder and for zstd's, once they are asked for.
    prepared: OnceLock<Option<Prepared>>,
    compression: OnceLock<CDict<'static>>,
    decompression: DDict<'static>,
    /// Tells it from every other, and whether it still lives.
    mark: Arc<()>,
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
        let decompression = DDict::try_create(&bytes).ok_or(Malformed)?;
        Ok(Dictionary {
            bytes: bytes.into(),
            packed: None,
            prepared: OnceLock::new(),
            compression: OnceLock::new(),
            decompression,
            mark: Arc::new(()),
        })
    }

    /// Prepares what [`Dictionary::packed`] made of bytes that were no more than `limit`.
    ///
    /// # Errors
    /// [`Malformed`] where it is nothing of the kind, or more.
    pub fn unpack(packed: Vec<u8>, limit: usize) -> Result<Self, Malformed> {
        let bytes = zstd::bulk::decompress(&packed, limit).map_err(|_| Malformed)?;
        Ok(Dictionary { packed: Some(packed), ..Dictionary::new(bytes)? })
    }

    /// Its bytes as they are stored: compressed themselves. What was unpacked comes out as it went in, whichever version of
    /// zstd packed it.
    pub fn packed(&self) -> Cow<'_, [u8]> {
        match &self.packed {
            Some(packed) => packed.into(),
            // Only without memory for it; stored by itself it would be refused when it is read.
            None => zstd::bulk::compress(&self.bytes, PACKING_LEVEL).unwrap_or_default().into(),
        }
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

    /// For our own encoder; nothing where it has no use for this dictionary.
    pub(super) fn prepared(&self) -> Option<&Prepared> {
        self.prepared.get_or_init(|| Prepared::of(&self.bytes).filter(|prepared| self.agrees_with(prepared))).as_ref()
    }

    /// Whether what our own encoder makes of a sample comes back. A table that it read otherwise than zstd does would lose
    /// every record from then on.
    pub(super) fn agrees_with(&self, prepared: &Prepared) -> bool {
        let (mut encoder, sample) = (Encoder::new(), prepared.sample());
        encoder.encode(prepared, &sample) && decompress(encoder.block(), sample.len(), Some(self)) == Ok(sample)
    }

    /// For zstd's encoder; nothing without memory for it.
    pub(super) fn compression(&self) -> Option<&CDict<'static>> {
        if self.compression.get().is_none() {
            let made = CDict::try_create(&self.bytes, LEVEL)?;
            // Another thread may have been first: its own is as good.
            _ = self.compression.set(made);
        }
        self.compression.get()
    }

    pub(super) fn mark(&self) -> &Arc<()> {
        &self.mark
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
