//! Counts that fit a table of finite state entropy, and how they are written (RFC 8878, 4.1.1).

use super::super::fse::Counts;

/// Bits one after the other, from the lowest on.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    /// Adds the lowest `count` bits, up to 32, of `value`.
    pub fn push(&mut self, value: u32, count: u32) {
        self.pending |= (u64::from(value) & ((1 << count) - 1)) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Fills up the last byte with zeros.
    pub fn fill(&mut self) {
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
    }

    /// The bytes, the last one filled up.
    pub fn end(mut self) -> Vec<u8> {
        self.fill();
        self.bytes
    }
}

/// Divides two to the power of `log` states among symbols that come so many `times`, for the fewest bits: one each, and
/// every further one to whom it saves most. There are no more symbols than states; those that never come get none.
pub fn fitted(times: &[u64], log: u32) -> Vec<i16> {
    let mut states: Vec<i16> = times.iter().map(|times| i16::from(*times > 0)).collect();
    let present: Vec<usize> = (0..times.len()).filter(|symbol| times[*symbol] > 0).collect();
    for _ in present.len()..1 << log {
        let saves = |symbol: &usize| times[*symbol] as f64 * (1.0 + 1.0 / f64::from(states[*symbol])).log2();
        let most = present.iter().copied().max_by(|one, other| saves(one).total_cmp(&saves(other)));
        let Some(symbol) = most else { break };
        states[symbol] += 1;
    }
    states
}

/// Writes counts, of which the last is not zero.
pub fn write(counts: &Counts, out: &mut Bits) {
    out.push(counts.log - 5, 4);
    let mut left = (1_u32 << counts.log) + 1;
    let mut rest = counts.of.iter().peekable();
    while let Some(&count) = rest.next() {
        // Values below `short` take one bit less than it takes to count what is left.
        let (value, bits) = ((count + 1) as u32, 32 - left.leading_zeros());
        let half = 1 << (bits - 1);
        let short = 2 * half - 1 - left;
        match value {
            value if value < short => out.push(value, bits - 1),
            value if value < half => out.push(value, bits),
            value => out.push(value + short, bits),
        }
        left -= u32::from(count.unsigned_abs());
        if count == 0 {
            // How many more that never come, three at a time.
            let mut more = 0;
            while rest.next_if(|count| **count == 0).is_some() {
                more += 1;
            }
            (0..more / 3).for_each(|_| out.push(3, 2));
            out.push(more % 3, 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_come_back_as_they_were_written(times in prop::collection::vec(prop_oneof![3 => 0..3_u64, 2 => 0..9_999_u64], 1..33), log in 5..10_u32) {
            let times = [times, vec![7]].concat();
            let of = fitted(&times, log);
            prop_assert_eq!(of.iter().map(|count| i32::from(*count)).sum::<i32>(), 1 << log);
            for (times, states) in times.iter().zip(&of) {
                prop_assert_eq!(*times > 0, *states > 0);
            }
            let mut bits = Bits::default();
            write(&Counts { log, of: of.clone() }, &mut bits);
            let bytes = bits.end();
            let (counts, length) = Counts::read(&bytes).unwrap();
            prop_assert_eq!((counts.log, counts.of, length), (log, of, bytes.len()));
        }
    }
}
