//! The proof that a dictionary holds nobody's words: of the finished bytes, against the records themselves.

use super::super::dictionary::MAGIC;
use super::Sample;
use super::runs::{RUN, Runs, runs};
use super::text::{SEPARATOR, Text};

/// What is wrong with a dictionary: where, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// A header that cannot be read.
    Header,
    /// A digit other than the one that stands for all.
    Digit {
        /// Bytes from the start of the dictionary.
        at: usize,
    },
    /// A piece between two separators that is shorter than a run.
    Short {
        /// Bytes from the start of the dictionary.
        at: usize,
    },
    /// A run of eight bytes that too few customers share.
    Rare {
        /// Bytes from the start of the dictionary.
        at: usize,
        /// How many customers have it.
        customers: usize,
    },
}

/// Proves that every run of eight bytes of `dictionary` occurs, digits masked, in records of at least `k` customers.
///
/// # Errors
/// The first place of which that is not so.
pub fn prove(dictionary: &[u8], samples: &[Sample<'_>], k: usize) -> Result<(), Unproved> {
    if dictionary.starts_with(&MAGIC) {
        return Err(Unproved::Header);
    }
    prove_content(dictionary, 0, &Text::of(samples.iter()), k)
}

fn prove_content(content: &[u8], offset: usize, text: &Text, k: usize) -> Result<(), Unproved> {
    let mut numbers = Runs::for_at_most(content.len());
    let mut places = Vec::new();
    let mut at = 0;
    for piece in content.split(|byte| *byte == SEPARATOR) {
        if let Some(digit) = piece.iter().position(|byte| (b'1'..=b'9').contains(byte)) {
            return Err(Unproved::Digit { at: offset + at + digit });
        }
        if !piece.is_empty() && piece.len() < RUN {
            return Err(Unproved::Short { at: offset + at });
        }
        places.extend(runs(piece).enumerate().map(|(place, run)| (at + place, numbers.number(run))));
        at += piece.len() + 1;
    }
    let customers = customers(&numbers, text);
    match places.into_iter().find(|(_, number)| (customers[*number as usize] as usize) < k) {
        Some((at, number)) => Err(Unproved::Rare { at: offset + at, customers: customers[number as usize] as usize }),
        None => Ok(()),
    }
}

/// How many customers have each run.
fn customers(numbers: &Runs, text: &Text) -> Vec<u32> {
    let mut counts = vec![0; numbers.count()];
    let mut last = vec![u32::MAX; numbers.count()];
    for line in &text.records {
        for run in runs(text.line(line)) {
            let Some(number) = numbers.find(run) else { continue };
            if last[number as usize] != line.customer {
                last[number as usize] = line.customer;
                counts[number as usize] += 1;
            }
        }
    }
    counts
}
