//! A reader beside a writer, one operation at a time: before each operation of the reader in turn, the writer does
//! something. Whatever it does, and whenever, the reader finds everything that was durable when it began.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenure::env::sim::Sim;
use tenure::env::{DirEntry, Env, File, Lock, Map, Medium, Metadata, OpenMode};
use tenure::report::{Budget, VerifyOptions};
use tenure::{FileCustodian, Options, Record, ScanFilter, Store, Timestamp};

use crate::scene::{self, STORE};

type Act = Box<dyn FnOnce() + Send>;

/// The machine as a reader has it: one of its operations is preceded by something that another process does.
#[derive(Clone)]
struct Between {
    sim: Sim,
    operations: Arc<AtomicU64>,
    act: Arc<Mutex<Option<(u64, Act)>>>,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Between").field("operations", &self.operations).finish_non_exhaustive()
    }
}

impl Between {
    fn new(sim: &Sim) -> Self {
        Between { sim: sim.clone(), operations: Arc::default(), act: Arc::default() }
    }

    /// Before the operation that many operations from now, `act`.
    fn at(&self, operation: u64, act: impl FnOnce() + Send + 'static) {
        let at = self.operations.load(Ordering::Relaxed) + operation;
        *self.act.lock().unwrap() = Some((at, Box::new(act)));
    }

    /// Whether that many operations have not come.
    fn is_waiting(&self) -> bool {
        self.act.lock().unwrap().is_some()
    }

    fn next(&self) -> &Sim {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        let act = self.act.lock().unwrap().take_if(|(at, _)| *at <= operation);
        if let Some((_, act)) = act {
            act();
        }
        &self.sim
    }
}

#[derive(Debug)]
struct BetweenFile(Between, Arc<dyn File>);

impl BetweenFile {
    fn next(&self) -> &dyn File {
        self.0.next();
        &*self.1
    }
}

