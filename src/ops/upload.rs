//! Upload: a body too long for one frame comes in piece by piece, and becomes a record when it is whole.

use crate::sync::Arc;

use crate::engine::large::{Chunk, PIECE_BYTES, Target};
use crate::engine::{Engine, housekeeping};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::{CHUNK_BYTES, LARGE_BODY_LIMIT, Manifest};
use crate::ident::RecordId;
use crate::record::{Record, SourceOffset};

/// A large body on its way in. It holds a few MiB in memory, whatever the length.
pub struct Upload {
    engine: Arc<Engine>,
    record: Record,
    target: Target,
    buffer: Vec<u8>,
    manifest: Manifest,
    /// The commit before the last: waited for before the next, so that two are on their way.
    earlier: u64,
    last: u64,
    /// What went wrong. How much came in before it the caller cannot know, so nothing follows it.
    failure: Option<Error>,
}

/// Begins an upload for `record`, whose own body is empty.
///
/// # Errors
/// [`ErrorKind::Refused`] where the record may not come in; [`ErrorKind::Invalid`] where it has a body already.
pub fn upload(engine: &Arc<Engine>, record: Record) -> Result<Upload> {
    let writer = engine.writer()?;
    writer.committer.check()?;
    if !record.body.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the record of an upload has a body already")
            .hint("give it an empty one and write the body to the upload"));
    }
    writer.ballast.require(&*engine.env)?;
    let policy = engine.policy();
    let passing = engine.pass()?;
    let target = engine.encoder(writer, &policy, engine.now()).target(&record).map_err(|error| {
        match record.stream.is_classed() {
            true => error,
            false => error.hint("name its class, or have `Store::classify` tell it from the body before the upload"),
        }
    })?;
    drop(passing);
    let (engine, manifest) = (engine.clone(), Manifest::default());
    Ok(Upload { engine, record, target, buffer: Vec::new(), manifest, earlier: 0, last: 0, failure: None })
}

impl Upload {
    /// Bytes taken in so far.
    pub fn length(&self) -> u64 {
        self.manifest.length + self.buffer.len() as u64
    }

    /// Appends to the body.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where the body becomes longer than 4 GiB or its record may not come in any more;
    /// [`ErrorKind::Erased`] where its customer was let go of meanwhile; what the commit answers. After any of them
    /// every later call answers the same.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let outcome = self.take(bytes);
        self.failure = outcome.as_ref().err().cloned();
        outcome
    }

    fn check(&self) -> Result<()> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.length().saturating_add(bytes.len() as u64) > LARGE_BODY_LIMIT {
            return Err(Error::new(ErrorKind::Invalid, "the body is longer than a record may hold (4 GiB)")
                .hint("divide it into several records"));
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PIECE_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Compresses and encrypts what is buffered and queues it, with at most two pieces on their way.
    fn send(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let writer = self.engine.writer()?;
        housekeeping::make_room(&self.engine, writer)?;
        let chunks: Vec<Chunk> = self.buffer.chunks(CHUNK_BYTES as usize).map(Chunk::new).collect();
        let policy = self.engine.policy();
        let passing = self.engine.pass()?;
        let encoder = self.engine.encoder(writer, &policy, self.engine.now());
        let (pending, first) = encoder.chunks(&self.record, &self.target, &chunks)?;
        let ticket = writer.committer.submit(pending)?;
        drop(passing);
        self.manifest.push(first, chunks.len() as u32);
        self.manifest.length += self.buffer.len() as u64;
        self.buffer.clear();
        if self.earlier != 0 {
            writer.committer.wait(self.earlier, &self.engine.tools(writer))?;
        }
        (self.earlier, self.last) = (self.last, ticket);
        Ok(())
    }

    /// Queues the rest and the record, with the offset of its source, and returns the record's id and ticket.
    ///
    /// # Errors
    /// As [`Upload::add`].
    pub fn finish(mut self, source: Option<&SourceOffset>) -> Result<(RecordId, u64)> {
        self.check()?;
        self.send()?;
        let writer = self.engine.writer()?;
        let policy = self.engine.policy();
        let passing = self.engine.pass()?;
        let encoder = self.engine.encoder(writer, &policy, self.engine.now());
        let (pending, id) = encoder.whole(&self.record, &self.target, &self.manifest, source)?;
        // Tickets become durable in their order, so the record never does before its chunks.
        let ticket = writer.committer.submit(pending)?;
        drop(passing);
        Ok((id, ticket))
    }
}
