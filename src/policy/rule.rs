//! One rule: the streams it covers, its windows, its minimum and maximum.

use crate::ident::Stream;
use crate::window::{Period, Timestamp, Window, WindowLength};

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) class: Option<Box<str>>,
    pub(super) jurisdiction: Option<Box<str>>,
    pub(super) window: WindowLength,
    pub(super) keep_at_least: Period,
    pub(super) keep_at_most: Option<Period>,
    pub(super) basis: Option<Box<str>>,
    pub(super) dictionary: bool,
}

impl Rule {
    /// The class it covers; `None` is every class.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The jurisdiction it covers; `None` is every jurisdiction.
    pub fn jurisdiction(&self) -> Option<&str> {
        self.jurisdiction.as_deref()
    }

    /// Why, in the operator's words.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law explains and reports by it"))]
    pub fn basis(&self) -> Option<&str> {
        self.basis.as_deref()
    }

    /// Whether its streams may have dictionaries: what many of their customers share. Where customer ids are not persons,
    /// counting them proves nothing.
    pub fn dictionary(&self) -> bool {
        self.dictionary
    }

    /// How long the windows of its streams are.
    pub fn window_length(&self) -> WindowLength {
        self.window
    }

    /// How long a record must be kept, counted from its event.
    #[expect(dead_code, reason = "the issue of the law explains and reports by it")]
    pub fn keep_at_least(&self) -> Period {
        self.keep_at_least
    }

    /// How long a record may be kept, counted from its event; `None` is for ever.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law explains and reports by it"))]
    pub fn keep_at_most(&self) -> Option<Period> {
        self.keep_at_most
    }

    /// The window that an event `at` falls into.
    pub fn window_of(&self, at: Timestamp) -> Window {
        Window::containing(at, self.window)
    }

    /// The first instant at which the duty to keep a record of `at` is over.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law explains and reports by it"))]
    pub fn duty_until(&self, at: Timestamp) -> Timestamp {
        at.plus(self.keep_at_least)
    }

    /// The instant from which a record of `at` is hidden from readers: exactly event plus maximum. `None` is never.
    pub fn deadline_of(&self, at: Timestamp) -> Option<Timestamp> {
        self.keep_at_most.map(|period| at.plus(period))
    }

    /// The instant from which a partition may die: the window's end plus the maximum, and never before the last of its
    /// records is hidden. `None` is never.
    pub fn partition_deadline(&self, window: &Window) -> Option<Timestamp> {
        let period = self.keep_at_most?;
        // Where the calendar shortens a date, the next day can come to the same date and so to an earlier instant:
        // a month from noon of 30 January ends at noon of 28 February, a month from 31 January at its midnight.
        let last_day = window.end().plus_seconds(-1).day();
        let after_its_last_day = last_day.start().plus(period).plus_seconds(24 * 60 * 60);
        Some(window.end().plus(period).max(after_its_last_day))
    }

    pub(super) fn covers(&self, stream: &Stream) -> bool {
        let fits = |label: Option<&str>, wanted: &str| label.is_none_or(|label| label == wanted);
        fits(self.class(), stream.class()) && fits(self.jurisdiction(), stream.jurisdiction())
    }

    /// Class weighs more than jurisdiction.
    pub(super) fn specificity(&self) -> u8 {
        2 * u8::from(self.class.is_some()) + u8::from(self.jurisdiction.is_some())
    }
}
