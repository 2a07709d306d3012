//! A store on the simulated machine, and a model of what it must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure::env::Env;
use tenure::env::sim::Sim;
use tenure::{Batch, FileCustodian, Options, Record, RecordId, Result, ScanFilter, Store, Timestamp};

pub const STORE: &str = "/calls";

/// How the store of a simulated machine is opened.
pub fn options(sim: &Sim) -> Options {
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    Store::options(STORE)
        .env(env.clone())
        .custodian(FileCustodian::with_env(env, "/calls.custodian"))
        .ballast_bytes(4096)
}

/// A number from a seed and a counter (splitmix64).
#[derive(Clone, Copy)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Starts again after the power has gone or, one time in three, the process alone: then what it wrote last is in the cache.
pub fn start_again(sim: &Sim, dice: &mut Dice) {
    match dice.roll(3) {
        0 => sim.kill(),
        _ => sim.restart(),
    }
}

pub const CUSTOMERS: [&str; 5] = ["c-ana", "c-bo", "c-cy", "c-dee", "c-eve"];

/// A batch of a few records: customers, streams and months by chance, every body unlike any other.
pub fn batch(dice: &mut Dice, serial: &mut u64) -> Vec<Record> {
    let count = 1 + dice.roll(4);
    (0..count)
        .map(|_| {
            *serial += 1;
            let customer = CUSTOMERS[dice.roll(5) as usize];
            let (class, jurisdiction) = [("call-transcript", "EU"), ("chat", "US-CA")][dice.roll(2) as usize];
            let month = 1 + dice.roll(3);
            let at: Timestamp = format!("2025-{month:02}-1{}T00:00:00.{:06}Z", dice.roll(9), *serial).parse().unwrap();
            let body = format!("body {serial} {}", "words ".repeat(dice.roll(12) as usize));
            let mut id = [0xee; 16];
            id[..8].copy_from_slice(&serial.to_le_bytes());
            Record::new(customer, class, jurisdiction, at, body).unwrap().with_id(RecordId::from_bytes(id))
        })
        .collect()
}

/// What a store must hold: by record id, customer, class, time and body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(pub BTreeMap<RecordId, (String, String, Timestamp, Vec<u8>)>);

impl Model {
    pub fn add(&mut self, records: &[Record]) {
        for record in records {
            let value =
                (record.customer.expose().to_owned(), record.stream.to_string(), record.at, record.body.to_vec());
            self.0.insert(record.id.unwrap(), value);
        }
    }

    /// What the timelines of all customers give, each checked to be in the order of events.
    pub fn of_timelines(store: &Store) -> Result<Model> {
        let mut model = Model::default();
        for customer in CUSTOMERS {
            let mut last = None;
            for stored in store.timeline(customer, ..)? {
                let stored = stored?;
                assert!(last <= Some(stored.at), "a timeline is out of order");
                last = Some(stored.at);
                let value = (customer.to_owned(), stored.stream.to_string(), stored.at, stored.body.to_vec());
                assert!(model.0.insert(stored.id, value).is_none(), "a record came back twice");
            }
        }
        Ok(model)
    }

    /// What a scan of everything gives.
    pub fn of_scan(store: &Store) -> Result<Model> {
        let mut model = Model::default();
        for stored in store.scan(ScanFilter::default())? {
            let stored = stored?;
            let value =
                (stored.customer.expose().to_owned(), stored.stream.to_string(), stored.at, stored.body.to_vec());
            assert!(model.0.insert(stored.id, value).is_none(), "a record was scanned twice");
        }
        Ok(model)
    }
}

/// Appends and waits.
pub fn append(store: &Store, records: Vec<Record>) -> Result<()> {
    store.append(Batch::from(records))?.wait()
}
