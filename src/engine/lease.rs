//! Leases: how a writer knows that no read-only opener serves any more what has been closed off.
//!
//! A reader notes in a small file of its own how far it has followed the ledger. Its fences are closed before it says so.
//! The writer puts on record that an act is fenced once every lease has seen the act's intent, or has lapsed: a reader
//! looks at the ledger before every call, and its open iterators do once a second. Nothing here is ever synced or trusted
//! by recovery, and a medium that cannot be written to keeps nobody from reading.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fence::follow_acts;
use super::{Engine, Writer};
use crate::env::{Env, File, OpenMode, random, read_file, write_all_at};
use crate::error::{Error, Result};
use crate::format::lease::{LEASE_BYTES, Lease};
use crate::format::ledger::{Effect, Fact};
use crate::policy::Policy;
use crate::window::Timestamp;

/// Where leases lie in a store.
pub const DIRECTORY: &str = "readers";
const SUFFIX: &str = ".lease";

/// A lease is renewed when it is older than this.
const RENEW: Duration = Duration::from_secs(20);
/// A lease that is older than this has lapsed.
const LAPSE: Duration = Duration::from_secs(60);
/// A lease that is older than this is swept.
const SWEEP: Duration = Duration::from_secs(86_400);
/// How often open iterators look at the ledger, in microseconds.
const LOOK_MICROS: u64 = 1_000_000;

/// The lease of a read-only opening. Like a lock it is given back when it is dropped; where that does not happen, it
/// lapses.
pub struct Held {
    env: Arc<dyn Env>,
    state: Mutex<State>,
    /// When the ledger was looked at last, in microseconds of monotonic time.
    looked: AtomicU64,
}

#[derive(Default)]
struct State {
    file: Option<(PathBuf, Arc<dyn File>)>,
    length: u64,
    at: Timestamp,
}

/// The time from `earlier` to `later`; very long where they are the wrong way round, as after a clock was set back.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    u64::try_from(later.as_micros().saturating_sub(earlier.as_micros())).map_or(Duration::MAX, Duration::from_micros)
}

fn micros(env: &dyn Env) -> u64 {
    u64::try_from(env.monotonic().as_micros()).unwrap_or(u64::MAX)
}

/// Takes in what the ledger has got since, closes what it closes, and then says so. For read-only openings. Returns
/// whether there was anything.
///
/// # Errors
/// Damage in the ledger.
pub fn follow(engine: &Engine) -> Result<bool> {
    engine.lease.looked.store(micros(&*engine.env), Ordering::Relaxed);
    let (grown, length) = {
        let mut ledger = engine.ledger();
        let grown = ledger.refresh()?;
        if grown {
            let policy = Policy::parse(&ledger.state().policy.1)?;
            *engine.policy.write().expect("no holder of this lock panics") = Arc::new(policy);
            engine.watermark.fetch_max(ledger.state().watermark.as_micros(), Ordering::Relaxed);
            follow_acts(engine, &ledger);
        }
        (grown, ledger.length())
    };
    renew(engine, length);
    Ok(grown)
}

/// [`follow`] for an iterator that has been open for a while: at most once a second, and nothing at all in a writer,
/// where fences are closed at once.
///
/// # Errors
/// Damage in the ledger.
pub fn look(engine: &Engine) -> Result<()> {
    if engine.writer.is_some() {
        return Ok(());
    }
    match micros(&*engine.env) >= engine.lease.looked.load(Ordering::Relaxed).saturating_add(LOOK_MICROS) {
        true => follow(engine).map(drop),
        false => Ok(()),
    }
}

/// Writes the lease where it has changed or grown old. Best effort; what failed is tried again when it is due again.
fn renew(engine: &Engine, length: u64) {
    let mut state = engine.lease.state();
    let now = engine.env.now();
    let age = between(state.at, now);
    if length == state.length && age < RENEW {
        return;
    }
    // A writer may have swept it meanwhile.
    let swept = |path: &Path| age >= LAPSE && engine.env.metadata(path).is_err();
    if state.file.as_ref().is_none_or(|(path, _)| swept(path)) {
        state.file = create(&*engine.env, &engine.root.join(DIRECTORY)).ok();
    }
    (state.length, state.at) = (length, now);
    if let Some((_, file)) = &state.file {
        let _ = write_all_at(&**file, &Lease { store: engine.store, length, at: now }.encode(), 0);
    }
}

/// A new name, neither synced nor renamed: what a crash leaves of it is swept.
fn create(env: &dyn Env, dir: &Path) -> io::Result<(PathBuf, Arc<dyn File>)> {
    let path = dir.join(format!("{:032x}{SUFFIX}", u128::from_le_bytes(random(env)?)));
    let file = env.open(&path, OpenMode::CreateNew)?;
    Ok((path, file))
}

