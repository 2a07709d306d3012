//! Removal and replacement: what is removed is gone for every copy ever made of the keyring, the rest is as it was.

use super::*;
use crate::env::sim::Survivors;
use crate::format::keyring_column::{Column, Remnant};
use crate::ident::{Handle, PartitionNumber};
use crate::policy::HoldScope;

pub const CUSTOMERS: usize = 60;

/// A keyring whose customers stand in leaves, in chains, and unfolded.
pub fn lived_in(place: &Place) -> (Keyring, Vec<[u8; 32]>) {
    let keyring = place.create().unwrap();
    let mut secrets = Vec::new();
    for number in 0..CUSTOMERS {
        secrets.push(secret(&add(&keyring, number).entry));
        if number == 49 || number == 54 {
            keyring.use_partition(&partition("2025-09-01-month")).unwrap();
            keyring.fold((1, [1; 32])).unwrap();
        }
    }
    keyring.sync().unwrap();
    (keyring, secrets)
}

pub fn removal(keyring: &Keyring, numbers: &[usize]) -> Changes {
    numbers.iter().map(|number| (keyring.customer_key(&id(*number)), None)).collect()
}

fn present(keyring: &Keyring, secrets: &[[u8; 32]]) -> Vec<bool> {
    let one = |(number, known): (usize, &[u8; 32])| match keyring.customer(&id(number)).unwrap() {
        Some(found) => {
            assert_eq!(secret(&found.entry), *known);
            true
        }
        None => false,
    };
    secrets.iter().enumerate().map(one).collect()
}

pub const DOOMED: [usize; 3] = [7, 52, 58];

#[test]
fn what_is_shredded_opens_nowhere_and_the_rest_is_as_it_was() {
    let sim = Sim::new(21);
    let place = Place::new(&sim, 2);
    let (keyring, secrets) = lived_in(&place);
    let before = sim.snapshot();
    let (folded, evidence) = keyring.shred(&removal(&keyring, &DOOMED), (1, [1; 32])).unwrap();
    assert!(!evidence.final_ && folded.entries > 0);
    let expected: Vec<bool> = (0..CUSTOMERS).map(|number| !DOOMED.contains(&number)).collect();
    assert_eq!(present(&keyring, &secrets), expected);
    assert_eq!(keyring.customers() as usize, CUSTOMERS - DOOMED.len());
    assert_eq!(keyring.verify_deep().unwrap().customers as usize, CUSTOMERS - DOOMED.len());
    // Again: nothing more to remove, and a second life has another secret and another subject number.
    keyring.shred(&removal(&keyring, &DOOMED), (1, [1; 32])).unwrap();
    assert_eq!(keyring.customers() as usize, CUSTOMERS - DOOMED.len());
    let again = add(&keyring, DOOMED[0]);
    assert_ne!(secret(&again.entry), secrets[DOOMED[0]]);
    keyring.sync().unwrap();
    drop(keyring);
    let keyring = place.write(0);
    assert_eq!(secret(&keyring.customer(&id(DOOMED[0])).unwrap().unwrap().entry), secret(&again.entry));
    drop(keyring);
    // A copy of the keyring from before the shred, the custodian as it is now.
    for mirror in ["mirror0", "mirror1"] {
        sim.restore(&before, mirror);
    }
    assert_eq!(place.open(Access::Read, 0).unwrap_err().kind(), ErrorKind::KeyUnavailable);
}

#[test]
fn an_entry_that_is_replaced_can_be_superseded_again() {
    let sim = Sim::new(22);
    let place = Place::new(&sim, 1);
    let (keyring, _) = lived_in(&place);
    // The newest entry of all, and one from a leaf.
    for number in [CUSTOMERS - 1, 3] {
        let entry = keyring.customer(&id(number)).unwrap().unwrap().entry;
        let mut exploded = entry.used_in(&stream(), &window("2025-09-01-month"));
        exploded.secrets[0].restricted = true;
        let changes = [(keyring.customer_key(&id(number)), exploded.encode())].into();
        keyring.shred(&changes, (1, [1; 32])).unwrap();
        assert!(keyring.customer(&id(number)).unwrap().unwrap().entry.secrets[0].restricted);
        assert_eq!(keyring.customers() as usize, CUSTOMERS);
        use_at(&keyring, number, "2029-01-01-month").unwrap();
        keyring.fold((1, [1; 32])).unwrap();
        let entry = keyring.customer(&id(number)).unwrap().unwrap().entry;
        assert!(entry.secrets[0].restricted && entry.streams[0].last_year == 2029);
    }
    let id = partition("2025-09-01-month");
    let number = keyring.partition(&id).unwrap().unwrap().entry.number;
    let remnant = Remnant { number, id: id.clone(), dictionaries: vec![], held: vec![] };
    let changes = [(keyring.partition_key(&id), Column::Remnant(Arc::new(remnant)).encode())].into();
    keyring.shred(&changes, (1, [1; 32])).unwrap();
    assert!(keyring.partition(&id).unwrap().is_none());
    assert!(matches!(&keyring.columns().unwrap()[..], [Column::Remnant(left)] if left.number == number));
    assert_eq!(keyring.use_partition(&id).unwrap_err().kind(), ErrorKind::Refused);
    keyring.shred(&[(keyring.partition_key(&id), None)].into(), (1, [1; 32])).unwrap();
    assert_eq!(keyring.use_partition(&id).unwrap().entry.number.0, number.0 + 1, "numbers are never reused");
}

