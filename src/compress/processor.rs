//! What a processor does in one step and the language does not say: the only unsafe code of this room.
#![allow(unsafe_code)]

use super::encode::{Encoded, Encoder, Prepared};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_prefetch};

/// How many bytes two times sixteen begin with that are the same.
#[inline(always)]
pub fn common(one: &[u8; 16], other: &[u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 belongs to every x86-64; what is loaded are the sixteen bytes of each, aligned or not.
        let equal = unsafe {
            let (one, other) = (_mm_loadu_si128(one.as_ptr().cast()), _mm_loadu_si128(other.as_ptr().cast()));
            _mm_movemask_epi8(_mm_cmpeq_epi8(one, other))
        };
        (!equal).trailing_zeros()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        (u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other)).trailing_zeros() / 8
    }
}

/// Asks for bytes that will be read soon, the first 4 KiB of them.
#[inline(always)]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64).take(64) {
        // SAFETY: SSE belongs to every x86-64; a prefetch has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Whether shifts and counts of bits, of which encoding is made, are one step each.
#[cfg(target_arch = "x86_64")]
fn is_quick() -> bool {
    use std::is_x86_feature_detected as has;
    has!("bmi1") && has!("bmi2") && has!("lzcnt")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
fn next_quickly(encoder: &mut Encoder, prepared: &Prepared) -> Option<Encoded> {
    encoder.run(prepared)
}

/// [`Encoder::run`], compiled for the processor that is here.
pub fn next(encoder: &mut Encoder, prepared: &Prepared) -> Option<Encoded> {
    #[cfg(target_arch = "x86_64")]
    if is_quick() {
        // SAFETY: the processor has just been asked for all that the function is compiled for.
        return unsafe { next_quickly(encoder, prepared) };
    }
    encoder.run(prepared)
}
