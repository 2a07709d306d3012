//! Access logs: who did what and why, in files of sealed leaves that a Merkle tree binds together as it does the ledger's.
//!
//! Owns the files `<dir>/<name>-2026-11.log`. One opening writes one file a month; a small one that nobody holds is gone
//! on with, so that a thousand short openings leave one file and not a thousand. Entries wait in memory for at most a
//! second, or until somebody asks that they be durable. It never repairs a file, never cuts one, and knows neither the
//! ledger nor the keyring: keys are handed in.

mod file;
mod scan;
#[cfg(all(test, feature = "simulation"))]
mod tests;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::format::access::{About, Entry, LogId, Month, Outcome, SUBJECTS_LIMIT};
pub use scan::{LogFile, files, scan};

use crate::crypto::{Digest, Frontier, Key, Sealer, access_key};
use crate::env::{self, Env, File, Lock, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::access::{Head, RANDOM_BYTES};
use crate::format::ledger::{AccessMark, encode_commit};
use crate::ident::StoreId;
use crate::window::Timestamp;

/// Entries are durable after this long at the latest, as long as somebody calls.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// More than this does not wait.
const WAITING_BYTES: usize = 256 << 10;

/// The access log of one opening.
pub struct AccessLog {
    env: Arc<dyn Env>,
    dir: PathBuf,
    store: StoreId,
    state: Mutex<State>,
    /// Held while a file is begun or entries are written out.
    writing: Mutex<()>,
    /// After a failed write or sync nobody knows what is on the medium.
    poisoned: AtomicBool,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// What months before had come to, when they were written out.
    finished: Vec<AccessMark>,
}

/// The file that grows.
struct Open {
    head: Head,
    path: PathBuf,
    file: Arc<dyn File>,
    _lock: Box<dyn Lock>,
    sealer: Sealer,
    tree: Frontier,
    /// Where its last commit ends.
    end: u64,
    time: Timestamp,
    /// Leaves that wait, how many bytes, what was drawn for them, and since when.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    drawn: [u8; RANDOM_BYTES],
    since: Duration,
    /// What is durable of it: length, bytes and head.
    durable: (u64, u64, Digest),
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessLog({})", self.dir.display())
    }
}

