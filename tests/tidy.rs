//! The house rules that a compiler does not keep: layers, sizes, and who may import what.

#![allow(clippy::disallowed_methods)] // It reads the source tree, not a store.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Crates that only some rooms may import, so that each has one place to be judged and replaced in.
const RESERVED: &[(&str, &[&str])] = &[
    ("chacha20poly1305", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("hmac", &["crypto"]),
    ("sha2", &["crypto", "bin"]), // The program hashes the files that it hands out.
    ("minijinja", &["bin"]),
    ("ct_merkle", &["crypto", "ledger"]),
    ("ed25519_dalek", &["crypto"]),
    ("zstd", &["compress", "bin"]), // The program reads compressed input.
    ("crc32fast", &["format"]),
    ("toml", &["policy"]),
    ("serde", &["policy", "bin"]),
    ("serde_json", &["policy", "bin"]),
    ("jiff", &["window"]),
    ("memmap2", &["env"]),
    ("rustix", &["env"]),
    ("getrandom", &["env"]),
];

/// The machine, which only `env` touches; the program may, for what is not a store.
const MACHINE: &[&str] = &["std::fs", "fs::File", "SystemTime", "Instant::now", "OsRng", "thread_rng"];

/// What is left behind when work stops halfway, split so that this file does not name it.
const LEFTOVERS: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("allow(dead", "_code"),
    concat!("allow(unu", "sed"),
];

const FORBIDDEN_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "types"];

struct Source {
    /// Relative to the crate, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The room of a file in `src`: `journal` of `src/journal/scan.rs`; `bin` of the program.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }

    fn is_test(&self) -> bool {
        !self.path.starts_with("src/")
            || self.path == "src/fuzzing.rs"
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What a package inside this one has built is nobody's writing.
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for dir in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        collect(&root().join(dir), &mut paths);
    }
    paths.sort();
    let source = |path: &PathBuf| Source {
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(source).collect()
}

/// The text without comments and without the modules that only tests see.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with('{')) {
            let close = format!("{}}}", &line[..line.len() - bare.len()]);
            for inner in lines.by_ref() {
                if inner == close {
                    break;
                }
            }
        } else if !bare.starts_with("//") {
            let end = line.find(" // ").unwrap_or(line.len());
            writeln!(code, "{}", &line[..end]).unwrap();
        }
    }
    code
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands by itself.
fn uses<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).is_none_or(|before| !is_word(bytes[before]));
        before && bytes.get(at + word.len()).is_none_or(|after| !is_word(*after))
    })
}

/// The first names of what `crate::` is followed by: `a` and `b` of `crate::a::X`, `crate::{a::X, b}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        // `pub(in crate::x)` and `$crate::` are followed just the same.
        let rest = &code[at + prefix.len()..];
        let first = |text: &str| text.trim().chars().take_while(|c| is_word(*c as u8)).collect::<String>();
        match rest.strip_prefix('{') {
            None => found.push(first(rest)),
            Some(group) => {
                let (mut depth, mut item) = (0, String::new());
                for c in group.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(first(&std::mem::take(&mut item))),
                        _ if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                found.push(first(&item));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Rooms and their layers, as the table in `lib.rs` has them: layer, and place within it.
fn layers(lib: &str) -> BTreeMap<String, (usize, usize)> {
    let mut layers = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | L")) {
        let (number, rooms) = line.split_once('|').expect("a row of the layer table");
        let layer: usize = number.trim().parse().expect("the number of a layer");
        for (place, room) in rooms.split('`').skip(1).step_by(2).enumerate() {
            layers.insert(room.to_owned(), (layer, place));
        }
    }
    layers
}

/// Whether one room may import another: from lower layers only; on the ground floor, where the words live, also from
/// the rooms that the table names before it.
fn may_import(from: (usize, usize), to: (usize, usize)) -> bool {
    to.0 < from.0 || (from.0 == 0 && to.0 == 0 && to.1 < from.1)
}

fn layer_faults(sources: &[Source], layers: &BTreeMap<String, (usize, usize)>) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test() && source.path != "src/lib.rs") {
        let room = source.room().unwrap_or_default();
        if room == "bin" {
            continue;
        }
        let Some(own) = layers.get(room) else {
            faults.push(format!("{}: the room {room} has no layer in lib.rs", source.path));
            continue;
        };
        let code = code(&source.text);
        for import in imports(&code).iter().filter(|import| *import != room) {
            match layers.get(import) {
                Some(layer) if may_import(*own, *layer) => {}
                Some(layer) => faults.push(format!("{}: L{} imports {import} of L{}", source.path, own.0, layer.0)),
                None => faults.push(format!("{}: imports {import} from the crate root", source.path)),
            }
        }
        if reaches_root(&code, source.path.trim_end_matches("/mod.rs").matches('/').count()) {
            faults.push(format!("{}: imports from the crate root by `super`", source.path));
        }
    }
    faults
}

