//! What a legal hold on a customer covers.

use super::Policy;
use crate::ident::{PartitionId, Stream};
use crate::window::Timestamp;

/// The part of a customer's records that a hold keeps: all of them, unless narrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldScope {
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Only events at or after this time.
    pub from: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
}

impl HoldScope {
    /// Whether there is any time between its two ends.
    pub fn is_possible(&self) -> bool {
        match (self.from, self.until) {
            (Some(from), Some(until)) => from < until,
            _ => true,
        }
    }

    /// Whether an event at `at` in `stream` is held.
    pub fn contains(&self, stream: &Stream, at: Timestamp, policy: &Policy) -> bool {
        self.is_on(stream, policy, self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until))
    }

    /// Whether any event of a partition may be held. A cell is held whole where any of its window is.
    pub fn meets(&self, partition: &PartitionId, policy: &Policy) -> bool {
        let window = &partition.window;
        let is_within =
            self.from.is_none_or(|from| from < window.end()) && self.until.is_none_or(|until| window.start() < until);
        self.is_on(&partition.stream, policy, is_within)
    }

    /// Of states every one is held, within the time or not: each is true until the next one came, and what is carried
    /// forward stands in a later window than it happened in.
    fn is_on(&self, stream: &Stream, policy: &Policy, is_within: bool) -> bool {
        self.stream.as_ref().is_none_or(|one| one == stream) && (is_within || policy.is_state(stream))
    }
}
