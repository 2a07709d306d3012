//! Carrying the living tree over to a new file of the log, one leaf with each fold: while customers come and go, are looked
//! for and walked over, and the keyring is opened again.

use super::shred::removal;
use super::*;
use crate::format::keyring_tree::Child;

const CUSTOMERS: usize = 1_500;

/// Bytes of everything that the tree reaches below its crown, and what the crown says.
fn reached(keyring: &Keyring) -> (u64, u64) {
    fn below(keyring: &Keyring, child: &Child, level: u8) -> u64 {
        let own = u64::from(child.place.length) + u64::from(child.chain.bytes);
        if level == 0 {
            return own;
        }
        let tree = locked(&keyring.state).tree.clone();
        let node = tree.inner(&keyring.nodes, child, level).unwrap();
        own + node.children().map(|child| below(keyring, &child, level - 1)).sum::<u64>()
    }
    let tree = locked(&keyring.state).tree.clone();
    (below(keyring, &tree.crown.top, tree.crown.level), tree.crown.live_bytes)
}

fn logs(sim: &Sim) -> Vec<String> {
    let names = sim.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned());
    names.filter(|path| path.ends_with(".keys")).collect()
}

/// A keyring of many leaves, whose log has been carried over from as far as `steps` go.
fn begun(place: &Place, steps: usize) -> (Keyring, Crowd) {
    let (keyring, crowd) = (place.create().unwrap(), Crowd::default());
    crowd.come(&keyring, CUSTOMERS);
    keyring.fold((1, [1; 32])).unwrap();
    (0..steps).for_each(|_| assert!(!keyring.carry((1, [1; 32])).unwrap().compacted));
    (keyring, crowd)
}

#[test]
fn everything_is_carried_over_one_leaf_after_the_other_and_the_file_before_goes() {
    let sim = Sim::new(41);
    let place = Place::new(&sim, 2);
    let (mut keyring, crowd) = begun(&place, 0);
    let mut gone = Vec::new();
    for step in 1.. {
        let folded = keyring.carry((step, [1; 32])).unwrap();
        let (reached, said) = reached(&keyring);
        assert_eq!(reached, said, "step {step}");
        if folded.compacted {
            assert!(step > 20, "it went in too few steps: {step}");
            break;
        }
        assert!(keyring.needs_compaction() && logs(&sim).len() == 4);
        match step % 7 {
            1 => crowd.come(&keyring, 30),
            2 => assert!(!keyring.fold((step, [1; 32])).unwrap().compacted),
            3 => {
                // Those whose leaves have been carried over, and others.
                let doomed: Vec<_> = (0..3).map(|which| step as usize * 3 + which * 97).collect();
                keyring.shred(&removal(&keyring, &doomed), (step, [1; 32])).unwrap();
                gone.extend(doomed);
            }
            4 => {
                keyring.sync().unwrap();
                let durable = keyring.durable();
                drop(keyring);
                sim.restart();
                let (opened, report) = place.open(Access::Write, durable).unwrap();
                assert_eq!(report, KeyringReport::default());
                keyring = opened;
            }
            _ => {}
        }
        for (number, known) in crowd.0.borrow().iter().enumerate() {
            let found = keyring.customer(&id(number)).unwrap();
            assert_eq!(found.map(|found| secret(&found.entry)), (!gone.contains(&number)).then_some(*known));
        }
        assert_eq!(keyring.verify_deep().unwrap().customers as usize, crowd.count() - gone.len());
        assert!(
            keyring.verify_files().damage.is_empty() && verify(&*sim.env(), &place.dirs).unwrap().damage.is_empty()
        );
    }
    assert_eq!(logs(&sim), ["mirror0/keyring/0000000002.keys", "mirror1/keyring/0000000002.keys"]);
    assert!(gone.len() > 6 && !keyring.needs_compaction());
    drop(keyring);
    sim.restart();
    assert_eq!(place.write(0).verify_deep().unwrap().customers as usize, crowd.count() - gone.len());
}

