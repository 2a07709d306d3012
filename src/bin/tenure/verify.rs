//! `tenure verify`: every checksum, and with `--deep` every record. Reads only.

use std::sync::Arc;

use serde_json::{Value, json};
use tenure::env::{Env, disk::Disk};
use tenure::report::{Damage, Progress, Verification, VerifyOptions};
use tenure::{ErrorKind, Store};

use crate::cli::{Format, Global, VerifyArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::progress::{Voice, threads};
use crate::words::{bytes, count, counted, duration, harmless, rate};

pub fn verify(global: &Global, args: &VerifyArgs, output: &mut Output) -> Outcome {
    let options = VerifyOptions { deep: args.deep, subset: args.subset.unwrap_or(1.0) };
    let voice = Voice::new("verifying", Some(0), output);
    let bar = voice.bar();
    let mut tick = |progress: Progress| bar.progress(progress.done, progress.total);
    let checked = check(global, (options, threads(args.threads)), &mut tick, &voice);
    voice.end();
    let found = checked?;
    print(&found, args.deep, output)?;
    Ok(if found.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

/// Checksums need no key, so a store whose keys are missing, or too damaged to open, is still checked.
fn check(
    global: &Global,
    (options, threads): (VerifyOptions, usize),
    tick: &mut (dyn FnMut(Progress) + Send),
    voice: &Voice<'_>,
) -> Result<Verification, Failure> {
    let path = global.path()?;
    let opened: tenure::Result<Store> = global.options()?.open_read_only();
    match opened {
        Ok(store) => Ok(global.acting(&store).verify_parallel(options, threads, tick)?),
        Err(error) => match (error.kind(), options.deep) {
            (ErrorKind::Corrupt, _) | (ErrorKind::KeyUnavailable, false) => {
                voice.say(format_args!("checking without keys, because the store does not open: {error}"));
                let shallow = VerifyOptions { deep: false, ..options };
                let dirs = global.keyring_dirs()?;
                let mut found =
                    tenure::verify_keyless(&(Arc::new(Disk::new()) as Arc<dyn Env>), &path, &dirs, shallow, tick)?;
                add_opening_damage(&mut found, &error);
                Ok(found)
            }
            _ => Err(Failure::opening(error, &path)),
        },
    }
}

/// What kept the store from opening is damage too, although each checksum by itself may be right.
fn add_opening_damage(found: &mut Verification, error: &tenure::Error) {
    let known = |damage: &Damage| error.path() == Some(&damage.path);
    if error.kind() == ErrorKind::Corrupt && !found.damage.iter().any(known) {
        found.damage.push(Damage {
            path: error.path().unwrap_or(std::path::Path::new("")).to_path_buf(),
            offset: error.offset(),
            what: error.without_place(),
        });
    }
}

fn print(found: &Verification, deep: bool, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        let document = json!({
            "files": found.files,
            "bytes": found.bytes,
            "frames": found.frames,
            "deep": deep,
            "records": deep.then_some(found.records),
            "unreachable": deep.then_some(found.unreachable),
            "ledger_leaves": found.ledger_leaves,
            "milliseconds": found.took.as_millis() as u64,
            "damage": damage_as_json(&found.damage),
        });
        return match output.format() {
            Format::Csv => output.csv(&["file", "offset", "what"], document["damage"].as_array().into_iter().flatten()),
            _ => output.document(document),
        };
    }
    let read = format!("{} in {}", bytes(found.bytes), counted(found.files, "file"));
    output.line(format_args!("read     {read}, {} ({})", duration(found.took), rate(found.bytes, found.took)))?;
    output.line(format_args!("frames   {}", count(found.frames)))?;
    if deep {
        let records = count(found.records);
        output.line(format_args!(
            "records  {records} decrypted, {} that no living key opens",
            count(found.unreachable)
        ))?;
    }
    output.line(format_args!("ledger   {}, root recomputed", counted(found.ledger_leaves, "leaf")))?;
    match found.damage.len() as u64 {
        0 => output.line("damage   none: every checksum is right")?,
        damaged => output.line(format_args!("damage   {}", counted(damaged, "place")))?,
    }
    print_damage(&found.damage, output)
}

/// Damage as a table, if there is any.
pub fn print_damage(damage: &[Damage], output: &mut Output) -> Result<(), Failure> {
    if damage.is_empty() {
        return Ok(());
    }
    let mut sheet = Sheet::new(&["file", "offset#", "what"]);
    for damage in damage {
        let offset = damage.offset.map_or("-".into(), |offset| offset.to_string());
        sheet.row([damage.path.display().to_string(), offset, harmless(&damage.what)]);
    }
    output.line("")?;
    output.sheet(&sheet)
}

/// Damage for programs.
pub fn damage_as_json(damage: &[Damage]) -> Vec<Value> {
    damage.iter().map(|d| json!({ "file": d.path, "offset": d.offset, "what": d.what })).collect()
}
