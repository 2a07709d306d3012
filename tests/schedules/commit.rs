//! Group commit: appenders that wait, one that does not, settling beside them, and a close that comes too early.

use std::sync::Mutex;

use shuttle::thread;
use tenure::report::Budget;
use tenure::{ErrorKind, RecordId, RefusalReason};

use crate::scene::{ANA, BO, OLD, SOON, YOUNG, append, id, ids, is_refused, note, schedules, schedules_with_worker};

/// Everybody is answered, and what was acknowledged is there; so is what nobody waited for, once somebody settles.
#[test]
fn group_commit() {
    schedules(|scene| {
        let store = &scene.store;
        let acknowledged = &Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || {
                    for serial in [21 + 10 * thread, 22 + 10 * thread] {
                        append(store, vec![note("ana", "chat", YOUNG, serial)]).unwrap();
                        assert!(ids(store, "ana").contains(&id(serial)), "an acknowledged record is missing");
                        acknowledged.lock().unwrap().push(id(serial));
                    }
                });
            }
            scope.spawn(move || {
                let first = store.append(vec![note("bo", "chat", OLD, 41)]).unwrap();
                let second = store.append(vec![note("bo", "chat", YOUNG, 42)]).unwrap();
                second.wait().unwrap();
                assert!(first.is_durable(), "a later batch is durable and an earlier one is not");
                drop(store.append(vec![note("bo", "chat", YOUNG, 43)]).unwrap());
                store.settle().unwrap();
            });
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
        });
        scene.afterwards(|store| {
            let all: Vec<RecordId> = ANA.into_iter().chain([21, 22, 31, 32]).map(id).collect();
            assert_eq!(ids(store, "ana"), all);
            assert_eq!(ids(store, "bo"), [11, 12, 41, 13, 14, 42, 43].map(id));
        });
    });
}

/// An append that races with the close of the store is taken in before it, or told that it came too late.
#[test]
fn append_against_close() {
    schedules(|scene| {
        let store = &scene.store;
        let acknowledged = &Mutex::new(Vec::new());
        thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || {
                    for serial in [21 + 10 * thread, 22 + 10 * thread] {
                        let customer = format!("new-{serial}");
                        match append(
                            store,
                            vec![note("ana", "chat", YOUNG, serial), note(&customer, "chat", OLD, serial + 100)],
                        ) {
                            Ok(()) => acknowledged.lock().unwrap().push(serial),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}"),
                        }
                    }
                });
            }
            scope.spawn(move || store.clone().close().unwrap());
        });
        scene.afterwards_closed(|store| {
            let mut serials = acknowledged.lock().unwrap().clone();
            serials.sort_unstable();
            assert_eq!(ids(store, "ana"), ANA.into_iter().chain(serials.iter().copied()).map(id).collect::<Vec<_>>());
            assert_eq!(ids(store, "bo"), BO.map(id));
            serials.iter().for_each(|serial| assert_eq!(ids(store, &format!("new-{serial}")), [id(serial + 100)]));
        });
    });
}

/// The store's own threads lead what nobody waits for, and keep house beside appends and an erasure.
#[test]
fn worker_against_append_and_erase() {
    schedules_with_worker(|scene| {
        let store = &scene.store;
        thread::scope(|scope| {
            scope.spawn(move || {
                for serial in [21, 22] {
                    append(store, vec![note("bo", "chat", YOUNG, serial)]).unwrap();
                    assert!(ids(store, "bo").contains(&id(serial)), "an acknowledged record is missing");
                }
            });
            // A future leads no commit.
            scope.spawn(move || {
                for serial in [31, 32] {
                    let commit = store.append(vec![note("cy", "email", SOON, serial)]).unwrap();
                    shuttle::future::block_on(commit).unwrap();
                }
            });
            scope.spawn(move || match append(store, vec![note("ana", "chat", OLD, 41)]) {
                Ok(()) => {}
                Err(error) => assert!(is_refused(&error, &RefusalReason::Erased), "{error:?}"),
            });
            scope.spawn(move || {
                store.settle().unwrap();
                assert!(store.erase(&["ana"]).unwrap().is_some());
            });
        });
        scene.afterwards(|store| {
            assert_eq!(ids(store, "ana"), []);
            assert_eq!(ids(store, "bo"), BO.into_iter().chain([21, 22]).map(id).collect::<Vec<_>>());
            assert_eq!(ids(store, "cy"), [31, 32].map(id));
        });
    });
}

/// The store's own threads stop when it is closed, and leave nobody waiting.
#[test]
fn worker_against_append_and_close() {
    schedules_with_worker(|scene| {
        let store = &scene.store;
        let acknowledged = &Mutex::new(Vec::new());
        let append = move |serial: u8, wait: fn(tenure::Commit) -> tenure::Result<()>| match store
            .append(vec![note("bo", "chat", YOUNG, serial)])
            .and_then(wait)
        {
            Ok(()) => acknowledged.lock().unwrap().push(serial),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}"),
        };
        thread::scope(|scope| {
            scope.spawn(move || (21..23).for_each(|serial| append(serial, |commit| commit.wait())));
            scope.spawn(move || (31..33).for_each(|serial| append(serial, shuttle::future::block_on)));
            scope.spawn(move || match store.settle() {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}"),
            });
            scope.spawn(move || store.clone().close().unwrap());
        });
        scene.afterwards_closed(|store| {
            let mut serials = acknowledged.lock().unwrap().clone();
            serials.sort_unstable();
            assert_eq!(ids(store, "bo"), BO.into_iter().chain(serials).map(id).collect::<Vec<_>>());
            assert_eq!(ids(store, "ana"), ANA.map(id));
        });
    });
}
