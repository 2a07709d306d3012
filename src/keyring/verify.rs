//! Checking a keyring without changing it: every checksum without any key, or every node and entry with them.

use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};

use super::log::{Log, locked, log_path};
use super::open::log_number;
use super::roots::SLOTS;
use super::{Access, Keyring};
use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, Result};
use crate::format::access::MonthKey;
use crate::format::bytes::is_zero;
use crate::format::keyring::{EntryKind, FRAME_LIMIT, LOG_HEAD_BYTES, LogFrame, LogHead, TreeKey};
use crate::format::keyring_column::{AgendaItem, Column, ScrubNote};
use crate::format::keyring_entry::CustomerEntry;
use crate::format::keyring_hold::HoldEntry;
use crate::format::keyring_root::{OPENING_HALF_BYTES, OpeningIntent, RootSlot, SLOT_BYTES};
use crate::report::Damage;

/// How often a reader looks at what the writer may just be writing, before it calls that damaged.
const LOOKS: usize = 5;

/// What a keyless check saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyringCheck {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Frames whose checksum was checked.
    pub frames: u64,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
}

/// What a check with keys saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeepCheck {
    /// Customers, tombstones included.
    pub customers: u64,
    /// Partitions.
    pub partitions: u64,
    /// Items of the agenda.
    pub agenda: u64,
    /// Frames that were damaged in one mirror and have been mended from another, since the keyring was opened.
    pub mended: u64,
}

/// A log, and how many bytes of it are to be checked.
type Opened = io::Result<(u64, Arc<dyn File>)>;

impl KeyringCheck {
    fn damage(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.damage.push(Damage { path: path.to_path_buf(), offset: Some(offset), what: what.into() });
    }

    /// Checks an open log as far as is said with it.
    fn log(&mut self, path: &Path, opened: Opened) {
        self.files += 1;
        if let Err(error) = opened.and_then(|(length, file)| check_log(&*file, path, length, self)) {
            self.damage.push(Damage { path: path.to_path_buf(), offset: None, what: error.to_string() });
        }
    }

    fn small_files(&mut self, env: &dyn Env, dir: &Path) {
        for (name, length) in
            SLOTS.map(|name| (name, SLOT_BYTES)).into_iter().chain([("opening", OPENING_HALF_BYTES * 2)])
        {
            let path = dir.join(name);
            self.files += 1;
            match env::read_file(env, &path, length as u64) {
                Ok(bytes) => check_small(&path, &bytes, self),
                Err(error) => self.damage.push(Damage { path, offset: None, what: error.to_string() }),
            }
        }
    }
}

/// Checks every checksum of a keyring in every directory, without any key. An append that a crash cut short counts as
/// damage here: opening the keyring for writing cuts it.
///
/// # Errors
/// Only where the operating system refuses to list a directory; damage is in the result.
pub fn verify(env: &dyn Env, dirs: &[PathBuf]) -> Result<KeyringCheck> {
    let mut check = KeyringCheck::default();
    for dir in dirs {
        let names = env.list(dir).map_err(|error| Error::io("list the keyring", dir, error))?;
        let logs = names.iter().filter(|entry| log_number(&entry.name).is_some());
        for path in logs.map(|entry| dir.join(&entry.name)) {
            let file = env.open(&path, OpenMode::Read);
            check.log(&path, file.and_then(|file| Ok((file.len()?, file))));
        }
        check.small_files(env, dir);
    }
    Ok(check)
}

fn check_small(path: &Path, bytes: &[u8], check: &mut KeyringCheck) {
    check.bytes += bytes.len() as u64;
    if path.ends_with("opening") {
        if bytes.len() != 2 * OPENING_HALF_BYTES {
            return check.damage(path, bytes.len() as u64, "it has another length than it should");
        }
        for (index, half) in bytes.chunks(OPENING_HALF_BYTES).enumerate() {
            check.frames += 1;
            if let Err(what) = OpeningIntent::decode(half) {
                check.damage(path, (index * OPENING_HALF_BYTES) as u64, what.to_string());
            }
        }
        return;
    }
    check.frames += 1;
    if let Err(what) = RootSlot::decode(bytes) {
        check.damage(path, 0, what.to_string());
    }
}

