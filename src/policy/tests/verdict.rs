//! The verdict, case by case.

use super::*;

const LAW: &str = r#"
[[rule]]
class = "profile"
jurisdiction = "EU"
anchor = "relationship-end"
keep_at_least = "P5Y"
keep_at_most = "P6Y"
notice = "P2D"
latest = true

[[rule]]
class = "chat"
jurisdiction = "*"
keep_at_least = "P6M"

[[rule]]
class = "*"
jurisdiction = "UK"
keep_at_most = "P1Y"
window = "day"

[[rule]]
class = "letter"
jurisdiction = "DE"
anchor = "year-end"
zone = "Europe/Berlin"
keep_at_least = "P6Y"
keep_at_most = "P6Y"
"#;

fn ask(happened: &str, now: &str) -> Question {
    Question { happened: Happened::At(at(happened)), facts: Facts::NONE, held: false, erasure: None, now: at(now) }
}

fn judge(class: &str, jurisdiction: &str, question: &Question) -> Verdict {
    let policy = Policy::parse(LAW).unwrap();
    verdict(policy.terms(&stream(class, jurisdiction)), question)
}

#[test]
fn two_rules_bind_together() {
    let policy = Policy::parse(LAW).unwrap();
    let chats = stream("chat", "UK");
    let terms = policy.terms(&chats).unwrap();
    assert_eq!(terms.rules().count(), 2);
    assert_eq!(terms.window_length(), WindowLength::Day);
    let event = at("2025-01-31T08:00:00Z");
    assert_eq!(terms.duty_until(event), Some(at("2025-07-31T08:00:00Z")));
    assert_eq!(terms.deadline_of(event), Some(at("2026-01-31T08:00:00Z")));
    assert_eq!(policy.admits(&chats, event, event), Ok(WindowLength::Day));
}

#[test]
fn a_year_end_keeps_the_whole_year_and_its_last_hour_a_year_more() {
    let policy = Policy::parse(LAW).unwrap();
    let letters = stream("letter", "DE");
    let terms = policy.terms(&letters).unwrap();
    let end = at("2031-12-31T23:00:00Z"); // Midnight in Berlin.
    for event in ["2024-12-31T23:00:00Z", "2025-06-30T00:00:00Z", "2025-12-31T22:59:59.999999Z"] {
        assert_eq!(terms.deadline_of(at(event)), Some(end), "{event}");
        assert_eq!(terms.duty_until(at(event)), Some(end), "{event}");
    }
    let november = terms.window_of(at("2025-11-30T00:00:00Z"));
    assert_eq!(terms.partition_deadline(&november), Some(end));
    let december = terms.window_of(at("2025-12-01T00:00:00Z"));
    assert_eq!(terms.partition_deadline(&december), Some(at("2032-12-31T23:00:00Z")));
    assert_eq!(policy.admits(&letters, at("2025-06-30T00:00:00Z"), end), Err(RefusalReason::Expired));
}

#[test]
fn facts_of_the_customer_end_rows_and_never_columns() {
    let policy = Policy::parse(LAW).unwrap();
    let profiles = stream("profile", "EU");
    let terms = policy.terms(&profiles).unwrap();
    let event = at("2015-01-01T00:00:00Z");
    assert!(terms.latest() && terms.ends_by_row());
    assert_eq!((terms.deadline_of(event), terms.partition_deadline(&terms.window_of(event))), (None, None));
    assert_eq!(terms.duty_until(event), None);
    let open = judge("profile", "EU", &ask("2015-01-01T00:00:00Z", "2026-01-01T00:00:00Z"));
    assert_eq!(open, Verdict::Keep { until: None, why: Why::Duty(Duty { until: None, rule: 0 }) });
    let facts = Facts { relationship_ended: Some(at("2020-03-01T00:00:00Z")), ..Facts::NONE };
    let asked = |now: &str| Question { facts, ..ask("2015-01-01T00:00:00Z", now) };
    let (five, six) = (at("2025-03-01T00:00:00Z"), at("2026-03-01T00:00:00Z"));
    let limit = Limit { at: six, rule: 0, notice: Some(at("2026-02-27T00:00:00Z")) };
    for (now, verdict) in [
        (
            "2025-02-28T23:59:59Z",
            Verdict::Keep { until: Some(six), why: Why::Duty(Duty { until: Some(five), rule: 0 }) },
        ),
        ("2025-03-01T00:00:00Z", Verdict::Keep { until: Some(six), why: Why::Allowed(limit) }),
        ("2026-03-01T00:00:00Z", Verdict::Due { since: six }),
    ] {
        assert_eq!(judge("profile", "EU", &asked(now)), verdict, "{now}");
    }
}

