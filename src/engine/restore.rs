//! Going on from older copies: what ledger, journal and segments lack that were put back under a living keyring, and
//! the one fact that says so. It decides nothing about keys: what the keyring has lives, what it has not is dead.

use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::catalog::JournalFile;
use super::dictionaries;
use super::forget::FENCE_DAYS;
use super::partitions::Partitions;
use super::scrub::Scrub;
use super::sweep::files_named;
use crate::crypto::Digest;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::ledger::{Fact, Gap, HeldCells, SegmentFact, State};
use crate::ident::{PartitionNumber, Stream, SubjectNumber};
use crate::ledger::Ledger;
use crate::report::Restored;
use crate::segment::{self, Segment};
use crate::window::{Day, Timestamp};

/// Numbers that were given to files after the copy was made are not known, and must not be given again: so many are
/// passed over. That is 64 TiB of journal.
const LEAP: u64 = 1 << 20;
/// Facts written in one go to make the ledger as long as it was.
const FILL: u64 = 65_536;

/// What a restored store is judged by.
pub struct Scene<'a> {
    /// The world.
    pub env: &'a Arc<dyn Env>,
    /// The store's directory.
    pub root: &'a Path,
    /// What the ledger that was put back adds up to.
    pub state: &'a State,
    /// The partitions that have a key.
    pub partitions: &'a Partitions,
    /// The notes of dead cells.
    pub scrub: &'a Scrub,
    /// The journal files that lie there, settled or not.
    pub journals: &'a [Arc<JournalFile>],
    /// The mark: how long the ledger was known to be, and its head.
    pub mark: (u64, Digest),
    /// Whether the ledger does not reach it, or another head was found there.
    pub missed: bool,
    /// No act of this store is later.
    pub now: Timestamp,
}

/// What a ledger of `leaves` and the files beside it lack, and the facts that account for it; none where nothing is
/// lacking.
///
/// # Errors
/// What the operating system answers; damage in a segment is no error, such a file is passed over.
pub fn account(scene: &Scene<'_>, leaves: u64) -> Result<(Restored, Vec<Fact>)> {
    let state = scene.state;
    let dead = dead(scene);
    let mut restored = Restored { facts_lost: scene.mark.0.saturating_sub(leaves), ..Restored::default() };
    restored.partitions_gone = dead.len() as u64;
    for fact in state.segments.values().filter(|fact| !dead.contains(&fact.partition)) {
        let path = segment::path(scene.root, &fact.id, fact.segment);
        if is_missing(&**scene.env, &path)? {
            restored.missing.push(path);
        }
    }
    let unheard = unheard(scene)?;
    restored.segments_found = unheard.len() as u64;
    let first = scene.journals.iter().map(|file| file.number.saturating_sub(1)).min().unwrap_or(u64::MAX);
    let dictionaries = dictionaries::unheard(&**scene.env, scene.root, (state, scene.partitions))?;
    restored.dictionaries_found = dictionaries.len() as u64;
    for fact in state.dictionaries.values().flatten().filter(|fact| !dead.contains(&fact.partition)) {
        let path = dictionaries::path(scene.root, fact);
        if is_missing(&**scene.env, &path)? {
            restored.missing.push(path);
        }
    }
    let found = unheard.len() + dictionaries.len();
    let whole = !scene.missed && dead.is_empty() && restored.missing.is_empty() && found == 0;
    if whole {
        return Ok((restored, Vec::new()));
    }
    let last_journal = scene.journals.iter().map(|file| file.number).max().unwrap_or(0).max(state.next_journal);
    let last_segment = unheard.last().map_or(0, |fact| fact.segment).max(state.next_segment);
    let given = scene.scrub.acts().last().copied().unwrap_or(0);
    let gap = Gap {
        length: scene.mark.0,
        head: scene.mark.1,
        at: scene.now,
        settled_through: state.settled_through.min(first),
        next_journal: last_journal.saturating_add(LEAP),
        next_segment: last_segment.saturating_add(LEAP),
        acts_given: given.max(state.acts.next() - 1),
        expired_until: expired_until(scene, &dead).into_iter().collect(),
        expired: dead.into_iter().chain(scene.partitions.remnants().iter().map(|left| left.number)).collect(),
        lapsed_fence: scene.now.plus_seconds(-FENCE_DAYS * 86_400),
        held: held(scene),
    };
    let mut facts: Vec<Fact> = dictionaries.into_iter().map(Fact::Dictionary).collect();
    if !unheard.is_empty() {
        let (journals, sources) = (Vec::new(), Vec::new());
        facts.push(Fact::Settled { journals, segments: unheard, sources, known: state.known });
    }
    facts.push(Fact::Gap(gap));
    Ok((restored, facts))
}