/// Whether a file this deep, or a module written inside it, climbs up to the crate root by `super`.
fn reaches_root(code: &str, depth: usize) -> bool {
    let mut closes: Vec<String> = Vec::new();
    for line in code.lines() {
        let bare = line.trim_start();
        if closes.last().is_some_and(|close| close == line) {
            closes.pop();
        } else if bare.ends_with('{') && bare.split_whitespace().take(2).any(|word| word == "mod") {
            closes.push(format!("{}}}", &line[..line.len() - bare.len()]));
        } else if line.contains(&"super::".repeat(depth + closes.len())) {
            return true;
        }
    }
    false
}

/// The first line and the length of every function, by the indentation that rustfmt gives it.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        let mut words = bare.split_whitespace();
        let leads = |word: &&str| word.starts_with("pub") || matches!(*word, "const" | "async" | "unsafe" | "extern");
        let is_function = words.find(|word| !leads(word)) == Some("fn");
        if !is_function || bare.ends_with(';') || bare.ends_with('}') {
            continue;
        }
        let at_indent = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with(['}', ')']));
        let mut ends = lines[start + 1..].iter().enumerate().filter(|(_, line)| at_indent(line));
        let end = ends.find(|(_, line)| line.ends_with(';') || line.trim_start().starts_with('}'));
        functions.push((start + 1, end.map_or(lines.len() - start, |(index, _)| index + 2)));
    }
    functions
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn rooms_import_only_from_lower_layers() {
    let layers = layers(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    assert!(layers.len() >= 15, "the table in lib.rs is read: {layers:?}");
    none(&layer_faults(&sources(), &layers));
}

#[test]
fn files_and_functions_are_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}: {lines} lines, {FILE_LINES} at most", source.path));
        }
        for (line, length) in functions(&source.text).into_iter().filter(|(_, length)| *length > FUNCTION_LINES) {
            faults.push(format!("{}:{line}: a function of {length} lines, {FUNCTION_LINES} at most", source.path));
        }
    }
    none(&faults);
}

#[test]
fn the_machine_is_reached_through_env_only() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if matches!(source.room(), Some("env" | "bin")) {
            continue;
        }
        let code = code(&source.text);
        for word in MACHINE.iter().filter(|word| uses(&code, word).next().is_some()) {
            faults.push(format!("{}: {word} outside env", source.path));
        }
    }
    none(&faults);
}

#[test]
fn reserved_crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = code(&source.text);
        for (name, rooms) in RESERVED {
            let imported = uses(&code, name).any(|at| code[at + name.len()..].starts_with("::"));
            if imported && !rooms.contains(&source.room().unwrap_or_default()) {
                faults.push(format!("{}: {name} is for {} only", source.path, rooms.join(", ")));
            }
        }
    }
    none(&faults);
}

