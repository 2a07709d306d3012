//! Training a dictionary that holds only what many customers share.

mod choose;
mod counts;
mod fit;
mod header;
mod huffman;
mod prove;
mod refine;
mod runs;
mod shared;
#[cfg(test)]
mod tests;
mod text;

use super::codec::stored_length;
use super::dictionary::Dictionary;
use header::{HEADER_LIMIT, header};
use refine::refine;
use shared::shared;
use text::Text;

#[cfg(any(test, feature = "simulation"))]
pub use prove::Unproved;
pub use prove::prove;

/// One record of a training.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// Whose it is: any number, the same for the same customer only.
    pub customer: u64,
    /// Its body.
    pub body: &'a [u8],
}

/// What is asked of a training.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// How many different customers must share whatever goes into the dictionary.
    pub k: usize,
    /// The most bytes the dictionary may have.
    pub size: usize,
}

/// A dictionary, and what it gains.
#[derive(Debug)]
pub struct Trained {
    /// Proved, and ready for use.
    pub dictionary: Dictionary,
    /// What the records of customers who were held out of the training compress to without it.
    pub plain_bytes: u64,
    /// And with it.
    pub with_bytes: u64,
}

/// One customer of so many is held out of the choice, for the measurement.
const HELD_OUT: u64 = 8;

/// Trains a dictionary on `samples`: the same ones give the same bytes. Nothing where `stop` says so, where too few
/// customers share anything, or where the proof fails. It needs about 15 times as much memory as the samples.
pub fn train(samples: &[Sample<'_>], training: &Training, stop: &dyn Fn() -> bool) -> Option<Trained> {
    let taken = samples.iter().filter(|sample| !is_held_out(sample.customer));
    let bytes = make(&Text::of(taken)?, training, stop)?;
    prove(&bytes, samples, training.k).ok()?;
    let dictionary = Dictionary::new(bytes).ok()?;
    let (plain_bytes, with_bytes) = (measure(samples, None), measure(samples, Some(&dictionary)));
    Some(Trained { dictionary, plain_bytes, with_bytes })
}

/// The finished bytes: header and content.
fn make(text: &Text, training: &Training, stop: &dyn Fn() -> bool) -> Option<Vec<u8>> {
    if training.k < 2 {
        return None;
    }
    let pool = shared(text, training.k, stop)?;
    if pool.pieces.is_empty() {
        return None;
    }
    let (content, fit) = refine(text, &pool, training.size.checked_sub(HEADER_LIMIT)?, stop)?;
    let mut bytes = header(&fit, training.k);
    bytes.extend_from_slice(&content);
    Some(bytes)
}

/// What the records of those customers of whom no training takes anything compress to: of `samples`, whatever the
/// dictionary was trained on.
pub fn measure(samples: &[Sample<'_>], dictionary: Option<&Dictionary>) -> u64 {
    let held_out = samples.iter().filter(|sample| is_held_out(sample.customer));
    held_out.map(|sample| stored_length(sample.body, dictionary) as u64).sum()
}

fn is_held_out(customer: u64) -> bool {
    (customer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(HELD_OUT)
}
