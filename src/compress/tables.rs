//! What a dictionary's header says (RFC 8878, 5): which bits a literal is written as, and which code a length or a
//! distance has.

use super::dictionary::MAGIC;
use super::fse::{Change, Counts, Encoding};

/// Where the tables stand: after the magic number and the dictionary's own.
pub const START: usize = 8;
/// Bytes of the offsets to repeat at the start of a record, which come last.
pub const REPEATS: usize = 12;

/// Bits that follow each code of a run of literals (RFC 8878, 3.1.1.3.2.1.1).
pub const RUN_BITS: &[u32] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];
/// Of a match beyond its least.
pub const MATCH_BITS: &[u32] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2,
    3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];
/// Of an offset, whose first code is that of 1.
pub const OFFSET_BITS: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];
/// As many codes of them as bodies need that are encoded here: runs of up to 2,047, matches and offsets of up to 64 and
/// 128 KiB.
const RUNS: usize = 30;
const MATCHES: usize = 52;
const OFFSETS: usize = 17;

/// The shortest match that the format knows, whose code is the first.
pub const MATCH_MIN: u32 = 3;

/// How many bits a literal takes at most, and so the greatest weight of one.
pub const LITERAL_BITS: u32 = 11;
/// The accuracy of the table that weights are coded with, at most.
pub const WEIGHTS_LOG: u32 = 6;

/// How a value is written: a change of state, and then so many of its lowest bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Code {
    pub change: Change,
    pub bits: u32,
}

/// The codes of one of the three things that a sequence is made of.
pub struct Field {
    pub states: Encoding,
    /// Of values below 128.
    small: [Code; 128],
    /// Of others, by their highest bit.
    large: [Code; 32],
}

impl Field {
    /// Reads the table that `header` starts with, and leaves what comes after. `bits` are those that follow each code,
    /// of which the first is that of the value `first`.
    fn read(header: &mut &[u8], bits: &[u32], first: usize) -> Option<Self> {
        let (counts, length) = Counts::read(header)?;
        *header = header.get(length..)?;
        let (states, changes) = Encoding::of(&counts)?;
        let (mut small, mut large) = ([Code::default(); 128], [Code::default(); 32]);
        let mut value = first;
        for (code, &bits) in bits.iter().enumerate() {
            let change = (*changes.get(code)?)?;
            let values = value..value + (1 << bits);
            value = values.end;
            match small.get_mut(values.clone()) {
                Some(small) => small.fill(Code { change, bits }),
                None => large[values.start.ilog2() as usize] = Code { change, bits },
            }
        }
        Some(Field { states, small, large })
    }

    /// The code of `value`, which is no more than the last code is for.
    #[inline(always)]
    pub fn code(&self, value: u32) -> Code {
        match self.small.get(value as usize) {
            Some(code) => *code,
            None => self.large[value.ilog2() as usize],
        }
    }
}

/// How a literal is written: as the lowest `length` of `bits`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Literal {
    pub bits: u16,
    pub length: u16,
}

/// The tables of one dictionary, turned round for encoding.
pub struct Tables {
    pub literals: [Literal; 256],
    pub runs: Field,
    pub matches: Field,
    pub offsets: Field,
}

impl Tables {
    /// The tables of `dictionary`, and where its content starts; nothing where it has none, or they lack anything that
    /// a body may need.
    pub fn read(dictionary: &[u8]) -> Option<(Self, usize)> {
        let mut header = dictionary.strip_prefix(&MAGIC)?.get(START - MAGIC.len()..)?;
        let (literals, length) = literal_codes(header)?;
        header = header.get(length..)?;
        let offsets = Field::read(&mut header, &OFFSET_BITS[..OFFSETS], 1)?;
        let matches = Field::read(&mut header, &MATCH_BITS[..MATCHES], 0)?;
        let runs = Field::read(&mut header, &RUN_BITS[..RUNS], 0)?;
        let content = dictionary.len() - header.get(REPEATS..)?.len();
        Some((Tables { literals, runs, matches, offsets }, content))
    }
}

/// Huffman's codes, and how many bytes their description takes (RFC 8878, 4.2.1).
pub fn literal_codes(header: &[u8]) -> Option<([Literal; 256], usize)> {
    let (mut weights, described) = read_weights(header)?;
    if weights.iter().any(|&weight| u32::from(weight) > LITERAL_BITS) {
        return None;
    }
    let share = |weight: u8| (1_u32 << weight) >> 1;
    let sum: u32 = weights.iter().map(|&weight| share(weight)).sum();
    let log = sum.checked_ilog2()? + 1;
    // The last weight is what is missing.
    let last = (1_u32 << log) - sum;
    if !last.is_power_of_two() || log > LITERAL_BITS {
        return None;
    }
    weights.push(last.ilog2() as u8 + 1);
    let mut codes = [Literal::default(); 256];
    let mut bits = 0;
    // The longest codes have the lowest bits, and bytes with codes of one length come in their order.
    for length in (1..=log).rev() {
        for (code, &weight) in codes.iter_mut().zip(&weights) {
            if weight > 0 && u32::from(weight) == log + 1 - length {
                *code = Literal { bits, length: length as u16 };
                bits += 1;
            }
        }
        bits >>= 1;
    }
    (weights.len() == 256 && codes.iter().all(|code| code.length > 0)).then_some((codes, described))
}

/// The weights of all bytes but the last, and how many bytes they are written in. Those that are not coded are no more
/// than half of the bytes, and too few.
fn read_weights(header: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (&first, rest) = header.split_first()?;
    let first = usize::from(first);
    if first >= 128 {
        return None;
    }
    let coded = rest.get(..first)?;
    let (counts, length) = Counts::read(coded)?;
    if counts.log > WEIGHTS_LOG {
        return None;
    }
    Some((two_streams(&counts, coded.get(length..)?)?, 1 + first))
}

/// Decodes bytes that two states wrote in turns, from the end.
fn two_streams(counts: &Counts, coded: &[u8]) -> Option<Vec<u8>> {
    let mut visits: Vec<usize> = counts.states().collect();
    let steps: Vec<(u8, u32, usize)> = counts
        .spread()
        .into_iter()
        .map(|symbol| {
            let visit = &mut visits[usize::from(symbol)];
            let bits = counts.log - visit.ilog2();
            let next = (*visit << bits) - (1 << counts.log);
            *visit += 1;
            (symbol, bits, next)
        })
        .collect();
    let mut left = (8 * coded.len()).checked_sub(1 + coded.last()?.leading_zeros() as usize)?;
    // Bits before the first are zeros; that one was wanted is what ends the stream.
    let mut read = |count: u32| -> (usize, bool) {
        let taken = (0..count as usize).fold(0, |value, n| {
            let bit = left.checked_sub(n + 1).map_or(0, |at| (usize::from(coded[at / 8]) >> (at % 8)) & 1);
            (value << 1) | bit
        });
        let over = left < count as usize;
        left = left.saturating_sub(count as usize);
        (taken, over)
    };
    let (mut state, mut other) = (read(counts.log).0, read(counts.log).0);
    let mut out = Vec::new();
    while out.len() < 255 {
        let (symbol, bits, next) = steps[state];
        out.push(symbol);
        let (value, over) = read(bits);
        state = next + value;
        if over {
            out.push(steps[other].0);
            return Some(out);
        }
        std::mem::swap(&mut state, &mut other);
    }
    None
}
