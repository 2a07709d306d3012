//! Leaves of the ledger, and the commits and snapshots they stand in.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure::fuzzing::ledger_leaf(data));
