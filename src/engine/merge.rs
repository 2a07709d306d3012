//! Merging: several small segments of a partition become one, frame by frame, without being opened.
//!
//! The ledger fact names what was replaced and by what; the old files are unlinked once no reader holds them.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;

use super::catalog::{SegmentSlot, Totals};
use super::trouble;
use super::{Engine, Writer};
use crate::error::{Error, Result};
use crate::format::ledger::{Fact, SegmentFact};
use crate::format::segment::SegmentHead;
use crate::ident::{Handle, PartitionId, PartitionNumber};
use crate::report::Maintenance;
use crate::segment::{self, Segment, SegmentSummary, SegmentWriter};

/// A merged segment has at most this many bytes.
const TARGET_BYTES: u64 = 256 << 20;
/// Segments of this many bytes are left alone: of shorter ones two fit into one at least.
const LONG_BYTES: u64 = TARGET_BYTES / 2;
/// Merge at most this many at once.
const AT_MOST: usize = 64;

/// What to merge next: the smallest segments of a partition that has enough of them. Those that were found damaged are
/// passed over.
pub fn candidate(
    engine: &Engine,
    writer: &Writer,
    at_least: usize,
) -> Option<(PartitionNumber, Vec<Arc<SegmentSlot>>)> {
    let snapshot = engine.catalog.snapshot();
    let is_fit = |slot: &Arc<SegmentSlot>| !writer.trouble.has(slot);
    snapshot
        .view
        .segments
        .iter()
        .find_map(|(partition, slots)| choose(slots, &is_fit, at_least).map(|slots| (*partition, slots)))
}

fn choose(
    slots: &[Arc<SegmentSlot>],
    is_fit: &dyn Fn(&Arc<SegmentSlot>) -> bool,
    at_least: usize,
) -> Option<Vec<Arc<SegmentSlot>>> {
    let mut small: Vec<_> = slots.iter().filter(|slot| slot.fact.bytes < LONG_BYTES && is_fit(slot)).cloned().collect();
    small.sort_by_key(|slot| (slot.fact.bytes, slot.fact.segment));
    // Whatever is longer than all others together is left alone: no byte is written again for the sake of fewer others,
    // so that whatever is merged comes to stand in a segment at least twice as long.
    let mut sum: u64 = small.iter().map(|slot| slot.fact.bytes).sum();
    while let Some(longest) = small.pop_if(|longest| 2 * longest.fact.bytes > sum) {
        sum -= longest.fact.bytes;
    }
    if small.len() < at_least.max(2) {
        return None;
    }
    small.truncate(AT_MOST);
    // As many as fit. Two always do.
    let mut sum = 0;
    small.retain(|slot| {
        sum += slot.fact.bytes;
        sum <= TARGET_BYTES
    });
    Some(small)
}

/// Merges `slots` as [`merge`] does. Damage in one of them is noted and comes back inside: that segment is passed over from
/// now on, and everything else goes on.
///
/// # Errors
/// What is no damage of one of them; nothing is replaced then.
pub fn attempt(
    engine: &Engine,
    partition: PartitionNumber,
    slots: Vec<Arc<SegmentSlot>>,
    done: &mut Maintenance,
) -> Result<Result<(), Error>> {
    let outcome = merge(engine, partition, slots.clone(), done);
    trouble::noted(engine, &slots, outcome)
}

/// Merges `slots`, all of `partition`, into one segment.
///
/// # Errors
/// Damage in one of them (file and offset named; nothing is replaced); what the operating system answers.
fn merge(
    engine: &Engine,
    partition: PartitionNumber,
    slots: Vec<Arc<SegmentSlot>>,
    done: &mut Maintenance,
) -> Result<()> {
    let Some(first) = slots.first() else { return Ok(()) };
    let segments: Vec<Arc<Segment>> = slots.iter().map(|slot| engine.catalog.open(slot)).collect::<Result<_>>()?;
    let id = first.fact.id.clone();
    let number = engine.writer()?.next_segment.fetch_add(1, Ordering::Relaxed);
    let path = segment::path(&engine.root, &id, number);
    let sources: Vec<&Segment> = segments.iter().map(|segment| &**segment).collect();
    let salts = segment::merged_salts(&sources)?;
    let head = SegmentHead { store: engine.store, partition, id: id.clone(), number, salts };
    let mut writer = SegmentWriter::create(engine.env.clone(), &path, head)?;
    let known = engine.partitions.numbered(partition);
    let keeps = |handle: &Handle| {
        !engine.scrub.is_dead(partition, handle) && known.as_ref().is_none_or(|known| known.keeps(handle))
    };
    let merged = segment::merge(&sources, &keeps, &mut writer)?;
    let mut totals = Totals::default();
    for slot in &slots {
        let fact = &slot.fact;
        let span = Some((fact.first_day, fact.last_day));
        let (records, chunks, raw_bytes) = (fact.records, fact.chunks, fact.raw_bytes);
        totals.add(&Totals { records, chunks, raw_bytes, frame_bytes: fact.bytes, span });
    }
    let span = totals.span.unwrap_or((first.fact.first_day, first.fact.last_day));
    // Lengths stand inside the ciphertext: of the dropped frames they are estimated as an even share.
    let raw_bytes = share(totals.raw_bytes, merged.kept, merged.kept + merged.dropped);
    let new = match merged.kept {
        0 => None,
        _ => {
            let summary = writer.finish(raw_bytes, span)?;
            done.bytes_written += summary.bytes;
            Some(fact(partition, id, number, &summary, raw_bytes))
        }
    };
    done.segments_merged += slots.len() as u64;
    replace(engine, partition, slots, new)
}

