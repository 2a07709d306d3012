//! How far the access logs had come, as the ledger notes it: so that its head vouches for theirs.

use std::collections::BTreeMap;

use super::super::access::{LogId, Month};
use super::super::bytes::{Malformed, Reader, Writer};
use super::fact::{put_many, take_many};
use crate::crypto::Digest;

/// An access log, and how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMark {
    /// Which month it is of.
    pub month: Month,
    /// Its name.
    pub log: LogId,
    /// How many leaves it had.
    pub length: u64,
    /// Where the last of them ended in its file.
    pub bytes: u64,
    /// The Merkle tree hash over them.
    pub head: Digest,
}

impl AccessMark {
    /// What it is found by.
    pub fn key(&self) -> (Month, LogId) {
        (self.month, self.log)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.month.number());
        out.put(&self.log.0);
        out.put_u64(self.length);
        out.put_u64(self.bytes);
        out.put(&self.head);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(AccessMark {
            month: Month::from_number(from.i32()?)?,
            log: LogId(from.array()?),
            length: from.u64()?,
            bytes: from.u64()?,
            head: from.array()?,
        })
    }
}

/// Every access log that the ledger knows of, with its last mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogs {
    /// By month and name.
    pub marks: BTreeMap<(Month, LogId), AccessMark>,
    /// Months up to this one are over: their keys are destroyed, and their files go.
    pub dropped_through: Option<Month>,
}

impl AccessLogs {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let marks: Vec<&AccessMark> = self.marks.values().collect();
        put_many(out, &marks, |out, mark| mark.encode(out));
        put_many(out, self.dropped_through.as_slice(), |out, month| out.put_i32(month.number()));
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut logs = AccessLogs::default();
        for mark in take_many(from, AccessMark::decode)? {
            if logs.marks.last_key_value().is_some_and(|(last, _)| *last >= mark.key()) {
                return Err(Malformed("the access logs of a snapshot are out of order"));
            }
            logs.marks.insert(mark.key(), mark);
        }
        let mut dropped = take_many(from, |from| Month::from_number(from.i32()?))?;
        logs.dropped_through = dropped.pop();
        match dropped.is_empty() {
            true => Ok(logs),
            false => Err(Malformed("a snapshot names more than one last month")),
        }
    }
}
