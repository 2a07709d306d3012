//! `tenure keeper DIR`: an external custodian, an escrow that keeps the secrets themselves in files of a directory and
//! deletes them when told to destroy. It answers one call of the protocol in docs/custodian.md and ends; the demo uses
//! it. It shares nothing with the store but the protocol, and lets any number of openers in, one after the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tenure::env::{disk::Disk, random};
use zeroize::Zeroizing;

use crate::cli::KeeperArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;

const VERSION: &str = "tenure-custodian 1";
const REQUEST_LIMIT: u64 = 64 << 10;
/// Hexadecimal digits of an epoch in what was sealed; those of the secret's random name follow.
const EPOCH_DIGITS: usize = 16;
const NAME_BYTES: usize = 16;
const NO_LEDGER: &str = "0 0000000000000000000000000000000000000000000000000000000000000000";

/// What must not run back.
#[derive(Serialize, Deserialize)]
struct State {
    store: String,
    /// Number and token, as they are written in requests.
    opening: String,
    next_epoch: u64,
    ledger: String,
    destroyed_before: u64,
}

struct Keeper<'a> {
    dir: &'a Path,
    no_copies: bool,
}

type Fields<'r> = Vec<(&'r str, &'r str)>;
type Answer = Result<Vec<(&'static str, Zeroizing<String>)>, Failure>;

pub fn keeper(args: &KeeperArgs, output: &mut Output) -> Outcome {
    let mut request = Zeroizing::new(String::new());
    let read = io::stdin().take(REQUEST_LIMIT).read_to_string(&mut request);
    read.map_err(|_| wrong("the request cannot be read"))?;
    let (call, fields) = parse(&request)?;
    let keeper = Keeper { dir: &args.dir, no_copies: args.no_copies };
    let answer = keeper.answer(call, &fields)?;
    output.line(VERSION)?;
    for (name, value) in &answer {
        output.line(format_args!("{name} {}", **value))?;
    }
    output.line("end")?;
    Ok(Exit::Done)
}

fn wrong(words: &str) -> Failure {
    Failure::usage(words)
}

fn unavailable(words: &str) -> Failure {
    Failure::failed(words).exiting(Exit::NoKey)
}

fn text(value: impl ToString) -> Zeroizing<String> {
    Zeroizing::new(value.to_string())
}

/// The call and its fields.
fn parse(request: &str) -> Result<(&str, Fields<'_>), Failure> {
    let mut lines = request.split('\n');
    if lines.next() != Some(VERSION) {
        return Err(wrong("this program speaks tenure-custodian 1"));
    }
    let not_whole = || wrong("the request is not whole");
    let call = lines.next().and_then(|line| line.strip_prefix("call ")).ok_or_else(not_whole)?;
    let mut fields = Vec::new();
    loop {
        match lines.next().ok_or_else(not_whole)? {
            "end" => break,
            line => fields.push(line.split_once(' ').ok_or_else(not_whole)?),
        }
    }
    match (lines.next(), lines.next()) {
        (Some(""), None) => Ok((call, fields)),
        _ => Err(not_whole()),
    }
}

fn number(text: &str) -> Result<u64, Failure> {
    let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| wrong("a number is not one"))
}

fn hex(text: &str, bytes: std::ops::RangeInclusive<usize>) -> Result<&str, Failure> {
    let plain = text.len().is_multiple_of(2) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match plain && bytes.contains(&(text.len() / 2)) {
        true => Ok(text),
        false => Err(wrong("bytes are not of their length in lowercase hex")),
    }
}

/// A number, a space and bytes: an opening or a ledger.
fn pair(text: &str, bytes: usize) -> Result<(u64, &str), Failure> {
    let (first, second) = text.split_once(' ').ok_or_else(|| wrong("a pair is not one"))?;
    Ok((number(first)?, hex(second, bytes..=bytes)?))
}

