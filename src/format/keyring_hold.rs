//! What the keyring keeps of a legal hold, byte for byte: whom it concerns, and why, in words that stand nowhere else.

use std::fmt;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{EntryKind, TreeKey};
use super::keyring_entry::{put_optional_time, put_stream, take_optional_time, take_stream, take_time};
use super::keyring_tree::Payload;
use crate::ident::{CustomerId, SubjectNumber};
use crate::policy::HoldScope;
use crate::window::Timestamp;

/// The longest matter in bytes of UTF-8.
pub const MATTER_LIMIT: usize = 256;
/// The longest reason in bytes of UTF-8.
pub const REASON_LIMIT: usize = 4096;

/// A legal hold on one customer, or on everybody. `Debug` shows neither who it is nor why.
#[derive(Clone, PartialEq, Eq)]
pub struct HoldEntry {
    /// Counts the holds of the store, from one.
    pub number: u64,
    /// On whom, the customer's random name beside the id; none is on everybody.
    pub customer: Option<(SubjectNumber, CustomerId)>,
    /// What of the customer is held.
    pub scope: HoldScope,
    /// When it was placed.
    pub placed: Timestamp,
    /// The matter it belongs to.
    pub matter: String,
    /// Why.
    pub reason: String,
}

impl fmt::Debug for HoldEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = self.customer.as_ref().map_or("everybody".to_owned(), |(subject, _)| subject.to_string());
        write!(f, "HoldEntry({} on {whom})", self.number)
    }
}

pub(super) fn put_words(out: &mut Vec<u8>, words: &str) {
    out.put_u16(words.len() as u16); // Callers bound it.
    out.put(words.as_bytes());
}

pub(super) fn take_words(from: &mut Reader<'_>, limit: usize) -> Result<String, Malformed> {
    let length = usize::from(from.u16()?);
    if length > limit {
        return Err(Malformed("the words of a hold are too long"));
    }
    std::str::from_utf8(from.take(length)?).map(str::to_owned).map_err(|_| Malformed("a hold is not UTF-8"))
}

impl HoldEntry {
    /// On whom it is; none is on everybody.
    pub fn subject(&self) -> Option<SubjectNumber> {
        self.customer.as_ref().map(|(subject, _)| *subject)
    }

    /// Where hold `number` stands.
    pub fn key(number: u64) -> TreeKey {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&number.to_be_bytes());
        TreeKey::new(EntryKind::Hold, &tag)
    }

    /// Its payload. Matter and reason are within their limits.
    pub fn encode(&self) -> Payload {
        assert!(self.matter.len() <= MATTER_LIMIT && self.reason.len() <= REASON_LIMIT, "words are bounded before");
        let id = self.customer.as_ref().map_or(0, |(_, id)| id.expose().len());
        let room = 256 + id + self.matter.len() + self.reason.len();
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        out.put_u64(self.number);
        out.put_u8(u8::from(self.customer.is_some()));
        if let Some((subject, id)) = &self.customer {
            out.put(subject.as_bytes());
            put_words(&mut out, id.expose());
        }
        out.put_u8(u8::from(self.scope.stream.is_some()));
        self.scope.stream.iter().for_each(|stream| put_stream(&mut out, stream));
        put_optional_time(&mut out, self.scope.from);
        put_optional_time(&mut out, self.scope.until);
        out.put_i64(self.placed.as_micros());
        put_words(&mut out, &self.matter);
        put_words(&mut out, &self.reason);
        Payload::own(out)
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let number = from.u64()?;
        let customer = match from.u8()? {
            0 => None,
            1 => {
                let subject = SubjectNumber::from_bytes(from.array()?);
                let id = CustomerId::new(take_words(&mut from, usize::from(u16::MAX))?);
                Some((subject, id.map_err(|_| Malformed("an id of impossible length"))?))
            }
            _ => return Err(Malformed("a customer that is neither there nor not")),
        };
        let stream = match from.u8()? {
            0 => None,
            1 => Some(take_stream(&mut from)?),
            _ => return Err(Malformed("a stream that is neither there nor not")),
        };
        let scope = HoldScope { stream, from: take_optional_time(&mut from)?, until: take_optional_time(&mut from)? };
        let placed = take_time(&mut from)?;
        let (matter, reason) = (take_words(&mut from, MATTER_LIMIT)?, take_words(&mut from, REASON_LIMIT)?);
        from.finish()?;
        match number > 0 && scope.is_possible() {
            true => Ok(HoldEntry { number, customer, scope, placed, matter, reason }),
            false => Err(Malformed("a hold without a number, or one that ends before it begins")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Stream;

    #[test]
    fn a_hold_reads_back_and_shows_nobody() {
        let hold = HoldEntry {
            number: 7,
            customer: Some((SubjectNumber::from_bytes([3; 16]), CustomerId::new("c-secret").unwrap())),
            scope: HoldScope {
                stream: Stream::new("chat", "EU").ok(),
                from: None,
                until: Some(Timestamp::from_micros(9)),
            },
            placed: Timestamp::from_micros(5),
            matter: "Miller against Miller".into(),
            reason: "subpoena".into(),
        };
        let payload = hold.encode();
        assert_eq!(HoldEntry::decode(&payload), Ok(hold.clone()));
        assert!((0..payload.len()).all(|length| HoldEntry::decode(&payload[..length]).is_err()));
        let all = HoldEntry { customer: None, ..hold.clone() };
        assert_eq!(HoldEntry::decode(&all.encode()), Ok(all));
        let shown = format!("{hold:?}");
        assert!(["c-secret", "Miller", "subpoena"].iter().all(|word| !shown.contains(word)), "{shown}");
        let nothing = HoldEntry { scope: HoldScope { from: hold.scope.until, ..hold.scope.clone() }, ..hold.clone() };
        assert!(HoldEntry::decode(&nothing.encode()).is_err(), "no time is between its ends");
        assert!(HoldEntry::decode(&HoldEntry { number: 0, ..hold }.encode()).is_err());
    }
}
