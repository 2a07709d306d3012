//! Runs one case: steps in a directory of their own, one per line.
//!
//! ```text
//! $ tenure -s calls init           run a command; '...' quotes, > FILE keeps its output, < FILE gives its input
//! = 2                              its exit code, where it is not 0
//! > made a store                   standard output has this pattern, behind the one before
//! ! there is a store               standard error has
//! > nothing                        standard output is empty (! nothing: standard error is)
//! json records 3                   standard output is a JSON document of the schema with this value at this path
//! let id "id":"([^"]*)"            $id is from now on what the group matched in standard output
//! write FILE                       a file of the lines behind, each after "| "
//! append FILE                      the same, at its end
//! copy A B   move A B   remove A   flip FILE OFFSET   cut FILE LENGTH   (FILE may have one *, OFFSET and LENGTH a %)
//! gzip A B   zstd A B              compress A to B
//! equal A B                        two files have the same bytes
//! gone PATH                        there is nothing of that name
//! hold STORE                       open it for writing until the case ends
//! serve STORE                      the same, with a worker
//! release                          close what was opened so
//! snapshot, unchanged              the directory's files are as they were at `snapshot`, but for access logs
//! ```
//! A pattern is a regular expression; $program is the path of the program.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use tenure::Store;

/// The program, in a directory, without what the environment of the tests says about stores.
pub fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for variable in [
        "TENURE_STORE",
        "TENURE_KEYRING",
        "TENURE_CUSTODIAN",
        "TENURE_CUSTODIAN_COMMAND",
        "TENURE_ACTOR",
        "TENURE_ROLE",
        "TENURE_PURPOSE",
    ] {
        command.env_remove(variable);
    }
    command.current_dir(dir).stdin(Stdio::null());
    command
}

struct Case<'a> {
    name: &'a str,
    line: usize,
    dir: PathBuf,
    last: Option<Output>,
    /// Whether the exit code of the last command was looked at.
    checked: bool,
    /// How far standard output and standard error were matched.
    matched: [usize; 2],
    variables: BTreeMap<String, String>,
    snapshot: BTreeMap<PathBuf, Vec<u8>>,
    held: Vec<Store>,
}

pub fn run_case(name: &str, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case {
        name,
        line: 0,
        dir: dir.path().to_path_buf(),
        last: None,
        checked: true,
        matched: [0, 0],
        variables: BTreeMap::from([("program".into(), env!("CARGO_BIN_EXE_tenure").into())]),
        snapshot: BTreeMap::new(),
        held: Vec::new(),
    };
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        case.line = number + 1;
        let mut block = Vec::new();
        while let Some(more) = lines.next_if(|(_, line)| line.starts_with("| ") || *line == "|") {
            block.push(more.1.get(2..).unwrap_or_default());
        }
        if !line.is_empty() && !line.starts_with('#') {
            case.step(line, &block);
        }
    }
    case.expect_success();
}

