//! `tenure doctor`: is this machine fit for a store, and is the store's surrounding in order? Changes nothing in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::env::disk::Disk;
use tenure::env::{Env, Medium, parent};
use tenure::{Batch, ErrorKind, ExpireOptions, Record, Store};

use crate::cli::{Format, Global};
use crate::failure::{Exit, Failure, Outcome};
use crate::opening::doubt;
use crate::output::{Output, Sheet};
use crate::words::{bytes, counted, rate};

/// Less free space than this is worth a warning.
const LITTLE_SPACE: u64 = 1 << 30;
/// A core that encrypts and compresses less than this per second is worth a warning.
const SLOW_CIPHER: f64 = 50e6;
/// Records and bytes of each in the trial store.
const TRIAL: (usize, usize) = (2_000, 8_192);

/// How one check ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Warning,
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Good => "ok",
            Verdict::Warning => "warning",
            Verdict::Bad => "FAILED",
        }
    }
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    words: String,
}

fn check(name: &'static str, verdict: Verdict, words: impl Into<String>) -> Check {
    Check { name, verdict, words: words.into() }
}

pub fn doctor(global: &Global, output: &mut Output) -> Outcome {
    let disk = Disk::new();
    let mut checks = vec![clock(&disk)];
    checks.extend(trial());
    let mut missing = None;
    if global.store.is_some() {
        missing = store_checks(global, &disk, &mut checks)?;
    } else {
        output.say("no store named; checking the machine only");
    }
    print(&checks, output)?;
    if let Some(failure) = missing {
        return Err(failure);
    }
    let bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if bad { Exit::Findings } else { Exit::Done })
}

fn print(checks: &[Check], output: &mut Output) -> Result<(), Failure> {
    let documents: Vec<Value> = checks
        .iter()
        .map(
            |check| json!({ "check": check.name, "result": check.verdict.word().to_lowercase(), "words": check.words }),
        )
        .collect();
    match output.format() {
        Format::Table => {
            let mut sheet = Sheet::new(&["check", "result", "found"]);
            for check in checks {
                sheet.row([check.name.into(), check.verdict.word().into(), check.words.clone()]);
            }
            output.sheet(&sheet)
        }
        Format::Csv => output.csv(&["check", "result", "words"], &documents),
        Format::Json => output.document(json!({ "checks": documents })),
        Format::Jsonl => documents.iter().try_for_each(|document| output.line(document)),
    }
}

/// A clock that is years behind would refuse today's records as future ones.
fn clock(disk: &Disk) -> Check {
    let now = disk.now();
    let earliest = "2026-01-01T00:00:00Z".parse().unwrap_or(now);
    match now >= earliest {
        true => check("clock", Verdict::Good, format!("{now}")),
        false => check("clock", Verdict::Bad, format!("{now} is in the past: set the clock")),
    }
}

/// A small store in the temporary directory: written, closed, opened with its keys, read back.
fn trial() -> Vec<Check> {
    let dir = std::env::temp_dir().join(format!("tenure-doctor-{}", std::process::id()));
    let tried = std::fs::create_dir(&dir).map_err(|error| Failure::file("create", &dir, &error));
    let tried = tried.and_then(|()| trial_store(&dir));
    let _ = std::fs::remove_dir_all(&dir); // Whatever is left is in the temporary directory.
    match tried {
        Ok((sealing, bytes_sealed)) => {
            let speed = bytes_sealed as f64 / sealing.as_secs_f64().max(1e-6);
            let verdict = if speed < SLOW_CIPHER { Verdict::Warning } else { Verdict::Good };
            let words = format!("{} compressed and encrypted on one core", rate(bytes_sealed, sealing));
            vec![
                check("cipher", verdict, words),
                check("key round trip", Verdict::Good, "a trial store was written, closed, opened and read back"),
            ]
        }
        Err(failure) => vec![check("key round trip", Verdict::Bad, failure.to_string())],
    }
}

/// How long sealing took, and how many bytes were sealed.
fn trial_store(dir: &Path) -> Result<(Duration, u64), Failure> {
    let path = dir.join("store");
    let options = || Store::options(&path).accept_weak_erasure();
    let disk = Disk::new();
    let mut noise = vec![0; TRIAL.1];
    let random = disk.fill_random(&mut noise);
    random.map_err(|error| Failure::failed(format!("the kernel gives no random bytes: {error}")))?;
    let store = options().create()?;
    let mut records = Vec::with_capacity(TRIAL.0);
    for index in 0..TRIAL.0 {
        noise.rotate_left(1);
        records.push(Record::new(&format!("trial-{}", index % 50), "trial", "none", disk.now(), noise.clone())?);
    }
    let sent = records[0].clone();
    let began = Instant::now();
    let commit = store.append(Batch::from(records))?;
    let sealing = began.elapsed();
    commit.wait()?;
    store.close()?;
    let mut read = options().open_read_only()?.timeline("trial-0", ..)?;
    let same = read.next().transpose()?.is_some_and(|stored| stored.body == sent.body);
    match same {
        true => Ok((sealing, (TRIAL.0 * TRIAL.1) as u64)),
        false => Err(Failure::failed("what was read back is not what was written")),
    }
}

