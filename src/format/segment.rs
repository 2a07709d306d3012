//! A segment's bytes around its frames: head and salt table before them; index, sparse table, summary and trailer after.

use super::bytes::{Malformed, Reader, Writer};
use super::journal::Unreadable;
use crate::crypto::Digest;
use crate::ident::{Handle, LABEL_LIMIT, PartitionId, PartitionNumber, Salt, StoreId, Stream};
use crate::window::{Day, Window, WindowLength};

/// The first and the last eight bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"TNRSGMT\0";
/// Bytes of the head before the salt table.
pub const SEGMENT_HEAD_BYTES: usize = 120;
/// Bytes of one entry of the salt table.
pub const SALT_BYTES: usize = 20;
/// The most openings whose frames one segment holds.
pub const SALTS_LIMIT: usize = 65_536;
/// The most dictionaries that the frames of one segment name.
pub const DICTIONARIES_LIMIT: usize = 65_536;
/// Entries in a block of the index; only the last block has fewer.
pub const BLOCK_ENTRIES: usize = 64;
/// Bytes of the longest block of the index: where its first run begins, its entries and their checksum.
pub const BLOCK_LIMIT: usize = 8 + BLOCK_ENTRIES * (16 + 8 + 4) + 4;
/// Bytes of one entry of the sparse table.
pub const SPARSE_BYTES: usize = 16;
/// Bytes of the summary before its lists.
pub const SUMMARY_BYTES: usize = 88;
/// Bytes of the trailer, the last of the file.
pub const TRAILER_BYTES: usize = 56;

const VERSION: u16 = 0;
const HEAD_CRC_AT: usize = 116;

/// What a segment says of itself before its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The store.
    pub store: StoreId,
    /// The partition's number.
    pub partition: PartitionNumber,
    /// The partition's name.
    pub id: PartitionId,
    /// The number of the segment.
    pub number: u64,
    /// The salts of the openings that wrote its frames, ascending by opening.
    pub salts: Vec<(u32, Salt)>,
}

fn put_label(out: &mut Vec<u8>, label: &str) {
    let mut field = [0; LABEL_LIMIT];
    field[..label.len()].copy_from_slice(label.as_bytes());
    out.put(&field);
}

fn label(field: &[u8; LABEL_LIMIT]) -> Result<&str, Malformed> {
    let length = field.iter().position(|byte| *byte == 0).unwrap_or(LABEL_LIMIT);
    let (text, padding) = field.split_at(length);
    match padding.iter().all(|byte| *byte == 0) {
        true => std::str::from_utf8(text).map_err(|_| Malformed("a label of the segment is not UTF-8")),
        false => Err(Malformed("a label of the segment is not padded with zeros")),
    }
}

fn put_salts(out: &mut Vec<u8>, salts: &[(u32, Salt)]) {
    for (opening, salt) in salts {
        out.put_u32(*opening);
        out.put(salt.as_bytes());
    }
}

fn salts(reader: &mut Reader<'_>, count: usize) -> Result<Vec<(u32, Salt)>, Malformed> {
    if reader.rest().len() < count * SALT_BYTES {
        return Err(Malformed("the salts of the segment end too early"));
    }
    let mut salts: Vec<(u32, Salt)> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = (reader.u32()?, Salt::from_bytes(reader.array()?));
        if salts.last().is_some_and(|last| last.0 >= entry.0) {
            return Err(Malformed("the salts of the segment are not in order"));
        }
        salts.push(entry);
    }
    Ok(salts)
}

