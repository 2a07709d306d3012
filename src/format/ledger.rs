//! The ledger's bytes: file header, snapshot, and commits of leaves. Pure; the files are `crate::ledger`'s.
//!
//! A commit is what one append wrote: its leaves stand or fall together under one checksum. That is what lets a
//! reader tell an append that never finished (nothing follows it) from damage (a later commit does).

mod access;
mod act;
mod dictionary;
mod fact;
mod gap;
mod hold;
mod snapshot;
mod span;
#[cfg(test)]
mod tests;

pub use access::{AccessLogs, AccessMark};
pub use act::{Act, ActState, Acts, EVIDENCE_LIMIT, Effect, HeldCells};
pub use dictionary::DictionaryFact;
pub use fact::{Fact, SegmentFact, SegmentRef};
pub use gap::Gap;
pub use hold::{Hold, Holds};
pub use snapshot::{Snapshot, State};
pub use span::{Going, GoingRows, Kept, KeptDuty, KeptRows, Span};

use super::bytes::{Malformed, Reader, Writer};
use crate::crypto::Digest;
use crate::ident::StoreId;
use crate::window::Timestamp;

/// The first bytes of a ledger file.
pub const MAGIC: &[u8; 8] = b"TNRLEDG\0";
/// The version of the format that this code writes.
pub const VERSION: u16 = 0;
/// Length of the file header.
pub const HEADER_BYTES: usize = 88;
/// Length of a commit's head: checksum, length, first leaf, count.
pub const COMMIT_HEAD_BYTES: usize = 20;
/// The longest leaf: kind, time and payload.
pub const LEAF_LIMIT: usize = 16 << 20;
/// The longest commit.
pub const COMMIT_LIMIT: usize = 48 << 20;
/// The longest snapshot.
pub const SNAPSHOT_LIMIT: usize = 1 << 30;
/// The shortest leaf: kind and time.
pub const LEAF_MINIMUM: usize = 9;

/// What stands at the start of every ledger file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version it was written in.
    pub version: u16,
    /// Whose ledger it is.
    pub store: StoreId,
    /// The number of the file, from one.
    pub file: u64,
    /// How many leaves the files before it hold.
    pub first: u64,
    /// The length of the snapshot that follows the header; zero in the first file.
    pub snapshot_length: u32,
    /// SHA-256 of the snapshot.
    pub snapshot_hash: Digest,
}

impl Header {
    /// Appends its 88 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put(MAGIC);
        out.put_u16(self.version);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put_u64(self.file);
        out.put_u64(self.first);
        out.put_u32(self.snapshot_length);
        out.put(&self.snapshot_hash);
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
    }

    /// Reads it, whatever version it names: the caller refuses versions it does not know.
    pub fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Malformed("the file header ends too early"))?;
        let (covered, crc) = bytes.split_at(HEADER_BYTES - 4);
        if crc32fast::hash(covered).to_le_bytes() != crc {
            return Err(Malformed("the checksum of the file header is wrong"));
        }
        let mut from = Reader::new(covered);
        if from.take(8)? != MAGIC {
            return Err(Malformed("it is not a ledger file"));
        }
        let version = from.u16()?;
        if from.take(6)? != [0; 6] {
            return Err(Malformed("reserved bytes of the file header are not zero"));
        }
        Ok(Header {
            version,
            store: StoreId::from_bytes(from.array()?),
            file: from.u64()?,
            first: from.u64()?,
            snapshot_length: from.u32()?,
            snapshot_hash: from.array()?,
        })
    }
}

/// One leaf: what is hashed into the tree is exactly its `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Kind, time and payload.
    pub bytes: &'a [u8],
    /// When it was written.
    pub time: Timestamp,
}

impl<'a> Leaf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.u8()?;
        Ok(Leaf { bytes, time: time(from.i64()?)? })
    }

    /// What it says; `None` for a kind that this version does not know.
    pub fn fact(&self) -> Result<Option<Fact>, Malformed> {
        let mut from = Reader::new(self.bytes);
        let kind = from.u8()?;
        from.i64()?;
        Fact::decode(kind, from.rest())
    }
}

