//! Finds what a body shares with a dictionary and with its own beginning.
//!
//! At every place of a body others are looked at: where the dictionary has the same eight bytes, where it has the same
//! five, and where the body had them when it was last looked at there. The longest of the matches at two neighbouring
//! places is taken.
//!
//! All of this takes no branch that is not nearly always the same, not even on whether there is a match: with chats a
//! processor guesses such branches wrong a third of the time, and loses with each what it had begun of the bodies
//! beside this one. It is in three parts, each of which waits for memory: they are done for all bodies in turns.

use std::hint::select_unpredictable as select;

use zeroize::Zeroize;

use super::processor::common;

/// The longest body, in bytes.
pub const BODY_LIMIT: usize = 32 << 10;
/// The most literals and sequences of a body. Up to these zstd's own encoder uses a dictionary's tables, and from there
/// on tables that it makes for the body.
pub const LITERAL_LIMIT: usize = 1024;
pub const SEQUENCE_LIMIT: usize = 999;

/// The most of a dictionary's content that is looked at, its end: places in it fit in 16 bits.
const CONTENT_LIMIT: usize = 1 << 16;
/// Bytes around a window that are loaded, and belong to no match.
const MARGIN: usize = 64;
/// A shorter match is not worth its sequence.
const SHORTEST: u32 = 5;
/// Places that are looked at together.
const TOGETHER: usize = 2;
/// Bytes compared at once.
const BREADTH: usize = 16;

const INDEX_BITS: u32 = 16;
const RECENT_BITS: u32 = 12;

/// A body from its first byte on, or a dictionary's content up to its last: one type for both, so that either can be
/// chosen without a branch. Of any place that fits in 16 bits, and the bytes around it, it has all.
type Window = [u8; MARGIN + CONTENT_LIMIT + MARGIN];
type Places = [u16; 1 << INDEX_BITS];

/// Room for them, of sizes that an index is kept within by a mask.
const SEQUENCE_ROOM: usize = SEQUENCE_LIMIT.next_power_of_two();
const LITERAL_ROOM: usize = 2 * LITERAL_LIMIT;
type Literals = [u8; LITERAL_ROOM + BREADTH];

/// `run` literals, and then `length` bytes that stand `distance` bytes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub run: u16,
    pub length: u16,
    pub distance: u32,
}

/// What is looked at of a dictionary, and where which bytes stand in it.
pub struct Content {
    window: Box<Window>,
    /// Where it starts.
    first: usize,
    /// By hashes of eight bytes and of five: the last place.
    eight: Box<Places>,
    five: Box<Places>,
}

/// Finds matches, and has room for what comes of it. What it has seen is wiped when it is dropped.
pub struct Finder {
    window: Box<Window>,
    /// Where the body had which five bytes last; its start where it never had them.
    recent: Box<[u16; 1 << RECENT_BITS]>,
    sequences: Box<[Sequence; SEQUENCE_ROOM]>,
    literals: Box<Literals>,
}

/// How far a body is parsed.
#[derive(Clone, Copy, Default)]
pub struct Progress {
    /// Where to look next.
    place: usize,
    /// Up to where sequences reach.
    done: usize,
    /// How many there are.
    literals: usize,
    sequences: usize,
    /// Where nothing more is looked for, and where the body ends.
    end: usize,
    last: usize,
}

/// What a body was parsed into; nothing where there are more sequences or literals than the limits.
pub type Parsed<'a> = Option<(&'a [Sequence], &'a [u8])>;

/// What may match at two neighbouring places: in the body for each of them, in the content two for the first and one
/// for the second. Where the dictionary has the same five bytes as at the second, hardly anything is found that is
/// longer.
#[derive(Clone, Copy, Default)]
pub struct Candidates {
    body: [u16; TOGETHER],
    content: [u16; 3],
}

/// The longest match of these: its length and a one, of up to [`BREADTH`] bytes that were compared, whether the first
/// place is skipped, and where it is, in one number, so that the best is the greatest.
#[derive(Clone, Copy, Default)]
pub struct Best(u32);

const LENGTH_SHIFT: u32 = 20;
const SKIPPED: u32 = 1 << 18;
const IN_BODY: u32 = 1 << 16;

impl Content {
    /// The end of `content`; nothing where it is too short for any.
    pub fn new(content: &[u8]) -> Option<Self> {
        if content.len() < BREADTH {
            return None;
        }
        let content = &content[content.len().saturating_sub(CONTENT_LIMIT)..];
        let first = CONTENT_LIMIT - content.len();
        let mut made = Content { window: zeros(), first, eight: zeros(), five: zeros() };
        made.window[MARGIN + first..MARGIN + CONTENT_LIMIT].copy_from_slice(content);
        made.eight.fill(first as u16);
        made.five.fill(first as u16);
        for (at, bytes) in content.windows(8).enumerate() {
            let bytes = u64::from_le_bytes(*bytes.first_chunk()?);
            made.eight[hash::<8, INDEX_BITS>(bytes)] = (first + at) as u16;
            made.five[hash::<5, INDEX_BITS>(bytes)] = (first + at) as u16;
        }
        Some(made)
    }

