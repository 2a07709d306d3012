//! What is measured: Tenure, the rivals, the bare kernel, all behind one interface.

mod kernel;
mod rival;
mod tenure;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::codec::Form;
use crate::records::{Feed, Item, Pool};

/// One subject, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    pub engine: String,
    pub form: Form,
}

impl Name {
    pub fn new(engine: &str, form: Form) -> Self {
        Name { engine: engine.into(), form }
    }

    pub fn tenure() -> Self {
        Name::new("tenure", Form::Usual)
    }

    pub fn kernel() -> Self {
        Name::new("kernel", Form::Usual)
    }

    pub fn is_rival(&self) -> bool {
        !["tenure", "kernel", "file"].contains(&self.engine.as_str())
    }

    /// As it is printed.
    pub fn label(&self) -> String {
        match (self.engine.as_str(), self.form) {
            (one @ ("tenure" | "kernel"), _) => one.to_string(),
            (one, Form::Usual) => format!("{one} usual"),
            (one, Form::Expert) => format!("{one} expert"),
            (one, Form::Plain) => format!("{one} plain"),
        }
    }
}

/// Records and bytes of body that came out of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub records: u64,
    pub bytes: u64,
}

impl Seen {
    pub fn note(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    pub fn add(&mut self, other: Seen) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Appends on one thread.
pub trait Appender {
    /// Durable when it returns.
    fn append(&mut self, items: &[Item<'_>]) -> Result<()>;
}

/// Reads on one thread.
pub trait Reader {
    /// Every record of a customer, in order, decrypted and decompressed.
    fn timeline(&mut self, name: &str) -> Result<Seen>;
    /// Looks up what `get` will need to name these records as its caller would.
    fn prepare(&mut self, items: &[Item<'_>]) -> Result<()> {
        let _ = items;
        Ok(())
    }
    /// One record.
    fn get(&mut self, item: &Item<'_>) -> Result<Seen>;
}

/// A store under measurement.
pub trait Subject: Send + Sync {
    fn appender(&self) -> Result<Box<dyn Appender + '_>>;
    /// Takes in everything that the feed gives, on so many threads, each batch durable before it counts.
    fn ingest(&self, feed: &Feed<'_>, threads: usize) -> Result<()>;
    /// What the clock of an ingest includes: log and memory are written to where records stay.
    fn settle(&self) -> Result<()>;
    /// Nothing is left to do in the background: merged, compacted.
    fn tidy(&self) -> Result<()>;
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;
    /// Every record, on so many threads.
    fn scan(&self, threads: usize) -> Result<Seen>;
    /// Called once before the first expiry.
    fn will_expire(&self) -> Result<()> {
        Ok(())
    }
    /// Lets go of a month of everybody.
    fn expire(&self, pool: &Pool, month: usize) -> Result<()>;
    /// Lets go of a customer.
    fn erase(&self, name: &str) -> Result<()>;
    fn settings(&self) -> String;
    fn state(&self) -> String;
    /// Bytes of what holds the records themselves, where that can be told.
    fn record_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }
    fn close(self: Box<Self>) -> Result<()>;
}

/// How a store is to be made.
#[derive(Clone, Copy, Default)]
pub struct Making<'a> {
    /// The dictionary that an application trained, for those that take one.
    pub dictionary: Option<&'a [u8]>,
    /// The dictionary that Tenure trains on the same records, for the kernel.
    pub shared: Option<&'a [u8]>,
    /// Whether the kernel keeps what it seals, for reading.
    pub keeps: bool,
    /// The records that Tenure may train its own on.
    pub training: &'a [Item<'a>],
    /// One window for the whole year instead of one for each month.
    pub yearly: bool,
}

/// Makes a store or opens the one that is there.
pub fn open<'a>(name: &Name, dir: &Path, making: Making<'a>) -> Result<Box<dyn Subject + 'a>> {
    Ok(match name.engine.as_str() {
        "tenure" => Box::new(tenure::Tenure::open(dir, making)?),
        "kernel" => Box::new(kernel::Kernel::new(Making { dictionary: making.shared, ..making })?),
        _ => Box::new(rival::Rival::open(name, dir, making.dictionary)?),
    })
}

/// Does the same on so many threads and answers with the first failure.
pub fn on_threads(threads: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let work = &work;
                    move || work(thread)
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}
