//! Requests: the files by which other processes ask something of the one that holds the store, and the answers they get.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::path::{Path, PathBuf};

use super::{Engine, access, lease};
use crate::env::{create_dirs, publish_new, read_file};
use crate::error::{Error, Result};
use crate::format::request::{ANSWER_BYTES, Answer, Outcome};
use crate::window::Timestamp;

/// Where requests and answers lie in a store.
pub const DIRECTORY: &str = "requests";
/// The end of the name of a request.
pub const ASKED: &str = "request";
/// The end of the name of a request that is being carried out.
pub const TAKEN: &str = "taken";
/// The end of the name of an answer.
pub const ANSWERED: &str = "answer";

/// Appenders and the worker look for requests no more often than this, in microseconds.
pub const LOOK_MICROS: u64 = 200_000;
/// Leftovers are looked for no more often than this, in microseconds.
pub const SWEEP_MICROS: u64 = 3_600_000_000;
/// Nobody waits for an answer that is older than this.
const ANSWER_SECONDS: i64 = 3600;

/// When requests, and what was left of them, were looked for last, in microseconds of monotonic time.
#[derive(Default)]
pub struct Looked {
    /// Requests.
    pub requests: AtomicU64,
    /// Leftovers.
    pub leftovers: AtomicU64,
}

/// Whether `interval` has passed since `last`; then the next one begins now.
pub fn is_time(engine: &Engine, last: &AtomicU64, interval: u64) -> bool {
    let now = u64::try_from(engine.env.monotonic().as_micros()).unwrap_or(u64::MAX);
    let before = last.load(Ordering::Relaxed);
    let due = now >= before.saturating_add(interval);
    due && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Publishes the answer to the request at `path`, where there is none yet, and removes the request.
///
/// # Errors
/// What the operating system answers.
pub fn answer(engine: &Engine, path: &Path, outcome: Outcome) -> Result<()> {
    let answer = Answer { store: engine.store, outcome, at: engine.env.now() };
    let at = path.with_extension(ANSWERED);
    match publish_new(&*engine.env, &at, &answer.encode()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("answer a request", &at, error));
        }
        _ => {}
    }
    engine.env.remove_file(path).map_err(|error| Error::io("remove a request", path, error))
}

/// The files that end so and bear a name as requests do; others are left alone.
///
/// # Errors
/// What the operating system answers.
pub fn waiting(engine: &Engine, extension: &str) -> Result<Vec<PathBuf>> {
    let dir = engine.root.join(DIRECTORY);
    let names = match engine.env.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list the requests", &dir, error)),
    };
    let ours = names.iter().filter(|entry| !entry.is_dir && is_ours(&entry.name, extension));
    Ok(ours.map(|entry| dir.join(&entry.name)).collect())
}

fn is_ours(name: &str, extension: &str) -> bool {
    let stem = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
    stem.is_some_and(|stem| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes what was left behind by readers and askers that are gone; at an opening (`thorough`) also answers what the
/// opening before had taken, and sees to it that the directories are there.
///
/// # Errors
/// What the operating system answers.
pub fn sweep(engine: &Engine, thorough: bool) -> Result<()> {
    if thorough {
        for name in [DIRECTORY, lease::DIRECTORY, access::DIRECTORY] {
            let dir = engine.root.join(name);
            create_dirs(&*engine.env, &dir)
                .map_err(|error| Error::io("create a directory of the store", &dir, error))?;
        }
        for taken in waiting(engine, TAKEN)? {
            answer(engine, &taken, Outcome::Stale)?;
        }
    }
    let now = engine.env.now();
    for path in waiting(engine, ANSWERED)? {
        let old = |at: Timestamp| at.plus_seconds(ANSWER_SECONDS) < now || at > now.plus_seconds(ANSWER_SECONDS);
        if read_answer(engine, &path).map_or(thorough, |answer| old(answer.at)) {
            match engine.env.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove an old answer", &path, error));
                }
                _ => {}
            }
        }
    }
    lease::sweep(engine, thorough)
}

/// The answer at `path`, where there is one that can be read.
pub fn read_answer(engine: &Engine, path: &Path) -> Option<Answer> {
    let bytes = read_file(&*engine.env, path, ANSWER_BYTES as u64).ok()?;
    Answer::decode(&bytes).ok().filter(|answer| answer.store == engine.store)
}
