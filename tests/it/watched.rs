//! A custodian that is watched: what it hands out and what it seals is written down, and every call that changes
//! something is a change of the simulated machine too, so that the power is cut around it as around any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tenure::env::sim::Sim;
use tenure::env::{Env, OpenMode, write_all_at};
use tenure::{Custodian, Error, ErrorKind, Evidence, OpeningToken, Registration, Result, StoreId};

const TICK: &str = "/tick";

#[derive(Debug, Default)]
struct Notes {
    given: BTreeSet<u64>,
    given_twice: u64,
    sealed: BTreeMap<u64, Vec<u8>>,
    sealed_twice: u64,
    destroyed_before: u64,
}

/// Watches over another custodian. Clones share their notes.
#[derive(Clone, Debug)]
pub struct Watched {
    inner: Arc<dyn Custodian>,
    sim: Sim,
    notes: Arc<Mutex<Notes>>,
}

impl Watched {
    pub fn over(inner: Arc<dyn Custodian>, sim: &Sim) -> Self {
        sim.write(TICK, b"0");
        Watched { inner, sim: sim.clone(), notes: Arc::default() }
    }

    /// The same notes, over another handle on the same custodian: as a process has it that starts anew.
    pub fn reached_by(&self, inner: Arc<dyn Custodian>) -> Self {
        Watched { inner, ..self.clone() }
    }

    /// How often an epoch was given out again, or sealed two different roots.
    pub fn reuses(&self) -> u64 {
        let notes = self.notes.lock().unwrap();
        notes.given_twice + notes.sealed_twice
    }

    /// Everything before this epoch was said to be destroyed.
    pub fn destroyed_before(&self) -> u64 {
        self.notes.lock().unwrap().destroyed_before
    }

    /// A change of the machine; fails once the power is cut, though the custodian has done what it was asked for.
    fn tick(&self) -> Result<()> {
        let written = self.sim.open(TICK.as_ref(), OpenMode::Write).and_then(|file| write_all_at(&*file, b"1", 0));
        written.map_err(|error| Error::new(ErrorKind::Io, "the answer of the custodian was lost").caused_by(error))
    }
}

impl Custodian for Watched {
    fn create(&self, store: &StoreId) -> Result<()> {
        self.inner.create(store)
    }

    fn registration(&self) -> Result<Registration> {
        self.inner.registration()
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        self.inner.register(expected, new)?;
        self.tick()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn next_epoch(&self) -> Result<u64> {
        let epoch = self.inner.next_epoch()?;
        let mut notes = self.notes.lock().unwrap();
        if !notes.given.insert(epoch) {
            notes.given_twice += 1;
        }
        drop(notes);
        self.tick()?;
        Ok(epoch)
    }

    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        let sealed = self.inner.seal(epoch, plain)?;
        let mut notes = self.notes.lock().unwrap();
        if notes.sealed.insert(epoch, plain.to_vec()).is_some_and(|before| before != plain) {
            notes.sealed_twice += 1;
        }
        drop(notes);
        self.tick()?;
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        self.inner.open(sealed)
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        let evidence = self.inner.destroy_before(epoch)?;
        let mut notes = self.notes.lock().unwrap();
        notes.destroyed_before = notes.destroyed_before.max(epoch);
        drop(notes);
        self.tick()?;
        Ok(evidence)
    }

    fn advance(&self, length: u64, head: &[u8; 32]) -> Result<()> {
        self.inner.advance(length, head)?;
        self.tick()
    }
}
