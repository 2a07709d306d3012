//! The ledger on a simulated machine. Rolls every eight leaves, so that a few dozen are several files.

mod crash;
mod damage;
mod golden;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::proof::{Continuation, Inclusion};
use super::verify::LedgerCheck;
use super::*;
use crate::env::sim::Sim;
use crate::format::dictionary::Provenance;
use crate::format::ledger::{DictionaryFact, Hold};
use crate::format::position::{Known, Position};
use crate::ident::{PartitionId, PartitionNumber, Salt, Stream, SubjectNumber};
use crate::policy::HoldScope;
use crate::window::{Day, WindowLength};

const DIR: &str = "store/ledger";
const SMALL: Roll = Roll { leaves: 8, bytes: 1 << 20 };

fn store() -> StoreId {
    StoreId::from_bytes(*b"a store for test")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000).plus_seconds(second)
}

fn create(sim: &Sim) -> Ledger {
    Ledger::create_rolling(sim.env(), Path::new(DIR), store(), at(0), SMALL).unwrap()
}

fn open(sim: &Sim, access: Access, expect: Option<(u64, Digest)>) -> Result<(Ledger, u64)> {
    Ledger::open_rolling(sim.env(), Path::new(DIR), access, expect, SMALL)
}

fn check(sim: &Sim, expect: Option<(u64, Digest)>) -> Result<LedgerCheck> {
    verify(&*sim.env(), Path::new(DIR), expect, None)
}

fn segment(partition: u64, number: u64) -> SegmentFact {
    let stream = Stream::new("call-transcript", "US-CA").unwrap();
    SegmentFact {
        partition: PartitionNumber(partition),
        id: PartitionId::holding(stream, at(0), WindowLength::Month),
        segment: number,
        hash: [number as u8; 32],
        bytes: 4_096,
        records: 17,
        chunks: 2,
        raw_bytes: 40_000,
        first_day: at(0).day(),
        last_day: at(86_400).day(),
    }
}

fn dictionary(partition: u64, id: u32) -> DictionaryFact {
    let provenance =
        Provenance { trained: at(60), origin: PartitionNumber(partition), plain_bytes: 9_000, with_bytes: 6_000 };
    DictionaryFact {
        partition: PartitionNumber(partition),
        id: segment(partition, 1).id,
        dictionary: id,
        hash: [id as u8; 32],
        bytes: 1_000,
        provenance,
    }
}

fn known(file: u64, offset: u64, entry: u64) -> Known {
    Known { journal: Position { file, offset }, entry }
}

fn policy(round: u64) -> Fact {
    Fact::PolicySet { version: round as u32, text: format!("# policy {round}\n") }
}

/// What a store writes down as it lives: append number `step` of it.
fn life(step: u64) -> Vec<Fact> {
    let round = step / 6 + 1;
    match step % 6 {
        0 => vec![Fact::Opened { opening: round as u32, salt: Salt::from_bytes([round as u8; 16]) }],
        1 if round % 2 == 1 => vec![policy(round), Fact::Dictionary(dictionary(round, 77))],
        1 => vec![policy(round), Fact::Watermark],
        2 => vec![Fact::Settled {
            journals: vec![(2 * round - 1, 9_000)],
            segments: vec![segment(1, 3 * round - 2), segment(1, 3 * round - 1)],
            sources: vec![([7; 16], 1_000 * round)],
            known: known(2 * round - 1, 9_000, round),
        }],
        3 => vec![Fact::Merged {
            old: vec![segment(1, 3 * round - 2).reference(), segment(1, 3 * round - 1).reference()],
            new: Some(segment(1, 3 * round)),
        }],
        4 => vec![Fact::RootSealed { epoch: round }],
        _ => vec![
            Fact::Settled {
                journals: vec![(2 * round, 5)],
                segments: vec![],
                sources: vec![],
                known: Known::default(),
            },
            Fact::CleanClose { known: known(2 * round, 5, round) },
        ],
    }
}

/// A ledger that has lived through `steps` appends.
fn lived(sim: &Sim, steps: u64) -> Ledger {
    let mut ledger = create(sim);
    for step in 0..steps {
        ledger.append(at(step as i64 + 1), &life(step)).unwrap();
    }
    ledger
}

