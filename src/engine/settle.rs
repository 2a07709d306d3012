//! Settling: the frames of a finished journal file become one segment per partition, sorted by handle, copied without
//! being opened. One ledger fact makes the segments visible and the journal file invisible.
//!
//! Repeatable: until the fact is durable the segments are strangers that the next opening sweeps away.

use crate::sync::atomic::Ordering;
use crate::sync::{Arc, Mutex};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::catalog::{JournalFile, SegmentSlot, Totals};
use super::merge::{fact, share};
use super::{Engine, partition_name, tasks};
use crate::env::{self, File, Map, OpenMode};
use crate::error::{Error, Result};
use crate::format::frame::{FrameKey, FrameView};
use crate::format::group::GroupView;
use crate::format::ledger::{Fact, SegmentFact};
use crate::format::position::{Known, Position};
use crate::format::segment::SegmentHead;
use crate::ident::PartitionNumber;
use crate::journal;
use crate::report::Maintenance;
use crate::segment::{self, SegmentWriter, Written};

/// Segments that are synced together: each is an open file.
const AT_ONCE: usize = 64;
/// Segments that are written at the same time where the store has threads of its own: while one waits for the disk, the
/// other is copied and hashed, and whoever waits for all to be settled waits less.
const SIDE_BY_SIDE: usize = 2;
/// Frames of a partition that are no longer than this in all are read in runs, and others one by one: segments have another
/// order, and a call of the system for each frame takes as long as its share of all else. Tests settle both ways.
const BUFFERED: usize = if cfg!(test) { 2 << 10 } else { 3 << 20 };
/// So much of a file is looked at under one map.
const MAPPED: u64 = 8 << 20;
/// A journal file that is full, and whose first group is younger than this, is of somebody who loads in bulk.
const BULK: Duration = Duration::from_secs(10);

/// Settles one journal file of which nothing more will be written. Its groups beyond `end` bytes are ignored, and so
/// are frames that nobody can read any more: those of expired partitions, but for held cells, and of dead cells.
///
/// # Errors
/// Damage in the file; what the operating system answers. Nothing has changed then.
pub fn settle(engine: &Engine, file: &Arc<JournalFile>, done: &mut Maintenance) -> Result<()> {
    let end = file.end();
    let source = Source { file, is_bulk: is_bulk(engine, file), totals: file.totals() };
    let runs: Vec<(PartitionNumber, Mutex<Vec<Placed>>)> =
        collect(engine, &source, end)?.into_iter().map(|(partition, frames)| (partition, Mutex::new(frames))).collect();
    // A map would stay in memory whole, or be faulted in anew for each partition.
    let reader = engine.env.open(&file.path, OpenMode::Read);
    let reader = reader.map_err(|error| Error::io("open a journal file", &file.path, error))?;
    let threads = if engine.writer()?.has_worker { SIDE_BY_SIDE } else { 1 };
    let mut facts = Vec::with_capacity(runs.len());
    for runs in runs.chunks(AT_ONCE) {
        let written = tasks::shared(threads, runs.len(), &|| Vec::with_capacity(BUFFERED), &|buffer, number| {
            let (partition, frames) = &runs[number];
            let frames = std::mem::take(&mut *frames.lock().expect("no holder of this lock panics"));
            write_segment(engine, &source, (&*reader, buffer), *partition, frames)
        })?;
        let (segments, facts_of_these): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        segment::publish(segments)?;
        facts.extend(facts_of_these);
    }
    done.segments_written += facts.len() as u64;
    done.bytes_written += facts.iter().map(|fact: &SegmentFact| fact.bytes).sum::<u64>();
    publish(engine, file, end, facts)?;
    done.journals_settled += 1;
    engine.env.remove_file(&file.path).map_err(|error| Error::io("remove a settled journal file", &file.path, error))
}

/// What is known of a journal file beside its frames.
struct Source<'a> {
    file: &'a JournalFile,
    is_bulk: bool,
    totals: BTreeMap<PartitionNumber, Totals>,
}

/// Whether the file was filled so fast that nobody will read soon what is in it, but for little: then segments are not to
/// take the page cache from others, nor the time of copying them there.
fn is_bulk(engine: &Engine, file: &JournalFile) -> bool {
    let age = file.begun.map(|begun| engine.env.monotonic().saturating_sub(begun));
    file.is_full() && age.is_some_and(|age| age < BULK)
}

/// Where a frame of a journal file is, by what segments are sorted by, and where in a buffer, where it was read into one. Of
/// short records a file holds hundreds of thousands.
struct Placed {
    key: FrameKey,
    offset: u64,
    length: u32,
    buffered: u32,
}

/// Reads `frames`, which come in the order of the file, into `buffer`: those that stand one behind the other at once, as
/// all of a group's that are of one partition do. Nothing where they are longer than [`BUFFERED`].
fn buffer_all(reader: &dyn File, frames: &mut [Placed], buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    let total: usize = frames.iter().map(|frame| frame.length as usize).sum();
    if total > BUFFERED {
        return Ok(false);
    }
    buffer.resize(total, 0);
    let mut at = 0;
    for run in frames.chunk_by_mut(|one, next| one.offset + u64::from(one.length) == next.offset) {
        let (start, offset) = (at, run[0].offset);
        for frame in run {
            frame.buffered = at as u32;
            at += frame.length as usize;
        }
        env::read_exact_at(reader, &mut buffer[start..at], offset)?;
    }
    Ok(true)
}

