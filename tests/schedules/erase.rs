//! Append against erase, and read against erase.

use std::collections::BTreeSet;
use std::sync::Mutex;

use shuttle::thread;
use tenure::report::Budget;
use tenure::{ErrorKind, RecordId, RefusalReason, ScanFilter};

use crate::scene::{ANA, BO, OLD, SOON, Scene, Stage, append, id, ids, is_refused, note, schedules};

/// An event from before the erasure is taken in before it, and dies with it, or is refused; a later one may begin a new
/// life. What was acknowledged after the erasure is there; what others had acknowledged always is.
#[test]
fn append_against_erase() {
    schedules(|scene| {
        let (store, stage) = (&scene.store, &Stage::default());
        let (must, may) = (&Mutex::new(Vec::new()), &Mutex::new(Vec::new()));
        thread::scope(|scope| {
            scope.spawn(move || {
                for serial in [21, 22] {
                    let before = stage.get();
                    match append(store, vec![note("ana", "chat", OLD, serial)]) {
                        Ok(()) => assert!(before < 2, "an old event came in after the erasure"),
                        Err(error) => assert!(is_refused(&error, &RefusalReason::Erased), "{error:?}"),
                    }
                }
            });
            scope.spawn(move || {
                for serial in [31, 32] {
                    let before = stage.get();
                    match append(
                        store,
                        vec![note("ana", "email", SOON, serial), note("bo", "email", SOON, serial + 10)],
                    ) {
                        Ok(()) if before == 2 => must.lock().unwrap().push(id(serial)),
                        Ok(()) if stage.get() == 0 => {}
                        Ok(()) => may.lock().unwrap().push(id(serial)),
                        Err(error) => {
                            assert!(before < 2, "a later event was refused after the erasure");
                            assert!(is_refused(&error, &RefusalReason::Erased), "{error:?}");
                            append(store, vec![note("bo", "email", SOON, serial + 10)]).unwrap();
                        }
                    }
                }
            });
            scope.spawn(move || stage.around(|| assert!(store.erase(&["ana"]).unwrap().is_some())));
        });
        scene.afterwards(|store| {
            let ana = ids(store, "ana");
            let known: Vec<RecordId> = must.lock().unwrap().iter().chain(&*may.lock().unwrap()).copied().collect();
            assert!(must.lock().unwrap().iter().all(|id| ana.contains(id)), "an acknowledged record is missing");
            assert!(ana.iter().all(|id| known.contains(id)), "what was erased is there");
            let all: Vec<RecordId> = BO.into_iter().chain([41, 42]).map(id).collect();
            assert_eq!(ids(store, "bo"), all);
        });
    });
}

/// A reader sees the customer as it was, from the beginning, and then its end; and nothing once the erasure is done.
#[test]
fn read_against_erase() {
    schedules(|scene| {
        let (store, stage) = (&scene.store, &Stage::default());
        thread::scope(|scope| {
            scope.spawn(move || read(scene, stage));
            scope.spawn(move || scan(scene, stage));
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
            scope.spawn(move || stage.around(|| assert!(store.erase(&["ana"]).unwrap().is_some())));
        });
        scene.afterwards(|store| {
            assert_eq!(ids(store, "ana"), []);
            assert_eq!(ids(store, "bo"), BO.map(id));
        });
    });
}

fn read(scene: &Scene, stage: &Stage) {
    for _ in 0..3 {
        let before = stage.get();
        let seen = timeline(scene, stage);
        assert!(ANA.map(id).starts_with(&seen), "a reader saw something else than a beginning");
        assert!(before < 2 || seen.is_empty(), "a record was handed out after the erasure");
    }
}

/// What a timeline gives until it ends, be it by the erasure.
fn timeline(scene: &Scene, stage: &Stage) -> Vec<RecordId> {
    let mut seen = Vec::new();
    let begun = scene.store.timeline("ana", ..);
    let mut timeline = match begun {
        Ok(timeline) => timeline,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
            return seen;
        }
    };
    loop {
        let before = stage.get();
        match timeline.next() {
            Some(Ok(stored)) => {
                assert!(before < 2, "a record was handed out after the erasure");
                seen.push(stored.id);
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                assert!(timeline.next().is_none(), "a timeline went on after its end");
                return seen;
            }
            None if seen.is_empty() => {
                assert!(before > 0 || stage.get() > 0, "a timeline was empty before anything was erased");
                return seen;
            }
            None => {
                assert_eq!(seen.len(), ANA.len(), "a timeline ended as if that were all");
                return seen;
            }
        }
    }
}

/// What a scan gives of others is whole, whatever happens to the customer.
fn scan(scene: &Scene, stage: &Stage) {
    for _ in 0..2 {
        let before = stage.get();
        let scanned = scene.store.scan(ScanFilter::default()).unwrap();
        let (mut ana, mut bo) = (BTreeSet::new(), BTreeSet::new());
        for stored in scanned {
            let stored = stored.unwrap();
            if stored.customer.expose() == "ana" {
                ana.insert(stored.id)
            } else {
                bo.insert(stored.id)
            };
        }
        assert_eq!(bo, BO.map(id).into());
        assert!(before < 2 || ana.is_empty(), "a scan gave a record after the erasure");
        assert!(stage.get() > 0 || ana == ANA.map(id).into(), "a scan was not whole before anything was erased");
    }
}
