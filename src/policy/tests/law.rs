//! Terms and verdict against a reading of the law that shares nothing with them but the calendar: civil dates written out
//! by hand, every rule looked at, every case spelled.

use proptest::prelude::*;

use super::*;

/// A rule as data, and as text.
#[derive(Clone, Debug)]
struct Clause {
    class: usize,
    jurisdiction: usize,
    anchor: usize,
    zone: usize,
    least: u32,
    most: Option<u32>,
    window: usize,
}

const CLASSES: [&str; 3] = ["*", "chat", "call"];
const JURISDICTIONS: [&str; 3] = ["*", "EU", "US"];
const ANCHORS: [&str; 5] = ["event", "year-end", "relationship-end", "last-contact", "request-closed"];
/// With their distance from UTC around the turn of the year, in hours.
const ZONES: [(&str, i64); 3] = [("UTC", 0), ("Europe/Berlin", 1), ("America/New_York", -5)];
const WINDOWS: [&str; 4] = ["day", "month", "quarter", "year"];
const HOUR: i64 = 3_600_000_000;

fn text(clauses: &[Clause]) -> String {
    let rule = |c: &Clause| {
        let zone = if c.anchor == 1 { format!("zone = \"{}\"\n", ZONES[c.zone].0) } else { String::new() };
        let most = c.most.map_or(String::new(), |most| format!("keep_at_most = \"P{most}M\"\n"));
        format!(
            "[[rule]]\nclass = \"{}\"\njurisdiction = \"{}\"\nanchor = \"{}\"\nwindow = \"{}\"\nkeep_at_least = \"P{}M\"\n{zone}{most}",
            CLASSES[c.class], JURISDICTIONS[c.jurisdiction], ANCHORS[c.anchor], WINDOWS[c.window], c.least
        )
    };
    clauses.iter().map(rule).collect()
}

/// Days from 1970-01-01 to a civil date (Hinnant), and back.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(micros: i64) -> (i64, i64, i64, i64) {
    let (number, rest) = (micros.div_euclid(24 * HOUR), micros.rem_euclid(24 * HOUR));
    let mut year = 1970 + number.div_euclid(366);
    while days(year + 1, 1, 1) <= number {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= number).unwrap();
    (year, month, number - days(year, month, 1) + 1, rest)
}

fn plus_months(micros: i64, months: u32) -> i64 {
    let (year, month, day, rest) = civil(micros);
    let all = year * 12 + month - 1 + i64::from(months);
    let (year, month) = (all.div_euclid(12), all.rem_euclid(12) + 1);
    let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    let day = day.min(next - days(year, month, 1));
    days(year, month, day) * 24 * HOUR + rest
}

/// When `months` end by a clause for an event at `at`; none while its fact is outstanding.
fn ends(clause: &Clause, months: u32, at: i64, facts: &[Option<i64>; 3]) -> Option<i64> {
    match clause.anchor {
        0 => Some(plus_months(at, months)),
        1 => {
            let east = ZONES[clause.zone].1 * HOUR;
            let (year, ..) = civil(at + east);
            Some((year, months)).map(|(year, months)| plus_months(days(year + 1, 1, 1) * 24 * HOUR, months) - east)
        }
        2 => facts[0].map(|fact| plus_months(fact.max(at), months)),
        3 => facts[1].map(|fact| plus_months(fact.max(at), months)),
        _ => facts[2].map(|fact| plus_months(fact.max(at), months)),
    }
}

