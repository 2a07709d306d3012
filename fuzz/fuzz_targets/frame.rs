//! Frames and the plaintexts of records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::frame(data));
