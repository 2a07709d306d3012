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
        let lived = writer_lives(&**env, &root); // What it changed last, it may have changed by closing.
        match try_open(env, root.clone(), keyring.clone(), custodian.clone()) {
            Err(error) if tries < TRIES && may_pass(&error) && (lived || writer_lives(&**env, &root)) => {}
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

/// Brings the catalog up to date, for one caller at a time.
///
/// In this order, so that nothing durable is ever missed: the position that the writer has published, which all that is read
/// after it reaches; the journal files, which can be read from now on though they be settled and unlinked; the ledger,
/// which names the segments of what was settled before that; and the keyring, without which groups could not be indexed.
fn follow(engine: &Engine) -> Result<()> {
    let mut followed = engine.followed.lock().expect("no holder of this lock panics");
    let published = hint::read(&*engine.env, &engine.root).map(|hint| hint.position);
    let limit = match writer_lives(&*engine.env, &engine.root) {
        // What could be read before can be read now, should the hint be damaged.
        true => Some(published.unwrap_or_default().max(engine.catalog.snapshot().published)),
        false => None,
    };
    let opened = open_journals(engine, std::mem::take(&mut *followed), limit)?;
    lease::follow(engine)?;
    let ledger = engine.ledger();
    let settled_through = ledger.state().settled_through;
    let facts: Vec<_> = ledger.state().segments.values().cloned().collect();
    engine.catalog.dictionaries.follow(ledger.state());
    drop(ledger);
    engine.keyring.refresh()?;
    engine.partitions.reload(&engine.keyring)?;
    *followed = opened;
    followed.retain(|(_, file)| file.number > settled_through);
    for (follower, file) in &mut *followed {
        index(engine, follower, file, limit)?;
    }
    let journals: Vec<_> = followed.iter().map(|(_, file)| file.clone()).collect();
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

/// The journal files up to `limit` that are not known to be settled, open: those of before and those that came since.
fn open_journals(
    engine: &Engine,
    mut before: Vec<(Follower, Arc<JournalFile>)>,
    limit: Option<Position>,
) -> Result<Vec<(Follower, Arc<JournalFile>)>> {
    let settled_through = engine.ledger().state().settled_through;
    let mut files = Vec::new();
    for (number, path) in journal::list(&*engine.env, &engine.root.join("journal"))? {
        if limit.is_some_and(|limit| number > limit.file) {
            break;
        }
        if number <= settled_through {
            continue;
        }
        if let Some(known) = before.iter().position(|(_, file)| file.number == number) {
            files.push(before.swap_remove(known));
            continue;
        }
        let follower = match Follower::open(&*engine.env, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue, // Settled since, as the ledger is about to tell.
            opened => opened?,
        };
        let head = *follower.head();
        let file = JournalFile::new(number, path, follower.handle(), head.opening, head.salt);
        files.push((follower, Arc::new(file)));
    }
    Ok(files)
}

/// Indexes a journal file as far as it may be read.
fn index(engine: &Engine, follower: &mut Follower, file: &JournalFile, limit: Option<Position>) -> Result<()> {
    let mut visit = |group: GroupView<'_>, start| {
        if group.head().needs <= engine.keyring.durable() {
            file.index(start, start + group.head().total_length as u64, &replay::index(&group));
        }
        Ok(())
    };
    match limit {
        Some(limit) if limit.file == file.number => follower.advance_to(limit.offset, &mut visit),
        _ => follower.advance_to_end(&mut visit),
    }
}

/// Whether a writer holds the store. Asked by trying its lock for a moment.
pub fn writer_lives(env: &dyn Env, root: &std::path::Path) -> bool {
    matches!(env.try_lock(&root.join(LOCK)), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
