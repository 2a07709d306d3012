//! One customer's row made ready: the keys of its streams and years, each derived once, when it is first needed.

use crate::crypto::{CellKey, CellSecret, Key, YearKey, stream_key};
use crate::ident::{StoreId, Stream};
use crate::keyring::{CustomerEntry, PartitionEntry, Secret, SecretScope};

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

    /// Every cell key under which the customer may have records in `partition`, the one to write under last.
    pub fn keys(&mut self, partition: &PartitionEntry) -> impl Iterator<Item = CellKey> {
        let secrets = &self.customer.secrets;
        secrets.iter().enumerate().filter_map(|(index, secret)| self.key(index, secret, partition))
    }

    fn key(&mut self, index: usize, secret: &Secret, partition: &PartitionEntry) -> Option<CellKey> {
        let (stream, number) = (&partition.id.stream, partition.number);
        let reaches = match &secret.scope {
            SecretScope::Whole => true,
            SecretScope::Stream(one) => one == stream,
            SecretScope::Year(one, year) => one == stream && *year == partition.id.window.year(),
            SecretScope::Window(one) | SecretScope::Cell(one) => *one == number,
        };
        if !reaches {
            return None;
        }
        Some(match &secret.scope {
            SecretScope::Window(_) => partition.key.cell(&CellSecret::from_key(&secret.key)),
            SecretScope::Cell(_) => CellKey::from_key(&secret.key),
            SecretScope::Whole | SecretScope::Stream(_) | SecretScope::Year(..) => {
                let secret = self.year(index, secret, stream, partition.id.window.year()).cell_secret(number);
                partition.key.cell(&secret)
            }
        })
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
