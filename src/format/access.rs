//! The access log's bytes: the head of a file, the sealed leaf of one use, and the month's key in the keyring. Commits of
//! leaves are the ledger's. Pure; the files are `crate::access_log`'s.

use std::fmt;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{EntryKind, FORMAT_VERSION, TreeKey, checked, put_crc, zeros};
use super::keyring_tree::Payload;
use crate::crypto::{Key, NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
use crate::ident::{StoreId, SubjectNumber};
use crate::rights::{ACTOR_LIMIT, PURPOSE_LIMIT, Right, Role};
use crate::window::{Day, Timestamp, Window, WindowLength};

/// The first bytes of an access log.
pub const MAGIC: [u8; 8] = *b"TNRACCS\0";
/// Length of the head of a file.
pub const HEAD_BYTES: usize = 64;
/// The longest commit: what one append writes.
pub const COMMIT_LIMIT: usize = 4 << 20;
/// Customers named by one entry.
pub const SUBJECTS_LIMIT: usize = 1024;

const ENTRY_KIND: u8 = 1;
/// What of the nonce is drawn anew for every commit.
pub const RANDOM_BYTES: usize = 6;

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Day);

impl Month {
    /// The month that `at` lies in.
    pub fn of(at: Timestamp) -> Self {
        Month(Window::containing(at, WindowLength::Month).first_day())
    }

    /// The month after it.
    pub fn next(self) -> Self {
        Month::of(self.end())
    }

    /// When it is over.
    pub fn end(self) -> Timestamp {
        self.window().end()
    }

    /// The same as a window.
    pub fn window(self) -> Window {
        Window::containing(self.0.start(), WindowLength::Month)
    }

    /// Its first day, counted from 1970-01-01.
    pub fn number(self) -> i32 {
        self.0.number()
    }

    /// The month whose first day has this number.
    pub fn from_number(number: i32) -> Result<Self, Malformed> {
        let day = Day::from_number(number).filter(|day| Window::starting(*day, WindowLength::Month).is_some());
        day.map(Month).ok_or(Malformed("no month begins on that day"))
    }
}

impl fmt::Display for Month {
    /// `2026-11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.0.to_string();
        f.write_str(day.rsplit_once('-').map_or(&*day, |(month, _)| month))
    }
}

/// The random name of one access log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

/// What stands at the start of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose it is.
    pub store: StoreId,
    /// Its name.
    pub log: LogId,
    /// Which month it is of.
    pub month: Month,
}

impl Head {
    /// Its 64 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.put(&MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put(&self.log.0);
        out.put_i32(self.month.number());
        out.put(&[0; 8]);
        put_crc(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = checked(bytes.get(..HEAD_BYTES).ok_or(Malformed("it ends too early"))?, &MAGIC)?;
        zeros(from.take(6)?)?;
        let (store, log) = (StoreId::from_bytes(from.array()?), LogId(from.array()?));
        let month = Month::from_number(from.i32()?)?;
        zeros(from.take(8)?)?;
        from.finish()?;
        Ok(Head { store, log, month })
    }

    fn associated(&self, index: u64, time: Timestamp) -> [u8; 53] {
        let mut bytes = [0; 53];
        bytes[0] = ENTRY_KIND;
        bytes[1..17].copy_from_slice(self.store.as_bytes());
        bytes[17..33].copy_from_slice(&self.log.0);
        bytes[33..37].copy_from_slice(&self.month.number().to_le_bytes());
        bytes[37..45].copy_from_slice(&index.to_le_bytes());
        bytes[45..].copy_from_slice(&time.as_micros().to_le_bytes());
        bytes
    }
}

/// How a use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// It was done, and there was something.
    Done = 1,
    /// It was done, and there was nothing.
    Nothing = 2,
    /// The role does not allow it.
    Refused = 3,
    /// A hold, a duty, the policy or a missing confirmation stood against it.
    Declined = 4,
    /// It failed.
    Failed = 5,
    /// It is about to be done: how it ended stands in a later entry, unless a crash came in between.
    Begun = 6,
}

impl Outcome {
    /// The outcome with this number.
    pub fn from_code(code: u8) -> Option<Outcome> {
        use Outcome::{Begun, Declined, Done, Failed, Nothing, Refused};
        [Done, Nothing, Refused, Declined, Failed, Begun].into_iter().find(|outcome| *outcome as u8 == code)
    }
}