impl File for BetweenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.next().read_at(buffer, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.next().write_at(data, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.next().len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.next().set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.next().allocate(offset, len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.next().sync_data()
    }
    fn drop_cache(&self) {
        self.next().drop_cache()
    }
}

impl Env for Between {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.next().open(path, mode)?;
        Ok(Arc::new(BetweenFile(self.clone(), file)))
    }
    fn map(&self, path: &Path) -> io::Result<Box<dyn Map<Target = [u8]>>> {
        self.next().map(path)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.next().rename_new(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.next().remove_file(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.next().create_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.next().remove_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.next().list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.next().metadata(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.next().sync_dir(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.next().try_lock(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.next().free_space(path)
    }
    fn medium(&self, path: &Path) -> io::Result<Medium> {
        self.next().medium(path)
    }
    fn now(&self) -> Timestamp {
        self.sim.now()
    }
    fn monotonic(&self) -> Duration {
        self.sim.monotonic()
    }
    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.sim.fill_random(buffer)
    }
}

fn options(between: &Between) -> Options {
    let env: Arc<dyn Env> = Arc::new(between.clone());
    let custodian = FileCustodian::with_env(env.clone(), "/calls.custodian");
    Store::options(STORE).env(env).custodian(custodian).ballast_bytes(4096)
}

fn note(customer: &str, month: u64, serial: u64) -> Record {
    let at = format!("2025-{month:02}-15T00:00:00.{serial:06}Z").parse().unwrap();
    Record::new(customer, "chat", "EU", at, format!("note {serial}")).unwrap()
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

/// What the writer does meanwhile.
type Work = (&'static str, fn(&Store, &Sim));

const WORKS: [Work; 8] = [
    ("settle", |store, _| drop(store.settle().unwrap())),
    ("append", |store, _| append(store, vec![note("c-ana", 3, 90), note("c-new", 4, 91)])),
    ("append and settle, twice", |store, _| {
        for serial in [90, 92] {
            append(store, vec![note("c-ana", 3, serial), note("c-new", 4, serial + 1)]);
            store.settle().unwrap();
        }
    }),
    ("settle and merge", |store, _| {
        store.settle().unwrap();
        store.maintain(Budget::ALL).unwrap();
    }),
    ("new customers, folded", |store, _| {
        (0..12).for_each(|serial| append(store, vec![note(&format!("c-new-{serial}"), 1, serial)]));
    }),
    ("erase another", |store, _| drop(store.erase(&["c-cy"]).unwrap().unwrap())),
    ("settle and erase another", |store, _| {
        store.settle().unwrap();
        store.erase(&["c-cy"]).unwrap().unwrap();
        store.maintain(Budget::ALL).unwrap();
    }),
    ("close", |store, _| store.clone().close().unwrap()),
];

/// What only a reader that was open before can bear: whoever opens then waits for the next position.
const DAMAGE: Work = ("append, and the position it published is damaged", |store, sim| {
    append(store, vec![note("c-ana", 3, 90)]);
    sim.write(format!("{STORE}/durable"), b"half of it");
});

/// A store with segments and a journal, of three customers and two months.
fn scene() -> (Sim, Store) {
    let sim = Sim::new(1);
    let store = scene::options(&sim).merge_at_least(2).fold_at(8).create().unwrap();
    for serial in 0..4 {
        append(&store, ["c-ana", "c-bo", "c-cy"].map(|customer| note(customer, 1 + serial % 2, serial)).to_vec());
        if serial % 2 == 0 {
            store.settle().unwrap();
        }
    }
    (sim, store)
}

/// How a reader reads, and how many of the records of Ana and Bo it finds.
type Reading = (&'static str, fn(&Store) -> usize);

const READINGS: [Reading; 4] = [
    ("timeline", |reader| {
        let of = |customer| reader.timeline(customer, ..).unwrap().map(Result::unwrap).count();
        of("c-ana").min(4) + of("c-bo")
    }),
    ("scan", |reader| {
        let kept = |customer: &str| matches!(customer, "c-ana" | "c-bo");
        let records = reader.scan(ScanFilter::default()).unwrap().map(Result::unwrap);
        records.filter(|stored| kept(stored.customer.expose()) && stored.body.len() == "note 0".len()).count()
    }),
    ("verify", |reader| {
        let verified = reader.verify(VerifyOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(verified.damage, []);
        (verified.frames as usize).min(8)
    }),
    ("verify deep", |reader| {
        let options = VerifyOptions { deep: true, ..VerifyOptions::default() };
        let verified = reader.verify(options, &mut |_| {}).unwrap();
        assert_eq!(verified.damage, []);
        (verified.records as usize).min(8)
    }),
];

/// Every work before every operation of an opening and each kind of reading after it, or of the reading alone. Returns how
/// often.
fn every_moment(opened_before: bool) -> u64 {
    let mut moments = 0;
    for (work, act) in WORKS.into_iter().chain(opened_before.then_some(DAMAGE)) {
        for (reading, read) in READINGS {
            for operation in 0.. {
                let (sim, writer) = scene();
                let between = Between::new(&sim);
                let open = || options(&between).open_read_only().unwrap();
                let before = opened_before.then(open);
                between.at(operation, {
                    let writer = writer.clone();
                    move || act(&writer, &sim)
                });
                let reader = before.unwrap_or_else(open);
                let found = read(&reader);
                assert_eq!(
                    found, 8,
                    "{work}, before operation {operation} of {reading}, opened before: {opened_before}"
                );
                if between.is_waiting() {
                    break;
                }
                moments += 1;
            }
        }
    }
    moments
}

#[test]
fn a_reader_misses_nothing_whatever_is_done_while_it_opens() {
    println!("{} moments", every_moment(false));
}

#[test]
fn a_reader_misses_nothing_whatever_is_done_while_it_reads() {
    println!("{} moments", every_moment(true));
}
