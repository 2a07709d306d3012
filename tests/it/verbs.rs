//! What each verb promises, seen through the public interface.

use std::sync::Arc;

use tenure::env::Env;
use tenure::env::sim::Sim;
use tenure::report::{Budget, VerifyOptions};
use tenure::{
    Batch, BodyKind, ErrorKind, FileCustodian, Record, RecordId, RefusalReason, ScanFilter, Store, Stream, Timestamp,
};

use crate::scene::{self, Dice, Model};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn note(customer: &str, time: &str, body: &str) -> Record {
    Record::new(customer, "chat", "EU", at(time), body.to_owned()).unwrap().with_kind(BodyKind::Text)
}

fn bodies(store: &Store, customer: &str) -> Vec<String> {
    let timeline = store.timeline(customer, ..).unwrap();
    timeline.map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

#[test]
fn a_timeline_is_in_the_order_of_events_and_of_writing() {
    let sim = Sim::new(1);
    let store = scene::options(&sim).create().unwrap();
    scene::append(&store, vec![note("a", "2025-03-01T00:00:00Z", "third"), note("a", "2025-01-01T00:00:00Z", "first")])
        .unwrap();
    scene::append(
        &store,
        vec![note("a", "2025-01-01T00:00:00Z", "second"), note("b", "2025-02-01T00:00:00Z", "other")],
    )
    .unwrap();
    assert_eq!(bodies(&store, "a"), ["first", "second", "third"]);
    store.settle().unwrap();
    assert_eq!(bodies(&store, "a"), ["first", "second", "third"]);
    assert_eq!(bodies(&store, "b"), ["other"]);
    assert!(bodies(&store, "nobody").is_empty());
    let from = at("2025-01-02T00:00:00Z");
    assert_eq!(store.timeline("a", from..).unwrap().count(), 1);
    assert_eq!(store.timeline("a", ..=at("2025-01-01T00:00:00Z")).unwrap().count(), 2);
    assert_eq!(store.grep("a", "(?i)FIRST|third", ..).unwrap().count(), 2);
    let error = store.grep("a", "(ana smith", ..).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!format!("{error} {error:?}").contains("smith"), "what people search for stays out of errors");
}

#[test]
fn the_same_record_sent_twice_is_read_back_once_and_the_first_written_wins() {
    let sim = Sim::new(2);
    let store = scene::options(&sim).create().unwrap();
    let id = RecordId::from_bytes([9; 16]);
    scene::append(&store, vec![note("a", "2025-03-01T00:00:00Z", "first written").with_id(id)]).unwrap();
    scene::append(&store, vec![note("a", "2025-03-01T00:00:00Z", "a retry").with_id(id)]).unwrap();
    store.settle().unwrap();
    scene::append(&store, vec![note("a", "2025-03-01T00:00:00Z", "another retry").with_id(id)]).unwrap();
    scene::append(&store, vec![note("b", "2025-03-01T00:00:00Z", "somebody else's").with_id(id)]).unwrap();
    assert_eq!(bodies(&store, "a"), ["first written"]);
    assert_eq!(store.scan(ScanFilter::default()).unwrap().count(), 2);
    assert_eq!(&store.get("a", id).unwrap().unwrap().body[..], b"first written");
    assert_eq!(store.get("nobody", id).unwrap(), None);
    // What the store printed can be taken in again, with the ids it gave, and changes nothing.
    scene::append(&store, vec![note("c", "2025-03-02T00:00:00Z", "no id")]).unwrap();
    let given = store.timeline("c", ..).unwrap().next().unwrap().unwrap().id;
    scene::append(&store, vec![note("c", "2025-03-02T00:00:00Z", "no id").with_id(given)]).unwrap();
    assert_eq!(bodies(&store, "c"), ["no id"]);
}

