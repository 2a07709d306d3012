//! What stands before the content of a dictionary (RFC 8878, 5): how often which literal, offset and length is to be
//! expected, as our own encoder wrote them with that content. What fewer than k customers had is told as if nobody had
//! it, so that a header says of a few no more than its content does.

use super::super::dictionary::MAGIC;
use super::super::fse::Counts;
use super::super::tables::{REPEATS, START};
use super::counts::{Bits, fitted, write};
use super::fit::Fit;
use super::huffman::describe;

/// Accuracies of the tables, the greatest there are (RFC 8878, 3.1.1.3.2.1).
const OFFSETS_LOG: u32 = 8;
const LENGTHS_LOG: u32 = 9;
/// zstd's encoder takes tables of a dictionary as they are where they have every offset that content and one of its
/// blocks, of 128 KiB, may need.
const REACH: usize = 128 << 10;

/// No header is longer: magic number and number, weights, the three tables with the most bits for each of their codes, and
/// offsets to repeat.
pub const HEADER_LIMIT: usize = START + 128 + 28 + 67 + 46 + REPEATS;

/// The header that fits the content of which `fit` was taken.
pub fn header(fit: &Fit, k: usize) -> Vec<u8> {
    // It has no number: then frames do not name it.
    let mut header = [&MAGIC[..], &[0; START - MAGIC.len()]].concat();
    let literals = fit.literals.told(k).try_into().expect("there are as many as bytes");
    describe(&literals, &mut header);
    let offsets = fit.offsets.told(k);
    let reach = (fit.uses.len() + REACH).ilog2() as usize + 1;
    table(&offsets[..reach.min(offsets.len())], OFFSETS_LOG, &mut header);
    table(&fit.matches.told(k), LENGTHS_LOG, &mut header);
    table(&fit.runs.told(k), LENGTHS_LOG, &mut header);
    // Offsets to repeat: those that a record without a dictionary begins with.
    header.extend([1_u32, 4, 8].map(u32::to_le_bytes).as_flattened());
    header
}

fn table(times: &[u64], log: u32, header: &mut Vec<u8>) {
    let mut bits = Bits::default();
    write(&Counts { log, of: fitted(times, log) }, &mut bits);
    header.extend(bits.end());
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
