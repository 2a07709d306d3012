//! Positions that journal, keyring and ledger agree through.

use super::bytes::{Malformed, Reader, Writer};

/// A place in the journal: file number, then byte offset. Ordered as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the journal file.
    pub file: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// What was durable when a group or a fact was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The journal up to here.
    pub journal: Position,
    /// The keyring up to this entry number.
    pub entry: u64,
}

/// Encoded length of [`Known`].
pub const KNOWN_BYTES: usize = 24;

impl Known {
    /// Appends its 24 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.journal.file);
        out.put_u64(self.journal.offset);
        out.put_u64(self.entry);
    }

    /// Takes its 24 bytes.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Known { journal: Position { file: from.u64()?, offset: from.u64()? }, entry: from.u64()? })
    }

    /// The later of each.
    pub fn or_later(self, other: Known) -> Known {
        Known { journal: self.journal.max(other.journal), entry: self.entry.max(other.entry) }
    }
}
