//! A dictionary with room behind it. zstd copies what a reference finds in a dictionary by a call for each, unless the
//! dictionary ends where the body begins: then it is one window, and decoding a chat takes three quarters of the time.
//!
//! One of the places with `unsafe`: dictionary and room are one allocation, the dictionary lent to zstd, the room written.

use std::mem::ManuallyDrop;

use zstd::dict::DDict;
use zstd::zstd_safe::DCtx;

use super::codec::Malformed;

/// The longest body that there is room for, in bytes. Longer ones spend their time elsewhere.
pub const ROOM: usize = 32 << 10;

/// A dictionary with room behind it, for one thread.
pub struct Behind {
    /// Dropped before what it borrows.
    dictionary: ManuallyDrop<DDict<'static>>,
    room: &'static mut [u8],
    /// The allocation that the two are parts of.
    whole: *mut [u8],
}

impl Behind {
    /// Puts a copy of `dictionary` before some room; nothing where zstd has no memory for it.
    #[allow(unsafe_code)]
    pub fn of(dictionary: &[u8]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(dictionary.len() + ROOM);
        bytes.extend_from_slice(dictionary);
        bytes.resize(dictionary.len() + ROOM, 0);
        let whole = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: `whole` was a box a moment ago and nobody else knows it. The two slices are all of it, have no byte in
        // common, and live as long as the allocation: they go no further than into the fields of this struct, which is what
        // frees it, in `drop` or right below. The first is never written again.
        let (content, room) = unsafe {
            let start = whole.cast::<u8>();
            let content: &'static [u8] = std::slice::from_raw_parts(start, dictionary.len());
            (content, std::slice::from_raw_parts_mut(start.add(dictionary.len()), ROOM))
        };
        match DDict::try_create_by_reference(content) {
            Some(dictionary) => Some(Behind { dictionary: ManuallyDrop::new(dictionary), room, whole }),
            None => {
                // SAFETY: it came from a box, and neither slice is used any more.
                drop(unsafe { Box::from_raw(whole) });
                None
            }
        }
    }

    /// Decodes `frame`, which holds exactly `length` bytes, no more than [`ROOM`]. The room is wiped after.
    ///
    /// # Errors
    /// [`Malformed`] where it holds something else.
    pub fn decompress(&mut self, context: &mut DCtx<'_>, frame: &[u8], length: usize) -> Result<Vec<u8>, Malformed> {
        let room = self.room.get_mut(..length).ok_or(Malformed)?;
        let done = context.decompress_using_ddict(room, frame, &self.dictionary);
        let body = (done == Ok(length)).then(|| room.to_vec());
        room.fill(0);
        body.ok_or(Malformed)
    }
}

impl Drop for Behind {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the dictionary is dropped here and nowhere else, and is not used after; then `whole`, which came from a box,
        // is given back once, and the room, which is part of it, is not used after.
        unsafe {
            ManuallyDrop::drop(&mut self.dictionary);
            drop(Box::from_raw(self.whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_and_leave_nothing_in_the_room() {
        let words = b"Thank you for calling. How may I help you? ".repeat(3);
        let mut context = DCtx::create();
        let mut behind = Behind::of(&words).unwrap();
        let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &words).unwrap();
        for body in [&words[..40], b"Nobody called. How may I help you? Thank you.", &words.repeat(200)] {
            let frame = compressor.compress(body).unwrap();
            assert_eq!(behind.decompress(&mut context, &frame, body.len()).unwrap(), body);
            assert!(behind.room.iter().all(|byte| *byte == 0));
            for wrong in [body.len() - 1, body.len() + 1, ROOM + 1] {
                assert_eq!(behind.decompress(&mut context, &frame, wrong), Err(Malformed));
            }
            assert_eq!(behind.decompress(&mut context, &frame[..frame.len() - 1], body.len()), Err(Malformed));
            assert!(behind.room.iter().all(|byte| *byte == 0), "of what could not be decoded neither");
        }
    }
}
