//! Processes beside each other: readers that hold leases, and requests to the one that writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tenure::env::Env;
use tenure::env::sim::Sim;
use tenure::report::{Budget, Receipt, Verb};
use tenure::{BodyKind, ErrorKind, ExpireOptions, Options, Record, ScanFilter, Store, Stream, Timestamp};

use crate::vault::Vault;

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P3M\"\n";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn options(sim: &Sim, vault: &Vault) -> Options {
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    Store::options("/calls").env(env).custodian(vault.clone()).ballast_bytes(4096)
}

pub fn note(customer: &str, month: u32, body: &str) -> Record {
    let time = format!("2025-{month:02}-15T00:00:00Z");
    Record::new(customer, "chat", "EU", at(&time), body.to_owned()).unwrap().with_kind(BodyKind::Text)
}

pub fn count(store: &Store, customer: &str) -> usize {
    store.timeline(customer, ..).unwrap().inspect(|stored| assert!(stored.is_ok())).count()
}

/// Two customers with a record a month, a writer and a reader.
pub fn scene(seed: u64) -> (Sim, Vault, Store, Store) {
    let sim = Sim::new(seed);
    sim.set_now(at("2026-01-01T00:00:00Z"));
    let vault = Vault::default();
    let writer = options(&sim, &vault).create().unwrap();
    for month in 7..=12 {
        let records = ["canary-ana", "canary-bo"].map(|customer| note(customer, month, &format!("in month {month}")));
        writer.append(records.to_vec()).unwrap().wait().unwrap();
    }
    let reader = options(&sim, &vault).open_read_only().unwrap();
    (sim, vault, writer, reader)
}

fn seconds(sim: &Sim, count: u64) {
    sim.advance(Duration::from_secs(count));
}

pub fn files(sim: &Sim, suffix: &str) -> Vec<PathBuf> {
    let ends = |path: &Path| path.to_string_lossy().ends_with(suffix);
    sim.files().into_iter().map(|(path, _)| path).filter(|path| ends(path)).collect()
}

fn only(store: &Store) -> Receipt {
    let mut receipts = store.receipts().unwrap();
    assert_eq!(receipts.len(), 1);
    receipts.remove(0)
}

