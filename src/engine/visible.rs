//! What a reader may see of a customer: which partitions to look into, and which event times are still shown.

use crate::sync::Arc;
use std::ops::{Bound, RangeBounds};

use super::Engine;
use super::partitions::Partition;
use crate::keyring::{CustomerEntry, StreamUse};
use crate::policy::{Facts, Happened, Policy};
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

    /// Whether everything lies in it.
    pub fn is_whole(&self) -> bool {
        (self.from, self.until) == (i64::MIN, i64::MAX)
    }

    /// Whether `at` lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at.as_micros())
    }

    /// Whether any instant of the partition's window lies in it.
    pub fn meets(&self, partition: &Partition) -> bool {
        partition.id.window.start().as_micros() < self.until && self.from < partition.end.as_micros()
    }
}

/// The partitions in which `customer` may have records that anybody is shown: per stream, those from its first window to
/// its last year that have not expired.
pub fn covered(engine: &Engine, customer: &CustomerEntry) -> Vec<Arc<Partition>> {
    partitions(engine, customer, |partition| partition.key.is_some())
}

/// The same, and those that have expired and of which held cells are left.
pub fn covered_or_held(engine: &Engine, customer: &CustomerEntry) -> Vec<Arc<Partition>> {
    partitions(engine, customer, |_| true)
}

fn partitions(engine: &Engine, customer: &CustomerEntry, wanted: fn(&Partition) -> bool) -> Vec<Arc<Partition>> {
    let mut covered = Vec::new();
    for used in &customer.streams {
        engine.partitions.visit_stream(&used.stream, &mut |partition| {
            if wanted(partition) && within(used, partition) {
                covered.push(partition.clone());
            }
        });
    }
    covered
}

/// Whether `customer` may have records in `partition`.
pub fn covers(customer: &CustomerEntry, partition: &Partition) -> bool {
    customer.streams.iter().any(|used| used.stream == partition.id.stream && within(used, partition))
}

/// Whether a window of the stream lies within what was used of it.
fn within(used: &StreamUse, partition: &Partition) -> bool {
    let window = &partition.id.window;
    let begun = window.first_day() >= used.first_day || partition.end > used.first_day.start();
    begun && partition.year <= used.last_year
}

/// With whose eyes a customer is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Anybody's: what has expired is hidden, and what an erasure has left. Of what was amended it is the last version, of
    /// states the newest.
    Ordinary,
    /// Anybody's who may see the history: the same, in every version that it had.
    History,
    /// Theirs who serve a hold: what it keeps, whatever has expired.
    Held,
    /// Theirs who serve a duty: what an erasure has left because a duty or a hold keeps it.
    Restricted,
}

/// Which event times of a partition are still shown: those whose anchor plus the maximum lies ahead of `now`. What the
/// period of a stream runs from may be a fact about the customer.
pub fn shown<'a>(
    policy: &'a Policy,
    partition: &Partition,
    facts: &Facts,
    now: Timestamp,
) -> impl Fn(Timestamp) -> bool + use<'a> {
    let (terms, facts) = (policy.terms(&partition.id.stream), *facts);
    move |at| terms.and_then(|terms| terms.limit(Happened::At(at), &facts)).is_none_or(|limit| now < limit.at)
}
