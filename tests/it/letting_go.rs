//! Expiry and erasure: what goes, what stays, and that copies of what went are of no use.

use std::sync::Arc;
use std::time::Duration;

use tenure::env::Env;
use tenure::env::sim::Sim;
use tenure::report::{Budget, VerifyOptions};
use tenure::{
    Batch, BodyKind, ErrorKind, ExpireOptions, Options, Record, RecordId, RefusalReason, Result, ScanFilter, Store,
    Stream, Timestamp,
};

use crate::vault::Vault;

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P3M\"\n";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn options(sim: &Sim, vault: &Vault) -> Options {
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    Store::options("/calls").env(env).custodian(vault.clone()).ballast_bytes(4096)
}

fn note(customer: &str, class: &str, time: &str, body: &str) -> Record {
    Record::new(customer, class, "EU", at(time), body.to_owned()).unwrap().with_kind(BodyKind::Text)
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

fn bodies(store: &Store, customer: &str) -> Vec<String> {
    let timeline = store.timeline(customer, ..).unwrap();
    timeline.map(|stored| String::from_utf8(stored.unwrap().body.to_vec()).unwrap()).collect()
}

fn scene(seed: u64) -> (Sim, Vault, Store) {
    let sim = Sim::new(seed);
    sim.set_now(at("2026-01-01T00:00:00Z"));
    let vault = Vault::default();
    let store = options(&sim, &vault).create().unwrap();
    (sim, vault, store)
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn fill(store: &Store) {
    for month in 1..=6 {
        let time = format!("2025-{:02}-15T00:00:00Z", 6 + month);
        for (customer, class) in [("ana", "chat"), ("bo", "chat"), ("ana", "email"), ("cy", "email")] {
            append(store, vec![note(customer, class, &time, &format!("{customer} {class} in month {}", 6 + month))]);
        }
    }
}

fn whole(store: &Store) {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
}

#[test]
fn exactly_the_partitions_past_their_maximum_go() {
    let (sim, vault, store) = scene(1);
    fill(&store);
    store.settle().unwrap();
    let before = sim.snapshot();
    store.set_policy_confirmed(POLICY, "a test").unwrap();
    // On January 1st, the months up to September are past their end and three months.
    let dry = store.expire(ExpireOptions { dry_run: true, confirmed: true, ..ExpireOptions::default() }).unwrap();
    assert_eq!((dry.partitions.len(), dry.receipt), (6, None));
    assert_eq!(store.stats().unwrap().partitions.iter().filter(|partition| partition.overdue).count(), 6);
    let expiry = store.expire(ExpireOptions::default()).unwrap();
    let receipt = expiry.receipt.unwrap();
    assert_eq!((expiry.partitions.len(), receipt.partitions, receipt.stage()), (6, 6, "final"));
    assert_eq!(store.stats().unwrap().partitions.len(), 6);
    assert_eq!(bodies(&store, "bo"), ["bo chat in month 10", "bo chat in month 11", "bo chat in month 12"]);
    let files = sim.files();
    let gone = |path: &str| files.iter().all(|(name, _)| !name.to_string_lossy().contains(path));
    assert!(gone("2025-07-01-month") && gone("2025-09-01-month") && !gone("2025-10-01-month"));
    // The window stays refused, whatever the policy says later.
    store.set_policy("[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\n").unwrap();
    let late = store.append(vec![note("bo", "chat", "2025-09-30T23:59:59Z", "late")]).unwrap_err();
    assert_eq!(late.refusals()[0].reason, RefusalReason::Expired);
    append(&store, vec![note("bo", "chat", "2025-10-01T00:00:00Z", "in time")]);
    whole(&store);
    // Old segments beside the living keyring stay unreadable and invisible.
    store.close().unwrap();
    sim.restore_missing(&before, "/calls/segments");
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(bodies(&store, "bo").len(), 4);
    assert_eq!(store.expire(ExpireOptions::default()).unwrap().partitions, []);
    whole(&store);
}

#[test]
fn a_clock_that_jumped_ahead_destroys_nothing_until_somebody_vouches_for_it() {
    let (sim, vault, store) = scene(2);
    fill(&store);
    store
        .set_policy_confirmed(
            "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P9M\"\n",
            "a test",
        )
        .unwrap();
    sim.set_now(at("2036-01-01T00:00:00Z"));
    assert!(store.expire(ExpireOptions::default()).unwrap().partitions.is_empty(), "the clock moved while it was open");
    assert!(bodies(&store, "ana").is_empty(), "hiding believes the clock, since it can be undone");
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(store.recovery().clock_doubted.unwrap().day(), at("2036-01-01T00:00:00Z").day());
    assert!(store.expire(ExpireOptions::default()).unwrap().partitions.is_empty(), "ten years between two openings");
    let later = ExpireOptions { now: Some(at("2026-06-01T00:00:00Z")), ..ExpireOptions::default() };
    assert_eq!(store.expire(later).unwrap_err().kind(), ErrorKind::Refused, "later than trusted, and not confirmed");
    assert_eq!(store.expire(ExpireOptions { dry_run: true, ..later }).unwrap().partitions.len(), 4);
    sim.set_now(at("2026-01-02T00:00:00Z"));
    assert_eq!(bodies(&store, "ana").len(), 12, "set right again, everything is there");
    assert_eq!(store.expire(ExpireOptions { confirmed: true, ..later }).unwrap().partitions.len(), 4);
    store.close().unwrap();
    sim.set_now(at("2027-06-01T00:00:00Z"));
    let reader = options(&sim, &vault).open_read_only().unwrap();
    assert_eq!(
        reader.recovery().clock_doubted.unwrap().day(),
        at("2027-06-01T00:00:00Z").day(),
        "a reader says it too"
    );
    drop(reader);
    let store = options(&sim, &vault).trust_clock().open().unwrap();
    assert_eq!(store.expire(ExpireOptions::default()).unwrap().partitions.len(), 8);
}

#[test]
fn an_erased_customer_is_gone_and_everybody_else_reads_as_before() {
    let (sim, vault, store) = scene(3);
    fill(&store);
    store.settle().unwrap();
    fill(&store);
    let (bo, cy) = (bodies(&store, "bo"), bodies(&store, "cy"));
    let mut open = store.timeline("ana", ..).unwrap();
    assert!(open.next().unwrap().is_ok());
    let receipt = store.erase(&["ana", "nobody"]).unwrap().unwrap();
    assert_eq!((receipt.subjects.len(), receipt.stage()), (1, "final"));
    assert_eq!(open.next().unwrap().unwrap_err().kind(), ErrorKind::Erased, "an open timeline ends");
    assert!(open.next().is_none());
    assert!(bodies(&store, "ana").is_empty());
    assert_eq!((bodies(&store, "bo"), bodies(&store, "cy")), (bo.clone(), cy.clone()));
    assert_eq!(store.scan(ScanFilter::default()).unwrap().count(), bo.len() + cy.len());
    assert!(store.erase(&["ana"]).unwrap().is_none(), "nothing is left to erase");
    // Late events are refused by name; newer ones begin a new life.
    let late = store.append(vec![
        note("bo", "chat", "2025-12-31T00:00:00Z", "fine"),
        note("ana", "chat", "2025-12-31T00:00:00Z", "late"),
    ]);
    let late = late.unwrap_err();
    assert_eq!(
        (late.refusals().len(), late.refusals()[0].index, late.refusals()[0].reason),
        (1, 1, RefusalReason::Erased)
    );
    sim.advance(days(1));
    append(&store, vec![note("ana", "chat", "2026-01-01T12:00:00Z", "a new life")]);
    assert_eq!(bodies(&store, "ana"), ["a new life"]);
    assert_eq!(
        store.append(vec![note("ana", "chat", "2025-12-31T00:00:00Z", "still late")]).unwrap_err().kind(),
        ErrorKind::Refused
    );
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(bodies(&store, "ana"), ["a new life"]);
    assert_eq!((bodies(&store, "bo"), bodies(&store, "cy")), (bo, cy));
    whole(&store);
    // Scrubbing drops the dead bytes as well, those in the journal included.
    let bytes =
        |store: &Store| store.stats().unwrap().partitions.iter().map(|partition| partition.records).sum::<u64>();
    let before = bytes(&store);
    store.scrub().unwrap();
    assert_eq!(bytes(&store), before - 12, "closing dropped those that were still in the journal");
    assert_eq!(store.receipts().unwrap()[0].stage(), "scrubbed");
    assert_eq!(bodies(&store, "ana"), ["a new life"]);
    assert_eq!(store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap().unreachable, 0);
}

#[test]
fn a_part_goes_and_the_rest_stays() {
    let (sim, vault, store) = scene(4);
    fill(&store);
    store.settle().unwrap();
    let month = |from: u32, class: &str| (from..=12).map(|m| format!("ana {class} in month {m}")).collect::<Vec<_>>();
    // One stream.
    let email = Stream::new("email", "EU").unwrap();
    store.erase_part("ana", Some(email), None).unwrap().unwrap();
    assert_eq!(bodies(&store, "ana"), month(7, "chat"));
    // Up to a time within a window: what is later in that window lives on.
    append(&store, vec![note("ana", "chat", "2025-09-02T00:00:00Z", "early in September")]);
    store.erase_part("ana", None, Some(at("2025-09-10T00:00:00Z"))).unwrap().unwrap();
    assert_eq!(bodies(&store, "ana"), month(9, "chat"));
    // New records stand under the fresh secret, beside the old.
    append(
        &store,
        vec![note("ana", "email", "2025-12-20T00:00:00Z", "again"), note("ana", "chat", "2025-12-20T00:00:00Z", "too")],
    );
    assert_eq!(bodies(&store, "ana").len(), 6);
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(bodies(&store, "ana").len(), 6);
    assert_eq!(bodies(&store, "bo").len(), 6);
    store.erase_part("ana", None, Some(at("2025-12-16T00:00:00Z"))).unwrap().unwrap();
    assert_eq!(bodies(&store, "ana"), ["again", "too"]);
    store.scrub().unwrap();
    assert_eq!(bodies(&store, "ana"), ["again", "too"]);
    whole(&store);
    assert_eq!(store.erase_part("ana", None, None).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn one_record_is_redacted_and_refused_for_good() {
    let (sim, vault, store) = scene(5);
    let id = RecordId::from_bytes([7; 16]);
    append(&store, vec![note("ana", "chat", "2025-12-01T00:00:00Z", "card 4111 1111").with_id(id)]);
    fill(&store);
    let all = bodies(&store, "ana");
    store.redact("ana", id).unwrap().unwrap();
    let rest: Vec<String> = all.into_iter().filter(|body| !body.starts_with("card")).collect();
    assert_eq!(bodies(&store, "ana"), rest);
    append(&store, vec![note("ana", "chat", "2025-12-01T00:00:00Z", "card 4111 1111").with_id(id)]);
    assert_eq!(bodies(&store, "ana"), rest, "sent again, it is refused");
    assert_eq!(store.get("ana", id).unwrap(), None);
    store.maintain(Budget::ALL).unwrap();
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(bodies(&store, "ana"), rest);
    assert!(store.redact("ana", id).unwrap().is_none());
    whole(&store);
}

#[test]
fn copies_made_before_are_of_no_use_for_the_erased_and_of_use_for_the_others() {
    let (sim, vault, store) = scene(6);
    fill(&store);
    store.close().unwrap();
    let before = sim.snapshot();
    let store = options(&sim, &vault).open().unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    store.close().unwrap();
    let now = sim.snapshot();
    // The whole copy, keyring included: the vault has destroyed the root that opened it.
    sim.restore(&before, "/");
    assert!(options(&sim, &vault).take_over("trying").open().is_err());
    // The old segments under the living keyring.
    sim.restore(&now, "/");
    sim.restore_missing(&before, "/calls/segments");
    let store = options(&sim, &vault).take_over("the copy above was opened").open().unwrap();
    assert!(bodies(&store, "ana").is_empty());
    assert_eq!(bodies(&store, "bo").len(), 6);
}

#[test]
fn erasures_race_with_appends_and_readers_on_real_threads() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::options(dir.path().join("calls")).accept_weak_erasure().create()?;
    let record = |customer: usize, serial: usize| {
        let at = format!("2025-0{}-01T00:00:00.{serial:06}Z", 1 + serial % 9).parse().unwrap();
        Record::new(&format!("c{customer}"), "chat", "EU", at, format!("note {serial}")).unwrap()
    };
    append(&store, (0..8).map(|customer| record(customer, 999)).collect());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                for serial in 0..150 {
                    let batch = Batch::from(vec![record(serial % 8, thread * 1000 + serial)]);
                    match store.append(batch).and_then(|commit| commit.wait()) {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}"),
                    }
                    match store.timeline(&format!("c{}", serial % 8), ..) {
                        Ok(timeline) => {
                            for stored in timeline {
                                if let Err(error) = stored {
                                    assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                                }
                            }
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}"),
                    }
                }
            });
        }
        for customer in 0..6 {
            store.erase(&[&format!("c{customer}")]).unwrap();
            assert_eq!(store.timeline(&format!("c{customer}"), ..).unwrap().count(), 0);
        }
    });
    for customer in 0..6 {
        assert_eq!(store.timeline(&format!("c{customer}"), ..)?.count(), 0, "events from before the erasure stay out");
    }
    whole(&store);
    store.close()
}

