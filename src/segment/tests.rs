//! Segments on a simulated machine: found, merged, verified and rebuilt against a plain model; no damage goes unseen.

use crate::sync::Arc;
use std::collections::BTreeMap;
use std::path::Path;

use super::verify::SegmentCheck;
use super::*;
use crate::crypto::Digest;
use crate::env::Env;
use crate::env::disk::Disk;
use crate::env::sim::{Failure, Faults, Plant, Sim};
use crate::error::Result;
use crate::format::frame::{self, FrameContext, FrameHead, FrameView};
use crate::format::samples::{OPENING, STORE, Sample, at, handle, partition_id, salt};
use crate::format::segment::{SegmentHead, TRAILER_BYTES};
use crate::ident::{Handle, PartitionNumber};
use crate::window::Day;

const ROOT: &str = "store";
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/0000000003.seg");

fn head(number: u64) -> SegmentHead {
    let salts = (1..=3).map(|opening| (opening, salt(opening))).collect();
    SegmentHead { store: STORE, partition: PartitionNumber(5), id: partition_id(), number, salts }
}

fn file(number: u64) -> std::path::PathBuf {
    path(Path::new(ROOT), &partition_id(), number)
}

fn span() -> (Day, Day) {
    (at(0).day(), at(60 * 24 * 20).day())
}

/// Frames in the order of a segment.
type Model = BTreeMap<(Handle, u32, u64), Vec<u8>>;

fn model(samples: &[Sample]) -> Model {
    let key = |sample: &Sample| (handle(sample.customer), sample.opening, sample.sequence);
    samples.iter().map(|sample| (key(sample), sample.frame())).collect()
}

/// `count` records of so many customers, in three openings.
fn records(count: u64, customers: u64) -> Vec<Sample> {
    (0..count)
        .map(|index| {
            let mut sample = Sample::new(5, (index * 7 % customers) as u8, index);
            sample.opening = 1 + (index % 3) as u32;
            sample
        })
        .collect()
}

fn write(env: &Arc<dyn Env>, number: u64, frames: &Model) -> Result<SegmentSummary> {
    let mut writer = SegmentWriter::create(Arc::clone(env), &file(number), head(number))?;
    for frame in frames.values() {
        assert!(writer.push(&FrameView::parse(frame).unwrap())?);
    }
    writer.finish(frames.len() as u64 * 11, span())
}

/// Everything in a segment, by way of its index.
fn read(segment: &Segment) -> Result<Model> {
    let mut found = Model::new();
    let mut buffer = Vec::new();
    for entry in segment.handles() {
        let (handle, run) = entry?;
        assert_eq!(segment.find(&handle)?, Some(run));
        segment.read_ahead(&run, 0, &mut buffer)?;
        for frame in segment.frames(&run, &buffer) {
            let frame = frame?;
            let key = frame.key();
            assert_eq!(key.handle, handle);
            found.insert((key.handle, key.opening, key.sequence), frame.whole());
        }
    }
    Ok(found)
}

fn open(env: &Arc<dyn Env>, number: u64) -> Segment {
    Segment::open(&**env, &file(number), None).unwrap()
}

#[test]
fn what_is_written_is_found() {
    for (count, customers) in [(1, 1), (64, 64), (65, 65), (128, 128), (700, 251), (900, 3)] {
        let sim = Sim::new(count);
        sim.set_faults(Faults::harmless(count));
        let env = sim.env();
        let frames = model(&records(count, customers));
        let written = write(&env, 3, &frames).unwrap();
        let segment = Segment::open(&*env, &file(3), Some(&written.hash)).unwrap();
        assert_eq!(read(&segment).unwrap(), frames);
        assert_eq!((segment.records(), segment.raw_bytes(), segment.span()), (count, count * 11, span()));
        assert_eq!((segment.stored_bytes(), segment.hash()), (written.bytes, &written.hash));
        assert_eq!(
            (segment.partition(), &segment.head().id, segment.head().number),
            (PartitionNumber(5), &partition_id(), 3)
        );
        assert_eq!((segment.salt(2), segment.salt(4)), (Some(&salt(2)), None));
        assert_eq!(segment.handles().count() as u64, customers.min(count));
        for customer in 0..=255 {
            let present = segment.find(&handle(customer)).unwrap().is_some();
            assert_eq!(present, frames.keys().any(|key| key.0 == handle(customer)), "{customer}");
        }
        for outside in [[0; 16], [255; 16]] {
            assert_eq!(segment.find(&Handle::from_bytes(outside)).unwrap(), None);
        }
        let check = verify(&*env, &file(3), Some(&written.hash)).unwrap();
        assert_eq!(check, SegmentCheck { frames: count, bytes: written.bytes });
    }
}

