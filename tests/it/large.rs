//! Large bodies: in and out as streams, ranges, crashes, and every way of letting go.

use std::io::{Read, Seek, SeekFrom, Write};

use tenure::env::sim::{Faults, Sim};
use tenure::report::{Budget, VerifyOptions};
use tenure::{BodyKind, ErrorKind, ExpireOptions, Record, RecordId, ScanFilter, Store, Stream, Timestamp};

use crate::scene::{self, Dice};

const MIB: usize = 1 << 20;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(number: u8) -> RecordId {
    RecordId::from_bytes([number; 16])
}

fn recording(number: u8) -> Record {
    Record::new("ana", "recording", "EU", at("2025-03-05T00:00:00Z"), "").unwrap().with_id(id(number))
}

fn note(number: u8, text: &str) -> Record {
    let record = Record::new("ana", "recording", "EU", at("2025-03-06T00:00:00Z"), text.to_owned()).unwrap();
    record.with_kind(BodyKind::Text).with_id(id(number))
}

/// Noise with quiet passages, so that some chunks compress and some do not.
fn sound(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut sound = Vec::with_capacity(length);
    while sound.len() < length {
        match dice.roll(3) {
            0 => sound.resize(sound.len() + 300_000, 0),
            _ => sound.extend((0..25_000).flat_map(|_| dice.roll(u64::MAX).to_le_bytes())),
        }
    }
    sound.truncate(length);
    sound
}

fn upload(store: &Store, number: u8, body: &[u8]) -> tenure::Result<()> {
    let mut upload = store.upload(recording(number))?;
    for piece in body.chunks(700_001) {
        upload.add(piece)?;
    }
    assert_eq!(upload.length(), body.len() as u64);
    let (given, commit) = upload.finish()?;
    assert_eq!(given, id(number));
    commit.wait()
}

fn whole_body(store: &Store, number: u8) -> Option<Vec<u8>> {
    let mut body = store.body("ana", id(number)).unwrap()?;
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, body.length());
    Some(bytes)
}

fn whole(store: &Store) {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    assert_eq!(verified.unreachable, 0);
}

#[test]
fn a_large_body_comes_back_byte_for_byte_from_journal_and_segment() {
    let sim = Sim::new(1);
    let store = scene::options(&sim).create().unwrap();
    let (long, short, empty) = (sound(1, 9 * MIB + 17), sound(2, 10), Vec::new());
    scene::append(&store, vec![note(9, "before")]).unwrap();
    for (number, body) in [(1, &long), (2, &short), (3, &empty)] {
        upload(&store, number, body).unwrap();
    }
    for round in 0..3_u64 {
        for (number, body) in [(1, &long), (2, &short), (3, &empty)] {
            assert!(whole_body(&store, number).as_ref() == Some(body), "record {number} in round {round}");
        }
        let timeline: Vec<_> = store.timeline("ana", ..).unwrap().map(Result::unwrap).collect();
        let lengths: Vec<_> = timeline.iter().map(|stored| (stored.large, stored.length())).collect();
        let long = long.len() as u64;
        assert_eq!(lengths, [(Some(long), long), (Some(10), 10), (Some(0), 0), (None, 6)]);
        assert!(timeline.iter().take(3).all(|stored| stored.body.is_empty()));
        assert_eq!(store.scan(ScanFilter::default()).unwrap().count(), 4);
        let (records, retries) =
            (store.stats().unwrap().partitions.iter().map(|one| one.records).sum::<u64>(), round / 2);
        assert_eq!(records, 4 + retries);
        whole(&store);
        match round {
            0 => drop(store.settle().unwrap()),
            _ => {
                scene::append(&store, vec![note(9, "a retry")]).unwrap();
                store.settle().unwrap();
                store.maintain(Budget::ALL).unwrap();
            }
        }
    }
    // An ordinary record is read the same way.
    assert_eq!(whole_body(&store, 9).unwrap(), b"before");
    assert!(store.body("ana", id(77)).unwrap().is_none());
    store.close().unwrap();
    let store = scene::options(&sim).open().unwrap();
    assert!(whole_body(&store, 1).as_ref() == Some(&long));
}

