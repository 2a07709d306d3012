//! What a reader may see of a customer: which partitions to look into, and which event times are still shown.

use crate::sync::Arc;
use std::ops::{Bound, RangeBounds};

use super::Engine;
use super::partitions::Partition;
use crate::keyring::CustomerEntry;
use crate::policy::Policy;
use crate::window::Timestamp;

/// A range of event times, both ends resolved, in microseconds: from the first to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    from: i64,
    until: i64,
}

impl Range {
    /// From any range of timestamps.
    pub fn new(range: impl RangeBounds<Timestamp>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(at) => at.as_micros(),
            Bound::Excluded(at) => at.as_micros() + 1,
            Bound::Unbounded => i64::MIN,
        };
        let until = match range.end_bound() {
            Bound::Included(at) => at.as_micros() + 1,
            Bound::Excluded(at) => at.as_micros(),
            Bound::Unbounded => i64::MAX,
        };
        Range { from, until }
    }

    /// Whether `at` lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at.as_micros())
    }

    /// Whether any instant of the partition's window lies in it.
    pub fn meets(&self, partition: &Partition) -> bool {
        let window = &partition.id.window;
        window.start().as_micros() < self.until && self.from < window.end().as_micros()
    }
}

/// The partitions in which `customer` may have records that anybody is shown: per stream, those from its first window to
/// its last year that have not expired.
pub fn covered(engine: &Engine, customer: &CustomerEntry) -> Vec<Arc<Partition>> {
    let mut covered = covered_or_held(engine, customer);
    covered.retain(|partition| partition.key.is_some());
    covered
}

/// The same, and those that have expired and of which held cells are left.
pub fn covered_or_held(engine: &Engine, customer: &CustomerEntry) -> Vec<Arc<Partition>> {
    let streams = customer.streams.iter().flat_map(|used| engine.partitions.of_stream(&used.stream));
    streams.filter(|partition| covers(customer, partition)).collect()
}

/// Whether `customer` may have records in `partition`.
pub fn covers(customer: &CustomerEntry, partition: &Partition) -> bool {
    let window = &partition.id.window;
    customer.streams.iter().any(|used| {
        used.stream == partition.id.stream && window.end() > used.first_day.start() && window.year() <= used.last_year
    })
}

/// Which event times of a partition are still shown: those whose anchor plus the maximum lies ahead of `now`.
pub fn shown<'a>(policy: &'a Policy, partition: &Partition, now: Timestamp) -> impl Fn(Timestamp) -> bool + use<'a> {
    let rule = policy.rule(&partition.id.stream);
    move |at| rule.and_then(|rule| rule.deadline_of(at)).is_none_or(|deadline| now < deadline)
}
