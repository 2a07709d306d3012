//! The keyring: every customer's secrets and every partition's key, in a tree of encrypted nodes in an append-only log,
//! opened by a root record that a custodian seals.
//!
//! It owns the directory (and its mirrors) with the log, the two root slots and the opening file. A new customer or
//! partition is one appended entry, in memory until [`Keyring::sync`]; a fold takes entries into the tree and seals a
//! new root. It knows no journal, segment or ledger: what it must agree with them about goes through entry numbers and
//! the ledger position that the root names. It decides nothing about periods, and never writes a customer's id outside
//! an encrypted entry.

mod access;
mod create;
pub mod custodian;
mod fold;
mod follow;
mod holds;
mod log;
mod mend;
mod open;
mod opening;
mod partitions;
mod reported;
mod rewrite;
mod roots;
mod scan;
mod state;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod tree;
mod verify;
mod walk;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use std::fmt;
use std::path::PathBuf;

use self::fold::{no_randomness, random_key};
use self::log::locked;
use self::partitions::Partitions;
use self::state::{State, Unfolded};
use self::tree::{Nodes, damaged};
use crate::cache::Cache;
use crate::crypto::{CustomerTags, Key, NONCE_BYTES, Nonce, Sealer, partition_tag, request_key, source_tag};
use crate::env::{self, Env};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keyring::{EntryKind, Place, TreeKey};
use crate::format::keyring_tree::Payload;
use crate::ident::{CustomerId, PartitionId, PartitionNumber, StoreId, Stream, SubjectNumber};
use crate::window::{Timestamp, Window};

pub use self::custodian::{CommandCustodian, Custodian, Evidence, FileCustodian, OpeningToken, Registration};
pub use self::fold::Folded;
pub use self::opening::register_opening;
pub use self::rewrite::Changes;
pub use self::verify::{KeyringCheck, verify};
pub use crate::format::keyring_column::{Column, NOTE_CELLS_LIMIT, PartitionEntry, Remnant, ScrubNote};
pub use crate::format::keyring_entry::{Anchor, CustomerEntry, CustomerState, Secret, SecretScope, StreamUse};
pub use crate::format::keyring_hold::{HoldEntry, MATTER_LIMIT, REASON_LIMIT};

/// Compaction is due when the log has this many bytes and more than half of them are dead.
const COMPACTION_BYTES: u64 = 4 << 20;
/// Logs of this many bytes are rewritten in milliseconds.
const SHORT_LOG: (u64, u64) = (64 << 10, 8 << 20);
const STRIPES: usize = 64;
/// What a customer weighs in the cache besides the payload of the entry, about.
const CUSTOMER_BYTES: usize = 512;

/// Where a keyring lies and how much of it may stay in memory.
#[derive(Clone, Debug)]
pub struct KeyringOptions {
    /// Its directory, and mirrors of it.
    pub dirs: Vec<PathBuf>,
    /// Bytes of decoded nodes and entries that may be cached.
    pub cache_bytes: usize,
}

/// Whether a keyring is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is: what is behind or damaged is mended.
    Write,
    /// It is not: nothing is ever written.
    Read,
}

/// What a keyring must at least hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The highest entry number that anything else knows to be durable.
    pub entry: u64,
}

/// What opening a keyring found and mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyringReport {
    /// Bytes of an unfinished append that were cut (or, for a reader, left alone).
    pub bytes_cut: u64,
    /// Mirrors that were behind, damaged or missing.
    pub mirrors_mended: u64,
    /// Root slots that were behind, damaged or missing.
    pub roots_mended: u64,
}

/// An entry, and the number of the appended entry that must be durable before anything that depends on it is
/// acknowledged; zero where it is durable already.
#[derive(Debug)]
pub struct Found<T> {
    /// The entry.
    pub entry: Arc<T>,
    /// The number it depends on.
    pub number: u64,
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Found { entry: self.entry.clone(), number: self.number }
    }
}