#[test]
fn an_erasure_is_fenced_once_every_reader_has_seen_it() {
    let (sim, _, writer, reader) = scene(1);
    assert_eq!((count(&reader, "canary-ana"), files(&sim, ".lease").len()), (6, 1));
    let (mut ana, mut bo) = (reader.timeline("canary-ana", ..).unwrap(), reader.timeline("canary-bo", ..).unwrap());
    assert!(ana.next().unwrap().is_ok() && bo.next().unwrap().is_ok());
    let receipt = writer.erase(&["canary-ana"]).unwrap().unwrap();
    assert_eq!((receipt.fenced, receipt.stage()), (None, "final"), "shredding waits for nobody");
    writer.maintain(Budget::ALL).unwrap();
    assert_eq!(only(&writer).fenced, None);
    // Its open iterator ends within a second, and that is when it has seen the fence.
    seconds(&sim, 1);
    assert_eq!(ana.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    assert!(ana.next().is_none());
    assert_eq!(bo.filter(|stored| stored.is_ok()).count(), 5, "the other goes on");
    assert_eq!(count(&reader, "canary-ana"), 0);
    let fenced = only(&writer).fenced.expect("every lease has seen it");
    assert!(fenced >= receipt.intended && fenced > receipt.shredded.unwrap());
    assert_eq!(only(&reader), only(&writer));
    // With nobody beside, an erasure is fenced at once; and it says so in the ledger for good.
    reader.close().unwrap();
    assert!(files(&sim, ".lease").is_empty());
    let receipt = writer.erase(&["canary-bo"]).unwrap().unwrap();
    assert!(receipt.fenced.unwrap() <= receipt.shredded.unwrap());
}

#[test]
fn a_reader_that_does_not_look_lapses_after_a_minute() {
    let (sim, vault, writer, reader) = scene(2);
    let mut open = reader.timeline("canary-ana", ..).unwrap();
    let mut scan = reader.scan(ScanFilter::default()).unwrap();
    assert!(open.next().unwrap().is_ok() && scan.next().unwrap().is_ok());
    writer.erase(&["canary-ana", "canary-bo"]).unwrap().unwrap();
    seconds(&sim, 58);
    writer.maintain(Budget::ALL).unwrap();
    assert_eq!(only(&writer).fenced, None);
    seconds(&sim, 2);
    writer.maintain(Budget::ALL).unwrap();
    assert!(only(&writer).fenced.is_some());
    assert_eq!(open.next().unwrap().unwrap_err().kind(), ErrorKind::Erased, "it looks before it serves");
    let rest: Vec<_> = scan.collect();
    assert!(rest.iter().all(|stored| stored.as_ref().is_err_and(|error| error.kind() == ErrorKind::Erased)));
    // A lease that is kept renewed does not lapse: what it has not seen is waited for.
    let receipts = |store: &Store| store.receipts().unwrap().last().cloned().unwrap();
    writer.append(vec![note("cy", 12, "x"), note("dee", 12, "x")]).unwrap().wait().unwrap();
    for _ in 0..10 {
        seconds(&sim, 30);
        assert_eq!(count(&reader, "cy"), 1);
    }
    writer.erase(&["cy"]).unwrap().unwrap();
    assert_eq!(receipts(&writer).fenced, None);
    // The next opening goes on waiting.
    writer.close().unwrap();
    let writer = options(&sim, &vault).open().unwrap();
    assert_eq!(receipts(&writer).fenced, None);
    assert_eq!(count(&reader, "dee"), 1);
    assert!(receipts(&writer).fenced.is_some());
}

#[test]
fn a_part_that_is_erased_ends_what_is_being_read_of_it() {
    let (sim, _, writer, reader) = scene(3);
    let (mut here, mut there) =
        (writer.timeline("canary-ana", ..).unwrap(), reader.timeline("canary-ana", ..).unwrap());
    let mut scan = reader.scan(ScanFilter::default()).unwrap();
    assert!(here.next().unwrap().is_ok() && there.next().unwrap().is_ok() && scan.next().unwrap().is_ok());
    writer.erase_part("canary-ana", None, Some(at("2025-10-01T00:00:00Z"))).unwrap().unwrap();
    assert_eq!(here.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    seconds(&sim, 1);
    assert_eq!(there.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!(scan.find_map(|stored| stored.err()).unwrap().kind(), ErrorKind::Erased);
    assert_eq!((count(&reader, "canary-ana"), count(&writer, "canary-ana")), (3, 3));
    assert_eq!(reader.scan(ScanFilter::default()).unwrap().filter(|stored| stored.is_ok()).count(), 9);
    // So does an expiry.
    let mut there = reader.timeline("canary-bo", ..).unwrap();
    assert!(there.next().unwrap().is_ok());
    writer.set_policy_confirmed(POLICY, "a test").unwrap();
    writer.expire(ExpireOptions::default()).unwrap().receipt.unwrap();
    seconds(&sim, 1);
    assert_eq!(there.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!(count(&reader, "canary-bo"), 3);
}

#[test]
fn damaged_and_forgotten_leases_harm_nobody() {
    let (sim, vault, writer, reader) = scene(4);
    let mine = files(&sim, ".lease").remove(0);
    sim.flip(&mine, 40, 3);
    assert_eq!(count(&reader, "canary-ana"), 6);
    writer.erase(&["canary-ana"]).unwrap().unwrap();
    writer.maintain(Budget::ALL).unwrap();
    assert_eq!(only(&writer).fenced, None, "it may be about to be written");
    assert_eq!(count(&reader, "canary-ana"), 0);
    assert!(only(&writer).fenced.is_some(), "the reader has mended it");
    sim.write("/calls/readers/ffffffffffffffffffffffffffffffff.lease", b"");
    writer.erase(&["canary-bo"]).unwrap().unwrap();
    assert_eq!(count(&reader, "canary-bo"), 0);
    assert_eq!(writer.receipts().unwrap()[1].fenced, None);
    seconds(&sim, 60);
    assert!(writer.receipts().unwrap()[1].fenced.is_some());
    // A writer's opening sweeps what cannot be read at once, and what nobody renews after a day.
    writer.close().unwrap();
    let writer = options(&sim, &vault).open().unwrap();
    assert_eq!(files(&sim, ".lease"), [mine]);
    writer.close().unwrap();
    seconds(&sim, 86_400);
    let writer = options(&sim, &vault).open().unwrap();
    assert!(files(&sim, ".lease").is_empty());
    // A reader whose lease was swept takes another one with its next call.
    assert_eq!((count(&reader, "canary-bo"), files(&sim, ".lease").len()), (0, 1));
    writer.close().unwrap();
}

/// Asks on another thread, and keeps house here until there is an answer.
pub fn served<T: Send>(writer: &Store, ask: impl FnOnce() -> T + Send) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let answer = ask();
            done.store(true, Ordering::Relaxed);
            answer
        });
        while !done.load(Ordering::Relaxed) && !asking.is_finished() {
            writer.maintain(Budget::ALL).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        asking.join().unwrap()
    })
}

