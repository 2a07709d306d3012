//! What becomes of appends, merges and acts when a step beside them fails: tests that look inside an opening.

use std::time::Duration;

use super::*;
use crate::engine::acts;
use crate::engine::catalog::JournalFile;
use crate::engine::recent::Asked;
use crate::env::sim::Sim;
use crate::error::{ErrorKind, RefusalReason};
use crate::format::ledger::Act;
use crate::keyring::FileCustodian;

fn options(sim: &Sim) -> Options {
    let custodian = FileCustodian::with_env(sim.env(), "/calls.custodian");
    Store::options("/calls").env(sim.env()).custodian(custodian).ballast_bytes(4096)
}

fn note(customer: &str, time: &str, body: &str) -> Record {
    Record::new(customer, "chat", "EU", time.parse().unwrap(), body.to_owned()).unwrap()
}

fn july(body: &str) -> Record {
    note("ana", "2025-07-01T00:00:00Z", body)
}

fn append(store: &Store, record: Record) {
    store.append([record]).unwrap().wait().unwrap();
}

fn bodies(store: &Store, customer: &str) -> Vec<Vec<u8>> {
    store.timeline(customer, ..).unwrap().map(|stored| stored.unwrap().body.to_vec()).collect()
}

/// Leaves so many journal files to be settled, and damages the oldest of them, so that whoever settles it fails. What
/// comes back mends it.
fn unsettleable(sim: &Sim, store: &Store, files: usize) -> impl Fn() + use<> {
    for _ in 0..files {
        append(store, july("earlier"));
        store.0.engine.writer().unwrap().committer.retire();
    }
    let first: Arc<JournalFile> = store.0.engine.catalog.snapshot().view.journals[0].clone();
    let (sim, path, byte) = (sim.clone(), first.path.clone(), first.end() - 1);
    let flip = move || sim.flip(&path, byte, 3);
    flip();
    flip
}

#[test]
fn an_append_that_fails_to_settle_has_queued_nothing() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    let mend = unsettleable(&sim, &store, 3);
    assert_eq!(store.append([july("once")]).unwrap_err().kind(), ErrorKind::Corrupt);
    mend();
    append(&store, july("once"));
    let found = bodies(&store, "ana");
    assert_eq!(found.iter().filter(|body| *body == b"once").count(), 1, "a batch that was said to have failed came in");
}

#[test]
fn an_upload_that_failed_never_becomes_a_record() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    let mut upload = store.upload(july("")).unwrap();
    let mend = unsettleable(&sim, &store, 3);
    let piece = vec![7; 5 << 20];
    assert_eq!(upload.add(&piece).unwrap_err().kind(), ErrorKind::Corrupt);
    mend();
    // How much of the piece came in nobody can tell: neither more of it nor an end makes sense now.
    assert_eq!(upload.add(&piece).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(upload.finish().unwrap_err().kind(), ErrorKind::Corrupt);
    let mut upload = store.upload(july("")).unwrap();
    upload.add(&piece).unwrap();
    let (id, commit) = upload.finish().unwrap();
    commit.wait().unwrap();
    assert_eq!(store.body("ana", id).unwrap().unwrap().length(), piece.len() as u64);
}

/// An expiry that failed after its intent leaves a hold to be lifted and its customer to be erased; then it is finished.
#[test]
fn an_expiry_that_is_finished_late_leaves_the_fence_of_who_was_erased_meanwhile() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    append(&store, july("held"));
    let hold = Hold { matter: "m".into(), reason: "r".into(), stream: None, from: None, until: None };
    let hold = store.hold("ana", &hold).unwrap().unwrap();
    let engine = &store.0.engine;
    let july_column = engine.partitions.all()[0].clone();
    let subject = engine.keyring.customer(&CustomerId::new("ana").unwrap()).unwrap().unwrap().entry.subject;
    let partitions = vec![(july_column.number, july_column.id.stream.clone(), july_column.id.window.end().day())];
    let held = vec![(july_column.number, vec![subject])];
    let act = Act::Expire { partitions, held, now: engine.now(), rows: Vec::new() };
    let number = acts::intend(engine, act).unwrap();
    store.release(hold).unwrap().unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    acts::perform(engine, number, None).unwrap();
    let refused = store.append([note("ana", "2025-09-01T00:00:00Z", "late")]).unwrap_err();
    assert_eq!(refused.refusals()[0].reason, RefusalReason::Erased, "a late event brought an erased customer back");
}

/// Segments for July, the first of them damaged, and as many for August, to be merged.
fn damaged_july(sim: &Sim, options: Options) -> Store {
    let store = options.merge_at_least(2).create().unwrap();
    for number in 0..3 {
        append(&store, july(&format!("july {number}")));
        append(&store, note("bo", "2025-08-01T00:00:00Z", &format!("august {number}")));
        store.settle().unwrap();
    }
    let slot = store.0.engine.catalog.snapshot().view.segments.values().next().unwrap()[0].clone();
    let segment = store.0.engine.catalog.open(&slot).unwrap();
    let frames = segment.find(&segment.handles().next().unwrap().unwrap().0).unwrap().unwrap().offset;
    sim.flip(&slot.path, frames + 70, 3);
    store
}

fn segments(store: &Store) -> Vec<u64> {
    store.stats().unwrap().partitions.iter().map(|partition| partition.segments).collect()
}

#[test]
fn a_damaged_segment_is_passed_over_by_merges_and_reported() {
    let sim = Sim::new(1);
    let store = damaged_july(&sim, options(&sim));
    for _ in 0..2 {
        let done = store.maintain(Budget::ALL).unwrap();
        assert_eq!(done.damage.len(), 1);
        assert_eq!(segments(&store), [2, 1], "what is whole is merged");
    }
    assert_eq!(store.stats().unwrap().damage.len(), 1);
    append(&store, july("after"));
}

