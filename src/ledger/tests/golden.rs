//! The files of format version 0, as they were written once and must be readable for ever.

use super::*;
use crate::format::ledger::{Act, Effect, Going, Kept, KeptDuty, Span};

const FIRST: &[u8] = include_bytes!("../../../tests/golden/0000000001.ledger");
const SECOND: &[u8] = include_bytes!("../../../tests/golden/0000000002.ledger");

/// The state at the end of the golden ledger, in words.
const STATE: &str = include_str!("../../../tests/golden/ledger.txt");

fn tell(ledger: &Ledger) -> String {
    let hex = ledger.head().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{} leaves, head {hex}\n{:#?}\n", ledger.length(), ledger.state())
}

#[test]
fn the_golden_files_are_read_as_they_were_written() {
    let sim = Sim::new(1);
    sim.write(ledger_path(Path::new(DIR), 1), FIRST);
    sim.write(ledger_path(Path::new(DIR), 2), SECOND);
    let (ledger, cut) = open(&sim, Access::Write, None).unwrap();
    assert_eq!((tell(&ledger).as_str(), cut), (STATE, 0));
    check(&sim, Some((ledger.length(), ledger.head()))).unwrap();
}

#[test]
fn the_same_life_writes_the_golden_files_again() {
    let sim = Sim::new(9);
    let ledger = lived(&sim, 8);
    assert_eq!(sim.read(ledger_path(Path::new(DIR), 1)).unwrap(), FIRST);
    assert_eq!(sim.read(ledger_path(Path::new(DIR), 2)).unwrap(), SECOND);
    assert_eq!(ledger.last.number, 2);
}

/// Acts that keep and let go of parts, in leaves and, since the second file begins in the middle, in a snapshot.
const ACTS: [&[u8]; 2] =
    [include_bytes!("../../../tests/golden/acts-1.ledger"), include_bytes!("../../../tests/golden/acts-2.ledger")];
const ACTS_STATE: &str = include_str!("../../../tests/golden/acts.txt");

fn acts(sim: &Sim) -> Ledger {
    let subject = |byte: u8| SubjectNumber::from_bytes([byte; 16]);
    let stream = Stream::new("chat", "EU").unwrap();
    let day = |number: i32| Day::from_number(number).unwrap();
    let span = |from, until| Span { stream: stream.clone(), from: day(from), until: day(until) };
    let until = KeptDuty::Until(at(7));
    let kept = vec![
        Kept { span: span(20_000, 20_031), duty: until, holds: vec![] },
        Kept { span: span(20_031, 20_059), duty: KeptDuty::Open, holds: vec![3] },
        Kept { span: span(20_059, 20_090), duty: KeptDuty::None, holds: vec![3] },
    ];
    let rows = vec![
        (subject(1), vec![Going { span: span(20_000, 20_031), all: false }]),
        (subject(2), vec![Going { span: span(19_969, 20_000), all: true }]),
    ];
    let scope = HoldScope { stream: Some(stream.clone()), from: None, until: Some(at(9)) };
    let shredded = Effect::Shredded { epoch: 4, is_final: true, evidence: "cleared".into() };
    let (one, two) = (PartitionNumber(1), PartitionNumber(2));
    let partitions = vec![(one, stream.clone(), day(20_031)), (two, stream.clone(), day(20_059))];
    let intended = |number, act| Fact::Intended { number, act };
    let facts = [
        vec![Fact::HoldPlaced { number: 3, hold: Hold { subject: Some(subject(1)), scope, after: vec![] } }],
        vec![intended(1, Act::Erase { subjects: vec![subject(9)], at: at(4), kept: vec![(subject(1), kept.clone())] })],
        vec![
            Fact::Effected { number: 1, effect: Effect::Fenced },
            Fact::Effected { number: 1, effect: shredded },
            Fact::Done { number: 1 },
        ],
        vec![intended(
            2,
            Act::ErasePart {
                subject: subject(2),
                stream: Some(stream.clone()),
                until: Some(at(5)),
                kept: kept[..1].to_vec(),
            },
        )],
        vec![intended(
            3,
            Act::Expire { partitions, now: at(6), held: vec![(two, vec![subject(1)])], rows: rows.clone() },
        )],
        vec![intended(4, Act::Redact { subject: subject(2), partition: one, opening: 1, sequence: 2, despite: true })],
        vec![Fact::Done { number: 3 }, Fact::Done { number: 4 }],
        vec![intended(
            5,
            Act::Release {
                hold: 3,
                subject: Some(subject(1)),
                cells: vec![(two, vec![subject(1)])],
                rows: rows[..1].to_vec(),
            },
        )],
        vec![Fact::Effected { number: 5, effect: Effect::Scrubbed }],
    ];
    let mut ledger = create(sim);
    for (second, facts) in (1..).zip(&facts) {
        ledger.append(at(second), facts).unwrap();
    }
    ledger
}

#[test]
fn acts_with_their_parts_are_read_as_they_were_written_and_written_so_again() {
    let sim = Sim::new(1);
    for (number, bytes) in (1..).zip(ACTS) {
        sim.write(ledger_path(Path::new(DIR), number), bytes);
    }
    let (ledger, cut) = open(&sim, Access::Write, None).unwrap();
    assert_eq!((tell(&ledger).as_str(), cut), (ACTS_STATE, 0));
    check(&sim, Some((ledger.length(), ledger.head()))).unwrap();
    let sim = Sim::new(9);
    let again = acts(&sim);
    assert_eq!((again.head(), again.last.number), (ledger.head(), 2));
    for (number, bytes) in (1..).zip(ACTS) {
        assert_eq!(sim.read(ledger_path(Path::new(DIR), number)).unwrap(), bytes);
    }
}

/// Writes the golden files: only for a new format version, never to make a failing test pass.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_golden_files() {
    let sim = Sim::new(9);
    let ledger = lived(&sim, 8);
    let disk = env::disk::Disk::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for number in 1..=2 {
        let bytes = sim.read(ledger_path(Path::new(DIR), number)).unwrap();
        env::publish_new(&disk, &ledger_path(&golden, number), &bytes).unwrap();
    }
    env::publish_new(&disk, &golden.join("ledger.txt"), tell(&ledger).as_bytes()).unwrap();
    let sim = Sim::new(9);
    let ledger = acts(&sim);
    for number in 1..=2 {
        let bytes = sim.read(ledger_path(Path::new(DIR), number)).unwrap();
        env::publish_new(&disk, &golden.join(format!("acts-{number}.ledger")), &bytes).unwrap();
    }
    env::publish_new(&disk, &golden.join("acts.txt"), tell(&ledger).as_bytes()).unwrap();
}
