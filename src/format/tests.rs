//! Encoding and decoding of frames, groups and segments against each other and against damage.

use proptest::prelude::*;

use super::frame::*;
use super::group::*;
use super::journal::*;
use super::plain::*;
use super::position::{Known, Position};
use super::samples::{self, OPENING, STORE, Sample, salt};
use super::segment::*;
use crate::error::ErrorKind;
use crate::ident::{Handle, PartitionNumber, RecordId, Salt};
use crate::record::{BODY_LIMIT, BodyKind};
use crate::window::{Day, Timestamp};

fn context(salt: &Salt) -> FrameContext<'_> {
    FrameContext { store: &STORE, partition: PartitionNumber(5), salt }
}

#[test]
fn a_frame_opens_to_what_was_sealed() {
    let sample = Sample::new(5, 7, 40);
    let (bytes, salt) = (sample.frame(), salt(OPENING));
    assert_eq!(bytes.len(), FRAME_OVERHEAD + 10 + 16 + sample.body.len());
    assert_eq!(FrameView::peek_length(&bytes).unwrap(), bytes.len());
    let view = FrameView::parse(&bytes).unwrap();
    assert_eq!(*view.head(), sample.head());
    let mut scratch = b"left over".to_vec();
    let plain = view.open(&context(&salt), &sample.sealer(), &mut scratch).unwrap();
    assert_eq!((plain.at, plain.kind, plain.body), (samples::at(40), BodyKind::Text, &sample.body[..]));
    assert_eq!(plain.record_id(view.head()), RecordId::from_bytes([7; 16]));
    assert_eq!(plain.origin(view.head()), Origin { opening: OPENING, sequence: 40 });
}

#[test]
fn in_a_segment_a_frame_leaves_out_what_the_one_before_it_says() {
    let (sample, salt) = (Sample::new(5, 7, 40), salt(OPENING));
    let whole = sample.frame();
    let view = FrameView::parse(&whole).unwrap();
    let before = FrameHead { sequence: 39, kind: FrameKind::Chunk, ..sample.head() };
    let (opening, dictionary, random) = (OPENING + 1, sample.head().dictionary + 1, [1; 6]);
    let handle = samples::handle(8);
    // Less than 128 bytes are sealed, so that one says how many.
    for (before, header) in [
        (None, 42),
        (Some(FrameHead { handle, ..before }), 42),
        (Some(before), 7),
        (Some(FrameHead { random, ..before }), 13),
        (Some(FrameHead { dictionary, ..before }), 11),
        (Some(FrameHead { opening, ..before }), 16),
        (Some(FrameHead { sequence: 41, ..before }), 16),
        (Some(FrameHead { opening, dictionary, random, ..before }), 26),
    ] {
        let before = before.as_ref();
        let mut bytes = Vec::new();
        view.store_header(before, &mut bytes);
        assert_eq!(bytes.len(), header);
        bytes.extend_from_slice(view.sealed());
        assert_eq!(FrameHead::peek_stored(before, &bytes), Ok((sample.head(), bytes.len() as u32)));
        for short in [FrameView::parse_stored(before, &bytes), FrameView::parse_known(&sample.head(), &bytes)] {
            let short = short.unwrap();
            assert_eq!((*short.head(), short.length(), short.whole()), (sample.head(), bytes.len(), whole.clone()));
            let mut scratch = Vec::new();
            let plain = short.open(&context(&salt), &sample.sealer(), &mut scratch).unwrap();
            assert_eq!(plain.body, &sample.body[..]);
        }
        let other = FrameHead { sequence: 38, random: [2; 6], opening: 9, dictionary: 9, handle, ..sample.head() };
        assert_eq!(FrameView::parse_stored(Some(&other), &bytes).is_ok(), header == 42);
        assert!(FrameView::parse_known(&other, &bytes).is_err());
        for index in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[index / 8] ^= 1 << (index % 8);
            assert!(FrameView::parse_stored(before, &flipped).is_err(), "bit {index}");
        }
        assert!((0..bytes.len()).all(|length| FrameView::parse_stored(before, &bytes[..length]).is_err()));
    }
}

