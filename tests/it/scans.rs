//! Scans on many threads: what they visit is what one thread reads, whatever happens beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tenure::env::sim::Sim;
use tenure::{ErrorKind, Record, RecordId, ScanFilter, Store, Stored, Stream};

use crate::life::at;
use crate::scene;

const CUSTOMERS: usize = 40;
const MONTHS: usize = 6;

fn id(serial: usize) -> RecordId {
    let mut id = [9; 16];
    id[..8].copy_from_slice(&(serial as u64).to_le_bytes());
    RecordId::from_bytes(id)
}

fn record(serial: usize) -> Record {
    let (customer, month) = (serial % CUSTOMERS, serial / CUSTOMERS % MONTHS);
    let class = ["chat", "email"][serial % 2];
    let time = at(&format!("2025-0{}-10T00:00:00.{:06}Z", 1 + month, serial));
    Record::new(&format!("c{customer}"), class, "EU", time, format!("note {serial}")).unwrap().with_id(id(serial))
}

/// Two records of everybody in every month: some settled in one segment, some in another, some in the journal.
fn filled(sim: &Sim) -> Store {
    let store = scene::options(sim).create().unwrap();
    for (piece, settle) in [(0..200, true), (200..360, true), (360..480, false)] {
        scene::append(&store, piece.map(record).collect()).unwrap();
        if settle {
            store.settle().unwrap();
        }
    }
    store
}

fn gathered(store: &Store, filter: ScanFilter, threads: usize) -> tenure::Result<Vec<Stored>> {
    let all = Mutex::new(Vec::new());
    let visited = store.scan_parallel(filter, threads, |stored| {
        all.lock().unwrap().push(stored);
        ControlFlow::<()>::Continue(())
    })?;
    assert!(visited.is_continue());
    Ok(all.into_inner().unwrap())
}

fn sorted(mut all: Vec<Stored>) -> Vec<(String, RecordId, Vec<u8>)> {
    all.sort_by_key(|stored| stored.id);
    all.into_iter().map(|stored| (stored.customer.expose().to_owned(), stored.id, stored.body.to_vec())).collect()
}

#[test]
fn any_number_of_threads_visits_what_one_reads() {
    let store = filled(&Sim::new(1));
    let chat = Some(Stream::new("chat", "EU").unwrap());
    let some =
        ScanFilter { stream: chat, from: Some(at("2025-02-01T00:00:00Z")), until: Some(at("2025-05-01T00:00:00Z")) };
    for (filter, count) in [(ScanFilter::default(), 480), (some, 120)] {
        let one = sorted(store.scan(filter.clone()).unwrap().map(Result::unwrap).collect());
        assert_eq!(one.len(), count);
        for threads in [0, 1, 3, 8] {
            assert_eq!(sorted(gathered(&store, filter.clone(), threads).unwrap()), one, "{threads} threads");
        }
    }
}

#[test]
fn one_thread_reads_partition_by_partition_and_cells_come_whole() {
    let store = filled(&Sim::new(2));
    let all: Vec<Stored> = store.scan(ScanFilter::default()).unwrap().map(Result::unwrap).collect();
    let column = |stored: &Stored| (stored.stream.to_string(), stored.at.to_string()[..7].to_owned());
    assert!(all.is_sorted_by_key(column));
    for all in [all, gathered(&store, ScanFilter::default(), 1).unwrap()] {
        let mut cells: BTreeMap<_, Vec<(usize, _)>> = BTreeMap::new();
        for (index, stored) in all.iter().enumerate() {
            let cell = (column(stored), stored.customer.expose().to_owned());
            cells.entry(cell).or_default().push((index, stored.at));
        }
        for cell in cells.values() {
            assert!(
                cell.is_sorted_by(|one, next| one.0 + 1 == next.0 && one.1 <= next.1),
                "a cell is torn or out of order"
            );
        }
    }
}