impl SegmentHead {
    /// Its bytes, salt table included.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        out.put(&SEGMENT_MAGIC);
        out.put_u16(VERSION);
        out.put_u8(self.id.window.length() as u8);
        out.put_u8(0);
        out.put_i32(self.id.window.first_day().number());
        out.put(self.store.as_bytes());
        out.put_u64(self.partition.0);
        out.put_u64(self.number);
        put_label(&mut out, self.id.stream.class());
        put_label(&mut out, self.id.stream.jurisdiction());
        out.put_u32(self.salts.len() as u32);
        out.put_u32(0);
        put_salts(&mut out, &self.salts);
        let crc = checksum(&out);
        out[HEAD_CRC_AT..SEGMENT_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Its length in bytes, salt table included: where the first frame begins.
    pub fn length(&self) -> usize {
        SEGMENT_HEAD_BYTES + self.salts.len() * SALT_BYTES
    }

    /// The length that the head beginning with these bytes claims, within its bounds. Nothing is checked yet.
    ///
    /// # Errors
    /// [`Malformed`] where it is no segment or claims too many salts.
    pub fn peek_length(bytes: &[u8; SEGMENT_HEAD_BYTES]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array::<8>()? != SEGMENT_MAGIC {
            return Err(Malformed("this is no segment"));
        }
        reader.take(HEAD_CRC_AT - 12)?;
        match reader.u32()? as usize {
            count @ ..=SALTS_LIMIT => Ok(SEGMENT_HEAD_BYTES + count * SALT_BYTES),
            _ => Err(Malformed("the segment claims too many salts")),
        }
    }

    /// Reads the head that `bytes` are, salt table included.
    ///
    /// # Errors
    /// [`Unreadable`]: damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let fixed = bytes.first_chunk().ok_or(Malformed("the head of the segment ends too early"))?;
        let bytes =
            bytes.get(..Self::peek_length(fixed)?).ok_or(Malformed("the head of the segment ends too early"))?;
        if checksum(bytes).to_le_bytes() != bytes[HEAD_CRC_AT..SEGMENT_HEAD_BYTES] {
            return Err(Malformed("the checksum of the segment's head is wrong").into());
        }
        let mut reader = Reader::new(&bytes[8..]);
        let version = reader.u16()?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let length = WindowLength::from_code(reader.u8()?).ok_or(Malformed("the window's length is unknown"))?;
        if reader.u8()? != 0 {
            return Err(Malformed("reserved bytes of the segment are not zero").into());
        }
        let start = Day::from_number(reader.i32()?).ok_or(Malformed("the window's start is out of bounds"))?;
        let window = Window::starting(start, length).ok_or(Malformed("the window begins at no such boundary"))?;
        let store = StoreId::from_bytes(reader.array()?);
        let partition = PartitionNumber(reader.u64()?);
        let number = reader.u64()?;
        let (class, jurisdiction) = (reader.array()?, reader.array()?);
        let stream = Stream::new(label(&class)?, label(&jurisdiction)?)
            .map_err(|_| Malformed("the segment's stream is no stream"))?;
        let count = reader.u32()? as usize;
        reader.u32()?;
        let salts = salts(&mut reader, count)?;
        Ok(SegmentHead { store, partition, id: PartitionId { stream, window }, number, salts })
    }
}

/// CRC-32 over a head whose own checksum field counts as zero.
fn checksum(head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..HEAD_CRC_AT]);
    hasher.update(&[0; 4]);
    hasher.update(&head[SEGMENT_HEAD_BYTES..]);
    hasher.finalize()
}

/// The frames of one handle: an entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The handle.
    pub handle: Handle,
    /// Where its first frame begins, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes of its frames.
    pub bytes: u64,
    /// How many frames.
    pub count: u32,
}

/// How many bytes a length and a count take in the entries of one index: as few as hold the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    bytes: u8,
    count: u8,
}

impl Widths {
    /// Those of an index with these entries.
    pub fn of(entries: &[IndexEntry]) -> Self {
        let width = |value: u64| (8 - value.leading_zeros() / 8).max(1) as u8;
        let bytes = entries.iter().map(|entry| entry.bytes).max().unwrap_or(0);
        let count = entries.iter().map(|entry| entry.count).max().unwrap_or(0);
        Widths { bytes: width(bytes), count: width(count.into()) }
    }

