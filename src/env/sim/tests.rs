//! The simulation does what it says: synced bytes and names stay, the others may go, and nothing else happens.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::chance::Chance;
use super::node::{Node, SECTOR};
use super::*;
use crate::env::{self, File, OpenMode, create_dirs, publish_new, read_file, write_all_at};

const LIMIT: u64 = 1 << 20;

fn read(env: &dyn Env, path: &str) -> io::Result<Vec<u8>> {
    read_file(env, Path::new(path), LIMIT)
}

fn create(env: &dyn Env, path: &str) -> Arc<dyn File> {
    env.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

fn exists(env: &dyn Env, path: &str) -> bool {
    env.metadata(Path::new(path)).is_ok()
}

/// A small log that does everything right: one file, records of 300 bytes, a sync each. How many were acknowledged.
fn run_log(env: &dyn Env) -> io::Result<u8> {
    let mut acknowledged = 0;
    let step = |result: io::Result<()>| result.is_ok();
    if !step(create_dirs(env, Path::new("/s"))) || !step(publish_new(env, Path::new("/s/log"), b"")) {
        return Ok(0);
    }
    let Ok(log) = env.open(Path::new("/s/log"), OpenMode::Write) else { return Ok(0) };
    for record in 1..=8 {
        let offset = u64::from(record - 1) * 300;
        if write_all_at(&*log, &[record; 300], offset).and_then(|()| log.sync_data()).is_err() {
            break;
        }
        acknowledged = record;
    }
    Ok(acknowledged)
}

/// How many records of the log are whole and in order.
fn survivors(env: &dyn Env) -> u8 {
    let Ok(bytes) = read(env, "/s/log") else { return 0 };
    let whole =
        |(record, chunk): &(usize, &[u8])| chunk.len() == 300 && chunk.iter().all(|b| *b as usize == record + 1);
    bytes.chunks(300).enumerate().take_while(whole).count() as u8
}

/// In how many of 300 seeds something acknowledged was lost, with a crash at every change of each.
fn losses(prepare: impl Fn(&Sim)) -> usize {
    let mut losses = 0;
    for seed in 0..300 {
        let changes = {
            let sim = Sim::new(seed);
            run_log(&*sim.env()).unwrap();
            sim.changes()
        };
        let lost = (0..=changes).any(|change| {
            let sim = Sim::new(seed);
            prepare(&sim);
            sim.crash_at_change(change);
            let acknowledged = run_log(&*sim.env()).unwrap();
            sim.restart();
            survivors(&*sim.env()) < acknowledged
        });
        losses += usize::from(lost);
    }
    losses
}

#[test]
fn what_is_synced_stays() {
    assert_eq!(losses(|_| ()), 0);
    assert_eq!(losses(|sim| sim.set_faults(Faults::harmless(5))), 0);
    assert_eq!(
        losses(|sim| sim.set_faults(Faults { short_io: 2, interrupts: 3, write_back: 2, ..Faults::default() })),
        0
    );
}

#[test]
fn a_planted_bug_is_seen() {
    assert!(losses(|sim| sim.plant(Plant::NoDirSync)) > 250);
    assert!(losses(|sim| sim.plant(Plant::NoDataSync { suffix: "log" })) > 250);
    assert_eq!(losses(|sim| sim.plant(Plant::NoDataSync { suffix: ".keys" })), 0);
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let run = |seed: u64| {
        let sim = Sim::new(seed);
        sim.set_faults(Faults::swarm(seed));
        sim.crash_at(40);
        let _ = run_log(&*sim.env());
        sim.restart();
        survivors(&*sim.env());
        (sim.trace(), sim.snapshot())
    };
    let traces: BTreeSet<u64> = (0..200).map(|seed| run(seed).0).collect();
    assert!(traces.len() > 150, "different seeds go different ways");
    for seed in 0..200 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn a_trace_sees_arguments_and_narrates_if_asked() {
    let trace = |byte: u8| {
        let sim = Sim::new(1);
        write_all_at(&*create(&sim, "a"), &[byte], 0).unwrap();
        sim.trace()
    };
    assert_ne!(trace(1), trace(2));
    let sim = Sim::new(1);
    sim.narrate();
    create(&sim, "a").sync_data().unwrap();
    assert_eq!(sim.narration(), "0 Create a 0 0\n1 Sync a 0 0");
}

/// Whatever is written, cut, extended, written back and synced: after a crash every sector is one of the versions that
/// it had since the last sync, and what was synced is exactly what was written.
#[test]
fn sectors_are_old_or_new() {
    for seed in 0..3000 {
        let mut chance = Chance::new(seed);
        let mut node = Node::new("a".into());
        let mut plain: Vec<u8> = Vec::new();
        let mut versions: Vec<Vec<u8>> = vec![plain.clone()];
        let mut durable = Vec::new();
        for step in 0..chance.below(30) {
            let offset = chance.below(4 * SECTOR);
            let kind = chance.below(10);
            match kind {
                0 => {
                    node.sync();
                    durable.clone_from(&plain);
                    versions.clear();
                }
                1 => {
                    node.write_back(&mut chance);
                    durable = node.durable_bytes();
                }
                2 => {
                    node.set_len(offset);
                    plain.resize(offset as usize, 0);
                }
                3 => {
                    node.allocate(offset);
                    plain.resize(plain.len().max(offset as usize), 0);
                }
                4 if versions.len() == 1 && chance.one_in(3) => {
                    assert_eq!(node.durable_bytes(), versions[0]);
                    node.crash(&mut chance, 8);
                    assert_eq!(node.bytes(), versions[0]);
                }
                _ => {
                    let data = vec![step as u8 + 1; chance.below(3 * SECTOR) as usize];
                    node.write(&data, offset);
                    let end = offset as usize + data.len();
                    if !data.is_empty() {
                        plain.resize(plain.len().max(end), 0);
                        plain[offset as usize..end].copy_from_slice(&data);
                    }
                }
            }
            assert_eq!(node.bytes(), plain);
            assert!(node.durable_bytes() == durable, "seed {seed}: step {step} ({kind}) changed what the medium has");
            versions.push(plain.clone());
        }
        let eighths = chance.below(9);
        node.crash(&mut chance, eighths);
        let after = node.bytes();
        let longest = versions.iter().map(Vec::len).max().unwrap_or(0);
        assert!(after.len() <= longest);
        for (sector, bytes) in after.chunks(SECTOR as usize).enumerate() {
            let at = |version: &Vec<u8>, i: usize| version.get(sector * SECTOR as usize + i).copied().unwrap_or(0);
            let legal = versions.iter().any(|v| bytes.iter().enumerate().all(|(i, byte)| at(v, i) == *byte));
            assert!(legal, "seed {seed}: sector {sector} was never so");
        }
        assert_eq!(node.durable_bytes(), after, "what came through a crash is on the medium");
    }
}

#[test]
fn a_cut_happens_or_not() {
    let mut lengths = BTreeSet::new();
    for seed in 0..100 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("a"), &[1; 2048]).unwrap();
        sim.env().open(Path::new("a"), OpenMode::Write).unwrap().set_len(1024).unwrap();
        sim.restart();
        let bytes = sim.read("a").unwrap();
        assert!(bytes.iter().all(|byte| *byte == 1), "there are no zeros beyond a cut that did not happen");
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1024, 2048]);
}

