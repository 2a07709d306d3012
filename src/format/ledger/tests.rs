//! The bytes of a ledger: sizes, round trips, and any bytes at all.

use proptest::prelude::*;

use super::*;
use crate::crypto::{Frontier, sha256};
use crate::ident::{PartitionNumber, Salt, Stream, SubjectNumber};
use crate::policy::HoldScope;
use crate::window::Day;

fn store() -> StoreId {
    StoreId::from_bytes([4; 16])
}

fn commit(first: u64, facts: &[Fact]) -> Vec<u8> {
    let leaves: Vec<_> = facts
        .iter()
        .map(|fact| {
            let mut leaf = Vec::new();
            encode_leaf(&mut leaf, Timestamp::from_micros(5), fact);
            leaf
        })
        .collect();
    let mut out = Vec::new();
    encode_commit(&mut out, &store(), first, &leaves).unwrap();
    out
}

#[test]
fn sizes_are_the_documented_ones() {
    let mut header = Vec::new();
    Header { version: 0, store: store(), file: 1, first: 0, snapshot_length: 0, snapshot_hash: sha256(&[]) }
        .encode(&mut header);
    assert_eq!(header.len(), HEADER_BYTES);
    assert_eq!(commit(0, &[Fact::Watermark]).len(), COMMIT_HEAD_BYTES + 4 + LEAF_MINIMUM);
    let opened = Fact::Opened { opening: 1, salt: Salt::default() };
    assert_eq!(commit(0, &[Fact::Watermark, opened]).len(), COMMIT_HEAD_BYTES + 4 + LEAF_MINIMUM + 4 + 9 + 20);
}

#[test]
fn commits_read_back_and_are_bound_to_their_store() {
    let facts = [Fact::RootSealed { epoch: 9 }, Fact::Watermark];
    let bytes = commit(7, &facts);
    let read = Commit::parse(&bytes, &store()).unwrap();
    assert_eq!((read.first, read.count, read.length), (7, 2, bytes.len()));
    let leaves = read.leaves().unwrap();
    assert_eq!(leaves.iter().map(|leaf| leaf.fact().unwrap().unwrap()).collect::<Vec<_>>(), facts);
    assert!(Commit::parse(&bytes, &StoreId::from_bytes([5; 16])).is_err());
    let mut out = Vec::new();
    assert!(encode_commit(&mut out, &store(), 0, &[]).is_none());
    assert!(encode_commit(&mut out, &store(), 0, &[vec![1; LEAF_LIMIT + 1]]).is_none());
    assert!(encode_commit(&mut out, &store(), 0, &vec![vec![1; LEAF_LIMIT]; 3]).is_none());
    assert!(encode_commit(&mut out, &store(), 0, &[vec![1; 8]]).is_none());
}

#[test]
fn a_later_commit_is_found_behind_damage_but_not_itself() {
    let mut bytes = commit(3, &[Fact::Watermark]);
    let length = bytes.len();
    bytes.extend(commit(4, &[Fact::Watermark]));
    assert!(Commit::any_after(&bytes[1..], &store(), 3));
    assert!(!Commit::any_after(&bytes[1..length], &store(), 3));
    assert!(!Commit::any_after(&bytes[1..], &store(), 4), "what comes before is no proof");
    assert!(!Commit::any_after(&commit(900, &[Fact::Watermark]), &store(), 3), "nor what cannot be that near");
    assert!(!Commit::any_after(&bytes[1..], &StoreId::from_bytes([5; 16]), 3));
}

#[test]
fn unknown_kinds_and_kind_zero_are_told_apart() {
    assert!(Fact::decode(0, &[]).is_err());
    assert_eq!(Fact::decode(16, &[1, 2, 3]), Ok(None));
    assert_eq!(Fact::decode(8, &[]), Ok(Some(Fact::Watermark)));
    assert!(Fact::decode(8, &[0]).is_err(), "bytes nobody asked for");
}

#[test]
fn held_cells_and_holds_read_back_in_order_alone() {
    let subject = |byte: u8| SubjectNumber::from_bytes([byte; 16]);
    let cells = |held: HeldCells| Fact::Intended {
        number: 1,
        act: Act::Expire { partitions: Vec::new(), now: Timestamp::from_micros(1), held, rows: Vec::new() },
    };
    let again = |fact: &Fact| {
        let mut bytes = Vec::new();
        fact.encode(&mut bytes);
        Fact::decode(fact.kind(), &bytes)
    };
    let (one, two) = (PartitionNumber(1), PartitionNumber(2));
    for held in [vec![], vec![(one, vec![subject(1)]), (two, vec![subject(1), subject(2)])]] {
        let fact = cells(held);
        assert_eq!(again(&fact), Ok(Some(fact)));
    }
    let wrong = [
        vec![(one, vec![])],
        vec![(two, vec![subject(1)]), (one, vec![subject(1)])],
        vec![(one, vec![subject(1)]), (one, vec![subject(2)])],
        vec![(one, vec![subject(2), subject(1)])],
    ];
    assert!(wrong.into_iter().all(|held| again(&cells(held)).is_err()));
    let time = |micros| Some(Timestamp::from_micros(micros));
    let placed = |from, until| {
        let scope = HoldScope { stream: Stream::new("chat", "EU").ok(), from, until };
        Fact::HoldPlaced { number: 3, hold: Hold { subject: Some(subject(1)), scope, after: vec![2, 4] } }
    };
    for fact in [placed(None, time(5)), placed(time(4), time(5)), Fact::HoldReleased { number: 3 }] {
        assert_eq!(again(&fact), Ok(Some(fact)));
    }
    assert!(again(&placed(time(5), time(5))).is_err(), "no time is between its ends");
}

