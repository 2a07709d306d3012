//! Dictionaries from end to end: trained, used, copied, read back, and gone with their column.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tenure::env::sim::{Sim, Snapshot};
use tenure::report::{Budget, Remedy, VerifyOptions};
use tenure::simulation::seals;
use tenure::{ErrorKind, ExpireOptions, Options, Record, Store, Timestamp};

use crate::scene::{self, Dice};

const POLICY: &str = "\
[[rule]]
class = \"chat\"
jurisdiction = \"EU\"
window = \"quarter\"
keep_at_most = \"P1Y\"
";

const PHRASES: [&str; 24] = [
    "Thank you for contacting our customer service, my name is Alex, how may I help you today?",
    "I am very sorry to hear that your parcel has not arrived as promised.",
    "Could you please tell me the order number that we sent you in the confirmation?",
    "I have found your order in our system and I am going to look into it right away.",
    "The refund will be on your account within five to seven working days.",
    "Please check your spam folder as well, since our message may have gone there.",
    "Your return label is attached to the message that we have just sent you.",
    "Is there anything else that I can do for you today?",
    "We apologise for the inconvenience that this has caused you.",
    "The courier will try to deliver the parcel again on the next working day.",
    "I am going to transfer you to a colleague in the department that can help you.",
    "For your safety I have to ask you a few questions about your account first.",
    "The discount code has been applied to your next purchase in our shop.",
    "Unfortunately the article that you ordered is out of stock at the moment.",
    "You can change your delivery address in the settings of your account.",
    "Your subscription has been cancelled and you will not be charged again.",
    "Please restart the application and sign in again with your new password.",
    "We have received your complaint and will answer within two working days.",
    "The warranty covers faults of the material for a period of two years.",
    "Have a nice day, and thank you for being our customer!",
    "May I place this call on hold for a moment while I check that for you?",
    "The invoice has been sent to the electronic mail address on your account.",
    "I can offer you a replacement or your money back, whichever you prefer.",
    "Our technicians are working on the problem and it should be solved soon.",
];

/// How a store is opened that trains early.
fn options(sim: &Sim) -> Options {
    scene::options(sim).train_at(200, 24)
}

/// What nobody but this customer says, often.
fn secret(customer: u64) -> String {
    let mut dice = Dice(customer);
    let letters: String = (0..12).map(|_| char::from(b'a' + dice.roll(26) as u8)).collect();
    format!("my account is {letters}@{letters}.example")
}

/// `count` records of `customers` customers, from the first of `month` on.
fn records(seed: u64, month: u32, count: u64, customers: u64) -> Vec<Record> {
    let mut dice = Dice(seed);
    (0..count)
        .map(|number| {
            let customer = number % customers;
            let mut body = String::new();
            for _ in 0..6 {
                body.push_str(PHRASES[dice.roll(24) as usize]);
                body.push_str(&format!(" {:x} ", dice.roll(1 << 40)));
            }
            body.push_str(&secret(customer));
            let at: Timestamp = format!("2025-{month:02}-01T00:00:00Z").parse().unwrap();
            let at = at.plus_seconds((number * 3_000) as i64);
            Record::new(&format!("c-{customer}"), "chat", "EU", at, body).unwrap()
        })
        .collect()
}

fn append(store: &Store, records: &[Record]) {
    for records in records.chunks(50) {
        scene::append(store, records.to_vec()).unwrap();
    }
}

fn dictionaries(sim: &Sim) -> Vec<(PathBuf, Vec<u8>)> {
    let is = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("dictionary-");
    sim.files().into_iter().filter(|(path, _)| is(path)).collect()
}

/// Everything in the timelines of all customers is what was appended.
fn check(store: &Store, wanted: &[Record]) {
    let customers: BTreeSet<&str> = wanted.iter().map(|record| record.customer.expose()).collect();
    for customer in customers {
        let found: Vec<Vec<u8>> =
            store.timeline(customer, ..).unwrap().map(|stored| stored.unwrap().body.to_vec()).collect();
        let mut wanted: Vec<&Record> = wanted.iter().filter(|record| record.customer.expose() == customer).collect();
        wanted.sort_by_key(|record| record.at);
        let wanted: Vec<Vec<u8>> = wanted.iter().map(|record| record.body.to_vec()).collect();
        assert!(found == wanted, "{customer}: {} records of {}", found.len(), wanted.len());
    }
}