#[test]
fn a_refused_batch_writes_nothing_and_names_every_record() {
    let sim = Sim::new(3);
    let store = scene::options(&sim).create().unwrap();
    let policy = "[[rule]]\nclass = \"chat\"\njurisdiction = \"EU\"\nwindow = \"month\"\nkeep_at_most = \"P1Y\"\n";
    assert_eq!(store.set_policy(policy).unwrap(), 2);
    sim.set_now(at("2026-06-15T00:00:00Z"));
    let other = Record::new("a", "survey", "EU", at("2026-06-01T00:00:00Z"), "x").unwrap();
    let batch = vec![
        note("a", "2026-06-01T00:00:00Z", "fine"),
        note("a", "2025-04-30T00:00:00Z", "too old"),
        note("a", "2026-06-17T00:00:00Z", "not yet"),
        other,
    ];
    let syncs = sim.syncs();
    let error = store.append(batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let reasons: Vec<_> = error.refusals().iter().map(|refusal| (refusal.index, refusal.reason)).collect();
    assert_eq!(reasons, [(1, RefusalReason::Expired), (2, RefusalReason::Future), (3, RefusalReason::NoRule)]);
    assert_eq!(sim.syncs(), syncs);
    assert!(bodies(&store, "a").is_empty());
    assert!(store.set_policy("[[rule]]\nclass = 7\n").is_err());
    assert_eq!(store.policy().version, 2);
}

#[test]
fn a_record_is_hidden_exactly_at_its_maximum_and_a_clock_set_back_shows_nothing_again() {
    let sim = Sim::new(4);
    sim.set_now(at("2026-01-01T00:00:00Z"));
    let store = scene::options(&sim).create().unwrap();
    store
        .set_policy("[[rule]]\nclass = \"chat\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P1Y\"\n")
        .unwrap();
    scene::append(&store, vec![note("a", "2025-12-10T12:00:00Z", "old"), note("a", "2025-12-20T00:00:00Z", "newer")])
        .unwrap();
    // Time passes for real, so that the ledger can vouch for it.
    sim.advance(std::time::Duration::from_secs(345 * 86_400));
    sim.set_now(at("2026-12-10T11:59:00Z"));
    assert_eq!(bodies(&store, "a"), ["old", "newer"]);
    sim.set_now(at("2026-12-10T12:00:00Z"));
    assert_eq!(bodies(&store, "a"), ["newer"]);
    let stats = store.stats().unwrap();
    assert_eq!(stats.partitions[0].deadline, Some(at("2027-01-01T00:00:00Z")));
    assert!(!stats.partitions[0].overdue);
    store.close().unwrap();
    sim.set_now(at("2026-01-01T00:00:00Z"));
    let store = scene::options(&sim).open().unwrap();
    assert_eq!(bodies(&store, "a"), ["newer"], "the ledger remembers how late it was");
}

#[test]
fn a_commit_costs_one_sync_whatever_the_number_of_partitions() {
    let sim = Sim::new(5);
    let store = scene::options(&sim).create().unwrap();
    let batch = |months: u32, days: std::ops::Range<u32>| -> Vec<Record> {
        let month = |month: u32| format!("20{:02}-{:02}", 20 + month / 12, 1 + month % 12);
        let each = |m: u32| days.clone().map(move |day| (m, day));
        (0..months)
            .flat_map(each)
            .map(|(m, day)| note("a", &format!("{}-{day:02}T00:00:00Z", month(m)), "words"))
            .collect()
    };
    // The first commit creates the journal file, the customer and the partitions.
    scene::append(&store, batch(42, 1..3)).unwrap();
    for (records, what) in [(batch(1, 3..4), "one partition"), (batch(42, 4..5), "42 partitions")] {
        let before = (sim.syncs_of(".journal"), sim.syncs(), sim.dir_syncs());
        scene::append(&store, records).unwrap();
        let after = (sim.syncs_of(".journal"), sim.syncs(), sim.dir_syncs());
        assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (1, 1, 0), "{what}");
    }
    let before = (sim.syncs_of(".journal"), sim.syncs_of(".keys"), sim.syncs());
    scene::append(
        &store,
        vec![note("new", "2020-01-05T00:00:00Z", "words"), note("newer", "2021-01-05T00:00:00Z", "w")],
    )
    .unwrap();
    let after = (sim.syncs_of(".journal"), sim.syncs_of(".keys"), sim.syncs());
    assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (1, 1, 2), "new customers");
}