/// Whom a use was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// No single customer, or nobody whom the store knows.
    Nobody,
    /// These, at most [`SUBJECTS_LIMIT`].
    Customers(Vec<SubjectNumber>),
    /// All there are.
    Everybody,
}

/// One use of a store. `Debug` shows neither who nor why.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was done.
    pub right: Right,
    /// In which role.
    pub role: Role,
    /// Whether the role was taken by somebody who holds the keys, rather than given.
    pub role_taken: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Whom it was about.
    pub about: About,
    /// Who did it.
    pub actor: Box<str>,
    /// What for.
    pub purpose: Box<str>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} as {}: {:?})", self.right, self.role, self.outcome)
    }
}

impl Entry {
    /// Its plaintext. Actor, purpose and the number of customers are within their limits.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(64 + self.actor.len() + self.purpose.len()));
        out.put_u8(self.right as u8);
        out.put_u8(self.role as u8);
        out.put_u8(u8::from(self.role_taken));
        out.put_u8(self.outcome as u8);
        match &self.about {
            About::Nobody => out.put_u8(1),
            About::Everybody => out.put_u8(3),
            About::Customers(subjects) => {
                out.put_u8(2);
                out.put_u16(subjects.len() as u16); // Bounded by callers.
                subjects.iter().for_each(|subject| out.put(subject.as_bytes()));
            }
        }
        out.put_short_text(&self.actor);
        out.put_u16(self.purpose.len() as u16); // Bounded by callers.
        out.put(self.purpose.as_bytes());
        out
    }

    /// Reads a plaintext.
    pub fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(plain);
        let right = Right::from_code(from.u8()?).ok_or(Malformed("a use of an unknown kind"))?;
        let role = Role::from_code(from.u8()?).ok_or(Malformed("a role that there is not"))?;
        let role_taken = match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("a flag is neither zero nor one")),
        };
        let outcome = Outcome::from_code(from.u8()?).ok_or(Malformed("a use that ended in no known way"))?;
        let about = match from.u8()? {
            1 => About::Nobody,
            2 => {
                let count = usize::from(from.u16()?);
                if !(1..=SUBJECTS_LIMIT).contains(&count) {
                    return Err(Malformed("a use names too many customers, or none"));
                }
                let subjects: Result<_, _> = (0..count).map(|_| from.array().map(SubjectNumber::from_bytes)).collect();
                About::Customers(subjects?)
            }
            3 => About::Everybody,
            _ => return Err(Malformed("a use that is about no known kind of people")),
        };
        let actor = from.short_text()?;
        let length = usize::from(from.u16()?);
        let purpose = std::str::from_utf8(from.take(length)?).map_err(|_| Malformed("a purpose is not UTF-8"))?;
        from.finish()?;
        match (1..=ACTOR_LIMIT).contains(&actor.len()) && length <= PURPOSE_LIMIT {
            true => Ok(Entry { right, role, role_taken, outcome, about, actor: actor.into(), purpose: purpose.into() }),
            false => Err(Malformed("an actor without a name, or too many words")),
        }
    }

    /// Seals it as leaf `index` of the log: kind, time, random bytes, ciphertext, tag.
    pub fn seal(
        &self,
        head: &Head,
        sealer: &Sealer,
        index: u64,
        time: Timestamp,
        random: &[u8; RANDOM_BYTES],
    ) -> Vec<u8> {
        let plain = self.encode();
        let mut out = Vec::with_capacity(9 + RANDOM_BYTES + plain.len() + TAG_BYTES);
        out.put_u8(ENTRY_KIND);
        out.put_i64(time.as_micros());
        out.put(random);
        let body = out.len();
        out.put(&plain);
        let tag = sealer.seal(&nonce(index, random), &head.associated(index, time), &mut out[body..]);
        out.put(&tag);
        out
    }

    /// Opens leaf `index` of the log.
    pub fn open(head: &Head, sealer: &Sealer, index: u64, leaf: &[u8]) -> Result<(Timestamp, Self), Malformed> {
        let mut from = Reader::new(leaf);
        if from.u8()? != ENTRY_KIND {
            return Err(Malformed("a leaf of an unknown kind"));
        }
        let time = super::ledger::time(from.i64()?)?;
        let random = from.array()?;
        let what = Malformed("an entry does not open with its month's key");
        let (sealed, tag) = from.rest().split_last_chunk().ok_or(what)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let associated = head.associated(index, time);
        sealer.open(&nonce(index, &random), &associated, &mut plain, tag).map_err(|_| what)?;
        Ok((time, Entry::decode(&plain)?))
    }
}

