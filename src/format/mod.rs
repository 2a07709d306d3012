//! Every byte on disk, and nothing but bytes: encoders and decoders without input or output. Lengths are bounded before
//! anything is allocated, checksums checked before anything is parsed. docs/format.md is its specification.

pub mod access;
pub mod bytes;
pub mod dictionary;
pub mod frame;
pub mod group;
pub mod hint;
pub mod journal;
pub mod keyring;
pub mod keyring_column;
pub mod keyring_custodian;
pub mod keyring_entry;
pub mod keyring_hold;
pub mod keyring_root;
#[cfg(test)]
mod keyring_tests;
pub mod keyring_tree;
pub mod lease;
pub mod ledger;
pub mod manifest;
pub mod mark;
pub mod note;
pub mod plain;
pub mod position;
pub mod request;
#[cfg(test)]
pub mod samples;
pub mod segment;
#[cfg(test)]
mod tests;
