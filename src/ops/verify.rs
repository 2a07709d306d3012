//! Verify: every checksum of every file, without keys; with them, every record decrypted and decompressed. It repairs
//! nothing, and damage in one file does not keep it from the others.

use crate::sync::Arc;
use std::path::{Path, PathBuf};

use crate::engine::catalog::Snapshot;
use crate::engine::large::Chunks;
use crate::engine::partitions::Partition;
use crate::engine::read::CellReader;
use crate::engine::row::Row;
use crate::engine::visible::covers;
use crate::engine::{Engine, dictionaries};
use crate::env::{Env, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{DictionaryFact, SegmentFact, State};
use crate::format::position::Position;
use crate::ident::StoreId;
use crate::journal::{self, Cache, Tail};
use crate::keyring;
use crate::ledger::{self, AccessLogs, Ledger};
use crate::ops::audit_proof::access_logs;
use crate::ops::recover::mark;
use crate::report::{Damage, Progress, Verification, VerifyOptions};
use crate::segment;

/// Verifies an open store.
///
/// # Errors
/// Only what keeps the verification itself from going on; damage is in the answer.
pub fn verify(engine: &Engine, options: VerifyOptions, progress: &mut dyn FnMut(Progress)) -> Result<Verification> {
    let began = engine.env.monotonic();
    let (facts, dictionaries) = named(engine.ledger().state());
    let mut pass = Pass::new(&engine.env, &engine.root, options, progress);
    pass.ledger();
    pass.keyring(&engine.keyring_dirs);
    let durable = engine.writer.as_ref().map(|writer| writer.committer.durable());
    let settled_through = engine.ledger().state().settled_through;
    pass.journals(settled_through, durable.unwrap_or_default());
    pass.segments(&facts)?;
    pass.dictionaries(&dictionaries);
    let access = engine.ledger().state().access.clone();
    pass.access_logs(&engine.store, &access)?;
    if options.deep {
        deep(engine, &mut pass)?;
    }
    let mut found = pass.found;
    found.took = engine.env.monotonic().saturating_sub(began);
    Ok(found)
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
    progress: &mut dyn FnMut(Progress),
) -> Result<Verification> {
    let began = env.monotonic();
    let mut pass = Pass::new(env, root, VerifyOptions { deep: false, ..options }, progress);
    match mark(&**env, root) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Corrupt => pass.damaged(error),
        Err(error) => return Err(error),
    }
    pass.ledger();
    pass.keyring(keyring_dirs);
    match Ledger::open(env.clone(), &root.join("ledger"), ledger::Access::Read, None) {
        Ok((ledger, _)) => {
            pass.journals(ledger.state().settled_through, ledger.state().known.journal);
            let (facts, dictionaries) = named(ledger.state());
            pass.segments(&facts)?;
            pass.dictionaries(&dictionaries);
            pass.access_logs(&ledger.state().store, &ledger.state().access)?;
        }
        Err(error) => pass.damaged(error),
    }
    let mut found = pass.found;
    found.took = env.monotonic().saturating_sub(began);
    Ok(found)
}

/// The segments and dictionaries that the ledger names.
fn named(state: &State) -> (Vec<SegmentFact>, Vec<DictionaryFact>) {
    (state.segments.values().cloned().collect(), state.dictionaries.values().flatten().cloned().collect())
}

/// One verification while it runs.
struct Pass<'a> {
    env: &'a Arc<dyn Env>,
    root: &'a Path,
    options: VerifyOptions,
    progress: &'a mut dyn FnMut(Progress),
    found: Verification,
}

impl<'a> Pass<'a> {
    fn new(
        env: &'a Arc<dyn Env>,
        root: &'a Path,
        options: VerifyOptions,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Pass { env, root, options, progress, found: Verification::default() }
    }

    fn damaged(&mut self, error: Error) {
        let path = error.path().unwrap_or(self.root).to_path_buf();
        self.found.damage.push(Damage { path, offset: error.offset(), what: error.without_place() });
    }

    fn ledger(&mut self) {
        match ledger::verify(&**self.env, &self.root.join("ledger"), None) {
            Ok(check) => {
                self.found.files += 1;
                self.found.bytes += check.bytes;
                self.found.ledger_leaves = check.leaves;
            }
            Err(error) => self.damaged(error),
        }
    }

    fn keyring(&mut self, dirs: &[PathBuf]) {
        match keyring::verify(&**self.env, dirs) {
            Ok(check) => {
                self.found.files += check.files;
                self.found.bytes += check.bytes;
                self.found.damage.extend(check.damage);
            }
            Err(error) => self.damaged(error),
        }
    }