/// Every outcome the fault model names does occur.
#[test]
fn unsynced_data_is_lost_in_every_way() {
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("a"), &[1; 512]).unwrap();
        let file = sim.env().open(Path::new("a"), OpenMode::Write).unwrap();
        file.write_at(&[2; 1536], 0).unwrap();
        sim.restart();
        assert!(is_crash(&file.read_at(&mut [0], 0).unwrap_err()), "handles die with the machine");
        let bytes = read(&sim, "a").unwrap();
        seen.insert(match (bytes.len(), bytes[0], bytes.get(512), bytes.get(1024)) {
            (512, 1, ..) => "nothing",
            (512, 2, ..) => "data without size",
            (1536, 1, Some(0), Some(0)) => "size without data",
            (1536, 1, Some(0), Some(2)) => "the last sector only",
            (1536, 2, Some(0), Some(2)) => "a hole",
            (1536, 2, Some(2), Some(2)) => "everything",
            (513..1536, ..) => "cut between",
            _ => continue,
        });
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn it_can_be_said_what_survives() {
    for seed in 0..50 {
        let run = |survivors| {
            let sim = Sim::new(seed);
            publish_new(&sim, Path::new("a"), b"synced").unwrap();
            let file = sim.env().open(Path::new("a"), OpenMode::Write).unwrap();
            file.write_at(b"written", 1000).unwrap();
            create(&sim, "b");
            sim.restart_with(survivors);
            (sim.read("a").unwrap().len(), exists(&sim, "b"))
        };
        assert_eq!(run(Survivors::All), (1007, true));
        assert_eq!(run(Survivors::None), (6, false));
    }
}

