//! The state of a store, and the snapshot that a ledger file begins with.

use std::collections::BTreeMap;

use super::super::bytes::{Malformed, Reader, Writer};
use super::super::position::Known;
use super::access::AccessLogs;
use super::act::Acts;
use super::dictionary::DictionaryFact;
use super::fact::{SegmentFact, put_many, put_text, take_many, take_text};
use super::gap::Gap;
use super::hold::Holds;
use crate::crypto::Frontier;
use crate::ident::{PartitionNumber, StoreId};
use crate::window::Timestamp;

/// What the leaves of a ledger add up to: all there is to know of a store but its customers and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The random name of the store.
    pub store: StoreId,
    /// The version of the store's format.
    pub format: u16,
    /// The policy in force, by version and text; version zero where none was set.
    pub policy: (u32, String),
    /// The number of the last opening; zero before the first.
    pub opening: u32,
    /// The last epoch that the keyring was sealed in, as far as the ledger knows.
    pub epoch: u64,
    /// Every visible segment.
    pub segments: BTreeMap<(PartitionNumber, u64), SegmentFact>,
    /// The dictionaries of every partition, oldest first: new frames name the last.
    pub dictionaries: BTreeMap<PartitionNumber, Vec<DictionaryFact>>,
    /// The number of the next segment, above every number ever ledgered.
    pub next_segment: u64,
    /// Journal files up to this number are settled: whatever of them still lies there is ignored.
    pub settled_through: u64,
    /// The number of the next journal file, above every one the ledger has heard of. Files the ledger has not heard of
    /// may still lie there.
    pub next_journal: u64,
    /// The latest settled offset of every source, by its tag.
    pub sources: BTreeMap<[u8; 16], u64>,
    /// The highest positions that were ever ledgered as durable.
    pub known: Known,
    /// The time of the last leaf: no later one is earlier.
    pub watermark: Timestamp,
    /// Whether the last fact is a clean close.
    pub clean: bool,
    /// Everything destructive that was set out to do.
    pub acts: Acts,
    /// The legal holds.
    pub holds: Holds,
    /// What was told last of facts that are missing.
    pub gap: Option<Gap>,
    /// The access logs.
    pub access: AccessLogs,
}

/// State and tree at the start of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree over all leaves before the file.
    pub frontier: Frontier,
    /// What they add up to.
    pub state: State,
}

impl Snapshot {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let State {
            store,
            format,
            policy: (version, text),
            opening,
            epoch,
            segments,
            dictionaries,
            next_segment,
            settled_through,
            next_journal,
            sources,
            known,
            watermark,
            clean,
            acts,
            holds,
            gap,
            access,
        } = &self.state;
        let mut out = Vec::new();
        out.put_u64(self.frontier.length());
        put_many(&mut out, self.frontier.nodes(), |out, node| out.put(node));
        out.put(store.as_bytes());
        out.put_u16(*format);
        out.put_u32(*version);
        put_text(&mut out, text);
        out.put_u32(*opening);
        out.put_u64(*epoch);
        out.put_u64(*next_segment);
        out.put_u64(*settled_through);
        out.put_u64(*next_journal);
        known.encode(&mut out);
        out.put_i64(watermark.as_micros());
        out.put_u8(u8::from(*clean));
        let sources: Vec<_> = sources.iter().collect();
        put_many(&mut out, &sources, |out, (tag, offset)| {
            out.put(*tag);
            out.put_u64(**offset);
        });
        let segments: Vec<_> = segments.values().collect();
        put_many(&mut out, &segments, |out, segment| segment.encode(out));
        acts.encode(&mut out);
        holds.encode(&mut out);
        put_many(&mut out, gap.as_slice(), |out, gap| gap.encode(out));
        let dictionaries: Vec<_> = dictionaries.values().flatten().collect();
        put_many(&mut out, &dictionaries, |out, dictionary| dictionary.encode(out));
        access.encode(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
        let mut from = Reader::new(bytes);
        let length = from.u64()?;
        let nodes = take_many(&mut from, |from| from.array())?;
        let frontier = Frontier::from_parts(length, nodes).ok_or(Malformed("the tree of a snapshot is not one"))?;
        let mut state = State {
            store: StoreId::from_bytes(from.array()?),
            format: from.u16()?,
            policy: (from.u32()?, take_text(&mut from)?),
            opening: from.u32()?,
            epoch: from.u64()?,
            next_segment: from.u64()?,
            settled_through: from.u64()?,
            next_journal: from.u64()?,
            known: Known::decode(&mut from)?,
            watermark: super::time(from.i64()?)?,
            clean: match from.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("a flag is neither zero nor one")),
            },
            sources: BTreeMap::new(),
            segments: BTreeMap::new(),
            dictionaries: BTreeMap::new(),
            acts: Acts::default(),
            holds: Holds::default(),
            gap: None,
            access: AccessLogs::default(),
        };
        for (tag, offset) in take_many(&mut from, |from| Ok((from.array()?, from.u64()?)))? {
            if state.sources.last_key_value().is_some_and(|(last, _)| *last >= tag) {
                return Err(Malformed("the sources of a snapshot are out of order"));
            }
            state.sources.insert(tag, offset);
        }
        for segment in take_many(&mut from, SegmentFact::decode)? {
            let key = (segment.partition, segment.segment);
            if state.segments.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Malformed("the segments of a snapshot are out of order"));
            }
            state.segments.insert(key, segment);
        }
        state.acts = Acts::decode(&mut from)?;
        state.holds = Holds::decode(&mut from)?;
        let mut gap = take_many(&mut from, Gap::decode)?;
        state.gap = gap.pop();
        if !gap.is_empty() {
            return Err(Malformed("a snapshot names more than one gap"));
        }
        for dictionary in take_many(&mut from, DictionaryFact::decode)? {
            if state.dictionaries.last_key_value().is_some_and(|(last, _)| *last > dictionary.partition) {
                return Err(Malformed("the dictionaries of a snapshot are out of order"));
            }
            let known = state.dictionaries.entry(dictionary.partition).or_default();
            if known.iter().any(|known| known.dictionary == dictionary.dictionary) {
                return Err(Malformed("a dictionary is named twice"));
            }
            known.push(dictionary);
        }
        state.access = AccessLogs::decode(&mut from)?;
        from.finish()?;
        Ok(Snapshot { frontier, state })
    }
}
