//! Points in time, calendar periods and the windows that partitions cover. Pure arithmetic in UTC, no clock.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, civil, tz::TimeZone, tz::TimeZoneDatabase};

use crate::error::{Error, ErrorKind, Result};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, leap seconds ignored (POSIX time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// 9999-12-30: room for one more day below the calendar's end.
const LATEST_MICROS: i64 = 253_402_128_000_000_000;
/// 0000-01-01.
const EARLIEST_MICROS: i64 = -62_167_219_200_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Timestamp {
    /// From microseconds since the epoch, held within the years 0 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        if micros > LATEST_MICROS {
            Timestamp(LATEST_MICROS)
        } else if micros < EARLIEST_MICROS {
            Timestamp(EARLIEST_MICROS)
        } else {
            Timestamp(micros)
        }
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The day it falls on.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(MICROS_PER_DAY) as i32)
    }

    /// `self` plus `period`, by the UTC calendar: 2024-02-29 plus one year is 2025-02-28.
    /// Held at the end of year 9999.
    pub fn plus(self, period: Period) -> Timestamp {
        let civil = self.civil();
        let later = civil.checked_add(period.span()).ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
        later.map_or(Timestamp(LATEST_MICROS), |at| Timestamp::from_micros(at.timestamp().as_microsecond()))
    }

    /// `self` minus `period`, by the UTC calendar. Held at the beginning of year 0.
    pub fn minus(self, period: Period) -> Timestamp {
        let civil = self.civil();
        let earlier = civil.checked_sub(period.span()).ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
        earlier.map_or(Timestamp(EARLIEST_MICROS), |at| Timestamp::from_micros(at.timestamp().as_microsecond()))
    }

    /// `self` plus (or minus) a number of seconds, held within the years 0 to 9999.
    pub fn plus_seconds(self, seconds: i64) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    fn civil(self) -> civil::DateTime {
        TimeZone::UTC.to_datetime(self.jiff())
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// RFC 3339 with a zone (`2025-09-01T03:59:31.928Z`, `...+02:00`). Digits finer than a microsecond are refused,
    /// because a time that came back different would be a changed record.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("not an RFC 3339 time{why}"))
                .hint("write it like 2025-09-01T03:59:31.928Z")
        };
        let at: jiff::Timestamp = text.parse().map_err(|_| wrong(""))?;
        if at.subsec_nanosecond() % 1_000 != 0 {
            return Err(wrong(": finer than a microsecond"));
        }
        let micros = at.as_microsecond();
        match (EARLIEST_MICROS..=LATEST_MICROS).contains(&micros) {
            true => Ok(Timestamp(micros)),
            false => Err(wrong(": outside the years 0 to 9999")),
        }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many digits of the second as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.jiff())
    }
}

/// A calendar day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(i32);

impl Day {
    /// From days since 1970-01-01; `None` outside the years 0 to 9999.
    pub fn from_number(days: i32) -> Option<Self> {
        let micros = i64::from(days).checked_mul(MICROS_PER_DAY)?;
        (EARLIEST_MICROS..=LATEST_MICROS).contains(&micros).then_some(Day(days))
    }

    /// The first day of a calendar year; `None` outside the years 0 to 9999.
    pub fn first_of(year: i16) -> Option<Self> {
        civil::Date::new(year, 1, 1).ok().filter(|_| year >= 0).map(Day::of)
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0 as i64 * MICROS_PER_DAY)
    }

    /// Its calendar year.
    pub fn year(self) -> i16 {
        self.date().year()
    }

    fn date(self) -> civil::Date {
        self.start().civil().date()
    }

    fn of(date: civil::Date) -> Day {
        let zoned = date.to_zoned(TimeZone::UTC).map(|at| at.timestamp().as_microsecond());
        Timestamp::from_micros(zoned.unwrap_or(LATEST_MICROS)).day()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date())
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let date: civil::Date =
            text.parse().map_err(|_| Error::new(ErrorKind::Invalid, "not a date like 2025-09-01"))?;
        Ok(Day::of(date))
    }
}

/// How long a window is. The numbers are on disk and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum WindowLength {
    /// One day.
    Day = 1,
    /// One calendar month.
    Month = 2,
    /// Three calendar months, from January, April, July or October.
    Quarter = 3,
    /// One calendar year.
    Year = 4,
}

impl WindowLength {
    /// From its number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(WindowLength::Day),
            2 => Some(WindowLength::Month),
            3 => Some(WindowLength::Quarter),
            4 => Some(WindowLength::Year),
            _ => None,
        }
    }

    /// Its name in policies and directory names.
    pub const fn name(self) -> &'static str {
        match self {
            WindowLength::Day => "day",
            WindowLength::Month => "month",
            WindowLength::Quarter => "quarter",
            WindowLength::Year => "year",
        }
    }

    /// It, as a period.
    pub const fn period(self) -> Period {
        match self {
            WindowLength::Day => Period::days(1),
            WindowLength::Month => Period::months(1),
            WindowLength::Quarter => Period::months(3),
            WindowLength::Year => Period::months(12),
        }
    }
}

