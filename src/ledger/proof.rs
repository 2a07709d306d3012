//! Heads of earlier lengths, and proofs: that a leaf is in the ledger, that a later ledger continues an earlier one.
//!
//! The files are read again for it; nothing is kept in memory per leaf.

use std::path::Path;

use super::file::{ledger_path, numbers, read_whole, start};
use super::{Fact, Ledger};
use crate::crypto::{
    Digest, Frontier, consistency_ranges, inclusion_ranges, leaf_hash, verify_consistency, verify_inclusion,
};
use crate::env::{self, Env, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::Reader;
use crate::format::ledger::{Commit, HEADER_BYTES, Header};
use crate::ident::StoreId;
use crate::window::Timestamp;

/// The proof that a leaf stands at its place in a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The number of the leaf, from zero.
    pub index: u64,
    /// The length of the ledger.
    pub length: u64,
    /// The head at that length.
    pub head: Digest,
    /// The bytes of the leaf: kind, time, payload.
    pub leaf: Vec<u8>,
    /// The hashes that lead from the leaf to the head (RFC 6962, section 2.1.1).
    pub path: Vec<Digest>,
}

impl Inclusion {
    /// Whether it proves what it says. That `head` is a head one trusts is the caller's part.
    pub fn holds(&self) -> bool {
        verify_inclusion(&self.head, self.length, &self.leaf, self.index, &self.path)
    }

    /// Its kind and its time.
    pub fn kind_and_time(&self) -> Option<(u8, Timestamp)> {
        let mut from = Reader::new(&self.leaf);
        Some((from.u8().ok()?, Timestamp::from_micros(from.i64().ok()?)))
    }

    /// What the leaf says; `None` where this version cannot read it.
    pub fn fact(&self) -> Option<Fact> {
        leaf_fact(&self.leaf).map(|(_, fact)| fact)
    }
}

/// What the bytes of a leaf say, and since when; `None` where this version cannot read them.
pub fn leaf_fact(leaf: &[u8]) -> Option<(Timestamp, Fact)> {
    let mut from = Reader::new(leaf);
    let kind = from.u8().ok()?;
    let at = Timestamp::from_micros(from.i64().ok()?);
    Some((at, Fact::decode(kind, from.rest()).ok().flatten()?))
}

/// Visits the bytes of every leaf of the ledger in `dir`, in order, up to the first commit that does not read.
///
/// # Errors
/// As [`Ledger::open`].
pub fn each_leaf(env: &dyn Env, dir: &Path, store: &StoreId, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    for number in numbers(env, dir)? {
        leaves_of(env, dir, number, store, |_, leaf| {
            visit(leaf);
            true
        })?;
    }
    Ok(())
}

/// The proof that a ledger continues an earlier one of the same store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The earlier length.
    pub earlier_length: u64,
    /// The head at the earlier length.
    pub earlier_head: Digest,
    /// The length.
    pub length: u64,
    /// The head.
    pub head: Digest,
    /// The hashes that tie the two heads together (RFC 6962, section 2.1.2).
    pub path: Vec<Digest>,
}

impl Continuation {
    /// Whether it proves what it says.
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law proves receipts with it"))]
    pub fn holds(&self) -> bool {
        verify_consistency(&self.head, self.length, &self.earlier_head, self.earlier_length, &self.path)
    }
}

impl Ledger {
    /// The head when the ledger had `length` leaves.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it never had so many; [`ErrorKind::Corrupt`] where the leaves are damaged.
    pub fn head_at(&self, length: u64) -> Result<Digest> {
        if length > self.tree.length() {
            return Err(Error::new(ErrorKind::Invalid, format!("the ledger has {} leaves", self.tree.length())));
        }
        if length == self.tree.length() {
            return Ok(self.tree.head());
        }
        head_before(&*self.env, &self.dir, self.last.number + 1, &self.state.store, &self.tree, length)
    }