impl Held {
    /// Nothing held yet: [`follow`] takes a lease.
    pub fn none(env: Arc<dyn Env>) -> Self {
        Held { env, state: Mutex::default(), looked: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Gives the lease back at the end of a reader. Should somebody read on, the next call takes a new one.
    pub fn give_back(&self) {
        if let Ok(mut state) = self.state.lock() {
            if let Some((path, _)) = state.file.take() {
                let _ = self.env.remove_file(&path); // A lease that stays lapses.
            }
            *state = State::default();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Acts that are not known to be fenced in every process: by number, the length of the ledger that readers must have
/// seen, and since when they are waited for, in monotonic time.
#[derive(Default)]
pub struct Fencing(Mutex<BTreeMap<u64, (u64, Duration)>>);

impl Fencing {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, (u64, Duration)>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Takes over the acts of earlier openings of which nobody knows whether readers have seen them.
pub fn begin(engine: &Engine, writer: &Writer) {
    let ledger = engine.ledger();
    let acts = ledger.state().acts.by_number.iter();
    let since = engine.env.monotonic();
    let unseen = acts.filter(|(_, state)| state.fenced.is_none()).map(|(number, _)| *number);
    writer.fencing.waiting().extend(unseen.map(|number| (number, (ledger.length(), since))));
}

/// Begins to wait until every reader has seen the intent of act `number`, which is on record.
pub fn expect(engine: &Engine, writer: &Writer, number: u64) {
    let (length, since) = (engine.ledger().length(), engine.env.monotonic());
    writer.fencing.waiting().insert(number, (length, since));
}

/// Whether act `number` is fenced in every process now, and is not on record as such yet. The caller puts it there.
pub fn is_fenced(engine: &Engine, writer: &Writer, number: u64) -> bool {
    let mut waiting = writer.fencing.waiting();
    let fenced = waiting.get(&number).is_some_and(|wanted| seen(engine, &leases(engine), *wanted));
    if fenced {
        waiting.remove(&number);
    }
    fenced
}

/// Puts on record which acts have come to be fenced in every process. Housekeeping must be held.
///
/// # Errors
/// What the ledger answers.
pub fn record_fenced(engine: &Engine, writer: &Writer) -> Result<()> {
    let mut waiting = writer.fencing.waiting();
    if waiting.is_empty() {
        return Ok(());
    }
    let leases = leases(engine);
    let fenced: Vec<u64> =
        waiting.iter().filter(|(_, wanted)| seen(engine, &leases, **wanted)).map(|(number, _)| *number).collect();
    if fenced.is_empty() {
        return Ok(());
    }
    let facts: Vec<Fact> =
        fenced.iter().map(|number| Fact::Effected { number: *number, effect: Effect::Fenced }).collect();
    engine.record(&facts)?;
    waiting.retain(|number, _| !fenced.contains(number));
    Ok(())
}

/// Whether every lease has seen the ledger at this length or has lapsed. A reader that is at work renews its lease as
/// soon as the ledger has grown, so after the time in which a lease lapses nobody is waited for, whatever it says.
fn seen(engine: &Engine, leases: &[Option<Lease>], (length, since): (u64, Duration)) -> bool {
    let now = engine.env.now();
    let patient = engine.env.monotonic().saturating_sub(since) < LAPSE;
    // One that cannot be read may be about to be written.
    leases.iter().all(|lease| match lease {
        _ if !patient => true,
        Some(lease) if lease.store != engine.store => true,
        Some(lease) => lease.length >= length || between(lease.at, now) >= LAPSE && lease.at <= now,
        None => false,
    })
}

/// The leases there are; none for one that cannot be read.
fn leases(engine: &Engine) -> Vec<Option<Lease>> {
    paths(engine).unwrap_or_default().iter().map(|path| read(engine, path)).collect()
}

fn paths(engine: &Engine) -> io::Result<Vec<PathBuf>> {
    let dir = engine.root.join(DIRECTORY);
    let names = engine.env.list(&dir)?;
    Ok(names.iter().filter(|name| name.name.ends_with(SUFFIX)).map(|name| dir.join(&name.name)).collect())
}

fn read(engine: &Engine, path: &Path) -> Option<Lease> {
    let bytes = read_file(&*engine.env, path, LEASE_BYTES as u64).ok()?;
    Lease::decode(&bytes).ok()
}

/// Removes leases that were left behind: a day old, or (at an opening, `thorough`) past reading.
///
/// # Errors
/// What the operating system answers.
pub fn sweep(engine: &Engine, thorough: bool) -> Result<()> {
    let now = engine.env.now();
    let dir = engine.root.join(DIRECTORY);
    let paths = paths(engine).map_err(|error| Error::io("list the leases of readers", &dir, error))?;
    for path in paths {
        let old = |lease: Lease| between(lease.at, now).min(between(now, lease.at)) >= SWEEP;
        if read(engine, &path).map_or(thorough, old) {
            engine.env.remove_file(&path).map_err(|error| Error::io("remove an old lease", &path, error))?;
        }
    }
    Ok(())
}