#[test]
fn a_failed_sync_lies_on_retry() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("a"), &[1; 512]).unwrap();
        let file = sim.env().open(Path::new("a"), OpenMode::Write).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        sim.fail_at(sim.operations(), Failure::Io);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.sync_data().unwrap();
        assert_eq!(read(&sim, "a").unwrap(), [2; 1024], "readers see what is not on the medium");
        if seed % 2 == 0 {
            file.drop_cache();
        } else {
            sim.restart();
        }
        let bytes = read(&sim, "a").unwrap();
        assert_eq!(bytes.len(), 1024, "the retry made the size durable");
        assert!([1, 2].contains(&bytes[0]) && [0, 2].contains(&bytes[512]));
        lost += usize::from(bytes != [2; 1024]);
        kept += usize::from(bytes == [2; 1024]);
    }
    assert!(lost > 50 && kept > 10, "{lost} lost, {kept} kept");
}

#[test]
fn what_a_failed_sync_lost_can_be_written_again() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("a"), &[1; 512]).unwrap();
        let file = sim.env().open(Path::new("a"), OpenMode::Write).unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        sim.fail_at(sim.operations(), Failure::Io);
        file.sync_data().unwrap_err();
        file.write_at(&[2; 512], 0).unwrap();
        file.sync_data().unwrap();
        sim.restart();
        assert_eq!(read(&sim, "a").unwrap(), [2; 512]);
    }
}

#[test]
fn a_rename_leaves_the_old_name_the_new_one_or_both() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("old"), b"x").unwrap();
        sim.rename_new(Path::new("old"), Path::new("new")).unwrap();
        assert!(!exists(&sim, "old") && exists(&sim, "new"));
        sim.restart();
        let names = (exists(&sim, "old"), exists(&sim, "new"));
        assert_ne!(names, (false, false));
        for name in ["old", "new"] {
            assert!(read(&sim, name).map_or(true, |bytes| bytes == b"x"));
        }
        seen.insert(names);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_rename_between_directories_never_loses_the_file() {
    for seed in 0..200 {
        let sim = Sim::new(seed);
        create_dirs(&sim, Path::new("/a")).unwrap();
        create_dirs(&sim, Path::new("/b")).unwrap();
        publish_new(&sim, Path::new("/a/x"), b"x").unwrap();
        sim.rename_new(Path::new("/a/x"), Path::new("/b/x")).unwrap();
        if seed % 3 == 1 {
            sim.sync_dir(Path::new("/a")).unwrap();
        }
        if seed % 3 == 2 {
            sim.fail_at(sim.operations(), Failure::Io);
            sim.sync_dir(Path::new("/a")).unwrap_err();
        }
        sim.restart();
        assert!(exists(&sim, "/a/x") || exists(&sim, "/b/x"), "seed {seed}");
        assert!(seed % 3 != 1 || !exists(&sim, "/a/x"));
    }
}

