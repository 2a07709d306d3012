//! Power cuts at every change of a life of a keyring, and in the recovery after them: nothing that was durable is lost,
//! nobody gets a second secret, no key seals two messages under one nonce, and opening again changes nothing more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::crypto::seals;
use crate::env::sim::{Faults, Plant, Survivors};
use crate::keyring::fold::{Folded, meanwhile::during};

/// What the outside was told.
#[derive(Default)]
struct Told {
    created: bool,
    opening: u64,
    /// Secrets by customer, with the entry that they depend on.
    secrets: BTreeMap<usize, (u64, [u8; 32])>,
    partitions: BTreeMap<usize, (u64, u64, [u8; 32])>,
    durable: u64,
    /// How many have come while roots were made.
    came: usize,
}

const MONTHS: [&str; 4] = ["2025-01-01-month", "2025-02-01-month", "2025-03-01-month", "2025-04-01-month"];

impl Told {
    fn customer(&mut self, keyring: &Keyring, number: usize) -> Result<()> {
        let found = use_at(keyring, number, "2025-09-01-month")?;
        let known = *self.secrets.entry(number).or_insert((found.number, secret(&found.entry)));
        assert_eq!(known.1, secret(&found.entry), "a second secret");
        Ok(())
    }

    fn partition(&mut self, keyring: &Keyring, index: usize) -> Result<()> {
        let found = keyring.use_partition(&partition(MONTHS[index]))?;
        let key = *found.entry.key.key().expose();
        self.partitions.insert(index, (found.number, found.entry.number.0, key));
        Ok(())
    }

    fn sync(&mut self, keyring: &Keyring) -> Result<()> {
        self.durable = keyring.sync()?;
        Ok(())
    }

    /// Makes a new root while customers come and are durable under the old one: before anything is written, behind the
    /// crown, behind what was sealed anew, and some that are left for when everybody waits.
    fn renew(&mut self, keyring: &Keyring, make: impl FnOnce() -> Result<Folded>) -> Result<()> {
        let told = Rc::new(RefCell::new(std::mem::take(self)));
        let (heard, mut counts) = (told.clone(), [4, 4, 3, 2].into_iter());
        let come = move |keyring: &Keyring| {
            let mut told = heard.borrow_mut();
            for _ in 0..counts.next().unwrap_or(0) {
                let number = 200 + told.came;
                told.came += 1;
                let _ = told.customer(keyring, number); // Where that fails, so does what it happens in.
            }
            let _ = told.sync(keyring);
        };
        let made = during(come, make);
        *self = told.take();
        made.map(|_| self.durable = keyring.durable())
    }

    /// All that was durable is there and unchanged; the rest is there unchanged or not at all.
    fn check(&self, keyring: &Keyring) {
        self.look(keyring);
        keyring.verify_deep().unwrap();
    }

    fn look(&self, keyring: &Keyring) {
        for (number, (entry, known)) in &self.secrets {
            match keyring.customer(&id(*number)).unwrap() {
                Some(found) => assert_eq!(secret(&found.entry), *known, "customer {number}"),
                None => assert!(*entry > self.durable, "customer {number} of entry {entry} is gone"),
            }
        }
        for (index, (entry, number, known)) in &self.partitions {
            match keyring.partition(&partition(MONTHS[*index])).unwrap() {
                Some(found) => assert_eq!((found.entry.number.0, found.entry.key.key().expose()), (*number, known)),
                None => assert!(*entry > self.durable, "partition {index} of entry {entry} is gone"),
            }
        }
    }
}

fn register(place: &Place, told: &mut Told) -> Result<Arc<FileCustodian>> {
    let custodian = place.custodian();
    let number = register_opening(&*place.sim.env(), &place.dirs, &*custodian, None)?;
    assert!(number > told.opening, "an opening number twice");
    told.opening = number;
    Ok(custodian)
}

