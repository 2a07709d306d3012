//! How a store is created or opened.

use crate::sync::Arc;
use std::path::{Path, PathBuf};

use super::Store;
use crate::engine::Tuning;
use crate::env::{Env, disk::Disk};
use crate::error::Result;
use crate::keyring::{Custodian, FileCustodian, KeyringOptions};
use crate::ops;
use crate::record::Classifier;
use crate::report::Recovery;
use crate::rights::{Authorizer, RoleTable};

/// Bytes of decoded keyring nodes kept in memory.
const KEYRING_CACHE_BYTES: usize = 32 << 20;

/// How a store is created or opened.
pub struct Options {
    path: PathBuf,
    keyring: Vec<PathBuf>,
    custodian: Option<Arc<dyn Custodian>>,
    env: Arc<dyn Env>,
    worker: bool,
    take_over: Option<String>,
    restored: Option<String>,
    trust_clock: bool,
    policy: Option<String>,
    accept_weak_erasure: bool,
    classifier: Option<Arc<dyn Classifier>>,
    tuning: Tuning,
    authorizer: Arc<dyn Authorizer>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("keyring", &self.keyring)
            .field("custodian", &self.custodian)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(super) fn new(path: PathBuf) -> Self {
        Options {
            path,
            keyring: Vec::new(),
            custodian: None,
            env: Arc::new(Disk::new()),
            worker: false,
            take_over: None,
            restored: None,
            trust_clock: false,
            policy: None,
            accept_weak_erasure: false,
            classifier: None,
            tuning: Tuning::default(),
            authorizer: Arc::new(RoleTable),
        }
    }

    /// Where the keyring is, by default `STORE.keyring`. Called again it adds a mirror: every mirror is written before
    /// an acknowledgement, any whole one opens the store, and the others are mended from it.
    pub fn keyring(mut self, dir: impl Into<PathBuf>) -> Self {
        self.keyring.push(dir.into());
        self
    }

    /// Who seals and opens the keyring's root, by default a [`FileCustodian`] at `STORE.custodian`.
    pub fn custodian(mut self, custodian: impl Custodian + 'static) -> Self {
        self.custodian = Some(Arc::new(custodian));
        self
    }

