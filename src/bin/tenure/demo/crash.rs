//! The demo's accident: another process is killed while it ingests, and nothing it acknowledged is missing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use tenure::{Record, Store};

use super::Stage;
use super::story::Story;
use crate::failure::Failure;
use crate::line;
use crate::opening::recovery_in_words;
use crate::words::{count, counted, duration};

/// Records in one batch of the process that is killed: small, so that it is killed between many of them.
const BATCH: &str = "200";
/// Under which name its progress is kept.
const SOURCE: &str = "phone-system";

pub fn pull_the_plug(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let rest = stage.total - stage.main;
    story.step(&format!("Pull the plug while {} more come in", counted(rest, "record")))?;
    let lines: Vec<Vec<u8>> = (stage.main..stage.total)
        .map(|index| {
            let mut line = Vec::new();
            line::print_record(&mut line, &stage.corpus.record(index));
            line
        })
        .collect();
    story
        .tell("Another process runs `tenure ingest - --source phone-system`, fed with one call after the other ...")?;
    let acknowledged = ingest_until_killed(stage, &lines, rest / 4)?;
    story.tell(&format!(
        "... and is killed (SIGKILL) after {} were acknowledged. No goodbye, no clean close.",
        counted(acknowledged, "record")
    ))?;

    let store = stage.options().open()?;
    story.tell(&format!("Opening the store again recovers it in {}:", duration(store.recovery().took)))?;
    for found in recovery_in_words(store.recovery()) {
        story.tell(&format!("  {found}"))?;
    }
    let lost = missing(stage, &store, acknowledged)?;
    store.close()?;
    if lost > 0 {
        return Err(Failure::failed(format!("{} of the acknowledged records are lost", count(lost))));
    }
    story.tell(&format!("All {} acknowledged records are there, compared byte for byte.", count(acknowledged)))?;

    let resumed = resume(stage, &lines)?;
    let line = resumed["resumed_after_line"].as_u64().unwrap_or(0);
    let records = resumed["records"].as_u64().unwrap_or(0);
    story.tell(&format!(
        "The same command, given everything again, goes on after line {} and takes in the {} that are missing.",
        count(line),
        count(records)
    ))?;
    let stats = stage.options().open_read_only()?.stats()?;
    let stored: u64 = stats.partitions.iter().map(|partition| partition.records).sum();
    if stored != stage.total {
        return Err(Failure::failed(format!("{} records are stored, not {}", count(stored), count(stage.total))));
    }
    story.tell(&format!("The store now has {}: none lost, none twice.", counted(stored, "record")))?;
    story.fact(
        "crash",
        json!({ "acknowledged": acknowledged, "lost": 0, "resumed_after_line": line, "records": stored }),
    );
    Ok(())
}

/// This program, ingesting from its standard input into the demo's store.
pub fn ingest(stage: &Stage, source: &str) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(cannot_run)?;
    let mut command = Command::new(program);
    for variable in ["TENURE_STORE", "TENURE_KEYRING", "TENURE_CUSTODIAN", "TENURE_CUSTODIAN_COMMAND"] {
        command.env_remove(variable);
    }
    command.arg("--accept-weak-erasure").arg("--store").arg(&stage.store);
    command.args(["ingest", "-", "--source", source, "--batch", BATCH]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

pub fn cannot_run(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot run this program again: {error}"))
}

/// The line up to which the killed process had acknowledged, which is also the number of records.
fn ingest_until_killed(stage: &Stage, lines: &[Vec<u8>], enough: u64) -> Result<u64, Failure> {
    let mut child = ingest(stage, SOURCE)?.arg("--acknowledge").spawn().map_err(cannot_run)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut acknowledged = 0;
    let mut killed = false;
    thread::scope(|scope| {
        // Its input is never closed before it dies, so it cannot come to an end by itself.
        let feeding = scope.spawn(move || {
            let mut stdin = stdin;
            for line in lines {
                if stdin.as_mut().is_none_or(|stdin| stdin.write_all(line).is_err()) {
                    break; // It is dead.
                }
            }
            stdin
        });
        // What it acknowledged before it died may still wait in the pipe, so reading goes on until the end.
        for line in stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            acknowledged = line.map_err(cannot_run)?.parse().unwrap_or(acknowledged);
            if acknowledged >= enough && !killed {
                child.kill().map_err(cannot_run)?;
                killed = true;
            }
        }
        drop(feeding.join());
        Ok::<(), Failure>(())
    })?;
    let ended = child.wait_with_output().map_err(cannot_run)?;
    match killed {
        true => Ok(acknowledged),
        false => {
            let words = String::from_utf8_lossy(&ended.stderr);
            Err(Failure::failed(format!("the process ended by itself before it was killed: {}", words.trim())))
        }
    }
}

/// How many of the acknowledged records cannot be read back exactly as they were.
fn missing(stage: &Stage, store: &Store, acknowledged: u64) -> Result<u64, Failure> {
    let mut expected: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for index in stage.main..stage.main + acknowledged {
        let record = stage.corpus.record(index);
        expected.entry(record.customer.expose().to_string()).or_default().push(record);
    }
    let mut lost = 0;
    for (customer, records) in expected {
        let stored = store.timeline(&customer, ..)?.collect::<tenure::Result<Vec<_>>>()?;
        let there = |record: &&Record| {
            stored
                .iter()
                .any(|s| (s.at, &s.stream, s.kind, &s.body) == (record.at, &record.stream, record.kind, &record.body))
        };
        lost += records.iter().filter(|record| !there(record)).count() as u64;
    }
    Ok(lost)
}

/// Runs the same command to its end; what it says about itself.
fn resume(stage: &Stage, lines: &[Vec<u8>]) -> Result<Value, Failure> {
    let mut child = ingest(stage, SOURCE)?.arg("--json").spawn().map_err(cannot_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        let given = lines.iter().try_for_each(|line| stdin.write_all(line));
        given.map_err(cannot_run)?;
    }
    let ran = child.wait_with_output().map_err(cannot_run)?;
    match ran.status.success() {
        true => serde_json::from_slice(&ran.stdout).map_err(|error| Failure::failed(format!("not JSON: {error}"))),
        false => Err(Failure::failed(String::from_utf8_lossy(&ran.stderr).trim().to_string())),
    }
}
