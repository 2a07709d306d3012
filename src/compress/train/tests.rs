//! What a dictionary must never hold, and what it must.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::header::header_length;
use super::text::{SEPARATOR, masked};
use super::*;
use crate::compress::{compress_into, decompress};

const TRAINING: Training = Training { k: 20, size: 16 << 10 };

/// A repeatable generator of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

const SENTENCES: [&str; 8] = [
    "Thank you for contacting us about your order.",
    "I was charged twice for the same invoice, please refund one.",
    "Could you please confirm the address on your account?",
    "The technician did not come and nobody called me.",
    "I have restarted the router three times already.",
    "Your refund of 25.90 will arrive within 3-5 working days.",
    "Is there anything else that I can help you with today?",
    "Please cancel my contract at the end of the month.",
];

/// Records of so many customers, each with a line of `own` words in every one.
fn records(customers: u64, own: impl Fn(u64) -> String) -> Vec<(u64, String)> {
    let mut numbers = Numbers(7);
    let mut records = Vec::new();
    for customer in 0..customers {
        for _ in 0..1 + numbers.below(6) {
            let mut body = String::from("{\"turns\":[");
            for turn in 0..4 + numbers.below(5) {
                let sentence = SENTENCES[numbers.below(8) as usize];
                body.push_str(&format!("{{\"turn\":{turn},\"text\":\"{sentence}\"}},"));
            }
            body.push_str(&format!("{{\"text\":\"{}\"}}]}}", own(customer)));
            records.push((customer, body));
        }
    }
    records
}

fn samples(records: &[(u64, String)]) -> Vec<Sample<'_>> {
    records.iter().map(|(customer, body)| Sample { customer: *customer, body: body.as_bytes() }).collect()
}

fn trained(records: &[(u64, String)]) -> Trained {
    train(&samples(records), &TRAINING, &|| false).expect("many customers share much")
}

fn contains(dictionary: &Dictionary, needle: &str) -> bool {
    dictionary.bytes().windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// A text of so many letters that nothing else has: names, addresses, phrases.
fn secret(about: u64, letters: usize) -> String {
    let mut numbers = Numbers(about.wrapping_mul(0x51ed_270b));
    let consonant = |numbers: &mut Numbers| b"bcdfghjklmnpqrstvwxz"[numbers.below(20) as usize] as char;
    (0..letters).map(|at| if at % 7 == 6 { ' ' } else { consonant(&mut numbers) }).collect()
}

fn masked_all(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| masked(*byte)).collect()
}

/// Whether any run of eight bytes of a secret stands anywhere in the finished bytes, digits masked.
fn betrays(dictionary: &Dictionary, secret: &str) -> bool {
    let finished = masked_all(dictionary.bytes());
    masked_all(secret.as_bytes()).windows(8).any(|run| finished.windows(8).any(|window| window == run))
}

fn content(dictionary: &[u8]) -> &[u8] {
    &dictionary[header_length(dictionary).unwrap()..]
}

/// The customers who have each run of eight bytes, counted the slow way.
fn sharers(records: &[(u64, String)]) -> BTreeMap<Vec<u8>, BTreeSet<u64>> {
    let mut sharers: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
    for (customer, body) in records {
        for run in masked_all(body.as_bytes()).windows(8) {
            sharers.entry(run.to_vec()).or_default().insert(*customer);
        }
    }
    sharers
}

#[test]
fn what_many_customers_share_is_found_and_pays() {
    let records = records(200, |customer| format!("I am customer {customer}."));
    let trained = trained(&records);
    assert!(contains(&trained.dictionary, "The technician did not come and nobody called me."));
    assert!(
        contains(&trained.dictionary, "Your refund of 00.00 will arrive within 0-0 working days."),
        "digits are masked"
    );
    assert!(trained.with_bytes * 2 < trained.plain_bytes, "{trained:?}");
    let body = records[3].1.as_bytes();
    let mut out = Vec::new();
    assert!(compress_into(body, Some(&trained.dictionary), &mut out) && out.len() * 4 < body.len());
    assert_eq!(decompress(&out, body.len(), Some(&trained.dictionary)).unwrap(), body);
}

