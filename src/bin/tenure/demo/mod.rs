//! `tenure demo`: the main job once, on generated records, told so that a newcomer follows it.
//!
//! It uses nothing but the public API and the program itself.

mod copies;
mod corpus;
mod crash;
mod inspection;
mod letting_go;
mod phrases;
mod story;
mod thief;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tenure::env::Env;
use tenure::env::disk::Disk;
use tenure::report::VerifyOptions;
use tenure::{Custodian, FileCustodian, Options, Record, Store};

use crate::cli::{DemoArgs, GenerateArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::line;
use crate::output::Output;
use crate::progress::Voice;
use crate::words::{bytes, count, counted, duration, preview, rate};
use copies::{Copies, beside};
use corpus::{CUSTOMERS, Corpus, MONTHS};
use story::Story;

/// Bytes of an average generated line.
const LINE_BYTES: u64 = 1_890;
/// Records in one batch of the main ingest.
const BATCH: u64 = 1_000;
/// Who has the most records, and who has the most but one (see Corpus::record).
const CUSTOMER: u64 = 13;
const NEIGHBOUR: u64 = 7_932;
/// Batches that one thread has appended and not yet seen durable.
const IN_FLIGHT: usize = 2;

/// The demo's store, and what goes into it.
struct Stage {
    store: PathBuf,
    corpus: Corpus,
    /// Records of the main ingest; the rest up to `total` is for the crash.
    main: u64,
    total: u64,
}

impl Stage {
    fn options(&self) -> Options {
        // The demo proves nothing about erasure from the medium, so any file system will do.
        Store::options(&self.store).accept_weak_erasure()
    }

    fn keyring(&self) -> PathBuf {
        beside(&self.store, ".keyring")
    }

    fn custodian(&self) -> Arc<dyn Custodian> {
        Arc::new(FileCustodian::at(beside(&self.store, ".custodian")).accept_weak_erasure())
    }
}

pub fn demo(args: &DemoArgs, output: &mut Output) -> Outcome {
    let began = Instant::now();
    let place = Place::choose(args.keep.as_deref())?;
    let total = args.records;
    let corpus = Corpus::new(args.seed, total, corpus::months_before(Disk::new().now()));
    let stage = Stage { store: place.dir.join("calls"), corpus, main: total - total / 10, total };
    let mut story = Story::new(output);
    story.title(&format!(
        "Tenure demo: {} calls, chats and e-mails of {} customers over {MONTHS} months, all invented.",
        count(total),
        count(CUSTOMERS)
    ))?;
    make_store(&stage, &mut story)?;
    take_in(&stage, &mut story)?;
    read_history(&stage, &mut story)?;
    crash::pull_the_plug(&stage, &mut story)?;
    verify(&stage, &mut story)?;
    inspection::look_at_the_disk(&stage, &mut story)?;
    inspection::flip_a_bit(&stage, &mut story)?;
    let person = stage.corpus.person(CUSTOMER);
    let copies = back_up(&stage, &mut story)?;
    letting_go::expire(&stage, &copies, &mut story)?;
    letting_go::erase(&stage, &person, &mut story)?;
    letting_go::prove(&stage, &copies, &person, &mut story)?;
    thief::copied_keys(&stage, &copies, &person, &mut story)?;
    thief::external_custodian(&stage, &copies, &person, &mut story)?;
    close_the_story(&stage, &place, began.elapsed(), &mut story)?;
    story.end()?;
    Ok(Exit::Done)
}

/// The directory in which the demo happens: gone afterwards unless it is to be kept.
struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Place {
    fn choose(keep: Option<&Path>) -> Result<Self, Failure> {
        let dir = match keep {
            Some(dir) => dir.to_path_buf(),
            None => std::env::temp_dir().join(format!("tenure-demo-{}", std::process::id())),
        };
        if dir.exists() {
            let hint = "name a directory that does not exist yet";
            return Err(Failure::failed(format!("{} is there already; nothing changed", dir.display())).hint(hint));
        }
        std::fs::create_dir_all(&dir).map_err(|error| Failure::file("create", &dir, &error))?;
        let place = Place { dir, keep: keep.is_some() };
        if !place.keep {
            let dir = place.dir.clone();
            let handler = move || {
                let _ = std::fs::remove_dir_all(&dir); // Whatever is left is in the temporary directory.
                std::process::exit(i32::from(Exit::Interrupted as u8));
            };
            ctrlc::set_handler(handler)
                .map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}")))?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir); // Whatever is left is in the temporary directory.
        }
    }
}

