//! A frame: one encrypted record (or another kind of entry) with what is needed to find, check and move it without a
//! key. Their associated data names neither file nor offset. In a segment a frame leaves out what the one before it, of the
//! same cell, has said; what is sealed, and the checksum over the whole, are the same everywhere.

use std::ops::Range;

use super::bytes::{Malformed, Reader, Writer};
use crate::crypto::{NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{Handle, PartitionNumber, RecordId, Salt, StoreId};
use crate::record::{BODY_LIMIT, BodyKind};
use crate::window::Timestamp;

/// Bytes before the ciphertext.
pub const FRAME_HEADER_BYTES: usize = 46;
/// Bytes of a frame besides its ciphertext: header and tag.
pub const FRAME_OVERHEAD: usize = FRAME_HEADER_BYTES + TAG_BYTES;
/// The longest frame, in bytes: a body of 16 MiB and room around it.
pub const FRAME_LIMIT: usize = 17 << 20;
/// Sequences stay below this: they have 48 bits.
pub const SEQUENCE_LIMIT: u64 = 1 << 48;

/// The version of the format, as bound into every frame.
const VERSION: u16 = 0;
/// ChaCha20-Poly1305.
const SUITE: u8 = 1;
const ASSOCIATED_BYTES: usize = 77;

const CRC: Range<usize> = 0..4;
const LENGTH: Range<usize> = 4..8;
const KIND: usize = 8;
const FLAGS: usize = 9;
const OPENING: Range<usize> = 10..14;
const NONCE: Range<usize> = 14..26;
const HANDLE: Range<usize> = 26..42;
const DICTIONARY: Range<usize> = 42..46;

/// In a segment, bits of the length: what the frame has in common with the one before it, and leaves out.
const SAME_HANDLE: u32 = 1 << 31;
const SAME_OPENING: u32 = 1 << 30;
const SAME_DICTIONARY: u32 = 1 << 29;
const SAME: u32 = SAME_HANDLE | SAME_OPENING | SAME_DICTIONARY;
/// Bytes before the ciphertext of a frame that leaves out all it can.
pub const SHORT_HEADER_BYTES: usize = 21;

/// The flags of a record, the first byte of its plaintext; the kind of its body stands above them.
const HAS_ID: u8 = 1;
const HAS_ORIGINAL: u8 = 2;
const COMPRESSED: u8 = 4;
const LARGE: u8 = 8;
const AMENDS: u8 = 16;
const CARRIED: u8 = 32;
const KIND_SHIFT: u32 = 6;

/// What a frame carries. The numbers are on disk; zero is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// One record.
    Record = 1,
    /// A piece of a body that is too large for one frame.
    Chunk = 2,
    /// How far a source has been taken in.
    SourceOffset = 3,
    /// A record that corrects an earlier one.
    Amendment = 4,
    /// The mark that refuses an id that was redacted.
    Tombstone = 5,
}

impl FrameKind {
    /// From its number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(FrameKind::Record),
            2 => Some(FrameKind::Chunk),
            3 => Some(FrameKind::SourceOffset),
            4 => Some(FrameKind::Amendment),
            5 => Some(FrameKind::Tombstone),
            _ => None,
        }
    }
}

/// What every frame of a partition and opening shares, and is bound to without repeating it.
#[derive(Clone, Copy, Debug)]
pub struct FrameContext<'a> {
    /// The store.
    pub store: &'a StoreId,
    /// The partition.
    pub partition: PartitionNumber,
    /// The salt of the opening that wrote it.
    pub salt: &'a Salt,
}

/// The readable part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it carries.
    pub kind: FrameKind,
    /// Reserved: zero.
    pub flags: u8,
    /// The opening that wrote it.
    pub opening: u32,
    /// Its number within that opening, below [`SEQUENCE_LIMIT`]; the first half of the nonce.
    pub sequence: u64,
    /// The second half of the nonce, drawn for each batch and never kept between batches.
    pub random: [u8; 6],
    /// The cell it belongs to.
    pub handle: Handle,
    /// The dictionary its body was compressed with; zero is none.
    pub dictionary: u32,
}

