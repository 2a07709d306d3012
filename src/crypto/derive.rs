//! Rows, columns and cells: every derivation of the store, byte for byte as docs/format.md states them.
//!
//! ```text
//! stream key = HKDF(customer secret, stream)           year key = HKDF(stream key, year)
//! cell secret = HMAC(year key, partition)
//! handle = HMAC(partition key, "handle", cell secret)[..16]
//! cell key = HMAC(partition key, "key", cell secret)   DEK = Expand(cell key, "dek", opening salt)
//! ```
//!
//! Either death reaches the handle: without the customer's secret or without the partition's key a cell cannot even be
//! found. Year keys, partition keys and cell keys keep their HMAC midstates, so that a handle costs four compressions of
//! SHA-256, and so does a look at a cell that is not there; where it is, key and data key cost six more.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::aead::{Nonce, Sealer};
use super::key::Key;
use super::mac::{Mac, Secret};
use crate::ident::{Handle, LABEL_LIMIT, PartitionId, PartitionNumber, Salt, StoreId, Stream};

const LABEL_BYTES: usize = 24;
/// Beside a cell secret a label is shorter: both fit one block of SHA-256 with its padding.
const SHORT_LABEL_BYTES: usize = 16;

const HANDLE: [u8; SHORT_LABEL_BYTES] = padded("tenure/v1/handle");
const CELL_KEY: [u8; SHORT_LABEL_BYTES] = padded("tenure/v1/key");

/// A label in a field of fixed width, zero padded.
const fn label(text: &str) -> [u8; LABEL_BYTES] {
    padded(text)
}

const fn padded<const WIDTH: usize>(text: &str) -> [u8; WIDTH] {
    let mut field = [0; WIDTH];
    let bytes = text.as_bytes();
    assert!(bytes.len() <= WIDTH);
    let mut index = 0;
    while index < bytes.len() {
        field[index] = bytes[index];
        index += 1;
    }
    field
}

fn finish(mac: Hmac<Sha256>) -> Key {
    let mut bytes: [u8; 32] = mac.finalize().into_bytes().into();
    Key::take(&mut bytes)
}

fn keyed(key: &Key) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("HMAC takes keys of any length")
}

/// HKDF-SHA-256: extract with the store id as salt, expand with a label and one field to one block.
fn hkdf(store: &StoreId, secret: &Key, name: &str, field: &[u8]) -> Key {
    let extracted = Mac::new(store.as_bytes()).of(&[secret.expose()]);
    Key::take(&mut expand(&Mac::new(&extracted.0), name, field).0)
}

/// One block of HKDF-Expand: HMAC(key, label | field | 0x01).
fn expand(key: &Mac, name: &str, field: &[u8]) -> Secret {
    key.of(&[&label(name), field, &[1]])
}

fn stream_field(stream: &Stream) -> [u8; 2 * LABEL_LIMIT] {
    let mut field = [0; 2 * LABEL_LIMIT];
    let (class, jurisdiction) = field.split_at_mut(LABEL_LIMIT);
    class[..stream.class().len()].copy_from_slice(stream.class().as_bytes());
    jurisdiction[..stream.jurisdiction().len()].copy_from_slice(stream.jurisdiction().as_bytes());
    field
}

/// The key of one customer's records in one stream.
pub fn stream_key(store: &StoreId, secret: &Key, stream: &Stream) -> Key {
    hkdf(store, secret, "tenure/v1/stream", &stream_field(stream))
}

/// The key of one customer's records in one stream and calendar year, made ready.
pub struct YearKey {
    key: Key,
    mac: Mac,
}

impl YearKey {
    /// Derives it from the stream key.
    pub fn derive(store: &StoreId, stream_key: &Key, year: i16) -> Self {
        YearKey::from_key(hkdf(store, stream_key, "tenure/v1/year", &year.to_le_bytes()))
    }

    /// A year key that survived as itself when its customer's row was exploded.
    pub fn from_key(key: Key) -> Self {
        let mac = Mac::new(key.expose());
        YearKey { key, mac }
    }

    /// The key itself, for sealing it into the keyring.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The row's half of a cell.
    pub fn cell_secret(&self, number: PartitionNumber) -> CellSecret {
        CellSecret(self.mac.of(&[&label("tenure/v1/cell"), &number.0.to_le_bytes()]))
    }
}

/// The row's half of a cell: what remains of a customer whose row was exploded down to one window.
pub struct CellSecret(Secret);

impl CellSecret {
    /// One that was kept in the keyring.
    pub fn from_key(key: &Key) -> Self {
        CellSecret(Secret(*key.expose()))
    }

