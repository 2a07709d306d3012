//! Reading the end of a log: which entries follow the root, where they stop, and whether that is a torn append or
//! damage. Pure: it judges bytes.

use crate::format::bytes::filled;
use crate::format::keyring::{LogFrame, Place, frame_length};

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
                found.durable = found.durable.max(durable_beyond(&bytes[at..]));
                // Damage to what is passed over costs nothing: the entry that comes next stands behind it.
                match entry_beyond(&bytes[at..], epoch, found.next) {
                    Some(behind) => at += behind,
                    None => {
                        found.broken = Some((base + at as u64, what.0));
                        break;
                    }
                }
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
        found.durable = found.durable.max(durable_beyond(&bytes[at..]));
    }
    found
}

/// Where in `bytes`, at whatever offset, the whole entry `number` of `epoch` stands.
fn entry_beyond(bytes: &[u8], epoch: u64, number: u64) -> Option<usize> {
    let is_it = |frame: &LogFrame<'_>| match frame {
        LogFrame::Entry(entry) => (entry.head.epoch, entry.head.number) == (epoch, number),
        LogFrame::Node(_) => false,
    };
    let mut at = 1;
    while at < bytes.len() {
        // Bounds first: a checksum is computed only over what looks like a frame.
        match frame_length(&bytes[at..]).ok().and_then(|_| LogFrame::parse(&bytes[at..]).ok()) {
            Some((frame, _)) if is_it(&frame) => return Some(at),
            Some((_, length)) => at += length,
            None => at += 1,
        }
    }
    None
}

/// The highest number that any whole entry in `bytes`, at whatever offset, names as durable.
fn durable_beyond(bytes: &[u8]) -> u64 {
    let mut highest = 0;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        // Bounds first: a checksum is computed only over what looks like a frame.
        let parsed = frame_length(rest).ok().and_then(|_| LogFrame::parse(rest).ok());
        at += match parsed {
            Some((LogFrame::Entry(entry), length)) => {
                highest = highest.max(entry.head.durable);
                length
            }
            Some((LogFrame::Node(_), length)) => length,
            None => 1,
        };
    }
    highest
}
