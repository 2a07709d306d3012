//! Reading a journal file that somebody may have left in the middle of a write: its whole groups, and what comes after.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::decode_head;
use crate::env::{Env, OpenMode, ReadAhead};
use crate::error::{Error, Result};
use crate::format::bytes::Malformed;
use crate::format::bytes::is_zero;
use crate::format::group::{GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHead, GroupView};
use crate::format::journal::{JOURNAL_HEAD_BYTES, JournalHead};
use crate::format::position::{Known, Position};

pub(super) const PIECE: usize = 1 << 20;

/// Whether to trust what the system has cached of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As it is.
    Keep,
    /// Drop it first: after a crash, or a failed sync, it may show what never reached the disk.
    Drop,
}

/// What follows the last whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but zeros.
    Clean,
    /// Bytes that are no whole group.
    Torn {
        /// Where they begin.
        offset: u64,
        /// How many, trailing zeros left out.
        bytes: u64,
    },
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The file.
    pub path: PathBuf,
    /// Its head.
    pub head: JournalHead,
    /// Where its last whole group ends.
    pub valid_length: u64,
    /// How many whole groups it has.
    pub groups: u64,
    /// The highest that a whole group knew to be durable.
    pub known: Known,
    /// The same of the intact headers that lie beyond the last whole group.
    pub known_beyond: Known,
    /// What follows the last whole group.
    pub tail: Tail,
    /// What is wrong with the first bytes that are no whole group.
    why: Malformed,
    /// The highest offset known to be durable, for each journal file that a group names.
    floors: BTreeMap<u64, u64>,
}

impl Scan {
    /// The position after its last whole group.
    pub fn end(&self) -> Position {
        Position { file: self.head.file, offset: self.valid_length }
    }

    /// The highest offset in journal file `file` that this file's groups knew to be durable; zero where they name none.
    pub fn known_in(&self, file: u64) -> u64 {
        self.floors.get(&file).copied().unwrap_or(0)
    }

    /// Tells a torn tail, which was never acknowledged, from damage: `highest_known` is the highest position that
    /// anything else (another journal file, the ledger) knows to be durable.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] where something known to be durable is not among the whole groups.
    pub fn judge(&self, highest_known: Position) -> Result<()> {
        let floor = highest_known.max(self.known.journal).max(self.known_beyond.journal);
        let lost = match self.tail {
            Tail::Clean => floor.file == self.head.file && floor > self.end(),
            Tail::Torn { .. } => floor > self.end(),
        };
        if !lost {
            return Ok(());
        }
        let what = match self.tail {
            Tail::Clean => "the journal ends before commits that were durable",
            Tail::Torn { .. } => self.why.0,
        };
        Err(Error::corrupt(&self.path, self.valid_length, what)
            .hint("commits that were acknowledged are damaged: restore this file from a copy"))
    }

    fn learn(&mut self, known: Known) {
        let floor = self.floors.entry(known.journal.file).or_default();
        *floor = known.journal.offset.max(*floor);
    }
}

/// [`Scan::judge`] for all journal files of a store at once, each with what the others and `highest_known` know of it.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] for the first file of which something durable is missing.
pub fn judge(scans: &[Scan], highest_known: Position) -> Result<()> {
    let highest =
        scans.iter().flat_map(|scan| [scan.known.journal, scan.known_beyond.journal]).fold(highest_known, Ord::max);
    for scan in scans {
        let file = scan.head.file;
        let offset = scans.iter().map(|other| other.known_in(file)).max().unwrap_or(0);
        scan.judge(Position { file, offset })?;
        scan.judge(highest)?;
    }
    Ok(())
}

