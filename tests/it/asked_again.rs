//! Customers who are asked for again and again, while everything around them changes.

use std::time::Duration;

use tenure::env::sim::Sim;
use tenure::report::Budget;
use tenure::{BodyKind, Record, RecordId, Store, Stream};

use crate::beside::{at, options};
use crate::vault::Vault;

fn scene() -> (Sim, Vault, Store) {
    let sim = Sim::new(1);
    sim.set_now(at("2026-01-01T00:00:00Z"));
    let vault = Vault::default();
    let store = options(&sim, &vault).create().unwrap();
    (sim, vault, store)
}

fn note(customer: &str, class: &str, month: u32, serial: u8) -> Record {
    let time = at(&format!("2025-{month:02}-15T00:00:{:02}Z", serial % 60));
    let record = Record::new(customer, class, "EU", time, format!("note {serial}")).unwrap();
    record.with_kind(BodyKind::Text).with_id(RecordId::from_bytes([serial; 16]))
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

/// The numbers of a customer's notes: three times over, and the third time without a look at any file of a segment.
fn notes(sim: &Sim, store: &Store, customer: &str) -> Vec<u8> {
    let ask = || {
        let records = store.timeline(customer, ..).unwrap().map(|stored| stored.unwrap());
        let serial = |body: &[u8]| std::str::from_utf8(body).unwrap().strip_prefix("note ").unwrap().parse().unwrap();
        records.map(|record| serial(&record.body)).collect::<Vec<u8>>()
    };
    let (first, second) = (ask(), ask());
    let before = sim.counts().reads;
    let third = ask();
    let reads = sim.counts().reads - before;
    let waiting = store.stats().unwrap().journal_bytes > 0;
    assert!(waiting || reads == 0, "{reads} reads for who was asked for twice before");
    assert_eq!((&first, &first), (&second, &third));
    first
}

#[test]
fn who_is_asked_for_again_is_shown_what_is_there_now() {
    let (sim, _vault, store) = scene();
    let ana = |store: &Store| notes(&sim, store, "ana");
    append(&store, vec![note("ana", "chat", 3, 1), note("bo", "chat", 3, 1), note("ana", "chat", 8, 2)]);
    assert_eq!(ana(&store), [1, 2]);
    store.settle().unwrap();
    assert_eq!(ana(&store), [1, 2]);
    append(&store, vec![note("ana", "chat", 3, 3)]);
    assert_eq!(ana(&store), [1, 3, 2], "it is in the journal");
    // A month between two others, that there was no partition of when she was looked at.
    append(&store, vec![note("bo", "chat", 5, 4)]);
    assert_eq!(ana(&store), [1, 3, 2]);
    append(&store, vec![note("ana", "chat", 5, 5)]);
    assert_eq!(ana(&store), [1, 3, 5, 2]);
    store.settle().unwrap();
    assert_eq!(ana(&store), [1, 3, 5, 2]);
    for serial in 6..20 {
        append(&store, vec![note("bo", "chat", 3, serial), note("cy", "chat", 8, serial)]);
        store.settle().unwrap();
    }
    assert!(store.maintain(Budget::ALL).unwrap().segments_merged > 0);
    assert_eq!(ana(&store), [1, 3, 5, 2]);
    append(&store, vec![note("ana", "email", 4, 20)]);
    store.settle().unwrap();
    assert_eq!(ana(&store), [1, 3, 20, 5, 2], "a stream that is new to her");
    let ranges = [("2025-04-01T00:00:00Z", 3), ("2025-05-15T00:00:05Z", 2), ("2025-09-01T00:00:00Z", 0)];
    for (from, expected) in ranges {
        assert_eq!(store.timeline("ana", at(from)..).unwrap().count(), expected, "from {from}");
    }
    assert_eq!(store.grep("ana", "note [15]", ..).unwrap().count(), 2);
}

#[test]
fn what_is_let_go_of_is_gone_for_who_asks_again() {
    let (sim, _vault, store) = scene();
    let chats = (1..=6).map(|serial| note("ana", "chat", u32::from(serial), serial));
    append(&store, chats.chain([note("ana", "email", 7, 7), note("bo", "chat", 2, 8)]).collect());
    store.settle().unwrap();
    let ana = |store: &Store| notes(&sim, store, "ana");
    assert_eq!(ana(&store), [1, 2, 3, 4, 5, 6, 7]);
    store.redact("ana", RecordId::from_bytes([2; 16])).unwrap().unwrap();
    store.settle().unwrap();
    assert_eq!(ana(&store), [1, 3, 4, 5, 6, 7]);
    store.rectify("ana", RecordId::from_bytes([3; 16]), b"note 33").unwrap();
    store.settle().unwrap();
    assert_eq!(ana(&store), [1, 33, 4, 5, 6, 7]);
    store.erase_part("ana", Some(Stream::new("email", "EU").unwrap()), None).unwrap().unwrap();
    assert_eq!(ana(&store), [1, 33, 4, 5, 6]);
    store.erase_part("ana", None, Some(at("2025-05-01T00:00:00Z"))).unwrap().unwrap();
    assert_eq!(ana(&store), [5, 6]);
    let open = store.timeline("ana", ..).unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    assert!(open.into_iter().next().unwrap().is_err(), "it was opened before");
    assert!(ana(&store).is_empty());
    sim.advance(Duration::from_secs(86_400));
    let later = Record::new("ana", "chat", "EU", at("2026-01-01T12:00:00Z"), "note 9").unwrap();
    append(&store, vec![later]);
    store.settle().unwrap();
    assert_eq!((ana(&store), notes(&sim, &store, "bo")), (vec![9], vec![8]));
}