#[test]
fn requests_are_carried_out_by_the_writer() {
    let (sim, _, writer, reader) = scene(5);
    sim.keep_history();
    let receipt = served(&writer, || reader.request_erase(&["canary-ana", "nobody"], PATIENCE)).unwrap().unwrap();
    assert_eq!((receipt.verb, receipt.stage(), receipt.subjects.len()), (Verb::Erase, "final", 1));
    assert_eq!((count(&reader, "canary-ana"), count(&writer, "canary-ana"), count(&reader, "canary-bo")), (0, 0, 6));
    assert_eq!(reader.request_erase(&["canary-ana"], PATIENCE).unwrap(), None, "nobody is asked for nothing");
    let part = || {
        let stream = Stream::new("chat", "EU").unwrap();
        reader.request_erase_part("canary-bo", Some(stream), Some(at("2025-08-01T00:00:00Z")), PATIENCE)
    };
    let receipt = served(&writer, part).unwrap().unwrap();
    assert_eq!((receipt.verb, count(&reader, "canary-bo")), (Verb::ErasePart, 5));
    writer.set_policy_confirmed(POLICY, "a test").unwrap();
    let dry = ExpireOptions { dry_run: true, ..ExpireOptions::default() };
    let due = reader.request_expire(dry, PATIENCE).unwrap();
    assert_eq!((due.partitions.len(), due.receipt), (3, None));
    let expiry = served(&writer, || reader.request_expire(ExpireOptions::default(), PATIENCE)).unwrap();
    assert_eq!(expiry.partitions, due.partitions);
    assert_eq!((expiry.receipt.unwrap().partitions, count(&reader, "canary-bo")), (3, 3));
    let nothing = served(&writer, || reader.request_expire(ExpireOptions::default(), PATIENCE)).unwrap();
    assert_eq!((nothing.partitions.len(), nothing.receipt), (0, None));
    let later = ExpireOptions { now: Some(at("2027-01-01T00:00:00Z")), ..ExpireOptions::default() };
    let refused = served(&writer, || reader.request_expire(later, PATIENCE)).unwrap_err();
    assert_eq!((refused.kind(), count(&reader, "canary-bo")), (ErrorKind::Refused, 3));
    // Nothing of it is left, and it never named anybody.
    assert!(files(&sim, "").iter().all(|path| !path.to_string_lossy().contains("/requests/")));
    let mut seen = 0;
    sim.every_byte_ever(|path, bytes| {
        assert!(!path.contains("canary") && !bytes.windows(6).any(|window| window == b"canary"), "{path}");
        seen += usize::from(path.contains("/requests/"));
    });
    assert!(seen > 0);
}

