//! Bodies to compressed bytes and back.
//!
//! What is kept of a zstd frame is what nobody knows without it. The magic number, the frame header and the header of a
//! block all follow from the length of the body, the dictionary and the length of the compressed bytes, so they are
//! left off and put back: ten bytes of about six hundred. A body longer than [`ONE_BLOCK`] keeps its whole frame.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};

use zstd::zstd_safe::{CCtx, DCtx, compress_bound};

use super::LEVEL;
use super::behind::{Behind, ROOM};
use super::dictionary::Dictionary;
use super::encode::{Encoded, Encoder};
use super::processor::prefetch;

/// The bytes do not decompress to the length they promise, or a dictionary is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Bodies up to this length are one block of zstd.
const ONE_BLOCK: usize = 100 << 10;
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Magic number, descriptor, dictionary id, content size, block header: the longest of each.
const HEAD_LIMIT: usize = 4 + 1 + 4 + 4 + BLOCK_HEAD;
const BLOCK_HEAD: usize = 3;
/// The type of such a block. zstd makes no first block of any other, but of bytes that do not shrink.
const COMPRESSED: u32 = 2;

/// What bodies are compressed with: an encoder of our own, a context of zstd, and room for a frame of it. No dictionary
/// is ever loaded into the context: each call names its own.
#[derive(Default)]
pub struct Compressor {
    encoder: Option<Encoder>,
    context: Option<CCtx<'static>>,
    frame: Vec<u8>,
}

/// Bodies that are compressed one beside the other.
pub struct Run<'a> {
    compressor: &'a mut Compressor,
    dictionary: Option<&'a Dictionary>,
    bodies: &'a [&'a [u8]],
    /// How many the encoder was given.
    given: usize,
}

/// A body as it is stored.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    bytes: &'a [u8],
    is_compressed: bool,
}

impl Stored<'_> {
    /// Appends it to `out` and says whether it is compressed.
    pub fn append_to(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.bytes);
        self.is_compressed
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor(..)")
    }
}

/// The same for what was compressed.
struct Opener {
    context: DCtx<'static>,
    frame: Vec<u8>,
    near: Near,
}

/// Dictionaries that a thread decompresses with again and again have room behind them: for so many bodies of one it takes
/// to be worth a copy. A thread has no more of them than this, a hundred kilobytes each; the least used of late goes first.
const AGAIN: u32 = 16;
const NEAR_LIMIT: usize = 4;

/// The dictionaries used lately, the last one first.
#[derive(Default)]
struct Near(Vec<NearOne>);

struct NearOne {
    /// Of the dictionary, which may have gone since.
    mark: Weak<()>,
    uses: u32,
    behind: Option<Behind>,
}

impl Near {
    /// The dictionary with room behind it, once that is worth it.
    fn behind(&mut self, dictionary: &Dictionary) -> Option<&mut Behind> {
        let Near(all) = self;
        let place = all.iter().position(|one| std::ptr::eq(one.mark.as_ptr(), Arc::as_ptr(dictionary.mark())));
        match place {
            Some(place) => all[..=place].rotate_right(1),
            None => {
                all.retain(|one| one.mark.strong_count() > 0);
                all.truncate(NEAR_LIMIT - 1);
                all.insert(0, NearOne { mark: Arc::downgrade(dictionary.mark()), uses: 0, behind: None });
            }
        }
        let one = &mut all[0];
        one.uses = one.uses.saturating_add(1);
        if one.uses == AGAIN {
            one.behind = Behind::of(dictionary.bytes());
        }
        one.behind.as_mut()
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> = RefCell::default();
    static OPENER: RefCell<Option<Opener>> = const { RefCell::new(None) };
}

/// The header of a frame of one block, as zstd writes it: RFC 8878, 3.1.1.
struct Head {
    bytes: [u8; HEAD_LIMIT],
    length: usize,
}

impl Head {
    /// The header of a frame that holds a body of `length` bytes, up to its block.
    fn of(length: usize, dictionary: Option<&Dictionary>) -> Self {
        let mut head = Head { bytes: [0; HEAD_LIMIT], length: 0 };
        let id = dictionary.map_or(0, Dictionary::id);
        let (id_code, id_bytes) = match id {
            0 => (0, 0),
            1..=0xff => (1, 1),
            0x100..=0xffff => (2, 2),
            _ => (3, 4),
        };
        let (size_code, size_bytes, size) = match length {
            0..=0xff => (0, 1, length),
            0x100..=0x100ff => (1, 2, length - 0x100),
            _ => (2, 4, length),
        };
        head.push(&FRAME_MAGIC);
        head.push(&[(size_code << 6) | 0x20 | id_code]);
        head.push(&id.to_le_bytes()[..id_bytes]);
        head.push(&(size as u32).to_le_bytes()[..size_bytes]);
        head
    }

