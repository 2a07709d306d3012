//! Reading the end of a log: which entries follow the root, where they stop, and whether that is a torn append or
//! damage. Pure: it judges bytes.

use crate::format::bytes::filled;
use crate::format::keyring::{EntryHead, LogFrame, Place, frame_length};

/// What was found behind the last fold.
#[derive(Debug)]
pub struct Scan {
    /// The entries, in order of their consecutive numbers.
    pub entries: Vec<Place>,
    /// The number that would come next.
    pub next: u64,
    /// Where the last whole entry ends.
    pub valid: u64,
    /// Bytes beyond it that are not zero fill.
    pub beyond: u64,
    /// Where it stopped being readable, and why.
    pub broken: Option<(u64, &'static str)>,
    /// The highest entry number that any frame, also beyond the break, names as durable.
    pub durable: u64,
}

/// Scans `bytes`, which start at offset `base` of their file, for entries of `epoch` from number `next` on.
pub fn scan(bytes: &[u8], base: u64, epoch: u64, next: u64) -> Scan {
    let filled = filled(bytes);
    let mut found = Scan { entries: Vec::new(), next, valid: base, beyond: 0, broken: None, durable: 0 };
    let mut at = 0;
    while at < filled {
        // The last byte of a frame may be a zero that looked like fill: parse from all there is.
        let (frame, length) = match LogFrame::parse(&bytes[at..]) {
            Ok(parsed) => parsed,
            Err(what) => {
                let is_next = |entry: &EntryHead| (entry.epoch, entry.number) == (epoch, found.next);
                let next = entries_beyond(&bytes[at..]).find(|(_, entry)| is_next(entry));
                let Some((behind, _)) = next else {
                    found.broken = Some((base + at as u64, what.0));
                    break;
                };
                // Damage to what is passed over costs nothing: the entry that comes next stands behind it.
                at += behind;
                continue;
            }
        };
        if let LogFrame::Entry(entry) = frame {
            found.durable = found.durable.max(entry.head.durable);
            // Of another epoch: while entries are sealed anew for a root to be, more come under the one before. This root's
            // chain has all that counts: an earlier one's were sealed anew behind its crown, and a later one never was.
            if entry.head.epoch == epoch {
                if entry.head.number != found.next {
                    found.broken = Some((base + at as u64, "entries are missing"));
                    break;
                }
                found.entries.push(Place { offset: base + at as u64, length: length as u32 });
                found.next += 1;
                found.valid = base + (at + length) as u64;
            }
        }
        at += length;
    }
    found.beyond = (base + filled as u64).saturating_sub(found.valid);
    if found.broken.is_some() {
        let durable = entries_beyond(&bytes[at..]).map(|(_, entry)| entry.durable);
        found.durable = durable.fold(found.durable, u64::max);
    }
    found
}

/// Every whole entry in `bytes`, at whatever offset, with that offset.
fn entries_beyond(bytes: &[u8]) -> impl Iterator<Item = (usize, EntryHead)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        while next < bytes.len() {
            let (at, rest) = (next, &bytes[next..]);
            // Bounds first: a checksum is computed only over what looks like a frame.
            let parsed = frame_length(rest).ok().and_then(|_| LogFrame::parse(rest).ok());
            next += parsed.as_ref().map_or(1, |(_, length)| *length);
            if let Some((LogFrame::Entry(entry), _)) = parsed {
                return Some((at, entry.head));
            }
        }
        None
    })
}
