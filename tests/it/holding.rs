//! Legal holds: what they forbid, what survives an expiry because of them, and that it goes with the last of them.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenure::env::sim::Sim;
use tenure::report::{Budget, ReportOptions, Verb, VerifyOptions};
use tenure::{BodyKind, ErrorKind, ExpireOptions, Hold, Record, RecordId, RefusalReason, ScanFilter, Store, Stream};

use crate::life::{Place, STORE, at};
use crate::vault::Vault;

fn scene(seed: u64) -> (Place, Store) {
    let place = Place::new(seed, Some(Vault::default()));
    let store = place.options().create().unwrap();
    (place, store)
}

fn note(customer: &str, class: &str, time: &str, body: &str) -> Record {
    Record::new(customer, class, "EU", at(time), body.to_owned()).unwrap().with_kind(BodyKind::Text)
}

/// Ana and bo in two streams in November and December.
fn fill(store: &Store) {
    for customer in ["ana", "bo"] {
        for class in ["chat", "email"] {
            for month in [11, 12] {
                let time = format!("2025-{month}-05T00:00:00Z");
                let record = note(customer, class, &time, &format!("{customer} {class} {month}"));
                store.append(vec![record]).unwrap().wait().unwrap();
            }
        }
    }
}

fn matter(words: &str) -> Hold {
    Hold { matter: words.into(), reason: format!("because of {words}"), ..Hold::default() }
}

fn bodies(timeline: tenure::Result<tenure::Timeline>) -> Vec<String> {
    timeline.unwrap().map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

/// Everything that a scan gives, on one thread or on two.
fn scanned(store: &Store) -> usize {
    let count = AtomicUsize::new(0);
    let visit = |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ControlFlow::<()>::Continue(())
    };
    assert!(store.scan_parallel(ScanFilter::default(), 2, visit).unwrap().is_continue());
    let scanned = store.scan(ScanFilter::default()).unwrap().map(Result::unwrap).count();
    assert_eq!(scanned, count.into_inner());
    scanned
}

/// The sixth month after November and December is over.
fn june() -> ExpireOptions {
    ExpireOptions { now: Some(at("2026-07-02T00:00:00Z")), confirmed: true, ..ExpireOptions::default() }
}

fn unreachable(store: &Store) -> u64 {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    verified.unreachable
}

fn segments(sim: &Sim) -> Vec<String> {
    let files = sim.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned());
    files.filter(|path| path.starts_with(&format!("{STORE}/segments"))).collect()
}

const CHATS: [&str; 2] = ["ana chat 11", "ana chat 12"];

