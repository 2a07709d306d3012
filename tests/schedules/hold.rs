//! Holds against settling: what is held of a month that expires stays whole for whoever asks for it, wherever it lies.

use std::sync::Mutex;

use shuttle::thread;
use tenure::report::Budget;
use tenure::{Hold, Store};

use crate::expire::expire;
use crate::scene::{ANA, BO, OLD, YOUNG, append, id, ids, note, schedules};

fn held(store: &Store) -> Vec<tenure::RecordId> {
    store.held("ana").unwrap().map(|stored| stored.unwrap().id).collect()
}

/// In segments and in the journal, while that is settled, merged and trimmed, and the month explodes around it.
#[test]
fn held_cells_against_settling() {
    schedules(|scene| {
        let store = &scene.store;
        append(store, vec![note("ana", "chat", OLD, 15), note("bo", "chat", OLD, 16)]).unwrap();
        let hold = Hold { matter: "a matter".into(), reason: "a reason".into(), ..Hold::default() };
        let number = store.hold("ana", &hold).unwrap().unwrap();
        let all: &Vec<_> = &[1, 2, 15, 3, 4].map(id).into();
        let acknowledged = &Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(move || expire(store));
            scope.spawn(move || (0..2).for_each(|_| drop(store.settle().unwrap())));
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
            scope.spawn(move || (0..3).for_each(|_| assert_eq!(&held(store), all, "a gap in what is held")));
            scope.spawn(move || {
                append(store, vec![note("bo", "chat", YOUNG, 41)]).unwrap();
                acknowledged.lock().unwrap().push(id(41));
            });
        });
        let young = |serials: &[u8]| serials[2..].iter().map(|serial| id(*serial)).collect::<Vec<_>>();
        scene.afterwards(|store| {
            assert_eq!(&held(store), all);
            assert_eq!(ids(store, "ana"), young(&ANA));
            assert_eq!(ids(store, "bo"), [young(&BO), acknowledged.lock().unwrap().clone()].concat());
            assert_eq!(store.holds().unwrap().len(), 1);
        });
        assert_eq!(number, 1);
    });
}

/// The end of the hold while what it kept is settled and merged: afterwards nothing of it is left.
#[test]
fn a_release_against_settling() {
    schedules(|scene| {
        let store = &scene.store;
        let hold = Hold { matter: "a matter".into(), reason: "a reason".into(), ..Hold::default() };
        let number = store.hold("ana", &hold).unwrap().unwrap();
        append(store, vec![note("ana", "chat", OLD, 15), note("bo", "chat", OLD, 16)]).unwrap();
        expire(store);
        append(store, vec![note("bo", "chat", YOUNG, 41)]).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || drop(store.release(number).unwrap().unwrap()));
            scope.spawn(move || (0..2).for_each(|_| drop(store.settle().unwrap())));
            scope.spawn(move || drop(store.maintain(Budget::ALL).unwrap()));
        });
        scene.afterwards(|store| {
            assert!(store.held("ana").unwrap().next().is_none() && store.holds().unwrap().is_empty());
            assert_eq!(ids(store, "ana"), ANA[2..].iter().map(|serial| id(*serial)).collect::<Vec<_>>());
        });
        scene.nothing_left_of("2025-12");
    });
}
