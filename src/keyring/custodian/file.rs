//! A custodian in one file: a fresh random key for every epoch, facts twice and keys twice, everything overwritten in
//! place so that destruction reaches the same blocks. It never says `final`: any copy of the file undoes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use zeroize::Zeroizing;

use super::{Custodian, Evidence, OpeningToken, Registration};
use crate::crypto::{Digest, Key, NONCE_BYTES, Sealer, TAG_BYTES};
use crate::env::{self, Env, File, Lock, Medium, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring_custodian::{
    CUSTODIAN_MAGIC, CustodianFacts, EpochKey, KEY_SLOT_BYTES, KeySlot, SECTOR_BYTES, SLOTS_IN_BLOCK, SLOTS_START,
    slot_offsets,
};
use crate::ident::StoreId;

/// The most bytes of a custodian file: 16 million epochs between two destructions.
const FILE_LIMIT: u64 = 1 << 31;
const READ_ATTEMPTS: usize = 5;

/// Keeps the keys of root records in one file. Keep that file apart from the store, its keyring and their backups.
#[derive(Debug)]
pub struct FileCustodian {
    env: Arc<dyn Env>,
    path: PathBuf,
    accept_weak_erasure: bool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lock: Option<Box<dyn Lock>>,
    poisoned: bool,
}

struct Opened {
    file: Arc<dyn File>,
    facts: CustodianFacts,
    keys: Vec<(u64, EpochKey)>,
    halves: Vec<u64>,
    /// Slots with one copy of zeros and one of neither: a key that was never used, or one half destroyed.
    torn: Vec<u64>,
    damaged: Vec<u64>,
    slots: u64,
}

impl FileCustodian {
    /// The custodian in the file `path`, on the machine's own disk.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        FileCustodian::with_env(Arc::new(env::disk::Disk::new()), path)
    }

    /// The custodian in the file `path` of `env`.
    pub fn with_env(env: Arc<dyn Env>, path: impl Into<PathBuf>) -> Self {
        FileCustodian { env, path: path.into(), accept_weak_erasure: false, held: Mutex::default() }
    }

    /// Also on file systems that keep what is overwritten (copy-on-write, network): destruction then means less.
    pub fn accept_weak_erasure(self) -> Self {
        FileCustodian { accept_weak_erasure: true, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, doing: &str) -> impl Fn(io::Error) -> Error {
        let (doing, path) = (doing.to_string(), self.path.clone());
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(ErrorKind::KeyUnavailable, "there is no custodian file")
                .in_file(&path)
                .hint("name the file that was made with the store, or bring it back from where you keep its copy"),
            _ => Error::io(&doing, &path, error),
        }
    }

    fn check_medium(&self) -> Result<()> {
        let medium = self.env.medium(env::parent(&self.path)).map_err(self.io("look at the file system"))?;
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
            .in_file(&self.path)
            .hint("put it on an ordinary disk, use another custodian, or accept weak erasure explicitly"))
    }

    fn guard(&self) -> Result<MutexGuard<'_, Held>> {
        let held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match held.poisoned {
            false => Ok(held),
            true => Err(Error::new(ErrorKind::Poisoned, "an earlier write to the custodian file failed")
                .in_file(&self.path)
                .hint("open the store again")),
        }
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        self.env.try_lock(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::new(ErrorKind::Locked, "somebody else holds the custodian file")
                .in_file(&self.path)
                .hint("close the other opening of this store first"),
            _ => self.io("lock the custodian file")(error),
        })
    }

    /// Runs `change` with the file open for writing, under the lock: the one of the opening, or one just for this.
    fn change<T>(&self, change: impl FnOnce(&mut Opened) -> Result<T>) -> Result<T> {
        let mut held = self.guard()?;
        let _lock = if held.lock.is_none() { Some(self.lock()?) } else { None };
        let mut opened = self.read(OpenMode::Write)?;
        let result = self.mend(&mut opened).and_then(|()| change(&mut opened));
        if let Err(error) = &result {
            held.poisoned |= matches!(error.kind(), ErrorKind::Io | ErrorKind::OutOfSpace);
        }
        result
    }

    fn read(&self, mode: OpenMode) -> Result<Opened> {
        let file = self.env.open(&self.path, mode).map_err(self.io("open the custodian file"))?;
        // What a killed process wrote is made durable before anybody is told of it; what a failed sync left in the cache
        // is forgotten.
        file.sync_data().map_err(self.io("sync the custodian file"))?;
        file.drop_cache();
        let length = file.len().map_err(self.io("measure the custodian file"))?;
        if length > FILE_LIMIT {
            return Err(Error::corrupt(&self.path, FILE_LIMIT, "the custodian file is impossibly long"));
        }
        let mut bytes = Zeroizing::new(vec![0; length as usize]);
        env::read_exact_at(&*file, &mut bytes, 0).map_err(self.io("read the custodian file"))?;
        let sector = |index: usize| bytes.get(index * SECTOR_BYTES..(index + 1) * SECTOR_BYTES).unwrap_or_default();
        let facts = match (CustodianFacts::decode(sector(0)), CustodianFacts::decode(sector(1))) {
            (Ok(a), Ok(b)) if a.generation >= b.generation => a,
            (Ok(_), Ok(b)) => b,
            (Ok(facts), Err(_)) | (Err(_), Ok(facts)) => facts,
            (Err(_), Err(_)) if ![0, 1].iter().any(|index| sector(*index).starts_with(&CUSTODIAN_MAGIC)) => {
                return Err(Error::new(ErrorKind::KeyUnavailable, "this is no custodian file")
                    .in_file(&self.path)
                    .hint("name the file that was made with the store"));
            }
            (Err(why), Err(_)) => {
                return Err(Error::corrupt(
                    &self.path,
                    0,
                    format!("both halves of the custodian file are damaged: {why}"),
                )
                .hint("bring the file back from where you keep its copy"));
            }
        };
        let blocks = (length.saturating_sub(SLOTS_START)).div_ceil(2 * SECTOR_BYTES as u64);
        let slots = blocks * SLOTS_IN_BLOCK;
        let mut opened = Opened { file, facts, keys: vec![], halves: vec![], torn: vec![], damaged: vec![], slots };
        for index in 0..opened.slots {
            let copies = slot_offsets(index).map(|offset| {
                let start = offset as usize;
                let slot = bytes.get(start..start + KEY_SLOT_BYTES).and_then(|slot| slot.first_chunk());
                slot.map_or(KeySlot::Free, KeySlot::decode)
            });
            match copies {
                [KeySlot::Held(a), KeySlot::Held(b)] if a.epoch == b.epoch => opened.keys.push((index, a)),
                [KeySlot::Held(key), _] | [_, KeySlot::Held(key)] => {
                    opened.keys.push((index, key));
                    opened.halves.push(index);
                }
                [KeySlot::Free, KeySlot::Free] => {}
                [KeySlot::Damaged, KeySlot::Damaged] => opened.damaged.push(index),
                _ => opened.torn.push(index),
            }
        }
        Ok(opened)
    }

    /// Makes both copies of facts and keys equal again before anything is built on them. A copy that is as it should be
    /// is never written over: until the other one is durable, it may be the only one.
    fn mend(&self, opened: &mut Opened) -> Result<()> {
        for slot in std::mem::take(&mut opened.halves) {
            for (_, key) in opened.keys.iter().filter(|(index, _)| *index == slot) {
                let encoded = key.encode();
                slot_offsets(slot).iter().try_for_each(|offset| self.put(opened, &encoded, *offset))?;
            }
        }
        for slot in std::mem::take(&mut opened.torn) {
            let free = [0; KEY_SLOT_BYTES];
            slot_offsets(slot).iter().try_for_each(|offset| self.put(opened, &free, *offset))?;
        }
        let sector = opened.facts.encode();
        [0, SECTOR_BYTES as u64].iter().try_for_each(|offset| self.put(opened, &sector, *offset))
    }

    /// Writes `bytes` where they do not stand already.
    fn put(&self, opened: &Opened, bytes: &[u8], offset: u64) -> Result<()> {
        let mut present = Zeroizing::new(vec![0; bytes.len()]);
        match env::read_exact_at(&*opened.file, &mut present, offset) {
            Ok(()) if *present == bytes => Ok(()),
            Ok(()) => self.write(opened, bytes, offset),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.write(opened, bytes, offset),
            Err(error) => Err(self.io("read the custodian file")(error)),
        }
    }

    fn write_facts(&self, opened: &Opened) -> Result<()> {
        let sector = opened.facts.encode();
        for offset in [0, SECTOR_BYTES as u64] {
            self.write(opened, &sector, offset)?;
        }
        Ok(())
    }

    fn write(&self, opened: &Opened, bytes: &[u8], offset: u64) -> Result<()> {
        env::write_all_at(&*opened.file, bytes, offset)
            .and_then(|()| opened.file.sync_data())
            .map_err(self.io("write the custodian file"))
    }

    fn update(&self, update: impl FnOnce(&mut CustodianFacts) -> Result<()>) -> Result<CustodianFacts> {
        self.change(|opened| {
            update(&mut opened.facts)?;
            opened.facts.generation += 1;
            self.write_facts(opened)?;
            Ok(opened.facts)
        })
    }

    /// The key of `epoch`, made and written durably where there is none yet.
    fn key_for(&self, opened: &mut Opened, epoch: u64) -> Result<usize> {
        if let Some(index) = opened.keys.iter().position(|(_, held)| held.epoch == epoch) {
            return Ok(index);
        }
        let taken = |slot: u64| opened.keys.iter().any(|(index, _)| *index == slot) || opened.damaged.contains(&slot);
        let slot = (0..=opened.slots).find(|slot| !taken(*slot)).unwrap_or(opened.slots);
        if slot >= opened.slots {
            // A whole block of zeros first, so that the file never ends inside one.
            let start = slot_offsets(slot)[0];
            self.write(opened, &[0; 2 * SECTOR_BYTES], start)?;
            opened.slots += SLOTS_IN_BLOCK;
        }
        let mut bytes = env::random(&*self.env).map_err(self.io("draw a key for the custodian file"))?;
        let key = EpochKey { epoch, key: Key::take(&mut bytes) };
        let encoded = key.encode();
        for offset in slot_offsets(slot) {
            self.write(opened, &encoded, offset)?;
        }
        opened.keys.push((slot, key));
        Ok(opened.keys.len() - 1)
    }

    fn never_used(&self) -> Result<bool> {
        let facts = self.read(OpenMode::Read)?.facts;
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
        if self.env.metadata(&self.path).is_ok() {
            let _lock = if held.lock.is_none() { Some(self.lock()?) } else { None };
            if !self.never_used()? {
                return Err(Error::new(ErrorKind::Invalid, "the custodian file already keeps the keys of a store")
                    .in_file(&self.path)
                    .hint("give the new store a custodian file of its own"));
            }
            self.env.remove_file(&self.path).map_err(self.io("remove an unused custodian file"))?;
        }
        let token = env::random(&*self.env).map_err(self.io("draw a token"))?;
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
        env::publish_new(&*self.env, &self.path, &bytes).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::io("create the custodian file", &self.path, error),
            _ => self.io("create the custodian file")(error),
        })
    }

    fn registration(&self) -> Result<Registration> {
        // Another process may be writing: a sector is then half new for a moment, never both of them.
        let mut read = self.read(OpenMode::Read);
        for _ in 1..READ_ATTEMPTS {
            match &read {
                Err(error) if error.kind() == ErrorKind::Corrupt => read = self.read(OpenMode::Read),
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
                    .in_file(&self.path)
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
                .in_file(&self.path)
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
            let index = self.key_for(opened, epoch)?;
            let nonce = env::random::<NONCE_BYTES>(&*self.env).map_err(self.io("draw a nonce"))?;
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
                .in_file(&self.path)
                .hint("name the custodian file that belongs to this store and is as new as its keyring")
        };
        let malformed = || missing("the root record was not sealed by a custodian file");
        let (epoch, rest) = sealed.split_first_chunk().ok_or_else(malformed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(malformed)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(malformed)?;
        let epoch = u64::from_le_bytes(*epoch);
        let opened = self.read(OpenMode::Read)?;
        let Some((_, key)) = opened.keys.iter().find(|(_, held)| held.epoch == epoch) else {
            return Err(match opened.damaged.first() {
                _ if epoch < opened.facts.destroyed_before => missing("the key of this root record was destroyed"),
                Some(slot) => Error::corrupt(&self.path, slot_offsets(*slot)[0], "both copies of a key are damaged")
                    .hint("bring the custodian file back from where you keep its copy"),
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
                self.write(opened, &[0; KEY_SLOT_BYTES], offset)?;
            }
            opened.file.drop_cache();
            for offset in slots.iter().flat_map(|slot| slot_offsets(*slot)) {
                let mut slot = [1; KEY_SLOT_BYTES];
                env::read_exact_at(&*opened.file, &mut slot, offset).map_err(self.io("read back a destroyed key"))?;
                if slot.iter().any(|byte| *byte != 0) {
                    return Err(Error::corrupt(&self.path, offset, "an overwritten key is still there"));
                }
            }
            opened.facts.destroyed_before = opened.facts.destroyed_before.max(epoch);
            opened.facts.generation += 1;
            self.write_facts(opened)?;
            let words = format!("cleared: undone by any copy of {}", self.path.display());
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
