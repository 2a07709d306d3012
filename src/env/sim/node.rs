//! One simulated file's bytes: what readers see, and for every sector whether the medium has it.
//!
//! Only the present bytes are kept whole. What the medium holds instead is remembered sector by sector, for those
//! sectors that were changed since the last sync; so writing, syncing and crashing cost what was written, not what
//! the file holds. Zeros at the end are not stored at all.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;

/// The unit that a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// What the medium holds of a sector; `None` is zeros.
type Block = Option<Box<[u8; SECTOR as usize]>>;

#[derive(Clone, Default)]
pub(super) struct Node {
    /// The newest name, for counting and for the history.
    pub(super) path: String,
    /// How many live names it has.
    pub(super) names: u32,
    /// How many open handles.
    pub(super) handles: u32,
    /// Bytes of space it takes: the end of what was written or allocated.
    pub(super) charged: u64,
    /// The bytes as readers see them, up to the last one ever written; zeros follow up to `len`.
    data: Vec<u8>,
    len: u64,
    /// The length as the medium has it.
    durable_len: u64,
    /// Sectors from here on were holes at the last sync: the medium has zeros for them.
    settled: u64,
    /// Changed since the last sync: what the medium has.
    before: BTreeMap<u64, Block>,
    /// Sectors beyond `settled` that the kernel has written by itself.
    written_back: BTreeSet<u64>,
    /// Changes that a failed sync has forgotten: readers see them, the kernel calls them clean, the medium has this.
    lost: BTreeMap<u64, Block>,
}

fn sectors(bytes: u64) -> u64 {
    bytes.div_ceil(SECTOR)
}

impl Node {
    pub(super) fn new(path: String) -> Self {
        Node { path, ..Node::default() }
    }

    /// A file that is wholly on the medium, with zeros after `data` up to `len`.
    pub(super) fn settled(path: String, data: Vec<u8>, len: u64) -> Self {
        let mut node = Node { path, len, charged: len, data, ..Node::default() };
        node.sync();
        node
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes as readers see them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.data.clone();
        bytes.resize(self.len as usize, 0);
        bytes
    }

    /// The bytes as readers see them, without the zeros at the end.
    pub(super) fn head(&self) -> &[u8] {
        let end = self.data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &self.data[..end]
    }

