//! Which rule decides, when a deadline falls, which line an error names.

mod classify;
mod law;
mod verdict;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn stream(class: &str, jurisdiction: &str) -> Stream {
    Stream::new(class, jurisdiction).unwrap()
}

impl Terms<'_> {
    /// When the duty to keep a record of `at` is over, whoever its customer is; none while it runs from a fact.
    fn duty_until(&self, at: Timestamp) -> Option<Timestamp> {
        self.duty(Happened::At(at), &Facts::NONE).map_or(Some(at), |duty| duty.until)
    }

    /// When a record of `at` is hidden, whoever its customer is; none is never, or not by column.
    fn deadline_of(&self, at: Timestamp) -> Option<Timestamp> {
        self.limit(Happened::At(at), &Facts::NONE).map(|limit| limit.at)
    }
}

const FOUR: &str = r#"
[[rule]]
class = "*"
jurisdiction = "*"
keep_at_most = "P10Y"

[[rule]]
class = "*"
jurisdiction = "EU"
keep_at_most = "6 years"
basis = "GDPR art. 5(1)(e)"

[[rule]]
class = "chat"
jurisdiction = "*"
window = "day"
keep_at_most = "P90D"

[[rule]]
class = "chat"
jurisdiction = "EU"
window = "quarter"
keep_at_least = "P6M"
keep_at_most = "P1Y"
"#;

#[test]
fn the_most_specific_rule_decides() {
    let policy = Policy::parse(FOUR).unwrap();
    let most = |class, jurisdiction| {
        let terms = policy.terms(&stream(class, jurisdiction)).unwrap();
        let rules: Vec<&Rule> = terms.rules().collect();
        assert_eq!(rules.len(), 1);
        rules[0].keep_at_most().unwrap().to_string()
    };
    assert_eq!(most("chat", "EU"), "P1Y");
    assert_eq!(most("chat", "UK"), "P90D");
    assert_eq!(most("email", "EU"), "P6Y");
    assert_eq!(most("email", "UK"), "P10Y");
    let rule = policy.terms(&stream("chat", "EU")).unwrap();
    assert_eq!(rule.window_length(), WindowLength::Quarter);
    assert_eq!(rule.duty_until(at("2025-08-31T00:00:00Z")), Some(at("2026-02-28T00:00:00Z")));
    assert_eq!(policy.terms(&stream("chat", "UK")).unwrap().window_length(), WindowLength::Day);
    assert_eq!(
        policy.terms(&stream("email", "EU")).unwrap().rules().next().unwrap().basis(),
        Some("GDPR art. 5(1)(e)")
    );
    assert_eq!(policy.rules().len(), 4);
}

#[test]
fn deadlines_are_exact() {
    let policy = Policy::parse(FOUR).unwrap();
    let chats = stream("chat", "UK"); // daily windows, 90 days
    let rule = policy.terms(&chats).unwrap();
    let event = at("2025-01-10T08:00:00Z");
    assert_eq!(rule.deadline_of(event), Some(at("2025-04-10T08:00:00Z")));
    let deadline = at("2025-04-11T00:00:00Z");
    assert_eq!(rule.partition_deadline(&rule.window_of(event)), Some(deadline));
    assert_eq!(policy.admits(&chats, event, deadline.plus_seconds(-1)), Ok(WindowLength::Day));
    assert_eq!(policy.admits(&chats, event, deadline), Err(RefusalReason::Expired));
}

/// Found by the property below.
#[test]
fn a_partition_waits_for_dates_that_the_calendar_shortens() {
    let text = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"day\"\nkeep_at_most = \"P1M\"";
    let policy = Policy::parse(text).unwrap();
    let rule = policy.terms(&stream("chat", "EU")).unwrap();
    let event = at("2025-01-30T12:00:00Z");
    assert_eq!(rule.deadline_of(event), Some(at("2025-02-28T12:00:00Z")));
    assert_eq!(rule.partition_deadline(&rule.window_of(event)), Some(at("2025-03-01T00:00:00Z")));
    let event = at("2025-01-15T12:00:00Z");
    assert_eq!(rule.partition_deadline(&rule.window_of(event)), Some(at("2025-02-16T00:00:00Z")));
}

