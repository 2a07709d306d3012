//! Merging: several small segments of a partition become one, frame by frame, without being opened.
//!
//! The ledger fact names what was replaced and by what; the old files are unlinked once no reader holds them.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;

use super::Engine;
use super::catalog::{SegmentSlot, Totals};
use crate::error::Result;
use crate::format::ledger::{Fact, SegmentFact};
use crate::format::segment::SegmentHead;
use crate::ident::{PartitionId, PartitionNumber};
use crate::report::Maintenance;
use crate::segment::{self, Segment, SegmentSummary, SegmentWriter};

/// A merged segment aims at this many bytes; longer ones are left alone.
pub const TARGET_BYTES: u64 = 256 << 20;
/// Merge at most this many at once.
const AT_MOST: usize = 64;

/// What to merge next: the smallest segments of a partition that has enough of them.
pub fn candidate(engine: &Engine, at_least: usize) -> Option<(PartitionNumber, Vec<Arc<SegmentSlot>>)> {
    let snapshot = engine.catalog.snapshot();
    snapshot
        .view
        .segments
        .iter()
        .find_map(|(partition, slots)| choose(slots, at_least).map(|slots| (*partition, slots)))
}

fn choose(slots: &[Arc<SegmentSlot>], at_least: usize) -> Option<Vec<Arc<SegmentSlot>>> {
    let mut small: Vec<_> = slots.iter().filter(|slot| slot.fact.bytes < TARGET_BYTES).cloned().collect();
    small.sort_by_key(|slot| (slot.fact.bytes, slot.fact.segment));
    let mut sum = 0;
    small.retain(|slot| {
        sum += slot.fact.bytes;
        sum <= TARGET_BYTES
    });
    small.truncate(AT_MOST);
    (small.len() >= at_least).then_some(small)
}

/// Merges `slots`, all of `partition`, into one segment.
///
/// # Errors
/// Damage in one of them (file and offset named; nothing is replaced); what the operating system answers.
pub fn merge(
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
    let merged = segment::merge(&sources, &|handle| !engine.scrub.is_dead(partition, handle), &mut writer)?;
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
        0 => {
            writer.abandon();
            None
        }
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
