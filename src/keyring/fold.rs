//! A new root: entries folded into the tree, some or all of it carried over into a new log file, or entries removed for
//! good. What arrives meanwhile is sealed anew under the new tree; only a removal destroys older roots.

use crate::sync::atomic::Ordering;
use crate::sync::{Arc, MutexGuard};

use zeroize::Zeroizing;

use super::custodian::Evidence;
use super::log::{Log, locked};
use super::rewrite::{Carry, Changes, Rewriter};
use super::roots::{Slot, read_roots, write_roots};
use super::state::{State, Unfolded};
use super::tree::Tree;
use super::{Access, Keyring};
use crate::crypto::{Digest, Key, NONCE_BYTES, Nonce, sha256};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Malformed;
use crate::format::keyring::{CROWN_LEVEL, EntryKind, NodeHead, TreeKey, seal_node};
use crate::format::keyring_root::{RootRecord, RootSlot};
use crate::format::keyring_tree::{Child, Crown, Item, Payload};

/// What a fold did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Entries that the tree holds now and did not before.
    pub entries: u64,
    /// The epoch of the new root.
    pub epoch: u64,
    /// Whether all that was alive has been carried over to a new file, and what was before is gone.
    pub compacted: bool,
}

/// A fresh key.
pub(super) fn random_key(env: &dyn env::Env) -> Result<Key> {
    let mut bytes = env::random(env).map_err(no_randomness)?;
    Ok(Key::take(&mut bytes))
}

/// What the operating system said when it was asked for random bytes.
pub(super) fn no_randomness(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot draw random bytes").caused_by(error)
}

/// About so many entries are sealed anew while everybody waits. Tests have few.
const FEW: usize = if cfg!(test) { 2 } else { 128 };

/// So many are sealed anew before they are written out: half a MiB. Tests have few.
const AT_ONCE: usize = if cfg!(test) { 3 } else { 2048 };

/// About so many bytes are carried over with one fold: what comes meanwhile waits in memory. In tests it is a leaf.
const SHARE_BYTES: u64 = if cfg!(test) { 1 } else { 64 << 20 };

/// What of a tree is written to the next log file, besides what entries and changes fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Nothing,
    Share,
    Everything,
}

/// Everything under the crown of a tree to be, and what the crown and the root must say about it.
struct Draft {
    log: Arc<Log>,
    before: Option<Arc<Log>>,
    epoch: u64,
    top: Child,
    level: u8,
    next_node: u64,
    live_bytes: u64,
    folded: u64,
    gone: u64,
    ledger: (u64, Digest),
}

impl Keyring {
    /// Folds what was appended into the tree and seals a new root, which names the `ledger` by length and head. What is
    /// appended meanwhile stays unfolded. No older root is destroyed.
    ///
    /// # Errors
    /// Whatever writing, syncing or the custodian says; the keyring is then [`ErrorKind::Poisoned`] unless nothing was
    /// written yet.
    pub fn fold(&self, ledger: (u64, Digest)) -> Result<Folded> {
        self.rewrite(ledger, Extent::Nothing, &Changes::new(), &mut locked(&self.folding))
    }

    /// The same, and carries the next share of the living tree over to a new log file, the first share into one that it
    /// begins. With the last, the file before is removed.
    ///
    /// # Errors
    /// As [`Keyring::fold`].
    pub fn carry(&self, ledger: (u64, Digest)) -> Result<Folded> {
        self.rewrite(ledger, Extent::Share, &Changes::new(), &mut locked(&self.folding))
    }

    /// The same with all of the living tree, in one go. What comes meanwhile waits in memory, so that this is for short
    /// logs.
    ///
    /// # Errors
    /// As [`Keyring::fold`].
    pub fn compact(&self, ledger: (u64, Digest)) -> Result<Folded> {
        self.rewrite(ledger, Extent::Everything, &Changes::new(), &mut locked(&self.folding))
    }

