//! Every byte on disk, and nothing but bytes: encoders and decoders without input or output. Lengths are bounded before
//! anything is allocated, checksums checked before anything is parsed. docs/format.md is its specification.

pub mod bytes;
pub mod ledger;
pub mod position;
