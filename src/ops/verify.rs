//! Verify: every checksum of every file, without keys; with them, every record decrypted and decompressed. It repairs
//! nothing, and damage in one file does not keep it from the others.
//!
//! The store may be at work meanwhile. What is looked at is what existed, and was durable, at one moment: a snapshot keeps
//! it from being unlinked, and what a journal, the keyring's log or the ledger gets after that moment is left alone. In a
//! read-only opening the writer is another process that knows of no snapshot; there a file that is missing counts as
//! damage only if the ledger still names it.

mod deep;

use crate::sync::{Arc, Mutex};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use self::deep::Deep;
use crate::engine::catalog::{JournalFile, Snapshot};
use crate::engine::{Engine, dictionaries, tasks};
use crate::env::{Env, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::frame::FrameKind;
use crate::format::group::GroupView;
use crate::format::ledger::{DictionaryFact, SegmentFact, State};
use crate::format::position::Position;
use crate::ident::{PartitionNumber, StoreId};
use crate::journal::{self, Cache, Follower, Tail};
use crate::keyring::{self, KeyringCheck};
use crate::ledger::{self, AccessLogs, Ledger};
use crate::ops::audit_proof::access_logs;
use crate::ops::recover::mark;
use crate::ops::refresh;
use crate::report::{Damage, Progress, Verification, VerifyOptions};
use crate::segment;

/// Who is told how far a verification has come, one call at a time.
pub type Watcher<'a> = dyn FnMut(Progress) + Send + 'a;

/// Verifies an open store, on so many threads.
///
/// # Errors
/// Only what keeps the verification itself from going on; damage is in the answer.
pub fn verify(
    engine: &Engine,
    options: VerifyOptions,
    threads: usize,
    progress: &mut Watcher<'_>,
) -> Result<Verification> {
    let began = engine.env.monotonic();
    let since = engine.fences.parted();
    let snapshot = engine.catalog.snapshot();
    let mut pass = Pass::new(&engine.env, &engine.root, options, threads, progress);
    pass.ledger_of(engine);
    pass.keyring_of(engine);
    pass.journals_of(engine, &snapshot);
    let only = pass.segments_of(engine, &snapshot)?;
    pass.dictionaries_of(engine);
    let access = engine.ledger().state().access.clone();
    pass.access_logs(&engine.store, &access)?;
    if options.deep {
        pass.deep(&Deep { engine, snapshot: &snapshot, only, since });
    }
    Ok(pass.end(began))
}

/// Verifies a store that nobody opens: no key, no lock, no custodian.
///
/// # Errors
/// [`ErrorKind::NotFound`] and [`ErrorKind::Unsupported`] where there is no store to verify; otherwise damage is in the
/// answer.
pub fn verify_keyless(
    env: &Arc<dyn Env>,
    root: &Path,
    keyring_dirs: &[PathBuf],
    options: VerifyOptions,
    progress: &mut Watcher<'_>,
) -> Result<Verification> {
    let began = env.monotonic();
    let mut pass = Pass::new(env, root, VerifyOptions { deep: false, ..options }, 1, progress);
    match mark(&**env, root) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Corrupt => pass.damaged(error),
        Err(error) => return Err(error),
    }
    let check = ledger::verify(&**env, &root.join("ledger"), None, None);
    pass.ledger(check);
    let check = keyring::verify(&**env, keyring_dirs);
    pass.keyring(check);
    match Ledger::open(env.clone(), &root.join("ledger"), ledger::Access::Read, None) {
        Ok((ledger, _)) => {
            pass.journals(ledger.state().settled_through, ledger.state().known.journal);
            let (facts, dictionaries) = named(ledger.state());
            let chosen = pass.choose(facts)?;
            pass.segments(&chosen, &|_| true);
            pass.dictionaries(&dictionaries, &|_| true);
            pass.access_logs(&ledger.state().store, &ledger.state().access)?;
        }
        Err(error) => pass.damaged(error),
    }
    Ok(pass.end(began))
}

