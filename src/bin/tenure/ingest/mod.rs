//! `tenure ingest`: from lines of a file to acknowledged records.
//!
//! One thread reads and parses, this one deals the lines out to lanes, and a thread for each core compresses, encrypts
//! and appends what its lanes bring (see `lanes`).

mod aside;
mod feed;
mod head;
mod lanes;
mod source;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tenure::Acting;

use crate::cli::{Format, Global, IngestArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::opening::recovery_as_json;
use crate::output::Output;
use crate::progress::Voice;
use crate::words::{bytes, counted, duration, rate};
use aside::Aside;
use feed::{Entry, Feed, Tally};
use lanes::{LANES, Lanes, lane_of};
use source::{Item, Source};

/// A batch is sent although it is not full when nothing came for this long.
const PATIENCE: Duration = Duration::from_millis(200);

/// Messages that wait for one thread: enough for a whole block of a lane, so that the other lanes get theirs.
const MESSAGES_WAITING: usize = 10;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why no more lines come.
enum Stop {
    End,
    Interrupted,
    /// A line that is no record, and nothing said to skip it.
    Bad(Failure),
    /// The input could not be read on.
    Cut(Failure),
}

pub fn ingest(global: &Global, args: &IngestArgs, output: &mut Output) -> Outcome {
    refuse_same_file(args)?;
    let source = Source::open(&args.file, args.source.as_deref())?;
    stop_at_ctrl_c()?;
    let store = global.open(output)?;
    let began = Instant::now();
    let taken = match (&source.name, args.from_start) {
        (Some(name), false) => Lanes::of(&store, name)?,
        _ => Lanes::default(),
    };
    let resumed = taken.prefix();
    if taken.furthest() > 0 {
        output.say(format_args!("resuming after line {resumed}"));
    }
    let (label, resumable) = (source.label.clone(), source.name.is_some());
    let (stop, tally, aside) = pump(&store, source, taken, args, output);
    let recovery = recovery_as_json(store.recovery());
    let closed = close(store, stop.is_ok());

    let stop = stop.map_err(|failure| failure.while_doing(&stored_so_far(&tally)))?;
    match stop {
        Stop::Bad(failure) => return Err(failure.hint(after_a_bad_line(&tally, resumable))),
        Stop::Cut(failure) => return Err(failure.hint(after_a_cut(&tally))),
        Stop::End | Stop::Interrupted => {}
    }
    closed?;
    let interrupted = matches!(stop, Stop::Interrupted);
    let took = began.elapsed();
    tell(&tally, &aside, taken, took, interrupted, output);
    if output.format() != Format::Table {
        let summary = json!({
            "source": label,
            "resumed_after_line": resumed,
            "lines": tally.lanes.furthest(),
            "records": tally.records,
            "raw_bytes": tally.raw_bytes,
            "refused": aside.refused,
            "skipped": aside.bad,
            "set_aside": aside.named(),
            "complete": !interrupted,
            "milliseconds": took.as_millis() as u64,
            "bytes_per_second": (tally.raw_bytes as f64 / took.as_secs_f64().max(1e-6)) as u64,
            "recovery": recovery,
        });
        output.facts(&[], summary)?;
    }
    Ok(match (interrupted, aside.refused + aside.bad) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Done,
        (false, _) => Exit::Findings,
    })
}

/// Moves lines into the store until there are no more, and waits until the last batch is durable.
fn pump(
    store: &Acting,
    source: Source,
    taken: Lanes,
    args: &IngestArgs,
    output: &Output,
) -> (Result<Stop, Failure>, Tally, Aside) {
    let voice = Voice::new("ingesting", source.length, output);
    let aside = Aside::new(source.label.clone(), args.skip_bad.clone());
    let feed = Feed::new(store, source.name.clone(), args, aside, taken, &voice);
    let (label, read, sized) = (source.label.clone(), source.read.clone(), source.length.is_some());
    let items = source.into_items(taken);
    let head = match head::look(store, &items, &voice) {
        Ok(head) => head,
        Err(failure) => {
            let (tally, aside, _) = feed.into_parts();
            return (Err(failure), tally, aside);
        }
    };
    let stop = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, usize::from).min(LANES);
        let router = Router {
            lanes: (0..threads)
                .map(|_| {
                    let (sender, messages) = sync_channel(MESSAGES_WAITING);
                    let feed = &feed;
                    scope.spawn(move || feed.run(&messages));
                    sender
                })
                .collect(),
        };
        take_lines((head, &items), &router, &feed, &label, &voice, &|| {
            let tally = feed.tally();
            let position = if sized { read.load(Ordering::Relaxed) } else { tally.raw_bytes };
            voice.tick(position, counted(tally.records, "record"));
        })
    });
    voice.end();
    let (tally, aside, failure) = feed.into_parts();
    let stop = match failure {
        Some(failure) => Err(failure),
        None => stop,
    };
    (stop, tally, aside)
}

/// The ways to the threads that work on the lanes.
struct Router {
    lanes: Vec<SyncSender<Vec<Entry>>>,
}

impl Router {
    /// Deals out what was read. False where a lane has given up.
    fn send(&self, entries: impl IntoIterator<Item = Entry>) -> bool {
        let mut messages: Vec<Vec<Entry>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for entry in entries {
            messages[lane_of(entry.line()) % self.lanes.len()].push(entry);
        }
        let both = self.lanes.iter().zip(messages);
        both.into_iter().all(|(lane, message)| message.is_empty() || lane.send(message).is_ok())
    }

