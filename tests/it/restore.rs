//! Older copies put back under the living keyring: they open when somebody says so, what they hold reads, what they
//! lack is told, and whoever was erased or has expired since stays gone.

use std::path::PathBuf;
use std::time::Duration;

use tenure::env::sim::{Faults, Sim, Snapshot};
use tenure::report::{Budget, Remedy, VerifyOptions};
use tenure::{Batch, BodyKind, ErrorKind, ExpireOptions, Options, Record, RecordId, RefusalReason, Store, Timestamp};

use crate::life::{every_seed, seeds};
use crate::scene::{self, Dice, STORE};

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P1Y\"\n";
const CUSTOMERS: [&str; 4] = ["c-ana", "c-bo", "c-cy", "c-dee"];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn options(sim: &Sim) -> Options {
    scene::options(sim).merge_at_least(3).fold_at(6).policy(POLICY)
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

/// One record as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    customer: &'static str,
    at: Timestamp,
    body: String,
}

impl Note {
    fn record(&self) -> Record {
        let class = if self.body.len().is_multiple_of(2) { "chat" } else { "email" };
        Record::new(self.customer, class, "EU", self.at, self.body.clone()).unwrap().with_kind(BodyKind::Text)
    }
}

/// What a store must hold, and the copy of it that was made on the way.
#[derive(Clone, Default)]
struct Life {
    kept: Vec<Note>,
    copy: Option<(Snapshot, Vec<Note>)>,
    serial: u64,
}

impl Life {
    fn lose(&mut self, gone: impl Fn(&Note) -> bool) {
        self.kept.retain(|note| !gone(note));
        if let Some((_, kept)) = &mut self.copy {
            kept.retain(|note| !gone(note));
        }
    }
}

fn now(sim: &Sim) -> Timestamp {
    use tenure::env::Env;
    sim.now()
}

/// Appends a record where it is let in.
fn append(store: &Store, sim: &Sim, dice: &mut Dice, life: &mut Life) {
    life.serial += 1;
    let customer = CUSTOMERS[dice.roll(4) as usize];
    let time = match dice.roll(3) {
        0 => now(sim),
        _ => at(&format!("2025-{:02}-1{}T00:00:00.{:06}Z", 1 + dice.roll(4), dice.roll(9), life.serial)),
    };
    let body = format!("note {} {}", life.serial, "words ".repeat(dice.roll(9) as usize));
    let note = Note { customer, at: time, body };
    match store.append(vec![note.record()]) {
        Ok(commit) => {
            commit.wait().unwrap();
            life.kept.push(note);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}"),
    }
}

/// A life of `steps`, with a copy of everything before step `copy_at`, and an erasure and an expiry after it.
fn live(sim: &Sim, seed: u64, steps: u64, copy_at: u64) -> Life {
    let mut dice = Dice(seed);
    let mut life = Life::default();
    let mut store = options(sim).open().unwrap();
    for step in 0..steps {
        if step == copy_at {
            life.copy = Some((sim.snapshot(), life.kept.clone()));
        }
        sim.advance(Duration::from_secs(3_600 * (1 + dice.roll(30))));
        match dice.roll(12) {
            0 => drop(store.settle().unwrap()),
            1 => drop(store.maintain(Budget::ALL).unwrap()),
            2 => {
                store.close().unwrap();
                store = options(sim).open().unwrap();
            }
            3 => erase(&store, CUSTOMERS[dice.roll(4) as usize], &mut life),
            4 => expire(&store, &mut life),
            5 => drop(store.scrub().unwrap()),
            _ => append(&store, sim, &mut dice, &mut life),
        }
    }
    erase(&store, CUSTOMERS[dice.roll(4) as usize], &mut life);
    sim.advance(days(20 + dice.roll(30)));
    expire(&store, &mut life);
    if dice.roll(2) == 0 {
        store.scrub().unwrap();
    }
    if dice.roll(2) == 0 {
        store.close().unwrap();
    } else {
        drop(store);
    }
    sim.kill();
    life
}

fn erase(store: &Store, customer: &str, life: &mut Life) {
    store.erase(&[customer]).unwrap();
    life.lose(|note| note.customer == customer);
}

fn expire(store: &Store, life: &mut Life) {
    let expiry = store.expire(ExpireOptions::default()).unwrap();
    let gone = |note: &Note| {
        let record = note.record();
        expiry.partitions.iter().any(|due| {
            let window = &due.partition.window;
            due.partition.stream == record.stream && window.start() <= note.at && note.at < window.end()
        })
    };
    life.lose(gone);
}

