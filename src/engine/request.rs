//! Requests: what other processes ask of the one that holds the store, and the answers they get.
//!
//! A request is taken (renamed) before it is carried out and removed once it is answered, so that none is carried out
//! twice. What a crash interrupts after the intent is finished by the next opening like any other act; the request itself
//! is then answered as stale, and whoever asked looks into the ledger.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::path::{Path, PathBuf};

use super::{Engine, Writer, access, due, erase, lease};
use crate::env::{create_dirs, publish_new, read_file};
use crate::error::{Error, ErrorKind, Result};
use crate::format::request::{ANSWER_BYTES, Answer, Named, Outcome, REQUEST_LIMIT, Request, SealedRequest};
use crate::ident::CustomerId;
use crate::keyring::CustomerState;
use crate::window::Timestamp;

/// Where requests and answers lie in a store.
pub const DIRECTORY: &str = "requests";
/// The end of the name of a request.
pub const ASKED: &str = "request";
/// The end of the name of a request that is being carried out.
pub const TAKEN: &str = "taken";
/// The end of the name of an answer.
pub const ANSWERED: &str = "answer";

/// Appenders and the worker look for requests no more often than this, in microseconds.
const LOOK_MICROS: u64 = 200_000;
/// Leftovers are looked for no more often than this, in microseconds.
const SWEEP_MICROS: u64 = 3_600_000_000;
/// Nobody waits for an answer that is older than this.
const ANSWER_SECONDS: i64 = 3600;

/// When requests, and what was left of them, were looked for last, in microseconds of monotonic time.
#[derive(Default)]
pub struct Looked {
    requests: AtomicU64,
    leftovers: AtomicU64,
}

/// Whether `interval` has passed since `last`; then the next one begins now.
fn is_time(engine: &Engine, last: &AtomicU64, interval: u64) -> bool {
    let now = u64::try_from(engine.env.monotonic().as_micros()).unwrap_or(u64::MAX);
    let before = last.load(Ordering::Relaxed);
    let due = now >= before.saturating_add(interval);
    due && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Serves what waits, for those who come by often: looks no more than five times a second, and leaves it to somebody
/// else where housekeeping is under way. What fails is in the answer, or is tried again.
pub fn serve_in_passing(engine: &Engine, writer: &Writer) {
    if !is_time(engine, &writer.looked.requests, LOOK_MICROS) {
        return;
    }
    let Some(_one_at_a_time) = writer.try_housekeep() else { return };
    if waiting(engine, ASKED).is_ok_and(|paths| !paths.is_empty()) {
        let _ = serve(engine, writer);
    }
    let _ = lease::record_fenced(engine, writer);
}

/// Carries out and answers what waits. Housekeeping must be held. Returns how many were answered.
///
/// # Errors
/// What keeps it from answering; what goes wrong within a request is its answer.
pub fn serve(engine: &Engine, writer: &Writer) -> Result<u64> {
    let mut served = 0;
    for path in waiting(engine, ASKED)? {
        let taken = path.with_extension(TAKEN);
        match engine.env.rename_new(&path, &taken) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // Withdrawn.
            Err(error) => return Err(Error::io("take a request", &path, error)),
        }
        let outcome = judge(engine, writer, &taken)?;
        answer(engine, &taken, outcome)?;
        served += 1;
    }
    if served > 0 || is_time(engine, &writer.looked.leftovers, SWEEP_MICROS) {
        sweep(engine, false)?;
    }
    Ok(served)
}

fn judge(engine: &Engine, writer: &Writer, path: &Path) -> Result<Outcome> {
    let bytes = match read_file(&*engine.env, path, REQUEST_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Outcome::Damaged),
        Err(error) => return Err(Error::io("read a request", path, error)),
    };
    let Ok(sealed) = SealedRequest::parse(&bytes) else { return Ok(Outcome::Damaged) };
    let (epoch, sealer) = engine.keyring.request_sealer();
    if sealed.head.store != engine.store {
        return Ok(Outcome::Damaged);
    }
    if sealed.head.epoch != epoch || sealed.head.until < engine.env.now() {
        return Ok(Outcome::Stale);
    }
    let Ok(request) = sealed.open(&sealer) else { return Ok(Outcome::Damaged) };
    Ok(match carry_out(engine, writer, request) {
        Ok(Some(act)) => Outcome::Done(act),
        Ok(None) => Outcome::Nothing,
        Err(error) if error.kind() == ErrorKind::Refused => Outcome::Refused,
        Err(error) if error.kind() == ErrorKind::Held => Outcome::Held,
        Err(_) => Outcome::Failed,
    })
}

