//! One bit flipped in every byte of every file of a small, closed store: an error, or everything intact. Never silently
//! missing, never silently wrong, never a panic.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenure::env::sim::Sim;
use tenure::{ErrorKind, Store};

use crate::scene::{self, CUSTOMERS, Dice, Model};

/// A closed store with segments of two openings, and what is in it.
fn closed_store() -> (Sim, Model) {
    let sim = Sim::new(7);
    scene::options(&sim).create().unwrap().close().unwrap();
    let (mut dice, mut serial, mut model) = (Dice(7), 0, Model::default());
    for _ in 0..2 {
        let store = scene::options(&sim).open().unwrap();
        for _ in 0..5 {
            let batch = scene::batch(&mut dice, &mut serial);
            scene::append(&store, batch.clone()).unwrap();
            model.add(&batch);
        }
        store.close().unwrap();
    }
    (sim, model)
}

/// What came of one damaged store.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Intact,
    Error(ErrorKind),
    Silent(String),
}

/// Opens it and asks for everything. Each customer's timeline is whole, or an error.
fn look(open: impl FnOnce() -> tenure::Result<Store>, model: &Model) -> Outcome {
    let store = match open() {
        Ok(store) => store,
        Err(error) => return Outcome::Error(error.kind()),
    };
    let mut seen = Outcome::Intact;
    for customer in CUSTOMERS {
        let timeline: tenure::Result<Vec<_>> =
            store.timeline(customer, ..).and_then(|timeline| timeline.collect::<tenure::Result<_>>());
        match timeline {
            Err(error) => seen = Outcome::Error(error.kind()),
            Ok(records) => {
                let found: Vec<_> = records.iter().map(|stored| (stored.id, stored.body.to_vec())).collect();
                let mut wanted: Vec<_> = model.0.iter().filter(|(_, value)| value.0 == customer).collect();
                wanted.sort_by_key(|(_, value)| value.2);
                let wanted: Vec<_> = wanted.into_iter().map(|(id, value)| (*id, value.3.clone())).collect();
                if found != wanted {
                    return Outcome::Silent(format!("{} of {} records", found.len(), wanted.len()));
                }
            }
        }
    }
    seen
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let (sim, model) = closed_store();
    let files: Vec<(PathBuf, Vec<u8>)> = sim.files();
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    for (path, bytes) in &files {
        println!("{} {}", path.display(), bytes.len());
    }
    assert!(total <= 64 << 10, "the store has {total} bytes: too many to flip each");
    let places: Vec<(&PathBuf, usize)> =
        files.iter().flat_map(|(path, bytes)| (0..bytes.len()).map(move |index| (path, index))).collect();
    let (next, intact, errors) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        // A machine of its own for every thread, with the same store on it.
        let (sim, _) = closed_store();
        let whole = sim.snapshot();
        while let Some((path, index)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bit = (index % 8) as u8;
            for writing in [false, true] {
                sim.restore(&whole, "/");
                sim.flip(path, *index as u64, bit);
                let open = || if writing { scene::options(&sim).open() } else { scene::options(&sim).open_read_only() };
                match look(open, &model) {
                    Outcome::Intact => intact.fetch_add(1, Ordering::Relaxed),
                    Outcome::Error(_) => errors.fetch_add(1, Ordering::Relaxed),
                    Outcome::Silent(what) => panic!("byte {index} of {}: silently {what}", path.display()),
                };
                sim.kill();
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let (intact, errors) = (intact.into_inner(), errors.into_inner());
    println!("{total} bytes: {errors} errors, {intact} intact, 0 silent");
    assert_eq!(intact + errors, 2 * total);
    assert!(errors > total / 2, "hardly anything is noticed");
}