#[test]
fn held_cells_survive_an_expiry_and_go_with_the_last_hold() {
    let (place, mut store) = scene(1);
    fill(&store);
    store.settle().unwrap();
    store.append(vec![note("ana", "chat", "2025-12-06T00:00:00Z", "ana chat late")]).unwrap().wait().unwrap();
    let chats = Hold { stream: Stream::new("chat", "EU").ok(), ..matter("chats") };
    assert_eq!(store.hold("ana", &chats).unwrap(), Some(1));
    assert_eq!(store.hold("nobody", &chats).unwrap(), None);
    assert_eq!(bodies(store.held("ana")), ["ana chat 11", "ana chat 12", "ana chat late"]);
    assert!(bodies(store.held("bo")).is_empty(), "nothing of hers is held");
    let dry = store.expire(ExpireOptions { dry_run: true, ..june() }).unwrap();
    let held: Vec<_> = dry.partitions.iter().map(|due| (due.held, due.holds.clone())).collect();
    assert_eq!(held, [(1, vec![1]), (1, vec![1]), (0, vec![]), (0, vec![])]);
    assert_eq!(scanned(&store), 9);
    let expiry = store.expire(june()).unwrap();
    assert_eq!(expiry.partitions, dry.partitions);
    assert_eq!(expiry.receipt.unwrap().stage(), "final");
    for round in 0..3 {
        // Expired for everybody, but not for whom it is held.
        assert!(bodies(store.timeline("ana", ..)).is_empty() && bodies(store.timeline("bo", ..)).is_empty());
        assert_eq!(scanned(&store), 0);
        assert_eq!(bodies(store.held("ana")), ["ana chat 11", "ana chat 12", "ana chat late"], "round {round}");
        let late = note("ana", "chat", "2025-12-07T00:00:00Z", "too late");
        assert_eq!(store.append(vec![late]).unwrap_err().refusals()[0].reason, RefusalReason::Expired);
        let stats = store.stats().unwrap();
        assert!(stats.partitions.iter().all(|partition| partition.held == 1 && !partition.overdue));
        // Also while the dead frames of bo still lie in the same segments.
        assert_eq!(stats.partitions.iter().map(|partition| partition.records).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(store.holds().unwrap()[0].kept, 2);
        assert!(store.expire(june()).unwrap().partitions.is_empty(), "what is left of them is not due again");
        let reader = place.options().open_read_only().unwrap();
        assert_eq!(bodies(reader.held("ana")).len(), 3);
        match round {
            0 => {
                assert!(unreachable(&store) > 0, "the dead bytes of the others are still there");
                store.settle().unwrap();
                store.maintain(Budget::ALL).unwrap();
                assert_eq!(unreachable(&store), 0, "and go with the next maintenance");
            }
            _ => {
                store.close().unwrap();
                store = place.options().open().unwrap();
            }
        }
    }
    assert!(segments(&place.sim).iter().all(|path| path.contains("/chat/")));
    // Another hold on a part of it keeps that when the first is released.
    let until = Hold { until: Some(at("2025-11-20T00:00:00Z")), ..matter("November") };
    assert_eq!(store.hold("ana", &until).unwrap(), Some(2));
    let receipt = store.release(1).unwrap().unwrap();
    assert_eq!((receipt.verb, receipt.partitions, receipt.stage()), (Verb::Release, 1, "final"));
    assert_eq!(bodies(store.held("ana")), ["ana chat 11"]);
    assert_eq!(store.release(1).unwrap(), None);
    let mut open = store.held("ana").unwrap();
    assert_eq!(store.release(2).unwrap().unwrap().partitions, 1);
    assert_eq!(open.next().unwrap().unwrap_err().kind(), ErrorKind::Erased, "what was read before is stale");
    assert!(bodies(store.held("ana")).is_empty() && store.holds().unwrap().is_empty());
    store.settle().unwrap();
    assert!(segments(&place.sim).is_empty(), "{:?}", segments(&place.sim));
    assert!(store.stats().unwrap().partitions.is_empty());
    assert_eq!(unreachable(&store), 0);
    place.sim.advance(Duration::from_secs(61 * 86_400));
    store.maintain(Budget::ALL).unwrap();
    assert!(store.receipts().unwrap().iter().filter(|one| one.verb == Verb::Release).all(|one| one.scrubbed.is_some()));
    assert_eq!(store.stats().unwrap().customers, 0, "nothing is left that their entries would serve");
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert!(store.recovery().clean && bodies(store.held("ana")).is_empty());
}

#[test]
fn a_hold_defers_every_erasure_of_what_it_covers_and_the_rest_dies() {
    let (place, mut store) = scene(2);
    fill(&store);
    let december = Hold { from: Some(at("2025-12-01T00:00:00Z")), ..matter("December") };
    let later = Hold { from: Some(at("2031-01-01T00:00:00Z")), ..matter("what may come") };
    assert_eq!((store.hold("ana", &december).unwrap(), store.hold("ana", &later).unwrap()), (Some(1), Some(2)));
    let ids: Vec<RecordId> = store.timeline("ana", ..).unwrap().map(|stored| stored.unwrap().id).collect();
    let held = store.redact("ana", ids[2]).unwrap_err();
    assert_eq!((held.kind(), held.to_string().contains("hold 1 stands")), (ErrorKind::Held, true), "{held}");
    assert!(store.redact("ana", RecordId::from_bytes([9; 16])).unwrap().is_none());
    store.redact("ana", ids[0]).unwrap().unwrap();
    let homes = store.homes("ana").unwrap();
    assert_eq!(homes.iter().map(|home| home.may_go()).collect::<Vec<_>>(), [false, true, false], "{homes:?}");
    let receipt = store.erase(&["bo", "ana"]).unwrap().unwrap();
    assert_eq!((receipt.subjects.len(), receipt.kept.len()), (2, 2), "{receipt:?}");
    assert!(receipt.kept.iter().all(|kept| kept.holds == [1] && kept.from.to_string() == "2025-12-01"));
    for _ in 0..2 {
        assert!(bodies(store.timeline("ana", ..)).is_empty() && bodies(store.timeline("bo", ..)).is_empty());
        assert_eq!(bodies(store.held("ana")), ["ana chat 12", "ana email 12"]);
        assert_eq!(bodies(store.restricted("ana")), ["ana chat 12", "ana email 12"]);
        store.scrub().unwrap();
        assert_eq!(unreachable(&store), 0);
        store.close().unwrap();
        store = place.options().open().unwrap();
    }
    assert!(store.erase(&["ana"]).unwrap().is_none(), "what is left has to stay");
    // What the last hold alone has kept goes with it, and with that the customer.
    let chats = Hold { stream: Stream::new("chat", "EU").ok(), ..matter("chats") };
    assert_eq!(store.hold("ana", &chats).unwrap(), Some(3));
    assert_eq!(store.holds().unwrap()[2].after, [1, 2], "a redaction and an erasure came before it");
    let receipt = store.release(1).unwrap().unwrap();
    assert_eq!(receipt.lapsed.iter().map(|part| part.stream.to_string()).collect::<Vec<_>>(), ["email/EU"]);
    assert_eq!(bodies(store.held("ana")), ["ana chat 12"]);
    store.release(2).unwrap().unwrap();
    store.release(3).unwrap().unwrap();
    assert!(bodies(store.held("ana")).is_empty() && bodies(store.restricted("ana")).is_empty());
    let late = store.append(vec![note("ana", "chat", "2026-01-01T00:00:00Z", "late")]).unwrap_err();
    assert_eq!(late.refusals()[0].reason, RefusalReason::Erased);
    let error = store.hold("ana", &matter("too late")).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("too late")), (ErrorKind::Erased, true), "{error}");
    store.scrub().unwrap();
    assert_eq!(unreachable(&store), 0);
    store.append(vec![note("bo", "chat", "2026-01-20T12:00:00Z", "again")]).unwrap().wait().unwrap();
    for hold in [Hold::default(), Hold { matter: "x".repeat(257), ..matter("long") }] {
        assert_eq!(store.hold("bo", &hold).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let until = Some(at("2025-12-01T00:00:00Z"));
    let nothing = Hold { from: until, until, ..matter("nothing") };
    assert_eq!(store.hold("bo", &nothing).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.hold("bo", &matter("the next")).unwrap(), Some(4), "no number is given twice");
}

#[test]
fn a_hold_on_everybody_keeps_whole_columns_and_what_is_erased_of_them() {
    let (place, mut store) = scene(7);
    fill(&store);
    let chats = Hold {
        stream: Stream::new("chat", "EU").ok(),
        until: Some(at("2025-12-01T00:00:00Z")),
        ..matter("everybody's chats until December")
    };
    assert_eq!(store.hold_everybody(&chats).unwrap(), 1);
    let receipt = store.erase(&["bo"]).unwrap().unwrap();
    assert_eq!(receipt.kept.iter().map(|kept| kept.holds.clone()).collect::<Vec<_>>(), [[1]]);
    let expiry = store.expire(june()).unwrap();
    let deferred: Vec<_> = expiry.partitions.iter().map(|due| (due.deferred, due.holds.len())).collect();
    assert_eq!(deferred, [(true, 1), (false, 0), (false, 0), (false, 0)]);
    place.sim.set_now(at("2026-07-02T00:00:00Z"));
    for _ in 0..2 {
        assert!(bodies(store.timeline("ana", ..)).is_empty() && scanned(&store) == 0, "past its maximum");
        // No expiry could let go of it, so that nothing is overdue.
        let (stats, report) = (store.stats().unwrap(), store.report(&ReportOptions::default()).unwrap());
        let states: Vec<_> = stats.partitions.iter().map(|one| (one.deferred, one.overdue, one.held)).collect();
        assert_eq!((states, report.is_overdue(), report.holds.partitions), (vec![(true, false, 0)], false, 1));
        let early = ReportOptions { now: Some(at("2026-05-31T00:00:00Z")), ..ReportOptions::default() };
        assert_eq!(store.report(&early).unwrap().holds.partitions, 0, "its time has not come by then");
        assert_eq!(
            (bodies(store.held("ana")), bodies(store.held("bo"))),
            (vec!["ana chat 11".into()], vec!["bo chat 11".to_owned()])
        );
        assert_eq!(bodies(store.restricted("bo")), ["bo chat 11"]);
        assert_eq!(store.holds().unwrap()[0].customer, None);
        let late = note("ana", "chat", "2025-11-07T00:00:00Z", "too late");
        assert_eq!(store.append(vec![late]).unwrap_err().refusals()[0].reason, RefusalReason::Expired);
        store.close().unwrap();
        store = place.options().trust_clock().open().unwrap();
    }
    // The end of the hold lets go of what was erased, and makes the column due.
    assert!(store.release(1).unwrap().unwrap().subjects.is_empty());
    assert!(bodies(store.restricted("bo")).is_empty() && bodies(store.held("ana")).is_empty());
    assert_eq!(store.receipts().unwrap().last().unwrap().lapsed.len(), 1);
    assert!(store.report(&ReportOptions::default()).unwrap().is_overdue());
    assert_eq!(store.expire(june()).unwrap().partitions.len(), 1);
    store.maintain(Budget::ALL).unwrap();
    assert!(store.stats().unwrap().partitions.is_empty());
    assert_eq!(store.release(1).unwrap(), None);
}

#[test]
fn exploded_rows_keep_all_their_held_cells() {
    let (place, store) = scene(3);
    let record = |serial: u8| {
        let time = format!("2025-11-0{serial}T00:00:00Z");
        note("ana", "chat", &time, &format!("ana chat {serial}")).with_id(RecordId::from_bytes([serial; 16]))
    };
    store.append((1..=4).map(record).collect::<Vec<_>>()).unwrap().wait().unwrap();
    store.redact("ana", RecordId::from_bytes([2; 16])).unwrap().unwrap();
    store.append(vec![record(5)]).unwrap().wait().unwrap();
    store.redact("ana", RecordId::from_bytes([4; 16])).unwrap().unwrap();
    store.append(vec![note("ana", "email", "2025-12-05T00:00:00Z", "a letter")]).unwrap().wait().unwrap();
    store.hold("ana", &matter("all")).unwrap().unwrap();
    store.expire(june()).unwrap().receipt.unwrap();
    let all = ["ana chat 1", "ana chat 3", "ana chat 5", "a letter"];
    assert_eq!(bodies(store.held("ana")), all);
    store.scrub().unwrap();
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert_eq!(bodies(store.held("ana")), all, "and scrubbing keeps them, redacted ones apart");
    // A row of which held cells are left lives on under its own name.
    let now = "2026-01-19T00:00:00Z";
    store.append(vec![note("ana", "chat", now, "something new")]).unwrap().wait().unwrap();
    assert_eq!(bodies(store.timeline("ana", ..)), ["something new"]);
    assert_eq!(bodies(store.held("ana")).len(), 5, "a hold covers what is to come");
    store.release(1).unwrap().unwrap();
    assert_eq!((bodies(store.timeline("ana", ..)).len(), bodies(store.held("ana")).len()), (1, 0));
    assert_eq!(unreachable(&store), 0);
}

#[test]
fn a_hold_that_stands_keeps_an_empty_entry_and_covers_a_partition_that_is_not_expired() {
    let (place, store) = scene(4);
    fill(&store);
    store.hold("bo", &Hold { from: Some(at("2025-12-01T00:00:00Z")), ..matter("December") }).unwrap().unwrap();
    store.expire(ExpireOptions { now: Some(at("2026-06-02T00:00:00Z")), ..june() }).unwrap().receipt.unwrap();
    assert_eq!(bodies(store.held("bo")), ["bo chat 12", "bo email 12"], "November was not held");
    assert_eq!(bodies(store.timeline("bo", ..)).len(), 2);
    // Not yet expired: the release kills nothing, the next expiry everything.
    store.release(1).unwrap().unwrap();
    assert_eq!(bodies(store.timeline("bo", ..)).len(), 2);
    store.hold("ana", &Hold { from: Some(at("2027-01-01T00:00:00Z")), ..matter("later") }).unwrap().unwrap();
    assert_eq!(store.expire(june()).unwrap().receipt.unwrap().partitions, 2);
    store.maintain(Budget::ALL).unwrap();
    assert_eq!(store.stats().unwrap().customers, 1, "ana's entry stays for the hold on it");
    drop(store);
    let store = place.options().open().unwrap();
    assert_eq!(store.holds().unwrap()[0].number, 2);
    assert_eq!(format!("{:?}", store.holds().unwrap()).find("later"), None, "why it is held is not shown by chance");
}

#[test]
fn holds_survive_an_older_copy() {
    let (place, store) = scene(5);
    fill(&store);
    store.close().unwrap();
    let before = place.sim.snapshot();
    let store = place.options().open().unwrap();
    store.hold("ana", &Hold { stream: Stream::new("chat", "EU").ok(), ..matter("chats") }).unwrap().unwrap();
    store.expire(june()).unwrap().receipt.unwrap();
    store.close().unwrap();
    place.sim.restore(&before, STORE);
    assert!(place.options().open().is_err(), "older than the mark");
    let store = place.options().restored("a disk was lost").open().unwrap();
    assert_eq!(store.recovery().restored.as_ref().unwrap().partitions_gone, 2);
    for round in 0..2 {
        assert_eq!(bodies(store.held("ana")), CHATS, "round {round}");
        assert!(bodies(store.timeline("ana", ..)).is_empty() && bodies(store.timeline("bo", ..)).is_empty());
        let homes = store.homes("ana").unwrap();
        assert!(homes.len() == 2 && homes.iter().all(|home| home.expired && !home.may_go()), "{homes:?}");
        let late = note("bo", "chat", "2025-12-07T00:00:00Z", "too late");
        assert_eq!(store.append(vec![late]).unwrap_err().refusals()[0].reason, RefusalReason::Expired);
        store.maintain(Budget::ALL).unwrap();
        assert_eq!(unreachable(&store), 0, "what is not held of the copy goes as well");
    }
    store.close().unwrap();
    // The other way round: a copy in which it is held, and a release since.
    let held = place.sim.snapshot();
    let store = place.options().open().unwrap();
    assert_eq!(bodies(store.held("ana")), CHATS);
    store.release(1).unwrap().unwrap();
    store.close().unwrap();
    place.sim.restore(&held, STORE);
    let store = place.options().restored("again").open().unwrap();
    assert!(store.holds().unwrap().is_empty() && bodies(store.held("ana")).is_empty());
    assert!(store.stats().unwrap().partitions.is_empty());
    store.erase(&["ana"]).unwrap().unwrap();
    store.close().unwrap();
    let store = place.options().open().unwrap();
    assert_eq!(unreachable(&store), 0);
    assert!(segments(&place.sim).is_empty(), "{:?}", segments(&place.sim));
}

#[test]
fn a_held_recording_is_read_as_a_stream() {
    let (_place, store) = scene(6);
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(|number| (number * 7).to_le_bytes()).collect();
    let id = RecordId::from_bytes([7; 16]);
    let mut upload = store.upload(note("ana", "recording", "2025-11-05T00:00:00Z", "").with_id(id)).unwrap();
    body.chunks(1 << 20).for_each(|piece| upload.add(piece).unwrap());
    upload.finish().unwrap().1.wait().unwrap();
    store.append(vec![note("bo", "recording", "2025-11-05T00:00:00Z", "short")]).unwrap().wait().unwrap();
    store.hold("ana", &matter("a call")).unwrap().unwrap();
    store.expire(june()).unwrap().receipt.unwrap();
    store.settle().unwrap();
    store.maintain(Budget::ALL).unwrap();
    assert!(store.body("ana", id).unwrap().is_none() && store.held_body("bo", id).unwrap().is_none());
    let mut held = store.held_body("ana", id).unwrap().unwrap();
    let mut read = Vec::new();
    held.read_to_end(&mut read).unwrap();
    assert!(read == body, "it is not what it was");
    assert_eq!(unreachable(&store), 0);
    store.release(1).unwrap().unwrap();
    assert_eq!(held.read_at(0, &mut [0; 8]).unwrap_err().kind(), ErrorKind::Erased);
    assert!(store.held_body("ana", id).unwrap().is_none());
}
