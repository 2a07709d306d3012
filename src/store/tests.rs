//! What goes on inside an opening that its users cannot time: an act in the middle of a training.

use super::*;
use crate::engine::{acts, housekeeping, train};
use crate::env::sim::Sim;
use crate::format::ledger::Act;
use crate::keyring::{Changes, CustomerEntry, FileCustodian};
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

/// Records of so many customers that are not in the store yet, in a stream of their own.
fn strangers(customers: u64, each: u64) -> Vec<Record> {
    let at: Timestamp = "2025-07-01T00:00:00Z".parse().unwrap();
    let record = |number: u64| {
        let said: Vec<&str> = (0..6).map(|turn| SAID[((number * 7 + turn * (number % 5 + 1)) % 8) as usize]).collect();
        let customer = format!("c-{}", number % customers);
        Record::new(&customer, "call", "EU", at.plus_seconds(number as i64 * 70), said.join(" ")).unwrap()
    };
    (0..customers * each).map(record).collect()
}

#[test]
fn who_is_erased_while_records_are_looked_at_that_are_to_be_appended_is_in_no_dictionary() {
    let records = strangers(60, 5);
    for number in [0, 1, 150, 299, 300] {
        let store = store(&Sim::new(1));
        let asked = AtomicU64::new(0);
        let stop = || {
            if asked.fetch_add(1, Ordering::Relaxed) == number {
                store.erase(&["c-3"]).unwrap().unwrap();
            }
            false
        };
        assert_eq!(train::train_from(&store.0.engine, &records, &stop).unwrap(), [], "erased at question {number}");
        assert!(asked.load(Ordering::Relaxed) > number);
        assert_eq!(train::train_from(&store.0.engine, &records, &|| false).unwrap().len(), 1);
    }
}

#[test]
fn nothing_is_trained_while_an_act_is_under_way_that_readers_may_not_know_of() {
    let store = store(&Sim::new(1));
    let engine = &store.0.engine;
    let due = train::due(engine, true).unwrap();
    let customer = engine.keyring.customer(&CustomerId::new("c-3").unwrap()).unwrap().unwrap();
    let act = Act::Erase { subjects: vec![customer.entry.subject], at: engine.now(), kept: Vec::new() };
    let number = acts::intend(engine, act).unwrap();
    assert_eq!(train::train(engine, &due, &|| false).unwrap(), None);
    assert_eq!(train::train_from(engine, &strangers(60, 5), &|| false).unwrap(), []);
    assert!(train::due(engine, true).is_none());
    acts::perform(engine, number, None).unwrap();
    assert!(train::train(engine, &due, &|| false).unwrap().is_some());
}

#[test]
fn one_training_at_a_time_and_of_what_was_trained_meanwhile_none() {
    let store = store(&Sim::new(1));
    let (engine, records) = (&store.0.engine, strangers(60, 5));
    let training = &engine.writer().unwrap().training;
    let stop = || {
        assert!(training.try_lock().is_err(), "somebody else could train");
        false
    };
    assert_eq!(train::train_from(engine, &records, &stop).unwrap().len(), 1);
    assert_eq!(train::train_from(engine, &records, &stop).unwrap(), []);
}

#[test]
fn a_customer_with_much_is_sampled_in_part_and_whoever_is_restricted_not_at_all() {
    let store = store(&Sim::new(1));
    let engine = &store.0.engine;
    let mut records = strangers(24, 10);
    let body = SAID.join(" ").repeat(3);
    let at = records[0].at;
    records.extend((0..400).map(|_| Record::new("c-0", "call", "EU", at, body.clone()).unwrap()));
    let id = CustomerId::new("c-5").unwrap();
    let mut restricted = engine.keyring.customer(&id).unwrap().unwrap().entry.duplicate();
    restricted.secrets[0].restricted = true;
    let change = |entry: &CustomerEntry| {
        let changes = Changes::from([(engine.keyring.customer_key(&id), entry.encode())]);
        engine.keyring.shred(&changes, housekeeping::position(engine)).unwrap();
    };
    change(&restricted);
    assert_eq!(train::train_from(engine, &records, &|| false).unwrap(), [], "23 customers are too few");
    assert!(engine.partitions.all().iter().all(|partition| partition.id.stream.class() != "call"));
    restricted.secrets[0].restricted = false;
    change(&restricted);
    let trained = train::train_from(engine, &records, &|| false).unwrap();
    assert_eq!((trained.len(), trained[0].customers), (1, 24));
    assert!(trained[0].records < 264, "{} records of a customer who has 410, and of 23 others", trained[0].records);
}

