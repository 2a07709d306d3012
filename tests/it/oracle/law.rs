//! The oracle's half that reads policies: when a duty binds and when a maximum is over, written from docs/policy.md. It shares
//! no code with the engine: its calendar and its zones are those of `jiff`, its parser is that of `toml`.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, civil};

/// Class and jurisdiction.
pub type Stream = (String, String);

/// What periods run from, of one customer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub ended: Option<Timestamp>,
    pub closed: Option<Timestamp>,
    /// None of nobody in particular: a column has no last contact.
    pub contact: Option<Timestamp>,
}

/// What is asked about: a record, or all that may stand in a window, from its start to before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Event(Timestamp),
    Window(Timestamp, Timestamp),
}

#[derive(Clone, Debug)]
struct Rule {
    class: String,
    jurisdiction: String,
    window: String,
    anchor: String,
    zone: Option<TimeZone>,
    least: Option<Span>,
    most: Option<Span>,
    latest: bool,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Law(Vec<Rule>);

fn utc(at: Timestamp, period: Span) -> Timestamp {
    at.to_zoned(TimeZone::UTC).checked_add(period).unwrap().timestamp()
}

/// The end of a window plus a period: where the calendar shortens a date, a day later still.
fn after(end: Timestamp, period: Span) -> Timestamp {
    utc(end, period).max(utc(end - 24.hours(), period) + 24.hours())
}

/// Whether one period, from the same anchor as the other, ends no sooner on any day of four years.
fn never_sooner((one, period): (&Rule, Option<Span>), (other, others): (&Rule, Option<Span>)) -> bool {
    let (Some(period), Some(others)) = (period, others) else { return false };
    let first = civil::date(2026, 1, 1).to_zoned(TimeZone::UTC).unwrap().timestamp();
    let mut days = (0..4 * 366).map(|day| first + (24 * day).hours());
    (&one.anchor, &one.zone) == (&other.anchor, &other.zone)
        && days.all(|day| {
            let facts = Facts { ended: Some(day), closed: Some(day), contact: Some(day) };
            one.end(period, What::Event(day), &facts) >= other.end(others, What::Event(day), &facts)
        })
}

impl Rule {
    fn of_customer(&self) -> bool {
        !matches!(&*self.anchor, "event" | "year-end")
    }

    /// When a period ends; none while what it runs from has not come.
    fn end(&self, period: Span, what: What, facts: &Facts) -> Option<Timestamp> {
        let last = match what {
            What::Event(at) => at,
            What::Window(_, end) => end - 1.microsecond(),
        };
        let from = match (&*self.anchor, what) {
            ("event", What::Event(at)) => at,
            ("event", What::Window(_, end)) => return Some(after(end, period)),
            ("year-end", _) => {
                let zone = self.zone.clone().unwrap();
                let year = last.to_zoned(zone.clone()).year();
                let turn = civil::date(year + 1, 1, 1).to_zoned(zone).unwrap();
                return Some(turn.checked_add(period).unwrap().timestamp());
            }
            // Never before the record's own event.
            ("relationship-end", _) => facts.ended?.max(last),
            ("request-closed", _) => facts.closed?.max(last),
            _ => facts.contact?.max(last),
        };
        Some(utc(from, period))
    }
}

impl Law {
    pub fn parse(text: &str) -> Law {
        let file: toml::Table = text.parse().unwrap();
        let rule = |rule: &toml::Value| {
            let text = |key: &str| rule.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            let period = |key: &str| text(key).map(|period| period.parse().unwrap());
            Rule {
                class: text("class").unwrap(),
                jurisdiction: text("jurisdiction").unwrap(),
                window: text("window").unwrap_or("month".into()),
                anchor: text("anchor").unwrap_or("event".into()),
                zone: text("zone").map(|zone| TimeZone::get(&zone).unwrap()),
                least: period("keep_at_least").filter(|period: &Span| !period.is_zero()),
                most: period("keep_at_most"),
                latest: rule.get("latest").is_some_and(|latest| latest.as_bool().unwrap()),
            }
        };
        Law(file["rule"].as_array().unwrap().iter().map(rule).collect())
    }

    /// The rule that names both; else those that name one, which bind together; else the one that names neither.
    fn rules(&self, (class, jurisdiction): &Stream) -> Vec<&Rule> {
        let named = |wanted: [(&str, &str); 2]| -> Vec<&Rule> {
            self.0.iter().filter(|rule| wanted.contains(&(&rule.class, &rule.jurisdiction))).collect()
        };
        let exact = named([(class, jurisdiction); 2]);
        let half = named([(class, "*"), ("*", jurisdiction)]);
        [exact, half, named([("*", "*"); 2])].into_iter().find(|rules| !rules.is_empty()).unwrap_or_default()
    }

