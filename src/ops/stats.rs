//! Stats: what stands where, from the ledger's facts and the journal's sums. Reads no segment, but for the index of those
//! of which only held cells count.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::crypto::hex;
use crate::engine::catalog::{JournalFile, SegmentSlot, Snapshot, Totals};
use crate::engine::large::journal_head;
use crate::engine::partitions::Partition;
use crate::engine::{Engine, hold};
use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::ident::PartitionId;
use crate::ops::refresh::settled;
use crate::report::{DictionaryStats, PartitionStats, Stats};
use crate::window::Timestamp;

/// The state of the store.
///
/// # Errors
/// Damage in the keyring.
pub fn stats(engine: &Engine) -> Result<Stats> {
    settled(engine, || gather(engine, engine.now()))
}

/// The same from what this opening knows at the moment, with what is overdue judged by `now`.
pub(super) fn gather(engine: &Engine, now: Timestamp) -> Result<Stats> {
    let snapshot = engine.catalog.snapshot();
    let mut sums: BTreeMap<PartitionId, (Totals, u64, u64)> = BTreeMap::new();
    let remnants = engine.partitions.remnants().into_iter();
    let held: BTreeMap<PartitionId, u64> = remnants
        .filter_map(|remnant| engine.partitions.numbered(remnant.number))
        .map(|partition| (partition.id.clone(), partition.held_cells()))
        .collect();
    for slot in snapshot.view.segments.values().flatten() {
        let fact = &slot.fact;
        let (totals, stored, segments) = sums.entry(fact.id.clone()).or_default();
        totals.add(&kept_in_segment(engine, slot)?);
        *stored += fact.bytes;
        *segments += 1;
    }
    for journal in &snapshot.view.journals {
        for (number, waiting) in journal.totals() {
            let Some(partition) = engine.partitions.numbered(number) else { continue };
            let (totals, stored, _) = sums.entry(partition.id.clone()).or_default();
            totals.add(&kept_in_journal(&snapshot, journal, &partition, waiting)?);
            *stored += waiting.frame_bytes;
        }
    }
    let (policy, holds) = (engine.policy(), hold::standing(engine));
    let mut dictionaries = dictionaries(engine);
    for (id, stats) in &dictionaries {
        // Files like any other, also where nothing has been written with them yet.
        sums.entry(id.clone()).or_default().1 += stats.iter().map(|stats| stats.bytes).sum::<u64>();
    }
    let partitions = sums.into_iter().map(|(partition, (totals, stored_bytes, segments))| {
        let deadline = policy.terms(&partition.stream).and_then(|terms| terms.partition_deadline(&partition.window));
        let held = held.get(&partition).copied().unwrap_or(0);
        let is_over = held == 0 && deadline.is_some_and(|deadline| deadline <= now);
        let deferred = is_over && hold::on_all(&holds, &partition, &policy).next().is_some();
        PartitionStats {
            partition: partition.clone(),
            records: totals.records - totals.chunks,
            raw_bytes: totals.raw_bytes,
            stored_bytes,
            segments,
            span: totals.span,
            deadline,
            overdue: is_over && !deferred,
            held,
            deferred,
            dictionaries: dictionaries.remove(&partition).unwrap_or_default(),
        }
    });
    let partitions = partitions.collect();
    let longest_pause = engine.writer.as_ref().map_or(0, |writer| writer.longest_pause.load(Ordering::Relaxed));
    let ledger = engine.ledger();
    Ok(Stats {
        store: engine.store.to_string(),
        customers: engine.keyring.customers(),
        partitions,
        journals: snapshot.view.journals.len() as u64,
        waiting_bytes: engine.writer.as_ref().map_or(0, |writer| writer.committer.waiting_bytes() as u64),
        longest_pause: Duration::from_micros(longest_pause),
        journal_bytes: snapshot.view.journals.iter().map(|journal| journal.end()).sum(),
        keyring_bytes: engine.keyring.bytes(),
        ledger_leaves: ledger.length(),
        ledger_root: hex(&ledger.head()),
        opening: ledger.state().opening.into(),
        damage: engine.writer.as_ref().map_or_else(Vec::new, |writer| writer.trouble.all()),
    })
}

/// Sums over a segment. Of an expired partition, frames that are not held may lie there until the next merge: they are no
/// records any more.
fn kept_in_segment(engine: &Engine, slot: &Arc<SegmentSlot>) -> Result<Totals> {
    let fact = &slot.fact;
    let span = Some((fact.first_day, fact.last_day));
    let (records, chunks, raw_bytes) = (fact.records, fact.chunks, fact.raw_bytes);
    let all = Totals { records, chunks, raw_bytes, frame_bytes: 0, span };
    let known = engine.partitions.numbered(fact.partition);
    let Some(remnant) = known.as_ref().and_then(|partition| partition.remnant.as_ref()) else { return Ok(all) };
    let segment = engine.catalog.open(slot)?;
    let (mut kept, mut chunks) = (0, 0);
    for (handle, _) in &remnant.held {
        let Some(run) = segment.find(handle)? else { continue };
        kept += u64::from(run.count);
        if all.chunks > 0 {
            segment.heads(&run, &mut |head, _, _| {
                chunks += u64::from(head.kind == FrameKind::Chunk);
                Ok(())
            })?;
        }
    }
    engine.catalog.trim();
    Ok(all.part(kept, chunks))
}

/// The same for what a journal file has of a partition.
fn kept_in_journal(snapshot: &Snapshot, journal: &JournalFile, partition: &Partition, all: Totals) -> Result<Totals> {
    let Some(remnant) = &partition.remnant else { return Ok(all) };
    let (mut kept, mut chunks) = (0, 0);
    for (handle, _) in &remnant.held {
        for place in journal.places(handle, snapshot.limit(journal)) {
            kept += 1;
            if all.chunks > 0 {
                chunks += u64::from(journal_head(journal, place)?.0.kind == FrameKind::Chunk);
            }
        }
    }
    Ok(all.part(kept, chunks))
}

fn dictionaries(engine: &Engine) -> BTreeMap<PartitionId, Vec<DictionaryStats>> {
    let mut all: BTreeMap<PartitionId, Vec<DictionaryStats>> = BTreeMap::new();
    for fact in engine.ledger().state().dictionaries.values().flatten() {
        let stats = DictionaryStats {
            id: format!("{:08x}", fact.dictionary),
            bytes: fact.bytes,
            trained: fact.provenance.trained,
            plain_bytes: fact.provenance.plain_bytes,
            with_bytes: fact.provenance.with_bytes,
        };
        all.entry(fact.id.clone()).or_default().push(stats);
    }
    all
}

/// How far the source `name` has been taken in: from the journal where it is named there, else from the ledger.
pub fn source_offset(engine: &Engine, name: &str) -> Result<Option<u64>> {
    let tag = engine.keyring.source_tag(name);
    let snapshot = engine.catalog.snapshot();
    let waiting = snapshot.view.journals.iter().rev().find_map(|journal| journal.sources().get(&tag).copied());
    Ok(waiting.or_else(|| engine.ledger().state().sources.get(&tag).copied()))
}