fn read(store: &Store) -> Vec<Note> {
    let mut notes = Vec::new();
    for customer in CUSTOMERS {
        for stored in store.timeline(customer, ..).unwrap() {
            let stored = stored.unwrap();
            notes.push(Note { customer, at: stored.at, body: String::from_utf8(stored.body.to_vec()).unwrap() });
        }
    }
    notes.sort();
    notes
}

/// What of `kept` is not hidden yet.
fn shown(sim: &Sim, kept: &[Note]) -> Vec<Note> {
    let now = now(sim);
    let mut notes: Vec<Note> = kept.iter().filter(|note| note.at.plus_seconds(365 * 86_400) > now).cloned().collect();
    notes.sort();
    notes
}

fn whole(store: &Store, when: &str) {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{when}: {:?}", verified.damage);
}

fn machine(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.set_now(at("2026-01-01T00:00:00Z"));
    options(&sim).create().unwrap().close().unwrap();
    sim
}

/// Puts the copy back: everything of the store, and nothing of the keyring or its custodian.
fn put_back(sim: &Sim, copy: &Snapshot) {
    let now: Vec<PathBuf> = sim.files().into_iter().map(|(path, _)| path).collect();
    now.iter().filter(|path| path.starts_with(STORE)).for_each(|path| sim.remove(path));
    sim.restore(copy, STORE);
}

/// A copy made before step `copy_at` is put back, lived with, and put back once more. Returns the partitions it had not
/// known to be gone.
fn put_back_and_go_on(seed: u64, copy_at: u64) -> u64 {
    let when = format!("seed {seed}, copy before step {copy_at}");
    let sim = machine(seed);
    let mut life = live(&sim, seed, 24, copy_at);
    let (copy, kept) = life.copy.clone().unwrap();
    put_back(&sim, &copy);
    let refused = options(&sim).open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{when}: {refused:?}");
    sim.kill();
    let store = options(&sim).restored("the disk was lost").open().unwrap();
    let lacks = store.recovery().restored.clone().unwrap();
    assert!(lacks.facts_lost > 0 && lacks.missing.is_empty(), "{when}: {lacks:?}");
    assert_eq!(read(&store), shown(&sim, &kept), "{when}");
    whole(&store, &when);
    // Life goes on, through erasures and expiries and a clean close.
    life.kept = kept;
    let mut dice = Dice(seed ^ 77);
    (0..6).for_each(|_| append(&store, &sim, &mut dice, &mut life));
    assert_eq!(read(&store), shown(&sim, &life.kept), "{when}: after it went on");
    erase(&store, CUSTOMERS[dice.roll(4) as usize], &mut life);
    store.scrub().unwrap();
    store.maintain(Budget::ALL).unwrap();
    store.close().unwrap();
    let store = options(&sim).open().unwrap();
    assert!(store.recovery().clean, "{when}");
    assert_eq!(read(&store), shown(&sim, &life.kept), "{when}: after a close");
    whole(&store, &when);
    drop(store);
    sim.kill();
    // The same copy a second time: what was erased meanwhile stays gone too.
    put_back(&sim, &copy);
    assert_eq!(options(&sim).open().unwrap_err().kind(), ErrorKind::Corrupt, "{when}");
    sim.kill();
    let store = options(&sim).restored("and lost again").open().unwrap();
    let kept = life.copy.unwrap().1;
    assert_eq!(read(&store), shown(&sim, &kept), "{when}: a second time");
    whole(&store, &when);
    store.close().unwrap();
    let reader = options(&sim).open_read_only().unwrap();
    assert_eq!(read(&reader), shown(&sim, &kept), "{when}: for a reader");
    lacks.partitions_gone
}

#[test]
fn a_copy_of_any_moment_opens_and_brings_nobody_back() {
    let seeds = seeds(60);
    let gaps =
        every_seed(0..seeds, &|seed| (seed % 3..24).step_by(3).map(|copy_at| put_back_and_go_on(seed, copy_at)).sum());
    println!("{} copies put back twice, {gaps} partitions gone that they did not know of", seeds * 8);
    assert!(gaps > seeds * 5 / 6, "expiries that the copies know nothing of: {gaps}");
}

