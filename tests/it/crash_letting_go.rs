//! Power cuts at every change of lives in which things are let go, calls to the custodian and recovery included: what
//! was acknowledged and not let go is there, what was let go is gone and stays gone, and nothing is ever half.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tenure::env::Env;
use tenure::env::sim::{Faults, Plant, Sim};
use tenure::report::VerifyOptions;
use tenure::simulation::seals;
use tenure::{ErrorKind, Store};

use crate::life::{Life, MATTER, Place, STORE, WORD, every_seed, scanned, seeds, seen};
use crate::model::Seen;
use crate::scene::{CUSTOMERS, Dice, start_again};
use crate::vault::Vault;

/// The seeds, where `TENURE_SEEDS` does not say how many; half of them with a custodian that is a file.
const SEEDS: u64 = 200;

fn new_life(seed: u64, plant: Option<Plant>) -> Life {
    let place = Place::new(seed, (seed.is_multiple_of(2)).then(Vault::default));
    let mut life = Life::new(&place, seed);
    let store = place.options().create().unwrap();
    life.append(&store).unwrap();
    life.append(&store).unwrap();
    if seed.is_multiple_of(3) {
        store.settle().unwrap();
    }
    if seed % 12 == 3 {
        // Something was erased under a duty or a hold.
        life.hold(&store).unwrap();
        life.erase(&store).unwrap();
    }
    if seed % 6 == 5 {
        // Something is held and has expired before the power goes.
        life.hold(&store).unwrap();
        life.hold(&store).unwrap();
        life.expire(&store).unwrap();
    }
    store.close().unwrap();
    plant.into_iter().for_each(|plant| place.sim.plant(plant));
    place.sim.set_faults(Faults::harmless(seed));
    life
}

/// Two or three steps, at least one of which lets go.
fn live(life: &mut Life, seed: u64) -> tenure::Result<()> {
    let mut store = life.place.options().open()?;
    if seed % 5 < 2 {
        life.append(&store)?;
    }
    match seed % 6 {
        0 => life.erase(&store)?,
        1 => life.expire(&store)?,
        2 => life.erase_part(&store)?,
        3 => life.redact(&store)?,
        4 => {
            life.hold(&store)?;
            life.expire(&store)?;
        }
        _ => life.release(&store)?,
    }
    for _ in 0..life.dice.roll(3) {
        store = life.step(store)?;
    }
    Ok(())
}

/// Opens after the process or the power has gone; either may go again while it recovers.
fn recover(life: &mut Life, seed: u64, cut: u64) -> Store {
    let sim = life.place.sim.clone();
    let mut dice = Dice(seed ^ (cut << 20));
    for again in 0..dice.roll(3) {
        start_again(&sim, &mut dice);
        sim.crash_at_change(sim.changes() + dice.roll(32 + 16 * again));
        if let Err(error) = life.place.options().open() {
            life.told.error(&error);
        }
        sim.crash();
    }
    start_again(&sim, &mut dice);
    let opened = life.place.options().open();
    let store = opened.unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: recovery failed: {error:?}"));
    life.model.adopt_holds(&store, life.place.sim.now());
    store
}

/// What must hold of every store that was recovered.
fn check(life: &Life, store: &Store, when: &str) {
    let (seen, now) = (seen(store), life.place.sim.now());
    let (allowed, Seen { free: found, held, restricted }) = (life.model.allows(&seen, now), seen);
    if !allowed {
        let missing = life.model.kept.iter().filter(|(id, _)| !found.contains_key(*id)).count();
        let back = life.model.dead.iter().filter(|(id, _)| found.contains_key(*id)).count();
        let (coming, going) = (life.model.coming.len(), life.model.going.len());
        let (has, wants, held) = (found.len(), life.model.kept.len(), (held.len(), restricted.len()));
        panic!(
            "{when}: {has} of {wants}: {missing} missing, {back} came back, {coming} coming, {going} going, {held:?} held and restricted"
        );
    }
    assert_eq!(scanned(store), found, "{when}: a scan sees something else");
    let expected = |id| found.contains_key(id);
    for (id, kept) in
        life.model.kept.iter().chain(&life.model.dead).chain(&life.model.hidden).chain(&life.model.restricted)
    {
        assert_eq!(store.get(&kept.0, *id).unwrap().is_some(), expected(id), "{when}: get sees something else");
    }
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{when}: {:?}", verified.damage);
    assert!(store.receipts().unwrap().iter().all(|receipt| receipt.shredded.is_some()), "{when}: left undone");
}

