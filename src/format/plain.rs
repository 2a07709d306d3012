//! The plaintext of a record: what stands before its body, and the body.

use super::bytes::{Malformed, Reader, Writer};
use super::frame::{FrameHead, Origin, SEQUENCE_LIMIT};
use crate::ident::RecordId;
use crate::record::{BODY_LIMIT, BodyKind};
use crate::window::Timestamp;

/// The flags of a record, the first byte of its plaintext; the kind of its body stands above them.
const HAS_ID: u8 = 1;
const HAS_ORIGINAL: u8 = 2;
const COMPRESSED: u8 = 4;
const LARGE: u8 = 8;
const AMENDS: u8 = 16;
const CARRIED: u8 = 32;
const KIND_SHIFT: u32 = 6;

/// What stands before the body in a record's plaintext, never compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// When it happened.
    pub at: Timestamp,
    /// Length of the body as it came in, in bytes.
    pub raw_length: u32,
    /// How the body is to be understood.
    pub kind: BodyKind,
    /// The caller's id.
    pub id: Option<RecordId>,
    /// Which frame it was first, where it has been appended again.
    pub original: Option<Origin>,
    /// Whether the body is compressed.
    pub compressed: bool,
    /// Whether a [`super::manifest::Manifest`] stands in the body's place.
    pub large: bool,
    /// The id of the record that it amends; there in a frame of kind [`FrameKind::Amendment`] and no other.
    pub amends: Option<RecordId>,
    /// When it really happened, where it was carried forward: `at` is then the time of carrying.
    pub since: Option<Timestamp>,
}

impl Prefix {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |present: bool, flag: u8| if present { flag } else { 0 };
        out.put_u8(
            ((self.kind as u8) << KIND_SHIFT)
                | flag(self.id.is_some(), HAS_ID)
                | flag(self.original.is_some(), HAS_ORIGINAL)
                | flag(self.compressed, COMPRESSED)
                | flag(self.large, LARGE)
                | flag(self.amends.is_some(), AMENDS)
                | flag(self.since.is_some(), CARRIED),
        );
        out.put_i64(self.at.as_micros());
        out.put_short(self.raw_length.into());
        if let Some(id) = &self.id {
            out.put(id.as_bytes());
        }
        if let Some(original) = &self.original {
            out.put_u32(original.opening);
            out.put_u64(original.sequence);
        }
        if let Some(amends) = &self.amends {
            out.put(amends.as_bytes());
        }
        if let Some(since) = self.since {
            out.put_i64(since.as_micros());
        }
    }

    /// Appends it and then the body that `write_body` appends, which says whether it compressed it. The prefix is
    /// marked after the fact, since only trying tells whether compression pays.
    pub fn encode_with(&self, out: &mut Vec<u8>, write_body: impl FnOnce(&mut Vec<u8>) -> bool) {
        let flags = out.len();
        Prefix { compressed: false, ..*self }.encode(out);
        if write_body(out) {
            out[flags] |= COMPRESSED;
        }
    }
}

/// The opened plaintext of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// When it happened.
    pub at: Timestamp,
    /// Length of the body as it came in, in bytes; at most [`BODY_LIMIT`].
    pub raw_length: u32,
    /// How the body is to be understood.
    pub kind: BodyKind,
    /// The caller's id.
    pub id: Option<RecordId>,
    /// Which frame it was first, where it has been appended again.
    pub original: Option<Origin>,
    /// Whether the body is compressed.
    pub compressed: bool,
    /// Whether a [`super::manifest::Manifest`] stands in the body's place.
    pub large: bool,
    /// The id of the record that it amends.
    pub amends: Option<RecordId>,
    /// When it really happened, where it was carried forward.
    pub since: Option<Timestamp>,
    /// The body as stored.
    pub body: &'a [u8],
}

impl<'a> Plain<'a> {
    /// Reads a plaintext.
    ///
    /// # Errors
    /// [`Malformed`] where a field is out of bounds or the body is not as long as promised.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let kind = BodyKind::from_code(flags >> KIND_SHIFT).ok_or(Malformed("the kind of a body is unknown"))?;
        let at = take_time(&mut reader)?;
        let raw_length = reader.short_u32()?;
        if raw_length as usize > BODY_LIMIT {
            return Err(Malformed("the body of a record is longer than the limit"));
        }
        let id = if flags & HAS_ID != 0 { Some(RecordId::from_bytes(reader.array()?)) } else { None };
        let original = match flags & HAS_ORIGINAL != 0 {
            true => Some(Origin { opening: reader.u32()?, sequence: reader.u64()? }),
            false => None,
        };
        if original.is_some_and(|original| original.sequence >= SEQUENCE_LIMIT) {
            return Err(Malformed("the sequence of an original is out of bounds"));
        }
        let amends = if flags & AMENDS != 0 { Some(RecordId::from_bytes(reader.array()?)) } else { None };
        let since = if flags & CARRIED != 0 { Some(take_time(&mut reader)?) } else { None };
        let (compressed, large) = (flags & COMPRESSED != 0, flags & LARGE != 0);
        let body = reader.rest();
        match compressed || body.len() == raw_length as usize {
            true => Ok(Plain { at, raw_length, kind, id, original, compressed, large, amends, since, body }),
            false => Err(Malformed("the body of a record is not as long as promised")),
        }
    }

    /// The record's id, `frame` being the frame it was read from: the caller's, or the one that the store gave when it
    /// was first appended.
    pub fn record_id(&self, frame: &FrameHead) -> RecordId {
        let origin = self.origin(frame);
        self.id.unwrap_or_else(|| RecordId::given(origin.opening, origin.sequence))
    }

    /// Its place in the order of writing: that of its first appending.
    pub fn origin(&self, frame: &FrameHead) -> Origin {
        self.original.unwrap_or(Origin { opening: frame.opening, sequence: frame.sequence })
    }
}

fn take_time(reader: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    let micros = reader.i64()?;
    let at = Timestamp::from_micros(micros);
    match at.as_micros() == micros {
        true => Ok(at),
        false => Err(Malformed("the time of a record is out of bounds")),
    }
}