impl FrameHead {
    /// The readable part of the frame beginning with `bytes`, and how long that frame claims to be. No checksum is
    /// checked: that takes the whole frame.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than [`FRAME_HEADER_BYTES`] are given, or a field is out of bounds.
    pub fn peek(bytes: &[u8]) -> Result<(Self, u32), Malformed> {
        let length = FrameView::peek_length(bytes)?;
        Ok((FrameView::parse_checked(bytes)?.head, length as u32))
    }

    /// The same in a segment, where the frame before it was `before`.
    ///
    /// # Errors
    /// As [`FrameHead::peek`].
    pub fn peek_after(before: Option<&FrameHead>, bytes: &[u8]) -> Result<(Self, u32), Malformed> {
        let (length, same) = stored_length(bytes)?;
        Ok((Self::decode(bytes, same, before)?.0, length as u32))
    }

    /// What segments are sorted by.
    pub fn key(&self) -> FrameKey {
        FrameKey { handle: self.handle, opening: self.opening, sequence: self.sequence }
    }

    /// Reads the header that `bytes` begin with, but for what is the `same` as `before`. Returns its length as well.
    fn decode(bytes: &[u8], same: u32, before: Option<&FrameHead>) -> Result<(Self, usize), Malformed> {
        let lone = Malformed("a frame leaves out what none before it says");
        let is = |what: u32| same & what != 0;
        let mut reader = Reader::new(bytes);
        reader.take(KIND)?;
        let kind = FrameKind::from_code(reader.u8()?).ok_or(Malformed("the kind of a frame is unknown"))?;
        let flags = if same == 0 { reader.u8()? } else { 0 };
        if flags != 0 {
            return Err(Malformed("the flags of a frame are unknown"));
        }
        let opening = if is(SAME_OPENING) { before.ok_or(lone)?.opening } else { reader.u32()? };
        let [a, b, c, d, e, f, random @ ..] = reader.array::<NONCE_BYTES>()?;
        let sequence = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let handle = if is(SAME_HANDLE) { before.ok_or(lone)?.handle } else { Handle::from_bytes(reader.array()?) };
        let dictionary = if is(SAME_DICTIONARY) { before.ok_or(lone)?.dictionary } else { reader.u32()? };
        let header = bytes.len() - reader.rest().len();
        Ok((FrameHead { kind, flags, opening, sequence, random, handle, dictionary }, header))
    }

    /// The whole header of a frame of `length` bytes, its checksum not yet in place.
    fn encode(&self, length: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut header = [0; FRAME_HEADER_BYTES];
        header[LENGTH].copy_from_slice(&length.to_le_bytes());
        header[KIND] = self.kind as u8;
        header[FLAGS] = self.flags;
        header[OPENING].copy_from_slice(&self.opening.to_le_bytes());
        header[NONCE].copy_from_slice(&self.nonce());
        header[HANDLE].copy_from_slice(self.handle.as_bytes());
        header[DICTIONARY].copy_from_slice(&self.dictionary.to_le_bytes());
        header
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..6].copy_from_slice(&self.sequence.to_le_bytes()[..6]);
        nonce[6..].copy_from_slice(&self.random);
        nonce
    }

    fn associated(&self, context: &FrameContext<'_>) -> [u8; ASSOCIATED_BYTES] {
        let mut bytes = [0; ASSOCIATED_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1] = SUITE;
        bytes[2..4].copy_from_slice(&VERSION.to_le_bytes());
        bytes[4..20].copy_from_slice(context.store.as_bytes());
        bytes[20..28].copy_from_slice(&context.partition.0.to_le_bytes());
        bytes[28..44].copy_from_slice(self.handle.as_bytes());
        bytes[44..48].copy_from_slice(&self.opening.to_le_bytes());
        bytes[48..64].copy_from_slice(context.salt.as_bytes());
        bytes[64..72].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.dictionary.to_le_bytes());
        bytes[76] = self.flags;
        bytes
    }
}