impl FromStr for WindowLength {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        (1..=4)
            .filter_map(WindowLength::from_code)
            .find(|length| length.name() == text)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "not a window length: day, month, quarter or year"))
    }
}

/// A half-open interval of UTC time, aligned to the calendar: the time side of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: Day,
    length: WindowLength,
}

impl Window {
    /// Before every window there is: where a search by window begins.
    pub(crate) const FIRST: Window = Window { start: Day(i32::MIN), length: WindowLength::Day };

    /// The window of `length` that holds `at`.
    pub fn containing(at: Timestamp, length: WindowLength) -> Window {
        let date = at.day().date();
        let start = match length {
            WindowLength::Day => date,
            WindowLength::Month => date.first_of_month(),
            WindowLength::Quarter => civil::date(date.year(), (date.month() - 1) / 3 * 3 + 1, 1),
            WindowLength::Year => date.first_of_year(),
        };
        Window { start: Day::of(start), length }
    }

    /// The window of `length` that starts on `start`; `None` where no such window starts.
    pub fn starting(start: Day, length: WindowLength) -> Option<Window> {
        let window = Window::containing(start.start(), length);
        (window.start == start).then_some(window)
    }

    /// Its first day.
    pub fn first_day(&self) -> Day {
        self.start
    }

    /// Its length.
    pub fn length(&self) -> WindowLength {
        self.length
    }

    /// Its first instant.
    pub fn start(&self) -> Timestamp {
        self.start.start()
    }

    /// The first instant after it.
    pub fn end(&self) -> Timestamp {
        self.start().plus(self.length.period())
    }

    /// The calendar year it lies in: windows never cross the end of a year.
    pub fn year(&self) -> i16 {
        self.start.year()
    }

    /// Whether `at` lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start() <= at && at < self.end()
    }
}

impl fmt::Display for Window {
    /// `2025-09-01-month`, as in directory names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.length.name())
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Invalid, "not a window like 2025-09-01-month");
        let (start, length) = text.rsplit_once('-').ok_or_else(wrong)?;
        Window::starting(start.parse()?, length.parse()?).ok_or_else(wrong)
    }
}

/// A calendar period: months and days. Seven years is 84 months, whatever the leap years between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Period {
    months: u32,
    days: u32,
}

impl Period {
    /// A number of calendar months.
    pub const fn months(months: u32) -> Self {
        Period { months, days: 0 }
    }

    /// A number of days.
    pub const fn days(days: u32) -> Self {
        Period { months: 0, days }
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.months == 0 && self.days == 0
    }

    /// The fewest and the most days that it can be, wherever it begins, rounded apart.
    pub const fn bounds_in_days(self) -> (u64, u64) {
        let (months, days) = (self.months as u64 * 30_436, self.days as u64);
        ((months / 1_000 + days).saturating_sub(4), months / 1_000 + days + 5 + self.months as u64 / 500)
    }

    fn span(self) -> Span {
        // The parser holds both within what a span can carry: 9999 years.
        Span::new().months(i64::from(self.months.min(119_988))).days(i64::from(self.days.min(3_652_059)))
    }
}

impl FromStr for Period {
    type Err = Error;

    /// ISO 8601 (`P7Y`, `P18M`, `P90D`, `P2W`) or words (`7 years`, `90 days`). Hours and smaller are refused: the law
    /// counts days. Negative periods are refused.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("not a period{why}")).hint("write it like P7Y, P90D or \"7 years\"")
        };
        let span: Span = text.parse().map_err(|_| wrong(""))?;
        if span.is_negative() {
            return Err(wrong(": it is negative"));
        }
        let whole_days =
            Span::new().years(span.get_years()).months(span.get_months()).weeks(span.get_weeks()).days(span.get_days());
        if span.fieldwise() != whole_days.fieldwise() {
            return Err(wrong(": periods are counted in days or longer"));
        }
        let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
        let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
        match (u32::try_from(months), u32::try_from(days)) {
            (Ok(months), Ok(days)) if months <= 119_988 && days <= 3_652_059 => Ok(Period { months, days }),
            _ => Err(wrong(": longer than 9999 years")),
        }
    }
}

