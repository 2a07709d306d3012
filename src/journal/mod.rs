//! The journal: the files that commits go to, all partitions mixed. Owns the files of `journal/`: creating, appending,
//! scanning after a crash, following behind a living writer. It never decrypts, never decides what is visible, and
//! never appends to a file that it did not create.

mod follow;
mod scan;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

use crate::env::{self, Env, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::{FRAME_LIMIT, FRAME_OVERHEAD, FrameView};
use crate::format::journal::{JOURNAL_HEAD_BYTES, Unreadable};

pub use crate::format::journal::JournalHead;
pub use follow::Follower;
pub use scan::{Cache, Scan, Tail, groups, judge, scan};
pub use writer::JournalWriter;

/// A journal file is full once it is this long, in bytes; its last group may go beyond.
pub const JOURNAL_FULL: u64 = 64 << 20;
/// Or once it has so many frames: every one is in an index in memory, of which short records would make more than bodies.
/// With the last group, fewer than what a hash map of 131,072 places takes before it doubles, which is 114,688.
pub const FRAMES_FULL: usize = 100_000;

const SUFFIX: &str = ".journal";

/// The path of journal file `number` in the directory `dir`.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{SUFFIX}"))
}

/// The journal files in `dir`, oldest first. Other names are passed over.
///
/// # Errors
/// The system's.
pub fn list(env: &dyn Env, dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = env.list(dir).map_err(|error| Error::io("list the journal", dir, error))?;
    let numbers = entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| number(&entry.name));
    let mut files: Vec<_> = numbers.map(|number| (number, path(dir, number))).collect();
    files.sort_unstable();
    Ok(files)
}

/// The number of the journal file with this name; `None` for any other file.
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (format!("{number:010}") == digits).then_some(number)
}

/// One frame at `offset`, `length` bytes long, read into `buffer`, its checksum checked. `path` is for the error.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is damaged, [`ErrorKind::Io`] where it cannot be read.
pub fn read_frame<'b>(
    file: &dyn File,
    path: &Path,
    (offset, length): (u64, u32),
    buffer: &'b mut Vec<u8>,
) -> Result<FrameView<'b>> {
    let damaged = |what: &str| Error::corrupt(path, offset, what);
    let length = length as usize;
    if !(FRAME_OVERHEAD..=FRAME_LIMIT).contains(&length) {
        return Err(damaged("the length of a frame is out of bounds"));
    }
    buffer.resize(length, 0);
    env::read_exact_at(file, buffer, offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged("the file ends before the frame does"),
        _ => Error::io("read a frame of the journal", path, error),
    })?;
    let frame = FrameView::parse(buffer).map_err(|malformed| damaged(malformed.0))?;
    match frame.length() == length {
        true => Ok(frame),
        false => Err(damaged("a frame is not as long as it was")),
    }
}

fn decode_head(path: &Path, bytes: Option<&[u8]>) -> Result<JournalHead> {
    let bytes: &[u8; JOURNAL_HEAD_BYTES] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::corrupt(path, 0, "the file is shorter than the head of a journal file"))?;
    JournalHead::decode(bytes).map_err(|unreadable| match unreadable {
        Unreadable::Malformed(malformed) => Error::corrupt(path, 0, malformed.0),
        Unreadable::Version(version) => {
            Error::new(ErrorKind::Unsupported, format!("the journal file has version {version} of the format"))
                .in_file(path)
                .hint("open the store with the newer version that wrote it")
        }
    })
}
