//! What callers hand in and get back.

use std::fmt;

use bytes::Bytes;

use crate::error::Result;
use crate::ident::{CustomerId, RecordId, Stream};
use crate::window::Timestamp;

/// The longest body of a record that is appended whole, in bytes. Longer ones go through [`crate::Store::upload`].
pub const BODY_LIMIT: usize = 16 << 20;

/// How a body came in, and so how it is printed again. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BodyKind {
    /// A JSON value, kept byte for byte.
    Json = 1,
    /// Text in UTF-8.
    Text = 2,
    /// Any bytes.
    Bytes = 3,
}

impl BodyKind {
    /// From its number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(BodyKind::Json),
            2 => Some(BodyKind::Text),
            3 => Some(BodyKind::Bytes),
            _ => None,
        }
    }
}

/// One interaction. `Debug` shows neither customer nor body.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Who it is about.
    pub customer: CustomerId,
    /// What kind of data under whose law. The class may be left to the store: see [`Record::unclassed`].
    pub stream: Stream,
    /// When it happened.
    pub at: Timestamp,
    /// How the body is to be understood.
    pub kind: BodyKind,
    /// The body; at most [`BODY_LIMIT`] bytes.
    pub body: Bytes,
    /// The caller's id, or none: then the store gives one.
    pub id: Option<RecordId>,
}

impl Record {
    /// A record of bytes. The customer, class and jurisdiction are checked.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the field.
    pub fn new(customer: &str, class: &str, jurisdiction: &str, at: Timestamp, body: impl Into<Bytes>) -> Result<Self> {
        Ok(Record {
            customer: CustomerId::new(customer)?,
            stream: Stream::new(class, jurisdiction)?,
            at,
            kind: BodyKind::Bytes,
            body: body.into(),
            id: None,
        })
    }

    /// A record of bytes that arrives without a class: rules of the policy give it one, or the [`Classifier`] of the
    /// store. Where neither does it is refused, with [`crate::RefusalReason::Unclassed`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the field.
    pub fn unclassed(customer: &str, jurisdiction: &str, at: Timestamp, body: impl Into<Bytes>) -> Result<Self> {
        let stream = Stream::unclassed(jurisdiction)?;
        Ok(Record {
            customer: CustomerId::new(customer)?,
            stream,
            at,
            kind: BodyKind::Bytes,
            body: body.into(),
            id: None,
        })
    }

    /// The same record with the caller's id: sent twice, it is read back once.
    pub fn with_id(self, id: RecordId) -> Self {
        Record { id: Some(id), ..self }
    }

    /// The same record with its body marked as `kind`.
    pub fn with_kind(self, kind: BodyKind) -> Self {
        Record { kind, ..self }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {}, {} bytes)", self.stream, self.at, self.body.len())
    }
}

/// Tells the class of records that arrive without one and that no rule of the policy tells: an embedding service can ask a
/// model. It is called on the thread that appends, before anything is locked or written.
///
/// A record is found again under its stream. Where the same record can be sent twice, the answer had better be the same.
pub trait Classifier: fmt::Debug + Send + Sync {
    /// The class; none where it cannot be told, or an answer that is no class: the record is then refused.
    fn class(&self, record: &Record) -> Option<String>;
}

/// How far a source has been taken in: `name` is whatever tells sources apart (it is stored only as a keyed hash),
/// `offset` the position after the last record of the batch, in the caller's own unit.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceOffset {
    /// The name of the source.
    pub name: String,
    /// The position after the batch.
    pub offset: u64,
}

/// Records that become durable together or not at all, over any number of partitions.
#[derive(Clone, Default)]
pub struct Batch {
    /// The records, in the order in which the first written of two equals wins.
    pub records: Vec<Record>,
    /// How far their source has been taken in, written in the same commit.
    pub source: Option<SourceOffset>,
    /// Whether events from before a lapsed erasure may come in: for loading history on purpose.
    pub backfill: bool,
}

impl Batch {
    /// The same batch as a backfill: events from before a lapsed erasure may come in. Customers who were erased lately
    /// are refused all the same.
    pub fn backfill(self) -> Self {
        Batch { backfill: true, ..self }
    }

    /// The same batch with the offset of its source.
    pub fn with_source(self, name: impl Into<String>, offset: u64) -> Self {
        Batch { source: Some(SourceOffset { name: name.into(), offset }), ..self }
    }
}

impl<I: IntoIterator<Item = Record>> From<I> for Batch {
    fn from(records: I) -> Self {
        Batch { records: records.into_iter().collect(), source: None, backfill: false }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} records)", self.records.len())
    }
}

/// A record as it is read back: always with an id.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Who it is about.
    pub customer: CustomerId,
    /// What kind of data under whose law.
    pub stream: Stream,
    /// When it happened.
    pub at: Timestamp,
    /// How the body is to be understood.
    pub kind: BodyKind,
    /// The body, byte for byte as it came; empty for a large one.
    pub body: Bytes,
    /// The length in bytes of a large body, one that came through [`crate::Store::upload`]: it is read with
    /// [`crate::Store::body`].
    pub large: Option<u64>,
    /// The caller's id, or the one the store gave.
    pub id: RecordId,
    /// The record that this one amends and stands in the place of: see [`crate::Store::rectify`].
    pub amends: Option<RecordId>,
}

impl Stored {
    /// The length of the body in bytes, large or not.
    pub fn length(&self) -> u64 {
        self.large.unwrap_or(self.body.len() as u64)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({}, {}, {} bytes)", self.stream, self.at, self.length())
    }
}

/// A legal hold on a customer: what of it, and why. `Debug` shows neither matter nor reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// The matter it belongs to: a case, a request. 1 to 256 bytes.
    pub matter: String,
    /// Why. 1 to 4,096 bytes.
    pub reason: String,
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Only events at or after this time. What stands in the same window is kept beside them.
    pub from: Option<Timestamp>,
    /// Only events before this time. What stands in the same window is kept beside them.
    pub until: Option<Timestamp>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({:?}, from {:?} until {:?})", self.stream, self.from, self.until)
    }
}
