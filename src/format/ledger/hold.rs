//! Legal holds as the ledger tells them: whom they concern, by subject number, and what of them. The matter and the
//! reason stand in the keyring alone.

use std::collections::BTreeMap;

use super::super::bytes::{Malformed, Reader, Writer};
use super::act::{put_maybe_subject, put_stream, put_time, take_maybe_subject, take_stream, take_time};
use super::fact::{put_many, take_many};
use crate::ident::{PartitionId, SubjectNumber};
use crate::policy::{HoldScope, Policy};

/// A hold on one customer, or on everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// On whom; none is on everybody.
    pub subject: Option<SubjectNumber>,
    /// On what of them.
    pub scope: HoldScope,
    /// The numbers of the latest acts before it that had let go of what it would have kept, or may have, ascending.
    pub after: Vec<u64>,
}

/// The holds that stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// By number, from one.
    pub standing: BTreeMap<u64, Hold>,
    /// The highest number ever given; zero before the first.
    pub given: u64,
}

impl Holds {
    /// The holds on a customer, those on everybody included.
    pub fn on<'a>(&'a self, subject: &'a SubjectNumber) -> impl Iterator<Item = (u64, &'a Hold)> {
        let holds = self.standing.iter().map(|(number, hold)| (*number, hold));
        holds.filter(move |(_, hold)| hold.concerns(subject))
    }

    /// The holds that keep something of a partition.
    pub fn over<'a>(&'a self, partition: &'a PartitionId, policy: &'a Policy) -> impl Iterator<Item = (u64, &'a Hold)> {
        let holds = self.standing.iter().map(|(number, hold)| (*number, hold));
        holds.filter(move |(_, hold)| hold.scope.meets(partition, policy))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let standing: Vec<_> = self.standing.iter().collect();
        put_many(out, &standing, |out, (number, hold)| {
            out.put_u64(**number);
            hold.encode(out);
        });
        out.put_u64(self.given);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut holds = Holds::default();
        for (number, hold) in take_many(from, |from| Ok((from.u64()?, Hold::decode(from)?)))? {
            if number <= holds.standing.last_key_value().map_or(0, |(last, _)| *last) {
                return Err(Malformed("the holds of a snapshot are out of order"));
            }
            holds.standing.insert(number, hold);
        }
        holds.given = from.u64()?;
        Ok(holds)
    }
}

impl Hold {
    /// Whether it is on this customer, or on everybody.
    pub fn concerns(&self, subject: &SubjectNumber) -> bool {
        self.subject.is_none_or(|one| one == *subject)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_maybe_subject(out, self.subject.as_ref());
        put_many(out, self.scope.stream.as_slice(), put_stream);
        put_time(out, self.scope.from);
        put_time(out, self.scope.until);
        put_many(out, &self.after, |out, act| out.put_u64(*act));
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let subject = take_maybe_subject(from)?;
        let mut stream = take_many(from, take_stream)?;
        if stream.len() > 1 {
            return Err(Malformed("a hold names more than one stream"));
        }
        let scope = HoldScope { stream: stream.pop(), from: take_time(from)?, until: take_time(from)? };
        let after = take_many(from, |from| from.u64())?;
        match scope.is_possible() && after.is_sorted_by(|a, b| a < b) {
            true => Ok(Hold { subject, scope, after }),
            false => Err(Malformed("a hold ends before it begins, or acts are out of order")),
        }
    }
}
