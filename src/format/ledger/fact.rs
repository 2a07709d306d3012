//! What a leaf says.

use super::super::access::Month;
use super::super::bytes::{Malformed, Reader, Writer};
use super::super::position::Known;
use super::access::AccessMark;
use super::act::{Act, Effect, put_time, take_subject, take_time};
use super::dictionary::DictionaryFact;
use super::gap::Gap;
use super::hold::Hold;
use crate::crypto::Digest;
use crate::ident::{PartitionId, PartitionNumber, Salt, StoreId, Stream, SubjectNumber};
use crate::window::{Day, Timestamp, Window, WindowLength};

/// One administrative fact. The numbers of the kinds are on disk and never change their meaning; 16
/// and 23 are reserved for dropped and checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The store began. The first leaf of a ledger, and no other.
    StoreCreated {
        /// Its random name.
        store: StoreId,
        /// The version of the store's format.
        format: u16,
    },
    /// The store was opened for writing.
    Opened {
        /// The number of the opening, from one.
        opening: u32,
        /// Its random salt.
        salt: Salt,
    },
    /// A policy came into force.
    PolicySet {
        /// Counts the policies of the store, from one.
        version: u32,
        /// The policy file, whole.
        text: String,
    },
    /// Journal files became segments: those are visible from here on, these no more.
    Settled {
        /// The journal files by number, ascending, and how many bytes of each counted.
        journals: Vec<(u64, u64)>,
        /// What they were written out as.
        segments: Vec<SegmentFact>,
        /// The latest offset of every source seen in them, by its tag.
        sources: Vec<([u8; 16], u64)>,
        /// What was durable by then.
        known: Known,
    },
    /// Segments of one partition were joined.
    Merged {
        /// The segments that are no more.
        old: Vec<SegmentRef>,
        /// The one that holds what they held; `None` where nothing was left to hold.
        new: Option<SegmentFact>,
    },
    /// The keyring sealed a new root.
    RootSealed {
        /// Its epoch.
        epoch: u64,
    },
    /// The store was closed with nothing left to settle.
    CleanClose {
        /// What was durable by then.
        known: Known,
    },
    /// Nothing but its time.
    Watermark,
    /// Something destructive is going to be done.
    Intended {
        /// Counts the acts of the store, from one.
        number: u64,
        /// What.
        act: Act,
    },
    /// An act has come so far.
    Effected {
        /// The number of the act.
        number: u64,
        /// How far.
        effect: Effect,
    },
    /// Nothing of an act is left to do but to scrub.
    Done {
        /// The number of the act.
        number: u64,
    },
    /// A hold was placed on a customer: from here on it stands.
    HoldPlaced {
        /// Counts the holds of the store, from one.
        number: u64,
        /// On whom and what.
        hold: Hold,
    },
    /// A fact about a customer was reported that periods may run from, or taken back.
    Reported {
        /// Who.
        subject: SubjectNumber,
        /// Which: 1 end of the relationship, 2 last contact, 3 closed request.
        kind: u8,
        /// When that was; none where it is not so any more.
        at: Option<Timestamp>,
    },
    /// A hold does not stand any more, as the keyring says: what lifted it is lost with a part of the ledger.
    HoldReleased {
        /// The number of the hold.
        number: u64,
    },
    /// An older copy of the ledger goes on, and this is what could be told of what it lacks.
    Gap(Gap),
    /// Fences up to this erasure have lapsed.
    FenceLapsed {
        /// When the customer was erased.
        erased: Timestamp,
    },
    /// Somebody vouched for a clock that had jumped ahead.
    ClockTrusted {
        /// What it said.
        clock: Timestamp,
    },
    /// A partition has a dictionary more: from here on frames may name it, and new ones do.
    Dictionary(DictionaryFact),
    /// Access logs had come so far.
    AccessNoted {
        /// Those that have grown since the last note.
        logs: Vec<AccessMark>,
    },
    /// The access logs of all months up to this one are over: their keys are destroyed, and their files go.
    AccessDropped {
        /// The last of them.
        month: Month,
    },
    /// A new file began with this snapshot. Written by the ledger itself, as the first leaf of every file but the
    /// first: so the tree vouches for the state that openings start from.
    SnapshotTaken {
        /// The number of the file.
        file: u64,
        /// SHA-256 of the snapshot.
        hash: Digest,
    },
}

/// A segment as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFact {
    /// The number of its partition.
    pub partition: PartitionNumber,
    /// The name of its partition.
    pub id: PartitionId,
    /// Its own number, unique in the store.
    pub segment: u64,
    /// SHA-256 of the file up to its trailer.
    pub hash: Digest,
    /// Length of the file.
    pub bytes: u64,
    /// How many frames it holds.
    pub records: u64,
    /// How many of them are chunks of large bodies, and so no records.
    pub chunks: u64,
    /// Length of their bodies before compression, in bytes.
    pub raw_bytes: u64,
    /// The day of its earliest event.
    pub first_day: Day,
    /// The day of its latest event.
    pub last_day: Day,
}

