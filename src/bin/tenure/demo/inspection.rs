//! The demo looks at the store as a thief or a failing disk would: names in the files, and one flipped bit.

use std::path::{Path, PathBuf};

use regex::bytes::RegexSet;
use serde_json::json;
use tenure::report::{Verification, VerifyOptions};

use super::Stage;
use super::copies::beside;
use super::story::Story;
use crate::failure::Failure;
use crate::words::{bytes, counted};

/// Customers whose names, numbers and ids are searched for.
const SEARCHED: u64 = 200;

/// All files below a directory, or the file itself.
fn files_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return if path.is_file() { vec![path.to_path_buf()] } else { Vec::new() };
    };
    entries.flatten().flat_map(|entry| files_below(&entry.path())).collect()
}

/// Bytes of all files below a directory.
pub fn size_of(path: &Path) -> u64 {
    files_below(path).iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// What a search found.
pub struct Searched {
    pub files: u64,
    pub bytes: u64,
    pub found: usize,
}

/// Searches the names and the content of all files of store, keyring and custodian.
pub fn search(stage: &Stage, traces: &RegexSet) -> Result<Searched, Failure> {
    let mut searched = Searched { files: 0, bytes: 0, found: 0 };
    let roots = ["", ".keyring", ".custodian"].map(|suffix| beside(&stage.store, suffix));
    for file in roots.iter().flat_map(|root| files_below(root)) {
        let content = std::fs::read(&file).map_err(|error| Failure::file("read", &file, &error))?;
        searched.files += 1;
        searched.bytes += content.len() as u64;
        searched.found += traces.matches(&content).iter().count()
            + traces.matches(file.display().to_string().as_bytes()).iter().count();
    }
    Ok(searched)
}

pub fn look_at_the_disk(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Look at the raw files, as somebody who stole the disk would")?;
    let people: Vec<_> = (0..SEARCHED).map(|number| stage.corpus.person(number)).collect();
    let traces = people.iter().flat_map(|p| [p.id.clone(), format!("{} {}", p.first, p.last), p.phone.clone()]);
    let traces: Vec<String> = traces.map(|trace| regex::escape(&trace)).collect();
    let traces = RegexSet::new(traces).map_err(|error| Failure::failed(format!("cannot search: {error}")))?;
    let Searched { files, bytes: size, found } = search(stage, &traces)?;
    story.tell(&format!(
        "Names, phone numbers and ids of {SEARCHED} customers, searched in {} ({}): {} found.",
        counted(files, "file"),
        bytes(size),
        found
    ))?;
    story.fact("traces", json!({ "customers": SEARCHED, "files": files, "bytes": size, "found": found }));
    match found {
        0 => Ok(()),
        _ => Err(Failure::failed("traces of customers stand in the raw files")),
    }
}

pub fn flip_a_bit(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.step("Flip one bit, as a failing disk would")?;
    let mut files = files_below(&stage.store.join("segments"));
    files.sort_by_key(|file| std::cmp::Reverse(file.metadata().map_or(0, |metadata| metadata.len())));
    let Some(victim) = files.first() else {
        return Err(Failure::failed("the store has no segment"));
    };
    let failed = |error: std::io::Error| Failure::file("change", victim, &error);
    let whole = std::fs::read(victim).map_err(failed)?;
    let place = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    std::fs::write(victim, &flipped).map_err(failed)?;
    let found = check(stage);
    std::fs::write(victim, &whole).map_err(failed)?;
    let found = found?;

    let name = victim.strip_prefix(&stage.store).unwrap_or(victim);
    story.tell(&format!("Flipped: bit 0 of byte {place} in {}.", name.display()))?;
    let Some(damage) = found.damage.iter().find(|damage| damage.path.ends_with(name)) else {
        return Err(Failure::failed("verify did not find the flipped bit"));
    };
    let offset = damage.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
    story.tell(&format!("`tenure verify` finds it{offset}: {}.", damage.what))?;
    let again = check(stage)?;
    story.fact("flipped_bit", json!({ "found": true, "damage_after_repair": again.damage.len() }));
    match again.damage.is_empty() {
        true => story.tell("Flipped back: everything is right again."),
        false => Err(Failure::failed("verify still finds damage after the bit was flipped back")),
    }
}

fn check(stage: &Stage) -> Result<Verification, Failure> {
    let store = stage.options().open_read_only()?;
    Ok(store.verify(VerifyOptions::default(), &mut |_| {})?)
}
