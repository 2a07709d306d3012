//! The files of format version 0, as they were written once and must be readable for ever.

use super::*;

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
}
