//! Writes a block of zstd (RFC 8878, 3.1.1.3) with the tables of a dictionary: nothing is counted, and no table is made
//! or written.

use super::fse::Encoding;
use super::matches::{LITERAL_LIMIT, SEQUENCE_LIMIT, Sequence};
use super::tables::{Code, Literal, MATCH_MIN, Tables};

/// Fewer literals than this are not worth their header.
const CODED_MIN: usize = 16;
/// From so many literals on they are four streams, which are read at the same time.
const FOUR_STREAMS: usize = 256;

/// Literals as they are, or coded as the dictionary says.
const RAW: usize = 0;
const TREELESS: usize = 3;
/// All three kinds of codes as the dictionary says.
const REPEAT_ALL: u8 = 0b1111_1100;

/// More bytes than any block takes: a literal takes 11 bits; a sequence 42 of states and offset, and the lengths of all
/// of them together no more than another 22 each; some more for what is around them, and for the eight that are put out
/// at once.
const BLOCK_LIMIT: usize = LITERAL_LIMIT * 11 / 8 + SEQUENCE_LIMIT * 8 + 256;

/// Room for one block.
pub struct Block {
    bytes: Box<[u8; BLOCK_LIMIT]>,
    length: usize,
}

/// Writes bits from the lowest on: what is written last is read first.
struct Bits<'a> {
    out: &'a mut [u8; BLOCK_LIMIT],
    at: usize,
    pending: u64,
    count: u32,
}

impl Bits<'_> {
    /// Adds the lowest `count` bits of `value`, which has no others. No more than 63 may be waiting, and up to seven
    /// wait after [`Bits::put_out`].
    #[inline(always)]
    fn add(&mut self, value: u32, count: u32) {
        self.pending |= u64::from(value) << self.count;
        self.count += count;
    }

    #[inline(always)]
    fn add_lowest(&mut self, value: u32, count: u32) {
        self.add(value & ((1 << count) - 1), count);
    }

    /// Puts out all whole bytes.
    #[inline(always)]
    fn put_out(&mut self) {
        self.out[self.at..self.at + 8].copy_from_slice(&self.pending.to_le_bytes());
        self.at += (self.count / 8) as usize;
        self.pending >>= self.count & !7;
        self.count &= 7;
    }

    /// Ends the stream with the bit that says where it ends.
    #[inline(always)]
    fn end(mut self) -> usize {
        self.add(1, 1);
        self.put_out();
        self.at + usize::from(self.count > 0)
    }
}

impl Block {
    pub fn new() -> Self {
        Block { bytes: vec![0; BLOCK_LIMIT].try_into().expect("it has as many bytes as it was made with"), length: 0 }
    }

    /// What was written last.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Writes `sequences` and their `literals`.
    #[inline(always)]
    pub fn write(&mut self, tables: &Tables, sequences: &[Sequence], literals: &[u8]) {
        let at = self.literals(tables, literals);
        self.length = self.sequences(tables, sequences, at);
    }

    /// Writes the literals and returns where they end.
    #[inline(always)]
    fn literals(&mut self, tables: &Tables, literals: &[u8]) -> usize {
        let coded = match literals.len() {
            0..CODED_MIN => None,
            CODED_MIN..FOUR_STREAMS => Some((3, self.stream(&tables.literals, literals, 3))),
            _ => {
                let (start, size) = (4 + 6, literals.len().div_ceil(4));
                let mut at = start;
                for (n, part) in literals.chunks(size).enumerate() {
                    let end = self.stream(&tables.literals, part, at);
                    if n < 3 {
                        self.bytes[4 + 2 * n..][..2].copy_from_slice(&((end - at) as u16).to_le_bytes());
                    }
                    at = end;
                }
                Some((4, at))
            }
        };
        match coded {
            Some((head, end)) if end < literals.len() => {
                // Both lengths in ten bits each, or fourteen where the streams are four.
                let (bits, format) = if head == 3 { (10, 0) } else { (14, 2) };
                let word = TREELESS | (format << 2) | (literals.len() << 4) | ((end - head) << (4 + bits));
                self.bytes[..head].copy_from_slice(&word.to_le_bytes()[..head]);
                end
            }
            _ => {
                // The length in five bits or twelve.
                let (head, word) = match literals.len() {
                    length @ 0..32 => (1, RAW | (length << 3)),
                    length => (2, RAW | (1 << 2) | (length << 4)),
                };
                self.bytes[..head].copy_from_slice(&word.to_le_bytes()[..head]);
                self.bytes[head..head + literals.len()].copy_from_slice(literals);
                head + literals.len()
            }
        }
    }

