//! The partitions of the store with their keys, as the keyring has them, kept by name and by number.
//!
//! There are as many as streams times windows: thousands, never millions, so all of them stay in memory.

use crate::sync::{Arc, RwLock};
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::Result;
use crate::ident::{PartitionId, PartitionNumber, Stream};
use crate::keyring::{Keyring, PartitionEntry};
use crate::window::Window;

#[derive(Default)]
struct Known {
    by_id: BTreeMap<PartitionId, (Arc<PartitionEntry>, u64)>,
    by_number: HashMap<PartitionNumber, Arc<PartitionEntry>>,
}

/// All partitions that have a key.
#[derive(Default)]
pub struct Partitions {
    known: RwLock<Known>,
}

impl Partitions {
    /// Those that `keyring` has.
    pub fn load(keyring: &Keyring) -> Result<Self> {
        let partitions = Partitions::default();
        partitions.reload(keyring)?;
        Ok(partitions)
    }

    /// Takes in what `keyring` has now, dropping what it no longer has.
    pub fn reload(&self, keyring: &Keyring) -> Result<()> {
        let mut fresh = Known::default();
        for entry in keyring.partitions()? {
            fresh.by_number.insert(entry.number, entry.clone());
            fresh.by_id.insert(entry.id.clone(), (entry, 0));
        }
        *self.known.write().expect("no holder of this lock panics") = fresh;
        Ok(())
    }

    /// The partition named `id`, made where there is none, and the keyring entry that a commit into it depends on.
    pub fn use_partition(&self, keyring: &Keyring, id: &PartitionId) -> Result<(Arc<PartitionEntry>, u64)> {
        if let Some((entry, number)) = self.known.read().expect("no holder of this lock panics").by_id.get(id) {
            return Ok((entry.clone(), *number));
        }
        let found = keyring.use_partition(id)?;
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.by_number.insert(found.entry.number, found.entry.clone());
        known.by_id.insert(id.clone(), (found.entry.clone(), found.number));
        Ok((found.entry, found.number))
    }

    /// Forgets partitions whose key was destroyed.
    pub fn remove(&self, dead: &HashSet<PartitionNumber>) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.by_id.retain(|_, (entry, _)| !dead.contains(&entry.number));
        known.by_number.retain(|number, _| !dead.contains(number));
    }

    /// The partitions of one stream, by window.
    pub fn of_stream(&self, stream: &Stream) -> Vec<Arc<PartitionEntry>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known.by_id.values().map(|(entry, _)| entry).filter(|entry| entry.id.stream == *stream).cloned().collect()
    }

    /// Visits the partitions of one stream, by window.
    pub fn visit_stream(&self, stream: &Stream, visit: &mut dyn FnMut(&Arc<PartitionEntry>)) {
        let known = self.known.read().expect("no holder of this lock panics");
        let first = PartitionId { stream: stream.clone(), window: Window::FIRST };
        let of_stream = known.by_id.range(first..).take_while(|(id, _)| id.stream == *stream);
        of_stream.for_each(|(_, (entry, _))| visit(entry));
    }

    /// All of them, by stream and window.
    pub fn all(&self) -> Vec<Arc<PartitionEntry>> {
        self.known
            .read()
            .expect("no holder of this lock panics")
            .by_id
            .values()
            .map(|(entry, _)| entry.clone())
            .collect()
    }

    /// The partition with `number`.
    pub fn numbered(&self, number: PartitionNumber) -> Option<Arc<PartitionEntry>> {
        self.known.read().expect("no holder of this lock panics").by_number.get(&number).cloned()
    }
}