#[test]
fn the_future_and_what_no_rule_covers_are_refused() {
    let policy = Policy::parse("[[rule]]\nclass = \"chat\"\njurisdiction = \"EU\"").unwrap();
    let now = at("2025-01-10T08:00:00Z");
    let chats = stream("chat", "EU");
    assert_eq!(policy.admits(&chats, at("2025-01-11T08:00:00Z"), now), Ok(WindowLength::Month));
    assert_eq!(policy.admits(&chats, at("2025-01-11T08:00:00.000001Z"), now), Err(RefusalReason::Future));
    assert_eq!(policy.admits(&stream("chat", "UK"), now, now), Err(RefusalReason::NoRule));
    assert_eq!(policy.admits(&stream("Chat", "EU"), now, now), Err(RefusalReason::NoRule));
    assert_eq!(policy.admits(&chats, at("0001-01-01T00:00:00Z"), now), Ok(WindowLength::Month));
}

#[test]
fn a_store_without_a_policy_keeps_everything() {
    let policy = Policy::parse(KEEP_EVERYTHING).unwrap();
    let rule = policy.terms(&stream("chat", "EU")).unwrap();
    assert_eq!(rule.deadline_of(at("1970-01-01T00:00:00Z")), None);
    assert_eq!(rule.window_length(), WindowLength::Month);
}

