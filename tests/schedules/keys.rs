//! New customers and new partitions against a rewrite of the keyring that is in flight.

use shuttle::thread;
use tenure::report::Budget;
use tenure::{Record, Store};

use crate::scene::{BO, OLD, SOON, YOUNG, append, id, ids, note, schedules};

/// What one thread appends: to a customer of its own, to one that both make, in partitions that are there and ones that
/// are not.
fn batches(thread: u8) -> Vec<Vec<Record>> {
    let mine = format!("new-{thread}");
    let serial = 20 + 10 * thread;
    vec![
        vec![note(&mine, "chat", OLD, serial), note("both", "email", OLD, serial + 1)],
        vec![note(&mine, "survey", YOUNG, serial + 2), note("both", "email", SOON, serial + 3)],
    ]
}

fn work(store: &Store, thread: u8) {
    for records in batches(thread) {
        append(store, records).unwrap();
    }
}

fn check(store: &Store, customers: u64) {
    for thread in 0..2 {
        let serial = 20 + 10 * thread;
        assert_eq!(ids(store, &format!("new-{thread}")), [serial, serial + 2].map(id));
    }
    assert_eq!(ids(store, "both"), [21, 31, 23, 33].map(id));
    let stats = store.stats().unwrap();
    assert_eq!(stats.customers, customers, "a customer was counted twice or not at all");
}

/// Every acknowledged record has its keys after another opening, whatever root they were sealed under.
#[test]
fn new_keys_against_an_erasure() {
    schedules(|scene| {
        let store = &scene.store;
        thread::scope(|scope| {
            scope.spawn(move || work(store, 0));
            scope.spawn(move || work(store, 1));
            scope.spawn(move || assert!(store.erase(&["ana"]).unwrap().is_some()));
        });
        scene.afterwards(|store| {
            check(store, 5);
            assert_eq!(ids(store, "ana"), []);
            assert_eq!(ids(store, "bo"), BO.map(id));
        });
    });
}

/// The same against folds and merges.
#[test]
fn new_keys_against_a_fold() {
    schedules(|scene| {
        let store = &scene.store;
        append(store, vec![note("cy", "chat", OLD, 91), note("dee", "chat", YOUNG, 92)]).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || work(store, 0));
            scope.spawn(move || work(store, 1));
            scope.spawn(move || {
                drop(store.maintain(Budget::ALL).unwrap());
                drop(store.maintain(Budget::ALL).unwrap());
            });
        });
        scene.afterwards(|store| {
            check(store, 7);
            assert_eq!(ids(store, "cy"), [id(91)]);
        });
    });
}

/// A part of a customer is let go of while others, and the customer, get new keys.
#[test]
fn new_keys_against_a_part() {
    schedules(|scene| {
        let store = &scene.store;
        thread::scope(|scope| {
            scope.spawn(move || work(store, 0));
            scope.spawn(move || work(store, 1));
            scope.spawn(move || append(store, vec![note("bo", "email", YOUNG, 81)]).unwrap());
            scope.spawn(move || {
                let stream = note("bo", "chat", OLD, 1).stream;
                assert!(store.erase_part("bo", Some(stream), None).unwrap().is_some());
            });
        });
        scene.afterwards(|store| {
            check(store, 5);
            assert_eq!(ids(store, "bo"), [id(81)]);
        });
    });
}