/// A point in time as it stands on disk; one outside the years 0 to 9999 would not read back as itself.
pub(super) fn time(micros: i64) -> Result<Timestamp, Malformed> {
    let time = Timestamp::from_micros(micros);
    match time.as_micros() == micros {
        true => Ok(time),
        false => Err(Malformed("a time lies outside the years 0 to 9999")),
    }
}

/// Appends the bytes of one leaf.
pub fn encode_leaf(out: &mut Vec<u8>, time: Timestamp, fact: &Fact) {
    out.put_u8(fact.kind());
    out.put_i64(time.as_micros());
    fact.encode(out);
}

/// Appends one commit: `leaves` are the bytes of its leaves, the first of which is leaf number `first` of the ledger.
/// `None` where a leaf or the whole is beyond its limit, or nothing is to be written.
pub fn encode_commit(out: &mut Vec<u8>, store: &StoreId, first: u64, leaves: &[Vec<u8>]) -> Option<()> {
    let total: usize = leaves.iter().map(|leaf| leaf.len() + 4).sum::<usize>() + COMMIT_HEAD_BYTES;
    let whole = leaves.iter().all(|leaf| (LEAF_MINIMUM..=LEAF_LIMIT).contains(&leaf.len()));
    if leaves.is_empty() || !whole || total > COMMIT_LIMIT {
        return None;
    }
    let start = out.len();
    out.put_u32(0);
    out.put_u32(u32::try_from(total).ok()?);
    out.put_u64(first);
    out.put_u32(u32::try_from(leaves.len()).ok()?);
    for leaf in leaves {
        out.put_u32(u32::try_from(leaf.len()).ok()?);
        out.put(leaf);
    }
    let crc = commit_crc(store, &out[start..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    Some(())
}

/// The checksum covers the store id as well, so that no commit of another store passes for one of this.
fn commit_crc(store: &StoreId, commit: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(store.as_bytes());
    hasher.update(&commit[4..]);
    hasher.finalize()
}

/// A commit whose checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The number of its first leaf.
    pub first: u64,
    /// How many leaves it has.
    pub count: u32,
    /// Its length in bytes.
    pub length: usize,
    leaves: &'a [u8],
}

impl<'a> Commit<'a> {
    /// Takes the commit at the front of `bytes`, checked before it is parsed.
    pub fn parse(bytes: &'a [u8], store: &StoreId) -> Result<Self, Malformed> {
        let mut head = Reader::new(bytes);
        let crc = head.u32()?;
        let length = head.u32()? as usize;
        if !(COMMIT_HEAD_BYTES + 4 + LEAF_MINIMUM..=COMMIT_LIMIT).contains(&length) {
            return Err(Malformed("the length of a commit is out of bounds"));
        }
        let whole = bytes.get(..length).ok_or(Malformed("a commit ends too early"))?;
        if commit_crc(store, whole) != crc {
            return Err(Malformed("the checksum of a commit is wrong"));
        }
        let mut from = Reader::new(&whole[8..]);
        Ok(Commit { first: from.u64()?, count: from.u32()?, length, leaves: from.rest() })
    }

    /// Its leaves in order.
    pub fn leaves(&self) -> Result<Vec<Leaf<'a>>, Malformed> {
        // A count that lies is found by running out of bytes; nothing is allocated by it.
        let mut leaves = Vec::new();
        let mut from = Reader::new(self.leaves);
        for _ in 0..self.count {
            let length = from.u32()? as usize;
            if !(LEAF_MINIMUM..=LEAF_LIMIT).contains(&length) {
                return Err(Malformed("the length of a leaf is out of bounds"));
            }
            leaves.push(Leaf::parse(from.take(length)?)?);
        }
        from.finish()?;
        Ok(leaves)
    }

    /// Whether any commit with a leaf beyond number `after` begins somewhere in `bytes`: the proof that what stands
    /// before it once was whole.
    pub fn any_after(bytes: &[u8], store: &StoreId, after: u64) -> bool {
        // The number is tested before the checksum is computed, so that the search stays linear.
        let farthest = after.saturating_add((bytes.len() / (4 + LEAF_MINIMUM)) as u64 + 1);
        bytes.windows(COMMIT_HEAD_BYTES).enumerate().any(|(offset, head)| {
            let first = u64::from_le_bytes(std::array::from_fn(|index| head[8 + index]));
            first > after && first <= farthest && Commit::parse(&bytes[offset..], store).is_ok()
        })
    }
}
