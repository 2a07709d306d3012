//! What an application does itself before it hands a record to an engine that knows no customers: zstd for each record,
//! then ChaCha20-Poly1305 under a key of the customer, derived once and cached.
//!
//! Key: pseudonym of the customer (16), stream (2), time (8), sequence (8), all big endian, so that a timeline is one
//! range. Value: nonce (12), ciphertext, tag (16); the key is associated data. In the plain form the value is the body.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::Result;
use crate::records::Item;

/// The level of every zstd in this package.
pub const LEVEL: i32 = 3;
pub const PSEUDONYM: usize = 16;
pub const KEY: usize = PSEUDONYM + 2 + 8 + 8;
const NONCE: usize = 12;
const TAG: usize = 16;

/// What the application does and what it leaves to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// zstd for each record and encryption for each customer.
    Usual,
    /// The same with a dictionary trained on records, and so with customers' words in it past their erasure.
    Expert,
    /// Neither: no encryption, and the engine's own compression.
    Plain,
}

pub type Pseudonym = [u8; PSEUDONYM];
pub type Pair = (Vec<u8>, Vec<u8>);

struct Customer {
    pseudonym: Pseudonym,
    cipher: ChaCha20Poly1305,
}

/// Keys, dictionary and nonces of one opening.
pub struct Codec {
    pub form: Form,
    pseudonyms: Hmac<Sha256>,
    keys: Hmac<Sha256>,
    encoder: Option<EncoderDictionary<'static>>,
    decoder: Option<DecoderDictionary<'static>>,
    salt: [u8; 4],
    nonces: AtomicU64,
    customers: Vec<RwLock<HashMap<Box<str>, Arc<Customer>>>>,
}

/// An HMAC that is ready for messages.
pub fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// HMAC-SHA-256 of one message under a midstate.
pub fn mac(state: &Hmac<Sha256>, message: &[u8]) -> [u8; 32] {
    let mut state = state.clone();
    state.update(message);
    state.finalize().into_bytes().into()
}

impl Codec {
    pub fn new(form: Form, dictionary: Option<&[u8]>) -> Result<Self> {
        let dictionary = dictionary.filter(|_| form == Form::Expert);
        let mut salt = [0; 4];
        getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
        Ok(Codec {
            form,
            // A fixed master key: the store has to open again in another process. A service would fetch it.
            pseudonyms: keyed(b"the master key of pseudonyms"),
            keys: keyed(b"the master key of customers' keys"),
            encoder: dictionary.map(|bytes| EncoderDictionary::copy(bytes, LEVEL)),
            decoder: dictionary.map(DecoderDictionary::copy),
            salt,
            nonces: AtomicU64::new(0),
            customers: (0..64).map(|_| RwLock::default()).collect(),
        })
    }

    /// The name under which the engine knows a customer.
    pub fn pseudonym(&self, name: &str) -> Pseudonym {
        self.customer(name).pseudonym
    }

    fn customer(&self, name: &str) -> Arc<Customer> {
        let shard = &self.customers[name.bytes().fold(0, |hash: usize, byte| hash * 31 + usize::from(byte)) % 64];
        if let Some(known) = shard.read().expect("no holder panics").get(name) {
            return known.clone();
        }
        let mut pseudonym = [0; PSEUDONYM];
        pseudonym.copy_from_slice(&mac(&self.pseudonyms, name.as_bytes())[..PSEUDONYM]);
        let customer = Arc::new(Customer { pseudonym, cipher: self.cipher(&pseudonym) });
        shard.write().expect("no holder panics").insert(name.into(), customer.clone());
        customer
    }

    fn cipher(&self, pseudonym: &[u8]) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&mac(&self.keys, pseudonym)).into())
    }

    /// Contexts and buffers for one thread.
    pub fn worker(&self) -> Result<Worker<'_>> {
        let compressor = match &self.encoder {
            Some(dictionary) => Compressor::with_prepared_dictionary(dictionary)?,
            None => Compressor::new(LEVEL)?,
        };
        let decompressor = match &self.decoder {
            Some(dictionary) => Decompressor::with_prepared_dictionary(dictionary)?,
            None => Decompressor::new()?,
        };
        let (compressed, body) = (Vec::new(), Vec::new());
        Ok(Worker { codec: self, compressor, decompressor, compressed, body, last: None })
    }
}

/// The key of a record.
pub fn key(pseudonym: &Pseudonym, item: &Item<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY);
    key.extend_from_slice(pseudonym);
    key.extend_from_slice(&u16::from(item.stream).to_be_bytes());
    key.extend_from_slice(&item.at.to_be_bytes());
    key.extend_from_slice(&item.sequence.to_be_bytes());
    key
}

