//! The keyless check of a whole ledger: every file from the first leaf on, every snapshot against the replay.

use std::path::Path;

use super::file::{ledger_path, numbers, read_whole, start};
use super::missing;
use super::replay::Replay;
use crate::crypto::{Digest, Frontier};
use crate::env::{Env, OpenMode};
use crate::error::{Error, Result};
use crate::format::ledger::Snapshot;

/// Where the last whole commit of a ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEnd {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// What [`verify`] has computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerCheck {
    /// How many leaves there are.
    pub leaves: u64,
    /// The Merkle tree hash of all of them.
    pub root: Digest,
    /// Length of all files together.
    pub bytes: u64,
    /// Bytes at the end of the last file that an append left which never finished, or is just being written.
    pub unfinished: u64,
    /// What was expected is not there: the ledger goes on from an older copy, as a leaf of its own says.
    pub goes_on_from_older: bool,
}

/// Recomputes the ledger in `dir` from its first leaf. Needs no key, never writes, repairs nothing. What lies beyond the
/// place `to` is not looked at: somebody may be writing it.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] with file and offset at the first thing that does not fit, `expect` included: a length
/// known to have been durable and the head at it.
pub fn verify(env: &dyn Env, dir: &Path, expect: Option<(u64, Digest)>, to: Option<LedgerEnd>) -> Result<LedgerCheck> {
    let mut files = numbers(env, dir)?;
    files.retain(|number| to.is_none_or(|to| *number <= to.file));
    let last = *files.last().ok_or_else(|| missing(dir))?;
    let mut so_far: Option<Snapshot> = None;
    let mut expect = expect;
    let mut bytes_total = 0;
    for number in files {
        let path = ledger_path(dir, number);
        let file = env.open(&path, OpenMode::Read).map_err(|error| Error::io("open the ledger", &path, error))?;
        let mut bytes = read_whole(&*file, &path)?;
        if let Some(to) = to.filter(|to| to.file == number) {
            bytes.truncate(usize::try_from(to.offset).unwrap_or(usize::MAX));
        }
        let start = start(&path, number, &bytes)?;
        if start.snapshot != so_far {
            return Err(Error::corrupt(&path, 0, "the snapshot is not what the leaves before it add up to"));
        }
        let mut replay = Replay::new(start.header.store, so_far, expect);
        if expect.is_some_and(|(length, _)| length == 0) {
            let found = expect.map(|(_, head)| head) == Some(Frontier::default().head());
            replay.confirm(&path, 0, found);
        }
        let end = replay.commits(&path, number, start.snapshot_hash, &bytes[start.body..], start.body as u64)?;
        let unfinished = bytes.len() as u64 - end;
        bytes_total += bytes.len() as u64;
        if number < last && unfinished > 0 {
            return Err(Error::corrupt(&path, end, "a commit is damaged in a file that was finished"));
        }
        if number < last {
            expect = replay.take_expect(); // It may be reached by a later file.
        }
        let goes_on_from_older = replay.expects();
        let (frontier, state) = replay.finish(&path, end, unfinished)?;
        if number == last {
            let (leaves, root) = (frontier.length(), frontier.head());
            return Ok(LedgerCheck { leaves, root, bytes: bytes_total, unfinished, goes_on_from_older });
        }
        so_far = Some(Snapshot { frontier, state });
    }
    Err(missing(dir))
}
