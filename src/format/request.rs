//! Requests, by which another process asks something of the writer, and the answers to them. A request names customers by
//! subject number and place in the keyring, and is sealed, words and bodies too, under a key that dies with the keyring's
//! root; an answer names an act of the ledger, a hold or a record.

use std::fmt;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring_entry::{self, Anchor, put_optional_time, put_stream, take_optional_time, take_stream};
use super::keyring_hold::{MATTER_LIMIT, REASON_LIMIT, put_words, take_words};
use super::lease::opened;
use super::mark::FORMAT_VERSION;
use crate::crypto::{NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
use crate::ident::{RecordId, StoreId, Stream, SubjectNumber};
use crate::record::{BODY_LIMIT, Hold};
use crate::window::Timestamp;

const REQUEST_MAGIC: &[u8; 8] = b"TNRREQU\0";
const ANSWER_MAGIC: &[u8; 8] = b"TNRANSW\0";

/// The most customers that one request may name.
pub const SUBJECTS_LIMIT: usize = 65_536;
/// The longest request in bytes: one that brings a body.
pub const REQUEST_LIMIT: u64 = BODY_LIMIT as u64 + 256;
/// Length of an answer in bytes.
pub const ANSWER_BYTES: usize = 60;

const HEAD_BYTES: usize = 48;

/// A customer, named to a writer of the same keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who.
    pub subject: SubjectNumber,
    /// Under which tag the keyring keeps the entry, so that nobody has to search for it.
    pub tag: [u8; 16],
}

/// What is asked. `Debug` shows neither words nor bodies.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Erase customers.
    Erase {
        /// Who.
        customers: Vec<Named>,
    },
    /// Erase a part of a customer.
    ErasePart {
        /// Who.
        customer: Named,
        /// Only this stream.
        stream: Option<Stream>,
        /// Only what lies before this time.
        until: Option<Timestamp>,
    },
    /// Expire what is due.
    Expire {
        /// By this time instead of trusted time.
        now: Option<Timestamp>,
        /// Whether a time later than trusted time has been confirmed.
        confirmed: bool,
    },
    /// Place a legal hold.
    Hold {
        /// On whom; none is on everybody.
        customer: Option<Named>,
        /// What of them, and why.
        hold: Hold,
    },
    /// Lift a legal hold.
    Release {
        /// Its number.
        hold: u64,
    },
    /// Keep a fact about a customer.
    Report {
        /// About whom.
        customer: Named,
        /// Of which kind: that of an [`Anchor`].
        kind: u8,
        /// When it was; none where it is so no more.
        at: Option<Timestamp>,
    },
    /// Put a record right.
    Rectify {
        /// Whose.
        customer: Named,
        /// Which.
        id: RecordId,
        /// What is to stand in it.
        body: Zeroizing<Vec<u8>>,
    },
    /// Destroy a record.
    Redact {
        /// Whose.
        customer: Named,
        /// Which.
        id: RecordId,
        /// Whether also where a duty keeps it.
        despite: bool,
    },
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.kind())
    }
}

/// What stands in the clear before a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The store that is asked.
    pub store: StoreId,
    /// The epoch of the root whose key seals it.
    pub epoch: u64,
    /// It is not to be begun after this time.
    pub until: Timestamp,
}

impl RequestHead {
    fn encode(&self) -> Vec<u8> {
        let mut out = REQUEST_MAGIC.to_vec();
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put_u64(self.epoch);
        out.put_i64(self.until.as_micros());
        out
    }
}

/// A request as it was found, not opened yet.
#[derive(Debug)]
pub struct SealedRequest<'a> {
    /// What stands in the clear.
    pub head: RequestHead,
    associated: &'a [u8],
    nonce: Nonce,
    sealed: &'a [u8],
    tag: [u8; TAG_BYTES],
}

impl<'a> SealedRequest<'a> {
    /// Reads the whole file, as far as it goes without the key.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() as u64 > REQUEST_LIMIT {
            return Err(Malformed("it is too long"));
        }
        let mut from = opened(bytes, REQUEST_MAGIC)?;
        if from.array()? != [0; 6] {
            return Err(Malformed("reserved bytes are not zero"));
        }
        let store = StoreId::from_bytes(from.array()?);
        let head = RequestHead { store, epoch: from.u64()?, until: keyring_entry::take_time(&mut from)? };
        let nonce = from.array()?;
        let (sealed, tag) = from.rest().split_last_chunk().ok_or(Malformed("it ends too early"))?;
        Ok(SealedRequest { head, associated: &bytes[..HEAD_BYTES], nonce, sealed, tag: *tag })
    }

    /// Opens it.
    pub fn open(&self, sealer: &Sealer) -> Result<Request, Malformed> {
        let mut plain = Zeroizing::new(self.sealed.to_vec());
        let opened = sealer.open(&self.nonce, self.associated, &mut plain, &self.tag);
        opened.map_err(|_| Malformed("it was sealed under another key, or changed"))?;
        Request::decode(&plain)
    }
}