#[test]
fn nobody_answers_where_nobody_is() {
    let (sim, _, writer, reader) = scene(6);
    let late = reader.request_erase(&["canary-ana"], Duration::ZERO).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Locked);
    assert!(files(&sim, ".request").is_empty(), "it was taken back");
    writer.maintain(Budget::ALL).unwrap();
    assert_eq!(count(&reader, "canary-ana"), 6);
    writer.close().unwrap();
    assert_eq!(reader.request_erase(&["canary-ana"], PATIENCE).unwrap_err().kind(), ErrorKind::Invalid);
}

/// A request of `reader` as it stood on the disk, and what came of asking.
fn overheard(sim: &Sim, writer: &Store, reader: &Store, customer: &str) -> (Vec<u8>, Option<Receipt>) {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| reader.request_erase(&[customer], PATIENCE));
        let path = loop {
            match files(sim, ".request").pop() {
                Some(path) => break path,
                None => std::thread::yield_now(),
            }
        };
        let bytes = sim.read(&path).unwrap();
        while !asking.is_finished() {
            writer.maintain(Budget::ALL).unwrap();
        }
        (bytes, asking.join().unwrap().unwrap())
    })
}

#[test]
fn stale_and_damaged_requests_are_refused_and_harm_nobody() {
    let (sim, vault, writer, reader) = scene(7);
    let (request, receipt) = overheard(&sim, &writer, &reader, "canary-ana");
    assert!(receipt.is_some());
    let name = |tail: &str| format!("/calls/requests/{}.{tail}", "0123456789abcdef".repeat(2));
    let outcome = |bytes: &[u8]| {
        sim.write(name("request"), bytes);
        writer.maintain(Budget::ALL).unwrap();
        assert!(sim.read(name("request")).is_none() && sim.read(name("taken")).is_none());
        let answer = sim.read(name("answer")).unwrap();
        sim.remove(name("answer"));
        answer[10]
    };
    assert_eq!(outcome(&request), 3, "the root that it was sealed under is gone");
    for index in 0..request.len() {
        let mut damaged = request.clone();
        damaged[index] ^= 1;
        assert_eq!(outcome(&damaged), 4);
    }
    for length in [0, 1, 48, request.len() - 1] {
        assert_eq!(outcome(&request[..length]), 4);
    }
    assert_eq!(outcome(&vec![7; 17 << 20]), 4);
    assert_eq!((count(&writer, "canary-bo"), writer.receipts().unwrap().len()), (6, 1));
    // What bears another name is not ours, and what its asker did not take away goes in the end.
    sim.write("/calls/requests/readme.request", b"hello");
    sim.write(name("taken"), &request);
    writer.maintain(Budget::ALL).unwrap();
    writer.close().unwrap();
    let writer = options(&sim, &vault).open().unwrap();
    assert_eq!(sim.read(name("answer")).unwrap()[10], 3, "what the opening before had taken is answered");
    writer.close().unwrap();
    seconds(&sim, 3700);
    options(&sim, &vault).open().unwrap().close().unwrap();
    assert!(sim.read(name("answer")).is_none());
    assert!(sim.read("/calls/requests/readme.request").is_some());
}

#[test]
fn a_request_that_meets_a_new_root_is_asked_again() {
    let (sim, _, writer, reader) = scene(8);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| reader.request_erase(&["canary-ana"], PATIENCE));
        while files(&sim, ".request").is_empty() {
            std::thread::yield_now();
        }
        writer.erase(&["canary-bo"]).unwrap().unwrap(); // Another root, another key.
        while !asking.is_finished() {
            writer.maintain(Budget::ALL).unwrap();
        }
        assert_eq!(asking.join().unwrap().unwrap().unwrap().number, 2);
    });
    assert_eq!((count(&writer, "canary-ana"), count(&writer, "canary-bo")), (0, 0));
}

