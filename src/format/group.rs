//! A group: one commit in the journal. Its header says what it depends on, what was durable when it was written and
//! which partitions it touches; the frames follow in the order of the runs, each with its own checksum.

use std::ops::Range;

use super::bytes::{Malformed, Reader, Writer};
use super::frame::{self, FrameContext, FrameHead, FrameView};
use super::position::{KNOWN_BYTES, Known};
use crate::crypto::Sealer;
use crate::error::{Error, ErrorKind, Result};
use crate::ident::PartitionNumber;
use crate::window::{Day, Timestamp};

/// The first four bytes of a group.
pub const GROUP_MAGIC: [u8; 4] = *b"TGRP";
/// Bytes of the header before runs and sources.
pub const GROUP_HEADER_BYTES: usize = 72;
/// The longest group, in bytes.
pub const GROUP_LIMIT: usize = 40 << 20;
/// The most partitions that one group touches.
pub const RUNS_LIMIT: usize = 65_536;
/// The most sources whose offsets one group carries.
pub const SOURCES_LIMIT: usize = 4_096;

const RUN_BYTES: usize = 36;
const SOURCE_BYTES: usize = 24;
const CRC: Range<usize> = 4..8;
const CHECKED_FROM: usize = 8;
const OFFSET: Range<usize> = 32..40;
const NEEDS: Range<usize> = 40..48;
const KNOWN: Range<usize> = 48..48 + KNOWN_BYTES;

/// The frames of one partition in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHead {
    /// The partition.
    pub partition: PartitionNumber,
    /// How many frames.
    pub count: u32,
    /// Bytes of their bodies as they came in.
    pub raw_bytes: u64,
    /// Bytes of the frames.
    pub frame_bytes: u64,
    /// The day of the earliest event.
    pub first_day: Day,
    /// The day of the latest event.
    pub last_day: Day,
}

/// How far a source has been taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceMark {
    /// The keyed hash of its name.
    pub tag: [u8; 16],
    /// The position after the group, in the caller's unit.
    pub offset: u64,
}

/// Where a frame lies in a group, in bytes from the group's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u32,
}

/// Builds a group on the caller's thread: frames are sealed where they will be written from.
#[derive(Debug)]
pub struct GroupBuilder {
    buffer: Vec<u8>,
    /// Bytes left free at the front for the header.
    room: usize,
    runs: Vec<RunHead>,
    sources: Vec<SourceMark>,
    frames: u32,
}

impl GroupBuilder {
    /// Room for about `runs` partitions, `sources` sources and `frame_bytes` bytes of frames. More is possible, at the
    /// price of a copy.
    pub fn new(runs: usize, sources: usize, frame_bytes: usize) -> Self {
        GroupBuilder::reusing(Vec::new(), runs, sources, frame_bytes)
    }

    /// The same in a `buffer` that is empty, and has room perhaps.
    pub fn reusing(mut buffer: Vec<u8>, runs: usize, sources: usize, frame_bytes: usize) -> Self {
        let room = GROUP_HEADER_BYTES + runs.min(RUNS_LIMIT) * RUN_BYTES + sources.min(SOURCES_LIMIT) * SOURCE_BYTES;
        buffer.clear();
        buffer.reserve_exact(room + frame_bytes.min(GROUP_LIMIT));
        buffer.resize(room, 0);
        GroupBuilder { buffer, room, runs: Vec::with_capacity(runs.min(RUNS_LIMIT)), sources: Vec::new(), frames: 0 }
    }

