//! What exists: the segments of every partition, the journal files that wait to be settled, and the snapshots that
//! readers hold of both. It owns the open segment files (a bounded number of them) and decides nothing.
//!
//! A snapshot is a shared list plus the journal position published last. Lists change only by being replaced, so a
//! reader keeps what it began with; a segment that was merged away is unlinked once nobody holds it any more.

use crate::sync::{Arc, Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::mixer::Mixed;
use crate::env::{Env, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::SegmentFact;
use crate::format::position::Position;
use crate::ident::{Handle, PartitionNumber, Salt, StoreId};
use crate::segment::{self, Segment};
use crate::window::Day;

/// Segments kept open at once. Each holds a file descriptor and its sparse table.
const OPEN_SEGMENTS: usize = 256;

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
        JournalFile { number, path, file, opening, salt, contents: RwLock::default() }
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
        let mut next = contents.last.get(handle).copied().unwrap_or(0);
        let mut places = Vec::new();
        while let Some((place, before)) = next.checked_sub(1).and_then(|index| contents.frames.get(index as usize)) {
            if place.offset < limit {
                places.push(*place);
            }
            next = *before;
        }
        places.reverse();
        places
    }

    /// Sums per partition.
    pub fn totals(&self) -> BTreeMap<PartitionNumber, Totals> {
        self.contents.read().expect("no holder of this lock panics").totals.clone()
    }

    /// How far sources were taken in by groups of this file.
    pub fn sources(&self) -> BTreeMap<[u8; 16], u64> {
        self.contents.read().expect("no holder of this lock panics").sources.clone()
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
}

/// What is visible: replaced as a whole, never changed.
#[derive(Clone, Debug, Default)]
pub struct View {
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

struct OpenSegments {
    files: HashMap<(PartitionNumber, u64), (Arc<Segment>, u64)>,
    clock: u64,
}

/// The catalog of one store.
pub struct Catalog {
    env: Arc<dyn Env>,
    root: PathBuf,
    store: StoreId,
    state: RwLock<Snapshot>,
    open: Mutex<OpenSegments>,
    doomed: Mutex<Vec<Arc<SegmentSlot>>>,
}

impl Catalog {
    /// The catalog of the store in `root`, empty.
    pub fn new(env: Arc<dyn Env>, root: &Path, store: StoreId) -> Self {
        Catalog {
            env,
            root: root.to_path_buf(),
            store,
            state: RwLock::new(Snapshot { view: Arc::default(), published: Position::default() }),
            open: Mutex::new(OpenSegments { files: HashMap::new(), clock: 0 }),
            doomed: Mutex::default(),
        }
    }

    /// The segment that `fact` names, as a slot of the view.
    pub fn slot(&self, fact: SegmentFact) -> Arc<SegmentSlot> {
        let path = segment::path(&self.root, &fact.id, fact.segment);
        Arc::new(SegmentSlot { fact, path })
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
        change(&mut view);
        state.view = Arc::new(view);
    }

    /// The open file of a segment.
    ///
    /// # Errors
    /// Damage in its header, footer or sparse table; anything the operating system answers.
    pub fn open(&self, slot: &SegmentSlot) -> Result<Arc<Segment>> {
        let key = (slot.fact.partition, slot.fact.segment);
        let mut open = self.open.lock().expect("no holder of this lock panics");
        open.clock += 1;
        let now = open.clock;
        if let Some((segment, used)) = open.files.get_mut(&key) {
            *used = now;
            return Ok(segment.clone());
        }
        drop(open);
        let segment = Segment::open(&*self.env, &slot.path, Some(&slot.fact.hash));
        let segment = segment.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.hint("bring this segment back from a copy of the store; see `tenure repair`"),
            _ => error,
        })?;
        if segment.head().store != self.store || segment.partition() != slot.fact.partition {
            return Err(Error::corrupt(&slot.path, 0, "the segment belongs to another store or partition"));
        }
        let segment = Arc::new(segment);
        let mut open = self.open.lock().expect("no holder of this lock panics");
        open.files.insert(key, (segment.clone(), now));
        if open.files.len() > OPEN_SEGMENTS {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.map(|key| open.files.remove(&key));
        }
        Ok(segment)
    }

    /// Remembers segments that no new snapshot names, until [`Catalog::sweep`] may unlink them.
    pub fn doom(&self, slots: Vec<Arc<SegmentSlot>>) {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        for slot in &slots {
            open.files.remove(&(slot.fact.partition, slot.fact.segment));
        }
        drop(open);
        self.doomed.lock().expect("no holder of this lock panics").extend(slots);
    }

    /// Unlinks doomed segments that no snapshot holds any more. Returns how many.
    ///
    /// # Errors
    /// What the operating system answers; the rest stays doomed.
    pub fn sweep(&self) -> Result<u64> {
        let mut doomed = self.doomed.lock().expect("no holder of this lock panics");
        let (free, held): (Vec<_>, Vec<_>) = doomed.drain(..).partition(|slot| Arc::strong_count(slot) == 1);
        *doomed = held;
        let mut removed = 0;
        for slot in free {
            match self.env.remove_file(&slot.path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove a merged segment", &slot.path, error)),
            }
        }
        Ok(removed)
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
        }
        assert!(journal.places(&handle(3), u64::MAX).is_empty());
        assert_eq!(journal.end(), 50);
    }
}