/// Ledgers that `new`, or nothing, takes the place of `slots`, all of `partition`, and makes it so for new snapshots. The old files
/// are unlinked once no reader holds them.
///
/// # Errors
/// What the ledger answers; nothing is replaced then.
pub fn replace(
    engine: &Engine,
    partition: PartitionNumber,
    slots: Vec<Arc<SegmentSlot>>,
    new: Option<SegmentFact>,
) -> Result<()> {
    let old = slots.iter().map(|slot| slot.fact.reference()).collect();
    engine.record(&[Fact::Merged { old, new: new.clone() }])?;
    let slot = new.map(|new| engine.catalog.slot(new));
    engine.catalog.change(|view| {
        let list = view.segments.entry(partition).or_default();
        list.retain(|kept| !slots.iter().any(|old| old.fact.segment == kept.fact.segment));
        list.extend(slot);
    });
    engine.catalog.doom(slots);
    Ok(())
}

/// What the ledger says of a segment that was just written.
pub fn fact(
    partition: PartitionNumber,
    id: PartitionId,
    segment: u64,
    summary: &SegmentSummary,
    raw_bytes: u64,
) -> SegmentFact {
    let SegmentSummary { hash, bytes, records, chunks, first_day, last_day } = *summary;
    SegmentFact { partition, id, segment, hash, bytes, records, chunks, raw_bytes, first_day, last_day }
}

/// `part` of `whole` in bytes, for sums over frames of which some were dropped.
pub fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(bytes) * u128::from(part) / u128::from(whole)) as u64 }
}

#[cfg(all(test, feature = "simulation"))]
pub mod tests {
    use super::*;
    use crate::env::sim::Sim;
    use crate::ident::{StoreId, Stream};
    use crate::window::{Day, Window, WindowLength};

    /// The fact of a segment of so many bytes.
    pub fn sized(segment: u64, bytes: u64) -> SegmentFact {
        let day = Day::from_number(20_000).unwrap();
        let stream = Stream::new("chat", "EU").unwrap();
        let id = PartitionId { stream, window: Window::containing(day.start(), WindowLength::Month) };
        let (partition, hash) = (PartitionNumber(1), [0; 32]);
        let (records, chunks, raw_bytes) = (1, 0, bytes);
        SegmentFact { partition, id, segment, hash, bytes, records, chunks, raw_bytes, first_day: day, last_day: day }
    }

    fn chosen(mebibytes: &[u64], at_least: usize) -> Option<Vec<u64>> {
        let catalog = super::super::catalog::Catalog::new(Sim::new(1).env(), "".as_ref(), StoreId::from_bytes([1; 16]));
        let slots: Vec<_> =
            (0..).zip(mebibytes).map(|(number, size)| catalog.slot(sized(number, size << 20))).collect();
        let chosen = choose(&slots, &|_| true, at_least)?;
        Some(chosen.iter().map(|slot| slot.fact.bytes >> 20).collect())
    }

    #[test]
    fn segments_too_long_to_be_merged_all_at_once_are_merged_nevertheless() {
        assert_eq!(chosen(&[1; 8], 8).unwrap().len(), 8);
        assert_eq!(chosen(&[1; 7], 8), None);
        assert_eq!(chosen(&[40; 8], 8).unwrap().len(), 6);
        assert_eq!(chosen(&[120; 8], 8).unwrap().len(), 2);
        assert_eq!(chosen(&[1; 100], 8).unwrap().len(), AT_MOST);
        // What is long is not written again for the sake of what is short.
        assert_eq!(chosen(&[200, 40, 40, 40, 200, 40, 40, 40, 200, 40, 40], 8).unwrap(), [40; 6]);
        assert_eq!(chosen(&[200; 20], 8), None);
    }

    /// However long they come, what is left in the end is few segments of a good length, and nothing was written often.
    #[test]
    fn merging_comes_to_an_end_at_any_length() {
        for size in [1, 5, 31, 33, 60, 100, 127, 128, 255] {
            let mut held = vec![];
            let mut written = 0;
            for _ in 0..400 {
                held.push(size);
                while let Some(chosen) = chosen(&held, 8) {
                    written += chosen.iter().sum::<u64>();
                    for one in &chosen {
                        held.remove(held.iter().position(|held| held == one).unwrap());
                    }
                    held.push(chosen.iter().sum());
                }
            }
            assert!(held.iter().filter(|size| **size < 128).count() < 12, "{size}: {held:?}");
            assert!(written <= 3 * 400 * size, "{size}: {written} MiB written again of {}", 400 * size);
            assert!(held.iter().all(|size| *size <= 256) && held.iter().sum::<u64>() == 400 * size);
        }
    }
}
