//! The only room that imports zstd: one frame per record, never across customers; and the dictionaries that make small
//! frames compress well without carrying anybody's words.

mod behind;
mod block;
mod codec;
mod dictionary;
mod encode;
mod fse;
mod lanes;
mod matches;
mod processor;
mod tables;
mod train;

#[cfg(feature = "simulation")]
pub use codec::Malformed;
#[cfg(feature = "simulation")]
pub use codec::compress_into;
pub use codec::{Compressor, decompress, store_into};
pub use dictionary::Dictionary;
pub use train::{Sample, Trained, Training, measure, train};
#[cfg(feature = "simulation")]
pub use train::{Unproved, prove};

/// The level that bodies are compressed at: zstd's own default, measured as the best trade for chats.
const LEVEL: i32 = 3;

/// Reads a dictionary's tables as its preparation does.
#[cfg(fuzzing)]
pub fn read_tables(dictionary: &[u8]) {
    _ = tables::Tables::read(dictionary);
}
