//! Customers who were asked for lately: where their cells are, the keys of those, and their frames as they are stored, so
//! that who is asked for again, as while somebody serves them, is neither derived nor looked up nor read once more.
//!
//! A bounded cache of ciphertexts and keys; nothing of it is plain. [`Recent::purge`] empties all, because a key that lives
//! on in a cache is not dead. Nothing in it holds a segment: what was read does not keep a file from going.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::ops::Range;

use super::partitions::Partition;
use super::read::Own;
use super::row::Probe;
use crate::cache::Cache;
use crate::crypto::Sealer;
use crate::format::frame::{FrameHead, FrameView};
use crate::ident::{Salt, SubjectNumber};
use crate::keyring::CustomerEntry;

/// What is kept in all, in bytes: some three thousand customers of four records.
const LIMIT: usize = 16 << 20;
/// Of a customer who has more than this in ciphertexts nothing is kept: deriving and reading are little beside opening
/// them, and many others would have to go.
const LONG: usize = 12 << 10;
/// What an entry of a customer, a mark and their places in the maps weigh, about.
const ENTRY_BYTES: usize = 512;
const MARK_BYTES: usize = 128;

/// What is kept of a customer.
#[derive(Clone)]
enum Kept {
    /// Was asked for once: who is not asked for again costs no more than this.
    Asked,
    /// Has too much to be kept.
    Long,
    Row(Arc<Known>),
}

/// A customer's cells, and what was in segments of each.
pub struct Known {
    entry: Arc<CustomerEntry>,
    /// The lists of segments that it was read from.
    generation: u64,
    columns: Vec<Column>,
    frames: Vec<KnownFrame>,
    bytes: Vec<u8>,
}

/// A partition that was looked into, and the cells that there may be.
pub struct Column {
    /// Where.
    pub partition: Own<Partition>,
    /// By what they are found; none where nothing of the customer can be read there.
    pub cells: Vec<KnownCell>,
}

/// A cell that there may be.
pub struct KnownCell {
    /// What it is found by.
    pub probe: Probe,
    frames: Range<usize>,
}

/// A frame as it is stored.
struct KnownFrame {
    head: FrameHead,
    salt: Salt,
    sealer: Sealer,
    end: usize,
}

impl Known {
    fn is_of(&self, entry: &Arc<CustomerEntry>, generation: u64) -> bool {
        self.generation == generation && Arc::ptr_eq(&self.entry, entry)
    }

    /// What it weighs in the cache, about, once its vectors have no more room than they need.
    fn pack(&mut self) -> usize {
        let Known { columns, frames, bytes, .. } = self;
        columns.shrink_to_fit();
        frames.shrink_to_fit();
        bytes.shrink_to_fit();
        let cells: usize = columns.iter().map(|column| column.cells.capacity()).sum();
        let of_cells = size_of_val(&columns[..]) + cells * size_of::<KnownCell>();
        ENTRY_BYTES + of_cells + size_of_val(&frames[..]) + bytes.len()
    }

    /// The column of each of `partitions`, which are some of those that were looked into, in their order; none of one that
    /// was not.
    pub fn columns<'a>(&'a self, partitions: &'a [Arc<Partition>]) -> impl Iterator<Item = Option<&'a Column>> {
        let mut columns = self.columns.iter();
        partitions.iter().map(move |partition| columns.find(|column| Arc::ptr_eq(&*column.partition, partition)))
    }

    /// The frames of a cell in the order of segments, each with what it opens under.
    pub fn frames(&self, cell: &KnownCell) -> impl Iterator<Item = (FrameView<'_>, &Salt, &Sealer)> {
        let starts = |index: usize| index.checked_sub(1).map_or(0, |before| self.frames[before].end);
        cell.frames.clone().map(move |index| {
            let KnownFrame { head, salt, sealer, end } = &self.frames[index];
            (FrameView::known(*head, &self.bytes[starts(index)..*end]), salt, sealer)
        })
    }
}

