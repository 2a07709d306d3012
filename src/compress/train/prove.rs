//! The proof that a dictionary holds nobody's words: of the finished bytes, against the records themselves.

use super::Sample;
use super::header::header_length;
use super::runs::{RUN, Runs, runs};
use super::text::{SEPARATOR, Text, masked};

/// What is wrong with a dictionary: where, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// Samples of 4 GiB or more.
    TooMuch,
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
/// The content is cut at its separators. What is between two of them has no digit but the one that stands for all, is
/// at least one run long, and every run in it has its `k` customers. The header holds counts and no text, so its runs
/// need not occur at all; but one that does, in the records of fewer than `k` customers, is refused as well.
///
/// # Errors
/// The first place of which that is not so.
pub fn prove(dictionary: &[u8], samples: &[Sample<'_>], k: usize) -> Result<(), Unproved> {
    let text = Text::of(samples.iter()).ok_or(Unproved::TooMuch)?;
    let (header, content) = dictionary.split_at(header_length(dictionary).ok_or(Unproved::Header)?);
    let mut numbers = Runs::for_at_most(dictionary.len());
    let mut places = Vec::new();
    let mut at = header.len();
    for piece in content.split(|byte| *byte == SEPARATOR) {
        if let Some(digit) = piece.iter().position(|byte| *byte != masked(*byte)) {
            return Err(Unproved::Digit { at: at + digit });
        }
        if !piece.is_empty() && piece.len() < RUN {
            return Err(Unproved::Short { at });
        }
        places.extend(runs(piece).enumerate().map(|(place, run)| (at + place, numbers.number(run))));
        at += piece.len() + 1;
    }
    let header: Vec<u8> = header.iter().map(|byte| masked(*byte)).collect();
    let tables: Vec<_> = runs(&header).enumerate().map(|(at, run)| (at, numbers.number(run))).collect();
    let customers = customers(&numbers, &text);
    let rare = |(at, number): &(usize, u32)| {
        let customers = customers[*number as usize] as usize;
        (customers < k).then_some(Unproved::Rare { at: *at, customers })
    };
    let nobodys = |(_, number): &&(usize, u32)| customers[*number as usize] == 0;
    let found = tables.iter().filter(|one| !nobodys(one)).chain(&places).find_map(rare);
    found.map_or(Ok(()), Err)
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
