//! Destructive verbs as the ledger tells them: an intent, its effects, and that it is done. Customers stand in it by
//! subject number only.

use std::collections::{BTreeMap, BTreeSet};

use super::super::bytes::{Malformed, Reader, Writer};
use super::fact::{put_many, put_text, take_many, take_text};
use super::span::{GoingRows, Kept, KeptRows, put_going, put_kept, take_going, take_kept};
use crate::ident::{PartitionNumber, Stream, SubjectNumber};
use crate::window::{Day, Timestamp};

/// The longest evidence that is kept, in bytes of UTF-8.
pub const EVIDENCE_LIMIT: usize = 1024;

/// What a destructive verb set out to do. Recovery does it, and never decides it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Partitions past their maximum lose their keys.
    Expire {
        /// Their numbers, ascending, each with its stream and the first day after its window.
        partitions: Vec<(PartitionNumber, Stream, Day)>,
        /// The time that they were judged by.
        now: Timestamp,
        /// Those of them in which cells are held, ascending, each with whose, ascending.
        held: HeldCells,
        /// Customers of whom something goes whose time has come by row: restricted parts whose duty is over, and streams
        /// whose period runs from a fact about the customer.
        rows: GoingRows,
    },
    /// Customers lose their secrets.
    Erase {
        /// Who loses all of them, by subject number.
        subjects: Vec<SubjectNumber>,
        /// Events up to this time are refused afterwards.
        at: Timestamp,
        /// Who loses all but the keys of some parts, and those may be read by nobody but who serves what keeps them.
        kept: KeptRows,
    },
    /// A customer loses the secrets of one stream, or of all, up to a time.
    ErasePart {
        /// Who.
        subject: SubjectNumber,
        /// Which stream; all of them where it is none.
        stream: Option<Stream>,
        /// Events before this time; all of them where it is none.
        until: Option<Timestamp>,
        /// What of that is kept, for nobody but who serves what keeps it.
        kept: Vec<Kept>,
    },
    /// One record of a customer is destroyed.
    Redact {
        /// Who.
        subject: SubjectNumber,
        /// The partition it stands in.
        partition: PartitionNumber,
        /// The opening that wrote it first.
        opening: u32,
        /// Its sequence in that opening.
        sequence: u64,
        /// Whether that was asked for although a duty to keep it was known to stand against it.
        despite: bool,
    },
    /// A hold is lifted, and the cells that it alone has kept of expired partitions lose their keys.
    Release {
        /// The number of the hold.
        hold: u64,
        /// On whom it was; none where it was on everybody.
        subject: Option<SubjectNumber>,
        /// Those cells.
        cells: HeldCells,
        /// What the hold alone has kept of an erasure.
        rows: GoingRows,
    },
}

/// Partitions with held cells, ascending, each with the customers they are of, ascending.
pub type HeldCells = Vec<(PartitionNumber, Vec<SubjectNumber>)>;

/// What has come of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No read or write passes any more, in any process.
    Fenced,
    /// The new root is durable, and the custodian has answered for the older ones.
    Shredded {
        /// The epoch of the new root.
        epoch: u64,
        /// Whether the custodian says that every older root is destroyed for good.
        is_final: bool,
        /// In its own words.
        evidence: String,
    },
    /// The dead bytes are gone too.
    Scrubbed,
}

/// An act as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActState {
    /// What was set out to do.
    pub act: Act,
    /// When.
    pub intended: Timestamp,
    /// When nothing passed any more.
    pub fenced: Option<Timestamp>,
    /// When the new root was durable, and its epoch.
    pub shredded: Option<(Timestamp, u64)>,
    /// Whether the custodian said that every older root is destroyed for good.
    pub is_final: bool,
    /// In its own words.
    pub evidence: String,
    /// When the dead bytes were gone.
    pub scrubbed: Option<Timestamp>,
    /// When nothing was left to do but to scrub.
    pub done: Option<Timestamp>,
}

/// Everything destructive that was ever set out to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// By number, from one.
    pub by_number: BTreeMap<u64, ActState>,
    /// Partitions whose key was to be destroyed: what the journal still holds of them is not settled.
    pub expired: BTreeSet<PartitionNumber>,
    /// Expired partitions of which held cells are left, each with the customers they are of: their segments stay.
    pub held: BTreeMap<PartitionNumber, BTreeSet<SubjectNumber>>,
    /// Per stream, the first day after the latest window that expired: older events are refused.
    pub expired_until: BTreeMap<Stream, Day>,
    /// The latest erasure whose fence has lapsed: customers that are new take no older events.
    pub lapsed_fence: Option<Timestamp>,
    /// The highest number given to an act that was lost in a gap; zero without one.
    pub given: u64,
}

