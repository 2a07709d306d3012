//! What exists: the segments of every partition, the journal files that wait to be settled, and the snapshots that
//! readers hold of both. It owns the open segment files (a bounded number of them) and decides nothing.
//!
//! A snapshot is a shared list plus the journal position published last. Lists change only by being replaced, so a
//! reader keeps what it began with; a segment that was merged away is unlinked once nobody holds it any more.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, RwLock, Weak};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dictionaries::Dictionaries;
use super::partitions::Partition;
use crate::compress::Dictionary;
use crate::env::{Env, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::SegmentFact;
use crate::format::position::Position;
use crate::ident::{Handle, PartitionNumber, Salt, StoreId};
use crate::journal::{FRAMES_FULL, JOURNAL_FULL};
use crate::mixer::Mixed;
use crate::segment::{self, Segment};
use crate::window::Day;

/// Of the files that a process may have open, segments take one in so many, and within these bounds. Each holds its
/// sparse table as well.
const SHARE_OF_FILES: usize = 4;
const OPEN_SEGMENTS: std::ops::RangeInclusive<usize> = 64..=4096;
/// Bytes of checked index blocks that open segments keep.
const INDEX_BYTES: usize = 32 << 20;

/// Where one frame stands in a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Length of the frame in bytes.
    pub length: u32,
}

/// Sums over records of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames.
    pub records: u64,
    /// Those of them that are chunks of large bodies, and so no records.
    pub chunks: u64,
    /// Bytes of their bodies as they came in.
    pub raw_bytes: u64,
    /// Bytes of their frames.
    pub frame_bytes: u64,
    /// First and last day of an event.
    pub span: Option<(Day, Day)>,
}

impl Totals {
    /// Of `records` frames among these, `chunks` of them chunks: bytes, which stand inside the ciphertext, are an even
    /// share.
    pub fn part(&self, records: u64, chunks: u64) -> Totals {
        let share = |bytes: u64| match self.records {
            0 => 0,
            all => (u128::from(bytes) * u128::from(records) / u128::from(all)) as u64,
        };
        Totals { records, chunks, raw_bytes: share(self.raw_bytes), frame_bytes: share(self.frame_bytes), ..*self }
    }

    /// Takes in more of the same partition.
    pub fn add(&mut self, other: &Totals) {
        self.records += other.records;
        self.chunks += other.chunks;
        self.raw_bytes += other.raw_bytes;
        self.frame_bytes += other.frame_bytes;
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (span, None) | (None, span) => span,
        };
    }
}

/// What readers need to know of one journal file.
#[derive(Debug, Default)]
struct JournalContents {
    /// Every frame in the order of the file, with the one of the same handle before it (counted from one; zero is none).
    frames: Vec<(Place, u32)>,
    /// The last frame of every handle, counted from one.
    last: HashMap<Handle, u32, Mixed>,
    totals: BTreeMap<PartitionNumber, Totals>,
    sources: BTreeMap<[u8; 16], u64>,
    /// Where the groups taken in so far end.
    end: u64,
}

impl JournalContents {
    /// The frames of a cell, the last one first.
    fn backwards(&self, handle: &Handle) -> impl Iterator<Item = Place> {
        let mut next = self.last.get(handle).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let (place, before) = self.frames.get(next.checked_sub(1)? as usize)?;
            next = *before;
            Some(*place)
        })
    }
}

/// A journal file that has not been settled, with the index of its frames.
#[derive(Debug)]
pub struct JournalFile {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// The open file, for positioned reads.
    pub file: Arc<dyn File>,
    /// The opening that wrote it.
    pub opening: u32,
    /// That opening's salt.
    pub salt: Salt,
    /// When this opening began it, by the monotonic clock; none for a file of an earlier one.
    pub begun: Option<Duration>,
    contents: RwLock<JournalContents>,
}

/// A group as the index takes it in.
#[derive(Debug, Default)]
pub struct Indexed {
    /// Every frame's handle and place, offsets relative to the group's start.
    pub frames: Vec<(Handle, Place)>,
    /// Sums per partition.
    pub totals: Vec<(PartitionNumber, Totals)>,
    /// How far sources have been taken in.
    pub sources: Vec<([u8; 16], u64)>,
}

impl JournalFile {
    /// A file of which nothing is indexed yet.
    pub fn new(number: u64, path: PathBuf, file: Arc<dyn File>, opening: u32, salt: Salt) -> Self {
        JournalFile { number, path, file, opening, salt, begun: None, contents: RwLock::default() }
    }