    /// The world to work in, by default the disk.
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = env;
        self
    }

    /// Gives the store a thread of its own, which commits what nobody waits for and keeps house; and a second one for the
    /// seconds in which a dictionary is trained.
    pub fn worker(mut self) -> Self {
        self.worker = true;
        self
    }

    /// Opens the store although another copy of it was opened since, and says why. That copy can then not be opened any
    /// more without doing the same.
    pub fn take_over(mut self, reason: impl Into<String>) -> Self {
        self.take_over = Some(reason.into());
        self
    }

    /// Opens a store whose directory was put back from an older copy under the living keyring, and says why. The reason is
    /// for whoever reads the code or the command: it is kept nowhere, since the ledger holds no free text.
    ///
    /// What the keyring says wins: whoever was erased since the copy stays erased, and what has expired stays gone. The
    /// ledger goes on from where the copy ends, with a fact that accounts for what it lacks; what could be found out of
    /// that is in [`Recovery::restored`]. In such an opening a repair gives up segments that are missing. A copy of the
    /// keyring itself is refused all the same.
    pub fn restored(mut self, reason: impl Into<String>) -> Self {
        self.restored = Some(reason.into());
        self
    }

    /// Vouches for the clock although it lies more than 45 days ahead of the latest fact on record. It is put on record.
    pub fn trust_clock(mut self) -> Self {
        self.trust_clock = true;
        self
    }

    /// The policy file that a new store begins with, by default one that keeps everything in monthly windows. Opening a
    /// store that exists takes no notice of it.
    pub fn policy(mut self, text: impl Into<String>) -> Self {
        self.policy = Some(text.into());
        self
    }

    /// Who tells the class of records that arrive without one and that no rule of the policy tells.
    pub fn classifier(mut self, classifier: impl Classifier + 'static) -> Self {
        self.classifier = Some(Arc::new(classifier));
        self
    }

    /// Lets the default file custodian stand on a copy-on-write or network file system, where overwriting a key leaves
    /// the old one behind.
    pub fn accept_weak_erasure(mut self) -> Self {
        self.accept_weak_erasure = true;
        self
    }

    /// Who decides what those may do who act through their rights ([`Store::acting_as`]), by default [`RoleTable`].
    pub fn authorizer(mut self, authorizer: impl Authorizer + 'static) -> Self {
        self.authorizer = Arc::new(authorizer);
        self
    }

    /// Planted fault of the attacker's tests: an expiry leaves the keys of partitions in which something is held.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn keep_columns(mut self, keep: bool) -> Self {
        self.tuning.keep_columns = keep;
        self
    }

    /// Planted fault of the crash suite: acknowledge without waiting for the keyring.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn forget_keyring(mut self) -> Self {
        self.tuning.forget_keyring = true;
        self
    }

    /// For the crash suite: merge once a partition has this many small segments.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn merge_at_least(mut self, segments: usize) -> Self {
        self.tuning.merge_at_least = segments;
        self
    }

    /// For the suites on the simulated machine: how much to reserve for a full disk.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn ballast_bytes(mut self, bytes: u64) -> Self {
        self.tuning.ballast_bytes = bytes;
        self
    }

    /// For the suites on the simulated machine: train a stream once it has so many records of so many customers.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn train_at(mut self, records: u64, customers: usize) -> Self {
        self.tuning.train_at = crate::engine::train::Threshold { records, raw_bytes: u64::MAX, customers };
        self
    }

    /// For the crash suite: fold the keyring once this many entries wait for it.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn fold_at(mut self, entries: u64) -> Self {
        self.tuning.fold_at = entries;
        self
    }

    /// Makes a new store and opens it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where something is already there (nothing of it is touched) or the policy is wrong.
    pub fn create(self) -> Result<Store> {
        let (keyring, custodian) = (self.keyring_options(), self.custodian_or_default());
        ops::create::create(&self.env, &self.path, keyring, custodian, self.policy.as_deref())?;
        self.open()
    }

    /// Opens the store for writing: takes its lock, registers the opening, finishes what a crash left.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::Locked`], [`crate::ErrorKind::KeyUnavailable`],
    /// [`crate::ErrorKind::Corrupt`], [`crate::ErrorKind::Unsupported`], each with the next thing to try.
    pub fn open(self) -> Result<Store> {
        let wish = ops::recover::Wish {
            env: self.env.clone(),
            root: self.path.clone(),
            keyring: self.keyring_options(),
            custodian: self.custodian_or_default(),
            take_over: self.take_over.clone(),
            restored: self.restored.is_some(),
            trust_clock: self.trust_clock,
            has_worker: self.worker,
            tuning: self.tuning,
        };
        let (engine, recovery) = ops::recover::recover(wish)?;
        Ok(Store::start(engine, recovery, self.worker, self.authorizer, self.classifier))
    }

    /// Opens the store for reading, beside a writer or alone. Every call sees what was durable when it began.
    ///
    /// # Errors
    /// As [`Options::open`], but for the lock, which it does not take.
    pub fn open_read_only(self) -> Result<Store> {
        let (keyring, custodian) = (self.keyring_options(), self.custodian_or_default());
        let engine = ops::refresh::open(&self.env, self.path.clone(), keyring, custodian)?;
        let recovery = Recovery { clock_doubted: engine.trusted.doubted, ..Recovery::default() };
        Ok(Store::start(engine, recovery, false, self.authorizer, None))
    }

    fn keyring_options(&self) -> KeyringOptions {
        let dirs = match self.keyring.is_empty() {
            true => vec![beside(&self.path, "keyring")],
            false => self.keyring.clone(),
        };
        KeyringOptions { dirs, cache_bytes: KEYRING_CACHE_BYTES }
    }

    fn custodian_or_default(&self) -> Arc<dyn Custodian> {
        self.custodian.clone().unwrap_or_else(|| {
            let file = FileCustodian::with_env(self.env.clone(), beside(&self.path, "custodian"));
            Arc::new(if self.accept_weak_erasure { file.accept_weak_erasure() } else { file })
        })
    }
}

/// `calls` (or `calls/`) and `keyring` make `calls.keyring`: beside the store, never inside.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.components().as_path().as_os_str().to_os_string();
    name.push(".");
    name.push(extension);
    name.into()
}