#[test]
fn names_not_synced_come_and_go() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let sim = Sim::new(seed);
        publish_new(&sim, Path::new("doomed"), b"x").unwrap();
        sim.remove_file(Path::new("doomed")).unwrap();
        sim.create_dir(Path::new("dir")).unwrap();
        create(&sim, "dir/inside").sync_data().unwrap();
        sim.sync_dir(Path::new("dir")).unwrap();
        sim.restart();
        let (dir, inside) = (exists(&sim, "dir"), exists(&sim, "dir/inside"));
        assert!(dir || !inside, "nothing is in a directory that is not there");
        seen.insert((exists(&sim, "doomed"), dir, inside));
        sim.restart();
        assert_eq!(exists(&sim, "dir"), dir, "what came through one crash comes through the next");
    }
    // What is synced inside is there whenever the directory is; where changes are ordered, the removal came first.
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [(false, false, false), (false, true, true), (true, false, false), (true, true, true)]
    );
}

#[test]
fn a_failed_sync_of_a_directory_lies_too() {
    let outcomes: BTreeSet<bool> = (0..100)
        .map(|seed| {
            let sim = Sim::new(seed);
            create(&sim, "a");
            sim.fail_at(sim.operations(), Failure::Io);
            sim.sync_dir(Path::new(".")).unwrap_err();
            sim.sync_dir(Path::new(".")).unwrap();
            assert!(exists(&sim, "a"));
            sim.restart();
            exists(&sim, "a")
        })
        .collect();
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn a_full_disk_takes_some_and_says_so() {
    let sim = Sim::new(3);
    sim.set_capacity(Some(1000));
    let file = create(&sim, "a");
    file.allocate(0, 600).unwrap();
    assert_eq!(file.allocate(600, 401).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(sim.free_space(Path::new("a")).unwrap(), 400);
    assert_eq!(file.write_at(&[1; 600], 0).unwrap(), 600, "allocated space is there to be written");
    let other = create(&sim, "b");
    assert_eq!(other.write_at(&[1; 500], 0).unwrap(), 400, "a write is cut short first");
    assert_eq!(other.write_at(&[1; 100], 400).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(write_all_at(&*other, &[1; 100], 300).unwrap(), ());
    sim.remove_file(Path::new("a")).unwrap();
    assert_eq!(sim.free_space(Path::new(".")).unwrap(), 0, "an open file keeps its space");
    drop(file);
    assert_eq!(sim.free_space(Path::new(".")).unwrap(), 600);
    write_all_at(&*other, &[1; 100], 400).unwrap();
    other.set_len(0).unwrap();
    assert_eq!(sim.free_space(Path::new(".")).unwrap(), 1000);
}

#[test]
fn any_call_can_fail() {
    let count = {
        let sim = Sim::new(1);
        run_log(&sim).unwrap();
        sim.operations()
    };
    for failure in [Failure::Io, Failure::Full, Failure::Crash] {
        for at in 0..count {
            let sim = Sim::new(at);
            sim.fail_from(at, failure);
            let acknowledged = run_log(&sim).unwrap();
            assert!(acknowledged < 8);
            sim.heal();
            sim.restart();
            assert!(survivors(&sim) >= acknowledged, "{failure:?} from {at} on");
        }
    }
    let sim = Sim::new(1);
    sim.set_faults(Faults { interrupts: 2, short_io: 2, ..Faults::default() });
    assert_eq!(run_log(&sim).unwrap(), 8, "short and interrupted calls are no failures");
}

#[test]
fn a_crash_stops_everything_until_the_restart() {
    let sim = Sim::new(1);
    let file = create(&sim, "a");
    sim.crash_at(sim.operations());
    assert!(is_crash(&file.write_at(b"x", 0).unwrap_err()));
    assert!(sim.crashed());
    assert!(is_crash(&sim.env().list(Path::new(".")).unwrap_err()));
    assert!(is_crash(&env::random::<8>(&sim).unwrap_err()));
    sim.restart();
    assert!(!sim.crashed());
    assert!(is_crash(&file.len().unwrap_err()));
    sim.list(Path::new(".")).unwrap();
}

#[test]
fn a_killed_process_leaves_what_it_wrote_until_the_power_goes() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = Sim::new(seed);
        create(&sim, "a").write_at(&[7; 2000], 0).unwrap();
        sim.kill();
        assert_eq!(read(&sim, "a").unwrap(), [7; 2000]);
        sim.restart();
        lost += usize::from(read(&sim, "a").map_or(true, |bytes| bytes != [7; 2000]));
    }
    assert!(lost > 20);
}

#[test]
fn locks_are_exclusive_and_die_with_the_process() {
    let sim = Sim::new(1);
    publish_new(&sim, Path::new("LOCK"), b"").unwrap();
    let lock = sim.try_lock(Path::new("LOCK")).unwrap();
    assert_eq!(sim.try_lock(Path::new("LOCK")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    sim.kill();
    let second = sim.try_lock(Path::new("LOCK")).unwrap();
    drop(lock);
    sim.try_lock(Path::new("LOCK")).expect_err("the lock of an earlier life releases nothing");
    drop(second);
    sim.try_lock(Path::new("LOCK")).unwrap();
}

#[test]
fn random_bytes_never_come_twice() {
    let sim = Sim::new(1);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        assert!(seen.insert(env::random::<16>(&sim).unwrap()));
        sim.restart();
    }
    assert_eq!(env::random::<16>(&Sim::new(9)).unwrap(), env::random::<16>(&Sim::new(9)).unwrap());
}

#[test]
fn time_passes_and_can_be_set() {
    let sim = Sim::new(1);
    let (wall, steady) = (sim.now(), sim.monotonic());
    sim.advance(Duration::from_secs(60));
    assert!(sim.now() >= wall.plus_seconds(60) && sim.monotonic() >= steady + Duration::from_secs(60));
    let early: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    let steady = sim.monotonic();
    sim.set_now(early);
    assert!(sim.now() < early.plus_seconds(1) && sim.monotonic() > steady);
}

#[test]
fn syncs_are_counted_by_the_name_a_file_is_to_have() {
    let sim = Sim::new(1);
    publish_new(&sim, Path::new("0000001.journal"), b"x").unwrap();
    publish_new(&sim, Path::new("0000001.keys"), b"x").unwrap();
    sim.open(Path::new("0000001.keys"), OpenMode::Write).unwrap().sync_data().unwrap();
    assert_eq!((sim.syncs(), sim.dir_syncs()), (3, 2));
    assert_eq!((sim.syncs_of(".journal"), sim.syncs_of(".keys"), sim.syncs_of("")), (1, 2, 3));
}

#[test]
fn damage_reaches_the_medium() {
    let sim = Sim::new(1);
    publish_new(&sim, Path::new("a"), &[0; 1000]).unwrap();
    sim.flip("a", 700, 3);
    assert_eq!(read(&sim, "a").unwrap()[700], 8);
    sim.restart();
    assert_eq!(sim.read("a").unwrap()[700], 8);
    assert_eq!(sim.read_durable("a").unwrap()[700], 8);
    sim.truncate("a", 10);
    sim.restart();
    assert_eq!(sim.read("a").unwrap(), [0; 10]);
    let file = sim.open(Path::new("a"), OpenMode::Write).unwrap();
    file.allocate(0, 5000).unwrap();
    file.sync_data().unwrap();
    sim.flip("a", 4000, 0);
    sim.restart();
    assert_eq!(sim.read("a").unwrap()[4000], 1, "in a hole too");
}

#[test]
fn trees_are_copied_and_rolled_back() {
    let sim = Sim::new(1);
    create_dirs(&sim, Path::new("/store/sub")).unwrap();
    publish_new(&sim, Path::new("/store/sub/a"), b"1").unwrap();
    publish_new(&sim, Path::new("/storefront"), b"other").unwrap();
    let before = sim.snapshot();
    sim.copy_tree("/store", "/clone");
    sim.remove_file(Path::new("/store/sub/a")).unwrap();
    publish_new(&sim, Path::new("/store/b"), b"2").unwrap();
    sim.restore(&before, "/store");
    sim.restart();
    let files: Vec<_> = sim.files().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)).collect();
    assert_eq!(
        files,
        [
            ("/clone/sub/a".to_owned(), b"1".to_vec()),
            ("/store/sub/a".to_owned(), b"1".to_vec()),
            ("/storefront".to_owned(), b"other".to_vec())
        ]
    );
    sim.write("/new/dir/file", b"3");
    sim.remove("/storefront");
    sim.restart();
    assert_eq!(sim.read("/new/dir/file").unwrap(), b"3");
    assert_eq!(sim.list(Path::new("/")).unwrap().len(), 3);
}