#[test]
fn a_worker_that_meets_a_damaged_segment_goes_on() {
    let sim = Sim::new(1);
    let store = damaged_july(&sim, options(&sim).worker());
    while segments(&store) != [2, 1] {
        sim.advance(Duration::from_secs(1));
        append(&store, note("bo", "2025-08-01T00:00:00Z", "meanwhile"));
    }
    append(&store, july("after"));
    store.close().unwrap();
}

#[test]
fn a_worker_does_what_nothing_but_time_makes_due() {
    let sim = Sim::new(1);
    let store = options(&sim).worker().create().unwrap();
    append(&store, july("dead"));
    append(&store, note("bo", "2025-07-01T00:00:00Z", "living"));
    store.settle().unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    sim.advance(Duration::from_secs(61 * 86_400));
    // Nobody appends, settles or maintains any more.
    while store.receipts().unwrap()[0].scrubbed.is_none() {
        sim.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
    // The fence has lapsed as well, and the tombstone with it.
    while store.stats().unwrap().customers > 1 {
        sim.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
}

#[test]
fn what_somebody_still_reads_is_not_said_to_be_scrubbed() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    append(&store, july("dead"));
    append(&store, note("bo", "2025-07-01T00:00:00Z", "living"));
    for settled in [true, false] {
        if settled {
            store.settle().unwrap();
        }
        let files = sim.files().len();
        let mut reader = store.scan(ScanFilter::default()).unwrap();
        assert!(reader.next().unwrap().is_ok());
        store.erase(&["ana"]).unwrap().unwrap();
        let scrubbed = || store.receipts().unwrap().last().unwrap().scrubbed.is_some();
        assert!(store.scrub().unwrap().more && !scrubbed(), "files that are read: {files}");
        store.maintain(Budget::ALL).unwrap();
        assert!(!scrubbed(), "it was not asked again whether it is read");
        drop(reader);
        store.maintain(Budget::ALL).unwrap();
        assert!(scrubbed());
        append(&store, note("ana", "2026-01-01T00:01:00Z", "another life"));
    }
}

#[test]
fn keys_that_are_kept_for_who_is_asked_for_again_die_with_the_others() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    append(&store, july("dead"));
    append(&store, note("bo", "2025-07-01T00:00:00Z", "living"));
    store.settle().unwrap();
    let recent = &store.0.engine.writer().unwrap().recent;
    let kept = || {
        (0..3).for_each(|_| assert_eq!(bodies(&store, "ana").len() + bodies(&store, "bo").len(), 2));
        recent.bytes()
    };
    assert!(kept() > 0);
    store.redact("ana", store.timeline("ana", ..).unwrap().next().unwrap().unwrap().id).unwrap().unwrap();
    assert_eq!(recent.bytes(), 0, "after a redaction");
    append(&store, july("again"));
    store.settle().unwrap();
    assert!(kept() > 0);
    // Who has read her entry before may want to keep what is read after.
    let (epoch, ana) = (recent.epoch(), CustomerId::new("ana").unwrap());
    let entry = store.0.engine.keyring.customer(&ana).unwrap().unwrap().entry;
    store.erase(&["ana"]).unwrap().unwrap();
    assert_eq!(recent.bytes(), 0, "after an erasure");
    assert!(matches!(recent.ask(epoch, &entry, 0, &[]), Asked::Never));
    let Asked::Again(taking) = recent.ask(epoch, &entry, 0, &[]) else { panic!("it is the second time") };
    recent.keep(*taking);
    assert_eq!(recent.bytes(), 0, "after an erasure that it has not seen");
    let _ = bodies(&store, "bo");
    assert!(recent.bytes() > 0);
    store.clone().close().unwrap();
    assert_eq!(recent.bytes(), 0, "after a close");
}

#[test]
fn keeping_house_ends_when_the_store_is_closed() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    for _ in 0..3 {
        append(&store, july("earlier"));
        store.0.engine.writer().unwrap().committer.retire();
    }
    store.0.engine.writer().unwrap().closing.store(true, crate::sync::atomic::Ordering::Relaxed);
    let done = store.maintain(Budget::ALL).unwrap();
    assert!(done.journals_settled <= 1 && done.more, "a close waits for everything there is to do");
    store.close().unwrap();
}

#[test]
fn a_close_that_failed_is_told_to_everybody_who_closes() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    let _mend = unsettleable(&sim, &store, 1);
    let other = store.clone();
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(other.close().unwrap_err().kind(), ErrorKind::Corrupt);
    let store = options(&Sim::new(1)).create().unwrap();
    let other = store.clone();
    store.close().unwrap();
    other.close().unwrap();
}

#[test]
fn a_partial_erasure_of_nothing_writes_nothing() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    append(&store, july("stays"));
    let leaves = store.stats().unwrap().ledger_leaves;
    let part = |stream: Option<&str>, until: Option<&str>| {
        let stream = stream.map(|class| Stream::new(class, "EU").unwrap());
        store.erase_part("ana", stream, until.map(|until| until.parse().unwrap())).unwrap()
    };
    assert_eq!(part(Some("email"), None), None);
    assert_eq!(part(None, Some("2025-06-01T00:00:00Z")), None);
    assert_eq!(part(Some("chat"), Some("2025-07-01T00:00:00Z")), None, "in the same window, but later");
    assert_eq!(store.stats().unwrap().ledger_leaves, leaves);
    assert!(part(None, Some("2025-07-01T00:00:01Z")).is_some());
    assert!(bodies(&store, "ana").is_empty());
}
