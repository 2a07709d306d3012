//! Names of things: customers, subject numbers, handles, records, streams, partitions.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::window::{Window, WindowLength};

/// The longest customer id, in bytes of UTF-8.
pub const CUSTOMER_ID_LIMIT: usize = 256;

/// Who a record is about, as the embedding service names them: 1 to 256 bytes of UTF-8.
///
/// It is personal data: `Debug` redacts it, there is no `Display`, and it is stored only inside the encrypted
/// entry of the keyring.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(Box<str>);

impl CustomerId {
    /// Checks the length.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it is empty or longer than 256 bytes.
    pub fn new(id: impl Into<Box<str>>) -> Result<Self> {
        let id = id.into();
        match (1..=CUSTOMER_ID_LIMIT).contains(&id.len()) {
            true => Ok(CustomerId(id)),
            false => Err(Error::new(ErrorKind::Invalid, "a customer id has 1 to 256 bytes")),
        }
    }

    /// The id itself. Keep it out of logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerId(..)")
    }
}

/// A 16-byte name, printed as hexadecimal.
macro_rules! name16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

name16! {
    /// Random name of one store, drawn when it is created; the salt of every key derivation in it.
    StoreId
}
name16! {
    /// Random name of a customer entry, for ledger, access log and receipts; it means nothing once the entry is gone.
    SubjectNumber
}
name16! {
    /// Pseudonym of a cell (one customer in one partition): all that a segment knows of a customer. Derived from the
    /// cell's key, so it dies with either side of it.
    Handle
}
name16! {
    /// Salt of one opening of the store for writing, mixed into every data key.
    Salt
}

/// The identity of a record within (customer, stream, event time): a UUID, given by the caller or by the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId([u8; 16]);

impl RecordId {
    /// From the bytes of a UUID.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        RecordId(bytes)
    }

    /// The bytes of the UUID.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id that the store gives: a UUID of version 8 (RFC 9562) that spells out opening and sequence, so that it
    /// costs no byte on disk. `sequence` uses 48 bits.
    pub const fn given(opening: u32, sequence: u64) -> Self {
        let o = opening.to_be_bytes();
        let s = sequence.to_be_bytes();
        RecordId([b't', b'n', o[0], o[1], o[2], o[3], 0x80, 0, 0x80, 0, s[2], s[3], s[4], s[5], s[6], s[7]])
    }

    /// Opening and sequence that such an id spells out; none for an id of another form. A caller may have given one of
    /// this form too.
    pub const fn spelled(&self) -> Option<(u32, u64)> {
        match self.0 {
            [b't', b'n', a, b, c, d, 0x80, 0, 0x80, 0, u, v, w, x, y, z] => {
                Some((u32::from_be_bytes([a, b, c, d]), u64::from_be_bytes([0, 0, u, v, w, x, y, z])))
            }
            _ => None,
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

impl FromStr for RecordId {
    type Err = Error;

    /// A UUID as 32 hexadecimal digits, with or without the four hyphens at their places.
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Invalid, "not a UUID").hint("write it like 018f2b6c-7b1e-7c3a-9d4e-2f5a6b7c8d9e");
        let hyphens = text.bytes().enumerate().filter(|(_, b)| *b == b'-').map(|(i, _)| i);
        match text.len() {
            36 if hyphens.eq([8, 13, 18, 23]) => {}
            32 => {}
            _ => return Err(wrong()),
        }
        let mut digits = text.bytes().filter(|b| *b != b'-').map(|b| (b as char).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            match (digits.next().flatten(), digits.next().flatten()) {
                (Some(high), Some(low)) => *byte = (high << 4 | low) as u8,
                _ => return Err(wrong()),
            }
        }
        Ok(RecordId(bytes))
    }
}

/// The longest class or jurisdiction, in bytes.
pub const LABEL_LIMIT: usize = 32;

fn check_label(what: &str, label: &str) -> Result<()> {
    let fits = (1..=LABEL_LIMIT).contains(&label.len());
    match fits && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Invalid, format!("the {what} is not 1 to 32 letters, digits or hyphens"))),
    }
}

/// A class or a jurisdiction, where it stands: every record has one of each, so that neither may cost an allocation. The
/// rest is zeros, which no label contains, so that labels compare as their letters do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Label {
    bytes: [u8; LABEL_LIMIT],
    length: u8,
}

impl Label {
    const NONE: Label = Label { bytes: [0; LABEL_LIMIT], length: 0 };