/// A life: creation, registration, entries, syncs, folds, compaction, another opening.
fn live(place: &Place, told: &mut Told) -> Result<()> {
    let keyring = place.create()?;
    told.created = true;
    drop(keyring);
    let custodian = register(place, told)?;
    let open = |custodian: Arc<FileCustodian>, floor| {
        Keyring::open(place.sim.env(), place.options(), custodian, &store(), Access::Write, Floor { entry: floor })
    };
    let keyring = open(custodian.clone(), 0)?.0;
    (0..12).try_for_each(|number| told.customer(&keyring, number))?;
    told.partition(&keyring, 0)?;
    told.sync(&keyring)?;
    told.renew(&keyring, || keyring.fold((3, [3; 32])))?;
    for number in 12..15 {
        told.customer(&keyring, number)?;
        told.sync(&keyring)?;
    }
    told.customer(&keyring, 15)?;
    told.partition(&keyring, 1)?;
    told.renew(&keyring, || keyring.fold((4, [4; 32])))?;
    told.customer(&keyring, 16)?;
    told.sync(&keyring)?;
    told.customer(&keyring, 17)?;
    told.renew(&keyring, || keyring.compact((5, [5; 32])))?;
    told.customer(&keyring, 18)?;
    told.partition(&keyring, 2)?;
    told.sync(&keyring)?;
    told.customer(&keyring, 19)?;
    // One leaf of three; what nobody has synced stays in the file before.
    keyring.carry((6, [6; 32]))?;
    told.durable = keyring.durable();
    custodian.release();
    drop(keyring);
    let keyring = open(register(place, told)?, told.durable)?.0;
    told.check(&keyring);
    assert!(keyring.needs_compaction(), "there were no leaves left");
    told.customer(&keyring, 20)?;
    told.sync(&keyring)?;
    told.renew(&keyring, || keyring.carry((7, [7; 32])))?;
    while keyring.needs_compaction() {
        keyring.carry((8, [8; 32]))?;
    }
    told.durable = keyring.durable();
    Ok(())
}

/// What comes after a power cut: creation again if it was never done, else opening, and more entries.
fn recover(place: &Place, told: &mut Told) -> Result<()> {
    if !told.created {
        // Whether it came into being or not, it can be made again as long as nobody was told that it is there.
        place.create()?;
        told.created = true;
    }
    let custodian = register(place, told)?;
    let floor = Floor { entry: told.durable };
    let (keyring, _) = Keyring::open(place.sim.env(), place.options(), custodian, &store(), Access::Write, floor)?;
    told.check(&keyring);
    assert_eq!(keyring.appended(), keyring.durable());
    // What was found is durable now, told or not.
    told.durable = told.durable.max(keyring.durable());
    told.secrets.retain(|number, _| keyring.customer(&id(*number)).is_ok_and(|found| found.is_some()));
    told.partitions.retain(|index, _| keyring.partition(&partition(MONTHS[*index])).is_ok_and(|found| found.is_some()));
    let next = 100 + told.opening as usize;
    told.customer(&keyring, next)?;
    told.partition(&keyring, 3)?;
    told.sync(&keyring)
}

fn changes_of(mirrors: usize) -> u64 {
    let sim = Sim::new(1);
    let place = Place::new(&sim, mirrors);
    let before = sim.changes();
    live(&place, &mut Told::default()).unwrap();
    sim.changes() - before
}

fn cut_everywhere(mirrors: usize, survivors: Survivors, recovery: impl Fn(u64) -> Option<u64>) {
    cut_with(mirrors, survivors, recovery, None);
}

fn cut_with(mirrors: usize, survivors: Survivors, recovery: impl Fn(u64) -> Option<u64>, plant: Option<Plant>) {
    for change in 0..changes_of(mirrors) {
        let sim = Sim::new(change * 31 + 5);
        let place = Place::new(&sim, mirrors);
        plant.into_iter().for_each(|plant| sim.plant(plant));
        let mut told = Told::default();
        seals::start();
        sim.crash_at_change(sim.changes() + change);
        let lived = live(&place, &mut told);
        assert!(lived.is_err() || sim.crashed(), "the cut at change {change} never came");
        sim.restart_with(survivors);
        if let Some(second) = recovery(change) {
            sim.crash_at_change(sim.changes() + second);
            let _ = recover(&place, &mut told);
            sim.restart_with(survivors);
        }
        recover(&place, &mut told).unwrap_or_else(|error| panic!("cut at change {change}: {error:?}"));
        sim.restart();
        let (first, _) = place.open(Access::Write, told.durable).unwrap();
        told.check(&first);
        drop(first);
        sim.restart();
        let (keyring, report) = place.open(Access::Write, told.durable).unwrap();
        assert_eq!(report, KeyringReport::default(), "opening twice mends twice, cut at change {change}");
        told.check(&keyring);
        assert!(verify(&*sim.env(), &place.dirs).unwrap().damage.is_empty(), "cut at change {change}");
        let (sealed, repeats) = seals::stop();
        assert!(sealed > 0 && repeats == 0, "{repeats} nonces twice, cut at change {change}");
    }
}

