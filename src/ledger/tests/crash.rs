//! Power cuts, failing syncs and full disks at every operation: what was acknowledged stays, what was not is whole or
//! gone, and opening twice is opening once.

use super::*;
use crate::env::sim::{Failure, Faults};

/// Lives until something fails. Returns the ledger's length and head after the last acknowledged append, and all heads
/// that an unacknowledged one may have left.
fn live_until_failure(sim: &Sim, from: u64, to: u64) -> (u64, Digest, Option<Error>) {
    let mut ledger = match from {
        0 => match Ledger::create_rolling(sim.env(), Path::new(DIR), store(), at(0), SMALL) {
            Ok(ledger) => ledger,
            Err(error) => return (0, Frontier::default().head(), Some(error)),
        },
        _ => open(sim, Access::Write, None).unwrap().0,
    };
    for step in from..to {
        let before = (ledger.length(), ledger.head());
        if let Err(error) = ledger.append(at(step as i64 + 1), &life(step)) {
            assert_eq!(ledger.append(at(99), &[Fact::Watermark]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(ledger.append(at(99), &[Fact::Watermark]).unwrap_err().kind(), ErrorKind::Poisoned);
            return (before.0, before.1, Some(error));
        }
    }
    (ledger.length(), ledger.head(), None)
}

/// Opens after a failure and checks every promise. Returns the length found.
fn recovered(sim: &Sim, acknowledged: (u64, Digest), unfinished: &[Fact]) -> u64 {
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
    // A snapshot leaf may have come before what was being appended.
    let beyond = ledger.length() - acknowledged.0;
    let (whole, bare) = (unfinished.len() as u64, acknowledged.0 == 0);
    assert!([0, 1, whole, whole + 1].contains(&beyond) || bare && beyond == 1, "all or nothing: {beyond} of {whole}");
    let (again, cut) = open(sim, Access::Write, Some((ledger.length(), ledger.head()))).unwrap();
    assert_eq!((again.state(), again.head(), cut), (ledger.state(), ledger.head(), 0));
    check(sim, Some((ledger.length(), ledger.head()))).unwrap();
    ledger.length()
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let whole = Sim::new(0);
    assert!(live_until_failure(&whole, 0, 13).2.is_none());
    for seed in 0..12 {
        for operation in 0..whole.operations() {
            let sim = Sim::new(seed);
            sim.crash_at(operation);
            let (length, head, error) = live_until_failure(&sim, 0, 13);
            assert!(error.is_some(), "operation {operation}");
            sim.restart();
            let step = step_after(length);
            let found = recovered(&sim, (length, head), &step.map(life).unwrap_or_default());
            // What recovery has served stays, whatever happens next.
            sim.restart();
            if found > 0 {
                let (ledger, cut) = open(&sim, Access::Write, None).unwrap();
                assert_eq!((ledger.length(), cut), (found, 0), "seed {seed}, operation {operation}");
            }
        }
    }
}

/// Which append comes next in a ledger of `length` leaves; `None` before it was created.
fn step_after(length: u64) -> Option<u64> {
    let sim = Sim::new(0);
    let mut ledger = create(&sim);
    (0..100).find(|step| {
        let found = ledger.length() == length;
        ledger.append(at(*step as i64 + 1), &life(*step)).unwrap();
        found
    })
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
    let whole = Sim::new(0);
    assert!(live_until_failure(&whole, 0, 13).2.is_none());
    for failure in [Failure::Io, Failure::Full] {
        for seed in 0..6 {
            for operation in 0..whole.operations() {
                let sim = Sim::new(seed);
                sim.fail_at(operation, failure);
                let (length, head, error) = live_until_failure(&sim, 0, 13);
                let Some(error) = error else { continue };
                assert!([ErrorKind::Io, ErrorKind::OutOfSpace].contains(&error.kind()), "{error:?}");
                // The machine goes on: what the page cache shows and the medium lacks must not be believed.
                let found = recovered(&sim, (length, head), &step_after(length).map(life).unwrap_or_default());
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
