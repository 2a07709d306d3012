//! Golden bytes of the keyring's formats, and what decoders do with bytes that nobody vouches for.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::keyring::*;
use super::keyring_column::*;
use super::keyring_custodian::*;
use super::keyring_entry::*;
use super::keyring_root::*;
use super::keyring_tree::*;
use crate::crypto::{Key, PartitionKey, Sealer};
use crate::ident::{CustomerId, Handle, PartitionId, PartitionNumber, StoreId, Stream, SubjectNumber};
use crate::window::{Timestamp, Window};

fn key(byte: u8) -> Key {
    Key::take(&mut [byte; 32])
}

fn store() -> StoreId {
    StoreId::from_bytes(*b"golden store id.")
}

fn stream() -> Stream {
    Stream::new("call-transcript", "US-CA").unwrap()
}

fn window() -> Window {
    "2025-09-01-month".parse().unwrap()
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn customer() -> CustomerEntry {
    let scopes = [
        SecretScope::Year(stream(), 2024),
        SecretScope::Stream(stream()),
        SecretScope::Window(PartitionNumber(5)),
        SecretScope::Cell(PartitionNumber(6), Handle::from_bytes([7; 16])),
        SecretScope::Whole,
    ];
    let secret = |(index, scope)| Secret { scope, restricted: index == 1, key: key(index as u8 + 1) };
    CustomerEntry {
        id: CustomerId::new("golden customer").unwrap(),
        subject: SubjectNumber::from_bytes([0xa5; 16]),
        secrets: scopes.into_iter().enumerate().map(secret).collect(),
        state: CustomerState::Living,
        created: time(1_756_699_171_928_000),
        not_before: Some(time(1_700_000_000_000_000)),
        streams: vec![StreamUse { stream: stream(), first_day: window().first_day(), last_year: 2025 }],
        anchors: vec![Anchor { kind: 2, at: time(1_750_000_000_000_000) }],
    }
}

fn columns() -> [Column; 2] {
    let id = PartitionId { stream: stream(), window: window() };
    let number = PartitionNumber(5);
    let living = PartitionEntry { number, id: id.clone(), key: Arc::new(PartitionKey::new(key(9))) };
    let held = vec![(Handle::from_bytes([3; 16]), SubjectNumber::from_bytes([4; 16]))];
    let remnant = Remnant { number, id, dictionaries: vec![(7, key(8))], held };
    [Column::Living(Arc::new(living)), Column::Remnant(Arc::new(remnant))]
}

fn agenda() -> AgendaItem {
    let entry = TreeKey::new(EntryKind::Customer, &[0x11; 16]);
    AgendaItem { subject: SubjectNumber::from_bytes([0xa5; 16]), entry, reasons: 9, due: Some(time(7)) }
}

fn place(offset: u64) -> Place {
    Place { offset, length: 300 }
}

fn child(first: u8) -> Child {
    let chain = Chain { head: place(5_000), count: 2, bytes: 600 };
    let first = TreeKey([first; TREE_KEY_BYTES]);
    Child { first, place: place(1_000), id: 77, key: key(first.0[0]), items: 16, chain }
}

fn items() -> Vec<Item> {
    let [living, remnant] = columns();
    let payloads =
        [customer().encode().unwrap(), living.encode().unwrap(), remnant.encode().unwrap(), agenda().encode()];
    let kinds = [EntryKind::Customer, EntryKind::Partition, EntryKind::Partition, EntryKind::AgendaSubject];
    let item = |(index, (kind, payload))| Item {
        key: TreeKey::new(kind, &[index as u8; 16]),
        number: 40 + index as u64,
        payload,
    };
    kinds.into_iter().zip(payloads).enumerate().map(item).collect()
}

fn crown() -> Crown {
    Crown { lookup: key(1), route: key(2), level: 1, top: child(0), next_node: 80, live_bytes: 4_000, folded: 44 }
}

fn root() -> RootRecord {
    RootRecord {
        store: store(),
        epoch: 3,
        file: 2,
        oldest: 2,
        crown: place(7_000),
        crown_id: 79,
        crown_key: key(6),
        crown_hash: [7; 32],
        fold: 7_300,
        next_entry: 45,
        next_partition: 6,
        customers: 1,
        ledger_length: 12,
        ledger_head: [8; 32],
    }
}

fn opening() -> OpeningIntent {
    let token = |number| OpeningToken { number, token: [number as u8; 16] };
    OpeningIntent { generation: 4, store: store(), current: token(8), intended: token(9) }
}

fn facts() -> CustodianFacts {
    CustodianFacts {
        generation: 5,
        store: store(),
        opening: opening().intended,
        next_epoch: 4,
        ledger_length: 12,
        ledger_head: [8; 32],
        destroyed_before: 2,
    }
}

/// A log: its head, a leaf, an inner node, a crown and an entry.
pub(super) fn log() -> Vec<u8> {
    let mut out = LogHead { store: store(), file: 2, base: 0 }.encode();
    let nodes = [
        (0, encode_leaf(&items())),
        (1, encode_inner(&[child(0), child(1), child(9)])),
        (CROWN_LEVEL, crown().encode()),
    ];
    for (level, plain) in nodes {
        let head = NodeHead { id: u64::from(level), level, epoch: 3 };
        seal_node(&mut out, &store(), &head, &key(level), &[level; 12], &plain);
    }
    let item = &items()[0];
    let body = EntryBody { key: item.key, first: true, previous: place(64), payload: &item.payload };
    let route = Sealer::new(&key(2));
    let seal = EntrySeal { route: &route, leaf: &key(0), route_nonce: [21; 12], body_nonce: [22; 12] };
    seal_entry(&mut out, &store(), &EntryHead { number: 45, epoch: 3, durable: 44 }, &seal, &body);
    out
}

#[test]
fn bytes_are_written_as_they_always_were() {
    // The files are made anew only for a new format version.
    assert!(log() == include_bytes!("../../tests/golden/keyring.keys"));
    let slot = RootSlot { store: store(), epoch: 3, sealed: root().encode().to_vec() };
    assert!(slot.encode() == include_bytes!("../../tests/golden/keyring.root"));
    assert!(opening().encode() == include_bytes!("../../tests/golden/keyring.opening"));
    let mut custodian = facts().encode();
    custodian.extend_from_slice(&EpochKey { epoch: 3, key: key(5) }.encode());
    assert!(custodian == include_bytes!("../../tests/golden/keyring.custodian"));
}

#[test]
fn a_root_names_the_file_before_where_nodes_are_left_there() {
    let one = root().encode();
    let two = RootRecord { oldest: 1, ..root() }.encode();
    assert_eq!((two.len(), RootRecord::decode(&two).unwrap().oldest), (one.len() + 8, 1));
    assert_eq!(RootRecord::decode(&one).unwrap().oldest, 2);
    for oldest in [0, 2, 3, u64::MAX] {
        let mut other = one.to_vec();
        other.extend_from_slice(&oldest.to_le_bytes());
        assert!(RootRecord::decode(&other).is_err(), "{oldest}");
    }
    let head = LogHead { store: store(), file: 2, base: 0x0102_0304_0506 };
    assert_eq!(LogHead::decode(&head.encode()).unwrap(), head);
}

#[test]
fn a_log_reads_back_frame_by_frame() {
    let log = log();
    assert_eq!(LogHead::decode(&log).unwrap(), LogHead { store: store(), file: 2, base: 0 });
    let mut at = LOG_HEAD_BYTES;
    let mut frames = Vec::new();
    while at < log.len() {
        let (frame, length) = LogFrame::parse(&log[at..]).unwrap();
        frames.push(frame);
        at += length;
    }
    let [LogFrame::Node(leaf), LogFrame::Node(inner), LogFrame::Node(top), LogFrame::Entry(entry)] = &frames[..] else {
        panic!("three nodes and an entry");
    };
    let held = decode_leaf(leaf.open(&store(), &key(0)).unwrap()).unwrap();
    assert_eq!(*encode_leaf(&held), *encode_leaf(&items()));
    let children = Inner::decode(inner.open(&store(), &key(1)).unwrap()).unwrap().children().collect::<Vec<_>>();
    assert_eq!(*encode_inner(&children), *encode_inner(&[child(0), child(1), child(9)]));
    assert_eq!(*Crown::decode(&top.open(&store(), &key(CROWN_LEVEL)).unwrap()).unwrap().encode(), *crown().encode());
    assert!(top.open(&store(), &key(3)).is_err() && top.open(&StoreId::default(), &key(CROWN_LEVEL)).is_err());
    assert_eq!(entry.open_route(&store(), &Sealer::new(&key(2))).unwrap(), items()[0].key);
    assert!(entry.open_route(&store(), &Sealer::new(&key(3))).is_err() && entry.open_body(&store(), &key(3)).is_err());
    let plain = entry.open_body(&store(), &key(0)).unwrap();
    let body = EntryBody::decode(&plain).unwrap();
    assert_eq!((body.key, body.first, body.previous), (items()[0].key, true, place(64)));
    assert_eq!(body.payload, &*items()[0].payload);
    assert_eq!(*CustomerEntry::decode(body.payload).unwrap().encode().unwrap(), *customer().encode().unwrap());
}

#[test]
fn everything_in_clear_refuses_every_flipped_bit_and_every_length() {
    let slot = RootSlot { store: store(), epoch: 3, sealed: root().encode().to_vec() }.encode();
    let key_slot = EpochKey { epoch: 3, key: key(5) }.encode();
    let log = log();
    let frame = &log[LOG_HEAD_BYTES..];
    let length = LogFrame::parse(frame).unwrap().1;
    type Reads = fn(&[u8]) -> bool;
    let formats: [(&[u8], Reads); 6] = [
        (&log[..LOG_HEAD_BYTES], |bytes| LogHead::decode(bytes).is_ok()),
        (&frame[..length], |bytes| LogFrame::parse(bytes).is_ok()),
        (&slot, |bytes| RootSlot::decode(bytes).is_ok()),
        (&opening().encode(), |bytes| OpeningIntent::decode(bytes).is_ok()),
        (&facts().encode(), |bytes| CustodianFacts::decode(bytes).is_ok()),
        (&key_slot, |bytes| bytes.first_chunk().is_some_and(|slot| matches!(KeySlot::decode(slot), KeySlot::Held(_)))),
    ];
    for (index, (bytes, reads)) in formats.into_iter().enumerate() {
        assert!(reads(bytes), "format {index}");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!reads(&flipped), "format {index}, bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| !reads(&bytes[..length])), "format {index}");
    }
}

#[test]
fn decoders_take_nothing_that_they_would_not_write() {
    let [living, remnant] = columns();
    type Again = fn(&[u8]) -> Option<Vec<u8>>;
    let payloads: [(Payload, Again); 4] = [
        (customer().encode().unwrap(), |it| Some(CustomerEntry::decode(it).ok()?.encode()?.to_vec())),
        (living.encode().unwrap(), |it| Some(Column::decode(it).ok()?.encode()?.to_vec())),
        (remnant.encode().unwrap(), |it| Some(Column::decode(it).ok()?.encode()?.to_vec())),
        (agenda().encode(), |it| Some(AgendaItem::decode(it).ok()?.encode().to_vec())),
    ];
    for (bytes, again) in payloads {
        assert_eq!(again(&bytes).as_deref(), Some(&bytes[..]));
        for byte in 0..bytes.len() {
            assert_eq!(again(&bytes[..byte]), None);
            for value in [0, 1, 6, 0x7f, 0xff] {
                let mut changed = bytes.to_vec();
                changed[byte] = value;
                assert!(again(&changed).is_none_or(|written| written == changed), "byte {byte} as {value}");
            }
        }
    }
    let mut tombstone = CustomerEntry { state: CustomerState::Tombstone { erased: time(9) }, ..customer() };
    assert!(CustomerEntry::decode(&tombstone.encode().unwrap()).is_err());
    tombstone.secrets.clear();
    let read = CustomerEntry::decode(&tombstone.encode().unwrap()).unwrap();
    assert_eq!((read.state, read.secret().is_none()), (tombstone.state, true));
    let streams = |count: usize| {
        let used = StreamUse { stream: stream(), first_day: window().first_day(), last_year: 2025 };
        CustomerEntry { streams: vec![used; count], ..customer() }.encode()
    };
    assert!(streams(20_000).is_some() && streams(60_000).is_none() && streams(70_000).is_none());
    let large =
        Item { key: TreeKey::default(), number: 1, payload: Payload::own(Zeroizing::new(vec![0; PAYLOAD_LIMIT + 1])) };
    assert!(decode_leaf(encode_leaf(&[large])).is_err());
    assert!([&[child(2), child(1)][..], &[]].iter().all(|children| Inner::decode(encode_inner(children)).is_err()));
}
