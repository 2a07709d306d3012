//! The file custodian alone: power cuts, killed processes and failed syncs at every change, one after the other. What it
//! told anybody stays so; no epoch is given out twice; no key is lost that was sealed under and not destroyed.

use std::collections::BTreeMap;

use super::super::custodian::{Custodian, OpeningToken, Registration};
use super::*;
use crate::env::sim::{Faults, Plant, Survivors};

/// What the outside was told, and what it asked for without hearing an answer.
struct Told {
    registration: Registration,
    /// Openings asked for since.
    asked: Vec<OpeningToken>,
    epoch: u64,
    sealed: BTreeMap<u64, Vec<u8>>,
    destroying: u64,
    length: u64,
    serial: u64,
}

fn plain(epoch: u64) -> Vec<u8> {
    vec![epoch as u8 ^ 0x5a; 190]
}

fn head(length: u64) -> [u8; 32] {
    [length as u8; 32]
}

impl Told {
    fn by(custodian: &FileCustodian) -> Self {
        let registration = custodian.registration().unwrap();
        Told { registration, asked: vec![], epoch: 0, sealed: BTreeMap::new(), destroying: 0, length: 0, serial: 0 }
    }

    /// Looks without changing anything. Whoever has seen something may build on it.
    fn look(&mut self, custodian: &FileCustodian) -> Result<()> {
        let (before, now) = (self.registration, custodian.registration()?);
        let known = now.opening == before.opening || self.asked.contains(&now.opening);
        assert!(known, "an opening that was seen is gone: {now:?} after {before:?}");
        assert!(now.store == store() && now.ledger_length >= before.ledger_length, "{now:?} after {before:?}");
        assert!(now.ledger_length == 0 || now.ledger_head == head(now.ledger_length), "{now:?}");
        assert!(now.destroyed_before >= before.destroyed_before && now.destroyed_before <= self.destroying);
        self.registration = now;
        Ok(())
    }

