//! Short bodies that have a dictionary: parsed and coded by ourselves, as blocks that any zstd decodes.
//!
//! zstd's encoder took two thirds of the time of an ingest, most of it for finding matches. What is known here and not
//! there: the dictionary is small and its tables fit, the body is short, and what is repeated is mostly in the
//! dictionary.

use super::block::Block;
use super::lanes::Lanes;
use super::matches::Content;
use super::processor;
use super::tables::Tables;

/// A dictionary made ready for this.
pub struct Prepared {
    tables: Tables,
    content: Content,
}

/// What bodies are encoded with, several at a time.
pub struct Encoder {
    lanes: Lanes,
    block: Block,
}

/// What has become of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The number that it was given with.
    pub number: usize,
    /// `false` where zstd's own encoder is the better one: for long bodies, and for such as share so little with the
    /// dictionary that tables of their own are worth it.
    pub is_block: bool,
}

impl Prepared {
    /// Makes `dictionary` ready; nothing where it has no tables, or nearly no content.
    pub fn of(dictionary: &[u8]) -> Option<Self> {
        let (tables, content) = Tables::read(dictionary)?;
        Some(Prepared { tables, content: Content::new(&dictionary[content..])? })
    }

    /// A body to try it with: every byte there is, and pieces of the content of many lengths with something between
    /// them.
    pub fn sample(&self) -> Vec<u8> {
        let mut sample: Vec<u8> = (0..=255).collect();
        for n in 0..40 {
            let content = self.content.bytes();
            let from = n * 97 % content.len();
            sample.extend(content[from..].iter().take(5 + 3 * n));
            sample.extend((0..n % 17).map(|byte| (byte * 31 + n) as u8));
        }
        sample
    }
}

impl Encoder {
    pub fn new() -> Self {
        Encoder { lanes: Lanes::new(), block: Block::new() }
    }

    /// Bodies that can be given before one is asked for.
    pub fn lanes(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    /// The block that was written last.
    pub fn block(&self) -> &[u8] {
        self.block.bytes()
    }

    /// Writes the block that a body becomes, which may be no shorter: of those that have been given, the one that is
    /// parsed first. All that are given at the same time are encoded with one dictionary.
    pub fn next(&mut self, prepared: &Prepared) -> Option<Encoded> {
        processor::next(self, prepared)
    }

    /// Writes the block that `body` becomes, which may be no shorter, and says whether there is one.
    pub fn encode(&mut self, prepared: &Prepared, body: &[u8]) -> bool {
        self.lanes.clear();
        self.lanes.give(0, body) && self.next(prepared).is_some_and(|encoded| encoded.is_block)
    }

    #[inline(always)]
    pub(super) fn run(&mut self, prepared: &Prepared) -> Option<Encoded> {
        let (number, parsed) = self.lanes.next(&prepared.content)?;
        let Some((sequences, literals)) = parsed else { return Some(Encoded { number, is_block: false }) };
        self.block.write(&prepared.tables, sequences, literals);
        Some(Encoded { number, is_block: true })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::decompress;
    use super::super::dictionary::Dictionary;
    use super::super::matches::{BODY_LIMIT, LITERAL_LIMIT};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    /// A dictionary of as many bytes at most, trained by zstd on invented chats.
    fn trained(size: usize) -> Dictionary {
        let words =
            ["refund", "your order", "has been", "Thank you for", "calling", "the agent", "tomorrow", "\u{fc}n\u{fc}"];
        let chat = |n: usize| -> Vec<u8> {
            (0..40).flat_map(|at| format!("{} {}, ", words[(n * 7 + at * at) % 8], n * at % 31).into_bytes()).collect()
        };
        let chats: Vec<Vec<u8>> = (0..600).map(chat).collect();
        Dictionary::new(zstd::dict::from_samples(&chats, size).unwrap()).unwrap()
    }

    fn dictionary() -> &'static Dictionary {
        static TRAINED: OnceLock<Dictionary> = OnceLock::new();
        TRAINED.get_or_init(|| trained(4 << 10))
    }

    /// The same tables before content that shares nothing with anything.
    fn with_noise(length: usize) -> (Dictionary, Vec<u8>) {
        let (_, content) = Tables::read(dictionary().bytes()).unwrap();
        let noise = noise().take(length).collect::<Vec<u8>>();
        (Dictionary::new([&dictionary().bytes()[..content], &noise].concat()).unwrap(), noise)
    }

    /// Bytes from a linear congruential generator (Knuth's MMIX), none of them zero.
    fn noise() -> impl Iterator<Item = u8> {
        let next =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        std::iter::successors(Some(7), next).map(|state| (state >> 56) as u8 | 1)
    }

    /// What zstd makes of what we made of `body`, where that would be stored.
    fn there_and_back(dictionary: &Dictionary, encoder: &mut Encoder, body: &[u8]) -> Option<Vec<u8>> {
        let encoded = encoder.encode(dictionary.prepared().unwrap(), body);
        (encoded && encoder.block().len() < body.len())
            .then(|| decompress(encoder.block(), body.len(), Some(dictionary)).unwrap())
    }

    /// The blocks of bodies that are encoded together.
    fn all_of<B: AsRef<[u8]>>(encoder: &mut Encoder, dictionary: &Dictionary, bodies: &[B]) -> Vec<Option<Vec<u8>>> {
        let (mut blocks, mut given) = (vec![None; bodies.len()], 0);
        let mut left: Vec<usize> = (0..bodies.len()).collect();
        loop {
            while given < bodies.len() && encoder.lanes().give(given, bodies[given].as_ref()) {
                given += 1;
            }
            let Some(Encoded { number, is_block }) = encoder.next(dictionary.prepared().unwrap()) else { break };
            left.retain(|n| *n != number);
            blocks[number] = is_block.then(|| encoder.block().to_vec());
        }
        assert!(left.is_empty(), "each comes out");
        blocks
    }

    /// Bodies made of pieces: of the dictionary, of themselves, of zeros, and of anything.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let piece = (0..4_u8, any::<u16>(), 0..90_usize, vec(any::<u8>(), 0..12));
        vec(piece, 0..60).prop_map(|pieces| {
            let mut body = Vec::new();
            for (kind, from, length, bytes) in pieces {
                let content = dictionary().bytes();
                match kind {
                    0 => body.extend(content[usize::from(from) % content.len()..].iter().take(length)),
                    1 if !body.is_empty() => {
                        let from = usize::from(from) % body.len();
                        (0..length).for_each(|at| body.push(body[from + at]));
                    }
                    2 => body.extend(std::iter::repeat_n(0, length)),
                    _ => body.extend(bytes),
                }
            }
            body
        })
    }

