//! Which of the shared strings go into a dictionary: by what each adds for its bytes.
//!
//! A string is worth as much as the records that have its runs, as far as no string chosen before covers them. Runs of
//! 8 bytes stand for what a match saves at all. Longer ones stand for what it saves to find in one place what is said
//! in one go: without them a dictionary says everything, but in pieces, and every piece costs a reference of its own.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::runs::{RUN, Runs};
use super::shared::{Piece, Pool, SHORTEST};
use super::text::Text;

/// How long the runs are whose coverage counts, and what one of them counts. Tried: docs/dictionary.md.
const SCALES: [(usize, f32); 4] = [(8, 1.0), (16, 4.0), (32, 8.0), (64, 8.0)];

/// How many strings are looked at between two questions whether to stop.
const PATIENCE: usize = 4_096;

/// Runs of one length, and in how many records each occurs.
struct Scale {
    run: u32,
    /// The number of the run at every place of the pool; of no meaning where a piece ends before the run does.
    at: Vec<u32>,
    /// In how many records a run occurs, by its number, times what it counts; zero once it is covered.
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
        let mut worth = vec![0.0; numbers.count()];
        let mut seen = vec![u32::MAX; numbers.count()];
        for (record, line) in text.records.iter().enumerate() {
            for run in hashes(text.line(line), run) {
                let Some(number) = numbers.find(run) else { continue };
                if seen[number as usize] != record as u32 {
                    seen[number as usize] = record as u32;
                    worth[number as usize] += weight;
                }
            }
        }
        Scale { run: run as u32, at, worth }
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
pub struct Coverage {
    scales: Vec<Scale>,
}

impl Coverage {
    pub fn of(text: &Text, pool: &Pool) -> Self {
        Coverage { scales: SCALES.iter().map(|(run, weight)| Scale::of(text, pool, *run, *weight)).collect() }
    }

    /// What a piece brings for each of its bytes, its separator counted.
    fn worth(&self, piece: Piece) -> f32 {
        let sum: f32 = self.scales.iter().flat_map(|scale| scale.places(piece).map(|at| scale.worth(at))).sum();
        sum / (piece.length as f32 + 1.0)
    }

    fn cover(&mut self, piece: Piece) {
        for scale in &mut self.scales {
            for place in scale.places(piece) {
                scale.worth[scale.at[place as usize] as usize] = 0.0;
            }
        }
    }

    /// Takes pieces of at most `size` bytes in all, separators counted, the best first. What they have is covered from
    /// then on.
    pub fn fill(&mut self, pool: &Pool, size: usize, stop: &dyn Fn() -> bool) -> Option<Vec<Piece>> {
        let mut queue = BinaryHeap::with_capacity(pool.pieces.len());
        for pieces in pool.pieces.chunks(PATIENCE) {
            queue.extend(pieces.iter().map(|piece| Candidate { worth: self.worth(*piece), piece: *piece }));
            if stop() {
                return None;
            }
        }
        let (mut chosen, mut left, mut looked) = (Vec::new(), size, 0_usize);
        while let Some(Candidate { piece, .. }) = queue.pop().filter(|best| best.worth > 0.0 && left > SHORTEST) {
            looked += 1;
            if looked.is_multiple_of(PATIENCE) && stop() {
                return None;
            }
            // Worth only ever sinks, so whatever is best when looked at again is best.
            let worth = self.worth(piece);
            if queue.peek().is_some_and(|next| worth < next.worth) {
                queue.push(Candidate { worth, piece });
                continue;
            }
            let bytes = piece.length as usize + 1;
            if worth > 0.0 && bytes <= left {
                left -= bytes;
                self.cover(piece);
                chosen.push(piece);
            }
        }
        Some(chosen)
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
