//! Power cuts, failing syncs and full disks at every operation: what was acknowledged stays, what was not is whole or
//! gone, and opening twice is opening once.

use super::*;
use crate::env::sim::{Failure, Faults};

/// Lives until something fails. Returns the ledger's length and head after the last acknowledged append.
fn live_until_failure(sim: &Sim) -> (u64, Digest, Option<Error>) {
    let mut ledger = match Ledger::create_rolling(sim.env(), Path::new(DIR), store(), at(0), SMALL) {
        Ok(ledger) => ledger,
        Err(error) => return (0, Frontier::default().head(), Some(error)),
    };
    for step in 0..STEPS {
        let before = (ledger.length(), ledger.head());
        let (length, state) = (ledger.length(), ledger.state().clone());
        if let Err(error) = ledger.append(at(step as i64 + 1), &life(step)) {
            assert_eq!(ledger.append(at(99), &[Fact::Watermark]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(ledger.append(at(99), &[Fact::Watermark]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert!(ledger.length() == length && *ledger.state() == state || ledger.length() == length + 1);
            return (before.0, before.1, Some(error));
        }
    }
    (ledger.length(), ledger.head(), None)
}

const STEPS: u64 = 13;

/// The same life without any failure: what may be found afterwards.
struct Control {
    ledger: Ledger,
    operations: u64,
    /// Length before each append, how many facts it has, length after.
    steps: Vec<(u64, u64, u64)>,
}

fn control() -> Control {
    let sim = Sim::new(0);
    let mut ledger = create(&sim);
    let mut steps = Vec::new();
    for step in 0..STEPS {
        let before = ledger.length();
        ledger.append(at(step as i64 + 1), &life(step)).unwrap();
        steps.push((before, life(step).len() as u64, ledger.length()));
    }
    Control { operations: sim.operations(), ledger, steps }
}

impl Control {
    /// Opens after a failure and checks every promise. Returns the length found.
    fn recovered(&self, sim: &Sim, acknowledged: (u64, Digest)) -> u64 {
        let expect = Some(acknowledged).filter(|(length, _)| *length > 0);
        let (ledger, _) = match open(sim, Access::Write, expect) {
            Ok(opened) => opened,
            Err(error) if acknowledged.0 == 0 => {
                // The directory, or the first file in it, never came to be.
                assert_eq!(error.kind(), ErrorKind::NotFound);
                return 0;
            }
            Err(error) => panic!("{error:?}"),
        };
        let found = ledger.length();
        let whole = match self.steps.iter().find(|(before, ..)| *before == acknowledged.0) {
            None => found == 1 && acknowledged.0 == 0,
            // A snapshot leaf may have come before what was being appended, and stand alone.
            Some((before, facts, after)) => {
                [*before, *after].contains(&found) || after - before > *facts && found == before + 1
            }
        };
        assert!(whole, "all or nothing: {found} after {}", acknowledged.0);
        assert_eq!(ledger.head(), self.ledger.head_at(found).unwrap());
        let (again, cut) = open(sim, Access::Write, Some((found, ledger.head()))).unwrap();
        assert_eq!((again.state(), again.head(), cut), (ledger.state(), ledger.head(), 0));
        check(sim, Some((found, ledger.head()))).unwrap();
        found
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let control = control();
    for seed in 0..100 {
        for operation in 0..control.operations {
            let sim = Sim::new(seed);
            sim.crash_at(operation);
            let (length, head, error) = live_until_failure(&sim);
            assert!(error.is_some(), "operation {operation}");
            sim.restart();
            let found = control.recovered(&sim, (length, head));
            // What recovery has served stays, whatever happens next.
            sim.restart();
            if found > 0 {
                let (ledger, cut) = open(&sim, Access::Write, None).unwrap();
                assert_eq!((ledger.length(), cut), (found, 0), "seed {seed}, operation {operation}");
            }
        }
    }
}

#[test]
fn a_power_cut_during_recovery_is_recovered_from() {
    for seed in 0..40 {
        let torn = |sim: &Sim| {
            let (length, head) = {
                let ledger = lived(sim, 4);
                (ledger.length(), ledger.head())
            };
            // Part of an append that never finished.
            let path = ledger_path(Path::new(DIR), 1);
            let mut bytes = sim.read(&path).unwrap();
            bytes.extend([0x5A; 900]);
            sim.write(&path, &bytes);
            (length, head)
        };
        let dry = Sim::new(seed);
        let mark = torn(&dry);
        let before = dry.operations();
        open(&dry, Access::Write, Some(mark)).unwrap();
        for operation in before..dry.operations() {
            let sim = Sim::new(seed);
            let mark = torn(&sim);
            sim.crash_at(operation);
            assert!(open(&sim, Access::Write, Some(mark)).is_err());
            sim.restart();
            let (ledger, _) = open(&sim, Access::Write, Some(mark)).unwrap();
            assert_eq!(ledger.length(), mark.0);
            assert_eq!(open(&sim, Access::Write, Some(mark)).unwrap().1, 0);
        }
    }
}

#[test]
fn a_failure_at_any_operation_poisons_and_loses_nothing_acknowledged() {
    let control = control();
    for failure in [Failure::Io, Failure::Full, Failure::TooManyOpen] {
        for seed in 0..50 {
            for operation in 0..control.operations {
                let sim = Sim::new(seed);
                sim.fail_at(operation, failure);
                let (length, head, error) = live_until_failure(&sim);
                let Some(error) = error else { continue };
                assert!([ErrorKind::Io, ErrorKind::OutOfSpace].contains(&error.kind()), "{error:?}");
                // The machine goes on: what the page cache shows and the medium lacks must not be believed.
                let found = control.recovered(&sim, (length, head));
                sim.restart();
                if found > 0 {
                    assert_eq!(open(&sim, Access::Write, None).unwrap().0.length(), found, "operation {operation}");
                }
            }
        }
    }
}

#[test]
fn short_reads_and_writes_change_nothing() {
    let quiet = Sim::new(0);
    let expected = lived(&quiet, 30).head();
    for seed in 0..30 {
        let sim = Sim::new(seed);
        sim.set_faults(Faults::harmless(seed));
        let ledger = lived(&sim, 30);
        assert_eq!(ledger.head(), expected);
        assert_eq!(open(&sim, Access::Write, None).unwrap().0.state(), ledger.state());
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_there_stays() {
    let sim = Sim::new(3);
    let mut ledger = lived(&sim, 3);
    let used: u64 = sim.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    sim.set_capacity(Some(used + 10));
    let text = "#".repeat(9_000);
    let error = ledger.append(at(9), &[Fact::PolicySet { version: 7, text }]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert_eq!(ledger.append(at(9), &[Fact::Watermark]).unwrap_err().kind(), ErrorKind::Poisoned);
    let mark = (ledger.length(), ledger.head());
    let (again, _) = open(&sim, Access::Write, Some(mark)).unwrap();
    assert_eq!((again.length(), again.head()), mark);
}
