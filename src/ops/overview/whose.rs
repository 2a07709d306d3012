//! How many customers the partitions have, from indexes and keys: no frame is opened.
//!
//! A segment knows handles, not customers. Of one customer there may be several handles in a partition, and there are some
//! of the dead. Where there are many handles that is allowed for; where there are few, the keyring is asked whose they are.
//! What cannot be told counts for nobody, so that the answer is never too high.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::crowd::Customers;
use crate::engine::Engine;
use crate::engine::catalog::Snapshot;
use crate::engine::partitions::Partition;
use crate::engine::row::Row;
use crate::engine::visible::covers;
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{Handle, PartitionId};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::ops::overview::rows::number;
use crate::ops::refresh::has_moved;
use crate::report::Damage;
use crate::sync::Arc;

/// So many times as many handles as customers are needed are many.
const MANY: u64 = 4;

/// A partition with so few handles that it is worth finding out whose they are.
struct Few {
    partition: Arc<Partition>,
    handles: HashSet<Handle>,
    customers: Customers,
}

/// A partition with many.
struct Many {
    partition: Arc<Partition>,
    handles: u64,
    /// Handles of customers who have others too.
    further: u64,
}

/// What was found out.
#[derive(Default)]
pub struct Whose {
    /// The customers of each partition.
    pub customers: BTreeMap<PartitionId, Customers>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// Finds out how many customers each partition of `snapshot` has, up to `crowd`, and shows `visit` each who lives.
///
/// # Errors
/// Damage in the keyring; damage of segments is in the answer.
pub fn whose(
    engine: &Engine,
    snapshot: &Snapshot,
    crowd: u64,
    visit: &mut dyn FnMut(&CustomerEntry) -> Result<()>,
) -> Result<Whose> {
    let mut whose = Whose::default();
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for partition in engine.partitions.all() {
        match &partition.remnant {
            Some(remnant) => {
                let customers = whose.customers.entry(partition.id.clone()).or_default();
                remnant.held.iter().for_each(|(_, subject)| customers.add(number(subject), crowd));
            }
            None => sort_out(engine, snapshot, partition, crowd, (&mut few, &mut many), &mut whose.damage)?,
        }
    }
    engine.keyring.walk_customers(&mut |entry| {
        if entry.state == CustomerState::Living && !engine.fences.has_subject(&entry.subject) {
            look(engine, snapshot, entry, crowd, (&mut few, &mut many));
            visit(entry)?;
        }
        Ok(())
    })?;
    whose.customers.extend(few.into_iter().map(|few| (few.partition.id.clone(), few.customers)));
    whose.customers.extend(many.into_iter().map(|many| {
        let gone = engine.scrub.dead_in(many.partition.number) + many.further;
        (many.partition.id.clone(), Customers::at_least(many.handles.saturating_sub(gone)))
    }));
    Ok(whose)
}

/// Counts the handles of one partition, and remembers them where they are few.
fn sort_out(
    engine: &Engine,
    snapshot: &Snapshot,
    partition: Arc<Partition>,
    crowd: u64,
    (few, many): (&mut Vec<Few>, &mut Vec<Many>),
    damage: &mut Vec<Damage>,
) -> Result<()> {
    let (mut most, mut handles) = (0, HashSet::new());
    for slot in snapshot.segments(partition.number) {
        let read = engine.catalog.open(slot).and_then(|segment| {
            most = most.max(segment.handle_count());
            if most < MANY.saturating_mul(crowd) {
                segment.handles().try_for_each(|found| {
                    found.map(|(handle, _)| {
                        handles.insert(handle);
                    })
                })?;
            }
            Ok(())
        });
        match read {
            Err(error) if is_damage(&error) && !has_moved(engine, &error)? => {
                damage.push(damage_of(&error, &slot.path));
            }
            outcome => outcome?,
        }
    }
    match most < MANY.saturating_mul(crowd) {
        true => few.push(Few { partition, handles, customers: Customers::default() }),
        false => many.push(Many { partition, handles: most, further: 0 }),
    }
    Ok(())
}

/// Whether an error says that a file is damaged or gone: a report goes on without it.
pub fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Io)
}

/// The damage that an error tells of, in the file `path` if it names no other.
pub fn damage_of(error: &Error, path: &Path) -> Damage {
    let path = error.path().unwrap_or(path).to_path_buf();
    Damage { path, offset: error.offset(), what: error.without_place() }
}

/// Looks where one customer has records, as far as that is still to be found out.
fn look(
    engine: &Engine,
    snapshot: &Snapshot,
    entry: &CustomerEntry,
    crowd: u64,
    (few, many): (&mut [Few], &mut [Many]),
) {
    let mut row = Row::new(&engine.store, entry);
    let waits =
        |handle: &Handle| snapshot.view.journals.iter().any(|journal| journal.holds(handle, snapshot.limit(journal)));
    for few in few.iter_mut().filter(|few| few.customers.count() < crowd && covers(entry, &few.partition)) {
        if row.probes(&few.partition).any(|probe| few.handles.contains(&probe.handle) || waits(&probe.handle)) {
            few.customers.add(number(&entry.subject), crowd);
        }
    }
    if entry.secrets.len() > 1 {
        for many in many.iter_mut().filter(|many| covers(entry, &many.partition)) {
            many.further += (row.probes(&many.partition).count() as u64).saturating_sub(1);
        }
    }
}