/// The segments and dictionaries that the ledger names.
fn named(state: &State) -> (Vec<SegmentFact>, Vec<DictionaryFact>) {
    (state.segments.values().cloned().collect(), state.dictionaries.values().flatten().cloned().collect())
}

/// What is wrong, as it is reported.
fn damage(root: &Path, error: &Error) -> Damage {
    let path = error.path().unwrap_or(root).to_path_buf();
    Damage { path, offset: error.offset(), what: error.without_place() }
}

/// One verification while it runs.
struct Pass<'a, 'w> {
    env: &'a Arc<dyn Env>,
    root: &'a Path,
    options: VerifyOptions,
    threads: usize,
    progress: Mutex<&'a mut Watcher<'w>>,
    found: Verification,
    /// Frames that are chunks of large bodies.
    chunks: u64,
}

impl<'a, 'w> Pass<'a, 'w> {
    fn new(
        env: &'a Arc<dyn Env>,
        root: &'a Path,
        options: VerifyOptions,
        threads: usize,
        progress: &'a mut Watcher<'w>,
    ) -> Self {
        let (progress, found) = (Mutex::new(progress), Verification::default());
        Pass { env, root, options, threads, progress, found, chunks: 0 }
    }

    fn end(mut self, began: std::time::Duration) -> Verification {
        self.found.took = self.env.monotonic().saturating_sub(began);
        self.found
    }

    fn damaged(&mut self, error: Error) {
        self.found.damage.push(damage(self.root, &error));
    }

    /// The ledger up to where this opening has written or followed it.
    fn ledger_of(&mut self, engine: &Engine) {
        let (expect, end) = {
            let ledger = engine.ledger();
            ((ledger.length(), ledger.head()), ledger.end())
        };
        let check = ledger::verify(&**self.env, &self.root.join("ledger"), Some(expect), Some(end));
        self.ledger(check);
    }

    fn ledger(&mut self, check: Result<ledger::LedgerCheck>) {
        match check {
            Ok(check) => {
                self.found.files += 1;
                self.found.bytes += check.bytes;
                self.found.ledger_leaves = check.leaves;
            }
            Err(error) => self.damaged(error),
        }
    }

    /// The keyring: where nobody writes, every byte of it.
    fn keyring_of(&mut self, engine: &Engine) {
        if !is_written(engine) {
            let check = keyring::verify(&**self.env, &engine.keyring_dirs);
            if check.as_ref().is_ok_and(|check| check.damage.is_empty()) || !is_written(engine) {
                return self.keyring(check);
            }
        }
        self.keyring(Ok(engine.keyring.verify_files()));
    }

    fn keyring(&mut self, check: Result<KeyringCheck>) {
        match check {
            Ok(check) => {
                self.found.files += check.files;
                self.found.bytes += check.bytes;
                self.found.damage.extend(check.damage);
            }
            Err(error) => self.damaged(error),
        }
    }

    /// The journal files of a snapshot as far as it reaches. Where nobody writes, all that wait to be settled and all of
    /// them, so that a torn tail is told from damage.
    fn journals_of(&mut self, engine: &Engine, snapshot: &Snapshot) {
        if !is_written(engine) {
            let (settled_through, known) = {
                let ledger = engine.ledger();
                (ledger.state().settled_through, ledger.state().known.journal)
            };
            let before = (self.found.clone(), self.chunks);
            self.journals(settled_through, known);
            if self.found.damage.len() == before.0.damage.len() || !is_written(engine) {
                return;
            }
            // Somebody began to write meanwhile.
            (self.found, self.chunks) = before;
        }
        for journal in &snapshot.view.journals {
            let end = snapshot.limit(journal).min(journal.end());
            let follower = match Follower::open(&**self.env, &journal.path) {
                // Settled and unlinked; what it held is still to be read.
                Err(error) if error.kind() == ErrorKind::NotFound && is_settled(engine, journal) => {
                    Follower::over(journal.file.clone(), &journal.path)
                }
                opened => opened,
            };
            if let Err(error) = follower.and_then(|follower| self.journal(follower, end)) {
                self.damaged(error);
            }
        }
    }

