//! Frames of the keyring's log and the plaintexts of its nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::keyring_node(data));