/// The bytes of a request that was given up again.
fn in_vain(sim: &Sim, reader: &Store) -> Vec<u8> {
    std::thread::scope(|scope| {
        loop {
            let asking = scope.spawn(|| reader.request_erase(&["canary-ana"], Duration::from_millis(50)));
            let mut seen = None;
            while !asking.is_finished() && seen.is_none() {
                seen = files(sim, ".request").pop().and_then(|path| sim.read(path));
            }
            assert_eq!(asking.join().unwrap().unwrap_err().kind(), ErrorKind::Locked);
            if let Some(request) = seen {
                return request;
            }
        }
    })
}

#[test]
fn leases_requests_and_answers_are_described_and_name_nobody() {
    let (sim, _, writer, reader) = scene(10);
    let request = in_vain(&sim, &reader);
    let place = |tail: &str| PathBuf::from(format!("/calls/requests/{:032x}.{tail}", 5));
    let described = |path: &Path| {
        let whole = tenure::inspect(&sim, path).unwrap();
        assert!(whole.damage.is_empty(), "{whole:?}");
        let before = sim.snapshot();
        sim.flip(path, 20, 1);
        assert_eq!(tenure::inspect(&sim, path).unwrap().damage.len(), 1, "a flipped bit of {}", path.display());
        sim.restore(&before, path);
        let told: Vec<String> = whole.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{}; {}", whole.kind, told.join("; "))
    };
    sim.write(place("request"), &request);
    let told = described(&place("request"));
    assert!(told.starts_with("request to the writer (sealed); ") && told.contains("epoch of its key: "), "{told}");
    sim.write(place("taken"), &request);
    assert_eq!(described(&place("taken")), told);
    sim.remove(place("taken"));
    writer.maintain(Budget::ALL).unwrap();
    let told = described(&place("answer"));
    assert!(told.starts_with("answer to a request; ") && told.contains("outcome: done: receipt 1"), "{told}");
    let lease = files(&sim, ".lease").pop().unwrap();
    let told = described(&lease);
    assert!(told.starts_with("lease of a reader; ") && told.contains("leaves of the ledger taken in: "), "{told}");
    sim.write(place("request"), &[1; 17 << 20]);
    assert!(tenure::inspect(&sim, &place("request")).is_err_and(|error| error.kind() == ErrorKind::Io));
}

