//! Carrying forward: before a window of states expires, the newest record of each customer that stands in it is appended
//! again into the window of today, with its body, kind and id, and with the time at which it happened kept beside the time of
//! carrying. It is durable before anything else is done, and doing it again carries nothing twice: the copy is the newest
//! then.

use std::collections::BTreeSet;

use super::encode::finish;
use super::large::{CHUNKS_AT_ONCE, Chunks};
use super::pass::{Filled, Pass};
use super::read::{CellReader, Hit};
use super::visible::Range;
use super::{Engine, Writer, duty, latest};
use crate::compress;
use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::format::group::GroupBuilder;
use crate::format::manifest::Manifest;
use crate::format::plain::Prefix;
use crate::ident::{CustomerId, PartitionId, PartitionNumber, Stream};
use crate::keyring::CustomerState;
use crate::policy::{Happened, Policy};
use crate::window::Timestamp;

/// Carries what must be out of partitions that are about to die at `now`. Housekeeping must be held. Returns how many
/// records that were.
///
/// # Errors
/// What reading, the keyring and a commit answer; then nothing may be let go of.
pub fn carry(engine: &Engine, writer: &Writer, dying: &[(PartitionNumber, Stream)], now: Timestamp) -> Result<u64> {
    let policy = engine.policy();
    let streams: BTreeSet<&Stream> = dying.iter().map(|(_, stream)| stream).collect();
    let mut carried = 0;
    for stream in streams.into_iter().filter(|stream| latest::is_state(&policy, stream)) {
        let numbers = dying.iter().filter(|(_, one)| one == stream).map(|(number, _)| *number).collect();
        carried += carry_stream(engine, writer, &policy, (stream, &numbers), now.max(engine.now()))?;
    }
    Ok(carried)
}

fn carry_stream(
    engine: &Engine,
    writer: &Writer,
    policy: &Policy,
    (stream, dying): (&Stream, &BTreeSet<PartitionNumber>),
    now: Timestamp,
) -> Result<u64> {
    let Some(terms) = policy.terms(stream) else { return Ok(0) };
    let target = PartitionId { stream: stream.clone(), window: terms.window_of(now) };
    let pass = Pass::new(engine, Some(stream), Range::new(..), 1).only(dying);
    let mut carried = 0;
    for number in 0..pass.batches() {
        let drawers = (0..pass.parts()).map(|part| pass.derive(engine, number, part)).collect::<Result<_>>()?;
        let batch = pass.batch(engine, drawers);
        let reader = CellReader::new(&engine.catalog, &pass.snapshot, engine.store);
        for mut unit in (0..pass.units()).map(|unit| pass.unit(&batch, unit)) {
            while let Some(filled) = pass.next(engine, &reader, (number, &batch), &mut unit)? {
                carried += carry_all(engine, writer, policy, filled, (&target, now))?;
            }
        }
    }
    Ok(carried)
}

/// Carries what there is of a customer, which is one record.
fn carry_all(
    engine: &Engine,
    writer: &Writer,
    policy: &Policy,
    filled: Filled,
    (target, now): (&PartitionId, Timestamp),
) -> Result<u64> {
    let mut carried = 0;
    let Some(terms) = policy.terms(&target.stream) else { return Ok(0) };
    for hit in filled.hits {
        let Some(found) = engine.keyring.customer(&filled.customer)? else { continue };
        let limit = terms.limit(Happened::At(hit.event()), &duty::facts(engine, policy, &found.entry)?);
        let over = limit.is_some_and(|limit| limit.at <= now);
        if over || found.entry.state != CustomerState::Living {
            continue; // It goes, by what is known of its customer.
        }
        one(engine, writer, policy, &filled.customer, (&hit, target), now)?;
        carried += 1;
    }
    Ok(carried)
}

/// Writes one record again, durable on return.
fn one(
    engine: &Engine,
    writer: &Writer,
    policy: &Policy,
    customer: &CustomerId,
    (hit, target): (&Hit, &PartitionId),
    now: Timestamp,
) -> Result<()> {
    writer.ballast.require(&*engine.env)?;
    let encoder = engine.encoder(writer, policy, engine.now());
    let before = engine.keyring.customer(customer)?;
    let (partition, column) = encoder.partitions.use_partition(encoder.keyring, target)?;
    let (tag, lapsed) = (encoder.keyring.tag_of(customer), encoder.fences.lapsed());
    let row = encoder.keyring.use_customer((customer, tag), &target.stream, &target.window, encoder.now, lapsed)?;
    let (cell, needs) = (encoder.cells.get(&row.entry, &partition), row.number.max(column));
    let wait = |pending| {
        let ticket = writer.committer.submit(pending)?;
        writer.committer.wait(ticket, &engine.tools(writer))
    };
    // The body as it is to stand there: of a large one the chunks are written before, under the same cell.
    let (body, large) = match before.map(|before| Chunks::find(engine, &engine.catalog.snapshot(), &before.entry, hit))
    {
        Some(chunks) => match chunks? {
            None => (hit.clone().into_record(customer)?.body, false),
            Some(mut chunks) => {
                let mut manifest = Manifest { length: chunks.length(), parts: Vec::new() };
                let mut index = 0;
                while index < chunks.count() {
                    let end = chunks.count().min(index + CHUNKS_AT_ONCE as u64);
                    let stored: Vec<_> =
                        (index..end).map(|index| chunks.stored(engine, index)).collect::<Result<_>>()?;
                    let (pending, first) = encoder.pack(&cell, &partition, now, needs, &stored)?;
                    wait(pending)?;
                    manifest.push(first, stored.len() as u32);
                    index = end;
                }
                (manifest.encode().into(), true)
            }
        },
        None => return Ok(()),
    };
    let named = if large { None } else { encoder.dictionary(&partition) };
    let (number, dictionary) = named.as_ref().map_or((0, None), |(number, dictionary)| (*number, Some(&**dictionary)));
    let kind = if hit.amends.is_some() { FrameKind::Amendment } else { FrameKind::Record };
    let head = encoder.head(kind, encoder.sequence.take(1)?, encoder.random()?, &cell, number);
    let context = encoder.opening.context(partition.number);
    let (raw_length, since) = (body.len() as u32, Some(hit.event()));
    let prefix = Prefix { at: now, raw_length, since, compressed: false, large, ..hit.prefix(true) };
    let mut group = GroupBuilder::new(1, 0, body.len() + 256);
    let place = group.push(&context, &cell.sealer, &head, now, if large { 0 } else { raw_length }, |out| {
        prefix.encode_with(out, |out| match large {
            true => {
                out.extend_from_slice(&body);
                false
            }
            false => compress::store_into(&body, dictionary, out),
        });
    })?;
    wait(finish(group, std::iter::once((cell.handle, place)), needs, Vec::new())?)
}