    fn decode(bytes: u8, count: u8) -> Result<Self, Malformed> {
        match (1..=8).contains(&bytes) && (1..=4).contains(&count) {
            true => Ok(Widths { bytes, count }),
            false => Err(Malformed("the entries of the segment's index are of no possible length")),
        }
    }

    fn entry(self) -> usize {
        16 + usize::from(self.bytes) + usize::from(self.count)
    }

    /// Bytes of a block of so many entries.
    fn block(self, entries: u64) -> u64 {
        8 + entries * self.entry() as u64 + 4
    }
}

fn take_number(reader: &mut Reader<'_>, width: u8) -> Result<u64, Malformed> {
    let mut bytes = [0; 8];
    let taken = reader.take(width.into())?;
    bytes[..taken.len()].copy_from_slice(taken);
    Ok(u64::from_le_bytes(bytes))
}

/// Appends a block of the index: at most [`BLOCK_ENTRIES`] entries, whose runs lie one after the other.
pub fn encode_block(entries: &[IndexEntry], widths: Widths, out: &mut Vec<u8>) {
    assert!((1..=BLOCK_ENTRIES).contains(&entries.len()), "a block has some entries, and not too many");
    let start = out.len();
    out.put_u64(entries[0].offset);
    for entry in entries {
        out.put(entry.handle.as_bytes());
        out.put(&entry.bytes.to_le_bytes()[..widths.bytes.into()]);
        out.put(&entry.count.to_le_bytes()[..widths.count.into()]);
    }
    let crc = crc32fast::hash(&out[start..]);
    out.put_u32(crc);
}

/// A block of the index whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    offset: u64,
    entries: &'a [u8],
    widths: Widths,
}

impl<'a> Block<'a> {
    /// Checks the block that `bytes` are, exactly.
    ///
    /// # Errors
    /// [`Malformed`] where its length or checksum is wrong.
    pub fn decode(bytes: &'a [u8], widths: Widths) -> Result<Self, Malformed> {
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed("a block of the index ends too early"))?;
        if crc32fast::hash(covered).to_le_bytes() != *crc {
            return Err(Malformed("the checksum of a block of the index is wrong"));
        }
        let mut reader = Reader::new(covered);
        let (offset, entries) = (reader.u64()?, reader.rest());
        match !entries.is_empty() && entries.len().is_multiple_of(widths.entry()) {
            true => Ok(Block { offset, entries, widths }),
            false => Err(Malformed("a block of the index has a broken entry, or none")),
        }
    }

    /// Its entries.
    pub fn entries(&self) -> impl Iterator<Item = Result<IndexEntry, Malformed>> + use<'a> {
        let (widths, mut next) = (self.widths, self.offset);
        self.entries.chunks_exact(widths.entry()).map(move |entry| {
            let mut reader = Reader::new(entry);
            let (handle, offset) = (Handle::from_bytes(reader.array()?), next);
            let (bytes, count) = (take_number(&mut reader, widths.bytes)?, take_number(&mut reader, widths.count)?);
            next = offset.checked_add(bytes).ok_or(Malformed("a run of the index is out of bounds"))?;
            Ok(IndexEntry { handle, offset, bytes, count: count as u32 })
        })
    }
}

/// Appends the sparse table: the first handle of every block, and a checksum.
pub fn encode_sparse(firsts: &[Handle], out: &mut Vec<u8>) {
    let start = out.len();
    for first in firsts {
        out.put(first.as_bytes());
    }
    let crc = crc32fast::hash(&out[start..]);
    out.put_u32(crc);
}

