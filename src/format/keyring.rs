//! The keyring's log, byte for byte: the head of a file, and the two frames in it. A *node* frame is one version of one
//! tree node under its own key; an *entry* frame is one addition, its route (where in the tree it belongs) under the
//! root's route key and its body under the key of the leaf it belongs to. Pure: keys and nonces are handed in, nothing
//! is read or written. docs/format.md is the specification.

use zeroize::Zeroizing;

use super::bytes::{Malformed, Reader, Writer};
use crate::crypto::{Key, NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
use crate::ident::StoreId;

/// First bytes of a log file.
pub const LOG_MAGIC: [u8; 8] = *b"TNRKEYS\0";
/// Version of every keyring format.
pub const FORMAT_VERSION: u16 = 0;
/// Length of the head of a log file in bytes.
pub const LOG_HEAD_BYTES: usize = 64;
/// The longest frame in bytes.
pub const FRAME_LIMIT: usize = 4 << 20;
/// The longest payload of one entry in bytes.
pub const PAYLOAD_LIMIT: usize = 1 << 20;
/// Length of a key of the tree.
pub const TREE_KEY_BYTES: usize = 17;
/// Level of the crown, the node that the root record opens.
pub const CROWN_LEVEL: u8 = 255;

const NODE_KIND: u8 = 1;
const ENTRY_KIND: u8 = 2;
/// How many bytes of a frame tell its length.
pub const FRONT_BYTES: usize = 12;
const NODE_HEAD_BYTES: usize = 28;
const ENTRY_HEAD_BYTES: usize = 36;
const NODE_BYTES: usize = NODE_HEAD_BYTES + NONCE_BYTES + TAG_BYTES;
const ROUTE_BYTES: usize = NONCE_BYTES + TREE_KEY_BYTES + TAG_BYTES;
const BODY_HEAD_BYTES: usize = TREE_KEY_BYTES + 1 + PLACE_BYTES;
const ENTRY_BYTES: usize = ENTRY_HEAD_BYTES + ROUTE_BYTES + NONCE_BYTES + BODY_HEAD_BYTES + TAG_BYTES;
const FIRST_OF_ITS_KEY: u8 = 1;

/// Where in the tree something belongs: a kind byte and a 16-byte tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeKey(pub [u8; TREE_KEY_BYTES]);

/// What kinds of entries the tree holds; the first byte of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A customer, by the tag of its id.
    Customer = 1,
    /// A partition, by the tag of its name.
    Partition = 2,
    /// An item of the agenda, by subject number.
    AgendaSubject = 3,
    /// An item of the agenda, by due date (big endian, so that order is time) and half a subject number.
    #[expect(dead_code, reason = "nothing falls due before the issue of erasure and expiry")]
    AgendaDue = 4,
    /// Dead cells whose frames are still to be scrubbed, by number of the act and of the note (big endian).
    ScrubNote = 5,
    /// A legal hold, by number (big endian).
    Hold = 6,
    /// The key of one month's access logs, by month (big endian, so that order is time).
    AccessMonth = 9,
}

impl TreeKey {
    /// The key of an entry of `kind` under `tag`.
    pub fn new(kind: EntryKind, tag: &[u8; 16]) -> Self {
        let mut key = [0; TREE_KEY_BYTES];
        key[0] = kind as u8;
        key[1..].copy_from_slice(tag);
        TreeKey(key)
    }

    /// Its kind byte.
    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    /// Its tag.
    pub fn tag(&self) -> [u8; 16] {
        std::array::from_fn(|index| self.0[index + 1])
    }
}

/// A frame in the log: where, and how long. Offset zero is none, since the head of the first file stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the log: what its file's head gives as base, and the bytes from the start of that file.
    pub offset: u64,
    /// Bytes of the whole frame.
    pub length: u32,
}

/// Encoded length of a [`Place`].
pub const PLACE_BYTES: usize = 12;

impl Place {
    /// Whether it names a frame.
    pub fn is_some(&self) -> bool {
        self.offset != 0
    }

    /// Appends its 12 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u32(self.length);
    }

    /// Takes its 12 bytes; the length is bounded.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let place = Place { offset: from.u64()?, length: from.u32()? };
        let fits = match place.offset {
            0 => place.length == 0,
            offset => offset >= LOG_HEAD_BYTES as u64 && (NODE_BYTES..=FRAME_LIMIT).contains(&(place.length as usize)),
        };
        if fits { Ok(place) } else { Err(Malformed("a place that no frame can have")) }
    }
}

/// The head of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The store it belongs to.
    pub store: StoreId,
    /// Number of the file.
    pub file: u64,
    /// Where in the log the file begins: behind all that counts in the file before.
    pub base: u64,
}

