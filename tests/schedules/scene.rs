//! A store with a little in it, copied for every schedule, and what is asked of it in the end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use tenure::env::Env;
use tenure::env::sim::{Sim, Snapshot};
use tenure::report::{Budget, VerifyOptions};
use tenure::{Error, ErrorKind, FileCustodian, Options, Record, RecordId, RefusalReason, ScanFilter, Store, Timestamp};

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P6M\"\n";
/// When it is, as every schedule begins.
pub const NOW: &str = "2026-01-31T00:00:00Z";
/// After it, but not too far ahead to be taken in.
pub const SOON: &str = "2026-01-31T12:00:00Z";
/// The month that ends first.
pub const OLD: &str = "2025-12-10T00:00:00Z";
/// The month that stays.
pub const YOUNG: &str = "2026-01-10T00:00:00Z";

/// Schedules of each scenario, unless `TENURE_SCHEDULES` says how many.
const SCHEDULES: usize = 300;

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn id(serial: u8) -> RecordId {
    RecordId::from_bytes([serial; 16])
}

pub fn note(customer: &str, class: &str, time: &str, serial: u8) -> Record {
    let time = at(time).plus_seconds(i64::from(serial));
    Record::new(customer, class, "EU", time, format!("note {serial}")).unwrap().with_id(id(serial))
}

pub fn append(store: &Store, records: Vec<Record>) -> Result<(), Error> {
    store.append(records)?.wait()
}

/// The ids of a customer's records, in the order of events.
pub fn ids(store: &Store, customer: &str) -> Vec<RecordId> {
    store.timeline(customer, ..).unwrap().map(|stored| stored.unwrap().id).collect()
}

/// Whether an append was refused because of an erasure or an expiry, and for no other reason.
pub fn is_refused(error: &Error, reason: &RefusalReason) -> bool {
    error.kind() == ErrorKind::Refused && error.refusals().iter().all(|refusal| refusal.reason == *reason)
}

fn options(sim: &Sim) -> Options {
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    let custodian = FileCustodian::with_env(env.clone(), "/calls.custodian");
    Store::options("/calls").env(env).custodian(custodian).ballast_bytes(512).fold_at(2).merge_at_least(2)
}

/// Records that every schedule begins with, of each customer, in the order of events: two in the old month, two in the
/// young one, each month's first in a segment and its second in another.
pub const ANA: [u8; 4] = [1, 2, 3, 4];
pub const BO: [u8; 4] = [11, 12, 13, 14];

fn make() -> Snapshot {
    let sim = Sim::new(1);
    sim.set_now(at(NOW));
    let store = options(&sim).policy(POLICY).create().unwrap();
    for half in 0..2 {
        for (customer, serials) in [("ana", ANA), ("bo", BO)] {
            let [old, young] = [serials[half], serials[2 + half]];
            append(&store, vec![note(customer, "chat", OLD, old), note(customer, "chat", YOUNG, young)]).unwrap();
        }
        store.settle().unwrap();
    }
    store.close().unwrap();
    sim.snapshot()
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(2_000_000);
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::File(Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))));
    config
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, config()).run(scenario);
}

/// Runs a scenario under as many schedules as are asked for.
pub fn schedules(scenario: fn(&Scene)) {
    schedules_with(|options| options, scenario);
}

/// The same with the threads of the store's own.
pub fn schedules_with_worker(scenario: fn(&Scene)) {
    schedules_with(Options::worker, scenario);
}

fn schedules_with(opening: fn(Options) -> Options, scenario: fn(&Scene)) {
    let made = Arc::new(std::sync::Mutex::new(None));
    let making = made.clone();
    run(RandomScheduler::new_from_seed(1, 1), move || *making.lock().unwrap() = Some(make()));
    let image = Arc::new(made.lock().unwrap().take().unwrap());
    let play = move || {
        let image = image.clone();
        move || scenario(&Scene::open(&image, opening))
    };
    if let Ok(file) = std::env::var("TENURE_REPLAY") {
        return run(ReplayScheduler::new_from_file(file).unwrap(), play());
    }
    let count = std::env::var("TENURE_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(SCHEDULES);
    let count: usize = count.max(4); // At least one of each kind.
    run(RandomScheduler::new(count / 2), play());
    run(PctScheduler::new(3, count / 4), play());
    run(PctScheduler::new(5, count / 4), play());
}

/// How far something is: not begun, under way, done. A plain counter: looking at it is no choice of the scheduler's.
#[derive(Default)]
pub struct Stage(AtomicU8);

impl Stage {
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn around<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.store(1, Ordering::SeqCst);
        let done = work();
        self.0.store(2, Ordering::SeqCst);
        done
    }
}

/// One schedule's machine and store.
pub struct Scene {
    pub sim: Sim,
    pub store: Store,
}

impl Scene {
    fn open(image: &Snapshot, opening: fn(Options) -> Options) -> Scene {
        let sim = Sim::new(2);
        sim.restore(image, "");
        sim.set_now(at(NOW));
        let store = opening(options(&sim)).open().unwrap();
        Scene { sim, store }
    }

    /// That no file of an expired month is left.
    pub fn nothing_left_of(&self, month: &str) {
        let left = self.sim.files().into_iter().filter(|(path, _)| path.to_str().unwrap().contains(month));
        assert_eq!(left.count(), 0, "a file of the expired month is left");
    }

    /// Runs `check` on the store as it is and once more after another opening: after a clean close or a power cut.
    /// Then lets the disk be rid of what is dead, after which nothing must be left that nobody can read.
    pub fn afterwards(&self, check: impl Fn(&Store)) {
        check(&self.store);
        match thread_rng().gen_range(0..2) {
            0 => self.store.clone().close().unwrap(),
            _ => self.sim.restart(),
        }
        self.again(check);
    }

    /// The same for a store that is closed by now: another opening has nothing to recover.
    pub fn afterwards_closed(&self, check: impl Fn(&Store)) {
        check(&self.store);
        if thread_rng().gen_range(0..2) == 0 {
            self.sim.restart();
        }
        assert!(self.again(check), "a closed store had to be recovered");
    }

    fn again(&self, check: impl Fn(&Store)) -> bool {
        let store = options(&self.sim).open().unwrap();
        let clean = store.recovery().clean;
        check(&store);
        store.settle().unwrap();
        store.scrub().unwrap();
        let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
        assert_eq!(verified.unreachable, 0, "frames are left that no key opens and no scrubbing found");
        let scanned: Vec<_> = store.scan(ScanFilter::default()).unwrap().map(|stored| stored.unwrap().id).collect();
        assert_eq!(scanned.iter().collect::<BTreeSet<_>>().len(), scanned.len(), "a record was scanned twice");
        // A scan shows neither what is held of months that have expired nor what a newer state or version replaced.
        let held = store.held("ana").unwrap().map(|stored| stored.unwrap().id);
        let mut all: BTreeSet<_> = scanned.into_iter().chain(held).collect();
        for customer in ["ana", "bo"] {
            all.extend(store.history(customer).unwrap().map(|stored| stored.unwrap().id));
        }
        assert_eq!(all.len() as u64, verified.records);
        check(&store);
        store.maintain(Budget::ALL).unwrap();
        clean
    }
}