impl Acts {
    /// The number of the next act.
    pub fn next(&self) -> u64 {
        self.by_number.last_key_value().map_or(0, |(number, _)| *number).max(self.given).saturating_add(1)
    }

    /// Acts that were set out to do and are not done.
    pub fn pending(&self) -> impl Iterator<Item = (u64, &ActState)> {
        self.by_number.iter().filter(|(_, state)| state.done.is_none()).map(|(number, state)| (*number, state))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let acts: Vec<_> = self.by_number.iter().collect();
        put_many(out, &acts, |out, (number, state)| {
            out.put_u64(**number);
            state.encode(out);
        });
        let expired: Vec<_> = self.expired.iter().collect();
        put_many(out, &expired, |out, number| out.put_u64(number.0));
        let until: Vec<_> = self.expired_until.iter().collect();
        put_many(out, &until, |out, (stream, day)| {
            put_stream(out, stream);
            out.put_i32(day.number());
        });
        put_time(out, self.lapsed_fence);
        out.put_u64(self.given);
        put_held(out, &self.held_cells());
    }

    /// The held cells as facts name them.
    pub fn held_cells(&self) -> HeldCells {
        self.held.iter().map(|(partition, subjects)| (*partition, subjects.iter().copied().collect())).collect()
    }

    /// Takes `subjects` off the list of a partition's held cells.
    pub fn let_go<'a>(&mut self, partition: PartitionNumber, subjects: impl IntoIterator<Item = &'a SubjectNumber>) {
        if let Some(held) = self.held.get_mut(&partition) {
            for subject in subjects {
                held.remove(subject);
            }
            if held.is_empty() {
                self.held.remove(&partition);
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut acts = Acts::default();
        for (number, state) in take_many(from, |from| Ok((from.u64()?, ActState::decode(from)?)))? {
            if number < acts.next() {
                return Err(Malformed("the acts of a snapshot are out of order"));
            }
            acts.by_number.insert(number, state);
        }
        let expired = take_many(from, |from| from.u64().map(PartitionNumber))?;
        let until = take_many(from, |from| Ok((take_stream(from)?, take_day(from)?)))?;
        if !expired.is_sorted_by(|a, b| a < b) || !until.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Malformed("what has expired by a snapshot is out of order"));
        }
        acts.expired.extend(expired);
        acts.expired_until.extend(until);
        acts.lapsed_fence = take_time(from)?;
        acts.given = from.u64()?;
        let held = take_held(from)?.into_iter();
        acts.held = held.map(|(partition, subjects)| (partition, subjects.into_iter().collect())).collect();
        Ok(acts)
    }
}

impl ActState {
    fn encode(&self, out: &mut Vec<u8>) {
        self.act.encode(out);
        out.put_i64(self.intended.as_micros());
        put_time(out, self.fenced);
        put_time(out, self.shredded.map(|(at, _)| at));
        out.put_u64(self.shredded.map_or(0, |(_, epoch)| epoch));
        out.put_u8(u8::from(self.is_final));
        put_text(out, &self.evidence);
        put_time(out, self.scrubbed);
        put_time(out, self.done);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let act = Act::decode(from)?;
        let intended = super::time(from.i64()?)?;
        let (fenced, shredded, epoch) = (take_time(from)?, take_time(from)?, from.u64()?);
        Ok(ActState {
            act,
            intended,
            fenced,
            shredded: shredded.map(|at| (at, epoch)),
            is_final: flag(from)?,
            evidence: take_text(from)?,
            scrubbed: take_time(from)?,
            done: take_time(from)?,
        })
    }
}

