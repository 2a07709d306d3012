//! Parts of a customer's row as acts name them: days of a stream, what is kept of them and why, and what goes.

use super::super::bytes::{Malformed, Reader, Writer};
use super::act::{put_stream, take_day, take_stream, take_subject};
use super::fact::{put_many, take_many};
use crate::ident::{PartitionId, Stream, SubjectNumber};
use crate::window::{Day, Timestamp};

/// Days of one stream. A partition belongs to it whose window has any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The stream.
    pub stream: Stream,
    /// The first day.
    pub from: Day,
    /// The first day after it.
    pub until: Day,
}

impl Span {
    /// The days of a partition's window.
    pub fn of(partition: &PartitionId) -> Self {
        let (from, until) = (partition.window.first_day(), partition.window.end().day());
        Span { stream: partition.stream.clone(), from, until }
    }

    /// Whether a partition belongs to it.
    pub fn meets(&self, partition: &PartitionId) -> bool {
        let window = &partition.window;
        self.stream == partition.stream && self.from < window.end().day() && window.first_day() < self.until
    }

    /// Whether all days of a partition's window belong to it. Windows of another length, from before or after a change of the
    /// policy, may overlap.
    pub fn covers(&self, partition: &PartitionId) -> bool {
        let window = &partition.window;
        self.stream == partition.stream && self.from <= window.first_day() && window.end().day() <= self.until
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_stream(out, &self.stream);
        out.put_i32(self.from.number());
        out.put_i32(self.until.number());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let span = Span { stream: take_stream(from)?, from: take_day(from)?, until: take_day(from)? };
        match span.from < span.until {
            true => Ok(span),
            false => Err(Malformed("the days of a part end before they begin")),
        }
    }
}

/// The duty that keeps a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptDuty {
    /// None: a hold alone does.
    None,
    /// One that is over at this time, as far as was known.
    Until(Timestamp),
    /// One that runs from a fact which has not been reported.
    Open,
}

/// A part that an erasure leaves, for nobody but those who serve the duty or the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub span: Span,
    /// The duty that is over last in it.
    pub duty: KeptDuty,
    /// The numbers of the holds on it, ascending.
    pub holds: Vec<u64>,
}

impl Kept {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.span.encode(out);
        let (kind, until) = match self.duty {
            KeptDuty::None => (0, Timestamp::default()),
            KeptDuty::Until(until) => (1, until),
            KeptDuty::Open => (2, Timestamp::default()),
        };
        out.put_u8(kind);
        out.put_i64(until.as_micros());
        put_many(out, &self.holds, |out, hold| out.put_u64(*hold));
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let span = Span::decode(from)?;
        let (kind, until) = (from.u8()?, super::time(from.i64()?)?);
        let duty = match kind {
            0 if until.as_micros() == 0 => KeptDuty::None,
            1 => KeptDuty::Until(until),
            2 if until.as_micros() == 0 => KeptDuty::Open,
            _ => return Err(Malformed("a part is kept by an unknown duty")),
        };
        let holds = take_many(from, |from| from.u64())?;
        match holds.is_sorted_by(|a, b| a < b) && (duty != KeptDuty::None || !holds.is_empty()) {
            true => Ok(Kept { span, duty, holds }),
            false => Err(Malformed("a part is kept for no reason, or its holds are out of order")),
        }
    }
}

/// A part that goes when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// Which.
    pub span: Span,
    /// Whether all of it goes. Else what is restricted alone: what came after the erasure stays.
    pub all: bool,
}

impl Going {
    fn encode(&self, out: &mut Vec<u8>) {
        self.span.encode(out);
        out.put_u8(u8::from(self.all));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Going { span: Span::decode(from)?, all: super::act::flag(from)? })
    }
}

/// Customers, ascending, each with what is kept of them: nothing, where a hold stands that meets nothing for now.
pub type KeptRows = Vec<(SubjectNumber, Vec<Kept>)>;

/// Customers, ascending, each with something of them that goes.
pub type GoingRows = Vec<(SubjectNumber, Vec<Going>)>;

fn put_rows<T>(out: &mut Vec<u8>, rows: &[(SubjectNumber, Vec<T>)], put: impl Fn(&mut Vec<u8>, &T)) {
    put_many(out, rows, |out, (subject, parts)| {
        out.put(subject.as_bytes());
        put_many(out, parts, &put);
    });
}

fn take_rows<'a, T>(
    from: &mut Reader<'a>,
    take: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<(SubjectNumber, Vec<T>)>, Malformed> {
    let rows = take_many(from, |from| Ok((take_subject(from)?, take_many(from, &take)?)))?;
    match rows.is_sorted_by(|a, b| a.0 < b.0) {
        true => Ok(rows),
        false => Err(Malformed("the customers of an act are out of order")),
    }
}

pub(super) fn put_kept(out: &mut Vec<u8>, rows: &KeptRows) {
    put_rows(out, rows, |out, kept| kept.encode(out));
}

pub(super) fn take_kept(from: &mut Reader<'_>) -> Result<KeptRows, Malformed> {
    take_rows(from, Kept::decode)
}

pub(super) fn put_going(out: &mut Vec<u8>, rows: &GoingRows) {
    put_rows(out, rows, |out, going| going.encode(out));
}

pub(super) fn take_going(from: &mut Reader<'_>) -> Result<GoingRows, Malformed> {
    let rows = take_rows(from, Going::decode)?;
    match rows.iter().all(|(_, parts)| !parts.is_empty()) {
        true => Ok(rows),
        false => Err(Malformed("of a customer nothing goes")),
    }
}
