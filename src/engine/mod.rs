//! The engine: what exists, how groups commit, and the repeatable steps (settle, merge) that the verbs are made of.
//!
//! It wires the file rooms together and knows no verb. Locks are taken in this order and none is held across a sync but
//! the ledger's own: housekeeping, settling, writing (inside the committer), ledger, catalog.

pub mod access;
pub mod acts;
pub mod admit;
pub mod amend;
pub mod ballast;
pub mod carry;
pub mod catalog;
pub mod cells;
pub mod column;
pub mod committer;
pub mod dictionaries;
pub mod due;
pub mod duty;
pub mod encode;
pub mod erase;
pub mod explode;
pub mod fence;
pub mod forget;
pub mod hint;
pub mod hold;
pub mod housekeeping;
pub mod judge;
pub mod large;
mod lately;
pub mod latest;
pub mod lease;
pub mod merge;
pub mod partitions;
pub mod pass;
pub mod read;
pub mod recent;
pub mod replay;
pub mod request;
pub mod restore;
pub mod row;
mod sample;
pub mod schedule;
pub mod scrub;
pub mod settle;
pub mod spare;
pub mod split;
pub mod sweep;
pub mod tasks;
pub mod time;
pub mod train;
pub mod trouble;
pub mod visible;
mod windows;

use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::path::PathBuf;

use ballast::Ballast;
use catalog::{Catalog, JournalFile};
use cells::Cells;
use committer::{Committer, Opening, Tools};
use encode::{Encoder, Sequence};
use fence::Fences;
use partitions::Partitions;
use recent::Recent;
use scrub::Scrub;
use time::TrustedTime;

use crate::env::{Env, Lock};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Fact;
use crate::ident::{PartitionId, PartitionNumber, StoreId};
use crate::journal::Follower;
use crate::keyring::Keyring;
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::window::Timestamp;

/// When background work is due. Only the crash suite ever changes it, to see more of it in less time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Merge once a partition has this many segments below the target.
    pub merge_at_least: usize,
    /// Fold once this many keyring entries are unfolded.
    pub fold_at: u64,
    /// Bytes to reserve for a full disk.
    pub ballast_bytes: u64,
    /// Train a stream once it has so much.
    pub train_at: train::Threshold,
    /// Planted bug: acknowledge without waiting for the keyring.
    #[cfg(feature = "simulation")]
    pub forget_keyring: bool,
    /// Planted bug: an expiry leaves the keys of partitions in which something is held.
    #[cfg(feature = "simulation")]
    pub keep_columns: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            merge_at_least: 8,
            fold_at: 16_384,
            ballast_bytes: ballast::USUAL_BYTES,
            train_at: train::Threshold::default(),
            #[cfg(feature = "simulation")]
            forget_keyring: false,
            #[cfg(feature = "simulation")]
            keep_columns: false,
        }
    }
}

/// What only a writing opening has.
pub struct Writer {
    /// Who writes.
    pub opening: Opening,
    /// Group commit.
    pub committer: Committer,
    /// The sequence of this opening.
    pub sequence: Sequence,
    /// The cells written lately.
    pub cells: Cells,
    /// Customers who were asked for lately. Who only reads has other lists of segments whenever it has looked whether there
    /// are any, and would keep them in vain.
    pub recent: Recent,
    /// Held while anything is merged, folded, scrubbed, erased or expired: one at a time.
    pub housekeeping: Mutex<()>,
    /// Held while a journal file is settled. Beside `housekeeping`, so that nobody who has to settle before more can be
    /// taken in waits for a merge.
    pub settling: Mutex<()>,
    /// The longest that an append was held up until there was room for more, in microseconds.
    pub longest_pause: AtomicU64,
    /// Set when a close begins, under the lock of housekeeping: nobody keeps house or appends after.
    pub closed: AtomicBool,
    /// Why the close failed, if it did.
    pub close_failure: Mutex<Option<Error>>,
    /// Whether the store has a thread of its own.
    pub has_worker: bool,
    /// The number of the next segment. A step that failed leaves its numbers unused.
    pub next_segment: AtomicU64,
    /// Acts that readers may not have seen yet.
    pub fencing: lease::Fencing,
    /// When requests were looked for.
    pub looked: request::Looked,
    /// What is reserved for a full disk.
    pub ballast: Ballast,
    /// What background work stumbled over.
    pub trouble: trouble::Trouble,
    /// What was tried to train.
    pub trained: Mutex<train::Tried>,
    /// Held while a dictionary is trained; no append ever waits for it.
    pub training: Mutex<()>,
    /// Whether nobody waits for a training any more.
    pub closing: AtomicBool,
    /// When background work is due.
    pub tuning: Tuning,
    /// Whether somebody says that the store was put back from an older copy, so that what is missing may be given up.
    pub restored: bool,
    /// Keeps other writers out; let go at the end of a close.
    pub lock: Mutex<Option<Box<dyn Lock>>>,
}

