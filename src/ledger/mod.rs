//! The ledger: what was ever done to a store, in files of leaves that a Merkle tree (RFC 6962) binds together. The state
//! of the store is nothing but their replay.
//!
//! Owns the files `<dir>/0000000001.ledger` and following. An append is durable when it returns; what an append that
//! never returned left behind is cut and counted at the next opening, and anything else that does not fit is an error.
//! Never rewrites a leaf, never repairs one, never deletes a file, and knows neither keys nor records.

mod file;
mod proof;
mod replay;
mod state;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod verify;

use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};

pub use proof::{Inclusion, each_leaf, leaf_fact};
pub use verify::{LedgerCheck, LedgerEnd, verify};

pub use crate::format::ledger::{
    AccessLogs, AccessMark, Act, ActState, Acts, Effect, Fact, Gap, Holds, SegmentFact, SegmentRef, State,
};

use crate::crypto::{Digest, Frontier, sha256};
use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{self as format, Header, Snapshot};
use crate::ident::StoreId;
use crate::window::Timestamp;

use file::{ledger_path, numbers};
use replay::Replay;

/// Whether the ledger is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For appending. Nobody else may append: the store's lock sees to that.
    Write,
    /// For reading beside a writer. Never writes anything.
    Read,
}

/// When a new file begins.
#[derive(Clone, Copy, Debug)]
struct Roll {
    leaves: u64,
    bytes: u64,
}

const ROLL: Roll = Roll { leaves: 65_536, bytes: 64 << 20 };

/// A ledger, open.
#[derive(Debug)]
pub struct Ledger {
    env: Arc<dyn Env>,
    dir: PathBuf,
    access: Access,
    roll: Roll,
    tree: Frontier,
    state: State,
    last: LastFile,
    /// After a failed write or sync nobody knows what is on the medium.
    poisoned: bool,
}

/// The file that grows.
#[derive(Debug)]
struct LastFile {
    number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Leaves before it.
    first: u64,
    /// Where its first commit begins.
    body: u64,
    /// Where its last whole commit ends.
    end: u64,
}

impl Ledger {
    /// Begins the ledger of a new store with its first leaf, durable on return. `dir` is created where it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] (source `AlreadyExists`) where `dir` holds a ledger; what the file system answers.
    pub fn create(env: Arc<dyn Env>, dir: &Path, store: StoreId, now: Timestamp) -> Result<Ledger> {
        Ledger::create_rolling(env, dir, store, now, ROLL)
    }

    fn create_rolling(env: Arc<dyn Env>, dir: &Path, store: StoreId, now: Timestamp, roll: Roll) -> Result<Ledger> {
        env::create_dirs(&*env, dir).map_err(|error| Error::io("create the ledger's directory", dir, error))?;
        if let Some(number) = numbers(&*env, dir)?.last() {
            let taken = io::ErrorKind::AlreadyExists.into();
            return Err(Error::io("create a ledger where one is", &ledger_path(dir, *number), taken));
        }
        let (number, path) = (1, ledger_path(dir, 1));
        let created = Fact::StoreCreated { store, format: format::VERSION };
        let leaf = leaf_bytes(now, &created);
        let mut tree = Frontier::default();
        tree.push(&leaf);
        let header = Header {
            version: format::VERSION,
            store,
            file: number,
            first: 0,
            snapshot_length: 0,
            snapshot_hash: sha256(&[]),
        };
        let mut contents = Vec::new();
        header.encode(&mut contents);
        format::encode_commit(&mut contents, &store, 0, &[leaf]).ok_or_else(too_large)?;
        let file = publish(&*env, &path, &contents)?;
        let body = format::HEADER_BYTES as u64;
        let last = LastFile { number, path, file, first: 0, body, end: contents.len() as u64 };
        let state = State::created(store, format::VERSION, now);
        Ok(Ledger { env, dir: dir.to_path_buf(), access: Access::Write, roll, tree, state, last, poisoned: false })
    }

    /// Opens the ledger and replays its last file. Returns it with the bytes of an append that never finished: with
    /// [`Access::Write`] they have been cut, and all that is left is durable.
    ///
    /// `expect` is a length that is known to have been durable, and the head at it. Without it the last append cannot
    /// be told from one that never finished.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none; [`ErrorKind::Corrupt`] with file and offset where it is damaged,
    /// shorter than `expect` or another than that; [`ErrorKind::Unsupported`] where a newer version wrote it.
    pub fn open(env: Arc<dyn Env>, dir: &Path, access: Access, expect: Option<(u64, Digest)>) -> Result<(Ledger, u64)> {
        Ledger::open_rolling(env, dir, access, expect, ROLL)
    }

    fn open_rolling(
        env: Arc<dyn Env>,
        dir: &Path,
        access: Access,
        expect: Option<(u64, Digest)>,
        roll: Roll,
    ) -> Result<(Ledger, u64)> {
        match Ledger::read(&env, dir, access, expect, roll) {
            // A reader may have caught the writer in the middle of a write; twice in a row it is something else.
            Err(_) if access == Access::Read => Ledger::read(&env, dir, access, expect, roll),
            outcome => outcome,
        }
    }