impl Named {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.subject.as_bytes());
        out.put(&self.tag);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Named { subject: SubjectNumber::from_bytes(from.array()?), tag: from.array()? })
    }
}

impl Request {
    /// The bytes of a request, sealed. `nonce` must never be used again with this key.
    pub fn seal(&self, head: &RequestHead, sealer: &Sealer, nonce: &Nonce) -> Vec<u8> {
        let associated = head.encode();
        let mut plain = self.encode();
        let tag = sealer.seal(nonce, &associated, &mut plain);
        let mut out = associated;
        out.reserve(NONCE_BYTES + plain.len() + TAG_BYTES + 4);
        out.put(nonce);
        out.put(&plain);
        out.put(&tag);
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        out
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Erase { .. } => 1,
            Request::ErasePart { .. } => 2,
            Request::Expire { .. } => 3,
            Request::Hold { .. } => 4,
            Request::Release { .. } => 5,
            Request::Report { .. } => 6,
            Request::Rectify { .. } => 7,
            Request::Redact { .. } => 8,
        }
    }

    /// Room for the plaintext, so that it is never moved and left behind.
    fn room(&self) -> usize {
        256 + match self {
            Request::Erase { customers } => 32 * customers.len(),
            Request::Hold { hold, .. } => hold.matter.len() + hold.reason.len(),
            Request::Rectify { body, .. } => body.len(),
            _ => 0,
        }
    }

    /// The plaintext. Words, bodies and the number of customers are within their limits.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.room()));
        out.put_u8(self.kind());
        match self {
            Request::Erase { customers } => {
                out.put_u32(u32::try_from(customers.len()).expect("callers bound the number of customers"));
                customers.iter().for_each(|customer| customer.encode(&mut out));
            }
            Request::ErasePart { customer, stream, until } => {
                customer.encode(&mut out);
                put_optional_stream(&mut out, stream.as_ref());
                put_optional_time(&mut out, *until);
            }
            Request::Expire { now, confirmed } => {
                put_optional_time(&mut out, *now);
                out.put_u8(u8::from(*confirmed));
            }
            Request::Hold { customer, hold } => {
                out.put_u8(u8::from(customer.is_some()));
                customer.iter().for_each(|customer| customer.encode(&mut out));
                put_optional_stream(&mut out, hold.stream.as_ref());
                put_optional_time(&mut out, hold.from);
                put_optional_time(&mut out, hold.until);
                put_words(&mut out, &hold.matter);
                put_words(&mut out, &hold.reason);
            }
            Request::Release { hold } => out.put_u64(*hold),
            Request::Report { customer, kind, at } => {
                customer.encode(&mut out);
                out.put_u8(*kind);
                put_optional_time(&mut out, *at);
            }
            Request::Rectify { customer, id, body } => {
                customer.encode(&mut out);
                out.put(id.as_bytes());
                out.put(body);
            }
            Request::Redact { customer, id, despite } => {
                customer.encode(&mut out);
                out.put(id.as_bytes());
                out.put_u8(u8::from(*despite));
            }
        }
        out
    }

    /// Reads what was sealed.
    pub fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(plain);
        let request = match from.u8()? {
            1 => {
                let count = from.u32()? as usize;
                if count > SUBJECTS_LIMIT {
                    return Err(Malformed("it names too many customers"));
                }
                let customers = (0..count).map(|_| Named::decode(&mut from)).collect::<Result<_, _>>()?;
                Request::Erase { customers }
            }
            2 => {
                let customer = Named::decode(&mut from)?;
                let stream = take_optional_stream(&mut from)?;
                Request::ErasePart { customer, stream, until: take_optional_time(&mut from)? }
            }
            3 => Request::Expire { now: take_optional_time(&mut from)?, confirmed: flag(&mut from)? },
            4 => Request::take_hold(&mut from)?,
            5 => Request::Release { hold: from.u64()? },
            6 => {
                let (customer, kind) = (Named::decode(&mut from)?, from.u8()?);
                if ![Anchor::RELATIONSHIP_ENDED, Anchor::REQUEST_CLOSED].contains(&kind) {
                    return Err(Malformed("a fact of a kind that nobody reports"));
                }
                Request::Report { customer, kind, at: take_optional_time(&mut from)? }
            }
            7 => {
                let (customer, id) = (Named::decode(&mut from)?, RecordId::from_bytes(from.array()?));
                let body = Zeroizing::new(from.rest().to_vec());
                if body.len() > BODY_LIMIT {
                    return Err(Malformed("the body is too long"));
                }
                return Ok(Request::Rectify { customer, id, body });
            }
            8 => {
                let (customer, id) = (Named::decode(&mut from)?, RecordId::from_bytes(from.array()?));
                Request::Redact { customer, id, despite: flag(&mut from)? }
            }
            _ => return Err(Malformed("it asks for something unknown")),
        };
        from.finish()?;
        Ok(request)
    }

    fn take_hold(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let customer = if flag(from)? { Some(Named::decode(from)?) } else { None };
        let stream = take_optional_stream(from)?;
        let (since, until) = (take_optional_time(from)?, take_optional_time(from)?);
        let (matter, reason) = (take_words(from, MATTER_LIMIT)?, take_words(from, REASON_LIMIT)?);
        Ok(Request::Hold { customer, hold: Hold { matter, reason, stream, from: since, until } })
    }
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, as this act of the ledger.
    Done(u64),
    /// The hold stands, under this number.
    Placed(u64),
    /// The fact is kept.
    Kept,
    /// This record stands in the place of the one that was to be put right.
    Amended(RecordId),
    /// There was nothing to do.
    Nothing,
    /// It came too late, or was sealed under a root that is no longer in force: it may be asked again.
    Stale,
    /// It could not be understood.
    Damaged,
    /// It is not allowed, or comes too late.
    Refused,
    /// A legal hold stands against it.
    Held,
    /// It failed on the way. What was written down to be done will be done.
    Failed,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The store that answers.
    pub store: StoreId,
    /// What has come of it.
    pub outcome: Outcome,
    /// When it was answered.
    pub at: Timestamp,
}