#[test]
fn any_range_can_be_read() {
    let sim = Sim::new(2);
    let store = scene::options(&sim).create().unwrap();
    let long = sound(3, 5 * MIB + 100);
    upload(&store, 1, &long).unwrap();
    store.settle().unwrap();
    let mut body = store.body("ana", id(1)).unwrap().unwrap();
    for (start, length) in [(0, 10), (MIB - 5, 10), (3 * MIB + 1, 2 * MIB), (5 * MIB + 99, 1), (5 * MIB + 100, 0)] {
        let mut part = vec![0; length];
        body.seek(SeekFrom::Start(start as u64)).unwrap();
        body.read_exact(&mut part).unwrap();
        assert!(part == long[start..start + length], "{length} bytes at {start}");
    }
    body.seek(SeekFrom::End(-3)).unwrap();
    let mut end = Vec::new();
    body.read_to_end(&mut end).unwrap();
    assert_eq!(end, long[long.len() - 3..]);
    assert_eq!(body.read_at(u64::MAX, &mut [0; 8]).unwrap(), 0);
    assert!(body.seek(SeekFrom::Current(-1_000_000_000)).is_err());
}

#[test]
fn an_upload_that_was_not_finished_is_nothing_and_the_first_finished_of_two_wins() {
    let sim = Sim::new(3);
    let store = scene::options(&sim).create().unwrap();
    let (first, second) = (sound(4, 5 * MIB), sound(5, 5 * MIB));
    let mut lost = store.upload(recording(1)).unwrap();
    lost.write_all(&second).unwrap();
    drop(lost);
    assert!(store.timeline("ana", ..).unwrap().next().is_none());
    upload(&store, 1, &first).unwrap();
    upload(&store, 1, &second).unwrap();
    assert!(whole_body(&store, 1).as_ref() == Some(&first));
    let body = recording(2);
    let error = store.upload(Record { body: "x".into(), ..body }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn letting_go_reaches_large_bodies() {
    let sim = Sim::new(4);
    sim.set_now(at("2025-04-01T00:00:00Z"));
    let store = scene::options(&sim).create().unwrap();
    let (one, two) = (sound(6, 5 * MIB), sound(7, 2 * MIB));
    upload(&store, 1, &one).unwrap();
    upload(&store, 2, &two).unwrap();
    scene::append(&store, vec![note(9, "a note")]).unwrap();
    // What stays is carried over to the customer's fresh secret.
    let mut open = store.body("ana", id(1)).unwrap().unwrap();
    open.read_exact(&mut [0; 100]).unwrap();
    store.redact("ana", id(2)).unwrap().unwrap();
    let error = open.read_at(0, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Erased, "what was open was let go of in part");
    assert!(whole_body(&store, 2).is_none());
    assert!(whole_body(&store, 1).as_ref() == Some(&one));
    store.scrub().unwrap();
    assert!(whole_body(&store, 1).as_ref() == Some(&one));
    upload(&store, 2, &two).unwrap();
    assert!(whole_body(&store, 2).is_none(), "a redacted record stays away");
    // An upload that an erasure overtakes comes to nothing.
    let mut overtaken = store.upload(recording(3)).unwrap();
    overtaken.add(&two).unwrap();
    let mut open = store.body("ana", id(1)).unwrap().unwrap();
    store.erase(&["ana"]).unwrap().unwrap();
    assert_eq!(open.read_at(0, &mut [0; 8]).unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!(overtaken.finish().unwrap_err().kind(), ErrorKind::Refused);
    assert!(store.timeline("ana", ..).unwrap().next().is_none());
    store.scrub().unwrap();
    store.settle().unwrap();
    let left: u64 = store.stats().unwrap().partitions.iter().map(|partition| partition.stored_bytes).sum();
    assert!(left < MIB as u64, "{left} bytes are left of what was erased");
}

#[test]
fn a_part_and_an_expiry_reach_large_bodies() {
    let sim = Sim::new(5);
    sim.set_now(at("2025-04-01T00:00:00Z"));
    let store = scene::options(&sim).create().unwrap();
    let one = sound(8, 5 * MIB);
    upload(&store, 1, &one).unwrap();
    scene::append(&store, vec![note(9, "a note")]).unwrap();
    store.erase_part("ana", None, Some(at("2025-03-05T00:00:00Z"))).unwrap();
    assert!(whole_body(&store, 1).as_ref() == Some(&one), "it lies after the time up to which was erased");
    store.erase_part("ana", None, Some(at("2025-03-06T00:00:00Z"))).unwrap();
    assert!(whole_body(&store, 1).is_none());
    assert_eq!(store.timeline("ana", ..).unwrap().count(), 1);
    let stream = Stream::new("recording", "EU").unwrap();
    store.erase_part("ana", Some(stream), None).unwrap();
    assert_eq!(store.timeline("ana", ..).unwrap().count(), 0);

    let bo = Record::new("bo", "recording", "EU", at("2025-03-07T00:00:00Z"), "").unwrap().with_id(id(5));
    let mut upload = store.upload(bo).unwrap();
    upload.add(&one).unwrap();
    upload.finish().unwrap().1.wait().unwrap();
    let mut open = store.body("bo", id(5)).unwrap().unwrap();
    store
        .set_policy_confirmed(
            "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_most = \"P1M\"\n",
            "a test",
        )
        .unwrap();
    sim.advance(std::time::Duration::from_secs(40 * 86_400));
    assert_eq!(store.expire(ExpireOptions::default()).unwrap().partitions.len(), 1);
    assert_eq!(open.read_at(0, &mut [0; 8]).unwrap_err().kind(), ErrorKind::Erased);
    assert!(store.body("bo", id(5)).unwrap().is_none());
}

#[test]
fn a_damaged_chunk_is_named_and_the_others_are_read() {
    let sim = Sim::new(6);
    let store = scene::options(&sim).create().unwrap();
    let long = sound(9, 5 * MIB);
    upload(&store, 1, &long).unwrap();
    store.close().unwrap();
    let segment = sim.files().into_iter().find(|(path, _)| path.extension().is_some_and(|end| end == "seg")).unwrap().0;
    sim.flip(&segment, 3 * MIB as u64, 2);
    let store = scene::options(&sim).open().unwrap();
    let mut body = store.body("ana", id(1)).unwrap().unwrap();
    let mut buffer = vec![0; MIB];
    let outcomes: Vec<_> = (0..5).map(|chunk| body.read_at((chunk * MIB) as u64, &mut buffer).is_ok()).collect();
    assert_eq!(outcomes.iter().filter(|fine| !**fine).count(), 1);
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.iter().any(|damage| damage.path == segment), "{:?}", verified.damage);
}

/// One life with the power cut at change `cut`; `false` where it was over before.
fn one_cut(seed: u64, cut: u64) -> bool {
    let sim = Sim::new(seed);
    sim.set_now(at("2025-04-01T00:00:00Z"));
    let options = || scene::options(&sim).merge_at_least(2).fold_at(4);
    let store = options().create().unwrap();
    scene::append(&store, vec![note(8, "goes"), note(9, "stays")]).unwrap();
    store.close().unwrap();
    sim.set_faults(Faults::harmless(seed));
    sim.crash_at_change(sim.changes() + cut);
    let (one, two) = (sound(seed, 4 * MIB + 5), sound(seed + 1, MIB + 1));
    let (mut kept, mut redacted) = ([false; 2], false);
    let mut live = || -> tenure::Result<()> {
        let store = options().open()?;
        upload(&store, 1, &one)?;
        kept[0] = true;
        store.settle()?;
        upload(&store, 2, &two)?;
        kept[1] = true;
        store.redact("ana", id(8))?;
        redacted = true;
        store.scrub()?;
        store.maintain(Budget::ALL)?;
        store.close()
    };
    let outcome = live();
    if !sim.crashed() {
        outcome.unwrap_or_else(|error| panic!("seed {seed}: failed without a power cut: {error:?}"));
        return false;
    }
    sim.restart();
    let store = options().open().unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error:?}"));
    for (number, body, kept) in [(1, &one, kept[0]), (2, &two, kept[1])] {
        match whole_body(&store, number) {
            Some(found) => assert!(found == *body, "seed {seed}, cut {cut}: record {number} is another"),
            None => assert!(!kept, "seed {seed}, cut {cut}: record {number} is lost"),
        }
    }
    assert_eq!(whole_body(&store, 9).unwrap(), b"stays");
    assert!(!redacted || whole_body(&store, 8).is_none(), "seed {seed}, cut {cut}: a redacted record came back");
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    assert!(verified.damage.is_empty(), "seed {seed}, cut {cut}: {:?}", verified.damage);
    true
}

#[test]
fn no_power_cut_loses_or_invents_a_large_body() {
    let mut cuts = 0;
    for seed in 0..2 {
        cuts += (0..).take_while(|cut| one_cut(seed, *cut)).count();
    }
    println!("{cuts} power cuts survived");
    assert!(cuts > 60, "{cuts}");
}

/// A pattern is looked for in the whole of a large body, also where it lies across pieces; the places where it is cut are
/// neither its beginning nor its end.
#[test]
fn a_large_body_is_searched() {
    let sim = Sim::new(8);
    let store = scene::options(&sim).create().unwrap();
    let mut body = vec![b'.'; 20 * MIB];
    // 8 MiB are searched at once; of these the last one again with what follows.
    for place in [0, 7 * MIB, 8 * MIB - 3, 15 * MIB, body.len() - 6] {
        body[place..place + 6].copy_from_slice(b"needle");
    }
    body[3 * MIB..3 * MIB + 3].copy_from_slice(b"hay");
    upload(&store, 1, &body).unwrap();
    scene::append(&store, vec![note(2, "a needle"), note(3, "nothing")]).unwrap();
    let found = |pattern: &str| -> Vec<u8> {
        let all = store.grep("ana", pattern, ..).unwrap();
        all.map(|stored| stored.unwrap().id.to_string().as_bytes()[1] - b'0').collect()
    };
    assert_eq!(found("needle"), [1, 2]);
    assert_eq!(found("hay"), [1]);
    assert_eq!(found("^needle"), [1]);
    assert_eq!(found(r"needle$"), [1, 2]);
    assert_eq!(found("nothing|straw"), [3]);
    let mut other = vec![b'.'; 20 * MIB];
    for (place, word) in [(7 * MIB, "start"), (8 * MIB - 3, "end"), (15 * MIB - 3, "across")] {
        other[place..place + word.len()].copy_from_slice(word.as_bytes());
    }
    upload(&store, 4, &other).unwrap();
    assert_eq!([found("across"), found("start"), found("end")], [[4], [4], [4]]);
    assert_eq!(found("^start"), [] as [u8; 0], "the second piece begins there, and not the body");
    assert_eq!(found("end$"), [] as [u8; 0], "the first piece ends there, and not the body");
}

#[test]
fn a_timeline_is_over_after_damage() {
    let sim = Sim::new(9);
    let store = scene::options(&sim).create().unwrap();
    scene::append(&store, vec![note(1, "one"), note(2, "two")]).unwrap();
    upload(&store, 3, &vec![7; 3 * MIB]).unwrap();
    store.settle().unwrap();
    let mut found = store.grep("ana", "one", ..).unwrap();
    let segment = sim.files().into_iter().map(|(path, _)| path).find(|path| path.to_str().unwrap().ends_with(".seg"));
    let segment = segment.unwrap();
    let length = sim.files().into_iter().find(|(path, _)| *path == segment).unwrap().1.len() as u64;
    (0..length).step_by(64).for_each(|offset| sim.flip(&segment, offset, 1));
    assert_eq!(found.next().unwrap().unwrap_err().kind(), ErrorKind::Corrupt, "its large body cannot be searched");
    assert!(found.next().is_none(), "it went on past a gap");
}