    /// All that was ever written, zeros at the end included: where some of those were not stored, as many as a sector has.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut bytes = self.data.clone();
        bytes.resize((bytes.len() + SECTOR as usize).min(self.len as usize), 0);
        bytes
    }

    /// What the medium has where it differs from what readers see.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &[u8]> {
        self.before.values().chain(self.lost.values()).flatten().map(|block| &block[..])
    }

    /// The bytes that a power cut in this moment is sure to leave.
    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        let mut node = self.clone();
        node.forget(self.durable_len, &mut || false);
        node.bytes()
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = (buffer.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        let from = (offset.min(self.data.len() as u64)) as usize;
        let stored = count.min(self.data.len() - from);
        buffer[..stored].copy_from_slice(&self.data[from..from + stored]);
        buffer[stored..count].fill(0);
        count
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        self.touch(offset / SECTOR, sectors(end));
        if (self.data.len() as u64) < end {
            self.data.resize(end as usize, 0);
        }
        self.data[offset as usize..end as usize].copy_from_slice(data);
        self.len = self.len.max(end);
        self.charged = self.charged.max(end);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.data.len() as u64 {
            self.touch(len / SECTOR, sectors(self.data.len() as u64));
            self.data.truncate(len as usize);
        }
        self.len = len;
        self.charged = self.charged.min(len);
    }

    pub(super) fn allocate(&mut self, end: u64) {
        self.len = self.len.max(end);
        self.charged = self.charged.max(end);
    }

    /// Remembers what the medium has of sectors that are about to change.
    fn touch(&mut self, from: u64, to: u64) {
        for sector in from..to.min(self.settled) {
            if !self.before.contains_key(&sector) {
                let block = self.lost.remove(&sector).unwrap_or_else(|| self.block(sector));
                self.before.insert(sector, block);
            }
        }
        if self.written_back.is_empty() {
            return;
        }
        let again: Vec<u64> = self.written_back.range(from.min(to)..to).copied().collect();
        for sector in again {
            self.written_back.remove(&sector);
            self.before.insert(sector, self.block(sector));
        }
    }

    fn block(&self, sector: u64) -> Block {
        let from = ((sector * SECTOR) as usize).min(self.data.len());
        let to = (from + SECTOR as usize).min(self.data.len());
        let mut block = [0; SECTOR as usize];
        block[..to - from].copy_from_slice(&self.data[from..to]);
        (to > from).then(|| Box::new(block))
    }

    /// Whether anything is not on the medium.
    fn is_dirty(&self) -> bool {
        self.durable_len != self.len
            || !self.before.is_empty()
            || !self.lost.is_empty()
            || self.settled < sectors(self.data.len() as u64)
    }

    /// The sectors that a sync has to write.
    fn dirty(&self) -> Vec<u64> {
        let fresh = self.settled..sectors(self.data.len() as u64);
        let fresh = fresh.filter(|sector| !self.written_back.contains(sector) && !self.before.contains_key(sector));
        self.before.keys().copied().chain(fresh).collect()
    }

    /// All reaches the medium, but for what an earlier failed sync has lost.
    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.written_back.clear();
        self.settled = sectors(self.data.len() as u64);
        self.durable_len = self.len;
    }

    /// The kernel writes some sectors by itself, as it may at any time.
    pub(super) fn write_back(&mut self, chance: &mut Chance) {
        for sector in self.dirty() {
            if chance.coin() {
                self.before.remove(&sector);
                if sector >= self.settled {
                    self.written_back.insert(sector);
                }
            }
        }
        if chance.coin() {
            self.durable_len = self.len;
        }
    }

    /// A sync that fails: some sectors have reached the medium, the others are called clean all the same. Readers go
    /// on seeing them, the next sync succeeds, and the medium never gets them (measured on ext4, xfs and btrfs).
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        for sector in self.dirty() {
            if chance.coin() {
                self.lost.insert(sector, self.before.remove(&sector).flatten());
            }
        }
        let len_reached = chance.coin();
        let durable_len = self.durable_len;
        self.sync();
        if !len_reached {
            self.durable_len = durable_len;
        }
    }

    /// Clean pages are read from the medium again: what a failed sync has lost shows.
    pub(super) fn drop_cache(&mut self) {
        for (sector, block) in std::mem::take(&mut self.lost) {
            self.put(sector, block);
        }
        self.data.truncate(self.len as usize);
    }

    /// Power is cut: every sector that was not synced survives or not, each by itself, and so does the length.
    pub(super) fn crash(&mut self, chance: &mut Chance, eighths: u64) {
        if !self.is_dirty() {
            return;
        }
        let grown = self.len.saturating_sub(self.durable_len);
        let len = if grown > 0 && (1..8).contains(&eighths) && chance.one_in(3) {
            self.durable_len + chance.below(grown)
        } else if self.len == self.durable_len || chance.odds(eighths) {
            self.len
        } else {
            self.durable_len
        };
        self.forget(len, &mut || chance.odds(eighths));
    }

    /// Puts back what the medium has of every sector that `survives` denies, cuts or extends the file to `len`, and
    /// calls all of it durable.
    fn forget(&mut self, len: u64, survives: &mut dyn FnMut() -> bool) {
        let seen = sectors(self.data.len() as u64);
        for sector in self.settled..seen {
            let fresh = !self.written_back.contains(&sector) && !self.before.contains_key(&sector);
            if fresh && !survives() {
                self.put(sector, None);
            }
        }
        for (sector, block) in std::mem::take(&mut self.before) {
            // Beyond a cut there is nothing new that could have survived.
            if sector >= seen || !survives() {
                self.put(sector, block);
            }
        }
        self.len = len;
        self.drop_cache();
        self.charged = self.charged.max(self.data.len() as u64).min(len);
        self.sync();
    }

    fn put(&mut self, sector: u64, block: Block) {
        let (from, to) = ((sector * SECTOR) as usize, ((sector + 1) * SECTOR) as usize);
        match block {
            Some(block) => {
                if self.data.len() < to {
                    self.data.resize(to, 0);
                }
                self.data[from..to].copy_from_slice(&*block);
            }
            None => {
                let end = to.min(self.data.len());
                self.data[from.min(end)..end].fill(0);
            }
        }
    }

    /// Turns one bit over, for readers and on the medium.
    pub(super) fn flip(&mut self, byte: u64, bit: u8) {
        let (at, sector) = (byte as usize, byte / SECTOR);
        if self.data.len() <= at {
            // A bit in a hole makes it a written sector; it must not look as if it were waiting for a sync.
            if sectors(self.data.len() as u64) <= sector {
                self.written_back.insert(sector);
            }
            self.data.resize(at + 1, 0);
        }
        self.data[at] ^= 1 << bit;
        for blocks in [&mut self.before, &mut self.lost] {
            if let Some(Some(block)) = blocks.get_mut(&sector) {
                block[(byte % SECTOR) as usize] ^= 1 << bit;
            }
        }
    }
}
