//! Erasure under duty: what may die dies at once, the rest is restricted and dies by itself when its time has come.

use tenure::report::{self, Budget, Duty, Verb, VerifyOptions, WhyUnshown};
use tenure::{
    ErrorKind, ExpireOptions, Hold, Options, Record, RecordId, RefusalReason, ScanFilter, Store, Stream, Timestamp,
    Verdict,
};

use crate::life::{Place, at};
use crate::vault::Vault;

/// Chats may go when they like; letters must be kept for half a year, and may be kept for two.
const POLICY: &str = "
[[rule]]
class = \"*\"
jurisdiction = \"*\"
[[rule]]
class = \"letter\"
jurisdiction = \"*\"
keep_at_least = \"P6M\"
keep_at_most = \"P2Y\"
basis = \"Code of letters, section 9\"
";

fn options(place: &Place) -> Options {
    place.options().policy(POLICY)
}

fn scene(seed: u64) -> (Place, Store) {
    let place = Place::new(seed, Some(Vault::default()));
    let store = options(&place).create().unwrap();
    (place, store)
}

fn reopen(place: &Place, store: Store) -> Store {
    store.close().unwrap();
    options(place).open().unwrap()
}

fn note(customer: &str, class: &str, time: &str) -> Record {
    let at: Timestamp = at(time);
    let body = format!("{customer} {class} {}", &time[2..10]);
    Record::new(customer, class, "EU", at, body).unwrap()
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

/// Ana and bo with a chat and a letter in each month from May 2025 to January 2026; it is January 20th, 2026.
fn fill(store: &Store) {
    for month in 5..=13 {
        let time = format!("{}-{:02}-10T12:00:00Z", 2025 + month / 13, 1 + (month - 1) % 12);
        for customer in ["ana", "bo"] {
            append(store, vec![note(customer, "chat", &time), note(customer, "letter", &time)]);
        }
    }
}

fn bodies(timeline: tenure::Result<tenure::Timeline>) -> Vec<String> {
    timeline.unwrap().map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

fn whole(store: &Store) -> u64 {
    let verified = store.verify(VerifyOptions { deep: true, ..VerifyOptions::default() }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    verified.unreachable
}

fn by(time: &str) -> ExpireOptions {
    ExpireOptions { now: Some(at(time)), confirmed: true, ..ExpireOptions::default() }
}

/// The letters from July on: their windows have a duty on January 20th.
const LETTERS: [&str; 7] = [
    "ana letter 25-07-10",
    "ana letter 25-08-10",
    "ana letter 25-09-10",
    "ana letter 25-10-10",
    "ana letter 25-11-10",
    "ana letter 25-12-10",
    "ana letter 26-01-10",
];

/// Nobody sees ana's letters but who serves the duty, and nothing older than the erasure comes in.
fn is_restricted(place: &Place, store: &Store, letters: &[String], bo: &[String]) {
    assert!(bodies(store.timeline("ana", ..)).is_empty());
    let scanned = store.scan(ScanFilter::default()).unwrap().map(Result::unwrap);
    assert_eq!(scanned.filter(|one| one.customer.expose() == "ana").count(), 0);
    assert_eq!(bodies(store.restricted("ana")), letters);
    assert_eq!(bodies(store.timeline("bo", ..)), bo);
    assert!(bodies(store.restricted("bo")).is_empty() && bodies(store.held("ana")).is_empty());
    let id = store.restricted("ana").unwrap().next().unwrap().unwrap().id;
    assert!(store.get("ana", id).unwrap().is_none() && store.body("ana", id).unwrap().is_none());
    assert_eq!(store.restricted_body("ana", id).unwrap().unwrap().length(), 19);
    let late = store.append(vec![note("ana", "letter", "2026-01-19T00:00:00Z")]).unwrap_err();
    assert_eq!(late.refusals()[0].reason, RefusalReason::Erased);
    assert!(store.erase(&["ana"]).unwrap().is_none(), "all there is has to stay");
    assert_eq!(bodies(options(place).open_read_only().unwrap().restricted("ana")), letters);
}

#[test]
fn what_may_die_dies_now_and_the_rest_by_itself_when_its_duty_is_over() {
    let (place, mut store) = scene(1);
    fill(&store);
    store.settle().unwrap();
    append(&store, vec![note("ana", "letter", "2025-07-25T00:00:00Z")]);
    let bo = bodies(store.timeline("bo", ..));
    let mut open = store.timeline("ana", ..).unwrap();
    assert!(open.next().unwrap().is_ok());
    let receipt = store.erase(&["ana", "nobody"]).unwrap().unwrap();
    assert_eq!(open.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!((receipt.verb, receipt.subjects.len(), receipt.stage()), (Verb::Erase, 1, "final"));
    let [kept] = &receipt.kept[..] else { panic!("{:?}", receipt.kept) };
    assert_eq!(
        (kept.stream.to_string(), kept.from.to_string(), kept.until.to_string()),
        ("letter/EU".into(), "2025-07-01".into(), "2026-02-01".into())
    );
    assert_eq!((kept.duty, &kept.holds[..]), (Duty::Until(at("2026-08-01T00:00:00Z")), &[][..]));
    let mut letters: Vec<String> = LETTERS.iter().map(|body| (*body).to_owned()).collect();
    // On January 20th the duty of the letter of July 10th is over by itself, that of its window is not.
    letters[0] = "ana letter 25-07-25".into();
    for round in 0..3 {
        is_restricted(&place, &store, &letters, &bo);
        match round {
            0 => drop(store.scrub().unwrap()),
            _ => store = reopen(&place, store),
        }
        assert_eq!(whole(&store), 0);
    }
    // Somebody new, with the same name.
    append(&store, vec![note("ana", "letter", "2026-01-20T12:00:00Z"), note("ana", "chat", "2026-01-20T12:00:00Z")]);
    assert_eq!(bodies(store.timeline("ana", ..)), ["ana letter 26-01-20", "ana chat 26-01-20"]);
    assert_eq!(bodies(store.restricted("ana")), letters);
    both_lives_are_explained(&store);
    // The first two windows go when their duty is over, in nobody's way; a look at what is due tells them before.
    let dry = store.expire(ExpireOptions { dry_run: true, ..by("2026-03-01T00:00:00Z") }).unwrap();
    let expiry = store.expire(by("2026-03-01T00:00:00Z")).unwrap();
    assert_eq!((&dry.rows, dry.receipt), (&expiry.rows, None));
    let [lapsed] = &expiry.rows[..] else { panic!("{:?}", expiry.rows) };
    assert_eq!(
        (lapsed.from.to_string(), lapsed.until.to_string(), lapsed.restricted),
        ("2025-07-01".into(), "2025-09-01".into(), true)
    );
    let receipt = expiry.receipt.unwrap();
    assert_eq!(
        (receipt.verb, receipt.subjects.len(), receipt.partitions, &receipt.lapsed),
        (Verb::Expire, 1, 0, &expiry.rows)
    );
    assert_eq!(bodies(store.restricted("ana")), letters[2..]);
    store.scrub().unwrap();
    assert_eq!(whole(&store), 0);
    assert!(store.receipts().unwrap().iter().all(|receipt| receipt.scrubbed.is_some()));
    let mut store = reopen(&place, store);
    assert_eq!(bodies(store.restricted("ana")), letters[2..]);
    assert!(store.expire(by("2026-03-01T00:00:00Z")).unwrap().rows.is_empty());
    // And the rest, the new life left alone: its letter of January stands in a window with old ones.
    store.expire(by("2026-09-01T00:00:00Z")).unwrap().receipt.unwrap();
    for _ in 0..2 {
        assert!(bodies(store.restricted("ana")).is_empty());
        assert_eq!(bodies(store.timeline("ana", ..)), ["ana letter 26-01-20", "ana chat 26-01-20"]);
        store.scrub().unwrap();
        assert_eq!((whole(&store), bodies(store.timeline("bo", ..)).len()), (0, bo.len()));
        store = reopen(&place, store);
    }
}

/// What an erasure has left of ana and her new life are two places where they share a window, and nothing else is one.
fn both_lives_are_explained(store: &Store) {
    let law = store.explain_customer("ana").unwrap().unwrap();
    let told = |place: &report::Place| (place.partition.window.to_string(), place.restricted);
    let places = |name: &str| {
        let stream = law.streams.iter().find(|law| law.stream.class() == name).unwrap();
        stream.places.iter().map(told).collect::<Vec<_>>()
    };
    let january = "2026-01-01-month".to_owned();
    assert_eq!(places("chat"), [(january.clone(), false)]);
    let letters = places("letter");
    assert_eq!((letters.len(), &letters[6..]), (8, &[(january.clone(), false), (january, true)][..]), "{letters:?}");
    for place in law.streams.iter().flat_map(|law| &law.places) {
        assert_eq!(matches!(place.verdict, Verdict::Restricted { .. }), place.restricted, "{place:?}");
    }
    // An export says the same of what it leaves out.
    let export = store.export("ana").unwrap().unwrap();
    let unshown: Vec<_> = export.unshown().iter().map(|one| (one.why, one.records)).collect();
    assert_eq!(unshown, [[(WhyUnshown::Restricted, 2)].as_slice(), &[(WhyUnshown::Restricted, 1); 6]].concat());
    assert_eq!(export.count(), 2);
}

#[test]
fn a_part_that_must_be_kept_is_restricted_and_what_is_later_stays_for_everybody() {
    let (place, store) = scene(2);
    fill(&store);
    append(&store, vec![note("ana", "letter", "2025-11-20T00:00:00Z")]);
    let letters = Stream::new("letter", "EU").unwrap();
    let receipt = store.erase_part("ana", Some(letters), Some(at("2025-11-15T00:00:00Z"))).unwrap().unwrap();
    assert_eq!(
        (receipt.verb, receipt.kept.len(), receipt.kept[0].from.to_string()),
        (Verb::ErasePart, 1, "2025-07-01".into())
    );
    let mut store = store;
    for round in 0..2 {
        let free: Vec<String> =
            bodies(store.timeline("ana", ..)).into_iter().filter(|body| body.contains("letter")).collect();
        assert_eq!(free, ["ana letter 25-11-20", "ana letter 25-12-10", "ana letter 26-01-10"], "round {round}");
        // That of July is hidden: its own duty is over.
        assert_eq!(
            bodies(store.restricted("ana")),
            ["ana letter 25-08-10", "ana letter 25-09-10", "ana letter 25-10-10", "ana letter 25-11-10"]
        );
        assert_eq!(bodies(store.timeline("ana", ..)).iter().filter(|body| body.contains("chat")).count(), 9);
        store.scrub().unwrap();
        assert_eq!(whole(&store), 0);
        store = reopen(&place, store);
    }
    store.expire(by("2026-12-31T00:00:00Z")).unwrap().receipt.unwrap();
    store.scrub().unwrap();
    assert!(bodies(store.restricted("ana")).is_empty());
    assert_eq!((whole(&store), bodies(store.timeline("ana", ..)).len()), (0, 12));
}

#[test]
fn a_record_under_duty_is_redacted_only_where_that_is_said_and_then_wherever_it_stands() {
    let (place, store) = scene(3);
    fill(&store);
    let id = |serial: u8| RecordId::from_bytes([serial; 16]);
    append(&store, vec![note("ana", "letter", "2026-01-05T00:00:00Z").with_id(id(1))]);
    append(&store, vec![note("ana", "letter", "2026-01-06T00:00:00Z").with_id(id(2))]);
    append(&store, vec![note("ana", "letter", "2025-06-06T00:00:00Z").with_id(id(3))]);
    let refused = store.redaction("ana", id(1), false).unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().contains("2026-07-05")), (ErrorKind::Refused, true), "{refused}");
    let look = store.redaction("ana", id(1), true).unwrap().unwrap();
    assert_eq!((look.raw_bytes, look.restricted, look.duty), (19, false, Duty::Until(at("2026-07-05T00:00:00Z"))));
    let refused = store.redact("ana", id(1)).unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().contains("2026-07-05")), (ErrorKind::Refused, true), "{refused}");
    store.redact("ana", id(3)).unwrap().expect("its duty is over");
    store.redact_despite_duty("ana", id(1)).unwrap().unwrap();
    assert!(!bodies(store.timeline("ana", ..)).contains(&"ana letter 26-01-05".into()));
    store.erase(&["ana"]).unwrap().unwrap();
    assert_eq!(bodies(store.restricted("ana")).len(), 7);
    // Also where it is restricted: the others stay restricted, and nobody begins a new life by it.
    assert_eq!(store.redact("ana", id(2)).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(store.redaction("ana", id(2), false).unwrap_err().kind(), ErrorKind::Refused);
    assert!(store.redaction("ana", id(2), true).unwrap().unwrap().restricted);
    store.redact_despite_duty("ana", id(2)).unwrap().unwrap();
    let mut store = store;
    for _ in 0..2 {
        assert!(bodies(store.timeline("ana", ..)).is_empty());
        assert_eq!(bodies(store.restricted("ana")), LETTERS[1..]);
        assert!(store.redact_despite_duty("ana", id(2)).unwrap().is_none());
        assert_eq!(store.redaction("ana", id(2), true).unwrap(), None);
        store.scrub().unwrap();
        assert_eq!(whole(&store), 0);
        store = reopen(&place, store);
    }
    store.expire(by("2026-12-31T00:00:00Z")).unwrap().receipt.unwrap();
    assert_eq!(
        store.hold("ana", &Hold { matter: "m".into(), reason: "r".into(), ..Hold::default() }).unwrap_err().kind(),
        ErrorKind::Erased
    );
    place.sim.advance(std::time::Duration::from_secs(40 * 86_400));
    store.maintain(Budget::ALL).unwrap();
    assert_eq!(store.stats().unwrap().customers, 1, "nothing is left of her but bo");
}

#[test]
fn periods_that_run_from_facts_end_by_row() {
    const LAW: &str = "
[[rule]]
class = \"*\"
jurisdiction = \"*\"
[[rule]]
class = \"profile\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
keep_at_least = \"P1Y\"
keep_at_most = \"P1Y\"
[[rule]]
class = \"voice\"
jurisdiction = \"*\"
anchor = \"last-contact\"
keep_at_most = \"P3M\"
";
    let place = Place::new(4, Some(Vault::default()));
    let store = place.options().policy(LAW).create().unwrap();
    for customer in ["ana", "bo"] {
        append(
            &store,
            vec![note(customer, "profile", "2025-08-01T00:00:00Z"), note(customer, "voice", "2025-09-01T00:00:00Z")],
        );
    }
    append(&store, vec![note("bo", "chat", "2026-01-10T00:00:00Z"), note("cy", "voice", "2025-09-01T00:00:00Z")]);
    assert!(!store.relationship_ended("nobody", at("2025-10-01T00:00:00Z")).unwrap());
    // Not yet reported, and kept until then.
    let receipt = store.erase(&["ana"]).unwrap().unwrap();
    assert_eq!(receipt.kept.iter().map(|kept| kept.duty).collect::<Vec<_>>(), [Duty::Open]);
    assert_eq!(bodies(store.restricted("ana")), ["ana profile 25-08-01"]);
    assert!(bodies(store.timeline("cy", ..)).is_empty(), "more than three months without a contact");
    assert_eq!(bodies(store.timeline("bo", ..)).len(), 3, "a contact of another kind");
    assert!(store.relationship_ended("ana", at("2025-10-01T00:00:00Z")).unwrap());
    assert!(store.request_closed("ana", at("2025-10-01T00:00:00Z")).unwrap());
    let store = {
        store.close().unwrap();
        place.options().open().unwrap()
    };
    assert_eq!(bodies(store.restricted("ana")), ["ana profile 25-08-01"]);
    let expiry = store.expire(ExpireOptions::default()).unwrap();
    let [lapsed] = &expiry.rows[..] else { panic!("{:?}", expiry.rows) };
    assert_eq!((lapsed.stream.to_string(), lapsed.restricted), ("voice/EU".into(), false));
    assert!(store.expire(ExpireOptions::default()).unwrap().receipt.is_none());
    assert_eq!(
        store.expire(by("2026-10-02T00:00:00Z")).unwrap().rows.len(),
        2,
        "ana's profile, and bo's voice by then"
    );
    assert!(store.relationship_ended("bo", at("2026-01-01T00:00:00Z")).unwrap());
    assert!(store.relationship_resumed("bo").unwrap());
    assert!(store.expire(by("2027-10-02T00:00:00Z")).unwrap().rows.is_empty());
    assert!(store.relationship_ended("bo", at("2026-01-01T00:00:00Z")).unwrap());
    assert_eq!(store.expire(by("2027-10-02T00:00:00Z")).unwrap().rows.len(), 1);
    assert_eq!(bodies(store.timeline("bo", ..)), ["bo chat 26-01-10"]);
    store.scrub().unwrap();
    assert_eq!(whole(&store), 0);
    store.maintain(Budget::ALL).unwrap();
    place.sim.advance(std::time::Duration::from_secs(40 * 86_400));
    store.maintain(Budget::ALL).unwrap();
    assert_eq!(store.stats().unwrap().customers, 1);
}

/// A request that was closed before says nothing of a complaint that came later: neither that its duty is over nor that
/// its time is.
#[test]
fn what_comes_after_a_fact_is_not_over_by_it() {
    const LAW: &str = "
[[rule]]
class = \"complaint\"
jurisdiction = \"*\"
anchor = \"request-closed\"
keep_at_least = \"P3M\"
keep_at_most = \"P6M\"
[[rule]]
class = \"profile\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
keep_at_most = \"P6M\"
";
    let place = Place::new(7, Some(Vault::default()));
    let store = place.options().policy(LAW).create().unwrap();
    append(
        &store,
        vec![note("ana", "complaint", "2025-03-01T00:00:00Z"), note("ana", "profile", "2025-03-01T00:00:00Z")],
    );
    assert!(store.request_closed("ana", at("2025-04-01T00:00:00Z")).unwrap());
    assert!(store.relationship_ended("ana", at("2025-04-01T00:00:00Z")).unwrap());
    append(
        &store,
        vec![note("ana", "complaint", "2026-01-10T00:00:00Z"), note("ana", "profile", "2026-01-10T00:00:00Z")],
    );
    let later = ["ana complaint 26-01-10", "ana profile 26-01-10"];
    assert_eq!(bodies(store.timeline("ana", ..)), later, "what was closed is over, what is new is not");
    store.expire(ExpireOptions::default()).unwrap();
    assert_eq!(bodies(store.timeline("ana", ..)), later);
    let receipt = store.erase(&["ana"]).unwrap().unwrap();
    assert_eq!(receipt.kept.iter().map(|kept| kept.stream.to_string()).collect::<Vec<_>>(), ["complaint/EU"]);
    assert_eq!(bodies(store.restricted("ana")), later[..1]);
    store.scrub().unwrap();
    assert_eq!(whole(&store), 0);
}

/// A fact of a year that was mistyped could never be taken back.
#[test]
fn a_fact_that_is_still_to_come_is_refused() {
    let (_, store) = scene(8);
    fill(&store);
    let ahead = at("2062-01-01T00:00:00Z");
    for outcome in
        [store.contacted("ana", ahead), store.request_closed("ana", ahead), store.relationship_ended("ana", ahead)]
    {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(store.contacted("ana", at("2026-01-20T13:00:00Z")).unwrap(), "within a day: clocks differ");
}

/// Who is to be told is listed from the time on that the policy says until it ends; nobody who has no notice, and nobody
/// whose records a hold keeps.
#[test]
fn who_is_to_be_told_is_listed_until_it_ends() {
    const LAW: &str = "
[[rule]]
class = \"*\"
jurisdiction = \"*\"
anchor = \"last-contact\"
keep_at_most = \"P3M\"
notice = \"P10D\"
[[rule]]
class = \"chat\"
jurisdiction = \"*\"
keep_at_most = \"P1Y\"
notice = \"P300D\"
";
    let place = Place::new(9, Some(Vault::default()));
    let store = place.options().policy(LAW).create().unwrap();
    for (customer, time) in
        [("ana", "2025-10-28T00:00:00Z"), ("bo", "2025-12-30T00:00:00Z"), ("cy", "2025-10-30T00:00:00Z")]
    {
        append(&store, vec![note(customer, "voice", time), note(customer, "chat", time)]);
    }
    let hold = store.hold("cy", &Hold { matter: "m".into(), reason: "r".into(), ..Hold::default() }).unwrap().unwrap();
    let told = |store: &Store| {
        let named = store.notices().unwrap().into_iter();
        named.map(|one| (one.customer.expose().to_owned(), one.stream.to_string(), one.due)).collect::<Vec<_>>()
    };
    // By the window, since that is what goes: the end of October and three months.
    let due = at("2026-01-31T23:59:59.999999Z");
    assert_eq!(told(&store), []);
    place.sim.advance(std::time::Duration::from_secs(3 * 86_400));
    assert_eq!(told(&store), [("ana".to_owned(), "voice/EU".to_owned(), due)]);
    store.release(hold).unwrap();
    assert_eq!(told(&store).len(), 2);
    place.sim.advance(std::time::Duration::from_secs(10 * 86_400));
    assert_eq!(told(&store), []);
}

/// What was reported of a contact stays when its record goes, and so do the duty and the maximum that run from it; what was
/// not reported goes with the record.
#[test]
fn a_contact_that_was_reported_outlives_its_record() {
    const LAW: &str = "
[[rule]]
class = \"voice\"
jurisdiction = \"*\"
keep_at_most = \"P2M\"
[[rule]]
class = \"collection\"
jurisdiction = \"*\"
anchor = \"last-contact\"
keep_at_least = \"P1Y\"
keep_at_most = \"P1Y\"
";
    let place = Place::new(6, Some(Vault::default()));
    let store = place.options().policy(LAW).create().unwrap();
    for customer in ["ana", "bo"] {
        append(
            &store,
            vec![note(customer, "collection", "2025-12-01T00:00:00Z"), note(customer, "voice", "2026-01-10T00:00:00Z")],
        );
    }
    assert!(
        store.contacted("ana", at("2026-01-10T00:00:00Z")).unwrap()
            && !store.contacted("cy", at("2026-01-10T00:00:00Z")).unwrap()
    );
    assert!(store.contacted("ana", at("2025-12-24T00:00:00Z")).unwrap(), "the latest counts");
    assert_eq!(store.expire(by("2026-04-02T00:00:00Z")).unwrap().partitions.len(), 1, "the calls, after two months");
    let store = {
        store.close().unwrap();
        place.options().open().unwrap()
    };
    let contact =
        |customer| store.explain_customer(customer).unwrap().unwrap().facts.last_contact.unwrap().day().to_string();
    assert_eq!((contact("ana"), contact("bo")), ("2026-01-10".into(), "2025-12-01".into()));
    let due = store.expire(ExpireOptions { dry_run: true, ..by("2027-01-05T00:00:00Z") }).unwrap().rows;
    assert_eq!(due.len(), 1, "a year after bo's last record; ana's contact was later");
    let due = store.expire(ExpireOptions { dry_run: true, ..by("2027-02-05T00:00:00Z") }).unwrap().rows;
    assert_eq!(due.len(), 2);
}

/// A look ahead finds nothing, since there is nothing; what is taken in afterwards goes in time all the same.
#[test]
fn a_look_ahead_puts_nothing_off() {
    const LAW: &str =
        "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nanchor = \"last-contact\"\nkeep_at_most = \"P3M\"\n";
    let place = Place::new(5, Some(Vault::default()));
    let store = place.options().policy(LAW).create().unwrap();
    let ahead = ExpireOptions { dry_run: true, ..by("2030-01-01T00:00:00Z") };
    assert!(store.expire(ahead).unwrap().rows.is_empty());
    append(&store, vec![note("ana", "chat", "2025-09-01T00:00:00Z")]);
    place.sim.advance(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(store.expire(ExpireOptions::default()).unwrap().rows.len(), 1);
}