    /// What is looked at.
    pub fn bytes(&self) -> &[u8] {
        &self.window[MARGIN + self.first..MARGIN + CONTENT_LIMIT]
    }
}

impl Progress {
    #[inline(always)]
    pub fn goes_on(&self) -> bool {
        self.place < self.end
    }

    /// Ends here, with more literals than are allowed.
    fn give_up(&mut self) {
        (self.end, self.literals) = (0, LITERAL_LIMIT + 1);
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.window.zeroize();
        self.literals.zeroize();
    }
}

impl Finder {
    pub fn new() -> Self {
        Finder { window: zeros(), recent: zeros(), sequences: zeros(), literals: zeros() }
    }

    /// Begins with a body; one longer than [`BODY_LIMIT`] is parsed into nothing.
    pub fn begin(&mut self, body: &[u8]) -> Progress {
        let last = body.len();
        let mut progress = Progress { last, ..Progress::default() };
        if last > BODY_LIMIT {
            progress.give_up();
            return progress;
        }
        self.window[MARGIN..MARGIN + last].copy_from_slice(body);
        self.window[MARGIN + last..][..MARGIN].fill(0);
        self.recent.fill(0);
        // At the second place, so that what is recent is always before it. A match at the first is found from there.
        Progress { place: 1, end: last.saturating_sub(8 + TOGETHER), ..progress }
    }

    /// The sequences, and the literals of all of them and of what comes after the last.
    #[inline(always)]
    pub fn end(&mut self, progress: &Progress) -> Parsed<'_> {
        let Progress { done, literals, sequences, last, .. } = *progress;
        let all = literals + last - done;
        if all > LITERAL_LIMIT {
            return None;
        }
        self.literals[literals..all].copy_from_slice(&self.window[MARGIN + done..MARGIN + last]);
        Some((&self.sequences[..sequences], &self.literals[..all]))
    }

    /// The first part of a step: looks up what may match at the next places.
    #[inline(always)]
    pub fn look(&mut self, content: &Content, progress: &Progress) -> Candidates {
        let place = progress.place;
        let [first, second] = [eight(&self.window, place), eight(&self.window, place + 1)];
        let body = [self.recent(first, place), self.recent(second, place + 1)];
        let at_first = [content.eight[hash::<8, INDEX_BITS>(first)], content.five[hash::<5, INDEX_BITS>(first)]];
        Candidates { body, content: [at_first[0], at_first[1], content.eight[hash::<8, INDEX_BITS>(second)]] }
    }

    /// Where the body had the first five of `bytes` last, which it has at `place` now.
    #[inline(always)]
    fn recent(&mut self, bytes: u64, place: usize) -> u16 {
        std::mem::replace(&mut self.recent[hash::<5, RECENT_BITS>(bytes)], place as u16)
    }

    /// The second part: compares.
    #[inline(always)]
    pub fn best(&self, content: &Content, progress: &Progress, candidates: &Candidates) -> Best {
        let [first, second] = [load(&self.window, progress.place), load(&self.window, progress.place + 1)];
        let at_first = packed(&self.window, candidates.body[0], first, IN_BODY)
            .max(packed(&content.window, candidates.content[0], first, 0))
            .max(packed(&content.window, candidates.content[1], first, 0));
        let at_second = packed(&self.window, candidates.body[1], second, IN_BODY | SKIPPED).max(packed(
            &content.window,
            candidates.content[2],
            second,
            SKIPPED,
        ));
        // A byte skipped is a literal more.
        Best((at_first + (1 << LENGTH_SHIFT)).max(at_second))
    }

    /// The third part: takes the match, where it is one.
    #[inline(always)]
    pub fn take(&mut self, content: &Content, progress: &mut Progress, Best(best): Best) {
        let Progress { place, done, literals, sequences, last, .. } = *progress;
        let (skipped, in_body, there) = (best & SKIPPED != 0, best & IN_BODY != 0, usize::from(best as u16));
        let known = (best >> LENGTH_SHIFT) - u32::from(!skipped);
        let (found, at) = (known >= SHORTEST, place + usize::from(skipped));
        // A match ends with what it is in, and begins with it.
        let source = select(in_body, &*self.window, &*content.window);
        let most = (last - at).min(select(in_body, CONTENT_LIMIT, CONTENT_LIMIT - there));
        let least = select(in_body, 0, content.first);
        let length = extend([&self.window, source], [at, there], known as usize, most);
        let back = reach_back([&self.window, source], [at, there], (at - done).min(there - least));
        let run = select(found, at - back - done, 0);
        if literals + run > LITERAL_LIMIT || sequences == SEQUENCE_LIMIT {
            progress.give_up();
            return;
        }
        keep(&self.window, done, run, &mut self.literals, literals);
        let distance = at + select(in_body, 0, CONTENT_LIMIT) - there;
        self.sequences[sequences % SEQUENCE_ROOM] =
            Sequence { run: run as u16, length: (length + back) as u16, distance: distance as u32 };
        let next = select(found, at + length, place + TOGETHER);
        progress.place = next;
        progress.done = select(found, next, done);
        progress.literals = literals + run;
        progress.sequences = sequences + usize::from(found);
        self.recent(eight(&self.window, next - 2), next - 2);
    }

    /// Parses a body by itself.
    pub fn parse(&mut self, content: &Content, body: &[u8]) -> Parsed<'_> {
        let mut progress = self.begin(body);
        while progress.goes_on() {
            self.step(content, &mut progress);
        }
        self.end(&progress)
    }

    /// A step of one body by itself.
    #[inline(always)]
    pub fn step(&mut self, content: &Content, progress: &mut Progress) {
        let candidates = self.look(content, progress);
        let best = self.best(content, progress, &candidates);
        self.take(content, progress, best);
    }
}