    /// Replaces and removes entries under a new root, and has the custodian destroy every older one: from then on
    /// nothing written before opens what was removed. The caller has seen to it that nobody uses these entries
    /// meanwhile. Repeatable: what is gone stays gone.
    ///
    /// # Errors
    /// As [`Keyring::fold`], or the custodian's: the change may then be durable without older roots being destroyed.
    pub fn shred(&self, changes: &Changes, ledger: (u64, Digest)) -> Result<(Folded, Evidence)> {
        let mut carried = locked(&self.folding);
        // Whoever looks past the caches waits, so that nothing dead gets into them again.
        let _stripes: Vec<_> = self.stripes.iter().map(locked).collect();
        let folded = self.rewrite(ledger, Extent::Nothing, changes, &mut carried)?;
        self.forget();
        self.read_back(folded.epoch)?;
        let evidence = self.custodian.destroy_before(folded.epoch)?;
        Ok((folded, evidence))
    }

    /// Reads the root and the crown under it from the disk, not from a cache, before older ones are given up.
    fn read_back(&self, epoch: u64) -> Result<()> {
        let roots = read_roots(&*self.env, &self.dirs, &self.store, true)?;
        let tree = locked(&self.state).tree.clone();
        tree.files().flat_map(|log| log.mirrors()).for_each(|mirror| mirror.file.drop_cache());
        let record =
            RootRecord::decode(&self.custodian.open(&roots.newest.sealed)?).map_err(|what| self.damage(what))?;
        let whole = roots.slots.iter().flatten().all(|slot| matches!(slot, Slot::Whole(slot) if slot.epoch == epoch));
        if !whole || record.epoch != epoch {
            return Err(self.damage(Malformed("the new root does not read back as it was written")));
        }
        Tree::open(self.store, (tree.log.clone(), tree.before.clone()), record).map(|_| ())
    }

    /// How many of the customers to be removed there are.
    fn gone(&self, changes: &Changes) -> Result<u64> {
        let removed =
            changes.iter().filter(|(key, change)| change.is_none() && key.kind() == EntryKind::Customer as u8);
        removed.map(|(key, _)| Ok(u64::from(self.find(key)?.is_some()))).sum()
    }

    /// What is to be taken into a new tree, in order: the unfolded entries, of several under one key the last, and on top of
    /// them the changes.
    fn incoming(unfolded: &[Arc<Unfolded>], folded: u64, changes: &Changes) -> Vec<Item> {
        let item =
            |entry: &Arc<Unfolded>| Item { key: entry.key, number: entry.number, payload: entry.payload.clone() };
        let changed = |(key, change): (&TreeKey, &Option<Payload>)| {
            let payload = change.clone().unwrap_or_else(|| Payload::own(Zeroizing::default()));
            Item { key: *key, number: folded, payload }
        };
        let mut items: Vec<Item> = unfolded.iter().rev().map(item).collect();
        items.splice(0..0, changes.iter().map(changed));
        // In the order of keys, and under each what counts first.
        items.sort_by_key(|item| item.key);
        items.dedup_by_key(|item| item.key);
        items
    }