/// Appends a whole frame to `out` and says where it lies. `write_plain` appends the plaintext, which is encrypted where
/// it stands: nothing is copied.
///
/// # Errors
/// [`ErrorKind::Invalid`] where the frame would be longer than [`FRAME_LIMIT`]; `out` is then as before.
pub fn seal(
    out: &mut Vec<u8>,
    context: &FrameContext<'_>,
    sealer: &Sealer,
    head: &FrameHead,
    write_plain: impl FnOnce(&mut Vec<u8>),
) -> Result<Range<usize>> {
    assert!(head.sequence < SEQUENCE_LIMIT && head.flags == 0, "sequences have 48 bits, flags are reserved");
    let start = out.len();
    out.extend_from_slice(&head.encode(0));
    write_plain(out);
    let length = out.len() - start + TAG_BYTES;
    if length > FRAME_LIMIT {
        out.truncate(start);
        return Err(Error::new(ErrorKind::Invalid, "the record is longer than a frame may be"));
    }
    let tag = sealer.seal(&head.nonce(), &head.associated(context), &mut out[start + FRAME_HEADER_BYTES..]);
    out.extend_from_slice(&tag);
    let frame = &mut out[start..];
    frame[LENGTH].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = crc32fast::hash(&frame[LENGTH.start..]);
    frame[CRC].copy_from_slice(&crc.to_le_bytes());
    Ok(start..start + length)
}

/// The length in bytes of the frame beginning with `bytes` as it stands in a segment, within its bounds, and what it leaves
/// out. Nothing is checked yet.
fn stored_length(bytes: &[u8]) -> Result<(usize, u32), Malformed> {
    let mut reader = Reader::new(bytes);
    reader.u32()?;
    let field = reader.u32()?;
    let (length, same) = ((field & !SAME) as usize, field & SAME);
    let least = if same == 0 { FRAME_OVERHEAD } else { SHORT_HEADER_BYTES + TAG_BYTES };
    match (least..=FRAME_LIMIT).contains(&length) && (same == 0 || same & SAME_HANDLE != 0) {
        true => Ok((length, same)),
        false => Err(Malformed("the length of a frame is out of bounds")),
    }
}

/// A frame whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    bytes: &'a [u8],
    head: FrameHead,
    /// Where its ciphertext begins.
    header: usize,
}

impl<'a> FrameView<'a> {
    /// The length in bytes that the frame beginning with `bytes` claims, within its bounds. Nothing is checked yet.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than 8 bytes are given or no frame is that long.
    pub fn peek_length(bytes: &[u8]) -> Result<usize, Malformed> {
        match stored_length(bytes)? {
            (length, 0) => Ok(length),
            _ => Err(Malformed("the length of a frame is out of bounds")),
        }
    }

    /// The same in a segment.
    ///
    /// # Errors
    /// As [`FrameView::peek_length`].
    pub fn peek_stored_length(bytes: &[u8]) -> Result<usize, Malformed> {
        stored_length(bytes).map(|(length, _)| length)
    }