#[test]
fn a_last_contact_is_never_before_the_record_itself() {
    let text = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nanchor = \"last-contact\"\nkeep_at_most = \"P3Y\"\n";
    let policy = Policy::parse(text).unwrap();
    let profiles = stream("profile", "FR");
    let terms = policy.terms(&profiles).unwrap();
    let facts = Facts { last_contact: Some(at("2025-03-01T00:00:00Z")), ..Facts::NONE };
    let limit = |event| terms.limit(Happened::At(at(event)), &facts).unwrap().at;
    assert_eq!(limit("2020-01-01T00:00:00Z"), at("2028-03-01T00:00:00Z"));
    assert_eq!(limit("2025-03-17T00:00:00Z"), at("2028-03-17T00:00:00Z"));
}

#[test]
fn requests_duties_and_holds_meet() {
    let request = at("2025-03-01T00:00:00Z");
    let asked = Some(request);
    let question = |now: &str, erasure, held| Question { erasure, held, ..ask("2025-01-31T08:00:00Z", now) };
    let (duty_ends, maximum) = (at("2025-07-31T08:00:00Z"), at("2026-01-31T08:00:00Z"));
    let duty = Duty { until: Some(duty_ends), rule: 1 };
    let limit = Limit { at: maximum, rule: 2, notice: None };
    for (now, erasure, held, verdict) in [
        ("2025-02-01T00:00:00Z", None, false, Verdict::Keep { until: Some(maximum), why: Why::Duty(duty) }),
        ("2025-02-01T00:00:00Z", asked, false, Verdict::Keep { until: Some(maximum), why: Why::Duty(duty) }),
        ("2025-03-01T00:00:00Z", asked, false, Verdict::Restricted { duty }),
        ("2025-07-31T07:59:59Z", asked, true, Verdict::Restricted { duty }),
        ("2025-07-31T08:00:00Z", asked, false, Verdict::Due { since: duty_ends }),
        ("2025-07-31T08:00:00Z", asked, true, Verdict::Held { since: duty_ends }),
        ("2025-07-31T08:00:00Z", None, true, Verdict::Keep { until: Some(maximum), why: Why::Allowed(limit) }),
        ("2026-02-01T00:00:00Z", None, false, Verdict::Due { since: maximum }),
        ("2026-02-01T00:00:00Z", asked, false, Verdict::Due { since: duty_ends }),
        ("2026-02-01T00:00:00Z", None, true, Verdict::Held { since: maximum }),
    ] {
        assert_eq!(judge("chat", "UK", &question(now, erasure, held)), verdict, "{now} {erasure:?} {held}");
    }
    let late = at("2025-08-15T00:00:00Z");
    let due = judge("chat", "UK", &question("2025-09-01T00:00:00Z", Some(late), false));
    assert_eq!(due, Verdict::Due { since: late }, "a request after the duty is due at once");
    let nobody = ask("2025-01-31T08:00:00Z", "2099-01-01T00:00:00Z");
    assert_eq!(judge("email", "US", &nobody), Verdict::Keep { until: None, why: Why::NoRule });
    assert_eq!(
        judge("email", "US", &Question { erasure: asked, ..nobody }),
        Verdict::Due { since: request },
        "where there is no law there is no duty"
    );
    let chats = ask("2025-01-31T08:00:00Z", "2099-01-01T00:00:00Z");
    assert_eq!(judge("chat", "US", &chats), Verdict::Keep { until: None, why: Why::Unlimited });
}