    /// The header of a frame whose block is `kept` compressed bytes.
    fn around(kept: usize, length: usize, dictionary: Option<&Dictionary>) -> Self {
        let mut head = Head::of(length, dictionary);
        let block = ((kept as u32) << 3) | (COMPRESSED << 1) | 1;
        head.push(&block.to_le_bytes()[..BLOCK_HEAD]);
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Compressor {
    /// `body` as it is stored: compressed with `dictionary` where that makes it smaller.
    pub fn store<'a>(&'a mut self, body: &'a [u8], dictionary: Option<&Dictionary>) -> Stored<'a> {
        let is_block =
            dictionary.and_then(Dictionary::prepared).is_some_and(|prepared| self.encoder().encode(prepared, body));
        self.stored(is_block, body, dictionary)
    }

    /// The same for many, which together take two thirds of the time.
    pub fn run<'a>(&'a mut self, bodies: &'a [&'a [u8]], dictionary: Option<&'a Dictionary>) -> Run<'a> {
        if let Some(encoder) = &mut self.encoder {
            encoder.lanes().clear();
        }
        Run { compressor: self, dictionary, bodies, given: 0 }
    }

    fn encoder(&mut self) -> &mut Encoder {
        self.encoder.get_or_insert_with(Encoder::new)
    }

    /// What is stored of `body`, which the encoder has just encoded or left to zstd.
    fn stored<'a>(&'a mut self, is_block: bool, body: &'a [u8], dictionary: Option<&Dictionary>) -> Stored<'a> {
        let compressed = match &self.encoder {
            Some(encoder) if is_block => Some(encoder.block()),
            _ => compress(&mut self.context, &mut self.frame, body, dictionary),
        };
        match compressed.filter(|compressed| compressed.len() < body.len()) {
            Some(bytes) => Stored { bytes, is_compressed: true },
            None => Stored { bytes: body, is_compressed: false },
        }
    }
}

impl Run<'_> {
    /// One more of them, not in their order, and which one it is; nothing when all have come out.
    pub fn next(&mut self) -> Option<(usize, Stored<'_>)> {
        let Run { compressor, dictionary, bodies, given } = self;
        let encoded = match dictionary.and_then(Dictionary::prepared) {
            Some(prepared) => {
                let encoder = compressor.encoder();
                while let Some(body) = bodies.get(*given)
                    && encoder.lanes().give(*given, body)
                {
                    *given += 1;
                    if let Some(next) = bodies.get(*given) {
                        prefetch(next);
                    }
                }
                encoder.next(prepared)?
            }
            None => {
                *given += 1;
                Encoded { number: *given - 1, is_block: false }
            }
        };
        let body = bodies.get(encoded.number)?;
        Some((encoded.number, compressor.stored(encoded.is_block, body, *dictionary)))
    }
}

/// Compresses `body` with zstd's encoder; nothing without memory for it.
fn compress<'a>(
    context: &mut Option<CCtx<'static>>,
    frame: &'a mut Vec<u8>,
    body: &[u8],
    dictionary: Option<&Dictionary>,
) -> Option<&'a [u8]> {
    if context.is_none() {
        *context = CCtx::try_create();
    }
    let context = context.as_mut()?;
    frame.clear();
    frame.reserve(compress_bound(body.len()));
    match dictionary {
        Some(dictionary) => context.compress_using_cdict(frame, body, dictionary.compression()?),
        None => context.compress(frame, body, LEVEL),
    }
    .ok()?;
    keep(frame, body.len(), dictionary)
}

/// Appends `body`, compressed with `dictionary`, to `out`, and says so with `true`; where compression would not make it
/// smaller, nothing is appended and the answer is `false`.
#[cfg(any(test, feature = "simulation"))]
pub fn compress_into(body: &[u8], dictionary: Option<&Dictionary>, out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let stored = compressor.store(body, dictionary);
        stored.is_compressed && stored.append_to(out)
    })
}

/// Appends `body` to `out` as it is stored: compressed with `dictionary`, which is said with `true`, or as it is.
pub fn store_into(body: &[u8], dictionary: Option<&Dictionary>, out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.store(body, dictionary).append_to(out))
}

