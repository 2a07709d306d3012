//! Frames and groups under fixed keys, for tests.

use super::frame::{self, FrameContext, FrameHead, FrameKind};
use super::group::{Group, GroupBuilder, SourceMark};
use super::plain::Prefix;
use crate::crypto::{CellKey, CellSecret, Key, PartitionKey, Sealer};
use crate::ident::{Handle, PartitionId, PartitionNumber, RecordId, Salt, StoreId, Stream};
use crate::record::BodyKind;
use crate::window::{Timestamp, WindowLength};

pub const STORE: StoreId = StoreId::from_bytes([0x51; 16]);
pub const OPENING: u32 = 3;

pub fn salt(opening: u32) -> Salt {
    let mut bytes = [0xa0; 16];
    bytes[..4].copy_from_slice(&opening.to_le_bytes());
    Salt::from_bytes(bytes)
}

/// 2025-09-01T04:00:00Z and later.
pub fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_756_699_200_000_000).plus_seconds(minutes * 60)
}

pub fn partition_id() -> PartitionId {
    PartitionId::holding(Stream::new("chat", "EU").unwrap(), at(0), WindowLength::Month)
}

fn crossing(customer: u8) -> (PartitionKey, CellSecret) {
    (PartitionKey::new(Key::take(&mut [0xc0; 32])), CellSecret::from_key(&Key::take(&mut [customer; 32])))
}

pub fn cell(customer: u8) -> CellKey {
    let (partition, secret) = crossing(customer);
    partition.cell(&secret)
}

pub fn handle(customer: u8) -> Handle {
    let (partition, secret) = crossing(customer);
    partition.handle(&secret)
}

/// One record of `customer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub partition: u64,
    pub customer: u8,
    pub opening: u32,
    pub sequence: u64,
    pub body: Vec<u8>,
}

impl Sample {
    pub fn new(partition: u64, customer: u8, sequence: u64) -> Self {
        let body = format!("record {sequence} of customer {customer}").into_bytes();
        Sample { partition, customer, opening: OPENING, sequence, body }
    }

    pub fn sealer(&self) -> Sealer {
        cell(self.customer).sealer(&salt(self.opening))
    }

    pub fn head(&self) -> FrameHead {
        FrameHead {
            kind: FrameKind::Record,
            flags: 0,
            opening: self.opening,
            sequence: self.sequence,
            random: [9; 6],
            handle: handle(self.customer),
            dictionary: u32::from(self.customer) % 3,
        }
    }

    pub fn prefix(&self) -> Prefix {
        let id = self.sequence.is_multiple_of(2).then(|| RecordId::from_bytes([self.customer; 16]));
        let (at, raw_length) = (at(self.sequence as i64), self.body.len() as u32);
        Prefix {
            at,
            raw_length,
            kind: BodyKind::Text,
            id,
            original: None,
            compressed: false,
            large: false,
            amends: None,
            since: None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.prefix().encode(out);
        out.extend_from_slice(&self.body);
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let salt = salt(self.opening);
        let context = FrameContext { store: &STORE, partition: PartitionNumber(self.partition), salt: &salt };
        frame::seal(&mut out, &context, &self.sealer(), &self.head(), |out| self.write(out)).unwrap();
        out
    }

    pub fn push(&self, builder: &mut GroupBuilder) -> super::group::FramePlace {
        let salt = salt(self.opening);
        let context = FrameContext { store: &STORE, partition: PartitionNumber(self.partition), salt: &salt };
        let (sealer, head, prefix) = (self.sealer(), self.head(), self.prefix());
        builder.push(&context, &sealer, &head, prefix.at, prefix.raw_length, |out| self.write(out)).unwrap()
    }
}

/// A group of these records, with one source.
pub fn group(samples: &[Sample]) -> Group {
    let mut builder = GroupBuilder::new(2, 1, 1000);
    for sample in samples {
        sample.push(&mut builder);
    }
    builder.source(SourceMark { tag: [8; 16], offset: samples.len() as u64 });
    builder.build().unwrap()
}
