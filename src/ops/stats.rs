//! Stats: what stands where, from the ledger's facts and the journal's sums. Reads no segment.

use crate::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::catalog::Totals;
use crate::error::Result;
use crate::ident::PartitionId;
use crate::report::{DictionaryStats, PartitionStats, Stats};

/// The state of the store.
///
/// # Errors
/// Damage in the keyring.
pub fn stats(engine: &Engine) -> Result<Stats> {
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
        let span = Some((fact.first_day, fact.last_day));
        let (records, chunks, raw_bytes) = (fact.records, fact.chunks, fact.raw_bytes);
        totals.add(&Totals { records, chunks, raw_bytes, frame_bytes: 0, span });
        *stored += fact.bytes;
        *segments += 1;
    }
    for journal in &snapshot.view.journals {
        for (number, waiting) in journal.totals() {
            let Some(partition) = engine.partitions.numbered(number) else { continue };
            let (totals, stored, _) = sums.entry(partition.id.clone()).or_default();
            totals.add(&waiting);
            *stored += waiting.frame_bytes;
        }
    }
    let (policy, now) = (engine.policy(), engine.now());
    let mut dictionaries = dictionaries(engine);
    for (id, stats) in &dictionaries {
        // Files like any other, also where nothing has been written with them yet.
        sums.entry(id.clone()).or_default().1 += stats.iter().map(|stats| stats.bytes).sum::<u64>();
    }
    let partitions = sums.into_iter().map(|(partition, (totals, stored_bytes, segments))| {
        let deadline = policy.terms(&partition.stream).and_then(|terms| terms.partition_deadline(&partition.window));
        let held = held.get(&partition).copied().unwrap_or(0);
        PartitionStats {
            partition: partition.clone(),
            records: totals.records - totals.chunks,
            raw_bytes: totals.raw_bytes,
            stored_bytes,
            segments,
            span: totals.span,
            deadline,
            overdue: held == 0 && deadline.is_some_and(|deadline| deadline <= now),
            held,
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
        ledger_root: ledger.head().iter().map(|byte| format!("{byte:02x}")).collect(),
        opening: ledger.state().opening.into(),
    })
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
