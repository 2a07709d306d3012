//! Whether one period can end after another: a minimum beyond a maximum, a changed maximum before the old one.
//!
//! Months have no fixed length and anchors lie apart, so two periods are compared as deadlines, for every day of four
//! years and the ends of those years. Facts about a customer may come at any time; only the last contact is known never
//! to lie before the event.

use super::rule::Term;
use super::{AnchorKind, Facts, Happened};
use crate::window::{Day, Period, Timestamp};

const FIRST_DAY: i32 = 20_454; // 2026-01-01
const DAYS: i32 = 1_461;

/// Whether there is a case in which `one` ends after `other`.
pub(super) fn may_exceed(one: &Term<'_>, other: &Term<'_>) -> bool {
    use AnchorKind::{Event, LastContact, YearEnd};
    let by_event = |term: &Term<'_>| matches!(term.anchor, Event | YearEnd);
    match (one.anchor, other.anchor) {
        (a, b) if a == b && a.is_of_customer() => exceeds(&from_event(one), &from_event(other)),
        (_, LastContact) if by_event(one) => exceeds(one, &from_event(other)),
        _ if by_event(one) && by_event(other) => exceeds(one, other),
        // What the two run from can lie apart in either direction, and by any time.
        _ => true,
    }
}

/// The same period from the event, as if what it runs from were the event.
fn from_event<'a>(term: &Term<'a>) -> Term<'a> {
    Term { anchor: AnchorKind::Event, zone: None, period: term.period }
}

fn exceeds(one: &Term<'_>, other: &Term<'_>) -> bool {
    let (least, most) = bounds(one);
    let (other_least, other_most) = bounds(other);
    if most < other_least {
        return false;
    }
    if least > other_most {
        return true;
    }
    let day = |number: i32| Day::from_number(number).map(Day::start);
    let days = (FIRST_DAY..FIRST_DAY + DAYS).filter_map(day);
    let year_ends = [one.zone, other.zone].into_iter().flatten().flat_map(|zone| {
        let ends = (0..4).filter_map(move |year| day(FIRST_DAY + year * 365 + 30));
        ends.map(|at| zone.year_end_plus(at, Period::default()))
    });
    // The first instant of a year, and the last of the one before.
    let turns = year_ends.flat_map(|at| [at, Timestamp::from_micros(at.as_micros() - 1)]);
    let end = |term: &Term<'_>, at| term.end(Happened::At(at), &Facts::NONE);
    days.chain(turns).any(|at| end(one, at) > end(other, at))
}

/// The fewest and the most days from the event to the end of `term`, rounded apart.
fn bounds(term: &Term<'_>) -> (u64, u64) {
    let (least, most) = term.period.bounds_in_days();
    match term.anchor {
        AnchorKind::YearEnd => (least.saturating_sub(2), most + 368),
        _ => (least, most),
    }
}
