//! Sweeping after an unclean end: temporaries, and segments and dictionaries that no fact of the ledger names. What is visible is decided
//! by the ledger, never by which files are there. Names that are not ours are left alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Engine, access, dictionaries, request};
use crate::env::{Env, TEMPORARY};
use crate::error::{Error, Result};
use crate::segment;

/// Removes temporaries, and segments and dictionaries that no fact names. Names that are not ours are left alone.
pub fn sweep(engine: &Engine) -> Result<u64> {
    let named: HashSet<PathBuf> = {
        let snapshot = engine.catalog.snapshot();
        let segments = snapshot.view.segments.values().flatten().map(|slot| slot.path.clone());
        let ledger = engine.ledger();
        let dictionaries = ledger.state().dictionaries.values().flatten();
        segments.chain(dictionaries.map(|fact| dictionaries::path(&engine.root, fact))).collect()
    };
    let mut dirs = vec![engine.root.clone()];
    dirs.extend(["journal", "ledger", request::DIRECTORY, access::DIRECTORY].map(|name| engine.root.join(name)));
    dirs.extend(directories(&*engine.env, &engine.root)?);
    let mut swept = 0;
    for path in files(&*engine.env, &dirs)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = segment::number(name).is_some() || dictionaries::id_of(name).is_some();
        let stranger = ours && !named.contains(&path);
        if stranger || name.ends_with(TEMPORARY) {
            engine.env.remove_file(&path).map_err(|error| Error::io("remove a leftover", &path, error))?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Every file among the segments whose name has a number, as `number` reads it: all segments or all dictionaries, named by
/// a fact or not.
///
/// # Errors
/// What the operating system answers.
pub fn files_named<T>(env: &dyn Env, root: &Path, number: fn(&str) -> Option<T>) -> Result<Vec<PathBuf>> {
    let mut files = files(env, &directories(env, root)?)?;
    files.retain(|path| path.file_name().and_then(|name| name.to_str()).and_then(number).is_some());
    Ok(files)
}

/// The directory of segments and those below it, three deep.
fn directories(env: &dyn Env, root: &Path) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    let mut below = vec![(root.join("segments"), 0)];
    while let Some((dir, depth)) = below.pop() {
        for entry in env.list(&dir).map_err(|error| Error::io("list a directory", &dir, error))? {
            if entry.is_dir && depth < 3 {
                below.push((dir.join(&entry.name), depth + 1));
            }
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

fn files(env: &dyn Env, dirs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in dirs {
        let entries = env.list(dir).map_err(|error| Error::io("list a directory", dir, error))?;
        files.extend(entries.iter().filter(|entry| !entry.is_dir).map(|entry| dir.join(&entry.name)));
    }
    Ok(files)
}
