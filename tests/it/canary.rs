//! Canaries: every key that was ever there, every customer's id and every word is searched in all that the program wrote
//! and printed, as bytes and in every form that a careless line of code would print it in.

#![allow(clippy::disallowed_methods)] // It works on files of the tests, not of a store.

use std::collections::HashSet;
#[cfg(feature = "cli")]
use std::{fs, path::Path, process::Command};

use tenure::report::VerifyOptions;
use tenure::simulation::keys;
use tenure::{Batch, ScanFilter, Store};

use crate::life::{Life, MATTER, Place, WORD, every_seed, seeds};
use crate::scene::CUSTOMERS;
use crate::vault::Vault;

/// Length of what is searched for of a key: more than ever stands somewhere by chance.
const NEEDLE: usize = 16;

/// What would give a key away. Handles and lookup tags are the first halves of derived keys, so that it is the second
/// half that is searched.
struct Needles {
    found: HashSet<[u8; NEEDLE]>,
    /// Which values the first three bytes of a needle have: most bytes are passed over by this alone.
    fronts: Vec<u64>,
}

fn base64(bytes: &[u8], last: &[u8; 2]) -> Vec<u8> {
    let digit = |value: u32| match value & 63 {
        value @ 0..26 => b'A' + value as u8,
        value @ 26..52 => b'a' + value as u8 - 26,
        value @ 52..62 => b'0' + value as u8 - 52,
        value => last[value as usize - 62],
    };
    let groups = bytes.chunks_exact(3).map(|group| group.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    groups.flat_map(|group| [18, 12, 6, 0].map(|shift| digit(group >> shift))).collect()
}

/// A key in every form: raw, hex, base64 at each place in its groups, and the list of numbers that `Debug` prints.
fn forms(key: &[u8; 32]) -> Vec<Vec<u8>> {
    let half = &key[NEEDLE..];
    let numbers: Vec<String> = half.iter().map(u8::to_string).collect();
    let hex = |upper| half.iter().map(move |byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
    let mut forms = vec![half.to_vec(), numbers.join(", ").into_bytes()];
    forms.extend([false, true].map(|upper| hex(upper).collect::<String>().into_bytes()));
    for last in [b"+/", b"-_"] {
        forms.extend((0..3).map(|skipped| base64(&half[skipped..skipped + 12], last)));
    }
    forms
}

fn front(window: &[u8]) -> usize {
    usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2])
}

impl Needles {
    fn of(keys: &[[u8; 32]]) -> Self {
        let mut needles = Needles { found: HashSet::new(), fronts: vec![0; 1 << 18] };
        for form in keys.iter().flat_map(forms) {
            let needle: [u8; NEEDLE] = form[..NEEDLE].try_into().unwrap();
            needles.fronts[front(&needle) / 64] |= 1 << (front(&needle) % 64);
            needles.found.insert(needle);
        }
        needles
    }

    fn stands_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(NEEDLE).any(|window| {
            self.fronts[front(window) / 64] >> (front(window) % 64) & 1 == 1 && self.found.contains(window)
        })
    }

    /// Also where `{:#?}` has broken the list of numbers into lines.
    fn stands_in_text(&self, text: &str) -> bool {
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.stands_in(text.as_bytes()) || self.stands_in(joined.as_bytes())
    }
}

#[test]
fn a_key_is_found_in_every_form() {
    let key: [u8; 32] = std::array::from_fn(|index| (index * 37 + 5) as u8);
    let needles = Needles::of(&[key]);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let padded = |count: usize| [&[9; 3][..count], &key, &[9; 3]].concat();
    let coded = (0..3).map(|count| String::from_utf8(base64(&padded(count), b"+/")).unwrap());
    let texts = [hex.to_uppercase(), format!("key {hex}."), format!("{key:?}"), format!("{:#?}", Some(key))];
    for text in texts.into_iter().chain(coded) {
        assert!(needles.stands_in_text(&text), "{text}");
    }
    assert!(needles.stands_in(&padded(1)));
    assert!(!needles.stands_in_text(&hex[..47]) && !needles.stands_in(&key[..31]));
}

/// Everything there is to be printed of an open store.
fn tell_all(life: &mut Life, store: &Store) {
    let told = &mut life.told.0;
    told.push(format!("{store:?} {store:#?} {:?} {:#?}", store.receipts().unwrap(), store.stats().unwrap()));
    told.push(format!("{:?} {:?} {:?}", store.recovery(), life.place.options(), store.timeline("c-ana", ..)));
    told.push(format!("{:#?} {:?}", life.place.custodian, store.scan(ScanFilter::default())));
    told.push(format!("{:?} {:?}", store.append(Batch::from(Vec::new())), store.policy()));
    let verified = store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {});
    told.push(format!("{verified:#?} {:#?}", store.repair(false)));
}

