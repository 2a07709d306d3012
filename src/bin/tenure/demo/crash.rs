//! The demo's accident: another process is killed while it ingests, and nothing it acknowledged is missing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

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

pub fn pull_the_plug(stage: &Stage, dir: &Path, story: &mut Story<'_>) -> Result<(), Failure> {
    let rest = stage.total - stage.main;
    story.step(&format!("Pull the plug while {} more come in", counted(rest, "record")))?;
    let part = dir.join("more.jsonl");
    write_part(stage, &part)?;
    story.tell(&format!("Another process runs: tenure ingest {} ...", part.display()))?;
    let acknowledged = ingest_until_killed(stage, &part, rest / 4)?;
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

    let resumed = resume(stage, &part)?;
    let line = resumed["resumed_after_line"].as_u64().unwrap_or(0);
    let records = resumed["records"].as_u64().unwrap_or(0);
    story.tell(&format!(
        "The same command again goes on after line {} and takes in the other {}.",
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

fn write_part(stage: &Stage, part: &Path) -> Result<(), Failure> {
    let mut text = Vec::new();
    for index in stage.main..stage.total {
        line::print_record(&mut text, &stage.corpus.record(index));
    }
    let written = std::fs::File::create_new(part).and_then(|mut file| file.write_all(&text));
    written.map_err(|error| Failure::file("write", part, &error))
}

/// This program, ingesting the part into the demo's store.
fn ingest(stage: &Stage, part: &Path) -> Result<Command, Failure> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    for variable in ["TENURE_STORE", "TENURE_KEYRING", "TENURE_CUSTODIAN"] {
        command.env_remove(variable);
    }
    command.arg("--accept-weak-erasure").arg("--store").arg(&stage.store);
    command.arg("ingest").arg(part).args(["--batch", BATCH]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// The line up to which the killed process had acknowledged, which is also the number of records.
fn ingest_until_killed(stage: &Stage, part: &Path, enough: u64) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot run this program again: {error}"));
    let mut child = ingest(stage, part)?.arg("--acknowledge").spawn().map_err(failed)?;
    let mut acknowledged = 0;
    let mut killed = false;
    // What it acknowledged before it died may still wait in the pipe, so reading goes on until the end.
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        acknowledged = line.map_err(failed)?.parse().unwrap_or(acknowledged);
        if acknowledged >= enough && !killed {
            child.kill().map_err(failed)?;
            killed = true;
        }
    }
    let ended = child.wait_with_output().map_err(failed)?;
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
fn resume(stage: &Stage, part: &Path) -> Result<Value, Failure> {
    let ran = ingest(stage, part)?.arg("--json").output();
    let ran = ran.map_err(|error| Failure::failed(format!("cannot run this program again: {error}")))?;
    match ran.status.success() {
        true => serde_json::from_slice(&ran.stdout).map_err(|error| Failure::failed(format!("not JSON: {error}"))),
        false => Err(Failure::failed(String::from_utf8_lossy(&ran.stderr).trim().to_string())),
    }
}
