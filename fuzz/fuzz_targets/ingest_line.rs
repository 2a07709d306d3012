//! One line of the ingest form: what is accepted prints to a line that reads back as the same record.
#![no_main]

#[path = "../../src/bin/tenure/line.rs"]
#[expect(dead_code, reason = "the program uses more of it")]
mod line;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(record) = line::parse(data) else { return };
    let mut printed = Vec::new();
    line::print_record(&mut printed, &record);
    let text = printed.strip_suffix(b"\n").expect("a line ends");
    let again = line::parse(text).expect("what was printed reads back");
    assert!(again == record, "a record changes when it is printed and read");
});