fn random_hex() -> Result<String, Failure> {
    let bytes: [u8; NAME_BYTES] =
        random(&Disk::new()).map_err(|error| Failure::failed(format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Keeper<'_> {
    fn answer(&self, call: &str, fields: &[(&str, &str)]) -> Answer {
        let _one_at_a_time = self.lock(call == "create")?;
        match (call, fields) {
            ("create", [("store", store)]) => self.create(store),
            ("registration", []) => {
                let state = self.state()?;
                Ok(vec![
                    ("store", text(&state.store)),
                    ("opening", text(&state.opening)),
                    ("ledger", text(&state.ledger)),
                    ("destroyed-before", text(state.destroyed_before)),
                ])
            }
            ("register", [("expected", expected), ("new", new)]) => {
                let state = self.state()?;
                pair(new, 16)?;
                match state.opening == *expected {
                    true => self.put(&State { opening: new.to_string(), ..state }),
                    false => Err(unavailable("the store was opened by somebody else meanwhile")),
                }
            }
            ("release", [("opening", opening)]) => self.in_the_name_of(opening).map(|_| Vec::new()),
            ("next-epoch", [("opening", opening)]) => {
                let state = self.in_the_name_of(opening)?;
                let epoch = state.next_epoch;
                self.put(&State { next_epoch: epoch + 1, ..state })?;
                Ok(vec![("epoch", text(epoch))])
            }
            ("seal", [("opening", opening), ("epoch", epoch), ("plain", plain)]) => self.seal(opening, epoch, plain),
            ("open", [("sealed", sealed)]) => self.open(sealed),
            ("destroy-before", [("opening", opening), ("epoch", epoch)]) => self.destroy_before(opening, epoch),
            ("advance", [("opening", opening), ("ledger", ledger)]) => {
                let state = self.in_the_name_of(opening)?;
                let ((length, head), (known, known_head)) = (pair(ledger, 32)?, pair(&state.ledger, 32)?);
                match length.cmp(&known) {
                    std::cmp::Ordering::Less => Ok(Vec::new()),
                    std::cmp::Ordering::Equal if head == known_head => Ok(Vec::new()),
                    std::cmp::Ordering::Equal => {
                        Err(Failure::failed("another ledger of the same length").exiting(Exit::Findings))
                    }
                    std::cmp::Ordering::Greater => self.put(&State { ledger: ledger.to_string(), ..state }),
                }
            }
            _ => Err(wrong("an unknown call, or fields that do not belong to it")),
        }
    }

    fn create(&self, store: &str) -> Answer {
        hex(store, 16..=16)?;
        if self.dir.join("state").exists() && !self.state()?.opening.starts_with("0 ") {
            return Err(wrong("this directory already keeps the keys of a store that was opened"));
        }
        for (_, path) in self.secrets()? {
            delete(&path)?;
        }
        self.put(&State {
            store: store.to_string(),
            opening: format!("0 {}", random_hex()?),
            next_epoch: 1,
            ledger: NO_LEDGER.to_string(),
            destroyed_before: 0,
        })
    }

    fn seal(&self, opening: &str, epoch: &str, plain: &str) -> Answer {
        let state = self.in_the_name_of(opening)?;
        let epoch = number(epoch)?;
        if epoch < state.destroyed_before || epoch >= state.next_epoch {
            return Err(wrong("an epoch that is over, or was never given out"));
        }
        let sealed = format!("{epoch:0EPOCH_DIGITS$x}{}", random_hex()?);
        write_new(&self.secret(&sealed), hex(plain, 1..=4096)?.as_bytes())?;
        Ok(vec![("sealed", text(sealed))])
    }

    fn open(&self, sealed: &str) -> Answer {
        let length = EPOCH_DIGITS / 2 + NAME_BYTES;
        let path = self.secret(hex(sealed, length..=length)?);
        match fs::read_to_string(&path) {
            Ok(plain) => Ok(vec![("plain", Zeroizing::new(plain))]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(unavailable("the secret that opens this keyring is not kept here any more, or never was"))
            }
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    fn destroy_before(&self, opening: &str, epoch: &str) -> Answer {
        let state = self.in_the_name_of(opening)?;
        let epoch = number(epoch)?;
        let secrets = self.secrets()?;
        if secrets.iter().all(|(sealed, _)| *sealed < epoch) {
            return Err(wrong("no newer secret is kept, so nothing is destroyed"));
        }
        for (_, path) in secrets.iter().filter(|(sealed, _)| *sealed < epoch) {
            delete(path)?;
        }
        self.put(&State { destroyed_before: state.destroyed_before.max(epoch), ..state })?;
        let shown = self.dir.display().to_string();
        let shown =
            if shown.len() <= 300 && shown.bytes().all(|b| b.is_ascii_graphic()) { &shown } else { "its directory" };
        let (is_final, more) = match self.no_copies {
            true => ("yes", ", of which its operator vouches that no copy is made"),
            false => ("no", ": undone by any copy of that directory"),
        };
        Ok(vec![("final", text(is_final)), ("words", text(format!("deleted from {shown}{more}")))])
    }

    /// One call at a time; the lock goes with the process.
    fn lock(&self, making: bool) -> Result<File, Failure> {
        let secrets = self.dir.join("secrets");
        if making {
            fs::create_dir_all(&secrets).map_err(|error| Failure::file("create", &secrets, &error))?;
        }
        let path = self.dir.join("lock");
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = opened.map_err(|_| unavailable("there is no directory of a keeper"))?;
        file.lock().map_err(|error| Failure::file("lock", &path, &error))?;
        Ok(file)
    }

    fn state(&self) -> Result<State, Failure> {
        let read = fs::read(self.dir.join("state")).map_err(|_| unavailable("this directory keeps no store's keys"))?;
        serde_json::from_slice(&read)
            .map_err(|_| Failure::failed("what this keeper remembers is damaged").exiting(Exit::Findings))
    }

    fn put(&self, state: &State) -> Answer {
        let (path, next) = (self.dir.join("state"), self.dir.join(format!("state.{}", random_hex()?)));
        let written = serde_json::to_vec_pretty(state).map_err(|_| wrong("a state that cannot be written"))?;
        write_new(&next, &written)?;
        fs::rename(&next, &path).map_err(|error| Failure::file("replace", &path, &error))?;
        sync_dir(self.dir)?;
        Ok(Vec::new())
    }

    /// The state, if the call may change it.
    fn in_the_name_of(&self, opening: &str) -> Result<State, Failure> {
        let state = self.state()?;
        match state.opening == opening || (opening == "none" && state.opening.starts_with("0 ")) {
            true => Ok(state),
            false => Err(unavailable("this opening is over: the store was opened by somebody else since")),
        }
    }

    fn secret(&self, sealed: &str) -> PathBuf {
        self.dir.join("secrets").join(sealed)
    }

    /// The secrets that are kept, with their epochs.
    fn secrets(&self) -> Result<Vec<(u64, PathBuf)>, Failure> {
        let dir = self.dir.join("secrets");
        let failed = |error: io::Error| Failure::file("list", &dir, &error);
        let mut secrets = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.get(..EPOCH_DIGITS));
            if let Some(Ok(epoch)) = digits.map(|digits| u64::from_str_radix(digits, 16)) {
                secrets.push((epoch, entry.path()));
            }
        }
        Ok(secrets)
    }
}

/// A new file, on the disk with its name.
fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file("write", path, &error);
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Overwritten first, for what it is worth on the medium; then no name leads to it.
fn delete(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file("destroy", path, &error);
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len() as usize;
    file.write_all(&vec![0; length]).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::remove_file(path).map_err(failed)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Failure::file("sync", dir, &error))
}
