//! What a new policy changes: periods that become shorter, and windows that reach far beyond their maximum.

use super::conflict::may_exceed;
use super::{AnchorKind, Facts, Happened, Policy, Rule, Terms};
use crate::ident::Stream;
use crate::window::{Period, Timestamp, Window, WindowLength};

/// A stream for which a new policy is shorter than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortening {
    /// The stream.
    pub stream: Stream,
    /// Whether its records may go earlier than before: a maximum that can end earlier.
    pub maximum: bool,
    /// Whether the duty to keep them can end earlier than before.
    pub minimum: bool,
}

/// Those of `streams` for which `new` is shorter than `old` in some case.
pub fn shortenings(old: &Policy, new: &Policy, streams: impl Iterator<Item = Stream>) -> Vec<Shortening> {
    streams.filter_map(|stream| shortening(old.terms(&stream), new.terms(&stream), stream)).collect()
}

/// Whether `new` keeps the store's access logs for a shorter time than `old`.
pub fn access_log_shortening(old: &Policy, new: &Policy) -> Option<Shortening> {
    shortening(old.access_log_terms(), new.access_log_terms(), super::access_log_stream())
}

fn shortening(before: Option<Terms<'_>>, after: Option<Terms<'_>>, stream: Stream) -> Option<Shortening> {
    let is_state = |terms: Option<Terms<'_>>| terms.is_some_and(|terms| terms.latest());
    // Windows of states go by column, whatever the maximum runs from.
    let becomes_state = is_state(after) && !is_state(before) && most(after).next().is_some();
    let maximum = becomes_state || most(after).any(|after| most(before).all(|before| may_exceed(&before, &after)));
    let minimum = least(before).any(|before| least(after).all(|after| may_exceed(&before, &after)));
    (maximum || minimum).then_some(Shortening { stream, maximum, minimum })
}

fn most<'a>(terms: Option<Terms<'a>>) -> impl Iterator<Item = super::rule::Term<'a>> {
    terms.into_iter().flat_map(|terms| terms.rules()).filter_map(Rule::most)
}

fn least<'a>(terms: Option<Terms<'a>>) -> impl Iterator<Item = super::rule::Term<'a>> {
    terms.into_iter().flat_map(|terms| terms.rules()).filter_map(Rule::least)
}

/// How long records of a rule can outlive their maximum, hidden, because their window is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overhang {
    /// The line of the rule.
    pub line: usize,
    /// The class it covers; `None` is every class.
    pub class: Option<String>,
    /// The jurisdiction it covers; `None` is every jurisdiction.
    pub jurisdiction: Option<String>,
    /// The length of its windows.
    pub window: WindowLength,
    /// The maximum.
    pub keep_at_most: Period,
    /// The overhang: days from the earliest maximum of a record to the end of its window's, at most.
    pub days: u64,
    /// Whether that is longer than a twelfth of the maximum.
    pub long: bool,
}

/// The overhang of every rule whose periods end by column, each by itself.
pub fn overhangs(policy: &Policy) -> Vec<Overhang> {
    let by_column = policy.rules().iter().filter(|rule| !rule.anchor().is_of_customer());
    let overhang = |rule: &Rule| {
        let keep_at_most = rule.keep_at_most()?;
        let seconds = seconds(rule)?;
        let waits_a_year = rule.anchor() == AnchorKind::YearEnd && seconds > 0;
        let window = if waits_a_year { WindowLength::Year } else { rule.window_length() };
        Some(Overhang {
            line: rule.line(),
            class: rule.class().map(str::to_owned),
            jurisdiction: rule.jurisdiction().map(str::to_owned),
            window: rule.window_length(),
            keep_at_most,
            days: seconds.div_ceil(86_400),
            long: seconds > 0 && is_long(window, keep_at_most),
        })
    };
    by_column.filter_map(overhang).collect()
}

const JANUARY: Timestamp = Timestamp::from_micros(1_767_225_600_000_000); // 2026-01-01

/// From the maximum of a record at the beginning of a window to that of the window, over the windows of a year.
fn seconds(rule: &Rule) -> Option<u64> {
    let most = rule.most()?;
    let (mut at, mut longest) = (JANUARY, 0);
    for _ in 0..366 {
        let window = Window::containing(at, rule.window_length());
        let record = most.end(Happened::At(window.start()), &Facts::NONE)?;
        let column = most.end(Happened::Within(window), &Facts::NONE)?;
        longest = longest.max(column.as_micros().saturating_sub(record.as_micros()) / 1_000_000);
        at = window.end();
    }
    u64::try_from(longest).ok()
}

/// Whether twelve windows are longer than `most`, counted from a January.
fn is_long(window: WindowLength, most: Period) -> bool {
    let after_twelve = (0..12).fold(JANUARY, |at, _| at.plus(window.period()));
    after_twelve > JANUARY.plus(most)
}
