//! Recover: open a store for writing. Locks, registers the opening, replays the ledger, opens the keyring, indexes what
//! the journal still holds, and sweeps what no fact names. After a clean close there is next to nothing to do.
//!
//! The design copies the valid prefix of a journal to a new file. Cutting the file down to it keeps the same promise
//! without writing all of it again: what is served was synced by this opening and read past the cache, what was cut
//! stays cut, and nothing is ever appended to a file of an earlier opening. It is settled when its turn comes.

use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, RwLock};
use std::path::{Path, PathBuf};

use crate::access_log::Month;
use crate::engine::ballast::Ballast;
use crate::engine::catalog::{Catalog, JournalFile};
use crate::engine::cells::Cells;
use crate::engine::committer::{Committer, Opening};
use crate::engine::encode::Sequence;
use crate::engine::fence::{Fences, follow_acts};
use crate::engine::partitions::Partitions;
use crate::engine::recent::Recent;
use crate::engine::schedule::Schedule;
use crate::engine::scrub::Scrub;
use crate::engine::time::TrustedTime;
use crate::engine::trouble::Trouble;
use crate::engine::{Engine, Tuning, Writer, access, acts, hint, hold, lease, replay, request, restore, settle, sweep};
use crate::env::{Env, Lock, random, read_file};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Fact;
use crate::format::mark::{FORMAT_VERSION, MARK_LIMIT, Mark};
use crate::format::position::{Known, Position};
use crate::ident::{Salt, StoreId};
use crate::journal;
use crate::keyring::{Access, Custodian, Floor, Keyring, KeyringOptions, Registration, register_opening};
use crate::ledger::{self, Ledger};
use crate::ops::create::{LOCK, MARK};
use crate::policy::Policy;
use crate::report::{Maintenance, Recovery};
use crate::window::Timestamp;

/// Journal files that are read at the same time where the store will have threads of its own: while the disk fetches of
/// one, the other is checked and indexed.
const SIDE_BY_SIDE: usize = 2;

/// How a store is opened for writing.
pub struct Wish {
    /// The world.
    pub env: Arc<dyn Env>,
    /// The store's directory.
    pub root: PathBuf,
    /// The keyring.
    pub keyring: KeyringOptions,
    /// Who opens the keyring's root.
    pub custodian: Arc<dyn Custodian>,
    /// Why the custodian's registration may be taken over from another copy of this store.
    pub take_over: Option<String>,
    /// Whether somebody says that the store was put back from an older copy under this keyring.
    pub restored: bool,
    /// Whether somebody vouches for the clock, however far it has moved.
    pub trust_clock: bool,
    /// Whether the store will have a thread of its own.
    pub has_worker: bool,
    /// When background work is due.
    pub tuning: Tuning,
}

/// The mark of the store in `root`.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is no store; [`ErrorKind::Unsupported`] for another format version;
/// [`ErrorKind::Corrupt`] where the mark is damaged.
pub fn mark(env: &dyn Env, root: &Path) -> Result<Mark> {
    let path = root.join(MARK);
    let bytes = read_file(env, &path, MARK_LIMIT).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => match env.metadata(root) {
            Ok(_) => Error::new(ErrorKind::NotFound, "this directory is no Tenure store: it has no file FORMAT")
                .in_file(root)
                .hint("check the path, or make a store with `tenure init`"),
            Err(_) => Error::new(ErrorKind::NotFound, "there is no store")
                .in_file(root)
                .hint("check the path, or make a store with `tenure init`"),
        },
        std::io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, "this is a file, not the directory of a store")
                .in_file(root)
                .hint("check the path, or make a store with `tenure init`")
        }
        std::io::ErrorKind::FileTooLarge => foreign(&path),
        _ => Error::io("read the mark of the store", &path, error),
    })?;
    if !bytes.starts_with(b"tenure") {
        return Err(foreign(&path));
    }
    let mark = Mark::decode(&bytes)
        .map_err(|wrong| Error::corrupt(&path, 0, wrong.0).hint("restore this small file from a copy of the store"))?;
    match mark.version == FORMAT_VERSION {
        true => Ok(mark),
        false => Err(Error::new(ErrorKind::Unsupported, format!("the store has format {}", mark.version))
            .in_file(&path)
            .hint(format!("this build reads format {FORMAT_VERSION}; use the version that wrote it"))),
    }
}

fn foreign(path: &Path) -> Error {
    Error::new(ErrorKind::Unsupported, "its file FORMAT is not Tenure's: the directory belongs to something else")
        .in_file(path)
        .hint("check the path; nothing was touched")
}