/// A boxed array, made where it will lie.
fn zeros<T: Clone + Default, const N: usize>() -> Box<[T; N]> {
    match vec![T::default(); N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("it has as many as it was made with"),
    }
}

#[inline(always)]
fn load<const N: usize>(window: &Window, place: usize) -> &[u8; N] {
    let start = MARGIN + place % CONTENT_LIMIT;
    window[start..].first_chunk().expect("the margin is longer than what is loaded")
}

#[inline(always)]
fn eight(window: &Window, place: usize) -> u64 {
    u64::from_le_bytes(*load(window, place))
}

#[inline(always)]
fn eight_before(window: &Window, place: usize) -> u64 {
    let start = MARGIN - 8 + place % CONTENT_LIMIT;
    u64::from_le_bytes(*window[start..].first_chunk().expect("the margin is longer than what is loaded"))
}

/// The hash of the first `BYTES` bytes of `bytes` in `BITS` bits: Fibonacci hashing (Knuth, The Art of Computer
/// Programming, 6.4).
#[inline(always)]
fn hash<const BYTES: u32, const BITS: u32>(bytes: u64) -> usize {
    ((bytes << (64 - 8 * BYTES)).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - BITS)) as usize
}

/// The match at `there`, as [`Best`] has it, but for the one.
#[inline(always)]
fn packed(window: &Window, there: u16, bytes: &[u8; BREADTH], kind: u32) -> u32 {
    (common(load(window, there.into()), bytes) << LENGTH_SHIFT) | kind | u32::from(there)
}

/// How long the match is at `here` in the one window and `there` in the other, whose first `known` bytes are known to
/// be equal, no longer than `most`.
#[inline(always)]
fn extend(windows: [&Window; 2], [here, there]: [usize; 2], known: usize, most: usize) -> usize {
    // A fifth of them go on behind what is known: asking whether they do costs more than to compare.
    let ahead = common(load(windows[0], here + BREADTH), load(windows[1], there + BREADTH)) as usize;
    let mut length = known + select(known == BREADTH, ahead, 0);
    if length == 2 * BREADTH {
        while length < most {
            let common = (eight(windows[0], here + length) ^ eight(windows[1], there + length)).trailing_zeros() / 8;
            length += common as usize;
            if common < 8 {
                break;
            }
        }
    }
    length.min(most)
}

/// How many bytes before two places are equal as well, up to eight and no more than `most`.
#[inline(always)]
fn reach_back(windows: [&Window; 2], [here, there]: [usize; 2], most: usize) -> usize {
    let differ = eight_before(windows[0], here) ^ eight_before(windows[1], there);
    ((differ.leading_zeros() / 8) as usize).min(most)
}

/// Copies literals out of the window, some bytes more than there are.
#[inline(always)]
fn keep(window: &Window, from: usize, run: usize, out: &mut Literals, at: usize) {
    let mut copied = 0;
    loop {
        let start = (at + copied) % LITERAL_ROOM;
        out[start..start + BREADTH].copy_from_slice(load::<BREADTH>(window, from + copied));
        copied += BREADTH;
        if copied >= run {
            break;
        }
    }
}