#[test]
fn what_is_trained_makes_records_smaller_and_dies_with_its_column() {
    let sim = Sim::new(1);
    let store = options(&sim).policy(POLICY).create().unwrap();
    let (first, second, third) = (records(1, 7, 600, 300), records(2, 8, 600, 300), records(3, 10, 600, 300));
    append(&store, &first);
    store.settle().unwrap();
    let plain = store.stats().unwrap().partitions[0].stored_bytes;
    assert_eq!(store.maintain(Budget::ALL).unwrap().dictionaries_trained, 1);
    assert_eq!(dictionaries(&sim).len(), 1);
    append(&store, &second);
    store.settle().unwrap();
    let with = store.stats().unwrap().partitions[0].stored_bytes - plain;
    println!("600 records: {plain} bytes without, {with} with");
    assert!(with * 100 < plain * 80, "{plain} bytes without, {with} with");
    // Another window gets a copy with its first batch.
    append(&store, &third[..50]);
    let copies = dictionaries(&sim);
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].0.file_name(), copies[1].0.file_name());
    assert_ne!(copies[0].1, copies[1].1);
    append(&store, &third[50..]);
    let all: Vec<Record> = [&first[..], &second, &third].concat();
    check(&store, &all);
    store.close().unwrap();
    let store = options(&sim).open().unwrap();
    check(&store, &all);
    check(&options(&sim).open_read_only().unwrap(), &all);
    // A year and a window later.
    let now = "2026-10-02T00:00:00Z".parse().unwrap();
    let later = ExpireOptions { now: Some(now), confirmed: true, ..ExpireOptions::default() };
    let expiry = store.expire(later).unwrap();
    assert_eq!(expiry.partitions.len(), 1);
    assert_eq!(dictionaries(&sim).len(), 1);
}

fn october() -> Timestamp {
    "2025-10-01T00:00:00Z".parse().unwrap()
}

fn expire(store: &Store) {
    let now = "2026-10-02T00:00:00Z".parse().unwrap();
    store.expire(ExpireOptions { now: Some(now), confirmed: true, ..ExpireOptions::default() }).unwrap();
}

fn damage(store: &Store) -> Vec<PathBuf> {
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    verified.damage.into_iter().map(|damage| damage.path).collect()
}

/// A closed store with a dictionary in each of two windows, and what is in it.
fn trained_store() -> (Sim, Vec<Record>) {
    let sim = Sim::new(2);
    let store = options(&sim).policy(POLICY).create().unwrap();
    let (first, with, second) = (records(1, 7, 300, 100), records(6, 8, 100, 100), records(2, 10, 40, 100));
    append(&store, &first);
    assert_eq!(store.maintain(Budget::ALL).unwrap().dictionaries_trained, 1);
    append(&store, &with);
    append(&store, &second);
    store.close().unwrap();
    assert_eq!(dictionaries(&sim).len(), 2);
    (sim, [&first[..], &with, &second].concat())
}

#[test]
fn a_secret_of_one_customer_is_in_no_dictionary() {
    let (sim, all) = trained_store();
    let store = options(&sim).open_read_only().unwrap();
    let words = store.dictionaries().unwrap();
    assert_eq!(words.len(), 2);
    assert_eq!(words[0], words[1]);
    let is_in = |part: &[u8]| words[0].windows(part.len()).any(|run| run == part);
    let said = PHRASES.iter().filter(|phrase| phrase.as_bytes().windows(16).any(is_in)).count();
    assert!(said > 12, "{said} of 24 phrases that everybody says are in it");
    for customer in 0..100 {
        let secret = secret(customer);
        let name = secret.split_whitespace().last().unwrap();
        assert!(name.as_bytes()[..21].windows(8).all(|part| !is_in(part)), "the secret of customer {customer}");
    }
    // Nor does any file show what is in it.
    let shared = &words[0][..24];
    assert!(sim.files().iter().all(|(_, bytes)| !bytes.windows(24).any(|run| run == shared)));
    check(&store, &all);
}