    fn journal(&mut self, mut follower: Follower, end: u64) -> Result<()> {
        let (mut frames, mut chunks) = (0, 0);
        follower.advance_to(end, &mut |group, _| {
            count(&group, &mut frames, &mut chunks);
            Ok(())
        })?;
        self.found.files += 1;
        self.found.bytes += end;
        self.found.frames += frames;
        self.chunks += chunks;
        Ok(())
    }

    /// The journal files that wait to be settled. A torn tail beyond what is `durable` is no damage.
    fn journals(&mut self, settled_through: u64, durable: Position) {
        let files = match journal::list(&**self.env, &self.root.join("journal")) {
            Ok(files) => files,
            Err(error) => return self.damaged(error),
        };
        let mut scans = Vec::new();
        for (_, path) in files.into_iter().filter(|(number, _)| *number > settled_through) {
            let (mut frames, mut chunks) = (0, 0);
            let scan = journal::scan(&**self.env, &path, Cache::Keep, &mut |group, _| {
                count(&group, &mut frames, &mut chunks);
                Ok(())
            });
            match scan {
                Ok(scan) => {
                    let torn = if let Tail::Torn { bytes, .. } = scan.tail { bytes } else { 0 };
                    self.found.files += 1;
                    self.found.bytes += scan.valid_length + torn;
                    self.found.frames += frames;
                    self.chunks += chunks;
                    scans.push(scan);
                }
                Err(error) => self.damaged(error),
            }
        }
        if let Err(error) = journal::judge(&scans, durable) {
            self.damaged(error);
        }
    }

    /// The share of the segments that is to be checked, drawn anew.
    fn choose(&self, mut facts: Vec<SegmentFact>) -> Result<Vec<SegmentFact>> {
        if self.options.subset < 1.0 {
            let mut chosen = Vec::new();
            for fact in facts {
                if self.draw()? < self.options.subset {
                    chosen.push(fact);
                }
            }
            facts = chosen;
        }
        Ok(facts)
    }

    /// The segments of a snapshot, or a share of them: their numbers are returned then. What another process has merged away
    /// since is looked for where it is now.
    fn segments_of(&mut self, engine: &Engine, snapshot: &Snapshot) -> Result<Option<HashSet<u64>>> {
        let facts = |snapshot: &Snapshot| -> Vec<SegmentFact> {
            snapshot.view.segments.values().flatten().map(|slot| slot.fact.clone()).collect()
        };
        let number = |fact: &SegmentFact| fact.segment;
        let chosen = self.choose(facts(snapshot))?;
        let mut known: HashSet<u64> = facts(snapshot).iter().map(number).collect();
        let only = (self.options.subset < 1.0).then(|| chosen.iter().map(number).collect());
        let mut ahead = chosen;
        while !ahead.is_empty() {
            let moved = self.segments(&ahead, &|error| !refresh::has_moved(engine, error).unwrap_or(false));
            ahead = facts(&engine.catalog.snapshot());
            ahead.retain(|fact| moved.contains(&fact.partition) && known.insert(fact.segment));
        }
        Ok(only)
    }

    /// Segments. Returns the partitions of those that are not there, where that `is_damage` says it is none.
    fn segments(
        &mut self,
        chosen: &[SegmentFact],
        is_damage: &(dyn Fn(&Error) -> bool + Sync),
    ) -> HashSet<PartitionNumber> {
        let total = chosen.iter().map(|fact| fact.bytes).sum();
        let done = Mutex::new(0);
        let tell = |bytes: u64| {
            let mut done = done.lock().expect("no holder of this lock panics");
            *done += bytes;
            self.progress.lock().expect("no holder of this lock panics")(Progress { done: *done, total });
        };
        tell(0);
        let checks = tasks::each(self.threads, chosen.len(), &|index| {
            let fact = &chosen[index];
            let path = segment::path(self.root, &fact.id, fact.segment);
            let check = segment::verify(&**self.env, &path, Some(&fact.hash));
            tell(fact.bytes);
            check.map_err(|error| (is_damage(&error), error))
        });
        let mut moved = HashSet::new();
        for (fact, check) in chosen.iter().zip(checks) {
            match check {
                Ok(check) => {
                    self.found.files += 1;
                    self.found.bytes += check.bytes;
                    self.found.frames += check.frames;
                    self.chunks += fact.chunks;
                }
                Err((true, error)) => self.damaged(error),
                Err((false, _)) => drop(moved.insert(fact.partition)),
            }
        }
        moved
    }