    /// Writes a new tree and puts it in force. `carried` is up to where leaves have been carried over.
    fn rewrite(
        &self,
        ledger: (u64, Digest),
        extent: Extent,
        changes: &Changes,
        carried: &mut TreeKey,
    ) -> Result<Folded> {
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Invalid, "the keyring is open for reading only"));
        }
        let (tree, chains, unfolded, folded) = {
            let state = locked(&self.state);
            (state.tree.clone(), state.chains.clone(), state.since(0), state.next_number - 1)
        };
        let items = Keyring::incoming(&unfolded, folded, changes);
        drop(unfolded);
        #[cfg(test)]
        meanwhile::happen(self);
        tree.log.check()?;
        let gone = self.gone(changes)?;
        let epoch = self.custodian.next_epoch()?;
        let begins = extent == Extent::Everything || (extent == Extent::Share && tree.before.is_none());
        let log = match begins {
            true => {
                let place = (tree.root.file + 1, tree.log.end());
                Arc::new(Log::create(&*self.env, &self.dirs, place, &self.store)?)
            }
            false => tree.log.clone(),
        };
        let left = match extent {
            Extent::Nothing => 0,
            Extent::Share => SHARE_BYTES,
            Extent::Everything => u64::MAX,
        };
        let from = if begins { TreeKey::default() } else { *carried };
        let carry = Carry { before: log.base(), from: Some(from), left };
        let mut rewriter = Rewriter {
            keyring: self,
            tree: &tree,
            log: &log,
            epoch,
            chains: &chains,
            changes,
            carry,
            next_node: tree.crown.next_node,
            live_bytes: tree.crown.live_bytes,
        };
        let (top, level) = rewriter.run(&items).inspect_err(|_| {
            // The names of the nodes written so far will be given again.
            self.nodes.clear();
        })?;
        let (next_node, live_bytes, carry) = (rewriter.next_node, rewriter.live_bytes, rewriter.carry);
        let before = match (carry.from, begins) {
            (None, _) => None,
            (Some(_), true) => Some(tree.log.clone()),
            (Some(_), false) => tree.before.clone(),
        };
        let log = if begins { self.begin(&tree, log)? } else { log };
        self.install(&tree, Draft { log, before, epoch, top, level, next_node, live_bytes, folded, gone, ledger })?;
        *carried = carry.from.unwrap_or_default();
        self.give_up(&tree)?;
        let compacted = carry.from.is_none();
        Ok(Folded { entries: folded.saturating_sub(tree.crown.folded), epoch, compacted })
    }

    /// Gives the next log file its name, all that is in it and in the one before being durable.
    fn begin(&self, tree: &Tree, log: Arc<Log>) -> Result<Arc<Log>> {
        tree.log.sync()?;
        log.sync()?;
        let mut log = Arc::into_inner(log).ok_or_else(|| Error::new(ErrorKind::Io, "the new file is in use"))?;
        log.publish(&*self.env)?;
        Ok(Arc::new(log))
    }

    /// Writes the crown, seals what arrived meanwhile anew under the new tree, makes all of it durable, then the root. Where
    /// that fails, nothing is written any more.
    fn install(&self, old: &Tree, draft: Draft) -> Result<()> {
        let (epoch, ledger) = (draft.epoch, draft.ledger);
        let (tree, last, _syncing) = self.switch(old, draft).inspect_err(|error| old.log.poison(error))?;
        let seal = || {
            tree.log.sync()?;
            let sealed = self.custodian.seal(epoch, &tree.root.encode())?;
            write_roots(&*self.env, &self.dirs, &RootSlot { store: self.store, epoch, sealed })?;
            self.durable.store(last, Ordering::Release);
            self.custodian.advance(ledger.0, &ledger.1)
        };
        // While nobody else can sync: what is sealed under a tree that no root on disk names must not count as durable.
        seal().inspect_err(|error| tree.log.poison(error))
    }

    /// Puts the new tree in the place of the old one. What came meanwhile is sealed anew under it while more comes under the
    /// old one, in rounds for as long as each has fewer than the one before: whoever appends waits no longer than it takes for
    /// the last few.
    fn switch(&self, old: &Tree, draft: Draft) -> Result<(Arc<Tree>, u64, MutexGuard<'_, ()>)> {
        let mut done = draft.folded;
        let (key, route) = (random_key(&*self.env)?, random_key(&*self.env)?);
        let nonce = env::random::<NONCE_BYTES>(&*self.env).map_err(no_randomness)?;
        let mut new = State::over(self.crowned(&locked(&self.state), old, draft, (key, route, nonce)));
        let mut before = usize::MAX;
        loop {
            // First, so that what comes during it is seen.
            new.tree.log.sync()?;
            #[cfg(test)]
            meanwhile::happen(self);
            let late = locked(&self.state).since(done);
            if late.len() <= FEW || late.len() >= before {
                break;
            }
            before = late.len();
            for some in late.chunks(AT_ONCE) {
                done = self.take_over(&mut new, some)?.max(done);
                new.tree.log.write_out()?;
            }
        }
        let syncing = locked(&self.syncing);
        let mut state = locked(&self.state);
        let (tree, last) = self.replace(&mut state, new, done)?;
        Ok((tree, last, syncing))
    }

    /// Writes the crown. The tree under it counts what was folded.
    fn crowned(&self, state: &State, old: &Tree, draft: Draft, (key, route, nonce): (Key, Key, Nonce)) -> Arc<Tree> {
        let crown = Crown {
            lookup: old.crown.lookup.duplicate(),
            route,
            level: draft.level,
            top: draft.top,
            next_node: draft.next_node + 1,
            live_bytes: draft.live_bytes,
            folded: draft.folded,
        };
        let head = NodeHead { id: draft.next_node, level: CROWN_LEVEL, epoch: draft.epoch };
        let mut hash = Digest::default();
        let place = draft.log.append(|out| {
            let start = out.len();
            seal_node(out, &self.store, &head, &key, &nonce, &crown.encode());
            hash = sha256(&out[start..]);
        });
        let is_first = |entry: &&Arc<Unfolded>| entry.first && entry.key.kind() == EntryKind::Customer as u8;
        let firsts = state.since(draft.folded).iter().filter(is_first).count() as u64;
        let root = RootRecord {
            store: self.store,
            epoch: draft.epoch,
            file: draft.log.number(),
            oldest: draft.before.as_ref().map_or(draft.log.number(), |before| before.number()),
            crown: place,
            crown_id: head.id,
            crown_key: key,
            crown_hash: hash,
            fold: place.offset + u64::from(place.length),
            next_entry: draft.folded + 1,
            next_partition: state.next_partition,
            customers: (state.customers - firsts).saturating_sub(draft.gone),
            ledger_length: draft.ledger.0,
            ledger_head: draft.ledger.1,
        };
        Arc::new(Tree::under(self.store, (draft.log, draft.before), root, crown))
    }

    /// Seals entries of an older state anew; returns the number of the last one.
    fn take_over(&self, new: &mut State, late: &[Arc<Unfolded>]) -> Result<u64> {
        let tree = new.tree.clone();
        for entry in late {
            let leaf = tree.leaf_of(&self.nodes, &entry.key)?;
            let nonces = self.nonces()?;
            let copy =
                Unfolded { key: entry.key, number: entry.number, first: entry.first, payload: entry.payload.clone() };
            new.push(&leaf, copy, nonces, self.durable());
        }
        Ok(late.last().map_or(0, |entry| entry.number))
    }

    /// Takes over what is not `done` yet, and then the place of the state that was in force.
    fn replace(&self, state: &mut State, mut new: State, done: u64) -> Result<(Arc<Tree>, u64)> {
        self.take_over(&mut new, &state.since(done))?;
        new.next_partition = state.next_partition;
        let (tree, last) = (new.tree.clone(), new.next_number - 1);
        *state = new;
        Ok((tree, last))
    }

    /// Removes the files of an `old` tree that the one in force does not reach into, and gives back what is reserved in one
    /// that is not written any more.
    fn give_up(&self, old: &Tree) -> Result<()> {
        let tree = locked(&self.state).tree.clone();
        for log in old.files().filter(|log| !tree.files().any(|kept| kept.number() == log.number())) {
            for mirror in log.mirrors() {
                self.env
                    .remove_file(&mirror.path)
                    .and_then(|()| self.env.sync_dir(env::parent(&mirror.path)))
                    .map_err(|error| Error::io("remove a keyring file", &mirror.path, error))?;
            }
        }
        match &tree.before {
            Some(before) if before.number() == old.log.number() => before.trim(),
            _ => Ok(()),
        }
    }
}

/// What comes while a new tree is made and entries are sealed anew: tests say so, here on the one thread that they have.
#[cfg(test)]
pub(super) mod meanwhile {
    use std::cell::RefCell;

    use super::Keyring;

    type Event = Box<dyn FnMut(&Keyring)>;

    thread_local! {
        static EVENT: RefCell<Option<Event>> = const { RefCell::new(None) };
    }

    /// Does `work`, and whenever somebody else could come first in it, `event`.
    pub fn during<T>(event: impl FnMut(&Keyring) + 'static, work: impl FnOnce() -> T) -> T {
        EVENT.set(Some(Box::new(event)));
        let done = work();
        EVENT.take();
        done
    }

    pub(super) fn happen(keyring: &Keyring) {
        if let Some(mut event) = EVENT.take() {
            event(keyring);
            EVENT.set(Some(event));
        }
    }
}