#[test]
fn records_sampled_before_the_first_append_profit_already_and_small_batches_in_new_windows_too() {
    let sim = Sim::new(3);
    let store = options(&sim).policy(POLICY).create().unwrap();
    let all = records(1, 7, 300, 100);
    let trained = store.train(&all).unwrap();
    assert_eq!((trained.len(), trained[0].customers, trained[0].records), (1, 100, 300));
    assert!(trained[0].with_bytes < trained[0].plain_bytes);
    assert_eq!(store.train(&all).unwrap(), []);
    append(&store, &all);
    let stats = store.stats().unwrap();
    assert_eq!(stats.partitions.len(), 1);
    assert_eq!(stats.partitions[0].dictionaries.len(), 1);
    assert!(stats.partitions[0].dictionaries[0].gain() > 0.2);
    check(&store, &all);
    store.close().unwrap();
    // Where customers' ids are no persons, nothing is trained and nothing is used.
    let off = format!("{POLICY}dictionary = false\n");
    let sim = Sim::new(3);
    let store = options(&sim).policy(off).create().unwrap();
    assert_eq!(store.train(&all).unwrap(), []);
    append(&store, &all);
    assert_eq!(store.maintain(Budget::ALL).unwrap().dictionaries_trained, 0);
    assert_eq!(dictionaries(&sim), []);
}

/// Bytes that 600 records of a new window take when so many threads bring them at once, in a store that was trained before.
fn bytes_by(threads: usize) -> u64 {
    let sim = Sim::new(1);
    let store = options(&sim).policy(POLICY).create().unwrap();
    store.train(&records(1, 7, 600, 300)).unwrap();
    let records = records(3, 10, 600, 300);
    let together = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        for share in records.chunks(records.len() / threads) {
            let (store, together) = (&store, &together);
            scope.spawn(move || {
                together.wait();
                scene::append(store, share.to_vec()).unwrap();
            });
        }
    });
    store.settle().unwrap();
    check(&store, &records);
    store.stats().unwrap().partitions[0].stored_bytes
}

#[test]
fn whoever_comes_while_a_new_window_gets_its_dictionary_waits_for_it() {
    let (alone, beside) = (bytes_by(1), bytes_by(6));
    assert!(beside < alone + alone / 50, "{beside} bytes by six threads, {alone} by one");
}

#[test]
fn a_sample_of_too_few_customers_trains_nothing() {
    let sim = Sim::new(4);
    let store = options(&sim).policy(POLICY).create().unwrap();
    append(&store, &records(1, 7, 300, 23));
    assert_eq!(store.maintain(Budget::ALL).unwrap().dictionaries_trained, 0);
}

#[test]
fn what_is_appended_again_keeps_its_dictionary() {
    let (sim, mut all) = trained_store();
    let store = options(&sim).open().unwrap();
    let of = |customer: &str| all.iter().filter(|record| record.customer.expose() == customer).count();
    assert!(of("c-7") > 2);
    let until: Timestamp = "2025-07-06T00:00:00Z".parse().unwrap();
    store.erase_part("c-7", None, Some(until)).unwrap().unwrap();
    all.retain(|record| record.customer.expose() != "c-7" || record.at >= until);
    let id = store.timeline("c-8", ..).unwrap().next().unwrap().unwrap();
    store.redact("c-8", id.id).unwrap().unwrap();
    all.retain(|record| record.customer.expose() != "c-8" || record.at != id.at);
    check(&store, &all);
    store.scrub().unwrap();
    check(&store, &all);
    store.close().unwrap();
    let store = options(&sim).open().unwrap();
    check(&store, &all);
    assert!(damage(&store).is_empty());
}

#[test]
fn every_flipped_bit_of_a_dictionary_is_found_and_nothing_is_silently_wrong() {
    let (sim, wanted) = trained_store();
    let whole = sim.snapshot();
    let (path, bytes) = dictionaries(&sim).remove(0);
    let wanted = wanted.iter().filter(|record| record.customer.expose() == "c-5").count();
    let places = (0..100).chain((100..bytes.len()).step_by(1_009)).chain(bytes.len() - 20..bytes.len());
    for byte in places {
        sim.restore(&whole, "/");
        sim.flip(&path, byte as u64, (byte % 8) as u8);
        let store = options(&sim).open_read_only().unwrap();
        assert_eq!(damage(&store).first(), Some(&path), "byte {byte}");
        let read: tenure::Result<Vec<Vec<u8>>> = store
            .timeline("c-5", ..)
            .and_then(|timeline| timeline.map(|stored| stored.map(|stored| stored.body.to_vec())).collect());
        match read {
            Err(error) => assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(&*path)), "byte {byte}"),
            Ok(bodies) => panic!("byte {byte}: {} of {wanted} bodies", bodies.len()),
        }
    }
}

