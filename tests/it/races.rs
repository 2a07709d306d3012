//! Races on real threads: append, read and new keys against erasure in whole and in part, readers that hold on against
//! expiry. A second each, or as many as `TENURE_SOAK_SECONDS` says. What was acknowledged before an erasure is not
//! readable after it; what others had acknowledged is never lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenure::env::Env;
use tenure::env::disk::Disk;
use tenure::env::sim::Sim;
use tenure::report::{Budget, VerifyOptions};
use tenure::{Error, ErrorKind, ExpireOptions, Record, RecordId, ScanFilter, Store, Stream};

use crate::life::at;
use crate::vault::Vault;

/// Answers whether there is still time.
fn soak() -> impl Fn() -> bool {
    let seconds = std::env::var("TENURE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let clock = Disk::new();
    let until = clock.monotonic() + Duration::from_secs(seconds.unwrap_or(1));
    move || clock.monotonic() < until
}

/// Tells the other threads that it is over, be it by a failure.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn note(customer: &str, class: &str, serial: usize) -> Record {
    let time = format!("2025-0{}-01T00:00:00.{:06}Z", 1 + serial % 9, serial % 1_000_000);
    let mut id = [7; 16];
    id[..8].copy_from_slice(&(serial as u64).to_le_bytes());
    let record = Record::new(customer, class, "EU", at(&time), format!("note {serial}")).unwrap();
    record.with_id(RecordId::from_bytes(id))
}

fn append(store: &Store, records: Vec<Record>) -> Result<(), Error> {
    store.append(records)?.wait()
}

fn ids(store: &Store, customer: &str) -> Result<Vec<RecordId>, Error> {
    store.timeline(customer, ..)?.map(|stored| stored.map(|stored| stored.id)).collect()
}

/// A store on the real disk that outlives `work`, is opened again, and is whole.
fn on_disk(work: impl FnOnce(&Store), afterwards: impl Fn(&Store)) {
    let dir = tempfile::tempdir().unwrap();
    let options = || Store::options(dir.path().join("calls")).accept_weak_erasure().fold_at(8).merge_at_least(3);
    let store = options().create().unwrap();
    work(&store);
    afterwards(&store);
    store.close().unwrap();
    let store = options().open().unwrap();
    afterwards(&store);
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
}

/// Customers by number, each erased at some time.
#[derive(Default)]
struct Doomed {
    erased: Mutex<HashMap<usize, Arc<AtomicBool>>>,
    newest: AtomicUsize,
}

impl Doomed {
    fn flag(&self, number: usize) -> Arc<AtomicBool> {
        self.erased.lock().unwrap().entry(number).or_default().clone()
    }
}

/// Appends to those that are being erased and to those that stay, whom nobody else writes to.
fn append_against_erase(store: &Store, thread: usize, doomed: &Doomed, over: &AtomicBool) -> usize {
    let mut serial = 0;
    while !over.load(Ordering::Acquire) {
        serial += 1;
        let number = doomed.newest.load(Ordering::Acquire);
        let erased = doomed.flag(number).load(Ordering::Acquire);
        match append(store, vec![note(&format!("doomed-{number}"), "chat", thread * 100_000 + serial)]) {
            Ok(()) => assert!(!erased, "an old event came in after the erasure"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}"),
        }
        // A customer nobody has seen yet, while the keyring is being rewritten.
        let records = vec![
            note(&format!("stays-{thread}"), "chat", thread * 100_000 + serial),
            note(&format!("new-{thread}-{serial}"), "chat", thread * 100_000 + serial),
        ];
        append(store, records).unwrap();
        assert_eq!(ids(store, &format!("new-{thread}-{serial}")).unwrap().len(), 1);
        if serial.is_multiple_of(16) {
            store.settle().unwrap();
            store.maintain(Budget::ALL).unwrap();
        }
    }
    serial
}

