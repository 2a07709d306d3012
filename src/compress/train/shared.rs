//! What many customers share: at every word of the text, the longest string from there that the records of at least k
//! customers contain.

use std::collections::VecDeque;

use super::text::{SEPARATOR, Text};

/// The shortest and the longest string worth having.
pub const SHORTEST: usize = 8;
const LONGEST: usize = 512;

/// A string somewhere in a text.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub at: u32,
    pub length: u32,
}

impl Piece {
    /// Its bytes.
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at as usize..][..self.length as usize]
    }
}

/// The strings that at least k customers share, one after the other: each once, none that only stands inside another.
pub struct Pool {
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
}

impl Pool {
    fn push(&mut self, string: &[u8]) {
        self.pieces.push(Piece { at: self.bytes.len() as u32, length: string.len() as u32 });
        self.bytes.extend_from_slice(string);
    }
}

/// A place where a word starts: its first bytes for a quick comparison, and whose it is.
struct Start {
    key: u64,
    at: u32,
    customer: u32,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Every place where a word starts, or a byte that is in none, with its customer.
fn places(text: &Text) -> impl Iterator<Item = (u32, u32)> {
    text.records.iter().flat_map(move |line| {
        let mut before = false;
        (line.start..line.end).filter_map(move |at| {
            let byte = text.bytes[at as usize];
            let is_inside = before && is_word(byte);
            before = is_word(byte);
            (!is_inside && byte != SEPARATOR).then_some((at, line.customer))
        })
    })
}

fn starts(text: &Text) -> Vec<Start> {
    // Counted first: a vector that grows would take twice as much, and this is the most that a training takes.
    let mut starts = Vec::with_capacity(places(text).count());
    starts.extend(places(text).map(|(at, customer)| Start { key: key(&text.bytes[at as usize..]), at, customer }));
    starts
}

/// The first eight bytes as a number in the order of the text; zeros after a separator.
fn key(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(bytes.iter().take_while(|byte| **byte != SEPARATOR)) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// The string from a place up to its record's end, at most the longest.
fn tail(text: &Text, at: u32) -> &[u8] {
    let bytes = &text.bytes[at as usize..];
    &bytes[..bytes.len().min(LONGEST)]
}

/// How many bytes the strings from two places have in common.
fn common(text: &Text, a: u32, b: u32) -> u32 {
    let (a, b) = (tail(text, a), tail(text, b));
    a.iter().zip(b).take_while(|(a, b)| a == b && **a != SEPARATOR).count() as u32
}

/// The longest shared strings at all words of the text, but for those inside a longer one.
pub fn shared(text: &Text, k: usize, stop: &dyn Fn() -> bool) -> Option<Pool> {
    let mut starts = starts(text);
    if stop() {
        return None;
    }
    starts.sort_unstable_by(|a, b| {
        a.key.cmp(&b.key).then_with(|| tail(text, a.at).cmp(tail(text, b.at))).then(a.at.cmp(&b.at))
    });
    if stop() {
        return None;
    }
    let mut alike: Vec<u32> = vec![0];
    alike.extend(starts.windows(2).map(|pair| common(text, pair[0].at, pair[1].at)));
    let lengths = lengths(&starts, &alike, text.customers as usize, k);
    let inner = inner(text, &starts, &lengths);
    let mut pool = Pool { bytes: Vec::new(), pieces: Vec::new() };
    // Equal strings are neighbours, all but for longer ones between them: the last one, what all since have in common
    // with it, and whether any of them stands inside another string.
    let (mut last, mut least, mut last_inner) = (Piece { at: 0, length: 0 }, 0, true);
    for (place, start) in starts.iter().enumerate() {
        least = least.min(alike[place]);
        let length = lengths[place];
        if (length as usize) < SHORTEST {
            continue;
        }
        if length == last.length && least >= length {
            last_inner |= inner[place];
            continue;
        }
        if !last_inner {
            pool.push(last.of(&text.bytes));
        }
        (last, least, last_inner) = (Piece { at: start.at, length }, u32::MAX, inner[place]);
    }
    if !last_inner {
        pool.push(last.of(&text.bytes));
    }
    Some(pool)
}

/// Which of the strings lie inside another one, where they stand.
fn inner(text: &Text, starts: &[Start], lengths: &[u32]) -> Vec<bool> {
    let mut length_at = vec![0; text.bytes.len()];
    for (start, length) in starts.iter().zip(lengths) {
        length_at[start.at as usize] = *length;
    }
    let mut inner = vec![false; text.bytes.len()];
    for line in &text.records {
        let mut end = 0;
        for at in line.start..line.end {
            let own = at + length_at[at as usize];
            inner[at as usize] = own <= end;
            end = end.max(own);
        }
    }
    starts.iter().map(|start| inner[start.at as usize]).collect()
}

/// For every start, the longest prefix that k different customers share. Of every run of neighbours that just so many
/// have a part in, what the run has in common goes to its first, and from there to every neighbour that shares it.
fn lengths(starts: &[Start], alike: &[u32], customers: usize, k: usize) -> Vec<u32> {
    let mut lengths = vec![0; starts.len()];
    let mut in_run = vec![0_u32; customers];
    let (mut first, mut distinct) = (0, 0);
    // Places in the run, the least common length in front.
    let mut least: VecDeque<usize> = VecDeque::new();
    for last in 0..starts.len() {
        while least.back().is_some_and(|place| alike[*place] >= alike[last]) {
            least.pop_back();
        }
        least.push_back(last);
        let count = &mut in_run[starts[last].customer as usize];
        distinct += usize::from(*count == 0);
        *count += 1;
        while distinct > k || in_run[starts[first].customer as usize] > 1 {
            let count = &mut in_run[starts[first].customer as usize];
            *count -= 1;
            distinct -= usize::from(*count == 0);
            first += 1;
        }
        while least.front().is_some_and(|place| *place <= first) {
            least.pop_front();
        }
        if distinct == k {
            let common = least.front().map_or(0, |place| alike[*place]);
            lengths[first] = common.max(lengths[first]);
        }
    }
    for place in 1..lengths.len() {
        lengths[place] = lengths[place].max(lengths[place - 1].min(alike[place]));
    }
    for place in (1..lengths.len()).rev() {
        lengths[place - 1] = lengths[place - 1].max(lengths[place].min(alike[place]));
    }
    lengths
}
