//! A store on the real disk whose custodian is an external program: the escrow in `tests/custodian/keeper.py`.

#![allow(clippy::disallowed_methods)] // It works on files of the tests, not of a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tenure::{
    Batch, CommandCustodian, Custodian, Error, ErrorKind, OpeningToken, Options, Record, Result, Store, StoreId,
};

const KEEPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/custodian/keeper.py");

/// Whether there is a Python to run the program with. Without one the test is skipped, visibly; in CI it fails, unless
/// ALLOW_SKIP is set.
fn python() -> bool {
    if Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return true;
    }
    let set = |name| std::env::var_os(name).is_some();
    assert!(!set("CI") || set("ALLOW_SKIP"), "python3 is missing; set ALLOW_SKIP=1 to go without this test");
    eprintln!("skipped: python3 is missing");
    false
}

/// A directory with a store in it and a keeper's directory beside.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn keeper(&self, name: &str) -> CommandCustodian {
        CommandCustodian::new("python3", [Path::new(KEEPER), &self.at(name), Path::new("--no-copies")])
    }

    fn options(&self) -> Options {
        Store::options(self.at("calls")).custodian(self.keeper("keeper"))
    }

    fn copy(&self, from: &str, to: &str) {
        copy(&self.at(from), &self.at(to));
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn append(store: &Store, body: &'static str) {
    let record = Record::new("c-17", "chat", "EU", "2025-09-01T10:00:00Z".parse().unwrap(), body).unwrap();
    store.append(Batch::from(vec![record])).unwrap().wait().unwrap();
}

fn bodies(store: &Store) -> Vec<String> {
    let body = |stored: Result<tenure::Stored>| String::from_utf8(stored.unwrap().body.to_vec()).unwrap();
    store.timeline("c-17", ..).unwrap().map(body).collect()
}

fn failure(result: Result<Store>) -> Error {
    result.expect_err("it opened")
}

#[test]
fn a_store_lives_with_a_program_as_its_custodian() {
    if !python() {
        return;
    }
    let place = Place::new();
    let store = place.options().create().unwrap();
    append(&store, "first");
    // Beside the writer, as any reader.
    let reader = place.options().open_read_only().unwrap();
    assert_eq!(bodies(&reader), ["first"]);
    drop(reader);
    store.close().unwrap();
    let store = place.options().open().unwrap();
    append(&store, "second");
    assert_eq!(bodies(&store), ["first", "second"]);
    // Killed, as far as anybody can tell: nothing was closed.
    drop(store);
    // A process that another test starts holds copies of all locks until it has become another program.
    let store = loop {
        match place.options().open() {
            Err(error) if error.kind() == ErrorKind::Locked => std::thread::yield_now(),
            outcome => break outcome.unwrap(),
        }
    };
    assert_eq!(bodies(&store), ["first", "second"]);
    store.close().unwrap();
    assert!(!place.at("calls.custodian").exists(), "no file custodian was asked");
}

#[test]
fn a_wrong_program_or_another_stores_opens_nothing() {
    if !python() {
        return;
    }
    let place = Place::new();
    place.options().create().unwrap().close().unwrap();
    Store::options(place.at("other")).custodian(place.keeper("others")).create().unwrap().close().unwrap();
    let wrong = [
        place.keeper("others"),
        place.keeper("nothing"),
        CommandCustodian::new("cat", [""; 0]),
        CommandCustodian::new("false", [""; 0]),
        CommandCustodian::new(place.at("missing"), [""; 0]),
    ];
    for custodian in wrong {
        let named = format!("{custodian:?}");
        let error = failure(Store::options(place.at("calls")).custodian(custodian).open());
        assert_eq!(error.kind(), ErrorKind::KeyUnavailable, "{named}: {error:?}");
    }
    let error = failure(Store::options(place.at("third")).custodian(place.keeper("keeper")).create());
    assert_eq!(error.kind(), ErrorKind::Invalid, "a keeper in use is given to no other store: {error:?}");
    place.options().open().unwrap().close().unwrap();
}

#[test]
fn a_copy_beside_its_living_original_is_refused() {
    if !python() {
        return;
    }
    let place = Place::new();
    place.options().create().unwrap().close().unwrap();
    place.copy("calls", "copy");
    place.copy("calls.keyring", "copy.keyring");
    let copy = || Store::options(place.at("copy")).custodian(place.keeper("keeper"));
    let store = place.options().open().unwrap();
    append(&store, "in the original");
    assert_eq!(failure(copy().open()).kind(), ErrorKind::KeyUnavailable);
    // Not even by force, as long as the process that has the original open lives.
    assert_eq!(failure(copy().take_over("a test").open()).kind(), ErrorKind::Locked);
    store.close().unwrap();
    let error = failure(copy().open());
    assert!(
        error.kind() == ErrorKind::KeyUnavailable && error.next_step().unwrap().contains("use the other copy"),
        "{error:?}"
    );
    place.options().open().unwrap().close().unwrap();
}

/// What is sealed, opened and destroyed goes by the opening that is registered, and an older one destroys nothing.
#[test]
fn the_keeper_keeps_the_contract() {
    if !python() {
        return;
    }
    let place = Place::new();
    let (old, new) = (place.keeper("keeper"), place.keeper("keeper"));
    let kind = |result: Result<()>| result.unwrap_err().kind();
    old.create(&StoreId::from_bytes([7; 16])).unwrap();
    let first = old.registration().unwrap();
    let opening = |number| OpeningToken { number, token: [number as u8; 16] };
    old.register(&first.opening, &opening(1)).unwrap();
    let epoch = old.next_epoch().unwrap();
    let dead = old.seal(epoch, b"dead").unwrap();
    assert_eq!(kind(new.register(&opening(1), &opening(2))), ErrorKind::Locked);
    assert_eq!(kind(new.next_epoch().map(drop)), ErrorKind::KeyUnavailable);
    old.release();
    assert_eq!(kind(new.register(&first.opening, &opening(2))), ErrorKind::KeyUnavailable);
    new.register(&opening(1), &opening(2)).unwrap();
    assert_eq!(kind(old.destroy_before(epoch).map(drop)), ErrorKind::KeyUnavailable);
    let next = new.next_epoch().unwrap();
    assert!(next > epoch);
    assert_eq!(kind(new.seal(next + 1, b"x").map(drop)), ErrorKind::Invalid);
    assert_eq!(kind(new.destroy_before(next).map(drop)), ErrorKind::Invalid);
    let living = new.seal(next, b"living").unwrap();
    assert_eq!((&**old.open(&dead).unwrap(), &**old.open(&living).unwrap()), (&b"dead"[..], &b"living"[..]));
    for _ in 0..2 {
        let evidence = new.destroy_before(next).unwrap();
        assert!(evidence.final_ && evidence.words.contains("vouches that no copy"), "{evidence:?}");
    }
    assert_eq!(kind(old.open(&dead).map(drop)), ErrorKind::KeyUnavailable);
    assert_eq!(**old.open(&living).unwrap(), *b"living");
    assert_eq!(kind(new.seal(epoch, b"x").map(drop)), ErrorKind::Invalid);
    new.advance(5, &[5; 32]).unwrap();
    new.advance(4, &[4; 32]).unwrap();
    let last = new.registration().unwrap();
    assert_eq!((last.ledger_length, last.ledger_head, last.destroyed_before), (5, [5; 32], next));
    assert_eq!((last.store, last.opening), (StoreId::from_bytes([7; 16]), opening(2)));
    assert_eq!(kind(new.create(&last.store)), ErrorKind::Invalid);
    // Nothing of what was destroyed is left in the directory; what lives is.
    let kept: Vec<_> = fs::read_dir(place.at("keeper/secrets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), b"living");
    // Without the operator's word it is not final.
    drop((old, new));
    let modest = CommandCustodian::new("python3", [Path::new(KEEPER), &place.at("keeper")]);
    modest.register(&opening(2), &opening(3)).unwrap();
    let evidence = modest.destroy_before(next).unwrap();
    assert!(!evidence.final_ && evidence.words.contains("undone by any copy"), "{evidence:?}");
}

#[cfg(feature = "cli")]
#[test]
fn the_admin_program_takes_a_command_as_custodian() {
    if !python() {
        return;
    }
    let place = Place::new();
    let line = "{\"customer\":\"c-1\",\"class\":\"chat\",\"jurisdiction\":\"EU\",\"at\":\"2025-01-01T00:00:00Z\",\"body\":\"hi\"}\n";
    fs::write(place.at("lines"), line).unwrap();
    let keeper = format!("python3  {KEEPER} {}", place.at("keeper").display());
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        for variable in ["TENURE_STORE", "TENURE_KEYRING", "TENURE_CUSTODIAN", "TENURE_CUSTODIAN_COMMAND"] {
            command.env_remove(variable);
        }
        command.envs(variable.map(|value| ("TENURE_CUSTODIAN_COMMAND", value)));
        let ran = command.current_dir(place.0.path()).args(["-s", "calls"]).args(args).output().unwrap();
        let text = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (ran.status.code(), text)
    };
    let (code, text) = run(&["--custodian-command", &keeper, "init"], None);
    assert!(code == Some(0) && text.contains(&format!("custodian  {keeper}")), "{code:?} {text}");
    for args in [&["ingest", "lines"][..], &["timeline", "c-1"], &["verify", "--deep"], &["doctor"]] {
        let (code, text) = run(args, Some(&keeper));
        assert!(code == Some(0), "{args:?}: {code:?} {text}");
    }
    assert!(!place.at("calls.custodian").exists());
    let (code, text) = run(&["timeline", "c-1"], None);
    assert!(code == Some(12), "without the program: {code:?} {text}");
    let (code, text) = run(&["timeline", "c-1"], Some(" "));
    assert!(code == Some(2) && text.contains("names no program"), "{code:?} {text}");
    let (code, text) = run(&["--custodian", "file", "timeline", "c-1"], Some(&keeper));
    assert!(code == Some(2), "both: {code:?} {text}");
}
