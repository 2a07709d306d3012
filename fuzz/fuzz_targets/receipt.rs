//! Receipts, as they are read from leaves that were proved.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::receipt(data));