/// Checks of the store that was named. Gives the failure to end with where none is there.
fn store_checks(global: &Global, disk: &Disk, checks: &mut Vec<Check>) -> Result<Option<Failure>, Failure> {
    let path = global.path()?;
    let mut places: Vec<(&'static str, PathBuf)> = vec![("store", path.clone())];
    places.extend(global.keyring_dirs()?.into_iter().map(|dir| ("keyring", dir)));
    for (name, dir) in &places {
        checks.push(place(name, dir, disk));
    }
    if global.custodian_command.is_none() {
        checks.push(custodian(&global.custodian_file()?, disk));
    }
    let opened = match global.options()?.open_read_only() {
        Ok(store) => {
            checks.push(check("keys", Verdict::Good, "the custodian opens the keyring"));
            if let Some(clock) = store.recovery().clock_doubted {
                let words = format!("{}; if it is right, open with --trust-clock once", doubt(clock));
                checks.push(check("trusted time", Verdict::Warning, words));
            }
            store.stats().map(|stats| (store, stats))
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok((store, stats)) => {
            let overdue = stats.partitions.iter().filter(|partition| partition.overdue).count() as u64;
            checks.push(deadlines(&store, overdue));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Failure::opening(error, &path))),
        Err(error) => {
            let name = if error.kind() == ErrorKind::KeyUnavailable { "keys" } else { "store" };
            checks.push(check(name, Verdict::Bad, error.to_string()));
        }
    }
    checks.push(lock(&path, disk));
    Ok(None)
}

/// Whether anything should have been let go of: so many partitions, or what ends customer by customer.
fn deadlines(store: &Store, partitions: u64) -> Check {
    let look = store.expire(ExpireOptions { dry_run: true, ..ExpireOptions::default() });
    let rows = look.map(|expiry| expiry.rows.into_iter().map(|row| row.subject).collect::<BTreeSet<_>>().len() as u64);
    let words = format!("{} overdue", counted(partitions, "partition"));
    let then = "`tenure expire --dry-run` shows what";
    match (partitions, rows) {
        (0, Ok(0)) => check("deadlines", Verdict::Good, words),
        (_, Ok(0)) => check("deadlines", Verdict::Bad, format!("{words}: {then}")),
        (_, Ok(rows)) => {
            let of = counted(rows, "customer");
            check("deadlines", Verdict::Bad, format!("{words}, and something of {of}: {then}"))
        }
        (_, Err(error)) => check("deadlines", Verdict::Bad, format!("{words}; of single customers: {error}")),
    }
}

/// The file system that a directory is on, and its free space.
fn place(name: &'static str, dir: &Path, disk: &Disk) -> Check {
    let found = disk.medium(dir).and_then(|medium| Ok((medium, disk.free_space(dir)?)));
    match found {
        Ok((medium, free)) => {
            let (kind, verdict) = match medium {
                Medium::InPlace => ("an ordinary local file system", Verdict::Good),
                Medium::CopyOnWrite => ("a copy-on-write file system", Verdict::Good),
                Medium::Network => ("a network file system: locks and syncs may not hold", Verdict::Warning),
                Medium::Memory => ("memory, gone at power-off", Verdict::Warning),
            };
            let verdict = if free < LITTLE_SPACE { Verdict::Warning } else { verdict };
            check(name, verdict, format!("{} on {kind}, {} free", dir.display(), bytes(free)))
        }
        Err(error) => check(name, Verdict::Bad, format!("{}: {error}", dir.display())),
    }
}

/// Keys that are destroyed in place stay behind on some file systems.
fn custodian(file: &Path, disk: &Disk) -> Check {
    let found = disk.metadata(file).and_then(|_| disk.medium(parent(file)));
    let shown = file.display();
    match found {
        Ok(Medium::InPlace) => check("custodian", Verdict::Good, format!("{shown}, overwritten in place")),
        Ok(Medium::Memory) => check("custodian", Verdict::Warning, format!("{shown} is in memory, gone at power-off")),
        Ok(_) => {
            check("custodian", Verdict::Warning, format!("{shown}: destroyed keys may linger on this file system"))
        }
        Err(error) => check("custodian", Verdict::Bad, format!("{shown}: {error}")),
    }
}

/// Whether a writer has the store open. Taking the lock for an instant is how to know.
fn lock(path: &Path, disk: &Disk) -> Check {
    match disk.try_lock(&path.join("LOCK")) {
        Ok(_) => check("lock", Verdict::Good, "free: no writer has the store open"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            check("lock", Verdict::Good, "held: a writer has the store open; reading commands work beside it")
        }
        Err(error) => check("lock", Verdict::Bad, format!("cannot be taken: {error}")),
    }
}