    /// Writes one stream of literals, the last one first, and returns where it ends.
    #[inline(always)]
    fn stream(&mut self, codes: &[Literal; 256], literals: &[u8], at: usize) -> usize {
        let mut bits = Bits { out: &mut self.bytes, at, pending: 0, count: 0 };
        let mut rest = literals.rchunks_exact(4);
        for four in &mut rest {
            for literal in four.iter().rev() {
                let Literal { bits: code, length } = codes[usize::from(*literal)];
                bits.add(code.into(), length.into());
            }
            bits.put_out();
        }
        for literal in rest.remainder().iter().rev() {
            let Literal { bits: code, length } = codes[usize::from(*literal)];
            bits.add(code.into(), length.into());
        }
        bits.put_out();
        bits.end()
    }

    /// Writes the sequences from `at` on, the last one first, and returns where they end.
    #[inline(always)]
    fn sequences(&mut self, tables: &Tables, sequences: &[Sequence], at: usize) -> usize {
        let count = sequences.len();
        let head = match count {
            0..128 => {
                self.bytes[at] = count as u8;
                1
            }
            _ => {
                self.bytes[at..at + 2].copy_from_slice(&[(count >> 8) as u8 | 0x80, count as u8]);
                2
            }
        };
        let Some((last, others)) = sequences.split_last() else { return at + head };
        self.bytes[at + head] = REPEAT_ALL;
        let mut bits = Bits { out: &mut self.bytes, at: at + head + 1, pending: 0, count: 0 };
        let Tables { runs, matches, offsets, .. } = tables;
        let codes = Codes::of(tables, last);
        let mut run = runs.states.begin(codes.run.change);
        let mut length = matches.states.begin(codes.length.change);
        let mut offset = offsets.states.begin(codes.offset.change);
        codes.write_rest(last, &mut bits);
        for sequence in others.iter().rev() {
            let codes = Codes::of(tables, sequence);
            step(&offsets.states, &mut offset, codes.offset, &mut bits);
            step(&matches.states, &mut length, codes.length, &mut bits);
            step(&runs.states, &mut run, codes.run, &mut bits);
            codes.write_rest(sequence, &mut bits);
        }
        for (state, states) in [(length, &matches.states), (offset, &offsets.states), (run, &runs.states)] {
            bits.add_lowest(state, states.log);
        }
        bits.put_out();
        bits.end()
    }
}

/// The codes of one sequence.
struct Codes {
    run: Code,
    length: Code,
    offset: Code,
}

/// A distance as it is written: one to three mean an offset that is repeated, which hardly ever happens in chats.
#[inline(always)]
fn offset(sequence: &Sequence) -> u32 {
    sequence.distance + 3
}

impl Codes {
    #[inline(always)]
    fn of(tables: &Tables, sequence: &Sequence) -> Self {
        Codes {
            run: tables.runs.code(sequence.run.into()),
            length: tables.matches.code(u32::from(sequence.length) - MATCH_MIN),
            offset: tables.offsets.code(offset(sequence)),
        }
    }

    /// Writes what the codes leave open.
    #[inline(always)]
    fn write_rest(&self, sequence: &Sequence, bits: &mut Bits<'_>) {
        // Up to seven bits and three changes of state, of nine bits at most, are waiting, and an offset has sixteen.
        if self.run.bits + self.length.bits > 63 - (7 + 3 * 9) - 16 {
            bits.put_out();
        }
        bits.add_lowest(sequence.run.into(), self.run.bits);
        bits.add_lowest(u32::from(sequence.length) - MATCH_MIN, self.length.bits);
        bits.add_lowest(offset(sequence), self.offset.bits);
        bits.put_out();
    }
}

/// Writes what leaves the state when `code` comes.
#[inline(always)]
fn step(states: &Encoding, state: &mut u32, code: Code, bits: &mut Bits<'_>) {
    let count = state.wrapping_add(code.change.bits) >> 16;
    bits.add_lowest(*state, count);
    *state = states.after(*state >> count, code.change);
}