/// No id, no word in any file, or in what anybody was told.
fn discreet(life: &mut Life, store: &Store) {
    life.told.0.extend(store.receipts().unwrap().iter().map(|receipt| format!("{receipt:?}")));
    life.told.0.push(format!("{:?}", store.recovery()));
    life.told.is_discreet();
    for (path, bytes) in life.place.sim.files() {
        for secret in CUSTOMERS.iter().chain([&WORD, &MATTER]) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
}

/// One life with the power cut at change `cut` (counted from the opening); `false` where it was over before.
fn one_cut(seed: u64, cut: u64, plant: Option<Plant>) -> bool {
    seals::start();
    let mut life = new_life(seed, plant);
    let sim = life.place.sim.clone();
    sim.crash_at_change(sim.changes() + cut);
    let outcome = live(&mut life, seed);
    let when = format!("seed {seed}, cut {cut}");
    if !sim.crashed() {
        outcome.unwrap_or_else(|error| panic!("{when}: failed without a power cut: {error:?}"));
        return false;
    }
    if let Err(error) = outcome {
        life.told.error(&error);
    }
    let store = recover(&mut life, seed, cut);
    check(&life, &store, &when);
    // What has been seen once stays so, through another power cut and through a clean close.
    let found = seen(&store);
    drop(store);
    sim.crash();
    let store = recover(&mut life, seed, cut + 1_000_000);
    assert_eq!(seen(&store), found, "{when}: recovering again changed something");
    store.close().unwrap();
    let store = life.place.options().open().unwrap();
    assert!(store.recovery().clean, "{when}: closed, but not cleanly");
    assert_eq!(seen(&store), found, "{when}: closing changed something");
    if cut.is_multiple_of(8) {
        discreet(&mut life, &store);
    }
    let (_, repeats) = seals::stop();
    assert_eq!(repeats, 0, "{when}: a (key, nonce) pair was used twice");
    assert_eq!(life.place.custodian.reuses(), 0, "{when}: an epoch was used twice");
    true
}

/// Every cut of every seed, on all cores. Returns how many there were.
fn every_cut(seeds: std::ops::Range<u64>) -> u64 {
    every_seed(seeds, &|seed| (0..).take_while(|cut| one_cut(seed, *cut, None)).count() as u64)
}

#[test]
fn no_power_cut_brings_anything_back_or_loses_anything() {
    let seeds = seeds(SEEDS);
    let lives = every_cut(0..seeds);
    println!("{lives} power cuts survived in {seeds} seeds");
    assert!(lives > seeds * 20, "the lives have become too short to mean anything: {lives}");
}

/// One life in which a question to the custodian, or its answer, is lost while the machine goes on; `false` where it was
/// over before.
fn one_failure(seed: u64, arrive: u64) -> bool {
    let mut life = new_life(seed, None);
    let custodian = life.place.custodian.clone();
    custodian.fail_after(arrive);
    let outcome = live(&mut life, seed);
    let when = format!("seed {seed}, lost after {arrive}");
    if !custodian.has_failed() {
        outcome.unwrap_or_else(|error| panic!("{when}: failed though nothing was lost: {error:?}"));
        return false;
    }
    if let Err(error) = outcome {
        life.told.error(&error);
    }
    life.place.sim.kill();
    let reopened = |why: &str| {
        let opened = life.place.options().open();
        opened.unwrap_or_else(|error| panic!("{when}: {why}: {error:?}"))
    };
    let store = reopened("after the failure");
    life.model.adopt_holds(&store, life.place.sim.now());
    check(&life, &store, &when);
    let found = seen(&store);
    store.close().unwrap();
    let store = reopened("after a close");
    assert_eq!(seen(&store), found, "{when}: closing changed something");
    drop(store);
    life.told.is_discreet();
    assert_eq!(custodian.reuses(), 0, "{when}: an epoch was used twice");
    true
}

#[test]
fn a_custodian_that_does_not_answer_brings_nothing_back_and_loses_nothing() {
    let seeds = seeds(40);
    let lost = every_seed(0..seeds, &|seed| (0..).take_while(|arrive| one_failure(seed, *arrive)).count() as u64);
    println!("{lost} lost questions and answers survived in {seeds} seeds");
    assert!(lost > seeds * 10, "the custodian is hardly asked: {lost}");
}

/// Empties the directory of a store that was half made, as the error says; keyring and custodian stay as they are.
fn empty(sim: &Sim) {
    let files = sim.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with(STORE)).for_each(|path| sim.remove(path));
    for name in ["journal", "ledger", "segments", "readers", "requests", "access"] {
        let _ = sim.remove_dir(&Path::new(STORE).join(name)); // It may not be there yet.
    }
}