#[test]
fn rules_that_bind_together_must_be_possible_together() {
    let two = |class: &str, jurisdiction: &str| {
        format!(
            "[[rule]]\nclass = \"chat\"\njurisdiction = \"*\"\n{class}\n[[rule]]\nclass = \"*\"\njurisdiction = \"EU\"\n{jurisdiction}\n"
        )
    };
    let (most, least) = ("keep_at_most = \"P1Y\"", "keep_at_least = \"P2Y\"");
    let error = Policy::parse(&two(most, least)).unwrap_err().to_string();
    assert!(error.contains("line 4:") && error.contains("(line 8") && error.contains("chat/EU"), "{error}");
    let error = Policy::parse(&two(least, most)).unwrap_err().to_string();
    assert!(error.contains("line 8:") && error.contains("(line 4"), "{error}");
    let exact = "[[rule]]\nclass = \"chat\"\njurisdiction = \"EU\"\nkeep_at_least = \"P2Y\"\n";
    assert!(Policy::parse(&(two(most, least) + exact)).is_ok(), "a rule for just that decides alone");
    assert!(Policy::parse(&(two(most, least).replace("\"chat\"", "\"*\"").replace("\"EU\"", "\"*\""))).is_err());

    let berlin = "anchor = \"year-end\"\nzone = \"Europe/Berlin\"\n";
    let last = "anchor = \"last-contact\"\n";
    let ended = "anchor = \"relationship-end\"\n";
    for (class, jurisdiction, fits) in [
        (format!("{berlin}keep_at_least = \"P1Y\""), "keep_at_most = \"P2Y\"".to_owned(), true),
        (format!("{berlin}keep_at_least = \"P1Y\""), "keep_at_most = \"P23M\"".to_owned(), false),
        ("keep_at_least = \"P1Y\"".to_owned(), format!("{berlin}keep_at_most = \"P1Y\""), true),
        ("keep_at_least = \"P1Y1D\"".to_owned(), format!("{berlin}keep_at_most = \"P1Y\""), false),
        ("keep_at_least = \"P1Y\"".to_owned(), format!("{last}keep_at_most = \"P1Y\""), true),
        ("keep_at_least = \"P2Y\"".to_owned(), format!("{last}keep_at_most = \"P1Y\""), false),
        (format!("{last}keep_at_least = \"P1M\""), "keep_at_most = \"P9Y\"".to_owned(), false),
        (format!("{ended}keep_at_least = \"P1M\""), format!("{last}keep_at_most = \"P9Y\""), false),
        (format!("{ended}keep_at_least = \"P1M\""), format!("{ended}keep_at_most = \"P1M\""), true),
    ] {
        let parsed = Policy::parse(&two(&class, &jurisdiction));
        assert_eq!(parsed.is_ok(), fits, "{class} / {jurisdiction}: {parsed:?}");
    }
}

