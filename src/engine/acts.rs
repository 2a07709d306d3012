//! Destructive acts, step by step: intent, fence, drain, shred, what follows from it, done. Every step can be repeated,
//! so that recovery finishes what a crash interrupted by doing it again.

use std::collections::{BTreeSet, HashSet};

use super::split::{self, Cut};
use super::{Engine, Writer, column, explode, housekeeping, lease, scrub};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Act, EVIDENCE_LIMIT, Effect, Fact, HeldCells, KeptRows};
use crate::ident::{CustomerId, PartitionNumber, SubjectNumber};
use crate::keyring::{Changes, CustomerEntry, CustomerState, NOTE_CELLS_LIMIT, ScrubNote, Secret};
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
        Act::Expire { partitions, held, rows, .. } => {
            engine.fences.close_partitions(partitions);
            column::expire(engine, writer, number, (partitions, held, rows), ids)?;
        }
        Act::Release { .. } => column::release(engine, writer, number, &act, ids)?,
        Act::Erase { subjects, at, kept } => {
            engine.fences.close_subjects(subjects);
            engine.fences.close_until(number, kept.iter().map(|(subject, _)| *subject));
            drain(engine, writer)?;
            let all: Vec<_> = subjects.iter().chain(kept.iter().map(|(subject, _)| subject)).copied().collect();
            let customers = find(engine, &all, ids)?;
            erase(engine, number, &customers, (*at, kept))?;
        }
        Act::ErasePart { .. } | Act::Redact { .. } => {
            explode::perform(engine, writer, number, &act, ids)?;
        }
    }
    engine.record(&[Fact::Done { number }])?;
    engine.fences.finish(number);
    Ok(())
}

/// Waits until every append that began before is durable, then forgets the keys that appends made ready, and what bodies
/// were compressed with, where words of theirs and of dictionaries may still stand.
pub fn drain(engine: &Engine, writer: &Writer) -> Result<()> {
    drop(engine.fences.shut());
    flush(engine, writer)
}

/// The second half of [`drain`], for those who keep the gate shut.
pub fn flush(engine: &Engine, writer: &Writer) -> Result<()> {
    writer.committer.flush(&engine.tools(writer))?;
    writer.cells.purge();
    writer.committer.spare.purge();
    Ok(())
}

/// The customers with these subject numbers that have not been erased yet. A tombstone bears the same number, and is none
/// of them: an act that is finished late, after its customer was erased, has nothing to take from it.
pub fn find(engine: &Engine, subjects: &[SubjectNumber], ids: Option<&[CustomerId]>) -> Result<Vec<CustomerEntry>> {
    let wanted: HashSet<&SubjectNumber> = subjects.iter().collect();
    let lives = |entry: &CustomerEntry| entry.state == CustomerState::Living && wanted.contains(&entry.subject);
    let mut found = Vec::new();
    match ids {
        Some(ids) => {
            for id in ids {
                if let Some(customer) = engine.keyring.customer(id)?
                    && lives(&customer.entry)
                {
                    found.push(customer.entry.duplicate());
                }
            }
        }
        None => engine.keyring.walk_customers(&mut |customer| {
            if lives(customer) {
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
    let writer = engine.writer()?;
    let fact = match lease::is_fenced(engine, writer, number) {
        true => Fact::Effected { number, effect: Effect::Fenced },
        false => Fact::Watermark,
    };
    engine.record(&[fact])?;
    let shredded = engine.keyring.shred(changes, housekeeping::position(engine));
    // Whatever came of it: keys that are dead, or about to be, are not kept.
    writer.recent.purge();
    let (folded, evidence) = shredded?;
    let mut words = evidence.words;
    while words.len() > EVIDENCE_LIMIT {
        words.pop();
    }
    let effect = Effect::Shredded { epoch: folded.epoch, is_final: evidence.final_, evidence: words };
    engine.record(&[Fact::Effected { number, effect }])
}

fn erase(engine: &Engine, number: u64, customers: &[CustomerEntry], (at, kept): (Timestamp, &KeptRows)) -> Result<()> {
    let mut changes = Changes::new();
    let (mut cells, mut subjects) = (Vec::new(), BTreeSet::new());
    for customer in customers {
        let left = match kept.binary_search_by_key(&customer.subject, |(subject, _)| *subject) {
            Ok(row) => {
                let cut = Cut::all_but(engine, customer, &kept[row].1);
                cells.extend(cut.dead(engine, customer, &|_| true));
                split::rest(engine, restricted(engine, customer, &cut, at))?
            }
            Err(_) => {
                cells.extend(Cut::all_but(engine, customer, &[]).dead(engine, customer, &|_| true));
                subjects.insert(customer.subject);
                Some(tombstone(customer, at))
            }
        };
        put_row(engine, &mut changes, &customer.id, left.as_ref())?;
    }
    note(&mut changes, number, &cells);
    // Cells that are held no longer may still be there, where a hold was lifted only just now.
    let left = column::strike(engine, &mut changes, &held_cells(engine, &subjects))?;
    shred(engine, number, &changes)?;
    engine.scrub.add(number, &cells);
    column::show(engine, &left)
}

/// Puts what is left of a customer's row into the keyring, or takes it out.
///
/// # Errors
/// [`ErrorKind::Invalid`] where it is longer than an entry may be.
pub fn put_row(engine: &Engine, changes: &mut Changes, id: &CustomerId, row: Option<&CustomerEntry>) -> Result<()> {
    let too_long = || Error::new(ErrorKind::Invalid, "what is left of a customer's row is too long");
    let payload = row.map(|row| row.encode().ok_or_else(too_long)).transpose()?;
    changes.insert(engine.keyring.customer_key(id), payload);
    Ok(())
}

/// What an erasure leaves of a customer: the keys of what must be kept, for nobody but who serves what keeps it. What is
/// yet to come stands under a secret that is made when it comes.
fn restricted(engine: &Engine, customer: &CustomerEntry, cut: &Cut, at: Timestamp) -> CustomerEntry {
    let left = customer.secrets.iter().flat_map(|secret| cut.left(engine, customer, secret));
    let secrets = left.map(|secret| Secret { restricted: true, ..secret }).collect();
    CustomerEntry { secrets, not_before: customer.not_before.max(Some(at)), ..customer.duplicate() }
}

/// The cells of these customers that are left in expired partitions, by ledger or keyring.
fn held_cells(engine: &Engine, subjects: &BTreeSet<SubjectNumber>) -> HeldCells {
    let mut parts: BTreeSet<PartitionNumber> = BTreeSet::new();
    for remnant in engine.partitions.remnants() {
        if remnant.held.iter().any(|(_, subject)| subjects.contains(subject)) {
            parts.insert(remnant.number);
        }
    }
    let ledger = engine.ledger();
    let held = ledger.state().acts.held.iter().filter(|(_, held)| !held.is_disjoint(subjects));
    parts.extend(held.map(|(partition, _)| *partition));
    parts.into_iter().map(|partition| (partition, subjects.iter().copied().collect())).collect()
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
    CustomerEntry {
        id: customer.id.clone(),
        subject: customer.subject,
        secrets: Vec::new(),
        state: CustomerState::Tombstone { erased: at },
        created: customer.created,
        not_before: customer.not_before,
        streams: Vec::new(),
        anchors: Vec::new(),
    }
}
