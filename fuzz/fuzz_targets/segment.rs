//! What stands around the frames of a segment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::segment(data));