    fn read(
        env: &Arc<dyn Env>,
        dir: &Path,
        access: Access,
        expect: Option<(u64, Digest)>,
        roll: Roll,
    ) -> Result<(Ledger, u64)> {
        if access == Access::Write {
            file::sweep(&**env, dir)?;
        }
        let number = *numbers(&**env, dir)?.last().ok_or_else(|| missing(dir))?;
        let path = ledger_path(dir, number);
        let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
        let file = env.open(&path, mode).map_err(|error| Error::io("open the ledger", &path, error))?;
        if access == Access::Write {
            // What a failed sync left in the page cache alone must not be taken for stored.
            file.drop_cache();
        }
        let bytes = file::read_whole(&*file, &path)?;
        let start = file::start(&path, number, &bytes)?;
        let mut replay = Replay::new(start.header.store, start.snapshot, expect);
        if let Some((length, head)) = expect.filter(|(length, _)| *length <= start.header.first) {
            // The mark lies in an earlier file, whose leaves the snapshot stands for.
            let found = proof::head_before(&**env, dir, number, &start.header.store, &replay.tree, length)?;
            replay.confirm(&path, 0, found == head);
        }
        let body = start.body as u64;
        let end = replay.commits(&path, number, start.snapshot_hash, &bytes[start.body..], body)?;
        let unfinished = bytes.len() as u64 - end;
        let (tree, state) = replay.finish(&path, end, unfinished)?;
        if access == Access::Write {
            settle_tail(&**env, dir, &*file, &path, end, unfinished)?;
        }
        let last = LastFile { number, path, file, first: start.header.first, body, end };
        let dir = dir.to_path_buf();
        Ok((Ledger { env: env.clone(), dir, access, roll, tree, state, last, poisoned: false }, unfinished))
    }