/// The clauses that bind a stream.
fn binding(clauses: &[Clause], class: usize, jurisdiction: usize) -> Vec<&Clause> {
    let with = |c: usize, j: usize| clauses.iter().filter(move |one| one.class == c && one.jurisdiction == j);
    let exact: Vec<_> = with(class, jurisdiction).collect();
    let one: Vec<_> = with(class, 0).chain(with(0, jurisdiction)).collect();
    [exact, one, with(0, 0).collect()].into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

fn clause() -> impl Strategy<Value = Clause> {
    // Periods of whole years keep the ends in winter, where the zones stand as they are written above.
    let months = (0u32..9).prop_map(|years| years * 12);
    let most = prop_oneof![1 => Just(None), 3 => (0u32..9).prop_map(|years| Some(years * 12))];
    (0usize..3, 0usize..3, 0usize..5, 0usize..3, months, most, 0usize..4).prop_map(
        |(class, jurisdiction, anchor, zone, least, most, window)| Clause {
            class,
            jurisdiction,
            anchor,
            zone,
            least: least.min(most.unwrap_or(96)),
            most,
            window,
        },
    )
}

/// Some rules, no two for the same labels.
fn clauses() -> impl Strategy<Value = Vec<Clause>> {
    proptest::collection::vec(clause(), 1..7).prop_map(|all| {
        let mut kept: Vec<Clause> = Vec::new();
        for one in all {
            if kept.iter().all(|other| (other.class, other.jurisdiction) != (one.class, one.jurisdiction)) {
                kept.push(one);
            }
        }
        kept
    })
}

/// Around the turn of a year more often than at any other time.
fn time() -> impl Strategy<Value = i64> {
    let turn = (2010i64..2040, -30 * HOUR..30 * HOUR).prop_map(|(year, off)| days(year, 1, 1) * 24 * HOUR + off);
    let any = days(2010, 1, 1) * 24 * HOUR..days(2040, 1, 1) * 24 * HOUR;
    prop_oneof![turn, any]
}

/// Law, stream, event, facts, time of judgement, request for erasure, hold.
type History = (Vec<Clause>, usize, usize, i64, [Option<i64>; 3], i64, Option<i64>, bool);

fn history() -> impl Strategy<Value = History> {
    let fact = || prop_oneof![Just(None), time().prop_map(Some)];
    (
        clauses(),
        1usize..3,
        1usize..3,
        time(),
        [fact(), fact(), fact()],
        time(),
        prop_oneof![Just(None), time().prop_map(Some)],
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_law_is_read_as_it_is_written(
        (clauses, class, jurisdiction, event, facts, now, erasure, held) in history(),
    ) {
        let Ok(policy) = Policy::parse(&text(&clauses)) else {
            // Only a pair of clauses that bind together can be impossible: each alone is not.
            let pair = |c, j| binding(&clauses, c, j).len() == 2;
            prop_assert!((1..3).any(|c| (1..3).any(|j| pair(c, j))));
            return Ok(());
        };
        let stream = stream(CLASSES[class], JURISDICTIONS[jurisdiction]);
        let bound = binding(&clauses, class, jurisdiction);
        let terms = policy.terms(&stream);
        prop_assert_eq!(terms.map_or(0, |terms| terms.rules().count()), bound.len());
        let least: Vec<Option<i64>> =
            bound.iter().filter(|c| c.least > 0).map(|c| ends(c, c.least, event, &facts)).collect();
        let most = bound.iter().filter_map(|c| ends(c, c.most?, event, &facts)).min();
        let open = least.iter().any(Option::is_none);
        let duty = least.iter().flatten().max().copied();
        let bound_now = open || duty.is_some_and(|end| now < end);
        let causes: Vec<i64> = [most, erasure].into_iter().flatten().filter(|at| *at <= now).collect();
        let time = Timestamp::from_micros;
        let question = Question {
            happened: Happened::At(time(event)),
            facts: Facts {
                relationship_ended: facts[0].map(time),
                last_contact: facts[1].map(time),
                request_closed: facts[2].map(time),
            },
            held,
            erasure: erasure.map(time),
            now: time(now),
        };
        let found = verdict(terms, &question);
        let asked = erasure.is_some_and(|at| at <= now);
        match found {
            Verdict::Restricted { duty: by } => {
                prop_assert!(bound_now && asked);
                prop_assert_eq!(by.until.map(|at| at.as_micros()), duty.filter(|_| !open));
            }
            Verdict::Keep { why: Why::Duty(by), .. } => {
                prop_assert!(bound_now && !asked);
                prop_assert_eq!(by.until.map(|at| at.as_micros()), duty.filter(|_| !open));
            }
            Verdict::Keep { until, why } => {
                prop_assert!(!bound_now && causes.is_empty());
                prop_assert_eq!(until.map(|at| at.as_micros()), most);
                let silent = if bound.is_empty() { Why::NoRule } else { Why::Unlimited };
                prop_assert!(matches!(why, Why::Allowed(_)) == most.is_some() && (most.is_some() || why == silent));
            }
            Verdict::Held { since } | Verdict::Due { since } => {
                prop_assert!(!bound_now);
                prop_assert_eq!(matches!(found, Verdict::Held { .. }), held);
                let first = causes.iter().min().copied();
                prop_assert_eq!(Some(since.as_micros()), first.map(|at| at.max(duty.unwrap_or(at))));
            }
        }
        // Columns: by event and year's end alone, never before any of their records, never under any of their duties.
        let Some(terms) = terms else { return Ok(()) };
        let window = bound.iter().map(|c| c.window).min().unwrap();
        prop_assert_eq!(terms.window_length().name(), WINDOWS[window]);
        let column: Vec<&&Clause> = bound.iter().filter(|c| c.anchor < 2).collect();
        let shown = column.iter().filter_map(|c| ends(c, c.most?, event, &[None; 3])).min();
        prop_assert_eq!(terms.deadline_of(time(event)).map(|at| at.as_micros()), shown);
        let deadline = terms.partition_deadline(&terms.window_of(time(event)));
        prop_assert_eq!(deadline.is_some(), shown.is_some());
        prop_assert!(deadline.is_none_or(|deadline| shown.is_some_and(|shown| shown <= deadline.as_micros())));
        if let (Some(deadline), false) = (deadline, open) {
            prop_assert!(duty.is_none_or(|duty| duty <= deadline.as_micros()), "a column dies under a duty");
        }
    }
}
