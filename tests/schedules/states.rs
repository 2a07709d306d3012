//! States that are carried forward, and records that are put right, against appends and reads.

use std::sync::Mutex;

use shuttle::thread;
use tenure::report::Budget;
use tenure::{ErrorKind, ExpireOptions, RecordId, RefusalReason, ScanFilter, Store};

use crate::scene::{ANA, OLD, YOUNG, append, at, id, is_refused, note, schedules};

const LAW: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_most = \"P6M\"\n\
    [[rule]]\nclass = \"profile\"\njurisdiction = \"*\"\nanchor = \"relationship-end\"\nkeep_at_most = \"P6M\"\nlatest = true\n";
/// When the old month is past its maximum, and the young one is not.
const LATE: &str = "2026-07-02T00:00:00Z";

/// What a customer is; none where an expiry came in between.
fn state(store: &Store, customer: &str) -> Option<Vec<RecordId>> {
    let mut seen = Vec::new();
    for stored in store.timeline(customer, ..).unwrap() {
        match stored {
            Ok(stored) if stored.stream.class() == "profile" => seen.push(stored.id),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                return None;
            }
        }
    }
    Some(seen)
}

/// A month of states goes, while they are read, newer ones come in, and late ones into the month that goes. Somebody is
/// something all the time, and what was acknowledged counts.
#[test]
fn carrying_against_appends_and_reads() {
    schedules(|scene| {
        let store = &scene.store;
        store.set_policy_confirmed(LAW, "states").unwrap();
        append(store, vec![note("ana", "profile", OLD, 51), note("bo", "profile", OLD, 52)]).unwrap();
        let (late, newer) = (&Mutex::new(false), &Mutex::new(false));
        thread::scope(|scope| {
            scope.spawn(move || {
                let options = ExpireOptions { now: Some(at(LATE)), confirmed: true, ..ExpireOptions::default() };
                assert_eq!(store.expire(options).unwrap().partitions.len(), 2);
            });
            scope.spawn(move || {
                for _ in 0..3 {
                    let seen = state(store, "ana");
                    let is_one = |seen: &Vec<RecordId>| *seen == [id(51)] || *seen == [id(53)];
                    assert!(seen.as_ref().is_none_or(is_one), "a gap: {seen:?}");
                }
            });
            scope.spawn(move || {
                let scanned: Result<Vec<_>, _> = store.scan(ScanFilter::default()).unwrap().collect();
                match scanned {
                    Ok(all) => assert_eq!(all.iter().filter(|one| one.stream.class() == "profile").count(), 2, "a gap"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}"),
                }
            });
            scope.spawn(move || match append(store, vec![note("ana", "profile", OLD, 53)]) {
                Ok(()) => *late.lock().unwrap() = true,
                Err(error) => assert!(is_refused(&error, &RefusalReason::Expired), "{error:?}"),
            });
            scope.spawn(move || {
                append(store, vec![note("bo", "profile", YOUNG, 54)]).unwrap();
                *newer.lock().unwrap() = true;
            });
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
        });
        let is = if *late.lock().unwrap() { 53 } else { 51 };
        assert!(*newer.lock().unwrap());
        scene.afterwards(|store| {
            assert_eq!((state(store, "ana"), state(store, "bo")), (Some(vec![id(is)]), Some(vec![id(54)])));
        });
        scene.nothing_left_of("2025-12");
    });
}

/// Two put one record right, one reads it, one appends: the versions are one chain, and readers see one of them.
#[test]
fn amending_against_appends_and_reads() {
    schedules(|scene| {
        let store = &scene.store;
        let versions = &Mutex::new(vec![id(ANA[2])]);
        thread::scope(|scope| {
            for body in [b"one", b"two"] {
                scope.spawn(move || {
                    let put_right = store.rectify("ana", id(ANA[2]), body).unwrap();
                    versions.lock().unwrap().push(put_right);
                });
            }
            scope.spawn(move || {
                for _ in 0..3 {
                    let seen = store.timeline("ana", ..).unwrap().map(|stored| stored.unwrap().at).collect::<Vec<_>>();
                    assert_eq!(seen.len(), ANA.len(), "a version too many, or none");
                    assert!(store.get("ana", id(ANA[2])).unwrap().is_some());
                }
            });
            scope.spawn(move || append(store, vec![note("bo", "chat", YOUNG, 41)]).unwrap());
            scope.spawn(move || drop(store.settle().unwrap()));
        });
        scene.afterwards(|store| {
            let all: Vec<RecordId> = store.history("ana").unwrap().map(|stored| stored.unwrap().id).collect();
            assert_eq!(all.len(), ANA.len() + 2);
            assert!(versions.lock().unwrap().iter().all(|id| all.contains(id)));
            assert_eq!(store.timeline("ana", ..).unwrap().count(), ANA.len());
        });
    });
}