/// Reads the sparse table that `bytes` are, exactly.
///
/// # Errors
/// [`Malformed`] where its length or checksum is wrong, or the handles are not in order.
pub fn decode_sparse(bytes: &[u8]) -> Result<Vec<Handle>, Malformed> {
    let (table, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed("the sparse table ends too early"))?;
    if crc32fast::hash(table).to_le_bytes() != *crc {
        return Err(Malformed("the checksum of the sparse table is wrong"));
    }
    let (firsts @ [_, ..], []) = table.as_chunks::<SPARSE_BYTES>() else {
        return Err(Malformed("the sparse table has a broken entry, or none"));
    };
    match firsts.is_sorted_by(|a, b| a < b) {
        true => Ok(firsts.iter().map(|first| Handle::from_bytes(*first)).collect()),
        false => Err(Malformed("the sparse table is not in order")),
    }
}

/// The summary: where the parts of a segment lie and what its frames amount to. Offsets that follow from counts are not
/// stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where the first frame begins.
    pub frames_offset: u64,
    /// Bytes of the frames; the index follows them.
    pub frames_bytes: u64,
    /// Frames.
    pub records: u64,
    /// Handles: entries of the index.
    pub handles: u64,
    /// How long the fields of those are.
    pub widths: Widths,
    /// Bytes of the bodies as they came in.
    pub raw_bytes: u64,
    /// Frames that are chunks of large bodies.
    pub chunks: u64,
    /// The day of the earliest event.
    pub first_day: Day,
    /// The day of the latest event.
    pub last_day: Day,
    /// The partition, repeated.
    pub partition: PartitionNumber,
    /// The segment's number, repeated.
    pub number: u64,
    /// The dictionaries that frames name, ascending.
    pub dictionaries: Vec<u32>,
    /// The salts, repeated.
    pub salts: Vec<(u32, Salt)>,
}

impl Summary {
    /// Where the index begins.
    pub fn index_offset(&self) -> u64 {
        self.frames_offset + self.frames_bytes
    }

    /// How many blocks the index has.
    pub fn blocks(&self) -> u64 {
        self.handles.div_ceil(BLOCK_ENTRIES as u64)
    }

    /// Where block `index` lies and how long it is, in bytes.
    pub fn block(&self, index: u64) -> (u64, usize) {
        let left = self.handles.saturating_sub(index * BLOCK_ENTRIES as u64).min(BLOCK_ENTRIES as u64);
        let before = index * self.widths.block(BLOCK_ENTRIES as u64);
        (self.index_offset() + before, self.widths.block(left) as usize)
    }

    /// Where the sparse table begins.
    pub fn sparse_offset(&self) -> u64 {
        let around = self.blocks() * self.widths.block(0);
        self.index_offset() + self.handles * self.widths.entry() as u64 + around
    }

    /// Length of the sparse table in bytes, checksum included.
    pub fn sparse_bytes(&self) -> u64 {
        self.blocks() * SPARSE_BYTES as u64 + 4
    }

    /// Where the summary itself begins.
    pub fn offset(&self) -> u64 {
        self.sparse_offset() + self.sparse_bytes()
    }

    /// Its own length in bytes.
    pub fn length(&self) -> usize {
        SUMMARY_BYTES + self.dictionaries.len() * 4 + self.salts.len() * SALT_BYTES
    }

