//! Records that are put right, states of which the newest counts, and what is handed out of a customer.

use std::sync::atomic::{AtomicUsize, Ordering};

use tenure::env::sim::Faults;
use tenure::report::{Budget, VerifyOptions, WhyUnshown};
use tenure::{BodyKind, ErrorKind, ExpireOptions, Hold, Record, RecordId, ScanFilter, Store, Stored, Stream};

use crate::life::{Place, at};
use crate::vault::Vault;

const POLICY: &str = "\
[[rule]]
class = \"*\"
jurisdiction = \"*\"
keep_at_most = \"P6M\"
basis = \"contract\"

[[rule]]
class = \"profile\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
keep_at_most = \"P6M\"
latest = true
";

fn scene(seed: u64) -> (Place, Store) {
    let place = Place::new(seed, Some(Vault::default()));
    let store = place.options().policy(POLICY).create().unwrap();
    (place, store)
}

fn id(byte: u8) -> RecordId {
    RecordId::from_bytes([byte; 16])
}

fn record(customer: &str, class: &str, time: &str, body: &str) -> Record {
    Record::new(customer, class, "EU", at(time), body.to_owned()).unwrap().with_kind(BodyKind::Text)
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

fn words(stored: &Stored) -> String {
    String::from_utf8(stored.body.to_vec()).unwrap()
}

fn bodies(records: impl IntoIterator<Item = tenure::Result<Stored>>) -> Vec<String> {
    records.into_iter().map(|stored| words(&stored.unwrap())).collect()
}

fn timeline(store: &Store, customer: &str) -> Vec<String> {
    bodies(store.timeline(customer, ..).unwrap())
}

fn history(store: &Store, customer: &str) -> Vec<String> {
    bodies(store.history(customer).unwrap())
}

/// What a scan gives, on one thread or on two, in no order.
fn scanned(store: &Store) -> Vec<String> {
    let mut one = bodies(store.scan(ScanFilter::default()).unwrap());
    let count = AtomicUsize::new(0);
    let visit = |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::ops::ControlFlow::<()>::Continue(())
    };
    assert!(store.scan_parallel(ScanFilter::default(), 2, visit).unwrap().is_continue());
    assert_eq!(one.len(), count.into_inner());
    one.sort();
    one
}

fn sound(store: &Store) {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
}

/// Ana's three chats, the second of which has an id of its caller's.
fn chats(store: &Store) {
    append(
        store,
        vec![
            record("ana", "chat", "2026-01-05T00:00:00Z", "first"),
            record("ana", "chat", "2026-01-06T00:00:00Z", "secnod").with_id(id(2)),
            record("ana", "chat", "2026-01-07T00:00:00Z", "third"),
            record("bo", "chat", "2026-01-06T00:00:00Z", "of bo").with_id(id(2)),
        ],
    );
}

