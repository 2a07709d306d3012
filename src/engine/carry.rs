//! Carrying forward: before a window of states expires, the newest record of each customer that stands in it is appended
//! again into the window of today, with its body, kind and id, and with the time at which it happened kept beside the time of
//! carrying. It is durable before anything else is done, and doing it again carries nothing twice: the copy is the newest
//! then.
//!
//! What cannot be read cannot be carried, and then nothing of its window may go. All other windows do.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cells::Cell;
use super::encode::{Encoder, finish};
use super::large::{self, Chunks};
use super::partitions::Partition;
use super::read::{CellReader, Hit};
use super::row::Row;
use super::visible::covers;
use super::{Engine, Writer, duty, latest, trouble};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameKind;
use crate::format::group::GroupBuilder;
use crate::format::plain::Prefix;
use crate::ident::{CustomerId, PartitionId, PartitionNumber};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::policy::{Happened, Policy};
use crate::report::Expiring;
use crate::sync::Arc;
use crate::window::Timestamp;

/// Records that are carried by one commit, unless they are long.
const AT_ONCE: usize = 1024;
/// Bytes of bodies that are.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Carries what must be out of those partitions in `due` that hold states, which are about to die at `now`. Nothing may come
/// into them meanwhile, and housekeeping must be held. Where something cannot be carried that is noted at its partition,
/// which is deferred.
///
/// # Errors
/// What the keyring and a commit answer; then nothing may be let go of.
pub fn carry(engine: &Engine, writer: &Writer, due: &mut [(PartitionNumber, Expiring)], now: Timestamp) -> Result<()> {
    let (policy, now) = (engine.policy(), now.max(engine.now()));
    for dying in due.chunk_by_mut(|a, b| a.1.partition.stream == b.1.partition.stream) {
        let stream = dying[0].1.partition.stream.clone();
        let Some(terms) = policy.terms(&stream).filter(|terms| terms.latest()) else { continue };
        let target = PartitionId { window: terms.window_of(now), stream };
        let numbers = dying.iter().filter(|(_, expiring)| !expiring.deferred).map(|(number, _)| *number);
        let partitions: Vec<_> = numbers.filter_map(|number| engine.partitions.numbered(number)).collect();
        if partitions.is_empty() {
            continue;
        }
        let encoder = engine.encoder(writer, &policy, engine.now());
        let (waiting, damage) = (Vec::new(), BTreeMap::new());
        let mut carrier =
            Carrier { engine, writer, policy: &policy, encoder, dying: partitions, target, now, waiting, damage };
        carrier.all()?;
        for (number, expiring) in dying {
            if let Some(error) = carrier.damage.remove(number) {
                (expiring.damage, expiring.deferred) = (Some(trouble::damage(&error, &engine.root)), true);
            }
        }
    }
    Ok(())
}

/// Carries the states of one stream out of the partitions that are `dying`.
struct Carrier<'a> {
    engine: &'a Engine,
    writer: &'a Writer,
    policy: &'a Policy,
    encoder: Encoder<'a>,
    dying: Vec<Arc<Partition>>,
    target: PartitionId,
    now: Timestamp,
    /// What is written with the next commit.
    waiting: Vec<Carried>,
    /// What could not be read, by the partition it stands in.
    damage: BTreeMap<PartitionNumber, Error>,
}

/// A record that is carried, and its body as it will stand there: of a large one the list of its chunks, which are there.
struct Carried {
    customer: CustomerId,
    hit: Hit,
    body: Bytes,
    large: bool,
}

