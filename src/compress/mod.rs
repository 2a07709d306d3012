//! The only room that imports zstd: one frame per record, never across customers; and the dictionaries that make small
//! frames compress well without carrying anybody's words.

mod codec;
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(dead_code, reason = "the engine trains from its next change on")
)]
mod dictionary;
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(dead_code, reason = "the engine trains from its next change on")
)]
mod train;

#[cfg_attr(
    not(feature = "simulation"),
    expect(unused_imports, reason = "the engine trains from its next change on")
)]
pub use codec::Malformed;
pub use codec::{compress_into, decompress};
#[cfg_attr(
    not(feature = "simulation"),
    expect(unused_imports, reason = "the engine trains from its next change on")
)]
pub use dictionary::Dictionary;
#[cfg_attr(
    not(feature = "simulation"),
    expect(unused_imports, reason = "the engine trains from its next change on")
)]
pub use train::{Sample, Trained, Training, Unproved, prove, train};

/// The level that bodies are compressed at: zstd's own default, measured as the best trade for chats.
pub const LEVEL: i32 = 3;
