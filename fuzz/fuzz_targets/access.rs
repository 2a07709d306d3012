//! Access logs, and what is shown to others: checkpoints, public keys, proofs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::access(data));
