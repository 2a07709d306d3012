//! Replaying commits: where an append that never finished is told from damage.

use std::path::{Path, PathBuf};

use super::{Fact, State};
use crate::crypto::{Digest, Frontier};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Commit, Leaf, Snapshot};
use crate::ident::StoreId;

/// What has been replayed so far.
pub(super) struct Replay {
    store: StoreId,
    pub(super) tree: Frontier,
    /// `None` before the first leaf of the store.
    state: Option<State>,
    /// A length and the head that must be found there.
    expect: Option<(u64, Digest)>,
    /// Where another head was found at that length. A gap further on may account for it.
    missed: Option<(PathBuf, u64)>,
    changed: bool,
}

impl Replay {
    /// From the start of a file.
    pub(super) fn new(store: StoreId, snapshot: Option<Snapshot>, expect: Option<(u64, Digest)>) -> Self {
        let (tree, state) = match snapshot {
            Some(Snapshot { frontier, state }) => (frontier, Some(state)),
            None => (Frontier::default(), None),
        };
        Replay { store, tree, state, expect, missed: None, changed: false }
    }

    /// From where a reader is.
    pub(super) fn continuing(tree: &Frontier, state: &State) -> Self {
        Replay {
            store: state.store,
            tree: tree.clone(),
            state: Some(state.clone()),
            expect: None,
            missed: None,
            changed: false,
        }
    }

    /// Takes note of whether the expected head was found.
    pub(super) fn confirm(&mut self, path: &Path, offset: u64, found: bool) {
        match found {
            true => self.expect = None,
            false => self.missed = Some((path.to_path_buf(), offset)),
        }
    }

    /// Whether the expected head has not been found so far.
    pub(super) fn expects(&self) -> bool {
        self.expect.is_some()
    }

    /// What is still to be found, handed on to the next file.
    pub(super) fn take_expect(&mut self) -> Option<(u64, Digest)> {
        self.expect.take()
    }

    /// Replays the commits in `bytes`, which begin at `base` of the file. Returns where the last whole one ends: what
    /// follows is an append that never finished.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] at a commit that is damaged and followed by another, or whose leaves cannot be;
    /// [`ErrorKind::Unsupported`] at a leaf of an unknown kind.
    pub(super) fn commits(
        &mut self,
        path: &Path,
        file: u64,
        snapshot_hash: Option<Digest>,
        bytes: &[u8],
        base: u64,
    ) -> Result<u64> {
        let mut at = 0;
        let mut snapshot_hash = snapshot_hash;
        while at < bytes.len() {
            let offset = base + at as u64;
            match Commit::parse(&bytes[at..], &self.store) {
                Ok(commit) => {
                    self.commit(path, file, snapshot_hash.take(), &commit, offset)?;
                    at += commit.length;
                }
                Err(flaw) if Commit::any_after(&bytes[at + 1..], &self.store, self.tree.length()) => {
                    return Err(Error::corrupt(path, offset, flaw.0).hint("restore the file from a backup"));
                }
                Err(_) => break,
            }
        }
        Ok(base + at as u64)
    }

    fn commit(
        &mut self,
        path: &Path,
        file: u64,
        snapshot_hash: Option<Digest>,
        commit: &Commit<'_>,
        offset: u64,
    ) -> Result<()> {
        let corrupt = |what: &str| Error::corrupt(path, offset, what);
        if commit.first != self.tree.length() {
            return Err(corrupt("a commit of the ledger is out of place"));
        }
        let leaves = commit.leaves().map_err(|flaw| corrupt(flaw.0))?;
        let mut snapshot_hash = snapshot_hash;
        for leaf in &leaves {
            let fact = leaf.fact().map_err(|flaw| corrupt(flaw.0))?.ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, "the ledger has a leaf of a kind that this version does not know")
                    .at(path, offset)
                    .hint("use the version of Tenure that wrote it, or a later one")
            })?;
            match snapshot_hash.take() {
                None => self.leaf(leaf, &fact).map_err(corrupt)?,
                Some(hash) if fact == (Fact::SnapshotTaken { file, hash }) => {
                    self.snapshot_leaf(leaf, &fact).map_err(corrupt)?;
                }
                Some(_) => return Err(corrupt("the first leaf of the file does not vouch for its snapshot")),
            }
            self.tree.push(leaf.bytes);
            self.changed = true;
            if let Some((_, head)) = self.expect.filter(|(length, _)| *length == self.tree.length()) {
                self.confirm(path, offset, self.tree.head() == head);
            }
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, fact: &Fact) -> Result<(), &'static str> {
        match (&mut self.state, fact) {
            (Some(state), _) if leaf.time < state.watermark => Err("time runs back from one leaf to the next"),
            (Some(state), fact) => state.apply(fact, leaf.time).map_err(|flaw| flaw.0),
            (state, Fact::StoreCreated { store, format }) if *store == self.store => {
                *state = Some(State::created(*store, *format, leaf.time));
                Ok(())
            }
            (None, _) => Err("the first leaf does not create this store"),
        }
    }

    fn snapshot_leaf(&mut self, leaf: &Leaf<'_>, fact: &Fact) -> Result<(), &'static str> {
        match &mut self.state {
            Some(state) if leaf.time >= state.watermark => {
                state.snapshot_taken(fact, leaf.time);
                Ok(())
            }
            _ => Err("time runs back from one leaf to the next"),
        }
    }

    /// What it all adds up to, given that the file has no more whole commits after `end`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the file holds no commit at all, or ends before the expected length.
    pub(super) fn finish(self, path: &Path, end: u64, unfinished: u64) -> Result<(Frontier, State)> {
        let gap = self.state.as_ref().and_then(|state| state.gap.as_ref());
        let accounted = gap.map(|gap| (gap.length, gap.head)) == self.expect;
        if let Some((length, _)) = self.expect.filter(|_| !accounted) {
            return Err(match (self.missed, unfinished) {
                (Some((path, offset)), _) => {
                    Error::corrupt(&path, offset, "the ledger is not the one that the keyring's mark names").hint(
                        "was it restored from a backup, or exchanged? put back the newest, or open it as restored",
                    )
                }
                (None, 0) => {
                    Error::corrupt(path, end, format!("the ledger has {} leaves of {length}", self.tree.length())).hint(
                        "it is older than the keyring's mark: if it was restored from a backup, open it with --restored REASON",
                    )
                }
                _ => Error::corrupt(path, end, "a commit is damaged that is known to have been durable")
                    .hint("restore the file from a backup"),
            });
        }
        match (self.changed, self.state) {
            (true, Some(state)) => Ok((self.tree, state)),
            // A file appears with its first commit in it, or not at all.
            _ => Err(Error::corrupt(path, end, "the first commit of a ledger file is damaged")),
        }
    }

    /// Tree and state, where anything was replayed.
    pub(super) fn changed(self) -> Option<(Frontier, State)> {
        let state = self.state.filter(|_| self.changed)?;
        Some((self.tree, state))
    }
}