/// The place of the leaf in six bytes, then what was drawn for its commit.
fn nonce(index: u64, random: &[u8; RANDOM_BYTES]) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..6].copy_from_slice(&index.to_le_bytes()[..6]);
    nonce[6..].copy_from_slice(random);
    nonce
}

/// The key of one month's access logs, as the keyring keeps it.
#[derive(Debug)]
pub struct MonthKey {
    /// The month.
    pub month: Month,
    /// Its key.
    pub key: Key,
}

impl MonthKey {
    /// Where the key of a month stands: in the order of months.
    pub fn place(month: Month) -> TreeKey {
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&month.number().cast_unsigned().wrapping_add(1 << 31).to_be_bytes());
        TreeKey::new(EntryKind::AccessMonth, &tag)
    }

    /// Its payload.
    pub fn encode(&self) -> Payload {
        let mut out = Zeroizing::new(Vec::with_capacity(36));
        out.put_i32(self.month.number());
        out.put(self.key.expose());
        Payload::own(out)
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let month = Month::from_number(from.i32()?)?;
        let key = Key::take(&mut from.array()?);
        from.finish()?;
        Ok(MonthKey { month, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::access_key;

    fn head() -> Head {
        let month = Month::of("2026-11-23T12:00:00Z".parse().unwrap());
        Head { store: StoreId::from_bytes([1; 16]), log: LogId([2; 16]), month }
    }

    fn entry() -> Entry {
        Entry {
            right: Right::Timeline,
            role: Role::Agent,
            role_taken: false,
            outcome: Outcome::Done,
            about: About::Customers(vec![SubjectNumber::from_bytes([3; 16])]),
            actor: "ana".into(),
            purpose: "ticket 88".into(),
        }
    }

    #[test]
    fn heads_and_months_read_back() {
        let head = head();
        assert_eq!(head.month.to_string(), "2026-11");
        assert_eq!(head.month.next().to_string(), "2026-12");
        assert_eq!(head.month.next().next().to_string(), "2027-01");
        assert!(Month::from_number(head.month.number() + 1).is_err());
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes), Ok(head));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode(&other).is_err(), "bit {bit}");
        }
        let key = MonthKey { month: head.month, key: Key::take(&mut [7; 32]) };
        let payload = key.encode();
        assert_eq!(MonthKey::decode(&payload).unwrap().encode()[..], payload[..]);
        assert!(MonthKey::place(head.month) < MonthKey::place(head.month.next()));
    }

    #[test]
    fn a_leaf_opens_in_its_own_place_alone_and_shows_nobody() {
        let (head, entry, at) = (head(), entry(), Timestamp::from_micros(7_000_000));
        let sealer = Sealer::new(&access_key(&head.store, &Key::take(&mut [9; 32]), &head.log.0));
        let leaf = entry.seal(&head, &sealer, 5, at, &[8; 6]);
        assert_eq!(Entry::open(&head, &sealer, 5, &leaf), Ok((at, entry.clone())));
        assert!(Entry::open(&head, &sealer, 6, &leaf).is_err());
        let moved = Head { log: LogId([4; 16]), ..head };
        assert!(Entry::open(&moved, &sealer, 5, &leaf).is_err());
        for bit in 0..leaf.len() * 8 {
            let mut other = leaf.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::open(&head, &sealer, 5, &other).is_err(), "bit {bit}");
        }
        assert!(!leaf.windows(3).any(|part| part == b"ana") && !leaf.windows(6).any(|part| part == b"ticket"));
        let shown = format!("{entry:?}");
        assert!(!shown.contains("ana") && !shown.contains("ticket"), "{shown}");
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let plain = entry().encode();
        assert_eq!(Entry::decode(&plain), Ok(entry()));
        assert!((0..plain.len()).all(|length| Entry::decode(&plain[..length]).is_err()));
        for (at, value) in [(0, 0), (0, 255), (1, 0), (2, 2), (3, 0), (4, 0), (5, 0)] {
            let mut other = plain.to_vec();
            other[at] = value;
            assert!(Entry::decode(&other).is_err(), "byte {at}");
        }
        for about in [About::Nobody, About::Everybody] {
            let entry = Entry { about, ..entry() };
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }
}