const AMENDED: RecordId = RecordId::from_bytes([4; 16]);

/// An amendment, and a record that was carried forward.
fn amendment_and_carried() -> [Vec<u8>; 2] {
    let salt = salt(OPENING);
    let frame = |sequence, kind, change: &dyn Fn(Prefix) -> Prefix| {
        let sample = Sample::new(5, 7, sequence);
        let (mut bytes, head) = (Vec::new(), FrameHead { kind, ..sample.head() });
        seal(&mut bytes, &context(&salt), &sample.sealer(), &head, |out| {
            change(sample.prefix()).encode(out);
            out.extend_from_slice(&sample.body);
        })
        .unwrap();
        bytes
    };
    let original = Some(Origin { opening: 2, sequence: 9 });
    [
        frame(42, FrameKind::Amendment, &|prefix| Prefix { amends: Some(AMENDED), ..prefix }),
        frame(43, FrameKind::Record, &|prefix| Prefix { original, since: Some(samples::at(7)), ..prefix }),
    ]
}

const GOLDEN_AMENDMENT: &[u8] = include_bytes!("../../tests/golden/amendment.frames");

#[test]
fn the_golden_amendment_is_read_and_written_the_same() {
    assert_eq!(amendment_and_carried().concat(), GOLDEN_AMENDMENT);
    let (salt, mut scratch) = (salt(OPENING), Vec::new());
    let frames: Vec<_> = Frames::new(GOLDEN_AMENDMENT).map(Result::unwrap).collect();
    let sealer = Sample::new(5, 7, 42).sealer();
    let plain = frames[0].open(&context(&salt), &sealer, &mut scratch).unwrap();
    assert_eq!((plain.amends, plain.since, plain.at), (Some(AMENDED), None, samples::at(42)));
    let plain = frames[1].open(&context(&salt), &sealer, &mut scratch).unwrap();
    assert_eq!((plain.amends, plain.since, plain.at), (None, Some(samples::at(7)), samples::at(43)));
}

#[test]
#[ignore = "writes the golden file anew, after the format was changed on purpose"]
#[expect(clippy::disallowed_methods, reason = "golden files are written to the real disk")]
fn write_the_golden_log_of_the_keyring() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/keyring.keys"), super::keyring_tests::log())
        .unwrap();
}

#[test]
#[ignore = "writes the golden file anew, after the format was changed on purpose"]
#[expect(clippy::disallowed_methods, reason = "golden files are written to the real disk")]
fn write_the_golden_amendment() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/amendment.frames");
    std::fs::write(path, amendment_and_carried().concat()).unwrap();
}

#[test]
fn kind_and_plaintext_of_an_amendment_agree() {
    let salt = salt(OPENING);
    for (kind, amends) in [(FrameKind::Record, Some(AMENDED)), (FrameKind::Amendment, None)] {
        let sample = Sample::new(5, 7, 42);
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        let head = FrameHead { kind, ..sample.head() };
        let plain = |out: &mut Vec<u8>| Prefix { raw_length: 0, amends, ..sample.prefix() }.encode(out);
        seal(&mut bytes, &context(&salt), &sample.sealer(), &head, plain).unwrap();
        let view = FrameView::parse(&bytes).unwrap();
        assert!(view.open(&context(&salt), &sample.sealer(), &mut scratch).is_err(), "{kind:?}");
    }
}

#[test]
fn a_frame_opens_only_where_it_belongs() {
    let sample = Sample::new(5, 7, 41);
    let (bytes, right) = (sample.frame(), salt(OPENING));
    let view = FrameView::parse(&bytes).unwrap();
    let mut scratch = Vec::new();
    let other_salt = salt(OPENING + 1);
    for wrong in [FrameContext { partition: PartitionNumber(6), ..context(&right) }, context(&other_salt)] {
        assert!(view.open(&wrong, &sample.sealer(), &mut scratch).is_err());
    }
    assert!(view.open(&context(&right), &Sample::new(5, 8, 41).sealer(), &mut scratch).is_err());
    // Every readable field but the length is bound: changed, with the checksum made right again, it does not open.
    for index in 8..FRAME_HEADER_BYTES {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let crc = crc32fast::hash(&changed[4..]);
        changed[..4].copy_from_slice(&crc.to_le_bytes());
        let opened =
            FrameView::parse(&changed).map(|view| view.open(&context(&right), &sample.sealer(), &mut scratch).is_ok());
        assert_ne!(opened, Ok(true), "byte {index}");
    }
}