impl SegmentFact {
    /// What names it.
    pub fn reference(&self) -> SegmentRef {
        SegmentRef { partition: self.partition, segment: self.segment, hash: self.hash }
    }
}

/// What names a segment beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// The number of its partition.
    pub partition: PartitionNumber,
    /// Its own number.
    pub segment: u64,
    /// SHA-256 of the file up to its trailer.
    pub hash: Digest,
}

impl Fact {
    /// The number of its kind on disk.
    pub fn kind(&self) -> u8 {
        match self {
            Fact::StoreCreated { .. } => 1,
            Fact::Opened { .. } => 2,
            Fact::PolicySet { .. } => 3,
            Fact::Settled { .. } => 4,
            Fact::Merged { .. } => 5,
            Fact::RootSealed { .. } => 6,
            Fact::CleanClose { .. } => 7,
            Fact::Watermark => 8,
            Fact::SnapshotTaken { .. } => 9,
            Fact::Reported { .. } => 17,
            Fact::Intended { .. } => 18,
            Fact::Effected { .. } => 19,
            Fact::Done { .. } => 20,
            Fact::FenceLapsed { .. } => 24,
            Fact::Gap(_) => 21,
            Fact::HoldPlaced { .. } => 22,
            Fact::HoldReleased { .. } => 26,
            Fact::ClockTrusted { .. } => 25,
            Fact::Dictionary(_) => 27,
            Fact::AccessNoted { .. } => 40,
            Fact::AccessDropped { .. } => 41,
        }
    }

    /// Appends the payload of its leaf.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Fact::StoreCreated { store, format } => {
                out.put(store.as_bytes());
                out.put_u16(*format);
            }
            Fact::Opened { opening, salt } => {
                out.put_u32(*opening);
                out.put(salt.as_bytes());
            }
            Fact::PolicySet { version, text } => {
                out.put_u32(*version);
                put_text(out, text);
            }
            Fact::Settled { journals, segments, sources, known } => {
                put_many(out, journals, |out, (file, length)| {
                    out.put_u64(*file);
                    out.put_u64(*length);
                });
                put_many(out, segments, |out, segment| segment.encode(out));
                put_many(out, sources, |out, (tag, offset)| {
                    out.put(tag);
                    out.put_u64(*offset);
                });
                known.encode(out);
            }
            Fact::Merged { old, new } => {
                put_many(out, old, |out, old| old.encode(out));
                put_many(out, new.as_slice(), |out, new| new.encode(out));
            }
            Fact::RootSealed { epoch } => out.put_u64(*epoch),
            Fact::CleanClose { known } => known.encode(out),
            Fact::Watermark => {}
            Fact::Intended { number, act } => {
                out.put_u64(*number);
                act.encode(out);
            }
            Fact::Effected { number, effect } => {
                out.put_u64(*number);
                effect.encode(out);
            }
            Fact::Done { number } | Fact::HoldReleased { number } => out.put_u64(*number),
            Fact::HoldPlaced { number, hold } => {
                out.put_u64(*number);
                hold.encode(out);
            }
            Fact::Reported { subject, kind, at } => {
                out.put(subject.as_bytes());
                out.put_u8(*kind);
                put_time(out, *at);
            }
            Fact::Gap(gap) => gap.encode(out),
            Fact::Dictionary(dictionary) => dictionary.encode(out),
            Fact::AccessNoted { logs } => put_many(out, logs, |out, log| log.encode(out)),
            Fact::AccessDropped { month } => out.put_i32(month.number()),
            Fact::FenceLapsed { erased: at } | Fact::ClockTrusted { clock: at } => out.put_i64(at.as_micros()),
            Fact::SnapshotTaken { file, hash } => {
                out.put_u64(*file);
                out.put(hash);
            }
        }
    }

    /// Reads a payload; `None` for a kind that this version does not know.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Option<Fact>, Malformed> {
        let mut from = Reader::new(payload);
        let fact = match kind {
            0 => return Err(Malformed("a leaf has kind zero")),
            1 => Fact::StoreCreated { store: StoreId::from_bytes(from.array()?), format: from.u16()? },
            2 => Fact::Opened { opening: from.u32()?, salt: Salt::from_bytes(from.array()?) },
            3 => Fact::PolicySet { version: from.u32()?, text: take_text(&mut from)? },
            4 => Fact::Settled {
                journals: take_many(&mut from, |from| Ok((from.u64()?, from.u64()?)))?,
                segments: take_many(&mut from, SegmentFact::decode)?,
                sources: take_many(&mut from, |from| Ok((from.array()?, from.u64()?)))?,
                known: Known::decode(&mut from)?,
            },
            5 => {
                let old = take_many(&mut from, SegmentRef::decode)?;
                let mut new = take_many(&mut from, SegmentFact::decode)?;
                if new.len() > 1 {
                    return Err(Malformed("a merge names more than one new segment"));
                }
                Fact::Merged { old, new: new.pop() }
            }
            6 => Fact::RootSealed { epoch: from.u64()? },
            7 => Fact::CleanClose { known: Known::decode(&mut from)? },
            8 => Fact::Watermark,
            9 => Fact::SnapshotTaken { file: from.u64()?, hash: from.array()? },
            17 => Fact::Reported {
                subject: take_subject(&mut from)?,
                kind: match from.u8()? {
                    kind @ 1..=3 => kind,
                    _ => return Err(Malformed("a fact of unknown kind about a customer")),
                },
                at: take_time(&mut from)?,
            },
            18 => Fact::Intended { number: from.u64()?, act: Act::decode(&mut from)? },
            19 => Fact::Effected { number: from.u64()?, effect: Effect::decode(&mut from)? },
            20 => Fact::Done { number: from.u64()? },
            21 => Fact::Gap(Gap::decode(&mut from)?),
            22 => Fact::HoldPlaced { number: from.u64()?, hold: Hold::decode(&mut from)? },
            24 => Fact::FenceLapsed { erased: super::time(from.i64()?)? },
            25 => Fact::ClockTrusted { clock: super::time(from.i64()?)? },
            26 => Fact::HoldReleased { number: from.u64()? },
            27 => Fact::Dictionary(DictionaryFact::decode(&mut from)?),
            40 => Fact::AccessNoted { logs: take_many(&mut from, AccessMark::decode)? },
            41 => Fact::AccessDropped { month: Month::from_number(from.i32()?)? },
            _ => return Ok(None),
        };
        from.finish()?;
        Ok(Some(fact))
    }
}