#[test]
fn a_handle_costs_one_read() {
    let sim = Sim::new(1);
    let env = sim.env();
    write(&env, 3, &model(&records(600, 251))).unwrap();
    let segment = open(&env, 3);
    let before = sim.operations();
    assert!(segment.find(&handle(9)).unwrap().is_some());
    assert_eq!(sim.operations(), before + 1);
}

#[test]
fn past_the_page_cache_the_same_bytes_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let env: Arc<dyn Env> = Arc::new(Disk::new());
    let (cached, direct) = (dir.path().join("cached/1.seg"), dir.path().join("direct/1.seg"));
    let frames = model(&records(50_000, 250));
    let mut writers = [
        SegmentWriter::create(env.clone(), &cached, head(1)).unwrap(),
        SegmentWriter::create_direct(env.clone(), &direct, head(1)).unwrap(),
    ];
    let mut hashes = Vec::new();
    for frame in frames.values() {
        let frame = FrameView::parse(frame).unwrap();
        writers.iter_mut().for_each(|writer| assert!(writer.push(&frame).unwrap()));
    }
    for writer in writers {
        hashes.push(writer.finish(1, span()).unwrap());
    }
    assert_eq!(hashes[0], hashes[1]);
    let bytes = [cached, direct].map(|path| env.map(&path).unwrap().to_vec());
    assert!(bytes[0].len() > 3 << 20, "of several pieces");
    assert!(bytes[0] == bytes[1]);
    assert_eq!(crate::crypto::sha256(&bytes[1][..bytes[1].len() - TRAILER_BYTES]), hashes[1].hash);
}

#[test]
fn an_index_of_many_pieces_is_written_piece_by_piece_and_found() {
    let env = Sim::new(1).env();
    let mut writer = SegmentWriter::create(Arc::clone(&env), &file(3), head(3)).unwrap();
    let numbered = |number: u32| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Handle::from_bytes(bytes)
    };
    let (sample, salt) = (Sample::new(5, 1, 0), salt(OPENING));
    let (sealer, context) =
        (sample.sealer(), FrameContext { store: &STORE, partition: PartitionNumber(5), salt: &salt });
    let mut bytes = Vec::new();
    for number in 0..130_000 {
        let head = FrameHead { handle: numbered(number), sequence: number.into(), ..sample.head() };
        bytes.clear();
        frame::seal(&mut bytes, &context, &sealer, &head, |out| out.push(0)).unwrap();
        assert!(writer.push(&FrameView::parse(&bytes).unwrap()).unwrap());
    }
    let written = writer.finish(130_000, span()).unwrap();
    let segment = Segment::open(&*env, &file(3), Some(&written.hash)).unwrap();
    for number in [0, 63, 64, 52_428, 64_000, 129_999] {
        assert_eq!(segment.find(&numbered(number)).unwrap().unwrap().count, 1);
    }
    assert_eq!(segment.find(&numbered(130_000)).unwrap(), None);
    let handles = segment.handles().map(|entry| entry.unwrap().0);
    assert!(handles.eq((0..130_000).map(numbered)));
    assert_eq!(verify(&*env, &file(3), Some(&written.hash)).unwrap().frames, 130_000);
}

