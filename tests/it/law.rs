//! The policy as a user meets it: what a new one would change, what the law says of a place, and what gives a record its
//! class.

use tenure::env::sim::Sim;
use tenure::report::Effect;
use tenure::{
    Batch, BodyKind, Classifier, ErrorKind, ExpireOptions, Hold, Record, RefusalReason, ScanFilter, Store, Stream,
    Timestamp, Verdict, Why,
};

use crate::scene;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn note(customer: &str, class: &str, when: &str) -> Record {
    Record::new(customer, class, "EU", at(when), "a note").unwrap()
}

fn law(rules: &[(&str, &str)]) -> String {
    let rule = |(class, rest): &(&str, &str)| format!("[[rule]]\nclass = \"{class}\"\njurisdiction = \"*\"\n{rest}\n");
    rules.iter().map(rule).collect()
}

/// January 2026; chats and letters of 2025, kept for ever.
fn store(seed: u64) -> (Sim, Store) {
    let sim = Sim::new(seed);
    sim.set_now(at("2026-01-15T00:00:00Z"));
    let store = scene::options(&sim).create().unwrap();
    let records = ["2025-01-10T00:00:00Z", "2025-06-10T00:00:00Z", "2025-12-10T00:00:00Z"];
    let notes = |class: &'static str| records.iter().map(move |when| note("ana", class, when));
    store.append(notes("chat").chain(notes("letter")).collect::<Vec<_>>()).unwrap().wait().unwrap();
    (sim, store)
}

#[test]
fn a_check_tells_per_partition_what_would_become_of_it() {
    let (_, store) = store(1);
    let hold =
        Hold { matter: "m".into(), reason: "r".into(), stream: Stream::new("chat", "EU").ok(), ..Hold::default() };
    store.hold("ana", &hold).unwrap().unwrap();
    let new = law(&[("chat", "keep_at_most = \"P9M\""), ("*", "keep_at_least = \"P1Y\"")]);
    let check = store.check_policy(&new).unwrap();
    let found: Vec<_> = check
        .changes
        .iter()
        .map(|change| (change.partition.to_string(), change.effect, change.limit_after, change.holds.clone()))
        .collect();
    let chat =
        |month: &str, effect, limit: &str| (format!("chat/EU/2025-{month}-01-month"), effect, Some(at(limit)), vec![1]);
    let letter = |month: &str| (format!("letter/EU/2025-{month}-01-month"), Effect::Protected, None, vec![]);
    assert_eq!(
        found,
        [
            chat("01", Effect::Overdue, "2025-11-01T00:00:00Z"),
            chat("06", Effect::Due, "2026-04-01T00:00:00Z"),
            chat("12", Effect::Due, "2026-10-01T00:00:00Z"),
            letter("01"),
            letter("06"),
            letter("12"),
        ]
    );
    assert_eq!(check.changes[3].duty_after.unwrap().until, Some(at("2026-02-01T00:00:00Z")));
    assert_eq!((check.in_force, check.unchanged), (1, 0));
    assert_eq!(check.shortened.len(), 1);
    assert!(check.shortened[0].maximum && !check.shortened[0].minimum);
    assert_eq!((check.overhangs.len(), check.overhangs[0].days, check.overhangs[0].long), (1, 31, true));
    assert_eq!(store.policy().version, 1, "a check changes nothing");

    store.set_policy_confirmed(&new, "counsel said so").unwrap();
    let same = store.check_policy(&new).unwrap();
    assert_eq!(same.changes.len(), 1, "{:?}", same.changes);
    assert_eq!((same.changes[0].effect, same.unchanged), (Effect::Overdue, 5));
    assert!(same.shortened.is_empty());
    let longer = store.check_policy(&law(&[("*", "keep_at_most = \"P20Y\"")])).unwrap();
    let effects = |class: &str| -> Vec<Effect> {
        let of_class = longer.changes.iter().filter(|change| change.partition.stream.class() == class);
        of_class.map(|change| change.effect).collect()
    };
    assert_eq!(effects("chat"), [Effect::Protected; 3]);
    assert_eq!(effects("letter"), [Effect::Due; 3], "from never to some day");
    let gone = store.check_policy(&law(&[("chat", "keep_at_most = \"P9M\"")])).unwrap();
    let letters: Vec<_> = gone.changes.iter().filter(|change| !change.covered).map(|change| change.effect).collect();
    assert_eq!(letters, [Effect::Released; 3], "what no rule covers is under no duty");
}

