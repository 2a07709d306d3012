//! Reading beside a writer: open without its lock, and follow it before every call.
//!
//! A reader replays the ledger's new facts, takes in the keyring's new entries (or its new root), and reads the journal
//! up to the position that the writer published; where no writer lives, up to the end of the valid prefix. It never
//! writes anything.

use crate::sync::atomic::{AtomicBool, AtomicI64};
use crate::sync::{Arc, Mutex, RwLock};
use std::path::PathBuf;

use crate::engine::catalog::{Catalog, JournalFile, SegmentSlot};
use crate::engine::fence::{Fences, follow_acts};
use crate::engine::partitions::Partitions;
use crate::engine::schedule::Schedule;
use crate::engine::scrub::Scrub;
use crate::engine::time::TrustedTime;
use crate::engine::{Engine, access, dictionaries, hint, lease, replay};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::group::GroupView;
use crate::format::ledger::DictionaryFact;
use crate::format::position::Position;
use crate::journal::{self, Follower};
use crate::keyring::{Access, Custodian, Floor, Keyring, KeyringOptions};
use crate::ledger::{self, Ledger};
use crate::ops::create::LOCK;
use crate::ops::recover::{mark, registration};
use crate::policy::Policy;

/// How often an opening is tried again when the writer changes files under it.
const TRIES: usize = 5;

/// Opens the store for reading only.
///
/// # Errors
/// As for writing, but for the lock, which it does not take.
pub fn open(
    env: &Arc<dyn Env>,
    root: PathBuf,
    keyring: KeyringOptions,
    custodian: Arc<dyn Custodian>,
) -> Result<Engine> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_open(env, root.clone(), keyring.clone(), custodian.clone()) {
            Err(error) if tries < TRIES && may_pass(&error) && writer_lives(&**env, &root) => {}
            outcome => return outcome,
        }
    }
}

/// Whether an error may come from reading a file while the writer replaces it.
fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::KeyUnavailable)
}

fn try_open(
    env: &Arc<dyn Env>,
    root: PathBuf,
    options: KeyringOptions,
    custodian: Arc<dyn Custodian>,
) -> Result<Engine> {
    let store = mark(&**env, &root)?.store;
    let registration = registration(&*custodian, store)?;
    let expect = (registration.ledger_length > 0).then_some((registration.ledger_length, registration.ledger_head));
    let (ledger, _) = Ledger::open(env.clone(), &root.join("ledger"), ledger::Access::Read, expect)?;
    let dirs = options.dirs.clone();
    let floor = Floor { entry: ledger.state().known.entry };
    let watermark = ledger.state().watermark;
    let (keyring, _) = Keyring::open(env.clone(), options, custodian, &store, Access::Read, floor)?;
    let engine = Engine {
        env: env.clone(),
        catalog: Catalog::new(env.clone(), &root, store),
        access: access::Access::new(env, &root, store),
        root,
        store,
        keyring_dirs: dirs,
        partitions: Partitions::load(&keyring)?,
        policy: RwLock::new(Arc::new(Policy::parse(&ledger.state().policy.1)?)),
        writer: None,
        keyring,
        watermark: AtomicI64::new(watermark.as_micros()),
        facts: Mutex::new(ledger),
        followed: Mutex::default(),
        lease: lease::Held::none(env.clone()),
        fences: Fences::default(),
        schedule: Schedule::default(),
        forget_due: AtomicBool::new(false),
        trim_due: AtomicBool::new(false),
        scrub: Scrub::default(),
        trusted: TrustedTime::begin(&**env, watermark, false),
    };
    follow_acts(&engine, &engine.ledger());
    follow(&engine)?;
    Ok(engine)
}

/// Brings a read-only opening up to date; does nothing in a writing one.
///
/// # Errors
/// Damage in what the writer has written since.
pub fn refresh(engine: &Engine) -> Result<()> {
    if engine.writer.is_some() {
        return Ok(());
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match follow(engine) {
            Err(error) if tries < TRIES && may_pass(&error) => {}
            outcome => return outcome,
        }
    }
}