impl Answer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (code, what) = match self.outcome {
            Outcome::Done(act) => (1, numbered(act)),
            Outcome::Nothing => (2, [0; 16]),
            Outcome::Stale => (3, [0; 16]),
            Outcome::Damaged => (4, [0; 16]),
            Outcome::Refused => (5, [0; 16]),
            Outcome::Failed => (6, [0; 16]),
            Outcome::Held => (7, [0; 16]),
            Outcome::Placed(hold) => (8, numbered(hold)),
            Outcome::Kept => (9, [0; 16]),
            Outcome::Amended(id) => (10, *id.as_bytes()),
        };
        let mut out = ANSWER_MAGIC.to_vec();
        out.put_u16(FORMAT_VERSION);
        out.put_u8(code);
        out.put(&[0; 5]);
        out.put(self.store.as_bytes());
        out.put(&what);
        out.put_i64(self.at.as_micros());
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        out
    }

    /// Reads the whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = opened(bytes, ANSWER_MAGIC)?;
        let code = from.u8()?;
        if from.array()? != [0; 5] {
            return Err(Malformed("reserved bytes are not zero"));
        }
        let store = StoreId::from_bytes(from.array()?);
        let (what, at) = (from.array()?, keyring_entry::take_time(&mut from)?);
        from.finish()?;
        let number = u128::from_le_bytes(what);
        let counted = u64::try_from(number).ok().filter(|number| *number > 0);
        let outcome = match (code, number, counted) {
            (1, _, Some(act)) => Outcome::Done(act),
            (2, 0, _) => Outcome::Nothing,
            (3, 0, _) => Outcome::Stale,
            (4, 0, _) => Outcome::Damaged,
            (5, 0, _) => Outcome::Refused,
            (6, 0, _) => Outcome::Failed,
            (7, 0, _) => Outcome::Held,
            (8, _, Some(hold)) => Outcome::Placed(hold),
            (9, 0, _) => Outcome::Kept,
            (10, 1.., _) => Outcome::Amended(RecordId::from_bytes(what)),
            _ => return Err(Malformed("an answer of unknown kind")),
        };
        Ok(Answer { store, outcome, at })
    }
}

fn flag(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a flag is neither set nor clear")),
    }
}

fn put_optional_stream(out: &mut Vec<u8>, stream: Option<&Stream>) {
    out.put_u8(u8::from(stream.is_some()));
    stream.iter().for_each(|stream| put_stream(out, stream));
}

