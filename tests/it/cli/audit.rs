//! Roles, the access log, checkpoints and receipts, as the program shows them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::program;

/// Runs `tenure -s calls ARGS`: exit code, standard output, standard error.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let ran = program(dir).args(["-s", "calls"]).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn done(dir: &Path, args: &[&str]) -> String {
    let (code, out, err) = run(dir, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

fn uses(dir: &Path, args: &[&str]) -> Vec<(String, String, String, bool)> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let lines = done(dir, &[&["audit", "log", "--format", "jsonl"], args].concat());
    let one = |line: &str| {
        let one: Value = serde_json::from_str(line).unwrap();
        (text(&one, "actor"), text(&one, "role"), text(&one, "action"), one["role_taken"].as_bool().unwrap())
    };
    lines.lines().map(one).collect()
}

fn a_store(dir: &Path) {
    let line = |customer: &str| {
        format!(
            r#"{{"customer":"{customer}","class":"chat","jurisdiction":"EU","at":"2025-01-05T00:00:00Z","body":"hi"}}"#
        )
    };
    fs::write(dir.join("lines"), format!("{}\n{}\n", line("ana"), line("bo"))).unwrap();
    done(dir, &["init"]);
    done(dir, &["ingest", "lines"]);
}

#[test]
fn roles_refuse_and_the_log_tells_who_did_what() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    a_store(dir);
    done(dir, &["--actor", "eve", "timeline", "ana"]);
    done(dir, &["--actor", "kim", "--role", "agent", "--purpose", "ticket 88", "timeline", "ana"]);
    let (code, _, err) = run(dir, &["--actor", "kim", "--role", "agent", "erase", "ana", "--confirm", "ana"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("role") && err.contains("try:"), "{err}");
    let (code, _, err) = run(dir, &["--role", "king", "timeline", "ana"]);
    assert_eq!(code, 2, "{err}");
    let told = uses(dir, &["--customer", "ana"]);
    let who = |who: &str, role: &str, did: &str, taken| (who.into(), role.into(), did.into(), taken);
    assert_eq!(
        told,
        [
            who("eve", "agent", "timeline", true),
            who("kim", "agent", "timeline", false),
            who("kim", "agent", "erase", false)
        ]
    );
    let table = done(dir, &["audit", "log", "--by", "kim"]);
    assert!(table.contains("ticket 88") && table.contains("refused") && !table.contains("eve"), "{table}");
    assert!(fs::read_dir(dir.join("calls/access")).unwrap().count() == 1, "commands share a file");
}

#[test]
fn a_checkpoint_and_a_receipt_are_verified_without_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    a_store(dir);
    done(dir, &["erase", "ana", "--confirm", "ana"]);
    let key = done(dir, &["audit", "key"]);
    fs::write(dir.join("key"), &key).unwrap();
    done(dir, &["audit", "checkpoint", "-o", "note"]);
    fs::write(dir.join("receipt"), done(dir, &["receipt", "prove", "1"])).unwrap();
    fs::write(dir.join("receipt.json"), done(dir, &["receipt", "show", "1", "--json"])).unwrap();
    done(dir, &["timeline", "bo"]);
    let bare = done(dir, &["audit", "verify"]);
    assert!(bare.contains("self-check"), "{bare}");
    fs::rename(dir.join("calls.keyring"), dir.join("elsewhere")).unwrap();
    let verified = done(dir, &["audit", "verify", "--against", "note", "--key", "key"]);
    assert!(verified.contains("verified"), "{verified}");
    for file in ["receipt", "receipt.json"] {
        let shown = done(dir, &["receipt", "verify", file, "--key", key.trim()]);
        assert!(shown.contains("1 customer erased") && shown.contains("verified"), "{shown}");
        let text = fs::read_to_string(dir.join(file)).unwrap();
        // One digit of a time in the JSON, one of a leaf in the proof.
        let changed = match file {
            "receipt" => text.replacen("leaf ", "leaf 1", 1),
            _ => text.replacen("\"epoch\": ", "\"epoch\": 1", 1),
        };
        fs::write(dir.join("changed"), changed).unwrap();
        assert_eq!(run(dir, &["receipt", "verify", "changed", "--key", "key"]).0, 3, "{file}");
    }
    fs::rename(dir.join("elsewhere"), dir.join("calls.keyring")).unwrap();
    for entry in fs::read_dir(dir.join("calls/access")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(run(dir, &["audit", "verify", "--against", "note"]).0, 3);
    assert_eq!(run(dir, &["verify"]).0, 3);
}

/// Whatever prints a receipt for programs prints what somebody outside can check.
#[test]
fn every_receipt_in_json_carries_its_proof() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = |customer: &str, class: &str| {
        let id = format!("00000000-0000-4000-8000-{:012x}", customer.len() * 1_000 + class.len());
        format!(
            r#"{{"customer":"{customer}","class":"{class}","jurisdiction":"EU","at":"2025-01-05T00:00:00Z","body":"hi","id":"{id}"}}"#
        )
    };
    // More customers than one act takes in.
    let lines: Vec<String> = (0..150).map(|number| line(&format!("one-{number}"), "chat")).collect();
    let more = [line("ana", "chat"), line("bo", "letter"), line("bo", "email")];
    fs::write(dir.join("lines"), [&lines[..], &more].concat().join("\n")).unwrap();
    let rule = |class: &str, rest: &str| format!("[[rule]]\nclass = \"{class}\"\njurisdiction = \"*\"\n{rest}\n");
    let policy = rule("chat", "anchor = \"last-contact\"\nkeep_at_most = \"P1M\"") + &rule("*", "");
    fs::write(dir.join("policy"), policy).unwrap();
    done(dir, &["init"]);
    done(dir, &["ingest", "lines"]);
    fs::write(dir.join("key"), done(dir, &["audit", "key"])).unwrap();
    done(dir, &["hold", "place", "bo", "--matter", "m", "--reason", "r"]);
    let id = "00000000-0000-4000-8000-0000000007d6";
    done(dir, &["policy", "set", "policy", "--confirm", "--reason", "a test"]);
    for (act, more) in [
        (&["erase", "ana", "--confirm", "ana"][..], 0),
        (&["expire"], 1),
        (&["hold", "release", "1"], 0),
        (&["redact", "bo", id, "--confirm", id], 0),
    ] {
        let printed = done(dir, &[act, &["--json"]].concat());
        fs::write(dir.join("printed"), &printed).unwrap();
        let verified = done(dir, &["receipt", "verify", "printed", "--key", "key", "--json"]);
        let [printed, verified] = [printed, verified].map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!((&verified["verified"], &verified["receipt"]), (&Value::Bool(true), &printed["receipt"]), "{act:?}");
        assert_eq!(verified["further"].as_array().unwrap().len(), more, "{act:?}");
        for (one, checked) in
            printed["further"].as_array().into_iter().flatten().zip(verified["further"].as_array().unwrap())
        {
            assert_eq!((&one["receipt"], &one["receipt"]["customers"]), (checked, &Value::from(22)));
        }
    }
    // One of several that does not verify is none that does.
    let shown = done(dir, &["receipt", "show", "1", "--json"]);
    let spoiled = shown.replacen("\"proof\"", "\"further\": [{\"receipt\": {}}], \"proof\"", 1);
    fs::write(dir.join("spoiled"), spoiled).unwrap();
    assert_eq!(run(dir, &["receipt", "verify", "spoiled", "--key", "key"]).0, 3);
}
