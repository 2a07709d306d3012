//! What a crash has left in the journal serves as it is after the next opening, until it is settled.

use std::path::{Path, PathBuf};

use tenure::Store;
use tenure::env::sim::Sim;
use tenure::report::{Budget, VerifyOptions};

use crate::beside::{count, note, options};
use crate::vault::Vault;

fn machine(seed: u64) -> (Sim, Vault) {
    let sim = Sim::new(seed);
    sim.set_now("2026-01-01T00:00:00Z".parse().unwrap());
    (sim, Vault::default())
}

fn append(store: &Store, customer: &str, month: u32) {
    store.append(vec![note(customer, month, "something")]).unwrap().wait().unwrap();
}

fn journals(sim: &Sim) -> Vec<PathBuf> {
    let paths = sim.files().into_iter().map(|(path, _)| path);
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).collect()
}

/// The process is killed, whatever it was at.
fn killed(sim: &Sim, store: Store) {
    sim.crash();
    drop(store);
    sim.kill();
}

fn is_whole(store: &Store) {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
}

#[test]
fn an_opening_leaves_the_journal_to_housekeeping_and_everything_works_meanwhile() {
    let (sim, vault) = machine(1);
    let mut store = options(&sim, &vault).create().unwrap();
    for opening in 1..=3 {
        append(&store, "ana", opening);
        append(&store, "bo", opening);
        killed(&sim, store);
        store = options(&sim, &vault).open().unwrap();
        let recovery = store.recovery();
        assert_eq!((recovery.journals_left, recovery.records_recovered), (opening.into(), u64::from(opening) * 2));
        assert_eq!(journals(&sim).len(), opening as usize, "one of each opening");
        assert_eq!((count(&store, "ana"), count(&store, "bo")), (opening as usize, opening as usize));
        is_whole(&store);
    }
    store.erase(&["ana"]).unwrap().unwrap();
    append(&store, "cy", 1);
    killed(&sim, store);
    let store = options(&sim, &vault).open().unwrap();
    let seen = |store: &Store| ["ana", "bo", "cy"].map(|customer| count(store, customer));
    assert_eq!(seen(&store), [0, 3, 1]);
    store.maintain(Budget::ALL).unwrap();
    assert_eq!((journals(&sim).len(), seen(&store)), (0, [0, 3, 1]));
    is_whole(&store);
    store.close().unwrap();
    assert_eq!(options(&sim, &vault).open().unwrap().recovery().journals_left, 0);
}

#[test]
fn a_commit_whose_keys_were_lost_never_comes_back() {
    let (sim, vault) = machine(1);
    let store = options(&sim, &vault).create().unwrap();
    append(&store, "ana", 1);
    // The power goes while another commit is under way: its group has reached the disk, but not the keys it needs.
    let keyring = sim.snapshot();
    store.append(vec![note("bo", 2, "of a new customer"), note("ana", 2, "of a known one")]).unwrap().wait().unwrap();
    killed(&sim, store);
    sim.restore(&keyring, "/calls.keyring");
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!((store.recovery().groups_cut, store.recovery().records_recovered), (1, 1));
    // As many entries as the lost group needed, and more.
    ["cy", "dee", "eve"].iter().for_each(|customer| append(&store, customer, 3));
    killed(&sim, store);
    let store = options(&sim, &vault).open().unwrap();
    assert_eq!((store.recovery().groups_cut, store.recovery().records_recovered), (0, 4));
    assert_eq!(["ana", "bo", "cy"].map(|customer| count(&store, customer)), [1, 0, 1]);
    is_whole(&store);
}

#[test]
fn a_torn_tail_is_cut_once_and_is_no_damage_later() {
    let (sim, vault) = machine(1);
    let store = options(&sim, &vault).create().unwrap();
    append(&store, "ana", 1);
    append(&store, "ana", 2);
    killed(&sim, store);
    let path = &journals(&sim)[0];
    let files = sim.files();
    let (_, bytes) = files.iter().find(|(other, _)| other == path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    sim.flip(path, last as u64, 0);
    for opening in 0..3 {
        let store = options(&sim, &vault).open().unwrap();
        assert_eq!(store.recovery().journal_bytes_cut > 0, opening == 0);
        assert_eq!(count(&store, "ana"), 1 + opening);
        append(&store, "ana", 5);
        killed(&sim, store);
    }
}

#[test]
fn who_reads_beside_an_opening_reads_as_far() {
    let (sim, vault) = machine(1);
    let store = options(&sim, &vault).create().unwrap();
    append(&store, "ana", 1);
    append(&store, "ana", 2);
    killed(&sim, store);
    // It is never synced, so that a power cut may take it.
    sim.remove(Path::new("/calls/durable"));
    let writer = options(&sim, &vault).open().unwrap();
    let reader = options(&sim, &vault).open_read_only().unwrap();
    assert_eq!((count(&writer, "ana"), count(&reader, "ana")), (2, 2));
    append(&writer, "ana", 3);
    assert_eq!(count(&reader, "ana"), 3);
    writer.settle().unwrap();
    assert_eq!(count(&reader, "ana"), 3);
}