    /// Takes in a group that starts at `start` and ends at `end`.
    pub fn index(&self, start: u64, end: u64, group: &Indexed) {
        let mut contents = self.contents.write().expect("no holder of this lock panics");
        let contents = &mut *contents;
        contents.frames.reserve(group.frames.len());
        for (handle, place) in &group.frames {
            let place = Place { offset: start + place.offset, length: place.length };
            let number = contents.frames.len() as u32 + 1;
            let before = contents.last.insert(*handle, number).unwrap_or(0);
            contents.frames.push((place, before));
        }
        for (partition, totals) in &group.totals {
            contents.totals.entry(*partition).or_default().add(totals);
        }
        for (tag, offset) in &group.sources {
            contents.sources.insert(*tag, *offset);
        }
        contents.end = contents.end.max(end);
    }

    /// The frames of a cell that start before `limit`.
    pub fn places(&self, handle: &Handle, limit: u64) -> Vec<Place> {
        let contents = self.contents.read().expect("no holder of this lock panics");
        let mut places: Vec<Place> = contents.backwards(handle).filter(|place| place.offset < limit).collect();
        places.reverse();
        places
    }

    /// Whether any frame of a cell starts before `limit`.
    pub fn holds(&self, handle: &Handle, limit: u64) -> bool {
        let contents = self.contents.read().expect("no holder of this lock panics");
        contents.backwards(handle).any(|place| place.offset < limit)
    }

    /// Sums per partition.
    pub fn totals(&self) -> BTreeMap<PartitionNumber, Totals> {
        self.contents.read().expect("no holder of this lock panics").totals.clone()
    }

    /// How far sources were taken in by groups of this file.
    pub fn sources(&self) -> BTreeMap<[u8; 16], u64> {
        self.contents.read().expect("no holder of this lock panics").sources.clone()
    }

    /// Whether it is time for another file.
    pub fn is_full(&self) -> bool {
        let contents = self.contents.read().expect("no holder of this lock panics");
        contents.end >= JOURNAL_FULL || contents.frames.len() >= FRAMES_FULL
    }

    /// Where the groups taken in so far end, in bytes from the start of the file.
    pub fn end(&self) -> u64 {
        self.contents.read().expect("no holder of this lock panics").end
    }
}

/// A segment as the ledger names it. The file is opened when it is first needed.
#[derive(Debug)]
pub struct SegmentSlot {
    /// What the ledger says of it.
    pub fact: SegmentFact,
    /// Where it is.
    pub path: PathBuf,
    open: RwLock<Option<Arc<Segment>>>,
}

impl SegmentSlot {
    fn segment(&self) -> Option<Arc<Segment>> {
        self.open.read().expect("no holder of this lock panics").clone()
    }

    /// Lets go of the file; who reads it at the time goes on.
    fn close(&self) {
        *self.open.write().expect("no holder of this lock panics") = None;
    }
}

/// What is visible: replaced as a whole, never changed.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Another number for other lists.
    pub generation: u64,
    /// The segments of every partition, oldest first.
    pub segments: BTreeMap<PartitionNumber, Vec<Arc<SegmentSlot>>>,
    /// Journal files that wait to be settled, oldest first; the last may be growing.
    pub journals: Vec<Arc<JournalFile>>,
}

/// What one reader sees from beginning to end.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The lists.
    pub view: Arc<View>,
    /// Frames at or beyond this position are not in it.
    pub published: Position,
}

impl Snapshot {
    /// How far into `journal` this snapshot reaches, in bytes.
    pub fn limit(&self, journal: &JournalFile) -> u64 {
        match journal.number.cmp(&self.published.file) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => self.published.offset,
            std::cmp::Ordering::Greater => 0,
        }
    }

    /// The segments of one partition.
    pub fn segments(&self, partition: PartitionNumber) -> &[Arc<SegmentSlot>] {
        self.view.segments.get(&partition).map_or(&[], Vec::as_slice)
    }
}

/// The slots whose file is open, in no order, and what chooses among them.
#[derive(Default)]
struct OpenSegments {
    slots: Vec<Weak<SegmentSlot>>,
    dice: u64,
}

impl OpenSegments {
    /// Any of them, taken out. Who reads many segments in turns would meet the oldest one next.
    fn draw(&mut self) -> Option<Weak<SegmentSlot>> {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = self.slots.len() as u64;
        (count > 0).then(|| self.slots.swap_remove(((self.dice >> 33) % count) as usize))
    }
}

/// Files that no new snapshot names, and that had not gone when this was made.
#[derive(Debug, Default)]
pub struct Leaving {
    segments: Vec<Weak<SegmentSlot>>,
    journals: Vec<Weak<JournalFile>>,
}

