//! What somebody copied before anything was let go of, and what they can do with it later.
//!
//! The store refuses copies that are older than its custodian remembers. A thief would change the program so that it
//! does not look; [`Accomplice`] is that change, so that the demo shows what the keys can do, not what the program allows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenure::{Custodian, ErrorKind, Evidence, OpeningToken, Options, Registration, Store, StoreId};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A copy of a store and its keyring, and of the file custodian where there is one.
pub struct Copies {
    store: PathBuf,
    /// What the custodian remembered when the copy was made.
    remembered: Registration,
}

impl Copies {
    /// Copies `store` and what stands beside it into the new directory `dir`.
    pub fn make(store: &Path, dir: &Path, custodian: &dyn Custodian) -> Result<Self, Failure> {
        let remembered = custodian.registration()?;
        let copy = dir.join("calls");
        for suffix in ["", ".keyring", ".custodian"] {
            let from = beside(store, suffix);
            if from.exists() {
                copy_all(&from, &beside(&copy, suffix))?;
            }
        }
        Ok(Copies { store: copy, remembered })
    }

    pub fn dir(&self) -> &Path {
        self.store.parent().unwrap_or(&self.store)
    }

    /// Everything as it was copied, the file custodian included.
    pub fn alone(&self) -> Options {
        Store::options(&self.store).accept_weak_erasure()
    }

    /// The copied store and keyring, with whatever custodian there is today.
    pub fn with_custodian(&self, today: Arc<dyn Custodian>) -> Options {
        self.alone().custodian(Accomplice { remembered: self.remembered, today })
    }

    /// The copied store, with the keyring and the custodian of today.
    pub fn with_keys(&self, keyring: PathBuf, today: Arc<dyn Custodian>) -> Options {
        self.with_custodian(today).keyring(keyring)
    }
}

/// `calls` and `.keyring` make `calls.keyring`.
pub fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file("copy", from, &error);
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        return std::fs::copy(from, to).map(drop).map_err(failed);
    }
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A custodian that asks today's to open what was sealed, and claims to remember nothing newer than the copy.
#[derive(Debug)]
struct Accomplice {
    remembered: Registration,
    today: Arc<dyn Custodian>,
}

/// A thief only reads.
fn only_reads<T>() -> tenure::Result<T> {
    Err(tenure::Error::new(ErrorKind::Invalid, "opened for reading only"))
}

impl Custodian for Accomplice {
    fn create(&self, _: &StoreId) -> tenure::Result<()> {
        only_reads()
    }

    fn registration(&self) -> tenure::Result<Registration> {
        Ok(self.remembered)
    }

    fn register(&self, _: &OpeningToken, _: &OpeningToken) -> tenure::Result<()> {
        only_reads()
    }

    fn release(&self) {}

    fn next_epoch(&self) -> tenure::Result<u64> {
        only_reads()
    }

    fn seal(&self, _: u64, _: &[u8]) -> tenure::Result<Vec<u8>> {
        only_reads()
    }

    fn open(&self, sealed: &[u8]) -> tenure::Result<Zeroizing<Vec<u8>>> {
        self.today.open(sealed)
    }

    fn destroy_before(&self, _: u64) -> tenure::Result<Evidence> {
        only_reads()
    }

    fn advance(&self, _: u64, _: &[u8; 32]) -> tenure::Result<()> {
        only_reads()
    }
}