/// Opens the store for writing.
///
/// # Errors
/// [`ErrorKind::Locked`] where another writer lives; [`ErrorKind::KeyUnavailable`] for a keyring or custodian that is
/// missing, foreign, rolled back or a clone; [`ErrorKind::Corrupt`] for damage in what was known to be durable.
pub fn recover(wish: Wish) -> Result<(Engine, Recovery)> {
    let env = &wish.env;
    let began = env.monotonic();
    let store = mark(&**env, &wish.root)?.store;
    let lock = lock(&**env, &wish.root)?;
    let ballast = Ballast::inspect(&**env, &wish.root, wish.tuning.ballast_bytes)?;
    let number = register(&wish, store)?;
    let number = u32::try_from(number)
        .map_err(|_| Error::new(ErrorKind::Unsupported, "the store has been opened four thousand million times"))?;
    let mut report = Recovery::default();
    let mark = registration(&*wish.custodian, store)?;
    let (mut ledger, cut, missed) = open_ledger(&wish, store, &mark, ledger::Access::Write)?;
    report.ledger_bytes_cut = cut;
    report.clean = ledger.state().clean;
    let keyring = open_keyring(&wish, &store, ledger.state().known.entry, &mut report)?;
    let policy = Policy::parse(&ledger.state().policy.1)?;
    let opening = Opening { store, number, salt: draw_salt(&wish)? };
    let (last, mut files) = journals(&wish, &ledger, &keyring, &mut report)?;
    // After the journal: what it needs of the keyring is told by how many entries there are.
    make_month_keys(&keyring, env.now().max(ledger.state().watermark))?;
    let trusted = TrustedTime::begin(&**env, ledger.state().watermark, wish.trust_clock);
    report.clock_doubted = trusted.doubted;
    let mut facts = vec![Fact::Opened { opening: number, salt: opening.salt }];
    if wish.trust_clock {
        facts.push(Fact::ClockTrusted { clock: env.now() });
    }
    let (partitions, scrub) = (Partitions::load(&keyring)?, Scrub::load(&keyring, &ledger.state().acts)?);
    if wish.restored {
        facts.extend(lacks(&wish, &ledger, (&partitions, &scrub, &files), (&mark, missed), &mut report)?);
    }
    ledger.append(trusted.now(&**env), &facts)?;
    restore::fill(&mut ledger, mark.ledger_length, trusted.now(&**env))?;
    files.retain(|file| file.number > ledger.state().settled_through);
    let watermark = AtomicI64::new(ledger.state().watermark.as_micros());
    let next = Position { file: next_file(ledger.state(), last), offset: 0 };
    let known = Known { journal: next, entry: keyring.durable() };
    let engine = Engine {
        env: env.clone(),
        root: wish.root.clone(),
        store,
        keyring_dirs: wish.keyring.dirs.clone(),
        catalog: Catalog::new(env.clone(), &wish.root, store),
        partitions,
        policy: RwLock::new(Arc::new(policy)),
        writer: Some(writer(&wish, opening, (lock, ballast), ledger.state(), known)),
        keyring,
        facts: Mutex::new(ledger),
        followed: Mutex::default(),
        watermark,
        fences: Fences::default(),
        schedule: Schedule::default(),
        forget_due: AtomicBool::new(false),
        trim_due: AtomicBool::new(false),
        scrub,
        trusted,
        lease: lease::Held::none(env.clone()),
        access: access::Access::new(env, &wish.root, store),
    };
    look_around(&engine, &files, wish.restored, &mut report)?;
    report.acts_finished = finish_acts(&engine)?;
    access::finish_dropping(&engine)?;
    hold::reconcile(&engine)?;
    engine.trim_due.store(!engine.partitions.remnants().is_empty(), Ordering::Relaxed);
    report.took = env.monotonic().saturating_sub(began);
    Ok((engine, report))
}

/// Takes in what ledger and journal say, and what other processes left behind; after an unclean end, sweeps.
fn look_around(engine: &Engine, files: &[Arc<JournalFile>], restored: bool, report: &mut Recovery) -> Result<()> {
    follow_acts(engine, &engine.ledger());
    engine.catalog.dictionaries.follow(engine.ledger().state());
    let writer = engine.writer()?;
    show(engine, writer.opening.number, files);
    lease::begin(engine, writer);
    match request::sweep(engine, true) {
        Err(error) if error.kind() != ErrorKind::OutOfSpace => return Err(error),
        _ => {} // What cannot be answered on a full disk is answered by the next opening.
    }
    if restored {
        // What is settled, and whose segments are there, was only looked at.
        let settled_through = engine.ledger().state().settled_through;
        replay::leftovers(&*engine.env, &engine.root, settled_through, report)?;
    }
    if !report.clean {
        // Before anything is written: what an interrupted step left behind may bear the names that come next.
        report.files_swept += sweep::sweep(engine)?;
    }
    match restored {
        // They may be copies made at any time, which the next opening would judge by what the others know.
        true => settle_copies(engine, files),
        false => Ok(()),
    }
}

