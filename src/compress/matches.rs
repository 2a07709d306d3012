//! Finds what a body shares with a dictionary and with its own beginning.
//!
//! The dictionary and the body lie in one window, one before the other, so that a match is two places in it, wherever
//! it is. At every place others are looked at: where the dictionary has the same eight bytes, where it has the same
//! five, and where the body had them when it was last looked at there. The longest of the matches at two neighbouring
//! places is taken. Choosing it takes no branch but on whether there is one: with chats a processor guesses such
//! branches wrong half of the time, and what it loses by that is most of what finding matches costs.

use zeroize::Zeroize;

use super::processor::common;

/// The longest body, in bytes.
pub const BODY_LIMIT: usize = 32 << 10;
/// The most literals and sequences of a body. Up to these zstd's own encoder uses a dictionary's tables, and from there
/// on tables that it makes for the body.
pub const LITERAL_LIMIT: usize = 1024;
pub const SEQUENCE_LIMIT: usize = 999;

/// Where the body starts in the window. As much of a dictionary is looked at, its end: the places fit in 16 bits.
const START: usize = 1 << 16;
/// Bytes around the window that are loaded, and belong to no match.
const MARGIN: usize = 32;
const WINDOW: usize = 2 * START;
/// A shorter match is not worth its sequence.
const SHORTEST: u32 = 5;
/// Places that are looked at together.
const TOGETHER: usize = 2;
/// Bytes compared at once.
const BREADTH: usize = 16;

const INDEX_BITS: u32 = 16;
const RECENT_BITS: u32 = 12;

type Window = [u8; MARGIN + WINDOW + MARGIN];
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

/// Where which bytes stand in a dictionary.
pub struct Index {
    /// By hashes of eight bytes and of five: the last place. All of them are places in the content.
    eight: Box<Places>,
    five: Box<Places>,
}

/// Finds matches, and has room for what comes of it. What it has seen is wiped when it is dropped.
pub struct Finder {
    window: Box<Window>,
    /// The content in the window, by the number that its owner gave it.
    content: (u64, usize),
    /// Where the body had which five bytes last.
    recent: Box<[u16; 1 << RECENT_BITS]>,
    sequences: Box<[Sequence; SEQUENCE_ROOM]>,
    literals: Box<Literals>,
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
    let start = MARGIN + place % WINDOW;
    window[start..].first_chunk().expect("the margin is longer than what is loaded")
}

#[inline(always)]
fn eight(window: &Window, place: usize) -> u64 {
    u64::from_le_bytes(*load(window, place))
}

#[inline(always)]
fn eight_before(window: &Window, place: usize) -> u64 {
    let start = MARGIN - 8 + place % WINDOW;
    u64::from_le_bytes(*window[start..].first_chunk().expect("the margin is longer than what is loaded"))
}

/// The hash of the first `BYTES` bytes of `bytes` in `bits` bits: Fibonacci hashing (Knuth, The Art of Computer
/// Programming, 6.4).
#[inline(always)]
fn hash<const BYTES: u32>(bytes: u64, bits: u32) -> usize {
    ((bytes << (64 - 8 * BYTES)).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - bits)) as usize
}

impl Index {
    /// The index of `content`, which is no longer than its [`tail`]; nothing where it is too short for any.
    pub fn new(content: &[u8]) -> Option<Self> {
        if content.len() < BREADTH {
            return None;
        }
        let first = START - content.len();
        let mut index = Index { eight: zeros(), five: zeros() };
        index.eight.fill(first as u16);
        index.five.fill(first as u16);
        for (at, bytes) in content.windows(8).enumerate() {
            let bytes = u64::from_le_bytes(*bytes.first_chunk()?);
            index.eight[hash::<8>(bytes, INDEX_BITS)] = (first + at) as u16;
            index.five[hash::<5>(bytes, INDEX_BITS)] = (first + at) as u16;
        }
        Some(index)
    }
}

/// As much of the end of a dictionary's content as is looked at.
pub fn tail(content: &[u8]) -> &[u8] {
    &content[content.len().saturating_sub(START)..]
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.window.zeroize();
        self.literals.zeroize();
    }
}

impl Finder {
    pub fn new() -> Self {
        Finder { window: zeros(), content: (0, 0), recent: zeros(), sequences: zeros(), literals: zeros() }
    }

    /// Puts `content`, no longer than its [`tail`], before the bodies that come, unless it is there already: one
    /// `number` stands for one content.
    pub fn look_at(&mut self, content: &[u8], number: u64) {
        if self.content != (number, content.len()) {
            // Nothing before a shorter content is ever looked at; nothing of the one before it stays in memory.
            self.window[..MARGIN + START].fill(0);
            self.window[MARGIN + START - content.len()..MARGIN + START].copy_from_slice(content);
            self.content = (number, content.len());
        }
    }

    /// Begins with a body of at most [`BODY_LIMIT`] bytes.
    #[inline(always)]
    fn begin(&mut self, body: &[u8]) -> Progress {
        let last = START + body.len();
        self.window[MARGIN + START..MARGIN + last].copy_from_slice(body);
        self.window[MARGIN + last..][..MARGIN].fill(0);
        self.recent.fill(0);
        Progress { place: START, done: START, literals: 0, sequences: 0, end: last.saturating_sub(8 + TOGETHER), last }
    }

