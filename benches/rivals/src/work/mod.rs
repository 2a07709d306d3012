//! Measurements, each of which runs in a process of its own so that figures do not mix.

mod disk;
mod ingest;
mod latency;
mod letting_go;
pub mod reads;
mod scale;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::corpus::Corpus;
use crate::records::{Item, Pool};
use crate::subjects::{Making, Name};

/// What to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// How much is taken in with each of these numbers of threads.
    Threads { counts: Vec<usize>, batch: usize, seconds: f64 },
    /// Taking in recombined chats for so long, with a sync for every `batch` records.
    Ingest { threads: usize, batch: usize, seconds: f64 },
    /// Single durable appends, of known customers and then of new ones.
    Latency { threads: usize, seconds: f64 },
    /// A bare fdatasync after a write of so many bytes into a preallocated file.
    Fdatasync { bytes: usize, seconds: f64 },
    /// Makes the store that is read later.
    Fill,
    /// Opening, timelines, point gets and a scan of it.
    Reads { seconds: f64 },
    /// Bytes on the disk for originals of customers held out of training.
    Disk,
    /// Opening, erasing, expiring, at once and ten times the records, in turns.
    LettingGo { customers: u32, each: usize },
    /// Everything with so many short records of so many customers.
    Scale { records: u64, customers: u64 },
}

/// A measurement, as it is given to the process that does it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub name: Name,
    pub work: Work,
    pub dir: PathBuf,
    pub corpus: Option<PathBuf>,
    pub dictionary: PathBuf,
    /// How many records the recombined pool has.
    pub records: usize,
}

/// What came of it: figures by name, and what is to stand beside them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub figures: BTreeMap<String, f64>,
    pub settings: String,
    pub state: String,
}

impl Outcome {
    pub fn set(&mut self, name: &str, value: f64) {
        self.figures.insert(name.into(), value);
    }
}

/// Runs a task in a process of its own.
pub fn run(task: &Task) -> Result<Outcome> {
    let child = Command::new(std::env::current_exe()?)
        .arg("child")
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !child.status.success() {
        return Err(format!("{} failed at {:?}", task.name.label(), task.work).into());
    }
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// What the process does that `run` has started.
pub fn child(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let outcome = match task.work {
        Work::Threads { ref counts, batch, seconds } => ingest::threads(&task, counts, batch, seconds)?,
        Work::Ingest { threads, batch, seconds } => ingest::ingest(&task, threads, batch, seconds)?,
        Work::Latency { threads, seconds } => latency::latency(&task, threads, seconds)?,
        Work::Fdatasync { bytes, seconds } => latency::fdatasync(&task, bytes, seconds)?,
        Work::Fill => reads::fill(&task)?,
        Work::Reads { seconds } => reads::reads(&task, seconds)?,
        Work::Disk => disk::disk(&task)?,
        Work::LettingGo { customers, each } => letting_go::letting_go(&task, customers, each)?,
        Work::Scale { records, customers } => scale::scale(&task, records, customers)?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Corpus and dictionary of a task.
struct Material {
    corpus: Corpus,
    dictionary: Vec<u8>,
    shared: Vec<u8>,
}

impl Material {
    fn load(task: &Task) -> Result<Self> {
        let corpus = Corpus::load(task.corpus.as_deref())?;
        let shared = std::fs::read(crate::codec::shared_beside(&task.dictionary))?;
        Ok(Material { corpus, dictionary: std::fs::read(&task.dictionary)?, shared })
    }

    /// The same chats in every process, whatever it measures.
    fn pool(&self, task: &Task) -> Result<Pool> {
        self.corpus.recombined(task.records, 1)
    }

    /// What dictionaries are trained on, as records.
    fn training(&self) -> Vec<Item<'_>> {
        let items = self.corpus.training().enumerate().map(|(number, original)| Item {
            name: &original.customer,
            stream: 0,
            at: crate::records::YEAR_START,
            sequence: number as u64,
            body: &original.body,
        });
        items.collect()
    }

    fn making<'a>(&'a self, training: &'a [Item<'a>]) -> Making<'a> {
        Making { dictionary: Some(&self.dictionary), shared: Some(&self.shared), training, ..Making::default() }
    }
}

/// A directory that is empty.
fn fresh(dir: &Path) -> Result<&Path> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    Ok(dir)
}

/// The value below which a share of the sorted ones lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