#[test]
fn a_damaged_or_lost_dictionary_is_made_anew_from_the_copy_of_another_window() {
    let (sim, mut all) = trained_store();
    let before = dictionaries(&sim);
    let store = options(&sim).open().unwrap();
    let september = "2025-09-20T00:00:00Z".parse().unwrap();
    let large = Record::new("c-1", "chat", "EU", september, Vec::new()).unwrap();
    let mut upload = store.upload(large.clone()).unwrap();
    upload.add(&vec![7; 3 << 20]).unwrap();
    upload.finish().unwrap().1.wait().unwrap();
    all.push(large);
    store.close().unwrap();
    sim.flip(&before[0].0, 500, 1);
    let store = options(&sim).open().unwrap();
    let plan = store.repair(false).unwrap().plan;
    assert_eq!((plan.len(), &plan[0].remedy), (1, &Remedy::Rebuild));
    assert_eq!(plan[0].records, all.iter().filter(|record| record.at < october()).count() as u64, "chunks are none");
    // Appends go on without it while it cannot be read, and with it as soon as it can.
    let more = |day: i64| {
        let mut more = records(9, 9, 40, 40);
        more.iter_mut().for_each(|record| record.at = record.at.plus_seconds(day * 86_400));
        append(&store, &more);
        store.settle().unwrap();
        more
    };
    let stored = || store.stats().unwrap().partitions[0].stored_bytes;
    let at_first = stored();
    all.extend(more(0));
    let without = stored() - at_first;
    assert!(store.repair(true).unwrap().applied);
    assert_eq!(dictionaries(&sim), before);
    all.extend(more(3));
    let with = stored() - at_first - without;
    assert!(with * 100 < without * 85, "{without} bytes without, {with} with");
    check(&store, &all);
    store.close().unwrap();
    sim.remove(&before[1].0);
    let store = options(&sim).open().unwrap();
    assert_eq!(damage(&store).first(), Some(&before[1].0));
    // Appends go on without it.
    append(&store, &records(9, 11, 5, 5));
    store.repair(true).unwrap();
    assert_eq!(dictionaries(&sim), before);
    check(&store, &[&all[..], &records(9, 11, 5, 5)].concat());
    store.close().unwrap();
    before.iter().for_each(|(path, _)| sim.flip(path, 500, 1));
    let store = options(&sim).open().unwrap();
    let plan = store.repair(true).unwrap().plan;
    assert!(plan.len() == 2 && plan.iter().all(|step| matches!(step.remedy, Remedy::Restore(_))));
}

/// Trains and goes on in another window, telling what was acknowledged.
fn train_and_go_on(store: &Store, seed: u64, kept: &mut Vec<Record>) -> tenure::Result<()> {
    store.maintain(Budget::ALL)?;
    for batch in [&records(seed, 8, 20, 100), &records(seed + 1, 10, 20, 100)] {
        scene::append(store, batch.clone())?;
        kept.extend_from_slice(batch);
    }
    store.settle().map(drop)
}

#[test]
fn a_power_cut_at_any_change_around_a_training_loses_nothing() {
    let base = Sim::new(5);
    let store = options(&base).policy(POLICY).create().unwrap();
    let first = records(1, 7, 240, 100);
    append(&store, &first);
    store.close().unwrap();
    let base: Snapshot = base.snapshot();
    let mut cuts = 0;
    loop {
        seals::start();
        let sim = Sim::new(100 + cuts);
        sim.restore(&base, "/");
        let store = options(&sim).open().unwrap();
        let mut kept = first.clone();
        sim.crash_at_change(sim.changes() + cuts);
        let outcome = train_and_go_on(&store, 3, &mut kept);
        drop(store);
        if !sim.crashed() {
            outcome.unwrap();
            assert_eq!(dictionaries(&sim).len(), 2);
            break;
        }
        cuts += 1;
        sim.restart();
        let store = options(&sim).open().unwrap();
        assert!(damage(&store).is_empty(), "cut {cuts}");
        let named: usize = store.stats().unwrap().partitions.iter().map(|one| one.dictionaries.len()).sum();
        assert_eq!(dictionaries(&sim).len(), named, "cut {cuts}: strangers are swept");
        // Whole or not at all, and nothing that was acknowledged is missing.
        let found = store.scan(tenure::ScanFilter::default()).unwrap().map(Result::unwrap);
        let found: BTreeSet<Vec<u8>> = found.map(|stored| stored.body.to_vec()).collect();
        assert!(kept.iter().all(|record| found.contains(&record.body[..])), "cut {cuts}");
        assert!([0, 20].contains(&(found.len() - kept.len())), "cut {cuts}: a batch in half");
        let mut again = Vec::new();
        train_and_go_on(&store, 5, &mut again).unwrap();
        let first = first.iter().chain(kept.iter().skip(first.len())).chain(&again);
        let whole: BTreeSet<Vec<u8>> = first.map(|record| record.body.to_vec()).collect();
        let found = store.scan(tenure::ScanFilter::default()).unwrap().map(|stored| stored.unwrap().body.to_vec());
        assert!(whole.is_subset(&found.collect()), "cut {cuts}: it does not go on as before");
        assert_eq!(seals::stop().1, 0, "cut {cuts}: a nonce was used twice");
    }
    println!("{cuts} cuts");
    assert!(cuts > 25, "{cuts} changes only");
}

