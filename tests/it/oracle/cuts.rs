//! Power cuts at every change of one step: whatever it was about to do is done or not, and what the law says of every record
//! is so in both cases. Then all that was ever on the disk is seized.

use super::drive::{Drive, streams};
use super::found::{REST, come};
use super::steps::{Ago, Fact, Rule, Step, Where, policy};

/// Lives `before`, then `step` with the power cut at its first change, at its second and so on until it is over, then `after`.
/// Returns how many cuts there were.
fn every_cut(law: &[Rule], before: &[Step], step: &Step, after: &[Step]) -> u64 {
    let cuts = |change: &u64| {
        let law = policy(&[law, &[REST]].concat());
        let mut drive = Drive::new(*change, 3, streams(), &law).expect("a sound law");
        let when = format!("change {change} of {step:?}");
        for step in before {
            drive.step(step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        drive.compare();
        let went = drive.cut(*change, step).unwrap_or_else(|error| panic!("{when}: {error}"));
        drive.compare();
        for step in after {
            drive.step(step).unwrap_or_else(|error| panic!("{when}, then {step:?}: {error}"));
            drive.compare();
        }
        drive.seize();
        went
    };
    let cuts = (0..).take_while(cuts).count() as u64;
    println!("{cuts} power cuts survived in {step:?}");
    cuts
}

fn ago(days: i64) -> Ago {
    Ago(days, Where::Within(0))
}

/// Calls in the EU, for a month from the end of the relationship.
const ACCOUNTS: Rule =
    Rule { class: Some(0), jurisdiction: Some(0), anchor: "relationship-end", most: Some("P30D"), ..REST };
/// Calls in the UK, of which the newest counts.
const STATES: Rule =
    Rule { class: Some(0), jurisdiction: Some(1), anchor: "relationship-end", most: Some("P0D"), latest: true, ..REST };
/// Letters in the EU, to be kept for half a year.
const LETTERS: Rule = Rule { class: Some(1), jurisdiction: Some(0), least: Some("P6M"), ..REST };

/// Everybody has an account, states in two months, letters and something else.
fn begun() -> Vec<Step> {
    let of = |customer| {
        [(0, 5), (1, 40), (1, 20), (2, 20), (2, 100), (4, 3)].map(|(stream, days)| come(customer, stream, days))
    };
    [of(0), of(1), of(2)].concat()
}

const LAW: [Rule; 3] = [ACCOUNTS, STATES, LETTERS];

#[test]
fn a_fact_and_what_it_schedules_are_done_or_not() {
    let ended = Step::Fact(1, Fact::Ended(ago(1)));
    let later = [Step::Pass(35), Step::Expire, Step::Scrub];
    let mut cuts = every_cut(&LAW, &begun(), &ended, &later);
    let before = [begun(), vec![ended, Step::Settle, Step::Pass(35)]].concat();
    cuts += every_cut(&LAW, &before, &Step::Expire, &[come(1, 2, 0), Step::Scrub, Step::Expire]);
    let erased = [begun(), vec![Step::Erase(vec![1]), Step::Pass(250)]].concat();
    cuts += every_cut(&LAW, &erased, &Step::Expire, &[Step::Scrub]);
    assert!(cuts > 40, "{cuts}");
}

#[test]
fn carrying_forward_is_done_or_not() {
    let held = Step::Hold { customer: Some(0), stream: None, from: None, until: Some(ago(300)) };
    let put_right = [Step::Rectify(1), Step::Rectify(2), Step::Rectify(8)];
    let before = [begun(), put_right.to_vec(), vec![held, Step::Fact(2, Fact::Ended(ago(50)))]].concat();
    let after = [Step::Pass(40), Step::Expire, Step::ErasePart(1, None, Some(ago(30))), Step::Release(0), Step::Scrub];
    let mut cuts = every_cut(&LAW, &before, &Step::Expire, &after);
    let settled = [before, vec![Step::Settle, Step::Maintain]].concat();
    cuts += every_cut(&LAW, &settled, &Step::Expire, &after);
    assert!(cuts > 40, "{cuts}");
}

#[test]
fn what_was_put_right_is_redacted_in_all_versions_or_in_none() {
    // The third letter and what stands in its place.
    let before = [begun(), vec![Step::Rectify(4), Step::Rectify(4), Step::Settle, Step::Rectify(4)]].concat();
    let mut cuts = every_cut(&LAW, &before[..19], &before[18], &[Step::Redact(4, true), Step::Scrub]);
    cuts += every_cut(&LAW, &before, &Step::Redact(4, true), &[come(0, 2, 90), Step::Scrub, Step::Erase(vec![0])]);
    // Also where it is restricted, and under a hold.
    let erased = [before, vec![Step::Erase(vec![0])]].concat();
    cuts += every_cut(&LAW, &erased, &Step::Redact(19, true), &[Step::Scrub, Step::Pass(250), Step::Expire]);
    assert!(cuts > 40, "{cuts}");
}

#[test]
fn the_end_of_a_hold_on_everybody_is_done_or_not() {
    let short = Rule { class: Some(0), jurisdiction: Some(0), most: Some("P30D"), ..REST };
    let hold = |customer| Step::Hold { customer, stream: None, from: None, until: None };
    let held = vec![
        hold(Some(0)),
        hold(Some(1)),
        Step::Pass(90),
        Step::Expire,
        hold(None),
        Step::Release(0),
        Step::Release(0),
    ];
    let before = [begun(), held].concat();
    let cuts = every_cut(&[short], &before, &Step::Release(0), &[Step::Expire, Step::Scrub]);
    assert!(cuts > 10, "{cuts}");
}

fn hold(customer: usize, stream: Option<usize>) -> Step {
    Step::Hold { customer: Some(customer), stream, from: None, until: None }
}

/// Calls in the EU for a month, and letters there to be kept for half a year.
const COLUMNS: [Rule; 2] =
    [Rule { class: Some(0), jurisdiction: Some(0), most: Some("P30D"), ..REST }, Rule { most: Some("P1Y"), ..LETTERS }];

#[test]
fn an_erasure_under_duty_is_done_or_not() {
    let erased = Step::Erase(vec![1]);
    let later = [come(1, 2, 0), Step::Scrub, Step::Pass(250), Step::Expire];
    let mut cuts = every_cut(&LAW, &begun(), &erased, &later);
    let settled = [begun(), vec![Step::Settle, Step::Rectify(9), Step::Maintain]].concat();
    cuts += every_cut(&LAW, &settled, &erased, &later);
    // Several customers with one rewrite, one of them held as well.
    let held = [begun(), vec![hold(0, Some(2)), Step::Settle]].concat();
    cuts += every_cut(&LAW, &held, &Step::Erase(vec![0, 2]), &[Step::Scrub, Step::Release(0), Step::Expire]);
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn an_erasure_in_part_is_done_or_not() {
    let later = [come(1, 4, 0), Step::Scrub, Step::Erase(vec![1]), Step::Pass(250), Step::Expire];
    let settled = [begun(), vec![Step::Settle, come(1, 2, 10)]].concat();
    let mut cuts = 0;
    // One stream under a duty, one of states, and all streams until in the midst of a window.
    for (stream, until) in [(Some(2), None), (Some(1), Some(ago(30))), (None, Some(ago(15)))] {
        let part = Step::ErasePart(1, stream, until);
        cuts += every_cut(&LAW, &begun(), &part, &later);
        cuts += every_cut(&LAW, &settled, &part, &later);
    }
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn what_a_customers_hold_keeps_of_an_expired_window_is_kept_or_the_window_stands() {
    let held = vec![hold(0, None), hold(1, Some(0)), Step::Fact(2, Fact::Contacted(ago(1))), Step::Pass(70)];
    let before = [begun(), held].concat();
    let after = [Step::Scrub, Step::Release(0), Step::Erase(vec![1]), Step::Release(0), Step::Expire];
    let mut cuts = every_cut(&COLUMNS, &before, &Step::Expire, &after);
    let settled = [before, vec![Step::Settle, Step::Maintain]].concat();
    cuts += every_cut(&COLUMNS, &settled, &Step::Expire, &after);
    assert!(cuts > 30, "{cuts}");
}

#[test]
fn the_end_of_a_hold_on_a_customer_is_done_or_not() {
    let expired = [begun(), vec![hold(0, None), hold(1, None), Step::Pass(70), Step::Expire]].concat();
    let after = [Step::Expire, Step::Scrub, Step::Release(0), Step::Expire];
    let mut cuts = every_cut(&COLUMNS, &expired, &Step::Release(0), &after);
    // What it alone has kept of an erasure, and what a second hold or a duty keeps as well.
    let erased = [expired, vec![Step::Erase(vec![0]), Step::Settle]].concat();
    cuts += every_cut(&COLUMNS, &erased, &Step::Release(0), &after);
    let twice = [erased, vec![hold(0, Some(2))]].concat();
    cuts += every_cut(&COLUMNS, &twice, &Step::Release(0), &[Step::Pass(250), Step::Expire, Step::Release(0)]);
    assert!(cuts > 40, "{cuts}");
}