#[test]
fn a_new_dictionary_must_be_better_for_those_it_was_not_trained_on() {
    let sim = Sim::new(1);
    let store = store(&sim);
    assert!(train(&store, 0, || {}), "nothing is trained");
    let engine = &store.0.engine;
    // Those who are held out say what everybody said before, all others something new.
    let is_held_out = |customer: &str| {
        let found = engine.keyring.customer(&CustomerId::new(customer).unwrap()).unwrap().unwrap();
        let [a, b, c, d, e, f, g, h, ..] = *found.entry.subject.as_bytes();
        let customer = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        crate::compress::measure(&[crate::compress::Sample { customer, body: SAID[0].as_bytes() }], None) > 0
    };
    let at: Timestamp = "2025-08-01T00:00:00Z".parse().unwrap();
    let new = SAID.map(str::to_uppercase);
    let mut held_out = 0;
    let records = (0..600_usize).map(|number| {
        let customer = format!("c-{}", number % 60);
        let old = is_held_out(&customer);
        held_out += usize::from(old);
        let turn = |turn: usize| (number * 7 + turn * (number % 5 + 1)) % 8;
        let said: Vec<&str> = (0..6).map(|at| if old { SAID[turn(at)] } else { new[turn(at)].as_str() }).collect();
        Record::new(&customer, "chat", "EU", at.plus_seconds(number as i64 * 3_000), said.join(" ")).unwrap()
    });
    let records: Vec<Record> = records.collect();
    assert!((20..200).contains(&held_out), "{held_out} records of customers who are held out");
    store.append(records).unwrap().wait().unwrap();
    sim.advance(std::time::Duration::from_secs(86_400 * 20));
    assert!(!train(&store, 0, || {}), "it is better for its own customers only");
}

/// One customer in five streams for seven years of months, all of which a duty cuts through where it costs most: after the
/// first month of a year.
#[test]
fn an_exploded_row_stays_small() {
    let sim = Sim::new(3);
    sim.set_now("2026-01-20T00:00:00Z".parse().unwrap());
    let custodian = FileCustodian::with_env(sim.env(), "/calls.custodian");
    let law = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_least = \"P6Y11M\"\n";
    let options = Store::options("/calls").env(sim.env()).custodian(custodian).ballast_bytes(4096).policy(law);
    let store = options.create().unwrap();
    for month in 0..84 {
        let at: Timestamp = format!("{}-{:02}-05T00:00:00Z", 2019 + month / 12, 1 + month % 12).parse().unwrap();
        let streams = ["call-transcript", "correspondence", "transaction", "chat", "recording-of-calls"];
        let records = streams.map(|class| Record::new("ana", class, "US-CA", at, "a few words").unwrap());
        store.append(records.to_vec()).unwrap().wait().unwrap();
    }
    store.erase(&["ana"]).unwrap().unwrap();
    let id = CustomerId::new("ana").unwrap();
    let entry = store.0.engine.keyring.customer(&id).unwrap().unwrap().entry;
    let (bytes, secrets) = (entry.encode().unwrap().len(), entry.secrets.len());
    println!("an exploded row of {secrets} secrets takes {bytes} bytes");
    assert!(entry.secrets.iter().all(|secret| secret.restricted) && secrets == 5 * (11 + 6), "{secrets}");
    assert!(bytes <= 4096, "{bytes}");
    assert_eq!(store.restricted("ana").unwrap().count(), 5 * 82);
}

#[test]
fn a_read_does_not_wait_for_the_ledger() {
    let store = store(&Sim::new(1));
    let (done, answers) = std::sync::mpsc::channel();
    let ledger = store.0.engine.ledger(); // As whoever syncs it holds it.
    let reader = store.clone();
    std::thread::spawn(move || {
        let timeline = reader.timeline("c-3", ..).unwrap().map(|record| record.unwrap().id);
        let ids: Vec<_> = timeline.collect();
        let found = ids.iter().filter(|id| reader.get("c-3", **id).unwrap().is_some()).count();
        done.send((ids.len(), found)).unwrap();
    });
    let answer = answers.recv_timeout(std::time::Duration::from_secs(60));
    drop(ledger);
    assert_eq!(answer, Ok((5, 5)));
}

#[test]
fn a_record_is_read_once_by_its_id() {
    let sim = Sim::new(1);
    let store = store(&sim);
    store.settle().unwrap();
    let ids: Vec<_> = store.timeline("c-3", ..).unwrap().map(|record| record.unwrap().id).collect();
    let before = sim.operations();
    assert!(store.get("c-3", ids[2]).unwrap().is_some());
    // All five stand in one partition, whose index was read before.
    assert_eq!(sim.operations() - before, 1);
}
