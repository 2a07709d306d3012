//! Tenure, by its public interface alone and as it comes.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tenure::report::Budget;
use tenure::{BodyKind, ExpireOptions, Record, RecordId, ScanFilter, Store, Stored, Timestamp};

use super::{Appender, Making, Reader, Seen, Subject, on_threads};
use crate::Result;
use crate::records::{DAY, Feed, Item, Pool, STREAMS, month_start};

/// Batches in flight on each thread.
const IN_FLIGHT: usize = 2;

fn policy(window: &str, limit: &str) -> String {
    format!("[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"{window}\"\n{limit}")
}

pub struct Tenure(Store);

/// Trains the streams on what may be trained on, before the first append.
fn train(store: &Store, making: &Making<'_>) -> Result<()> {
    let streams = if making.yearly { 1 } else { STREAMS.len() };
    on_threads(streams, |stream| {
        let of_stream = |item: &Item<'_>| {
            let &Item { name, at, sequence, body, .. } = item;
            record(&Item { name, stream: stream as u8, at, sequence, body })
        };
        store.train(&making.training.iter().map(of_stream).collect::<Result<Vec<_>>>()?)?;
        Ok(())
    })
}

fn scan(store: &Store, threads: usize) -> Result<Seen> {
    let (records, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let visit = |stored: Stored| {
        records.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(stored.body.len() as u64, Ordering::Relaxed);
        ControlFlow::<()>::Continue(())
    };
    let _whole = store.scan_parallel(ScanFilter::default(), threads, visit)?;
    Ok(Seen { records: records.into_inner(), bytes: bytes.into_inner() })
}

fn record(item: &Item<'_>) -> Result<Record> {
    let (class, jurisdiction) = STREAMS[usize::from(item.stream)];
    let at = Timestamp::from_micros(item.at);
    Ok(Record::new(item.name, class, jurisdiction, at, item.body.clone())?.with_kind(BodyKind::Json))
}

impl Tenure {
    pub fn open(dir: &Path, making: Making<'_>) -> Result<Self> {
        let path = dir.join("calls");
        // Some machines have nothing but a copy-on-write disk; that changes no figure.
        let options = Store::options(&path).worker().accept_weak_erasure();
        if path.exists() {
            return Ok(Tenure(options.open()?));
        }
        std::fs::create_dir_all(dir)?;
        let window = if making.yearly { "year" } else { "month" };
        let store = options.policy(policy(window, "")).create()?;
        train(&store, &making)?;
        Ok(Tenure(store))
    }
}

impl Subject for Tenure {
    fn appender(&self) -> Result<Box<dyn Appender + '_>> {
        Ok(Box::new(Caller { store: &self.0, ids: HashMap::new() }))
    }

    fn ingest(&self, feed: &Feed<'_>, threads: usize) -> Result<()> {
        on_threads(threads, |_| {
            let mut flying = VecDeque::new();
            while let Some(items) = feed.next() {
                let mut records = Vec::with_capacity(items.len());
                for item in &items {
                    records.push(record(item)?);
                }
                flying.push_back(self.0.append(records)?);
                if flying.len() >= IN_FLIGHT
                    && let Some(commit) = flying.pop_front()
                {
                    commit.wait()?;
                }
            }
            flying.iter().try_for_each(|commit| Ok(commit.wait()?))
        })
    }

    fn settle(&self) -> Result<()> {
        self.0.settle()?;
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        self.0.settle()?;
        self.0.maintain(Budget::ALL)?;
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(Caller { store: &self.0, ids: HashMap::new() }))
    }

    fn scan(&self, threads: usize) -> Result<Seen> {
        scan(&self.0, threads)
    }

    fn will_expire(&self) -> Result<()> {
        self.0.set_policy_confirmed(&policy("month", "keep_at_most = \"P1D\"\n"), "the measurement")?;
        Ok(())
    }

    fn expire(&self, _: &Pool, month: usize) -> Result<()> {
        let now = Some(Timestamp::from_micros(month_start(month + 1) + 2 * DAY));
        let expiry = self.0.expire(ExpireOptions { now, ..ExpireOptions::default() })?;
        match expiry.partitions.len() == STREAMS.len() {
            true => Ok(()),
            false => Err(format!("{} partitions expired, not one for each stream", expiry.partitions.len()).into()),
        }
    }

    fn erase(&self, name: &str) -> Result<()> {
        self.0.erase(&[name])?.ok_or("nobody knows the customer")?;
        Ok(())
    }

    fn settings(&self) -> String {
        "Tenure: default features, worker on, batches two in flight on each thread".into()
    }

    fn state(&self) -> String {
        match self.0.stats() {
            Ok(stats) => {
                let segments: u64 = stats.partitions.iter().map(|partition| partition.segments).sum();
                format!("settled; {} segments, {} journals", segments, stats.journals)
            }
            Err(error) => format!("no answer: {error}"),
        }
    }

    fn record_bytes(&self) -> Result<Option<u64>> {
        let stats = self.0.stats()?;
        Ok(Some(stats.partitions.iter().map(|partition| partition.stored_bytes).sum()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

struct Caller<'a> {
    store: &'a Store,
    /// The ids that the store gave, by customer and time.
    ids: HashMap<(String, i64), RecordId>,
}

impl Appender for Caller<'_> {
    fn append(&mut self, items: &[Item<'_>]) -> Result<()> {
        let records: Result<Vec<Record>> = items.iter().map(record).collect();
        Ok(self.store.append(records?)?.wait()?)
    }
}

impl Reader for Caller<'_> {
    fn timeline(&mut self, name: &str) -> Result<Seen> {
        let mut seen = Seen::default();
        for stored in self.store.timeline(name, ..)? {
            seen.note(stored?.body.len());
        }
        Ok(seen)
    }

    fn prepare(&mut self, items: &[Item<'_>]) -> Result<()> {
        for item in items {
            let at = Timestamp::from_micros(item.at);
            for stored in self.store.timeline(item.name, at..=at)? {
                self.ids.insert((item.name.to_string(), item.at), stored?.id);
            }
        }
        Ok(())
    }

    fn get(&mut self, item: &Item<'_>) -> Result<Seen> {
        let id = self.ids.get(&(item.name.to_string(), item.at)).ok_or("a record without an id")?;
        let mut seen = Seen::default();
        if let Some(stored) = self.store.get(item.name, *id)? {
            seen.note(stored.body.len());
        }
        Ok(seen)
    }
}