    /// Says that nothing is coming at the moment.
    fn pause(&self) -> bool {
        self.lanes.iter().all(|lane| lane.send(Vec::new()).is_ok())
    }
}

fn take_lines(
    (mut head, items): (VecDeque<Vec<Item>>, &Receiver<Vec<Item>>),
    router: &Router,
    feed: &Feed<'_>,
    label: &str,
    voice: &Voice<'_>,
    tick: &dyn Fn(),
) -> Result<Stop, Failure> {
    loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(Stop::Interrupted);
        }
        let next = head.pop_front().map_or_else(|| items.recv_timeout(PATIENCE), Ok);
        let chunk = match next {
            Ok(chunk) => chunk,
            Err(RecvTimeoutError::Timeout) if router.pause() => continue,
            Err(_) => return Ok(Stop::End),
        };
        let mut entries = Vec::with_capacity(chunk.len());
        let mut stop = None;
        for item in chunk {
            match sort_out(item, feed, label, voice)? {
                Sorted::Entry(entry) => entries.push(entry),
                Sorted::Told => {}
                Sorted::Stop(at) => {
                    stop = Some(at);
                    break;
                }
            }
        }
        let alive = router.send(entries);
        tick();
        match stop {
            Some(stop) => return Ok(stop),
            None if !alive => return Ok(Stop::End), // The lane that gave up has said why.
            None => {}
        }
    }
}

/// What becomes of an item.
enum Sorted {
    Entry(Entry),
    /// Nothing more than a message.
    Told,
    /// It ends the ingest.
    Stop(Stop),
}

fn sort_out(item: Item, feed: &Feed<'_>, label: &str, voice: &Voice<'_>) -> Result<Sorted, Failure> {
    Ok(match item {
        Item::Line(line, Ok(record)) => Sorted::Entry(Entry::Record(line, record)),
        Item::Blank(line) => Sorted::Entry(Entry::Passed(line)),
        Item::Line(line, Err(bad)) => {
            let mut aside = feed.aside.lock().expect("no holder of this lock panics");
            match aside.path() {
                Some(_) => {
                    aside.bad(line, &bad, voice)?;
                    Sorted::Entry(Entry::Passed(line))
                }
                None => Sorted::Stop(Stop::Bad(Failure::failed(format!("{label}:{line}: {}", bad.fault)))),
            }
        }
        Item::Shorter(lines) => {
            voice.say(format_args!(
                "{label} has only {}, fewer than were taken in before; --from-start takes them in again",
                counted(lines, "line")
            ));
            Sorted::Told
        }
        Item::Failed(line, error) => {
            Sorted::Stop(Stop::Cut(Failure::failed(format!("cannot read {label} after line {line}: {error}"))))
        }
    })
}

/// A clean close settles what was written. Where ingest failed already, that failure is the one to tell.
fn close(store: Acting, clean: bool) -> Result<(), Failure> {
    match clean {
        true => Ok(store.close()?),
        false => {
            drop(store);
            Ok(())
        }
    }
}

fn stored_so_far(tally: &Tally) -> String {
    format!("after storing {}, up to line {}", counted(tally.records, "record"), tally.lanes.prefix())
}

fn after_a_bad_line(tally: &Tally, resumable: bool) -> String {
    let stored = stored_before(tally);
    match resumable {
        true => format!("{stored}; correct the line and run the same command again, or add --skip-bad FILE"),
        false => format!("{stored}; give the rest from this line on, or next time --source NAME or --skip-bad FILE"),
    }
}

fn after_a_cut(tally: &Tally) -> String {
    format!("{}; bring a whole copy of it and run the same command again", stored_before(tally))
}

fn stored_before(tally: &Tally) -> String {
    let verb = if tally.records == 1 { "is" } else { "are" };
    format!("{} before it {verb} stored", counted(tally.records, "record"))
}

fn tell(tally: &Tally, aside: &Aside, taken: Lanes, took: Duration, interrupted: bool, output: &Output) {
    if interrupted {
        output.say("interrupted; run the same command again to go on");
    } else if tally.lanes == taken && taken.furthest() > 0 {
        return output.say("nothing new since then");
    }
    let size = bytes(tally.raw_bytes);
    let speed = rate(tally.raw_bytes, took);
    output.say(format_args!("{} stored, {size} in {} ({speed})", counted(tally.records, "record"), duration(took)));
    let refused = (aside.refused > 0).then(|| counted(aside.refused, "refused record"));
    let bad = (aside.bad > 0).then(|| counted(aside.bad, "bad line"));
    let both: Vec<String> = refused.into_iter().chain(bad).collect();
    if !both.is_empty() {
        let kept = aside.path().map_or(String::new(), |path| format!(", kept in {}", path.display()));
        output.say(format_args!("set aside: {}{kept}", both.join(" and ")));
    }
}

/// Writing bad lines into the file they are read from would never end.
fn refuse_same_file(args: &IngestArgs) -> Result<(), Failure> {
    let same = |bad: &Path| matches!((bad.canonicalize(), args.file.canonicalize()), (Ok(a), Ok(b)) if a == b);
    match args.skip_bad.as_deref().is_some_and(same) {
        true => Err(Failure::usage("--skip-bad names the file that is read").hint("name another file")),
        false => Ok(()),
    }
}

/// The first Ctrl-C lets the batch in flight finish; the second ends at once, which loses nothing acknowledged either.
fn stop_at_ctrl_c() -> Result<(), Failure> {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}")))
}