/// Reads a journal file from front to back, a group at a time, and hands each whole group to `visit` with its offset.
/// Memory is bounded by the longest group.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] where the head is damaged (it was durable before the file had its name);
/// [`crate::ErrorKind::Unsupported`] where it is of another version; the system's where it cannot be read, which is
/// never taken for the end; and those of `visit`.
pub fn scan(
    env: &dyn Env,
    path: &Path,
    cache: Cache,
    visit: &mut dyn FnMut(GroupView<'_>, u64) -> Result<()>,
) -> Result<Scan> {
    let failed = |error| Error::io("read the journal", path, error);
    let file = env.open(path, OpenMode::Read).map_err(failed)?;
    if cache == Cache::Drop {
        file.drop_cache();
    }
    let mut ahead = ReadAhead::new(file, PIECE).map_err(failed)?;
    let head = decode_head(path, ahead.get(0, JOURNAL_HEAD_BYTES).map_err(failed)?)?;
    let mut scan = Scan {
        path: path.to_path_buf(),
        head,
        valid_length: JOURNAL_HEAD_BYTES as u64,
        groups: 0,
        known: Known::default(),
        known_beyond: Known::default(),
        tail: Tail::Clean,
        why: Malformed("the journal is damaged"),
        floors: BTreeMap::new(),
    };
    loop {
        match group_at(&mut ahead, path, scan.valid_length)? {
            Ok(group) => {
                let offset = scan.valid_length;
                scan.known = scan.known.or_later(group.head().known);
                scan.learn(group.head().known);
                scan.valid_length += group.bytes().len() as u64;
                scan.groups += 1;
                visit(group, offset)?;
            }
            Err(why) => {
                scan.why = why;
                break;
            }
        }
    }
    look_beyond(&mut ahead, &mut scan)?;
    Ok(scan)
}

/// The group that begins at `offset`, or why there is none.
pub(super) fn group_at<'a>(
    ahead: &'a mut ReadAhead,
    path: &Path,
    offset: u64,
) -> Result<Result<GroupView<'a>, Malformed>> {
    let failed = |error| Error::io("read the journal", path, error);
    let Some(start) = ahead.get(offset, GROUP_HEADER_BYTES).map_err(failed)? else {
        return Ok(Err(Malformed("the journal ends in the middle of a group")));
    };
    let total = match GroupHead::peek(start) {
        Ok((_, total)) => total,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let Some(bytes) = ahead.get(offset, total).map_err(failed)? else {
        return Ok(Err(Malformed("the journal ends in the middle of a group")));
    };
    Ok(GroupView::parse(bytes).and_then(|group| at_its_place(group, offset)))
}

/// Hands the groups of a file that holds `bytes` to `visit`, in order, every checksum checked: from the one at `span.start` to
/// the first that ends at or beyond `span.end`. Where that ends.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] where one of them is not whole.
pub fn groups(path: &Path, bytes: &[u8], span: Range<u64>, visit: &mut dyn FnMut(GroupView<'_>)) -> Result<u64> {
    let mut offset = span.start.max(JOURNAL_HEAD_BYTES as u64);
    while offset < span.end {
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let group = GroupView::parse(rest).and_then(|group| at_its_place(group, offset));
        let group = group.map_err(|malformed| Error::corrupt(path, offset, malformed.0))?;
        offset += group.bytes().len() as u64;
        visit(group);
    }
    Ok(offset)
}

fn at_its_place(group: GroupView<'_>, offset: u64) -> Result<GroupView<'_>, Malformed> {
    match group.head().offset == offset {
        true => Ok(group),
        false => Err(Malformed("a group of the journal was written for another place")),
    }
}

/// Whether anything follows the last whole group, and what intact headers in it know.
fn look_beyond(ahead: &mut ReadAhead, scan: &mut Scan) -> Result<()> {
    let path = scan.path.clone();
    let failed = |error| Error::io("read the journal", &path, error);
    let mut last = None;
    let mut offset = scan.valid_length;
    while offset < ahead.length() {
        // Pieces overlap by three bytes, so that no magic is cut in two.
        let count = (ahead.length() - offset).min(PIECE as u64) as usize;
        let piece = ahead.get(offset, count).map_err(failed)?.unwrap_or_default();
        let found: Vec<u64> = match is_zero(piece) {
            true => Vec::new(),
            false => {
                last = piece.iter().rposition(|byte| *byte != 0).map(|at| offset + at as u64).or(last);
                (0u64..)
                    .zip(piece.windows(GROUP_MAGIC.len()))
                    .filter(|(_, bytes)| **bytes == GROUP_MAGIC)
                    .map(|(index, _)| offset + index)
                    .collect()
            }
        };
        for at in found {
            if let Some(known) = header_at(ahead, at).map_err(failed)? {
                scan.known_beyond = scan.known_beyond.or_later(known);
                scan.learn(known);
            }
        }
        offset += if count < PIECE { count } else { count - (GROUP_MAGIC.len() - 1) } as u64;
    }
    if let Some(last) = last {
        scan.tail = Tail::Torn { offset: scan.valid_length, bytes: last + 1 - scan.valid_length };
    }
    Ok(())
}

fn header_at(ahead: &mut ReadAhead, offset: u64) -> std::io::Result<Option<Known>> {
    let Some(Ok((header, _))) = ahead.get(offset, GROUP_HEADER_BYTES)?.map(GroupHead::peek) else { return Ok(None) };
    let head = ahead.get(offset, header)?.and_then(|bytes| GroupHead::decode(bytes).ok());
    Ok(head.filter(|head| head.offset == offset).map(|head| head.known))
}