    /// Whether a duty binds: the longest minimum does as long as any.
    pub fn duty(&self, stream: &Stream, what: What, facts: &Facts, now: Timestamp) -> bool {
        let rules = self.rules(stream);
        let mut ends = rules.iter().filter_map(|rule| Some(rule.end(rule.least?, what, facts)));
        ends.any(|end| end.is_none_or(|end| now < end))
    }

    /// Whether the maximum is over: the shortest is as soon as any.
    pub fn over(&self, stream: &Stream, what: What, facts: &Facts, now: Timestamp) -> bool {
        let rules = self.rules(stream);
        rules.iter().any(|rule| rule.most.and_then(|most| rule.end(most, what, facts)).is_some_and(|end| end <= now))
    }

    /// When the last duty to keep a record is over, and when its first maximum is; what waits for a fact may take for ever.
    pub fn limits(&self, stream: &Stream, at: Timestamp, facts: &Facts) -> (Timestamp, Timestamp) {
        let rules = self.rules(stream);
        let end = |rule: &Rule, period| rule.end(period, What::Event(at), facts).unwrap_or(Timestamp::MAX);
        let least = rules.iter().filter_map(|rule| Some(end(rule, rule.least?))).max();
        let most = rules.iter().filter_map(|rule| Some(end(rule, rule.most?))).min();
        (least.unwrap_or(Timestamp::MIN), most.unwrap_or(Timestamp::MAX))
    }

    /// Whether certainly no period of a stream is shorter under `new`: each maximum ends no sooner than one from the same
    /// anchor did, each duty not before one from the same anchor does.
    pub fn keeps_as_long(&self, new: &Law, stream: &Stream) -> bool {
        let (before, after) = (self.rules(stream), new.rules(stream));
        let longer = |one: &&Rule| before.iter().any(|other| never_sooner((one, one.most), (other, other.most)));
        let bound = |one: &&Rule| after.iter().any(|other| never_sooner((other, other.least), (one, one.least)));
        // Windows of what becomes state go by column from then on, whatever the maximum runs from.
        let becomes_state = new.latest(stream) && !self.latest(stream) && after.iter().any(|rule| rule.most.is_some());
        !becomes_state
            && after.iter().filter(|rule| rule.most.is_some()).all(longer)
            && before.iter().filter(|rule| rule.least.is_some()).all(bound)
    }

    /// Whether a maximum runs from a fact about the customer.
    pub fn by_row(&self, stream: &Stream) -> bool {
        self.rules(stream).iter().any(|rule| rule.most.is_some() && rule.of_customer())
    }

    pub fn has_states(&self) -> bool {
        self.0.iter().any(|rule| rule.latest)
    }

    pub fn latest(&self, stream: &Stream) -> bool {
        self.rules(stream).iter().any(|rule| rule.latest)
    }

    /// Whether a window of states goes, those that count having been carried out of it: at its end plus the shortest maximum,
    /// though that runs from facts about customers. A duty that waits for such a fact is to keep every state there was.
    pub fn states_over(&self, stream: &Stream, what: What, now: Timestamp) -> bool {
        let What::Window(_, end) = what else { return false };
        let mut most = self.rules(stream).into_iter().filter_map(|rule| rule.most);
        self.latest(stream)
            && most.any(|most| after(end, most) <= now)
            && !self.duty(stream, what, &Facts::default(), now)
    }

    /// The window of an event: of two rules the shorter. None where no rule covers the stream.
    pub fn window(&self, stream: &Stream, at: Timestamp) -> Option<What> {
        let day = at.to_zoned(TimeZone::UTC).date();
        let window = |rule: &&Rule| {
            let month = day.first_of_month();
            let (start, length) = match &*rule.window {
                "day" => (day, 1.day()),
                "month" => (month, 1.month()),
                "quarter" => (civil::date(day.year(), (day.month() - 1) / 3 * 3 + 1, 1), 3.months()),
                _ => (day.first_of_year(), 1.year()),
            };
            let start = start.to_zoned(TimeZone::UTC).unwrap();
            (start.timestamp(), start.checked_add(length).unwrap().timestamp())
        };
        let shortest = self.rules(stream).iter().map(window).min_by_key(|(start, end)| end.duration_since(*start));
        shortest.map(|(start, end)| What::Window(start, end))
    }
}
