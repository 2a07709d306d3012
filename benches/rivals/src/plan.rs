//! What is run in which order: every measurement in turns, each turn in a process of its own.

use std::path::PathBuf;
use std::time::Instant;

use crate::codec::{self, Form};
use crate::corpus::Corpus;
use crate::results::Results;
use crate::subjects::Name;
use crate::work::{self, Outcome, Task, Work};
use crate::{Result, Wish, meters};

/// Measurements that can be asked for alone.
pub const PARTS: [&str; 5] = ["ingest", "latency", "reads", "disk", "tenfold"];

/// Numbers of writer threads of which the best counts.
const THREADS: [usize; 4] = [1, 4, 8, 12];
/// Bytes of one record on its way to the disk, as a bare sync writes them.
const APPENDED: usize = 1024;

/// One part of a plan.
type Part = fn(&mut Plan) -> Result<()>;

/// A plan and the subjects in it.
pub struct Plan {
    wish: Wish,
    rivals: Vec<Name>,
    batches: Vec<usize>,
    rounds: usize,
    probe_seconds: f64,
    seconds: f64,
    latency_threads: Vec<usize>,
    latency_of_rivals: bool,
    read_seconds: f64,
    records: usize,
    read_records: usize,
    tenfold_of_rivals: bool,
    customers: u32,
    dictionary: PathBuf,
    results: Results,
    began: Instant,
}

fn tenure() -> Name {
    Name::new("tenure", Form::Usual)
}

fn kernel() -> Name {
    Name::new("kernel", Form::Usual)
}

/// How a measurement of taking in is called.
pub fn ingest_measure(batch: usize) -> String {
    format!("ingest, sync per {batch}")
}

/// How a measurement of single appends is called.
pub fn latency_measure(threads: usize) -> String {
    format!("append one, {threads} threads")
}

pub const FDATASYNC: &str = "bare fdatasync";
pub const READS: &str = "reads";
pub const FILL: &str = "filled store";
pub const DISK: &str = "disk";
pub const TENFOLD: &str = "tenfold records";

impl Plan {
    /// What the wish means, and the dictionary that it needs.
    pub fn of(wish: &Wish) -> Result<Self> {
        let both = ["fjall", "rocksdb"].iter();
        let forms = [Form::Usual, Form::Expert, Form::Plain];
        let mut rivals: Vec<Name> = both.flat_map(|engine| forms.map(|form| Name::new(engine, form))).collect();
        if wish.full {
            rivals.extend(["redb", "lmdb", "sqlite"].map(|engine| Name::new(engine, Form::Usual)));
        }
        rivals.retain(|name| wish.subjects.is_empty() || wish.subjects.iter().any(|word| name.label().contains(word)));
        std::fs::create_dir_all(&wish.scratch)?;
        let dictionary = wish.scratch.join("trained.dictionary");
        let corpus = Corpus::load(wish.corpus.as_deref())?;
        let training: Vec<&[u8]> = corpus.training().map(|original| original.body.as_ref()).collect();
        std::fs::write(&dictionary, codec::train(&training)?)?;
        let shared = codec::train_shared(corpus.training().map(|one| (one.customer.as_str(), &one.body[..])))?;
        std::fs::write(codec::shared_beside(&dictionary), shared)?;
        let results = Results { head: head(wish, &corpus, training.len()), ..Results::default() };
        let (quick, full) = (!wish.full, wish.full);
        Ok(Plan {
            wish: wish.clone(),
            rivals,
            batches: if quick { vec![1_000] } else { vec![1, 100, 1_000, 10_000] },
            rounds: wish.rounds.unwrap_or(if quick { 3 } else { 5 }),
            probe_seconds: 2.0,
            seconds: if quick { 3.0 } else { 5.0 },
            latency_threads: if quick { vec![64] } else { vec![1, 8, 64] },
            latency_of_rivals: full,
            read_seconds: if quick { 0.5 } else { 1.5 },
            records: 150_000,
            read_records: if quick { 60_000 } else { 150_000 },
            tenfold_of_rivals: full,
            customers: 1_000,
            dictionary,
            results,
            began: Instant::now(),
        })
    }

    /// Runs all of it.
    pub fn run(mut self) -> Result<Results> {
        let parts: [(&str, Part); 5] = [
            ("ingest", Self::ingest),
            ("latency", Self::latency),
            ("reads", Self::reads),
            ("disk", Self::disk),
            ("tenfold", Self::tenfold),
        ];
        for (part, run) in parts {
            if self.wish.only.is_empty() || self.wish.only.iter().any(|only| only == part) {
                run(&mut self)?;
            }
        }
        let took = self.began.elapsed().as_secs();
        self.results.head.push(("took".into(), format!("{took} s")));
        std::fs::remove_dir_all(&self.wish.scratch)?;
        Ok(self.results)
    }

    fn task(&self, name: &Name, work: Work) -> Task {
        let records = match work {
            Work::Ingest { .. } => self.records,
            // So many are known before single ones are timed.
            Work::Latency { .. } => 30_000,
            _ => self.read_records,
        };
        let dir = self.wish.scratch.join(name.label().replace(' ', "-"));
        let (corpus, dictionary) = (self.wish.corpus.clone(), self.dictionary.clone());
        Task { name: name.clone(), work, dir, corpus, dictionary, records }
    }