    /// The key itself, for sealing it into the keyring.
    pub fn key(&self) -> Key {
        Key::take(&mut { self.0.0 })
    }
}

/// A partition's key, the column's half of its cells, made ready.
pub struct PartitionKey {
    key: Key,
    mac: Mac,
}

impl PartitionKey {
    /// Makes `key` ready.
    pub fn new(key: Key) -> Self {
        let mac = Mac::new(key.expose());
        PartitionKey { key, mac }
    }

    /// The key itself, for sealing it into the keyring.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The pseudonym under which the frames of a cell are found: of the cell where row and column cross.
    pub fn handle(&self, secret: &CellSecret) -> Handle {
        let full = self.mac.of(&[&HANDLE, &secret.0.0]);
        Handle::from_bytes(std::array::from_fn(|index| full.0[index]))
    }

    /// The key of that cell.
    pub fn cell(&self, secret: &CellSecret) -> CellKey {
        CellKey::ready(self.mac.of(&[&CELL_KEY, &secret.0.0]))
    }

    /// The key of the partition's dictionary with this id.
    pub fn dictionary(&self, id: u32) -> DictionaryKey {
        let mut derived = expand(&self.mac, "tenure/v1/dictionary", &id.to_le_bytes());
        DictionaryKey(Key::take(&mut derived.0))
    }
}

impl std::fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartitionKey(..)")
    }
}

/// The key of one cell, made ready.
pub struct CellKey {
    key: Secret,
    mac: Mac,
}

impl CellKey {
    fn ready(key: Secret) -> Self {
        let mac = Mac::new(&key.0);
        CellKey { key, mac }
    }

    /// One that was kept in the keyring (a held cell).
    pub fn from_key(key: &Key) -> Self {
        CellKey::ready(Secret(*key.expose()))
    }

    /// The key itself, for sealing it into the keyring.
    pub fn key(&self) -> Key {
        Key::take(&mut { self.key.0 })
    }

    /// The key that encrypts the cell's records of one opening.
    pub fn sealer(&self, salt: &Salt) -> Sealer {
        Sealer::of(&expand(&self.mac, "tenure/v1/dek", salt.as_bytes()).0)
    }
}

impl std::fmt::Debug for CellKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CellKey(..)")
    }
}

/// The key of one dictionary of one partition.
#[derive(Debug)]
pub struct DictionaryKey(Key);

impl DictionaryKey {
    /// One that was kept in the keyring (of a partition with held cells).
    pub fn from_key(key: Key) -> Self {
        DictionaryKey(key)
    }

    /// The key itself, for sealing it into the keyring.
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// What the dictionary is sealed with.
    pub fn sealer(&self) -> Sealer {
        Sealer::of(&expand(&Mac::new(self.0.expose()), "tenure/v1/dict-dek", &[]).0)
    }

    /// The nonce for sealing `plain` with `associated`, which is of fixed width: another one for whatever else is
    /// sealed under this key.
    pub fn nonce(&self, associated: &[u8], plain: &[u8]) -> Nonce {
        let mut mac = keyed(&self.0);
        mac.update(&label("tenure/v1/dict-nonce"));
        mac.update(associated);
        mac.update(plain);
        let full = finish(mac);
        std::array::from_fn(|index| full.expose()[index])
    }
}

fn tag(secret: &Key, name: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = keyed(secret);
    mac.update(&label(name));
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    let full = finish(mac);
    std::array::from_fn(|index| full.expose()[index])
}

/// The root node's lookup secret, made ready to find customers.
pub struct CustomerTags {
    lookup: Key,
    mac: Mac,
}

impl CustomerTags {
    /// Makes `lookup` ready.
    pub fn new(lookup: &Key) -> Self {
        CustomerTags { lookup: lookup.duplicate(), mac: Mac::new(lookup.expose()) }
    }

    /// Where the keyring keeps a customer: HMAC of the id under the lookup secret.
    pub fn of(&self, id: &str) -> [u8; 16] {
        const NAME: &str = "tenure/v1/customer";
        if !Mac::takes(LABEL_BYTES + 8 + id.len()) {
            return tag(&self.lookup, NAME, &[id.as_bytes()]);
        }
        let full = self.mac.of(&[&label(NAME), &(id.len() as u64).to_le_bytes(), id.as_bytes()]);
        std::array::from_fn(|index| full.0[index])
    }
}

/// The key that requests to the writer are sealed under, from the route key of the root in force.
pub fn request_key(store: &StoreId, route: &Key) -> Key {
    hkdf(store, route, "tenure/v1/request", &[])
}

/// The key of one access log of a month, from the key of that month.
pub fn access_key(store: &StoreId, month: &Key, log: &[u8; 16]) -> Key {
    hkdf(store, month, "tenure/v1/access", log)
}

