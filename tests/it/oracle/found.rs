//! Histories in which oracle and store once disagreed, as they were when they had shrunk.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::drive::{Drive, live, streams};
use super::law::Facts;
use super::steps::{Ago, Coming, Fact, History, Rule, Step, Where, policy};

pub const REST: Rule = Rule {
    class: None,
    jurisdiction: None,
    window: "month",
    anchor: "event",
    zone: "",
    least: None,
    most: None,
    latest: false,
};

pub fn come(customer: usize, stream: usize, days: i64) -> Step {
    Step::Append(vec![Coming { customer, stream, ago: Ago(days, Where::Within(0)) }])
}

fn lived(rules: &[Rule], steps: Vec<Step>) {
    let law = [rules, &[REST]].concat();
    let (compared, _) = live(1, &History { customers: 2, law, steps: steps.clone() });
    assert_eq!(compared, steps.len(), "its law is refused");
}

#[test]
fn what_two_holds_keep_goes_with_the_second_also_where_that_is_on_everybody() {
    let short = Rule { class: Some(0), most: Some("P30D"), ..REST };
    let hold = |customer| Step::Hold { customer, stream: None, from: None, until: None };
    let (held, all) = (hold(Some(0)), hold(None));
    let steps = vec![come(0, 0, 20), held, Step::Pass(60), Step::Expire, all, Step::Release(0), Step::Release(0)];
    lived(&[short], steps);
}

fn on_letters(customer: usize) -> Step {
    Step::Hold { customer: Some(customer), stream: Some(2), from: None, until: None }
}

#[test]
fn who_comes_back_while_a_hold_stands_is_held() {
    let contact = Rule { class: Some(2), anchor: "last-contact", most: Some("P30D"), ..REST };
    lived(&[contact], vec![come(0, 4, 0), on_letters(0), Step::Pass(75), Step::Expire, come(0, 2, 0)]);
    lived(&[], vec![come(0, 0, 0), on_letters(0), Step::Erase(vec![0]), Step::Pass(1), come(0, 2, 0), Step::Reopen]);
}

#[test]
fn what_was_written_twice_is_redacted_twice() {
    for change in 0..40 {
        lived(
            &[],
            vec![Step::Cut(change, Box::new(come(0, 0, 0))), come(1, 0, 0), Step::Redact(0, false), Step::Scrub],
        );
    }
}

#[test]
fn a_store_opens_after_a_power_cut_in_a_new_month() {
    for change in 0..40 {
        lived(&[], vec![Step::Pass(45), Step::Cut(change, Box::new(come(0, 1, 0))), come(0, 0, 0)]);
    }
}

#[test]
fn a_period_from_the_last_contact_ends_where_there_was_none() {
    let state = Rule { jurisdiction: Some(1), anchor: "last-contact", most: Some("P30D"), latest: true, ..REST };
    let steps = vec![come(0, 3, 108), Step::Pass(64), come(0, 5, 0), Step::Expire, Step::Pass(70), Step::Expire];
    lived(&[state], steps);
}

#[test]
fn a_window_is_no_older_than_the_last_record_in_it() {
    let state =
        Rule { class: Some(2), anchor: "last-contact", least: Some("P1M"), most: Some("P1M"), latest: true, ..REST };
    let steps = vec![come(0, 0, 16), come(0, 4, 3), Step::Pass(20), Step::Erase(vec![0]), Step::Pass(8), Step::Expire];
    lived(&[state], steps);
}

#[test]
fn what_comes_in_after_a_look_and_is_due_sooner_goes_in_time() {
    let closed = Rule { class: Some(0), anchor: "request-closed", least: Some("P2M"), most: Some("P5M"), ..REST };
    let sooner = Rule { jurisdiction: Some(0), least: None, most: Some("P30D"), ..closed.clone() };
    let told = Step::Fact(0, Fact::Closed(Ago(0, Where::Within(0))));
    lived(&[closed, sooner], vec![come(0, 1, 0), told, Step::Expire, come(0, 0, 0), Step::Pass(31), Step::Expire]);
}

#[test]
fn of_states_the_newest_is_carried_forward_and_the_others_go() {
    let state = Rule {
        class: Some(0),
        jurisdiction: Some(1),
        window: "day",
        anchor: "relationship-end",
        most: Some("P0D"),
        latest: true,
        ..REST
    };
    let steps = vec![come(0, 1, 0), come(0, 1, 16), Step::Expire, Step::Pass(3), Step::Expire, come(0, 1, 9)];
    lived(&[state], steps);
}

/// A month goes that lies in a quarter which does not: windows of before and after a new law.
#[test]
fn what_is_due_takes_nothing_along_from_a_longer_window() {
    let longer = Rule {
        class: Some(1),
        window: "quarter",
        anchor: "last-contact",
        least: Some("P3M"),
        most: Some("P3M"),
        ..REST
    };
    let law = Step::Law(vec![longer, REST]);
    lived(&[], vec![come(0, 3, 0), Step::Pass(44), Step::Pass(61), law, come(0, 3, 91), Step::Expire]);
}

/// A visit that was not recorded is a contact too, and stays one when the records go.
#[test]
fn a_contact_that_was_reported_counts_where_it_is_the_later() {
    let contact = Rule { class: Some(0), anchor: "last-contact", most: Some("P30D"), ..REST };
    let contacted = |customer, days| Step::Fact(customer, Fact::Contacted(Ago(days, Where::Within(0))));
    let steps = vec![
        come(0, 0, 20),
        come(1, 0, 20),
        come(0, 2, 1),
        contacted(0, 2),
        contacted(0, 9),
        contacted(1, 40),
        Step::Redact(2, false),
        Step::Pass(11),
        Step::Expire,
        Step::Pass(14),
        Step::Pass(2),
        Step::Expire,
        Step::Pass(1),
        Step::Expire,
    ];
    lived(&[contact], steps);
}

#[test]
fn a_law_that_keeps_shorter_waits_to_be_confirmed_and_one_that_keeps_longer_does_not() {
    let calls = |least, most| Rule { class: Some(0), least, most, ..REST };
    let mut drive = Drive::new(1, 2, streams(), &policy(&[calls(Some("P1M"), Some("P2M")), REST])).unwrap();
    let in_force = |drive: &Drive| drive.oracle.law.limits(&streams()[0], Timestamp::UNIX_EPOCH, &Facts::default());
    let day = |day: &str| day.parse::<civil::Date>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
    drive.step(&come(0, 0, 20)).unwrap();
    let laws = [(Some("P1M"), Some("P40D")), (None, Some("P2M")), (Some("P2M"), Some("P3M"))];
    let limits = laws.map(|(least, most)| {
        drive.step(&Step::TryLaw(vec![calls(least, most), REST])).unwrap();
        drive.compare();
        in_force(&drive)
    });
    let (before, after) = ((day("1970-02-01"), day("1970-03-01")), (day("1970-03-01"), day("1970-04-01")));
    assert_eq!(limits, [before, before, after]);
    drive.step(&Step::LiftMaximum(0)).unwrap();
    assert_eq!(in_force(&drive), (after.0, Timestamp::MAX));
}
