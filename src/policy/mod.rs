//! Law as data: which stream is kept how long, and the verdict on one record. Pure: text and times go in, an answer
//! comes out; no clock, no file. The only room that imports `toml` and `serde`.
//!
//! A rule covers streams by class and jurisdiction, `*` standing for any. The most specific rule alone decides about a
//! stream: class and jurisdiction, then class, then jurisdiction, then neither. Rules never add up, and what no rule
//! covers is refused.

mod hold;
mod parse;
mod rule;
#[cfg(test)]
mod tests;

pub use hold::HoldScope;
pub use rule::Rule;

use crate::error::{RefusalReason, Result};
use crate::ident::Stream;
use crate::window::{Timestamp, WindowLength};

/// The longest policy text, in bytes.
pub const POLICY_LIMIT: usize = 1 << 20;

/// How far ahead of the clock an event may lie, in seconds.
pub const AHEAD_LIMIT_SECONDS: i64 = 24 * 60 * 60;

/// The policy of a store that was given none: every stream, monthly windows, no maximum.
pub const KEEP_EVERYTHING: &str = "\
# Everything is kept for ever, in monthly partitions.
[[rule]]
class = \"*\"
jurisdiction = \"*\"
window = \"month\"
";

/// The rules in force, checked against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the line: not TOML, an unknown key, a wrong value, a minimum beyond its
    /// maximum, two rules for the same streams, labels that differ in case only, no rule at all.
    pub fn parse(text: &str) -> Result<Policy> {
        parse::parse(text).map(|rules| Policy { rules })
    }

    /// The rules in the order of the file.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law explains and reports by it"))]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that decides about `stream`: the most specific that covers it.
    pub fn rule(&self, stream: &Stream) -> Option<&Rule> {
        // Equally specific rules never cover the same stream, so the maximum is unique.
        self.rules.iter().filter(|rule| rule.covers(stream)).max_by_key(|rule| rule.specificity())
    }

    /// Whether a record of `stream` that happened `at` may be written `now`, and into windows of which length.
    ///
    /// # Errors
    /// [`RefusalReason::NoRule`] where nothing covers the stream, [`RefusalReason::Future`] where the event lies more
    /// than 24 hours ahead, [`RefusalReason::Expired`] where the deadline of its partition has passed.
    pub fn admits(&self, stream: &Stream, at: Timestamp, now: Timestamp) -> Result<WindowLength, RefusalReason> {
        let rule = self.rule(stream).ok_or(RefusalReason::NoRule)?;
        if at > now.plus_seconds(AHEAD_LIMIT_SECONDS) {
            return Err(RefusalReason::Future);
        }
        match rule.partition_deadline(&rule.window_of(at)) {
            Some(deadline) if deadline <= now => Err(RefusalReason::Expired),
            _ => Ok(rule.window_length()),
        }
    }
}