#[test]
fn readers_see_the_last_version_and_the_history_keeps_all() {
    let (place, mut store) = scene(1);
    chats(&store);
    let first = store.rectify("ana", id(2), b"secund").unwrap();
    store.settle().unwrap();
    // By the id of any version, and always in the last one.
    let second = store.rectify("ana", id(2), b"second").unwrap();
    assert_ne!(first, second);
    for round in 0..3 {
        assert_eq!(timeline(&store, "ana"), ["first", "second", "third"], "round {round}");
        assert_eq!(history(&store, "ana"), ["first", "secnod", "secund", "second", "third"]);
        let amends: Vec<_> = store.history("ana").unwrap().map(|stored| stored.unwrap().amends).collect();
        assert_eq!(amends, [None, None, Some(id(2)), Some(first), None]);
        for version in [id(2), first, second] {
            let stored = store.get("ana", version).unwrap().unwrap();
            assert_eq!((stored.id, stored.at, words(&stored)), (second, at("2026-01-06T00:00:00Z"), "second".into()));
            assert_eq!(stored.kind, BodyKind::Text);
            assert_eq!(store.body("ana", version).unwrap().unwrap().record().id, second);
            assert_eq!(store.history_body("ana", version).unwrap().unwrap().record().id, version);
        }
        assert_eq!(bodies(store.grep("ana", "sec", ..).unwrap()), ["second"]);
        assert!(bodies(store.grep("ana", "secnod", ..).unwrap()).is_empty(), "what is wrong is not found any more");
        assert_eq!(scanned(&store), ["first", "of bo", "second", "third"]);
        sound(&store);
        let reader = place.options().open_read_only().unwrap();
        assert_eq!(timeline(&reader, "ana"), ["first", "second", "third"]);
        match round {
            0 => {
                // Sent again, the original is still what was amended.
                append(&store, vec![record("ana", "chat", "2026-01-06T00:00:00Z", "secnod").with_id(id(2))]);
                store.settle().unwrap();
                store.maintain(Budget::ALL).unwrap();
            }
            _ => {
                store.close().unwrap();
                store = place.options().open().unwrap();
            }
        }
    }
    for (customer, unknown) in [("ana", id(9)), ("nobody", id(2))] {
        assert_eq!(store.rectify(customer, unknown, b"x").unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.rectify("bo", id(2), &vec![0; tenure::BODY_LIMIT + 1]).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_redaction_takes_every_version_and_other_acts_keep_them() {
    let (place, store) = scene(2);
    chats(&store);
    let amended = store.rectify("ana", id(2), b"second").unwrap();
    let third = store.timeline("ana", ..).unwrap().last().unwrap().unwrap().id;
    store.rectify("ana", third, b"the third").unwrap();
    // Another record of the cell goes: the versions are written again, and know each other.
    let first = store.timeline("ana", ..).unwrap().next().unwrap().unwrap().id;
    store.redact("ana", first).unwrap().unwrap();
    assert_eq!(history(&store, "ana"), ["secnod", "second", "third", "the third"]);
    assert_eq!(timeline(&store, "ana"), ["second", "the third"]);
    // A part goes: the same.
    store.erase_part("ana", None, Some(at("2026-01-06T12:00:00Z"))).unwrap().unwrap();
    assert_eq!((history(&store, "ana").len(), timeline(&store, "ana")), (2, vec!["the third".into()]));
    assert_eq!(store.rectify("ana", id(2), b"x").unwrap_err().kind(), ErrorKind::NotFound, "erased");
    let again = store.rectify("ana", third, b"the third time").unwrap();
    assert_eq!(timeline(&store, "ana"), ["the third time"]);
    // By the id of any version, all of them go, and none comes back.
    store.redact("ana", third).unwrap().unwrap();
    assert!(history(&store, "ana").is_empty() && timeline(&store, "ana").is_empty());
    for gone in [third, again, amended] {
        assert!(store.get("ana", gone).unwrap().is_none());
        assert_eq!(store.rectify("ana", gone, b"x").unwrap_err().kind(), ErrorKind::NotFound);
    }
    append(&store, vec![record("ana", "chat", "2026-01-07T00:00:00Z", "third").with_id(third)]);
    assert!(history(&store, "ana").is_empty(), "it is refused");
    store.rectify("bo", id(2), b"better").unwrap();
    store.scrub().unwrap();
    sound(&store);
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert_eq!((history(&store, "bo").len(), timeline(&store, "bo")), (2, vec!["better".into()]));
    store.expire(june()).unwrap().receipt.unwrap();
    assert_eq!(store.rectify("bo", id(2), b"x").unwrap_err().kind(), ErrorKind::NotFound, "expired");
}

/// The sixth month after January is over.
fn june() -> ExpireOptions {
    ExpireOptions { now: Some(at("2026-08-02T00:00:00Z")), confirmed: true, ..ExpireOptions::default() }
}

#[test]
fn held_versions_survive_an_expiry() {
    let (place, store) = scene(3);
    chats(&store);
    store.rectify("ana", id(2), b"second").unwrap();
    store.hold("ana", &Hold { matter: "m".into(), reason: "r".into(), ..Hold::default() }).unwrap().unwrap();
    store.expire(june()).unwrap().receipt.unwrap();
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert_eq!(bodies(store.held("ana").unwrap()), ["first", "secnod", "second", "third"]);
    assert!(timeline(&store, "ana").is_empty());
    let export = store.export("ana").unwrap().unwrap();
    let unshown: Vec<_> = export.unshown().iter().map(|one| (one.why, one.records, one.holds.clone())).collect();
    assert_eq!(unshown, [(WhyUnshown::Held, 4, vec![1])]);
    assert_eq!(export.count(), 0);
}

#[test]
fn what_is_not_shown_is_counted_and_so_is_what_an_erasure_would_come_upon() {
    let (place, store) = scene(8);
    chats(&store);
    store.rectify("ana", id(2), b"second").unwrap();
    append(&store, vec![record("ana", "profile", "2026-01-05T00:00:00Z", "old")]);
    append(&store, vec![record("ana", "profile", "2026-01-08T00:00:00Z", "new")]);
    // Sent again, it is the same record.
    append(&store, vec![record("ana", "chat", "2026-01-06T00:00:00Z", "secnod").with_id(id(2))]);
    let told = |store: &Store| {
        let export = store.export("ana").unwrap().unwrap();
        let unshown =
            export.unshown().iter().map(|one| (one.partition.stream.class().to_owned(), one.why, one.records));
        (unshown.collect::<Vec<_>>(), bodies(export))
    };
    let one = |class: &str, why| (class.to_owned(), why, 1);
    let (superseded, older) = (one("chat", WhyUnshown::Superseded), one("profile", WhyUnshown::Older));
    let all = ["first", "second", "third", "new"].map(str::to_owned);
    assert_eq!(told(&store), (vec![superseded.clone(), older.clone()], all.to_vec()));
    // It is July 5th: the maximum of the first is over, that of its window is not.
    place.sim.advance(std::time::Duration::from_secs(166 * 86_400 + 3_600));
    for _ in 0..2 {
        let unshown = vec![one("chat", WhyUnshown::Over), superseded.clone(), older.clone()];
        assert_eq!(told(&store), (unshown, all[1..].to_vec()));
        let before = store.homes_before("ana", at("2026-01-07T00:00:00Z")).unwrap();
        let counted: Vec<_> = before.iter().map(|home| (home.partition.stream.class(), home.records)).collect();
        assert_eq!(counted, [("chat", 3), ("profile", 1)], "every version, every state, and what is over");
        assert!(store.homes_before("ana", at("2026-01-05T00:00:00Z")).unwrap().is_empty());
        store.settle().unwrap();
    }
    // A hold on what is over says so.
    let hold = Hold { matter: "m".into(), reason: "r".into(), ..Hold::default() };
    store.hold("ana", &hold).unwrap().unwrap();
    assert_eq!(told(&store).0, [one("chat", WhyUnshown::Held), superseded, older]);
}

#[test]
fn an_amendment_is_there_or_not_whenever_the_power_goes() {
    let mut cuts = 0;
    for seed in 0..3 {
        for cut in 0.. {
            let (place, store) = scene(seed);
            chats(&store);
            let settled = seed % 2 == 1;
            if settled {
                store.settle().unwrap();
            }
            place.sim.set_faults(Faults::harmless(seed));
            place.sim.crash_at_change(place.sim.changes() + cut);
            let amended = store.rectify("ana", id(2), b"second").and_then(|_| store.rectify("ana", id(2), b"again"));
            let over = !place.sim.crashed();
            drop(store);
            place.sim.crash();
            place.sim.restart();
            let store = place.options().open().unwrap();
            let (seen, all) = (timeline(&store, "ana"), history(&store, "ana"));
            let versions = all.len() - 2;
            assert_eq!(seen, ["first", ["secnod", "second", "again"][versions - 1], "third"], "seed {seed}, cut {cut}");
            assert!(amended.is_err() || versions == 3, "seed {seed}, cut {cut}: acknowledged and lost");
            assert_eq!(scanned(&store).len(), 4);
            sound(&store);
            if over {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 3, "{cuts}");
}

fn profile(customer: &str, time: &str, body: &str) -> Record {
    record(customer, "profile", time, body)
}

fn export(store: &Store, customer: &str) -> Vec<String> {
    bodies(store.export(customer).unwrap().unwrap())
}

#[test]
fn of_states_the_newest_is_seen_and_the_history_has_all() {
    let (_place, store) = scene(5);
    append(
        &store,
        vec![
            profile("ana", "2025-11-05T00:00:00Z", "ana 1").with_id(id(1)),
            profile("ana", "2026-01-05T00:00:00Z", "ana 3"),
            profile("ana", "2025-12-05T00:00:00Z", "ana 2"),
            profile("bo", "2025-11-06T00:00:00Z", "bo 1").with_id(id(4)),
            record("ana", "chat", "2025-12-05T00:00:00Z", "a chat"),
        ],
    );
    assert_eq!(timeline(&store, "ana"), ["a chat", "ana 3"]);
    assert_eq!(history(&store, "ana"), ["ana 1", "ana 2", "a chat", "ana 3"]);
    assert_eq!(scanned(&store), ["a chat", "ana 3", "bo 1"]);
    let before = store.timeline("ana", ..at("2025-12-31T00:00:00Z")).unwrap();
    assert_eq!(bodies(before), ["a chat"], "what counts now did not happen then");
    assert!(store.get("ana", id(1)).unwrap().is_none() && store.get("bo", id(4)).unwrap().is_some());
    let stream = Stream::new("profile", "EU").unwrap();
    let filter = ScanFilter { stream: Some(stream), from: Some(at("2026-01-01T00:00:00Z")), until: None };
    assert_eq!(bodies(store.scan(filter).unwrap()), ["ana 3"]);
    assert_eq!(export(&store, "ana"), ["a chat", "ana 3"]);
    // Put right, the newest is still one.
    let newest = store.timeline("ana", at("2026-01-01T00:00:00Z")..).unwrap().next().unwrap().unwrap().id;
    store.rectify("ana", newest, b"ana 3, put right").unwrap();
    assert_eq!(timeline(&store, "ana"), ["a chat", "ana 3, put right"]);
    assert_eq!(words(&store.get("ana", newest).unwrap().unwrap()), "ana 3, put right");
}

/// Profiles of three customers: ana's newest is old and amended, bo's lies in the next month, cy has one alone.
fn profiles(store: &Store) {
    append(
        store,
        vec![
            profile("ana", "2025-11-01T00:00:00Z", "ana 0"),
            profile("ana", "2025-11-05T00:00:00Z", "ana 1").with_id(id(1)),
            profile("bo", "2025-11-06T00:00:00Z", "bo 1"),
            profile("bo", "2025-12-06T00:00:00Z", "bo 2"),
            profile("cy", "2025-11-07T00:00:00Z", &format!("cy 1 {}", "long ".repeat(400))),
            record("cy", "chat", "2025-11-07T00:00:00Z", "a chat"),
        ],
    );
    store.rectify("ana", id(1), b"ana 1, put right").unwrap();
}

/// November is over for six months, December is not.
fn may() -> ExpireOptions {
    ExpireOptions { now: Some(at("2026-06-02T00:00:00Z")), confirmed: true, ..ExpireOptions::default() }
}

fn seen(store: &Store) -> Vec<Vec<String>> {
    ["ana", "bo", "cy"].map(|customer| timeline(store, customer)).into()
}

#[test]
fn a_living_state_is_carried_forward_before_its_window_goes() {
    let (place, mut store) = scene(6);
    profiles(&store);
    let cy = store.timeline("cy", ..).unwrap().next().unwrap().unwrap();
    let before = seen(&store);
    let expiry = store.expire(may()).unwrap();
    assert_eq!(expiry.partitions.len(), 2, "{expiry:?}");
    let after: Vec<Vec<String>> = vec![before[0].clone(), before[1].clone(), vec![before[2][0].clone()]];
    for round in 0..3 {
        assert_eq!(seen(&store), after, "round {round}");
        assert_eq!(history(&store, "ana"), ["ana 1, put right"], "older states went with their window");
        let carried = store.get("cy", cy.id).unwrap().unwrap();
        assert_eq!((carried.at, carried.id, &carried.body), (cy.at, cy.id, &cy.body), "as it happened");
        assert_eq!(scanned(&store).len(), 3);
        assert_eq!(bodies(store.timeline("cy", cy.at..=cy.at).unwrap()).len(), 1, "at the time it happened");
        assert_eq!(export(&store, "ana"), ["ana 1, put right"]);
        sound(&store);
        match round {
            0 => {
                store.settle().unwrap();
                store.maintain(Budget::ALL).unwrap();
            }
            _ => {
                store.close().unwrap();
                store = place.options().open().unwrap();
            }
        }
    }
    // It is put right and redacted where it stands now.
    store.rectify("ana", id(1), b"nothing is known by that id").unwrap_err();
    let ana = store.timeline("ana", ..).unwrap().next().unwrap().unwrap().id;
    store.rectify("ana", ana, b"ana again").unwrap();
    assert_eq!(timeline(&store, "ana"), ["ana again"]);
    store.redact("cy", cy.id).unwrap().unwrap();
    assert!(timeline(&store, "cy").is_empty());
    // A newer state that comes late is newer than what was carried.
    append(&store, vec![profile("ana", "2025-12-24T00:00:00Z", "ana 2")]);
    assert_eq!(timeline(&store, "ana"), ["ana 2"]);
    // Carried on and on, as long as the relationship lives.
    let later = ExpireOptions { now: Some(at("2027-08-02T00:00:00Z")), ..may() };
    store.expire(later).unwrap();
    assert_eq!(seen(&store), [vec!["ana 2".to_owned()], vec!["bo 2".into()], vec![]]);
}

#[test]
fn a_carried_state_is_never_lost_and_never_twice_there() {
    let mut cuts = 0;
    for seed in 0..4 {
        for cut in 0.. {
            let (place, store) = scene(seed);
            profiles(&store);
            if seed % 2 == 1 {
                store.settle().unwrap();
            }
            let expected: Vec<String> = seen(&store).into_iter().map(|mut all| all.swap_remove(0)).collect();
            place.sim.set_faults(Faults::harmless(seed));
            place.sim.crash_at_change(place.sim.changes() + cut);
            let expired = store.expire(may());
            let over = !place.sim.crashed();
            drop(store);
            place.sim.crash();
            for again in 0..2 {
                place.sim.restart();
                let store = place.options().open().unwrap();
                let when = format!("seed {seed}, cut {cut}, again {again}");
                for (customer, state) in ["ana", "bo", "cy"].iter().zip(&expected) {
                    let states: Vec<_> = timeline(&store, customer).into_iter().filter(|one| one != "a chat").collect();
                    assert_eq!(states, std::slice::from_ref(state), "{when}");
                    let past = history(&store, customer);
                    assert_eq!(past.iter().filter(|one| *one == state).count(), 1, "{when}: twice in the history");
                }
                assert_eq!(scanned(&store).iter().filter(|one| *one != "a chat").count(), 3, "{when}");
                sound(&store);
                store.expire(may()).unwrap();
                place.sim.crash();
            }
            if over {
                expired.unwrap();
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 40, "{cuts}");
    println!("{cuts} power cuts survived while states were carried");
}

#[test]
fn a_state_goes_with_its_relationship_and_is_not_carried_on() {
    let (place, store) = scene(7);
    profiles(&store);
    assert!(store.relationship_ended("cy", at("2025-11-30T00:00:00Z")).unwrap());
    assert!(store.relationship_ended("ana", at("2025-12-30T00:00:00Z")).unwrap());
    store.expire(may()).unwrap();
    for round in 0..2 {
        let store = if round == 0 { store.clone() } else { place.options().open().unwrap() };
        assert_eq!(seen(&store), [vec!["ana 1, put right".to_owned()], vec!["bo 2".into()], vec![]], "round {round}");
        assert!(history(&store, "cy").is_empty());
        if round == 0 {
            store.close().unwrap();
        }
    }
}
