//! Body: one record's body as a stream, so that a recording of any length is read without being held.

use crate::sync::Arc;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::engine::catalog::Snapshot;
use crate::engine::large::Chunks;
use crate::engine::{Engine, lease};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::CHUNK_BYTES;
use crate::ident::{CustomerId, PartitionNumber, RecordId, SubjectNumber};
use crate::ops::timeline;
use crate::record::Stored;

enum Source {
    /// It came whole, and is here.
    Whole(Bytes),
    Chunks {
        chunks: Box<Chunks>,
        /// Keeps the files of the chunks from being unlinked.
        _snapshot: Snapshot,
    },
}

/// The body of one record, to be read from any place on. It holds one chunk (1 MiB) in memory.
///
/// It ends in [`ErrorKind::Erased`] once its customer was let go of or its partition has expired. Errors of [`Read`]
/// carry the store's [`Error`] inside.
pub struct Body {
    engine: Arc<Engine>,
    record: Stored,
    subject: SubjectNumber,
    partition: PartitionNumber,
    since: u64,
    /// Whether it is read because it is held, whatever has expired.
    held: bool,
    source: Source,
    /// The chunk read last, with its number.
    current: Option<(u64, Vec<u8>)>,
    position: u64,
}

/// The body of the record of `customer` with `id`; `held`, of one that a hold keeps, also where it has expired.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where a part of it cannot be found.
pub fn body(engine: &Arc<Engine>, customer: &CustomerId, id: RecordId, held: bool) -> Result<Option<Body>> {
    // What moves between finding the record and finding its chunks is found in the newer snapshot.
    let Some(found) = timeline::find(engine, customer, id, held)? else { return Ok(None) };
    let snapshot = engine.catalog.snapshot();
    let chunks = Chunks::find(engine, &snapshot, &found.entry, &found.hit)?;
    let partition = found.hit.partition.number;
    let record = found.hit.into_record(customer)?;
    let source = match chunks {
        None => Source::Whole(record.body.clone()),
        Some(chunks) => Source::Chunks { chunks: Box::new(chunks), _snapshot: snapshot },
    };
    let (engine, subject, since) = (engine.clone(), found.entry.subject, found.since);
    Ok(Some(Body { engine, record, subject, partition, since, held, source, current: None, position: 0 }))
}

impl Body {
    /// The record it belongs to. The body in it is empty where it is a large one.
    pub fn record(&self) -> &Stored {
        &self.record
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.record.length()
    }

    /// Copies what stands at `offset` to the front of `into`, and says how many bytes that were: none at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Erased`]; [`ErrorKind::Corrupt`] with file and offset where it is damaged.
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize> {
        lease::look(&self.engine)?;
        let fences = &self.engine.fences;
        let passed = timeline::check(&self.engine, &self.subject, self.partition, self.held);
        if let Err(erased) = passed.and_then(|()| fences.check_part(&self.subject, self.since)) {
            self.current = None;
            return Err(erased);
        }
        if into.is_empty() || offset >= self.length() {
            return Ok(0);
        }
        let (chunk, within) = match &mut self.source {
            Source::Whole(body) => (&body[..], offset as usize),
            Source::Chunks { chunks, .. } => {
                let index = offset / u64::from(CHUNK_BYTES);
                if self.current.as_ref().is_none_or(|(known, _)| *known != index) {
                    self.current = Some((index, chunks.read(&self.engine, index)?));
                }
                let chunk = self.current.as_ref().map_or(&[][..], |(_, chunk)| chunk);
                (chunk, (offset % u64::from(CHUNK_BYTES)) as usize)
            }
        };
        let count = into.len().min(chunk.len() - within);
        into[..count].copy_from_slice(&chunk[within..within + count]);
        Ok(count)
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, into).map_err(io::Error::other)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Body {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.length().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let before = || Error::new(ErrorKind::Invalid, "a place before the beginning of a body");
        self.position = place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, before()))?;
        Ok(self.position)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.length())
    }
}