    /// The longest summary, in bytes.
    pub const LIMIT: usize = SUMMARY_BYTES + DICTIONARIES_LIMIT * 4 + SALTS_LIMIT * SALT_BYTES;

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0); // The checksum of what follows.
        out.put_u32(self.dictionaries.len() as u32);
        out.put_u32(self.salts.len() as u32);
        out.put(&[self.widths.bytes, self.widths.count, 0, 0]);
        for field in [self.frames_offset, self.frames_bytes, self.records, self.handles, self.raw_bytes] {
            out.put_u64(field);
        }
        out.put_i32(self.first_day.number());
        out.put_i32(self.last_day.number());
        out.put_u64(self.partition.0);
        out.put_u64(self.number);
        out.put_u64(self.chunks);
        self.dictionaries.iter().for_each(|dictionary| out.put_u32(*dictionary));
        put_salts(out, &self.salts);
        let crc = crc32fast::hash(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the summary that `bytes` are, exactly, in a file of which `before` bytes precede it.
    ///
    /// # Errors
    /// [`Malformed`] where its checksum is wrong or its numbers do not add up to that file.
    pub fn decode(bytes: &[u8], before: u64) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != crc32fast::hash(reader.rest()) {
            return Err(Malformed("the checksum of the segment's summary is wrong"));
        }
        let (dictionary_count, salt_count) = (reader.u32()? as usize, reader.u32()? as usize);
        let (bytes, count, reserved) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let widths = Widths::decode(bytes, count)?;
        let [frames_offset, frames_bytes, records, handles, raw_bytes] =
            [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
        let day = |number| Day::from_number(number).ok_or(Malformed("the span of the segment is out of bounds"));
        let (first_day, last_day) = (day(reader.i32()?)?, day(reader.i32()?)?);
        let partition = PartitionNumber(reader.u64()?);
        let (number, chunks) = (reader.u64()?, reader.u64()?);
        if reserved != 0 {
            return Err(Malformed("reserved bytes of the segment's summary are not zero"));
        }
        if dictionary_count > DICTIONARIES_LIMIT || salt_count > SALTS_LIMIT {
            return Err(Malformed("the segment's summary is longer than it may be"));
        }
        let dictionaries = reader.take(dictionary_count * 4)?;
        let dictionaries: Vec<u32> = dictionaries.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
        let salts = salts(&mut reader, salt_count)?;
        reader.finish()?;
        // Each bounded by the file first, so that no sum overflows.
        let bounded = [frames_offset, frames_bytes, records, handles].iter().all(|field| *field <= before);
        let summary = Summary {
            frames_offset,
            frames_bytes,
            records,
            handles,
            widths,
            raw_bytes,
            chunks,
            first_day,
            last_day,
            partition,
            number,
            dictionaries,
            salts,
        };
        match bounded
            && handles > 0
            && handles.max(chunks) <= records
            && first_day <= last_day
            && summary.adds_up(before)
        {
            true => Ok(summary),
            false => Err(Malformed("the numbers of the segment's summary do not add up")),
        }
    }

    fn adds_up(&self, before: u64) -> bool {
        self.handles.checked_mul(self.widths.block(1)).is_some_and(|bytes| bytes < 1 << 62)
            && self.frames_offset.checked_add(self.frames_bytes).is_some_and(|bytes| bytes < 1 << 62)
            && self.offset() == before
    }
}

/// The last bytes of a segment: they find and vouch for everything before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the summary begins.
    pub summary_offset: u64,
    /// Its length in bytes.
    pub summary_length: u32,
    /// SHA-256 of all bytes before the trailer.
    pub digest: Digest,
}

impl Trailer {
    /// Its bytes.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.put_u64(self.summary_offset);
        out.put_u32(self.summary_length);
        out.put(&self.digest);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out.put(&SEGMENT_MAGIC);
        out.try_into().expect("the fields are as long as the trailer")
    }

    /// Reads the trailer of a file of `length` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where it is damaged or does not fit such a file.
    pub fn decode(bytes: &[u8; TRAILER_BYTES], length: u64) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (summary_offset, summary_length) = (reader.u64()?, reader.u32()?);
        let digest = reader.array()?;
        let checked = crc32fast::hash(&bytes[..TRAILER_BYTES - 12]);
        if reader.u32()? != checked || reader.array::<8>()? != SEGMENT_MAGIC {
            return Err(Malformed("the end of the segment is damaged or missing"));
        }
        let end = summary_offset.checked_add(u64::from(summary_length) + TRAILER_BYTES as u64);
        match end == Some(length) && summary_length as usize <= Summary::LIMIT {
            true => Ok(Trailer { summary_offset, summary_length, digest }),
            false => Err(Malformed("the end of the segment belongs to a file of another length")),
        }
    }
}
