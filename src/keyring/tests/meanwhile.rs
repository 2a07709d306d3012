//! What is appended while a new tree is being made, and while what came is sealed anew under it.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::keyring::fold::meanwhile::during;

/// Customers that come, with their secrets, so many at a time until there are enough of them.
#[derive(Default)]
struct Crowd(Vec<[u8; 32]>);

impl Crowd {
    fn come(&mut self, keyring: &Keyring, count: usize) {
        let Crowd(secrets) = self;
        (0..count).for_each(|_| secrets.push(secret(&add(keyring, secrets.len()).entry)));
    }

    fn look(&self, keyring: &Keyring) {
        for (number, known) in self.0.iter().enumerate() {
            assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
        }
    }
}

#[test]
fn what_comes_while_a_tree_is_made_is_under_it_in_the_end() {
    let sim = Sim::new(8);
    let place = Place::new(&sim, 1);
    let keyring = place.create().unwrap();
    let crowd = Rc::new(RefCell::new(Crowd::default()));
    for round in 1..=6 {
        let before = crowd.borrow().0.len() as u64;
        let (crowd, mut coming) = (crowd.clone(), [300, 40, 5, 2, 1].into_iter());
        let come = move |keyring: &Keyring| crowd.borrow_mut().come(keyring, coming.next().unwrap_or(0));
        let folded = during(come, || match round % 3 {
            0 => keyring.compact((round, [0; 32])),
            _ => keyring.fold((round, [0; 32])),
        });
        assert_eq!(folded.unwrap().entries, if round == 1 { 0 } else { 347 });
        assert_eq!((keyring.unfolded(), keyring.durable()), (347, before + 347), "what came is durable with the root");
    }
    assert_eq!((keyring.customers(), keyring.appended()), (2_082, 2_082));
    crowd.borrow().look(&keyring);
    sim.restart();
    let keyring = place.write(2_082);
    assert_eq!(keyring.customers(), 2_082);
    crowd.borrow().look(&keyring);
}

#[test]
fn readers_follow_a_chain_between_whose_entries_others_are_sealed_anew() {
    let sim = Sim::new(9);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    let crowd = Rc::new(RefCell::new(Crowd::default()));
    crowd.borrow_mut().come(&keyring, 3);
    keyring.sync().unwrap();
    let reader = Rc::new(place.open(Access::Read, 3).unwrap().0);
    for round in 1..=3 {
        let (crowd, reader, mut times) = (crowd.clone(), reader.clone(), 0);
        let place = place.clone();
        let come = move |keyring: &Keyring| {
            times += 1;
            if times <= 4 {
                crowd.borrow_mut().come(keyring, 6);
                let durable = keyring.sync().unwrap();
                assert!(reader.refresh().unwrap());
                crowd.borrow().look(&reader);
                // One that opens it now finds the same: the root in force is the one before.
                crowd.borrow().look(&place.open(Access::Read, durable).unwrap().0);
            }
        };
        during(come, || keyring.fold((round, [0; 32]))).unwrap();
        assert_eq!(keyring.unfolded(), 24);
    }
    reader.refresh().unwrap();
    crowd.borrow().look(&reader);
    assert_eq!(crowd.borrow().0.len(), 75);
}
