//! Repair: a segment whose head, index or end is damaged while its frames are whole is made anew from them, a dictionary
//! from the copy that another partition of its stream has.
//!
//! Nothing is guessed: before anything is written, the damaged segment's hash is computed as it would be without the
//! damage, and must be the one in the ledger. What cannot be proved whole is named and left alone.

use crate::sync::Arc;
use crate::sync::atomic::Ordering;

use crate::engine::catalog::{SegmentSlot, Snapshot};
use crate::engine::partitions::Partition;
use crate::engine::{Engine, Writer, dictionaries, merge, restore};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{DictionaryFact, SegmentFact};
use crate::report::{Damage, Remedy, Repair, RepairStep};
use crate::segment::{self, Contents};

/// Checks every segment and dictionary and plans what can be made anew; with `apply`, does it.
///
/// # Errors
/// [`ErrorKind::Invalid`] for `apply` in a read-only opening; what a step of the repair answers, the steps before it
/// stand. Damage is in the answer.
pub fn repair(engine: &Engine, apply: bool) -> Result<Repair> {
    let writer = if apply { Some(engine.writer()?) } else { None };
    let _one_at_a_time = writer.map(Writer::housekeep).transpose()?;
    let mut repair = Repair { plan: Vec::new(), applied: apply };
    let snapshot = engine.catalog.snapshot();
    for slot in snapshot.view.segments.values().flatten() {
        let Err(error) = segment::verify(&*engine.env, &slot.path, Some(&slot.fact.hash)) else { continue };
        let remedy = remedy(engine, slot);
        match (&remedy, writer) {
            (Remedy::Rebuild, Some(writer)) => rebuild(engine, writer, slot)?,
            (Remedy::GiveUp, Some(_)) => merge::replace(engine, slot.fact.partition, vec![slot.clone()], None)?,
            _ => {}
        }
        let path = error.path().unwrap_or(&slot.path).to_path_buf();
        repair.plan.push(RepairStep {
            partition: slot.fact.id.clone(),
            damage: Damage { path, offset: error.offset(), what: error.to_string() },
            records: records(&slot.fact),
            remedy,
        });
    }
    for partition in engine.partitions.all() {
        for fact in engine.catalog.dictionaries.of(partition.number) {
            repair.plan.extend(dictionary(engine, &partition, &fact, &snapshot, writer.is_some())?);
        }
    }
    drop(snapshot);
    engine.catalog.sweep()?;
    Ok(repair)
}

/// Of the frames of a segment, those that are no chunks of large bodies.
fn records(fact: &SegmentFact) -> u64 {
    fact.records.saturating_sub(fact.chunks)
}

fn contents(engine: &Engine, fact: &SegmentFact) -> Contents {
    Contents {
        store: engine.store,
        partition: fact.partition,
        id: fact.id.clone(),
        number: fact.segment,
        records: fact.records,
        raw_bytes: fact.raw_bytes,
        span: (fact.first_day, fact.last_day),
    }
}

fn remedy(engine: &Engine, slot: &SegmentSlot) -> Remedy {
    let restored = engine.writer.as_ref().is_some_and(|writer| writer.restored);
    if restored && matches!(restore::is_missing(&*engine.env, &slot.path), Ok(true)) {
        return Remedy::GiveUp;
    }
    match segment::restored_hash(&engine.env, &slot.path, &contents(engine, &slot.fact)) {
        Ok(hash) if hash == slot.fact.hash => Remedy::Rebuild,
        Ok(_) => Remedy::Restore("its frames are not those that the ledger names".into()),
        Err(error) => Remedy::Restore(error.to_string()),
    }
}

/// Writes the frames as a new segment, ledgers that it takes the place of the old one, and unlinks that.
fn rebuild(engine: &Engine, writer: &Writer, slot: &Arc<SegmentSlot>) -> Result<()> {
    let number = writer.next_segment.fetch_add(1, Ordering::Relaxed);
    let to = segment::path(&engine.root, &slot.fact.id, number);
    let written = segment::rebuild(&engine.env, &slot.path, &contents(engine, &slot.fact), &to, number)?;
    if written.bytes != slot.fact.bytes {
        // It is swept at the next opening, since no fact names it.
        return Err(Error::new(ErrorKind::Corrupt, "the segment changed while it was read").in_file(&slot.path));
    }
    let new = SegmentFact { segment: number, hash: written.hash, ..slot.fact.clone() };
    merge::replace(engine, slot.fact.partition, vec![slot.clone()], Some(new))
}

/// What is to be done about one dictionary, if it is damaged; done where `apply` says so. The copy that another partition
/// of the stream has is sealed again: sealing is deterministic, so what comes of it must have the hash in the ledger.
fn dictionary(
    engine: &Engine,
    partition: &Partition,
    fact: &DictionaryFact,
    snapshot: &Snapshot,
    apply: bool,
) -> Result<Option<RepairStep>> {
    let path = dictionaries::path(&engine.root, fact);
    let Err(error) = dictionaries::read(&*engine.env, &path, Some(&fact.hash)) else { return Ok(None) };
    let again = dictionaries::again(engine, partition, fact);
    if let (true, Some(bytes)) = (apply, &again) {
        match engine.env.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove a damaged dictionary", &path, error));
            }
            _ => {}
        }
        let directory = env::parent(&path);
        env::create_dirs(&*engine.env, directory)
            .and_then(|()| env::publish_new(&*engine.env, &path, bytes))
            .map_err(|error| Error::io("write a dictionary", &path, error))?;
        engine.catalog.dictionaries.look_again(fact.partition);
    }
    let place = error.path().unwrap_or(&path).to_path_buf();
    Ok(Some(RepairStep {
        partition: fact.id.clone(),
        damage: Damage { path: place, offset: error.offset(), what: error.to_string() },
        records: snapshot.segments(fact.partition).iter().map(|slot| records(&slot.fact)).sum(),
        remedy: match again {
            Some(_) => Remedy::Rebuild,
            None => Remedy::Restore("no other partition of its stream has a copy of this dictionary".into()),
        },
    }))
}
