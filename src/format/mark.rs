//! The file `FORMAT`: what says that a directory is a store, of which format, and which one. Text, for `cat`.

use super::bytes::Malformed;
use crate::ident::StoreId;

/// The format version that this build reads and writes. Zero: no compatibility is owed yet.
pub const FORMAT_VERSION: u16 = 0;

/// The longest `FORMAT` file that is looked at, in bytes.
pub const MARK_LIMIT: u64 = 256;

/// What a `FORMAT` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The format version.
    pub version: u16,
    /// The store.
    pub store: StoreId,
}

impl Mark {
    /// Two lines: format and store, then the checksum of both.
    pub fn encode(&self) -> String {
        let text = format!("tenure format {}\nstore {}\n", self.version, self.store);
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text}crc32 {checksum:08x}\n")
    }

    /// Reads the whole file.
    pub fn decode(text: &[u8]) -> Result<Self, Malformed> {
        let wrong = Malformed("it is not the mark of a Tenure store");
        let text = std::str::from_utf8(text).map_err(|_| wrong)?;
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.strip_prefix("tenure format ")).ok_or(wrong)?;
        let store = lines.next().and_then(|line| line.strip_prefix("store ")).ok_or(wrong)?;
        let version = version.parse().map_err(|_| wrong)?;
        if store.len() != 32 || !store.is_ascii() {
            return Err(wrong);
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&store[2 * index..2 * index + 2], 16).map_err(|_| wrong)?;
        }
        let mark = Mark { version, store: StoreId::from_bytes(bytes) };
        match mark.encode() == text {
            true => Ok(mark),
            false => Err(Malformed("its checksum does not fit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_no_bit_of_it_may_flip() {
        let mark = Mark { version: 0, store: StoreId::from_bytes([0xab; 16]) };
        let bytes = mark.encode().into_bytes();
        assert_eq!(Mark::decode(&bytes), Ok(mark));
        for index in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[index / 8] ^= 1 << (index % 8);
            assert!(Mark::decode(&damaged).is_err());
        }
    }
}
