//! What the keyring keeps of partitions, and the agenda, byte for byte.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use super::keyring::{EntryKind, PAYLOAD_LIMIT, TREE_KEY_BYTES, TreeKey};
use super::keyring_entry::{
    put_count, put_optional_time, put_stream, take_day, take_list, take_optional_time, take_stream,
};
use super::keyring_tree::Payload;
use crate::crypto::{Key, PartitionKey};
use crate::ident::{Handle, PartitionId, PartitionNumber, SubjectNumber};
use crate::window::{Timestamp, Window, WindowLength};

/// A living partition.
#[derive(Debug)]
pub struct PartitionEntry {
    /// Its number, never reused.
    pub number: PartitionNumber,
    /// Its name.
    pub id: PartitionId,
    /// Its key.
    pub key: Arc<PartitionKey>,
}

/// What is left of a partition whose key was destroyed while some of its cells are held.
#[derive(Debug)]
pub struct Remnant {
    /// Its number.
    pub number: PartitionNumber,
    /// Its name.
    pub id: PartitionId,
    /// The keys of its dictionaries, by dictionary id.
    pub dictionaries: Vec<(u32, Key)>,
    /// The handles of the held cells, and whose they are.
    pub held: Vec<(Handle, SubjectNumber)>,
}

/// What stands under a partition's tag.
#[derive(Debug)]
pub enum Column {
    /// A partition with its key.
    Living(Arc<PartitionEntry>),
    /// The held rest of one.
    Remnant(Arc<Remnant>),
}

impl Column {
    /// Its number.
    pub fn number(&self) -> PartitionNumber {
        match self {
            Column::Living(entry) => entry.number,
            Column::Remnant(remnant) => remnant.number,
        }
    }

    /// Its payload; none where it is longer than an entry may be.
    pub fn encode(&self) -> Option<Payload> {
        let (number, id) = match self {
            Column::Living(entry) => (entry.number, &entry.id),
            Column::Remnant(remnant) => (remnant.number, &remnant.id),
        };
        let room = match self {
            Column::Living(_) => 160,
            Column::Remnant(remnant) => 160 + remnant.dictionaries.len() * 36 + remnant.held.len() * 32,
        };
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        out.put_u8(if matches!(self, Column::Living(_)) { 1 } else { 2 });
        out.put_u64(number.0);
        put_stream(&mut out, &id.stream);
        out.put_i32(id.window.first_day().number());
        out.put_u8(id.window.length() as u8);
        let mut fits = true;
        match self {
            Column::Living(entry) => out.put(entry.key.key().expose()),
            Column::Remnant(remnant) => {
                fits = remnant.dictionaries.len().max(remnant.held.len()) <= usize::from(u16::MAX);
                put_count(&mut out, remnant.dictionaries.len());
                for (dictionary, key) in &remnant.dictionaries {
                    out.put_u32(*dictionary);
                    out.put(key.expose());
                }
                put_count(&mut out, remnant.held.len());
                for (handle, subject) in &remnant.held {
                    out.put(handle.as_bytes());
                    out.put(subject.as_bytes());
                }
            }
        }
        (fits && out.len() <= PAYLOAD_LIMIT).then(|| Payload::own(out))
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let kind = from.u8()?;
        let number = PartitionNumber(from.u64()?);
        let stream = take_stream(&mut from)?;
        let first = take_day(&mut from)?;
        let length = WindowLength::from_code(from.u8()?).ok_or(Malformed("a window of unknown length"))?;
        let window = Window::starting(first, length).ok_or(Malformed("a window that starts on no boundary"))?;
        let id = PartitionId { stream, window };
        if number.0 == 0 {
            return Err(Malformed("a partition without a number"));
        }
        let column = match kind {
            1 => {
                let key = Arc::new(PartitionKey::new(Key::take(&mut from.array()?)));
                Column::Living(Arc::new(PartitionEntry { number, id, key }))
            }
            2 => {
                let dictionaries = take_list(&mut from, |from| Ok((from.u32()?, Key::take(&mut from.array()?))))?;
                let held = take_list(&mut from, |from| {
                    Ok((Handle::from_bytes(from.array()?), SubjectNumber::from_bytes(from.array()?)))
                })?;
                Column::Remnant(Arc::new(Remnant { number, id, dictionaries, held }))
            }
            _ => return Err(Malformed("a partition of unknown kind")),
        };
        from.finish()?;
        Ok(column)
    }
}

/// One customer with something to be done or to be kept from being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaItem {
    /// Whose.
    pub subject: SubjectNumber,
    /// Where the customer's entry is found.
    pub entry: TreeKey,
    /// Bits: 1 hold, 2 schedule, 4 open intent, 8 fence, 16 restricted part, 32 held cell. Never zero.
    pub reasons: u16,
    /// When something falls due, where it does.
    pub due: Option<Timestamp>,
}

/// All bits that [`AgendaItem::reasons`] may have.
pub const AGENDA_REASONS: u16 = 0x3f;

impl AgendaItem {
    /// Its payload.
    #[cfg_attr(
        not(any(test, fuzzing)),
        expect(dead_code, reason = "no item is written before the issue of erasure and expiry")
    )]
    pub fn encode(&self) -> Payload {
        let mut out = Zeroizing::new(Vec::with_capacity(64));
        out.put(self.subject.as_bytes());
        out.put(&self.entry.0);
        out.put_u16(self.reasons);
        put_optional_time(&mut out, self.due);
        Payload::own(out)
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let subject = SubjectNumber::from_bytes(from.array()?);
        let entry = TreeKey(from.array::<TREE_KEY_BYTES>()?);
        let reasons = from.u16()?;
        let due = take_optional_time(&mut from)?;
        from.finish()?;
        match reasons {
            0 => Err(Malformed("an item of the agenda without a reason")),
            reasons if reasons & !AGENDA_REASONS != 0 => Err(Malformed("an item of the agenda of unknown kind")),
            _ => Ok(AgendaItem { subject, entry, reasons, due }),
        }
    }
}

/// The most cells that one note names: far below what an entry may hold.
pub const NOTE_CELLS_LIMIT: usize = 16_384;

/// Cells whose keys died with an act, so that merges can drop their frames. It stands only here, sealed like any entry,
/// and dies by a rewrite once the frames are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubNote {
    /// The number of the act.
    pub act: u64,
    /// The dead cells.
    pub cells: Vec<(PartitionNumber, Handle)>,
}

impl ScrubNote {
    /// Where note `index` of act `act` stands.
    pub fn key(act: u64, index: u64) -> TreeKey {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&act.to_be_bytes());
        tag[8..].copy_from_slice(&index.to_be_bytes());
        TreeKey::new(EntryKind::ScrubNote, &tag)
    }

    /// Its payload; at most [`NOTE_CELLS_LIMIT`] cells fit.
    pub fn encode(&self) -> Payload {
        assert!(self.cells.len() <= NOTE_CELLS_LIMIT, "the cells of an act are divided into notes");
        let mut out = Zeroizing::new(Vec::with_capacity(16 + 24 * self.cells.len()));
        out.put_u64(self.act);
        put_count(&mut out, self.cells.len());
        for (partition, handle) in &self.cells {
            out.put_u64(partition.0);
            out.put(handle.as_bytes());
        }
        Payload::own(out)
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let act = from.u64()?;
        let cells = take_list(&mut from, |from| Ok((PartitionNumber(from.u64()?), Handle::from_bytes(from.array()?))))?;
        from.finish()?;
        Ok(ScrubNote { act, cells })
    }
}
