//! A custodian that is watched: what it hands out and what it seals is written down, and every call is two changes of the
//! simulated machine, the question and the answer, so that either is lost in a power cut (or fails by itself) like any
//! other; and a destruction is cut in its midst.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use tenure::env::sim::Sim;
use tenure::env::{Env, OpenMode, write_all_at};
use tenure::{Custodian, Error, ErrorKind, Evidence, OpeningToken, Registration, Result, StoreId};

const TICK: &str = "/tick";

#[derive(Default)]
struct Notes {
    given: BTreeSet<u64>,
    given_twice: u64,
    sealed: BTreeMap<u64, Vec<u8>>,
    sealed_twice: u64,
    destroyed_before: u64,
    /// How many more questions and answers arrive before one is lost, though the power stays.
    fails_after: Option<u64>,
}

/// Watches over another custodian. Clones share their notes.
#[derive(Clone)]
pub struct Watched {
    inner: Arc<dyn Custodian>,
    sim: Sim,
    notes: Arc<Mutex<Notes>>,
}

impl fmt::Debug for Watched {
    /// What the custodian says of itself, and none of the notes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
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

    /// From now on `arrive` questions and answers arrive; the next one is lost.
    pub fn fail_after(&self, arrive: u64) {
        self.notes.lock().unwrap().fails_after = Some(arrive);
    }

    /// Whether that one has been lost.
    pub fn has_failed(&self) -> bool {
        self.notes.lock().unwrap().fails_after.is_none()
    }

    /// A change of the machine; fails once the power is cut, or when it was told to.
    fn tick(&self, lost: &'static str) -> Result<()> {
        let fails_after = &mut self.notes.lock().unwrap().fails_after;
        let left = fails_after.map(|left| left.checked_sub(1));
        *fails_after = left.flatten();
        if left == Some(None) {
            return Err(Error::new(ErrorKind::Io, lost));
        }
        let written = self.sim.open(TICK.as_ref(), OpenMode::Write).and_then(|file| write_all_at(&*file, b"1", 0));
        written.map_err(|error| Error::new(ErrorKind::Io, lost).caused_by(error))
    }

    /// Lost, the custodian has not been asked.
    fn question(&self) -> Result<()> {
        self.tick("the question to the custodian was lost")
    }

    /// Lost, the custodian has done what it was asked for.
    fn answer(&self) -> Result<()> {
        self.tick("the answer of the custodian was lost")
    }
}

impl Custodian for Watched {
    fn create(&self, store: &StoreId) -> Result<()> {
        self.question()?;
        self.inner.create(store)?;
        self.answer()
    }

    fn registration(&self) -> Result<Registration> {
        self.question()?;
        self.inner.registration()
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        self.question()?;
        self.inner.register(expected, new)?;
        self.answer()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn next_epoch(&self) -> Result<u64> {
        self.question()?;
        let epoch = self.inner.next_epoch()?;
        let mut notes = self.notes.lock().unwrap();
        if !notes.given.insert(epoch) {
            notes.given_twice += 1;
        }
        drop(notes);
        self.answer()?;
        Ok(epoch)
    }

    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        self.question()?;
        let sealed = self.inner.seal(epoch, plain)?;
        let mut notes = self.notes.lock().unwrap();
        if notes.sealed.insert(epoch, plain.to_vec()).is_some_and(|before| before != plain) {
            notes.sealed_twice += 1;
        }
        drop(notes);
        self.answer()?;
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        self.question()?;
        self.inner.open(sealed)
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        self.question()?;
        // As one that destroys one key after another, and was stopped.
        let half = self.notes.lock().unwrap().destroyed_before.midpoint(epoch);
        self.inner.destroy_before(half)?;
        self.tick("the custodian was stopped while it destroyed")?;
        let evidence = self.inner.destroy_before(epoch)?;
        let mut notes = self.notes.lock().unwrap();
        notes.destroyed_before = notes.destroyed_before.max(epoch);
        drop(notes);
        self.answer()?;
        Ok(evidence)
    }

    fn advance(&self, length: u64, head: &[u8; 32]) -> Result<()> {
        self.question()?;
        self.inner.advance(length, head)?;
        self.answer()
    }
}