/// Whether `error` says no more than that a read-only opening looked for a segment or dictionary which the writer has
/// merged away or let go of since. The opening is up to date then: what was read is to be read again, from a new snapshot.
///
/// # Errors
/// As [`refresh`].
pub fn has_moved(engine: &Engine, error: &Error) -> Result<bool> {
    if engine.writer.is_some() || error.kind() != ErrorKind::NotFound {
        return Ok(false);
    }
    refresh(engine)?;
    let snapshot = engine.catalog.snapshot();
    let segment = |slot: &Arc<SegmentSlot>| error.path() == Some(&slot.path);
    let dictionary = |fact: &DictionaryFact| error.path() == Some(&dictionaries::path(&engine.root, fact));
    let named = snapshot.view.segments.values().flatten().any(segment)
        || engine.ledger().state().dictionaries.values().flatten().any(dictionary);
    Ok(!named)
}

/// What `read` answers, once nothing that it looks for has moved while it looked.
///
/// # Errors
/// Those of `read`; as [`refresh`].
pub fn settled<T>(engine: &Engine, read: impl Fn() -> Result<T>) -> Result<T> {
    loop {
        match read() {
            Err(error) if has_moved(engine, &error)? => {}
            outcome => return outcome,
        }
    }
}

fn follow(engine: &Engine) -> Result<()> {
    // The position comes first: what is read after it holds at least what was durable then.
    let published = hint::read(&*engine.env, &engine.root).map(|hint| hint.position);
    let limit = match writer_lives(&*engine.env, &engine.root) {
        true => Some(published.unwrap_or_default()),
        false => None,
    };
    lease::follow(engine)?;
    let ledger = engine.ledger();
    let settled_through = ledger.state().settled_through;
    let facts: Vec<_> = ledger.state().segments.values().cloned().collect();
    engine.catalog.dictionaries.follow(ledger.state());
    drop(ledger);
    engine.keyring.refresh()?;
    engine.partitions.reload(&engine.keyring)?;
    let journals = journals(engine, settled_through, limit)?;
    let end = journals.last().map(|file| Position { file: file.number, offset: file.end() });
    let known = engine.catalog.snapshot();
    engine.catalog.change(|view| {
        view.segments.clear();
        for fact in facts {
            let held = known.segments(fact.partition).iter().find(|slot| slot.fact.segment == fact.segment);
            let slot = held.cloned().unwrap_or_else(|| engine.catalog.slot(fact));
            view.segments.entry(slot.fact.partition).or_default().push(slot);
        }
        view.journals = journals;
    });
    end.into_iter().for_each(|end| engine.catalog.publish(end));
    Ok(())
}

/// The journal files that are not settled, indexed as far as they may be read.
fn journals(engine: &Engine, settled_through: u64, limit: Option<Position>) -> Result<Vec<Arc<JournalFile>>> {
    let mut followed = engine.followed.lock().expect("no holder of this lock panics");
    let (mut files, mut still) = (Vec::new(), Vec::new());
    for (number, path) in journal::list(&*engine.env, &engine.root.join("journal"))? {
        let end = match limit {
            Some(limit) if number > limit.file => break,
            Some(limit) if number == limit.file => Some(limit.offset),
            _ => None,
        };
        if number <= settled_through {
            continue;
        }
        let known = followed.iter().position(|(_, file)| file.number == number);
        let (mut follower, file) = match known {
            Some(index) => followed.swap_remove(index),
            None => {
                let follower = Follower::open(&*engine.env, &path)?;
                let head = *follower.head();
                let file = JournalFile::new(number, path, follower.handle(), head.opening, head.salt);
                (follower, Arc::new(file))
            }
        };
        let mut visit = |group: GroupView<'_>, start| {
            if group.head().needs <= engine.keyring.durable() {
                file.index(start, start + group.head().total_length as u64, &replay::index(&group));
            }
            Ok(())
        };
        match end {
            Some(end) => follower.advance_to(end, &mut visit)?,
            None => follower.advance_to_end(&mut visit)?,
        }
        still.push((follower, file.clone()));
        files.push(file);
    }
    *followed = still;
    Ok(files)
}

/// Whether a writer holds the store. Asked by trying its lock for a moment.
pub fn writer_lives(env: &dyn Env, root: &std::path::Path) -> bool {
    matches!(env.try_lock(&root.join(LOCK)), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
