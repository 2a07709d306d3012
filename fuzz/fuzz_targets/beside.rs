//! Leases, requests, answers, the durable position, the mark.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::beside(data));
