//! What is run in which order: every measurement in turns, each turn in a process of its own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::codec::{self, Form};
use crate::corpus::Corpus;
use crate::results::Results;
use crate::subjects::Name;
use crate::work::{self, Outcome, Task, Work};
use crate::{Result, Wish, meters};

/// Measurements that can be asked for alone.
pub const PARTS: [&str; 6] = ["ingest", "latency", "reads", "disk", "tenfold", "scale"];

/// Numbers of writer threads of which the best counts.
const THREADS: [usize; 4] = [1, 4, 8, 12];
/// Records for each sync where the ratios of taking in come from.
const JUDGED: usize = 1_000;
/// Bytes of one record on its way to the disk, as a bare sync writes them.
const APPENDED: usize = 1024;
/// Records to take in; those that go round again are other customers'.
const RECORDS: usize = 150_000;
/// Records that are there before single ones are timed.
const KNOWN: usize = 30_000;
/// Records to read.
const READ: usize = 60_000;
/// Customers, and records of each, of which ten times as many must not be slower to let go of.
const TENFOLD_OF: (u32, usize) = (1_000, 24);
/// Records and customers of the curves, unless others are asked for.
const CURVES: [(u64, u64); 6] = [
    (100_000, 10_000),
    (1_000_000, 100_000),
    (10_000_000, 10_000),
    (10_000_000, 100_000),
    (10_000_000, 1_000_000),
    (10_000_000, 10_000_000),
];

/// One part of a plan.
type Part = fn(&mut Plan) -> Result<()>;

/// A plan and the subjects in it.
pub struct Plan {
    wish: Wish,
    rivals: Vec<Name>,
    seconds: f64,
    dictionary: PathBuf,
    results: Results,
    began: Instant,
}

/// How a measurement of taking in is called.
pub fn ingest_measure(batch: usize) -> String {
    format!("ingest, sync per {batch}")
}

/// How a measurement of single appends is called.
pub fn latency_measure(threads: usize) -> String {
    format!("append one, {threads} threads")
}

/// How a measurement of a size is called.
pub fn scale_measure(records: u64, customers: u64) -> String {
    format!("{SCALE}{records} records of {customers} customers")
}