    /// Seals a frame at the end of the group. A run begins whenever the partition is another than that of the frame
    /// before, so frames come partition by partition. `raw_length` is the body's length as it came in.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the frame or the group becomes too long; the group is then as before.
    pub fn push(
        &mut self,
        context: &FrameContext<'_>,
        sealer: &Sealer,
        head: &FrameHead,
        at: Timestamp,
        raw_length: u32,
        write_plain: impl FnOnce(&mut Vec<u8>),
    ) -> Result<FramePlace> {
        let place = frame::seal(&mut self.buffer, context, sealer, head, write_plain)?;
        let fresh = self.runs.last().is_none_or(|run| run.partition != context.partition);
        let runs = self.runs.len() + usize::from(fresh);
        let header = header_length(runs, self.sources.len());
        if runs > RUNS_LIMIT || header + self.buffer.len() - self.room > GROUP_LIMIT {
            self.buffer.truncate(place.start);
            return Err(Error::new(ErrorKind::Invalid, "the batch is longer than one commit may be")
                .hint("append it in several batches"));
        }
        let day = at.day();
        if fresh {
            let partition = context.partition;
            self.runs.push(RunHead {
                partition,
                count: 0,
                raw_bytes: 0,
                frame_bytes: 0,
                first_day: day,
                last_day: day,
            });
        }
        if let Some(run) = self.runs.last_mut() {
            run.count += 1;
            run.raw_bytes += u64::from(raw_length);
            run.frame_bytes += place.len() as u64;
            run.first_day = run.first_day.min(day);
            run.last_day = run.last_day.max(day);
        }
        self.frames += 1;
        Ok(FramePlace { offset: (place.start - self.room) as u64, length: place.len() as u32 })
    }

    /// Adds the offset of a source.
    pub fn source(&mut self, mark: SourceMark) {
        self.sources.push(mark);
    }

    /// Bytes of the frames so far.
    pub fn frame_bytes(&self) -> usize {
        self.buffer.len() - self.room
    }

    /// The group, complete but for what only its commit knows.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it has become too long or has too many sources.
    pub fn build(mut self) -> Result<Group> {
        let header = header_length(self.runs.len(), self.sources.len());
        let total = header + self.frame_bytes();
        if total > GROUP_LIMIT || self.sources.len() > SOURCES_LIMIT {
            return Err(Error::new(ErrorKind::Invalid, "the batch is longer than one commit may be"));
        }
        if header > self.room {
            let missing = header - self.room;
            self.buffer.splice(0..0, std::iter::repeat_n(0, missing));
            self.room = header;
        }
        let start = self.room - header;
        let mut bytes = Vec::with_capacity(header);
        bytes.put(&GROUP_MAGIC);
        bytes.put_u32(0); // The checksum, by `finish`.
        bytes.put_u32(header as u32);
        bytes.put_u32(total as u32);
        bytes.put_u32(self.frames);
        bytes.put_u32(self.runs.len() as u32);
        bytes.put_u32(self.sources.len() as u32);
        bytes.put_u32(0);
        bytes.resize(GROUP_HEADER_BYTES, 0); // Offset, needs and known, by `finish`.
        for run in &self.runs {
            bytes.put_u64(run.partition.0);
            bytes.put_u32(run.count);
            bytes.put_u64(run.raw_bytes);
            bytes.put_u64(run.frame_bytes);
            bytes.put_i32(run.first_day.number());
            bytes.put_i32(run.last_day.number());
        }
        for source in &self.sources {
            bytes.put(&source.tag);
            bytes.put_u64(source.offset);
        }
        self.buffer[start..self.room].copy_from_slice(&bytes);
        Ok(Group { buffer: self.buffer, start, header, runs: self.runs })
    }
}

fn header_length(runs: usize, sources: usize) -> usize {
    GROUP_HEADER_BYTES + runs * RUN_BYTES + sources * SOURCE_BYTES
}

/// A group ready to be committed.
#[derive(Debug)]
pub struct Group {
    buffer: Vec<u8>,
    start: usize,
    header: usize,
    runs: Vec<RunHead>,
}