impl LogHead {
    /// Its 64 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LOG_HEAD_BYTES);
        out.put(&LOG_MAGIC);
        out.put_u16(FORMAT_VERSION);
        out.put(&[0; 6]);
        out.put(self.store.as_bytes());
        out.put_u64(self.file);
        out.put_u64(self.base);
        out.put(&[0; 12]);
        put_crc(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = checked(bytes.get(..LOG_HEAD_BYTES).ok_or(Malformed("it ends too early"))?, &LOG_MAGIC)?;
        zeros(from.take(6)?)?;
        let head = LogHead { store: StoreId::from_bytes(from.array()?), file: from.u64()?, base: from.u64()? };
        zeros(from.take(12)?)?;
        from.finish()?;
        Ok(head)
    }
}

/// Appends the CRC of all that `out` holds.
pub(super) fn put_crc(out: &mut Vec<u8>) {
    let crc = crc32fast::hash(out);
    out.put_u32(crc);
}

/// Checks the CRC at the end of `bytes`, the magic and the version at their start; returns what stands between.
pub(super) fn checked<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Reader<'a>, Malformed> {
    let (body, crc) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(Malformed("its checksum does not fit"));
    }
    let mut from = Reader::new(body);
    if from.array::<8>()? != *magic {
        return Err(Malformed("it does not start as it should"));
    }
    match from.u16()? {
        FORMAT_VERSION => Ok(from),
        _ => Err(Malformed("its format is newer than this program")),
    }
}

/// Reserved bytes are zero.
pub(super) fn zeros(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed("a reserved byte is not zero")) }
}

fn associated(kind: u8, store: &StoreId, fields: [u64; 2], detail: u8) -> [u8; 34] {
    let mut bytes = [0; 34];
    bytes[0] = kind;
    bytes[1] = detail;
    bytes[2..18].copy_from_slice(store.as_bytes());
    bytes[18..26].copy_from_slice(&fields[0].to_le_bytes());
    bytes[26..].copy_from_slice(&fields[1].to_le_bytes());
    bytes
}

const ROUTE: u8 = 1;
const BODY: u8 = 2;

/// What stands in clear before a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHead {
    /// Name of this version of the node; none is used twice in one tree.
    pub id: u64,
    /// Zero for a leaf, one more for each level above, [`CROWN_LEVEL`] for the crown.
    pub level: u8,
    /// Epoch of the root that it was written for.
    pub epoch: u64,
}

/// What stands in clear before an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// Its number.
    pub number: u64,
    /// Epoch of the root under whose keys it is sealed.
    pub epoch: u64,
    /// Number of the last entry that was durable when this one was written.
    pub durable: u64,
}

/// What an entry says.
#[derive(Debug)]
pub struct EntryBody<'a> {
    /// Where it belongs.
    pub key: TreeKey,
    /// Whether nothing stood under its key before.
    pub first: bool,
    /// The entry before it in the chain of its leaf.
    pub previous: Place,
    /// The customer, partition or agenda item, encoded.
    pub payload: &'a [u8],
}

fn begin(out: &mut Vec<u8>, length: usize, kind: u8, detail: u8) -> usize {
    let start = out.len();
    out.reserve(length);
    out.put_u32(0);
    out.put_u32(u32::try_from(length).expect("frames are bounded far below 4 GiB"));
    out.put(&[kind, detail, 0, 0]);
    start
}

fn end(out: &mut [u8], start: usize) {
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a node frame to `out`: `plain` under `key`.
pub fn seal_node(out: &mut Vec<u8>, store: &StoreId, head: &NodeHead, key: &Key, nonce: &Nonce, plain: &[u8]) {
    let start = begin(out, NODE_BYTES + plain.len(), NODE_KIND, head.level);
    out.put_u64(head.id);
    out.put_u64(head.epoch);
    out.put(nonce);
    let body = out.len();
    out.put(plain);
    let about = associated(NODE_KIND, store, [head.id, head.epoch], head.level);
    let tag = Sealer::new(key).seal(nonce, &about, &mut out[body..]);
    out.put(&tag);
    end(out, start);
}

/// The keys and nonces that an entry is sealed with.
pub struct EntrySeal<'a> {
    /// The root's route key.
    pub route: &'a Sealer,
    /// The key of the leaf that the entry belongs to.
    pub leaf: &'a Key,
    /// For the route.
    pub route_nonce: Nonce,
    /// For the body.
    pub body_nonce: Nonce,
}

/// Appends an entry frame to `out`.
pub fn seal_entry(out: &mut Vec<u8>, store: &StoreId, head: &EntryHead, seal: &EntrySeal<'_>, body: &EntryBody<'_>) {
    let start = begin(out, ENTRY_BYTES + body.payload.len(), ENTRY_KIND, 0);
    out.put_u64(head.number);
    out.put_u64(head.epoch);
    out.put_u64(head.durable);
    out.put(&seal.route_nonce);
    let fields = [head.number, head.epoch];
    let mut route = body.key.0;
    let tag = seal.route.seal(&seal.route_nonce, &associated(ENTRY_KIND, store, fields, ROUTE), &mut route);
    out.put(&route);
    out.put(&tag);
    out.put(&seal.body_nonce);
    let plain = out.len();
    out.put(&body.key.0);
    out.put_u8(if body.first { FIRST_OF_ITS_KEY } else { 0 });
    body.previous.encode(out);
    out.put(body.payload);
    let about = associated(ENTRY_KIND, store, fields, BODY);
    let tag = Sealer::new(seal.leaf).seal(&seal.body_nonce, &about, &mut out[plain..]);
    out.put(&tag);
    end(out, start);
}