/// Reads the first `length` bytes of a log in pieces of twice the longest frame.
fn check_log(file: &dyn File, path: &Path, length: u64, check: &mut KeyringCheck) -> io::Result<()> {
    check.bytes += length;
    let mut window = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut lost = false;
    while at < length {
        if at + FRAME_LIMIT as u64 > start + window.len() as u64 && start + (window.len() as u64) < length {
            start = at;
            window = vec![0; (2 * FRAME_LIMIT as u64).min(length - at) as usize];
            env::read_exact_at(file, &mut window, at)?;
        }
        let rest = &window[(at - start) as usize..];
        let read = match at {
            0 => LogHead::decode(rest).map(|_| LOG_HEAD_BYTES),
            _ if rest.iter().take(LOG_HEAD_BYTES).all(|byte| *byte == 0) && zero_to_end(file, at, length)? => break,
            _ => LogFrame::parse(rest).map(|(_, length)| length),
        };
        match read {
            Ok(length) => {
                check.frames += 1;
                at += length as u64;
                lost = false;
            }
            Err(what) => {
                // One report for each stretch that nothing can be read in.
                if !lost {
                    check.damage(path, at, what.to_string());
                }
                lost = true;
                at += if at == 0 { LOG_HEAD_BYTES as u64 } else { 1 };
            }
        }
    }
    Ok(())
}

fn zero_to_end(file: &dyn env::File, mut at: u64, end: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    while at < end {
        let piece = (end - at).min(buffer.len() as u64) as usize;
        env::read_exact_at(file, &mut buffer[..piece], at)?;
        if !is_zero(&buffer[..piece]) {
            return Ok(false);
        }
        at += piece as u64;
    }
    Ok(true)
}

impl Keyring {
    /// [`verify`] of a keyring that is open, and may be written to meanwhile, also by somebody else: what a writer has
    /// written out so far, or a reader has taken in, in the files that count. What is being written is left alone.
    pub fn verify_files(&self) -> KeyringCheck {
        let mut tries = 0;
        loop {
            tries += 1;
            let followed = self.refresh();
            let (mut check, logs) = self.small_files_and_logs();
            // A reader may have come while a slot was written, or another log took the place of the one it knows.
            let moved = !check.damage.is_empty() || logs.iter().any(|(_, opened)| opened.is_err()) || followed.is_err();
            if moved && self.access == Access::Read && tries < LOOKS {
                continue;
            }
            logs.into_iter().for_each(|(path, opened)| check.log(&path, opened));
            if let Err(error) = followed {
                let path = error.path().unwrap_or(Path::new("")).to_path_buf();
                check.damage.push(Damage { path, offset: error.offset(), what: error.without_place() });
            }
            return check;
        }
    }

    /// The small files checked, and every mirror of every file of the log open, with the length that can be relied on.
    /// Whoever folds, shreds or compacts waits meanwhile.
    fn small_files_and_logs(&self) -> (KeyringCheck, Vec<(PathBuf, Opened)>) {
        let _folding = locked(&self.folding);
        let mut check = KeyringCheck::default();
        self.dirs.iter().for_each(|dir| check.small_files(&*self.env, dir));
        let (tree, scanned) = {
            let state = locked(&self.state);
            (state.tree.clone(), state.scanned)
        };
        let until = |log: &Log| match (log.number() == tree.log.number(), self.access) {
            (false, _) => tree.log.base(),
            (true, Access::Write) => log.written(),
            (true, Access::Read) => scanned,
        };
        let open = |log: &Log, dir: &PathBuf| {
            let path = log_path(dir, log.number());
            let file = self.env.open(&path, OpenMode::Read);
            (path, file.map(|file| (until(log) - log.base(), file)))
        };
        let logs = tree.files().flat_map(|log| self.dirs.iter().map(move |dir| open(log, dir)));
        (check, logs.collect())
    }

    /// Decrypts and reads everything that the root reaches, and every unfolded entry.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`], naming the first place that does not open or does not read.
    pub fn verify_deep(&self) -> Result<DeepCheck> {
        let mut check = DeepCheck::default();
        let customers = self.walk_items(&TreeKey::default(), None, &mut |item| {
            let read = match item.key.kind() {
                kind if kind == EntryKind::Customer as u8 => {
                    check.customers += 1;
                    CustomerEntry::decode(&item.payload).map(|_| ())
                }
                kind if kind == EntryKind::Partition as u8 => {
                    check.partitions += 1;
                    Column::decode(&item.payload).map(|_| ())
                }
                kind if kind == EntryKind::ScrubNote as u8 => ScrubNote::decode(&item.payload).map(|_| ()),
                kind if kind == EntryKind::AccessMonth as u8 => MonthKey::decode(&item.payload).map(|_| ()),
                kind if kind == EntryKind::Hold as u8 => HoldEntry::decode(&item.payload).map(|_| ()),
                _ => {
                    check.agenda += 1;
                    AgendaItem::decode(&item.payload).map(|_| ())
                }
            };
            read.map_err(|what| self.damage(what))
        })?;
        check.mended = locked(&self.state).tree.files().map(|log| log.mended()).sum();
        match check.customers <= customers {
            true => Ok(check),
            false => {
                Err(self.damage(crate::format::bytes::Malformed("the tree holds more customers than were counted")))
            }
        }
    }
}