#[test]
fn every_flip_and_every_cut_of_a_frame_is_seen() {
    let bytes = Sample::new(5, 7, 42).frame();
    for index in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[index / 8] ^= 1 << (index % 8);
        assert!(FrameView::parse(&flipped).is_err(), "bit {index}");
    }
    for length in 0..bytes.len() {
        assert!(FrameView::parse(&bytes[..length]).is_err());
    }
    assert!(FrameView::parse(&[0; 4096]).is_err());
}

#[test]
fn a_frame_beyond_the_limit_is_refused_and_leaves_no_trace() {
    let sample = Sample::new(5, 7, 43);
    let (salt, mut out) = (salt(OPENING), b"before".to_vec());
    let room = FRAME_LIMIT - FRAME_OVERHEAD;
    let error =
        seal(&mut out, &context(&salt), &sample.sealer(), &sample.head(), |out| out.resize(6 + 46 + room + 1, 0));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(out, b"before");
    seal(&mut out, &context(&salt), &sample.sealer(), &sample.head(), |out| out.resize(6 + 46 + room, 0)).unwrap();
    assert_eq!(FrameView::parse(&out[6..]).unwrap().length(), FRAME_LIMIT);
}

#[test]
fn plaintexts_out_of_bounds_are_refused() {
    let prefix = Sample::new(5, 7, 44).prefix();
    let encoded = |prefix: Prefix| {
        let mut out = Vec::new();
        prefix.encode(&mut out);
        out
    };
    assert!(Plain::decode(&encoded(Prefix { raw_length: 0, ..prefix })).is_ok());
    assert!(Plain::decode(&encoded(Prefix { raw_length: 1, ..prefix })).is_err());
    assert!(Plain::decode(&encoded(Prefix { raw_length: 1, compressed: true, ..prefix })).is_ok());
    let huge = Prefix { raw_length: BODY_LIMIT as u32 + 1, compressed: true, ..prefix };
    assert!(Plain::decode(&encoded(huge)).is_err());
    let original = Some(Origin { opening: 1, sequence: SEQUENCE_LIMIT });
    assert!(Plain::decode(&encoded(Prefix { raw_length: 0, original, ..prefix })).is_err());
    let mut unknown = encoded(Prefix { raw_length: 0, ..prefix });
    unknown[0] &= 0x3f; // No kind of body.
    assert!(Plain::decode(&unknown).is_err());
    let mut late = encoded(Prefix { raw_length: 0, ..prefix });
    late[1..9].copy_from_slice(&i64::MAX.to_le_bytes());
    assert!(Plain::decode(&late).is_err());
}

#[test]
fn compression_marks_the_prefix_afterwards() {
    let prefix = Prefix { raw_length: 3, ..Sample::new(5, 7, 44).prefix() };
    let mut out = b"before".to_vec();
    prefix.encode_with(&mut out, |out| {
        out.extend_from_slice(b"zz");
        true
    });
    let plain = Plain::decode(&out[6..]).unwrap();
    assert!(plain.compressed && plain.body == b"zz");
}

fn two_runs() -> (Vec<Sample>, Group) {
    let all: Vec<Sample> = (0..7).map(|index| Sample::new(1 + u64::from(index >= 4), index as u8 % 3, index)).collect();
    let group = samples::group(&all);
    (all, group)
}

fn known(offset: u64, entry: u64) -> Known {
    Known { journal: Position { file: 1, offset }, entry }
}

