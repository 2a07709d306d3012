//! Making a segment anew from its frames, where its head, index or end is damaged.
//!
//! Everything else in a segment follows from its frames and from what the ledger says of it, but for the salts, which
//! stand both at its head and at its end. So what was damaged comes out byte for byte as it was, or is not touched.

use crate::sync::Arc;
use std::path::Path;

use super::cursor::Cursor;
use super::read::{read_end, read_head};
use super::{SegmentSummary, SegmentWriter, unread};
use crate::crypto::Digest;
use crate::env::{Env, OpenMode};
use crate::error::{Error, Result};
use crate::format::segment::SegmentHead;
use crate::ident::{PartitionId, PartitionNumber, StoreId};
use crate::window::Day;

const PIECE: usize = 1 << 20;

/// What the ledger knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The store.
    pub store: StoreId,
    /// The partition's number.
    pub partition: PartitionNumber,
    /// The partition's name.
    pub id: PartitionId,
    /// The number of the segment.
    pub number: u64,
    /// Frames.
    pub records: u64,
    /// Bytes of the bodies as they came in.
    pub raw_bytes: u64,
    /// The days of the earliest and the latest event.
    pub span: (Day, Day),
}

/// The hash that the segment at `path` would have if it were made anew from its frames: the one it was published with,
/// if nothing but its head, its index or its end is damaged. Writes nothing.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] with the offset of the first damaged frame, where there are not as many frames as
/// `contents` says, or where head and end are both damaged. The system's.
pub fn restored_hash(env: &Arc<dyn Env>, path: &Path, contents: &Contents) -> Result<Digest> {
    let (cursor, head) = begin(env, path, contents)?;
    Ok(copy(cursor, SegmentWriter::measure(head), contents)?.hash)
}

/// Writes the frames of the segment at `path` as the new segment `number` at `to`.
///
/// # Errors
/// As [`restored_hash`]; nothing has the name `to` then.
pub fn rebuild(env: &Arc<dyn Env>, path: &Path, contents: &Contents, to: &Path, number: u64) -> Result<SegmentSummary> {
    let (cursor, head) = begin(env, path, contents)?;
    copy(cursor, SegmentWriter::create(Arc::clone(env), to, SegmentHead { number, ..head })?, contents)
}

/// The head of the segment and a cursor at its first frame.
fn begin(env: &Arc<dyn Env>, path: &Path, contents: &Contents) -> Result<(Cursor, SegmentHead)> {
    let file = env.open(path, OpenMode::Read).map_err(|error| Error::io("open a segment", path, error))?;
    let length = file.len().map_err(unread(path))?;
    let end = read_end(&*file, path, length);
    let head = match (read_head(&*file, path, length), &end) {
        (Ok(head), _) => head,
        (Err(_), Ok((_, summary))) => SegmentHead {
            store: contents.store,
            partition: contents.partition,
            id: contents.id.clone(),
            number: contents.number,
            salts: summary.salts.clone(),
        },
        (Err(error), Err(_)) => return Err(error),
    };
    // Where the frames end is known only if the summary is intact; without it, the count tells.
    let past = end.map_or(length, |(_, summary)| summary.index_offset());
    let cursor = Cursor::new(file, path.to_path_buf(), (head.length() as u64, past), PIECE)?;
    Ok((cursor, head))
}

fn copy(mut cursor: Cursor, mut writer: SegmentWriter, contents: &Contents) -> Result<SegmentSummary> {
    push_all(&mut cursor, &mut writer, contents.records)?;
    writer.finish(contents.raw_bytes, contents.span)
}

fn push_all(cursor: &mut Cursor, writer: &mut SegmentWriter, records: u64) -> Result<()> {
    let mut copied = 0;
    while let Some(frame) = if copied < records { cursor.frame()? } else { None } {
        writer.push(&frame)?;
        cursor.skip();
        copied += 1;
    }
    // Beyond the last frame stands the index, which is no frame.
    match copied == records && !matches!(cursor.frame(), Ok(Some(_))) {
        true => Ok(()),
        false => Err(cursor.damaged("the segment does not have the frames that the ledger says")),
    }
}
