//! The journal on a simulated machine: what was synced is there, a group is whole or absent, damage is told from a torn
//! tail.

use crate::sync::Arc;
use std::path::Path;

use super::*;
use crate::env::sim::{Failure, Faults, Plant, Sim};
use crate::env::{Env, OpenMode};
use crate::format::group::{GROUP_LIMIT, Group, GroupView};
use crate::format::position::{Known, Position};
use crate::format::samples::{self, OPENING, STORE, Sample, salt};

const DIR: &str = "journal";
const FILE: &str = "journal/0000000007.journal";
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/0000000007.journal");

fn head(file: u64) -> JournalHead {
    JournalHead { store: STORE, file, opening: OPENING, salt: salt(OPENING) }
}

fn machine(seed: u64) -> (Sim, Arc<dyn Env>) {
    let sim = Sim::new(seed);
    let env = sim.env();
    env::create_dirs(&*env, Path::new(DIR)).unwrap();
    (sim, env)
}

/// Group `index` of a workload: its records, and of sizes that cross sectors and pages now and then.
fn records(index: u64) -> Vec<Sample> {
    (0..1 + index % 3)
        .map(|record| {
            let mut sample = Sample::new(1 + record % 2, index as u8, index * 10 + record);
            sample.body.resize([30, 700, 5000][(index % 3) as usize], index as u8);
            sample
        })
        .collect()
}

fn known(offset: u64) -> Known {
    Known { journal: Position { file: 7, offset }, entry: offset / 2 }
}

/// Appends group `index` and returns where it ends.
fn append(writer: &mut JournalWriter, index: u64, durable: u64) -> Result<u64> {
    let mut group = samples::group(&records(index));
    let bytes = group.finish(index, known(durable), writer.position().offset);
    writer.append(&[bytes]).map(|position| position.offset)
}

/// A file of `groups` groups, each synced and each knowing of the one before. Returns where each begins, and the end.
fn filled(env: &dyn Env, groups: u64) -> Vec<u64> {
    let mut writer = JournalWriter::create(env, Path::new(DIR), head(7)).unwrap();
    let mut bounds = vec![writer.position().offset];
    for index in 0..groups {
        append(&mut writer, index, bounds[index as usize]).unwrap();
        writer.sync().unwrap();
        bounds.push(writer.position().offset);
    }
    bounds
}

/// The frames of a group as they were written.
fn frames(view: &GroupView<'_>) -> Vec<Vec<u8>> {
    view.runs().flat_map(|run| run.frames()).map(|(_, frame)| frame.whole()).collect()
}

fn expected(index: u64) -> Vec<Vec<u8>> {
    records(index).iter().map(Sample::frame).collect()
}

/// Scans and checks that what is found are the first groups, each whole. Returns how many.
fn check_prefix(env: &dyn Env) -> Result<(u64, Scan)> {
    let mut count = 0;
    let mut at = 512;
    let scan = scan(env, Path::new(FILE), Cache::Drop, &mut |view, offset| {
        assert_eq!((frames(&view), view.head().needs, offset), (expected(count), count, at));
        count += 1;
        at += view.bytes().len() as u64;
        Ok(())
    })?;
    assert_eq!((scan.groups, scan.valid_length), (count, at));
    Ok((count, scan))
}

#[test]
fn groups_come_back_in_order() {
    for seed in 0..20 {
        let (sim, env) = machine(seed);
        sim.set_faults(Faults::harmless(seed));
        let bounds = filled(&*env, 12);
        let (count, scan) = check_prefix(&*env).unwrap();
        assert_eq!((count, scan.tail, scan.valid_length), (12, Tail::Clean, bounds[12]));
        assert_eq!((scan.head, scan.known), (head(7), known(bounds[11])));
        assert_eq!((scan.known_in(7), scan.known_in(6)), (bounds[11], 0));
        scan.judge(Position { file: 7, offset: bounds[12] }).unwrap();
        assert!(scan.judge(Position { file: 7, offset: bounds[12] + 1 }).is_err());
    }
}

