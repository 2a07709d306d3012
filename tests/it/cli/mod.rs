//! The program as a user meets it: the cases in `*.case`, and what a case cannot say.

#![allow(clippy::disallowed_methods)] // It works on files of the tests, not of a store.

mod audit;
mod export;
mod runner;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use runner::{program, run_case};

/// One test per file, so that a failure names it.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { run_case(stringify!($name), include_str!(concat!(stringify!($name), ".case"))); })*
    };
}

cases!(
    init,
    missing_store,
    mistakes,
    foreign_directory,
    locked,
    beside,
    wrong_key,
    copied_store,
    take_over,
    exit_codes,
    odd_input,
    damaged_store,
    ingest,
    ingest_bad_lines,
    ingest_refused,
    ingest_compressed,
    round_trip,
    reading,
    put,
    classify,
    json,
    usage,
    policy,
    upkeep,
    repair,
    expire,
    report,
    erase,
    erase_kept,
    erase_part,
    rectify,
    restore,
    hold,
    hold_beside,
    keeper,
);

#[test]
fn every_case_file_is_run() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cli");
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(case) = name.strip_suffix(".case") {
            assert!(CASES.contains(&case), "{name} is not in the list of cases");
        }
    }
}

fn lines(count: usize) -> String {
    let line = |n| {
        format!(
            r#"{{"customer":"c-{n}","class":"chat","jurisdiction":"EU","at":"2025-01-01T00:00:00Z","body":"line {n}"}}"#
        )
    };
    (0..count).map(|n| line(n) + "\n").collect()
}

