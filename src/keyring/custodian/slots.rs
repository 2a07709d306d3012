//! The file of a custodian: reading all of it, mending its second copies, overwriting in place.

use crate::sync::Arc;
use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::crypto::Key;
use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring_custodian::{
    CUSTODIAN_MAGIC, CustodianFacts, EpochKey, KEY_SLOT_BYTES, KeySlot, SECTOR_BYTES, SLOTS_IN_BLOCK, SLOTS_START,
    slot_offsets,
};

/// The most bytes of a custodian file: 16 million epochs between two destructions.
const FILE_LIMIT: u64 = 1 << 31;

/// Where it is.
#[derive(Debug)]
pub struct KeyFile {
    /// Through what it is reached.
    pub env: Arc<dyn Env>,
    /// Its path.
    pub path: PathBuf,
}

/// What was read from it.
pub struct Opened {
    /// It, open.
    pub file: Arc<dyn File>,
    /// Everything but keys.
    pub facts: CustodianFacts,
    /// Keys by slot.
    pub keys: Vec<(u64, EpochKey)>,
    /// Slots of which only one copy is whole.
    pub halves: Vec<u64>,
    /// Slots with one copy of zeros and one of neither: a key that was never used, or one half destroyed.
    pub torn: Vec<u64>,
    /// Slots that hold something of which no copy is whole.
    pub damaged: Vec<u64>,
    /// How many slots the file has room for.
    pub slots: u64,
}

impl KeyFile {
    /// What the operating system said while `doing`; a missing file is a missing key.
    pub fn io(&self, doing: &str) -> impl Fn(io::Error) -> Error {
        let (doing, path) = (doing.to_string(), self.path.clone());
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(ErrorKind::KeyUnavailable, "there is no custodian file")
                .in_file(&path)
                .hint("name the file that was made with the store, or bring it back from where you keep its copy"),
            _ => Error::io(&doing, &path, error),
        }
    }

    /// Opens and reads all of it. What it tells is durable: a killed process may have left news in the cache, a failed
    /// sync may have left there what the medium will never have. Before a change that is settled in any case; otherwise
    /// only where the two copies differ, since the second one is written when the first is durable.
    pub fn read(&self, mode: OpenMode) -> Result<Opened> {
        let file = self.env.open(&self.path, mode).map_err(self.io("open the custodian file"))?;
        if mode == OpenMode::Write {
            self.settle(&*file)?;
        }
        let (opened, alike) = self.read_through(&file)?;
        if alike || mode == OpenMode::Write {
            return Ok(opened);
        }
        self.settle(&*file)?;
        Ok(self.read_through(&file)?.0)
    }

    fn settle(&self, file: &dyn File) -> Result<()> {
        file.sync_data().map_err(self.io("sync the custodian file"))?;
        file.drop_cache();
        Ok(())
    }

    /// What it holds as readers see it now, and whether both copies of the facts say the same.
    fn read_through(&self, file: &Arc<dyn File>) -> Result<(Opened, bool)> {
        let length = file.len().map_err(self.io("measure the custodian file"))?;
        if length > FILE_LIMIT {
            return Err(Error::corrupt(&self.path, FILE_LIMIT, "the custodian file is impossibly long"));
        }
        let mut bytes = Zeroizing::new(vec![0; length as usize]);
        env::read_exact_at(&**file, &mut bytes, 0).map_err(self.io("read the custodian file"))?;
        let sector = |index: usize| bytes.get(index * SECTOR_BYTES..(index + 1) * SECTOR_BYTES).unwrap_or_default();
        let alike = sector(0) == sector(1);
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
        let file = file.clone();
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
        Ok((opened, alike))
    }

    /// Makes both copies of facts and keys equal again before anything is built on them. A copy that is as it should be
    /// is never written over: until the other one is durable, it may be the only one.
    pub fn mend(&self, opened: &mut Opened) -> Result<()> {
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

    /// Writes both copies of the facts, one after the other.
    pub fn write_facts(&self, opened: &Opened) -> Result<()> {
        let sector = opened.facts.encode();
        for offset in [0, SECTOR_BYTES as u64] {
            self.write(opened, &sector, offset)?;
        }
        Ok(())
    }

    /// Overwrites in place, durably.
    pub fn write(&self, opened: &Opened, bytes: &[u8], offset: u64) -> Result<()> {
        env::write_all_at(&*opened.file, bytes, offset)
            .and_then(|()| opened.file.sync_data())
            .map_err(self.io("write the custodian file"))
    }

    /// The key of `epoch`, made and written durably where there is none yet.
    pub fn key_for(&self, opened: &mut Opened, epoch: u64) -> Result<usize> {
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
}