/// The entry of a customer and its number; none where there is no such customer.
type Known = Option<(Arc<CustomerEntry>, u64)>;

/// An open keyring. All calls may be made from any thread.
pub struct Keyring {
    env: Arc<dyn Env>,
    dirs: Vec<PathBuf>,
    store: StoreId,
    custodian: Arc<dyn Custodian>,
    access: Access,
    floor: Floor,
    lookup: Key,
    tags: CustomerTags,
    state: Mutex<State>,
    /// Held while bytes become durable: by one sync, or by the last part of a fold.
    syncing: Mutex<()>,
    /// Held by the one fold or compaction at a time: up to where leaves have been carried over to the file that is written.
    folding: Mutex<TreeKey>,
    /// One per share of all keys: held while an entry is looked up past the caches and, if need be, made.
    stripes: Vec<Mutex<()>>,
    nodes: Nodes,
    /// By tag; also of whom nobody knows, who is asked for twice before the entry is made.
    customers: Cache<[u8; 16], Known>,
    partitions: Partitions,
    durable: AtomicU64,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, durable to entry {})", self.store, self.durable())
    }
}

impl Keyring {
    fn over(site: open::Site, access: Access, floor: Floor, cache_bytes: usize, state: State) -> Self {
        Keyring {
            env: site.env,
            dirs: site.dirs,
            store: site.store,
            custodian: site.custodian,
            access,
            floor,
            tags: CustomerTags::new(&state.tree.crown.lookup),
            lookup: state.tree.crown.lookup.duplicate(),
            durable: AtomicU64::new(state.next_number - 1),
            state: Mutex::new(state),
            syncing: Mutex::default(),
            folding: Mutex::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            nodes: Nodes::new(cache_bytes / 2),
            customers: Cache::new(cache_bytes / 2),
            partitions: Partitions::default(),
        }
    }

    fn stripe(&self, key: &TreeKey) -> &Mutex<()> {
        &self.stripes[usize::from(key.0[1]) % STRIPES]
    }

    fn nonces(&self) -> Result<(Nonce, Nonce)> {
        let bytes = env::random::<{ 2 * NONCE_BYTES }>(&*self.env).map_err(no_randomness)?;
        let half = |from: usize| std::array::from_fn(|index| bytes[from + index]);
        Ok((half(0), half(NONCE_BYTES)))
    }

    fn pending(&self, number: u64) -> u64 {
        if number > self.durable() { number } else { 0 }
    }

    /// What stands under `key`, with its entry number: among the unfolded entries or in the tree.
    fn find(&self, key: &TreeKey) -> Result<Option<(Payload, u64)>> {
        let tree = {
            let state = locked(&self.state);
            if let Some(entry) = state.by_key.get(key) {
                return Ok(Some((entry.payload.clone(), entry.number)));
            }
            state.tree.clone()
        };
        Ok(tree.get(&self.nodes, key)?.map(|item| (item.payload, item.number)))
    }

