//! Which of the shared strings go into a dictionary: by what each adds for its bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::runs::{RUN, Runs, runs};
use super::shared::{SHORTEST, Shared};
use super::text::Text;

/// Marks a place in the text where no shared run starts.
const NONE: u32 = u32::MAX;

/// In how many records each run occurs, by place in the text.
struct Weights {
    /// The number of the run at every place of the text.
    at: Vec<u32>,
    /// What covering a run is worth, by its number; nothing once it is covered.
    worth: Vec<f32>,
}

impl Weights {
    fn of(text: &Text, shared: &[Shared]) -> Self {
        let most = shared.iter().map(|one| one.length as usize - RUN + 1).sum::<usize>().min(text.bytes.len());
        let mut numbers = Runs::for_at_most(most);
        for one in shared {
            for run in runs(&text.bytes[one.at as usize..][..one.length as usize]) {
                numbers.number(run);
            }
        }
        let mut at = vec![NONE; text.bytes.len()];
        let mut worth = vec![0.0; numbers.count()];
        let mut seen = vec![NONE; numbers.count()];
        for (record, line) in text.records.iter().enumerate() {
            for (place, run) in runs(text.line(line)).enumerate() {
                let Some(number) = numbers.find(run) else { continue };
                at[line.start as usize + place] = number;
                if seen[number as usize] != record as u32 {
                    seen[number as usize] = record as u32;
                    worth[number as usize] += 1.0;
                }
            }
        }
        Weights { at, worth }
    }

    fn worth(&self, place: u32) -> f32 {
        match self.at[place as usize] {
            NONE => 0.0,
            number => self.worth[number as usize],
        }
    }

    /// The part of a string that is worth most for its bytes, and how much for each.
    fn best_part(&self, one: Shared) -> (Shared, f32) {
        let runs = one.length - RUN as u32 + 1;
        let density = |part: (u32, u32), sum: f32| sum / ((part.1 - part.0) as f32 + RUN as f32);
        let mut part = (0, runs);
        let mut worth = density(part, (0..runs).map(|run| self.worth(one.at + run)).sum());
        loop {
            // The part whose worth most exceeds what its bytes would bring at the rate known so far.
            let (mut best, mut best_sum, mut start, mut sum) = ((0, 0), 0.0, 0, 0.0);
            for run in 0..runs {
                if sum <= 0.0 {
                    (start, sum) = (run, 0.0);
                }
                sum += self.worth(one.at + run) - worth;
                if sum > best_sum {
                    (best, best_sum) = ((start, run + 1), sum);
                }
            }
            if best.1 == best.0 {
                break;
            }
            let rate = density(best, (best.0..best.1).map(|run| self.worth(one.at + run)).sum());
            if rate <= worth * 1.001 {
                break;
            }
            (part, worth) = (best, rate);
        }
        (Shared { at: one.at + part.0, length: part.1 - part.0 + RUN as u32 - 1 }, worth)
    }

    fn cover(&mut self, part: Shared) {
        for place in part.at..part.at + part.length - RUN as u32 + 1 {
            if self.at[place as usize] != NONE {
                self.worth[self.at[place as usize] as usize] = 0.0;
            }
        }
    }
}

/// A string in the order of its worth, as it was when it was last looked at.
struct Candidate {
    worth: f32,
    of: Shared,
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
        self.worth.total_cmp(&other.worth).then_with(|| other.of.at.cmp(&self.of.at))
    }
}

/// Strings of at most `size` bytes in all, with a separator for each, the best first.
pub fn choose(text: &Text, shared: &[Shared], size: usize, stop: &dyn Fn() -> bool) -> Option<Vec<Shared>> {
    let mut weights = Weights::of(text, shared);
    let mut candidates: BinaryHeap<Candidate> =
        shared.iter().map(|one| Candidate { worth: weights.best_part(*one).1, of: *one }).collect();
    let (mut chosen, mut left) = (Vec::new(), size);
    let mut looked = 0_u32;
    while let Some(candidate) = candidates.pop() {
        looked += 1;
        if looked.is_multiple_of(4_096) && stop() {
            return None;
        }
        let (part, worth) = weights.best_part(candidate.of);
        if candidates.peek().is_some_and(|next| worth < next.worth) {
            if worth > 0.0 {
                candidates.push(Candidate { worth, of: candidate.of });
            }
            continue;
        }
        let bytes = part.length as usize + 1;
        if worth <= 0.0 || left < SHORTEST + 1 {
            break;
        }
        if bytes > left {
            continue;
        }
        left -= bytes;
        weights.cover(part);
        chosen.push(part);
        candidates.push(Candidate { worth, of: candidate.of });
    }
    Some(chosen)
}
