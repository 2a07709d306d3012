//! The demo lets go: of the months that are over, and of one customer; and tries to bring both back.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use regex::bytes::RegexSet;
use serde_json::{Value, json};
use tenure::report::Receipt;
use tenure::{ExpireOptions, ScanFilter, Store, Stored, Timestamp};

use super::copies::Copies;
use super::corpus::{Corpus, MONTHS, Person};
use super::story::Story;
use super::{Stage, crash, inspection};
use crate::erase::scrub_now;
use crate::failure::Failure;
use crate::line;
use crate::receipt::stages;
use crate::words::{bytes, count, counted, duration, preview};

const POLICY: &str = "\
[[rule]]
class = \"*\"
jurisdiction = \"*\"
window = \"month\"
keep_at_most = \"P12M\"
";
/// Other customers whose history must stay the same to the byte.
const OTHERS: u64 = 200;
/// Fresh lines of others that come in together with the old ones of the erased customer.
const FRESH: u64 = 300;

pub fn expire(stage: &Stage, copies: &Copies, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Let go of the months that are over")?;
    let store = stage.options().worker().open()?;
    store.set_policy_confirmed(POLICY, "the demonstration")?;
    story.tell("`tenure policy set`: everything is kept for twelve months, and then no longer.")?;
    let before = stored_records(&store)?;
    let began = Instant::now();
    let expiry = store.expire(ExpireOptions::default())?;
    let took = began.elapsed();
    let after = stored_records(&store)?;
    store.close()?;
    let partitions = expiry.partitions.len() as u64;
    let records: u64 = expiry.partitions.iter().map(|due| due.records).sum();
    let Some(end) = expiry.partitions.iter().map(|due| due.partition.window.end()).max() else {
        return Err(Failure::failed("nothing was due"));
    };
    let months: BTreeSet<Timestamp> = expiry.partitions.iter().map(|due| due.partition.window.start()).collect();
    story.tell(&format!(
        "`tenure expire`: of {MONTHS} months {} are over, in {} (a month of a stream) with {}.",
        count(months.len() as u64),
        counted(partitions, "partition"),
        counted(records, "record")
    ))?;
    story.tell(&format!(
        "Each partition has a key of its own. Destroying these keys and removing their files took {}.",
        duration(took)
    ))?;
    // The ledger in the backup knows nothing of the new policy, so nothing is hidden by it: only the keys are missing.
    let old = ScanFilter { until: Some(end), ..ScanFilter::default() };
    let in_backup = readable(&copies.alone().open_read_only()?, &old)?;
    let today = copies.with_keys(stage.keyring(), stage.custodian()).open_read_only()?;
    let returned = readable(&today, &old)?;
    story.tell(&format!(
        "The backup of the records, read with today's keys: of its {} from those months {} open.",
        counted(in_backup, "record"),
        count(returned)
    ))?;
    story.fact(
        "expire",
        json!({
            "partitions": partitions, "records": records, "microseconds": took.as_micros() as u64, "returned": returned,
        }),
    );
    match before - after == records && records > 0 && in_backup >= records && returned == 0 {
        true => Ok(()),
        false => Err(Failure::failed("expire did not let go of exactly what was due")),
    }
}

fn stored_records(store: &Store) -> Result<u64, Failure> {
    Ok(store.stats()?.partitions.iter().map(|partition| partition.records).sum())
}

fn readable(store: &Store, filter: &ScanFilter) -> Result<u64, Failure> {
    let mut records = 0;
    for stored in store.scan(filter.clone())? {
        stored?;
        records += 1;
    }
    Ok(records)
}

/// Erases whoever `person` is, and shows what is left of them.
pub fn erase(stage: &Stage, person: &Person, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step(&format!("Let go of one customer: {} {}, {}", person.first, person.last, person.id))?;
    let store = stage.options().worker().open()?;
    let others = histories(stage, &store, person)?;
    let here = history(&store, &person.id)?.len() as u64;
    let began = Instant::now();
    let receipt = store.erase(&[&person.id])?;
    let took = began.elapsed();
    let Some(receipt) = receipt else { return Err(Failure::failed("erase does not know the customer")) };
    story.tell(&format!(
        "`tenure erase {id} --confirm {id} --scrub-now`: the one secret that all their keys",
        id = person.id
    ))?;
    let records = counted(here, "record");
    story.tell(&format!("derive from is destroyed, and with it {records}, in {}. The receipt:", duration(took)))?;
    scrub_now(|| store.scrub())?;
    let receipt = latest(&store, receipt)?;
    tell_receipt(&receipt, story)?;
    let left = history(&store, &person.id)?.len();
    let same = histories(stage, &store, person)? == others;
    store.close()?;
    story
        .tell(&format!("`tenure timeline {}` is empty; the histories of {OTHERS} others are as before.", person.id))?;
    story.fact(
        "erase",
        json!({ "records": here, "microseconds": took.as_micros() as u64, "stage": receipt.stage(), "left": left }),
    );
    match here > 0 && left == 0 && same {
        true => Ok(()),
        false => Err(Failure::failed("the erasure took too little, or too much")),
    }
}

