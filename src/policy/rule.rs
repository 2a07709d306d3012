//! One rule: the streams it covers, its windows, its minimum and maximum, and what they run from.

use super::{Facts, Happened};
use crate::ident::Stream;
use crate::window::{Period, Timestamp, WindowLength, Zone};

/// What a period runs from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AnchorKind {
    /// The event of the record.
    #[default]
    Event,
    /// The end of the calendar year of the event, in the zone of the rule.
    YearEnd,
    /// The end of the relationship with the customer, once that is reported.
    RelationshipEnd,
    /// The last contact with the customer.
    LastContact,
    /// The end of the request that the record belongs to, once that is reported.
    RequestClosed,
}

impl AnchorKind {
    pub(super) const ALL: [AnchorKind; 5] = [
        AnchorKind::Event,
        AnchorKind::YearEnd,
        AnchorKind::RelationshipEnd,
        AnchorKind::LastContact,
        AnchorKind::RequestClosed,
    ];

    /// Its name in policies.
    pub const fn name(self) -> &'static str {
        match self {
            AnchorKind::Event => "event",
            AnchorKind::YearEnd => "year-end",
            AnchorKind::RelationshipEnd => "relationship-end",
            AnchorKind::LastContact => "last-contact",
            AnchorKind::RequestClosed => "request-closed",
        }
    }

    /// Whether it is a fact about the customer, and not of the record alone. Such periods end by row, the others by column.
    pub const fn is_of_customer(self) -> bool {
        !matches!(self, AnchorKind::Event | AnchorKind::YearEnd)
    }
}

/// A period and what it runs from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term<'a> {
    pub anchor: AnchorKind,
    /// Where years end; there for [`AnchorKind::YearEnd`].
    pub zone: Option<&'a Zone>,
    pub period: Period,
}

impl Term<'_> {
    /// When it ends for what `happened`, for the last of it where that is a window. None while the fact that it runs from
    /// is outstanding.
    pub fn end(&self, happened: Happened, facts: &Facts) -> Option<Timestamp> {
        // Never before the event itself, whichever of a window that may be: a request that was closed earlier is another
        // one, and so is a relationship that had ended.
        let from = |fact: Option<Timestamp>| fact.map(|at| at.max(happened.last()).plus(self.period));
        match (self.anchor, self.zone) {
            (AnchorKind::YearEnd, Some(zone)) => Some(zone.year_end_plus(happened.last(), self.period)),
            (AnchorKind::Event | AnchorKind::YearEnd, _) => Some(happened.plus(self.period)),
            (AnchorKind::RelationshipEnd, _) => from(facts.relationship_ended),
            (AnchorKind::RequestClosed, _) => from(facts.request_closed),
            (AnchorKind::LastContact, _) => from(facts.last_contact),
        }
    }
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place among the rules of the file, from zero.
    pub(super) index: usize,
    /// The line it begins in.
    pub(super) line: usize,
    pub(super) class: Option<Box<str>>,
    pub(super) jurisdiction: Option<Box<str>>,
    pub(super) window: WindowLength,
    pub(super) anchor: AnchorKind,
    pub(super) zone: Option<Zone>,
    pub(super) keep_at_least: Period,
    pub(super) keep_at_most: Option<Period>,
    pub(super) notice: Option<Period>,
    pub(super) basis: Option<Box<str>>,
    pub(super) dictionary: bool,
    pub(super) latest: bool,
}

impl Rule {
    /// Its place among the rules of the file, from zero: what a [`super::Duty`] or [`super::Limit`] names.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The line of the file that it begins in.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The class it covers; `None` is every class.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The jurisdiction it covers; `None` is every jurisdiction.
    pub fn jurisdiction(&self) -> Option<&str> {
        self.jurisdiction.as_deref()
    }

    /// The citation: why, in the operator's words.
    pub fn basis(&self) -> Option<&str> {
        self.basis.as_deref()
    }

    /// How long its windows are.
    pub fn window_length(&self) -> WindowLength {
        self.window
    }

    /// What its periods run from.
    pub fn anchor(&self) -> AnchorKind {
        self.anchor
    }

    /// Where its years end; there for [`AnchorKind::YearEnd`] alone.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// How long a record must be kept; no time at all is no duty.
    pub fn keep_at_least(&self) -> Period {
        self.keep_at_least
    }

    /// How long a record may be kept; `None` is for ever.
    pub fn keep_at_most(&self) -> Option<Period> {
        self.keep_at_most
    }

    /// How long before its maximum somebody is to be told.
    pub fn notice(&self) -> Option<Period> {
        self.notice
    }

    /// Its minimum, where it has one.
    pub(super) fn least(&self) -> Option<Term<'_>> {
        (!self.keep_at_least.is_zero()).then(|| self.term(self.keep_at_least))
    }

    /// Its maximum, where it has one.
    pub(super) fn most(&self) -> Option<Term<'_>> {
        self.keep_at_most.map(|period| self.term(period))
    }

    fn term(&self, period: Period) -> Term<'_> {
        Term { anchor: self.anchor, zone: self.zone.as_ref(), period }
    }

    pub(super) fn covers(&self, stream: &Stream) -> bool {
        let fits = |label: Option<&str>, wanted: &str| label.is_none_or(|label| label == wanted);
        fits(self.class(), stream.class()) && fits(self.jurisdiction(), stream.jurisdiction())
    }

    /// How many of its two labels are named: rules of the same rank have equal right.
    pub(super) fn rank(&self) -> u8 {
        u8::from(self.class.is_some()) + u8::from(self.jurisdiction.is_some())
    }
}