impl Group {
    /// Fills in what only the commit knows and returns the bytes to write: the keyring entry it `needs`, what is
    /// `known` to be durable, and the `offset` in the journal file that it will be written at.
    pub fn finish(&mut self, needs: u64, known: Known, offset: u64) -> &[u8] {
        let header = &mut self.buffer[self.start..self.start + self.header];
        header[OFFSET].copy_from_slice(&offset.to_le_bytes());
        header[NEEDS].copy_from_slice(&needs.to_le_bytes());
        let mut bytes = Vec::with_capacity(KNOWN_BYTES);
        known.encode(&mut bytes);
        header[KNOWN].copy_from_slice(&bytes);
        let crc = crc32fast::hash(&header[CHECKED_FROM..]);
        header[CRC].copy_from_slice(&crc.to_le_bytes());
        &self.buffer[self.start..]
    }

    /// Its bytes, as last finished.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Its buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Length of its header in bytes: where its first frame begins.
    pub fn header_length(&self) -> usize {
        self.header
    }

    /// Its runs.
    pub fn runs(&self) -> &[RunHead] {
        &self.runs
    }
}

/// The header of a group whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// Length of header, runs and sources, in bytes.
    pub header_length: usize,
    /// Length of the whole group, in bytes.
    pub total_length: usize,
    /// Frames.
    pub frames: u32,
    /// Runs.
    pub runs: u32,
    /// Sources.
    pub sources: u32,
    /// Where in its file it was written.
    pub offset: u64,
    /// The highest keyring entry that it, or anything before it, depends on.
    pub needs: u64,
    /// What was durable when it was written.
    pub known: Known,
}

impl GroupHead {
    /// The lengths (of header and whole group) that the group beginning with `bytes` claims, within their bounds. No
    /// checksum is checked yet.
    ///
    /// # Errors
    /// [`Malformed`] where fewer than [`GROUP_HEADER_BYTES`] are given or no group begins like that.
    pub fn peek(bytes: &[u8]) -> Result<(usize, usize), Malformed> {
        let mut reader = Reader::new(bytes.get(..GROUP_HEADER_BYTES).ok_or(Malformed("a group ends too early"))?);
        if reader.array::<4>()? != GROUP_MAGIC {
            return Err(Malformed("no group begins here"));
        }
        reader.u32()?;
        let (header, total) = (reader.u32()? as usize, reader.u32()? as usize);
        reader.u32()?;
        let (runs, sources) = (reader.u32()? as usize, reader.u32()? as usize);
        if runs > RUNS_LIMIT || sources > SOURCES_LIMIT || header != header_length(runs, sources) {
            return Err(Malformed("the header of a group is out of bounds"));
        }
        match (header..=GROUP_LIMIT).contains(&total) {
            true => Ok((header, total)),
            false => Err(Malformed("the length of a group is out of bounds")),
        }
    }

    /// Checks and reads the header at the front of `bytes`, which hold at least all of it.
    ///
    /// # Errors
    /// [`Malformed`] where it ends too early or its checksum is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header_length, total_length) = Self::peek(bytes)?;
        let bytes = bytes.get(..header_length).ok_or(Malformed("the header of a group ends too early"))?;
        let mut reader = Reader::new(&bytes[CRC.start..]);
        if reader.u32()? != crc32fast::hash(reader.rest()) {
            return Err(Malformed("the checksum of a group's header is wrong"));
        }
        reader.u64()?; // Both lengths, seen above.
        let (frames, runs, sources) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if reader.u32()? != 0 {
            return Err(Malformed("reserved bytes of a group are not zero"));
        }
        let (offset, needs, known) = (reader.u64()?, reader.u64()?, Known::decode(&mut reader)?);
        Ok(GroupHead { header_length, total_length, frames, runs, sources, offset, needs, known })
    }
}

/// A whole group of which everything was checked.
#[derive(Clone, Debug)]
pub struct GroupView<'a> {
    bytes: &'a [u8],
    head: GroupHead,
    runs: Vec<RunHead>,
}

