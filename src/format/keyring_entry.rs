//! What the keyring keeps of a customer, byte for byte, and the fields that other payloads share.

use std::fmt;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::PAYLOAD_LIMIT;
use super::keyring_tree::Payload;
use crate::crypto::Key;
use crate::ident::{CustomerId, Handle, PartitionNumber, Stream, SubjectNumber};
use crate::window::{Day, Timestamp, Window};

/// How much of a customer's row a secret covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretScope {
    /// All of it: the customer's secret itself.
    Whole,
    /// One stream: its stream key.
    Stream(Stream),
    /// One calendar year of a stream: its year key.
    Year(Stream, i16),
    /// One partition: the row's half of the cell.
    Window(PartitionNumber),
    /// One cell of a partition whose own key is gone: the cell key, and the handle, which cannot be derived any more.
    Cell(PartitionNumber, Handle),
}

/// One secret of a customer.
#[derive(Debug)]
pub struct Secret {
    /// What it covers.
    pub scope: SecretScope,
    /// Whether ordinary readers are refused what it covers.
    pub restricted: bool,
    /// The secret.
    pub key: Key,
}

/// Whether a customer entry opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomerState {
    /// It does.
    Living,
    /// It stays without secrets as a fence against late events.
    Tombstone {
        /// When the customer was erased.
        erased: Timestamp,
    },
}

/// What is known of a customer's use of one stream: facts, never deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUse {
    /// The stream.
    pub stream: Stream,
    /// First day of the earliest window used.
    pub first_day: Day,
    /// The latest calendar year used.
    pub last_year: i16,
}

/// A fact about the customer that periods may run from, as the embedding service reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// 1 end of the relationship, 2 last contact, 3 closed request.
    pub kind: u8,
    /// When that was.
    pub at: Timestamp,
}

impl Anchor {
    /// The end of the relationship.
    pub const RELATIONSHIP_ENDED: u8 = 1;
    /// A contact that was reported, whether or not a record tells of it.
    pub const LAST_CONTACT: u8 = 2;
    /// A closed request.
    pub const REQUEST_CLOSED: u8 = 3;
}

/// What the keyring knows of one customer. `Debug` shows neither id nor secrets.
pub struct CustomerEntry {
    /// Who it is.
    pub id: CustomerId,
    /// Its random name in ledger, access log and receipts.
    pub subject: SubjectNumber,
    /// What opens its records, newest last; writers use the last whole one, readers try all.
    pub secrets: Vec<Secret>,
    /// Whether it opens anything.
    pub state: CustomerState,
    /// When the entry was made.
    pub created: Timestamp,
    /// Events before this are refused.
    pub not_before: Option<Timestamp>,
    /// The streams it was used in, in order of first use.
    pub streams: Vec<StreamUse>,
    /// Facts that periods may run from.
    pub anchors: Vec<Anchor>,
}

impl fmt::Debug for CustomerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerEntry({}, {} secrets, {:?})", self.subject, self.secrets.len(), self.state)
    }
}

pub(super) fn put_stream(out: &mut Vec<u8>, stream: &Stream) {
    out.put_short_text(stream.class());
    out.put_short_text(stream.jurisdiction());
}

pub(super) fn take_stream(from: &mut Reader<'_>) -> Result<Stream, Malformed> {
    Stream::new(from.short_text()?, from.short_text()?).map_err(|_| Malformed("a stream with impossible labels"))
}

pub(super) fn take_time(from: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    let micros = from.i64()?;
    let at = Timestamp::from_micros(micros);
    if at.as_micros() == micros { Ok(at) } else { Err(Malformed("a time outside the calendar")) }
}

pub(super) fn take_day(from: &mut Reader<'_>) -> Result<Day, Malformed> {
    Day::from_number(from.i32()?).ok_or(Malformed("a day outside the calendar"))
}

pub(super) fn put_optional_time(out: &mut Vec<u8>, at: Option<Timestamp>) {
    out.put_u8(u8::from(at.is_some()));
    if let Some(at) = at {
        out.put_i64(at.as_micros());
    }
}