#[test]
fn errors_name_the_line() {
    let head = "[[rule]]\nclass = \"chat\"\njurisdiction = \"EU\"\n";
    for (rest, line, words) in [
        ("keep = \"P1Y\"", 4, "unknown field"),
        ("window = \"week\"", 4, "window length"),
        ("keep_at_most = \"seven\"", 4, "not a period"),
        ("keep_at_most = \"PT5H\"", 4, "days or longer"),
        ("keep_at_most = \"PT0.0001S\"", 4, "days or longer"),
        ("keep_at_most = \"-P1D\"", 4, "negative"),
        ("keep_at_most = 7", 4, "invalid type"),
        ("keep_at_least = \"P2Y\"\nkeep_at_most = \"P1Y\"", 5, "beyond"),
        ("keep_at_least = \"P1M\"\nkeep_at_most = \"P30D\"", 5, "beyond"),
        ("\n[[rule]]\nclass = \"chat\"\njurisdiction = \"EU\"", 5, "line 1 already covers"),
        ("\n[[rule]]\nclass = \"Chat\"\njurisdiction = \"UK\"", 5, "differ in case only"),
        ("\n[[rule]]\nclass = \"a/b\"\njurisdiction = \"UK\"", 6, "class is not"),
        ("\n[[rule]]\nclass = \"x\"\njurisdiction = \"\"", 7, "jurisdiction is not"),
        ("anchor = \"birthday\"", 4, "no anchor: event, year-end"),
        ("anchor = \"year-end\"", 1, "needs a zone"),
        ("anchor = \"year-end\"\nzone = \"Berlin\"", 5, "no IANA time zone"),
        ("zone = \"Europe/Berlin\"", 4, "only with anchor"),
        ("notice = \"P2D\"", 4, "no keep_at_most"),
        ("latest = true", 4, "anchor of the customer"),
        ("latest = 1", 4, "invalid type"),
        ("anchor = \"last-contact\"\nkeep_at_least = \"P4Y\"\nkeep_at_most = \"P3Y\"", 6, "beyond"),
        ("\n[[classify]]\npointer = \"kind\"\nmatches = \"x\"\nclass = \"chat\"", 6, "begins with /"),
        ("\n[[classify]]\npointer = \"/a~2\"\nmatches = \"x\"\nclass = \"chat\"", 6, "begins with /"),
        ("\n[[classify]]\npointer = \"/a\"\nmatches = \"x\"\nclass = \"email\"", 8, "no rule covers the class"),
        ("\n[[classify]]\npointer = \"/a\"\nmatches = \"x\"\nclass = \"*\"", 8, "not \"*\""),
        ("\n[[classify]]\npointer = \"/a\"\nclass = \"chat\"", 5, "matches"),
        ("class = ", 4, ""),
        ("[rules]", 4, "unknown field"),
    ] {
        let error = Policy::parse(&format!("{head}{rest}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains(&format!("line {line}:")) && text.contains(words), "{rest}: {text}");
    }
    assert!(Policy::parse("").unwrap_err().to_string().contains("no rule"));
    assert!(Policy::parse("[[rule]]\nclass = \"chat\"").unwrap_err().to_string().contains("jurisdiction"));
    assert!(Policy::parse(&"#".repeat(POLICY_LIMIT + 1)).is_err());
    assert!(Policy::parse(&format!("x = {}", "[".repeat(500_000))).is_err(), "nor does depth exhaust the stack");
    assert!(Policy::parse(&format!("{head}keep_at_least = \"P1Y\"\nkeep_at_most = \"P12M\"")).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn no_values_panic(class in "\\PC{0,8}", least in "P?[0-9]{0,9}[YMDW]?", most in "P?[0-9]{0,9}[YMDW]?") {
        let _ = Policy::parse(&format!(
            "[[rule]]\nclass = {class:?}\njurisdiction = \"*\"\nkeep_at_least = {least:?}\nkeep_at_most = {most:?}"
        ));
    }

    /// No partition dies before its records are hidden, and none is admitted into a partition that must be dead.
    #[test]
    fn a_partition_outlives_its_records(
        micros in -60_000_000_000_000_000i64..250_000_000_000_000_000,
        months in 0u32..2_000, days in 0u32..4_000, window in 0usize..4,
    ) {
        let window = ["day", "month", "quarter", "year"][window];
        let text = format!(
            "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = {window:?}\nkeep_at_most = \"P{months}M{days}D\""
        );
        let policy = Policy::parse(&text).unwrap();
        let rule = policy.terms(&stream("chat", "EU")).unwrap();
        let event = Timestamp::from_micros(micros);
        let deadline = rule.partition_deadline(&rule.window_of(event)).unwrap();
        prop_assert!(rule.deadline_of(event).unwrap() <= deadline);
        let chats = stream("chat", "EU");
        prop_assert_eq!(policy.admits(&chats, event, deadline), Err(RefusalReason::Expired));
    }
}

#[test]
fn dictionaries_are_on_unless_a_rule_says_no() {
    let policy =
        Policy::parse(&FOUR.replacen("keep_at_most = \"P90D\"", "keep_at_most = \"P90D\"\ndictionary = false", 1));
    let policy = policy.unwrap();
    assert!(!policy.terms(&stream("chat", "US")).unwrap().dictionary());
    assert!(policy.terms(&stream("chat", "EU")).unwrap().dictionary(), "the rule for just that decides alone");
    assert!(policy.terms(&stream("email", "US")).unwrap().dictionary());
    let error = Policy::parse("[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\ndictionary = \"no\"\n").unwrap_err();
    assert!(error.to_string().contains("line 4"), "{error}");
}

#[test]
fn the_example_schedule_is_a_policy_with_its_citations() {
    let text = include_str!("../../../examples/schedule.toml");
    assert!(text.starts_with("# AN EXAMPLE, AND NOT LEGAL ADVICE."));
    let policy = Policy::parse(text).unwrap();
    assert!(policy.rules().iter().all(|rule| rule.basis().is_some_and(|basis| basis.len() > 6)));
    let terms = |class, jurisdiction| policy.terms(&stream(class, jurisdiction));
    let event = at("2026-03-10T12:00:00Z");
    let letters = stream("business-letter", "DE");
    let letter = policy.terms(&letters).unwrap();
    assert_eq!(letter.duty_until(event), Some(at("2032-12-31T23:00:00Z")));
    assert_eq!(terms("call-quality", "FR").unwrap().deadline_of(event), Some(at("2026-09-10T12:00:00Z")));
    assert!(terms("call-quality", "DE").is_none(), "what nobody thought of is refused, not kept");
    let surveys = stream("survey", "IN");
    let survey = policy.terms(&surveys).unwrap();
    assert_eq!(survey.rules().count(), 2);
    assert_eq!(survey.duty_until(event), Some(at("2027-03-10T12:00:00Z")));
    assert_eq!(survey.deadline_of(event), Some(at("2028-03-10T12:00:00Z")));
    assert!(terms("profile", "EU").unwrap().latest() && terms("profile", "EU").unwrap().ends_by_row());
    assert_eq!(terms("card-authentication", "US").unwrap().deadline_of(event), Some(event));
    let alone = "class = \"card-authentication\"\njurisdiction = \"IN\"";
    let without = text.replace(alone, "class = \"card-other\"\njurisdiction = \"IN\"");
    let error = Policy::parse(&without).unwrap_err().to_string();
    assert!(error.contains("both bind card-authentication/IN"), "{error}");
    assert_eq!(policy.class_of_json(br#"{"complaint":true}"#), Some("complaint"));
}