    proptest! {
        #[test]
        fn zstd_decodes_what_is_encoded(bodies in vec(bodies(), 1..8)) {
            let (mut encoder, mut slow) = (Encoder::new(), Encoder::new());
            let prepared = dictionary().prepared().unwrap();
            let alone: Vec<Option<Vec<u8>>> = bodies.iter().map(|body| {
                let encoded = encoder.encode(prepared, body);
                assert!(slow.lanes.give(0, body));
                let slowly = slow.run(prepared).is_some_and(|encoded| encoded.is_block);
                assert_eq!(encoded, slowly, "with and without what the processor has");
                assert!(body.len() > LITERAL_LIMIT || encoded, "it can have no more literals");
                encoded.then(|| {
                    assert_eq!(encoder.block(), slow.block());
                    encoder.block().to_vec()
                })
            }).collect();
            for (body, block) in bodies.iter().zip(&alone) {
                if let Some(block) = block.as_ref().filter(|block| block.len() < body.len()) {
                    prop_assert_eq!(&decompress(block, body.len(), Some(dictionary())).unwrap(), body);
                }
            }
            prop_assert_eq!(all_of(&mut encoder, dictionary(), &bodies), alone);
        }
    }

    #[test]
    fn bodies_of_every_length_and_kind_come_back() {
        let mut encoder = Encoder::new();
        let content = dictionary().bytes().to_vec();
        for length in (0..300).chain([1_023, 1_024, 4_000]) {
            // The end of the dictionary goes over into the body; what is like nothing has no match.
            let end = content.iter().rev().take(length).rev().copied().collect::<Vec<u8>>();
            let like_nothing = (0..length).map(|n| (n * n % 251) as u8).collect::<Vec<u8>>();
            for body in [end.repeat(2), end, vec![0; length], like_nothing] {
                let back = there_and_back(dictionary(), &mut encoder, &body);
                assert!(back.is_none_or(|back| back == body), "{length} bytes");
            }
            let end = &content[content.len() - length.min(content.len())..];
            assert!(length < 40 || there_and_back(dictionary(), &mut encoder, end).is_some(), "{length} bytes");
        }
        let long = b"The agent, ".repeat(BODY_LIMIT / 11);
        assert_eq!(there_and_back(dictionary(), &mut encoder, &long).unwrap(), long);
        assert_eq!(there_and_back(dictionary(), &mut encoder, &long.repeat(2)), None);
    }