impl AccessLog {
    /// The log of an opening that has done nothing yet: nothing is read or written.
    pub fn new(env: Arc<dyn Env>, dir: PathBuf, store: StoreId) -> Self {
        let (state, writing, poisoned) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        AccessLog { env, dir, store, state, writing, poisoned }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn check(&self) -> Result<()> {
        match self.poisoned.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Poisoned, "an earlier write to the access log failed")
                .in_file(&self.dir)
                .hint("open the store again; what cannot be put on record is not done")),
        }
    }

    /// Makes sure that something can be noted `now`: begins a file where there is none of this month. `key` answers for a
    /// month.
    ///
    /// # Errors
    /// [`ErrorKind::KeyUnavailable`] where the month has no key; [`ErrorKind::Poisoned`]; what the operating system answers.
    pub fn ready(&self, now: Timestamp, key: &dyn Fn(Month) -> Result<Option<Key>>) -> Result<()> {
        self.check()?;
        let month = Month::of(now);
        let current = |state: &State| state.open.as_ref().is_some_and(|open| open.head.month >= month);
        if current(&self.state()) {
            return Ok(());
        }
        let _writing = self.writing.lock().expect("no holder of this lock panics");
        if current(&self.state()) {
            return Ok(());
        }
        let key = key(month)?.ok_or_else(|| no_key(&self.dir))?;
        let mut next = Some(self.begin(month, &key)?);
        loop {
            self.write_out()?;
            let mut state = self.state();
            // Whoever was ready before the month ended may have noted something since.
            if state.open.as_ref().is_none_or(|before| before.waiting.is_empty()) {
                if let Some(before) = std::mem::replace(&mut state.open, next.take()) {
                    state.finished.push(before.mark());
                }
                return Ok(());
            }
        }
    }

    /// A small file of the month that nobody holds, or a new one.
    fn begin(&self, month: Month, key: &Key) -> Result<Open> {
        let env = &*self.env;
        let failed = |error| Error::io("begin an access log", &self.dir, error);
        env::create_dirs(env, &self.dir).map_err(failed)?;
        let found = match file::take_over(env, &self.dir, &self.store, month)? {
            Some(found) => found,
            None => {
                let log = LogId(random(env).map_err(failed)?);
                file::create(env, &self.dir, &Head { store: self.store, log, month })?
            }
        };
        let sealer = Sealer::new(&access_key(&self.store, key, &found.head.log.0));
        Ok(Open {
            head: found.head,
            path: found.path,
            file: found.file,
            _lock: found.lock,
            sealer,
            durable: (found.tree.length(), found.end, found.tree.head()),
            tree: found.tree,
            end: found.end,
            time: found.time,
            waiting: Vec::new(),
            waiting_bytes: 0,
            drawn: [0; RANDOM_BYTES],
            since: Duration::ZERO,
        })
    }

    /// Notes one use, to be durable within a second. After [`AccessLog::ready`].
    ///
    /// # Errors
    /// As [`AccessLog::ready`].
    pub fn note(&self, now: Timestamp, entry: &Entry) -> Result<()> {
        self.check()?;
        let due = {
            let mut state = self.state();
            let open = state.open.as_mut().ok_or_else(|| Error::new(ErrorKind::Invalid, "no access log is open"))?;
            open.push(&*self.env, now, entry)?;
            open.waiting_bytes >= WAITING_BYTES || self.env.monotonic().saturating_sub(open.since) >= PATIENCE
        };
        if due { self.sync() } else { Ok(()) }
    }

    /// Makes everything noted before the call durable.
    ///
    /// # Errors
    /// What the operating system answers, and from then on [`ErrorKind::Poisoned`].
    pub fn sync(&self) -> Result<()> {
        let _writing = self.writing.lock().expect("no holder of this lock panics");
        self.write_out()
    }

    /// The same where something has waited for `patience`.
    ///
    /// # Errors
    /// As [`AccessLog::sync`].
    pub fn sync_older_than(&self, patience: Duration) -> Result<()> {
        let now = self.env.monotonic();
        let old = |open: &Open| !open.waiting.is_empty() && now.saturating_sub(open.since) >= patience;
        let is_old = self.state().open.as_ref().is_some_and(old);
        if is_old { self.sync() } else { Ok(()) }
    }

    /// Writes out what waits, as one commit, and makes it durable. `writing` is held.
    fn write_out(&self) -> Result<()> {
        self.check()?;
        let (commit, file, path, at, head) = {
            let mut state = self.state();
            let Some(open) = state.open.as_mut().filter(|open| !open.waiting.is_empty()) else { return Ok(()) };
            let leaves = std::mem::take(&mut open.waiting);
            open.waiting_bytes = 0;
            let first = open.tree.length() - leaves.len() as u64;
            let mut commit = Vec::new();
            encode_commit(&mut commit, &self.store, first, &leaves)
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "an entry is larger than an access log takes"))?;
            (commit, open.file.clone(), open.path.clone(), open.end, (open.tree.length(), open.tree.head()))
        };
        let written = env::write_all_at(&*file, &commit, at)
            .map_err(|error| Error::io("write to the access log", &path, error))
            .and_then(|()| file.sync_data().map_err(|error| Error::io("sync the access log", &path, error)));
        if written.is_err() {
            self.poisoned.store(true, Ordering::Release);
            return written;
        }
        if let Some(open) = self.state().open.as_mut() {
            open.end += commit.len() as u64;
            open.durable = (head.0, open.end, head.1);
        }
        Ok(())
    }

    /// How far the files of this opening have come on the medium.
    pub fn marks(&self) -> Vec<AccessMark> {
        let state = self.state();
        state.finished.iter().copied().chain(state.open.as_ref().map(Open::mark)).collect()
    }

    /// Where access logs lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for AccessLog {
    /// An opening that ends without a close leaves nothing waiting, where it can.
    fn drop(&mut self) {
        let _ = self.sync();
    }
}

impl Open {
    fn push(&mut self, env: &dyn Env, now: Timestamp, entry: &Entry) -> Result<()> {
        if self.waiting.is_empty() {
            self.drawn = random(env).map_err(|error| Error::io("draw random bytes", &self.path, error))?;
            self.since = env.monotonic();
        }
        self.time = self.time.max(now);
        let leaf = entry.seal(&self.head, &self.sealer, self.tree.length(), self.time, &self.drawn);
        self.tree.push(&leaf);
        self.waiting_bytes += leaf.len() + 4;
        self.waiting.push(leaf);
        Ok(())
    }

    fn mark(&self) -> AccessMark {
        let (length, bytes, head) = self.durable;
        AccessMark { month: self.head.month, log: self.head.log, length, bytes, head }
    }
}

fn no_key(dir: &Path) -> Error {
    Error::new(ErrorKind::KeyUnavailable, "this month has no key for its access log, so nothing can be put on record")
        .in_file(dir)
        .hint("open the store for writing once: that makes keys for a year")
}