#[test]
fn what_one_customer_says_again_and_again_is_never_found() {
    let own = |customer: u64| {
        let lengths = [8, 9, 12, 17, 25, 33, 40];
        let secrets = lengths.map(|letters| secret(customer * 100 + letters as u64, letters));
        let secrets = secrets.join("/");
        format!("{secrets} {secrets} {}.{}@example.com", secret(customer, 6), secret(customer + 7, 6))
    };
    let records = records(150, own);
    let trained = trained(&records);
    let betrayed = (0..150).filter(|customer| {
        let own = own(*customer);
        let (own, everybodys) = own.split_once('@').unwrap();
        assert!(betrays(&trained.dictionary, everybodys));
        own.split('/').any(|one| betrays(&trained.dictionary, one))
    });
    assert_eq!(betrayed.count(), 0);
}

#[test]
fn k_customers_are_enough_and_one_less_is_not() {
    let of_group = |size: u64| move |customer: u64| format!("<{}>", secret(1_000 + customer / size, 30));
    for (size, known) in [(TRAINING.k as u64 - 1, false), (2 * TRAINING.k as u64, true)] {
        let records = records(6 * size, of_group(size));
        let trained = trained(&records);
        for group in 0..6 {
            assert_eq!(betrays(&trained.dictionary, &secret(1_000 + group, 30)), known, "{size} customers a group");
        }
    }
}

#[test]
fn customers_count_and_records_do_not() {
    let mut records = records(100, |_| String::from("That is all."));
    let (one, few) = (secret(1, 40), secret(2, 40));
    records.extend((0..10_000).map(|call| (7, format!("Call {call}: {one}"))));
    records.extend((0..5_000).map(|call| (call % (TRAINING.k as u64 - 1), format!("Mail {call}: {few}"))));
    let trained = trained(&records);
    assert!(contains(&trained.dictionary, "That is all."));
    assert!(!betrays(&trained.dictionary, &one) && !betrays(&trained.dictionary, &few));
}

#[test]
fn digits_are_masked_even_where_all_customers_share_them() {
    let records = records(100, |_| String::from("Our hotline is 0800 4711 and your account is DE89 3704 0044."));
    let trained = trained(&records);
    assert!(contains(&trained.dictionary, "Our hotline is 0000 0000 and your account is DE00 0000 0000."));
    assert!(!content(trained.dictionary.bytes()).iter().any(|byte| (b'1'..=b'9').contains(byte)));
}

#[test]
fn only_whole_fragments_are_admitted() {
    // Two halves of a sentence are common, each with many others; together they are one customer's.
    let halves = |customer: u64| match customer % 2 {
        0 => String::from("When I moved to Zurich last"),
        _ => String::from("Zurich last year is what I remember"),
    };
    let mut records = records(100, halves);
    let whole = "When I moved to Zurich last year is what I remember";
    records.push((3, whole.to_string()));
    let trained = trained(&records);
    assert!(contains(&trained.dictionary, "I moved to Zurich last"));
    assert!(contains(&trained.dictionary, "Zurich last year is what"));
    assert!(!contains(&trained.dictionary, "moved to Zurich last year is"));
    for piece in content(trained.dictionary.bytes()).split(|byte| *byte == SEPARATOR).filter(|piece| !piece.is_empty())
    {
        let has = |body: &str| masked_all(body.as_bytes()).windows(piece.len()).any(|window| window == piece);
        let customers: BTreeSet<u64> =
            records.iter().filter(|(_, body)| has(body)).map(|(customer, _)| *customer).collect();
        assert!(customers.len() >= TRAINING.k, "{}", String::from_utf8_lossy(piece));
    }
}

