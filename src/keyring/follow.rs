//! How a reader follows a living writer: the entries appended since, or a whole new root. It writes nothing.

use crate::sync::atomic::Ordering;
use std::io;

use super::log::locked;
use super::open::{Site, TAIL_LIMIT, load_for_reading, take_in};
use super::roots::read_roots;
use super::scan::{Scan, scan};
use super::tree::Nodes;
use super::{Access, Keyring};
use crate::env::File;
use crate::error::{Error, Result};
use crate::format::bytes::is_zero;

/// What may be cached while a new root is read.
const CACHE_BYTES: usize = 1 << 20;
/// What is new is read in pieces of this many bytes, since there is often nothing.
const FIRST_PIECE: usize = 1 << 12;
const PIECE: usize = 1 << 16;

/// The bytes of `file` from `start` on, up to the first piece of nothing but zeros: space that is only reserved.
fn written_since(file: &dyn File, start: u64) -> io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    while (tail.len() as u64) < TAIL_LIMIT {
        let before = tail.len();
        tail.resize(before + if before == 0 { FIRST_PIECE } else { PIECE }, 0);
        let mut filled = before;
        while filled < tail.len() {
            match file.read_at(&mut tail[filled..], start + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        tail.truncate(filled);
        if is_zero(&tail[before..]) {
            break;
        }
    }
    Ok(tail)
}

impl Keyring {
    /// Reads what a living writer has written since: new entries, or a whole new root. Returns whether there was
    /// anything. For readers; a writer knows already.
    ///
    /// # Errors
    /// As [`Keyring::open`]; the keyring then goes on with what it had.
    pub fn refresh(&self) -> Result<bool> {
        if self.access == Access::Write {
            return Ok(false);
        }
        let _folding = locked(&self.folding);
        let before = (self.epoch(), self.appended());
        let site = Site {
            env: self.env.clone(),
            dirs: self.dirs.clone(),
            custodian: self.custodian.clone(),
            store: self.store,
        };
        let fresh = Nodes::new(CACHE_BYTES);
        let (loaded, changed) = match self.more()? {
            Some(changed) => return Ok(changed),
            None => load_for_reading(&site, &fresh, self.floor).map(|loaded| {
                let after = (loaded.state.tree.root.epoch, loaded.state.next_number - 1);
                (loaded, after != before)
            })?,
        };
        let _stripes: Vec<_> = self.stripes.iter().map(locked).collect();
        self.durable.store(loaded.state.next_number - 1, Ordering::Release);
        *locked(&self.state) = loaded.state;
        self.forget();
        Ok(changed)
    }

    /// Whether a writer has sealed another root since this one was read.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn root_changed(&self) -> Result<bool> {
        let roots = read_roots(&*self.env, &self.dirs, &self.store, false)?;
        Ok(roots.newest.epoch != self.epoch())
    }

    /// Drops everything decoded.
    pub(super) fn forget(&self) {
        self.nodes.clear();
        self.customers.clear();
        self.partitions.clear();
    }

    /// Under the same root: takes in the entries appended since. None where there is another root.
    fn more(&self) -> Result<Option<bool>> {
        if self.root_changed()? {
            return Ok(None);
        }
        let (tree, scanned, next) = {
            let state = locked(&self.state);
            (state.tree.clone(), state.scanned, state.next_number)
        };
        let mut best: Option<(Scan, Vec<u8>)> = None;
        for mirror in tree.log.mirrors() {
            let tail = written_since(&*mirror.file, scanned - tree.log.base())
                .map_err(|error| Error::io("read the keyring", &mirror.path, error))?;
            let found = scan(&tail, scanned, tree.root.epoch, next);
            if best.as_ref().is_none_or(|(held, _)| held.next < found.next) {
                best = Some((found, tail));
            }
        }
        let Some((found, tail)) = best else { return Ok(Some(false)) };
        let _stripes: Vec<_> = self.stripes.iter().map(locked).collect();
        let mut state = locked(&self.state);
        for place in &found.entries {
            take_in(&mut state, &self.nodes, &tail, scanned, *place)?;
        }
        state.scanned = found.valid;
        self.durable.store(state.next_number - 1, Ordering::Release);
        if !found.entries.is_empty() {
            self.customers.clear();
            self.partitions.clear();
        }
        Ok(Some(!found.entries.is_empty()))
    }
}