impl<'a> GroupView<'a> {
    /// The group at the front of `bytes`, every checksum checked and every count compared; what follows is left alone.
    ///
    /// # Errors
    /// [`Malformed`], saying what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let head = GroupHead::decode(bytes)?;
        let bytes = bytes.get(..head.total_length).ok_or(Malformed("a group ends too early"))?;
        let mut reader = Reader::new(&bytes[GROUP_HEADER_BYTES..head.header_length]);
        let mut runs = Vec::with_capacity(head.runs as usize);
        let (mut rest, mut frames) = (&bytes[head.header_length..], 0u64);
        for _ in 0..head.runs {
            let run = decode_run(&mut reader)?;
            let length = usize::try_from(run.frame_bytes).ok().filter(|length| *length <= rest.len());
            let (own, after) = rest.split_at(length.ok_or(Malformed("a run is longer than its group"))?);
            check_run(&run, own)?;
            frames += u64::from(run.count);
            rest = after;
            runs.push(run);
        }
        match rest.is_empty() && frames == u64::from(head.frames) {
            true => Ok(GroupView { bytes, head, runs }),
            false => Err(Malformed("the runs of a group do not add up to it")),
        }
    }

    /// Its header.
    pub fn head(&self) -> &GroupHead {
        &self.head
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its runs with their frames.
    pub fn runs(&self) -> impl Iterator<Item = RunView<'a>> + '_ {
        let mut offset = self.head.header_length;
        self.runs.iter().map(move |head| {
            let run = RunView { head: *head, group: self.bytes, offset };
            offset += head.frame_bytes as usize;
            run
        })
    }

    /// Its sources.
    pub fn sources(&self) -> impl Iterator<Item = SourceMark> + '_ {
        let from = self.head.header_length - self.head.sources as usize * SOURCE_BYTES;
        self.bytes[from..self.head.header_length].chunks_exact(SOURCE_BYTES).filter_map(|bytes| {
            let mut reader = Reader::new(bytes);
            Some(SourceMark { tag: reader.array().ok()?, offset: reader.u64().ok()? })
        })
    }
}

fn decode_run(reader: &mut Reader<'_>) -> Result<RunHead, Malformed> {
    let partition = PartitionNumber(reader.u64()?);
    let (count, raw_bytes, frame_bytes) = (reader.u32()?, reader.u64()?, reader.u64()?);
    let day = |number| Day::from_number(number).ok_or(Malformed("the day of a run is out of bounds"));
    let (first_day, last_day) = (day(reader.i32()?)?, day(reader.i32()?)?);
    match partition.0 != 0 && count != 0 && first_day <= last_day {
        true => Ok(RunHead { partition, count, raw_bytes, frame_bytes, first_day, last_day }),
        false => Err(Malformed("a run of a group makes no sense")),
    }
}

fn check_run(run: &RunHead, bytes: &[u8]) -> Result<(), Malformed> {
    let mut count = 0;
    for frame in frame::Frames::new(bytes) {
        frame?;
        count += 1;
    }
    match count == run.count {
        true => Ok(()),
        false => Err(Malformed("a run does not have the frames it promises")),
    }
}

/// One partition's frames in a group.
#[derive(Clone, Copy, Debug)]
pub struct RunView<'a> {
    /// What the header says of it.
    pub head: RunHead,
    group: &'a [u8],
    offset: usize,
}

impl<'a> RunView<'a> {
    /// Its frames, each with its offset in bytes from the start of the group. They were checked with the group.
    pub fn frames(&self) -> impl Iterator<Item = (u64, FrameView<'a>)> + use<'a> {
        let (group, mut offset, end) = (self.group, self.offset, self.offset + self.head.frame_bytes as usize);
        std::iter::from_fn(move || {
            let rest = group.get(offset..end).filter(|rest| !rest.is_empty())?;
            let frame = FrameView::again(rest).ok()?;
            let at = offset as u64;
            offset += frame.length();
            Some((at, frame))
        })
    }
}
