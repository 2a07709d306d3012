//! Records as every subject gets them, and the feed that hands them out batch by batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

/// Class and jurisdiction of every stream there is.
pub const STREAMS: [(&str, &str); 3] =
    [("call-transcript", "EU"), ("call-transcript", "UK"), ("call-transcript", "US")];

/// The stream of a customer: half live in the EU, a quarter each in the UK and the US.
pub fn home(customer: u32) -> u8 {
    [0, 0, 1, 2][customer as usize % 4]
}

/// 2025-01-01T00:00:00Z in microseconds; all events lie in that year.
pub const YEAR_START: i64 = 1_735_689_600_000_000;
/// One day in microseconds.
pub const DAY: i64 = 86_400_000_000;
/// The year in microseconds.
pub const YEAR: i64 = 365 * DAY;

/// The first instant of a month of that year, from 0; of month 12 the end of the year.
pub fn month_start(month: usize) -> i64 {
    const FIRST_DAYS: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    YEAR_START + FIRST_DAYS[month] * DAY
}

/// The month of that year, from 0, that an event lies in.
pub fn month_of(at: i64) -> usize {
    (1..12).find(|month| at < month_start(*month)).unwrap_or(12) - 1
}

/// A body as a service would give it away: handing it on costs nothing, no count that others have in their caches either.
pub fn body(bytes: Vec<u8>) -> Bytes {
    Bytes::from_static(bytes.leak())
}

/// One record of a pool.
pub struct Rec {
    pub customer: u32,
    pub stream: u8,
    pub at: i64,
    pub body: Bytes,
}

/// Records held in memory, mostly in the order of their time.
pub struct Pool {
    pub records: Vec<Rec>,
    /// The id of every customer, by number.
    pub names: Vec<String>,
}

/// One record on its way into a subject. The sequence is its number in all that is appended.
pub struct Item<'a> {
    pub name: &'a str,
    pub stream: u8,
    pub at: i64,
    pub sequence: u64,
    pub body: &'a Bytes,
}

impl Pool {
    /// How many bytes of body the records hold.
    pub fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.body.len() as u64).sum()
    }

    /// The record of a number. Numbers past the end go round again, each time as records of other customers at home in
    /// the same place, so that no two are alike.
    pub fn item(&self, sequence: u64) -> Item<'_> {
        let count = self.records.len() as u64;
        let record = &self.records[(sequence % count) as usize];
        let customers = self.names.len() as u64 / 4 * 4;
        let customer = match sequence / count {
            0 => u64::from(record.customer),
            round => (u64::from(record.customer) + round * 4_004) % customers,
        };
        let name = &self.names[customer as usize];
        Item { name, stream: record.stream, at: record.at, sequence, body: &record.body }
    }

    /// The same records, all in one stream.
    pub fn in_one_stream(self) -> Self {
        let records = self.records.into_iter().map(|record| Rec { stream: 0, ..record });
        Pool { records: records.collect(), ..self }
    }

    /// How many records every customer has.
    pub fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.names.len()];
        self.records.iter().for_each(|record| counts[record.customer as usize] += 1);
        counts
    }
}

/// When a feed ends.
pub enum Until {
    /// Every record once.
    Once,
    /// Round and round until this time.
    Time(Instant),
}

/// Hands out batches to any number of threads.
pub struct Feed<'a> {
    pool: &'a Pool,
    batch: u64,
    until: Until,
    next: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Feed<'a> {
    pub fn new(pool: &'a Pool, batch: usize, until: Until) -> Self {
        let [next, records, bytes] = [const { AtomicU64::new(0) }; 3];
        Feed { pool, batch: batch as u64, until, next, records, bytes }
    }

    /// The same feed as the next round after everything was handed out once: nothing comes twice.
    pub fn again(self) -> Self {
        Feed { next: AtomicU64::new((self.pool.records.len() as u64).div_ceil(self.batch)), ..self }
    }

    /// The next batch, or none when it is over.
    pub fn next(&self) -> Option<Vec<Item<'a>>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) * self.batch;
        let count = self.pool.records.len() as u64;
        let end = match self.until {
            Until::Once if first >= count => return None,
            Until::Once => (first + self.batch).min(count),
            Until::Time(end) if Instant::now() >= end => return None,
            Until::Time(_) => first + self.batch,
        };
        let items: Vec<Item> = (first..end).map(|sequence| self.pool.item(sequence)).collect();
        self.records.fetch_add(items.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(items.iter().map(|item| item.body.len() as u64).sum(), Ordering::Relaxed);
        Some(items)
    }

    /// Records and bytes of body handed out.
    pub fn handed_out(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
