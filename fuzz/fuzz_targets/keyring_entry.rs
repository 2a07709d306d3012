//! The plaintexts of keyring entries.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::keyring_entry(data));
