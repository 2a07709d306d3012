//! What a ledger says of itself after an older copy of it was put back under a living keyring.

use super::super::bytes::{Malformed, Reader, Writer};
use super::act::{HeldCells, put_held, put_stream, take_day, take_held, take_stream};
use super::fact::{put_many, take_many};
use crate::crypto::Digest;
use crate::ident::{PartitionNumber, Stream};
use crate::window::{Day, Timestamp};

/// Facts are missing before this one, and what could be told of them: by the mark that was not found, by the keyring,
/// and by the files that lie there. It names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How long the ledger was known to be; zero where nothing was known.
    pub length: u64,
    /// Its head at that length.
    pub head: Digest,
    /// No fact that is missing is later.
    pub at: Timestamp,
    /// Journal files beyond this number are to be read, settled or not: it is never higher than before.
    pub settled_through: u64,
    /// New journal files are numbered from here, above every number that may have been given.
    pub next_journal: u64,
    /// The same of segments.
    pub next_segment: u64,
    /// The highest number of an act that is known to have been given.
    pub acts_given: u64,
    /// Partitions that have no key any more. Their segments are no longer visible, but for those in which cells are held.
    pub expired: Vec<PartitionNumber>,
    /// Per stream, the first day after the latest window of those.
    pub expired_until: Vec<(Stream, Day)>,
    /// The latest erasure whose fence may have lapsed.
    pub lapsed_fence: Timestamp,
    /// The held cells of expired partitions, all there are.
    pub held: HeldCells,
}

impl Gap {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.length);
        out.put(&self.head);
        out.put_i64(self.at.as_micros());
        for number in [self.settled_through, self.next_journal, self.next_segment, self.acts_given] {
            out.put_u64(number);
        }
        put_many(out, &self.expired, |out, partition| out.put_u64(partition.0));
        put_many(out, &self.expired_until, |out, (stream, day)| {
            put_stream(out, stream);
            out.put_i32(day.number());
        });
        out.put_i64(self.lapsed_fence.as_micros());
        put_held(out, &self.held);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Gap {
            length: from.u64()?,
            head: from.array()?,
            at: super::time(from.i64()?)?,
            settled_through: from.u64()?,
            next_journal: from.u64()?,
            next_segment: from.u64()?,
            acts_given: from.u64()?,
            expired: take_many(from, |from| from.u64().map(PartitionNumber))?,
            expired_until: take_many(from, |from| Ok((take_stream(from)?, take_day(from)?)))?,
            lapsed_fence: super::time(from.i64()?)?,
            held: take_held(from)?,
        })
    }
}
