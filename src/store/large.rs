//! Large bodies: recordings and the like, which stream in and out.

use std::io;

use super::{Commit, Store};
use crate::engine::visible::Sight;
use crate::error::Result;
use crate::ident::{CustomerId, RecordId};
use crate::ops::{self, body::Body};
use crate::record::{Record, SourceOffset};

impl Store {
    /// Begins a record whose body, of up to 4 GiB, is written to what comes back, in pieces of any size. Nothing of it
    /// is read before [`Upload::finish`] has made it whole. `record` itself has an empty body; its kind, time and id
    /// count.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = tenure::Store::options("calls").open()?;
    /// let record = tenure::Record::new("c-17", "recording", "EU", "2026-03-01T09:30:00Z".parse()?, "")?;
    /// let mut upload = store.upload(record)?;
    /// std::io::copy(&mut std::fs::File::open("call.wav")?, &mut upload)?;
    /// let (id, commit) = upload.finish()?;
    /// commit.wait()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] where the record may not come in; [`crate::ErrorKind::Invalid`] where it has a body
    /// already. A record without a class is shown to the store's classifier as it is, before its body comes; the rules of the
    /// policy look into bodies, so that whoever has the body, or its beginning, asks [`Store::classify`] first.
    pub fn upload(&self, mut record: Record) -> Result<Upload> {
        ops::classify::by_classifier(&mut record, self.0.classifier.as_deref());
        Ok(Upload { store: self.clone(), source: None, inner: ops::upload::upload(&self.0.engine, record)? })
    }

    /// Gives a record without a class the one that the rules of the policy tell from its body, or else the classifier; whether
    /// it has one then. [`Store::append`] does so by itself, [`Store::upload`] cannot.
    pub fn classify(&self, record: &mut Record) -> bool {
        ops::classify::classify(&self.0.engine, std::slice::from_mut(record), self.0.classifier.as_deref());
        record.stream.is_classed()
    }

    /// The body of the record of `customer` with `id`, large or not, to be read as a stream or from any place on.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub fn body(&self, customer: &str, id: RecordId) -> Result<Option<Body>> {
        ops::body::body(self.current()?, &CustomerId::new(customer)?, id, Sight::Ordinary)
    }

    /// The same of a record that a hold keeps, also where it has expired and [`Store::held`] alone shows it.
    ///
    /// # Errors
    /// As [`Store::body`].
    pub fn held_body(&self, customer: &str, id: RecordId) -> Result<Option<Body>> {
        ops::body::body(self.current()?, &CustomerId::new(customer)?, id, Sight::Held)
    }

    /// The same of a record that an erasure has left and [`Store::restricted`] alone shows.
    ///
    /// # Errors
    /// As [`Store::body`].
    pub fn restricted_body(&self, customer: &str, id: RecordId) -> Result<Option<Body>> {
        ops::body::body(self.current()?, &CustomerId::new(customer)?, id, Sight::Restricted)
    }
}

/// A large body on its way in: whatever is written to it, in pieces of any size, until [`Upload::finish`].
///
/// It holds a few MiB in memory, whatever the length. What was written before a crash, or before it is dropped, is never
/// read and goes with its partition. Errors of [`io::Write`] carry the [`crate::Error`] inside.
pub struct Upload {
    store: Store,
    source: Option<SourceOffset>,
    inner: ops::upload::Upload,
}

impl Upload {
    /// Bytes taken in so far.
    pub fn length(&self) -> u64 {
        self.inner.length()
    }

    /// Appends to the body.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where the body becomes longer than 4 GiB; [`crate::ErrorKind::Refused`] where its
    /// record may not come in any more; [`crate::ErrorKind::Erased`] where its customer was let go of meanwhile; what
    /// a commit answers. None of them can be made good by calling again: every later call, [`Upload::finish`] too,
    /// answers the same, and the body is uploaded anew.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.add(bytes)
    }

    /// The same upload with the offset of its source, durable in the same commit as the record.
    pub fn with_source(self, name: impl Into<String>, offset: u64) -> Self {
        Upload { source: Some(SourceOffset { name: name.into(), offset }), ..self }
    }

    /// Makes the record whole, and says what its id is. It is durable, with all of its body, once [`Commit::wait`]
    /// returns.
    ///
    /// # Errors
    /// As [`Upload::add`].
    pub fn finish(self) -> Result<(RecordId, Commit)> {
        let (id, ticket) = self.inner.finish(self.source.as_ref())?;
        Ok((id, self.store.queued(ticket)))
    }
}

impl io::Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.add(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    /// Nothing to do: the body becomes durable as a whole, by [`Upload::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({} bytes)", self.length())
    }
}