#[test]
fn a_group_reads_back() {
    let (all, mut group) = two_runs();
    let bytes = group.finish(77, known(512, 70), 4711).to_vec();
    let view = GroupView::parse(&bytes).unwrap();
    let head = view.head();
    assert_eq!((head.needs, head.known, head.offset), (77, known(512, 70), 4711));
    assert_eq!((head.header_length, head.total_length), (group.header_length(), group.length()));
    assert_eq!(view.sources().collect::<Vec<_>>(), [SourceMark { tag: [8; 16], offset: 7 }]);
    assert_eq!(view.runs().map(|run| run.head).collect::<Vec<_>>(), group.runs());
    assert_eq!(group.runs().iter().map(|run| (run.partition.0, run.count)).collect::<Vec<_>>(), [(1, 4), (2, 3)]);
    let raw: usize = all[..4].iter().map(|sample| sample.body.len()).sum();
    assert_eq!(group.runs()[0].raw_bytes, raw as u64);
    let mut found = Vec::new();
    for run in view.runs() {
        for (offset, frame) in run.frames() {
            assert_eq!(&bytes[offset as usize..][..frame.length()], frame.whole());
            found.push((run.head.partition.0, *frame.head()));
        }
    }
    assert_eq!(found, all.iter().map(|sample| (sample.partition, sample.head())).collect::<Vec<_>>());
}

#[test]
fn places_count_from_the_first_frame_whatever_room_was_left() {
    for runs in [0, 1, 2, 50] {
        let mut builder = GroupBuilder::new(runs, 0, 0);
        let all: Vec<Sample> = (0..4).map(|index| Sample::new(index + 1, 1, index)).collect();
        let places: Vec<FramePlace> = all.iter().map(|sample| sample.push(&mut builder)).collect();
        builder.source(SourceMark { tag: [1; 16], offset: 1 });
        let mut group = builder.build().unwrap();
        group.finish(0, Known::default(), 512);
        for (sample, place) in all.iter().zip(places) {
            let frames = &group.bytes()[group.header_length()..];
            let frame = &frames[place.offset as usize..][..place.length as usize];
            assert_eq!(frame, sample.frame());
        }
        assert_eq!(GroupView::parse(group.bytes()).unwrap().runs().count(), 4);
    }
}

#[test]
fn every_flip_and_every_cut_of_a_group_is_seen() {
    let (_, mut group) = two_runs();
    let bytes = group.finish(77, known(512, 70), 512).to_vec();
    for index in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[index / 8] ^= 1 << (index % 8);
        assert!(GroupView::parse(&flipped).is_err(), "bit {index}");
    }
    for length in 0..bytes.len() {
        assert!(GroupView::parse(&bytes[..length]).is_err());
    }
}