    /// Every dictionary that the ledger names by now.
    fn dictionaries_of(&mut self, engine: &Engine) {
        let (_, facts) = named(engine.ledger().state());
        // Let go of since, with its partition.
        let is_damage = |fact: &DictionaryFact| {
            let _ = refresh::refresh(engine);
            named(engine.ledger().state()).1.contains(fact)
        };
        self.dictionaries(&facts, &is_damage);
        if self.options.deep {
            for fact in &facts {
                let path = dictionaries::path(self.root, fact);
                let Some(partition) = engine.partitions.numbered(fact.partition) else { continue };
                if self.found.damage.iter().any(|damage| damage.path == path) {
                    continue;
                }
                let open = |key| dictionaries::open(&**self.env, self.root, fact, &key);
                if let Err(error) = dictionaries::key(&partition, fact).and_then(open)
                    && is_damage(fact)
                {
                    self.damaged(error);
                }
            }
        }
    }

    /// Dictionaries: without one, none of the records compressed with it can be read.
    fn dictionaries(&mut self, facts: &[DictionaryFact], is_damage: &dyn Fn(&DictionaryFact) -> bool) {
        for fact in facts {
            match dictionaries::read(&**self.env, &dictionaries::path(self.root, fact), Some(&fact.hash)) {
                Ok(_) => {
                    self.found.files += 1;
                    self.found.bytes += fact.bytes;
                }
                Err(error) if is_damage(fact) => self.damaged(error),
                Err(_) => {}
            }
        }
    }

    /// Every access log, and whether it continues what the ledger noted of it.
    fn access_logs(&mut self, store: &StoreId, logs: &AccessLogs) -> Result<()> {
        let audit = access_logs(&**self.env, self.root, store, logs)?;
        self.found.files += audit.access_logs;
        self.found.damage.extend(audit.damage);
        Ok(())
    }

    /// Decrypts and decompresses every record that any living customer's key opens.
    fn deep(&mut self, deep: &Deep<'_>) {
        if let Err(error) = deep.engine.keyring.verify_deep() {
            self.damaged(error);
        }
        let opened = deep.run(self.threads);
        let known: BTreeSet<Damage> = self.found.damage.iter().cloned().collect();
        self.found.damage.extend(opened.damage.into_iter().filter(|damage| !known.contains(damage)));
        self.found.records = opened.records;
        let (frames, chunks) = match deep.only {
            None => (self.found.frames, opened.chunks),
            Some(_) => (self.found.frames.saturating_sub(self.chunks), 0),
        };
        self.found.unreachable = frames.saturating_sub(opened.records + opened.others + chunks);
    }

    /// A number from 0 to below 1.
    fn draw(&self) -> Result<f64> {
        let bytes = random(&**self.env).map_err(|error| Error::io("draw random bytes", self.root, error))?;
        Ok(f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
    }
}

/// Whether somebody writes to the store: this opening, or another process.
fn is_written(engine: &Engine) -> bool {
    engine.writer.is_some() || refresh::writer_lives(&*engine.env, &engine.root)
}

/// Whether a journal file has been settled by now, so that it may be gone.
fn is_settled(engine: &Engine, journal: &JournalFile) -> bool {
    let _ = refresh::refresh(engine); // Where that fails, the ledger is as it was.
    engine.ledger().state().settled_through >= journal.number
}

/// Adds the frames of a group, and those of them that are chunks.
fn count(group: &GroupView<'_>, frames: &mut u64, chunks: &mut u64) {
    *frames += u64::from(group.head().frames);
    let is_chunk = |frame: &crate::format::frame::FrameView<'_>| frame.head().kind == FrameKind::Chunk;
    *chunks += group.runs().map(|run| run.frames().filter(|(_, frame)| is_chunk(frame)).count() as u64).sum::<u64>();
}
