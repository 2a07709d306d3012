//! Verification of a store that is at work: no false damage whatever moves meanwhile, true damage all the same, and one
//! answer on any number of threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tenure::env::Env;
use tenure::env::disk::Disk;
use tenure::env::sim::Sim;
use tenure::report::{Budget, VerifyOptions};
use tenure::{Hold, Record, ScanFilter, Store};

use crate::life::at;
use crate::scene;

const DEEP: VerifyOptions = VerifyOptions { deep: true, subset: 1.0 };

fn note(customer: u64, serial: u64) -> Record {
    let time = at(&format!("2025-0{}-01T00:00:00.{:06}Z", 1 + serial % 4, serial % 1_000_000));
    let class = ["chat", "email"][(serial % 2) as usize];
    Record::new(&format!("c{customer}"), class, "EU", time, format!("note {serial} {}", "words ".repeat(20))).unwrap()
}

fn append(store: &Store, records: Vec<Record>) {
    store.append(records).unwrap().wait().unwrap();
}

/// Whatever is merged while it runs: from where a caller is told how far it has come.
#[test]
fn segments_that_are_merged_away_meanwhile_are_no_damage() {
    let sim = Sim::new(1);
    let store = scene::options(&sim).merge_at_least(2).create().unwrap();
    for serial in 0..8 {
        append(&store, vec![note(serial % 3, 4 * serial), note(serial % 3, 4 * serial + 1)]);
        store.settle().unwrap();
    }
    let reader = scene::options(&sim).open_read_only().unwrap();
    for beside in [false, true] {
        append(&store, vec![note(1, 400), note(1, 401)]);
        store.settle().unwrap();
        let mut calls = 0;
        let verified = (if beside { &reader } else { &store }).verify(DEEP, &mut |_| {
            calls += 1;
            if calls == 1 {
                append(&store, vec![note(1, 800), note(1, 801)]);
                store.settle().unwrap();
                assert!(store.maintain(Budget::ALL).unwrap().segments_merged > 0);
            }
        });
        let verified = verified.unwrap();
        assert_eq!(verified.damage, [], "beside: {beside}");
        assert!(calls > 1 && verified.records >= 16, "{verified:?}");
    }
}

/// A worker that merges and settles, appends, new keys, folds, erasures, held and other expiries; verified again and again,
/// in the same process and from beside.
#[test]
fn a_store_at_work_is_never_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Store::options(dir.path().join("calls")).accept_weak_erasure();
    let store = options().fold_at(8).merge_at_least(2).worker().create().unwrap();
    (0..40).for_each(|serial| append(&store, vec![note(serial % 7, serial)]));
    let seconds = std::env::var("TENURE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let clock = Disk::new();
    let until = clock.monotonic() + Duration::from_secs(seconds.unwrap_or(2));
    let (over, serial) = (AtomicBool::new(false), AtomicU64::new(100));
    let work = |what: u64| {
        while !over.load(Ordering::Acquire) {
            let serial = serial.fetch_add(1, Ordering::AcqRel);
            let batch = (0..20).map(|index| note(serial % 5 * 100 + index, serial)).collect();
            append(&store, batch);
            match what {
                0 => drop(store.settle().unwrap()),
                1 if serial.is_multiple_of(4) => drop(store.maintain(Budget::ALL).unwrap()),
                1 => {
                    append(&store, vec![note(1_000_000 + serial, serial)]);
                    store.erase(&[&format!("c{}", 1_000_000 + serial)]).unwrap().unwrap();
                }
                _ => {
                    // Too large for the journal to stay short: files are settled by the worker.
                    let body = vec![serial as u8; 3 << 20];
                    let record =
                        Record::new("long", "recording", "EU", at("2025-05-01T00:00:00Z"), Vec::new()).unwrap();
                    let mut upload = store.upload(record).unwrap();
                    upload.add(&body).unwrap();
                    upload.finish().unwrap().1.wait().unwrap();
                }
            }
        }
    };
    let verify = |open: &dyn Fn() -> Store| {
        let mut rounds = 0;
        while clock.monotonic() < until || rounds < 3 {
            let store = open();
            for options in [DEEP, VerifyOptions::default()] {
                let verified = store.verify(options, &mut |_| {}).unwrap();
                assert_eq!(verified.damage, [], "round {rounds}");
                assert!(verified.files > 4 && verified.frames > 0, "{verified:?}");
            }
            rounds += 1;
        }
        rounds
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|what| drop(scope.spawn(move || work(what))));
        let beside = scope.spawn(|| verify(&|| options().open_read_only().unwrap()));
        let kept = scope.spawn(|| {
            let reader = options().open_read_only().unwrap();
            verify(&|| reader.clone())
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verify(&|| store.clone())));
        let outcomes = [beside.join(), kept.join(), outcome];
        over.store(true, Ordering::Release);
        for outcome in outcomes {
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    store.close().unwrap();
}

fn segments(sim: &Sim) -> Vec<std::path::PathBuf> {
    let files = sim.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "seg")).collect()
}

