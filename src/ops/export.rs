//! Export: everything that is shown of a customer, what the law says of it, and what is there and not shown.

use crate::sync::Arc;
use std::collections::VecDeque;

use crate::engine::Engine;
use crate::engine::visible::{Range, Sight};
use crate::error::Result;
use crate::ident::{CustomerId, RecordId};
use crate::ops::body::{Body, body};
use crate::ops::policy_explain;
use crate::ops::timeline::{Timeline, timeline};
use crate::ops::unshown::unshown;
use crate::record::Stored;
use crate::report::{CustomerLaw, Unshown};
use crate::window::Timestamp;

/// Everything about a customer that may be handed out: its records come out of it one after the other, in the order of
/// events. It holds what is in some windows at a time, never all of a long history.
pub struct Export {
    engine: Arc<Engine>,
    customer: CustomerId,
    made: Timestamp,
    law: CustomerLaw,
    unshown: Vec<Unshown>,
    ahead: VecDeque<Range>,
    current: Option<Timeline>,
}

/// Begins an export; `None` where nobody knows the customer.
///
/// # Errors
/// Damage in what has to be read.
pub fn export(engine: &Arc<Engine>, customer: &CustomerId) -> Result<Option<Export>> {
    let Some(law) = policy_explain::customer(engine, customer)? else { return Ok(None) };
    let unshown = unshown(engine, customer, &law)?;
    let ahead = ranges(&law);
    let (engine, customer) = (engine.clone(), customer.clone());
    Ok(Some(Export { made: engine.now(), engine, customer, law, unshown, ahead, current: None }))
}

impl Export {
    /// When it was begun.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// What the law says of the customer, stream by stream.
    pub fn law(&self) -> &CustomerLaw {
        &self.law
    }

    /// What is there of the customer and not shown, and why.
    pub fn unshown(&self) -> &[Unshown] {
        &self.unshown
    }

    /// The body of one of its records, to be read as a stream.
    ///
    /// # Errors
    /// As [`crate::Store::body`].
    pub fn body(&self, id: RecordId) -> Result<Option<Body>> {
        body(&self.engine, &self.customer, id, Sight::Ordinary)
    }
}

impl Iterator for Export {
    type Item = Result<Stored>;

    /// After an error it is over: what was handed out is not everything.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut().and_then(Iterator::next) {
                Some(Ok(stored)) => return Some(Ok(stored)),
                Some(Err(error)) => {
                    self.ahead.clear();
                    self.current = None;
                    return Some(Err(error));
                }
                None => {}
            }
            let range = self.ahead.pop_front()?;
            match timeline(&self.engine, &self.customer, range) {
                Ok(timeline) => self.current = Some(timeline),
                Err(error) => {
                    self.ahead.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Export({} ranges ahead)", self.ahead.len())
    }
}

/// All of time, cut where windows of the customer's end and no other goes on: states that were carried forward happened
/// before any window that is left.
fn ranges(law: &CustomerLaw) -> VecDeque<Range> {
    let mut windows: Vec<_> =
        law.streams.iter().flat_map(|stream| &stream.places).map(|place| place.partition.window).collect();
    windows.sort_unstable_by_key(|window| (window.start(), window.end()));
    let mut cuts: Vec<Timestamp> = Vec::new();
    for window in windows {
        match cuts.last_mut() {
            Some(end) if window.start() < *end => *end = window.end().max(*end),
            _ => cuts.push(window.end()),
        }
    }
    cuts.pop(); // The last range has no end.
    let mut ranges: VecDeque<Range> = VecDeque::new();
    let mut from = None;
    for cut in cuts.into_iter().map(Some).chain([None]) {
        ranges.push_back(match (from, cut) {
            (None, None) => Range::new(..),
            (None, Some(until)) => Range::new(..until),
            (Some(from), None) => Range::new(from..),
            (Some(from), Some(until)) => Range::new(from..until),
        });
        from = cut;
    }
    ranges
}
