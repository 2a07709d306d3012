//! The only room that imports zstd: one frame per record, never across customers.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

/// The level that bodies are compressed at: zstd's own default, measured as the best trade for chats.
pub const LEVEL: i32 = 3;

/// The bytes do not decompress to the length they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `body`, compressed, to `out`, and says so with `true`; where compression would not make it smaller, nothing
/// is appended and the answer is `false`.
pub fn compress_into(body: &[u8], out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Compressor::new(LEVEL).ok();
        }
        let Some(compressor) = slot else { return false };
        let start = out.len();
        // A result of the body's own length or more is of no use, so there is no room for one.
        out.resize(start + body.len(), 0);
        let written = compressor.compress_to_buffer(body, &mut out[start..]);
        let length = written.ok().filter(|length| *length < body.len());
        out.truncate(start + length.unwrap_or(0));
        length.is_some()
    })
}

/// The body that `compressed` holds: exactly `length` bytes, which the caller has bounded.
///
/// # Errors
/// [`Malformed`] where it is no zstd frame or holds another number of bytes.
pub fn decompress(compressed: &[u8], length: usize) -> Result<Vec<u8>, Malformed> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        let decompressor = slot.as_mut().ok_or(Malformed)?;
        let body = decompressor.decompress(compressed, length).map_err(|_| Malformed)?;
        if body.len() == length { Ok(body) } else { Err(Malformed) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_whole_and_lengths_are_checked() {
        let body = b"Thank you for calling. ".repeat(40);
        let mut out = b"before".to_vec();
        assert!(compress_into(&body, &mut out));
        assert_eq!(decompress(&out[6..], body.len()).unwrap(), body);
        assert_eq!(decompress(&out[6..], body.len() - 1), Err(Malformed));
        assert_eq!(decompress(&out[6..], body.len() + 1), Err(Malformed));
        assert_eq!(decompress(b"no frame", 100), Err(Malformed));
        let before = out.len();
        assert!(!compress_into(b"short", &mut out));
        assert_eq!(out.len(), before);
    }
}