#[test]
fn the_history_forgets_nothing() {
    let sim = Sim::new(1);
    sim.keep_history();
    let file = create(&sim, "a.tmp");
    file.write_at(b"cana", 0).unwrap();
    file.write_at(b"ry", 4).unwrap();
    file.write_at(b"------", 0).unwrap();
    file.sync_data().unwrap();
    drop(file);
    sim.remove_file(Path::new("a.tmp")).unwrap();
    sim.create_dir(Path::new("b")).unwrap();
    sim.remove_dir(Path::new("b")).unwrap();
    sim.sync_dir(Path::new(".")).unwrap();
    let (mut bytes_found, mut name_found) = (false, false);
    sim.every_byte_ever(|path, bytes| {
        bytes_found |= path == "a.tmp" && bytes.windows(6).any(|w| w == b"canary");
        name_found |= path == "b";
    });
    assert!(bytes_found && name_found);
}

/// A key may end with a zero, and be the last that stands in a file; also in one that was put back.
#[test]
fn the_history_keeps_the_zeros_at_the_end_of_a_file() {
    let sim = Sim::new(1);
    sim.write("/key", &[7, 7, 0, 0]);
    let found = || {
        let mut found = false;
        sim.every_byte_ever(|path, bytes| found |= path == "/key" && bytes == [7, 7, 0, 0]);
        found
    };
    assert!(found());
    let before = sim.snapshot();
    sim.remove("/key");
    sim.restore(&before, "/");
    assert!(found());
}

#[test]
fn paths_are_resolved() {
    let sim = Sim::new(1);
    create_dirs(&sim, Path::new("./a//b/")).unwrap();
    publish_new(&sim, Path::new("a/../a/b/./c"), b"x").unwrap();
    assert_eq!(read(&sim, "a/b/c").unwrap(), b"x");
    let error = |path: &str, mode| sim.open(Path::new(path), mode).unwrap_err().kind();
    assert_eq!(error("a/b", OpenMode::Read), io::ErrorKind::IsADirectory);
    assert_eq!(error("a/x/y", OpenMode::CreateNew), io::ErrorKind::NotFound);
    assert_eq!(error("a/b/c", OpenMode::CreateNew), io::ErrorKind::AlreadyExists);
    assert_eq!(sim.remove_dir(Path::new("a")).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(sim.rename_new(Path::new("a/b/c"), Path::new("a/b")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let reader = sim.open(Path::new("a/b/c"), OpenMode::Read).unwrap();
    assert!(reader.write_at(b"y", 0).is_err() && reader.set_len(0).is_err());
    assert_eq!(&**sim.map(Path::new("a/b/c")).unwrap(), b"x");
}