/// Does what is asked, as an act of its own. `None` where there is nothing to do.
fn carry_out(engine: &Engine, writer: &Writer, request: Request) -> Result<Option<u64>> {
    writer.committer.check()?;
    match request {
        Request::Erase { customers } => {
            let ids = living(engine, &customers)?;
            erase::whole(engine, writer, &ids)
        }
        Request::ErasePart { customer, stream, until } => {
            let Some(id) = living(engine, &[customer])?.pop() else { return Ok(None) };
            match stream.is_none() && until.is_none() {
                true => Ok(None),
                false => erase::part(engine, writer, &id, stream, until),
            }
        }
        Request::Expire { now, confirmed } => {
            let now = due::judged_by(engine, now, confirmed)?;
            due::expire(engine, writer, now).map(|expired| expired.acts.first().copied())
        }
    }
}

/// The ids of those of `customers` that have a life to lose.
fn living(engine: &Engine, customers: &[Named]) -> Result<Vec<CustomerId>> {
    let mut ids = Vec::new();
    for customer in customers {
        if let Some(found) = engine.keyring.customer_under(&customer.tag)?
            && found.entry.subject == customer.subject
            && found.entry.state == CustomerState::Living
        {
            ids.push(found.entry.id.clone());
        }
    }
    Ok(ids)
}

/// Publishes the answer to the request at `path`, where there is none yet, and removes the request.
fn answer(engine: &Engine, path: &Path, outcome: Outcome) -> Result<()> {
    let answer = Answer { store: engine.store, outcome, at: engine.env.now() };
    let at = path.with_extension(ANSWERED);
    match publish_new(&*engine.env, &at, &answer.encode()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("answer a request", &at, error));
        }
        _ => {}
    }
    engine.env.remove_file(path).map_err(|error| Error::io("remove a request", path, error))
}

/// The files that end so and bear a name as requests do; others are left alone.
fn waiting(engine: &Engine, extension: &str) -> Result<Vec<PathBuf>> {
    let dir = engine.root.join(DIRECTORY);
    let names = match engine.env.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list the requests", &dir, error)),
    };
    let ours = names.iter().filter(|entry| !entry.is_dir && is_ours(&entry.name, extension));
    Ok(ours.map(|entry| dir.join(&entry.name)).collect())
}

fn is_ours(name: &str, extension: &str) -> bool {
    let stem = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
    stem.is_some_and(|stem| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes what was left behind by readers and askers that are gone; at an opening (`thorough`) also answers what the
/// opening before had taken, and sees to it that the directories are there.
///
/// # Errors
/// What the operating system answers.
pub fn sweep(engine: &Engine, thorough: bool) -> Result<()> {
    if thorough {
        for name in [DIRECTORY, lease::DIRECTORY, access::DIRECTORY] {
            let dir = engine.root.join(name);
            create_dirs(&*engine.env, &dir)
                .map_err(|error| Error::io("create a directory of the store", &dir, error))?;
        }
        for taken in waiting(engine, TAKEN)? {
            answer(engine, &taken, Outcome::Stale)?;
        }
    }
    let now = engine.env.now();
    for path in waiting(engine, ANSWERED)? {
        let old = |at: Timestamp| at.plus_seconds(ANSWER_SECONDS) < now || at > now.plus_seconds(ANSWER_SECONDS);
        if read_answer(engine, &path).map_or(thorough, |answer| old(answer.at)) {
            match engine.env.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove an old answer", &path, error));
                }
                _ => {}
            }
        }
    }
    lease::sweep(engine, thorough)
}

/// The answer at `path`, where there is one that can be read.
pub fn read_answer(engine: &Engine, path: &Path) -> Option<Answer> {
    let bytes = read_file(&*engine.env, path, ANSWER_BYTES as u64).ok()?;
    Answer::decode(&bytes).ok().filter(|answer| answer.store == engine.store)
}
