//! What is handed out: whole, in a form that is taken in again, and inert whatever people wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::runner::program;
use super::succeed;

const SCRIPT: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

fn hostile() -> Vec<String> {
    let line = |time: &str, body: &str| {
        format!(r#"{{"customer":"c-<b>1","class":"chat","jurisdiction":"EU","at":"2025-01-{time}T00:00:00Z",{body}}}"#)
    };
    vec![
        line("01", &format!(r#""body":"{SCRIPT}""#)),
        line(
            "02",
            &format!(r#""body":{{"{SCRIPT}":"</pre>{SCRIPT}","turns":[{{"speaker":"{SCRIPT}","text":"{SCRIPT}"}}]}}"#),
        ),
        line("03", r#""body":"a\u0000b\u001b[31mc\u202ed\r\ne""#),
        line("04", &format!(r#""body":"{}""#, "long ".repeat(200_000))),
        line("05", r#""body_base64":"//4A""#),
        line("06", &format!(r#""body":{}{}"#, "[".repeat(400), "]".repeat(400))),
        line("07", r#""body":"</style></script><!-- &amp; \" onmouseover=x ' {{ 7*7 }} {% raw %}""#),
    ]
}

fn tenure(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let ran = program(dir).args(["-s", "calls"]).args(args).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

fn store(dir: &Path, lines: &[String]) {
    fs::write(dir.join("lines"), lines.concat().replace("}{", "}\n{")).unwrap();
    succeed(dir, &["-s", "calls", "init"]);
    succeed(dir, &["-s", "calls", "ingest", "lines"]);
}

#[test]
fn an_export_is_whole_and_inert() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir, &hostile());
    fs::write(dir.join("call.wav"), vec![7; 20 << 20]).unwrap();
    succeed(dir, &["-s", "calls", "put", "c-<b>1", "call.wav", "--jurisdiction", "EU", "--at", "2025-02-01"]);
    let to =
        ["export", "c-<b>1", "-o", "out", "--recipient", "<i>the customer</i>", "--actor", "dpo", "--purpose", "t-1"];
    succeed(dir, &[&["-s", "calls"][..], &to].concat());
    let page = fs::read_to_string(dir.join("out/export.html")).unwrap();
    for wrong in
        ["<script", "<img", "onerror=alert(2)>", "<b>1", "<i>the", "\u{0}", "\u{1b}", "\u{202e}", "</style></script>"]
    {
        assert!(!page.contains(wrong), "{wrong:?} came through");
    }
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("default-src 'none'; style-src 'sha256-") && page.contains("{{ 7*7 }} {% raw %}"));
    assert!(page.matches("<article class=\"record\">").count() == 8 && page.len() < 2 << 20);
    // The manifest says what is in it, and every file has the hash that it names.
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("out/manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["records"], &manifest["recipient"]), (&8.into(), &"<i>the customer</i>".into()));
    assert_eq!((&manifest["made_by"], &manifest["streams"][0]["records"]), (&"dpo".into(), &7.into()));
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for file in files {
        let name = file["file"].as_str().unwrap();
        let summed = Command::new("sha256sum").arg(dir.join("out").join(name)).output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&summed)[..64], *file["sha256"].as_str().unwrap(), "{name}");
    }
    let body = files.iter().find(|file| file["id"].is_string()).unwrap();
    assert_eq!(fs::read(dir.join("out").join(body["file"].as_str().unwrap())).unwrap(), vec![7; 20 << 20]);
    // It is taken in again as the same records.
    succeed(dir, &["-s", "other", "init"]);
    succeed(dir, &["-s", "other", "ingest", "out/records.jsonl"]);
    let again = succeed(dir, &["-s", "other", "timeline", "c-<b>1", "--format", "jsonl"]);
    assert_eq!(again, fs::read(dir.join("out/records.jsonl")).unwrap());
    // Who received it is on record, and it never takes the place of anything.
    let log = succeed(dir, &["-s", "calls", "audit", "log", "--json"]);
    assert!(String::from_utf8_lossy(&log).contains("t-1; for <i>the customer</i>"));
    let (code, said) = tenure(dir, &to);
    assert!(code == Some(4) && said.contains("is there already"), "{said}");
}

#[test]
fn what_cannot_be_exported_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir, &hostile()[..1]);
    let to = |customer: &'static str| ["export", customer, "-o", "out", "--recipient", "somebody"];
    assert_eq!(tenure(dir, &to("nobody")).0, Some(1));
    assert_eq!(tenure(dir, &[&to("c-<b>1")[..], &["--role", "agent"]].concat()).0, Some(4));
    assert_eq!(tenure(dir, &["export", "c-<b>1", "-o", "out", "--recipient", " "]).0, Some(2));
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("out")), "{left:?}");
}

/// What a killed export left is removed by the next one beside it, and nothing else is: not what another one is writing, nor
/// what only looks alike.
#[test]
fn what_an_interrupted_export_left_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir, &hostile()[..1]);
    let at = |name: &str| dir.join(name);
    for name in [".old.7-1.tenure-export", ".running.8-1.tenure-export", ".old.7.tmp", "old.tenure-export"] {
        fs::create_dir_all(at(name).join("bodies")).unwrap();
        fs::write(at(name).join("records.jsonl"), "in clear").unwrap();
    }
    fs::write(at(".file.tenure-export"), "a file").unwrap();
    std::os::unix::fs::symlink(at("old.tenure-export"), at(".link.tenure-export")).unwrap();
    let running = fs::File::open(at(".running.8-1.tenure-export")).unwrap();
    running.lock().unwrap();
    let (code, said) = tenure(dir, &["export", "c-<b>1", "-o", "out", "--recipient", "somebody"]);
    assert!(code == Some(0) && said.contains(".old.7-1.tenure-export was left by an export"), "{said}");
    assert!(!at(".old.7-1.tenure-export").exists());
    for left in [".running.8-1.tenure-export", ".old.7.tmp", "old.tenure-export"] {
        assert!(at(left).join("records.jsonl").exists(), "{left}");
    }
    assert!(at(".file.tenure-export").exists() && at(".link.tenure-export").exists());
    drop(running);
    // Also by one that comes to nothing.
    assert_eq!(tenure(dir, &["export", "nobody", "-o", "other", "--recipient", "somebody"]).0, Some(1));
    assert!(!at(".running.8-1.tenure-export").exists() && at("out/records.jsonl").exists());
}
