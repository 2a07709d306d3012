//! The demo is honest about custodians: whoever copied everything before, keyring and custodian's file included, still
//! reads the erased customer; whoever could not copy the custodian does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tenure::{BodyKind, CommandCustodian, Custodian, ErrorKind, Options, Record, Store};

use super::Stage;
use super::copies::{Copies, beside};
use super::corpus::Person;
use super::letting_go::{history, latest, tell_receipt};
use super::story::Story;
use crate::erase::scrub_now;
use crate::failure::Failure;
use crate::words::{count, counted};

/// Records of others in the small store.
const OTHERS: u64 = 1_000;

/// What keyring and custodian's file of before can do, and what the keyring alone.
pub fn copied_keys(stage: &Stage, copies: &Copies, person: &Person, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Be honest: what about somebody who copied the keys as well, before?")?;
    let refusal = refused(copies.with_custodian(stage.custodian()))?;
    story
        .tell("Records and keyring of before, with today's custodian (and a program that skips all checks of age):")?;
    story.tell(&format!("  does not open: {refusal}"))?;
    let came_back = history(&copies.alone().open_read_only()?, &person.id)?.len() as u64;
    story.tell("Records, keyring and custodian's file of before, all three:")?;
    story.tell(&format!("  opens, and {} of the erased customer can be read.", counted(came_back, "record")))?;
    story
        .tell("So this receipt said `cleared: undone by any copy of` that file, and not `final`. Never back it up.")?;
    story.fact("copied_custodian", json!({ "keyring_alone_opens": false, "with_custodian_file": came_back }));
    match came_back > 0 {
        true => Ok(()),
        false => Err(Failure::failed("the copy with its custodian was to open, and did not")),
    }
}

/// Why it does not open; the keys must be what is missing.
fn refused(options: Options) -> Result<String, Failure> {
    match options.open_read_only() {
        Ok(_) => Err(Failure::failed("copies made before the erasure still open")),
        Err(error) if error.kind() == ErrorKind::KeyUnavailable => Ok(error.without_place()),
        Err(error) => Err(error.into()),
    }
}

/// A store whose custodian is another program, with a directory that no copy reaches.
struct Small {
    store: PathBuf,
    keeper: PathBuf,
}

impl Small {
    fn custodian(&self) -> Result<CommandCustodian, Failure> {
        let program = std::env::current_exe().map_err(super::crash::cannot_run)?;
        Ok(CommandCustodian::new(program, [Path::new("keeper"), &self.keeper, Path::new("--no-copies")]))
    }

    fn options(&self) -> Result<Options, Failure> {
        Ok(Store::options(&self.store).custodian(self.custodian()?))
    }
}

pub fn external_custodian(
    stage: &Stage,
    copies: &Copies,
    person: &Person,
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    story.step("The same with the custodian where no copy reaches it")?;
    let dir = stage.store.with_file_name("vault");
    let small = Small { store: dir.join("calls"), keeper: dir.join("keeper") };
    std::fs::create_dir(&dir).map_err(|error| Failure::file("create", &dir, &error))?;
    let old = history(&copies.alone().open_read_only()?, &person.id)?;
    let store = small.options()?.create()?;
    let others = (0..OTHERS).map(|index| stage.corpus.record(stage.total - 1 - index));
    let mut records: Vec<Record> = others.filter(|record| record.customer.expose() != person.id).collect();
    for stored in &old {
        let (class, jurisdiction) = (stored.stream.class(), stored.stream.jurisdiction());
        let record = Record::new(&person.id, class, jurisdiction, stored.at, stored.body.clone())?;
        records.push(record.with_kind(if stored.kind == BodyKind::Json { BodyKind::Json } else { BodyKind::Text }));
    }
    let (number, neighbour) = (records.len() as u64, records[0].customer.expose().to_string());
    store.append(records)?.wait()?;
    store.close()?;
    story.tell(&format!(
        "A second store, {} with the same customer among them. Its custodian is another program",
        counted(number, "record")
    ))?;
    story.tell("(--custodian-command; here `tenure keeper` plays it: think of a vault on another machine).")?;
    let custodian: Arc<dyn Custodian> = Arc::new(small.custodian()?);
    let taken = Copies::make(&small.store, &stage.store.with_file_name("stolen"), &*custodian)?;
    let readable = history(&taken.with_custodian(custodian.clone()).open_read_only()?, &person.id)?.len() as u64;
    story.tell(&format!(
        "A thief copies records and keyring; as long as the vault opens that keyring, {} of theirs can be read.",
        count(readable)
    ))?;

    let store = small.options()?.open()?;
    let Some(receipt) = store.erase(&[&person.id])? else {
        return Err(Failure::failed("erase does not know the customer"));
    };
    scrub_now(|| store.scrub())?;
    let receipt = latest(&store, receipt)?;
    let others_read = history(&store, &neighbour)?.len() as u64;
    store.close()?;
    story.tell("`tenure erase` again. The receipt:")?;
    tell_receipt(&receipt, story)?;
    let refusal = refused(taken.with_custodian(custodian.clone()))?;
    story.tell(&format!("The thief tries again: {refusal}."))?;
    let today = taken.with_keys(beside(&small.store, ".keyring"), custodian).open_read_only()?;
    let (theirs, check) = (history(&today, &person.id)?.len(), history(&today, &neighbour)?.len() as u64);
    story.tell(&format!(
        "Even with today's keyring on top: {theirs} of theirs open, and as a check {check} of somebody else."
    ))?;
    story.fact(
        "external_custodian",
        json!({ "stage": receipt.stage(), "final": receipt.is_final, "before": readable, "after": theirs }),
    );
    match receipt.is_final && readable > 0 && theirs == 0 && check > 0 && check == others_read {
        true => Ok(()),
        false => Err(Failure::failed("the external custodian did not make the erasure final")),
    }
}