/// What is said of each file that lies there, whole and damaged.
fn tell_of_files(life: &mut Life) {
    let sim = life.place.sim.clone();
    for (path, bytes) in sim.files() {
        let before = sim.snapshot();
        life.told.0.push(format!("{:?}", tenure::inspect(&sim, &path)));
        if !bytes.is_empty() {
            sim.flip(&path, bytes.len() as u64 / 2, 3);
            life.told.0.push(format!("{:#?}", tenure::inspect(&sim, &path)));
            match life.place.options().open_read_only() {
                Ok(store) => tell_all(life, &store),
                Err(error) => life.told.error(&error),
            }
        }
        sim.restore(&before, "/");
        sim.kill();
    }
}

/// How a key is let out.
type Leak = fn(&[u8; 32]) -> Vec<u8>;

/// One life, all that it wrote and told. With `leak`, a key is written where it does not belong.
fn keeps_its_secrets(seed: u64, leak: Option<Leak>) -> Result<u64, String> {
    let vault = (seed.is_multiple_of(2)).then(Vault::default);
    let place = Place::new(seed, vault);
    place.sim.keep_history();
    keys::start();
    let mut life = Life::new(&place, seed);
    let mut store = place.options().create().unwrap();
    life.append(&store).unwrap();
    for _ in 0..12 {
        store = life.step(store).unwrap();
    }
    let reader = place.options().open_read_only().unwrap();
    tell_all(&mut life, &store);
    tell_all(&mut life, &reader);
    drop(reader);
    store.close().unwrap();
    tell_of_files(&mut life);
    let keys = keys::stop();
    let needles = Needles::of(&keys);
    if let Some(leak) = leak {
        place.sim.write("/calls/journal/leaked", &leak(&keys[seed as usize % keys.len()]));
    }
    life.told.is_discreet();
    if let Some(told) = life.told.0.iter().find(|told| needles.stands_in_text(told)) {
        return Err(format!("seed {seed}: a key was told: {told}"));
    }
    let mut leaks = Vec::new();
    let (mut searched, mut kept_by_custodian) = (0, false);
    place.sim.every_byte_ever(|path, bytes| {
        searched += bytes.len();
        for secret in CUSTOMERS.iter().chain([&WORD, &MATTER]) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found && !path.contains(secret), "seed {seed}: {secret} in {path}");
        }
        let found = needles.stands_in(bytes) || needles.stands_in(path.as_bytes());
        match path == "/calls.custodian" {
            true => kept_by_custodian |= found,
            false if found => leaks.push(path.to_owned()),
            false => {}
        }
    });
    assert!(keys.len() > 20 && searched > 10_000, "seed {seed}: {} keys, {searched} bytes", keys.len());
    assert_eq!(kept_by_custodian, place.vault.is_none(), "seed {seed}: a file custodian's file is where keys stand");
    match leaks.is_empty() {
        true => Ok(keys.len() as u64),
        false => Err(format!("seed {seed}: a key stands in {leaks:?}")),
    }
}

#[test]
fn no_key_id_or_word_stands_in_anything_written_or_told() {
    let keys = every_seed(200..200 + seeds(24), &|seed| keeps_its_secrets(seed, None).unwrap());
    println!("{keys} keys, none to be found");
}