fn take_optional_stream(from: &mut Reader<'_>) -> Result<Option<Stream>, Malformed> {
    Ok(if flag(from)? { Some(take_stream(from)?) } else { None })
}

/// A number in the place of an id.
fn numbered(number: u64) -> [u8; 16] {
    u128::from(number).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;

    fn head() -> RequestHead {
        RequestHead { store: StoreId::from_bytes([3; 16]), epoch: 9, until: Timestamp::from_micros(77) }
    }

    fn samples() -> Vec<Request> {
        let customer = |byte| Named { subject: SubjectNumber::from_bytes([byte; 16]), tag: [byte + 100; 16] };
        let (stream, time) = (Stream::new("chat", "EU").ok(), Some(Timestamp::from_micros(5)));
        let (id, at) = (RecordId::from_bytes([7; 16]), None);
        let hold = |stream| Hold { matter: "Miller".into(), reason: "why".into(), stream, from: None, until: time };
        vec![
            Request::Hold { customer: Some(customer(4)), hold: hold(stream.clone()) },
            Request::Hold { customer: None, hold: hold(None) },
            Request::Release { hold: 3 },
            Request::Report { customer: customer(5), kind: Anchor::RELATIONSHIP_ENDED, at },
            Request::Report { customer: customer(5), kind: Anchor::REQUEST_CLOSED, at: time },
            Request::Rectify { customer: customer(6), id, body: Zeroizing::new(b"better".to_vec()) },
            Request::Redact { customer: customer(6), id, despite: true },
            Request::Erase { customers: vec![customer(1), customer(2)] },
            Request::ErasePart { customer: customer(3), stream, until: None },
            Request::ErasePart { customer: customer(3), stream: None, until: time },
            Request::Expire { now: time, confirmed: true },
            Request::Expire { now: None, confirmed: false },
        ]
    }

    #[test]
    fn requests_open_under_their_key_alone_and_no_bit_of_them_may_flip() {
        let (sealer, other) = (Sealer::new(&Key::take(&mut [1; 32])), Sealer::new(&Key::take(&mut [2; 32])));
        for request in samples() {
            let bytes = request.seal(&head(), &sealer, &[4; 12]);
            let parsed = SealedRequest::parse(&bytes).unwrap();
            let shown = format!("{request:?}");
            assert!(["Miller", "why", "better"].iter().all(|word| !shown.contains(word)), "{shown}");
            assert_eq!((parsed.head, parsed.open(&sealer)), (head(), Ok(request)));
            assert!(parsed.open(&other).is_err());
            for index in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[index / 8] ^= 1 << (index % 8);
                assert!(SealedRequest::parse(&damaged).is_err());
                // With a checksum that fits, the seal finds it.
                let covered = damaged.len() - 4;
                let checksum = crc32fast::hash(&damaged[..covered]).to_le_bytes();
                damaged[covered..].copy_from_slice(&checksum);
                if index < covered * 8 {
                    assert!(!SealedRequest::parse(&damaged).is_ok_and(|parsed| parsed.open(&sealer).is_ok()));
                }
            }
            assert!((0..bytes.len()).all(|length| SealedRequest::parse(&bytes[..length]).is_err()));
        }
    }

    #[test]
    fn answers_read_back_and_no_bit_of_them_may_flip() {
        use Outcome::{Amended, Damaged, Done, Failed, Held, Kept, Nothing, Placed, Refused, Stale};
        let amended = Amended(RecordId::from_bytes([5; 16]));
        let outcomes = [Nothing, Stale, Damaged, Refused, Failed, Held, Kept, Placed(2), amended];
        for outcome in outcomes.into_iter().chain([Done(1), Done(u64::MAX)]) {
            let answer = Answer { store: head().store, outcome, at: Timestamp::from_micros(8) };
            let bytes = answer.encode();
            assert_eq!((bytes.len(), Answer::decode(&bytes)), (ANSWER_BYTES, Ok(answer)));
            for index in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[index / 8] ^= 1 << (index % 8);
                assert!(Answer::decode(&damaged).is_err());
            }
        }
        let done = Answer { store: head().store, outcome: Done(1), at: Timestamp::from_micros(8) }.encode();
        let mut nobody = done[..ANSWER_BYTES - 4].to_vec();
        nobody[32..48].fill(0);
        let checksum = crc32fast::hash(&nobody);
        nobody.put_u32(checksum);
        assert!(Answer::decode(&nobody).is_err(), "an act has a number");
    }
}