/// The receipt as it stands now.
pub fn latest(store: &Store, receipt: Receipt) -> Result<Receipt, Failure> {
    let later = store.receipts()?.into_iter().find(|later| later.number == receipt.number);
    Ok(later.unwrap_or(receipt))
}

pub fn tell_receipt(receipt: &Receipt, story: &mut Story<'_>) -> Result<(), Failure> {
    stages(receipt).iter().try_for_each(|line| story.tell(&format!("  {line}")))
}

pub fn history(store: &Store, customer: &str) -> Result<Vec<Stored>, Failure> {
    Ok(store.timeline(customer, ..)?.collect::<tenure::Result<Vec<_>>>()?)
}

fn histories(stage: &Stage, store: &Store, but: &Person) -> Result<Vec<Vec<Stored>>, Failure> {
    let others = (0..OTHERS).map(|number| stage.corpus.person(number)).filter(|person| person.id != but.id);
    others.map(|person| history(store, &person.id)).collect()
}

/// Looks for the erased customer everywhere, and tries to bring them back.
pub fn prove(stage: &Stage, copies: &Copies, person: &Person, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Try to find that customer, or to bring them back")?;
    let old = history(&copies.alone().open_read_only()?, &person.id)?;
    let words = old.iter().map(|stored| preview(stored.kind, &stored.body, 60).replace("...", ""));
    let mut traces = vec![person.id.clone(), format!("{} {}", person.first, person.last), person.phone.clone()];
    traces.extend(words);
    let traces: Vec<String> = traces.iter().map(|trace| regex::escape(trace)).collect();
    let traces = RegexSet::new(traces).map_err(|error| Failure::failed(format!("cannot search: {error}")))?;
    let found = inspection::search(stage, &traces)?;
    story.tell(&format!(
        "Id, name, phone and words of {}, searched in all {} ({}): {} found.",
        counted(old.len() as u64, "record"),
        counted(found.files, "file"),
        bytes(found.bytes),
        found.found
    ))?;

    let (refused, taken) = send_again(stage, person, &old)?;
    story.tell(&format!(
        "`tenure ingest` of their {} among {} of others: {} refused, {} taken in.",
        counted(old.len() as u64, "old record"),
        counted(taken, "new one"),
        count(refused),
        count(taken)
    ))?;

    let today = copies.with_keys(stage.keyring(), stage.custodian()).open_read_only()?;
    let left = history(&today, &person.id)?.len();
    let neighbour = history(&today, &stage.corpus.person(super::NEIGHBOUR).id)?.len() as u64;
    story.tell(&format!(
        "The backup of the records, read with today's keys: {left} of theirs open, and as a check {neighbour} of somebody else."
    ))?;
    story.fact(
        "proof",
        json!({
            "traces": found.found, "sent_again": old.len(), "refused": refused, "taken": taken, "left": left,
            "neighbour": neighbour,
        }),
    );
    match found.found == 0 && refused == old.len() as u64 && left == 0 && neighbour > 0 {
        true => Ok(()),
        false => Err(Failure::failed("something of the erased customer was found, or came back")),
    }
}

/// The old records of the erased customer among fresh ones of others, through the program. How many were refused, and
/// how many taken in.
fn send_again(stage: &Stage, person: &Person, old: &[Stored]) -> Result<(u64, u64), Failure> {
    let mut lines = Vec::new();
    old.iter().for_each(|stored| line::print(&mut lines, stored));
    let fresh: Corpus = stage.corpus.continued();
    let fresh = (stage.total - FRESH..stage.total).map(|index| fresh.record(index));
    fresh
        .filter(|record| record.customer.expose() != person.id)
        .for_each(|record| line::print_record(&mut lines, &record));
    let mut command = crash::ingest(stage, "callback-queue")?;
    let mut child = command.arg("--json").spawn().map_err(crash::cannot_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&lines).map_err(crash::cannot_run)?;
    }
    let ran = child.wait_with_output().map_err(crash::cannot_run)?;
    let told: Value = serde_json::from_slice(&ran.stdout)
        .map_err(|_| Failure::failed(String::from_utf8_lossy(&ran.stderr).trim().to_string()))?;
    Ok((told["refused"].as_u64().unwrap_or(0), told["records"].as_u64().unwrap_or(0)))
}