pub(super) fn take_optional_time(from: &mut Reader<'_>) -> Result<Option<Timestamp>, Malformed> {
    match from.u8()? {
        0 => Ok(None),
        1 => take_time(from).map(Some),
        _ => Err(Malformed("a time that is neither there nor not")),
    }
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_short(count as u64);
}

pub(super) fn take_list<T>(
    from: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = from.short_u32()?;
    let mut list = Vec::with_capacity(count.min(8) as usize); // A count alone reserves no more.
    for _ in 0..count {
        list.push(one(from)?);
    }
    Ok(list)
}

impl Secret {
    /// Streams are named by their place in `streams`: a row in pieces has dozens of secrets, and an entry is to stay small.
    /// None where a stream is not among them.
    fn encode(&self, streams: &[StreamUse], out: &mut Vec<u8>) -> Option<()> {
        let place = |stream: &Stream| {
            let place = streams.iter().position(|used| used.stream == *stream)?;
            u16::try_from(place).ok()
        };
        out.put_u8(u8::from(self.restricted));
        match &self.scope {
            SecretScope::Whole => out.put_u8(1),
            SecretScope::Stream(stream) => {
                out.put_u8(2);
                out.put_u16(place(stream)?);
            }
            SecretScope::Year(stream, year) => {
                out.put_u8(3);
                out.put_u16(place(stream)?);
                out.put(&year.to_le_bytes());
            }
            SecretScope::Window(number) => {
                out.put_u8(4);
                out.put_u64(number.0);
            }
            SecretScope::Cell(number, handle) => {
                out.put_u8(5);
                out.put_u64(number.0);
                out.put(handle.as_bytes());
            }
        }
        out.put(self.key.expose());
        Some(())
    }

    fn decode(from: &mut Reader<'_>, streams: &[StreamUse]) -> Result<Self, Malformed> {
        let stream = |from: &mut Reader<'_>| match streams.get(usize::from(from.u16()?)) {
            Some(used) => Ok(used.stream.clone()),
            None => Err(Malformed("a secret of a stream that was never used")),
        };
        let restricted = match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("a secret that is neither restricted nor not")),
        };
        let scope = match from.u8()? {
            1 => SecretScope::Whole,
            2 => SecretScope::Stream(stream(from)?),
            3 => SecretScope::Year(stream(from)?, i16::from_le_bytes(from.array()?)),
            4 => SecretScope::Window(PartitionNumber(from.u64()?)),
            5 => SecretScope::Cell(PartitionNumber(from.u64()?), Handle::from_bytes(from.array()?)),
            _ => return Err(Malformed("a secret of unknown scope")),
        };
        Ok(Secret { scope, restricted, key: Key::take(&mut from.array()?) })
    }

    /// A second one, key included.
    pub fn duplicate(&self) -> Self {
        Secret { scope: self.scope.clone(), restricted: self.restricted, key: self.key.duplicate() }
    }
}

impl CustomerEntry {
    /// The secret that writers use: the newest that covers everything and is free.
    pub fn secret(&self) -> Option<&Secret> {
        self.secrets.iter().rev().find(|secret| secret.scope == SecretScope::Whole && !secret.restricted)
    }

    /// Whether any of it is for nobody but who serves a duty or a hold.
    pub fn is_restricted(&self) -> bool {
        self.secrets.iter().any(|secret| secret.restricted)
    }

    /// Whether records may be written under it: it lives and has a secret for that, not only held cells.
    pub fn is_writable(&self) -> bool {
        self.state == CustomerState::Living && self.secret().is_some()
    }

    /// Whether its facts already cover a use of `stream` in `window`.
    pub fn covers(&self, stream: &Stream, window: &Window) -> bool {
        let found = self.streams.iter().find(|used| used.stream == *stream);
        found.is_some_and(|used| used.first_day <= window.first_day() && window.year() <= used.last_year)
    }

