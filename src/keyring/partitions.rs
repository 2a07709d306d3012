//! Partitions of the keyring: their keys and numbers. There are few of them, so those that were asked for stay in memory.

use crate::sync::{Arc, PoisonError, RwLock};
use std::collections::HashMap;

use super::fold::random_key;
use super::log::locked;
use super::{Found, Keyring};
use crate::crypto::{PartitionKey, partition_tag};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{EntryKind, TreeKey};
use crate::format::keyring_column::{Column, PartitionEntry};
use crate::ident::{PartitionId, PartitionNumber};

/// The partitions that were asked for, and the number of the entry each depends on.
#[derive(Debug, Default)]
pub struct Partitions(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<PartitionId, (Arc<PartitionEntry>, u64)>,
    by_number: HashMap<PartitionNumber, Arc<PartitionEntry>>,
}

impl Partitions {
    fn get(&self, id: &PartitionId) -> Option<(Arc<PartitionEntry>, u64)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    fn numbered(&self, number: PartitionNumber) -> Option<Arc<PartitionEntry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_number.get(&number).cloned()
    }

    fn insert(&self, entry: &Arc<PartitionEntry>, number: u64) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.by_number.insert(entry.number, entry.clone());
        table.by_id.insert(entry.id.clone(), (entry.clone(), number));
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Table::default();
    }
}

impl Keyring {
    fn load_partition(&self, key: &TreeKey, id: &PartitionId) -> Result<Option<(Column, u64)>> {
        let Some((payload, number)) = self.find(key)? else { return Ok(None) };
        let column = Column::decode(&payload).map_err(|what| self.damage(what))?;
        if let Column::Living(entry) = &column
            && entry.id == *id
        {
            self.partitions.insert(entry, number);
        }
        Ok(Some((column, number)))
    }

    /// A living partition.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the part of the tree that would hold it cannot be read.
    #[cfg_attr(not(test), expect(dead_code, reason = "a column that may be gone: the issue of erasure and expiry"))]
    pub fn partition(&self, id: &PartitionId) -> Result<Option<Found<PartitionEntry>>> {
        if let Some((entry, number)) = self.partitions.get(id) {
            return Ok(Some(Found { entry, number: self.pending(number) }));
        }
        let key = TreeKey::new(EntryKind::Partition, &partition_tag(&self.lookup, id));
        let _stripe = locked(self.stripe(&key));
        Ok(match self.load_partition(&key, id)? {
            Some((Column::Living(entry), number)) => Some(Found { entry, number: self.pending(number) }),
            Some((Column::Remnant(_), _)) | None => None,
        })
    }

    /// A partition, made with a fresh key and the next number where there is none.
    ///
    /// # Errors
    /// As [`Keyring::partition`]; [`ErrorKind::Refused`] where its key was destroyed and only held cells are left;
    /// [`ErrorKind::Poisoned`] after a failed write or sync.
    pub fn use_partition(&self, id: &PartitionId) -> Result<Found<PartitionEntry>> {
        if let Some((entry, number)) = self.partitions.get(id) {
            return Ok(Found { entry, number: self.pending(number) });
        }
        let key = TreeKey::new(EntryKind::Partition, &partition_tag(&self.lookup, id));
        let _stripe = locked(self.stripe(&key));
        match self.load_partition(&key, id)? {
            Some((Column::Living(entry), number)) => return Ok(Found { entry, number: self.pending(number) }),
            Some((Column::Remnant(_), _)) => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "the partition has expired; only held records are left of it",
                ));
            }
            None => {}
        }
        let number = {
            let mut state = locked(&self.state);
            state.next_partition += 1;
            PartitionNumber(state.next_partition - 1)
        };
        let secret = Arc::new(PartitionKey::new(random_key(&*self.env)?));
        let entry = Arc::new(PartitionEntry { number, id: id.clone(), key: secret });
        let payload = Column::Living(entry.clone())
            .encode()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a partition's entry is too long"))?;
        let appended = self.append(key, true, payload)?;
        self.partitions.insert(&entry, appended);
        Ok(Found { entry, number: appended })
    }

    /// All partitions, living ones and remnants, in order of their numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where a part of the tree that may hold one cannot be read.
    pub fn columns(&self) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        let from = TreeKey::new(EntryKind::Partition, &[0; 16]);
        let to = TreeKey::new(EntryKind::AgendaSubject, &[0; 16]);
        self.walk_items(&from, Some(&to), &mut |item| {
            let column = Column::decode(&item.payload).map_err(|what| self.damage(what))?;
            columns.push(match column {
                Column::Living(entry) => {
                    let entry = self.partitions.numbered(entry.number).unwrap_or(entry);
                    self.partitions.insert(&entry, item.number);
                    Column::Living(entry)
                }
                remnant => remnant,
            });
            Ok(())
        })?;
        columns.sort_unstable_by_key(Column::number);
        Ok(columns)
    }
}