#[test]
fn a_row_of_which_held_cells_alone_are_left_gets_a_secret_to_write_under() {
    let sim = Sim::new(26);
    let place = Place::new(&sim, 1);
    let (keyring, _) = lived_in(&place);
    let mut entry = keyring.customer(&id(3)).unwrap().unwrap().entry.duplicate();
    entry.secrets[0].scope = SecretScope::Cell(PartitionNumber(7), Handle::from_bytes([7; 16]));
    keyring.shred(&[(keyring.customer_key(&id(3)), entry.encode())].into(), (1, [1; 32])).unwrap();
    assert!(keyring.customer(&id(3)).unwrap().unwrap().entry.secret().is_none());
    use_at(&keyring, 3, "2029-01-01-month").unwrap();
    let found = keyring.customer(&id(3)).unwrap().unwrap().entry;
    assert_eq!(
        found.secrets.iter().map(|secret| &secret.scope).collect::<Vec<_>>(),
        [&SecretScope::Cell(PartitionNumber(7), Handle::from_bytes([7; 16])), &SecretScope::Whole]
    );
    assert_eq!(found.subject, entry.subject);
}

#[test]
fn holds_stand_until_they_are_removed() {
    let sim = Sim::new(27);
    let place = Place::new(&sim, 2);
    let (keyring, _) = lived_in(&place);
    let subject = keyring.customer(&id(3)).unwrap().unwrap().entry.subject;
    let hold = |number| HoldEntry {
        number,
        customer: Some((subject, id(3))),
        scope: HoldScope::default(),
        placed: Timestamp::from_micros(5),
        matter: "a matter".into(),
        reason: "a reason".into(),
    };
    for number in [2, 300, 1] {
        keyring.place_hold(&hold(number)).unwrap();
    }
    let numbers = |keyring: &Keyring| keyring.holds().unwrap().iter().map(|hold| hold.number).collect::<Vec<_>>();
    assert_eq!((numbers(&keyring), keyring.customers() as usize), (vec![1, 2, 300], CUSTOMERS));
    keyring.compact((1, [1; 32])).unwrap();
    keyring.shred(&[(HoldEntry::key(2), None)].into(), (1, [1; 32])).unwrap();
    assert_eq!(keyring.holds().unwrap(), [hold(1), hold(300)]);
    keyring.verify_deep().unwrap();
    assert!(keyring.walk_notes(&mut |_, _| panic!("a hold is no note")).is_ok());
    drop(keyring);
    assert_eq!(numbers(&place.write(0)), [1, 300]);
}

#[test]
fn a_whole_tree_can_be_emptied_and_filled_again() {
    let sim = Sim::new(23);
    let place = Place::new(&sim, 1);
    let (keyring, secrets) = lived_in(&place);
    keyring.shred(&removal(&keyring, &(0..CUSTOMERS).collect::<Vec<_>>()), (1, [1; 32])).unwrap();
    assert!(present(&keyring, &secrets).iter().all(|present| !present));
    assert_eq!((keyring.customers(), keyring.verify_deep().unwrap().partitions), (0, 1));
    keyring.compact((1, [1; 32])).unwrap();
    let again: Vec<_> = (0..200).map(|number| secret(&add(&keyring, number).entry)).collect();
    keyring.fold((1, [1; 32])).unwrap();
    drop(keyring);
    assert!(present(&place.write(0), &again).iter().all(|present| *present));
}

#[test]
fn a_power_cut_in_a_shred_leaves_it_done_or_to_be_done_again() {
    let mut done = 0;
    for change in 0.. {
        let sim = Sim::new(change * 17 + 3);
        let place = Place::new(&sim, 1);
        let (keyring, secrets) = lived_in(&place);
        let changes = removal(&keyring, &DOOMED);
        sim.crash_at_change(sim.changes() + change);
        let shredded = keyring.shred(&changes, (1, [1; 32]));
        if shredded.is_ok() && !sim.crashed() {
            assert!(change > 8 && done > 0, "no cut came late enough");
            return;
        }
        drop(keyring);
        sim.restart_with(Survivors::Some);
        let (keyring, _) = place.open(Access::Write, CUSTOMERS as u64).unwrap();
        let there = present(&keyring, &secrets);
        let all = DOOMED.iter().filter(|number| there[**number]).count();
        assert!(all == 0 || all == DOOMED.len(), "half a shred, cut at change {change}");
        assert!((0..CUSTOMERS).all(|number| there[number] || DOOMED.contains(&number)), "cut at change {change}");
        done += u64::from(all == 0);
        keyring.shred(&removal(&keyring, &DOOMED), (1, [1; 32])).unwrap();
        assert_eq!(present(&keyring, &secrets).iter().filter(|there| **there).count(), CUSTOMERS - DOOMED.len());
    }
}
