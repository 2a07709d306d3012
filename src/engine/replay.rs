//! Replaying the journal files that an earlier opening left behind: what was, or may have been, acknowledged is
//! indexed; a torn tail, and groups whose keys never became durable, are cut and counted; damage before that is an error.
//!
//! A file that was replayed serves as it is until it is settled like any other, so that what is served must be on the disk
//! and what was cut must never come back: each file is synced before it is read, past the cache, and shortened after.

use crate::sync::Arc;
use std::path::{Path, PathBuf};

use super::catalog::{Indexed, JournalFile, Place, Totals};
use super::tasks;
use crate::env::{Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameKind;
use crate::format::group::GroupView;
use crate::format::journal::JOURNAL_HEAD_BYTES;
use crate::format::position::{Known, Position};
use crate::journal::{self, Cache, Scan, Tail};
use crate::report::Recovery;

/// The journal files that are not settled yet, oldest first. Settled ones that a crash left behind are removed.
pub fn leftovers(
    env: &dyn Env,
    root: &Path,
    settled_through: u64,
    report: &mut Recovery,
) -> Result<Vec<(u64, PathBuf)>> {
    let dir = root.join("journal");
    let mut left = Vec::new();
    for (number, path) in journal::list(env, &dir)? {
        if number > settled_through {
            left.push((number, path));
        } else {
            env.remove_file(&path).map_err(|error| Error::io("remove a settled journal file", &path, error))?;
            report.files_swept += 1;
        }
    }
    Ok(left)
}

/// One group of a journal file that was left behind.
struct Replayed {
    start: u64,
    end: u64,
    needs: u64,
    indexed: Indexed,
}

/// Makes durable what a process that was killed may have left in the cache: it is about to be served.
///
/// # Errors
/// What the system answers. What a failed sync has lost shows when the file is read past the cache.
pub fn make_durable(env: &dyn Env, left: &[(u64, PathBuf)]) -> Result<()> {
    left.iter().try_for_each(|(_, path)| {
        let synced = env.open(path, OpenMode::Write).and_then(|file| file.sync_data());
        synced.map_err(|error| Error::io("sync a journal file", path, error))
    })
}

/// Journal files that were left behind, indexed.
#[derive(Default)]
pub struct Leftovers {
    /// All of them, oldest first.
    pub files: Vec<Arc<JournalFile>>,
    /// Those that have something beyond their end which was never acknowledged.
    pub torn: Vec<Arc<JournalFile>>,
}

impl Leftovers {
    /// Shortens the files to what was indexed. Before another entry of the keyring is made: a group that needed more than
    /// there were would be taken for durable by the next opening, and a torn tail for damage once later files know more.
    ///
    /// # Errors
    /// What the system answers.
    pub fn cut(&self, env: &dyn Env) -> Result<()> {
        self.torn.iter().try_for_each(|torn| {
            let cut = env.open(&torn.path, OpenMode::Write).and_then(|file| {
                file.set_len(torn.end().max(JOURNAL_HEAD_BYTES as u64))?;
                file.sync_data()
            });
            cut.map_err(|error| Error::io("cut a journal file", &torn.path, error))
        })
    }
}

/// Reads the journal files that were left behind and indexes what was, or may have been, acknowledged. Files below number
/// `copies` may be copies made at any time: each is judged by what it says itself. So many of them are read at the same
/// time as there are `threads`.
pub fn replay(
    threads: usize,
    env: &Arc<dyn Env>,
    left: &[(u64, PathBuf)],
    copies: u64,
    mut known: Known,
    keyring: u64,
    report: &mut Recovery,
) -> Result<Leftovers> {
    let read = |_: &mut (), number: usize| {
        let mut groups = Vec::new();
        let scan = journal::scan(&**env, &left[number].1, Cache::Drop, &mut |group: GroupView<'_>, start| {
            let end = start + group.head().total_length as u64;
            groups.push(Replayed { start, end, needs: group.head().needs, indexed: index(&group) });
            Ok(())
        })?;
        Ok::<(Scan, Vec<Replayed>), Error>((scan, groups))
    };
    let (scans, contents): (Vec<Scan>, Vec<_>) = tasks::shared(threads, left.len(), &|| (), &read)?.into_iter().unzip();
    for scan in &scans {
        known = known.or_later(scan.known).or_later(scan.known_beyond);
    }
    if known.entry > keyring {
        return Err(Error::new(
            ErrorKind::KeyUnavailable,
            "the keyring is older than the journal: entries that were durable are missing",
        )
        .hint("it was rolled back or restored; bring back the newest copy or mirror of the keyring"));
    }
    let (older, ours) = scans.split_at(scans.partition_point(|scan| scan.head.file < copies));
    older.iter().try_for_each(|scan| scan.judge(Position::default()))?;
    journal::judge(ours, known.journal)?;
    let mut found = Leftovers::default();
    let mut cut = false;
    for (((number, path), scan), groups) in left.iter().zip(scans).zip(contents) {
        let mut is_torn = false;
        if let Tail::Torn { bytes, .. } = scan.tail {
            report.journal_bytes_cut += bytes;
            is_torn = true;
        }
        let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("open a journal file", path, error))?;
        let file = JournalFile::new(*number, path.clone(), file, scan.head.opening, scan.head.salt);
        for group in groups {
            // What needs more than the keyring has was never acknowledged, and nothing after it either.
            cut |= group.needs > keyring;
            if cut {
                report.groups_cut += 1;
                is_torn = true;
                continue;
            }
            report.records_recovered += group.indexed.frames.len() as u64;
            file.index(group.start, group.end, &group.indexed);
        }
        let file = Arc::new(file);
        found.torn.extend(is_torn.then(|| file.clone()));
        found.files.push(file);
    }
    Ok(found)
}

/// A group as the index takes it in.
pub fn index(group: &GroupView<'_>) -> Indexed {
    let mut indexed = Indexed::default();
    for run in group.runs() {
        let head = run.head;
        let totals = Totals {
            records: head.count.into(),
            chunks: run.frames().filter(|(_, frame)| frame.head().kind == FrameKind::Chunk).count() as u64,
            raw_bytes: head.raw_bytes,
            frame_bytes: head.frame_bytes,
            span: Some((head.first_day, head.last_day)),
        };
        indexed.totals.push((head.partition, totals));
        for (offset, frame) in run.frames() {
            let place = Place { offset, length: frame.length() as u32 };
            indexed.frames.push((frame.head().handle, place));
        }
    }
    indexed.sources.extend(group.sources().map(|mark| (mark.tag, mark.offset)));
    indexed
}
