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

#[cfg(test)]
mod tests {
    use super::super::{Fact, Snapshot};
    use super::*;

    fn mark(month: &str, log: u8, length: u64) -> AccessMark {
        let month = Month::of(format!("{month}-01T00:00:00Z").parse().unwrap());
        AccessMark { month, log: LogId([log; 16]), length, bytes: 64 + 100 * length, head: [length as u8; 32] }
    }

    #[test]
    fn facts_and_marks_read_back_and_stand_in_order() {
        let logs = vec![mark("2026-11", 1, 5), mark("2026-10", 2, 7)];
        for fact in [Fact::AccessNoted { logs: logs.clone() }, Fact::AccessDropped { month: logs[0].month }] {
            let mut payload = Vec::new();
            fact.encode(&mut payload);
            assert_eq!(Fact::decode(fact.kind(), &payload), Ok(Some(fact.clone())));
            assert!((0..payload.len()).all(|length| Fact::decode(fact.kind(), &payload[..length]).is_err()));
        }
        let known = AccessLogs {
            marks: logs.iter().map(|mark| (mark.key(), *mark)).collect(),
            dropped_through: Some(mark("2026-09", 1, 1).month),
        };
        let mut bytes = Vec::new();
        known.encode(&mut bytes);
        let mut from = Reader::new(&bytes);
        assert_eq!(AccessLogs::decode(&mut from), Ok(known));
        let (first, second) = bytes[4..].split_at(68);
        let swapped = [&bytes[..4], &second[..68], first, &second[68..]].concat();
        assert!(AccessLogs::decode(&mut Reader::new(&swapped)).is_err());
        assert!(Snapshot::decode(&bytes).is_err());
    }
}
