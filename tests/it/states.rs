//! States of which the newest counts, where something cannot be read: what is damaged stays, and all else goes on.

use std::path::PathBuf;

use tenure::report::{Budget, Expiry, VerifyOptions};
use tenure::{ExpireOptions, Record, RecordId, ScanFilter, Store, Stored};

use crate::life::{Place, at};

const POLICY: &str = "\
[[rule]]
class = \"*\"
jurisdiction = \"*\"
keep_at_most = \"P6M\"

[[rule]]
class = \"profile\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
keep_at_most = \"P6M\"
latest = true

[[rule]]
class = \"voice\"
jurisdiction = \"*\"
anchor = \"last-contact\"
keep_at_most = \"P3M\"
";

const ENDLESS: &str = "\
[[rule]]
class = \"badge\"
jurisdiction = \"*\"
anchor = \"relationship-end\"
latest = true
";

fn scene(seed: u64) -> (Place, Store) {
    let place = Place::new(seed, None);
    let store = place.options().policy(POLICY).create().unwrap();
    (place, store)
}

fn record(customer: &str, class: &str, time: &str) -> Record {
    let body = format!("{customer} {class} {}", &time[2..10]);
    Record::new(customer, class, "EU", at(time), body).unwrap()
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

fn bodies(records: impl IntoIterator<Item = tenure::Result<Stored>>) -> Vec<String> {
    records.into_iter().map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

fn timeline(store: &Store, customer: &str) -> Vec<String> {
    bodies(store.timeline(customer, ..).unwrap())
}

fn by(time: &str) -> ExpireOptions {
    ExpireOptions { now: Some(at(time)), confirmed: true, ..ExpireOptions::default() }
}

/// The segments of a class and month.
fn segments(place: &Place, of: &str) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| {
        path.to_str().unwrap().contains(of) && path.extension().is_some_and(|extension| extension == "seg")
    };
    place.sim.files().into_iter().map(|(path, _)| path).filter(is_one).collect()
}

fn deferred(expiry: &Expiry) -> Vec<String> {
    let deferred = expiry.partitions.iter().filter(|one| one.deferred && one.damage.is_some());
    deferred.map(|one| one.partition.to_string()).collect()
}

#[test]
fn a_scan_shows_the_newest_state_also_where_nothing_ends_it() {
    let place = Place::new(1, None);
    let store = place.options().policy(ENDLESS).create().unwrap();
    append(
        &store,
        vec![record("ana", "badge", "2025-11-05T00:00:00Z"), record("ana", "badge", "2025-12-05T00:00:00Z")],
    );
    assert_eq!(timeline(&store, "ana"), ["ana badge 25-12-05"]);
    assert_eq!(bodies(store.scan(ScanFilter::default()).unwrap()), ["ana badge 25-12-05"]);
}

/// What ana, bo and cy are in November, of whom bo is something else in December; dee in October; and a chat.
fn fill(store: &Store) {
    append(
        store,
        vec![
            record("ana", "profile", "2025-11-05T00:00:00Z"),
            record("bo", "profile", "2025-11-06T00:00:00Z"),
            record("cy", "profile", "2025-11-07T00:00:00Z"),
            record("bo", "profile", "2025-12-06T00:00:00Z"),
            record("dee", "profile", "2025-10-08T00:00:00Z"),
            record("cy", "chat", "2025-11-07T00:00:00Z"),
        ],
    );
    store.settle().unwrap();
}

fn states(store: &Store) -> Vec<String> {
    let of = |customer| timeline(store, customer).into_iter().filter(|body| body.contains("profile"));
    ["ana", "bo", "cy", "dee"].into_iter().flat_map(of).collect()
}

/// Any bit of November's profiles is damaged: October and the chats go all the same, and nothing is lost.
#[test]
fn a_damaged_window_of_states_stays_and_the_others_go() {
    let (mut stayed, mut tried) = (0, 0);
    for byte in (0..).step_by(5) {
        let (place, store) = scene(2);
        fill(&store);
        let [path] = &segments(&place, "profile/EU/2025-11")[..] else { panic!("one segment") };
        let whole = states(&store);
        store.close().unwrap();
        if byte >= place.sim.read(path).unwrap().len() as u64 {
            break;
        }
        tried += 1;
        let store = place.options().open().unwrap();
        place.sim.flip(path, byte, (byte % 8) as u8);
        let expiry = store.expire(by("2026-06-02T00:00:00Z")).unwrap_or_else(|error| panic!("byte {byte}: {error:?}"));
        assert_eq!(expiry.partitions.len(), 3, "byte {byte}");
        let left = deferred(&expiry);
        assert!(left.is_empty() || left == ["profile/EU/2025-11-01-month"], "byte {byte}: {left:?}");
        assert!(
            segments(&place, "chat/EU/2025-11").is_empty() && segments(&place, "2025-10").is_empty(),
            "byte {byte}"
        );
        if !left.is_empty() {
            stayed += 1;
            let damage = expiry.partitions.iter().find_map(|one| one.damage.as_ref()).unwrap();
            assert_eq!(damage.path, *path, "byte {byte}");
            assert!(!damage.what.contains("ana"), "{}", damage.what);
            place.sim.flip(path, byte, (byte % 8) as u8);
        }
        store.close().unwrap();
        let store = place.options().open().unwrap();
        assert_eq!(states(&store), whole, "byte {byte}");
        let again = store.expire(by("2026-06-02T00:00:00Z")).unwrap();
        assert!(deferred(&again).is_empty() && segments(&place, "2025-11").is_empty(), "byte {byte}");
        assert_eq!(states(&store), whole, "byte {byte}");
        store.close().unwrap();
    }
    assert!(stayed * 2 > tried, "{stayed} of {tried}");
}

/// A disk so full that nothing more is taken in: states cannot be carried, and everything else goes.
#[test]
fn states_that_cannot_be_written_stay_and_the_others_go() {
    let place = Place::new(3, None);
    let options = || place.options().policy(POLICY).ballast_bytes(1 << 20);
    let store = options().create().unwrap();
    fill(&store);
    let whole = states(&store);
    store.close().unwrap();
    let used: usize = place.sim.files().iter().map(|(_, bytes)| bytes.len()).sum();
    place.sim.set_capacity(Some(used as u64 + 1024));
    let store = options().open().unwrap();
    let expiry = store.expire(by("2026-06-02T00:00:00Z")).unwrap();
    assert_eq!(deferred(&expiry), ["profile/EU/2025-10-01-month", "profile/EU/2025-11-01-month"]);
    assert!(segments(&place, "chat/EU/2025-11").is_empty());
    place.sim.set_capacity(None);
    assert!(deferred(&store.expire(by("2026-06-02T00:00:00Z")).unwrap()).is_empty());
    assert_eq!(states(&store), whole);
    assert!(segments(&place, "2025-11").is_empty());
}

#[test]
fn a_customer_whose_last_contact_cannot_be_read_is_passed_over_and_the_others_are_not() {
    let (place, store) = scene(4);
    append(&store, vec![record("ana", "voice", "2025-09-05T00:00:00Z"), record("bo", "voice", "2025-08-05T00:00:00Z")]);
    store.settle().unwrap();
    let [path] = &segments(&place, "voice/EU/2025-09")[..] else { panic!("one segment") };
    let middle = place.sim.read(path).unwrap().len() as u64 / 2;
    place.sim.flip(path, middle, 1);
    for lapsed in [1, 0] {
        let expiry = store.expire(ExpireOptions::default()).unwrap();
        let [damage] = &expiry.damage[..] else { panic!("{:?}", expiry.damage) };
        assert_eq!((&damage.path, expiry.rows.len()), (path, lapsed));
    }
    place.sim.flip(path, middle, 1);
    assert_eq!(store.expire(ExpireOptions::default()).unwrap().rows.len(), 1, "it is looked for again");
}

/// So many states that one commit does not take them all, some of them long.
#[test]
fn many_states_are_carried_by_few_commits() {
    let (place, store) = scene(5);
    let id = |number: u64| RecordId::from_bytes((u128::from(number) + 1).to_le_bytes());
    let one = |number: u64| {
        let body = format!("state {number} {}", "long ".repeat(if number.is_multiple_of(100) { 50_000 } else { 1 }));
        let time = at("2025-11-05T00:00:00Z").plus_seconds(number as i64);
        Record::new(&format!("c-{number}"), "profile", "EU", time, body).unwrap().with_id(id(number))
    };
    append(&store, (0..2_500).map(one).collect());
    let syncs = place.sim.syncs_of(".journal");
    let expiry = store.expire(by("2026-06-02T00:00:00Z")).unwrap();
    assert_eq!((expiry.partitions.len(), expiry.partitions[0].deferred), (1, false));
    let syncs = place.sim.syncs_of(".journal") - syncs;
    assert!((3..30).contains(&syncs), "{syncs} commits for 2,500 states of which 25 are long");
    for number in 0..2_500 {
        let stored = store.get(&format!("c-{number}"), id(number)).unwrap().expect("it was carried");
        assert_eq!((stored.at, &stored.body), (one(number).at, &one(number).body), "{number}");
    }
    store.maintain(Budget::ALL).unwrap();
    let verified = store.verify(VerifyOptions { deep: true, ..VerifyOptions::default() }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty() && verified.records == 2_500, "{verified:?}");
}