/// Reads those that are being erased; what it holds open when they are ends.
fn read_against_erase(store: &Store, doomed: &Doomed, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let number = doomed.newest.load(Ordering::Acquire);
        let flag = doomed.flag(number);
        let mut timeline = match store.timeline(&format!("doomed-{number}"), ..) {
            Ok(timeline) => timeline,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                continue;
            }
        };
        loop {
            let erased = flag.load(Ordering::Acquire);
            match timeline.next() {
                None => break,
                Some(Ok(_)) => assert!(!erased, "a record was handed out after the erasure"),
                Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}"),
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn appends_reads_and_new_keys_against_erasures() {
    const THREADS: usize = 3;
    let (doomed, over) = (Doomed::default(), AtomicBool::new(false));
    let written = Mutex::new(vec![0; THREADS]);
    let work = |store: &Store| {
        let time = soak();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (doomed, over, written) = (&doomed, &over, &written);
                scope.spawn(move || {
                    let count = append_against_erase(store, thread, doomed, over);
                    written.lock().unwrap()[thread] = count;
                });
            }
            scope.spawn(|| read_against_erase(store, &doomed, &over));
            let _over = Over(&over);
            while time() || doomed.newest.load(Ordering::Acquire) < 6 {
                let number = doomed.newest.load(Ordering::Acquire);
                let customer = format!("doomed-{number}");
                append(store, (0..20).map(|serial| note(&customer, "chat", 900_000 + serial)).collect()).unwrap();
                std::thread::sleep(Duration::from_millis(2));
                store.erase(&[&customer]).unwrap().unwrap();
                doomed.flag(number).store(true, Ordering::Release);
                assert_eq!(ids(store, &customer).unwrap(), []);
                std::thread::sleep(Duration::from_millis(2));
                doomed.newest.store(number + 1, Ordering::Release);
            }
        });
    };
    on_disk(work, |store| {
        for number in 0..doomed.newest.load(Ordering::Acquire) {
            assert_eq!(ids(store, &format!("doomed-{number}")).unwrap(), [], "customer {number} came back");
        }
        for (thread, count) in written.lock().unwrap().iter().enumerate() {
            assert_eq!(ids(store, &format!("stays-{thread}")).unwrap().len(), *count, "thread {thread}");
            for serial in 1..=*count {
                assert_eq!(ids(store, &format!("new-{thread}-{serial}")).unwrap().len(), 1, "{thread}, {serial}");
            }
        }
    });
}

#[test]
fn appends_and_reads_against_partial_erasures() {
    const THREADS: usize = 3;
    let over = AtomicBool::new(false);
    let emails: Vec<AtomicUsize> = (0..THREADS).map(|_| AtomicUsize::new(0)).collect();
    // Every thread appends to one customer; the stream `chat` goes again and again, `email` stays.
    let email = Stream::new("email", "EU").unwrap();
    let live = |store: &Store, thread: usize| {
        let mut serial = 0;
        while !over.load(Ordering::Acquire) {
            serial += 1;
            let serial = (thread + 1) * 100_000_000 + serial;
            append(store, vec![note("ana", "chat", serial), note("ana", "email", 50_000_000 + serial)]).unwrap();
            let acknowledged = emails[thread].fetch_add(1, Ordering::AcqRel) + 1;
            match store.timeline("ana", ..).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(all) => {
                    let mine = format!("note {}", thread + 1);
                    let mine =
                        all.iter().filter(|stored| stored.stream == email && stored.body.starts_with(mine.as_bytes()));
                    assert_eq!(mine.count(), acknowledged, "an acknowledged record is missing");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}"),
            }
        }
    };
    let work = |store: &Store| {
        append(store, vec![note("ana", "email", 900_000_000)]).unwrap();
        let time = soak();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let live = &live;
                scope.spawn(move || live(store, thread));
            }
            let mut acts = 0;
            let _over = Over(&over);
            while time() || acts < 6 {
                let gone = note("ana", "chat", 800_000_000 + acts);
                append(store, vec![gone.clone()]).unwrap();
                match acts % 2 {
                    0 => drop(store.erase_part("ana", Some(gone.stream.clone()), None).unwrap().unwrap()),
                    _ => drop(store.redact("ana", gone.id.unwrap()).unwrap().unwrap()),
                }
                assert_eq!(store.get("ana", gone.id.unwrap()).unwrap(), None, "it was let go");
                acts += 1;
            }
        });
        store.erase_part("ana", Some(Stream::new("chat", "EU").unwrap()), None).unwrap();
    };
    on_disk(work, |store| {
        let wanted: usize = emails.iter().map(|count| count.load(Ordering::Acquire)).sum();
        assert_eq!(ids(store, "ana").unwrap().len(), wanted + 1);
        assert_eq!(store.scan(ScanFilter::default()).unwrap().map(Result::unwrap).count(), wanted + 1);
    });
}

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P6M\"\n";

