//! The partitions of the store as the keyring has them, with their keys or with the held cells that are left of them,
//! kept by name and by number.
//!
//! There are as many as streams times windows: thousands, never millions, so all of them stay in memory.

use crate::sync::{Arc, RwLock};
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::{DictionaryKey, PartitionKey, sha256};
use crate::error::Result;
use crate::ident::{Handle, PartitionId, PartitionNumber, Stream, SubjectNumber};
use crate::keyring::{Column, Keyring, PartitionEntry, Remnant};
use crate::window::{Timestamp, Window};

/// Stream and calendar year of a partition, hashed: what a customer's key of the year goes by.
pub type Season = [u8; 16];

fn season(id: &PartitionId, year: i16) -> Season {
    let name = format!("{} {} {year}", id.stream.class(), id.stream.jurisdiction());
    let digest = sha256(name.as_bytes());
    std::array::from_fn(|index| digest[index])
}

/// A partition.
#[derive(Debug)]
pub struct Partition {
    /// Its number, never reused.
    pub number: PartitionNumber,
    /// Its name.
    pub id: PartitionId,
    /// Its key; none where that was destroyed and only held cells are left, which nobody but [`crate::Store::held`] shows.
    pub key: Option<Arc<PartitionKey>>,
    /// The calendar year of its window, kept since it takes arithmetic.
    pub year: i16,
    /// Its stream and that year.
    pub season: Season,
    /// The first instant after its window, for the same reason.
    pub end: Timestamp,
    /// What is left of it where its key was destroyed.
    pub remnant: Option<Arc<Remnant>>,
    /// The handles of that.
    kept: HashSet<Handle>,
}

impl Partition {
    fn living(entry: &PartitionEntry) -> Arc<Self> {
        let (number, id, key) = (entry.number, entry.id.clone(), Some(entry.key.clone()));
        let (year, end) = (id.window.year(), id.window.end());
        let season = season(&id, year);
        Arc::new(Partition { number, id, key, remnant: None, year, season, end, kept: HashSet::new() })
    }

    fn remnant(remnant: Arc<Remnant>) -> Arc<Self> {
        let (number, id) = (remnant.number, remnant.id.clone());
        let kept = remnant.held.iter().map(|(handle, _)| *handle).collect();
        let (year, end) = (id.window.year(), id.window.end());
        let season = season(&id, year);
        Arc::new(Partition { number, id, key: None, remnant: Some(remnant), year, season, end, kept })
    }

    /// A living one, for tests.
    #[cfg(test)]
    pub fn sample(number: PartitionNumber, id: PartitionId, key: Option<Arc<PartitionKey>>) -> Self {
        let (year, end) = (id.window.year(), id.window.end());
        let season = season(&id, year);
        Partition { number, id, key, remnant: None, year, season, end, kept: HashSet::new() }
    }

    /// The key of its dictionary with this id: under its own key, or kept with what is held. None where neither is.
    pub fn dictionary_key(&self, id: u32) -> Option<DictionaryKey> {
        let kept = || {
            let mut kept = self.remnant.iter().flat_map(|remnant| &remnant.dictionaries);
            kept.find(|(known, _)| *known == id).map(|(_, key)| DictionaryKey::from_key(key.duplicate()))
        };
        self.key.as_ref().map(|key| key.dictionary(id)).or_else(kept)
    }

    /// Whether frames under `handle` may be read by anybody.
    pub fn keeps(&self, handle: &Handle) -> bool {
        self.remnant.is_none() || self.kept.contains(handle)
    }

    /// Whether a cell of `subject` is held here.
    pub fn holds(&self, subject: &SubjectNumber) -> bool {
        self.remnant.as_ref().is_some_and(|remnant| remnant.held.iter().any(|(_, held)| held == subject))
    }

    /// How many customers have a held cell here.
    pub fn held_cells(&self) -> u64 {
        let held = self.remnant.iter().flat_map(|remnant| &remnant.held);
        held.map(|(_, subject)| subject).collect::<HashSet<_>>().len() as u64
    }
}

#[derive(Default)]
struct Known {
    by_id: BTreeMap<PartitionId, (Arc<Partition>, u64)>,
    by_number: HashMap<PartitionNumber, Arc<Partition>>,
}

impl Known {
    fn insert(&mut self, partition: Arc<Partition>, entry: u64) {
        self.by_number.insert(partition.number, partition.clone());
        self.by_id.insert(partition.id.clone(), (partition, entry));
    }

    fn remove(&mut self, dead: PartitionNumber) {
        if let Some(partition) = self.by_number.remove(&dead) {
            self.by_id.remove(&partition.id);
        }
    }
}

/// All partitions that have a key or held cells.
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
        for column in keyring.columns()? {
            let partition = match column {
                Column::Living(entry) => Partition::living(&entry),
                Column::Remnant(remnant) => Partition::remnant(remnant),
            };
            fresh.insert(partition, 0);
        }
        *self.known.write().expect("no holder of this lock panics") = fresh;
        Ok(())
    }

    /// The partition named `id`, made where there is none, and the keyring entry that a commit into it depends on.
    pub fn use_partition(&self, keyring: &Keyring, id: &PartitionId) -> Result<(Arc<Partition>, u64)> {
        if let Some((partition, number)) = self.known.read().expect("no holder of this lock panics").by_id.get(id)
            && partition.key.is_some()
        {
            return Ok((partition.clone(), *number));
        }
        let found = keyring.use_partition(id)?;
        let partition = Partition::living(&found.entry);
        self.known.write().expect("no holder of this lock panics").insert(partition.clone(), found.number);
        Ok((partition, found.number))
    }

    /// Puts what is left of partitions in their place, or nothing where nothing is.
    pub fn replace(&self, left: &BTreeMap<PartitionNumber, Option<Arc<Remnant>>>) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        for (number, remnant) in left {
            known.remove(*number);
            if let Some(remnant) = remnant {
                known.insert(Partition::remnant(remnant.clone()), 0);
            }
        }
    }

    /// The partitions of one stream, by window, held rests of expired ones included.
    pub fn of_stream(&self, stream: &Stream) -> Vec<Arc<Partition>> {
        let known = self.known.read().expect("no holder of this lock panics");
        let all = known.by_id.values().map(|(partition, _)| partition);
        all.filter(|partition| partition.id.stream == *stream).cloned().collect()
    }

    /// Visits the partitions of one stream, by window, held rests of expired ones included.
    pub fn visit_stream(&self, stream: &Stream, visit: &mut dyn FnMut(&Arc<Partition>)) {
        let known = self.known.read().expect("no holder of this lock panics");
        let first = PartitionId { stream: stream.clone(), window: Window::FIRST };
        let of_stream = known.by_id.range(first..).take_while(|(id, _)| id.stream == *stream);
        of_stream.for_each(|(_, (partition, _))| visit(partition));
    }

    /// All of them, by stream and window, held rests of expired ones included.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known.by_id.values().map(|(partition, _)| partition.clone()).collect()
    }

    /// The held rests of expired partitions.
    pub fn remnants(&self) -> Vec<Arc<Remnant>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known.by_id.values().filter_map(|(partition, _)| partition.remnant.clone()).collect()
    }

    /// The partition with `number`.
    pub fn numbered(&self, number: PartitionNumber) -> Option<Arc<Partition>> {
        self.known.read().expect("no holder of this lock panics").by_number.get(&number).cloned()
    }
}