/// The right to do anything to the files of a store, settling included.
pub struct House<'a> {
    _settling: MutexGuard<'a, ()>,
    _housekeeping: MutexGuard<'a, ()>,
}

impl Writer {
    /// The right to settle, merge, fold or shred, held by one thread at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] once the store is closed: another process may be writing to it by now.
    pub fn housekeep(&self) -> Result<House<'_>> {
        let housekeeping = self.housekeep_beside_settling()?;
        Ok(House { _settling: self.settle_alone()?, _housekeeping: housekeeping })
    }

    /// The same where nobody has it, or a part of it, and the store is not closed.
    pub fn try_housekeep(&self) -> Option<House<'_>> {
        let housekeeping = self.try_housekeep_beside_settling()?;
        Some(House { _settling: self.settling.try_lock().ok()?, _housekeeping: housekeeping })
    }

    /// The right to merge and to fold, while others may settle.
    ///
    /// # Errors
    /// As [`Writer::housekeep`].
    pub fn housekeep_beside_settling(&self) -> Result<MutexGuard<'_, ()>> {
        let held = self.housekeeping.lock().expect("no holder of this lock panics");
        self.check_open()?;
        Ok(held)
    }

    /// The same where nobody has it and the store is not closed.
    pub fn try_housekeep_beside_settling(&self) -> Option<MutexGuard<'_, ()>> {
        self.housekeeping.try_lock().ok().filter(|_| self.check_open().is_ok())
    }

    /// The right to settle, and nothing else. Taken after housekeeping by those who need both.
    ///
    /// # Errors
    /// As [`Writer::housekeep`].
    pub fn settle_alone(&self) -> Result<MutexGuard<'_, ()>> {
        let held = self.settling.lock().expect("no holder of this lock panics");
        self.check_open()?;
        Ok(held)
    }

    /// Whether the store has not been closed through another handle.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => {
                Err(Error::new(ErrorKind::Invalid, "the store has been closed").hint("open it again to write to it"))
            }
        }
    }

    /// Lets nobody keep house, settle or append any more. All of housekeeping must be held.
    pub fn shut_down(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// One opening of a store.
pub struct Engine {
    /// The world.
    pub env: Arc<dyn Env>,
    /// The store's directory.
    pub root: PathBuf,
    /// The store.
    pub store: StoreId,
    /// The keyring's directories.
    pub keyring_dirs: Vec<PathBuf>,
    /// Every key.
    pub keyring: Keyring,
    /// What exists.
    pub catalog: Catalog,
    /// The partitions that have a key.
    pub partitions: Partitions,
    /// The policy in force.
    pub policy: RwLock<Arc<Policy>>,
    /// What only a writer has; none in a read-only opening.
    pub writer: Option<Writer>,
    /// Administrative facts.
    pub facts: Mutex<Ledger>,
    /// The journal files that a read-only opening follows; none in a writing one.
    pub followed: Mutex<Vec<(Follower, Arc<JournalFile>)>>,
    /// What a read-only opening tells the writer; nothing in a writing one.
    pub lease: lease::Held,
    /// What may no longer pass.
    pub fences: Fences,
    /// Dead cells whose frames may still lie around.
    pub scrub: Scrub,
    /// When something falls due by row.
    pub schedule: schedule::Schedule,
    /// Whether customers may be left of whom nothing is readable: set by an expiry.
    pub forget_due: AtomicBool,
    /// Whether frames may be left of expired partitions that are not held: set by an expiry and the end of a hold.
    pub trim_due: AtomicBool,
    /// What destruction may be judged by.
    pub trusted: TrustedTime,
    /// The time of the latest fact, in microseconds: no verb takes it to be earlier.
    pub watermark: AtomicI64,
    /// Who did what.
    pub access: access::Access,
}

impl Engine {
    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.facts.lock().expect("no holder of this lock panics")
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.read().expect("no holder of this lock panics").clone()
    }

    /// The writing half.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] in a read-only opening.
    pub fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the store was opened for reading only").hint("open it for writing")
        })
    }

    /// Lets an append pass; held until its group is queued.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] in a read-only opening and once the store is closed.
    pub fn pass(&self) -> Result<RwLockReadGuard<'_, ()>> {
        let passing = self.fences.pass();
        self.writer()?.check_open()?;
        Ok(passing)
    }

    /// Now, never before the ledger's watermark: a clock that was set back neither admits nor shows anything again.
    pub fn now(&self) -> Timestamp {
        self.env.now().max(Timestamp::from_micros(self.watermark.load(Ordering::Relaxed)))
    }

    /// Makes facts durable, with trusted time: a clock that jumped ahead must not carry the ledger with it.
    ///
    /// # Errors
    /// What the ledger answers; after a failed sync it refuses every later fact.
    pub fn record(&self, facts: &[Fact]) -> Result<()> {
        self.record_in(&mut self.ledger(), facts)
    }

    /// The same for somebody who has locked the ledger to see first what stands in it.
    ///
    /// # Errors
    /// As [`Engine::record`].
    fn record_in(&self, ledger: &mut Ledger, facts: &[Fact]) -> Result<()> {
        ledger.append(self.trusted.now(&*self.env), facts)?;
        self.watermark.fetch_max(ledger.state().watermark.as_micros(), Ordering::Relaxed);
        Ok(())
    }

    /// What a leader writes with.
    pub fn tools<'a>(&'a self, writer: &'a Writer) -> Tools<'a> {
        Tools {
            env: &self.env,
            root: &self.root,
            catalog: &self.catalog,
            keyring: &self.keyring,
            side_by_side: writer.has_worker,
            #[cfg(feature = "simulation")]
            forget_keyring: writer.tuning.forget_keyring,
        }
    }

    /// What a batch is encoded with.
    pub fn encoder<'a>(&'a self, writer: &'a Writer, policy: &'a Policy, now: Timestamp) -> Encoder<'a> {
        Encoder {
            env: &*self.env,
            root: &self.root,
            dictionaries: &self.catalog.dictionaries,
            opening: writer.opening,
            sequence: &writer.sequence,
            keyring: &self.keyring,
            partitions: &self.partitions,
            spare: &writer.committer.spare,
            cells: &writer.cells,
            fences: &self.fences,
            policy,
            now,
        }
    }
}

/// The name of the partition with `number`.
///
/// # Errors
/// [`ErrorKind::KeyUnavailable`] where the keyring has no such partition.
pub fn partition_name(engine: &Engine, number: PartitionNumber) -> Result<PartitionId> {
    engine.partitions.numbered(number).map(|entry| entry.id.clone()).ok_or_else(|| {
        Error::new(ErrorKind::KeyUnavailable, format!("the keyring has no partition {number}, which the journal names"))
            .hint("the keyring may be older than the store; look for a newer copy or mirror of it")
    })
}
