//! Making a keyring whole again before it is written: the end of the log, mirrors that are missing or behind, and
//! what interrupted steps left. What is right was decided when it was opened; here it is only written.

use crate::sync::Arc;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::log::{Log, Mirror, log_path};
use super::open::{Loaded, Site, log_number, open_root};
use super::tree::Tree;
use crate::env::{self, File, OpenMode, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{FRONT_BYTES, LOG_HEAD_BYTES, LogFrame, frame_length};

/// Copying a mirror goes in pieces of this many bytes.
const COPY_BYTES: usize = 1 << 20;

/// Makes every mirror's log end as the best one does: what is kept is written again, so that it is on the disk whatever
/// the cache knew; what is beyond is cut.
pub(super) fn mend_tails(loaded: &Loaded) -> Result<u64> {
    let Some(best) = &loaded.copies[loaded.best] else { return Ok(0) };
    let (fold, valid) = (loaded.state.tree.root.fold - best.base, best.scan.valid - best.base);
    let kept = &best.tail[..(valid - fold) as usize];
    let mut mended = 0;
    for copy in loaded.copies.iter().flatten() {
        let same = copy.tail == kept && !copy.patched;
        if same && kept.is_empty() {
            continue;
        }
        let Mirror { path, file } = &copy.mirror;
        env::write_all_at(&**file, kept, fold)
            .and_then(|()| file.set_len(valid))
            .and_then(|()| file.sync_data())
            .map_err(|error| Error::io("mend the end of the keyring", path, error))?;
        let own = copy.tail.get(..kept.len()).is_some_and(|own| own == kept);
        mended += u64::from(!own || copy.patched);
    }
    Ok(mended)
}

/// Copies the best mirror's log over those that are missing, damaged or behind, and so the file before. Returns in how many
/// mirrors something was mended.
pub(super) fn mend_copies(site: &Site, loaded: &mut Loaded) -> Result<u64> {
    let Some(best) = &loaded.copies[loaded.best] else { return Ok(0) };
    let (base, valid) = (best.base, best.scan.valid);
    let root = &loaded.state.tree.root;
    let copies = loaded.copies.iter().map(|copy| copy.as_ref().map(|copy| copy.mirror.clone())).collect();
    let (mirrors, mut mended) = complete(site, (root.file, valid - base), copies, loaded.best)?;
    let before = match &loaded.before {
        None => None,
        Some(before) => {
            let length = base - before.base;
            let whole = before.mirrors.iter().position(Option::is_some).unwrap_or(loaded.best);
            let (mirrors, copied) = complete(site, (root.oldest, length), before.mirrors.clone(), whole)?;
            mended.extend(copied);
            Some(Arc::new(Log::over((root.oldest, before.base), mirrors, base, true)))
        }
    };
    if !mended.is_empty() {
        // The tree is opened again over all mirrors; nobody has seen the first one.
        let record = open_root(site, &loaded.roots)?;
        let log = Arc::new(Log::over((record.file, base), mirrors, valid, true));
        loaded.state.tree = Arc::new(Tree::open(site.store, (log, before), record)?);
    }
    Ok(mended.len() as u64)
}

/// Copies the first `length` bytes of a file from its `best` mirror to every directory where it is not. Returns all of them,
/// the best one first, and which were copied.
fn complete(
    site: &Site,
    (number, length): (u64, u64),
    found: Vec<Option<Mirror>>,
    best: usize,
) -> Result<(Vec<Mirror>, BTreeSet<usize>)> {
    let Some(from) = found.get(best).cloned().flatten() else {
        return Err(Error::new(ErrorKind::Invalid, "a keyring in no directory"));
    };
    let (mut mirrors, mut copied) = (vec![from.clone()], BTreeSet::new());
    for (index, (dir, mirror)) in site.dirs.iter().zip(found).enumerate().filter(|(index, _)| *index != best) {
        mirrors.push(match mirror {
            Some(mirror) => mirror,
            None => {
                copied.insert(index);
                copy_log(site, &from, dir, number, length)?
            }
        });
    }
    Ok((mirrors, copied))
}

fn copy_log(site: &Site, from: &Mirror, dir: &Path, number: u64, end: u64) -> Result<Mirror> {
    let path = log_path(dir, number);
    let copy = || -> io::Result<Mirror> {
        env::create_dirs(&*site.env, dir)?;
        let temporary = env::temporary_name(&*site.env, &path)?;
        let file = site.env.open(&temporary, OpenMode::CreateNew)?;
        // What is behind may still hold frames that the best mirror has lost since.
        let old = site.env.open(&path, OpenMode::Read).ok();
        copy_frames(&*from.file, old.as_deref(), &*file, end)?;
        file.sync_data()?;
        match site.env.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        site.env.rename_new(&temporary, &path)?;
        site.env.sync_dir(dir)?;
        Ok(Mirror { path: path.clone(), file })
    };
    copy().map_err(|error| Error::io("mend a mirror of the keyring", &path, error))
}

/// The frame at `offset`, if its checksum fits.
fn whole_frame(file: &dyn File, offset: u64) -> Option<Vec<u8>> {
    let mut front = [0; FRONT_BYTES];
    env::read_exact_at(file, &mut front, offset).ok()?;
    let mut frame = vec![0; frame_length(&front).ok()?];
    env::read_exact_at(file, &mut frame, offset).ok()?;
    LogFrame::parse(&frame).is_ok().then_some(frame)
}

/// Copies the head and all frames before `end`, each from the first of the two files that has it whole. From where
/// neither has one, what follows is copied as it is: reading it will say so.
fn copy_frames(from: &dyn File, old: Option<&dyn File>, to: &dyn File, end: u64) -> io::Result<()> {
    let mut waiting = vec![0; LOG_HEAD_BYTES];
    env::read_exact_at(from, &mut waiting, 0)?;
    let (mut written, mut offset) = (0, LOG_HEAD_BYTES as u64);
    while offset < end {
        let frame = whole_frame(from, offset).or_else(|| whole_frame(old?, offset));
        let piece = match frame {
            Some(frame) => frame,
            None => {
                let mut rest = vec![0; COPY_BYTES.min((end - offset) as usize)];
                env::read_exact_at(from, &mut rest, offset)?;
                rest
            }
        };
        offset += piece.len() as u64;
        waiting.extend_from_slice(&piece);
        if waiting.len() >= COPY_BYTES || offset >= end {
            env::write_all_at(to, &waiting, written)?;
            written += waiting.len() as u64;
            waiting.clear();
        }
    }
    Ok(())
}

/// Removes temporary files, and log files that the root does not name.
pub(super) fn sweep(site: &Site, tree: &Tree) -> Result<()> {
    let named = tree.root.oldest..=tree.root.file;
    for dir in &site.dirs {
        let io = |error| Error::io("clear the keyring's directory", dir, error);
        let mut removed = false;
        for entry in site.env.list(dir).map_err(io)? {
            let stray = log_number(&entry.name).is_some_and(|number| !named.contains(&number));
            if stray || entry.name.ends_with(TEMPORARY) {
                site.env.remove_file(&dir.join(&entry.name)).map_err(io)?;
                removed = true;
            }
        }
        if removed {
            site.env.sync_dir(dir).map_err(io)?;
        }
    }
    Ok(())
}
