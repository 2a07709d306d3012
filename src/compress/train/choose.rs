//! Which of the shared strings go into a dictionary: by what each adds for its bytes.
//!
//! A string is worth as much as the records that have its runs, as far as no string chosen before covers them. Runs of
//! 8 bytes stand for what a match saves at all. Longer ones stand for what it saves to find in one place what is said
//! in one go: without them a dictionary says everything, but in pieces, and every piece costs a reference of its own.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::runs::{RUN, Runs};
use super::shared::{Piece, Pool, SHORTEST};
use super::text::{SEPARATOR, Text};

/// How long the runs are whose coverage counts, and what one of them counts. Measured: docs/dictionary.md.
const SCALES: [(usize, f32); 4] = [(8, 1.0), (16, 0.7), (32, 0.7), (64, 0.7)];

/// What a byte must bring the second time, as a part of what the last byte that found room brought the first time. The
/// price keeps strings from being cut at their most popular part only to be completed, in pieces, later on.
const PRICE: f32 = 0.7;

/// How many strings are looked at between two questions whether to stop.
const PATIENCE: usize = 4_096;

/// Runs of one length, and in how many records each occurs.
struct Scale {
    run: u32,
    /// The number of the run at every place of the pool; of no meaning where a piece ends before the run does.
    at: Vec<u32>,
    /// In how many records a run occurs, by its number, times what it counts.
    records: Vec<f32>,
    /// The same while it is not covered, then zero.
    worth: Vec<f32>,
}

impl Scale {
    fn of(text: &Text, pool: &Pool, run: usize, weight: f32) -> Self {
        let mut numbers = Runs::for_at_most(pool.bytes.len());
        let mut at = vec![0; pool.bytes.len()];
        for piece in &pool.pieces {
            for (place, run) in hashes(piece.of(&pool.bytes), run).enumerate() {
                at[piece.at as usize + place] = numbers.number(run);
            }
        }
        let mut records = vec![0.0; numbers.count()];
        let mut seen = vec![u32::MAX; numbers.count()];
        for (record, line) in text.records.iter().enumerate() {
            for run in hashes(text.line(line), run) {
                let Some(number) = numbers.find(run) else { continue };
                if seen[number as usize] != record as u32 {
                    seen[number as usize] = record as u32;
                    records[number as usize] += weight;
                }
            }
        }
        Scale { run: run as u32, at, worth: records.clone(), records }
    }

    fn worth(&self, place: u32) -> f32 {
        self.worth[self.at[place as usize] as usize]
    }

    /// The places in a piece where a run starts.
    fn places(&self, piece: Piece) -> std::ops::Range<u32> {
        piece.at..piece.at + (piece.length + 1).saturating_sub(self.run)
    }
}

/// All runs of some length, a multiple of eight, each as one number.
fn hashes(bytes: &[u8], run: usize) -> impl Iterator<Item = u64> + '_ {
    bytes.windows(run).map(|run| {
        run.chunks_exact(RUN).fold(0, |hash: u64, part| {
            let part = u64::from_le_bytes(part.try_into().expect("eight bytes"));
            (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        })
    })
}

/// What is still to be covered.
struct Coverage {
    scales: Vec<Scale>,
}

impl Coverage {
    fn of(text: &Text, pool: &Pool) -> Self {
        Coverage { scales: SCALES.iter().map(|(run, weight)| Scale::of(text, pool, *run, *weight)).collect() }
    }

    fn start_again(&mut self) {
        for scale in &mut self.scales {
            scale.worth.clone_from(&scale.records);
        }
    }