    /// The frame at the front of `bytes`; what follows it is left alone.
    ///
    /// # Errors
    /// [`Malformed`] where it ends too early, its checksum is wrong, or its kind or flags are unknown.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let length = Self::peek_length(bytes)?;
        let bytes = bytes.get(..length).ok_or(Malformed("a frame ends too early"))?;
        let mut reader = Reader::new(bytes);
        if reader.u32()? != crc32fast::hash(reader.rest()) {
            return Err(Malformed("the checksum of a frame is wrong"));
        }
        Self::parse_checked(bytes)
    }

    /// The same in a segment, where the frame before it was `before`, and what that says may be left out.
    ///
    /// # Errors
    /// As [`FrameView::parse`].
    pub fn parse_after(before: Option<&FrameHead>, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (length, same) = stored_length(bytes)?;
        if same == 0 {
            return Self::parse(bytes);
        }
        let bytes = bytes.get(..length).ok_or(Malformed("a frame ends too early"))?;
        let (head, header) = FrameHead::decode(bytes, same, before)?;
        let whole = length + FRAME_HEADER_BYTES - header;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head.encode(whole as u32)[LENGTH.start..]);
        hasher.update(&bytes[header..]);
        match hasher.finalize().to_le_bytes() == bytes[CRC] && (FRAME_OVERHEAD..=FRAME_LIMIT).contains(&whole) {
            true => Ok(FrameView { bytes, head, header }),
            false => Err(Malformed("the checksum of a frame is wrong")),
        }
    }

    /// The frame that `bytes` are, exactly, its checksum having been checked before.
    pub(super) fn parse_checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (head, header) = FrameHead::decode(bytes, 0, None)?;
        Ok(FrameView { bytes, head, header })
    }

    /// Hands `out` its bytes as they stand in a segment behind the frame `before` of the same cell, or as the first one of
    /// its cell; returns how many they are.
    pub fn store(&self, before: Option<&FrameHead>, mut out: impl FnMut(&[u8])) -> u64 {
        let (head, sealed) = (&self.head, &self.bytes[self.header..]);
        let mut header = head.encode((FRAME_HEADER_BYTES + sealed.len()) as u32);
        header[CRC].copy_from_slice(&self.bytes[CRC]);
        let mut end = FRAME_HEADER_BYTES;
        if let Some(before) = before.filter(|before| before.handle == head.handle) {
            let (whole, mut same) = (header, SAME_HANDLE);
            end = FLAGS;
            let mut keep = |field: Range<usize>| {
                header[end..end + field.len()].copy_from_slice(&whole[field.clone()]);
                end += field.len();
            };
            match before.opening == head.opening {
                true => same |= SAME_OPENING,
                false => keep(OPENING),
            }
            keep(NONCE);
            match before.dictionary == head.dictionary {
                true => same |= SAME_DICTIONARY,
                false => keep(DICTIONARY),
            }
            let length = (end + sealed.len()) as u32 | same;
            header[LENGTH].copy_from_slice(&length.to_le_bytes());
        }
        out(&header[..end]);
        out(sealed);
        (end + sealed.len()) as u64
    }

    /// Its readable part.
    pub fn head(&self) -> &FrameHead {
        &self.head
    }

    /// All its bytes, nothing left out.
    #[cfg(test)]
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        self.store(None, |bytes| whole.extend_from_slice(bytes));
        whole
    }

    /// Its length in bytes, as it stands where it was found.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// What segments are sorted by.
    pub fn key(&self) -> FrameKey {
        self.head.key()
    }

    /// Decrypts it into `scratch`, whose earlier contents are dropped.
    ///
    /// # Errors
    /// [`Malformed`] where the key or the context is not the one it was sealed with, or the plaintext makes no sense.
    pub fn open<'s>(
        &self,
        context: &FrameContext<'_>,
        sealer: &Sealer,
        scratch: &'s mut Vec<u8>,
    ) -> Result<Plain<'s>, Malformed> {
        let (ciphertext, tag) =
            self.bytes[self.header..].split_last_chunk::<TAG_BYTES>().ok_or(Malformed("a frame ends too early"))?;
        scratch.clear();
        scratch.extend_from_slice(ciphertext);
        sealer
            .open(&self.head.nonce(), &self.head.associated(context), scratch, tag)
            .map_err(|_| Malformed("a frame does not open under the key of its cell"))?;
        let plain = Plain::decode(scratch)?;
        match plain.amends.is_some() == (self.head.kind == FrameKind::Amendment) {
            true => Ok(plain),
            false => Err(Malformed("a record amends another, or does not, against the kind of its frame")),
        }
    }
}

/// What frames are sorted by in a segment: the cell, then the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    /// The cell.
    pub handle: Handle,
    /// The opening that wrote it.
    pub opening: u32,
    /// Its number within that opening.
    pub sequence: u64,
}

/// Opening and sequence: which frame it is, in the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The opening that wrote it.
    pub opening: u32,
    /// Its number within that opening.
    pub sequence: u64,
}

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
        out.put_short_u32(self.raw_length);
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

/// The frames in `bytes`, one after the other, each checked. Ends after the first that is damaged.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    /// In a segment, what the frame before says.
    before: Option<FrameHead>,
    in_segment: bool,
}

impl<'a> Frames<'a> {
    /// Reads frames from the front of `bytes` to its end.
    pub fn new(bytes: &'a [u8]) -> Self {
        Frames { bytes, offset: 0, before: None, in_segment: false }
    }

    /// The same in a segment, from the first frame of a cell on.
    pub fn in_segment(bytes: &'a [u8]) -> Self {
        Frames { in_segment: true, ..Frames::new(bytes) }
    }

    /// How far it has read, in bytes.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<FrameView<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return None;
        }
        let frame = match self.in_segment {
            true => FrameView::parse_after(self.before.as_ref(), rest),
            false => FrameView::parse(rest),
        };
        match &frame {
            Ok(frame) => {
                self.offset += frame.length();
                self.before = Some(frame.head);
            }
            Err(_) => self.bytes = &self.bytes[..self.offset],
        }
        Some(frame)
    }
}
