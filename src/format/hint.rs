//! The file `durable`: how far read-only openers may read.

use super::bytes::{Malformed, Reader, Writer};
use super::position::Position;

const MAGIC: &[u8; 8] = b"TNRDURA\0";

/// Length of the file in bytes.
pub const HINT_BYTES: usize = 32;

/// What the writer published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The opening that wrote it.
    pub opening: u32,
    /// The journal is durable up to here.
    pub position: Position,
}

impl Hint {
    /// Its bytes: magic, opening, file, offset, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u32(self.opening);
        out.put_u64(self.position.file);
        out.put_u64(self.position.offset);
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        out
    }

    /// Reads the whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (covered, checksum) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
            return Err(Malformed("its checksum does not fit"));
        }
        let mut from = Reader::new(covered);
        if from.array()? != *MAGIC {
            return Err(Malformed("it is no durable position"));
        }
        let hint = Hint { opening: from.u32()?, position: Position { file: from.u64()?, offset: from.u64()? } };
        from.finish()?;
        Ok(hint)
    }
}