/// The power goes at every change of an opening of a copy put back. Returns how many there are.
fn cut_while_restoring(seed: u64) -> u64 {
    let sim = machine(seed);
    let life = live(&sim, seed, 20, 4 + seed % 16);
    let (copy, kept) = life.copy.unwrap();
    put_back(&sim, &copy);
    let before = sim.snapshot();
    sim.set_faults(Faults::harmless(seed));
    for cut in 0.. {
        let when = format!("seed {seed}, cut {cut}");
        sim.restore(&before, "/");
        sim.crash_at_change(sim.changes() + cut);
        let opened = options(&sim).restored("lost").open();
        let survived = !sim.crashed();
        drop(opened);
        sim.crash();
        sim.restart();
        // Once the gap is on record the store opens like any other; before it, somebody has to say so again.
        let store = match options(&sim).open() {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{when}: {error:?}");
                sim.kill();
                options(&sim).restored("lost").open().unwrap_or_else(|error| panic!("{when}: {error:?}"))
            }
        };
        assert_eq!(read(&store), shown(&sim, &kept), "{when}");
        whole(&store, &when);
        store.close().unwrap();
        let store = options(&sim).open().unwrap();
        assert_eq!(read(&store), shown(&sim, &kept), "{when}: after a close");
        drop(store);
        sim.kill();
        if survived {
            return cut;
        }
    }
    unreachable!("an opening ends")
}

#[test]
fn the_power_may_go_at_every_change_of_such_an_opening() {
    let seeds = seeds(50);
    let cuts = every_seed(100..100 + seeds, &cut_while_restoring);
    println!("{cuts} power cuts survived while {seeds} copies were opened");
    assert!(cuts > seeds * 10, "{cuts}");
}

fn note(customer: &'static str, time: &str, body: &str) -> Note {
    Note { customer, at: at(time), body: body.to_owned() }
}

fn add(store: &Store, notes: &[Note]) {
    store.append(notes.iter().map(Note::record).collect::<Vec<_>>()).unwrap().wait().unwrap();
}

/// Two months of three customers in two segments each.
fn settled(sim: &Sim) -> (Store, Vec<Note>) {
    let store = options(sim).open().unwrap();
    let mut notes = Vec::new();
    for (index, customer) in CUSTOMERS.into_iter().take(3).enumerate() {
        notes.push(note(customer, &format!("2025-10-0{}T00:00:00Z", 1 + index), "an even body"));
        notes.push(note(customer, &format!("2025-11-0{}T00:00:00Z", 1 + index), "an odd body"));
    }
    add(&store, &notes);
    store.settle().unwrap();
    notes.sort();
    (store, notes)
}

fn segments(sim: &Sim) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    sim.files().into_iter().map(|(path, _)| path).filter(is_segment).collect()
}

#[test]
fn missing_segments_are_listed_refused_and_given_up_only_by_a_repair() {
    let sim = machine(1);
    let (store, notes) = settled(&sim);
    store.close().unwrap();
    let gone = segments(&sim).remove(0);
    sim.remove(&gone);
    let store = options(&sim).restored("a segment was not in the copy").open().unwrap();
    assert_eq!(store.recovery().restored.clone().unwrap().missing, std::slice::from_ref(&gone));
    let error = store.timeline("c-ana", ..).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some(&*gone)), "never silently missing");
    let repair = store.repair(false).unwrap();
    assert!(matches!(&repair.plan[..], [step] if step.remedy == Remedy::GiveUp && step.records == 3));
    store.close().unwrap();
    let store = options(&sim).open().unwrap();
    assert!(matches!(&store.repair(true).unwrap().plan[..], [step] if matches!(step.remedy, Remedy::Restore(_))));
    store.close().unwrap();
    let store = options(&sim).restored("it will not come back").open().unwrap();
    assert!(store.repair(true).unwrap().applied);
    let class = if gone.starts_with("/calls/segments/chat") { 0 } else { 1 };
    let rest: Vec<Note> = notes.iter().filter(|note| note.body.len() % 2 != class).cloned().collect();
    assert_eq!(read(&store), rest);
    whole(&store, "given up");
    store.close().unwrap();
    assert_eq!(read(&options(&sim).open().unwrap()), rest);
}