/// The writing half, which begins the journal file that `known` names and has written nothing yet.
fn writer(
    wish: &Wish,
    opening: Opening,
    (lock, ballast): (Box<dyn Lock>, Ballast),
    state: &ledger::State,
    known: Known,
) -> Writer {
    Writer {
        opening,
        committer: Committer::new(opening, known.journal.file, known),
        sequence: Sequence::default(),
        cells: Cells::new(opening.store, opening.salt),
        recent: Recent::default(),
        housekeeping: Mutex::default(),
        settling: Mutex::default(),
        longest_pause: AtomicU64::new(0),
        closed: AtomicBool::default(),
        close_failure: Mutex::default(),
        has_worker: wish.has_worker,
        fencing: lease::Fencing::default(),
        looked: request::Looked::default(),
        trouble: Trouble::default(),
        trained: Mutex::default(),
        training: Mutex::default(),
        closing: AtomicBool::new(false),
        ballast,
        next_segment: AtomicU64::new(state.next_segment),
        tuning: wish.tuning,
        restored: wish.restored,
        lock: Mutex::new(Some(lock)),
    }
}

/// The journal files that are not settled, indexed, and the highest number of any. All of them, where what the ledger
/// says of segments may not be so.
fn journals(
    wish: &Wish,
    ledger: &Ledger,
    keyring: &Keyring,
    report: &mut Recovery,
) -> Result<(u64, Vec<Arc<JournalFile>>)> {
    let (env, state) = (&wish.env, ledger.state());
    let left = match wish.restored {
        true => journal::list(&**env, &wish.root.join("journal"))?,
        false => replay::leftovers(&**env, &wish.root, state.settled_through, report)?,
    };
    let leap = state.gap.as_ref().map_or(0, |gap| gap.next_journal);
    let copies = if wish.restored { u64::MAX } else { leap };
    replay::make_durable(&**env, &left)?;
    let threads = if wish.has_worker { SIDE_BY_SIDE } else { 1 };
    let found = replay::replay(threads, env, &left, copies, state.known, keyring.durable(), report)?;
    if !wish.restored {
        found.cut(&**env)?;
    }
    report.journals_left = found.files.len() as u64;
    Ok((left.last().map_or(0, |(number, _)| *number), found.files))
}

/// The number of the next journal file: above those that lie there, that are settled, and that may have been lost.
fn next_file(state: &ledger::State, last: u64) -> u64 {
    let leap = state.gap.as_ref().map_or(0, |gap| gap.next_journal);
    leap.max(last.max(state.settled_through) + 1)
}

/// What the store lacks that was put back, for the report, and the facts that account for it.
fn lacks(
    wish: &Wish,
    ledger: &Ledger,
    (partitions, scrub, journals): (&Partitions, &Scrub, &[Arc<JournalFile>]),
    (mark, missed): (&Registration, bool),
    report: &mut Recovery,
) -> Result<Vec<Fact>> {
    let scene = restore::Scene {
        env: &wish.env,
        root: &wish.root,
        state: ledger.state(),
        partitions,
        scrub,
        journals,
        mark: (mark.ledger_length, mark.ledger_head),
        missed,
        now: wish.env.now().max(ledger.state().watermark),
    };
    let (found, facts) = restore::account(&scene, ledger.length())?;
    report.clean &= facts.is_empty();
    report.restored = Some(found);
    Ok(facts)
}

fn draw_salt(wish: &Wish) -> Result<Salt> {
    let drawn = random(&*wish.env).map(Salt::from_bytes);
    drawn.map_err(|error| Error::io("draw random bytes", &wish.root, error))
}

fn open_keyring(wish: &Wish, store: &StoreId, known: u64, report: &mut Recovery) -> Result<Keyring> {
    let (env, options, custodian) = (wish.env.clone(), wish.keyring.clone(), wish.custodian.clone());
    let (keyring, mended) = Keyring::open(env, options, custodian, store, Access::Write, Floor { entry: known })?;
    report.keyring_bytes_cut = mended.bytes_cut;
    report.mirrors_mended = mended.mirrors_mended;
    report.roots_mended = mended.roots_mended;
    Ok(keyring)
}

/// Keys for the access logs of a year, so that those who only read can log. A full disk keeps nobody from opening.
fn make_month_keys(keyring: &Keyring, now: Timestamp) -> Result<()> {
    match keyring.make_month_keys(Month::of(now)) {
        Err(error) if error.kind() == ErrorKind::OutOfSpace => Ok(()),
        made => made,
    }
}