/// What a file holds. Mapped for a while and then anew: what of a map has been looked at counts as memory until it goes.
fn mapped(engine: &Engine, file: &JournalFile) -> Result<Box<dyn Map>> {
    engine.env.map(&file.path).map_err(|error| Error::io("map a journal file", &file.path, error))
}

/// Writes one partition's frames as a segment.
fn write_segment(
    engine: &Engine,
    source: &Source<'_>,
    (reader, buffer): (&dyn File, &mut Vec<u8>),
    partition: PartitionNumber,
    mut frames: Vec<Placed>,
) -> Result<(Written, SegmentFact)> {
    let unread = |error| Error::io("read a journal file", &source.file.path, error);
    let is_buffered = buffer_all(reader, &mut frames, buffer).map_err(unread)?;
    frames.sort_unstable_by_key(|frame| frame.key);
    frames.dedup_by_key(|frame| (frame.key.opening, frame.key.sequence));
    let id = partition_name(engine, partition)?;
    let number = engine.writer()?.next_segment.fetch_add(1, Ordering::Relaxed);
    let path = segment::path(&engine.root, &id, number);
    let salts = vec![(source.file.opening, source.file.salt)];
    let head = SegmentHead { store: engine.store, partition, id: id.clone(), number, salts };
    let env = engine.env.clone();
    let mut writer = match source.is_bulk {
        true => SegmentWriter::create_direct(env, &path, head),
        false => SegmentWriter::create(env, &path, head),
    }?;
    for Placed { offset, length, buffered, .. } in &frames {
        let from = if is_buffered { *buffered as usize } else { 0 };
        if !is_buffered {
            buffer.resize(*length as usize, 0);
            env::read_exact_at(reader, buffer, *offset).map_err(unread)?;
        }
        let frame = FrameView::again(&buffer[from..from + *length as usize]);
        writer.push(&frame.map_err(|malformed| Error::corrupt(&source.file.path, *offset, malformed.0))?)?;
    }
    let totals = source.totals.get(&partition).copied().unwrap_or_default();
    let span = totals.span.ok_or_else(|| cut_short(source.file, source.file.end()))?;
    let raw_bytes = share(totals.raw_bytes, frames.len() as u64, totals.records);
    let written = writer.write(raw_bytes, span)?;
    let fact = fact(partition, id, number, &written.summary, raw_bytes);
    Ok((written, fact))
}

fn cut_short(file: &JournalFile, offset: u64) -> Error {
    Error::corrupt(&file.path, offset, "the journal file is shorter than its index")
        .hint("open the store again; it reads the journal anew")
}

/// The frames of a file by partition, every checksum checked.
fn collect(engine: &Engine, source: &Source<'_>, end: u64) -> Result<BTreeMap<PartitionNumber, Vec<Placed>>> {
    let mut runs: BTreeMap<PartitionNumber, Vec<Placed>> = BTreeMap::new();
    // An expired partition with held cells keeps those; before its key is gone, all.
    let held: HashSet<PartitionNumber> = engine.ledger().state().acts.held.keys().copied().collect();
    let lives = |partition: PartitionNumber| {
        !engine.fences.has_partition(partition)
            || held.contains(&partition) && engine.partitions.numbered(partition).is_some()
    };
    let mut take = |group: GroupView<'_>| {
        let start = group.head().offset;
        for run in group.runs().filter(|run| lives(run.head.partition)) {
            let frames = runs.entry(run.head.partition).or_insert_with(|| {
                let expected = source.totals.get(&run.head.partition).map_or(0, |totals| totals.records);
                Vec::with_capacity(expected as usize)
            });
            let placed = |(at, frame): (u64, FrameView<'_>)| Placed {
                key: frame.key(),
                offset: start + at,
                length: frame.length() as u32,
                buffered: 0,
            };
            frames.extend(run.frames().map(placed));
        }
    };
    let mut offset = 0;
    while offset < end {
        let bytes = mapped(engine, source.file)?;
        offset = journal::groups(&source.file.path, &bytes, offset..end.min(offset + MAPPED), &mut take)?;
    }
    for (partition, frames) in &mut runs {
        let known = engine.partitions.numbered(*partition);
        if let Some(known) = known.filter(|known| known.remnant.is_some()) {
            frames.retain(|frame| known.keeps(&frame.key.handle));
        }
        if engine.scrub.has_partition(*partition) {
            frames.retain(|frame| !engine.scrub.is_dead(*partition, &frame.key.handle));
        }
    }
    runs.retain(|_, frames| !frames.is_empty());
    Ok(runs)
}

/// Writes the fact, then changes what is visible.
fn publish(engine: &Engine, file: &Arc<JournalFile>, end: u64, facts: Vec<SegmentFact>) -> Result<()> {
    let fact = Fact::Settled {
        journals: vec![(file.number, end)],
        segments: facts.clone(),
        sources: file.sources().into_iter().collect(),
        known: Known { journal: Position { file: file.number, offset: end }, entry: engine.keyring.durable() },
    };
    engine.record(&[fact])?;
    let slots: Vec<Arc<SegmentSlot>> = facts.into_iter().map(|fact| engine.catalog.slot(fact)).collect();
    engine.catalog.change(|view| {
        view.journals.retain(|journal| journal.number != file.number);
        for slot in slots {
            view.segments.entry(slot.fact.partition).or_default().push(slot);
        }
    });
    engine.catalog.depart(file);
    Ok(())
}