/// Holds timelines and scans open and goes on with them while their months expire.
fn hold(store: &Store, customer: usize, gone: &AtomicUsize, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let before = gone.load(Ordering::Acquire);
        let mut timeline = store.timeline(&format!("c{customer}"), ..).unwrap();
        let mut january = 0;
        let mut ended = false;
        loop {
            let gone = gone.load(Ordering::Acquire);
            match timeline.next() {
                None => break,
                Some(Ok(stored)) => {
                    let month = usize::from(stored.at >= at("2025-12-01T00:00:00Z"))
                        + usize::from(stored.at >= at("2026-01-01T00:00:00Z"));
                    assert!(month >= gone, "a record of an expired month was handed out");
                    january += usize::from(month == 2);
                }
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Erased, "{error:?}");
                    ended = true;
                }
            }
            std::thread::yield_now();
        }
        assert!(ended || january == 12, "{january} of what stays, {before} months gone before");
        for stored in store.scan(ScanFilter::default()).unwrap() {
            let floor = [at("2025-11-01T00:00:00Z"), at("2025-12-01T00:00:00Z"), at("2026-01-01T00:00:00Z")][before];
            assert!(stored.unwrap().at >= floor, "a scan gave a record of an expired month");
        }
    }
}

#[test]
fn readers_that_hold_on_against_expiry() {
    let time = soak();
    let mut rounds = 0;
    while rounds < 3 || time() {
        rounds += 1;
        let sim = Sim::new(rounds);
        sim.set_now(at("2026-01-31T00:00:00Z"));
        let env: Arc<dyn Env> = Arc::new(sim.clone());
        let options = Store::options("/calls").env(env).custodian(Vault::default()).policy(POLICY);
        let store = options.ballast_bytes(4096).merge_at_least(2).create().unwrap();
        for (month, customer) in (0..36).map(|index| (["2025-11", "2025-12", "2026-01"][index % 3], index / 3 % 3)) {
            for serial in 0..3 {
                let time = at(&format!("{month}-10T00:00:00Z"));
                let body = format!("note {serial}");
                append(&store, vec![Record::new(&format!("c{customer}"), "chat", "EU", time, body).unwrap()]).unwrap();
            }
            if customer == 2 {
                store.settle().unwrap();
            }
        }
        let (gone, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for customer in 0..3 {
                let (store, gone, over) = (&store, &gone, &over);
                scope.spawn(move || hold(store, customer, gone, over));
            }
            let _over = Over(&over);
            for (index, now) in ["2026-06-02T00:00:00Z", "2026-07-02T00:00:00Z"].iter().enumerate() {
                std::thread::sleep(Duration::from_millis(20));
                store.maintain(Budget::ALL).unwrap();
                let options = ExpireOptions { now: Some(at(now)), confirmed: true, ..ExpireOptions::default() };
                assert_eq!(store.expire(options).unwrap().partitions.len(), 1);
                gone.store(index + 1, Ordering::Release);
            }
            std::thread::sleep(Duration::from_millis(20));
        });
        let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }
}
