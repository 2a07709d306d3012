//! The head of what is ingested, looked at before anything is stored: in a new store it is what dictionaries are trained
//! from, so that the first records profit already.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use tenure::{Acting, Record};

use super::PATIENCE;
use super::source::Item;
use crate::failure::Failure;
use crate::progress::Voice;
use crate::words::{bytes, counted};

/// What is looked at, at most.
const RECORDS: usize = 4_000;
const BYTES: usize = 8 << 20;
/// With less there is nothing to be trained.
const RECORDS_LEAST: usize = 1_000;
const BYTES_LEAST: usize = 2 << 20;

/// Takes the first items of a source and trains from them, where the store is new. Returns what was taken, which is
/// still to be stored.
pub fn look(store: &Acting, items: &Receiver<Vec<Item>>, voice: &Voice<'_>) -> Result<VecDeque<Vec<Item>>, Failure> {
    let mut taken = VecDeque::new();
    if !store.stats()?.partitions.is_empty() {
        return Ok(taken);
    }
    let mut records: Vec<Record> = Vec::new();
    let mut raw = 0;
    while records.len() < RECORDS && raw < BYTES {
        // What comes slowly is not waited for.
        let Ok(chunk) = items.recv_timeout(PATIENCE) else { break };
        for item in &chunk {
            if let Item::Line(_, Ok(record)) = item {
                raw += record.body.len();
                records.push(record.clone());
            }
        }
        taken.push_back(chunk);
    }
    if records.len() >= RECORDS_LEAST || raw >= BYTES_LEAST {
        for trained in store.train(&records)? {
            let share = 100.0 * (1.0 - trained.with_bytes as f64 / trained.plain_bytes.max(1) as f64);
            voice.say(format_args!(
                "dictionary for {}: {} that {} share, {share:.0} % off each record",
                trained.stream,
                bytes(trained.bytes),
                counted(trained.customers, "customer"),
            ));
        }
    }
    Ok(taken)
}
