//! Huffman's codes of limited length, and their description (RFC 8878, 4.2.1).

use super::super::fse::{Counts, Encoding};
use super::super::tables::{LITERAL_BITS, WEIGHTS_LOG};
use super::counts::{Bits, fitted, write};

/// Writes the codes that fit `counts`, of which none is zero, of every byte.
pub fn describe(counts: &[u64; 256], out: &mut Vec<u8>) {
    let mut lengths = lengths(counts);
    if lengths.iter().all(|length| *length == lengths[0]) {
        // Weights that are all the same cannot be coded. Nothing is lost but a bit at two bytes that no text has.
        (lengths[usize::from(b' ')], lengths[0], lengths[1]) = (7, 9, 9);
    }
    let log = lengths.iter().copied().max().unwrap_or_default();
    let weights: Vec<u8> = lengths.iter().map(|length| log + 1 - length).collect();
    // The last weight is what the others leave.
    let coded = two_streams(&weights[..255]);
    out.push(coded.len() as u8);
    out.extend(coded);
}

/// How long the code of each byte is for the fewest bits in all, none longer than [`LITERAL_BITS`] (Larmore and
/// Hirschberg, A fast algorithm for optimal length-limited Huffman codes, 1990: package-merge).
fn lengths(counts: &[u64; 256]) -> [u8; 256] {
    let mut leaves: Vec<(u64, Vec<u8>)> =
        counts.iter().zip(0..=255).map(|(count, byte)| (*count, vec![byte])).collect();
    leaves.sort_by_key(|(count, _)| *count);
    let mut packages = leaves.clone();
    for _ in 1..LITERAL_BITS {
        let pairs = packages.chunks_exact(2).map(|pair| (pair[0].0 + pair[1].0, [&*pair[0].1, &*pair[1].1].concat()));
        packages = leaves.iter().cloned().chain(pairs).collect();
        packages.sort_by_key(|(count, _)| *count);
    }
    let mut lengths = [0; 256];
    for byte in packages.into_iter().take(2 * leaves.len() - 2).flat_map(|(_, bytes)| bytes) {
        lengths[usize::from(byte)] += 1;
    }
    lengths
}

/// Codes weights by two states in turns, the last first.
fn two_streams(weights: &[u8]) -> Vec<u8> {
    let mut times = [0; LITERAL_BITS as usize + 1];
    weights.iter().for_each(|weight| times[usize::from(*weight)] += 1);
    let last = times.iter().rposition(|times| *times > 0).unwrap_or_default();
    let counts = Counts { log: WEIGHTS_LOG, of: fitted(&times[..=last], WEIGHTS_LOG) };
    let mut bits = Bits::default();
    write(&counts, &mut bits);
    bits.fill();
    let (states, changes) = Encoding::of(&counts).expect("it has as many states as its logarithm says");
    let mut at = [None; 2];
    for (place, weight) in weights.iter().enumerate().rev() {
        let change = changes[usize::from(*weight)].expect("it was counted");
        at[place % 2] = Some(match at[place % 2] {
            None => states.begin(change),
            Some(state) => {
                let count = change.bits.wrapping_add(state) >> 16;
                bits.push(state, count);
                states.after(state >> count, change)
            }
        });
    }
    for state in at.into_iter().rev().flatten() {
        bits.push(state, counts.log);
    }
    bits.push(1, 1);
    bits.end()
}

#[cfg(test)]
mod tests {
    use super::super::super::tables::{Literal, literal_codes};
    use super::*;
    use proptest::prelude::*;

    /// How often each byte comes: all alike, or each so many times as often as the one before.
    fn counts() -> impl Strategy<Value = [u64; 256]> {
        let of = |(steep, present, seed): (f64, usize, u64)| {
            std::array::from_fn(|byte| match (byte * 167 + seed as usize) % 256 {
                place if place < present => 1 + steep.powi(place as i32 % 60) as u64,
                _ => 1,
            })
        };
        (1.0..1.9, 0..257_usize, any::<u64>().prop_map(|seed| seed >> 32)).prop_map(of)
    }

    /// The bits below which no code gets (Shannon, 1948).
    fn entropy(counts: &[u64; 256]) -> f64 {
        let total = counts.iter().sum::<u64>() as f64;
        counts.iter().map(|count| *count as f64 * (total / *count as f64).log2()).sum()
    }

    proptest! {
        #[test]
        fn codes_are_read_back_whole_and_short(counts in counts()) {
            let mut described = Vec::new();
            describe(&counts, &mut described);
            let (codes, length) = literal_codes(&described).expect("it can be read");
            prop_assert_eq!(length, described.len());
            prop_assert!(described.len() <= 128);
            prop_assert_eq!(codes.iter().map(|code| 1_u32 << (LITERAL_BITS - u32::from(code.length))).sum::<u32>(), 1 << LITERAL_BITS);
            // Whatever comes more often has no longer code, but where all are the same.
            for (one, code) in counts.iter().zip(&codes) {
                let longer = |other: (&u64, &Literal)| *other.0 < *one && other.1.length < code.length;
                prop_assert!(!counts.iter().zip(&codes).any(longer) || codes.iter().all(|code| code.length.abs_diff(8) <= 1));
            }
            let bits: u64 = counts.iter().zip(&codes).map(|(count, code)| count * u64::from(code.length)).sum();
            let total = counts.iter().sum::<u64>() as f64;
            // Huffman's take less than a bit more; the limit costs what the rare ones take of the shorter codes.
            prop_assert!((bits as f64) < entropy(&counts) + 1.25 * total, "{bits} bits for {}", entropy(&counts));
            prop_assert!(bits as f64 <= 8.01 * total);
        }
    }

    #[test]
    fn without_a_limit_that_matters_codes_are_those_of_huffman() {
        // Powers of two: as many bits as it takes to halve all there is down to each of them.
        let counts: [u64; 256] = std::array::from_fn(|byte| 1 << (byte / 32).min(3));
        let bits: u64 = counts.iter().zip(&lengths(&counts)).map(|(count, length)| count * u64::from(*length)).sum();
        assert_eq!(bits, by_merging(&counts));
    }

    /// How many bits Huffman's own codes take: the sum of all that is merged (Huffman, 1952).
    fn by_merging(counts: &[u64; 256]) -> u64 {
        let mut waiting: std::collections::BinaryHeap<_> =
            counts.iter().map(|count| std::cmp::Reverse(*count)).collect();
        let mut bits = 0;
        while let (Some(one), Some(other)) = (waiting.pop(), waiting.pop()) {
            bits += one.0 + other.0;
            waiting.push(std::cmp::Reverse(one.0 + other.0));
            if waiting.len() == 1 {
                break;
            }
        }
        bits
    }
}