fn make_store(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Make a store")?;
    stage.options().create()?.close()?;
    let store = stage.store.display();
    story.tell(&format!("{store}            the records: only ciphertext"))?;
    story.tell(&format!("{store}.keyring    the keys: one secret per customer, one key per month and stream"))?;
    story.tell(&format!("{store}.custodian  a small file that opens the keyring"))?;
    story.tell("A record opens only with both: its customer's secret and its month's key.")
}

/// Every thread generates its own batches and appends them; the order among them does not matter here.
fn take_in(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step(&format!("Take in {}", counted(stage.main, "record")))?;
    let store = stage.options().worker().open()?;
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let raw = AtomicU64::new(0);
    let stored = AtomicU64::new(0);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let voice = Voice::new("taking in", None, story.output());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let done = append_batches(stage, &store, &next, &mut |bytes, records| {
                    let done = stored.fetch_add(records, Ordering::Relaxed) + records;
                    voice.tick(raw.fetch_add(bytes, Ordering::Relaxed) + bytes, counted(done, "record"));
                });
                if let (Err(failure), Ok(mut slot)) = (done, failed.lock()) {
                    slot.get_or_insert(failure);
                }
            });
        }
    });
    let took = began.elapsed();
    voice.end();
    if let Ok(Some(failure)) = failed.into_inner() {
        return Err(failure);
    }
    store.close()?;
    let (raw, on_disk) = (raw.into_inner(), inspection::size_of(&stage.store));
    story.tell(&format!(
        "{} ({}) in {}: {}, inventing the text included.",
        counted(stage.main, "record"),
        bytes(raw),
        duration(took),
        rate(raw, took)
    ))?;
    story.tell("Every batch of 1,000 was compressed, encrypted and synced to the disk before it counted.")?;
    story.tell(&format!("On disk: {}, {:.1} times smaller.", bytes(on_disk), raw as f64 / on_disk.max(1) as f64))?;
    story.fact(
        "ingest",
        json!({
            "records": stage.main, "raw_bytes": raw, "stored_bytes": on_disk, "milliseconds": took.as_millis() as u64,
        }),
    );
    Ok(())
}

fn append_batches(
    stage: &Stage,
    store: &Store,
    next: &AtomicU64,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<(), Failure> {
    let mut in_flight = std::collections::VecDeque::new();
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first < stage.main {
            let last = (first + BATCH).min(stage.main);
            let records: Vec<Record> = (first..last).map(|index| stage.corpus.record(index)).collect();
            let size: u64 = records.iter().map(|record| record.body.len() as u64).sum();
            in_flight.push_back((store.append(records)?, size, last - first));
        }
        let keep = if first < stage.main { IN_FLIGHT } else { 0 };
        while in_flight.len() > keep {
            let Some((commit, size, records)) = in_flight.pop_front() else { break };
            commit.wait()?;
            tick(size, records);
        }
        if first >= stage.main {
            return Ok(());
        }
    }
}

/// The history of whoever wrote and called most.
fn read_history(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let person = stage.corpus.person(CUSTOMER);
    story.step(&format!("Read one customer's history: {} {}, {}", person.first, person.last, person.id))?;
    let store = stage.options().open_read_only()?;
    let began = Instant::now();
    let records = store.timeline(&person.id, ..)?.collect::<tenure::Result<Vec<_>>>()?;
    let took = began.elapsed();
    for stored in records.iter().take(5) {
        let (day, stream) = (stored.at.day(), stored.stream.to_string());
        story.tell(&format!("{day}  {stream:18}  {}", preview(stored.kind, &stored.body, 70)))?;
    }
    let months: std::collections::BTreeSet<String> = records.iter().map(|r| r.at.to_string()[..7].into()).collect();
    story.tell(&format!(
        "... {} in all, from {}, found, decrypted and ordered in {}.",
        counted(records.len() as u64, "record"),
        counted(months.len() as u64, "month"),
        duration(took)
    ))?;
    let word = "refund";
    let found = store.grep(&person.id, word, ..)?.collect::<tenure::Result<Vec<_>>>()?.len() as u64;
    story.tell(&format!("\"{word}\" stands in {found} of them."))?;
    story.fact("timeline", json!({ "records": records.len(), "microseconds": took.as_micros() as u64, "grep": found }));
    Ok(())
}

