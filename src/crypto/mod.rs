//! The only room that imports ciphers and hashes: keys that wipe themselves, the derivations of rows, columns and
//! cells, authenticated encryption, hashing. Pure: randomness is handed in, nothing is read or written.
//!
//! Algorithms: ChaCha20-Poly1305 (RFC 8439), HMAC (RFC 2104) and HKDF (RFC 5869) with SHA-256 (FIPS 180-4),
//! Ed25519 (RFC 8032). Labels start with `tenure/v1/`; every input is of fixed width, nothing is concatenated from strings.

mod aead;
mod derive;
mod hash;
mod key;
mod mac;
mod merkle;
mod sign;

#[cfg(feature = "simulation")]
pub use aead::seals;
pub use aead::{NONCE_BYTES, Nonce, Sealer, TAG_BYTES};
pub use derive::{
    CellKey, CellSecret, DictionaryKey, PartitionKey, YearKey, access_key, customer_tag, partition_tag, request_key,
    signing_seed, source_tag, stream_key,
};
pub use hash::{Digest, Hasher, hex, leaf_hash, sha256};
pub use key::Key;
#[cfg(feature = "simulation")]
pub use key::keys;
pub use merkle::{Frontier, consistency_ranges, inclusion_ranges, verify_consistency, verify_inclusion};
pub use sign::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, verify_signature};