impl Leaving {
    /// Whether nobody reads them any more, so that a sweep removes what is left.
    pub fn is_let_go(&self) -> bool {
        self.segments.iter().all(|slot| slot.strong_count() <= 1) && self.journals_are_gone()
    }

    /// Whether all of them are gone from the disk too.
    pub fn is_gone(&self) -> bool {
        self.segments.iter().all(|slot| slot.strong_count() == 0) && self.journals_are_gone()
    }

    fn journals_are_gone(&self) -> bool {
        self.journals.iter().all(|file| file.strong_count() == 0)
    }
}

/// The catalog of one store.
pub struct Catalog {
    env: Arc<dyn Env>,
    root: PathBuf,
    store: StoreId,
    state: RwLock<Snapshot>,
    open: Mutex<OpenSegments>,
    open_limit: usize,
    index_bytes: Arc<AtomicUsize>,
    doomed: Mutex<Vec<Arc<SegmentSlot>>>,
    /// Journal files that were settled and unlinked, as long as anybody reads them.
    settled: Mutex<Vec<Weak<JournalFile>>>,
    /// What bodies are compressed with.
    pub dictionaries: Dictionaries,
}

impl Catalog {
    /// The catalog of the store in `root`, empty.
    pub fn new(env: Arc<dyn Env>, root: &Path, store: StoreId) -> Self {
        let open_limit = (env.open_files() / SHARE_OF_FILES).clamp(*OPEN_SEGMENTS.start(), *OPEN_SEGMENTS.end());
        Catalog {
            env,
            root: root.to_path_buf(),
            store,
            state: RwLock::new(Snapshot { view: Arc::default(), published: Position::default() }),
            open: Mutex::default(),
            open_limit,
            index_bytes: Arc::default(),
            doomed: Mutex::default(),
            settled: Mutex::default(),
            dictionaries: Dictionaries::default(),
        }
    }

    /// The segment that `fact` names, as a slot of the view.
    pub fn slot(&self, fact: SegmentFact) -> Arc<SegmentSlot> {
        let path = segment::path(&self.root, &fact.id, fact.segment);
        Arc::new(SegmentSlot { fact, path, open: RwLock::default() })
    }