    /// The same customer with facts that cover a use of `stream` in `window`.
    pub fn used_in(&self, stream: &Stream, window: &Window) -> CustomerEntry {
        let mut streams = self.streams.clone();
        match streams.iter_mut().find(|used| used.stream == *stream) {
            Some(used) => {
                used.first_day = used.first_day.min(window.first_day());
                used.last_year = used.last_year.max(window.year());
            }
            None => {
                streams.reserve_exact(1);
                let (first_day, last_year) = (window.first_day(), window.year());
                streams.push(StreamUse { stream: stream.clone(), first_day, last_year });
            }
        }
        CustomerEntry { streams, ..self.duplicate() }
    }

    /// A second one, secrets included.
    pub fn duplicate(&self) -> CustomerEntry {
        CustomerEntry {
            id: self.id.clone(),
            subject: self.subject,
            secrets: self.secrets.iter().map(Secret::duplicate).collect(),
            state: self.state,
            created: self.created,
            not_before: self.not_before,
            streams: self.streams.clone(),
            anchors: self.anchors.clone(),
        }
    }

    /// Its payload; none where it is longer than an entry may be, or has a secret of a stream that it was never used in.
    pub fn encode(&self) -> Option<Payload> {
        let room = 512 + self.id.expose().len() + self.secrets.len() * 112 + self.streams.len() * 80;
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        let erased = match self.state {
            CustomerState::Living => None,
            CustomerState::Tombstone { erased } => Some(erased),
        };
        put_optional_time(&mut out, erased);
        out.put(self.subject.as_bytes());
        out.put_i64(self.created.as_micros());
        put_optional_time(&mut out, self.not_before);
        out.put_u16(self.id.expose().len() as u16);
        out.put(self.id.expose().as_bytes());
        put_count(&mut out, self.streams.len());
        for used in &self.streams {
            put_stream(&mut out, &used.stream);
            out.put_i32(used.first_day.number());
            out.put(&used.last_year.to_le_bytes());
        }
        put_count(&mut out, self.secrets.len());
        for secret in &self.secrets {
            secret.encode(&self.streams, &mut out)?;
        }
        put_count(&mut out, self.anchors.len());
        for anchor in &self.anchors {
            out.put_u8(anchor.kind);
            out.put_i64(anchor.at.as_micros());
        }
        let counts = [self.secrets.len(), self.streams.len(), self.anchors.len()];
        let fits = out.len() <= PAYLOAD_LIMIT && counts.iter().all(|count| *count <= usize::from(u16::MAX));
        fits.then(|| Payload::own(out))
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let erased = take_optional_time(&mut from)?;
        let subject = SubjectNumber::from_bytes(from.array()?);
        let created = take_time(&mut from)?;
        let not_before = take_optional_time(&mut from)?;
        let length = usize::from(from.u16()?);
        let id = std::str::from_utf8(from.take(length)?).map_err(|_| Malformed("an id is not UTF-8"))?;
        let id = CustomerId::new(id).map_err(|_| Malformed("an id of impossible length"))?;
        let streams = take_list(&mut from, |from| {
            Ok(StreamUse {
                stream: take_stream(from)?,
                first_day: take_day(from)?,
                last_year: i16::from_le_bytes(from.array()?),
            })
        })?;
        let secrets = take_list(&mut from, |from| Secret::decode(from, &streams))?;
        let anchors = take_list(&mut from, |from| match from.u8()? {
            kind @ 1..=3 => Ok(Anchor { kind, at: take_time(from)? }),
            _ => Err(Malformed("an anchor of unknown kind")),
        })?;
        from.finish()?;
        let state = match erased {
            None => CustomerState::Living,
            Some(erased) => CustomerState::Tombstone { erased },
        };
        if erased.is_some() != secrets.is_empty() {
            return Err(Malformed("a living customer without secrets, or a tombstone with some"));
        }
        Ok(CustomerEntry { id, subject, secrets, state, created, not_before, streams, anchors })
    }
}
