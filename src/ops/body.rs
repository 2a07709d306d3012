//! Body: one record's body as a stream, so that a recording of any length is read without being held.

use crate::sync::Arc;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use regex::bytes::Regex;

use crate::engine::catalog::Snapshot;
use crate::engine::large::Chunks;
use crate::engine::visible::Sight;
use crate::engine::{Engine, lease};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::CHUNK_BYTES;
use crate::ident::{CustomerId, PartitionNumber, RecordId, SubjectNumber};
use crate::ops::{refresh, timeline};
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
    /// With whose eyes it is read.
    sight: Sight,
    source: Source,
    /// The chunk read last, with its number.
    current: Option<(u64, Vec<u8>)>,
    position: u64,
}

/// The body of the record of `customer` with `id`, where it may be seen.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where a part of it cannot be found.
pub fn body(engine: &Arc<Engine>, customer: &CustomerId, id: RecordId, sight: Sight) -> Result<Option<Body>> {
    let Some(found) = timeline::find(engine, customer, id, sight)? else { return Ok(None) };
    let (chunks, snapshot) = refresh::settled(engine, || {
        // What moves between finding the record and finding its chunks is found in the newer snapshot.
        let snapshot = engine.catalog.snapshot();
        Ok((Chunks::find(engine, &snapshot, &found.entry, &found.hit)?, snapshot))
    })?;
    let partition = found.hit.partition.number;
    let record = found.hit.into_record(customer)?;
    let source = match chunks {
        None => Source::Whole(record.body.clone()),
        Some(chunks) => Source::Chunks { chunks: Box::new(chunks), _snapshot: snapshot },
    };
    let (engine, subject, since) = (engine.clone(), found.entry.subject, found.since);
    Ok(Some(Body { engine, record, subject, partition, since, sight, source, current: None, position: 0 }))
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
        let passed = timeline::check(&self.engine, &self.subject, self.partition, self.sight);
        if let Err(erased) = passed.and_then(|()| fences.check_part(&self.subject, self.since)) {
            self.current = None;
            return Err(erased);
        }
        if into.is_empty() || offset >= self.length() {
            return Ok(0);
        }
        let (chunk, within) = match &self.source {
            Source::Whole(body) => (&body[..], offset as usize),
            Source::Chunks { .. } => {
                let index = offset / u64::from(CHUNK_BYTES);
                if self.current.as_ref().is_none_or(|(known, _)| *known != index) {
                    self.current = Some((index, self.chunk(index)?));
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

impl Body {
    /// A chunk from where it is now: a writer in another process may have moved it since it was found.
    fn chunk(&mut self, index: u64) -> Result<Vec<u8>> {
        loop {
            let Source::Chunks { chunks, .. } = &mut self.source else { return Ok(Vec::new()) };
            match chunks.read(&self.engine, index) {
                Err(error) if refresh::has_moved(&self.engine, &error)? => {
                    let again = body(&self.engine, &self.record.customer, self.record.id, self.sight)?;
                    self.source = again.ok_or_else(gone)?.source;
                }
                outcome => return outcome,
            }
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Erased, "what was being read has been erased or has expired")
}

/// Bytes of a large body that are searched at once, and of these the last ones that are searched again with what follows.
const SEARCHED: usize = 8 << 20;
const OVERLAP: usize = 1 << 20;

/// Whether a large body matches `pattern`. It is searched 8 MiB at a time, each time with the last 1 MiB of what was before: a
/// match that is longer than this may be missed where it lies across two pieces.
///
/// # Errors
/// As [`Body::read_at`].
pub fn matches(engine: &Arc<Engine>, stored: &Stored, sight: Sight, pattern: &Regex) -> Result<bool> {
    let mut body = body(engine, &stored.customer, stored.id, sight)?.ok_or_else(gone)?;
    let mut piece = vec![0; SEARCHED.min(usize::try_from(body.length()).unwrap_or(SEARCHED))];
    let (mut start, mut kept) = (0, 0);
    loop {
        let mut filled = kept;
        while filled < piece.len() {
            match body.read_at(start + filled as u64, &mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        let last = start + filled as u64 >= body.length();
        // Where a piece is cut is neither the beginning nor the end of the body.
        let from = usize::from(start > 0).min(filled);
        match pattern.find_at(&piece[..filled], from) {
            Some(found) if last || found.end() < filled => return Ok(true),
            _ if last => return Ok(false),
            _ => {}
        }
        kept = OVERLAP.min(filled);
        piece.copy_within(filled - kept..filled, 0);
        start += (filled - kept) as u64;
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