/// A frame whose checksum fits.
#[derive(Debug)]
pub enum LogFrame<'a> {
    /// A node.
    Node(NodeFrame<'a>),
    /// An entry.
    Entry(EntryFrame<'a>),
}

/// A node whose checksum fits, still sealed.
#[derive(Debug)]
pub struct NodeFrame<'a> {
    /// What stands in clear.
    pub head: NodeHead,
    nonce: Nonce,
    sealed: &'a [u8],
}

/// An entry whose checksum fits, still sealed.
#[derive(Debug)]
pub struct EntryFrame<'a> {
    /// What stands in clear.
    pub head: EntryHead,
    route: &'a [u8],
    body: &'a [u8],
}

/// Length of the frame that starts with `front` (12 bytes or more), judged from its bounds alone.
pub fn frame_length(front: &[u8]) -> Result<usize, Malformed> {
    let mut from = Reader::new(front);
    from.u32()?;
    let length = from.u32()? as usize;
    let [kind, level, reserved @ ..] = from.array::<4>()?;
    zeros(&reserved)?;
    let least = match (kind, level) {
        (NODE_KIND, _) => NODE_BYTES,
        (ENTRY_KIND, 0) => ENTRY_BYTES,
        _ => return Err(Malformed("no such kind of frame")),
    };
    if (least..=FRAME_LIMIT).contains(&length) { Ok(length) } else { Err(Malformed("a frame of impossible length")) }
}

impl<'a> LogFrame<'a> {
    /// Reads the frame at the start of `bytes`; returns it with its length.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let length = frame_length(bytes.get(..FRONT_BYTES).ok_or(Malformed("it ends too early"))?)?;
        let frame = bytes.get(..length).ok_or(Malformed("it ends too early"))?;
        let mut from = Reader::new(frame);
        if from.u32()? != crc32fast::hash(&frame[4..]) {
            return Err(Malformed("its checksum does not fit"));
        }
        from.u32()?;
        let [kind, level, ..] = from.array::<4>()?;
        let frame = match kind {
            NODE_KIND => LogFrame::Node(NodeFrame {
                head: NodeHead { id: from.u64()?, epoch: from.u64()?, level },
                nonce: from.array()?,
                sealed: from.rest(),
            }),
            _ => LogFrame::Entry(EntryFrame {
                head: EntryHead { number: from.u64()?, epoch: from.u64()?, durable: from.u64()? },
                route: from.take(ROUTE_BYTES)?,
                body: from.rest(),
            }),
        };
        Ok((frame, length))
    }
}

fn open(
    sealer: &Sealer,
    nonce: &Nonce,
    about: &[u8],
    sealed: &[u8],
    what: Malformed,
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let (sealed, tag) = sealed.split_last_chunk().ok_or(what)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    sealer.open(nonce, about, &mut plain, tag).map_err(|_| what)?;
    Ok(plain)
}

impl NodeFrame<'_> {
    /// Decrypts it.
    pub fn open(&self, store: &StoreId, key: &Key) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let about = associated(NODE_KIND, store, [self.head.id, self.head.epoch], self.head.level);
        open(&Sealer::new(key), &self.nonce, &about, self.sealed, Malformed("a node does not open with its key"))
    }
}

impl EntryFrame<'_> {
    /// Decrypts where it belongs.
    pub fn open_route(&self, store: &StoreId, route: &Sealer) -> Result<TreeKey, Malformed> {
        let what = Malformed("an entry's route does not open with the root's key");
        let (nonce, sealed) = self.route.split_first_chunk().ok_or(what)?;
        let about = associated(ENTRY_KIND, store, [self.head.number, self.head.epoch], ROUTE);
        let plain = open(route, nonce, &about, sealed, what)?;
        Ok(TreeKey(Reader::new(&plain).array()?))
    }

    /// Decrypts what it says, to be read with [`EntryBody::decode`].
    pub fn open_body(&self, store: &StoreId, leaf: &Key) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let what = Malformed("an entry does not open with its leaf's key");
        let (nonce, sealed) = self.body.split_first_chunk().ok_or(what)?;
        let about = associated(ENTRY_KIND, store, [self.head.number, self.head.epoch], BODY);
        open(&Sealer::new(leaf), nonce, &about, sealed, what)
    }
}

impl<'a> EntryBody<'a> {
    /// Reads a decrypted body.
    pub fn decode(plain: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(plain);
        let key = TreeKey(from.array()?);
        let first = match from.u8()? {
            0 => false,
            FIRST_OF_ITS_KEY => true,
            _ => return Err(Malformed("an unknown mark on an entry")),
        };
        let previous = Place::decode(&mut from)?;
        Ok(EntryBody { key, first, previous, payload: from.rest() })
    }
}
