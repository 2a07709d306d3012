//! Expire against readers that hold on, and against appends into the month that goes.

use std::collections::BTreeSet;
use std::sync::Mutex;

use shuttle::thread;
use tenure::report::Budget;
use tenure::{ErrorKind, ExpireOptions, RecordId, RefusalReason, ScanFilter, Store};

use crate::scene::{ANA, BO, OLD, Scene, Stage, YOUNG, append, at, id, ids, is_refused, note, schedules};

/// When the old month is past its maximum, and the young one is not.
const LATE: &str = "2026-07-02T00:00:00Z";

pub fn expire(store: &Store) {
    let options = ExpireOptions { now: Some(at(LATE)), confirmed: true, ..ExpireOptions::default() };
    assert_eq!(store.expire(options).unwrap().partitions.len(), 1);
}

/// A reader that began before sees the old month and then its end; one that begins after sees the young month alone.
/// What is acknowledged into the young month stays; nothing comes into the old one after it has gone. Once nobody holds
/// on, no file of the old month is left.
#[test]
fn expire_against_pinned_readers() {
    schedules(|scene| {
        let (store, stage) = (&scene.store, &Stage::default());
        append(store, vec![note("bo", "chat", OLD, 15), note("bo", "chat", YOUNG, 16)]).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || pinned(scene, stage));
            scope.spawn(move || (0..2).for_each(|_| scan(scene, stage)));
            scope.spawn(move || stage.around(|| expire(store)));
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
        });
        let young = |serials: [u8; 4]| serials[2..].iter().map(|serial| id(*serial)).collect::<Vec<_>>();
        scene.afterwards(|store| {
            assert_eq!(ids(store, "ana"), young(ANA));
            assert_eq!(ids(store, "bo"), [young(BO), vec![id(16)]].concat());
        });
        scene.nothing_left_of("2025-12");
    });
}

fn pinned(scene: &Scene, stage: &Stage) {
    for _ in 0..2 {
        let mut seen = Vec::new();
        let begun = stage.get();
        let mut timeline = scene.store.timeline("ana", ..).unwrap();
        loop {
            let before = stage.get();
            match timeline.next() {
                Some(Ok(stored)) => {
                    assert!(before < 2 || stored.at >= at("2026-01-01T00:00:00Z"), "an expired record was handed out");
                    seen.push(stored.id);
                }
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                    assert!(stage.get() > 0 && ANA.map(id).starts_with(&seen), "a reader ended for no reason");
                    assert!(timeline.next().is_none(), "a timeline went on after its end");
                    break;
                }
                None => {
                    let all = seen == ANA.map(id);
                    let young = seen == ANA.map(id)[2..];
                    assert!(if begun == 2 { young } else { all || stage.get() > 0 && young }, "a gap: {seen:?}");
                    break;
                }
            }
        }
    }
}

/// What stays of all customers.
fn young() -> BTreeSet<RecordId> {
    ANA[2..].iter().chain(&BO[2..]).chain(&[16]).map(|serial| id(*serial)).collect()
}

fn scan(scene: &Scene, stage: &Stage) {
    let begun = stage.get();
    let mut seen = BTreeSet::new();
    let mut scan = scene.store.scan(ScanFilter::default()).unwrap();
    loop {
        let before = stage.get();
        let Some(stored) = scan.next() else { break };
        let stored = stored.unwrap();
        assert!(before < 2 || stored.at >= at("2026-01-01T00:00:00Z"), "a scan gave an expired record");
        seen.insert(stored.id);
    }
    let young_alone = seen.len() == young().len();
    assert!(begun < 2 || young_alone, "a scan began after the expiry and gave more than what stays");
    let all: BTreeSet<RecordId> = ANA.iter().chain(&BO).chain(&[15, 16]).map(|serial| id(*serial)).collect();
    assert!(seen.is_superset(&young()) && seen.is_subset(&all), "a scan lost what stays");
    assert!(stage.get() > 0 || seen == all, "a scan was not whole before anything had expired");
}

/// Two expiries at once, and appends of both months beside them.
#[test]
fn append_against_expire() {
    schedules(|scene| {
        let (store, stage) = (&scene.store, &Stage::default());
        let acknowledged = &Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(move || {
                for serial in [21, 22] {
                    let before = stage.get();
                    match append(store, vec![note("ana", "chat", OLD, serial), note("cy", "chat", OLD, serial + 10)]) {
                        Ok(()) => assert!(before < 2, "a record came into a month that has gone"),
                        Err(error) => assert!(is_refused(&error, &RefusalReason::Expired), "{error:?}"),
                    }
                }
            });
            scope.spawn(move || {
                for serial in [41, 42] {
                    append(store, vec![note("ana", "chat", YOUNG, serial)]).unwrap();
                    acknowledged.lock().unwrap().push(id(serial));
                }
            });
            scope.spawn(move || stage.around(|| expire(store)));
            scope.spawn(move || drop(store.settle().unwrap()));
        });
        scene.afterwards(|store| {
            let all = ANA[2..].iter().map(|serial| id(*serial)).chain(acknowledged.lock().unwrap().clone());
            assert_eq!(ids(store, "ana"), all.collect::<Vec<_>>());
            assert_eq!(ids(store, "bo"), BO[2..].iter().map(|serial| id(*serial)).collect::<Vec<_>>());
            assert_eq!(ids(store, "cy"), []);
        });
        scene.nothing_left_of("2025-12");
    });
}

/// Of two expiries at once, one does it and the other finds nothing to do.
#[test]
fn expire_against_expire() {
    schedules(|scene| {
        let store = &scene.store;
        let counts = &Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    let options = ExpireOptions { now: Some(at(LATE)), confirmed: true, ..ExpireOptions::default() };
                    let count = store.expire(options).unwrap().partitions.len();
                    counts.lock().unwrap().push(count);
                });
            }
        });
        counts.lock().unwrap().sort_unstable();
        assert_eq!(*counts.lock().unwrap(), [0, 1], "a month was expired twice");
        scene.afterwards(|store| {
            assert_eq!(store.receipts().unwrap().len(), 1);
            assert_eq!(ids(store, "ana"), ANA[2..].iter().map(|serial| id(*serial)).collect::<Vec<_>>());
        });
    });
}
