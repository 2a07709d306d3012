//! Which line belongs to which lane, and how far each lane has come.
//!
//! A batch carries the number of the last line behind which everything is stored, so the batches of one source go in
//! one after the other, and one thread would have to do all the compressing and encrypting. Therefore the lines of an
//! input are dealt out in blocks to a few lanes, each a source of its own with its own number: within a lane the order
//! holds, and the lanes go side by side.

use tenure::Acting;

use crate::failure::Failure;

/// Lanes of every source. It is part of their names in the store, so it never changes.
pub const LANES: usize = 8;
/// Lines of a block. It never changes either: the same line belongs to the same lane in every run.
const BLOCK: u64 = 1_000;

/// The lane of a line, counted from one.
pub fn lane_of(line: u64) -> usize {
    ((line - 1) / BLOCK % LANES as u64) as usize
}

/// How far each lane has come: the number of its last line that is stored, and with it all its lines before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes([u64; LANES]);

impl Lanes {
    /// What the store says about the source `name`.
    pub fn of(store: &Acting, name: &str) -> Result<Self, Failure> {
        let mut lanes = Lanes::default();
        for lane in 0..LANES {
            lanes.0[lane] = store.source_offset(&Lanes::name(name, lane))?.unwrap_or(0);
        }
        Ok(lanes)
    }

    /// Under which name a lane's progress is kept.
    pub fn name(source: &str, lane: usize) -> String {
        format!("{source}\nlane {lane} of {LANES}")
    }

    /// The last line that is stored of one lane.
    pub fn upto(&self, lane: usize) -> u64 {
        self.0[lane]
    }

    /// The last line that is stored of any lane.
    pub fn furthest(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// A lane came this far.
    pub fn advance(&mut self, lane: usize, line: u64) {
        self.0[lane] = self.0[lane].max(line);
    }

    /// Whether a line is stored.
    pub fn has(&self, line: u64) -> bool {
        line <= self.0[lane_of(line)]
    }

    /// The last line up to which everything is stored; some lines behind it may be too.
    pub fn prefix(&self) -> u64 {
        let mut start = 0;
        loop {
            let upto = self.0[lane_of(start + 1)];
            if upto < start + BLOCK {
                return upto.max(start);
            }
            start += BLOCK;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_at_the_first_line_that_is_missing() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.prefix(), 0);
        assert!(!lanes.has(1));
        lanes.advance(1, 1_500);
        assert_eq!(lanes.prefix(), 0);
        lanes.advance(0, 1_000);
        assert_eq!(lanes.prefix(), 1_500);
        assert!(lanes.has(1_500) && !lanes.has(1_501) && !lanes.has(2_001));
        for lane in 0..LANES {
            lanes.advance(lane, (lane as u64 + 1) * BLOCK);
        }
        assert_eq!(lanes.prefix(), 8_000);
        lanes.advance(0, 8_200);
        assert_eq!(lanes.prefix(), 8_200);
        assert_eq!((lane_of(8_000), lane_of(8_001), lane_of(9_001)), (7, 0, 1));
    }

    /// Whatever is stored in whatever order, what `has` says agrees with what `prefix` says.
    #[test]
    fn every_line_up_to_the_prefix_is_stored() {
        let mut lanes = Lanes::default();
        for step in [3_u64, 1, 7, 0, 2, 5, 4, 6, 3, 0, 1] {
            let lane = step as usize;
            let block = lanes.upto(lane).div_ceil(BLOCK * LANES as u64) * LANES as u64 + step;
            lanes.advance(lane, block * BLOCK + 400);
            let prefix = lanes.prefix();
            assert!((1..=prefix).all(|line| lanes.has(line)) && !lanes.has(prefix + 1));
        }
    }
}