fn lock(env: &dyn Env, root: &Path) -> Result<Box<dyn Lock>> {
    let path = root.join(LOCK);
    env.try_lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Error::new(ErrorKind::Locked, "another process holds the store open for writing")
                .in_file(&path)
                .hint("wait for it to close, or read beside it")
        }
        _ => Error::io("lock the store", &path, error),
    })
}

/// What the custodian remembers, if it is of this store: of another store's nothing is asked, and nothing registered.
///
/// # Errors
/// [`ErrorKind::KeyUnavailable`] for the custodian of another store.
pub fn registration(custodian: &dyn Custodian, store: StoreId) -> Result<Registration> {
    let registration = custodian.registration()?;
    match registration.store == store {
        true => Ok(registration),
        false => Err(Error::new(ErrorKind::KeyUnavailable, "the custodian keeps the keys of another store")
            .hint("name the custodian that was made with this store")),
    }
}

/// Registers the opening. A copy that is older than the store has become is refused before it takes anything over,
/// or the living original would be locked out for nothing.
fn register(wish: &Wish, store: StoreId) -> Result<u64> {
    let registration = registration(&*wish.custodian, store)?;
    if wish.take_over.is_some() {
        open_ledger(wish, store, &registration, ledger::Access::Read)?;
    }
    let registered = register_opening(&*wish.env, &wish.keyring.dirs, &*wish.custodian, wish.take_over.as_deref());
    registered.map_err(|error| {
        let may_take_over = error.next_step().is_some_and(|step| step.contains("--take-over"));
        match may_take_over && open_ledger(wish, store, &registration, ledger::Access::Read).is_err() {
            true => error.hint("use the other copy: it has gone on writing, and this one is older than it has become"),
            false => error,
        }
    })
}

/// The ledger, which must reach at least as far as the custodian remembers, and whether it does not and is let in
/// nevertheless.
fn open_ledger(
    wish: &Wish,
    store: StoreId,
    registration: &Registration,
    access: ledger::Access,
) -> Result<(Ledger, u64, bool)> {
    let expect = (registration.ledger_length > 0).then_some((registration.ledger_length, registration.ledger_head));
    let open = |expect| Ledger::open(wish.env.clone(), &wish.root.join("ledger"), access, expect);
    let (ledger, cut, missed) = match open(expect) {
        // A copy is older than the mark, or from before another restoration. Damage is refused as ever.
        Err(error) if wish.restored && error.kind() == ErrorKind::Corrupt => {
            let (ledger, cut) = open(None)?;
            (ledger, cut, true)
        }
        opened => opened.map(|(ledger, cut)| (ledger, cut, false))?,
    };
    match ledger.state().store == store {
        true => Ok((ledger, cut, missed)),
        false => Err(Error::new(ErrorKind::Corrupt, "the ledger belongs to another store")
            .in_file(&wish.root.join("ledger"))
            .hint("put back the ledger that belongs to this store's FORMAT file")),
    }
}

/// Makes visible what the ledger names and what the journal files hold.
fn show(engine: &Engine, number: u32, files: &[Arc<JournalFile>]) {
    let slots: Vec<_> = engine.ledger().state().segments.values().cloned().collect();
    engine.catalog.change(|view| {
        for fact in slots {
            let slot = engine.catalog.slot(fact);
            view.segments.entry(slot.fact.partition).or_default().push(slot);
        }
        view.journals.extend(files.iter().cloned());
    });
    if let Some(last) = files.last() {
        let position = Position { file: last.number, offset: last.end() };
        engine.catalog.publish(position);
        // Who reads beside this opening is to read as far before it has committed anything.
        if let Some(file) = hint::open(&*engine.env, &engine.root) {
            hint::write(&*file, number, position);
        }
    }
}

/// Finishes what a crash interrupted: every act that was intended is done.
fn finish_acts(engine: &Engine) -> Result<u64> {
    let pending: Vec<u64> = engine.ledger().state().acts.pending().map(|(number, _)| number).collect();
    let _one_at_a_time = engine.writer()?.housekeep()?;
    for number in &pending {
        acts::perform(engine, *number, None)?;
    }
    Ok(pending.len() as u64)
}

fn settle_copies(engine: &Engine, files: &[Arc<JournalFile>]) -> Result<()> {
    for file in files {
        match settle::settle(engine, file, &mut Maintenance::default()) {
            Ok(()) => {}
            // A full disk keeps nobody from reading: the file serves as it is and is settled later.
            Err(error) if error.kind() == ErrorKind::OutOfSpace => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
