//! Reading access logs, a commit at a time. Whoever writes one may be writing now.

use std::io;
use std::path::{Path, PathBuf};

use crate::crypto::Frontier;
use crate::env::{self, Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::access::{COMMIT_LIMIT, HEAD_BYTES, Head, LogId, Month};
use crate::format::ledger::{Commit, Leaf};
use crate::ident::StoreId;

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// One access log, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Which month it is of.
    pub month: Month,
    /// Its random name.
    pub log: LogId,
    /// Where it lies.
    pub path: PathBuf,
}

/// What there is in one.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What stands at its start.
    pub head: Head,
    /// The tree over its leaves.
    pub tree: Frontier,
    /// Where its last whole commit ends.
    pub end: u64,
    /// Bytes after it: an append that never finished, or is under way.
    pub unfinished: u64,
}

/// The access logs in `dir`, by month and name; none where there is no such directory. Other names are left alone.
///
/// # Errors
/// What the operating system answers.
pub fn files(env: &dyn Env, dir: &Path) -> Result<Vec<LogFile>> {
    let names = match env.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list the access logs", dir, error)),
    };
    let mut logs: Vec<LogFile> = names.iter().filter_map(|entry| named(dir, &entry.name)).collect();
    logs.sort_unstable_by_key(|log| (log.month, log.log));
    Ok(logs)
}

/// `<32 hexadecimal digits>-2026-11.log`.
fn named(dir: &Path, name: &str) -> Option<LogFile> {
    let (log, month) = name.strip_suffix(".log")?.split_once('-')?;
    let digits = log.len() == 32 && log.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let log = LogId(u128::from_str_radix(log, 16).ok().filter(|_| digits)?.to_be_bytes());
    let first = format!("{month}-01").parse::<crate::window::Day>().ok()?;
    let month = Month::from_number(first.number()).ok().filter(|parsed| parsed.to_string() == month)?;
    Some(LogFile { month, log, path: dir.join(name) })
}

/// Hands every leaf to `visit`, with the tree over those before it, until that answers no.
///
/// # Errors
/// The visitor's; [`ErrorKind::Corrupt`] with file and offset where it is damaged; what the operating system answers.
pub fn scan(
    env: &dyn Env,
    log: &LogFile,
    store: &StoreId,
    visit: &mut dyn FnMut(&Frontier, &Leaf<'_>) -> Result<bool>,
) -> Result<Scanned> {
    let path = &log.path;
    let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("open an access log", path, error))?;
    let length = file.len().map_err(|error| Error::io("measure an access log", path, error))?;
    let mut bytes = Bytes { file: &*file, path, length, base: 0, held: Vec::new() };
    let head = Head::decode(bytes.at(0, HEAD_BYTES)?).map_err(|flaw| Error::corrupt(path, 0, flaw.0))?;
    if head.store != *store || head.log != log.log || head.month != log.month {
        return Err(Error::corrupt(path, 0, "the access log is of another store, or under another's name"));
    }
    let (mut tree, mut at) = (Frontier::default(), HEAD_BYTES as u64);
    while at < length {
        let front = bytes.at(at, 8)?;
        let claimed = front.get(4..8).map_or(0, |field| u32::from_le_bytes(std::array::from_fn(|i| field[i])) as usize);
        let whole = bytes.at(at, claimed.clamp(8, COMMIT_LIMIT))?;
        let commit = match Commit::parse(whole, store) {
            Ok(commit) if commit.first == tree.length() => commit,
            Ok(_) => return Err(Error::corrupt(path, at, "a commit of an access log is out of place")),
            Err(flaw) => {
                torn(&mut bytes, at, tree.length(), store, flaw.0)?;
                break;
            }
        };
        for leaf in commit.leaves().map_err(|flaw| Error::corrupt(path, at, flaw.0))? {
            if !visit(&tree, &leaf)? {
                return Ok(Scanned { head, tree, end: at, unfinished: 0 });
            }
            tree.push(leaf.bytes);
        }
        at += commit.length as u64;
    }
    Ok(Scanned { head, tree, end: at, unfinished: length - at })
}

/// What does not read as a commit is an append that never finished, if it can be one: no longer than one commit, and
/// with no other behind it.
fn torn(bytes: &mut Bytes<'_>, at: u64, leaves: u64, store: &StoreId, what: &str) -> Result<()> {
    let (path, rest) = (bytes.path, bytes.length - at);
    let short = rest <= COMMIT_LIMIT as u64;
    let tail = bytes.at(at, rest.min(COMMIT_LIMIT as u64) as usize)?;
    match short && !Commit::any_after(tail.get(1..).unwrap_or_default(), store, leaves) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, what)
            .at(path, at)
            .hint("restore the file from a backup; the other access logs still read")),
    }
}

/// A file read in pieces.
struct Bytes<'a> {
    file: &'a dyn File,
    path: &'a Path,
    length: u64,
    base: u64,
    held: Vec<u8>,
}

impl Bytes<'_> {
    /// At most `count` bytes from `at` on: fewer where the file ends.
    fn at(&mut self, at: u64, count: usize) -> Result<&[u8]> {
        let count = (self.length - at).min(count as u64) as usize;
        let held = self.base <= at && at + count as u64 <= self.base + self.held.len() as u64;
        if !held {
            let wanted = (self.length - at).min(count.max(PIECE_BYTES) as u64) as usize;
            self.held.resize(wanted, 0);
            self.base = at;
            env::read_exact_at(self.file, &mut self.held, at)
                .map_err(|error| Error::io("read an access log", self.path, error))?;
        }
        let from = (at - self.base) as usize;
        Ok(&self.held[from..from + count])
    }
}
