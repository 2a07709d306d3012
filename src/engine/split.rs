//! Taking a row apart: which cells an act cuts off, and the keys that are left of a secret without them.

use std::collections::BTreeSet;

use super::partitions::Partition;
use super::row::{Row, reaches};
use super::scrub::DeadCell;
use super::visible::covered;
use super::{Engine, hold};
use crate::crypto::{Key, YearKey, stream_key};
use crate::error::Result;
use crate::format::ledger::{Kept, Span};
use crate::ident::{PartitionNumber, Stream};
use crate::keyring::{CustomerEntry, CustomerState, Secret, SecretScope};
use crate::sync::Arc;

/// What an act cuts off a row.
#[derive(Default)]
pub struct Cut {
    /// The streams it touches.
    pub streams: Vec<Stream>,
    /// The cells it cuts off.
    pub cells: BTreeSet<PartitionNumber>,
    /// The streams of which nothing is left, whatever partition it may be in.
    pub whole: Vec<Stream>,
}

impl Cut {
    /// Everything in the partitions that `goes` names.
    pub fn of(engine: &Engine, customer: &CustomerEntry, goes: &dyn Fn(&Partition) -> bool) -> Self {
        let (gone, left): (Vec<_>, Vec<_>) = covered(engine, customer).into_iter().partition(|one| goes(one));
        let is_in = |partitions: &[Arc<Partition>], stream: &Stream| {
            partitions.iter().any(|partition| partition.id.stream == *stream)
        };
        let streams = customer.streams.iter().map(|used| used.stream.clone()).filter(|stream| is_in(&gone, stream));
        let streams: Vec<Stream> = streams.collect();
        let whole = streams.iter().filter(|stream| !is_in(&left, stream)).cloned().collect();
        Cut { streams, cells: gone.iter().map(|partition| partition.number).collect(), whole }
    }

    /// Everything but what is `kept`.
    pub fn all_but(engine: &Engine, customer: &CustomerEntry, kept: &[Kept]) -> Self {
        Cut::of(engine, customer, &|partition| !kept.iter().any(|kept| kept.span.meets(&partition.id)))
    }

    /// Everything in partitions that lie within one of `spans`.
    pub fn within(engine: &Engine, customer: &CustomerEntry, spans: &[&Span]) -> Self {
        Cut::of(engine, customer, &|partition| spans.iter().any(|span| span.covers(&partition.id)))
    }

    /// The cells that it cuts off those of a customer's secrets that it is made for.
    pub fn dead(&self, engine: &Engine, customer: &CustomerEntry, of: &dyn Fn(&Secret) -> bool) -> Vec<DeadCell> {
        let mut row = Row::new(&engine.store, customer);
        let mut dead = Vec::new();
        for partition in self.cells.iter().filter_map(|number| engine.partitions.numbered(*number)) {
            let cells = row.secrets(&partition).filter(|(secret, _)| of(secret));
            dead.extend(cells.map(|(_, probe)| (partition.number, probe.handle)));
        }
        dead
    }

    /// What is left of one secret: itself where nothing of it is cut off, else the keys below it that do not reach a cell
    /// that is.
    pub fn left(&self, engine: &Engine, customer: &CustomerEntry, secret: &Secret) -> Vec<Secret> {
        let keep = || vec![secret.duplicate()];
        match &secret.scope {
            SecretScope::Whole if self.streams.is_empty() => keep(),
            SecretScope::Whole => {
                let streams = customer.streams.iter().map(|used| &used.stream);
                streams
                    .flat_map(|stream| {
                        let key = stream_key(&engine.store, &secret.key, stream);
                        self.left_of_stream(engine, customer, (stream, &key), secret.restricted)
                    })
                    .collect()
            }
            SecretScope::Stream(stream) if self.streams.contains(stream) => {
                self.left_of_stream(engine, customer, (stream, &secret.key), secret.restricted)
            }
            SecretScope::Year(stream, year) if self.streams.contains(stream) => {
                let key = YearKey::from_key(secret.key.duplicate());
                self.left_of_year(engine, stream, (*year, key), secret.restricted)
            }
            SecretScope::Window(number) | SecretScope::Cell(number, _) if self.cells.contains(number) => Vec::new(),
            _ => keep(),
        }
    }

    fn left_of_stream(
        &self,
        engine: &Engine,
        customer: &CustomerEntry,
        (stream, key): (&Stream, &Key),
        restricted: bool,
    ) -> Vec<Secret> {
        if self.whole.contains(stream) {
            return Vec::new();
        }
        if !self.streams.contains(stream) {
            return vec![Secret { scope: SecretScope::Stream(stream.clone()), restricted, key: key.duplicate() }];
        }
        let Some(used) = customer.streams.iter().find(|used| used.stream == *stream) else { return Vec::new() };
        let years = used.first_day.year()..=used.last_year;
        years
            .flat_map(|year| {
                let key = YearKey::derive(&engine.store, key, year);
                self.left_of_year(engine, stream, (year, key), restricted)
            })
            .collect()
    }

    fn left_of_year(
        &self,
        engine: &Engine,
        stream: &Stream,
        (year, key): (i16, YearKey),
        restricted: bool,
    ) -> Vec<Secret> {
        if self.whole.contains(stream) {
            return Vec::new();
        }
        // Where nothing was ever written, nothing is left; what will be written stands under a fresh secret.
        let mut windows = engine.partitions.of_stream(stream);
        windows.retain(|partition| partition.id.window.year() == year && partition.key.is_some());
        let windows_left = windows.iter().filter(|partition| !self.cells.contains(&partition.number));
        let left: Vec<_> = windows_left.collect();
        if !left.is_empty() && left.len() == windows.len() {
            let scope = SecretScope::Year(stream.clone(), year);
            return vec![Secret { scope, restricted, key: key.key().duplicate() }];
        }
        let window = |partition: &&Arc<Partition>| Secret {
            scope: SecretScope::Window(partition.number),
            restricted,
            key: key.cell_secret(partition.number).key(),
        };
        left.iter().map(window).collect()
    }
}

/// A row as it is written back: without secrets that open nothing any more. Where none is left, a tombstone of somebody
/// who was erased, or nothing.
///
/// Holds are on the number of a customer: while one stands, whoever comes back must come back under it.
///
/// # Errors
/// What the source of randomness answers.
pub fn rest(engine: &Engine, mut customer: CustomerEntry) -> Result<Option<CustomerEntry>> {
    let partitions = covered(engine, &customer);
    customer.secrets.retain(|secret| match &secret.scope {
        SecretScope::Whole | SecretScope::Cell(..) => true,
        _ => partitions.iter().any(|partition| reaches(secret, partition)),
    });
    if !customer.secrets.is_empty() {
        return Ok(Some(customer));
    }
    (customer.streams, customer.anchors) = (Vec::new(), Vec::new());
    if hold::is_on(engine, &customer.subject) {
        customer.secrets.push(engine.keyring.fresh_secret()?);
        return Ok(Some(customer));
    }
    let tombstone = |erased| CustomerEntry { state: CustomerState::Tombstone { erased }, ..customer.duplicate() };
    Ok(customer.not_before.map(tombstone))
}
