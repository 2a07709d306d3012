//! Repair on the simulated machine: damage around the frames of a segment is undone, damage in them is named and left.

use std::path::PathBuf;

use tenure::env::sim::Sim;
use tenure::report::{Remedy, VerifyOptions};
use tenure::{ErrorKind, Store};

use crate::scene::{self, Dice, Model};

/// A closed store with a few small segments, what is in it, and their paths.
fn closed_store() -> (Sim, Model, Vec<PathBuf>) {
    let sim = Sim::new(3);
    let store = scene::options(&sim).create().unwrap();
    let (mut dice, mut serial, mut model) = (Dice(3), 0, Model::default());
    for _ in 0..6 {
        let batch = scene::batch(&mut dice, &mut serial);
        scene::append(&store, batch.clone()).unwrap();
        model.add(&batch);
    }
    store.close().unwrap();
    let segments = segments(&sim);
    assert!(segments.len() > 2);
    (sim, model, segments)
}

fn segments(sim: &Sim) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    sim.files().into_iter().map(|(path, _)| path).filter(is_segment).collect()
}

fn damage(store: &Store) -> usize {
    store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap().damage.len()
}

#[test]
fn a_whole_store_needs_no_repair() {
    let (sim, model, before) = closed_store();
    let store = scene::options(&sim).open().unwrap();
    let repair = store.repair(true).unwrap();
    assert!(repair.plan.is_empty() && repair.applied);
    assert_eq!((Model::of_timelines(&store).unwrap(), segments(&sim)), (model, before));
}

#[test]
fn damaged_ends_and_heads_are_made_anew_and_everything_reads_again() {
    let (sim, model, before) = closed_store();
    for (index, path) in before.iter().enumerate() {
        let length = sim.read(path).unwrap().len() as u64;
        sim.flip(path, if index == 0 { 20 } else { length - 1 - 40 * index as u64 }, 3);
    }
    let reader = scene::options(&sim).open_read_only().unwrap();
    let plan = reader.repair(false).unwrap();
    assert_eq!((plan.plan.len(), plan.applied), (before.len(), false));
    assert!(plan.plan.iter().all(|step| step.remedy == Remedy::Rebuild && before.contains(&step.damage.path)));
    assert_eq!(reader.repair(true).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(segments(&sim), before);
    drop(reader);
    let store = scene::options(&sim).open().unwrap();
    let repair = store.repair(true).unwrap();
    assert_eq!((repair.plan.len(), repair.applied), (before.len(), true));
    assert_eq!(damage(&store), 0);
    assert_eq!(Model::of_timelines(&store).unwrap(), model);
    assert!(store.repair(true).unwrap().plan.is_empty());
    store.close().unwrap();
    let after = segments(&sim);
    assert!(after.len() == before.len() && after.iter().all(|path| !before.contains(path)));
    let store = scene::options(&sim).open().unwrap();
    assert_eq!((damage(&store), Model::of_scan(&store).unwrap()), (0, model));
}

/// One bit in each byte of a segment: what repair makes anew is exactly what it was; else it says so and leaves it.
#[test]
fn repair_never_makes_anything_worse() {
    let (sim, model, segments) = closed_store();
    let (whole, path) = (sim.snapshot(), &segments[0]);
    let bytes = sim.read(path).unwrap();
    let (mut rebuilt, mut left) = (0, 0);
    for byte in (0..bytes.len() as u64).step_by(5) {
        sim.restore(&whole, "/");
        sim.flip(path, byte, (byte % 8) as u8);
        let store = scene::options(&sim).open().unwrap();
        let repair = store.repair(true).unwrap();
        assert_eq!(repair.plan.len(), 1, "byte {byte}");
        match &repair.plan[0].remedy {
            Remedy::Rebuild => {
                rebuilt += 1;
                assert_eq!(Model::of_timelines(&store).unwrap(), model, "byte {byte}");
                assert_eq!(damage(&store), 0, "byte {byte}");
            }
            Remedy::GiveUp => panic!("nobody said that it was restored"),
            Remedy::Restore(why) => {
                left += 1;
                assert!(!why.is_empty() && sim.read(path).is_some(), "byte {byte}");
                assert!(damage(&store) > 0, "byte {byte}");
            }
        }
        drop(store);
        sim.kill();
    }
    assert!(rebuilt > 20 && left > 20, "{rebuilt} made anew, {left} left");
}

#[test]
fn a_missing_segment_is_named_and_a_crash_in_the_middle_does_no_harm() {
    let (sim, model, segments) = closed_store();
    let whole = sim.snapshot();
    let end = sim.read(&segments[1]).unwrap().len() as u64 - 1;
    let mut finished = false;
    for change in 0.. {
        sim.restore(&whole, "/");
        sim.flip(&segments[1], end, 0);
        let store = scene::options(&sim).open().unwrap();
        sim.crash_at(sim.changes() + change);
        finished = store.repair(true).is_ok();
        drop(store);
        sim.restart();
        let store = scene::options(&sim).open().unwrap();
        store.repair(true).unwrap();
        assert_eq!((damage(&store), Model::of_timelines(&store).unwrap()), (0, model.clone()), "change {change}");
        drop(store);
        sim.kill();
        if finished {
            break;
        }
    }
    assert!(finished);
    sim.restore(&whole, "/");
    sim.remove(&segments[0]);
    let store = scene::options(&sim).open().unwrap();
    let repair = store.repair(true).unwrap();
    assert!(matches!(&repair.plan[..], [step] if matches!(step.remedy, Remedy::Restore(_))));
}