#[test]
fn a_reader_beside_the_writer_learns_of_a_dictionary_before_the_records_that_need_it() {
    let sim = Sim::new(6);
    let store = options(&sim).policy(POLICY).create().unwrap();
    let first = records(1, 7, 240, 100);
    append(&store, &first);
    let reader = options(&sim).open_read_only().unwrap();
    check(&reader, &first);
    let mut all = first;
    train_and_go_on(&store, 3, &mut all).unwrap();
    check(&reader, &all);
    expire(&store);
    let left: Vec<Record> =
        all.iter().filter(|record| record.at >= "2025-10-01T00:00:00Z".parse().unwrap()).cloned().collect();
    check(&reader, &left);
    assert_eq!(reader.dictionaries().unwrap().len(), 1);
}

#[test]
fn an_older_ledger_takes_dictionaries_in_again_and_nobody_gets_those_of_the_dead() {
    let sim = Sim::new(7);
    let store = options(&sim).policy(POLICY).create().unwrap();
    let mut all = records(1, 7, 240, 100);
    append(&store, &all);
    store.settle().unwrap();
    let old = sim.snapshot();
    train_and_go_on(&store, 3, &mut all).unwrap();
    store.close().unwrap();
    let before = sim.snapshot();
    // The ledger of before the training, everything else of today.
    sim.remove("/calls/ledger/0000000001.ledger");
    sim.restore(&old, "/calls/ledger");
    let store = options(&sim).restored("a test").open().unwrap();
    assert_eq!(store.recovery().restored.as_ref().unwrap().dictionaries_found, 2);
    check(&store, &all);
    assert!(damage(&store).is_empty());
    expire(&store);
    assert_eq!(dictionaries(&sim).len(), 1);
    store.close().unwrap();
    // Data as it was before the expiry, under the keyring of today: the dictionary of the dead column stays shut.
    for part in ["/calls/segments", "/calls/ledger", "/calls/journal"] {
        sim.restore(&before, part);
    }
    assert_eq!(dictionaries(&sim).len(), 2);
    let store = options(&sim).restored("a test").open().unwrap();
    assert_eq!(store.dictionaries().unwrap().len(), 1);
    assert_eq!(dictionaries(&sim).len(), 1);
}

#[test]
fn a_store_with_a_worker_trains_by_itself_and_closes_in_the_middle_of_it() {
    let sim = Sim::new(9);
    let store = options(&sim).policy(POLICY).worker().create().unwrap();
    let first = records(1, 7, 240, 100);
    append(&store, &first);
    // Its file is there before it counts.
    let counts = || store.stats().unwrap().partitions.iter().any(|partition| !partition.dictionaries.is_empty());
    while !counts() {
        sim.advance(Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = records(2, 10, 40, 40);
    append(&store, &second);
    assert_eq!(dictionaries(&sim).len(), 2);
    check(&store, &[&first[..], &second].concat());
    store.close().unwrap();
    let sim = Sim::new(10);
    let store = options(&sim).policy(POLICY).worker().create().unwrap();
    append(&store, &first);
    sim.advance(Duration::from_secs(2));
    store.close().unwrap();
    check(&options(&sim).open().unwrap(), &first);
}