/// Makes the ledger as long as it was known to be, so that what is sealed from here on is never taken for older.
///
/// # Errors
/// What the ledger answers; the next opening goes on with it.
pub fn fill(ledger: &mut Ledger, length: u64, now: Timestamp) -> Result<()> {
    while ledger.length() < length {
        let count = (length - ledger.length()).min(FILL) as usize;
        ledger.append(now, &vec![Fact::Watermark; count])?;
    }
    Ok(())
}

/// Whether there is no file at `path`.
///
/// # Errors
/// What the operating system answers otherwise.
pub fn is_missing(env: &dyn Env, path: &Path) -> Result<bool> {
    match env.metadata(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("look for a segment", path, error)),
    }
}

/// The partitions that ledger or journal name and the keyring does not: their keys were destroyed.
fn dead(scene: &Scene<'_>) -> BTreeSet<PartitionNumber> {
    let of_segments = scene.state.segments.keys().map(|(partition, _)| *partition);
    let of_journals = scene.journals.iter().flat_map(|file| file.totals().into_keys());
    let of_holds = scene.state.acts.held.keys().copied();
    let of_dictionaries = scene.state.dictionaries.keys().copied();
    let named: BTreeSet<_> = of_segments.chain(of_journals).chain(of_holds).chain(of_dictionaries).collect();
    named.into_iter().filter(|partition| scene.partitions.numbered(*partition).is_none()).collect()
}

fn expired_until(scene: &Scene<'_>, dead: &BTreeSet<PartitionNumber>) -> BTreeMap<Stream, Day> {
    let mut until = BTreeMap::new();
    let gone = scene.state.segments.values().filter(|fact| dead.contains(&fact.partition));
    let remnants = scene.partitions.remnants();
    for id in gone.map(|fact| &fact.id).chain(remnants.iter().map(|left| &left.id)) {
        let end = id.window.end().day();
        let latest = until.entry(id.stream.clone()).or_insert(end);
        *latest = end.max(*latest);
    }
    until
}

/// The held cells of expired partitions, as the keyring has them.
fn held(scene: &Scene<'_>) -> HeldCells {
    let mut held: BTreeMap<PartitionNumber, BTreeSet<SubjectNumber>> = BTreeMap::new();
    for left in scene.partitions.remnants() {
        held.entry(left.number).or_default().extend(left.held.iter().map(|(_, subject)| *subject));
    }
    held.into_iter().map(|(partition, subjects)| (partition, subjects.into_iter().collect())).collect()
}

/// Segments that lie there and that the ledger, being older, has never heard of: whole ones of living partitions, by
/// number. One with a number below was merged away, as the ledger knows.
fn unheard(scene: &Scene<'_>) -> Result<Vec<SegmentFact>> {
    let mut found: BTreeMap<u64, SegmentFact> = BTreeMap::new();
    for path in files_named(&**scene.env, scene.root, segment::number)? {
        if let Some(fact) = hear(scene, &path)
            && fact.segment >= scene.state.next_segment
        {
            found.insert(fact.segment, fact);
        }
    }
    Ok(found.into_values().collect())
}

fn hear(scene: &Scene<'_>, path: &PathBuf) -> Option<SegmentFact> {
    let segment = Segment::open(&**scene.env, path, None).ok()?;
    let head = segment.head();
    let ours = head.store == scene.state.store && *path == segment::path(scene.root, &head.id, head.number);
    let living = scene.partitions.numbered(head.partition).is_some_and(|entry| entry.id == head.id);
    if !ours || !living || head.number < scene.state.next_segment {
        return None;
    }
    segment::verify(&**scene.env, path, None).ok()?;
    let (first_day, last_day) = segment.span();
    Some(SegmentFact {
        partition: head.partition,
        id: head.id.clone(),
        segment: head.number,
        hash: *segment.hash(),
        bytes: segment.stored_bytes(),
        records: segment.records(),
        chunks: segment.chunks(),
        raw_bytes: segment.raw_bytes(),
        first_day,
        last_day,
    })
}