#[test]
fn entries_that_serve_nothing_disappear() {
    let (sim, vault, store) = scene(7);
    fill(&store);
    append(&store, vec![note("dee", "chat", "2025-07-03T00:00:00Z", "only in July")]);
    store.erase(&["cy"]).unwrap().unwrap();
    assert_eq!(store.stats().unwrap().customers, 4);
    // A fence lapses after 35 days; nobody knows the customer any more, but old events stay out unless on purpose.
    sim.advance(days(36));
    store.maintain(Budget::ALL).unwrap();
    assert_eq!(store.stats().unwrap().customers, 3);
    let old = || vec![note("cy", "chat", "2025-12-20T00:00:00Z", "from before")];
    assert_eq!(store.append(old()).unwrap_err().refusals()[0].reason, RefusalReason::Erased);
    store.append(Batch::from(old()).backfill()).unwrap().wait().unwrap();
    assert_eq!(bodies(&store, "cy"), ["from before"]);
    // Customers of whom no partition is left go after an expiry.
    store.set_policy_confirmed(POLICY, "a test").unwrap();
    append(&store, vec![note("ana", "chat", "2026-02-01T00:00:00Z", "this year")]);
    let spring = Some(at("2026-04-30T00:00:00Z"));
    store.expire(ExpireOptions { now: spring, confirmed: true, ..ExpireOptions::default() }).unwrap();
    assert_eq!(store.maintain(Budget::ALL).unwrap().customers_forgotten, 3, "bo, cy who came again, and dee");
    assert_eq!(store.stats().unwrap().customers, 1);
    assert_eq!(bodies(&store, "ana"), ["this year"]);
    assert!(bodies(&store, "dee").is_empty());
    // The dead bytes go by themselves before the promised 90 days are over.
    sim.advance(days(30));
    store.maintain(Budget::ALL).unwrap();
    assert!(store.receipts().unwrap().iter().any(|receipt| receipt.scrubbed.is_some()));
    whole(&store);
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(bodies(&store, "ana"), ["this year"]);
}

#[test]
fn scrubbing_reaches_frames_that_are_still_in_the_journal() {
    let (sim, vault, store) = scene(8);
    fill(&store);
    store.erase(&["ana"]).unwrap().unwrap();
    store.scrub().unwrap();
    assert_eq!(store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap().unreachable, 0);
    store.close().unwrap();
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!(store.stats().unwrap().partitions.iter().map(|partition| partition.records).sum::<u64>(), 12);
    whole(&store);
}
