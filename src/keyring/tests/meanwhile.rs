//! What is appended while a new tree is being made, and while what came is sealed anew under it.

use std::rc::Rc;

use super::*;
use crate::keyring::fold::meanwhile::during;

#[test]
fn what_comes_while_a_tree_is_made_is_under_it_in_the_end() {
    let sim = Sim::new(8);
    let place = Place::new(&sim, 1);
    let keyring = place.create().unwrap();
    let crowd = Crowd::default();
    for round in 1..=8 {
        let before = crowd.count() as u64;
        let folded = during(crowd.coming([300, 40, 5, 2, 1]), || match round % 4 {
            0 => keyring.compact((round, [0; 32])),
            3 => keyring.carry((round, [0; 32])),
            _ => keyring.fold((round, [0; 32])),
        });
        assert_eq!(folded.unwrap().entries, if round == 1 { 0 } else { 347 });
        assert_eq!((keyring.unfolded(), keyring.durable()), (347, before + 347), "what came is durable with the root");
    }
    assert_eq!((keyring.customers(), keyring.appended()), (2_776, 2_776));
    crowd.look(&keyring);
    sim.restart();
    let keyring = place.write(2_776);
    assert_eq!(keyring.customers(), 2_776);
    crowd.look(&keyring);
}

#[test]
fn readers_follow_a_chain_between_whose_entries_others_are_sealed_anew() {
    let sim = Sim::new(9);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    let crowd = Crowd::default();
    crowd.come(&keyring, 3);
    keyring.sync().unwrap();
    let reader = Rc::new(place.open(Access::Read, 3).unwrap().0);
    for round in 1..=3 {
        let (crowd, reader, mut times) = (crowd.clone(), reader.clone(), 0);
        let place = place.clone();
        let come = move |keyring: &Keyring| {
            times += 1;
            if times <= 4 {
                crowd.come(keyring, 6);
                let durable = keyring.sync().unwrap();
                assert!(reader.refresh().unwrap());
                crowd.look(&reader);
                // One that opens it now finds the same: the root in force is the one before.
                crowd.look(&place.open(Access::Read, durable).unwrap().0);
            }
        };
        during(come, || match round {
            2 => keyring.carry((round, [0; 32])),
            _ => keyring.fold((round, [0; 32])),
        })
        .unwrap();
        assert_eq!(keyring.unfolded(), 24);
    }
    reader.refresh().unwrap();
    crowd.look(&reader);
    assert_eq!(crowd.count(), 75);
}
