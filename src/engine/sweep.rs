//! Sweeping after an unclean end: temporaries, and segments that no fact of the ledger names. What is visible is decided
//! by the ledger, never by which files are there. Names that are not ours are left alone.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{Engine, request};
use crate::env::TEMPORARY;
use crate::error::{Error, Result};
use crate::segment;

/// Removes temporaries and segments that no fact names. Names that are not ours are left alone.
pub fn sweep(engine: &Engine) -> Result<u64> {
    let named: HashSet<PathBuf> = {
        let snapshot = engine.catalog.snapshot();
        snapshot.view.segments.values().flatten().map(|slot| slot.path.clone()).collect()
    };
    let mut dirs = vec![engine.root.clone()];
    dirs.extend(["journal", "ledger", request::DIRECTORY].map(|name| engine.root.join(name)));
    let mut swept = 0;
    let mut below = vec![(engine.root.join("segments"), 0)];
    while let Some((dir, depth)) = below.pop() {
        for entry in engine.env.list(&dir).map_err(|error| Error::io("list a directory", &dir, error))? {
            if entry.is_dir && depth < 3 {
                below.push((dir.join(&entry.name), depth + 1));
            }
        }
        dirs.push(dir);
    }
    for dir in dirs {
        for entry in engine.env.list(&dir).map_err(|error| Error::io("list a directory", &dir, error))? {
            let path = dir.join(&entry.name);
            let stranger = segment::number(&entry.name).is_some() && !named.contains(&path);
            if !entry.is_dir && (stranger || entry.name.ends_with(TEMPORARY)) {
                engine.env.remove_file(&path).map_err(|error| Error::io("remove a leftover", &path, error))?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}