#[test]
fn the_proof_refuses_a_single_foreign_run() {
    let records = records(100, |customer| secret(customer, 20));
    let (samples, trained) = (samples(&records), trained(&records));
    let good = trained.dictionary.bytes();
    assert_eq!(prove(good, &samples, TRAINING.k), Ok(()));
    let start = header_length(good).unwrap();
    let foreign = &records[0].1[records[0].1.len() - 15..][..8];
    let mut refused = 0;
    for at in (start..good.len()).step_by(97) {
        let bad = [&good[..at], b"\0", foreign.as_bytes(), b"\0", &good[at..]].concat();
        refused += usize::from(prove(&bad, &samples, TRAINING.k).is_err());
        // One byte of a fragment is enough to make it say what nobody said.
        let mut bad = good.to_vec();
        bad[at] = if bad[at] == b'q' { b'Q' } else { b'q' };
        refused += usize::from(prove(&bad, &samples, TRAINING.k).is_err());
    }
    assert_eq!(refused, 2 * (start..good.len()).step_by(97).count());
    let with = |tail: &[u8]| prove(&[good, b"\0", tail].concat(), &samples, TRAINING.k);
    let at = good.len() + 1;
    assert_eq!(with(foreign.as_bytes()), Err(Unproved::Rare { at, customers: 1 }));
    assert_eq!(with(b"Thank you 7"), Err(Unproved::Digit { at: at + 10 }));
    assert_eq!(with(b"Thank"), Err(Unproved::Short { at }));
    assert_eq!(prove(&good[..60], &samples, TRAINING.k), Err(Unproved::Header));
    let everybody = TRAINING.k + records.len();
    assert!(matches!(prove(good, &samples, everybody), Err(Unproved::Rare { .. })));
}

#[test]
fn the_proof_looks_into_the_header_too() {
    let mut records = records(100, |_| String::from("That is all."));
    let bytes = trained(&records).dictionary.bytes().to_vec();
    // What a record would have to say for the tables to repeat it: no text says that, so it is put there as bytes.
    let line = bytes[20..28].to_vec();
    let mut samples = samples(&records);
    samples.push(Sample { customer: 5, body: &line });
    assert_eq!(prove(&bytes, &samples, TRAINING.k), Err(Unproved::Rare { at: 20, customers: 1 }));
    records.clear();
    assert!(prove(&bytes, &[], TRAINING.k).is_err());
}

#[test]
fn the_same_samples_give_the_same_bytes() {
    let records = records(120, |customer| format!("I am customer {customer}."));
    assert_eq!(trained(&records).dictionary.bytes(), trained(&records).dictionary.bytes());
}

#[test]
fn a_training_is_given_up_when_asked_and_where_too_few_share() {
    let shared_by = |customers: u64| records(customers, |_| String::new());
    let (many, few) = (shared_by(100), shared_by(TRAINING.k as u64 - 1));
    assert!(train(&samples(&few), &TRAINING, &|| false).is_none());
    assert!(train(&[], &TRAINING, &|| false).is_none());
    assert!(train(&samples(&many), &Training { k: 1, ..TRAINING }, &|| false).is_none(), "one is nobody else");
    assert!(train(&samples(&many), &Training { size: 64, ..TRAINING }, &|| false).is_none());
    let asked = Cell::new(0);
    for patience in 0.. {
        asked.set(0);
        let stop = || asked.replace(asked.get() + 1) == patience;
        match train(&samples(&many), &TRAINING, &stop) {
            None => assert_eq!(asked.get(), patience + 1, "nothing goes on after the answer"),
            Some(_) => {
                assert!(patience >= 4, "it asks now and then");
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_trained_holds_before_a_slower_proof(
        bodies in prop::collection::vec((0..12_u64, "(ab|cd |efg|0[1-9]|\\x00|abcd efg){0,40}"), 1..80),
        k in 2..5_usize,
    ) {
        let records: Vec<(u64, String)> = bodies;
        let samples = samples(&records);
        let Some(trained) = train(&samples, &Training { k, size: 4_096 }, &|| false) else { return Ok(()) };
        let sharers = sharers(&records);
        let bytes = trained.dictionary.bytes();
        prop_assert!(bytes.len() <= 4_096);
        for piece in content(bytes).split(|byte| *byte == SEPARATOR).filter(|piece| !piece.is_empty()) {
            prop_assert!(piece.len() >= 8);
            for run in piece.windows(8) {
                prop_assert!(sharers.get(run).is_some_and(|customers| customers.len() >= k));
            }
        }
        // And with one byte changed, the quick proof and the slow one still agree.
        let start = header_length(bytes).unwrap();
        for at in start..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] = b'e';
            let mut pieces = changed[start..].split(|byte| *byte == SEPARATOR).filter(|piece| !piece.is_empty());
            let proved = pieces.all(|piece| {
                let known = |run: &[u8]| sharers.get(run).is_some_and(|customers| customers.len() >= k);
                piece.len() >= 8 && piece.windows(8).all(known)
            });
            prop_assert_eq!(prove(&changed, &samples, k).is_ok(), proved);
        }
    }
}