    /// The part of a piece that brings most beyond `price` for each of its bytes, and what it brings for each: ends are
    /// cut off as long as that helps.
    fn best_part(&self, piece: Piece, price: f32) -> (Piece, f32) {
        let (mut start, mut end) = (piece.at, piece.at + piece.length);
        let mut sum: f32 = self.scales.iter().flat_map(|scale| scale.places(piece).map(|at| scale.worth(at))).sum();
        let gain = |sum: f32, start: u32, end: u32| sum - price * ((end - start) as f32 + 1.0);
        let mut best = gain(sum, start, end);
        loop {
            let before = (start, end);
            let (mut cut, mut left) = (start, sum);
            while cut + (SHORTEST as u32) < end {
                left -= self.scales.iter().filter(|one| cut + one.run <= end).map(|one| one.worth(cut)).sum::<f32>();
                cut += 1;
                if gain(left, cut, end) > best {
                    (best, start, sum) = (gain(left, cut, end), cut, left);
                }
            }
            let (mut cut, mut left) = (end, sum);
            while cut > start + SHORTEST as u32 {
                let ending = self.scales.iter().filter(|one| cut >= start + one.run);
                left -= ending.map(|one| one.worth(cut - one.run)).sum::<f32>();
                cut -= 1;
                if gain(left, start, cut) > best {
                    (best, end, sum) = (gain(left, start, cut), cut, left);
                }
            }
            if (start, end) == before {
                break;
            }
        }
        let worth = if best > 0.0 { sum / ((end - start) as f32 + 1.0) } else { 0.0 };
        (Piece { at: start, length: end - start }, worth)
    }

    fn cover(&mut self, part: Piece) {
        for scale in &mut self.scales {
            for place in scale.places(part) {
                scale.worth[scale.at[place as usize] as usize] = 0.0;
            }
        }
    }

    /// Parts of at most `size` bytes in all, separators counted, the best first; and what the last of them brought.
    fn fill(&mut self, pool: &Pool, size: usize, price: f32, stop: &dyn Fn() -> bool) -> Option<(Vec<Piece>, f32)> {
        let mut queue = BinaryHeap::with_capacity(pool.pieces.len());
        for pieces in pool.pieces.chunks(PATIENCE) {
            queue
                .extend(pieces.iter().map(|piece| Candidate { worth: self.best_part(*piece, price).1, piece: *piece }));
            if stop() {
                return None;
            }
        }
        let (mut chosen, mut left, mut last, mut looked) = (Vec::new(), size, 0.0, 0_usize);
        while let Some(Candidate { piece, .. }) = queue.pop() {
            looked += 1;
            if looked.is_multiple_of(PATIENCE) && stop() {
                return None;
            }
            // Worth only ever sinks, so whatever is best when looked at again is best.
            let (part, worth) = self.best_part(piece, price);
            if worth <= 0.0 {
                continue;
            }
            if queue.peek().is_some_and(|next| worth < next.worth) {
                queue.push(Candidate { worth, piece });
                continue;
            }
            let bytes = part.length as usize + 1;
            if bytes <= left {
                (left, last) = (left - bytes, worth);
                self.cover(part);
                chosen.push(part);
                queue.push(Candidate { worth, piece });
            } else if left <= SHORTEST {
                break;
            }
        }
        Some((chosen, last))
    }
}

/// A piece in the order of its worth, as it was when it was last looked at.
struct Candidate {
    worth: f32,
    piece: Piece,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.worth.total_cmp(&other.worth).then_with(|| other.piece.at.cmp(&self.piece.at))
    }
}

/// The content of a dictionary of at most `size` bytes: parts of the pool, each behind a separator, the best last,
/// where references to it are shortest.
pub fn choose(text: &Text, pool: &Pool, size: usize, stop: &dyn Fn() -> bool) -> Option<Vec<u8>> {
    let mut coverage = Coverage::of(text, pool);
    let (_, last) = coverage.fill(pool, size, 0.0, stop)?;
    coverage.start_again();
    let (chosen, _) = coverage.fill(pool, size, last * PRICE, stop)?;
    let mut content = Vec::with_capacity(size);
    for part in chosen.iter().rev() {
        content.push(SEPARATOR);
        content.extend_from_slice(part.of(&pool.bytes));
    }
    Some(content)
}