/// The power goes while a store is being made: it is there, or can be made once its directory is emptied.
#[test]
fn the_power_may_go_while_a_store_is_being_made() {
    let cuts = every_seed(0..8, &|seed| {
        let cut_at = |cut: u64| {
            let place = Place::new(seed, (seed.is_multiple_of(2)).then(Vault::default));
            place.sim.set_faults(Faults::harmless(seed ^ cut << 8));
            place.sim.crash_at_change(place.sim.changes() + cut);
            let created = place.options().create();
            let survived = !place.sim.crashed();
            drop(created);
            place.sim.crash();
            place.sim.restart();
            let store = match place.options().open() {
                Ok(store) => store,
                Err(opening) => {
                    assert_eq!(opening.kind(), ErrorKind::NotFound, "seed {seed}, cut {cut}: {opening:?}");
                    empty(&place.sim);
                    place.options().create().unwrap_or_else(|error| {
                        panic!("seed {seed}, cut {cut}: it neither opens, {opening:?}, nor can it be made: {error:?}")
                    })
                }
            };
            let mut life = Life::new(&place, seed);
            life.append(&store).unwrap();
            check(&life, &store, "a new store");
            store.close().unwrap();
            check(&life, &place.options().open().unwrap(), "a new store, closed");
            !survived
        };
        (0..).take_while(|cut| cut_at(*cut)).count() as u64
    });
    println!("{cuts} power cuts survived while stores were made");
    assert!(cuts > 8 * 10, "{cuts}");
}

/// The suite must fail for a sync that is left out, within a few seeds.
fn caught(plant: Plant) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let fails = |seed| {
        let one = |cut| catch_unwind(AssertUnwindSafe(|| one_cut(seed, cut, Some(plant))));
        (0..).map(one).find(|outcome| !matches!(outcome, Ok(true))).is_some_and(|outcome| outcome.is_err())
    };
    let found = (0..20).find(|seed| fails(*seed));
    std::panic::set_hook(hook);
    let seed = found.unwrap_or_else(|| panic!("{plant:?} was not noticed in 20 seeds"));
    println!("{plant:?}: noticed at seed {seed}");
}

#[test]
fn planted_bugs_are_caught() {
    caught(Plant::NoDataSync { suffix: ".keys" });
    caught(Plant::NoDataSync { suffix: ".ledger" });
    caught(Plant::NoDataSync { suffix: "root.a" });
}
