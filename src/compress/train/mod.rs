//! Training a dictionary that holds only what many customers share.

mod choose;
mod header;
mod prove;
mod runs;
mod shared;
#[cfg(test)]
mod tests;
mod text;

use super::codec::compress_into;
use super::dictionary::Dictionary;
use choose::choose;
use header::header;
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
    /// The level that frames are going to be compressed at.
    pub level: i32,
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
    let (held_out, taken): (Vec<&Sample>, Vec<&Sample>) =
        samples.iter().partition(|sample| is_held_out(sample.customer));
    let bytes = make(&Text::of(taken.into_iter())?, training, stop)?;
    prove(&bytes, samples, training.k).ok()?;
    let dictionary = Dictionary::at_level(bytes, training.level).ok()?;
    let (plain_bytes, with_bytes) = measure(&held_out, &dictionary);
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
    // Content alone will do where zstd finds too little to count.
    let mut bytes = header(text, &pool, training.size).unwrap_or_default();
    let content = choose(text, &pool, training.size.checked_sub(bytes.len())?, stop)?;
    bytes.extend_from_slice(&content);
    (!content.is_empty()).then_some(bytes)
}

fn is_held_out(customer: u64) -> bool {
    (customer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(HELD_OUT)
}

/// What the samples compress to, without and with a dictionary.
fn measure(samples: &[&Sample<'_>], dictionary: &Dictionary) -> (u64, u64) {
    let mut out = Vec::new();
    let mut length = |body: &[u8], dictionary: Option<&Dictionary>| {
        out.clear();
        if compress_into(body, dictionary, &mut out) { out.len() as u64 } else { body.len() as u64 }
    };
    samples.iter().fold((0, 0), |(plain, with), sample| {
        (plain + length(sample.body, None), with + length(sample.body, Some(dictionary)))
    })
}