    /// Looks at the next places, and takes the match that is there.
    #[inline(always)]
    fn step(&mut self, index: &Index, progress: &mut Progress) {
        let Progress { place, done, literals, sequences, last, .. } = *progress;
        let (first, window) = (START - self.content.1, &*self.window);
        let best = best(window, index, &mut self.recent, place);
        if best.length < SHORTEST {
            progress.place += TOGETHER;
            return;
        }
        debug_assert!(best.place >= first, "the index is of another content");
        let at = place + best.skipped;
        let length = extend(window, at, best.place, best.length as usize, last);
        let next = at + length;
        (progress.place, progress.done) = (next, next);
        let back = reach_back(window, at, best.place, (at - done).min(best.place.saturating_sub(first)));
        let run = at - back - done;
        if literals + run > LITERAL_LIMIT || sequences == SEQUENCE_LIMIT {
            progress.give_up();
            return;
        }
        keep(window, done, run, &mut self.literals, literals);
        progress.literals += run;
        let distance = (at - best.place) as u32;
        self.sequences[sequences % SEQUENCE_ROOM] =
            Sequence { run: run as u16, length: (length + back) as u16, distance };
        progress.sequences += 1;
        remember(window, &mut self.recent, next - 2);
    }

    /// The sequences, and the literals of all of them and of what comes after the last. Nothing where they are too
    /// many.
    #[inline(always)]
    fn end(&mut self, progress: &Progress) -> Parsed<'_> {
        let Progress { done, literals, sequences, last, .. } = *progress;
        let all = literals + last - done;
        if all > LITERAL_LIMIT {
            return None;
        }
        self.literals[literals..all].copy_from_slice(&self.window[MARGIN + done..MARGIN + last]);
        Some((&self.sequences[..sequences], &self.literals[..all]))
    }
}

/// How far a body is parsed.
struct Progress {
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

impl Progress {
    fn goes_on(&self) -> bool {
        self.place < self.end
    }

    /// Ends here, with more literals than are allowed.
    fn give_up(&mut self) {
        (self.end, self.literals) = (0, LITERAL_LIMIT + 1);
    }
}

/// What a body was parsed into; nothing where there are more sequences or literals than the limits.
pub type Parsed<'a> = Option<(&'a [Sequence], &'a [u8])>;

/// Parses a body with the index of the content that its finder was told to look at.
#[inline(always)]
pub fn parse<'a>(finder: &'a mut Finder, index: &Index, body: &[u8]) -> Parsed<'a> {
    let mut progress = finder.begin(body);
    while progress.goes_on() {
        finder.step(index, &mut progress);
    }
    finder.end(&progress)
}

/// Parses two bodies in turns: while the one waits for memory, the processor goes on with the other.
#[inline(always)]
pub fn parse_two<'a>([one, other]: [&'a mut Finder; 2], index: &Index, bodies: [&[u8]; 2]) -> [Parsed<'a>; 2] {
    let (mut first, mut second) = (one.begin(bodies[0]), other.begin(bodies[1]));
    while first.goes_on() && second.goes_on() {
        one.step(index, &mut first);
        other.step(index, &mut second);
    }
    while first.goes_on() {
        one.step(index, &mut first);
    }
    while second.goes_on() {
        other.step(index, &mut second);
    }
    [one.end(&first), other.end(&second)]
}

/// The best match at two neighbouring places.
struct Best {
    /// Up to [`BREADTH`]; zero where there is none.
    length: u32,
    /// How many places on it starts.
    skipped: usize,
    place: usize,
}

/// Length, skipped places and place in one number, so that the best is the greatest.
const LENGTH_SHIFT: u32 = 20;
const SKIPPED_SHIFT: u32 = 18;

#[inline(always)]
fn packed(length: u32, place: usize) -> u32 {
    (length << LENGTH_SHIFT) | place as u32
}

#[inline(always)]
fn best(window: &Window, index: &Index, recent: &mut [u16; 1 << RECENT_BITS], place: usize) -> Best {
    let mut best = 0;
    for skipped in 0..TOGETHER {
        let here = place + skipped;
        let bytes = load(window, here);
        let common = |there: usize| common(load(window, there), bytes);
        let first = eight(window, here);
        let slot = &mut recent[hash::<5>(first, RECENT_BITS)];
        let before = START + usize::from(std::mem::replace(slot, (here - START) as u16));
        let places = [index.eight[hash::<8>(first, INDEX_BITS)], index.five[hash::<5>(first, INDEX_BITS)]];
        let mut most = packed(common(before) * u32::from(before < here), before);
        // At the second place, where the dictionary has the same five bytes, hardly anything is found that is longer.
        for there in places.into_iter().take(2 - skipped) {
            most = most.max(packed(common(usize::from(there)), usize::from(there)));
        }
        // A byte skipped is a literal more.
        let skipped = skipped as u32;
        best = best.max(most.saturating_sub(skipped << LENGTH_SHIFT) | (skipped << SKIPPED_SHIFT));
    }
    let skipped = (best >> SKIPPED_SHIFT) & 3;
    Best {
        length: (best >> LENGTH_SHIFT) + skipped,
        skipped: skipped as usize,
        place: best as usize & ((1 << SKIPPED_SHIFT) - 1),
    }
}

/// How long the match is whose first `known` bytes are known to be equal, not past `last`.
#[inline(always)]
fn extend(window: &Window, here: usize, there: usize, known: usize, last: usize) -> usize {
    let mut length = known;
    if known >= BREADTH {
        while here + length < last {
            let common = (eight(window, here + length) ^ eight(window, there + length)).trailing_zeros() / 8;
            length += common as usize;
            if common < 8 {
                break;
            }
        }
    }
    length.min(last - here)
}

/// How many bytes before two places are equal as well, up to eight and no more than `most`.
#[inline(always)]
fn reach_back(window: &Window, here: usize, there: usize, most: usize) -> usize {
    let differ = eight_before(window, here) ^ eight_before(window, there);
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

#[inline(always)]
fn remember(window: &Window, recent: &mut [u16; 1 << RECENT_BITS], place: usize) {
    recent[hash::<5>(eight(window, place), RECENT_BITS)] = (place - START) as u16;
}