/// From the first key of a customer, stream and time on.
pub fn bound(pseudonym: &Pseudonym, stream: u8, at: i64) -> Vec<u8> {
    let mut bound = pseudonym.to_vec();
    bound.extend_from_slice(&u16::from(stream).to_be_bytes());
    bound.extend_from_slice(&at.to_be_bytes());
    bound
}

/// The first key after all those of a customer.
pub fn after(pseudonym: &Pseudonym) -> Vec<u8> {
    let mut bound = pseudonym.to_vec();
    bound.push(0xff);
    bound
}

/// Encodes and decodes on one thread.
pub struct Worker<'a> {
    codec: &'a Codec,
    compressor: Compressor<'a>,
    decompressor: Decompressor<'a>,
    compressed: Vec<u8>,
    body: Vec<u8>,
    last: Option<(Pseudonym, ChaCha20Poly1305)>,
}

impl Worker<'_> {
    /// Key and value of a record.
    pub fn encode(&mut self, item: &Item<'_>) -> Result<Pair> {
        let customer = self.codec.customer(item.name);
        let key = key(&customer.pseudonym, item);
        if self.codec.form == Form::Plain {
            return Ok((key, item.body.to_vec()));
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(item.body.len()));
        self.compressor.compress_to_buffer(item.body, &mut self.compressed)?;
        let mut value = Vec::with_capacity(NONCE + self.compressed.len() + TAG);
        value.extend_from_slice(&self.codec.salt);
        value.extend_from_slice(&self.codec.nonces.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        value.extend_from_slice(&self.compressed);
        let (nonce, text) = value.split_at_mut(NONCE);
        let nonce: &[u8; NONCE] = (&*nonce).try_into()?;
        let tag = customer.cipher.encrypt_inout_detached(nonce.into(), &key, text.into());
        value.extend_from_slice(&tag.map_err(|_| "cannot encrypt")?);
        Ok((key, value))
    }

    /// The length of the body that a value holds, once it has been decrypted and decompressed.
    pub fn decode(&mut self, key: &[u8], value: &[u8]) -> Result<usize> {
        if self.codec.form == Form::Plain {
            self.body.clear();
            self.body.extend_from_slice(value);
            return Ok(self.body.len());
        }
        let pseudonym: Pseudonym = key[..PSEUDONYM].try_into()?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != pseudonym) {
            self.last = Some((pseudonym, self.codec.cipher(&pseudonym)));
        }
        let Some((_, cipher)) = &self.last else { return Err("no cipher".into()) };
        let (nonce, rest) = value.split_at(NONCE);
        let (text, tag) = rest.split_at(rest.len() - TAG);
        self.compressed.clear();
        self.compressed.extend_from_slice(text);
        let (nonce, tag): (&[u8; NONCE], [u8; TAG]) = (nonce.try_into()?, tag.try_into()?);
        let buffer = self.compressed.as_mut_slice().into();
        cipher.decrypt_inout_detached(nonce.into(), key, buffer, &Tag::from(tag)).map_err(|_| "cannot decrypt")?;
        let length = Decompressor::upper_bound(&self.compressed).ok_or("no length in the zstd frame")?;
        self.body.clear();
        self.body.reserve(length);
        Ok(self.decompressor.decompress_to_buffer(&self.compressed, &mut self.body)?)
    }
}

/// Trains a dictionary as Tenure does: of what at least 20 customers share.
pub fn train_shared<'a>(records: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>> {
    let mut customers = HashMap::new();
    let samples: Vec<_> = records
        .map(|(name, body)| {
            let next = customers.len() as u64;
            tenure::bare::Sample { customer: *customers.entry(name).or_insert(next), body }
        })
        .collect();
    let training = tenure::bare::Training { k: 20, size: 64 << 10 };
    let trained = tenure::bare::train(&samples, &training, &|| false).ok_or("nothing is shared by 20 customers")?;
    Ok(trained.dictionary.bytes().to_vec())
}

/// Where that stands, beside the one that an application trained.
pub fn shared_beside(trained: &std::path::Path) -> std::path::PathBuf {
    trained.with_extension("shared")
}

/// Trains a dictionary as applications do, on whole records. What it holds survives every erasure.
pub fn train(bodies: &[&[u8]]) -> Result<Vec<u8>> {
    Ok(zstd::dict::from_samples(bodies, 110 << 10)?)
}
