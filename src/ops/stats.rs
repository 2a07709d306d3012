//! Stats: what stands where, from the ledger's facts and the journal's sums. Reads no segment.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::catalog::Totals;
use crate::error::Result;
use crate::ident::PartitionId;
use crate::report::{PartitionStats, Stats};

/// The state of the store.
///
/// # Errors
/// Damage in the keyring.
pub fn stats(engine: &Engine) -> Result<Stats> {
    let snapshot = engine.catalog.snapshot();
    let mut sums: BTreeMap<PartitionId, (Totals, u64, u64)> = BTreeMap::new();
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
    let partitions = sums.into_iter().map(|(partition, (totals, stored_bytes, segments))| {
        let deadline = policy.rule(&partition.stream).and_then(|rule| rule.partition_deadline(&partition.window));
        PartitionStats {
            partition,
            records: totals.records - totals.chunks,
            raw_bytes: totals.raw_bytes,
            stored_bytes,
            segments,
            span: totals.span,
            deadline,
            overdue: deadline.is_some_and(|deadline| deadline <= now),
        }
    });
    let partitions = partitions.collect();
    let ledger = engine.ledger();
    Ok(Stats {
        store: engine.store.to_string(),
        customers: engine.keyring.customers(),
        partitions,
        journals: snapshot.view.journals.len() as u64,
        journal_bytes: snapshot.view.journals.iter().map(|journal| journal.end()).sum(),
        keyring_bytes: engine.keyring.bytes(),
        ledger_leaves: ledger.length(),
        ledger_root: ledger.head().iter().map(|byte| format!("{byte:02x}")).collect(),
        opening: ledger.state().opening.into(),
    })
}

/// How far the source `name` has been taken in: from the journal where it is named there, else from the ledger.
pub fn source_offset(engine: &Engine, name: &str) -> Result<Option<u64>> {
    let tag = engine.keyring.source_tag(name);
    let snapshot = engine.catalog.snapshot();
    let waiting = snapshot.view.journals.iter().rev().find_map(|journal| journal.sources().get(&tag).copied());
    Ok(waiting.or_else(|| engine.ledger().state().sources.get(&tag).copied()))
}
