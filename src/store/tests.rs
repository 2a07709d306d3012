//! What goes on inside an opening that its users cannot time: an act in the middle of a training.

use super::*;
use crate::engine::train;
use crate::env::sim::Sim;
use crate::keyring::FileCustodian;
use crate::sync::atomic::{AtomicU64, Ordering};

const SAID: [&str; 8] = [
    "Thank you for contacting our customer service, how may I help you today?",
    "I am very sorry to hear that your parcel has not arrived as promised.",
    "Could you please tell me the order number that we sent you?",
    "I have found your order in our system and I am looking into it.",
    "The refund will be on your account within five working days.",
    "Please check your spam folder as well, our message may be there.",
    "Your return label is attached to the message that we sent you.",
    "Is there anything else that I can do for you on this fine day?",
];

fn store(sim: &Sim) -> Store {
    let custodian = FileCustodian::with_env(sim.env(), "/calls.custodian");
    let options = Store::options("/calls").env(sim.env()).custodian(custodian).ballast_bytes(4096);
    let store = options.train_at(200, 24).create().unwrap();
    let at: Timestamp = "2025-07-01T00:00:00Z".parse().unwrap();
    let records: Vec<Record> = (0..300)
        .map(|number: i64| {
            let said: Vec<&str> =
                (0..6).map(|turn| SAID[((number * 7 + turn * (number % 5 + 1)) % 8) as usize]).collect();
            let customer = format!("c-{}", number % 60);
            Record::new(&customer, "chat", "EU", at.plus_seconds(number * 7_000), said.join(" ")).unwrap()
        })
        .collect();
    store.append(records).unwrap().wait().unwrap();
    store
}

/// Trains, and does `meanwhile` once while it is asked whether to stop, at the earliest at question `number`.
fn train(store: &Store, number: u64, meanwhile: impl Fn()) -> bool {
    let engine = &store.0.engine;
    let due = train::due(engine, true).expect("the stream has enough to be trained");
    let asked = AtomicU64::new(0);
    let stop = || {
        if asked.fetch_add(1, Ordering::Relaxed) == number {
            meanwhile();
        }
        false
    };
    let trained = train::train(engine, &due, &stop).unwrap().is_some();
    assert!(asked.load(Ordering::Relaxed) > number, "nobody asked whether to stop at that time");
    trained
}

#[test]
fn what_was_let_go_of_during_a_training_is_in_no_dictionary() {
    assert!(train(&store(&Sim::new(1)), 0, || {}), "nothing is trained anyway");
    for number in [0, 30, 61] {
        let sim = Sim::new(1);
        let store = store(&sim);
        assert!(!train(&store, number, || drop(store.erase(&["c-3"]).unwrap())), "erased at question {number}");
        let stats = store.stats().unwrap();
        assert!(stats.partitions.iter().all(|partition| partition.dictionaries.is_empty()));
        assert!(sim.files().iter().all(|(path, _)| !path.to_string_lossy().contains("dictionary-")));
    }
}

#[test]
fn a_policy_that_forbids_it_comes_in_time() {
    let store = store(&Sim::new(1));
    let policy = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\ndictionary = false\n";
    assert!(!train(&store, 61, || assert_eq!(store.set_policy(policy).unwrap(), 2)));
    assert!(train::due(&store.0.engine, true).is_none());
}
