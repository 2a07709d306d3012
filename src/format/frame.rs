//! A frame: one encrypted record (or another kind of entry) with what is needed to find, check and move it without a
//! key. Their associated data names neither file nor offset. In a segment a frame leaves out what the one before it, of the
//! same cell, has said; what is sealed, and the checksum over the whole, are the same everywhere.

use std::ops::Range;

use super::bytes::{Malformed, Reader, Writer};
use super::plain::Plain;
use crate::crypto::{NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{Handle, PartitionNumber, Salt, StoreId};

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

/// In a segment, what a frame has in common with the one before it, and leaves out, stands above its kind.
const KIND_BITS: u8 = 7;
const SAME_RANDOM: u8 = 8;
const SAME_DICTIONARY: u8 = 16;
const SAME_OPENING: u8 = 32;
const SAME_HANDLE: u8 = 64;
const SAME: u8 = SAME_HANDLE | SAME_OPENING | SAME_DICTIONARY | SAME_RANDOM;
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

    /// The same in a segment, where the frame before it was `before`. No more than [`FRAME_HEADER_BYTES`] are looked at.
    ///
    /// # Errors
    /// [`Malformed`] where the header is not whole, or a field is out of bounds.
    pub fn peek_stored(before: Option<&FrameHead>, bytes: &[u8]) -> Result<(Self, u32), Malformed> {
        let (head, header, sealed) = Self::decode_stored(before, bytes)?;
        Ok((head, (header + sealed) as u32))
    }

    /// What segments are sorted by.
    pub fn key(&self) -> FrameKey {
        FrameKey { handle: self.handle, opening: self.opening, sequence: self.sequence }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.take(KIND)?;
        let kind = FrameKind::from_code(reader.u8()?).ok_or(Malformed("the kind of a frame is unknown"))?;
        let flags = reader.u8()?;
        if flags != 0 {
            return Err(Malformed("the flags of a frame are unknown"));
        }
        let (opening, sequence, random) = (reader.u32()?, take_sequence(&mut reader)?, reader.array()?);
        let (handle, dictionary) = (Handle::from_bytes(reader.array()?), reader.u32()?);
        Ok(FrameHead { kind, flags, opening, sequence, random, handle, dictionary })
    }

    /// The head of a frame of a segment, the length of its header and that of what is sealed.
    fn decode_stored(before: Option<&FrameHead>, bytes: &[u8]) -> Result<(Self, usize, usize), Malformed> {
        let mut reader = Reader::new(bytes);
        reader.u32()?;
        let what = reader.u8()?;
        let kind = FrameKind::from_code(what & KIND_BITS).ok_or(Malformed("the kind of a frame is unknown"))?;
        if what & !(KIND_BITS | SAME) != 0 || (what & SAME != 0 && what & SAME_HANDLE == 0) {
            return Err(Malformed("the flags of a frame are unknown"));
        }
        let same = |bit: u8| match what & bit != 0 {
            true => before.map(Some).ok_or(Malformed("a frame leaves out what none before it says")),
            false => Ok(None),
        };
        let sealed = reader.short_u32()? as usize;
        if !(TAG_BYTES..=FRAME_LIMIT - FRAME_HEADER_BYTES).contains(&sealed) {
            return Err(Malformed("the length of a frame is out of bounds"));
        }
        let (opening, sequence) = match same(SAME_OPENING)? {
            Some(before) => {
                let next = before.sequence.checked_add(reader.short()?).filter(|next| *next < SEQUENCE_LIMIT);
                (before.opening, next.ok_or(Malformed("the sequence of a frame is out of bounds"))?)
            }
            None => (reader.u32()?, take_sequence(&mut reader)?),
        };
        let random = same(SAME_RANDOM)?.map_or_else(|| reader.array(), |before| Ok(before.random))?;
        let handle = same(SAME_HANDLE)?.map_or_else(|| reader.array(), |before| Ok(*before.handle.as_bytes()))?;
        let dictionary = same(SAME_DICTIONARY)?.map_or_else(|| reader.u32(), |before| Ok(before.dictionary))?;
        let handle = Handle::from_bytes(handle);
        let header = bytes.len() - reader.rest().len();
        Ok((FrameHead { kind, flags: 0, opening, sequence, random, handle, dictionary }, header, sealed))
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

fn take_sequence(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let [a, b, c, d, e, f] = reader.array()?;
    Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
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
        let mut reader = Reader::new(bytes);
        reader.u32()?;
        let length = reader.u32()? as usize;
        match (FRAME_OVERHEAD..=FRAME_LIMIT).contains(&length) {
            true => Ok(length),
            false => Err(Malformed("the length of a frame is out of bounds")),
        }
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
    pub fn parse_stored(before: Option<&FrameHead>, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (head, header, sealed) = FrameHead::decode_stored(before, bytes)?;
        Self::checked(head, header, sealed, bytes)
    }

    /// The same where the head is known, as of a frame that was found by [`FrameHead::peek_stored`].
    ///
    /// # Errors
    /// As [`FrameView::parse`].
    pub fn parse_known(head: &FrameHead, bytes: &'a [u8]) -> Result<Self, Malformed> {
        // Whatever it leaves out is in the head, and the checksum covers all of that.
        let before = FrameHead { sequence: 0, ..*head };
        let (_, header, sealed) = FrameHead::decode_stored(Some(&before), bytes)?;
        Self::checked(*head, header, sealed, bytes)
    }

    fn checked(head: FrameHead, header: usize, sealed: usize, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = bytes.get(..header + sealed).ok_or(Malformed("a frame ends too early"))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head.encode((FRAME_HEADER_BYTES + sealed) as u32)[LENGTH.start..]);
        hasher.update(&bytes[header..]);
        match hasher.finalize().to_le_bytes() == bytes[CRC] {
            true => Ok(FrameView { bytes, head, header }),
            false => Err(Malformed("the checksum of a frame is wrong")),
        }
    }

    /// The frame that `bytes` are, exactly, its checksum having been checked before.
    fn parse_checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Ok(FrameView { bytes, head: FrameHead::decode(bytes)?, header: FRAME_HEADER_BYTES })
    }

    /// The frame of this head, of which `sealed` is kept: its checksum has been checked before. Its length is that of what is
    /// sealed.
    pub fn known(head: FrameHead, sealed: &'a [u8]) -> Self {
        FrameView { bytes: sealed, head, header: 0 }
    }

    /// The frame at the front of `bytes`, whose checksum has been checked before; what follows it is left alone.
    ///
    /// # Errors
    /// [`Malformed`] where there is none.
    pub fn again(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let length = Self::peek_length(bytes)?;
        Self::parse_checked(bytes.get(..length).ok_or(Malformed("a frame ends too early"))?)
    }

    /// Appends its header as it stands in a segment behind the frame `before` of the same cell, or as the first one of its
    /// cell. What is sealed follows.
    pub fn store_header(&self, before: Option<&FrameHead>, out: &mut Vec<u8>) {
        let head = &self.head;
        let before = before.filter(|before| before.handle == head.handle);
        let nearest = before.filter(|before| before.opening == head.opening && before.sequence < head.sequence);
        let bit = |bit: u8, is: bool| if is { bit } else { 0 };
        let what = bit(SAME_HANDLE, before.is_some())
            | bit(SAME_OPENING, nearest.is_some())
            | bit(SAME_RANDOM, before.is_some_and(|before| before.random == head.random))
            | bit(SAME_DICTIONARY, before.is_some_and(|before| before.dictionary == head.dictionary));
        out.put(&self.bytes[CRC]);
        out.put_u8(head.kind as u8 | what);
        out.put_short(self.sealed().len() as u64);
        match nearest {
            Some(before) => out.put_short(head.sequence - before.sequence),
            None => {
                out.put_u32(head.opening);
                out.put(&head.sequence.to_le_bytes()[..6]);
            }
        }
        if what & SAME_RANDOM == 0 {
            out.put(&head.random);
        }
        if what & SAME_HANDLE == 0 {
            out.put(head.handle.as_bytes());
        }
        if what & SAME_DICTIONARY == 0 {
            out.put_u32(head.dictionary);
        }
    }

    /// What follows its header: ciphertext and tag.
    pub fn sealed(&self) -> &'a [u8] {
        &self.bytes[self.header..]
    }

    /// All its bytes as they stand in a journal.
    #[cfg(test)]
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = self.head.encode((FRAME_HEADER_BYTES + self.sealed().len()) as u32).to_vec();
        whole[CRC].copy_from_slice(&self.bytes[CRC]);
        whole.extend_from_slice(self.sealed());
        whole
    }

    /// Its readable part.
    pub fn head(&self) -> &FrameHead {
        &self.head
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
        scratch.clear();
        scratch.extend_from_slice(self.ciphertext());
        self.decrypt(context, sealer, scratch)?;
        self.read(scratch)
    }

    /// Ciphertext, to be decrypted where it stands.
    pub fn ciphertext(&self) -> &'a [u8] {
        self.sealed().split_last_chunk::<TAG_BYTES>().map_or(&[], |(ciphertext, _)| ciphertext)
    }

    /// Decrypts `buffer`, which holds its ciphertext.
    ///
    /// # Errors
    /// [`Malformed`] where the key or the context is not the one it was sealed with.
    pub fn decrypt(&self, context: &FrameContext<'_>, sealer: &Sealer, buffer: &mut [u8]) -> Result<(), Malformed> {
        let tag = self.sealed().last_chunk::<TAG_BYTES>().ok_or(Malformed("a frame ends too early"))?;
        let opened = sealer.open(&self.head.nonce(), &self.head.associated(context), buffer, tag);
        opened.map_err(|_| Malformed("a frame does not open under the key of its cell"))
    }

    /// Reads its plaintext.
    ///
    /// # Errors
    /// [`Malformed`] where that makes no sense.
    pub fn read<'p>(&self, plain: &'p [u8]) -> Result<Plain<'p>, Malformed> {
        let plain = Plain::decode(plain)?;
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
            true => FrameView::parse_stored(self.before.as_ref(), rest),
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
