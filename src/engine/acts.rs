//! Destructive acts, step by step: intent, fence, drain, shred, what follows from it, done. Every step can be repeated,
//! so that recovery finishes what a crash interrupted by doing it again.

use crate::sync::atomic::Ordering;
use std::collections::HashSet;

use super::{Engine, Writer, housekeeping, lease, scrub};
use super::{dictionaries, explode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, EVIDENCE_LIMIT, Effect, Fact};
use crate::ident::{CustomerId, PartitionNumber, SubjectNumber};
use crate::keyring::{Changes, CustomerEntry, CustomerState, NOTE_CELLS_LIMIT, ScrubNote};
use crate::window::Timestamp;

/// Writes down that `act` is going to be done, and returns its number. From here on it will be done, crash or not.
///
/// # Errors
/// What the ledger answers; nothing has happened then.
pub fn intend(engine: &Engine, act: Act) -> Result<u64> {
    let number = engine.ledger().state().acts.next();
    let writer = engine.writer()?;
    engine.record(&[Fact::Intended { number, act }])?;
    lease::expect(engine, writer, number);
    Ok(number)
}

/// Does act `number`, or what is left of it. `ids` are those of its customers, where the caller knows them; else they
/// are found by walking the keyring. Housekeeping must be held.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn perform(engine: &Engine, number: u64, ids: Option<&[CustomerId]>) -> Result<()> {
    let writer = engine.writer()?;
    let act = match engine.ledger().state().acts.by_number.get(&number) {
        Some(state) if state.done.is_none() => state.act.clone(),
        _ => return Ok(()),
    };
    match &act {
        Act::Expire { partitions, .. } => {
            engine.fences.close_partitions(partitions);
            drain(engine, writer)?;
            let dead: HashSet<PartitionNumber> = partitions.iter().map(|(partition, ..)| *partition).collect();
            expire(engine, number, &dead)?;
        }
        Act::Erase { subjects, at } => {
            engine.fences.close_subjects(subjects);
            drain(engine, writer)?;
            let customers = find(engine, subjects, ids)?;
            erase(engine, number, &customers, *at)?;
        }
        Act::ErasePart { .. } | Act::Redact { .. } => {
            explode::perform(engine, writer, number, &act, ids)?;
        }
    }
    engine.record(&[Fact::Done { number }])
}

/// Waits until every append that began before is durable, then forgets the keys that appends made ready.
pub fn drain(engine: &Engine, writer: &Writer) -> Result<()> {
    drop(engine.fences.shut());
    flush(engine, writer)
}

/// The second half of [`drain`], for those who keep the gate shut.
pub fn flush(engine: &Engine, writer: &Writer) -> Result<()> {
    writer.committer.flush(&engine.tools(writer))?;
    writer.cells.purge();
    Ok(())
}

/// The customers with these subject numbers that have not been erased yet.
pub fn find(engine: &Engine, subjects: &[SubjectNumber], ids: Option<&[CustomerId]>) -> Result<Vec<CustomerEntry>> {
    let wanted: HashSet<&SubjectNumber> = subjects.iter().collect();
    let mut found = Vec::new();
    match ids {
        Some(ids) => {
            for id in ids {
                if let Some(customer) = engine.keyring.customer(id)?
                    && wanted.contains(&customer.entry.subject)
                {
                    found.push(customer.entry.duplicate());
                }
            }
        }
        None => engine.keyring.walk_customers(&mut |customer| {
            if wanted.contains(&customer.subject) {
                found.push(customer.duplicate());
            }
            Ok(())
        })?,
    }
    Ok(found)
}

/// Rewrites the keyring with `changes` under a new root, has every older one destroyed, and puts it on record. It does
/// not wait for readers: whether they have all seen the fence is put on record when they have.
pub fn shred(engine: &Engine, number: u64, changes: &Changes) -> Result<()> {
    // The root names a ledger that is longer than any named before: an older root is always seen to be older.
    let fact = match lease::is_fenced(engine, engine.writer()?, number) {
        true => Fact::Effected { number, effect: Effect::Fenced },
        false => Fact::Watermark,
    };
    engine.record(&[fact])?;
    let (folded, evidence) = engine.keyring.shred(changes, housekeeping::position(engine))?;
    let mut words = evidence.words;
    while words.len() > EVIDENCE_LIMIT {
        words.pop();
    }
    let effect = Effect::Shredded { epoch: folded.epoch, is_final: evidence.final_, evidence: words };
    engine.record(&[Fact::Effected { number, effect }])
}

fn expire(engine: &Engine, number: u64, dead: &HashSet<PartitionNumber>) -> Result<()> {
    let mut changes = Changes::new();
    for partition in engine.partitions.all() {
        if dead.contains(&partition.number) {
            changes.insert(engine.keyring.partition_key(&partition.id), None);
        }
    }
    shred(engine, number, &changes)?;
    engine.partitions.remove(dead);
    engine.forget_due.store(true, Ordering::Relaxed);
    let mut slots = Vec::new();
    engine.catalog.change(|view| {
        for partition in dead {
            slots.extend(view.segments.remove(partition).unwrap_or_default());
        }
    });
    let mut directories: HashSet<_> =
        slots.iter().filter_map(|slot| slot.path.parent().map(ToOwned::to_owned)).collect();
    engine.catalog.doom(slots);
    engine.catalog.sweep()?;
    directories.extend(dictionaries::unlink(engine, dead)?);
    for directory in directories {
        // A reader may still hold a segment there; then the directory goes with the next sweep after a restart.
        let _ = engine.env.remove_dir(&directory);
    }
    Ok(())
}

fn erase(engine: &Engine, number: u64, customers: &[CustomerEntry], at: Timestamp) -> Result<()> {
    let mut changes = Changes::new();
    let mut cells = Vec::new();
    for customer in customers {
        cells.extend(explode::cells_of(engine, customer, &|_| true));
        let tombstone = tombstone(customer, at);
        let payload = tombstone.encode().ok_or_else(|| Error::new(ErrorKind::Invalid, "a tombstone is too long"))?;
        changes.insert(engine.keyring.customer_key(&customer.id), Some(payload));
    }
    note(&mut changes, number, &cells);
    shred(engine, number, &changes)?;
    engine.scrub.add(number, &cells);
    Ok(())
}

/// Adds the notes that let merges drop the frames of dead cells.
pub fn note(changes: &mut Changes, act: u64, cells: &[scrub::DeadCell]) {
    for (index, cells) in cells.chunks(NOTE_CELLS_LIMIT).enumerate() {
        let note = ScrubNote { act, cells: cells.to_vec() };
        changes.insert(ScrubNote::key(act, index as u64), Some(note.encode()));
    }
}

/// What is left of a customer: a fence without a secret.
fn tombstone(customer: &CustomerEntry, at: Timestamp) -> CustomerEntry {
    let erased = match customer.state {
        CustomerState::Tombstone { erased } => erased.max(at),
        CustomerState::Living => at,
    };
    CustomerEntry {
        id: customer.id.clone(),
        subject: customer.subject,
        secrets: Vec::new(),
        state: CustomerState::Tombstone { erased },
        created: customer.created,
        not_before: customer.not_before,
        streams: Vec::new(),
        anchors: Vec::new(),
    }
}