#[test]
fn parts_of_any_size_are_written_back_to_back() {
    let (sim, env) = machine(1);
    sim.set_faults(Faults { short_io: 3, interrupts: 5, ..Faults::default() });
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    let sizes = [10, 70_000, 20, 30_000, 40_000, 900_000, 1, 64 << 10, 50_000];
    let parts: Vec<Vec<u8>> = sizes.iter().zip(1..).map(|(size, byte)| vec![byte; *size]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let position = writer.append(&slices).unwrap();
    let whole = parts.concat();
    assert_eq!(position.offset, 512 + whole.len() as u64);
    assert!(sim.read(FILE).unwrap()[512..].starts_with(&whole));
}

#[test]
fn space_is_reserved_in_steps_and_the_last_group_may_go_over() {
    let (sim, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    assert_eq!(sim.read(FILE).unwrap().len(), 8 << 20);
    let chunk = vec![1; 9 << 20];
    for round in 1..=8u64 {
        assert!(writer.position().offset < JOURNAL_FULL);
        writer.append(&[&chunk]).unwrap();
        let length = sim.read(FILE).unwrap().len() as u64;
        assert!(length >= writer.position().offset && length.is_multiple_of(8 << 20), "{round}");
    }
    assert!(writer.position().offset >= JOURNAL_FULL && chunk.len() < GROUP_LIMIT);
}

#[test]
fn a_commit_is_one_sync() {
    let (sim, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    let before = (sim.syncs(), sim.dir_syncs());
    append(&mut writer, 0, 0).unwrap();
    writer.sync().unwrap();
    assert_eq!((sim.syncs(), sim.dir_syncs()), (before.0 + 1, before.1));
}

#[test]
fn every_flipped_bit_is_damage_or_a_torn_tail() {
    let (sim, env) = machine(1);
    let bounds = filled(&*env, 5);
    let end = bounds[5];
    sim.truncate(FILE, end + 600);
    let highest = Position { file: 7, offset: end };
    for byte in 0..end + 600 {
        let bit = (byte % 8) as u8;
        sim.flip(FILE, byte, bit);
        match check_prefix(&*env) {
            Err(error) => {
                assert!(byte < 512 && error.kind() == ErrorKind::Corrupt, "{byte}: {error:?}");
                assert_eq!(error.offset(), Some(0));
            }
            Ok((count, scan)) => {
                let hit = bounds.iter().rposition(|bound| *bound <= byte).unwrap() as u64;
                assert_eq!(count, hit, "byte {byte}");
                let Tail::Torn { offset, bytes } = scan.tail else { panic!("byte {byte} goes unseen") };
                assert!(offset == bounds[hit as usize] && offset + bytes > byte.min(end - 1));
                // Known from outside to have been durable: every group. Known to the groups themselves: all but the last.
                assert_eq!(scan.judge(highest).is_err(), byte < end, "byte {byte}");
                assert_eq!(scan.judge(Position::default()).is_err(), byte < bounds[4], "byte {byte}");
                if let Err(error) = scan.judge(highest) {
                    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(offset)));
                }
            }
        }
        sim.flip(FILE, byte, bit);
    }
    assert_eq!(check_prefix(&*env).unwrap().0, 5);
}

#[test]
fn a_cut_at_every_length_keeps_the_groups_before_it() {
    let (sim, env) = machine(1);
    let bounds = filled(&*env, 4);
    let end = bounds[4];
    let whole = sim.read(FILE).unwrap();
    for length in 0..=end {
        sim.write(FILE, &whole[..length as usize]);
        match check_prefix(&*env) {
            Err(error) => assert!(length < 512 && error.kind() == ErrorKind::Corrupt),
            Ok((count, scan)) => {
                assert_eq!(count as usize, bounds.iter().filter(|bound| **bound <= length).count() - 1);
                let torn = !bounds.contains(&length);
                assert_eq!(scan.tail != Tail::Clean, torn, "cut at {length}");
                assert_eq!(scan.judge(Position { file: 7, offset: end }).is_err(), length < end, "cut at {length}");
            }
        }
    }
}

#[test]
fn zeroed_and_misdirected_sectors_are_seen() {
    let (sim, env) = machine(1);
    let bounds = filled(&*env, 6);
    let whole = sim.read(FILE).unwrap();
    let highest = Position { file: 7, offset: bounds[6] };
    for sector in (512..bounds[6] as usize).step_by(512) {
        let mut zeroed = whole.clone();
        zeroed[sector..sector + 512].fill(0);
        sim.write(FILE, &zeroed);
        let (_, scan) = check_prefix(&*env).unwrap();
        assert_eq!(scan.judge(highest).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    // Groups 0 and 3 are alike in size: one written over the other is whole, and in the wrong place.
    let group = &whole[bounds[3] as usize..bounds[4] as usize];
    let mut misdirected = whole.clone();
    misdirected[512..512 + group.len()].copy_from_slice(group);
    sim.write(FILE, &misdirected);
    let (count, scan) = check_prefix(&*env).unwrap();
    assert_eq!(count, 0);
    assert!(scan.judge(Position::default()).is_err());
}

#[test]
fn files_vouch_for_each_other() {
    let (sim, env) = machine(1);
    let bounds = filled(&*env, 3);
    let mut next = JournalWriter::create(&*env, Path::new(DIR), head(8)).unwrap();
    append(&mut next, 0, bounds[3]).unwrap();
    next.sync().unwrap();
    let all = |env: &dyn Env| {
        [7, 8].map(|file| scan(env, &path(Path::new(DIR), file), Cache::Keep, &mut |_, _| Ok(())).unwrap())
    };
    judge(&all(&*env), Position::default()).unwrap();
    // A file that ends early, cleanly, before what the next one knew.
    let whole = sim.read(FILE).unwrap();
    sim.write(FILE, &whole[..bounds[2] as usize]);
    assert_eq!(judge(&all(&*env), Position::default()).unwrap_err().kind(), ErrorKind::Corrupt);
    sim.write(FILE, &whole);
    judge(&all(&*env), Position::default()).unwrap();
    assert!(judge(&all(&*env), Position { file: 8, offset: 1 << 20 }).is_err());
}

/// Commits groups until the machine fails. Returns how many were acknowledged, and whether the file was.
fn commit(env: &dyn Env, groups: u64) -> (u64, bool) {
    let Ok(mut writer) = JournalWriter::create(env, Path::new(DIR), head(7)) else { return (0, false) };
    let mut acknowledged = 0;
    let mut durable = 512;
    while acknowledged < groups {
        // Two groups at a time now and then, as a leader does.
        let together = 1 + acknowledged % 2;
        let ends: Result<Vec<u64>> =
            (acknowledged..acknowledged + together).map(|index| append(&mut writer, index, durable)).collect();
        let (Ok(ends), Ok(())) = (ends, writer.sync()) else { break };
        acknowledged += together;
        durable = ends[together as usize - 1];
    }
    if acknowledged < groups {
        // After a failure nothing is acknowledged any more, even where the machine has recovered.
        assert!(append(&mut writer, 99, durable).is_err() || writer.sync().is_err());
    }
    (acknowledged, true)
}

/// What a restart must find after `acknowledged` groups; `false` where something is missing.
fn survives(env: &dyn Env, (acknowledged, created): (u64, bool)) -> bool {
    if env.metadata(Path::new(FILE)).is_err() {
        return !created && acknowledged == 0;
    }
    let Ok((count, scan)) = check_prefix(env) else { return false };
    // What was acknowledged was durable: the end of group `acknowledged` is what an outside witness would name.
    count >= acknowledged && scan.judge(scan.known.journal).is_ok()
}

fn crashes(seed: u64, plant: Option<Plant>) -> bool {
    let mut held = true;
    let total = {
        let (sim, env) = machine(seed);
        commit(&*env, 7);
        sim.changes()
    };
    for change in 2..=total {
        let (sim, env) = machine(seed);
        plant.into_iter().for_each(|plant| sim.plant(plant));
        sim.set_faults(Faults { write_back: 4, ..Faults::default() });
        sim.crash_at_change(change);
        let outcome = commit(&*env, 7);
        sim.restart();
        held &= survives(&*env, outcome);
        // A second crash during the scan changes nothing.
        sim.restart();
        held &= survives(&*env, outcome);
    }
    held
}

#[test]
fn a_synced_group_is_never_lost_and_a_group_is_whole_or_absent() {
    for seed in 0..60 {
        assert!(crashes(seed, None), "seed {seed}");
    }
}

#[test]
fn the_crash_test_notices_planted_bugs() {
    assert!((0..20).any(|seed| !crashes(seed, Some(Plant::NoDataSync { suffix: ".journal" }))));
    assert!((0..20).any(|seed| !crashes(seed, Some(Plant::NoDirSync))));
}

#[test]
fn a_failed_write_or_sync_poisons() {
    for seed in 0..10 {
        let total = {
            let (sim, env) = machine(seed);
            commit(&*env, 7);
            sim.operations()
        };
        for operation in 2..total {
            let (sim, env) = machine(seed);
            sim.fail_at(operation, Failure::Io);
            let outcome = commit(&*env, 7);
            sim.restart();
            assert!(survives(&*env, outcome), "seed {seed}, operation {operation}");
        }
    }
    let (sim, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    append(&mut writer, 0, 0).unwrap();
    sim.fail_at(sim.operations(), Failure::Io);
    assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(append(&mut writer, 1, 0).unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_full_disk_refuses_before_anything_is_written() {
    let (sim, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    let before = sim.read(FILE).unwrap();
    sim.set_capacity(Some(9 << 20));
    let chunk = vec![1; 9 << 20];
    assert_eq!(writer.append(&[&chunk]).unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert!(sim.read(FILE).unwrap().starts_with(&before));
    append(&mut writer, 0, 0).unwrap();
    sim.set_capacity(None);
    append(&mut writer, 1, 0).unwrap();
    writer.sync().unwrap();
    assert_eq!(check_prefix(&*env).unwrap().0, 2);
}

#[test]
fn a_read_error_is_never_the_end() {
    let (sim, env) = machine(1);
    filled(&*env, 5);
    let before = sim.operations();
    check_prefix(&*env).unwrap();
    for operation in before..sim.operations() {
        let (sim, env) = machine(1);
        filled(&*env, 5);
        sim.fail_at(operation, Failure::Io);
        // Dropping the cache cannot fail.
        if let Ok((count, _)) = check_prefix(&*env) {
            assert_eq!(count, 5);
        }
        sim.heal();
        sim.fail_from(sim.operations() + 1, Failure::Io);
        assert_eq!(check_prefix(&*env).unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn a_follower_reads_behind_the_writer() {
    let (sim, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    let mut follower = Follower::open(&*env, Path::new(FILE)).unwrap();
    let mut seen = 0;
    let mut follow = |follower: &mut Follower, to: Option<u64>| {
        let mut visit = |view: GroupView<'_>, _| {
            assert_eq!(frames(&view), expected(seen));
            seen += 1;
            Ok(())
        };
        let outcome = match to {
            Some(to) => follower.advance_to(to, &mut visit),
            None => follower.advance_to_end(&mut visit),
        };
        outcome.map(|()| seen)
    };
    assert_eq!(follow(&mut follower, Some(512)).unwrap(), 0);
    let first = append(&mut writer, 0, 0).unwrap();
    let second = append(&mut writer, 1, 0).unwrap();
    assert_eq!(follow(&mut follower, Some(first)).unwrap(), 1);
    assert_eq!(follow(&mut follower, Some(first)).unwrap(), 1);
    assert_eq!(follow(&mut follower, Some(second)).unwrap(), 2);
    let third = append(&mut writer, 2, 0).unwrap();
    sim.flip(FILE, third - 1, 0);
    let error = follow(&mut follower, Some(third)).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(second)));
    assert_eq!(follow(&mut follower, None).unwrap(), 2);
    sim.flip(FILE, third - 1, 0);
    assert_eq!(follow(&mut follower, None).unwrap(), 3);
    assert_eq!(follower.head(), &head(7));
}

#[test]
fn frames_are_read_back_one_by_one() {
    let (sim, env) = machine(1);
    filled(&*env, 3);
    let file = env.open(Path::new(FILE), OpenMode::Read).unwrap();
    let mut places = Vec::new();
    scan(&*env, Path::new(FILE), Cache::Keep, &mut |view, offset| {
        for run in view.runs() {
            places.extend(run.frames().map(|(at, frame)| (offset + at, frame.whole())));
        }
        Ok(())
    })
    .unwrap();
    let read = |place| read_frame(&*file, Path::new(FILE), place, &mut Vec::new()).map(|frame| frame.whole());
    for (offset, frame) in &places {
        let length = frame.len() as u32;
        assert_eq!(read((*offset, length)).unwrap(), *frame);
        for (offset, length) in [(*offset, length - 1), (*offset, length + 1), (offset + 1, length), (*offset, 0)] {
            assert_eq!(read((offset, length)).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        sim.flip(FILE, offset + 50, 3);
        let error = read((*offset, length)).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(*offset)));
        sim.flip(FILE, offset + 50, 3);
    }
    let beyond = read((u64::MAX - 100, 62)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Corrupt);
}

#[test]
fn names_read_back() {
    assert_eq!(path(Path::new(DIR), 7), Path::new(FILE));
    assert_eq!(number("0000000007.journal"), Some(7));
    assert_eq!(number("12345678901.journal"), Some(12_345_678_901));
    for name in ["7.journal", "0000000007.journal.00ff.tmp", "0000000007.seg", "+000000007.journal", ".journal"] {
        assert_eq!(number(name), None, "{name}");
    }
}

/// The golden file holds three groups; writing them again gives the same bytes.
#[test]
fn the_golden_file_is_read_and_written_the_same() {
    let (sim, env) = machine(1);
    let end = *filled(&*env, 3).last().unwrap() as usize;
    assert!(sim.read(FILE).unwrap()[..end] == *GOLDEN, "the journal's format has changed");
    sim.write(FILE, GOLDEN);
    assert_eq!(check_prefix(&*env).unwrap().0, 3);
}

#[test]
#[ignore = "writes the golden file anew, after the format was changed on purpose"]
#[expect(clippy::disallowed_methods, reason = "golden files are written to the real disk")]
fn write_the_golden_file() {
    let (sim, env) = machine(1);
    let end = *filled(&*env, 3).last().unwrap() as usize;
    std::fs::write(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/0000000007.journal"),
        &sim.read(FILE).unwrap()[..end],
    )
    .unwrap();
}

#[test]
fn an_empty_group_is_a_group() {
    let (_, env) = machine(1);
    let mut writer = JournalWriter::create(&*env, Path::new(DIR), head(7)).unwrap();
    let mut group: Group = samples::group(&[]);
    let bytes = group.finish(0, Known::default(), 512).to_vec();
    writer.append(&[&bytes]).unwrap();
    let scan = scan(&*env, Path::new(FILE), Cache::Keep, &mut |view, _| {
        assert_eq!((view.runs().count(), view.sources().count()), (0, 1));
        Ok(())
    });
    assert_eq!(scan.unwrap().groups, 1);
}