impl fmt::Display for Period {
    /// ISO 8601, in years, months and days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("P0D");
        }
        f.write_str("P")?;
        for (count, unit) in [(self.months / 12, 'Y'), (self.months % 12, 'M'), (self.days, 'D')] {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A time zone with its rules since records began, by its IANA name. The rules are part of the program, so that no file
/// of the machine decides when a year ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone called `name` (`Europe/Berlin`); none where there is no such zone.
    pub fn named(name: &str) -> Option<Zone> {
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The end of the calendar year that `at` falls into here, plus `period` by the calendar of this zone: the first
    /// instant after it. Where clocks are put back then, the later of two. Held at the end of year 9999.
    pub fn year_end_plus(&self, at: Timestamp, period: Period) -> Timestamp {
        let year = self.0.to_datetime(at.jiff()).year();
        let end = civil::Date::new(year.saturating_add(1), 1, 1).ok().map(|day| day.at(0, 0, 0, 0));
        let later = end.and_then(|end| end.checked_add(period.span()).ok());
        let instant = later.and_then(|at| self.0.to_ambiguous_timestamp(at).later().ok());
        instant.map_or(Timestamp(LATEST_MICROS), |at| Timestamp::from_micros(at.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_print_as_they_were_read() {
        for text in ["2025-09-01T03:59:31.928Z", "1969-12-31T23:59:59.999999Z", "2024-02-29T00:00:00Z"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("2025-09-01T05:00:00+02:00"), at("2025-09-01T03:00:00Z"));
        assert!("2025-09-01T00:00:00.0000001Z".parse::<Timestamp>().is_err());
        assert!("2025-09-01".parse::<Timestamp>().is_err());
    }

    #[test]
    fn windows_follow_the_calendar() {
        let late = at("2024-12-31T23:59:59.999999Z");
        for (length, name, end) in [
            (WindowLength::Day, "2024-12-31-day", "2025-01-01T00:00:00Z"),
            (WindowLength::Month, "2024-12-01-month", "2025-01-01T00:00:00Z"),
            (WindowLength::Quarter, "2024-10-01-quarter", "2025-01-01T00:00:00Z"),
            (WindowLength::Year, "2024-01-01-year", "2025-01-01T00:00:00Z"),
        ] {
            let window = Window::containing(late, length);
            assert_eq!(window.to_string(), name);
            assert_eq!(window.end(), at(end));
            assert!(window.contains(late) && !window.contains(window.end()));
            assert_eq!(name.parse::<Window>().unwrap(), window);
        }
        assert!("2024-12-02-month".parse::<Window>().is_err());
        assert_eq!(Window::containing(at("1969-07-20T20:17:00Z"), WindowLength::Month).to_string(), "1969-07-01-month");
    }

    #[test]
    fn periods_parse_print_and_add_by_the_calendar() {
        for (text, printed) in
            [("P7Y", "P7Y"), ("7 years", "P7Y"), ("P18M", "P1Y6M"), ("90 days", "P90D"), ("P2W", "P14D")]
        {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), printed);
        }
        for text in ["PT5H", "-P1D", "seven", ""] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        assert_eq!(at("2024-02-29T12:00:00Z").plus(Period::months(84)), at("2031-02-28T12:00:00Z"));
        assert_eq!(at("9999-01-01T00:00:00Z").plus(Period::months(120)).as_micros(), LATEST_MICROS);
    }

    #[test]
    fn years_end_where_the_zone_says() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.name(), "Europe/Berlin");
        let last = at("2025-12-31T22:59:59.999999Z");
        assert_eq!(berlin.year_end_plus(last, Period::default()), at("2025-12-31T23:00:00Z"));
        assert_eq!(berlin.year_end_plus(last, Period::months(72)), at("2031-12-31T23:00:00Z"));
        assert_eq!(berlin.year_end_plus(last.plus_seconds(1), Period::default()), at("2026-12-31T23:00:00Z"));
        assert_eq!(berlin.year_end_plus(last, Period::months(6)), at("2026-06-30T22:00:00Z"), "in summer time");
        let auckland = Zone::named("Pacific/Auckland").unwrap();
        assert_eq!(auckland.year_end_plus(at("2025-12-31T11:00:00Z"), Period::default()), at("2026-12-31T11:00:00Z"));
        let end = at("9999-12-29T00:00:00Z");
        assert_eq!(berlin.year_end_plus(end, Period::months(12)).as_micros(), LATEST_MICROS);
        assert!(Zone::named("Europe/Nowhere").is_none() && Zone::named("../etc/localtime").is_none());
    }

    #[test]
    fn periods_are_taken_off_by_the_calendar() {
        assert_eq!(at("2024-03-31T12:00:00Z").minus(Period::months(1)), at("2024-02-29T12:00:00Z"));
        assert_eq!(at("2024-03-01T00:00:00Z").minus(Period::days(2)), at("2024-02-28T00:00:00Z"));
        assert_eq!(at("0001-01-01T00:00:00Z").minus(Period::months(120)).as_micros(), EARLIEST_MICROS);
    }
}
