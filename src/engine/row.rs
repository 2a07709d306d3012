//! One customer's row made ready: the keys of its streams and years, each derived once, when it is first needed, and the
//! places where it may cross columns. The key of a cell is derived only once somebody has found that it is there.

use super::partitions::Partition;
use crate::crypto::{CellKey, CellSecret, Key, YearKey, stream_key};
use crate::ident::{Handle, StoreId, Stream};
use crate::keyring::{CustomerEntry, Secret, SecretScope};

/// A cell that may be there: under which handle it would be found, and what its key follows from.
pub struct Probe {
    /// The pseudonym that its frames would carry.
    pub handle: Handle,
    half: Half,
}

enum Half {
    /// The row's half: the other is the partition's key.
    Row(CellSecret),
    /// The cell key itself, of a partition whose own key was destroyed.
    Held(Key),
}

impl Probe {
    /// The key of the cell, which is in `partition`.
    pub fn key(&self, partition: &Partition) -> CellKey {
        match (&self.half, &partition.key) {
            (Half::Held(key), _) => CellKey::from_key(key),
            (Half::Row(secret), Some(column)) => column.cell(secret),
            (Half::Row(_), None) => unreachable!("its handle was derived from the partition's key"),
        }
    }
}

/// A customer's secrets and what was derived from them so far.
pub struct Row<'a> {
    store: &'a StoreId,
    customer: &'a CustomerEntry,
    streams: Vec<(usize, Stream, Key)>,
    years: Vec<(usize, Stream, i16, YearKey)>,
}

impl<'a> Row<'a> {
    /// The row of `customer`, nothing derived yet.
    pub fn new(store: &'a StoreId, customer: &'a CustomerEntry) -> Self {
        Row { store, customer, streams: Vec::new(), years: Vec::new() }
    }

    /// Every cell in which the customer may have records in `partition`, in the order of its secrets.
    pub fn probes(&mut self, partition: &Partition) -> impl Iterator<Item = Probe> {
        self.secrets(partition).map(|(_, probe)| probe)
    }

    /// Those of them that anybody may look into.
    pub fn free(&mut self, partition: &Partition) -> impl Iterator<Item = Probe> {
        self.secrets(partition).filter(|(secret, _)| !secret.restricted).map(|(_, probe)| probe)
    }

    /// Every secret that reaches a cell in `partition`, with that cell.
    pub fn secrets(&mut self, partition: &Partition) -> impl Iterator<Item = (&'a Secret, Probe)> {
        let secrets = &self.customer.secrets;
        let reached = secrets.iter().enumerate();
        reached.filter_map(|(index, secret)| self.probe(index, secret, partition).map(|probe| (secret, probe)))
    }

    /// What the cell to write to follows from: the key of the partition's year under the newest secret that covers
    /// everything and is free.
    pub fn newest_year(mut self, partition: &Partition) -> Option<YearKey> {
        let writes = |secret: &Secret| secret.scope == SecretScope::Whole && !secret.restricted;
        let index = self.customer.secrets.iter().rposition(writes)?;
        self.year(index, &self.customer.secrets[index], &partition.id.stream, partition.year);
        self.years.pop().map(|(.., year)| year)
    }

    /// The cell that a secret reaches in `partition`, if it reaches one: under the partition's own key, or held, where
    /// that was destroyed.
    fn probe(&mut self, index: usize, secret: &Secret, partition: &Partition) -> Option<Probe> {
        let (stream, number) = (&partition.id.stream, partition.number);
        if !reaches(secret, partition) {
            return None;
        }
        if let SecretScope::Cell(_, handle) = &secret.scope {
            return Some(Probe { handle: *handle, half: Half::Held(secret.key.duplicate()) });
        }
        let column = partition.key.as_ref()?;
        let half = match &secret.scope {
            SecretScope::Window(_) => CellSecret::from_key(&secret.key),
            _ => self.year(index, secret, stream, partition.year).cell_secret(number),
        };
        Some(Probe { handle: column.handle(&half), half: Half::Row(half) })
    }

    /// The key of a year under the secret at `index`, from what was derived before where that is there.
    fn year(&mut self, index: usize, secret: &Secret, stream: &Stream, year: i16) -> &YearKey {
        let known = |known: &(usize, Stream, i16, YearKey)| known.2 == year && known.0 == index && known.1 == *stream;
        let at = match self.years.iter().rposition(known) {
            Some(at) => at,
            None => {
                let key = match &secret.scope {
                    SecretScope::Whole => YearKey::derive(self.store, self.stream(index, secret, stream), year),
                    SecretScope::Year(..) => YearKey::from_key(secret.key.duplicate()),
                    _ => YearKey::derive(self.store, &secret.key, year),
                };
                self.years.push((index, stream.clone(), year, key));
                self.years.len() - 1
            }
        };
        &self.years[at].3
    }

    fn stream(&mut self, index: usize, secret: &Secret, stream: &Stream) -> &Key {
        let at = match self.streams.iter().rposition(|known| known.0 == index && known.1 == *stream) {
            Some(at) => at,
            None => {
                self.streams.push((index, stream.clone(), stream_key(self.store, &secret.key, stream)));
                self.streams.len() - 1
            }
        };
        &self.streams[at].2
    }
}

/// Whether the cell that a secret leads to in `partition`, if there is one, can be opened with it.
pub fn reaches(secret: &Secret, partition: &Partition) -> bool {
    match &secret.scope {
        SecretScope::Whole => true,
        SecretScope::Stream(one) => *one == partition.id.stream,
        SecretScope::Year(one, year) => *one == partition.id.stream && *year == partition.year,
        SecretScope::Window(one) | SecretScope::Cell(one, _) => *one == partition.number,
    }
}