/// A crash at every change of serving a request: the customer is erased or is not, once, and nobody else is touched.
#[test]
fn a_crash_between_request_and_answer_does_it_once_or_not_at_all() {
    let mut outcomes = [0; 2];
    for change in 0.. {
        let (sim, vault, writer, reader) = scene(9);
        // Asked in vain, put back, as though somebody still waited.
        let request = in_vain(&sim, &reader);
        sim.write(format!("/calls/requests/{:032x}.request", 5), &request);
        sim.crash_at_change(sim.changes() + change);
        let _ = writer.maintain(Budget::ALL);
        let crashed = sim.crashed();
        drop((writer, reader));
        if crashed {
            sim.restart();
        }
        let Ok(writer) = options(&sim, &vault).open() else {
            assert!(!crashed, "it opens after a crash");
            break;
        };
        let erased = count(&writer, "canary-ana") == 0;
        assert_eq!((writer.receipts().unwrap().len(), count(&writer, "canary-bo")), (usize::from(erased), 6));
        outcomes[usize::from(erased)] += 1;
        // Whatever is left of it: served once more, it comes to the same or to nothing.
        writer.maintain(Budget::ALL).unwrap();
        let after = writer.receipts().unwrap().len();
        assert!(after <= 1 && after >= usize::from(erased));
        assert!(files(&sim, ".request").is_empty() && files(&sim, ".taken").is_empty());
        assert_eq!(count(&writer, "canary-bo"), 6);
        writer.close().unwrap();
        if !crashed {
            break;
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 5, "{outcomes:?}");
}

#[test]
fn a_service_goes_on_while_another_opener_has_it_erase_and_expire() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Store::options(dir.path().join("calls")).accept_weak_erasure();
    let service = options().worker().create().unwrap();
    service.append(vec![note("ana", 1, "x"), note("bo", 11, "x")]).unwrap().wait().unwrap();
    service.set_policy_confirmed(&POLICY.replace("P3M", "P50Y"), "a test").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut serial = 0;
            while !stop.load(Ordering::Relaxed) {
                serial += 1;
                let customer = format!("c{}", serial % 50);
                service.append(vec![note(&customer, 12, &format!("note {serial}"))]).unwrap().wait().unwrap();
            }
        });
        let opener = options().open_read_only().unwrap();
        let receipt = opener.request_erase(&["ana"], PATIENCE).unwrap().unwrap();
        assert_eq!((receipt.stage(), count(&opener, "ana"), count(&opener, "bo")), ("cleared", 0, 1));
        let later = ExpireOptions { now: Some(at("2075-12-01T00:00:00Z")), confirmed: true, dry_run: false };
        let expiry = opener.request_expire(later, PATIENCE).unwrap();
        assert_eq!((expiry.partitions.len(), expiry.receipt.unwrap().verb), (2, Verb::Expire));
        assert_eq!(count(&opener, "bo"), 0);
        stop.store(true, Ordering::Relaxed);
    });
    // An idle service answers too, and says by itself when everybody has seen it.
    let opener = options().open_read_only().unwrap();
    let receipt = opener.request_erase(&["c1", "c2"], PATIENCE).unwrap().unwrap();
    assert_eq!((receipt.subjects.len(), count(&opener, "c1")), (2, 0));
    assert!(count(&opener, "c3") > 0);
    service.close().unwrap();
}

/// What a reader looks for may have been merged away since its scan began: it goes on from where that is now.
#[test]
fn a_scan_goes_on_when_the_writer_merges() {
    for threads in [1, 3] {
        let sim = Sim::new(9);
        let vault = Vault::default();
        let writer = options(&sim, &vault).merge_at_least(2).create().unwrap();
        for month in 1..=6 {
            for part in 0..2 {
                let customers = (0..6).map(|number| format!("canary-{number}"));
                let records = customers.map(|customer| note(&customer, month, &format!("part {part}")));
                writer.append(records.collect::<Vec<_>>()).unwrap().wait().unwrap();
                writer.settle().unwrap();
            }
        }
        let reader = options(&sim, &vault).open_read_only().unwrap();
        let merge = || assert!(writer.maintain(Budget::ALL).unwrap().segments_merged >= 12);
        let count = match threads {
            1 => {
                let mut scan = reader.scan(ScanFilter::default()).unwrap();
                assert!(scan.next().unwrap().is_ok());
                merge();
                1 + scan.map(Result::unwrap).count()
            }
            threads => {
                let (seen, once) = (AtomicUsize::new(0), AtomicBool::new(false));
                let scanned = reader.scan_parallel(ScanFilter::default(), threads, |_| {
                    if !once.swap(true, Ordering::AcqRel) {
                        merge();
                    }
                    seen.fetch_add(1, Ordering::AcqRel);
                    std::ops::ControlFlow::<()>::Continue(())
                });
                assert!(scanned.unwrap().is_continue());
                seen.into_inner()
            }
        };
        assert_eq!(count, 72);
    }
}

/// A segment that the ledger still names and that is not there is damage, and no reason to look for ever.
#[test]
fn a_segment_that_is_lost_is_told() {
    let (sim, _, writer, reader) = scene(10);
    writer.settle().unwrap();
    let lost = files(&sim, ".seg").remove(0);
    sim.remove_file(&lost).unwrap();
    let error = reader.timeline("canary-ana", ..).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some(lost.as_path())));
    let error = reader.scan(ScanFilter::default()).unwrap().find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