#[test]
fn nothing_is_left_behind() {
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for word in LEFTOVERS.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: {word}", source.path, number + 1));
            }
            if !line.is_ascii() {
                faults.push(format!("{}:{}: not ASCII; write \\u{{...}} where it is meant", source.path, number + 1));
            }
        }
    }
    none(&faults);
}

#[test]
fn rooms_say_what_they_are() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        if !source.is_test() && !source.text.starts_with("//!") {
            faults.push(format!("{}: no module header", source.path));
        }
        if source.path.split(['/', '.']).any(|part| FORBIDDEN_NAMES.contains(&part)) {
            faults.push(format!("{}: a name that says nothing", source.path));
        }
        let may_be_unsafe =
            ["src/env/disk.rs", "src/compress/processor.rs", "src/compress/behind.rs"].contains(&&*source.path);
        if !may_be_unsafe && uses(&source.text, "unsafe_code").next().is_some() {
            faults.push(format!(
                "{}: unsafe code is for env/disk.rs, compress/processor.rs and compress/behind.rs alone",
                source.path
            ));
        }
    }
    none(&faults);
}

/// Every byte on disk is specified in docs/format.md, which names the code that it was last compared with.
#[test]
fn the_format_and_its_document_change_together() {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325; // FNV-1a.
    for source in sources() {
        let specified = source.path.starts_with("src/format") || source.path == "src/crypto/derive.rs";
        let sample = source.path.ends_with("tests.rs") || source.path.ends_with("samples.rs");
        if specified && !sample {
            for byte in source.path.bytes().chain(code(&source.text).bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let document = fs::read_to_string(root().join("docs/format.md")).unwrap();
    assert!(
        document.contains(&format!("`{hash:016x}`")),
        "src/format or src/crypto/derive.rs changed: see that docs/format.md still says what they do, then write the \
         hash {hash:016x} at its end"
    );
}

/// The tests that a document names, `file::test` between backticks: file and test.
fn tests_named(document: &str) -> Vec<(&str, &str)> {
    let spans = document.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.rsplit_once("::")).collect()
}

/// Whether a test of that name stands in a file whose path ends so: `keyring::tests::shred`, `restore`.
fn is_test_of(sources: &[Source], file: &str, test: &str) -> bool {
    let ends = [format!("/{}.rs", file.replace("::", "/")), format!("/{}/mod.rs", file.replace("::", "/"))];
    let here = sources.iter().filter(|source| ends.iter().any(|end| source.path.ends_with(end)));
    let start = format!("fn {test}(");
    here.into_iter().any(|source| {
        let mut marked = false;
        source.text.lines().map(str::trim_start).any(|line| {
            let found = marked && line.starts_with(&start);
            marked = line == "#[test]" || marked && line.starts_with("#[");
            found
        })
    })
}

/// Each promise of the threat model, to its end: what is to be held by a test.
fn promises(document: &str) -> Vec<String> {
    let (mut promises, mut inside): (Vec<String>, bool) = (Vec::new(), false);
    for line in document.lines() {
        if line.starts_with("## ") {
            inside =
                line.starts_with("## What this release promises") || line.starts_with("## What erasure and expiry");
        } else if line.starts_with("What these stages do **not**") {
            inside = false;
        } else if inside && (line.starts_with("- ") || line.starts_with("| `")) {
            promises.push(line.to_owned());
        } else if inside && line.starts_with("  ") {
            promises.last_mut().expect("a promise begins with a dash").push_str(line);
        }
    }
    promises
}

/// Every promise names the tests that hold it, and they are there.
#[test]
fn promises_are_held_by_tests_that_exist() {
    let (document, sources) = (fs::read_to_string(root().join("docs/threat-model.md")).unwrap(), sources());
    let mut faults = Vec::new();
    let promises = promises(&document);
    assert!(promises.len() > 20, "the promises are read: {promises:?}");
    for promise in promises.iter().filter(|promise| tests_named(promise).is_empty()) {
        faults.push(format!("no test is named that holds it: {promise}"));
    }
    for (file, test) in tests_named(&document) {
        if !is_test_of(&sources, file, test) {
            faults.push(format!("docs/threat-model.md names {file}::{test}, which is no test"));
        }
    }
    none(&faults);
}

/// The checks see what they are there to see.
mod checks {
    use super::*;

    fn faults(path: &str, text: &str) -> usize {
        let layers = layers("//! | L0 | `error`, `window` |\n//! | L1 | `env`, `crypto` |\n//! | L4 | `engine` |\n");
        layer_faults(&[Source { path: path.into(), text: text.into() }], &layers).len()
    }

    #[test]
    fn imports_upwards_and_sideways_are_seen() {
        assert_eq!(faults("src/env/a.rs", "use crate::error::Error;\nuse crate::env::Env;\nuse super::b;\n"), 0);
        assert_eq!(faults("src/env/a.rs", "use crate::crypto::Key;\n"), 1);
        assert_eq!(faults("src/env/a.rs", "fn f(a: &crate::engine::Engine) {}\n"), 1);
        assert_eq!(faults("src/engine.rs", "use crate::{error::{A, B}, crypto::Key, window, Error};\n"), 1);
        assert_eq!(faults("src/window.rs", "use crate::error::Error;\n"), 0);
        assert_eq!(faults("src/error.rs", "use crate::window::Day;\n"), 1);
        assert_eq!(faults("src/env/a.rs", "use super::super::engine;\n"), 1);
        assert_eq!(faults("src/env/mod.rs", "use super::engine;\n"), 1);
        assert_eq!(faults("src/env/a.rs", "pub mod b {\n    use super::super::c;\n}\n"), 0);
        assert_eq!(faults("src/env/a.rs", "pub mod b {\n}\nuse super::super::engine;\n"), 1);
        assert_eq!(faults("src/cellar.rs", ""), 1);
    }

    #[test]
    fn comments_and_tests_are_not_code() {
        let text =
            "/// crate::engine\n#[cfg(test)]\nmod tests {\n    use crate::engine::E;\n}\nfn f() {} // crate::engine\n";
        assert_eq!(faults("src/env/a.rs", text), 0);
        assert_eq!(faults("src/env/a.rs", &format!("{text}use crate::engine::E;\n")), 1);
        assert_eq!(faults("src/env/tests.rs", "use crate::engine::E;\n"), 0);
    }

    #[test]
    fn functions_are_measured() {
        let text = "fn a(\n    b: u8,\n) -> u8 {\n    if b {\n    }\n}\n\nimpl X {\n    pub(super) const fn c() {\n    }\n}\n\
                    trait T {\n    fn d(\n        e: u8,\n    ) -> u8;\n    fn g() -> u8;\n    fn h() { 1 }\n}\n";
        assert_eq!(functions(text), [(1, 6), (9, 2), (13, 3)]);
    }

    #[test]
    fn tests_are_found_by_file_and_name() {
        let text = "mod x {\n    #[test]\n    fn holds() {\n    }\n    fn other() {\n    }\n}\n";
        let sources = [Source { path: "src/keyring/tests/shred.rs".into(), text: text.into() }];
        assert_eq!(tests_named("held by `shred::holds`, `x`, not y::z"), [("shred", "holds")]);
        assert!(is_test_of(&sources, "shred", "holds") && is_test_of(&sources, "keyring::tests::shred", "holds"));
        let none = [("shred", "other"), ("red", "holds"), ("shred", "hold")];
        assert!(none.iter().all(|(file, test)| !is_test_of(&sources, file, test)));
        let held = promises("## What this release promises\n- a\n  b\n| `c` | d |\n## Else\n- e\n");
        assert_eq!(held, ["- a  b", "| `c` | d |"]);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(uses("zstd::x my_zstd::y zstd_safe::z", "zstd").count(), 1);
    }
}
