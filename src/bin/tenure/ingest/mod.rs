//! `tenure ingest`: from lines of a file to acknowledged records.
//!
//! One thread reads and parses; this one appends batches in the order of their lines, because each batch carries the
//! line number behind it, and that number may only ever stand for lines that are all stored.

mod aside;
mod feed;
mod source;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::json;
use tenure::Store;

use crate::cli::{Format, Global, IngestArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::opening::recovery_as_json;
use crate::output::Output;
use crate::progress;
use crate::words::{bytes, count, counted, duration, rate};
use aside::Aside;
use feed::{Feed, Tally};
use source::{Item, Source};

/// A batch is sent although it is not full when nothing came for this long.
const PATIENCE: Duration = Duration::from_millis(200);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why no more lines come.
enum Stop {
    End,
    Interrupted,
    /// A line that is no record, and nothing said to skip it.
    Bad(Failure),
}

pub fn ingest(global: &Global, args: &IngestArgs, output: &mut Output) -> Outcome {
    refuse_same_file(args)?;
    let source = Source::open(&args.file, args.source.as_deref())?;
    stop_at_ctrl_c()?;
    let store = global.open(output)?;
    let began = Instant::now();
    let taken = match (&source.name, args.from_start) {
        (Some(name), false) => store.source_offset(name)?.unwrap_or(0),
        _ => 0,
    };
    if taken > 0 {
        output.say(format_args!("resuming after line {taken}"));
    }
    let aside = Aside::new(source.label.clone(), args.skip_bad.clone());
    let mut feed = Feed::new(&store, source.name.clone(), args, aside, taken);
    let label = source.label.clone();
    let resumable = source.name.is_some();
    let stopped = pump(source, taken, &mut feed, output);
    let (tally, aside) = feed.into_parts();
    let recovery = recovery_as_json(store.recovery());
    let closed = close(store, stopped.is_ok());

    let stop = stopped.map_err(|failure| failure.while_doing(&stored_so_far(&tally)))?;
    if let Stop::Bad(failure) = stop {
        return Err(failure.hint(after_a_bad_line(&tally, resumable)));
    }
    closed?;
    let interrupted = matches!(stop, Stop::Interrupted);
    let took = began.elapsed();
    tell(&tally, &aside, taken, took, interrupted, output);
    if output.format() != Format::Table {
        let summary = json!({
            "source": label,
            "resumed_after_line": taken,
            "lines": tally.upto,
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
fn pump(source: Source, taken: u64, feed: &mut Feed<'_>, output: &mut Output) -> Result<Stop, Failure> {
    let bar = progress::bar(source.length, output);
    bar.set_message("ingesting");
    let (label, read) = (source.label.clone(), source.read.clone());
    let items = source.into_items(taken);
    let moved = (|| {
        let stop = take_lines(&items, feed, &label, output, &mut |records, raw| {
            bar.set_position(read.load(Ordering::Relaxed).max(if bar.length().is_none() { raw } else { 0 }));
            bar.set_message(format!("{} records", count(records)));
        })?;
        feed.finish(output)?;
        Ok(stop)
    })();
    bar.finish_and_clear();
    moved
}

fn take_lines(
    items: &Receiver<Vec<Item>>,
    feed: &mut Feed<'_>,
    label: &str,
    output: &mut Output,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<Stop, Failure> {
    loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(Stop::Interrupted);
        }
        let chunk = match items.recv_timeout(PATIENCE) {
            Ok(chunk) => chunk,
            Err(RecvTimeoutError::Timeout) => {
                feed.catch_up(output)?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Stop::End),
        };
        for item in chunk {
            match item {
                Item::Line(line, Ok(record)) => feed.take(line, record, output)?,
                Item::Line(line, Err(bad)) if feed.skips() => feed.skip(line, &bad, output)?,
                Item::Line(line, Err(bad)) => {
                    return Ok(Stop::Bad(Failure::failed(format!("{label}:{line}: {}", bad.fault))));
                }
                Item::Blank(line) => feed.pass(line),
                Item::Shorter(lines) => output.say(format_args!(
                    "{label} has only {}, fewer than were taken in before; --from-start takes them in again",
                    counted(lines, "line")
                )),
                Item::Failed(line, error) => {
                    let failure = Failure::failed(format!("cannot read {label} after line {line}: {error}"));
                    return Ok(Stop::Bad(failure));
                }
            }
        }
        tick(feed.tally.records, feed.tally.raw_bytes);
    }
}

/// A clean close settles what was written. Where ingest failed already, that failure is the one to tell.
fn close(store: Store, clean: bool) -> Result<(), Failure> {
    match clean {
        true => Ok(store.close()?),
        false => {
            drop(store);
            Ok(())
        }
    }
}

fn stored_so_far(tally: &Tally) -> String {
    format!("after storing {}, up to line {}", counted(tally.records, "record"), tally.durable_upto)
}

fn after_a_bad_line(tally: &Tally, resumable: bool) -> String {
    let stored = format!("{} before it are stored", counted(tally.records, "record"));
    match resumable {
        true => format!("{stored}; correct the line and run the same command again, or add --skip-bad FILE"),
        false => format!("{stored}; give the rest from this line on, or next time --source NAME or --skip-bad FILE"),
    }
}

fn tell(tally: &Tally, aside: &Aside, taken: u64, took: Duration, interrupted: bool, output: &Output) {
    if interrupted {
        output.say("interrupted; run the same command again to go on");
    } else if tally.upto == taken && taken > 0 {
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
