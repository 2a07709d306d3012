//! Replaying the journal files that an earlier opening left behind: what was, or may have been, acknowledged is
//! indexed; a torn tail, and groups whose keys never became durable, are cut and counted; damage before that is an error.

use crate::sync::Arc;
use std::path::{Path, PathBuf};

use super::catalog::{Indexed, JournalFile, Place, Totals};
use crate::env::{Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameKind;
use crate::format::group::GroupView;
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

/// Reads the journal files that were left behind and indexes what was, or may have been, acknowledged. Files below number
/// `copies` may be copies made at any time: each is judged by what it says itself.
pub fn replay(
    env: &Arc<dyn Env>,
    left: &[(u64, PathBuf)],
    copies: u64,
    mut known: Known,
    keyring: u64,
    report: &mut Recovery,
) -> Result<Vec<Arc<JournalFile>>> {
    let mut scans: Vec<Scan> = Vec::new();
    let mut contents: Vec<Vec<Replayed>> = Vec::new();
    for (_, path) in left {
        let mut groups = Vec::new();
        let scan = journal::scan(&**env, path, Cache::Drop, &mut |group: GroupView<'_>, start| {
            let end = start + group.head().total_length as u64;
            groups.push(Replayed { start, end, needs: group.head().needs, indexed: index(&group) });
            Ok(())
        })?;
        known = known.or_later(scan.known).or_later(scan.known_beyond);
        scans.push(scan);
        contents.push(groups);
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
    let mut files = Vec::new();
    let mut cut = false;
    for (((number, path), scan), groups) in left.iter().zip(scans).zip(contents) {
        if let Tail::Torn { bytes, .. } = scan.tail {
            report.journal_bytes_cut += bytes;
        }
        let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("open a journal file", path, error))?;
        let file = JournalFile::new(*number, path.clone(), file, scan.head.opening, scan.head.salt);
        for group in groups {
            // What needs more than the keyring has was never acknowledged, and nothing after it either.
            cut |= group.needs > keyring;
            if cut {
                report.groups_cut += 1;
                continue;
            }
            report.records_recovered += group.indexed.frames.len() as u64;
            file.index(group.start, group.end, &group.indexed);
        }
        files.push(Arc::new(file));
    }
    Ok(files)
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