/// What of a customer is being read, to be kept.
pub struct Taking {
    epoch: u64,
    known: Known,
    /// Frames of cells that were read.
    read: usize,
    is_long: bool,
}

impl Taking {
    fn new(epoch: u64, entry: &Arc<CustomerEntry>, generation: u64) -> Box<Self> {
        let (entry, columns, frames, bytes) = (entry.clone(), Vec::new(), Vec::new(), Vec::new());
        Box::new(Taking { epoch, known: Known { entry, generation, columns, frames, bytes }, read: 0, is_long: false })
    }

    /// A frame of the cell that is being read, its checksum having been checked.
    pub fn frame(&mut self, frame: &FrameView<'_>, salt: &Salt, sealer: &Sealer) {
        let Known { frames, bytes, .. } = &mut self.known;
        if self.is_long || bytes.len() + frame.sealed().len() > LONG {
            return self.give_up();
        }
        bytes.extend_from_slice(frame.sealed());
        frames.push(KnownFrame { head: *frame.head(), salt: *salt, sealer: sealer.clone(), end: bytes.len() });
    }

    /// The cell that was read.
    pub fn cell(&mut self, probe: Probe) {
        let end = self.known.frames.len();
        let column = self.known.columns.last_mut().expect("a cell is read in a partition");
        column.cells.push(KnownCell { probe, frames: self.read..end });
        self.read = end;
    }

    /// A partition that is about to be looked into.
    pub fn partition(&mut self, partition: Own<Partition>) {
        self.known.columns.push(Column { partition, cells: Vec::new() });
    }

    /// There is more than is kept.
    pub fn give_up(&mut self) {
        self.is_long = true;
    }
}

/// The customers asked for lately.
pub struct Recent {
    /// How often everything was forgotten.
    epoch: AtomicU64,
    kept: Cache<SubjectNumber, Kept>,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { epoch: AtomicU64::new(0), kept: Cache::new(LIMIT) }
    }
}

/// What is known of a customer.
pub enum Asked {
    /// What was there when it was read last, and is still.
    Known(Arc<Known>),
    /// Nothing: what is read now is worth keeping.
    Again(Box<Taking>),
    /// Nothing.
    Never,
}

impl Recent {
    /// How often everything was forgotten. To be asked before a customer's entry is, whose secrets may die meanwhile.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What is known of a customer in these partitions, as of the lists of segments with this number. The entry was read
    /// in `epoch` or later.
    pub fn ask(&self, epoch: u64, entry: &Arc<CustomerEntry>, generation: u64, partitions: &[Arc<Partition>]) -> Asked {
        match self.kept.get(&entry.subject) {
            Some(Kept::Row(known))
                if known.is_of(entry, generation) && known.columns(partitions).all(|column| column.is_some()) =>
            {
                Asked::Known(known)
            }
            Some(Kept::Row(_) | Kept::Asked) => Asked::Again(Taking::new(epoch, entry, generation)),
            Some(Kept::Long) => Asked::Never,
            None => {
                self.kept.insert(entry.subject, Kept::Asked, MARK_BYTES);
                Asked::Never
            }
        }
    }

    /// Keeps what was read, unless there is too much of it.
    pub fn keep(&self, taking: Taking) {
        let Taking { epoch, mut known, is_long, .. } = taking;
        let subject = known.entry.subject;
        let (weight, kept) = match is_long {
            true => (MARK_BYTES, Kept::Long),
            false => (known.pack(), Kept::Row(Arc::new(known))),
        };
        self.kept.insert(subject, kept, weight);
        // A purge counts before it clears: it either comes after what was just kept, or is seen here.
        if self.epoch() != epoch {
            self.kept.clear();
        }
    }

    /// How much is kept, in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Forgets everything, wiping keys.
    pub fn purge(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.kept.clear();
    }
}