#[test]
fn what_is_stored_is_kept_shorter_only_for_a_reason_that_stands_nowhere() {
    let (sim, store) = store(2);
    let shorter = law(&[("chat", "keep_at_most = \"P9Y\""), ("*", "")]);
    let error = store.set_policy(&shorter).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("chat/EU may go earlier"), "{error}");
    assert!(error.next_step().unwrap().contains("--confirm"), "{error:?}");
    assert_eq!(store.policy().version, 1);
    assert_eq!(store.set_policy_confirmed(&shorter, " ").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.set_policy_confirmed(&shorter, "canary-reason").unwrap(), 2);
    assert_eq!(store.set_policy(&shorter).unwrap(), 3, "the same once more is no shorter");
    let duty = law(&[("chat", "keep_at_most = \"P9Y\""), ("*", "keep_at_least = \"P5Y\"")]);
    assert_eq!(store.set_policy(&duty).unwrap(), 4, "nor is a longer duty");
    assert!(store.set_policy(&shorter).unwrap_err().to_string().contains("letter/EU may be erased earlier"));
    let others = law(&[
        ("chat", "keep_at_most = \"P9Y\""),
        ("*", "keep_at_least = \"P5Y\""),
        ("survey", "keep_at_most = \"P1D\""),
    ]);
    assert_eq!(store.set_policy(&others).unwrap(), 5, "of surveys there are none");
    store.close().unwrap();
    for (path, bytes) in sim.files() {
        let found = bytes.windows(13).any(|window| window == b"canary-reason");
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn a_new_window_length_holds_for_partitions_made_after_it() {
    let (_, store) = store(3);
    let names = |store: &Store| -> Vec<String> {
        let stats = store.stats().unwrap();
        stats
            .partitions
            .iter()
            .map(|partition| partition.partition.to_string())
            .filter(|name| name.starts_with("chat"))
            .collect()
    };
    let months = ["chat/EU/2025-01-01-month", "chat/EU/2025-06-01-month", "chat/EU/2025-12-01-month"];
    assert_eq!(names(&store), months);
    store.set_policy(&law(&[("*", "window = \"quarter\"")])).unwrap();
    assert_eq!(names(&store), months);
    store
        .append(vec![note("bo", "chat", "2025-06-20T00:00:00Z"), note("ana", "chat", "2025-05-01T00:00:00Z")])
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(names(&store), [&months[..1], &["chat/EU/2025-04-01-quarter"], &months[1..]].concat());
    assert_eq!(store.timeline("ana", ..).unwrap().filter(|stored| stored.is_ok()).count(), 7);
    // Each goes when its own window is over.
    store.set_policy_confirmed(&law(&[("*", "window = \"quarter\"\nkeep_at_most = \"P7M\"")]), "a test").unwrap();
    let now = Some(at("2026-01-15T00:00:00Z"));
    let due = store.expire(ExpireOptions { now, confirmed: true, ..ExpireOptions::default() }).unwrap();
    let due: Vec<_> = due.partitions.iter().map(|due| due.partition.to_string()).collect();
    assert_eq!(due, ["chat/EU/2025-01-01-month", "letter/EU/2025-01-01-month"]);
    let now = Some(at("2026-02-01T00:00:00Z"));
    let due = store.expire(ExpireOptions { now, confirmed: true, ..ExpireOptions::default() }).unwrap();
    let due: Vec<_> = due.partitions.iter().map(|due| due.partition.to_string()).collect();
    assert_eq!(due, ["chat/EU/2025-04-01-quarter", "chat/EU/2025-06-01-month", "letter/EU/2025-06-01-month"]);
}

#[test]
fn a_year_end_hides_and_expires_by_the_year_of_its_zone() {
    let (sim, store) = store(4);
    let rest = "anchor = \"year-end\"\nzone = \"Europe/Berlin\"\nkeep_at_most = \"P1Y\"";
    store.append(vec![note("ana", "chat", "2025-12-31T23:30:00Z")]).unwrap().wait().unwrap();
    store.set_policy_confirmed(&law(&[("chat", rest), ("*", "")]), "a test").unwrap();
    let shown = || {
        store.timeline("ana", ..).unwrap().filter(|stored| stored.as_ref().unwrap().stream.class() == "chat").count()
    };
    sim.set_now(at("2026-12-31T22:59:59Z"));
    assert_eq!(shown(), 4);
    sim.set_now(at("2026-12-31T23:00:00Z"));
    assert_eq!(shown(), 1, "half past midnight in Berlin is next year's");
    let now = Some(at("2026-12-31T23:00:00Z"));
    let due = store.expire(ExpireOptions { now, confirmed: true, ..ExpireOptions::default() }).unwrap();
    let due: Vec<_> = due.partitions.iter().map(|due| due.partition.to_string()).collect();
    assert_eq!(due, ["chat/EU/2025-01-01-month", "chat/EU/2025-06-01-month"]);
}

#[test]
fn the_law_is_explained_place_by_place() {
    let (_, store) = store(5);
    let text = law(&[
        ("chat", "keep_at_least = \"P10M\"\nkeep_at_most = \"P1Y\"\nbasis = \"Act 7\"\nnotice = \"P2D\""),
        ("profile", "anchor = \"relationship-end\"\nkeep_at_least = \"P5Y\"\nkeep_at_most = \"P5Y\"\nlatest = true"),
    ]);
    store.append(vec![note("ana", "profile", "2025-03-01T00:00:00Z")]).unwrap().wait().unwrap();
    store
        .hold(
            "ana",
            &Hold {
                matter: "m".into(),
                reason: "r".into(),
                until: Some(at("2025-02-01T00:00:00Z")),
                ..Hold::default()
            },
        )
        .unwrap();
    store.set_policy_confirmed(&text, "a test").unwrap();
    let chats = store.explain_stream(&Stream::new("chat", "EU").unwrap()).unwrap();
    assert_eq!((chats.provisions.len(), chats.provisions[0].line, chats.latest), (1, 1, false));
    assert_eq!(chats.provisions[0].basis.as_deref(), Some("Act 7"));
    let verdicts: Vec<_> = chats.places.iter().map(|place| (place.verdict, place.holds.len())).collect();
    let [january, june, december] = verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!(january.1, 1);
    assert!(matches!(january.0, Verdict::Keep { why: Why::Allowed(_), .. }), "{january:?}");
    assert!(matches!(june.0, Verdict::Keep { why: Why::Duty(_), .. }), "{june:?}");
    assert!(matches!(december.0, Verdict::Keep { why: Why::Duty(_), .. }), "{december:?}");
    let limit = chats.places[1].limit.unwrap();
    assert_eq!((limit.at, limit.notice), (at("2026-07-01T00:00:00Z"), Some(at("2026-06-29T00:00:00Z"))));

    let ana = store.explain_customer("ana").unwrap().unwrap();
    let names: Vec<_> = ana.streams.iter().map(|law| (law.stream.to_string(), law.places.len())).collect();
    assert_eq!(names, [("chat/EU".into(), 3), ("letter/EU".into(), 3), ("profile/EU".into(), 1)]);
    assert!(ana.streams[1].provisions.is_empty());
    assert!(matches!(ana.streams[1].places[0].verdict, Verdict::Keep { why: Why::NoRule, .. }));
    let profile = &ana.streams[2];
    assert!(profile.latest && profile.ends_by_row);
    assert!(profile.places[0].limit.is_none() && profile.places[0].duty.unwrap().until.is_none());
    assert!(store.explain_customer("nobody").unwrap().is_none());
    store.release(1).unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    // What is still under duty is left, restricted.
    let ana = store.explain_customer("ana").unwrap().unwrap();
    let left: Vec<_> = ana.streams.iter().map(|law| (law.stream.to_string(), law.places.len())).collect();
    assert_eq!(left, [("chat/EU".into(), 2), ("profile/EU".into(), 1)]);
    let mut places = ana.streams.iter().flat_map(|law| &law.places);
    assert!(places.all(|place| matches!(place.verdict, Verdict::Restricted { .. })), "{ana:?}");
    assert_eq!(store.timeline("ana", ..).unwrap().count(), 0);
}

/// Tells by the first letter of the customer.
#[derive(Debug)]
struct ByLetter;

impl Classifier for ByLetter {
    fn class(&self, record: &Record) -> Option<String> {
        match record.customer.expose().as_bytes().first() {
            Some(b'b') => Some("letter".into()),
            Some(b'c') => Some("no class/at all".into()),
            _ => None,
        }
    }
}

const CLASSES: &str = r#"
[[rule]]
class = "*"
jurisdiction = "EU"

[[classify]]
pointer = "/kind"
matches = "voice*"
class = "call"
"#;

fn unclassed(customer: &str, kind: BodyKind, body: &str) -> Record {
    Record::unclassed(customer, "EU", at("2025-06-10T00:00:00Z"), body.to_owned()).unwrap().with_kind(kind)
}

#[test]
fn a_class_is_told_by_rule_or_classifier_and_never_guessed() {
    let sim = Sim::new(6);
    sim.set_now(at("2026-01-15T00:00:00Z"));
    let store = scene::options(&sim).policy(CLASSES).classifier(ByLetter).create().unwrap();
    let voice = r#"{"kind":"voicemail"}"#;
    let batch = vec![
        unclassed("ana", BodyKind::Json, voice),
        unclassed("bo", BodyKind::Json, voice),
        unclassed("bo", BodyKind::Json, "{}"),
        unclassed("bo", BodyKind::Bytes, voice),
        note("ana", "survey", "2025-06-10T00:00:00Z"),
    ];
    store.append(batch).unwrap().wait().unwrap();
    let mut found: Vec<_> =
        store.scan(ScanFilter::default()).unwrap().map(|stored| stored.unwrap().stream.to_string()).collect();
    found.sort();
    assert_eq!(found, ["call/EU", "call/EU", "letter/EU", "letter/EU", "survey/EU"]);
    let batch = vec![
        unclassed("ana", BodyKind::Json, voice),
        unclassed("ana", BodyKind::Json, r#"{"kind":"chat"}"#),
        unclassed("cy", BodyKind::Text, voice),
    ];
    let error = store.append(Batch::from(batch)).unwrap_err();
    let reasons: Vec<_> = error.refusals().iter().map(|refusal| (refusal.index, refusal.reason)).collect();
    assert_eq!(reasons, [(1, RefusalReason::Unclassed), (2, RefusalReason::Unclassed)]);
    // Of a body that is to come the rules know nothing: whoever has it asks before.
    let mut whole = unclassed("ana", BodyKind::Json, voice);
    let empty = |record: &Record| Record { body: Default::default(), ..record.clone() };
    let error = store.upload(empty(&whole)).err().unwrap();
    assert_eq!(error.refusals()[0].reason, RefusalReason::Unclassed);
    assert!(error.next_step().unwrap().contains("Store::classify"), "{error}");
    assert!(store.classify(&mut whole) && whole.stream.class() == "call" && store.upload(empty(&whole)).is_ok());
    assert!(!store.classify(&mut unclassed("cy", BodyKind::Text, voice)));
    assert!(store.upload(empty(&unclassed("bo", BodyKind::Bytes, voice))).is_ok(), "the classifier knows whose it is");
}