#[test]
fn no_customer_id_and_no_word_stands_in_any_byte_ever_written() {
    let sim = Sim::new(6);
    sim.keep_history();
    let store = scene::options(&sim).create().unwrap();
    let words = "the quick canary sang of debts";
    for serial in 0..40 {
        let customer = format!("canary-{}@example.com", serial % 7);
        let body = format!("{words} number {serial}");
        scene::append(&store, vec![note(&customer, &format!("2025-0{}-01T00:00:00Z", 1 + serial % 9), &body)]).unwrap();
        if serial % 10 == 0 {
            store.settle().unwrap();
        }
    }
    store.maintain(Budget::ALL).unwrap();
    let source = Batch::from(vec![note("canary-1@example.com", "2025-01-02T00:00:00Z", words)]);
    store.append(source.with_source("/home/ana/canary.jsonl", 7)).unwrap().wait().unwrap();
    assert_eq!(store.source_offset("/home/ana/canary.jsonl").unwrap(), Some(7));
    assert_eq!(store.source_offset("/home/bo/other.jsonl").unwrap(), None);
    let shown = format!("{store:?} {:?}", store.timeline("canary-1@example.com", ..).unwrap());
    store.close().unwrap();
    let store = scene::options(&sim).open().unwrap();
    assert_eq!(store.source_offset("/home/ana/canary.jsonl").unwrap(), Some(7), "settled offsets stay");
    let mut seen = 0;
    sim.every_byte_ever(|path, bytes| {
        seen += bytes.len();
        for canary in ["canary", "quick", "debts", "example.com"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} stands in {path}");
        }
    });
    assert!(seen > 10_000);
    assert!(!shown.contains("canary-1"));
}

