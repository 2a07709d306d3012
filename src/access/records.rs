//! What is read through somebody's rights: an end by erasure looks to most like the end of something that is not there.

use std::io::{self, Read, Seek, SeekFrom};

use crate::error::{Error, ErrorKind, Result};
use crate::record::Stored;
use crate::store::Body;

/// What may be told of an error.
pub(super) fn told(error: Error, discreet: bool) -> Error {
    match error.kind() == ErrorKind::Erased && discreet {
        true => Error::new(ErrorKind::NotFound, "the record is not there any more"),
        false => error,
    }
}

/// Records, in the order in which the store hands them out.
pub struct Records<I> {
    inner: Option<I>,
    discreet: bool,
}

impl<I> Records<I> {
    pub(super) fn of(inner: I, discreet: bool) -> Self {
        Records { inner: Some(inner), discreet }
    }

    pub(super) fn none() -> Self {
        Records { inner: None, discreet: true }
    }
}

impl<I: Iterator<Item = Result<Stored>>> Iterator for Records<I> {
    type Item = Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.inner.as_mut()?.next()?;
        Some(next.map_err(|error| told(error, self.discreet)))
    }
}

impl<I: std::fmt::Debug> std::fmt::Debug for Records<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner {
            Some(inner) => inner.fmt(f),
            None => f.write_str("Records(none)"),
        }
    }
}

/// The body of one record, to be read from any place on.
pub struct Recording {
    inner: Body,
    discreet: bool,
}

impl Recording {
    pub(super) fn of(inner: Body, discreet: bool) -> Self {
        Recording { inner, discreet }
    }

    /// The record it belongs to. The body in it is empty where it is a large one.
    pub fn record(&self) -> &Stored {
        self.inner.record()
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.inner.length()
    }

    /// Copies what stands at `offset` to the front of `into`, and says how many bytes that were: none at the end.
    ///
    /// # Errors
    /// As [`Body::read_at`]; what was erased meanwhile is to most [`ErrorKind::NotFound`].
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let discreet = self.discreet;
        self.inner.read_at(offset, into).map_err(|error| told(error, discreet))
    }
}

impl Read for Recording {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let position = self.inner.stream_position()?;
        let count = self.read_at(position, into).map_err(io::Error::other)?;
        self.inner.seek(SeekFrom::Current(count as i64))?;
        Ok(count)
    }
}

impl Seek for Recording {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({} bytes)", self.length())
    }
}