impl Carrier<'_> {
    fn all(&mut self) -> Result<()> {
        let engine = self.engine;
        engine.keyring.walk_customers(&mut |customer| match customer.state {
            // Of whom nothing may pass any more nothing is carried either: it goes, or is carried once that is done.
            CustomerState::Living if !engine.fences.has_subject(&customer.subject) => self.of(customer),
            _ => Ok(()),
        })?;
        self.write()
    }

    /// Takes up what must be carried of a customer, which is one record or nothing.
    fn of(&mut self, customer: &CustomerEntry) -> Result<()> {
        let engine = self.engine;
        let snapshot = engine.catalog.snapshot();
        let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
        if !self.has_any(customer, &reader)? {
            return Ok(());
        }
        // What it runs from cannot be read: then nothing is over.
        let facts = duty::facts(engine, self.policy, customer);
        let facts = facts.or_else(|error| match trouble::is_damage(&error) {
            true => Ok(duty::reported(&customer.anchors)),
            false => Err(error),
        })?;
        let damage = &mut self.damage;
        let newest =
            latest::newest(engine, &reader, (customer, &facts), &self.target.stream, None, &mut |at, error| {
                note(damage, at, error)
            })?;
        let Some(hit) = newest.filter(|hit| self.is_dying(hit.partition.number)) else { return Ok(()) };
        let terms = self.policy.terms(&self.target.stream);
        let limit = terms.and_then(|terms| terms.limit(Happened::At(hit.event()), &facts));
        if limit.is_some_and(|limit| limit.at <= self.now) {
            return Ok(()); // It goes, by what is known of its customer.
        }
        let partition = hit.partition.number;
        match self.take(customer, hit) {
            Err(error) if trouble::is_damage(&error) || error.kind() == ErrorKind::OutOfSpace => {
                self.writer.committer.check()?;
                self.damage.insert(partition, error);
            }
            taken => taken?,
        }
        let bytes: usize = self.waiting.iter().map(|carried| carried.body.len()).sum();
        match self.waiting.len() >= AT_ONCE || bytes >= BYTES_AT_ONCE {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn is_dying(&self, number: PartitionNumber) -> bool {
        self.dying.iter().any(|partition| partition.number == number) && !self.damage.contains_key(&number)
    }

    /// Whether a customer has anything in partitions that can still go.
    fn has_any(&mut self, customer: &CustomerEntry, reader: &CellReader<'_>) -> Result<bool> {
        let mut row = Row::new(&self.engine.store, customer);
        let mut any = false;
        for partition in self.dying.iter().filter(|partition| covers(customer, partition)) {
            for probe in row.free(partition) {
                match reader.exists(partition.number, &probe.handle) {
                    Ok(exists) => any |= exists,
                    Err(error) => note(&mut self.damage, partition.number, error)?,
                }
            }
        }
        Ok(any)
    }

    /// Makes a record ready to be carried. Of a large body the chunks are written first.
    fn take(&mut self, customer: &CustomerEntry, hit: Hit) -> Result<()> {
        let engine = self.engine;
        self.writer.ballast.require(&*engine.env)?;
        let (body, large) = match Chunks::find(engine, &engine.catalog.snapshot(), customer, &hit)? {
            None => (hit.clone().into_record(&customer.id)?.body, false),
            Some(mut chunks) => {
                let (cell, partition, needs) = self.cell(&customer.id)?;
                let place = (&cell, &*partition, self.now, needs);
                (large::copy(engine, self.writer, &mut chunks, place)?.encode().into(), true)
            }
        };
        self.waiting.push(Carried { customer: customer.id.clone(), hit, body, large });
        Ok(())
    }

    /// Where a customer's record comes to, and the keyring entry that this depends on.
    fn cell(&self, customer: &CustomerId) -> Result<(Cell, Arc<Partition>, u64)> {
        let Encoder { keyring, partitions, fences, cells, now, .. } = &self.encoder;
        let (partition, column) = partitions.use_partition(keyring, &self.target)?;
        let (tag, lapsed) = (keyring.tag_of(customer), fences.lapsed());
        let row = keyring.use_customer((customer, tag), &self.target.stream, &self.target.window, *now, lapsed)?;
        Ok((cells.get(&row.entry, &partition), partition, row.number.max(column)))
    }

    /// Writes what waits, durable on return.
    fn write(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let encoder = &self.encoder;
        let (random, first) = (encoder.random()?, encoder.sequence.take(waiting.len())?);
        let room = waiting.iter().map(|carried| carried.body.len() + 128).sum();
        let (mut group, mut frames, mut needs) = (GroupBuilder::new(1, 0, room), Vec::new(), 0);
        for (Carried { customer, hit, body, large }, sequence) in waiting.iter().zip(first..) {
            let (cell, partition, depends) = self.cell(customer)?;
            needs = needs.max(depends);
            let dictionary = if *large { None } else { encoder.dictionary(&partition) };
            let kind = if hit.amends.is_some() { FrameKind::Amendment } else { FrameKind::Record };
            let (raw_length, since) = (body.len() as u32, Some(hit.event()));
            let prefix = Prefix { at: self.now, raw_length, since, large: *large, ..hit.prefix(true) };
            let place = (&cell, &*partition, dictionary.as_ref());
            frames.push((cell.handle, encoder.frame(&mut group, place, (kind, sequence, random), &prefix, body)?));
        }
        let ticket = self.writer.committer.submit(finish(group, frames.into_iter(), needs, Vec::new())?)?;
        self.writer.committer.wait(ticket, &self.engine.tools(self.writer))
    }
}

/// Notes what is wrong with a partition, if that is damage.
fn note(damage: &mut BTreeMap<PartitionNumber, Error>, partition: PartitionNumber, error: Error) -> Result<()> {
    match trouble::is_damage(&error) {
        true => drop(damage.entry(partition).or_insert(error)),
        false => return Err(error),
    }
    Ok(())
}