#[test]
fn readers_follow_a_writer_without_its_lock() {
    let sim = Sim::new(8);
    let writer = scene::options(&sim).create().unwrap();
    let (mut dice, mut serial, mut model) = (Dice(8), 0, Model::default());
    let reader = scene::options(&sim).open_read_only().unwrap();
    for round in 0..30 {
        let batch = scene::batch(&mut dice, &mut serial);
        scene::append(&writer, batch.clone()).unwrap();
        model.add(&batch);
        if round % 7 == 0 {
            writer.settle().unwrap();
        }
        assert_eq!(Model::of_timelines(&reader).unwrap(), model, "round {round}");
        assert_eq!(Model::of_scan(&reader).unwrap(), model, "round {round}");
    }
    assert_eq!(scene::options(&sim).open().unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(reader.append(vec![note("a", "2025-01-01T00:00:00Z", "x")]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(reader.stats().unwrap().partitions, writer.stats().unwrap().partitions);
    let deep = VerifyOptions { deep: true, subset: 1.0 };
    let verified = reader.verify(deep, &mut |_| {}).unwrap();
    assert_eq!((verified.damage.len(), verified.records), (0, model.0.len() as u64));
    // Without a living writer the valid prefix is read.
    drop(writer);
    sim.kill();
    let reader = scene::options(&sim).open_read_only().unwrap();
    assert_eq!(Model::of_timelines(&reader).unwrap(), model);
}

#[test]
fn a_failed_sync_poisons_the_store_until_it_is_opened_again() {
    let sim = Sim::new(9);
    let store = scene::options(&sim).create().unwrap();
    scene::append(&store, vec![note("a", "2025-01-01T00:00:00Z", "kept")]).unwrap();
    sim.set_faults(tenure::env::sim::Faults { sync_errors: 1, ..Default::default() });
    assert_eq!(
        scene::append(&store, vec![note("a", "2025-01-02T00:00:00Z", "lost")]).unwrap_err().kind(),
        ErrorKind::Io
    );
    sim.heal();
    let error = scene::append(&store, vec![note("a", "2025-01-03T00:00:00Z", "refused")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(bodies(&store, "a"), ["kept"], "reads go on");
    drop(store);
    let store = scene::options(&sim).open().unwrap();
    assert_eq!(bodies(&store, "a")[0], "kept");
    scene::append(&store, vec![note("a", "2025-01-03T00:00:00Z", "again")]).unwrap();
}

#[test]
fn a_full_disk_is_a_typed_error_and_loses_nothing() {
    let sim = Sim::new(10);
    let store = scene::options(&sim).create().unwrap();
    scene::append(&store, vec![note("a", "2025-01-01T00:00:00Z", "kept")]).unwrap();
    sim.set_capacity(Some(0));
    let big = note("a", "2025-01-02T00:00:00Z", &"x".repeat(100));
    let outcome = (0..2000).try_for_each(|_| scene::append(&store, vec![big.clone(); 200]));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert_eq!(bodies(&store, "a")[0], "kept");
    sim.set_capacity(None);
    drop(store);
    let store = scene::options(&sim).open().unwrap();
    assert_eq!(bodies(&store, "a")[0], "kept");
}

#[test]
fn clones_rolled_back_keyrings_and_wrong_custodians_are_refused() {
    let sim = Sim::new(11);
    let store = scene::options(&sim).create().unwrap();
    scene::append(&store, vec![note("a", "2025-01-01T00:00:00Z", "kept")]).unwrap();
    store.close().unwrap();
    let before = sim.snapshot();
    let store = scene::options(&sim).open().unwrap();
    scene::append(&store, vec![note("b", "2025-01-01T00:00:00Z", "newer")]).unwrap();
    store.close().unwrap();
    let now = sim.snapshot();
    // The keyring of before beside the store of now.
    sim.restore(&before, "/calls.keyring");
    assert_eq!(scene::options(&sim).open().unwrap_err().kind(), ErrorKind::KeyUnavailable);
    // The whole store of before with the custodian of now: a copy that was opened since.
    sim.restore(&now, "/");
    sim.restore(&before, "/calls.keyring");
    sim.restore(&before, "/calls/");
    assert!(scene::options(&sim).open().is_err());
    // A custodian of another store.
    sim.restore(&now, "/");
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    let other = FileCustodian::with_env(env.clone(), "/other.custodian");
    Store::options("/other").env(env.clone()).custodian(other).create().unwrap().close().unwrap();
    let wrong = FileCustodian::with_env(env.clone(), "/other.custodian");
    let error = scene::options(&sim).custodian(wrong).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyUnavailable);
    assert!(error.next_step().is_some());
    let store = scene::options(&sim).open().unwrap();
    assert_eq!(bodies(&store, "b"), ["newer"]);
}

#[test]
fn a_scan_can_be_narrowed_to_a_stream_and_a_time() {
    let sim = Sim::new(12);
    let store = scene::options(&sim).create().unwrap();
    let us = Record::new("a", "chat", "US", at("2025-05-05T00:00:00Z"), "us").unwrap();
    scene::append(
        &store,
        vec![note("a", "2025-01-01T00:00:00Z", "january"), note("b", "2025-06-01T00:00:00Z", "june"), us],
    )
    .unwrap();
    let count = |filter| store.scan(filter).unwrap().collect::<tenure::Result<Vec<_>>>().unwrap().len();
    let stream = Some(Stream::new("chat", "EU").unwrap());
    assert_eq!(count(ScanFilter::default()), 3);
    assert_eq!(count(ScanFilter { stream: stream.clone(), ..ScanFilter::default() }), 2);
    assert_eq!(count(ScanFilter { stream, from: Some(at("2025-02-01T00:00:00Z")), until: None }), 1);
    assert_eq!(count(ScanFilter { until: Some(at("2025-05-05T00:00:00Z")), ..ScanFilter::default() }), 1);
}
