//! Registering an opening for writing: the intent beside the keyring first, durably, then the custodian's word by
//! compare-and-swap. So a crash in between reopens without asking, and a copy of the store is found out.

use std::io;
use std::path::{Path, PathBuf};

use super::custodian::{Custodian, OpeningToken};
use super::open::Site;
use crate::env::{self, Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Malformed;
use crate::format::keyring_root::{OPENING_HALF_BYTES, OpeningIntent};

const NAME: &str = "opening";

fn read_one(env: &dyn Env, path: &Path) -> Result<OpeningIntent> {
    let limit = 2 * OPENING_HALF_BYTES as u64;
    let bytes = env::read_file(env, path, limit).map_err(|error| Error::io("read the opening file", path, error))?;
    match halves(&bytes) {
        [Ok(a), Ok(b)] => Ok(if b.generation > a.generation { b } else { a }),
        [Ok(intent), Err(_)] | [Err(_), Ok(intent)] => Ok(intent),
        [Err(what), Err(_)] => Err(Error::corrupt(path, 0, format!("the opening file: {what}"))),
    }
}

fn halves(bytes: &[u8]) -> [Result<OpeningIntent, Malformed>; 2] {
    [0, 1].map(|index| {
        let half = bytes.get(index * OPENING_HALF_BYTES..(index + 1) * OPENING_HALF_BYTES);
        OpeningIntent::decode(half.unwrap_or_default())
    })
}

/// The offsets of the two halves, the one to overwrite first in front: whichever is torn or older, so that a power cut
/// never finds both of them unfinished.
fn order(env: &dyn Env, path: &Path) -> io::Result<[u64; 2]> {
    let bytes = env::read_file(env, path, 2 * OPENING_HALF_BYTES as u64)?;
    let generation = halves(&bytes).map(|half| half.map_or(0, |intent| intent.generation));
    let second = OPENING_HALF_BYTES as u64;
    Ok(if generation[0] > generation[1] { [second, 0] } else { [0, second] })
}

/// The newest intent that any directory holds.
pub(super) fn read(env: &dyn Env, dirs: &[PathBuf]) -> Result<OpeningIntent> {
    let mut newest: Option<OpeningIntent> = None;
    let mut failed = None;
    for dir in dirs {
        match read_one(env, &dir.join(NAME)) {
            Ok(intent) if newest.is_none_or(|held| held.generation < intent.generation) => newest = Some(intent),
            Ok(_) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    newest.ok_or_else(|| failed.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "a keyring in no directory")))
}

/// Writes both halves, the torn or older one first, in every directory.
fn write(env: &dyn Env, dirs: &[PathBuf], intent: &OpeningIntent) -> Result<()> {
    let half = intent.encode();
    for dir in dirs {
        let path = dir.join(NAME);
        let written = match env.open(&path, OpenMode::Write) {
            Ok(file) => order(env, &path).and_then(|offsets| {
                offsets
                    .iter()
                    .try_for_each(|offset| env::write_all_at(&*file, &half, *offset).and_then(|()| file.sync_data()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let both = [half.as_slice(), half.as_slice()].concat();
                env::create_dirs(env, dir).and_then(|()| env::publish_new(env, &path, &both))
            }
            Err(error) => Err(error),
        };
        written.map_err(|error| Error::io("write the opening file", &path, error))?;
    }
    Ok(())
}

/// Writes the opening file of a new keyring.
pub(super) fn write_first(site: &Site) -> Result<()> {
    let current = site.custodian.registration()?.opening;
    write(&*site.env, &site.dirs, &OpeningIntent { generation: 1, store: site.store, current, intended: current })
}

/// Registers a new opening for writing and returns its number. The custodian stays locked until it is released.
/// `take_over` names the reason for going on although another copy of the store was opened since, or although no
/// opening file is left.
///
/// # Errors
/// [`ErrorKind::KeyUnavailable`] where another copy of this store was opened since, or the custodian keeps another
/// store's keys; [`ErrorKind::Locked`] where the store is open elsewhere.
pub fn register_opening(
    env: &dyn Env,
    dirs: &[PathBuf],
    custodian: &dyn Custodian,
    take_over: Option<&str>,
) -> Result<u64> {
    let registration = custodian.registration()?;
    let read = read(env, dirs);
    let intent = match (&read, take_over) {
        (Ok(intent), _) if intent.store != registration.store => {
            return Err(Error::new(ErrorKind::KeyUnavailable, "the custodian keeps the keys of another store")
                .hint("name the custodian that was made with this store"));
        }
        (Ok(intent), Some(_)) => *intent,
        (Ok(intent), None) if intent.is_of(&registration.opening) => *intent,
        (Ok(_), None) => {
            return Err(Error::new(
                ErrorKind::KeyUnavailable,
                "a copy of this store was opened since this one was: going on here would split it in two",
            )
            .hint("use the other copy, or give this one precedence with --take-over REASON"));
        }
        (Err(error), _) if error.kind() == ErrorKind::NotFound && !dirs.iter().any(|dir| env.metadata(dir).is_ok()) => {
            return Err(Error::new(ErrorKind::KeyUnavailable, "the keyring is not there")
                .in_file(&dirs[0])
                .hint("mount or name the directory that it is in (--keyring, TENURE_KEYRING)"));
        }
        (Err(_), Some(_)) => {
            let none = OpeningToken { number: 0, token: [0; 16] };
            OpeningIntent { generation: 0, store: registration.store, current: none, intended: none }
        }
        (Err(error), None) => {
            let hint = "bring the file back from a mirror of the keyring, or go on with --take-over REASON";
            let error = match error.kind() {
                ErrorKind::NotFound => {
                    let missing = Error::new(ErrorKind::KeyUnavailable, "the opening file of the keyring is missing");
                    missing.in_file(&dirs[0].join(NAME))
                }
                _ => error.clone(),
            };
            return Err(error.hint(hint));
        }
    };
    let token = env::random(env).map_err(super::fold::no_randomness)?;
    let new = OpeningToken { number: registration.opening.number + 1, token };
    // A foreign opening is not written down as ours: should the custodian refuse, this stays the copy that it is.
    let ours = intent.is_of(&registration.opening);
    let current = if ours { registration.opening } else { intent.current };
    let intent = OpeningIntent { generation: intent.generation + 1, store: intent.store, current, intended: new };
    write(env, dirs, &intent)?;
    custodian.register(&registration.opening, &new)?;
    Ok(new.number)
}
