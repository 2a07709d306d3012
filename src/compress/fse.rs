//! The tables of finite state entropy that a dictionary carries (RFC 8878, 4.1): read, and turned round for encoding.

/// How often each symbol comes, out of two to the power of `log`; -1 for one that comes less than once.
pub struct Counts {
    pub log: u32,
    pub of: Vec<i16>,
}

impl Counts {
    /// Reads the counts that `bytes` start with, and how many bytes they take; nothing where they are none.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut at = 0;
        let peek = |at: usize, bits: u32| -> Option<u32> {
            let window: [u8; 4] = std::array::from_fn(|byte| bytes.get(at / 8 + byte).copied().unwrap_or(0));
            (at / 8 < bytes.len()).then_some((u32::from_le_bytes(window) >> (at % 8)) & ((1 << bits) - 1))
        };
        let log = peek(at, 4)? + 5;
        at += 4;
        let mut of = Vec::new();
        let mut left = (1_i32 << log) + 1;
        while left > 1 {
            // Values below `short` take one bit less than it takes to count what is left.
            let bits = 32 - (left as u32).leading_zeros();
            let half = 1_i32 << (bits - 1);
            let short = 2 * half - 1 - left;
            let low = peek(at, bits - 1)? as i32;
            let value = if low < short {
                at += bits as usize - 1;
                low
            } else {
                let value = peek(at, bits)? as i32;
                at += bits as usize;
                if value >= half { value - short } else { value }
            };
            if of.len() > 255 {
                return None;
            }
            of.push((value - 1) as i16);
            left -= (value - 1).abs();
            // After a symbol that never comes, it is said how many more of them there are, three at a time.
            let mut more = if value == 1 { 3 } else { 0 };
            while more == 3 {
                more = peek(at, 2)?;
                at += 2;
                of.extend((0..more).map(|_| 0));
                if of.len() > 255 {
                    return None;
                }
            }
        }
        (left == 1 && of.len() <= 256).then_some((Counts { log, of }, at.div_ceil(8)))
    }

    /// How many states each symbol has.
    pub fn states(&self) -> impl Iterator<Item = usize> {
        self.of.iter().map(|count| usize::from(count.unsigned_abs()))
    }

    /// The symbol of every state.
    pub fn spread(&self) -> Vec<u8> {
        let size = 1_usize << self.log;
        let mut symbols = vec![0; size];
        let mut rare = size;
        let counts = || self.of.iter().zip(0_u8..=255);
        for (_, symbol) in counts().filter(|(count, _)| **count == -1) {
            rare -= 1;
            symbols[rare] = symbol;
        }
        let (step, mut at) = ((size >> 1) + (size >> 3) + 3, 0);
        for (count, symbol) in counts() {
            for _ in 0..*count {
                symbols[at] = symbol;
                at = (at + step) % size;
                while at >= rare {
                    at = (at + step) % size;
                }
            }
        }
        symbols
    }
}

/// How a symbol changes the state, as in FSE's reference implementation: `bits` is such that the upper half of its sum
/// with a state is how many bits leave the state; the rest of it, moved by `find`, is the place of the next one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    pub bits: u32,
    pub find: i32,
}

/// The most states of a table: those of lengths (RFC 8878, 3.1.1.3.2.1).
pub const STATES: usize = 1 << 9;

/// A table for encoding.
pub struct Encoding {
    pub log: u32,
    pub next: [u16; STATES],
}

impl Encoding {
    /// The table of `counts`, and the change that each symbol is; nothing where there are too many states.
    pub fn of(counts: &Counts) -> Option<(Self, Vec<Option<Change>>)> {
        let size = 1_usize << counts.log;
        let mut next = [0; STATES];
        next.get(..size)?;
        let mut free = Vec::with_capacity(counts.of.len());
        let mut changes = Vec::with_capacity(counts.of.len());
        let mut total = 0;
        for states in counts.states() {
            free.push(total);
            changes.push((states > 0).then(|| {
                let bits = counts.log - (states - 1).max(1).ilog2();
                let full = (states as u32) << bits;
                Change { bits: (bits << 16).wrapping_sub(full), find: total as i32 - states as i32 }
            }));
            total += states;
        }
        for (state, symbol) in counts.spread().into_iter().enumerate() {
            let place = &mut free[usize::from(symbol)];
            next[*place] = (size + state) as u16;
            *place += 1;
        }
        Some((Encoding { log: counts.log, next }, changes))
    }

    /// The state that `change` begins with.
    pub fn begin(&self, change: Change) -> u32 {
        let bits = change.bits.wrapping_add(1 << 15) >> 16;
        self.after((bits << 16).wrapping_sub(change.bits) >> bits, change)
    }

    /// The state that `change` leads to from what is `left` of another.
    #[inline(always)]
    pub fn after(&self, left: u32, change: Change) -> u32 {
        self.next[(left as i32 + change.find) as usize % STATES].into()
    }
}