    fn look_at_keys(&self, custodian: &FileCustodian) -> Result<()> {
        for (epoch, sealed) in &self.sealed {
            match custodian.open(sealed) {
                Ok(opened) => {
                    assert_eq!(*opened, plain(*epoch));
                    assert!(*epoch >= self.registration.destroyed_before, "the key of epoch {epoch} was destroyed");
                }
                Err(error) if error.kind() == ErrorKind::KeyUnavailable => {
                    assert!(*epoch < self.destroying, "the key of epoch {epoch} is gone: {error:?}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn epoch(&mut self, custodian: &FileCustodian) -> Result<()> {
        let epoch = custodian.next_epoch()?;
        assert!(epoch > self.epoch, "epoch {epoch} after {}", self.epoch);
        self.epoch = epoch;
        Ok(())
    }

    fn seal(&mut self, custodian: &FileCustodian) -> Result<()> {
        self.epoch(custodian)?;
        let sealed = custodian.seal(self.epoch, &plain(self.epoch))?;
        self.sealed.insert(self.epoch, sealed);
        Ok(())
    }

    fn advance(&mut self, custodian: &FileCustodian) -> Result<()> {
        self.length += 1;
        custodian.advance(self.length, &head(self.length))?;
        self.registration.ledger_length = self.length;
        Ok(())
    }

    fn destroy(&mut self, custodian: &FileCustodian) -> Result<()> {
        let Some((last, _)) = self.sealed.last_key_value() else { return Ok(()) };
        self.destroying = *last;
        custodian.destroy_before(self.destroying)?;
        self.registration.destroyed_before = self.destroying;
        self.sealed.retain(|epoch, _| *epoch >= self.destroying || epoch.is_multiple_of(3));
        Ok(())
    }

    fn register(&mut self, custodian: &FileCustodian) -> Result<()> {
        self.look(custodian)?;
        self.serial += 1;
        let new = OpeningToken { number: self.registration.opening.number + 1, token: [self.serial as u8; 16] };
        self.asked.push(new);
        custodian.register(&self.registration.opening, &new)?;
        self.registration.opening = new;
        self.asked.clear();
        Ok(())
    }

    /// One opening, with everything that happens in one.
    fn live(&mut self, custodian: &FileCustodian) -> Result<()> {
        self.register(custodian)?;
        self.seal(custodian)?;
        self.advance(custodian)?;
        self.epoch(custodian)?;
        self.seal(custodian)?;
        self.destroy(custodian)?;
        self.seal(custodian)?;
        self.look_at_keys(custodian)?;
        self.advance(custodian)?;
        custodian.release();
        Ok(())
    }
}

/// A custodian that has lived once, on a machine of its own.
fn machine(seed: u64) -> (Sim, Place, Told) {
    let sim = Sim::new(seed);
    let place = Place::new(&sim, 1);
    let custodian = place.custodian();
    custodian.create(&store()).unwrap();
    let mut told = Told::by(&custodian);
    told.live(&custodian).unwrap();
    (sim, place, told)
}

/// Lives until the power is cut `change` changes from now, if that is before the end; then either the machine starts
/// again, or just the process.
fn cut(sim: &Sim, place: &Place, told: &mut Told, change: u64, survivors: Option<Survivors>) {
    sim.crash_at_change(sim.changes() + change);
    let lived = told.live(&place.custodian());
    assert!(lived.is_ok() || sim.crashed(), "{lived:?}");
    match survivors {
        Some(survivors) => sim.restart_with(survivors),
        None => sim.kill(),
    }
}

fn whole(place: &Place, told: &mut Told, what: impl std::fmt::Debug) {
    let custodian = place.custodian();
    told.look(&custodian).and_then(|()| told.look_at_keys(&custodian)).unwrap_or_else(|e| panic!("{what:?}: {e:?}"));
    told.live(&custodian).unwrap_or_else(|error| panic!("{what:?}: {error:?}"));
}

fn changes() -> u64 {
    let (sim, place, mut told) = machine(1);
    let before = sim.changes();
    told.live(&place.custodian()).unwrap();
    sim.changes() - before
}

fn cut_twice(restarts: [Option<Survivors>; 2], plant: Option<Plant>) {
    let changes = changes();
    for first in 0..changes {
        for second in 0..changes {
            let (sim, place, mut told) = machine(first * 211 + second);
            plant.into_iter().for_each(|plant| sim.plant(plant));
            cut(&sim, &place, &mut told, first, restarts[0]);
            cut(&sim, &place, &mut told, second, restarts[1]);
            whole(&place, &mut told, (first, second, restarts));
        }
    }
}

#[test]
fn two_power_cuts_at_every_pair_of_changes_undo_nothing_told() {
    for survivors in [Survivors::Some, Survivors::None, Survivors::All] {
        cut_twice([Some(survivors), Some(survivors)], None);
    }
}

#[test]
fn nor_does_a_killed_process_with_a_power_cut_after_it() {
    for survivors in [Survivors::Some, Survivors::None] {
        cut_twice([None, Some(survivors)], None);
    }
    cut_twice([Some(Survivors::Some), None], None);
}

#[test]
#[should_panic]
fn these_cuts_find_a_file_that_is_not_synced() {
    cut_twice([Some(Survivors::None); 2], Some(Plant::NoDataSync { suffix: ".custodian" }));
}

/// Six in a row, each within a few changes of the other, on a machine on which other things fail as well.
fn series(seed: u64) {
    let (sim, place, mut told) = machine(seed);
    let mut dice = seed.wrapping_mul(6_364_136_223_846_793_005) | 1;
    let mut below = |limit: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % limit
    };
    for round in 0..6 {
        if !seed.is_multiple_of(3) {
            sim.set_faults(Faults::swarm(seed * 7 + round));
        }
        sim.crash_at_change(sim.changes() + below(40));
        let custodian = place.custodian();
        for _ in 0..below(4) {
            // One that failed is poisoned until it is released; the next opening is a new one.
            let lived = told.live(&custodian);
            assert!(lived.is_ok() || sim.crashed() || !seed.is_multiple_of(3), "seed {seed}: {lived:?}");
            custodian.release();
        }
        sim.heal();
        match below(3) {
            0 => sim.kill(),
            _ => sim.restart(),
        }
        if below(2) == 0 {
            told.look(&place.custodian()).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        }
    }
    sim.restart();
    whole(&place, &mut told, seed);
}

#[test]
fn neither_does_a_series_of_them_on_a_machine_that_fails_at_random() {
    (0..3_000).for_each(series);
}