    fn one(&self, name: &Name, work: Work) -> Result<Outcome> {
        let outcome = work::run(&self.task(name, work.clone()))?;
        let figures: Vec<String> = outcome.figures.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        eprintln!(
            "{:>5.0} s  {:<15} {work:?}: {}",
            self.began.elapsed().as_secs_f64(),
            name.label(),
            figures.join(", ")
        );
        Ok(outcome)
    }

    /// The number of threads with which a subject takes in the most.
    fn best_threads(&self, name: &Name, batch: usize) -> Result<usize> {
        let mut best = (f64::MIN, THREADS[0]);
        for threads in THREADS {
            let outcome = self.one(name, Work::Ingest { threads, batch, seconds: self.probe_seconds })?;
            let rate = outcome.figures["MB/s"];
            if rate > best.0 {
                best = (rate, threads);
            }
        }
        Ok(best.1)
    }

    fn ingest(&mut self) -> Result<()> {
        let mut subjects = vec![tenure(), kernel()];
        subjects.extend(self.rivals.clone());
        if self.wish.full {
            subjects.push(Name::new("file", Form::Usual));
        }
        for batch in self.batches.clone() {
            let mut chosen = Vec::new();
            for name in &subjects {
                chosen.push((name.clone(), self.best_threads(name, batch)?));
            }
            for _ in 0..self.rounds {
                for (name, threads) in &chosen {
                    let work = Work::Ingest { threads: *threads, batch, seconds: self.seconds };
                    let outcome = self.one(name, work)?;
                    self.results.note(&ingest_measure(batch), name, Some(*threads), outcome);
                }
            }
        }
        Ok(())
    }

    fn latency(&mut self) -> Result<()> {
        let mut subjects = vec![tenure()];
        if self.latency_of_rivals {
            subjects.extend(self.rivals.iter().filter(|name| name.form == Form::Usual).cloned());
            subjects.push(Name::new("file", Form::Usual));
        }
        let bare = Name::new("file", Form::Plain);
        for _ in 0..self.rounds {
            let outcome = self.one(&bare, Work::Fdatasync { bytes: APPENDED, seconds: 1.0 })?;
            self.results.note(FDATASYNC, &bare, None, outcome);
            for threads in self.latency_threads.clone() {
                for name in &subjects {
                    let outcome = self.one(name, Work::Latency { threads, seconds: self.seconds.min(3.0) })?;
                    self.results.note(&latency_measure(threads), name, Some(threads), outcome);
                }
            }
        }
        Ok(())
    }

    fn reads(&mut self) -> Result<()> {
        let mut subjects = vec![tenure()];
        subjects.extend(self.rivals.clone());
        for name in &subjects {
            let outcome = self.one(name, Work::Fill)?;
            self.results.note(FILL, name, None, outcome);
        }
        subjects.push(kernel());
        for _ in 0..self.rounds {
            for name in &subjects {
                let outcome = self.one(name, Work::Reads { seconds: self.read_seconds })?;
                self.results.note(READS, name, None, outcome);
            }
        }
        for name in &subjects {
            let dir = self.task(name, Work::Fill).dir;
            for dir in [work::reads::year_dir(&dir), dir] {
                if dir.exists() {
                    std::fs::remove_dir_all(dir)?;
                }
            }
        }
        Ok(())
    }

    fn disk(&mut self) -> Result<()> {
        let mut subjects = vec![tenure(), kernel()];
        subjects.extend(self.rivals.clone());
        for name in &subjects {
            let outcome = self.one(name, Work::Disk)?;
            self.results.note(DISK, name, None, outcome);
        }
        Ok(())
    }

    fn tenfold(&mut self) -> Result<()> {
        let mut subjects = vec![tenure()];
        if self.tenfold_of_rivals {
            subjects.extend(self.rivals.iter().filter(|name| name.form == Form::Usual).cloned());
        }
        for _ in 0..self.rounds {
            for name in &subjects {
                let outcome = self.one(name, Work::LettingGo { customers: self.customers, each: 24 })?;
                self.results.note(TENFOLD, name, None, outcome);
            }
        }
        Ok(())
    }
}

/// What a reader needs to know of the run.
fn head(wish: &Wish, corpus: &Corpus, training: usize) -> Vec<(String, String)> {
    let bytes: usize = corpus.originals.iter().map(|original| original.body.len()).sum();
    let count = corpus.originals.len();
    let what = if wish.corpus.is_some() { "real transcripts" } else { "invented chats" };
    let command: Vec<String> = std::env::args().skip(1).collect();
    vec![
        ("command".into(), format!("cargo run --release -- {}", command.join(" "))),
        ("machine".into(), meters::machine()),
        (
            "corpus".into(),
            format!(
                "{count} {what} of {} B on average; dictionaries trained on {training}, ratios on the others",
                bytes / count
            ),
        ),
    ]
}