#[test]
fn frames_out_of_order_and_of_unknown_openings_are_refused() {
    let env = Sim::new(1).env();
    let frames: Vec<Vec<u8>> = model(&records(2, 2)).into_values().collect();
    let mut writer = SegmentWriter::create(Arc::clone(&env), &file(3), head(3)).unwrap();
    assert!(writer.push(&FrameView::parse(&frames[1]).unwrap()).unwrap());
    assert!(!writer.push(&FrameView::parse(&frames[1]).unwrap()).unwrap());
    assert_eq!(writer.push(&FrameView::parse(&frames[0]).unwrap()).unwrap_err().kind(), ErrorKind::Corrupt);
    let stranger = Sample { opening: 4, ..Sample::new(5, 1, 1) }.frame();
    let mut writer = SegmentWriter::create(Arc::clone(&env), &file(3), head(3)).unwrap();
    assert_eq!(writer.push(&FrameView::parse(&stranger).unwrap()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(writer.finish(0, span()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Segment::open(&*env, &file(3), None).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_given_up_leaves_nothing_behind() {
    let env = Sim::new(1).env();
    let frames: Vec<Vec<u8>> = model(&records(2, 2)).into_values().collect();
    let begun = |number| {
        let mut writer = SegmentWriter::create(Arc::clone(&env), &file(number), head(number)).unwrap();
        assert!(writer.push(&FrameView::parse(&frames[1]).unwrap()).unwrap());
        writer
    };
    let names = || env.list(&directory(Path::new(ROOT), &partition_id())).unwrap().len();
    let (unfinished, written) = (begun(1), begun(2).write(1, span()).unwrap());
    assert_eq!(names(), 2);
    drop((unfinished, written));
    assert_eq!(names(), 0);
    begun(3).finish(1, span()).unwrap();
    // Of two, one has a name that is taken.
    let pair = [4, 3].map(|number| begun(number).write(1, span()).unwrap());
    assert_eq!(publish(pair.into()).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(names(), 2, "the one before and the one that had got its name");
}

#[test]
fn a_published_segment_is_never_replaced() {
    let env = Sim::new(1).env();
    let frames = model(&records(4, 2));
    write(&env, 3, &frames).unwrap();
    assert!(write(&env, 3, &model(&records(2, 2))).is_err());
    assert_eq!(read(&open(&env, 3)).unwrap(), frames);
    let names = env.list(&directory(Path::new(ROOT), &partition_id())).unwrap();
    assert_eq!(names.len(), 1, "the temporary file is gone");
}

#[test]
fn every_flipped_bit_is_an_error_or_changes_nothing() {
    let sim = Sim::new(1);
    let env = sim.env();
    let frames = model(&records(80, 70));
    let written = write(&env, 3, &frames).unwrap();
    for byte in 0..written.bytes {
        let bit = (byte % 8) as u8;
        sim.flip(file(3), byte, bit);
        let error = verify(&*env, &file(3), Some(&written.hash)).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(&*file(3))), "byte {byte}");
        assert!(error.offset().unwrap() <= byte, "byte {byte}: {error}");
        // Without a whole pass: what is read is an error, or what was written.
        let opened = Segment::open(&*env, &file(3), Some(&written.hash));
        if let Ok(segment) = opened {
            match read(&segment) {
                Ok(found) => assert!(found == frames, "byte {byte}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
        sim.flip(file(3), byte, bit);
    }
    verify(&*env, &file(3), Some(&written.hash)).unwrap();
}

#[test]
fn a_cut_or_longer_segment_is_refused() {
    let sim = Sim::new(1);
    let env = sim.env();
    let written = write(&env, 3, &model(&records(70, 66))).unwrap();
    let whole = sim.read(file(3)).unwrap();
    for length in (0..written.bytes).chain(written.bytes + 1..written.bytes + 100) {
        let mut changed = whole.clone();
        changed.resize(length as usize, 0);
        sim.write(file(3), &changed);
        assert_eq!(Segment::open(&*env, &file(3), None).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
    }
    // A whole segment of another content is not the one that was published.
    sim.write(file(3), &whole);
    assert_eq!(Segment::open(&*env, &file(3), Some(&[1; 32])).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn merging_is_the_union_of_what_is_kept() {
    let sim = Sim::new(1);
    sim.set_faults(Faults::harmless(3));
    let env = sim.env();
    let all = records(500, 90);
    // The parts overlap: a frame may be in two of them.
    let parts = [&all[..200], &all[150..400], &all[390..]];
    for (part, number) in parts.iter().zip(1..) {
        write(&env, number, &model(part)).unwrap();
    }
    let segments: Vec<Segment> = (1..=3).map(|number| open(&env, number)).collect();
    let sources: Vec<&Segment> = segments.iter().collect();
    let keep = |candidate: &Handle| *candidate != handle(7) && *candidate != handle(8);
    let mut kept = model(&all);
    kept.retain(|key, _| keep(&key.0));
    let merged_head = SegmentHead { salts: merged_salts(&sources).unwrap(), ..head(9) };
    let mut writer = SegmentWriter::create(Arc::clone(&env), &file(9), merged_head).unwrap();
    let merged = merge(&sources, &keep, &mut writer).unwrap();
    let total: u64 = sources.iter().map(|source| source.records()).sum();
    assert_eq!(merged.kept, kept.len() as u64);
    assert_eq!(merged.kept + merged.dropped + merged.repeated, total);
    assert!(merged.dropped > 0 && merged.repeated > 0);
    let written = writer.finish(1, span()).unwrap();
    verify(&*env, &file(9), Some(&written.hash)).unwrap();
    assert_eq!(read(&open(&env, 9)).unwrap(), kept);
}

#[test]
fn a_merge_never_passes_over_damage() {
    let sim = Sim::new(1);
    let env = sim.env();
    let written = write(&env, 1, &model(&records(40, 9))).unwrap();
    let segment = open(&env, 1);
    let frames = head(1).length() as u64..segment.summary().index_offset();
    for byte in frames {
        sim.flip(file(1), byte, 0);
        let mut writer = SegmentWriter::create(Arc::clone(&env), &file(9), head(9)).unwrap();
        let error = merge(&[&segment], &|_| true, &mut writer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        drop(writer);
        sim.flip(file(1), byte, 0);
    }
    assert_eq!(env.list(&directory(Path::new(ROOT), &partition_id())).unwrap().len(), 1);
    verify(&*env, &file(1), Some(&written.hash)).unwrap();
}

#[test]
fn segments_that_disagree_about_a_salt_are_not_merged() {
    let env = Sim::new(1).env();
    write(&env, 1, &model(&records(4, 2))).unwrap();
    let other = SegmentHead { salts: vec![(2, salt(9))], ..head(2) };
    let mut writer = SegmentWriter::create(Arc::clone(&env), &file(2), other).unwrap();
    let frame = Sample { opening: 2, ..Sample::new(5, 1, 1) }.frame();
    writer.push(&FrameView::parse(&frame).unwrap()).unwrap();
    writer.finish(0, span()).unwrap();
    let (one, two) = (open(&env, 1), open(&env, 2));
    assert_eq!(merged_salts(&[&one]).unwrap(), head(1).salts);
    assert_eq!(merged_salts(&[&one, &two]).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// What the ledger would say of segment 3 with 80 records.
fn contents() -> Contents {
    let (store, partition, id) = (STORE, PartitionNumber(5), partition_id());
    Contents { store, partition, id, number: 3, records: 80, raw_bytes: 80 * 11, span: span() }
}

#[test]
fn a_damaged_head_index_or_end_is_made_anew_byte_for_byte() {
    let sim = Sim::new(1);
    let env = sim.env();
    let written = write(&env, 3, &model(&records(80, 70))).unwrap();
    let whole = sim.read(file(3)).unwrap();
    let frames = head(3).length() as u64..open(&env, 3).summary().index_offset();
    let to = file(4);
    for byte in (0..written.bytes).step_by(3) {
        sim.flip(file(3), byte, 1);
        let restored = restored_hash(&env, &file(3), &contents());
        let rebuilt = rebuild(&env, &file(3), &contents(), &to, 3);
        if frames.contains(&byte) {
            let error = rebuilt.unwrap_err();
            assert_eq!((error.kind(), restored.unwrap_err().offset()), (ErrorKind::Corrupt, error.offset()));
            assert!(error.offset().unwrap() <= byte && error.offset() > Some(0));
        } else {
            assert_eq!((rebuilt.unwrap().hash, restored.unwrap()), (written.hash, written.hash), "byte {byte}");
            assert!(sim.read(&to).unwrap() == whole);
            env.remove_file(&to).unwrap();
        }
        sim.flip(file(3), byte, 1);
    }
    for length in frames.start..frames.end + 200 {
        sim.write(file(3), &whole[..length as usize]);
        assert_eq!(restored_hash(&env, &file(3), &contents()).is_ok(), length >= frames.end, "cut at {length}");
    }
    sim.write(file(3), &whole);
    assert_eq!(env.list(&directory(Path::new(ROOT), &partition_id())).unwrap().len(), 1);
}

#[test]
fn what_the_ledger_does_not_say_is_not_made_anew() {
    let sim = Sim::new(1);
    let env = sim.env();
    let written = write(&env, 3, &model(&records(80, 70))).unwrap();
    for records in [79, 81] {
        assert!(restored_hash(&env, &file(3), &Contents { records, ..contents() }).is_err());
    }
    let other = Contents { raw_bytes: 1, ..contents() };
    assert_ne!(restored_hash(&env, &file(3), &other).unwrap(), written.hash);
    // Without its salts nobody can read it: where both places of them are damaged, only a copy helps.
    sim.flip(file(3), 0, 1);
    sim.flip(file(3), written.bytes - 1, 1);
    assert_eq!(restored_hash(&env, &file(3), &contents()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_crash_leaves_a_segment_whole_or_absent() {
    let crashes = |seed: u64, plant: Option<Plant>| {
        let frames = model(&records(30, 9));
        let total = {
            let sim = Sim::new(seed);
            write(&sim.env(), 3, &frames).unwrap();
            sim.changes()
        };
        (0..=total).all(|change| {
            let sim = Sim::new(seed);
            plant.into_iter().for_each(|plant| sim.plant(plant));
            sim.crash_at_change(change);
            let env = sim.env();
            let written = write(&env, 3, &frames);
            sim.restart();
            match (Segment::open(&*env, &file(3), None), written) {
                (Ok(segment), _) => read(&segment).is_ok_and(|found| found == frames),
                (Err(error), Err(_)) => error.kind() == ErrorKind::NotFound,
                (Err(_), Ok(_)) => false,
            }
        })
    };
    for seed in 0..100 {
        assert!(crashes(seed, None), "seed {seed}");
    }
    assert!((0..50).any(|seed| !crashes(seed, Some(Plant::NoDataSync { suffix: ".seg" }))));
    assert!((0..50).any(|seed| !crashes(seed, Some(Plant::NoDirSync))));
}

#[test]
fn any_failing_operation_is_an_error_and_leaves_no_segment() {
    let frames = model(&records(30, 9));
    let total = {
        let sim = Sim::new(1);
        write(&sim.env(), 3, &frames).unwrap();
        sim.operations()
    };
    for failure in [Failure::Io, Failure::Full] {
        for operation in 0..total {
            let sim = Sim::new(1);
            let env = sim.env();
            sim.fail_at(operation, failure);
            if write(&env, 3, &frames).is_ok() {
                continue; // Looking whether a directory is there fails where it is not.
            }
            sim.heal();
            sim.restart();
            // The name may be there if only the directory's sync failed; then all of it is.
            if let Ok(segment) = Segment::open(&*env, &file(3), None) {
                assert_eq!(read(&segment).unwrap(), frames);
            }
        }
    }
}

#[test]
fn names_read_back() {
    assert_eq!(file(3), Path::new("store/segments/chat/EU/2025-09-01-month/0000000003.seg"));
    assert_eq!(number("0000000003.seg"), Some(3));
    for name in ["3.seg", "0000000003.seg.0.tmp", "dictionary-5f3a", ".seg"] {
        assert_eq!(number(name), None);
    }
}

fn golden(env: &Arc<dyn Env>) -> (SegmentSummary, Model) {
    let frames = model(&records(70, 66));
    (write(env, 3, &frames).unwrap(), frames)
}

/// Reading it gives what was written; writing it again gives the same bytes.
#[test]
fn the_golden_file_is_read_and_written_the_same() {
    let sim = Sim::new(1);
    let env = sim.env();
    let (written, frames) = golden(&env);
    assert!(sim.read(file(3)).unwrap() == *GOLDEN, "the segment's format has changed");
    sim.write(file(3), GOLDEN);
    verify(&*env, &file(3), Some(&written.hash)).unwrap();
    assert_eq!(read(&open(&env, 3)).unwrap(), frames);
    let digest: Digest = crate::crypto::sha256(&GOLDEN[..GOLDEN.len() - 56]);
    assert_eq!(digest, written.hash);
}

#[test]
#[ignore = "writes the golden file anew, after the format was changed on purpose"]
#[expect(clippy::disallowed_methods, reason = "golden files are written to the real disk")]
fn write_the_golden_file() {
    let sim = Sim::new(1);
    golden(&sim.env());
    let bytes = sim.read(file(3)).unwrap();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/0000000003.seg"), bytes).unwrap();
}
