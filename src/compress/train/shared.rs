//! What many customers share: at every word of the text, the longest string from there that the records of at least k
//! customers contain.

use std::collections::VecDeque;
use std::ops::Range;

use super::text::{Line, SEPARATOR, Text};

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

/// What takes memory by the byte of text is done in so many parts: this is the most that a training takes, and the allocator
/// keeps, for good and for each thread, as much as the largest block that it was given back.
const PARTS: usize = 8;

/// The places where words start, in the order of the strings from there, and whose they are.
struct Starts {
    at: Vec<u32>,
    customer: Vec<u32>,
}

/// One of them while it is put in order: its first bytes for a quick comparison.
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

/// All of them: put in order by their first two bytes, then those that are equal in these, part by part. None where training
/// is to stop.
fn starts(text: &Text, stop: &dyn Fn() -> bool) -> Option<Starts> {
    let prefix = |at: u32| (key(&text.bytes[at as usize..]) >> 48) as usize;
    // Of each prefix where the next place goes: first where its places begin, in the end where they end.
    let mut ends = vec![0_u32; 1 << 16];
    places(text).for_each(|(at, _)| ends[prefix(at)] += 1);
    let mut total = 0;
    for end in &mut ends {
        total += std::mem::replace(end, total);
    }
    let mut starts = Starts { at: vec![0; total as usize], customer: vec![0; total as usize] };
    for (at, customer) in places(text) {
        let end = &mut ends[prefix(at)];
        (starts.at[*end as usize], starts.customer[*end as usize]) = (at, customer);
        *end += 1;
    }
    let (mut part, mut from) = (Vec::new(), 0);
    for (index, end) in ends.iter().enumerate() {
        let next = ends.get(index + 1).copied().unwrap_or(u32::MAX);
        if *end == from || next - from <= total.div_ceil(PARTS as u32) {
            continue; // It is in the next part.
        }
        if stop() {
            return None;
        }
        put_in_order(text, &mut starts, from as usize..*end as usize, &mut part);
        from = *end;
    }
    Some(starts)
}

/// Puts some of them in order, with room that can be used again.
fn put_in_order(text: &Text, starts: &mut Starts, range: Range<usize>, room: &mut Vec<Start>) {
    let (ats, customers) = (&mut starts.at[range.clone()], &mut starts.customer[range]);
    room.clear();
    room.reserve_exact(ats.len());
    let start =
        |(at, customer): (&u32, &u32)| Start { key: key(&text.bytes[*at as usize..]), at: *at, customer: *customer };
    room.extend(ats.iter().zip(&*customers).map(start));
    room.sort_unstable_by(|a, b| {
        a.key.cmp(&b.key).then_with(|| tail(text, a.at).cmp(tail(text, b.at))).then(a.at.cmp(&b.at))
    });
    for (start, (at, customer)) in room.iter().zip(ats.iter_mut().zip(customers)) {
        (*at, *customer) = (start.at, start.customer);
    }
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

/// How many bytes the strings from two places have in common: at most [`LONGEST`].
fn common(text: &Text, a: u32, b: u32) -> u16 {
    let (a, b) = (tail(text, a), tail(text, b));
    a.iter().zip(b).take_while(|(a, b)| a == b && **a != SEPARATOR).count() as u16
}

/// The longest shared strings at all words of the text, but for those inside a longer one.
pub fn shared(text: &Text, k: usize, stop: &dyn Fn() -> bool) -> Option<Pool> {
    let starts = starts(text, stop)?;
    let mut alike: Vec<u16> = Vec::with_capacity(starts.at.len());
    alike.extend(starts.at.first().map(|_| 0)); // It has nobody before it.
    alike.extend(starts.at.windows(2).map(|pair| common(text, pair[0], pair[1])));
    let lengths = lengths(&starts.customer, &alike, text.customers as usize, k);
    let inner = inner(text, &starts.at, &lengths);
    let mut pool = Pool { bytes: Vec::new(), pieces: Vec::new() };
    // Equal strings are neighbours, all but for longer ones between them: the last one, what all since have in common
    // with it, and whether any of them stands inside another string.
    let (mut last, mut least, mut last_inner) = (Piece { at: 0, length: 0 }, 0, true);
    for (place, at) in starts.at.iter().enumerate() {
        least = least.min(u32::from(alike[place]));
        let length = u32::from(lengths[place]);
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
        (last, least, last_inner) = (Piece { at: *at, length }, u32::MAX, inner[place]);
    }
    if !last_inner {
        pool.push(last.of(&text.bytes));
    }
    Some(pool)
}

/// Which of the strings lie inside another one, where they stand: looked at in the order of the text, part by part.
fn inner(text: &Text, starts: &[u32], lengths: &[u16]) -> Vec<bool> {
    let mut inner = vec![false; starts.len()];
    let mut records = &text.records[..];
    while let Some(first) = records.first() {
        let enough = |line: &Line| (line.end - first.start) as usize >= text.bytes.len().div_ceil(PARTS);
        let (part, others) = records.split_at(records.iter().position(enough).map_or(records.len(), |last| last + 1));
        let bytes = first.start..part.last().map_or(first.start, |line| line.end);
        let places = || starts.iter().zip(lengths).enumerate().filter(|(_, (at, _))| bytes.contains(*at));
        let mut length_at = vec![0; bytes.len()];
        places().for_each(|(_, (at, length))| length_at[(at - bytes.start) as usize] = *length);
        let mut is_inner = vec![false; bytes.len()];
        for line in part {
            let mut end = 0;
            for at in line.start..line.end {
                let own = at + u32::from(length_at[(at - bytes.start) as usize]);
                is_inner[(at - bytes.start) as usize] = own <= end;
                end = end.max(own);
            }
        }
        places().for_each(|(place, (at, _))| inner[place] = is_inner[(at - bytes.start) as usize]);
        records = others;
    }
    inner
}

/// For every start, the longest prefix that k different customers share. Of every run of neighbours that just so many
/// have a part in, what the run has in common goes to its first, and from there to every neighbour that shares it.
fn lengths(customer_of: &[u32], alike: &[u16], customers: usize, k: usize) -> Vec<u16> {
    let mut lengths = vec![0; alike.len()];
    let mut in_run = vec![0_u32; customers];
    let (mut first, mut distinct) = (0, 0);
    // Places in the run, the least common length in front.
    let mut least: VecDeque<usize> = VecDeque::new();
    for last in 0..alike.len() {
        while least.back().is_some_and(|place| alike[*place] >= alike[last]) {
            least.pop_back();
        }
        least.push_back(last);
        let count = &mut in_run[customer_of[last] as usize];
        distinct += usize::from(*count == 0);
        *count += 1;
        while distinct > k || in_run[customer_of[first] as usize] > 1 {
            let count = &mut in_run[customer_of[first] as usize];
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