    /// Writes `facts` as one leaf each, all or none, and makes them durable: one write, one sync. Leaves carry `now`,
    /// or the time of the leaf before where the clock has run back.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a fact contradicts the state or is beyond its limit: nothing was written.
    /// [`ErrorKind::OutOfSpace`] or [`ErrorKind::Io`] where the write or the sync failed, and from then on
    /// [`ErrorKind::Poisoned`]: whether the facts were kept shows at the next opening.
    pub fn append(&mut self, now: Timestamp, facts: &[Fact]) -> Result<()> {
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Invalid, "the ledger is open for reading only"));
        }
        if self.poisoned {
            return Err(poisoned(&self.last.path));
        }
        if facts.is_empty() {
            return Ok(());
        }
        let time = now.max(self.state.watermark);
        let leaves: Vec<_> = facts.iter().map(|fact| leaf_bytes(time, fact)).collect();
        let changed = self.state.with(facts, time).map_err(|flaw| Error::new(ErrorKind::Invalid, flaw.0))?;
        let mut commit = Vec::new();
        format::encode_commit(&mut commit, &self.state.store, 0, &leaves).ok_or_else(too_large)?;
        self.poisoned = true; // Until all of it has succeeded.
        if self.tree.length() - self.last.first >= self.roll.leaves || self.last.end - self.last.body >= self.roll.bytes
        {
            self.begin_file(time)?;
        }
        commit.clear();
        format::encode_commit(&mut commit, &self.state.store, self.tree.length(), &leaves).ok_or_else(too_large)?;
        let LastFile { file, path, end, .. } = &mut self.last;
        env::write_all_at(&**file, &commit, *end).map_err(|error| Error::io("write to the ledger", path, error))?;
        file.sync_data().map_err(|error| Error::io("sync the ledger", path, error))?;
        *end += commit.len() as u64;
        leaves.iter().for_each(|leaf| self.tree.push(leaf));
        self.state.become_changed(changed, facts, time);
        self.poisoned = false;
        Ok(())
    }

    /// Begins the next file with a snapshot and the leaf that vouches for it.
    fn begin_file(&mut self, time: Timestamp) -> Result<()> {
        let snapshot = Snapshot { frontier: self.tree.clone(), state: self.state.clone() }.encode();
        if snapshot.len() > format::SNAPSHOT_LIMIT {
            return Err(too_large());
        }
        let (number, store, first) = (self.last.number + 1, self.state.store, self.tree.length());
        let (path, hash) = (ledger_path(&self.dir, number), sha256(&snapshot));
        let header = Header {
            version: format::VERSION,
            store,
            file: number,
            first,
            snapshot_length: snapshot.len() as u32, // Bounded above.
            snapshot_hash: hash,
        };
        let leaf = leaf_bytes(time, &Fact::SnapshotTaken { file: number, hash });
        let mut contents = Vec::with_capacity(format::HEADER_BYTES + snapshot.len() + 128);
        header.encode(&mut contents);
        contents.extend_from_slice(&snapshot);
        let body = contents.len() as u64;
        format::encode_commit(&mut contents, &store, first, std::slice::from_ref(&leaf)).ok_or_else(too_large)?;
        let file = publish(&*self.env, &path, &contents)?;
        self.last = LastFile { number, path, file, first, body, end: contents.len() as u64 };
        self.tree.push(&leaf);
        self.state.watermark = time;
        Ok(())
    }

    /// What the leaves add up to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many leaves there are.
    pub fn length(&self) -> u64 {
        self.tree.length()
    }

    /// Where its last commit ends.
    pub fn end(&self) -> LedgerEnd {
        LedgerEnd { file: self.last.number, offset: self.last.end }
    }

    /// The Merkle tree hash of all leaves.
    pub fn head(&self) -> Digest {
        self.tree.head()
    }

    /// Takes in what the writer has appended since. Returns whether there was anything. Always `false` for the writer.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the new leaves are damaged or do not continue the old ones, as after a writer that
    /// crashed: from then on [`ErrorKind::Poisoned`], open again.
    pub fn refresh(&mut self) -> Result<bool> {
        if self.access == Access::Write {
            return Ok(false);
        }
        if self.poisoned {
            return Err(poisoned(&self.last.path));
        }
        let before = self.tree.length();
        self.poisoned = true;
        loop {
            self.read_on()?;
            let next = ledger_path(&self.dir, self.last.number + 1);
            match self.env.open(&next, OpenMode::Read) {
                Ok(file) => self.move_to(next, file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(Error::io("open the ledger", &next, error)),
            }
        }
        self.poisoned = false;
        Ok(self.tree.length() > before)
    }

    /// Replays the commits that have appeared in the last file. One that is not whole yet is left for the next time.
    fn read_on(&mut self) -> Result<()> {
        let LastFile { number, path, file, end, .. } = &mut self.last;
        let mut again = true;
        loop {
            let bytes = file::read_from(&**file, path, *end)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let mut replay = Replay::continuing(&self.tree, &self.state);
            match replay.commits(path, *number, None, &bytes, *end) {
                Ok(valid) => {
                    if let Some((tree, state)) = replay.changed() {
                        (self.tree, self.state, *end) = (tree, state, valid);
                    }
                    return Ok(());
                }
                // The bytes may have been read while they were written.
                Err(_) if again => again = false,
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes over to the next file, which must begin where this one ends.
    fn move_to(&mut self, path: PathBuf, file: Arc<dyn File>) -> Result<()> {
        // The last file gets nothing more once the next exists, but it may have after it was read.
        self.read_on()?;
        let number = self.last.number + 1;
        let bytes = file::read_whole(&*file, &path)?;
        let start = file::start(&path, number, &bytes)?;
        let ours = Snapshot { frontier: self.tree.clone(), state: self.state.clone() };
        if start.header.store != self.state.store || start.snapshot.as_ref() != Some(&ours) {
            return Err(Error::corrupt(&path, 0, "the ledger file does not continue the one before"));
        }
        let mut replay = Replay::new(start.header.store, start.snapshot, None);
        let end = replay.commits(&path, number, start.snapshot_hash, &bytes[start.body..], start.body as u64)?;
        (self.tree, self.state) = replay.finish(&path, end, bytes.len() as u64 - end)?;
        self.last = LastFile { number, path, file, first: start.header.first, body: start.body as u64, end };
        Ok(())
    }
}

/// A new file, durable with its name, and open for writing.
fn publish(env: &dyn Env, path: &Path, contents: &[u8]) -> Result<Arc<dyn File>> {
    let published = env::publish_new(env, path, contents).and_then(|()| env.open(path, OpenMode::Write));
    published.map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            // After a failed sync of the directory the name may be visible now and gone after a power cut, whatever a
            // later sync says. Nothing was acknowledged in it, and the next opening must not build on it.
            let _ = env.remove_file(path);
        }
        Error::io("begin a ledger file", path, error)
    })
}

/// Cuts what an append left that never finished, and makes the rest durable before anybody relies on it: it may have
/// come from an append whose sync never ran.
fn settle_tail(env: &dyn Env, dir: &Path, file: &dyn File, path: &Path, end: u64, unfinished: u64) -> Result<()> {
    let settled = match unfinished {
        0 => Ok(()),
        _ => file.set_len(end),
    };
    settled
        .and_then(|()| file.sync_data())
        .and_then(|()| env.sync_dir(dir))
        .map_err(|error| Error::io("settle the end of the ledger", path, error))
}

fn leaf_bytes(time: Timestamp, fact: &Fact) -> Vec<u8> {
    let mut leaf = Vec::new();
    format::encode_leaf(&mut leaf, time, fact);
    leaf
}

fn too_large() -> Error {
    Error::new(ErrorKind::Invalid, "a fact is larger than the ledger takes")
}

fn missing(dir: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "there is no ledger").in_file(dir).hint("is this the directory of a store?")
}

fn poisoned(path: &Path) -> Error {
    Error::new(ErrorKind::Poisoned, "an earlier access to the ledger failed").in_file(path).hint("open the store again")
}
