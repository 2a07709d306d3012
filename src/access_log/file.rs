//! Beginning an access log, and going on with one.

use crate::sync::Arc;
use std::io;
use std::path::{Path, PathBuf};

use super::scan::{LogFile, files, scan};
use crate::crypto::Frontier;
use crate::env::{self, Env, File, Lock, OpenMode};
use crate::error::{Error, Result};
use crate::format::access::{HEAD_BYTES, Head, Month};
use crate::ident::StoreId;
use crate::window::Timestamp;

/// A file that is longer is not gone on with: it would have to be read first.
const SHORT_BYTES: u64 = 256 << 10;
/// How many files are tried.
const TRIES: usize = 8;

/// A log that may be appended to.
pub(super) struct Found {
    pub head: Head,
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub lock: Box<dyn Lock>,
    pub tree: Frontier,
    pub end: u64,
    pub time: Timestamp,
}

/// A new log, durable with its name.
pub(super) fn create(env: &dyn Env, dir: &Path, head: &Head) -> Result<Found> {
    let path = dir.join(format!("{}-{}.log", head.log, head.month));
    let failed = |error| Error::io("begin an access log", &path, error);
    env::publish_new(env, &path, &head.encode()).map_err(failed)?;
    let lock = env.try_lock(&path).map_err(failed)?;
    let file = env.open(&path, OpenMode::Write).map_err(failed)?;
    let (tree, end, time) = (Frontier::default(), HEAD_BYTES as u64, Timestamp::default());
    Ok(Found { head: *head, path, file, lock, tree, end, time })
}

/// A short log of `month` that nobody holds, and that ends with a whole commit: one that does not is evidence, and stays
/// as it is.
pub(super) fn take_over(env: &dyn Env, dir: &Path, store: &StoreId, month: Month) -> Result<Option<Found>> {
    let short = |log: &&LogFile| env.metadata(&log.path).is_ok_and(|metadata| metadata.len <= SHORT_BYTES);
    let logs = files(env, dir)?;
    for log in logs.iter().filter(|log| log.month == month).filter(short).take(TRIES) {
        let lock = match env.try_lock(&log.path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(Error::io("lock an access log", &log.path, error)),
        };
        let failed = |error| Error::io("open an access log", &log.path, error);
        let file = env.open(&log.path, OpenMode::Write).map_err(failed)?;
        // What a killed process wrote is made durable; what a failed sync left in the cache is forgotten.
        file.sync_data().map_err(failed)?;
        file.drop_cache();
        let mut time = Timestamp::default();
        let scanned = scan(env, log, store, &mut |_, leaf| {
            time = leaf.time;
            Ok(true)
        });
        if let Ok(scanned) = scanned
            && scanned.unfinished == 0
        {
            let path = log.path.clone();
            return Ok(Some(Found {
                head: scanned.head,
                path,
                file,
                lock,
                tree: scanned.tree,
                end: scanned.end,
                time,
            }));
        }
    }
    Ok(None)
}
