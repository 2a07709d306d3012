//! What is appended while a new tree is being made.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroizing;

use super::*;
use crate::crypto::Digest;
use crate::keyring::custodian::{Custodian, Evidence, FileCustodian, OpeningToken, Registration};

/// A custodian of a file in whose hands a fold has customers coming: it is asked for an epoch when it is settled what is
/// folded, and nothing is in force yet.
struct Busy {
    custodian: Arc<FileCustodian>,
    keyring: OnceLock<Arc<Keyring>>,
    /// Customers so far, and how many come with every epoch.
    come: (AtomicUsize, usize),
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Busy")
    }
}

impl Custodian for Busy {
    fn create(&self, store: &StoreId) -> Result<()> {
        self.custodian.create(store)
    }

    fn registration(&self) -> Result<Registration> {
        self.custodian.registration()
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        self.custodian.register(expected, new)
    }

    fn release(&self) {
        self.custodian.release();
    }

    fn next_epoch(&self) -> Result<u64> {
        if let Some(keyring) = self.keyring.get() {
            let (come, count) = &self.come;
            let first = come.fetch_add(*count, Ordering::Relaxed);
            (first..first + count).for_each(|number| drop(add(keyring, number)));
        }
        self.custodian.next_epoch()
    }

    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        self.custodian.seal(epoch, plain)
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.custodian.open(sealed)
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        self.custodian.destroy_before(epoch)
    }

    fn advance(&self, length: u64, head: &Digest) -> Result<()> {
        self.custodian.advance(length, head)
    }
}

#[test]
fn what_comes_while_a_tree_is_made_is_under_it_in_the_end() {
    let sim = Sim::new(8);
    let place = Place::new(&sim, 1);
    let come = (AtomicUsize::new(0), 300);
    let busy = Arc::new(Busy { custodian: place.custodian(), keyring: OnceLock::new(), come });
    let keyring = Arc::new(Keyring::create(sim.env(), place.options(), busy.clone(), store()).unwrap());
    busy.keyring.set(keyring.clone()).map_err(drop).unwrap();
    let mut secrets = Vec::new();
    for round in 1..=6 {
        let folded = match round % 3 {
            0 => keyring.fold((round, [0; 32])),
            _ => keyring.compact((round, [0; 32])),
        };
        assert_eq!(folded.unwrap().entries, if round == 1 { 0 } else { 300 });
        assert_eq!((keyring.unfolded(), keyring.durable()), (300, 300 * round), "what came is durable with the root");
        let now = busy.come.0.load(Ordering::Relaxed);
        secrets.extend((secrets.len()..now).map(|number| secret(&add(&keyring, number).entry)));
    }
    assert_eq!((keyring.customers(), keyring.appended()), (1_800, 1_800));
    sim.restart();
    let keyring = place.write(1_800);
    assert_eq!(keyring.customers(), 1_800);
    for (number, known) in secrets.iter().enumerate() {
        assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
    }
}
