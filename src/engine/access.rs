//! The access log of an opening, what the ledger is told of all access logs, and the end of those that are over.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::path::Path;
use std::time::Duration;

use super::{Engine, housekeeping};
use crate::access_log::{AccessLog, Entry, LogFile, Month, files, scan};
use crate::crypto::Key;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::ledger::{AccessMark, Fact};
use crate::ident::StoreId;
use crate::keyring::Changes;
use crate::window::Timestamp;

/// Where access logs lie in a store.
pub const DIRECTORY: &str = "access";
/// The ledger notes how far access logs have come no more often than this, beside closes and checkpoints.
const NOTE: Duration = Duration::from_secs(3600);

/// What an opening has to do with access logs.
#[derive(Debug)]
pub struct Access {
    /// Its own.
    pub log: AccessLog,
    /// When the ledger was told last, in microseconds of monotonic time.
    noted: AtomicU64,
}

impl Access {
    /// Of an opening that has done nothing yet.
    pub fn new(env: &Arc<dyn Env>, root: &Path, store: StoreId) -> Self {
        let noted = AtomicU64::new(micros(&**env));
        Access { log: AccessLog::new(env.clone(), root.join(DIRECTORY), store), noted }
    }
}

fn micros(env: &dyn Env) -> u64 {
    u64::try_from(env.monotonic().as_micros()).unwrap_or(u64::MAX)
}

/// Makes sure that something can be put on record: whoever cannot, does nothing.
///
/// # Errors
/// [`crate::ErrorKind::KeyUnavailable`] where this month has no key and only a writer could make one;
/// [`crate::ErrorKind::Poisoned`]; what the operating system answers.
pub fn ready(engine: &Engine) -> Result<()> {
    engine.access.log.ready(engine.now(), &|month| key(engine, month))
}

fn key(engine: &Engine, month: Month) -> Result<Option<Key>> {
    let found = engine.keyring.month_key(month)?;
    if found.is_none() && engine.writer.as_ref().is_some_and(|writer| writer.check_open().is_ok()) {
        engine.keyring.make_month_keys(month)?;
        return engine.keyring.month_key(month);
    }
    Ok(found)
}

/// Puts one use on record: durable within a second, or before the return where it is `grave`.
///
/// # Errors
/// As [`ready`].
pub fn note(engine: &Engine, entry: &Entry, grave: bool) -> Result<()> {
    ready(engine)?;
    engine.access.log.note(engine.now(), entry)?;
    if grave { engine.access.log.sync() } else { Ok(()) }
}

/// Tells the ledger how far every access log has come, where any has grown: from then on its head vouches for theirs.
///
/// # Errors
/// What the operating system, or the ledger, answers. Logs that are damaged are passed over: they are found by whoever
/// verifies.
pub fn tell_ledger(engine: &Engine) -> Result<()> {
    engine.access.log.sync()?;
    engine.access.noted.store(micros(&*engine.env), Ordering::Relaxed);
    let known = engine.ledger().state().access.clone();
    let own = engine.access.log.marks();
    let mut logs = Vec::new();
    for file in files(&*engine.env, engine.access.log.dir())? {
        if Some(file.month) <= known.dropped_through {
            continue;
        }
        let before = known.marks.get(&(file.month, file.log));
        let mark = match own.iter().find(|mark| mark.key() == (file.month, file.log)) {
            Some(mark) => Some(*mark),
            None => foreign(engine, &file, before),
        };
        logs.extend(mark.filter(|mark| mark.length > before.map_or(0, |before| before.length)));
    }
    match logs.is_empty() {
        true => Ok(()),
        false => engine.record(&[Fact::AccessNoted { logs }]),
    }
}

/// How far another opening's log has come; none where it has not moved, or does not read.
fn foreign(engine: &Engine, file: &LogFile, before: Option<&AccessMark>) -> Option<AccessMark> {
    let bytes = engine.env.metadata(&file.path).ok()?.len;
    if before.is_some_and(|before| before.bytes >= bytes) {
        return None;
    }
    // What is noted must stay: a killed process may have left it in the cache alone.
    let synced = engine.env.open(&file.path, crate::env::OpenMode::Write).and_then(|open| open.sync_data());
    // It has to go on from what was noted; what is as long and no longer has nothing to be noted of it.
    let mut goes_on = before.is_none();
    let scanned = scan(&*engine.env, file, &engine.store, &mut |tree, _| {
        goes_on |= before.is_some_and(|before| before.length == tree.length() && before.head == tree.head());
        Ok(true)
    });
    let scanned = scanned.ok().filter(|_| goes_on && synced.is_ok())?;
    let (length, head) = (scanned.tree.length(), scanned.tree.head());
    Some(AccessMark { month: file.month, log: file.log, length, bytes: scanned.end, head })
}

/// [`tell_ledger`] where it was told long ago.
///
/// # Errors
/// As [`tell_ledger`].
pub fn tell_ledger_in_passing(engine: &Engine) -> Result<()> {
    let last = Duration::from_micros(engine.access.noted.load(Ordering::Relaxed));
    match engine.env.monotonic().saturating_sub(last) >= NOTE {
        true => tell_ledger(engine),
        false => Ok(()),
    }
}

/// Whether there is any access log.
///
/// # Errors
/// What the operating system answers.
pub fn any(engine: &Engine) -> Result<bool> {
    Ok(!files(&*engine.env, engine.access.log.dir())?.is_empty())
}

/// The last month whose access logs are over at `now`, of those that are still there.
///
/// # Errors
/// Damage in the keyring.
pub fn over(engine: &Engine, now: Timestamp) -> Result<Option<Month>> {
    let policy = engine.policy();
    let is_over = |month: &Month| policy.access_log_deadline(&month.window()).is_some_and(|deadline| deadline <= now);
    Ok(engine.keyring.months()?.into_iter().filter(is_over).max())
}

/// Destroys the keys of months whose access logs are over at `now`, then their files. Housekeeping must be held.
///
/// # Errors
/// The first step that fails; once it is on record, the next opening finishes it.
pub fn expire(engine: &Engine, now: Timestamp) -> Result<()> {
    if let Some(month) = over(engine, now)? {
        engine.record(&[Fact::AccessDropped { month }])?;
        finish_dropping(engine)?;
    }
    Ok(())
}

/// Does what is left to do of months that are on record to be over.
///
/// # Errors
/// What the keyring or the operating system answers; doing it again goes on from there.
pub fn finish_dropping(engine: &Engine) -> Result<()> {
    let Some(last) = engine.ledger().state().access.dropped_through else { return Ok(()) };
    let mut changes = Changes::new();
    for month in engine.keyring.months()?.into_iter().filter(|month| *month <= last) {
        changes.insert(engine.keyring.month_place(month), None);
    }
    if !changes.is_empty() {
        engine.keyring.shred(&changes, housekeeping::position(engine))?;
    }
    for file in files(&*engine.env, engine.access.log.dir())?.into_iter().filter(|file| file.month <= last) {
        let removed = engine.env.remove_file(&file.path);
        removed.map_err(|error| Error::io("remove an access log that is over", &file.path, error))?;
    }
    Ok(())
}
