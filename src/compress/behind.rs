//! A dictionary with room behind it. zstd copies what a reference finds in a dictionary by a call for each, unless the
//! dictionary ends where the body begins: then it is one window, and decoding takes less time (docs/dictionary.md).
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
    /// Of the first `length` bytes; dropped before what it borrows.
    dictionary: ManuallyDrop<DDict<'static>>,
    length: usize,
    /// The dictionary and the room, one allocation that nobody else has.
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
        // SAFETY: `whole` was a box a moment ago, so these bytes are there, and are as long as the allocation lives: what
        // borrows them is the field of this struct that `drop` drops before it frees them, or nothing. They are never
        // written again: `room` begins after them.
        let content: &'static [u8] = unsafe { std::slice::from_raw_parts(whole.cast::<u8>(), dictionary.len()) };
        match DDict::try_create_by_reference(content) {
            Some(lent) => Some(Behind { dictionary: ManuallyDrop::new(lent), length: dictionary.len(), whole }),
            None => {
                // SAFETY: it came from a box, and nothing borrows it any more.
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
        let room = room(&mut self.whole, self.length).get_mut(..length).ok_or(Malformed)?;
        let done = context.decompress_using_ddict(room, frame, &self.dictionary);
        let body = (done == Ok(length)).then(|| room.to_vec());
        room.fill(0);
        body.ok_or(Malformed)
    }
}

/// What is behind the `length` bytes of a dictionary.
#[allow(unsafe_code)]
fn room(whole: &mut *mut [u8], length: usize) -> &mut [u8] {
    // SAFETY: the allocation has `ROOM` bytes after the dictionary, which nothing borrows but through this, and for no longer
    // than the field that says where it is. zstd finds the dictionary before them by its address: it reads there, which the
    // borrow that it has of those bytes allows.
    unsafe { std::slice::from_raw_parts_mut(whole.cast::<u8>().add(length), ROOM) }
}

impl Drop for Behind {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the dictionary is dropped here and nowhere else, and is not used after; then `whole`, which came from a box
        // and which nothing borrows any more, is given back once.
        unsafe {
            ManuallyDrop::drop(&mut self.dictionary);
            drop(Box::from_raw(self.whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn damage_is_answered_as_with_the_dictionary_elsewhere(
            pieces in prop::collection::vec((0..120_usize, 0..40_usize, "[a-z ]{0,9}"), 0..60),
            damage in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 0..3),
            off in -1..2_isize,
        ) {
            let words = b"Thank you for calling. How may I help you? ".repeat(4);
            let piece = |(from, length, own): &(usize, usize, String)| {
                [&words[*from..from + length], own.as_bytes()].concat()
            };
            let body: Vec<u8> = pieces.iter().flat_map(piece).collect();
            let mut frame = zstd::bulk::Compressor::with_dictionary(3, &words).unwrap().compress(&body).unwrap();
            for (place, flips) in &damage {
                *place.get_mut(&mut frame) ^= flips;
            }
            let length = body.len().saturating_add_signed(off);
            let (mut context, apart) = (DCtx::create(), DDict::create(&words));
            let mut plain = vec![0; length];
            let done = context.decompress_using_ddict(&mut plain[..], &frame, &apart);
            let expected = if done == Ok(length) { Ok(plain) } else { Err(Malformed) };
            prop_assert!(!damage.is_empty() || off != 0 || expected.as_ref() == Ok(&body));
            let mut behind = Behind::of(&words).unwrap();
            prop_assert_eq!(behind.decompress(&mut context, &frame, length), expected);
            prop_assert!(room(&mut behind.whole, behind.length).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn bodies_come_back_and_leave_nothing_in_the_room() {
        let words = b"Thank you for calling. How may I help you? ".repeat(3);
        let mut context = DCtx::create();
        let mut behind = Behind::of(&words).unwrap();
        let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &words).unwrap();
        for body in [&words[..40], b"Nobody called. How may I help you? Thank you.", &words.repeat(200)] {
            let frame = compressor.compress(body).unwrap();
            assert_eq!(behind.decompress(&mut context, &frame, body.len()).unwrap(), body);
            assert!(room(&mut behind.whole, behind.length).iter().all(|byte| *byte == 0));
            for wrong in [body.len() - 1, body.len() + 1, ROOM + 1] {
                assert_eq!(behind.decompress(&mut context, &frame, wrong), Err(Malformed));
            }
            assert_eq!(behind.decompress(&mut context, &frame[..frame.len() - 1], body.len()), Err(Malformed));
            assert!(
                room(&mut behind.whole, behind.length).iter().all(|byte| *byte == 0),
                "of what could not be decoded neither"
            );
        }
    }
}