#[test]
fn a_key_that_is_leaked_is_found() {
    let hex = |key: &[u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    for (seed, leak) in [(200, hex as Leak), (201, |key| key.to_vec())] {
        let found = keeps_its_secrets(seed, Some(leak)).unwrap_err();
        assert!(found.contains("/calls/journal/leaked"), "{found}");
    }
}

#[cfg(feature = "cli")]
const ID: &str = "00000000-0000-4000-8000-000000000002";
#[cfg(feature = "cli")]
const COMMANDS: &[&[&str]] = &[
    &["init"],
    &["ingest", "lines"],
    &["ingest", "nonsense"],
    &["timeline", "ana-4711"],
    &["timeline", "ana-4711", "--held"],
    &["get", "ana-4711", ID],
    &["get", "ana-4711", ID, "--body"],
    &["put", "ana-4711", "lines", "--jurisdiction", "EU", "--at", "2025-01-06"],
    &["put", "ana-4711", "nowhere", "--jurisdiction", "EU", "--at", "2025-01-06"],
    &["grep", "ana-4711", "zeb(ra"],
    &["grep", "ana-4711", "zebra"],
    &["scan"],
    &["scan", "--threads", "2"],
    &["hold", "place", "bo-0815", "--matter", "zebra", "--reason", "zebra"],
    &["hold", "place", "nobody-0815", "--matter", "zebra", "--reason", "zebra"],
    &["hold", "list"],
    &["timeline", "bo-0815", "--held"],
    &["erase", "bo-0815", "--confirm", "bo-0815"],
    &["hold", "release", "1"],
    &["hold", "release", "2"],
    &["stats"],
    &["verify", "--deep"],
    &["verify", "--deep", "--threads", "2"],
    &["doctor"],
    &["maintain"],
    &["repair"],
    &["policy", "show"],
    &["policy", "check", "policy"],
    &["policy", "explain", "--customer", "ana-4711"],
    &["policy", "set", "policy"],
    &["policy", "set", "nonsense"],
    &["redact", "ana-4711", ID],
    &["redact", "ana-4711", ID, "--confirm", ID],
    &["erase", "ana-4711", "--dry-run"],
    &["erase", "ana-4711"],
    &["erase", "ana-4711", "--stream", "email/EU", "--confirm", "ana-4711"],
    &["erase", "ana-4711", "--confirm", "ana-4711", "--scrub-now"],
    &["expire", "--dry-run"],
    &["expire", "--now", "2075-02-01"],
    &["maintain", "--scrub"],
    &["receipt", "list"],
    &["receipt", "show", "1"],
    &["receipt", "prove", "1"],
    &["receipt", "verify", "lines", "--key", "nonsense"],
    &["--actor", "ana-4711", "--purpose", "zebra", "--role", "agent", "scan"],
    &["audit", "log", "--customer", "bo-0815", "--from", "2199-01-01"],
    &["audit", "checkpoint"],
    &["audit", "verify"],
    &["audit", "verify", "--against", "lines"],
    &["audit", "prove", "0"],
    &["audit", "key"],
    &["--custodian", "lines", "stats"],
    &["inspect", "lines"],
    &["completions", "bash"],
    &["man"],
    &["nonsense"],
];

/// Everything below a directory: names and contents.
#[cfg(feature = "cli")]
fn written(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(written(&path)),
            false => all.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    all
}

/// The keys of a real store that are in force now, each read or derived as the program does it.
#[cfg(feature = "cli")]
fn keys_in_force(store: &Path, found: &mut HashSet<[u8; 32]>) {
    keys::start();
    {
        let store = Store::options(store).open_read_only().unwrap();
        ["ana-4711", "bo-0815"].iter().for_each(|customer| store.timeline(customer, ..).unwrap().for_each(drop));
        store.scan(ScanFilter::default()).unwrap().for_each(drop);
        store.verify(VerifyOptions { deep: true, subset: 1.0 }, &mut |_| {}).unwrap();
    }
    found.extend(keys::stop());
}

/// Every command, as text and as JSON, and where it fails; then all that they printed and wrote.
#[cfg(feature = "cli")]
#[test]
fn no_command_prints_a_key_and_no_file_holds_one() {
    let dir = tempfile::tempdir().unwrap();
    let (at, store) = (|name: &str| dir.path().join(name), dir.path().join("calls"));
    let line = |customer: &str, class: &str| {
        format!(
            r#"{{"customer":"{customer}","class":"{class}","jurisdiction":"EU","at":"2025-01-05T00:00:00Z","body":"zebra"}}"#
        )
    };
    let lines = [line("ana-4711", "chat"), line("ana-4711", "email"), line("bo-0815", "chat")].join("\n");
    fs::write(at("lines"), lines + "\n").unwrap();
    fs::write(at("policy"), "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_most = \"P50Y\"\n").unwrap();
    fs::write(at("nonsense"), "{]\n").unwrap();
    let (mut found, mut printed) = (HashSet::new(), Vec::new());
    let mut run = |args: &[&str], found: &mut HashSet<_>| {
        for json in [&[][..], &["--json"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
            for variable in
                ["TENURE_STORE", "TENURE_KEYRING", "TENURE_CUSTODIAN", "TENURE_CUSTODIAN_COMMAND", "TENURE_ROLE"]
            {
                command.env_remove(variable);
            }
            let ran = command.current_dir(dir.path()).args(["-s", "calls"]).args(args).args(json).output().unwrap();
            printed.push((format!("{args:?} {json:?}"), ran.stdout, ran.stderr));
            keys_in_force(&store, found);
        }
    };
    COMMANDS.iter().for_each(|args| run(args, &mut found));
    let files: Vec<String> = written(dir.path()).into_iter().map(|(path, _)| path).collect();
    files.iter().for_each(|path| run(&["inspect", path], &mut found));
    run(&["expire", "--now", "2075-02-01", "--confirm"], &mut found);
    let needles = Needles::of(&found.into_iter().collect::<Vec<_>>());
    for (command, out, err) in &printed {
        for text in [out, err].map(|text| String::from_utf8_lossy(text)) {
            assert!(!needles.stands_in_text(&text), "{command} printed a key: {text}");
        }
        let asked_for = ["[\"timeline", "[\"get", "[\"grep", "[\"scan", "[\"hold\", \"list"]
            .iter()
            .any(|verb| command.starts_with(verb));
        for text in [(!asked_for).then_some(out), Some(err)].into_iter().flatten() {
            let text = String::from_utf8_lossy(text);
            // No digits alone: a time or a hash has any four of them now and then.
            let canaries = ["ana-", "na-4711", "bo-0", "o-0815", "zeb"];
            assert!(!canaries.iter().any(|canary| text.contains(canary)), "{command}: {text}");
        }
    }
    let (mut kept, mut searched) = (false, 0);
    for (path, bytes) in written(dir.path()) {
        let found = needles.stands_in(&bytes) || needles.stands_in(path.as_bytes());
        match path.ends_with("calls.custodian") {
            true => kept = found,
            false => assert!(!found, "a key stands in {path}"),
        }
        searched += 1;
    }
    assert!(kept && searched > 8, "{searched} files; the custodian's is where a key must be found");
}