/// A copy of everything, keys included, to be tried out after the letting go.
fn back_up(stage: &Stage, story: &mut Story<'_>) -> Result<Copies, Failure> {
    story.step("Copy everything, the keys as well, as a careless backup or a thief would")?;
    let copies = Copies::make(&stage.store, &stage.store.with_file_name("backup"), &*stage.custodian())?;
    story.tell(&format!("{}: {}.", copies.dir().display(), bytes(inspection::size_of(copies.dir()))))?;
    Ok(copies)
}

fn verify(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Check every byte")?;
    let store = stage.options().open_read_only()?;
    let found = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {})?;
    if !found.damage.is_empty() {
        return Err(Failure::failed(format!("verify found {} damaged places", found.damage.len())));
    }
    let (files, records) = (counted(found.files, "file"), count(found.records));
    story.tell(&format!("{files}, {}: every checksum is right.", bytes(found.bytes)))?;
    story.tell(&format!("{records} records decrypted and unpacked. All of it took {}.", duration(found.took)))?;
    story.tell(&format!(
        "The ledger of everything that was done, {}, gives the same root hash again.",
        counted(found.ledger_leaves, "leaf")
    ))?;
    story.fact(
        "verify",
        json!({
            "files": found.files, "bytes": found.bytes, "records": found.records, "damage": 0,
            "milliseconds": found.took.as_millis() as u64,
        }),
    );
    Ok(())
}

fn close_the_story(stage: &Stage, place: &Place, took: Duration, story: &mut Story<'_>) -> Result<(), Failure> {
    story.fact("milliseconds", json!(took.as_millis() as u64));
    story.fact("kept", json!(place.keep.then_some(&stage.store)));
    story.title(&format!("All of it took {}.", duration(took)))?;
    let store = stage.store.display();
    match place.keep {
        true => {
            let customer = stage.corpus.person(NEIGHBOUR).id;
            story.tell("The store is kept. Look around:")?;
            for command in [
                "stats",
                &format!("timeline {customer}"),
                &format!("grep {customer} '(?i)refund'"),
                &format!("erase {customer} --dry-run"),
                "receipt list",
                "verify --deep",
            ] {
                story.tell(&format!("tenure -s {store} {command}"))?;
            }
            Ok(())
        }
        false => story
            .tell("The store was temporary and is gone; `tenure demo --keep DIR` leaves it for you to look around."),
    }
}

/// Writes generated records as lines, for benchmarks.
pub fn generate(args: &GenerateArgs, output: &mut Output) -> Outcome {
    let total = args.bytes.map_or(args.records, |bytes| bytes / LINE_BYTES);
    let corpus = Corpus::new(args.seed, total, corpus::months_before(Disk::new().now()));
    let mut lines = (0..total).map(|index| corpus.record(index));
    let mut text = Vec::new();
    let mut written = 0;
    let failed = |error: std::io::Error| Failure::file("write", &args.out, &error);
    if args.out == Path::new("-") {
        for record in lines {
            text.clear();
            line::print_record(&mut text, &record);
            output.bytes(&text)?;
            written += text.len() as u64;
        }
    } else {
        let file = std::fs::File::create_new(&args.out).map_err(failed)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        lines
            .try_for_each(|record| {
                text.clear();
                line::print_record(&mut text, &record);
                written += text.len() as u64;
                file.write_all(&text)
            })
            .and_then(|()| file.flush())
            .map_err(failed)?;
    }
    output.say(format_args!("{}, {}", counted(total, "record"), bytes(written)));
    Ok(Exit::Done)
}
