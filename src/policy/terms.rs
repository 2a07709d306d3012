//! What the policy says of one stream: the one rule that decides about it, or the two that bind it together.
//!
//! A rule that names class and jurisdiction beats those that name one of them, and those beat the one that names neither.
//! Where a rule for the class and a rule for the jurisdiction are the best there are, both bind: the longest minimum and
//! the shortest maximum, compared as deadlines of the record in question and never as periods.

use super::Rule;
use crate::window::{Period, Timestamp, Window, WindowLength};

/// What is known of a customer that periods may run from. Facts, never deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the relationship ended.
    pub relationship_ended: Option<Timestamp>,
    /// When the request was closed.
    pub request_closed: Option<Timestamp>,
    /// When the last contact was.
    pub last_contact: Option<Timestamp>,
}

impl Facts {
    /// Nothing is known: what is asked about is a column, whoever its customers are.
    pub const NONE: Facts = Facts { relationship_ended: None, request_closed: None, last_contact: None };
}

/// What is asked about: one event, or all that may have happened in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// One event.
    At(Timestamp),
    /// Anything in a window: what is true of the last of it is answered.
    Within(Window),
}

impl Happened {
    pub(super) fn last(self) -> Timestamp {
        match self {
            Happened::At(at) => at,
            Happened::Within(window) => Timestamp::from_micros(window.end().as_micros() - 1),
        }
    }

    /// The event plus `period`; for a window its end plus the period, and never before that of any of its events.
    pub(super) fn plus(self, period: Period) -> Timestamp {
        match self {
            Happened::At(at) => at.plus(period),
            Happened::Within(window) => {
                // Where the calendar shortens a date, the next day can come to the same date and so to an earlier
                // instant: a month from noon of 30 January ends at noon of 28 February, from 31 January at its midnight.
                let last_day = window.end().plus_seconds(-1).day();
                let after_its_last_day = last_day.start().plus(period).plus_seconds(24 * 60 * 60);
                window.end().plus(period).max(after_its_last_day)
            }
        }
    }
}

/// A minimum that binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The first instant at which it is over; none while the fact that it runs from is outstanding.
    pub until: Option<Timestamp>,
    /// The rule that says so, by its place in the file.
    pub rule: usize,
}

impl Duty {
    /// Whether it binds at `now`.
    pub fn binds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A maximum that binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The instant from which it is over.
    pub at: Timestamp,
    /// The rule that says so, by its place in the file.
    pub rule: usize,
    /// When somebody is to be told.
    pub notice: Option<Timestamp>,
}

/// What binds one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    pub(super) first: &'a Rule,
    pub(super) second: Option<&'a Rule>,
}

impl<'a> Terms<'a> {
    /// The rules that bind it: one, or two of the same rank.
    pub fn rules(&self) -> impl Iterator<Item = &'a Rule> + use<'a> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// How long the windows are: the shorter, where two rules bind.
    pub fn window_length(&self) -> WindowLength {
        self.second.map_or(self.first.window, |second| second.window.min(self.first.window))
    }

    /// Whether there may be dictionaries: what many customers share. Where customer ids are not persons, counting them
    /// proves nothing. One rule that says no is enough.
    pub fn dictionary(&self) -> bool {
        self.rules().all(|rule| rule.dictionary)
    }

    /// Whether the stream is state: readers are to see the newest record of each customer. One rule that says so is enough.
    pub fn latest(&self) -> bool {
        self.rules().any(|rule| rule.latest)
    }

    /// Whether a maximum runs from a fact about the customer: the column then never ends it, a schedule of the row does.
    pub fn ends_by_row(&self) -> bool {
        self.rules().any(|rule| rule.most().is_some_and(|most| most.anchor.is_of_customer()))
    }

    /// The window that an event `at` falls into.
    pub fn window_of(&self, at: Timestamp) -> Window {
        Window::containing(at, self.window_length())
    }

    /// The duty to keep what `happened`: the one that ends last. None where there is none. A duty whose fact is outstanding
    /// ends after every other.
    pub fn duty(&self, happened: Happened, facts: &Facts) -> Option<Duty> {
        let duties = self.rules().filter_map(|rule| {
            let least = rule.least()?;
            Some(Duty { until: least.end(happened, facts), rule: rule.index })
        });
        duties.reduce(|a, b| if b.until.is_none_or(|b| a.until.is_some_and(|a| a < b)) { b } else { a })
    }

    /// The maximum for what `happened`: the one that ends first. None where there is none, or where none has begun to run.
    pub fn limit(&self, happened: Happened, facts: &Facts) -> Option<Limit> {
        let limits = self.rules().filter_map(|rule| Some((rule.most()?.end(happened, facts)?, rule)));
        let (at, rule) = limits.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
        Some(Limit { at, rule: rule.index, notice: rule.notice.map(|before| at.minus(before)) })
    }

    /// The instant from which a partition may die, whoever its customers are: never before the last of its records is
    /// hidden, or, where the newest record of each customer counts, carried forward. None is never, or not by column.
    pub fn partition_deadline(&self, window: &Window) -> Option<Timestamp> {
        [self.admission_deadline(window), self.states_deadline(*window)].into_iter().flatten().min()
    }

    /// The instant from which nothing more comes into a partition: its maximum, whoever its customers are. What is state
    /// may come late, and is carried forward.
    pub fn admission_deadline(&self, window: &Window) -> Option<Timestamp> {
        self.limit(Happened::Within(*window), &Facts::NONE).map(|limit| limit.at)
    }

    /// When a window of states may die, those that count having been carried forward: its end plus the maximum, though
    /// that runs from a fact about each customer, and not before the end of any duty. A duty that waits for such a fact is
    /// one to keep every state there was: then never.
    fn states_deadline(&self, window: Window) -> Option<Timestamp> {
        let within = Happened::Within(window);
        let most = self.rules().filter_map(Rule::keep_at_most).map(|most| within.plus(most)).min();
        let most = most.filter(|_| self.latest())?;
        match self.duty(within, &Facts::NONE) {
            None => Some(most),
            Some(duty) => duty.until.map(|until| until.max(most)),
        }
    }
}