    #[test]
    fn a_body_that_shares_too_little_is_left_to_zstd() {
        let mut encoder = Encoder::new();
        let noise: Vec<u8> = noise().take(LITERAL_LIMIT + 1).collect();
        let prepared = dictionary().prepared().unwrap();
        assert!(encoder.encode(prepared, &noise[1..]));
        assert!(!encoder.encode(prepared, &noise));
        // A thousand short matches, with nothing between them but what breaks them.
        let body: Vec<u8> = (0..1_100_u32).flat_map(|n| [n.to_le_bytes(), n.to_le_bytes()].concat()).collect();
        assert!(!encoder.encode(prepared, &body));
        let body: Vec<u8> = body.into_iter().take(4_000).collect();
        assert_eq!(there_and_back(dictionary(), &mut encoder, &body).unwrap(), body);
    }

    #[test]
    fn short_and_long_dictionaries_serve_as_well() {
        let mut encoder = Encoder::new();
        let chat = b"Thank you for calling, your order has been refund 7, the agent 3, ".repeat(4);
        for size in [300, 1_000, 4_000, 100_000] {
            let dictionary = trained(size);
            let all = dictionary.bytes().to_vec();
            for body in [&chat[..], &all[all.len() / 2..], &[0; 100]] {
                let back = there_and_back(&dictionary, &mut encoder, body);
                assert!(back.is_none_or(|back| back == body), "{size} bytes");
            }
        }
    }

    #[test]
    fn nothing_is_found_before_the_dictionary_begins() {
        let mut encoder = Encoder::new();
        for length in [500, 65_536, 70_000] {
            let (dictionary, noise) = with_noise(length);
            let start = &noise[length.saturating_sub(65_536)..];
            for from in 0..20 {
                // Before the content there are zeros in memory, and nothing for a decoder.
                let body = [&[7; 2][..], &[0; 4], &start[from..from + 40]].concat();
                assert_eq!(
                    there_and_back(&dictionary, &mut encoder, &body).unwrap(),
                    body,
                    "{length} bytes, from {from}"
                );
            }
        }
    }

    #[test]
    fn the_longest_fields_fit() {
        let (mut encoder, (dictionary, content)) = (Encoder::new(), with_noise(65_536));
        for run in 512..600 {
            let others: Vec<u8> = noise().skip(100_000).take(run + 200).collect();
            let parts = [&others[..run], &content[9..17_009], &others[run..], &content[40_000..48_000]];
            let body = parts.concat();
            assert_eq!(there_and_back(&dictionary, &mut encoder, &body).unwrap(), body, "a run of {run}");
        }
    }

    #[test]
    fn weights_that_no_code_has_are_no_table() {
        let hostile = b"\x37\xa4\x30\xec\0\0\0\0\x08\x10\xfe\xff\xff\x27\x7e\x00\x08";
        assert!(Tables::read(hostile).is_none());
        assert!(Tables::read(&[&hostile[..8], &[0xff; 200]].concat()).is_none());
    }

    #[test]
    fn one_encoder_serves_many_dictionaries() {
        let (others, mut encoder) = ([with_noise(300).0, trained(1_000)], Encoder::new());
        for round in 0..4 {
            for dictionary in [dictionary(), &others[0], &others[1]] {
                let bytes = dictionary.bytes();
                let bodies = [&bytes[bytes.len() - 100..], &b"refund, the agent 3, ".repeat(9)[..]];
                for (body, block) in bodies.into_iter().zip(all_of(&mut encoder, dictionary, &bodies)) {
                    let block = block.filter(|block| block.len() < body.len());
                    let back = decompress(&block.unwrap(), body.len(), Some(dictionary));
                    assert_eq!(back.as_deref(), Ok(body), "round {round}");
                }
            }
        }
    }

    /// Whatever a header says, reading it comes to an end, and a table that is used means what it means to zstd.
    #[test]
    fn damaged_headers_are_no_tables_or_the_same_as_zstds() {
        let (whole, mut encoder) = (dictionary().bytes(), Encoder::new());
        for at in 0..200 {
            assert!(Prepared::of(&whole[..at]).is_none() || at > 8);
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= flip;
                let read = Prepared::of(&bytes);
                let Ok(damaged) = Dictionary::new(bytes) else { continue };
                if let Some(read) = read {
                    assert!(damaged.agrees_with(&read), "byte {at}");
                    let body = b"Thank you for calling the agent, refund 7".repeat(3);
                    assert_eq!(there_and_back(&damaged, &mut encoder, &body).unwrap(), body, "byte {at}");
                }
            }
        }
    }
}
