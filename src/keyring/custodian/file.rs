//! A custodian in one file: a fresh random key for every epoch, facts twice and keys twice, everything overwritten in
//! place so that destruction reaches the same blocks. It never says `final`: any copy of the file undoes it.

use crate::sync::{Arc, Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::slots::{KeyFile, Opened};
use super::{Custodian, Evidence, OpeningToken, Registration};
use crate::crypto::{Digest, NONCE_BYTES, Sealer, TAG_BYTES};
use crate::env::{self, Env, Lock, Medium, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring_custodian::{CustodianFacts, KEY_SLOT_BYTES, SECTOR_BYTES, SLOTS_START, slot_offsets};
use crate::ident::StoreId;

const READ_ATTEMPTS: usize = 5;

/// Keeps the keys of root records in one file. Keep that file apart from the store, its keyring and their backups.
#[derive(Debug)]
pub struct FileCustodian {
    file: KeyFile,
    accept_weak_erasure: bool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lock: Option<Box<dyn Lock>>,
    poisoned: bool,
}

impl FileCustodian {
    /// The custodian in the file `path`, on the machine's own disk.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        FileCustodian::with_env(Arc::new(env::disk::Disk::new()), path)
    }

    /// The custodian in the file `path` of `env`.
    pub fn with_env(env: Arc<dyn Env>, path: impl Into<PathBuf>) -> Self {
        let file = KeyFile { env, path: path.into() };
        FileCustodian { file, accept_weak_erasure: false, held: Mutex::default() }
    }

    /// Also on file systems that keep what is overwritten (copy-on-write, network): destruction then means less.
    pub fn accept_weak_erasure(self) -> Self {
        FileCustodian { accept_weak_erasure: true, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    fn check_medium(&self) -> Result<()> {
        let medium =
            self.file.env.medium(env::parent(&self.file.path)).map_err(self.file.io("look at the file system"))?;
        let why = match medium {
            Medium::InPlace | Medium::Memory => return Ok(()),
            _ if self.accept_weak_erasure => return Ok(()),
            Medium::CopyOnWrite => {
                "the custodian file lies on a copy-on-write file system, where a key that is \
                                    overwritten stays readable on the disk"
            }
            Medium::Network => {
                "the custodian file lies on a network file system, where nobody here can say that an \
                                overwritten key is gone"
            }
        };
        Err(Error::new(ErrorKind::Refused, why)
            .in_file(&self.file.path)
            .hint("put it on an ordinary disk, use another custodian, or accept weak erasure explicitly"))
    }

    fn guard(&self) -> Result<MutexGuard<'_, Held>> {
        let held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match held.poisoned {
            false => Ok(held),
            true => Err(Error::new(ErrorKind::Poisoned, "an earlier write to the custodian file failed")
                .in_file(&self.file.path)
                .hint("open the store again")),
        }
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        self.file.env.try_lock(&self.file.path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::new(ErrorKind::Locked, "somebody else holds the custodian file")
                .in_file(&self.file.path)
                .hint("close the other opening of this store first"),
            _ => self.file.io("lock the custodian file")(error),
        })
    }

    /// Runs `change` with the file open for writing, under the lock: the one of the opening, or one just for this.
    fn change<T>(&self, change: impl FnOnce(&mut Opened) -> Result<T>) -> Result<T> {
        let mut held = self.guard()?;
        let _lock = if held.lock.is_none() { Some(self.lock()?) } else { None };
        let mut opened = self.file.read(OpenMode::Write)?;
        let result = self.file.mend(&mut opened).and_then(|()| change(&mut opened));
        if let Err(error) = &result {
            held.poisoned |= matches!(error.kind(), ErrorKind::Io | ErrorKind::OutOfSpace);
        }
        result
    }

    fn update(&self, update: impl FnOnce(&mut CustodianFacts) -> Result<()>) -> Result<CustodianFacts> {
        self.change(|opened| {
            update(&mut opened.facts)?;
            opened.facts.generation += 1;
            self.file.write_facts(opened)?;
            Ok(opened.facts)
        })
    }

    fn never_used(&self) -> Result<bool> {
        let facts = self.file.read(OpenMode::Read)?.facts;
        Ok(facts.opening.number == 0 && facts.ledger_length == 0)
    }
}

fn about(store: &StoreId, epoch: u64) -> Vec<u8> {
    let mut about = b"tenure/v1/root".to_vec();
    about.extend_from_slice(store.as_bytes());
    about.extend_from_slice(&epoch.to_le_bytes());
    about
}

impl Custodian for FileCustodian {
    fn create(&self, store: &StoreId) -> Result<()> {
        self.check_medium()?;
        let held = self.guard()?;
        if self.file.env.metadata(&self.file.path).is_ok() {
            let _lock = if held.lock.is_none() { Some(self.lock()?) } else { None };
            if !self.never_used()? {
                return Err(Error::new(ErrorKind::Invalid, "the custodian file already keeps the keys of a store")
                    .in_file(&self.file.path)
                    .hint("give the new store a custodian file of its own"));
            }
            self.file.env.remove_file(&self.file.path).map_err(self.file.io("remove an unused custodian file"))?;
        }
        let token = env::random(&*self.file.env).map_err(self.file.io("draw a token"))?;
        let facts = CustodianFacts {
            generation: 1,
            store: *store,
            opening: OpeningToken { number: 0, token },
            next_epoch: 1,
            ledger_length: 0,
            ledger_head: [0; 32],
            destroyed_before: 0,
        };
        let mut bytes = facts.encode();
        bytes.extend_from_within(..);
        bytes.resize(SLOTS_START as usize + 2 * SECTOR_BYTES, 0);
        env::publish_new(&*self.file.env, &self.file.path, &bytes).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::io("create the custodian file", &self.file.path, error),
            _ => self.file.io("create the custodian file")(error),
        })
    }

    fn registration(&self) -> Result<Registration> {
        // Another process may be writing: a sector is then half new for a moment, never both of them.
        let mut read = self.file.read(OpenMode::Read);
        for _ in 1..READ_ATTEMPTS {
            match &read {
                Err(error) if error.kind() == ErrorKind::Corrupt => read = self.file.read(OpenMode::Read),
                _ => break,
            }
        }
        let facts = read?.facts;
        Ok(Registration {
            store: facts.store,
            opening: facts.opening,
            ledger_length: facts.ledger_length,
            ledger_head: facts.ledger_head,
            destroyed_before: facts.destroyed_before,
        })
    }

    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()> {
        self.check_medium()?;
        {
            let mut held = self.guard()?;
            if held.lock.is_some() {
                return Err(Error::new(ErrorKind::Locked, "this custodian is already registered for an opening")
                    .in_file(&self.file.path)
                    .hint("close the other opening of this store first"));
            }
            held.lock = Some(self.lock()?);
        }
        let registered = self.update(|facts| match facts.opening == *expected {
            true => {
                facts.opening = *new;
                Ok(())
            }
            false => Err(Error::new(ErrorKind::KeyUnavailable, "the store was opened by somebody else just now")
                .in_file(&self.file.path)
                .hint("try again; if it comes back, a copy of this store is in use")),
        });
        if registered.is_err() {
            self.release();
        }
        registered.map(|_| ())
    }

    fn release(&self) {
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *held = Held::default();
    }

    fn next_epoch(&self) -> Result<u64> {
        let facts = self.update(|facts| {
            facts.next_epoch += 1;
            Ok(())
        })?;
        Ok(facts.next_epoch - 1)
    }

    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>> {
        self.change(|opened| {
            if epoch < opened.facts.destroyed_before || epoch >= opened.facts.next_epoch {
                return Err(Error::new(ErrorKind::Invalid, "an epoch that is over, or was never given out"));
            }
            let index = self.file.key_for(opened, epoch)?;
            let nonce = env::random::<NONCE_BYTES>(&*self.file.env).map_err(self.file.io("draw a nonce"))?;
            let mut sealed = Vec::with_capacity(8 + NONCE_BYTES + plain.len() + TAG_BYTES);
            sealed.extend_from_slice(&epoch.to_le_bytes());
            sealed.extend_from_slice(&nonce);
            let start = sealed.len();
            sealed.extend_from_slice(plain);
            let about = about(&opened.facts.store, epoch);
            let tag = Sealer::new(&opened.keys[index].1.key).seal(&nonce, &about, &mut sealed[start..]);
            sealed.extend_from_slice(&tag);
            Ok(sealed)
        })
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let missing = |what: &str| {
            Error::new(ErrorKind::KeyUnavailable, what)
                .in_file(&self.file.path)
                .hint("name the custodian file that belongs to this store and is as new as its keyring")
        };
        let malformed = || missing("the root record was not sealed by a custodian file");
        let (epoch, rest) = sealed.split_first_chunk().ok_or_else(malformed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(malformed)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(malformed)?;
        let epoch = u64::from_le_bytes(*epoch);
        let opened = self.file.read(OpenMode::Read)?;
        let Some((_, key)) = opened.keys.iter().find(|(_, held)| held.epoch == epoch) else {
            return Err(match opened.damaged.first() {
                _ if epoch < opened.facts.destroyed_before => missing("the key of this root record was destroyed"),
                Some(slot) => {
                    Error::corrupt(&self.file.path, slot_offsets(*slot)[0], "both copies of a key are damaged")
                        .hint("bring the custodian file back from where you keep its copy")
                }
                None => missing("the custodian file does not hold the key of this root record"),
            });
        };
        let mut plain = Zeroizing::new(body.to_vec());
        let about = about(&opened.facts.store, epoch);
        match Sealer::new(&key.key).open(nonce, &about, &mut plain, tag) {
            Ok(()) => Ok(plain),
            Err(_) => Err(missing("the root record does not open with the custodian's key")),
        }
    }

    fn destroy_before(&self, epoch: u64) -> Result<Evidence> {
        self.change(|opened| {
            // A damaged slot may hold most of a dead key: it goes too, unless the living one is missing.
            let living = opened.keys.iter().any(|(_, held)| held.epoch >= epoch);
            let dead = opened.keys.iter().filter(|(_, held)| held.epoch < epoch).map(|(slot, _)| *slot);
            let slots: Vec<u64> = match living {
                true => dead.chain(opened.damaged.iter().copied()).collect(),
                false => return Err(Error::new(ErrorKind::Invalid, "no newer root was sealed, nothing is destroyed")),
            };
            for offset in slots.iter().flat_map(|slot| slot_offsets(*slot)) {
                self.file.write(opened, &[0; KEY_SLOT_BYTES], offset)?;
            }
            opened.file.drop_cache();
            for offset in slots.iter().flat_map(|slot| slot_offsets(*slot)) {
                let mut slot = [1; KEY_SLOT_BYTES];
                env::read_exact_at(&*opened.file, &mut slot, offset)
                    .map_err(self.file.io("read back a destroyed key"))?;
                if slot.iter().any(|byte| *byte != 0) {
                    return Err(Error::corrupt(&self.file.path, offset, "an overwritten key is still there"));
                }
            }
            opened.facts.destroyed_before = opened.facts.destroyed_before.max(epoch);
            opened.facts.generation += 1;
            self.file.write_facts(opened)?;
            let words = format!("cleared: undone by any copy of {}", self.file.path.display());
            Ok(Evidence { final_: false, words })
        })
    }

    fn advance(&self, length: u64, head: &Digest) -> Result<()> {
        let known = self.registration()?;
        if length < known.ledger_length || (length == known.ledger_length && *head == known.ledger_head) {
            return Ok(());
        }
        self.update(|facts| {
            facts.ledger_length = length;
            facts.ledger_head = *head;
            Ok(())
        })
        .map(|_| ())
    }
}
