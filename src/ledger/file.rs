//! One ledger file as it lies on disk: its name, its start, its bytes.

use std::path::{Path, PathBuf};

use crate::crypto::{Digest, sha256};
use crate::env::{self, Env, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{COMMIT_LIMIT, HEADER_BYTES, Header, SNAPSHOT_LIMIT, Snapshot, VERSION};

/// Beyond this a file cannot be one of ours: it rolls at 64 MiB of leaves, and one commit may go over.
const FILE_LIMIT: u64 = (HEADER_BYTES + SNAPSHOT_LIMIT + (64 << 20) + 2 * COMMIT_LIMIT) as u64;

/// `<dir>/0000000001.ledger`.
pub(super) fn ledger_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.ledger"))
}

/// The numbers of the files in `dir`: 1, 2, 3 and so on; empty where there is none.
pub(super) fn numbers(env: &dyn Env, dir: &Path) -> Result<Vec<u64>> {
    let names = env.list(dir).map_err(|error| Error::io("list the ledger's directory", dir, error))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".ledger"))
        .filter(|digits| digits.len() >= 10 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .filter_map(|digits| digits.parse().ok())
        .collect();
    numbers.sort_unstable();
    match numbers.iter().zip(1..).find(|(number, expected)| **number != *expected) {
        None => Ok(numbers),
        Some((_, expected)) => Err(Error::new(ErrorKind::Corrupt, "a file of the ledger is missing")
            .in_file(&ledger_path(dir, expected))
            .hint("restore it from a backup of this store; ledger files never change once the next exists")),
    }
}

/// Removes what publishing left behind. That it cannot be removed hurts nobody.
pub(super) fn sweep(env: &dyn Env, dir: &Path) -> Result<()> {
    let names = env.list(dir).map_err(|error| Error::io("list the ledger's directory", dir, error))?;
    for entry in names.iter().filter(|entry| !entry.is_dir && entry.name.ends_with(env::TEMPORARY)) {
        let _ = env.remove_file(&dir.join(&entry.name));
    }
    Ok(())
}

/// All bytes of a file.
pub(super) fn read_whole(file: &dyn File, path: &Path) -> Result<Vec<u8>> {
    read_from(file, path, 0)
}

/// All bytes from `offset` on.
pub(super) fn read_from(file: &dyn File, path: &Path, offset: u64) -> Result<Vec<u8>> {
    let length = file.len().map_err(|error| Error::io("measure the ledger", path, error))?;
    if length < offset {
        return Err(Error::corrupt(path, length, "the ledger is shorter than it was").hint("open the store again"));
    }
    if length > FILE_LIMIT {
        return Err(Error::corrupt(path, FILE_LIMIT, "a ledger file is never that long"));
    }
    let mut bytes = vec![0; (length - offset) as usize];
    env::read_exact_at(file, &mut bytes, offset).map_err(|error| Error::io("read the ledger", path, error))?;
    Ok(bytes)
}

/// What a file begins with, checked.
pub(super) struct Start {
    pub(super) header: Header,
    /// `None` in the first file.
    pub(super) snapshot: Option<Snapshot>,
    /// The hash that the first leaf must name; `None` in the first file.
    pub(super) snapshot_hash: Option<Digest>,
    /// Where the first commit begins.
    pub(super) body: usize,
}

/// Reads header and snapshot of file `number`.
pub(super) fn start(path: &Path, number: u64, bytes: &[u8]) -> Result<Start> {
    let header = Header::decode(bytes).map_err(|flaw| Error::corrupt(path, 0, flaw.0))?;
    if header.version != VERSION {
        return Err(Error::new(ErrorKind::Unsupported, "the ledger was written by a newer version")
            .in_file(path)
            .hint("use the version of Tenure that wrote it, or a later one"));
    }
    if header.file != number {
        return Err(Error::corrupt(path, 0, format!("the file says that it is number {} of the ledger", header.file)));
    }
    let body = HEADER_BYTES + header.snapshot_length as usize;
    let stored = bytes.get(HEADER_BYTES..body);
    let stored = stored.ok_or_else(|| Error::corrupt(path, bytes.len() as u64, "the snapshot ends too early"))?;
    let damaged = |what: &str| Error::corrupt(path, HEADER_BYTES as u64, what);
    if sha256(stored) != header.snapshot_hash {
        return Err(damaged("the hash of the snapshot is wrong"));
    }
    let (snapshot, snapshot_hash) = match number {
        1 if stored.is_empty() && header.first == 0 => (None, None),
        1 => return Err(damaged("the first ledger file has a snapshot")),
        _ => {
            let snapshot = Snapshot::decode(stored).map_err(|flaw| damaged(flaw.0))?;
            if snapshot.frontier.length() != header.first || snapshot.state.store != header.store {
                return Err(damaged("the snapshot is not of this place in this ledger"));
            }
            (Some(snapshot), Some(header.snapshot_hash))
        }
    };
    Ok(Start { header, snapshot, snapshot_hash, body })
}
