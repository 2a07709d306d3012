//! Reading fields out of bytes that nobody vouches for, and writing them. Little endian, fixed width.

/// The bytes do not hold what they should; the text says what is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Whether there is nothing but zeros. By pieces without a branch in them: what is reserved and not yet written is
/// megabytes, and most of what this sees.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// How many bytes there are up to the last that is not zero.
pub fn filled(bytes: &[u8]) -> usize {
    let zeros = bytes.rchunks(256).take_while(|chunk| is_zero(chunk)).map(<[u8]>::len).sum::<usize>();
    bytes[..bytes.len() - zeros].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

const NOT_SHORT: &str = "a number is out of bounds, or not in its shortest form";

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// A number that [`Writer::put_short`] wrote, in the one form that it gives it.
    pub fn short(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            value |= part << shift;
            if byte < 0x80 {
                let is_shortest = byte != 0 || shift == 0;
                let is_whole = value >> shift == part;
                return if is_shortest && is_whole { Ok(value) } else { Err(Malformed(NOT_SHORT)) };
            }
        }
        Err(Malformed(NOT_SHORT))
    }

    /// The same, of four bytes.
    pub fn short_u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.short()?).map_err(|_| Malformed(NOT_SHORT))
    }

    /// A text with a length byte before it.
    pub fn short_text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses bytes that nobody asked for.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("there are bytes beyond its end")) }
    }
}

/// Appends fields; the counterpart of [`Reader`].
pub trait Writer {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Two bytes.
    fn put_u16(&mut self, value: u16);
    /// Four bytes.
    fn put_u32(&mut self, value: u32);
    /// A number in as few bytes as hold it, seven bits in each, the lowest first; all but the last have their top bit set.
    fn put_short(&mut self, value: u64);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Four bytes, signed.
    fn put_i32(&mut self, value: i32);
    /// Eight bytes, signed.
    fn put_i64(&mut self, value: i64);
    /// Bytes as they are.
    fn put(&mut self, bytes: &[u8]);
    /// A text of at most 255 bytes with a length byte before it.
    fn put_short_text(&mut self, text: &str);
}

impl Writer for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_short(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_short_text(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("callers bound the text to 255 bytes");
        self.push(length);
        self.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_has_one_form() {
        let wide = u64::from(u32::MAX);
        for (value, length) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (wide, 5), (u64::MAX, 10)]
        {
            let mut bytes = Vec::new();
            bytes.put_short(value);
            assert_eq!(bytes.len(), length);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.short(), reader.finish()), (Ok(value), Ok(())));
            assert!(Reader::new(&bytes[..length - 1]).short().is_err());
            assert_eq!(Reader::new(&bytes).short_u32().is_ok(), value <= wide);
        }
        let longer: [&[u8]; 4] = [&[0x80, 0], &[0xff, 0x80, 0], &[0x80; 11], &[&[0xff; 9][..], &[2]].concat()];
        assert!(longer.iter().all(|bytes| Reader::new(bytes).short().is_err()));
    }
}
