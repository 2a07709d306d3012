//! The two root slots in every mirror: read with dropped caches, chosen by epoch, overwritten in place one after the
//! other so that one of them is whole at any time. What a root says is sealed; this room does not open it.

use std::io;
use std::path::{Path, PathBuf};

use crate::env::{self, Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring_root::{RootSlot, SEALED_LIMIT, SLOT_BYTES};
use crate::ident::StoreId;

/// The names of the two slots, in the order in which they are written.
pub const SLOTS: [&str; 2] = ["root.a", "root.b"];

/// What stands in one slot.
#[derive(Debug)]
pub enum Slot {
    /// A root.
    Whole(RootSlot),
    /// No such file.
    Missing,
    /// Something else, or nothing that could be read.
    Damaged(Error),
}

/// All slots of all mirrors, and the newest root among them.
#[derive(Debug)]
pub struct Roots {
    /// By directory.
    pub slots: Vec<[Slot; 2]>,
    /// The newest.
    pub newest: RootSlot,
}

fn read_slot(env: &dyn Env, path: &Path, write: bool) -> Slot {
    let read = || -> io::Result<Vec<u8>> {
        let file = env.open(path, if write { OpenMode::Write } else { OpenMode::Read })?;
        if write {
            // What a killed process wrote is made durable, what a failed sync left in the cache is forgotten.
            file.sync_data()?;
            file.drop_cache();
        }
        let mut bytes = vec![0; SLOT_BYTES + 1];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => match RootSlot::decode(&bytes) {
            Ok(slot) => Slot::Whole(slot),
            Err(what) => Slot::Damaged(Error::corrupt(path, 0, format!("the keyring's root: {what}"))),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Slot::Missing,
        Err(error) => Slot::Damaged(Error::io("read the keyring's root", path, error)),
    }
}

/// The slots of every directory; nothing is judged.
pub fn read_slots(env: &dyn Env, dirs: &[PathBuf], write: bool) -> Vec<[Slot; 2]> {
    dirs.iter().map(|dir| SLOTS.map(|name| read_slot(env, &dir.join(name), write))).collect()
}

/// Reads all slots and chooses the newest root.
///
/// # Errors
/// [`ErrorKind::KeyUnavailable`] where there is none, or one of another store; [`ErrorKind::Corrupt`] where all that
/// there are are damaged.
pub fn read_roots(env: &dyn Env, dirs: &[PathBuf], store: &StoreId, write: bool) -> Result<Roots> {
    let slots = read_slots(env, dirs, write);
    let mut newest: Option<&RootSlot> = None;
    let mut damage = None;
    for (dir, pair) in dirs.iter().zip(&slots) {
        for (name, slot) in SLOTS.iter().zip(pair) {
            match slot {
                Slot::Whole(slot) if slot.store != *store => {
                    return Err(Error::new(ErrorKind::KeyUnavailable, "this keyring belongs to another store")
                        .in_file(&dir.join(name))
                        .hint("name the keyring that was made with this store"));
                }
                Slot::Whole(slot) => {
                    newest = Some(newest.map_or(slot, |best| if slot.epoch > best.epoch { slot } else { best }));
                }
                Slot::Missing => {}
                Slot::Damaged(error) => damage = damage.or(Some(error.clone())),
            }
        }
    }
    let newest = newest.cloned().ok_or_else(|| {
        damage.unwrap_or_else(|| {
            let error = Error::new(ErrorKind::KeyUnavailable, "there is no keyring here");
            let error = dirs.first().map_or(error.clone(), |dir| error.in_file(dir));
            error.hint("name the directory that was made with the store, or a mirror of it")
        })
    })?;
    Ok(Roots { slots, newest })
}

/// Writes `root` over one slot and makes it durable.
fn write_slot(env: &dyn Env, path: &Path, bytes: &[u8]) -> Result<()> {
    let written = match env.open(path, OpenMode::Write) {
        Ok(file) => file.set_len(SLOT_BYTES as u64).and_then(|()| {
            env::write_all_at(&*file, bytes, 0)?;
            file.sync_data()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => env::publish_new(env, path, bytes),
        Err(error) => Err(error),
    };
    written.map_err(|error| Error::io("write the keyring's root", path, error))
}

/// Writes `root` to the first slot of every directory, and only then to the second.
pub fn write_roots(env: &dyn Env, dirs: &[PathBuf], root: &RootSlot) -> Result<()> {
    if root.sealed.len() > SEALED_LIMIT {
        return Err(Error::new(ErrorKind::Invalid, "the custodian returned a sealed root of more than 900 bytes"));
    }
    let bytes = root.encode();
    for name in SLOTS {
        dirs.iter().try_for_each(|dir| write_slot(env, &dir.join(name), &bytes))?;
    }
    Ok(())
}

/// Writes the newest root over every slot that holds anything else; returns how many there were.
pub fn mend_roots(env: &dyn Env, dirs: &[PathBuf], roots: &Roots) -> Result<u64> {
    let bytes = roots.newest.encode();
    let mut mended = 0;
    for (index, name) in SLOTS.iter().enumerate() {
        for (dir, pair) in dirs.iter().zip(&roots.slots) {
            if !matches!(&pair[index], Slot::Whole(slot) if *slot == roots.newest) {
                write_slot(env, &dir.join(name), &bytes)?;
                mended += 1;
            }
        }
    }
    Ok(mended)
}