fn succeed(dir: &Path, args: &[&str]) -> Vec<u8> {
    let ran = program(dir).args(args).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lines"), lines(20_000)).unwrap();
    succeed(dir.path(), &["-s", "calls", "init"]);
    succeed(dir.path(), &["-s", "calls", "ingest", "lines"]);
    let mut child = program(dir.path())
        .args(["-s", "calls", "scan", "--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

/// Ctrl-C while standard input is still open: what came is stored, and the program ends with its own code.
#[test]
fn an_interrupt_keeps_what_came() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &["-s", "calls", "init"]);
    let mut child = program(dir.path())
        .args(["-s", "calls", "ingest", "-", "--acknowledge"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(50).as_bytes()).unwrap();
    let mut acknowledged = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while acknowledged.trim() != "50" {
        acknowledged.clear();
        assert_ne!(stdout.read_line(&mut acknowledged).unwrap(), 0, "it ended before all lines were acknowledged");
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    drop(stdin);
    let scanned = succeed(dir.path(), &["-s", "calls", "scan", "--format", "jsonl"]);
    assert_eq!(scanned.iter().filter(|byte| **byte == b'\n').count(), 50);
}

/// A killed writer: every acknowledged line is there, and the same command goes on behind them.
#[test]
fn a_killed_ingest_resumes_without_loss_or_doubling() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lines"), lines(20_000)).unwrap();
    succeed(dir.path(), &["-s", "calls", "init"]);
    let ingest = ["-s", "calls", "ingest", "lines", "--batch", "100"];
    let mut child = program(dir.path()).args(ingest).arg("--acknowledge").stdout(Stdio::piped()).spawn().unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        acknowledged = line.unwrap().parse::<usize>().unwrap();
        if acknowledged >= 1_000 {
            let _ = child.kill(); // It may have ended by itself already.
        }
    }
    child.wait().unwrap();
    let count = |bytes: Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count();
    let scan = ["-s", "calls", "scan", "--format", "jsonl"];
    assert!(count(succeed(dir.path(), &scan)) >= acknowledged);
    succeed(dir.path(), &ingest);
    assert_eq!(count(succeed(dir.path(), &scan)), 20_000);
    succeed(dir.path(), &["-s", "calls", "verify", "--deep"]);
}

/// A line too long for a batch gets its class from the policy as well, and is set aside where nothing gives it one.
#[test]
fn long_lines_are_classed_by_their_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let line = |channel: &str, day: u32| {
        let long = "x".repeat(tenure::BODY_LIMIT);
        format!(
            r#"{{"customer":"c-1","jurisdiction":"EU","at":"2025-01-0{day}T00:00:00Z","body":{{"channel":"{channel}","said":"{long}"}}}}"#
        ) + "\n"
    };
    fs::write(dir.path().join("lines"), line("voice", 1) + &line("fax", 2)).unwrap();
    let policy = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\n[[classify]]\npointer = \"/channel\"\nmatches = \"voice\"\nclass = \"call\"\n";
    fs::write(dir.path().join("policy"), policy).unwrap();
    succeed(dir.path(), &["-s", "calls", "init", "--policy", "policy"]);
    let ran = program(dir.path()).args(["-s", "calls", "ingest", "lines"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(3) && said.contains("lines:2: refused: it has no class"), "{said}");
    let shown = String::from_utf8(succeed(dir.path(), &["-s", "calls", "timeline", "c-1", "--format", "csv"])).unwrap();
    assert!(shown.lines().count() == 2 && shown.contains("2025-01-01T00:00:00Z,call,EU"), "{shown}");
}

/// On a full disk nothing acknowledged is lost, and the words say what to do. Needs the right to mount a small file
/// system of its own, which some machines do not give.
#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("small")).unwrap();
    fs::write(dir.join("lines"), lines(400_000)).unwrap();
    let script = "mount -t tmpfs -o size=40m none small || exit 77
        \"$1\" -s small/calls init > init.out 2>&1; echo $? > init.code
        \"$1\" -s small/calls ingest lines --acknowledge > ingest.out 2> ingest.err; echo $? > ingest.code
        \"$1\" -s small/calls scan --format jsonl > scan.out 2> scan.err; echo $? > scan.code
        \"$1\" -s small/calls verify > verify.out 2>&1; echo $? > verify.code";
    let ran = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_tenure")])
        .current_dir(dir)
        .status();
    match ran.map(|status| status.code()) {
        Ok(Some(0)) => {}
        // `unshare` itself ends with 1 where it may not make the namespace.
        _ if !dir.join("init.code").exists() => return eprintln!("skipped: no right to mount"),
        other => panic!("{other:?}"),
    }
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(read("init.code").trim(), "0", "{}", read("init.out"));
    assert_eq!(read("ingest.code").trim(), "1", "{}", read("ingest.err"));
    assert!(read("ingest.err").contains("\n  try: "), "{}", read("ingest.err"));
    assert!(read("ingest.err").contains("free some space"), "{}", read("ingest.err"));
    let acknowledged: usize = read("ingest.out").lines().last().map_or(0, |line| line.parse().unwrap());
    assert_eq!(read("scan.code").trim(), "0", "{}", read("scan.err"));
    assert!(read("scan.out").lines().count() >= acknowledged && acknowledged > 0);
    assert_eq!(read("verify.code").trim(), "0", "{}", read("verify.out"));
}

#[test]
fn the_demo_runs_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let told = succeed(dir.path(), &["demo", "--records", "4000", "--keep", kept.to_str().unwrap()]);
    let told = String::from_utf8(told).unwrap();
    for words in
        ["none lost, none twice", "0 found", "  cleared  ", "  final  ", "  does not open: ", "0 of theirs open"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    let stats = succeed(dir.path(), &["-s", kept.join("calls").to_str().unwrap(), "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["total"]["overdue"], 0);
}

/// Commands that tell of the store, and of nobody.
const TELLING: [&[&str]; 8] = [
    &["receipt", "list"],
    &["receipt", "show", "2"],
    &["stats"],
    &["report", "-o", "-"],
    &["report", "--json"],
    &["scan", "--aggregate"],
    &["verify", "--deep"],
    &["doctor"],
];

/// The names and the bytes of all files below a directory, but for what was given as input.
fn written(dir: &Path) -> Vec<Vec<u8>> {
    let mut written = Vec::new();
    let mut below = vec![dir.to_path_buf()];
    while let Some(path) = below.pop() {
        match path.is_dir() {
            true if path.ends_with("input") => {}
            true => below.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path())),
            false => {
                written.push(path.display().to_string().into_bytes());
                written.push(fs::read(&path).unwrap());
            }
        }
    }
    written
}