    /// The journal files that wait to be settled. A torn tail beyond what is `durable` is no damage.
    fn journals(&mut self, settled_through: u64, durable: Position) {
        let files = match journal::list(&**self.env, &self.root.join("journal")) {
            Ok(files) => files,
            Err(error) => return self.damaged(error),
        };
        let mut scans = Vec::new();
        for (_, path) in files.into_iter().filter(|(number, _)| *number > settled_through) {
            let mut frames = 0;
            let scan = journal::scan(&**self.env, &path, Cache::Keep, &mut |group, _| {
                frames += u64::from(group.head().frames);
                Ok(())
            });
            match scan {
                Ok(scan) => {
                    let torn = if let Tail::Torn { bytes, .. } = scan.tail { bytes } else { 0 };
                    self.found.files += 1;
                    self.found.bytes += scan.valid_length + torn;
                    self.found.frames += frames;
                    scans.push(scan);
                }
                Err(error) => self.damaged(error),
            }
        }
        if let Err(error) = journal::judge(&scans, durable) {
            self.damaged(error);
        }
    }

    /// The segments that the ledger names, or a share of them.
    fn segments(&mut self, facts: &[SegmentFact]) -> Result<()> {
        let mut chosen = Vec::new();
        for fact in facts {
            if self.options.subset >= 1.0 || self.draw()? < self.options.subset {
                chosen.push(fact);
            }
        }
        let total = chosen.iter().map(|fact| fact.bytes).sum();
        let mut done = 0;
        for fact in chosen {
            (self.progress)(Progress { done, total });
            let path = segment::path(self.root, &fact.id, fact.segment);
            match segment::verify(&**self.env, &path, Some(&fact.hash)) {
                Ok(check) => {
                    self.found.files += 1;
                    self.found.bytes += check.bytes;
                    self.found.frames += check.frames;
                }
                Err(error) => self.damaged(error),
            }
            done += fact.bytes;
        }
        (self.progress)(Progress { done, total });
        Ok(())
    }

    /// Every dictionary that the ledger names: without one, none of the records compressed with it can be read.
    fn dictionaries(&mut self, facts: &[DictionaryFact]) {
        for fact in facts {
            match dictionaries::read(&**self.env, &dictionaries::path(self.root, fact), Some(&fact.hash)) {
                Ok(_) => {
                    self.found.files += 1;
                    self.found.bytes += fact.bytes;
                }
                Err(error) => self.damaged(error),
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

    /// A number from 0 to below 1.
    fn draw(&self) -> Result<f64> {
        let bytes = random(&**self.env).map_err(|error| Error::io("draw random bytes", self.root, error))?;
        Ok(f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
    }
}

/// Decrypts and decompresses every record that any living customer's key opens.
fn deep(engine: &Engine, pass: &mut Pass<'_>) -> Result<()> {
    if let Err(error) = engine.keyring.verify_deep() {
        pass.damaged(error);
    }
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let partitions = engine.partitions.all();
    for partition in &partitions {
        for fact in engine.catalog.dictionaries.of(partition.number) {
            // A damaged file has been found before.
            let path = dictionaries::path(&engine.root, &fact);
            let whole = dictionaries::read(&*engine.env, &path, Some(&fact.hash)).is_ok();
            let open = |key| dictionaries::open(&*engine.env, &engine.root, &fact, &key);
            if whole && let Err(error) = dictionaries::key(partition, &fact).and_then(open) {
                pass.damaged(error);
            }
        }
    }
    let mut opened = 0;
    let walk = engine.keyring.walk_customers(&mut |customer| {
        let mut row = Row::new(&engine.store, customer);
        for partition in partitions.iter().filter(|partition| covers(customer, partition)) {
            for probe in row.probes(partition) {
                match cell(engine, &snapshot, &reader, partition, &probe, customer) {
                    Ok(records) => opened += records,
                    Err(error) => pass.damaged(error),
                }
            }
        }
        Ok(())
    });
    if let Err(error) = walk {
        pass.damaged(error);
    }
    pass.found.records = opened;
    pass.found.unreachable = pass.found.frames.saturating_sub(opened);
    Ok(())
}

fn cell(
    engine: &Engine,
    snapshot: &Snapshot,
    reader: &CellReader<'_>,
    partition: &Arc<Partition>,
    probe: &crate::engine::row::Probe,
    customer: &crate::keyring::CustomerEntry,
) -> Result<u64> {
    let mut hits = Vec::new();
    reader.read(partition, probe, &|_| true, &mut hits)?;
    let mut count = hits.len() as u64;
    for hit in hits {
        if let Some(mut chunks) = Chunks::find(engine, snapshot, customer, &hit)? {
            (0..chunks.count()).try_for_each(|index| chunks.read(engine, index).map(drop))?;
            count += chunks.count();
        }
        hit.into_record(&customer.id)?;
    }
    Ok(count)
}