/// Segments and a journal, a large body, an erased customer, retries, and a month that has expired but for what is held.
fn varied(sim: &Sim) -> Store {
    sim.set_now(at("2025-12-01T00:00:00Z"));
    let store = scene::options(sim).create().unwrap();
    for serial in 0..240 {
        append(&store, vec![note(serial % 30, serial)]);
        if serial % 60 == 59 {
            store.settle().unwrap();
        }
    }
    let again = note(1, 241).with_id(tenure::RecordId::from_bytes([3; 16]));
    (0..2).for_each(|_| append(&store, vec![again.clone()]));
    let large = Record::new("c3", "chat", "EU", at("2025-04-02T00:00:00Z"), "").unwrap();
    let mut upload = store.upload(large).unwrap();
    upload.add(&vec![9; 5 << 20]).unwrap();
    upload.finish().unwrap().1.wait().unwrap();
    store.settle().unwrap();
    append(&store, vec![note(2, 242), note(3, 243)]);
    store.erase(&["c4"]).unwrap().unwrap();
    store.redact("c1", again.id.unwrap()).unwrap().unwrap();
    let matter = Hold { matter: "a matter".into(), reason: "a reason".into(), ..Hold::default() };
    store.hold("c5", &matter).unwrap().unwrap();
    store.hold("c6", &matter).unwrap().unwrap();
    let policy = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P9M\"\n";
    store.set_policy_confirmed(policy, "a test").unwrap();
    assert!(store.expire(tenure::ExpireOptions::default()).unwrap().receipt.is_some());
    store
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let sim = Sim::new(3);
    let store = varied(&sim);
    let look = |store: &Store, threads: usize| {
        let mut last = (0, 0);
        let mut told = |progress: tenure::report::Progress| {
            assert!(progress.done >= last.0, "it goes back");
            last = (progress.done, progress.total);
        };
        let mut verified = store.verify_parallel(DEEP, threads, &mut told).unwrap();
        assert!(last.0 == last.1 && last.0 > 0, "{last:?}");
        verified.took = Duration::ZERO;
        verified
    };
    let whole = look(&store, 1);
    assert!(whole.damage.is_empty() && whole.records > 100 && whole.unreachable > 0, "{whole:?}");
    for threads in [0, 2, 3, 8] {
        assert_eq!(look(&store, threads), whole, "{threads} threads");
    }
    drop(store);
    let segments = segments(&sim);
    for segment in segments.iter().step_by(2) {
        // In the middle of the frames, and in a chunk.
        sim.flip(segment, 400, 1);
    }
    let store = scene::options(&sim).open_read_only().unwrap();
    let damaged = look(&store, 1);
    assert!(damaged.damage.len() >= segments.len() / 2 && damaged.records < whole.records, "{damaged:?}");
    for threads in [2, 8] {
        assert_eq!(look(&store, threads), damaged, "{threads} threads");
    }
}

/// A record is what a scan gives; chunks and tombstones are frames and no records.
#[test]
fn records_are_counted_not_frames() {
    let sim = Sim::new(4);
    let store = scene::options(&sim).create().unwrap();
    append(&store, (0..6).map(|serial| note(serial % 3, serial)).collect());
    let gone = note(1, 7).with_id(tenure::RecordId::from_bytes([3; 16]));
    append(&store, vec![gone.clone()]);
    let mut upload = store.upload(Record::new("c0", "chat", "EU", at("2025-04-02T00:00:00Z"), "").unwrap()).unwrap();
    upload.add(&vec![9; 5 << 20]).unwrap();
    upload.finish().unwrap().1.wait().unwrap();
    store.redact("c1", gone.id.unwrap()).unwrap().unwrap();
    store.settle().unwrap();
    let verified = store.verify(DEEP, &mut |_| {}).unwrap();
    let scanned = store.scan(ScanFilter::default()).unwrap().map(Result::unwrap).count();
    assert_eq!((verified.records, verified.damage.len()), (scanned as u64, 0), "{verified:?}");
}

/// With a share of the segments, what no key opens is told of that share alone.
#[test]
fn a_share_has_nothing_unreachable_where_nobody_was_let_go() {
    let sim = Sim::new(5);
    let store = scene::options(&sim).create().unwrap();
    for serial in 0..40 {
        append(&store, vec![note(serial % 3, serial)]);
        store.settle().unwrap();
    }
    append(&store, vec![note(1, 41)]);
    let (mut least, mut most) = (u64::MAX, 0);
    for _ in 0..20 {
        let verified = store.verify(VerifyOptions { deep: true, subset: 0.5 }, &mut |_| {}).unwrap();
        assert_eq!((verified.unreachable, verified.records, verified.damage.len()), (0, verified.frames, 0));
        (least, most) = (least.min(verified.records), most.max(verified.records));
    }
    assert!(0 < least && least < most && most < 41, "{least} to {most} of 41: no share");
}

/// What is damaged is found, also while there is a writer and from beside it; and what is not there.
#[test]
fn true_damage_is_told_of_a_store_at_work() {
    let sim = Sim::new(6);
    let store = varied(&sim);
    append(&store, vec![note(1, 303), note(2, 307), note(3, 311)]);
    let reader = scene::options(&sim).open_read_only().unwrap();
    let names = [".seg", ".journal", ".ledger", ".keys", "root.a"];
    for name in names {
        let path = sim.files().into_iter().map(|(path, _)| path).find(|path| path.to_str().unwrap().ends_with(name));
        let path = path.unwrap_or_else(|| panic!("no {name}"));
        for offset in [20, 100] {
            sim.flip(&path, offset, 1);
            for store in [&store, &reader] {
                let verified = store.verify(VerifyOptions::default(), &mut |_| {}).unwrap();
                assert!(verified.damage.iter().any(|damage| damage.path == path), "{name}: {:?}", verified.damage);
            }
            sim.flip(&path, offset, 1);
        }
    }
    for store in [&store, &reader] {
        assert_eq!(store.verify(DEEP, &mut |_| {}).unwrap().damage, []);
    }
    let segment = segments(&sim).remove(0);
    tenure::env::Env::remove_file(&sim, &segment).unwrap();
    for store in [&store, &reader] {
        let verified = store.verify(DEEP, &mut |_| {}).unwrap();
        assert!(verified.damage.iter().any(|damage| damage.path == segment), "{:?}", verified.damage);
    }
}
