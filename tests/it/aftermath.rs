//! What is easily forgotten once something was let go: iterators that are still open, refusals that must outlive the
//! next act, bytes that still wait in the journal.

use std::time::Duration;

use tenure::report::{Budget, VerifyOptions};
use tenure::{ErrorKind, Record, RecordId, ScanFilter, Store, Stream};

use crate::life::{Place, at};
use crate::vault::Vault;

fn scene(seed: u64) -> (Place, Store) {
    let place = Place::new(seed, Some(Vault::default()));
    let store = place.options().create().unwrap();
    (place, store)
}

fn note(customer: &str, class: &str, time: &str, serial: u8) -> Record {
    let id = RecordId::from_bytes([serial; 16]);
    Record::new(customer, class, "EU", at(time), format!("note {serial}")).unwrap().with_id(id)
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

fn bodies(store: &Store, customer: &str) -> Vec<String> {
    let timeline = store.timeline(customer, ..).unwrap();
    timeline.map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

fn scanned(store: &Store) -> Vec<String> {
    let scan = store.scan(ScanFilter::default()).unwrap();
    let mut bodies: Vec<String> =
        scan.map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect();
    bodies.sort();
    bodies
}

fn three() -> Vec<Record> {
    (1..=3).map(|serial| note("ana", "chat", &format!("2025-12-0{serial}T00:00:00Z"), serial)).collect()
}

#[test]
fn a_redaction_outlives_the_next_act_on_the_same_cell() {
    let (place, store) = scene(1);
    append(&store, three());
    append(&store, vec![note("ana", "email", "2025-12-01T00:00:00Z", 9)]);
    let one = RecordId::from_bytes([1; 16]);
    let three_again = || vec![three().remove(0)];
    store.redact("ana", one).unwrap().unwrap();
    append(&store, three_again());
    assert_eq!((bodies(&store, "ana").len(), scanned(&store).len()), (3, 3));
    store.redact("ana", RecordId::from_bytes([2; 16])).unwrap().unwrap();
    append(&store, three_again());
    assert_eq!(bodies(&store, "ana"), ["note 9", "note 3"], "the second redaction must not undo the first");
    // Up to a time before it: the record itself stays refused.
    store.erase_part("ana", None, Some(at("2025-11-30T00:00:00Z"))).unwrap();
    store.erase_part("ana", Some(Stream::new("email", "EU").unwrap()), None).unwrap();
    append(&store, three_again());
    append(&store, three());
    assert_eq!(bodies(&store, "ana"), ["note 3"]);
    assert_eq!(scanned(&store), ["note 3"], "a scan refuses and joins what a timeline does");
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert_eq!((bodies(&store, "ana"), scanned(&store)), (vec!["note 3".into()], vec!["note 3".to_owned()]));
    assert_eq!(store.get("ana", one).unwrap(), None);
}

#[test]
fn an_open_timeline_ends_when_a_part_of_it_is_erased() {
    let (_place, store) = scene(2);
    append(&store, three());
    append(&store, vec![note("bo", "chat", "2025-12-01T00:00:00Z", 8)]);
    let mut open = store.timeline("ana", ..).unwrap();
    let mut bo = store.timeline("bo", ..).unwrap();
    assert!(open.next().unwrap().is_ok());
    store.redact("ana", RecordId::from_bytes([2; 16])).unwrap().unwrap();
    assert_eq!(open.next().unwrap().unwrap_err().kind(), ErrorKind::Erased, "the redacted record was still in it");
    assert!(open.next().is_none());
    assert!(bo.next().unwrap().is_ok(), "nobody else's ends");
    assert_eq!(bodies(&store, "ana"), ["note 1", "note 3"]);
}

#[test]
fn an_open_scan_never_gives_what_was_let_go_and_never_passes_over_what_was_not() {
    for part in [false, true] {
        let (_place, store) = scene(3);
        append(&store, three());
        append(&store, vec![note("bo", "email", "2025-12-01T00:00:00Z", 8)]);
        store.settle().unwrap();
        let mut scan = store.scan(ScanFilter::default()).unwrap();
        let first = String::from_utf8(scan.next().unwrap().unwrap().body.to_vec()).unwrap();
        assert_eq!(first, "note 1");
        match part {
            true => drop(store.redact("ana", RecordId::from_bytes([2; 16])).unwrap().unwrap()),
            false => drop(store.erase(&["ana"]).unwrap().unwrap()),
        }
        match (part, scan.next().unwrap()) {
            (true, outcome) => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Erased),
            (false, outcome) => assert_eq!(&*outcome.unwrap().body, b"note 8"),
        }
        assert!(scan.next().is_none());
        // One that had not yet come to the customer.
        let mut scan = store.scan(ScanFilter::default()).unwrap();
        if part {
            store.redact("ana", RecordId::from_bytes([1; 16])).unwrap().unwrap();
            assert_eq!(scan.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
        }
        assert_eq!(scanned(&store), if part { vec!["note 3", "note 8"] } else { vec!["note 8"] });
    }
}

#[test]
fn bytes_that_wait_in_the_journal_are_scrubbed_too() {
    let (place, store) = scene(4);
    append(&store, three());
    append(&store, vec![note("bo", "chat", "2025-12-01T00:00:00Z", 8)]);
    store.erase(&["ana"]).unwrap().unwrap();
    place.sim.advance(Duration::from_secs(61 * 86_400));
    store.maintain(Budget::ALL).unwrap();
    assert_eq!(store.receipts().unwrap()[0].stage(), "scrubbed");
    store.settle().unwrap();
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert_eq!((verified.unreachable, verified.records), (0, 1), "what was said to be scrubbed must be gone");
}