    fn new(what: &str, label: &str) -> Result<Self> {
        check_label(what, label)?;
        let mut bytes = [0; LABEL_LIMIT];
        bytes[..label.len()].copy_from_slice(label.as_bytes());
        Ok(Label { bytes, length: label.len() as u8 })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One class in one jurisdiction: the scope of one retention rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    class: Label,
    jurisdiction: Label,
}

impl Stream {
    /// Checks both labels: `[A-Za-z0-9-]{1,32}`, case kept.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming which of the two is wrong.
    pub fn new(class: &str, jurisdiction: &str) -> Result<Self> {
        Ok(Stream { class: Label::new("class", class)?, jurisdiction: Label::new("jurisdiction", jurisdiction)? })
    }

    /// The stream of a record that has no class yet: its jurisdiction alone. No policy admits it as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the jurisdiction is wrong.
    pub fn unclassed(jurisdiction: &str) -> Result<Self> {
        Ok(Stream { class: Label::NONE, jurisdiction: Label::new("jurisdiction", jurisdiction)? })
    }

    /// Whether it has a class.
    pub fn is_classed(&self) -> bool {
        self.class != Label::NONE
    }

    /// What kind of data; empty for one that has no class yet.
    pub fn class(&self) -> &str {
        self.class.as_str()
    }

    /// Whose law.
    pub fn jurisdiction(&self) -> &str {
        self.jurisdiction.as_str()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.class(), self.jurisdiction())
    }
}

/// The name of a partition: a stream and a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The stream.
    pub stream: Stream,
    /// The window.
    pub window: Window,
}

impl PartitionId {
    /// The partition of `stream` that holds `at`, with windows of `length`.
    pub fn holding(stream: Stream, at: crate::window::Timestamp, length: WindowLength) -> Self {
        PartitionId { stream, window: Window::containing(at, length) }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.window)
    }
}

/// The number of a partition: given once by the keyring, never reused. Zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionNumber(pub u64);

impl fmt::Display for PartitionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_read_back() {
        let id = RecordId::given(7, 0x1234_5678_9abc);
        assert_eq!(id.to_string(), "746e0000-0007-8000-8000-123456789abc");
        assert_eq!(id.spelled(), Some((7, 0x1234_5678_9abc)));
        assert_eq!(RecordId::from_bytes([7; 16]).spelled(), None);
        assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
        assert_eq!(id.to_string().replace('-', "").parse::<RecordId>().unwrap(), id);
        for text in [
            "",
            "746e0000-0007-8000-8000-123456789ab",
            "746e00000-007-8000-8000-123456789abc",
            "zz6e0000000780008000123456789abc",
        ] {
            assert!(text.parse::<RecordId>().is_err(), "{text}");
        }
    }

    #[test]
    fn streams_compare_as_their_words_do() {
        let words = ["a", "a-", "a0", "aa", "B", "b", "chat", "chats", "EU"];
        let long = "x".repeat(LABEL_LIMIT);
        let mut pairs: Vec<(&str, &str)> = words.iter().flat_map(|one| words.map(|other| (*one, other))).collect();
        pairs.push((&long, &long));
        for one in &pairs {
            let stream = Stream::new(one.0, one.1).unwrap();
            assert_eq!((stream.class(), stream.jurisdiction()), *one);
            for other in &pairs {
                assert_eq!(stream.cmp(&Stream::new(other.0, other.1).unwrap()), one.cmp(other), "{one:?} {other:?}");
            }
            let unclassed = Stream::unclassed(one.1).unwrap();
            assert!(unclassed < stream && !unclassed.is_classed() && stream.is_classed());
            assert_eq!((unclassed.class(), unclassed.to_string()), ("", format!("/{}", one.1)));
        }
        assert!(Stream::new(&"x".repeat(LABEL_LIMIT + 1), "EU").is_err());
    }

    #[test]
    fn labels_are_checked_and_customers_redacted() {
        assert!(Stream::new("call-transcript", "US-CA").is_ok());
        for (class, jurisdiction) in [("", "EU"), ("a/b", "EU"), ("chat", ".."), ("chat", "\u{e9}")] {
            assert!(Stream::new(class, jurisdiction).is_err());
        }
        assert_eq!(format!("{:?}", CustomerId::new("ana@example.com").unwrap()), "CustomerId(..)");
        assert!(CustomerId::new("").is_err());
        assert!(CustomerId::new("x".repeat(257)).is_err());
    }
}