/// How many bytes are stored of `body`: compressed with `dictionary`, or as it is.
pub fn stored_length(body: &[u8], dictionary: Option<&Dictionary>) -> usize {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.store(body, dictionary).bytes.len())
}

/// What is kept of a frame; nothing of a frame that would not be found again.
fn keep<'a>(frame: &'a [u8], length: usize, dictionary: Option<&Dictionary>) -> Option<&'a [u8]> {
    if length > ONE_BLOCK {
        return Some(frame);
    }
    let kept = frame.get(Head::of(length, dictionary).length + BLOCK_HEAD..)?;
    frame.starts_with(Head::around(kept.len(), length, dictionary).bytes()).then_some(kept)
}

/// The body that `compressed` holds: exactly `length` bytes, which the caller has bounded.
///
/// # Errors
/// [`Malformed`] where it is not what [`compress_into`] appends with the same dictionary, or holds another number of
/// bytes.
pub fn decompress(compressed: &[u8], length: usize, dictionary: Option<&Dictionary>) -> Result<Vec<u8>, Malformed> {
    OPENER
        .with_borrow_mut(|slot| {
            if slot.is_none() {
                *slot = Some(Opener { context: DCtx::try_create()?, frame: Vec::new(), near: Near::default() });
            }
            let opener = slot.as_mut()?;
            let frame = if length > ONE_BLOCK {
                compressed
            } else {
                opener.frame.clear();
                opener.frame.extend_from_slice(Head::around(compressed.len(), length, dictionary).bytes());
                opener.frame.extend_from_slice(compressed);
                &opener.frame
            };
            let near = &mut opener.near;
            if let Some(behind) = dictionary.filter(|_| length <= ROOM).and_then(|dictionary| near.behind(dictionary)) {
                return behind.decompress(&mut opener.context, frame, length).ok();
            }
            let mut body = Vec::with_capacity(length);
            match dictionary {
                Some(dictionary) => opener.context.decompress_using_ddict(&mut body, frame, dictionary.decompression()),
                None => opener.context.decompress(&mut body, frame),
            }
            .ok()?;
            (body.len() == length).then_some(body)
        })
        .ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(body: &[u8], dictionary: Option<&Dictionary>) -> usize {
        let mut out = b"before".to_vec();
        assert!(compress_into(body, dictionary, &mut out), "{} bytes", body.len());
        let kept = &out[6..];
        assert_eq!(decompress(kept, body.len(), dictionary).unwrap(), body);
        assert_eq!(decompress(kept, body.len() - 1, dictionary), Err(Malformed));
        assert_eq!(decompress(kept, body.len() + 1, dictionary), Err(Malformed));
        kept.len()
    }

    #[test]
    fn bodies_come_back_whole_and_lengths_are_checked() {
        let dictionary = Dictionary::new(b"Thank you for calling. How may I help you?".to_vec()).unwrap();
        for repeats in [3, 4, 11, 12, 40, 2_000, 2_800, 2_900, 4_400, 4_500, 5_600, 5_800, 50_000] {
            let body = b"Thank you for calling. ".repeat(repeats);
            let plain = comes_back(&body, None);
            assert!(comes_back(&body, Some(&dictionary)) <= plain);
        }
        assert!(comes_back(&[7; 300], None) < 12);
        assert!(comes_back(&[7; 90_000], Some(&dictionary)) < 30);
        assert_eq!(decompress(b"no frame", 100, None), Err(Malformed));
        assert_eq!(decompress(b"", 100, None), Err(Malformed));
        assert_eq!(decompress(b"no frame", 200_000, None), Err(Malformed));
    }

    #[test]
    fn it_makes_no_difference_how_often_a_dictionary_was_used_and_whether_others_were() {
        let words = |n: usize| format!("Thank you for calling number {n}. How may I help you? ").into_bytes();
        let bodies = [words(0), words(3).repeat(20), words(5).repeat(ROOM / 40)];
        assert!(bodies[2].len() > ROOM);
        for round in 0..3 {
            let dictionaries: Vec<Dictionary> =
                (0..NEAR_LIMIT + 2).map(|n| Dictionary::new(words(n)).unwrap()).collect();
            for use_of in 0..3 * AGAIN as usize {
                // At first each by itself, then all in turns.
                for dictionary in if round == 0 { &dictionaries[..1] } else { &dictionaries[..] } {
                    comes_back(&bodies[use_of % bodies.len()], Some(dictionary));
                }
            }
            let near = |slot: &Option<Opener>| {
                let Near(all) = &slot.as_ref().unwrap().near;
                (all.len(), all.iter().filter(|one| one.behind.is_some()).count())
            };
            let (known, behind) = OPENER.with_borrow(near);
            assert!(known <= NEAR_LIMIT && (round > 0 || behind == 1), "{known} known, {behind} with room");
        }
    }

    #[test]
    fn a_run_stores_each_as_it_is_stored_alone_also_after_one_that_was_given_up() {
        let chat = |n: usize| format!("Thank you for calling number {n}. Your order {} is on its way. ", n * n % 97);
        let chats: Vec<Vec<u8>> = (0..400).map(|n| chat(n).repeat(3).into_bytes()).collect();
        let trained = Dictionary::new(zstd::dict::from_samples(&chats, 2_000).unwrap()).unwrap();
        assert!(trained.prepared().is_some());
        let plain = Dictionary::new(b"Thank you for calling. How may I help you?".to_vec()).unwrap();
        let noise: Vec<u8> = (0..3_000_u32).map(|n| ((n * n * 31) >> 7) as u8).collect();
        // Too long for our encoder, too short for a match, nothing, and of many lengths.
        let long = chat(1).repeat(900).into_bytes();
        let mut bodies: Vec<&[u8]> = chats.iter().take(40).map(|chat| &chat[..]).collect();
        [&long[..], &noise, b"", &long[..31], &long[..20_000]].into_iter().for_each(|body| bodies.insert(3, body));
        let (mut compressor, mut alone) = (Compressor::default(), Compressor::default());
        for dictionary in [None, Some(&plain), Some(&trained), None, Some(&trained)] {
            for count in 0..bodies.len() {
                let mut run = compressor.run(&bodies, dictionary);
                assert!((0..count % 5).all(|_| run.next().is_some()), "then it is given up");
                let mut stored = vec![0; count];
                let mut run = compressor.run(&bodies[..count], dictionary);
                while let Some((n, one)) = run.next() {
                    let mut bytes = [Vec::new(), Vec::new()];
                    let compressed = one.append_to(&mut bytes[0]);
                    assert_eq!(alone.store(bodies[n], dictionary).append_to(&mut bytes[1]), compressed);
                    assert_eq!(bytes[0], bytes[1]);
                    stored[n] += 1;
                }
                assert_eq!(stored, vec![1; count]);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut out = b"before".to_vec();
        assert!(!compress_into(b"short", None, &mut out));
        assert!(!compress_into(b"", None, &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_dictionary_that_names_itself_costs_its_name_once() {
        let bodies: Vec<Vec<u8>> =
            (0..400).map(|n| format!("{{\"case\":{n},\"text\":\"refund\"}}").into_bytes()).collect();
        let mut bytes = zstd::dict::from_samples(&bodies, 1_024).unwrap();
        let named = Dictionary::new(bytes.clone()).unwrap();
        bytes[4..8].fill(0);
        let nameless = Dictionary::new(bytes).unwrap();
        assert!(named.id() > 0xffff && nameless.id() == 0);
        assert_eq!(comes_back(&bodies[7], Some(&named)), comes_back(&bodies[7], Some(&nameless)));
    }

    #[test]
    fn no_dictionary_is_made_of_nothing_or_of_half_a_header() {
        assert!(Dictionary::new(Vec::new()).is_err());
        assert!(Dictionary::new(b"\x37\xa4\x30\xecno tables".to_vec()).is_err());
        assert_eq!(format!("{:?}", Dictionary::new(b"of eleven b".to_vec()).unwrap()), "Dictionary(11 bytes)");
    }

    #[test]
    fn a_packed_dictionary_comes_back_and_is_packed_the_same() {
        let words: Vec<u8> =
            (0..400).flat_map(|n| format!("Case {} is about {}. ", n * 7, n % 13).into_bytes()).collect();
        let packed = Dictionary::new(words.clone()).unwrap().packed().into_owned();
        assert!(packed.len() * 2 < words.len());
        let again = Dictionary::unpack(packed.clone(), words.len()).unwrap();
        assert_eq!((again.bytes(), &*again.packed()), (&words[..], &packed[..]));
        // Packed by another version of zstd, it stays as it is.
        let other = zstd::bulk::compress(&words, 1).unwrap();
        assert!(other != packed && *Dictionary::unpack(other.clone(), words.len()).unwrap().packed() == other);
        assert!(Dictionary::unpack(packed.clone(), words.len() - 1).is_err());
        assert!(Dictionary::unpack(packed[1..].to_vec(), words.len()).is_err());
        assert!(Dictionary::unpack(Vec::new(), words.len()).is_err());
    }
}