#[test]
fn what_was_appended_is_the_state_after_reopening() {
    let sim = Sim::new(1);
    let mut ledger = lived(&sim, 0);
    for step in 0..60 {
        ledger.append(at(step as i64 + 1), &life(step)).unwrap();
        for access in [Access::Write, Access::Read] {
            let (again, cut) = open(&sim, access, Some((ledger.length(), ledger.head()))).unwrap();
            assert_eq!((again.state(), again.length(), cut), (ledger.state(), ledger.length(), 0));
            assert_eq!(again.head(), ledger.head());
        }
        assert_eq!(ledger.state().clean, step % 6 == 5);
    }
    let state = ledger.state();
    assert_eq!((state.opening, state.epoch, state.next_segment), (10, 10, 31));
    assert_eq!((state.settled_through, state.next_journal), (20, 21));
    assert_eq!(state.policy, (10, "# policy 10\n".to_owned()));
    assert_eq!(state.sources[&[7; 16]], 10_000);
    assert_eq!(state.segments.len(), 10);
    assert_eq!(state.known, known(20, 5, 10));
    assert_eq!(state.watermark, at(60));
    assert!(numbers(&*sim.env(), Path::new(DIR)).unwrap().len() > 5);
    let checked = check(&sim, Some((ledger.length(), ledger.head()))).unwrap();
    assert_eq!((checked.leaves, checked.root, checked.unfinished), (ledger.length(), ledger.head(), 0));
    assert_eq!(checked.bytes, sim.files().iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
}

#[test]
fn an_append_is_one_sync() {
    let sim = Sim::new(1);
    let mut ledger = create(&sim);
    let before = (sim.syncs(), sim.dir_syncs());
    ledger.append(at(1), &life(5)).unwrap();
    assert_eq!((sim.syncs(), sim.dir_syncs()), (before.0 + 1, before.1));
    ledger.append(at(1), &[]).unwrap();
    assert_eq!((ledger.length(), sim.syncs()), (3, before.0 + 1));
}

#[test]
fn heads_of_every_length_are_those_of_ct_merkle() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 150);
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for length in 0..=ledger.length() {
        assert_eq!(ledger.head_at(length).unwrap()[..], tree.root().as_bytes()[..], "length {length}");
        if length < ledger.length() {
            tree.push(ledger.prove_inclusion(length).unwrap().leaf);
        }
    }
    assert!(ledger.length() > 200);
    assert_eq!(ledger.head_at(ledger.length() + 1).unwrap_err().kind(), ErrorKind::Invalid);
    for length in (0..=ledger.length()).step_by(5) {
        let mark = Some((length, ledger.head_at(length).unwrap()));
        assert!(open(&sim, Access::Read, mark).is_ok() && check(&sim, mark).is_ok(), "length {length}");
        let wrong = Some((length, [1; 32]));
        assert_eq!(open(&sim, Access::Read, wrong).unwrap_err().kind(), ErrorKind::Corrupt, "length {length}");
        assert_eq!(check(&sim, wrong).unwrap_err().kind(), ErrorKind::Corrupt, "length {length}");
    }
}

