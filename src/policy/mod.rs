//! Law as data: which stream is kept how long, and the verdict on one record. Pure: text and times go in, an answer
//! comes out; no clock, no file. The only room that imports `toml` and `serde`.
//!
//! A rule covers streams by class and jurisdiction, `*` standing for any. [`Policy::terms`] tells what binds a stream:
//! the rule that names both, else those that name one of them, together, else the one that names neither; what no rule
//! covers is refused. [`verdict`] is the one place where minimum, maximum, holds and requests for erasure meet: whoever
//! destroys, hides or restricts asks it, and whoever explains or reports does too.

mod change;
mod classify;
mod conflict;
mod hold;
mod parse;
mod rule;
mod terms;
#[cfg(test)]
mod tests;
mod verdict;

pub use change::{Overhang, Shortening, access_log_shortening, overhangs, shortenings};
pub use hold::HoldScope;
pub use rule::{AnchorKind, Rule};
pub use terms::{Duty, Facts, Happened, Limit, Terms};
pub use verdict::{Question, Verdict, Why, verdict};

use classify::ClassRule;

use crate::error::{Error, ErrorKind, RefusalReason, Result};
use crate::ident::Stream;
use crate::window::{Timestamp, Window, WindowLength};

/// The longest policy text, in bytes.
pub const POLICY_LIMIT: usize = 1 << 20;

/// The most rules of a policy.
pub const RULES_LIMIT: usize = 1_000;

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

/// The class whose rule says how long the store's access logs are kept, and their jurisdiction.
const ACCESS_LOG: &str = "access-log";
const ACCESS_LOG_PLACE: &str = "STORE";

fn access_log_stream() -> Stream {
    Stream::new(ACCESS_LOG, ACCESS_LOG_PLACE).expect("both are labels")
}

/// The rules in force, checked against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    classes: Vec<ClassRule>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the line: not TOML, an unknown key, a wrong value, a minimum beyond its
    /// maximum or that of a rule which binds together with it, two rules for the same labels, labels that differ in case
    /// only, no rule at all.
    pub fn parse(text: &str) -> Result<Policy> {
        parse::parse(text)
    }

    /// Reads a policy that is to come into force. What a store may have in force already, and opens with, is refused here
    /// where it has no effect.
    ///
    /// # Errors
    /// As [`Policy::parse`]; [`crate::ErrorKind::Invalid`], naming the line, for access logs of a jurisdiction.
    pub fn propose(text: &str) -> Result<Policy> {
        let policy = Policy::parse(text)?;
        let is_idle = |rule: &&Rule| {
            rule.class() == Some(ACCESS_LOG) && rule.jurisdiction().is_some_and(|place| place != ACCESS_LOG_PLACE)
        };
        match policy.rules.iter().find(is_idle) {
            None => Ok(policy),
            Some(rule) => {
                let what = format!("the policy is wrong in line {}: access logs are the store's own", rule.line);
                let hint = format!("write jurisdiction = \"*\" or \"{ACCESS_LOG_PLACE}\" there");
                Err(Error::new(ErrorKind::Invalid, what).hint(hint))
            }
        }
    }

    /// The rules in the order of the file: what a [`Duty`] or [`Limit`] names by place.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What binds `stream`; none where no rule covers it, or where it has no class.
    pub fn terms(&self, stream: &Stream) -> Option<Terms<'_>> {
        if !stream.is_classed() {
            return None;
        }
        let (mut best, mut second) = (None::<&Rule>, None);
        for rule in self.rules.iter().filter(|rule| rule.covers(stream)) {
            match best.map(|best| best.rank().cmp(&rule.rank())) {
                None | Some(std::cmp::Ordering::Less) => (best, second) = (Some(rule), None),
                // The same labels never stand twice, so that there are two at most.
                Some(std::cmp::Ordering::Equal) => second = Some(rule),
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        best.map(|first| Terms { first, second })
    }

    /// What binds the store's access logs: a rule for their class, and never one for every class.
    fn access_log_terms(&self) -> Option<Terms<'_>> {
        self.terms(&access_log_stream()).filter(|terms| terms.rules().any(|rule| rule.class() == Some(ACCESS_LOG)))
    }

    /// The instant from which the access logs of `month` may go; none is never.
    pub fn access_log_deadline(&self, month: &Window) -> Option<Timestamp> {
        self.access_log_terms().and_then(|terms| terms.partition_deadline(month))
    }

    /// Whether any period runs from `anchor`.
    pub fn runs_from(&self, anchor: AnchorKind) -> bool {
        self.rules.iter().any(|rule| rule.anchor() == anchor)
    }

    /// Whether any stream may end by row: its maximum runs from a fact about the customer.
    pub fn ends_by_row(&self) -> bool {
        self.rules.iter().any(|rule| rule.anchor().is_of_customer() && rule.keep_at_most().is_some())
    }

    /// Whether `stream` is state: of each customer the newest record counts.
    pub fn is_state(&self, stream: &Stream) -> bool {
        self.terms(stream).is_some_and(|terms| terms.latest())
    }

    /// Whether `stream` may have dictionaries.
    pub fn dictionary(&self, stream: &Stream) -> bool {
        self.terms(stream).is_some_and(|terms| terms.dictionary())
    }

    /// Whether a record of `stream` that happened `at` may be written `now`, and into windows of which length.
    ///
    /// # Errors
    /// [`RefusalReason::Unclassed`] where nothing has given it a class, [`RefusalReason::NoRule`] where nothing covers the
    /// stream, [`RefusalReason::Future`] where the event lies more than 24 hours ahead, [`RefusalReason::Expired`] where
    /// the deadline of its partition has passed.
    pub fn admits(&self, stream: &Stream, at: Timestamp, now: Timestamp) -> Result<WindowLength, RefusalReason> {
        if !stream.is_classed() {
            return Err(RefusalReason::Unclassed);
        }
        let terms = self.terms(stream).ok_or(RefusalReason::NoRule)?;
        if at > now.plus_seconds(AHEAD_LIMIT_SECONDS) {
            return Err(RefusalReason::Future);
        }
        match terms.admission_deadline(&terms.window_of(at)) {
            Some(deadline) if deadline <= now => Err(RefusalReason::Expired),
            _ => Ok(terms.window_length()),
        }
    }

    /// The class of a body of JSON: that of the first rule of categorisation that fits.
    pub fn class_of_json(&self, json: &[u8]) -> Option<&str> {
        let json = std::str::from_utf8(json).ok()?;
        self.classes.iter().find(|rule| rule.fits_json(json)).map(|rule| &*rule.class)
    }

    /// The class of a body of text.
    pub fn class_of_text(&self, text: &[u8]) -> Option<&str> {
        let text = std::str::from_utf8(text).ok()?;
        self.classes.iter().find(|rule| rule.fits_text(text)).map(|rule| &*rule.class)
    }
}
