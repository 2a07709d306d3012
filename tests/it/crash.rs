//! Power cuts at every change that a workload makes, recovery included: no acknowledged record is lost, batches are
//! whole or absent, no (key, nonce) pair is used twice, recovering again changes nothing. And the suite itself is
//! tested: with a sync left out it must fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tenure::env::sim::{Faults, Plant, Sim};
use tenure::report::{Budget, VerifyOptions};
use tenure::simulation::seals;
use tenure::{Options, Record, Store};

use crate::life::every_seed;
use crate::scene::{self, Dice, Model, start_again};

/// A bug to plant under the engine.
#[derive(Clone, Copy, Debug)]
enum Bug {
    None,
    Machine(Plant),
    ForgetKeyring,
}

fn options(sim: &Sim, bug: Bug) -> Options {
    let options = scene::options(sim).merge_at_least(3).fold_at(4);
    match bug {
        Bug::ForgetKeyring => options.forget_keyring(),
        _ => options,
    }
}

/// What was acknowledged, and the batch in doubt when the power went.
#[derive(Clone, Default)]
struct Story {
    kept: Model,
    in_doubt: Vec<Record>,
}

/// Appends, settles, merges, folds, closes and opens again, until it is done or the power goes.
fn live(sim: &Sim, seed: u64, bug: Bug, story: &mut Story) -> tenure::Result<()> {
    let mut dice = Dice(seed);
    let mut serial = 0;
    let mut store = options(sim, bug).open()?;
    for _ in 0..3 + dice.roll(6) {
        match dice.roll(8) {
            0 | 1 => {
                store.settle()?;
            }
            2 => {
                store.maintain(Budget::ALL)?;
            }
            3 => {
                store.close()?;
                store = options(sim, bug).open()?;
            }
            _ => {
                story.in_doubt = scene::batch(&mut dice, &mut serial);
                scene::append(&store, story.in_doubt.clone())?;
                story.kept.add(&std::mem::take(&mut story.in_doubt));
            }
        }
    }
    store.settle()?;
    store.maintain(Budget::ALL)?;
    store.close()
}

fn new_machine(seed: u64, bug: Bug) -> Sim {
    let sim = Sim::new(seed);
    options(&sim, Bug::None).create().unwrap().close().unwrap();
    if let Bug::Machine(plant) = bug {
        sim.plant(plant);
    }
    sim.set_faults(Faults::harmless(seed));
    sim
}

/// Opens after the process or the power has gone; either may go again while it recovers.
fn recover(sim: &Sim, seed: u64, cut: u64, bug: Bug) -> Store {
    let mut dice = Dice(seed ^ (cut << 20));
    for again in 0..dice.roll(3) {
        start_again(sim, &mut dice);
        sim.crash_at_change(sim.changes() + dice.roll(24 + 8 * again));
        if let Ok(store) = options(sim, bug).open() {
            drop(store);
        }
        sim.crash();
    }
    start_again(sim, &mut dice);
    options(sim, bug).open().unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: recovery failed: {error:?}"))
}

/// Everything that was acknowledged and nothing else; the batch in doubt whole or not at all.
fn check(story: &Story, found: &Model, when: &str) {
    if *found == story.kept {
        return;
    }
    let mut with_doubt = story.kept.clone();
    with_doubt.add(&story.in_doubt);
    let (has, wants) = (found.0.len(), story.kept.0.len());
    assert!(*found == with_doubt, "{when}: {has} records, {wants} acknowledged, {} in doubt", story.in_doubt.len());
}

/// One life with the power cut at change `cut` (counted from the opening); `false` where it was over before.
fn one_cut(seed: u64, cut: u64, bug: Bug) -> bool {
    seals::start();
    let sim = new_machine(seed, bug);
    sim.crash_at_change(sim.changes() + cut);
    let mut story = Story::default();
    let outcome = live(&sim, seed, bug, &mut story);
    let when = format!("seed {seed}, cut {cut}");
    if !sim.crashed() {
        outcome.unwrap_or_else(|error| panic!("{when}: failed without a power cut: {error:?}"));
        return false;
    }
    let store = recover(&sim, seed, cut, bug);
    let found = Model::of_timelines(&store).unwrap();
    check(&story, &found, &when);
    assert_eq!(Model::of_scan(&store).unwrap(), found, "{when}: a scan sees something else");
    let deep = VerifyOptions { deep: true, subset: 1.0 };
    let verified = store.verify(deep, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{when}: {:?}", verified.damage);
    // What has been seen once stays, through another power cut and through a clean close.
    drop(store);
    sim.crash();
    let store = recover(&sim, seed, cut + 1_000_000, bug);
    assert_eq!(Model::of_timelines(&store).unwrap(), found, "{when}: recovering again changed something");
    store.close().unwrap();
    let store = options(&sim, bug).open().unwrap();
    assert!(store.recovery().clean, "{when}: closed, but not cleanly");
    assert_eq!(Model::of_timelines(&store).unwrap(), found, "{when}: closing changed something");
    let (_, repeats) = seals::stop();
    assert_eq!(repeats, 0, "{when}: a (key, nonce) pair was used twice");
    true
}

/// Every cut of every seed, on all cores. Returns how many lives were lived.
fn every_cut(seeds: std::ops::Range<u64>, bug: Bug) -> u64 {
    every_seed(seeds, &|seed| (0..).take_while(|cut| one_cut(seed, *cut, bug)).count() as u64)
}

#[test]
fn no_power_cut_loses_anything() {
    let lives = every_cut(0..200, Bug::None);
    println!("{lives} power cuts survived");
    assert!(lives > 200 * 20, "the workload has become too small to mean anything: {lives}");
}

#[test]
fn the_same_seed_twice_is_the_same_life() {
    let trace = |seed| {
        let sim = new_machine(seed, Bug::None);
        live(&sim, seed, Bug::None, &mut Story::default()).unwrap();
        sim.trace()
    };
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}

/// The suite must fail for each of these within a few seeds.
fn caught(bug: Bug) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..40).find(|seed| {
        let cuts =
            (0..).take_while(|cut| catch_unwind(AssertUnwindSafe(|| one_cut(*seed, *cut, bug))).unwrap_or(false));
        let survived = cuts.count() as u64;
        catch_unwind(AssertUnwindSafe(|| one_cut(*seed, survived, bug))).is_err()
    });
    std::panic::set_hook(hook);
    let seed = found.unwrap_or_else(|| panic!("{bug:?} was not noticed in 40 seeds"));
    println!("{bug:?}: noticed at seed {seed}");
}

#[test]
fn planted_bugs_are_caught() {
    caught(Bug::Machine(Plant::NoDirSync));
    caught(Bug::Machine(Plant::NoDataSync { suffix: ".journal" }));
    caught(Bug::Machine(Plant::NoDataSync { suffix: ".keys" }));
    caught(Bug::ForgetKeyring);
}