impl Act {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Act::Expire { partitions, now, held, rows } => {
                out.put_u8(1);
                put_many(out, partitions, |out, (number, stream, end)| {
                    out.put_u64(number.0);
                    put_stream(out, stream);
                    out.put_i32(end.number());
                });
                out.put_i64(now.as_micros());
                put_held(out, held);
                put_going(out, rows);
            }
            Act::Erase { subjects, at, kept } => {
                out.put_u8(2);
                put_many(out, subjects, |out, subject| out.put(subject.as_bytes()));
                out.put_i64(at.as_micros());
                put_kept(out, kept);
            }
            Act::ErasePart { subject, stream, until, kept } => {
                out.put_u8(3);
                out.put(subject.as_bytes());
                put_many(out, stream.as_slice(), put_stream);
                put_time(out, *until);
                put_many(out, kept, |out, kept| kept.encode(out));
            }
            Act::Redact { subject, partition, opening, sequence, despite } => {
                out.put_u8(4);
                out.put(subject.as_bytes());
                out.put_u64(partition.0);
                out.put_u32(*opening);
                out.put_u64(*sequence);
                out.put_u8(u8::from(*despite));
            }
            Act::Release { hold, subject, cells, rows } => {
                out.put_u8(5);
                out.put_u64(*hold);
                put_maybe_subject(out, subject.as_ref());
                put_held(out, cells);
                put_going(out, rows);
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            1 => Act::Expire {
                partitions: take_many(from, |from| {
                    Ok((PartitionNumber(from.u64()?), take_stream(from)?, take_day(from)?))
                })?,
                now: super::time(from.i64()?)?,
                held: take_held(from)?,
                rows: take_going(from)?,
            },
            2 => Act::Erase {
                subjects: take_many(from, take_subject)?,
                at: super::time(from.i64()?)?,
                kept: take_kept(from)?,
            },
            3 => {
                let subject = take_subject(from)?;
                let mut stream = take_many(from, take_stream)?;
                if stream.len() > 1 {
                    return Err(Malformed("an erasure names more than one stream"));
                }
                let (stream, until) = (stream.pop(), take_time(from)?);
                Act::ErasePart { subject, stream, until, kept: take_many(from, Kept::decode)? }
            }
            4 => Act::Redact {
                subject: take_subject(from)?,
                partition: PartitionNumber(from.u64()?),
                opening: from.u32()?,
                sequence: from.u64()?,
                despite: flag(from)?,
            },
            5 => Act::Release {
                hold: from.u64()?,
                subject: take_maybe_subject(from)?,
                cells: take_held(from)?,
                rows: take_going(from)?,
            },
            _ => return Err(Malformed("an act of unknown kind")),
        })
    }
}

impl Effect {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Effect::Fenced => out.put_u8(1),
            Effect::Shredded { epoch, is_final, evidence } => {
                out.put_u8(2);
                out.put_u64(*epoch);
                out.put_u8(u8::from(*is_final));
                put_text(out, evidence);
            }
            Effect::Scrubbed => out.put_u8(3),
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            1 => Effect::Fenced,
            2 => Effect::Shredded { epoch: from.u64()?, is_final: flag(from)?, evidence: take_text(from)? },
            3 => Effect::Scrubbed,
            _ => return Err(Malformed("an effect of unknown kind")),
        })
    }
}

pub(super) fn put_stream(out: &mut Vec<u8>, stream: &Stream) {
    out.put_short_text(stream.class());
    out.put_short_text(stream.jurisdiction());
}

pub(super) fn take_stream(from: &mut Reader<'_>) -> Result<Stream, Malformed> {
    let (class, jurisdiction) = (from.short_text()?, from.short_text()?);
    Stream::new(class, jurisdiction).map_err(|_| Malformed("a class or jurisdiction is not a label"))
}

pub(super) fn take_day(from: &mut Reader<'_>) -> Result<Day, Malformed> {
    Day::from_number(from.i32()?).ok_or(Malformed("a day lies outside the years 0 to 9999"))
}

pub(super) fn take_subject(from: &mut Reader<'_>) -> Result<SubjectNumber, Malformed> {
    from.array().map(SubjectNumber::from_bytes)
}

pub(super) fn put_maybe_subject(out: &mut Vec<u8>, subject: Option<&SubjectNumber>) {
    out.put_u8(u8::from(subject.is_some()));
    subject.into_iter().for_each(|subject| out.put(subject.as_bytes()));
}

pub(super) fn take_maybe_subject(from: &mut Reader<'_>) -> Result<Option<SubjectNumber>, Malformed> {
    flag(from)?.then(|| take_subject(from)).transpose()
}

pub(super) fn put_held(out: &mut Vec<u8>, held: &HeldCells) {
    put_many(out, held, |out, (partition, subjects)| {
        out.put_u64(partition.0);
        put_many(out, subjects, |out, subject| out.put(subject.as_bytes()));
    });
}

pub(super) fn take_held(from: &mut Reader<'_>) -> Result<HeldCells, Malformed> {
    let held = take_many(from, |from| Ok((PartitionNumber(from.u64()?), take_many(from, take_subject)?)))?;
    let full = held.iter().all(|(_, subjects)| !subjects.is_empty() && subjects.is_sorted_by(|a, b| a < b));
    match full && held.is_sorted_by(|a, b| a.0 < b.0) {
        true => Ok(held),
        false => Err(Malformed("held cells are out of order")),
    }
}

pub(super) fn flag(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a flag is neither zero nor one")),
    }
}

/// A time that may be missing: a flag, and eight bytes that are zero without one.
pub(super) fn put_time(out: &mut Vec<u8>, at: Option<Timestamp>) {
    out.put_u8(u8::from(at.is_some()));
    out.put_i64(at.unwrap_or_default().as_micros());
}

pub(super) fn take_time(from: &mut Reader<'_>) -> Result<Option<Timestamp>, Malformed> {
    let present = flag(from)?;
    let at = super::time(from.i64()?)?;
    match present || at.as_micros() == 0 {
        true => Ok(present.then_some(at)),
        false => Err(Malformed("a time that is neither there nor not")),
    }
}