impl Case<'_> {
    fn fail(&self, why: impl std::fmt::Display) -> ! {
        let shown = self.last.as_ref().map_or(String::new(), |last| {
            let (out, err) = (String::from_utf8_lossy(&last.stdout), String::from_utf8_lossy(&last.stderr));
            format!("\n--- exit {:?}\n--- stdout\n{out}\n--- stderr\n{err}", last.status.code())
        });
        panic!("tests/it/cli/{}.case:{}: {why}{shown}", self.name, self.line);
    }

    fn step(&mut self, line: &str, block: &[&str]) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = self.variables.iter().fold(rest.to_string(), |text, (n, v)| text.replace(&format!("${n}"), v));
        if verb != "=" && verb != "$" {
            self.expect_success();
        }
        let words: Vec<&str> = rest.split(' ').collect();
        match verb {
            "$" => self.run(&rest),
            "=" => self.expect_code(rest.parse().unwrap()),
            ">" => self.expect_text(0, &rest),
            "!" => self.expect_text(1, &rest),
            "json" => self.expect_json(words[0], &words[1..].join(" ")),
            "let" => self.capture(words[0], &words[1..].join(" ")),
            "write" => fs::write(self.dir.join(&rest), block.join("\n") + "\n").unwrap(),
            "append" => {
                let before = fs::read(self.dir.join(&rest)).unwrap();
                fs::write(self.dir.join(&rest), [before, (block.join("\n") + "\n").into_bytes()].concat()).unwrap();
            }
            "copy" => copy(&self.dir.join(words[0]), &self.dir.join(words[1])),
            "move" => fs::rename(self.dir.join(words[0]), self.dir.join(words[1])).unwrap(),
            "remove" => remove(&self.find(words[0])),
            "gzip" | "zstd" => {
                let plain = fs::read(self.dir.join(words[0])).unwrap();
                fs::write(self.dir.join(words[1]), compress(verb, &plain)).unwrap();
            }
            "flip" => self.change(words[0], words[1], |bytes, place| bytes[place] ^= 0x10),
            "cut" => self.change(words[0], words[1], |bytes, place| bytes.truncate(place)),
            "equal" => {
                let [a, b] = [words[0], words[1]].map(|name| fs::read(self.dir.join(name)).unwrap());
                if a != b {
                    self.fail("the files differ");
                }
            }
            "gone" if self.dir.join(&rest).exists() => self.fail(format!("{rest} is still there")),
            "gone" => {}
            "serve" => self.held.push(Store::options(self.dir.join(&rest)).worker().open().unwrap()),
            "release" => self.held.drain(..).for_each(|store| store.close().unwrap()),
            "hold" => self.held.push(Store::options(self.dir.join(&rest)).open().unwrap()),
            "snapshot" => self.snapshot = files(&self.dir),
            "unchanged" => self.expect_unchanged(),
            _ => self.fail(format!("no such step: {verb}")),
        }
    }

    fn run(&mut self, line: &str) {
        self.expect_success();
        let mut words = split(line).into_iter();
        assert_eq!(words.next().as_deref(), Some("tenure"), "cases run tenure only");
        let mut command = program(&self.dir);
        let mut keep = None;
        while let Some(word) = words.next() {
            match word.as_str() {
                ">" => keep = words.next(),
                "<" => drop(command.stdin(fs::File::open(self.dir.join(words.next().unwrap())).unwrap())),
                _ => drop(command.arg(word)),
            }
        }
        let ran = command.output().unwrap();
        if let Some(file) = keep {
            fs::write(self.dir.join(file), &ran.stdout).unwrap();
        }
        (self.last, self.checked, self.matched) = (Some(ran), false, [0, 0]);
    }

    fn expect_success(&mut self) {
        if !self.checked {
            self.expect_code(0);
        }
    }

    fn expect_code(&mut self, code: i32) {
        self.checked = true;
        let ended = self.last.as_ref().and_then(|last| last.status.code());
        if ended != Some(code) {
            self.fail(format!("expected exit code {code}"));
        }
    }

    fn output(&self, stream: usize) -> String {
        let Some(last) = &self.last else { self.fail("no command ran yet") };
        String::from_utf8_lossy([&last.stdout, &last.stderr][stream]).into_owned()
    }

    fn expect_text(&mut self, stream: usize, pattern: &str) {
        let text = self.output(stream);
        if pattern == "nothing" {
            if !text.is_empty() {
                self.fail("expected no output");
            }
            return;
        }
        let pattern = Regex::new(&format!("(?m){pattern}")).unwrap_or_else(|error| self.fail(error));
        match pattern.find_at(&text, self.matched[stream]) {
            Some(found) => self.matched[stream] = found.end(),
            None => self.fail(format!("expected {pattern}")),
        }
    }

    fn expect_json(&mut self, path: &str, expected: &str) {
        let text = if self.output(0).is_empty() { self.output(1) } else { self.output(0) };
        let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| self.fail(error));
        if document["schema_version"] != 1 {
            self.fail("expected schema_version 1");
        }
        let mut value = &document;
        for part in path.split('.') {
            value = part.parse::<usize>().map_or_else(|_| &value[part], |index| &value[index]);
        }
        let shown = value.to_string();
        if shown != expected && value.as_str() != Some(expected) {
            self.fail(format!("{path} is {value}"));
        }
    }

    fn capture(&mut self, name: &str, pattern: &str) {
        let text = self.output(0);
        let found = Regex::new(pattern).unwrap().captures(&text).map(|groups| groups[1].to_string());
        let Some(value) = found else { self.fail(format!("expected {pattern}")) };
        self.variables.insert(name.to_string(), value);
    }

    /// A file of the case; a `*` stands for anything, and the largest file that fits is meant.
    fn find(&self, name: &str) -> PathBuf {
        let Some((before, after)) = name.split_once('*') else { return self.dir.join(name) };
        let fits = |path: &&PathBuf| {
            let path = path.to_string_lossy();
            path.starts_with(before) && path.ends_with(after)
        };
        let all = files(&self.dir);
        let found = all.keys().filter(fits).max_by_key(|path| all[*path].len());
        self.dir.join(found.unwrap_or_else(|| self.fail(format!("no file is like {name}"))))
    }

    fn change(&self, name: &str, place: &str, change: impl Fn(&mut Vec<u8>, usize)) {
        let path = self.find(name);
        let mut bytes = fs::read(&path).unwrap();
        let place = match place.strip_suffix('%') {
            Some(percent) => bytes.len() * percent.parse::<usize>().unwrap() / 100,
            None => place.parse().unwrap(),
        };
        change(&mut bytes, place);
        fs::write(path, bytes).unwrap();
    }

    fn expect_unchanged(&self) {
        let now = files(&self.dir);
        for path in now.keys().chain(self.snapshot.keys()) {
            if now.get(path) != self.snapshot.get(path) {
                self.fail(format!("{} was changed", path.display()));
            }
        }
    }
}

/// The contents of all files below a directory, by their path in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, all),
                false => drop(all.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap())),
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(dir, dir, &mut all);
    // Who looks is noted, also where looking changes nothing.
    all.retain(|path, _| path.extension().is_none_or(|extension| extension != "log"));
    all
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn compress(how: &str, plain: &[u8]) -> Vec<u8> {
    if how == "zstd" {
        return zstd::stream::encode_all(plain, 1).unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

/// Words, of which some stand in single quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => word.push(character),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}