#[test]
fn shorter_is_what_can_end_earlier() {
    let law = |text: &str| Policy::parse(&format!("[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\n{text}\n")).unwrap();
    let shorter = |old: &str, new: &str| {
        let found = shortenings(&law(old), &law(new), [stream("chat", "EU")].into_iter());
        found.first().map_or((false, false), |one| (one.maximum, one.minimum))
    };
    let zone = "anchor = \"year-end\"\nzone = \"Europe/Berlin\"\n";
    assert_eq!(shorter("", "keep_at_most = \"P10Y\""), (true, false));
    assert_eq!(shorter("keep_at_most = \"P10Y\"", ""), (false, false));
    assert_eq!(shorter("keep_at_most = \"P1Y\"", "keep_at_most = \"P365D\""), (true, false));
    assert_eq!(shorter("keep_at_most = \"P1Y\"", "keep_at_most = \"P12M\"\nwindow = \"day\""), (false, false));
    assert_eq!(shorter("keep_at_least = \"P5Y\"", "keep_at_least = \"P4Y\""), (false, true));
    assert_eq!(shorter("keep_at_least = \"P5Y\"", ""), (false, true));
    assert_eq!(shorter("keep_at_least = \"P4Y\"", "keep_at_least = \"P5Y\""), (false, false));
    let years = |head: &str| format!("{head}keep_at_least = \"P2Y\"\nkeep_at_most = \"P2Y\"");
    assert_eq!(shorter(&years(""), &years(zone)), (false, false));
    assert_eq!(shorter(&years(zone), &years("")), (true, true));
    assert_eq!(shorter(&years("anchor = \"last-contact\"\n"), &years("anchor = \"request-closed\"\n")), (true, true));
    let ended = "anchor = \"relationship-end\"\nkeep_at_most = \"P5Y\"";
    let states = format!("{ended}\nlatest = true");
    assert_eq!(shorter(ended, &states), (true, false), "windows of states go by column");
    assert_eq!((shorter(&states, ended), shorter(&states, &states)), ((false, false), (false, false)));
}

#[test]
fn access_logs_are_shortened_by_a_rule_of_their_own() {
    let law = |logs: &str| {
        let all = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_most = \"P1D\"\n";
        Policy::parse(&format!("{all}{logs}")).unwrap()
    };
    let rule =
        |most: &str| format!("[[rule]]\nclass = \"access-log\"\njurisdiction = \"*\"\nkeep_at_most = \"{most}\"\n");
    let (none, short, long) = (law(""), law(&rule("P1Y")), law(&rule("P2Y")));
    assert!(access_log_shortening(&none, &long).is_some_and(|found| found.maximum));
    assert!(access_log_shortening(&long, &short).is_some_and(|found| found.stream.to_string() == "access-log/STORE"));
    assert!(access_log_shortening(&short, &long).is_none() && access_log_shortening(&short, &none).is_none());
}

#[test]
fn access_logs_of_a_jurisdiction_are_refused_and_a_store_that_has_them_in_force_opens() {
    let text = |place: &str| format!("\n[[rule]]\nclass = \"access-log\"\njurisdiction = \"{place}\"\n");
    let refused = Policy::propose(&text("EU")).unwrap_err();
    assert!(refused.to_string().contains("line 2: access logs are the store's own"), "{refused}");
    assert!(Policy::parse(&text("EU")).is_ok() && ["*", "STORE"].iter().all(|one| Policy::propose(&text(one)).is_ok()));
}

#[test]
fn overhangs_are_those_of_the_windows() {
    let text = "[[rule]]\nclass = \"a\"\njurisdiction = \"*\"\nkeep_at_most = \"P1Y\"\n\
                [[rule]]\nclass = \"b\"\njurisdiction = \"*\"\nkeep_at_most = \"P90D\"\n\
                [[rule]]\nclass = \"c\"\njurisdiction = \"*\"\nkeep_at_most = \"P12D\"\nwindow = \"day\"\n\
                [[rule]]\nclass = \"d\"\njurisdiction = \"*\"\nkeep_at_most = \"P6Y\"\nanchor = \"year-end\"\nzone = \"UTC\"\n\
                [[rule]]\nclass = \"e\"\njurisdiction = \"*\"\nkeep_at_most = \"P6Y\"\nanchor = \"year-end\"\nzone = \"Europe/Berlin\"\n\
                [[rule]]\nclass = \"f\"\njurisdiction = \"*\"\nkeep_at_most = \"P6Y\"\nanchor = \"last-contact\"\n\
                [[rule]]\nclass = \"g\"\njurisdiction = \"*\"\n";
    let found = overhangs(&Policy::parse(text).unwrap());
    let found: Vec<_> = found.iter().map(|one| (one.class.as_deref().unwrap(), one.days, one.long)).collect();
    assert_eq!(found, [("a", 31, false), ("b", 31, true), ("c", 1, false), ("d", 0, false), ("e", 366, true)]);
}
