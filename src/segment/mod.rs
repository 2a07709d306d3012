//! Segments: immutable files of one partition, sorted by handle, with an index at the end. Owns the files of
//! `segments/`: writing, finding, merging, verifying and rebuilding them. It is handed handles, never keys, and never
//! decides whether a segment is visible: the ledger does.

mod cursor;
mod heads;
mod index;
mod merge;
mod read;
mod rebuild;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod verify;
mod write;

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::format::journal::Unreadable;
use crate::ident::PartitionId;

pub use merge::{merge, merged_salts};
pub use read::{Run, Segment};
pub use rebuild::{Contents, rebuild, restored_hash};
pub use verify::verify;
pub use write::{SegmentSummary, SegmentWriter, Written, publish};

const SUFFIX: &str = ".seg";

/// The directory of a partition's segments, in the store's data directory `root`.
pub fn directory(root: &Path, id: &PartitionId) -> PathBuf {
    let mut dir = root.join("segments");
    dir.push(id.stream.class());
    dir.push(id.stream.jurisdiction());
    dir.push(id.window.to_string());
    dir
}

/// The path of a segment, in the store's data directory `root`.
pub fn path(root: &Path, id: &PartitionId, number: u64) -> PathBuf {
    directory(root, id).join(format!("{number:010}{SUFFIX}"))
}

/// The number of the segment with this name; `None` for any other file.
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (format!("{number:010}") == digits).then_some(number)
}

fn unreadable(path: &Path, unreadable: Unreadable) -> Error {
    match unreadable {
        Unreadable::Malformed(malformed) => Error::corrupt(path, 0, malformed.0),
        Unreadable::Version(version) => {
            Error::new(ErrorKind::Unsupported, format!("the segment has version {version} of the format"))
                .in_file(path)
                .hint("open the store with the newer version that wrote it")
        }
    }
}

fn unread(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(path, 0, "the segment is shorter than it was"),
        _ => Error::io("read a segment", path, error),
    }
}
