//! A dictionary as the ledger knows it.

use super::super::bytes::{Malformed, Reader, Writer};
use super::super::dictionary::{DICTIONARY_LIMIT, DICTIONARY_OVERHEAD, Provenance};
use super::act::{put_stream, take_day, take_stream};
use crate::crypto::Digest;
use crate::ident::{PartitionId, PartitionNumber};
use crate::window::{Window, WindowLength};

/// A dictionary that frames of one partition may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryFact {
    /// The number of its partition.
    pub partition: PartitionNumber,
    /// The name of its partition.
    pub id: PartitionId,
    /// Its id, unique within the partition; never zero.
    pub dictionary: u32,
    /// SHA-256 of the file.
    pub hash: Digest,
    /// Length of the file.
    pub bytes: u64,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl DictionaryFact {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.partition.0);
        put_stream(out, &self.id.stream);
        out.put_i32(self.id.window.first_day().number());
        out.put_u8(self.id.window.length() as u8);
        out.put_u32(self.dictionary);
        out.put(&self.hash);
        out.put_u64(self.bytes);
        out.put_i64(self.provenance.trained.as_micros());
        out.put_u64(self.provenance.origin.0);
        out.put_u64(self.provenance.plain_bytes);
        out.put_u64(self.provenance.with_bytes);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let partition = PartitionNumber(from.u64()?);
        let stream = take_stream(from)?;
        let start = take_day(from)?;
        let length = WindowLength::from_code(from.u8()?).ok_or(Malformed("a window length is unknown"))?;
        let window = Window::starting(start, length).ok_or(Malformed("no window starts on that day"))?;
        let (dictionary, hash, bytes) = (from.u32()?, from.array()?, from.u64()?);
        if dictionary == 0 || bytes > (DICTIONARY_LIMIT + DICTIONARY_OVERHEAD) as u64 {
            return Err(Malformed("a dictionary has no id, or is longer than it may be"));
        }
        let provenance = Provenance {
            trained: super::time(from.i64()?)?,
            origin: PartitionNumber(from.u64()?),
            plain_bytes: from.u64()?,
            with_bytes: from.u64()?,
        };
        Ok(DictionaryFact { partition, id: PartitionId { stream, window }, dictionary, hash, bytes, provenance })
    }
}