impl SegmentFact {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.partition.0);
        out.put_short_text(self.id.stream.class());
        out.put_short_text(self.id.stream.jurisdiction());
        out.put_i32(self.id.window.first_day().number());
        out.put_u8(self.id.window.length() as u8);
        out.put_u64(self.segment);
        out.put(&self.hash);
        out.put_u64(self.bytes);
        out.put_u64(self.records);
        out.put_u64(self.chunks);
        out.put_u64(self.raw_bytes);
        out.put_i32(self.first_day.number());
        out.put_i32(self.last_day.number());
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let partition = PartitionNumber(from.u64()?);
        let (class, jurisdiction) = (from.short_text()?, from.short_text()?);
        let stream =
            Stream::new(class, jurisdiction).map_err(|_| Malformed("a class or jurisdiction is not a label"))?;
        let start = take_day(from)?;
        let length = WindowLength::from_code(from.u8()?).ok_or(Malformed("a window length is unknown"))?;
        let window = Window::starting(start, length).ok_or(Malformed("no window starts on that day"))?;
        Ok(SegmentFact {
            partition,
            id: PartitionId { stream, window },
            segment: from.u64()?,
            hash: from.array()?,
            bytes: from.u64()?,
            records: from.u64()?,
            chunks: from.u64()?,
            raw_bytes: from.u64()?,
            first_day: take_day(from)?,
            last_day: take_day(from)?,
        })
    }
}

impl SegmentRef {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.partition.0);
        out.put_u64(self.segment);
        out.put(&self.hash);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(SegmentRef { partition: PartitionNumber(from.u64()?), segment: from.u64()?, hash: from.array()? })
    }
}

fn take_day(from: &mut Reader<'_>) -> Result<Day, Malformed> {
    Day::from_number(from.i32()?).ok_or(Malformed("a day lies outside the years 0 to 9999"))
}

/// A count and that many items. Callers keep leaves far below four thousand million items: `encode_commit` bounds them.
pub(super) fn put_many<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    out.put_u32(items.len() as u32);
    items.iter().for_each(|item| put(out, item));
}

/// The counterpart of [`put_many`]. The count reserves nothing, so one that lies only runs out of bytes.
pub(super) fn take_many<'a, T>(
    from: &mut Reader<'a>,
    mut take: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = from.u32()?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(take(from)?);
    }
    Ok(items)
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(text.len() as u32);
    out.put(text.as_bytes());
}

pub(super) fn take_text(from: &mut Reader<'_>) -> Result<String, Malformed> {
    let length = from.u32()? as usize;
    std::str::from_utf8(from.take(length)?).map(str::to_owned).map_err(|_| Malformed("a text is not UTF-8"))
}