#[test]
fn proofs_hold_and_changed_ones_do_not() {
    let sim = Sim::new(1);
    for steps in [0, 1, 5, 23] {
        sim.restart();
        for (path, _) in sim.files() {
            sim.remove(path);
        }
        let ledger = lived(&sim, steps);
        for index in 0..ledger.length() {
            let proof = ledger.prove_inclusion(index).unwrap();
            assert!(proof.holds() && proof.fact().is_some() && proof.head == ledger.head());
            let mut wrong = proof.clone();
            wrong.leaf[1] ^= 1;
            assert!(!wrong.holds());
            wrong = Inclusion { index: (index + 1) % proof.length, ..proof.clone() };
            assert!(!wrong.holds() || proof.length == 1);
            assert!(!Inclusion { head: [0; 32], ..proof.clone() }.holds());
            assert!(!Inclusion { index: proof.length, ..proof }.holds());
        }
        for earlier in 0..=ledger.length() {
            let proof = ledger.prove_continuation(earlier).unwrap();
            assert_eq!(proof.holds(), earlier > 0 || proof.length == 0, "{earlier} of {}", proof.length);
            assert!(!Continuation { earlier_head: [0; 32], ..proof.clone() }.holds());
            assert!(!Continuation { head: [0; 32], ..proof }.holds());
        }
        assert_eq!(ledger.prove_inclusion(ledger.length()).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_reader_follows_the_writer_through_every_file() {
    let sim = Sim::new(1);
    let mut writer = create(&sim);
    let (mut close, _) = open(&sim, Access::Read, None).unwrap();
    let (mut far, _) = open(&sim, Access::Read, None).unwrap();
    assert!(!close.refresh().unwrap() && !writer.refresh().unwrap());
    assert_eq!(close.append(at(1), &life(0)).unwrap_err().kind(), ErrorKind::Invalid);
    for step in 0..40 {
        writer.append(at(step as i64 + 1), &life(step)).unwrap();
        assert!(close.refresh().unwrap());
        assert_eq!((close.state(), close.head()), (writer.state(), writer.head()));
    }
    let changes = sim.changes();
    assert!(far.refresh().unwrap() && !far.refresh().unwrap());
    assert_eq!((far.state(), far.head(), far.length()), (writer.state(), writer.head(), writer.length()));
    assert_eq!(far.head_at(20).unwrap(), writer.head_at(20).unwrap());
    assert_eq!(sim.changes(), changes, "a reader writes nothing");
}

#[test]
fn a_reader_waits_for_what_is_being_written() {
    let sim = Sim::new(1);
    let mut writer = lived(&sim, 2);
    let (mut reader, _) = open(&sim, Access::Read, None).unwrap();
    let seen = reader.state().clone();
    let file = sim.env().open(&ledger_path(Path::new(DIR), 1), OpenMode::Write).unwrap();
    let end = writer.last.end;
    writer.append(at(3), &life(2)).unwrap();
    let mut commit = vec![0; (writer.last.end - end) as usize];
    env::read_exact_at(&*file, &mut commit, end).unwrap();
    for written in 0..commit.len() {
        file.set_len(end + written as u64).unwrap();
        assert!(!reader.refresh().unwrap(), "{written} bytes");
        assert_eq!(reader.state(), &seen);
        env::write_all_at(&*file, &commit, end).unwrap();
    }
    assert!(reader.refresh().unwrap());
    assert_eq!((reader.state(), reader.head()), (writer.state(), writer.head()));
    file.set_len(end).unwrap();
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_file_is_full_by_bytes_too() {
    let sim = Sim::new(1);
    let roll = Roll { leaves: 1_000, bytes: 2_000 };
    let mut ledger = Ledger::create_rolling(sim.env(), Path::new(DIR), store(), at(0), roll).unwrap();
    for version in 1..=10 {
        ledger.append(at(1), &[Fact::PolicySet { version, text: "#".repeat(999) }]).unwrap();
    }
    assert_eq!(ledger.last.number, 5);
    check(&sim, Some((ledger.length(), ledger.head()))).unwrap();
}

#[test]
fn what_publishing_left_behind_is_swept() {
    let sim = Sim::new(1);
    lived(&sim, 2);
    let path = Path::new(DIR).join("0000000002.ledger.0123456789abcdef.tmp");
    sim.write(&path, b"half a file");
    open(&sim, Access::Read, None).unwrap();
    assert!(sim.read(&path).is_some());
    open(&sim, Access::Write, None).unwrap();
    assert!(sim.read(&path).is_none());
}

#[test]
fn facts_that_cannot_be_true_are_refused_whole() {
    let sim = Sim::new(1);
    let mut ledger = lived(&sim, 12);
    let (length, head, state) = (ledger.length(), ledger.head(), ledger.state().clone());
    let settled = |journals: Vec<(u64, u64)>, segments| Fact::Settled {
        journals,
        segments,
        sources: vec![],
        known: Known::default(),
    };
    let merged = |old, new| Fact::Merged { old, new };
    let old = segment(1, 3).reference();
    for fact in [
        Fact::StoreCreated { store: store(), format: 0 },
        Fact::SnapshotTaken { file: 1, hash: [0; 32] },
        Fact::Opened { opening: 2, salt: Salt::default() },
        Fact::PolicySet { version: 2, text: String::new() },
        settled(vec![(4, 1)], vec![]),
        settled(vec![(6, 1), (5, 1)], vec![]),
        settled(vec![], vec![segment(1, 6)]),
        settled(vec![], vec![segment(2, 9), segment(3, 9)]),
        settled(vec![], vec![segment(0, 9)]),
        settled(vec![], vec![SegmentFact { first_day: at(864_000).day(), ..segment(1, 9) }]),
        merged(vec![], Some(segment(1, 9))),
        merged(vec![old, old], None),
        merged(vec![SegmentRef { hash: [0; 32], ..old }], None),
        merged(vec![SegmentRef { segment: 4, ..old }], None),
        merged(vec![old], Some(segment(2, 9))),
        merged(vec![old], Some(segment(1, 6))),
        Fact::PolicySet { version: 9, text: "#".repeat(format::LEAF_LIMIT) },
    ] {
        for facts in [vec![fact.clone()], vec![Fact::Watermark, fact.clone()]] {
            let changes = sim.changes();
            let error = ledger.append(at(99), &facts).unwrap_err();
            assert_eq!((error.kind(), sim.changes()), (ErrorKind::Invalid, changes));
            assert_eq!((ledger.length(), ledger.head(), ledger.state()), (length, head, &state));
        }
    }
    ledger.append(at(99), &[merged(vec![old], None)]).unwrap();
    assert_eq!(ledger.state().segments.len(), 1);
}

#[test]
fn time_never_runs_back() {
    let sim = Sim::new(1);
    let mut ledger = create(&sim);
    ledger.append(at(100), &[Fact::Watermark]).unwrap();
    ledger.append(at(50), &[Fact::Watermark]).unwrap();
    assert_eq!(ledger.state().watermark, at(100));
    assert_eq!(open(&sim, Access::Read, None).unwrap().0.state(), ledger.state());
}

#[test]
fn what_is_not_there_is_told_apart_from_what_is_not_ours() {
    let sim = Sim::new(1);
    env::create_dirs(&*sim.env(), Path::new(DIR)).unwrap();
    assert_eq!(open(&sim, Access::Write, None).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(check(&sim, None).unwrap_err().kind(), ErrorKind::NotFound);
    lived(&sim, 3);
    assert!(Ledger::create(sim.env(), Path::new(DIR), store(), at(0)).is_err());
    let path = ledger_path(Path::new(DIR), 1);
    let mut bytes = sim.read(&path).unwrap();
    bytes[8] = 1; // The version, with a checksum that fits.
    let crc = crc32fast::hash(&bytes[..84]).to_le_bytes();
    bytes[84..88].copy_from_slice(&crc);
    sim.write(&path, &bytes);
    assert_eq!(open(&sim, Access::Write, None).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Everything that a fact of missing ones says, for a mark.
fn gap(length: u64, head: Digest) -> Gap {
    Gap {
        length,
        head,
        at: at(90),
        settled_through: 0,
        next_journal: 1000,
        next_segment: 2000,
        acts_given: 30,
        expired: vec![PartitionNumber(1)],
        expired_until: vec![(Stream::new("chat", "EU").unwrap(), Day::from_number(20_000).unwrap())],
        held: Vec::new(),
        lapsed_fence: at(2),
    }
}

#[test]
fn a_gap_accounts_for_the_mark_it_names_and_for_no_other() {
    let sim = Sim::new(1);
    let whole = lived(&sim, 40);
    let (length, head) = (whole.length(), whole.head());
    let sim = Sim::new(1);
    let mut older = lived(&sim, 5);
    assert!(open(&sim, Access::Read, Some((length, head))).is_err());
    let before = older.state().clone();
    let again = Gap { acts_given: 0, next_segment: 1, ..gap(length, head) };
    assert_eq!(older.append(at(90), &[Fact::Gap(again)]).unwrap_err().kind(), ErrorKind::Invalid);
    older.append(at(90), &[Fact::Gap(gap(length, head))]).unwrap();
    let state = older.state();
    assert_eq!((state.settled_through, state.next_journal, state.next_segment), (0, 1000, 2000));
    assert_eq!((state.acts.next(), state.acts.lapsed_fence), (31, Some(at(2))));
    assert!(before.segments.keys().all(|(partition, _)| *partition == PartitionNumber(1)) && state.segments.is_empty());
    // In its own file, and carried on by snapshots; the ledger may grow beyond the mark under another head.
    for time in 0..60 {
        for mark in [(length, head), (older.length(), older.head())] {
            let (opened, _) = open(&sim, Access::Read, Some(mark)).unwrap();
            assert_eq!(opened.state(), older.state());
        }
        for mark in [(length, [7; 32]), (length + 1, head), (older.length() + 1, older.head())] {
            assert_eq!(open(&sim, Access::Read, Some(mark)).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        older.append(at(91 + time), &[Fact::Watermark]).unwrap();
    }
    assert!(older.length() > length && check(&sim, None).unwrap().leaves == older.length());
}

fn subject(byte: u8) -> SubjectNumber {
    SubjectNumber::from_bytes([byte; 16])
}

fn hold(byte: u8) -> Hold {
    let scope = HoldScope { stream: Stream::new("chat", "EU").ok(), from: Some(at(1)), until: None };
    Hold { subject: Some(subject(byte)), scope, after: Vec::new() }
}

/// The expiry of partitions 1 and 2, in the first of which two cells are held.
fn expiry() -> Act {
    let stream = Stream::new("call-transcript", "US-CA").unwrap();
    let partitions = [1, 2].map(|number| (PartitionNumber(number), stream.clone(), at(0).day())).to_vec();
    Act::Expire {
        partitions,
        now: at(5),
        held: vec![(PartitionNumber(1), vec![subject(1), subject(2)])],
        rows: Vec::new(),
    }
}

fn done(number: u64) -> Fact {
    Fact::Effected { number, effect: Effect::Shredded { epoch: 9, is_final: true, evidence: String::new() } }
}

#[test]
fn segments_of_an_expired_partition_stay_until_its_last_held_cell_is_let_go() {
    let sim = Sim::new(3);
    let mut ledger = create(&sim);
    let segments = vec![segment(1, 1), segment(2, 2)];
    let known = Known::default();
    ledger.append(at(1), &[Fact::Settled { journals: vec![], segments, sources: vec![], known }]).unwrap();
    ledger.append(at(2), &[Fact::HoldPlaced { number: 1, hold: hold(1) }]).unwrap();
    ledger.append(at(2), &[Fact::HoldPlaced { number: 4, hold: hold(2) }]).unwrap();
    assert!(ledger.append(at(2), &[Fact::HoldPlaced { number: 4, hold: hold(3) }]).is_err());
    assert!(ledger.append(at(2), &[Fact::HoldReleased { number: 2 }]).is_err());
    ledger.append(at(3), &[Fact::Intended { number: 1, act: expiry() }]).unwrap();
    assert_eq!(ledger.state().segments.len(), 2, "nothing has happened yet");
    ledger.append(at(4), &[done(1)]).unwrap();
    let left = |ledger: &Ledger| ledger.state().segments.keys().map(|(partition, _)| partition.0).collect::<Vec<_>>();
    assert_eq!(left(&ledger), [1]);
    let release = |hold, byte| {
        let (subject, cells) = (Some(subject(byte)), vec![(PartitionNumber(1), vec![subject(byte)])]);
        Act::Release { hold, subject, cells, rows: Vec::new() }
    };
    ledger.append(at(5), &[Fact::Intended { number: 2, act: release(1, 1) }]).unwrap();
    assert_eq!(ledger.state().holds.standing.keys().collect::<Vec<_>>(), [&4]);
    ledger.append(at(6), &[done(2)]).unwrap();
    assert_eq!(left(&ledger), [1], "the other's is still held");
    for _ in 0..3 {
        ledger.append(at(6), &vec![Fact::Watermark; 5]).unwrap(); // A snapshot on the way.
    }
    let (again, _) = open(&sim, Access::Write, None).unwrap();
    assert_eq!(again.state(), ledger.state());
    let mut erased = again;
    let act = Act::Erase { subjects: vec![subject(2)], at: at(6), kept: Vec::new() };
    erased.append(at(7), &[Fact::Intended { number: 3, act }]).unwrap();
    erased.append(at(7), &[done(3)]).unwrap();
    assert!(left(&erased).is_empty() && erased.state().acts.held.is_empty(), "an erasure ends it as well");
    assert_eq!(erased.state().holds.given, 4);
}

#[test]
fn a_gap_says_what_is_held() {
    let sim = Sim::new(4);
    let mut ledger = create(&sim);
    let segments = vec![segment(1, 1), segment(2, 2), segment(3, 3)];
    let known = Known::default();
    ledger.append(at(1), &[Fact::Settled { journals: vec![], segments, sources: vec![], known }]).unwrap();
    ledger.append(at(3), &[Fact::Intended { number: 1, act: expiry() }]).unwrap();
    let expired = vec![PartitionNumber(2), PartitionNumber(3)];
    let gap = Gap { expired, held: vec![(PartitionNumber(3), vec![subject(7)])], ..gap(90, [1; 32]) };
    ledger.append(at(4), &[Fact::Gap(gap)]).unwrap();
    let acts = &ledger.state().acts;
    assert_eq!(
        acts.held_cells(),
        [(PartitionNumber(1), vec![subject(1), subject(2)]), (PartitionNumber(3), vec![subject(7)])]
    );
    let left: Vec<u64> = ledger.state().segments.keys().map(|(partition, _)| partition.0).collect();
    assert_eq!(left, [1, 3]);
}