#[test]
fn a_whole_rewriting_in_the_middle_of_it_leaves_one_file() {
    let sim = Sim::new(42);
    let place = Place::new(&sim, 1);
    let (keyring, crowd) = begun(&place, 3);
    assert!(keyring.compact((2, [2; 32])).unwrap().compacted);
    assert_eq!(logs(&sim), ["mirror0/keyring/0000000003.keys"]);
    let (reached, said) = reached(&keyring);
    assert_eq!(reached, said);
    crowd.look(&keyring);
    drop(keyring);
    crowd.look(&place.write(0));
}

#[test]
fn walks_and_readers_go_on_in_files_that_are_given_up() {
    let sim = Sim::new(43);
    let place = Place::new(&sim, 1);
    let (keyring, crowd) = begun(&place, 3);
    let (reader, _) = place.open(Access::Read, 0).unwrap();
    let mut seen = 0;
    // A walk is of the moment of its call, and takes its leaves from the file before.
    keyring
        .walk_customers(&mut |_| {
            seen += 1;
            if seen == 100 {
                while !keyring.carry((2, [2; 32])).unwrap().compacted {}
                assert_eq!(logs(&sim).len(), 1);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, CUSTOMERS);
    crowd.look(&reader);
    crowd.come(&keyring, 5);
    keyring.sync().unwrap();
    assert!(reader.refresh().unwrap());
    crowd.look(&reader);
    assert!(reader.verify_files().damage.is_empty());
}

#[test]
fn a_file_before_that_a_mirror_lost_or_cut_is_copied_and_none_is_refused() {
    for cut in [None, Some(0), Some(70), Some(9_000)] {
        let sim = Sim::new(44);
        let place = Place::new(&sim, 2);
        let (keyring, crowd) = begun(&place, 3);
        drop(keyring);
        let harm = |path: &str| match cut {
            None => sim.remove(path),
            Some(length) => sim.truncate(path, length),
        };
        // One lacks the one file, the other the other.
        harm("mirror0/keyring/0000000001.keys");
        harm("mirror1/keyring/0000000002.keys");
        let (keyring, report) = place.open(Access::Write, 0).unwrap();
        assert_eq!(report.mirrors_mended, 2, "{cut:?}");
        crowd.look(&keyring);
        keyring.verify_deep().unwrap();
        drop(keyring);
        sim.remove("mirror0/keyring/root.a");
        sim.remove("mirror0/keyring/root.b");
        crowd.look(&place.write(0));
        harm("mirror0/keyring/0000000001.keys");
        harm("mirror1/keyring/0000000001.keys");
        let refused = place.open(Access::Write, 0).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), "{refused:?}");
        assert!(refused.path().is_some_and(|path| path.ends_with("0000000001.keys")), "{refused:?}");
    }
}

#[test]
fn an_attempt_that_fails_leaves_what_was_carried_over_where_it_was() {
    for operation in 0.. {
        let sim = Sim::new(45);
        let place = Place::new(&sim, 1);
        let (keyring, crowd) = begun(&place, 2);
        let before = sim.operations();
        sim.fail_from(before + operation, crate::env::sim::Failure::Full);
        let carried = (0..2).try_for_each(|_| keyring.carry((2, [2; 32])).map(drop));
        sim.heal();
        crowd.look(&keyring);
        if carried.is_ok() {
            assert!(operation > 10);
            return;
        }
        let keyring = match keyring.carry((2, [2; 32])) {
            Ok(_) => keyring,
            Err(_) => {
                drop(keyring);
                sim.kill();
                place.write(CUSTOMERS as u64)
            }
        };
        while !keyring.carry((2, [2; 32])).unwrap().compacted {}
        assert_eq!((logs(&sim).len(), keyring.verify_deep().unwrap().customers as usize), (1, CUSTOMERS));
        crowd.look(&keyring);
    }
}