pub const SCALE: &str = "scale, ";
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
        // Said now, not when all is measured.
        wish.page.as_ref().map(std::fs::metadata).transpose()?;
        std::fs::create_dir_all(&wish.scratch)?;
        let dictionary = wish.scratch.join("trained.dictionary");
        let corpus = Corpus::load(wish.corpus.as_deref())?;
        let training: Vec<&[u8]> = corpus.training().map(|original| original.body.as_ref()).collect();
        std::fs::write(&dictionary, codec::train(&training)?)?;
        let shared = codec::train_shared(corpus.training().map(|one| (one.customer.as_str(), &one.body[..])))?;
        std::fs::write(codec::shared_beside(&dictionary), shared)?;
        let results = Results { head: head(wish, &corpus, training.len()), ..Results::default() };
        let (wish, began) = (wish.clone(), Instant::now());
        Ok(Plan { seconds: wish.seconds, wish, rivals, dictionary, results, began })
    }

    /// Runs all of it.
    pub fn run(mut self) -> Result<Results> {
        let parts: [(&str, Part); 6] = [
            ("ingest", Self::ingest),
            ("latency", Self::latency),
            ("reads", Self::reads),
            ("disk", Self::disk),
            ("tenfold", Self::tenfold),
            ("scale", Self::scale),
        ];
        for (part, run) in parts {
            // The curves take as long as all the rest, and want the machine for themselves: only when asked for.
            if self.wish.only.iter().any(|only| only == part) || (self.wish.only.is_empty() && part != "scale") {
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
            Work::Ingest { .. } | Work::Threads { .. } => RECORDS,
            Work::Latency { .. } => KNOWN,
            _ => READ,
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

    /// Numbers of writer threads, from the one with which most was taken in to the least.
    fn rated(&self, name: &Name, counts: &[usize], batch: usize, seconds: f64) -> Result<Vec<usize>> {
        let outcome = self.one(name, Work::Threads { counts: counts.into(), batch, seconds })?;
        let mut rated = counts.to_vec();
        let rate = |threads: &usize| outcome.figures[&threads.to_string()];
        rated.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        Ok(rated)
    }

    /// The number of writer threads with which a subject takes in most: of all in a short try and, where the ratios come
    /// from, of the two best in a longer one, since who compacts in one second may not in the next.
    fn best_threads(&self, name: &Name, batch: usize, seconds: f64) -> Result<usize> {
        let mut rated = self.rated(name, &THREADS, batch, seconds / 2.0)?;
        if batch == JUDGED {
            rated = self.rated(name, &rated[..2], batch, seconds)?;
        }
        Ok(rated[0])
    }

    fn ingest(&mut self) -> Result<()> {
        self.take_in(JUDGED, self.seconds)?;
        if self.wish.full {
            for batch in [1, 100, 10_000] {
                self.take_in(batch, self.seconds / 2.0)?;
            }
        }
        Ok(())
    }

    fn take_in(&mut self, batch: usize, seconds: f64) -> Result<()> {
        let mut subjects = vec![Name::tenure()];
        // It writes nothing, so that syncs are nothing to it.
        subjects.extend((batch == JUDGED).then(Name::kernel));
        subjects.extend(self.rivals.clone());
        subjects.extend(self.wish.full.then(|| Name::new("file", Form::Usual)));
        let mut chosen = Vec::new();
        for name in subjects {
            let threads = self.best_threads(&name, batch, seconds)?;
            chosen.push((name, threads));
        }
        for _ in 0..self.wish.rounds {
            for (name, threads) in &chosen {
                let outcome = self.one(name, Work::Ingest { threads: *threads, batch, seconds })?;
                self.results.note(&ingest_measure(batch), name, Some(*threads), outcome);
            }
        }
        Ok(())
    }

    /// Tenure, and in a full run the rivals in the form that all of them have.
    fn usual(&self) -> Vec<Name> {
        let rivals = self.rivals.iter().filter(|name| self.wish.full && name.form == Form::Usual);
        [Name::tenure()].into_iter().chain(rivals.cloned()).collect()
    }

    fn latency(&mut self) -> Result<()> {
        let mut subjects = self.usual();
        subjects.extend(self.wish.full.then(|| Name::new("file", Form::Usual)));
        let counts: &[usize] = if self.wish.full { &[1, 8, 64] } else { &[64] };
        let bare = Name::new("file", Form::Plain);
        for _ in 0..self.wish.rounds {
            let outcome = self.one(&bare, Work::Fdatasync { bytes: APPENDED, seconds: 1.0 })?;
            self.results.note(FDATASYNC, &bare, None, outcome);
            for threads in counts {
                for name in &subjects {
                    let seconds = self.seconds / 3.0;
                    let outcome = self.one(name, Work::Latency { threads: *threads, seconds })?;
                    self.results.note(&latency_measure(*threads), name, Some(*threads), outcome);
                }
            }
        }
        Ok(())
    }

    fn reads(&mut self) -> Result<()> {
        let mut subjects = vec![Name::tenure()];
        subjects.extend(self.rivals.clone());
        for name in &subjects {
            let outcome = self.one(name, Work::Fill)?;
            self.results.note(FILL, name, None, outcome);
        }
        subjects.push(Name::kernel());
        for _ in 0..self.wish.rounds {
            for name in &subjects {
                let outcome = self.one(name, Work::Reads { seconds: self.seconds / 6.0 })?;
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
        let mut subjects = vec![Name::tenure(), Name::kernel()];
        subjects.extend(self.rivals.clone());
        for name in &subjects {
            let outcome = self.one(name, Work::Disk)?;
            self.results.note(DISK, name, None, outcome);
        }
        Ok(())
    }

    fn tenfold(&mut self) -> Result<()> {
        let (customers, each) = TENFOLD_OF;
        for _ in 0..self.wish.rounds {
            for name in self.usual() {
                let outcome = self.one(&name, Work::LettingGo { customers, each })?;
                self.results.note(TENFOLD, &name, None, outcome);
            }
        }
        Ok(())
    }

    /// Once each: the large ones take minutes.
    fn scale(&mut self) -> Result<()> {
        let sizes = if self.wish.sizes.is_empty() { CURVES.to_vec() } else { self.wish.sizes.clone() };
        for (records, customers) in sizes {
            let outcome = self.one(&Name::tenure(), Work::Scale { records, customers })?;
            self.results.note(&scale_measure(records, customers), &Name::tenure(), None, outcome);
        }
        Ok(())
    }
}

/// Records and customers, as they are asked for: `1000000/10000`.
pub fn size(text: &str) -> std::result::Result<(u64, u64), String> {
    let wrong = || format!("{text} is not RECORDS/CUSTOMERS, both from 1,000 on");
    let (records, customers) = text.split_once('/').ok_or_else(wrong)?;
    match (records.parse(), customers.parse()) {
        (Ok(records @ 1_000..), Ok(customers @ 1_000..)) => Ok((records, customers)),
        _ => Err(wrong()),
    }
}

/// What a reader needs to know of the run.
fn head(wish: &Wish, corpus: &Corpus, training: usize) -> Vec<(String, String)> {
    let bytes: usize = corpus.originals.iter().map(|original| original.body.len()).sum();
    let count = corpus.originals.len();
    let what = if wish.corpus.is_some() { "real transcripts" } else { "invented chats" };
    // Of files their names: where they lie is this machine's business.
    let short = |word: String| match Path::new(&word).file_name() {
        Some(name) if Path::new(&word).exists() => name.to_string_lossy().into_owned(),
        _ => word,
    };
    let command: Vec<String> = std::env::args().skip(1).map(short).collect();
    vec![
        ("date".into(), meters::today()),
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