#[test]
fn what_an_act_keeps_and_takes_reads_back_in_order_alone() {
    let subject = |byte: u8| SubjectNumber::from_bytes([byte; 16]);
    let day = |number: i32| Day::from_number(number).unwrap();
    let span = |from, until| Span { stream: Stream::new("chat", "EU").unwrap(), from: day(from), until: day(until) };
    let part = |duty, holds: &[u64]| Kept { span: span(3, 5), duty, holds: holds.to_vec() };
    let erase = |kept| Act::Erase { subjects: vec![subject(9)], at: Timestamp::from_micros(4), kept };
    let again = |act: &Act| {
        let (mut bytes, fact) = (Vec::new(), Fact::Intended { number: 1, act: act.clone() });
        fact.encode(&mut bytes);
        let read = Fact::decode(fact.kind(), &bytes);
        assert!((0..bytes.len()).all(|length| Fact::decode(fact.kind(), &bytes[..length]).is_err()));
        matches!(read, Ok(Some(read)) if read == fact)
    };
    let until = KeptDuty::Until(Timestamp::from_micros(7));
    let parts = vec![part(until, &[]), part(KeptDuty::Open, &[4]), part(KeptDuty::None, &[2, 4])];
    let going = |all| Going { span: span(-1, 1), all };
    let rows = vec![(subject(1), vec![going(true), going(false)]), (subject(2), vec![going(false)])];
    for act in [
        erase(vec![(subject(1), parts.clone()), (subject(2), parts.clone()), (subject(3), Vec::new())]),
        Act::ErasePart {
            subject: subject(1),
            stream: None,
            until: Some(Timestamp::from_micros(1)),
            kept: parts.clone(),
        },
        Act::Redact { subject: subject(1), partition: PartitionNumber(3), opening: 1, sequence: 2, despite: true },
        Act::Expire { partitions: Vec::new(), now: Timestamp::from_micros(1), held: Vec::new(), rows: rows.clone() },
        Act::Release { hold: 3, subject: Some(subject(1)), cells: vec![(PartitionNumber(3), vec![subject(1)])], rows },
        Act::Release { hold: 3, subject: None, cells: vec![(PartitionNumber(3), vec![subject(1)])], rows: Vec::new() },
    ] {
        assert!(again(&act), "{act:?}");
    }
    for wrong in [
        vec![(subject(2), parts.clone()), (subject(1), parts.clone())],
        vec![(subject(1), vec![part(KeptDuty::None, &[])])],
        vec![(subject(1), vec![part(until, &[3, 2])])],
        vec![(subject(1), vec![Kept { span: span(5, 5), ..parts[0].clone() }])],
    ] {
        let mut bytes = Vec::new();
        Fact::Intended { number: 1, act: erase(wrong) }.encode(&mut bytes);
        assert!(Fact::decode(18, &bytes).is_err());
    }
    for (kind, at) in [(1, None), (2, Some(Timestamp::from_micros(4))), (3, Some(Timestamp::from_micros(5)))] {
        let (mut bytes, fact) = (Vec::new(), Fact::Reported { subject: subject(1), kind, at });
        fact.encode(&mut bytes);
        assert_eq!(Fact::decode(17, &bytes), Ok(Some(fact)));
        for unknown in [0, 4] {
            bytes[16] = unknown;
            assert!(Fact::decode(17, &bytes).is_err(), "there is no such fact");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_writes_back(kind: u8, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(header) = Header::decode(&bytes) {
            let mut again = Vec::new();
            header.encode(&mut again);
            prop_assert_eq!(&again[..], &bytes[..HEADER_BYTES]);
        }
        let _ = Commit::parse(&bytes, &store()).map(|commit| commit.leaves());
        if let Ok(Some(fact)) = Fact::decode(kind % 10, &bytes) {
            let mut again = Vec::new();
            fact.encode(&mut again);
            prop_assert_eq!(again, bytes.clone());
        }
        if let Ok(snapshot) = Snapshot::decode(&bytes) {
            prop_assert_eq!(snapshot.encode(), bytes);
        }
    }

    /// Past the checksum: what follows a valid head may be anything.
    #[test]
    fn no_leaves_panic(count: u32, rest in proptest::collection::vec(any::<u8>(), 13..200)) {
        let mut bytes = Vec::new();
        bytes.put_u32(0);
        bytes.put_u32((COMMIT_HEAD_BYTES + rest.len()) as u32);
        bytes.put_u64(1);
        bytes.put_u32(count % 4);
        bytes.put(&rest);
        let crc = commit_crc(&store(), &bytes);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let commit = Commit::parse(&bytes, &store()).unwrap();
        if let Ok(leaves) = commit.leaves() {
            for leaf in leaves {
                let _ = leaf.fact();
            }
        }
    }

    #[test]
    fn a_tree_of_the_wrong_shape_is_refused(length: u64, nodes in 0usize..70) {
        let edge = Frontier::from_parts(length, vec![[0; 32]; nodes]);
        prop_assert_eq!(edge.is_some(), length.count_ones() as usize == nodes);
    }
}
