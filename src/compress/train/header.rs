//! What stands before the content of a dictionary: how often which literal, offset and length is to be expected.
//!
//! The tables are zstd's own, from a training of its own on records that say nothing: every byte outside the shared
//! strings, and every digit, has changed places with others of its kind all over the text. What that training would have
//! for content is thrown away. A table of counts says of no byte where it stood; the proof looks all the same.

use super::super::dictionary::MAGIC;
use super::super::fse::Counts;
use super::super::tables::{REPEATS, START};
use super::runs::{RUN, Runs, runs};
use super::shared::Pool;
use super::text::Text;

/// About how many bytes of records the tables are made from; more make no better ones.
const ENOUGH: usize = 1 << 20;

/// A header that fits the text; none where zstd finds nothing to count.
pub fn header(text: &Text, pool: &Pool, size: usize) -> Option<Vec<u8>> {
    let (bytes, lengths) = speechless(text, pool);
    let mut trained = zstd::dict::from_continuous(&bytes, &lengths, size).ok()?;
    let length = header_length(&trained)?;
    trained.truncate(length);
    // It has no number: then frames do not name it.
    trained[4..START].fill(0);
    Some(trained)
}

/// The records with their unshared bytes and digits shuffled, and their lengths.
fn speechless(text: &Text, pool: &Pool) -> (Vec<u8>, Vec<usize>) {
    let mut numbers = Runs::for_at_most(pool.bytes.len());
    for piece in &pool.pieces {
        runs(piece.of(&pool.bytes)).for_each(|run| _ = numbers.number(run));
    }
    let every = text.bytes.len().div_ceil(ENOUGH);
    let (mut bytes, mut lengths, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.records.iter().step_by(every) {
        let raw = &text.raw[line.start as usize..line.end as usize];
        let mut shared = vec![false; raw.len()];
        for (at, run) in runs(text.line(line)).enumerate() {
            if numbers.find(run).is_some() {
                shared[at..at + RUN].fill(true);
            }
        }
        let speaks = |at: &usize| !shared[*at] || raw[*at].is_ascii_digit();
        places.extend((0..raw.len()).filter(speaks).map(|at| bytes.len() + at));
        bytes.extend_from_slice(raw);
        lengths.push(raw.len());
    }
    // Fisher and Yates, with the numbers of splitmix64: the same text gives the same header.
    let mut state = 0_u64;
    for last in (1..places.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let other = (z ^ (z >> 31)) % (last as u64 + 1);
        bytes.swap(places[last], places[other as usize]);
    }
    (bytes, lengths)
}

/// Where the content of a dictionary starts (RFC 8878, 5): nothing where the header cannot be read.
pub fn header_length(dictionary: &[u8]) -> Option<usize> {
    if !dictionary.starts_with(&MAGIC) {
        return Some(0);
    }
    let weights = usize::from(*dictionary.get(START)?);
    let mut at = START + 1 + if weights < 128 { weights } else { (weights - 127).div_ceil(2) };
    for _ in ["offsets", "match lengths", "literal lengths"] {
        at += Counts::read(dictionary.get(at..)?)?.1;
    }
    (at + REPEATS <= dictionary.len()).then_some(at + REPEATS)
}