#[test]
fn what_lies_there_beside_an_older_ledger_is_taken_in_once() {
    let sim = machine(2);
    let store = options(&sim).open().unwrap();
    let early = [note("c-ana", "2025-10-01T00:00:00Z", "in the ledger's time")];
    add(&store, &early);
    store.settle().unwrap();
    store.close().unwrap();
    let copy = sim.snapshot();
    // Afterwards one segment more, then a journal file that is not settled, and an erasure.
    let (store, mut notes) = settled(&sim);
    add(
        &store,
        &[note("c-dee", "2025-10-05T00:00:00Z", "still in the journal"), note("c-dee", "2025-11-05T00:00:00Z", "")],
    );
    store.erase(&["c-bo"]).unwrap();
    notes.retain(|note| note.customer != "c-bo");
    notes.extend(early);
    notes.extend([
        note("c-dee", "2025-10-05T00:00:00Z", "still in the journal"),
        note("c-dee", "2025-11-05T00:00:00Z", ""),
    ]);
    notes.sort();
    drop(store);
    sim.kill();
    sim.files().iter().filter(|(path, _)| path.starts_with("/calls/ledger")).for_each(|(path, _)| sim.remove(path));
    sim.restore(&copy, "/calls/ledger");
    let before = sim.snapshot();
    let store = options(&sim).restored("the ledger's disk was lost").open().unwrap();
    assert!(store.recovery().restored.clone().unwrap().segments_found >= 2);
    assert_eq!(read(&store), notes);
    whole(&store, "an older ledger");
    store.close().unwrap();
    // Journal files brought back although they are settled are read once more, and are one with their segments.
    sim.restore_missing(&before, "/calls/journal");
    sim.remove(&segments(&sim)[0]);
    let store = options(&sim).restored("and a segment").open().unwrap();
    assert_eq!(store.recovery().restored.clone().unwrap().missing.len(), 1);
    assert!(store.recovery().journals_left > 0);
    store.repair(true).unwrap();
    let again = read(&store);
    assert!(again.iter().any(|note| note.customer == "c-dee"));
    assert!(again.iter().all(|note| notes.contains(note)), "nobody came back, and nothing twice");
    assert!(again.windows(2).all(|pair| pair[0] != pair[1]));
    store.close().unwrap();
    assert_eq!(read(&options(&sim).open().unwrap()), again);
}

#[test]
fn a_part_that_was_erased_and_a_record_that_was_redacted_stay_gone() {
    let sim = machine(3);
    let store = options(&sim).open().unwrap();
    let id = RecordId::from_bytes([9; 16]);
    let card = note("c-ana", "2025-11-20T00:00:00Z", "card 4111");
    store.append(vec![card.record().with_id(id)]).unwrap().wait().unwrap();
    store.close().unwrap();
    let (store, notes) = settled(&sim);
    let copy = sim.snapshot();
    store.redact("c-ana", id).unwrap().unwrap();
    store.erase_part("c-cy", Some(notes[4].record().stream), None).unwrap().unwrap();
    store.erase(&["c-bo"]).unwrap().unwrap();
    store.close().unwrap();
    put_back(&sim, &copy);
    let store = options(&sim).restored("lost").open().unwrap();
    let found = read(&store);
    assert!(found.iter().all(|found| *found != card && found.customer != "c-bo"));
    assert!(found.iter().all(|found| notes.contains(found)), "{found:?}");
    assert!(found.iter().any(|found| found.customer == "c-cy") && found.iter().any(|found| found.customer == "c-ana"));
    // Old lines that are sent again are refused, by the tombstone in the keyring.
    let old = note("c-bo", "2025-10-02T00:00:00Z", "an even body").record();
    assert_eq!(store.append(vec![old]).unwrap_err().refusals()[0].reason, RefusalReason::Erased);
    let unknown = note("c-dee", "2025-10-02T00:00:00Z", "forgotten since?").record();
    assert_eq!(store.append(vec![unknown.clone()]).unwrap_err().refusals()[0].reason, RefusalReason::Erased);
    store.append(Batch::from(vec![unknown]).backfill()).unwrap().wait().unwrap();
    // Acts go on with numbers that no note of a lost one bears.
    let receipt = store.erase(&["c-dee"]).unwrap().unwrap();
    assert!(receipt.number > 3, "{receipt:?}");
    store.scrub().unwrap();
    whole(&store, "parts");
    // Another clean restoration finds nothing lacking, and says so.
    store.close().unwrap();
    let store = options(&sim).restored("for no reason").open().unwrap();
    assert_eq!(store.recovery().restored, Some(Default::default()));
}