    /// Appends an entry, in memory. The caller holds the stripe of `key`.
    fn append(&self, key: TreeKey, first: bool, payload: Payload) -> Result<u64> {
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Invalid, "the keyring is open for reading only"));
        }
        let nonces = self.nonces()?;
        loop {
            let tree = locked(&self.state).tree.clone();
            tree.log.check()?;
            let leaf = tree.leaf_of(&self.nodes, &key)?;
            let mut state = locked(&self.state);
            // A fold may have put another tree in its place meanwhile.
            if Arc::ptr_eq(&state.tree, &tree) {
                let number = state.next_number;
                state.push(&leaf, Unfolded { key, number, first, payload }, nonces, self.durable());
                return Ok(number);
            }
        }
    }

    fn damage(&self, what: crate::format::bytes::Malformed) -> Error {
        damaged(&locked(&self.state).tree.log, Place::default(), what)
    }

    fn decode(&self, payload: &Payload) -> Result<CustomerEntry> {
        CustomerEntry::decode(payload).map_err(|what| self.damage(what))
    }

    /// The customer under `key`, past the cache; the caller holds its stripe.
    fn load_customer(&self, key: &TreeKey) -> Result<Known> {
        let (known, bytes) = match self.find(key)? {
            Some((payload, number)) => (Some((Arc::new(self.decode(&payload)?), number)), payload.len()),
            None => (None, 0),
        };
        self.customers.insert(key.tag(), known.clone(), bytes + CUSTOMER_BYTES);
        Ok(known)
    }

    /// The customer under `key`; the caller holds its stripe.
    fn known_customer(&self, key: &TreeKey) -> Result<Known> {
        match self.customers.get(&key.tag()) {
            Some(known) => Ok(known),
            None => self.load_customer(key),
        }
    }

    /// Appends what a customer's entry is from now on; the caller holds the stripe of `key`.
    fn put_customer(
        &self,
        key: TreeKey,
        first: bool,
        entry: CustomerEntry,
        payload: Payload,
    ) -> Result<Found<CustomerEntry>> {
        let weight = payload.len() + CUSTOMER_BYTES;
        let number = self.append(key, first, payload)?;
        let entry = Arc::new(entry);
        self.customers.insert(key.tag(), Some((entry.clone(), number)), weight);
        Ok(Found { entry, number })
    }

    /// The entry of a customer.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where the part of the tree that would hold it cannot be read: nothing is guessed.
    pub fn customer(&self, id: &CustomerId) -> Result<Option<Found<CustomerEntry>>> {
        self.customer_under(&self.tag_of(id))
    }

    /// The tag under which the entry of a customer is kept: the same under every root, and nothing without the keyring.
    pub fn tag_of(&self, id: &CustomerId) -> [u8; 16] {
        self.tags.of(id.expose())
    }

    /// The entry that is kept under `tag`.
    ///
    /// # Errors
    /// As [`Keyring::customer`].
    pub fn customer_under(&self, tag: &[u8; 16]) -> Result<Option<Found<CustomerEntry>>> {
        self.found_under(tag, self.customers.get(tag))
    }

    /// The entry that is kept under `tag`, of which the cache has said what is `cached`.
    fn found_under(&self, tag: &[u8; 16], cached: Option<Known>) -> Result<Option<Found<CustomerEntry>>> {
        let known = match cached {
            Some(known) => known,
            None => {
                let key = TreeKey::new(EntryKind::Customer, tag);
                let _stripe = locked(self.stripe(&key));
                self.load_customer(&key)?
            }
        };
        Ok(known.map(|(entry, number)| Found { entry, number: self.pending(number) }))
    }

    /// The entries that are kept under `tags`, in their order.
    ///
    /// # Errors
    /// As [`Keyring::customer`].
    pub fn customers_under(&self, tags: &[[u8; 16]]) -> Result<Vec<Option<Found<CustomerEntry>>>> {
        let look = |known: &Known| known.as_ref().map_or(0, |(entry, _)| usize::from(entry.subject.as_bytes()[0]));
        let cached = self.customers.get_all(tags, look);
        tags.iter().zip(cached).map(|(tag, cached)| self.found_under(tag, cached)).collect()
    }

    /// The entry of a customer whose facts cover a use of `stream` in `window`: made with a fresh secret and
    /// `not_before` where there is none, appended anew where its facts do not cover the use. Where there is a tombstone
    /// the caller has seen to it that the use is a later one: a new life begins, under a new subject number and a fresh
    /// secret, and takes nothing from before the erasure.
    ///
    /// # Errors
    /// As [`Keyring::customer`]; [`ErrorKind::Poisoned`] after a failed write or sync; [`ErrorKind::Invalid`] where one
    /// customer was used in thousands of streams.
    pub fn use_customer(
        &self,
        (id, tag): (&CustomerId, [u8; 16]),
        stream: &Stream,
        window: &Window,
        now: Timestamp,
        not_before: Option<Timestamp>,
    ) -> Result<Found<CustomerEntry>> {
        let enough = |entry: &CustomerEntry| entry.is_writable() && entry.covers(stream, window);
        if let Some(Some((entry, number))) = self.customers.get(&tag)
            && enough(&entry)
        {
            return Ok(Found { entry, number: self.pending(number) });
        }
        let key = TreeKey::new(EntryKind::Customer, &tag);
        let _stripe = locked(self.stripe(&key));
        let (first, entry) = match self.known_customer(&key)? {
            Some((entry, number)) if enough(&entry) => return Ok(Found { entry, number: self.pending(number) }),
            Some((entry, _)) => match entry.state {
                CustomerState::Living => (false, self.writable(entry.used_in(stream, window))?),
                CustomerState::Tombstone { erased } => {
                    (false, self.new_customer(id, now, Some(erased).max(not_before))?.used_in(stream, window))
                }
            },
            None => (true, self.new_customer(id, now, not_before)?.used_in(stream, window)),
        };
        let payload = entry.encode().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "one customer is used in more streams than the keyring can note")
        })?;
        self.put_customer(key, first, entry, payload)
    }

    /// The same customer with a secret to write under, also where nothing but held cells was left.
    fn writable(&self, mut entry: CustomerEntry) -> Result<CustomerEntry> {
        if entry.secret().is_none() {
            entry.secrets.push(self.fresh_secret()?);
        }
        Ok(entry)
    }

    /// A secret under which nothing stands yet, and anything may.
    ///
    /// # Errors
    /// What the source of randomness answers.
    pub fn fresh_secret(&self) -> Result<Secret> {
        Ok(Secret { scope: SecretScope::Whole, restricted: false, key: random_key(&*self.env)? })
    }

    /// Gives a living customer fresh secrets beside those it has: one for each partition of `restricted`, for what is written
    /// again there and is not for everybody, and with `whole` one that what is written from now on stands under.
    ///
    /// # Errors
    /// As [`Keyring::use_customer`]; [`ErrorKind::NotFound`] where there is no such customer.
    pub fn renew(&self, id: &CustomerId, restricted: &[PartitionNumber], whole: bool) -> Result<Found<CustomerEntry>> {
        let key = self.customer_key(id);
        let _stripe = locked(self.stripe(&key));
        let mut entry = match self.known_customer(&key)? {
            Some((entry, number)) if entry.state == CustomerState::Living && restricted.is_empty() && !whole => {
                return Ok(Found { entry, number: self.pending(number) });
            }
            Some((entry, _)) if entry.state == CustomerState::Living => entry.duplicate(),
            _ => return Err(Error::new(ErrorKind::NotFound, "there is no such customer to give a fresh secret")),
        };
        let windows = restricted.iter().map(|number| (SecretScope::Window(*number), true));
        for (scope, restricted) in windows.chain(whole.then_some((SecretScope::Whole, false))) {
            entry.secrets.push(Secret { scope, restricted, key: random_key(&*self.env)? });
        }
        let payload =
            entry.encode().ok_or_else(|| Error::new(ErrorKind::Invalid, "a customer has too many secrets"))?;
        self.put_customer(key, false, entry, payload)
    }

    fn new_customer(&self, id: &CustomerId, now: Timestamp, not_before: Option<Timestamp>) -> Result<CustomerEntry> {
        let secret = Secret { scope: SecretScope::Whole, restricted: false, key: random_key(&*self.env)? };
        Ok(CustomerEntry {
            id: id.clone(),
            subject: SubjectNumber::from_bytes(env::random(&*self.env).map_err(no_randomness)?),
            secrets: vec![secret],
            state: CustomerState::Living,
            created: now,
            not_before,
            streams: Vec::new(),
            anchors: Vec::new(),
        })
    }

    /// The number of the last entry appended; zero before the first.
    pub fn appended(&self) -> u64 {
        locked(&self.state).next_number - 1
    }

    /// The number of the last entry that is durable in every mirror.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Makes every entry appended before the call durable in every mirror; returns the number of the last durable one.
    /// Others may append meanwhile.
    ///
    /// # Errors
    /// What the operating system said; from then on [`ErrorKind::Poisoned`].
    pub fn sync(&self) -> Result<u64> {
        let wanted = self.appended();
        let _syncing = locked(&self.syncing);
        let (log, last) = {
            let state = locked(&self.state);
            (state.tree.log.clone(), state.next_number - 1)
        };
        log.check()?;
        if self.durable() < wanted {
            log.sync()?;
            self.durable.store(last, Ordering::Release);
        }
        Ok(self.durable())
    }

    /// How many entries wait to be folded.
    pub fn unfolded(&self) -> u64 {
        locked(&self.state).entries.len() as u64
    }

    /// Gives back reserved space and lets other openers of this store in again. Nothing is to be written after.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn release(&self) -> Result<()> {
        let log = locked(&self.state).tree.log.clone();
        log.trim()?;
        self.custodian.release();
        Ok(())
    }

    /// Whether most of the log is dead, or some of what is alive has been carried over to a new one, so that
    /// [`Keyring::carry`] has something to do.
    pub fn needs_compaction(&self) -> bool {
        let state = locked(&self.state);
        let bytes = state.tree.bytes();
        let mostly_dead = bytes > COMPACTION_BYTES && (state.tree.crown.live_bytes + state.bytes) * 2 < bytes;
        state.tree.before.is_some() || mostly_dead
    }

    /// Whether a close should rewrite the log rather than fold: where it is short, and a fold would leave a third of it dead.
    pub fn is_soon_compacted(&self) -> bool {
        let state = locked(&self.state);
        let (bytes, live) = (state.tree.bytes(), state.tree.crown.live_bytes + state.bytes);
        (SHORT_LOG.0..SHORT_LOG.1).contains(&bytes) && live * 3 < (bytes + state.bytes) * 2
    }

    /// Where the entry of a customer stands, for [`Keyring::shred`].
    pub fn customer_key(&self, id: &CustomerId) -> TreeKey {
        TreeKey::new(EntryKind::Customer, &self.tag_of(id))
    }

    /// Where the entry of a partition stands, for [`Keyring::shred`].
    pub fn partition_key(&self, id: &PartitionId) -> TreeKey {
        TreeKey::new(EntryKind::Partition, &partition_tag(&self.lookup, id))
    }

    /// The name under which the offset of a source is kept.
    pub fn source_tag(&self, name: &str) -> [u8; 16] {
        source_tag(&self.lookup, name)
    }

    /// What requests to the writer are sealed under, with the epoch of the root that it belongs to: it is another one
    /// with every root, and dies with it.
    pub fn request_sealer(&self) -> (u64, Sealer) {
        let state = locked(&self.state);
        (state.tree.root.epoch, Sealer::new(&request_key(&self.store, &state.tree.crown.route)))
    }

    /// How many customers have an entry, tombstones included.
    pub fn customers(&self) -> u64 {
        locked(&self.state).customers
    }

    /// Bytes of one mirror.
    pub fn bytes(&self) -> u64 {
        locked(&self.state).tree.bytes() + 2 * crate::format::keyring_root::SLOT_BYTES as u64
    }

    /// The epoch of the root in force.
    pub fn epoch(&self) -> u64 {
        locked(&self.state).tree.root.epoch
    }

    /// The ledger's length and head that the root in force names.
    pub fn ledger(&self) -> (u64, crate::crypto::Digest) {
        let state = locked(&self.state);
        (state.tree.root.ledger_length, state.tree.root.ledger_head)
    }
}