#[test]
fn a_visitor_that_breaks_ends_it() {
    let store = filled(&Sim::new(3));
    let visited = AtomicUsize::new(0);
    let broken = store.scan_parallel(ScanFilter::default(), 4, |stored| match visited.fetch_add(1, Ordering::AcqRel) {
        20.. => ControlFlow::Break(stored.id),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(broken.unwrap(), ControlFlow::Break(_)));
    assert!(visited.into_inner() < 100, "others went on long after");
}

#[test]
fn who_is_erased_meanwhile_is_left_out_from_then_on() {
    let store = filled(&Sim::new(4));
    let (erased, seen) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let visit = |stored: Stored| {
        let customer = stored.customer.expose().to_owned();
        if !erased.load(Ordering::Acquire) {
            // The first record of anybody: everybody else who is not under way in another thread goes.
            let others: Vec<String> = (0..CUSTOMERS).map(|number| format!("c{number}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).filter(|other| *other != customer).collect();
            store.erase(&others).unwrap().unwrap();
            erased.store(true, Ordering::Release);
        }
        seen.lock().unwrap().insert(customer);
        ControlFlow::<()>::Continue(())
    };
    assert!(store.scan_parallel(ScanFilter::default(), 1, visit).unwrap().is_continue());
    assert_eq!(seen.into_inner().unwrap().len(), 1, "only who was not erased is seen");
}

#[test]
fn a_part_that_goes_meanwhile_ends_it() {
    let store = filled(&Sim::new(5));
    let once = AtomicBool::new(false);
    let scanned = store.scan_parallel(ScanFilter::default(), 1, |stored| {
        if !once.swap(true, Ordering::AcqRel) {
            let other = if stored.customer.expose() == "c7" { "c8" } else { "c7" };
            store.erase_part(other, None, Some(at("2026-01-01T00:00:00Z"))).unwrap().unwrap();
        }
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(scanned.unwrap_err().kind(), ErrorKind::Erased);
}

#[test]
fn damage_ends_it_on_any_number_of_threads() {
    let sim = Sim::new(6);
    filled(&sim).close().unwrap();
    let files = sim.files().into_iter().map(|(path, _)| path);
    let segment = files.filter(|path| path.extension().is_some_and(|suffix| suffix == "seg")).min().unwrap();
    // In the middle of the frames.
    sim.flip(&segment, 400, 1);
    let store = scene::options(&sim).open().unwrap();
    for threads in [1, 4] {
        let error = gathered(&store, ScanFilter::default(), threads).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(segment.as_path())));
    }
}

#[test]
fn a_record_is_got_by_either_kind_of_id_after_it_was_appended_again() {
    let store = filled(&Sim::new(7));
    let given = |time: &str, body: &str| Record::new("c1", "email", "EU", at(time), body.to_owned()).unwrap();
    let (kept, gone) = (given("2025-03-20T00:00:00Z", "stays"), given("2025-03-21T00:00:00Z", "goes"));
    scene::append(&store, vec![kept, gone]).unwrap();
    store.settle().unwrap();
    let of = |body: &str| {
        let mut all = store.timeline("c1", ..).unwrap().map(Result::unwrap);
        all.find(|stored| stored.body == body.as_bytes()).map(|stored| stored.id)
    };
    let (kept, gone) = (of("stays").unwrap(), of("goes").unwrap());
    assert_eq!(store.get("c1", kept).unwrap().unwrap().body, "stays");
    // What stays of the cell is appended again: another frame, the same id.
    store.redact("c1", gone).unwrap().unwrap();
    assert_eq!(store.get("c1", kept).unwrap().unwrap().body, "stays");
    assert_eq!(store.get("c1", gone).unwrap(), None);
    for serial in (1..480).step_by(CUSTOMERS) {
        assert_eq!(store.get("c1", id(serial)).unwrap().unwrap().body, format!("note {serial}"));
    }
    assert_eq!(store.get("c2", kept).unwrap(), None);
}