#[test]
fn a_power_cut_at_every_change_loses_nothing_durable() {
    for survivors in [Survivors::Some, Survivors::All, Survivors::None] {
        cut_everywhere(1, survivors, |_| None);
    }
}

#[test]
fn so_with_mirrors() {
    for survivors in [Survivors::Some, Survivors::None] {
        cut_everywhere(2, survivors, |_| None);
    }
}

#[test]
fn a_second_cut_in_the_recovery_loses_nothing_either() {
    for step in 0..3 {
        cut_everywhere(2, Survivors::Some, |change| Some((change * 7 + step * 5) % 30));
        cut_everywhere(1, Survivors::Some, |change| Some((change * 3 + step * 4) % 24));
    }
}

#[test]
#[should_panic]
fn these_cuts_find_a_log_that_is_not_synced() {
    cut_with(1, Survivors::None, |_| None, Some(Plant::NoDataSync { suffix: ".keys" }));
}

#[test]
#[should_panic]
fn these_cuts_find_roots_that_are_not_synced() {
    cut_with(1, Survivors::Some, |_| None, Some(Plant::NoDataSync { suffix: "root.a" }));
}

#[test]
#[should_panic]
fn these_cuts_find_a_custodian_that_is_not_synced() {
    cut_with(1, Survivors::None, |_| None, Some(Plant::NoDataSync { suffix: ".custodian" }));
}

#[test]
#[should_panic]
fn these_cuts_find_directories_that_are_not_synced() {
    cut_with(1, Survivors::None, |_| None, Some(Plant::NoDirSync));
}

/// What chance does next, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One step of a life at random; an error means that the keyring must be opened again.
fn step(keyring: &Keyring, told: &mut Told, dice: &mut Dice, round: u64) -> Result<()> {
    match dice.below(14) {
        0..5 => told.customer(keyring, dice.below(40) as usize),
        5 => told.partition(keyring, dice.below(4) as usize),
        6..9 => told.sync(keyring),
        9 | 10 => told.renew(keyring, || keyring.fold((round, [0; 32]))),
        11 => told.renew(keyring, || keyring.compact((round, [0; 32]))),
        _ => told.renew(keyring, || keyring.carry((round, [0; 32]))),
    }
}

/// A life at random on a machine that fails at random, with power cuts and killed processes.
fn wander(seed: u64) {
    let sim = Sim::new(seed);
    let mirrors = 1 + seed as usize % 2;
    let place = Place::new(&sim, mirrors);
    drop(place.create().unwrap());
    let (mut told, mut dice) = (Told { created: true, ..Told::default() }, Dice(seed));
    seals::start();
    for round in 0..25 {
        if let Ok((keyring, _)) = place.open(Access::Write, told.durable) {
            told.durable = told.durable.max(keyring.durable());
            sim.set_faults(if seed.is_multiple_of(3) {
                Faults::harmless(seed + round)
            } else {
                Faults::swarm(seed + round)
            });
            let steps = dice.below(30);
            let reader = seed.is_multiple_of(3).then(|| place.open(Access::Read, told.durable).unwrap().0);
            let lived = (0..steps).try_for_each(|_| {
                step(&keyring, &mut told, &mut dice, round)?;
                // A reader beside it sees at least all that is durable.
                reader.iter().try_for_each(|reader| reader.refresh().map(|_| told.look(reader)))
            });
            assert!(lived.is_ok() || !seed.is_multiple_of(3), "seed {seed}: {lived:?}");
            sim.heal();
            // Reading goes on, whatever failed.
            told.check(&keyring);
        }
        match dice.below(3) {
            0 => sim.kill(),
            1 => sim.restart(),
            // In the next opening.
            _ => {
                sim.crash_at_change(sim.changes() + dice.below(12));
                let _ = place.open(Access::Write, told.durable);
                sim.restart();
            }
        }
        let (keyring, _) =
            place.open(Access::Write, told.durable).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        told.check(&keyring);
        told.durable = told.durable.max(keyring.durable());
        told.secrets.retain(|number, _| keyring.customer(&id(*number)).unwrap().is_some());
        told.partitions.retain(|index, _| keyring.partition(&partition(MONTHS[*index])).unwrap().is_some());
    }
    assert_eq!(seals::stop().1, 0, "seed {seed}: a nonce twice");
}

#[test]
fn nothing_durable_is_lost_on_a_machine_that_fails_at_random() {
    (0..90).for_each(wander);
}