    /// Proves of every leaf that `pick` chooses, by number and bytes, that it is in the ledger as it is now.
    ///
    /// # Errors
    /// As [`Ledger::head_at`].
    pub fn prove_where(&self, pick: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Vec<Inclusion>> {
        let (length, head) = (self.tree.length(), self.tree.head());
        let (hashes, picked) = self.leaf_hashes(pick)?;
        let prove = |(index, leaf): (u64, Vec<u8>)| {
            let path = inclusion_ranges(length, index).into_iter().map(|range| head_of(&hashes, range)).collect();
            Inclusion { index, length, head, leaf, path }
        };
        Ok(picked.into_iter().map(prove).collect())
    }

    /// Proves that leaf `index` is in the ledger as it is now.
    ///
    /// # Errors
    /// As [`Ledger::head_at`]; [`ErrorKind::Invalid`] where there is no such leaf.
    #[cfg(test)]
    pub fn prove_inclusion(&self, index: u64) -> Result<Inclusion> {
        let missing = || Error::new(ErrorKind::Invalid, format!("the ledger has {} leaves", self.tree.length()));
        self.prove_where(&mut |at, _| at == index)?.pop().ok_or_else(missing)
    }

    /// Proves that the ledger as it is now continues the one of `earlier_length` leaves.
    ///
    /// # Errors
    /// As [`Ledger::head_at`].
    #[cfg_attr(not(test), expect(dead_code, reason = "the issue of the law proves receipts with it"))]
    pub fn prove_continuation(&self, earlier_length: u64) -> Result<Continuation> {
        let (length, head) = (self.tree.length(), self.tree.head());
        let earlier_head = self.head_at(earlier_length)?;
        let ranges = consistency_ranges(length, earlier_length);
        let path = match ranges.is_empty() {
            true => Vec::new(),
            false => {
                let (hashes, _) = self.leaf_hashes(&mut |_, _| false)?;
                ranges.into_iter().map(|range| head_of(&hashes, range)).collect()
            }
        };
        Ok(Continuation { earlier_length, earlier_head, length, head, path })
    }

    /// The hashes of all leaves, 32 bytes each, and the leaves that `pick` chooses. They are checked against the head.
    #[expect(clippy::type_complexity, reason = "hashes, and leaves by number")]
    fn leaf_hashes(&self, pick: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<(Vec<Digest>, Vec<(u64, Vec<u8>)>)> {
        let (mut hashes, mut found) = (Vec::new(), Vec::new());
        let mut tree = Frontier::default();
        for number in 1..=self.last.number {
            leaves_of(&*self.env, &self.dir, number, &self.state.store, |index, leaf| {
                if index == self.tree.length() {
                    return false; // A reader may see leaves that it has not taken in.
                }
                if pick(index, leaf) {
                    found.push((index, leaf.to_vec()));
                }
                let hash = leaf_hash(leaf);
                tree.push_hash(hash);
                hashes.push(hash);
                true
            })?;
        }
        match tree == self.tree {
            true => Ok((hashes, found)),
            false => Err(Error::new(ErrorKind::Corrupt, "the leaves of the ledger do not add up to its head")
                .in_file(&self.dir)
                .hint("run tenure verify to find the damaged file")),
        }
    }
}

/// The head at `length`, which lies in a file before number `before`, or at its start, where the tree is `tree`.
pub(super) fn head_before(
    env: &dyn Env,
    dir: &Path,
    before: u64,
    store: &StoreId,
    tree: &Frontier,
    length: u64,
) -> Result<Digest> {
    if length == tree.length() {
        return Ok(tree.head());
    }
    let mut number = before.saturating_sub(1);
    while number > 1 && header(env, dir, number)?.first > length {
        number -= 1;
    }
    let mut head = None;
    let mut tree = leaves_of(env, dir, number, store, |_, _| false)?;
    if tree.length() == length {
        return Ok(tree.head());
    }
    leaves_of(env, dir, number, store, |_, leaf| {
        tree.push(leaf);
        head = (tree.length() == length).then(|| tree.head());
        head.is_none()
    })?;
    head.ok_or_else(|| {
        let path = ledger_path(dir, number);
        Error::new(ErrorKind::Corrupt, "the ledger file ends before the next one begins").in_file(&path)
    })
}

fn header(env: &dyn Env, dir: &Path, number: u64) -> Result<Header> {
    let path = ledger_path(dir, number);
    let mut bytes = [0; HEADER_BYTES];
    env.open(&path, OpenMode::Read)
        .and_then(|file| env::read_exact_at(&*file, &mut bytes, 0))
        .map_err(|error| Error::io("read the ledger", &path, error))?;
    Header::decode(&bytes).map_err(|flaw| Error::corrupt(&path, 0, flaw.0))
}

/// Visits the leaves of one file in order, by number and bytes, until `visit` answers no. Returns the tree before them.
fn leaves_of(
    env: &dyn Env,
    dir: &Path,
    number: u64,
    store: &StoreId,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> Result<Frontier> {
    let path = ledger_path(dir, number);
    let file = env.open(&path, OpenMode::Read).map_err(|error| Error::io("open the ledger", &path, error))?;
    let bytes = read_whole(&*file, &path)?;
    let start = start(&path, number, &bytes)?;
    if start.header.store != *store {
        return Err(Error::corrupt(&path, 0, "the ledger file belongs to another store"));
    }
    let (mut index, mut at) = (start.header.first, start.body);
    'commits: while at < bytes.len() {
        let Ok(commit) = Commit::parse(&bytes[at..], store) else { break };
        for leaf in commit.leaves().map_err(|flaw| Error::corrupt(&path, at as u64, flaw.0))? {
            if !visit(index, leaf.bytes) {
                break 'commits;
            }
            index += 1;
        }
        at += commit.length;
    }
    Ok(start.snapshot.map_or_else(Frontier::default, |snapshot| snapshot.frontier))
}

/// The hash of the subtree over a range of leaves.
fn head_of(hashes: &[Digest], (first, past): (u64, u64)) -> Digest {
    let mut tree = Frontier::default();
    hashes[first as usize..past as usize].iter().for_each(|hash| tree.push_hash(*hash));
    tree.head()
}