/// Nothing that was printed or written after an erasure names the customer, or holds a word or a key of theirs, but
/// where a command was asked to print records.
#[test]
fn no_word_of_an_erased_customer_is_left() {
    const CANARIES: [&str; 4] = ["canary-customer-77", "xylophone-quokka", "canary-customer-88", "marzipan-walrus"];
    let dir = tempfile::tempdir().unwrap();
    let line = |customer: &str, body: &str, at: &str| {
        format!(r#"{{"customer":"{customer}","class":"chat","jurisdiction":"EU","at":"{at}","body":"{body}"}}"#) + "\n"
    };
    let mut text = lines(500);
    for (customer, body) in [(CANARIES[0], CANARIES[1]), (CANARIES[2], CANARIES[3])] {
        text += &line(customer, body, "2025-01-05T00:00:00Z");
        text += &line(customer, body, "2025-02-05T00:00:00Z");
    }
    text += &line("bystander", "still here", "2025-02-05T00:00:00Z");
    fs::create_dir(dir.path().join("input")).unwrap();
    fs::write(dir.path().join("input/lines"), text).unwrap();
    fs::write(dir.path().join("input/list"), format!("{}\n", CANARIES[2])).unwrap();
    let policy = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_most = \"P50Y\"\n";
    fs::write(dir.path().join("input/policy"), policy).unwrap();
    let printed = std::cell::RefCell::new(Vec::new());
    let run = |code: i32, args: &[&str]| {
        let ran = program(dir.path()).args(["-s", "calls"]).args(args).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        printed.borrow_mut().extend([ran.stdout, ran.stderr]);
    };
    run(0, &["init"]);
    run(0, &["ingest", "input/lines"]);
    // Of a record that is printed the test learns that it would find the words.
    let shown = succeed(dir.path(), &["-s", "calls", "timeline", CANARIES[0], "--format", "jsonl"]);
    assert!(String::from_utf8(shown).unwrap().contains(CANARIES[1]));
    for json in [&[][..], &["--json"]] {
        let with = |args: &[&'static str]| [args, json].concat();
        run(4, &with(&["erase", CANARIES[0]]));
        run(4, &with(&["erase", CANARIES[0], "--confirm", CANARIES[2]]));
        run(0, &with(&["erase", CANARIES[0], "--dry-run"]));
        run(0, &with(&["erase", "--list", "input/list", "--dry-run"]));
        run(4, &with(&["redact", CANARIES[0], "00000000-0000-4000-8000-000000000002"]));
    }
    run(0, &["erase", CANARIES[0], "--until", "2025-01-31", "--confirm", CANARIES[0]]);
    run(0, &["erase", CANARIES[0], "--confirm", CANARIES[0]]);
    run(0, &["erase", "--list", "input/list", "--confirm", "1", "--json"]);
    run(3, &["ingest", "input/lines", "--from-start"]);
    run(3, &["ingest", "input/lines", "--from-start", "--json"]);
    run(0, &["policy", "set", "input/policy", "--confirm", "--reason", "a test"]);
    run(0, &["expire", "--now", "2075-02-01", "--confirm"]);
    for args in TELLING {
        run(0, args);
    }
    run(0, &["erase", CANARIES[0], "--confirm", CANARIES[0], "--json"]);
    run(0, &["maintain", "--scrub"]);
    run(0, &["receipt", "list", "--json"]);
    let written = written(dir.path());
    for kind in [".ledger", ".seg", ".keys", ".custodian"] {
        assert!(written.iter().any(|text| text.ends_with(kind.as_bytes())), "no {kind} was searched");
    }
    for canary in CANARIES {
        for text in printed.borrow().iter().chain(&written) {
            assert!(!text.windows(canary.len()).any(|run| run == canary.as_bytes()), "{canary} is left");
        }
    }
}
