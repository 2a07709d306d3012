//! The manifest of a large body: which frames hold its chunks, in their order. It stands where the body of a record
//! stands otherwise, so it is encrypted, moved and destroyed with its record. Chunks are named by opening and sequence,
//! which their encryption binds: nobody can pass off one chunk for another.

use super::bytes::{Malformed, Reader, Writer};
use super::frame::{Origin, SEQUENCE_LIMIT};

/// Bytes of every chunk of a large body but its last, as they came in.
pub const CHUNK_BYTES: u32 = 1 << 20;
/// The longest large body, in bytes: 4 GiB.
pub const LARGE_BODY_LIMIT: u64 = 4 << 30;

const PARTS_LIMIT: usize = (LARGE_BODY_LIMIT / CHUNK_BYTES as u64) as usize;

/// Chunks that were written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The frame of the first.
    pub first: Origin,
    /// How many; the sequences follow one another.
    pub count: u32,
}

/// Where the chunks of a large body are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes of the whole body.
    pub length: u64,
    /// Its chunks, in order.
    pub parts: Vec<Part>,
}

impl Manifest {
    /// Adds `count` chunks, the first in frame `first`.
    pub fn push(&mut self, first: Origin, count: u32) {
        match self.parts.last_mut() {
            Some(last)
                if last.first.opening == first.opening
                    && last.first.sequence + u64::from(last.count) == first.sequence =>
            {
                last.count += count;
            }
            _ => self.parts.push(Part { first, count }),
        }
    }

    /// The frames of all chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Origin> + '_ {
        self.parts.iter().flat_map(|part| {
            let Origin { opening, sequence } = part.first;
            (0..u64::from(part.count)).map(move |index| Origin { opening, sequence: sequence + index })
        })
    }

    /// Bytes of chunk `index` as they came in.
    pub fn chunk_length(&self, index: u64) -> u64 {
        let start = index * u64::from(CHUNK_BYTES);
        self.length.saturating_sub(start).min(CHUNK_BYTES.into())
    }

    /// Its bytes: length, then the parts.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + 16 * self.parts.len());
        out.put_u64(self.length);
        out.put_u32(self.parts.len() as u32);
        for part in &self.parts {
            out.put_u32(part.first.opening);
            out.put_u64(part.first.sequence);
            out.put_u32(part.count);
        }
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Malformed`] where a field is out of bounds, or there are more or fewer chunks than the length needs.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let length = from.u64()?;
        let count = from.u32()? as usize;
        if length > LARGE_BODY_LIMIT || count > PARTS_LIMIT {
            return Err(Malformed("a large body is out of bounds"));
        }
        let mut parts = Vec::new(); // It grows with what is really there: a count alone reserves nothing.
        let mut chunks = 0;
        for _ in 0..count {
            let first = Origin { opening: from.u32()?, sequence: from.u64()? };
            let count = from.u32()?;
            chunks += u64::from(count);
            if count == 0 || first.sequence.saturating_add(count.into()) > SEQUENCE_LIMIT {
                return Err(Malformed("a part of a large body is out of bounds"));
            }
            parts.push(Part { first, count });
        }
        from.finish()?;
        match chunks == length.div_ceil(CHUNK_BYTES.into()) {
            true => Ok(Manifest { length, parts }),
            false => Err(Malformed("a large body has not the chunks that its length needs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(opening: u32, sequence: u64) -> Origin {
        Origin { opening, sequence }
    }

    #[test]
    fn chunks_in_a_row_are_one_part_and_come_back_in_order() {
        let mut manifest = Manifest { length: 5 * u64::from(CHUNK_BYTES) + 1, parts: Vec::new() };
        manifest.push(origin(1, 10), 2);
        manifest.push(origin(1, 12), 2);
        manifest.push(origin(1, 20), 1);
        manifest.push(origin(2, 21), 1);
        assert_eq!(manifest.parts.len(), 3);
        let expected = [(1, 10), (1, 11), (1, 12), (1, 13), (1, 20), (2, 21)];
        assert!(manifest.chunks().eq(expected.map(|(opening, sequence)| origin(opening, sequence))));
        assert_eq!((manifest.chunk_length(4), manifest.chunk_length(5)), (CHUNK_BYTES.into(), 1));
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let mut manifest = Manifest { length: 10, parts: Vec::new() };
        assert!(Manifest::decode(&manifest.encode()).is_err(), "a chunk is missing");
        manifest.push(origin(1, 10), 1);
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
        (0..bytes.len()).for_each(|cut| assert!(Manifest::decode(&bytes[..cut]).is_err()));
        manifest.push(origin(1, 11), 1);
        assert!(Manifest::decode(&manifest.encode()).is_err(), "a chunk too many");
        let endless = Manifest { length: LARGE_BODY_LIMIT + 1, parts: Vec::new() };
        assert!(Manifest::decode(&endless.encode()).is_err());
        let beyond = Manifest { length: 1, parts: vec![Part { first: origin(1, SEQUENCE_LIMIT), count: 1 }] };
        assert!(Manifest::decode(&beyond.encode()).is_err());
    }
}