#[test]
fn a_group_stays_within_its_limit() {
    let mut builder = GroupBuilder::new(1, 0, 0);
    let sample = Sample { body: vec![1; BODY_LIMIT], ..Sample::new(1, 1, 1) };
    sample.push(&mut builder);
    sample.push(&mut builder);
    let before = builder.frame_bytes();
    let (salt, prefix) = (salt(OPENING), sample.prefix());
    let context = FrameContext { store: &STORE, partition: PartitionNumber(1), salt: &salt };
    let third = builder.push(&context, &sample.sealer(), &sample.head(), prefix.at, 1, |out| {
        out.extend_from_slice(&sample.body);
    });
    assert_eq!(third.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(builder.frame_bytes(), before);
    let mut group = builder.build().unwrap();
    group.finish(0, Known::default(), 512);
    assert_eq!(GroupView::parse(group.bytes()).unwrap().head().frames, 2);
}

#[test]
fn every_flip_of_a_journal_head_is_seen() {
    let head = JournalHead { store: STORE, file: 7, opening: OPENING, salt: salt(OPENING) };
    let bytes = head.encode();
    assert_eq!(JournalHead::decode(&bytes), Ok(head));
    for index in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[index / 8] ^= 1 << (index % 8);
        assert!(JournalHead::decode(&flipped).is_err(), "bit {index}");
    }
    let mut newer = bytes;
    newer[8] = 1;
    let crc = crc32fast::hash(&newer[..508]);
    newer[508..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(JournalHead::decode(&newer), Err(Unreadable::Version(1)));
}

fn segment_head(salts: u32) -> SegmentHead {
    SegmentHead {
        store: STORE,
        partition: PartitionNumber(5),
        id: samples::partition_id(),
        number: 9,
        salts: (1..=salts).map(|opening| (opening, salt(opening))).collect(),
    }
}

fn summary() -> Summary {
    Summary {
        frames_offset: 180,
        frames_bytes: 90_000,
        records: 300,
        handles: 130,
        widths: Widths::of(&[IndexEntry { handle: Handle::from_bytes([0; 16]), offset: 0, bytes: 300, count: 3 }]),
        raw_bytes: 1 << 40,
        chunks: 3,
        first_day: Day::from_number(20_000).unwrap(),
        last_day: Day::from_number(20_030).unwrap(),
        partition: PartitionNumber(5),
        number: 9,
        dictionaries: vec![1, 2],
        salts: segment_head(3).salts,
    }
}

#[test]
fn every_flip_around_the_frames_of_a_segment_is_seen() {
    let flips = |bytes: &[u8], accepted: &dyn Fn(&[u8]) -> bool| {
        assert!(accepted(bytes));
        for index in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[index / 8] ^= 1 << (index % 8);
            assert!(!accepted(&flipped), "bit {index}");
        }
        for length in 0..bytes.len() {
            assert!(!accepted(&bytes[..length]), "cut at {length}");
        }
    };
    let head = segment_head(3);
    assert_eq!(SegmentHead::decode(&head.encode()), Ok(head.clone()));
    flips(&head.encode(), &|bytes| SegmentHead::decode(bytes).is_ok());

    let summary = summary();
    let mut bytes = Vec::new();
    summary.encode(&mut bytes);
    assert_eq!(bytes.len(), summary.length());
    assert_eq!(Summary::decode(&bytes, summary.offset()), Ok(summary.clone()));
    assert!(Summary::decode(&bytes, summary.offset() + 1).is_err());
    flips(&bytes, &|bytes| Summary::decode(bytes, summary.offset()).is_ok());

    let trailer = Trailer { summary_offset: 100, summary_length: 88, digest: [4; 32] };
    flips(&trailer.encode(), &|bytes| bytes.try_into().is_ok_and(|bytes| Trailer::decode(bytes, 244).is_ok()));
    assert!(Trailer::decode(&trailer.encode(), 243).is_err());

    let mut offset = 180;
    let entries: Vec<IndexEntry> = [(99, 1), (255, 256), (65_536, 3), (1, 1), (70, 65_535)]
        .iter()
        .zip(0..)
        .map(|(&(bytes, count), index)| {
            let entry = IndexEntry { handle: Handle::from_bytes([index; 16]), offset, bytes, count };
            offset += bytes;
            entry
        })
        .collect();
    let mut block = Vec::new();
    let widths = Widths::of(&entries);
    encode_block(&entries, widths, &mut block);
    assert_eq!(block.len(), 8 + 5 * (16 + 3 + 2) + 4);
    flips(&block, &|bytes| Block::decode(bytes, widths).is_ok());
    let read = Block::decode(&block, widths).unwrap();
    assert_eq!(read.entries().collect::<Result<Vec<_>, _>>().unwrap(), entries);

    let mut sparse = Vec::new();
    encode_sparse(&[Handle::from_bytes([1; 16]), Handle::from_bytes([2; 16])], &mut sparse);
    flips(&sparse, &|bytes| decode_sparse(bytes).is_ok());
}