    /// What is visible now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.read().expect("no holder of this lock panics").clone()
    }

    /// Makes everything before `position` visible to new snapshots.
    pub fn publish(&self, position: Position) {
        let mut state = self.state.write().expect("no holder of this lock panics");
        state.published = state.published.max(position);
    }

    /// Replaces the lists by what `change` makes of them.
    pub fn change(&self, change: impl FnOnce(&mut View)) {
        let mut state = self.state.write().expect("no holder of this lock panics");
        let mut view = (*state.view).clone();
        view.generation += 1;
        change(&mut view);
        state.view = Arc::new(view);
    }

    /// The open file of a segment.
    ///
    /// # Errors
    /// Damage in its header, footer or sparse table; anything the operating system answers.
    pub fn open(&self, slot: &Arc<SegmentSlot>) -> Result<Arc<Segment>> {
        if let Some(segment) = &*slot.open.read().expect("no holder of this lock panics") {
            return Ok(segment.clone());
        }
        let segment = Segment::open(&*self.env, &slot.path, Some(&slot.fact.hash));
        let segment = segment.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.hint("bring this segment back from a copy of the store; see `tenure repair`"),
            _ => error,
        })?;
        if segment.head().store != self.store || segment.partition() != slot.fact.partition {
            return Err(Error::corrupt(&slot.path, 0, "the segment belongs to another store or partition"));
        }
        let segment = Arc::new(segment.counted(self.index_bytes.clone()));
        let mut held = slot.open.write().expect("no holder of this lock panics");
        if let Some(other) = &*held {
            return Ok(other.clone()); // Somebody else opened it meanwhile.
        }
        *held = Some(segment.clone());
        drop(held);
        self.note_open(slot);
        Ok(segment)
    }

    /// The dictionary that a frame of `partition` names.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where there is none of that id, or it is damaged.
    pub fn dictionary(&self, partition: &Partition, id: u32) -> Result<Arc<Dictionary>> {
        self.dictionaries.named(&*self.env, &self.root, partition, id)
    }

    /// Takes `slot` among the open ones, and closes others where they are too many.
    fn note_open(&self, slot: &Arc<SegmentSlot>) {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        let mut closed = Vec::new();
        while open.slots.len() >= self.open_limit {
            closed.extend(open.draw());
        }
        open.slots.push(Arc::downgrade(slot));
        drop(open);
        closed.iter().filter_map(Weak::upgrade).for_each(|slot| slot.close());
    }

    /// Sees to it that open segments do not keep too much of their indexes.
    pub fn trim(&self) {
        if self.index_bytes.load(Ordering::Relaxed) <= INDEX_BYTES {
            return;
        }
        let mut drawn = Vec::new();
        while self.index_bytes.load(Ordering::Relaxed) > INDEX_BYTES / 4 * 3 {
            let slot = self.open.lock().expect("no holder of this lock panics").draw();
            let Some(slot) = slot else { break };
            if let Some(segment) = slot.upgrade().and_then(|slot| slot.segment()) {
                segment.forget_index();
                drawn.push(slot);
            }
        }
        self.open.lock().expect("no holder of this lock panics").slots.extend(drawn);
    }

    /// Remembers segments that no new snapshot names, until [`Catalog::sweep`] may unlink them.
    pub fn doom(&self, slots: Vec<Arc<SegmentSlot>>) {
        slots.iter().for_each(|slot| slot.close());
        self.doomed.lock().expect("no holder of this lock panics").extend(slots);
    }

    /// Remembers a journal file that no new snapshot names, as long as anybody reads it.
    pub fn depart(&self, file: &Arc<JournalFile>) {
        let mut settled = self.settled.lock().expect("no holder of this lock panics");
        settled.retain(|file| file.strong_count() > 0);
        settled.push(Arc::downgrade(file));
    }

    /// What no new snapshot names and has not gone yet.
    pub fn leaving(&self) -> Leaving {
        let doomed = self.doomed.lock().expect("no holder of this lock panics");
        let settled = self.settled.lock().expect("no holder of this lock panics");
        Leaving { segments: doomed.iter().map(Arc::downgrade).collect(), journals: settled.clone() }
    }

    /// Whether there is a doomed segment that no snapshot holds any more.
    pub fn can_sweep(&self) -> bool {
        let doomed = self.doomed.lock().expect("no holder of this lock panics");
        doomed.iter().any(|slot| Arc::strong_count(slot) == 1)
    }

    /// Unlinks doomed segments that no snapshot holds any more. Returns how many.
    ///
    /// # Errors
    /// The first that the operating system answers; what it is about stays doomed, and all others go.
    pub fn sweep(&self) -> Result<u64> {
        let mut doomed = self.doomed.lock().expect("no holder of this lock panics");
        let (mut removed, mut failure) = (0, None);
        doomed.retain(|slot| {
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            match self.env.remove_file(&slot.path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    failure.get_or_insert_with(|| Error::io("remove a merged segment", &slot.path, error));
                    return true;
                }
            }
            false
        });
        failure.map_or(Ok(removed), Err)
    }
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use super::*;
    use crate::env::{OpenMode, sim::Sim};

    #[test]
    fn the_frames_of_a_handle_come_back_in_order_up_to_the_limit() {
        let env = Sim::new(1);
        let file = env.open("j".as_ref(), OpenMode::CreateNew).unwrap();
        let journal = JournalFile::new(1, "j".into(), file, 1, Salt::from_bytes([1; 16]));
        let handle = |number: u64| Handle::from_bytes(u128::from(number).to_le_bytes());
        for group in 0..5_u64 {
            let frame = |number: u64| (handle(number % 3), Place { offset: number, length: 7 });
            let frames = (0..10).map(frame).collect();
            journal.index(group * 10, group * 10 + 10, &Indexed { frames, ..Indexed::default() });
        }
        for number in 0..3 {
            let expected: Vec<u64> = (0..50).filter(|at| at % 10 % 3 == number && *at < 33).collect();
            let found: Vec<u64> = journal.places(&handle(number), 33).iter().map(|place| place.offset).collect();
            assert_eq!(found, expected);
            assert!(journal.holds(&handle(number), number + 1) && !journal.holds(&handle(number), number));
        }
        assert!(journal.places(&handle(3), u64::MAX).is_empty());
        assert_eq!(journal.end(), 50);
    }

    #[test]
    fn what_cannot_be_unlinked_stays_doomed_and_the_rest_goes() {
        let sim = Sim::new(1);
        let catalog = Catalog::new(sim.env(), "".as_ref(), StoreId::from_bytes([1; 16]));
        let slots: Vec<_> = (1..=3).map(|number| catalog.slot(crate::engine::merge::tests::sized(number, 1))).collect();
        slots.iter().for_each(|slot| sim.write(&slot.path, b"dead"));
        catalog.doom(slots);
        sim.fail_at(sim.operations(), crate::env::sim::Failure::Io);
        assert!(catalog.sweep().is_err());
        assert_eq!(sim.files().len(), 1, "one failure keeps the others");
        assert!(!catalog.leaving().is_gone());
        assert_eq!(catalog.sweep().unwrap(), 1);
        assert!(catalog.leaving().is_gone() && sim.files().is_empty());
    }
}
