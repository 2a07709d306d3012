//! What a dictionary must never hold, and what it must.

use super::*;
use crate::compress::LEVEL;

const TRAINING: Training = Training { k: 20, size: 16 << 10, level: LEVEL };

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

#[test]
fn what_many_customers_share_is_found_and_pays() {
    let records = records(200, |customer| format!("I am customer {customer}."));
    let trained = trained(&records);
    assert!(contains(&trained.dictionary, "The technician did not come and nobody called me."));
    assert!(contains(&trained.dictionary, " of 00.00 will arrive within 0-0 "), "digits are masked");
    assert!(trained.with_bytes * 3 < trained.plain_bytes * 2, "{trained:?}");
    assert!(prove(trained.dictionary.bytes(), &samples(&records), TRAINING.k).is_ok());
}