#[test]
fn sums_that_overflow_are_refused() {
    for (frames_offset, frames_bytes, handles) in
        [(u64::MAX, 1, 1), (1, u64::MAX, 1), (1, 1, u64::MAX), (1 << 63, 1 << 63, 1 << 62)]
    {
        let summary = Summary { frames_offset, frames_bytes, handles, records: u64::MAX, ..summary() };
        let mut bytes = Vec::new();
        summary.encode(&mut bytes);
        for before in [0, 1 << 20, u64::MAX] {
            assert!(Summary::decode(&bytes, before).is_err());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..1200), magic in any::<bool>()) {
        let _ = (FrameView::parse(&bytes), Plain::decode(&bytes), decode_sparse(&bytes));
        let sample = Sample::new(1, 2, 3).head();
        let _ = (FrameView::parse_stored(Some(&sample), &bytes), FrameView::parse_known(&sample, &bytes), Block::decode(&bytes, summary().widths));
        if magic && bytes.len() > 8 {
            bytes[..4].copy_from_slice(&GROUP_MAGIC);
        }
        let _ = (GroupHead::peek(&bytes), GroupView::parse(&bytes));
        if magic && bytes.len() > 8 {
            bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        }
        let _ = (SegmentHead::decode(&bytes), Summary::decode(&bytes, bytes.len() as u64));
        if let Some(end) = bytes.last_chunk() {
            let _ = Trailer::decode(end, bytes.len() as u64);
        }
    }

    #[test]
    fn prefixes_come_back(
        micros in any::<i64>(), body in proptest::collection::vec(any::<u8>(), 0..200), kind in 1u8..4,
        id in any::<Option<[u8; 16]>>(), original in any::<Option<(u32, u64)>>(), compressed in any::<bool>(),
        large in any::<bool>(), amends in any::<Option<[u8; 16]>>(), since in any::<Option<i64>>(),
    ) {
        let prefix = Prefix {
            at: Timestamp::from_micros(micros),
            raw_length: body.len() as u32,
            kind: BodyKind::from_code(kind).unwrap(),
            id: id.map(RecordId::from_bytes),
            original: original.map(|(opening, sequence)| Origin { opening, sequence: sequence % SEQUENCE_LIMIT }),
            compressed,
            large,
            amends: amends.map(RecordId::from_bytes),
            since: since.map(Timestamp::from_micros),
        };
        let mut bytes = Vec::new();
        prefix.encode(&mut bytes);
        bytes.extend_from_slice(&body);
        let plain = Plain::decode(&bytes).unwrap();
        let Plain { at, raw_length, kind, id, original, compressed, large, amends, since, body: read } = plain;
        prop_assert_eq!(Prefix { at, raw_length, kind, id, original, compressed, large, amends, since }, prefix);
        prop_assert_eq!(read, &body[..]);
    }

    #[test]
    fn groups_come_back(
        records in proptest::collection::vec((1u64..4, any::<u8>(), 0..SEQUENCE_LIMIT, 0usize..300), 0..20),
        room in 0usize..5, needs in any::<u64>(), offset in any::<u64>(), sources in 0u64..3,
    ) {
        let mut builder = GroupBuilder::new(room, room, 0);
        let all: Vec<Sample> = records.into_iter().map(|(partition, customer, sequence, length)| {
            Sample { partition, customer, opening: OPENING, sequence, body: vec![customer; length] }
        }).collect();
        for sample in &all {
            sample.push(&mut builder);
        }
        (0..sources).for_each(|offset| builder.source(SourceMark { tag: [3; 16], offset }));
        let mut group = builder.build().unwrap();
        let bytes = group.finish(needs, known(offset, needs), offset).to_vec();
        let view = GroupView::parse(&bytes).unwrap();
        prop_assert_eq!((view.head().needs, view.head().offset), (needs, offset));
        prop_assert_eq!(view.sources().count() as u64, sources);
        let read: Vec<(u64, Vec<u8>)> = view.runs()
            .flat_map(|run| run.frames().map(move |(_, frame)| (run.head.partition.0, frame.whole())))
            .collect();
        let written: Vec<(u64, Vec<u8>)> = all.iter().map(|sample| (sample.partition, sample.frame())).collect();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn fill_is_told_from_bytes() {
    use super::bytes::{filled, is_zero};
    for length in [0, 1, 255, 256, 257, 1000] {
        let mut bytes = vec![0; length];
        assert!(is_zero(&bytes) && filled(&bytes) == 0);
        for at in 0..length {
            bytes[at] = 1;
            assert_eq!((is_zero(&bytes), filled(&bytes)), (false, at + 1));
            bytes[at] = 0;
        }
    }
}
