//! What many customers share: at every word of the text, the longest string from there that the records of at least k
//! customers contain.

use std::collections::VecDeque;

use super::text::{SEPARATOR, Text};

/// The shortest and the longest string worth having.
pub const SHORTEST: usize = 8;
const LONGEST: usize = 512;

/// A string that at least k customers share: its first place in the text, and its length.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    pub at: u32,
    pub length: u32,
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

fn starts(text: &Text) -> Vec<Start> {
    let mut starts = Vec::with_capacity(text.bytes.len() / 3);
    for line in &text.records {
        let mut before = false;
        for at in line.start..line.end {
            let byte = text.bytes[at as usize];
            let word = is_word(byte);
            if !(word && before) && byte != SEPARATOR {
                let key = key(&text.bytes[at as usize..]);
                starts.push(Start { key, at, customer: line.customer });
            }
            before = word;
        }
    }
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

/// The longest shared strings at all words of the text, in their order by bytes, each once.
pub fn shared(text: &Text, k: usize, stop: &dyn Fn() -> bool) -> Option<Vec<Shared>> {
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
    let mut found: Vec<Shared> = Vec::new();
    let mut least = 0;
    for ((start, length), alike) in starts.iter().zip(lengths).zip(alike) {
        least = alike.min(least);
        let again = found.last().is_some_and(|last| last.length == length && least >= length);
        if length as usize >= SHORTEST && !again {
            found.push(Shared { at: start.at, length });
            least = u32::MAX;
        }
    }
    Some(found)
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