/// The seed of the key that checkpoints are signed with: the same for the life of the store.
pub fn signing_seed(store: &StoreId, lookup: &Key) -> Key {
    hkdf(store, lookup, "tenure/v1/sign", &[])
}

/// Where the keyring keeps a partition.
pub fn partition_tag(lookup: &Key, id: &PartitionId) -> [u8; 16] {
    let start = id.window.first_day().number().to_le_bytes();
    tag(lookup, "tenure/v1/partition", &[&stream_field(&id.stream), &start, &[id.window.length() as u8]])
}

/// The name under which a source's offset is kept.
pub fn source_tag(lookup: &Key, name: &str) -> [u8; 16] {
    tag(lookup, "tenure/v1/source", &[name.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::take(&mut [byte; 32])
    }

    fn cell(secret: u8, partition: u8, number: u64) -> (Handle, CellKey) {
        let store = StoreId::from_bytes([9; 16]);
        let stream = Stream::new("chat", "EU").unwrap();
        let year = YearKey::derive(&store, &stream_key(&store, &key(secret), &stream), 2025);
        let (partition, secret) = (PartitionKey::new(key(partition)), year.cell_secret(PartitionNumber(number)));
        (partition.handle(&secret), partition.cell(&secret))
    }

    #[test]
    fn stream_and_year_keys_are_the_usual_hkdf() {
        let (store, secret) = (StoreId::from_bytes([9; 16]), key(1));
        let stream = Stream::new("chat", "EU").unwrap();
        let usual = |secret: &Key, name: &str, field: &[u8]| {
            let mut bytes = [0; 32];
            let hkdf = hkdf::Hkdf::<Sha256>::new(Some(store.as_bytes()), secret.expose());
            hkdf.expand_multi_info(&[&label(name), field], &mut bytes).unwrap();
            Key::take(&mut bytes)
        };
        let stream_key = stream_key(&store, &secret, &stream);
        assert_eq!(stream_key, usual(&secret, "tenure/v1/stream", &stream_field(&stream)));
        let year = usual(&stream_key, "tenure/v1/year", &2025_i16.to_le_bytes());
        assert_eq!(*YearKey::derive(&store, &stream_key, 2025).key(), year);
    }

    /// Computed independently with Python's hmac and hashlib from the words of docs/format.md (tests/vectors/derive.py).
    #[test]
    fn the_derivation_is_the_documented_one() {
        let (handle, cell) = cell(1, 2, 3);
        let hex: String = cell.key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(format!("{handle} {hex}"), include_str!("../../tests/vectors/handle.txt").trim());
    }

    /// As above, by tests/vectors/derive.py.
    #[test]
    fn the_key_of_a_dictionary_is_the_documented_one() {
        let dictionary = PartitionKey::new(key(2)).dictionary(7);
        let hex: String = dictionary.key().expose().iter().map(|byte| format!("{byte:02x}")).collect();
        let nonce: String = dictionary.nonce(&[5; 80], b"words").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(format!("{hex} {nonce}"), include_str!("../../tests/vectors/dictionary.txt").trim());
        assert_ne!(PartitionKey::new(key(2)).dictionary(8).key(), dictionary.key());
    }

    #[test]
    fn customers_are_found_alike_however_long_their_ids_are() {
        let tags = CustomerTags::new(&key(7));
        for length in 1..=256 {
            let id = "x".repeat(length);
            assert_eq!(tags.of(&id), tag(&key(7), "tenure/v1/customer", &[id.as_bytes()]), "{length} bytes");
        }
    }

    #[test]
    fn both_halves_and_the_number_reach_handle_and_key() {
        let (handle, cell_key) = cell(1, 2, 3);
        for (other, other_key) in [cell(4, 2, 3), cell(1, 4, 3), cell(1, 2, 4)] {
            assert_ne!(other, handle);
            assert_ne!(other_key.key(), cell_key.key());
        }
        assert_ne!(cell_key.key().expose()[..16], *handle.as_bytes());
    }

    #[test]
    fn what_is_sealed_opens_only_whole() {
        let sealer = cell(1, 2, 3).1.sealer(&Salt::from_bytes([5; 16]));
        let mut buffer = *b"a few words";
        let tag = sealer.seal(&[7; 12], b"about", &mut buffer);
        assert_ne!(&buffer, b"a few words");
        let sealed = buffer;
        assert!(sealer.open(&[7; 12], b"else", &mut buffer, &tag).is_err());
        assert_eq!(buffer, sealed);
        sealer.open(&[7; 12], b"about", &mut buffer, &tag).unwrap();
        assert_eq!(&buffer, b"a few words");
    }
}
