//! A custodian that can really destroy, for tests: it keeps its keys in memory, outside every disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tenure::{Custodian, Error, ErrorKind, Evidence, OpeningToken, Registration, Result, StoreId};

#[derive(Clone, Default)]
struct Inside {
    store: StoreId,
    opening: OpeningToken,
    next_epoch: u64,
    ledger: (u64, [u8; 32]),
    destroyed_before: u64,
    sealed: BTreeMap<u64, Vec<u8>>,
}

/// What every root sealed by a vault begins with.
pub const SEALED: &[u8] = b"sealed by the vault as number ";

/// The vault. Clones share it. With `keep_everything`, it lies about destroying: a planted bug.
#[derive(Clone, Default)]
pub struct Vault {
    inside: Arc<Mutex<Inside>>,
    pub keep_everything: bool,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Whether it still opens `sealed`: what an attacker who holds today's custodian can do.
    pub fn still_opens(&self, sealed: &[u8]) -> bool {
        self.open(sealed).is_ok()
    }

    /// As an attacker has it who holds it now: whatever it would refuse on account of what it remembers, it does not.
    pub fn seized(&self) -> Vault {
        let inside = Inside { ledger: (0, [0; 32]), ..self.inside.lock().unwrap().clone() };
        Vault { inside: Arc::new(Mutex::new(inside)), keep_everything: self.keep_everything }
    }
}

impl Custodian for Vault {
    fn create(&self, store: &StoreId) -> Result<()> {
        let mut inside = self.inside.lock().unwrap();
        *inside = Inside { store: *store, next_epoch: 1, ..Inside::default() };
        Ok(())
    }

    fn registration(&self) -> Result<Registration> {
        let inside = self.inside.lock().unwrap();
        Ok(Registration {
            store: inside.store,
            opening: inside.opening,
            ledger_length: inside.ledger.0,
            ledger_head: inside.ledger.1,
            destroyed_before: inside.destroyed_before,
        })
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        let mut inside = self.inside.lock().unwrap();
        if inside.opening != *expected {
            return Err(Error::new(ErrorKind::KeyUnavailable, "another opening is registered"));
        }
        inside.opening = *new;
        Ok(())
    }

    fn release(&self) {}

    fn next_epoch(&self) -> Result<u64> {
        let mut inside = self.inside.lock().unwrap();
        inside.next_epoch += 1;
        Ok(inside.next_epoch - 1)
    }

    /// The vault keeps the plaintext and hands out the epoch: nothing but the vault opens it.
    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        self.inside.lock().unwrap().sealed.insert(epoch, plain.to_vec());
        Ok([SEALED, epoch.to_string().as_bytes()].concat())
    }

    fn open(&self, sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let number = sealed.strip_prefix(SEALED).and_then(|number| std::str::from_utf8(number).ok());
        let epoch = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        let inside = self.inside.lock().unwrap();
        let plain = inside.sealed.get(&epoch).cloned();
        plain.map(Into::into).ok_or_else(|| Error::new(ErrorKind::KeyUnavailable, "the vault has no such root"))
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        let mut inside = self.inside.lock().unwrap();
        if !self.keep_everything {
            inside.sealed.retain(|sealed, _| *sealed >= epoch);
        }
        inside.destroyed_before = epoch;
        Ok(Evidence { final_: true, words: format!("the vault destroyed every root before {epoch}") })
    }

    fn advance(&self, length: u64, head: &[u8; 32]) -> Result<()> {
        let mut inside = self.inside.lock().unwrap();
        if length > inside.ledger.0 {
            inside.ledger = (length, *head);
        }
        Ok(())
    }
}
