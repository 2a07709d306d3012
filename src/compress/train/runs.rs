//! Runs of eight bytes, the grain of both the choice and the proof.

/// How many bytes a run has.
pub const RUN: usize = 8;

/// A table from runs to consecutive numbers: open addressing, and no hasher but a multiplication.
pub struct Runs {
    slots: Vec<(u64, u32)>,
    shift: u32,
    count: u32,
}

/// The mark of an empty slot.
const NONE: u32 = u32::MAX;

impl Runs {
    /// A table for at most `expected` runs.
    pub fn for_at_most(expected: usize) -> Self {
        let bits = (expected * 2).max(16).next_power_of_two().trailing_zeros();
        Runs { slots: vec![(0, NONE); 1 << bits], shift: 64 - bits, count: 0 }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    fn slot(&self, run: u64) -> usize {
        let mut slot = (run.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.slots[slot].1 != NONE && self.slots[slot].0 != run {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    /// The number of a run, its own from now on.
    pub fn number(&mut self, run: u64) -> u32 {
        let slot = self.slot(run);
        if self.slots[slot].1 == NONE {
            self.slots[slot] = (run, self.count);
            self.count += 1;
            assert!(self.count() * 2 <= self.slots.len(), "more runs than were expected");
        }
        self.slots[slot].1
    }

    /// The number of a run that has one.
    pub fn find(&self, run: u64) -> Option<u32> {
        let (_, number) = self.slots[self.slot(run)];
        (number != NONE).then_some(number)
    }
}

/// All runs of some bytes, each as one number, from the first on.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.windows(RUN).map(|run| u64::from_le_bytes(run.try_into().expect("a run is eight bytes")))
}
