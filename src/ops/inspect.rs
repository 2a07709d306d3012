//! Inspect: what one file of a store is and says of itself, offline, beside a living writer, and never a plaintext.

use std::path::Path;

use crate::access_log::{self, LogFile};
use crate::crypto::hex;
use crate::engine::dictionaries;
use crate::engine::request::{ANSWERED, ASKED, TAKEN};
use crate::env::{Env, OpenMode, parent, read_file};
use crate::error::{Error, ErrorKind, Result};
use crate::format::access::Head;
use crate::format::hint::{HINT_BYTES, Hint};
use crate::format::lease::Lease;
use crate::format::mark::{MARK_LIMIT, Mark};
use crate::format::request::{Answer, Outcome, REQUEST_LIMIT, SealedRequest};
use crate::journal::{self, Cache, Tail};
use crate::report::{Damage, Inspection};
use crate::segment::{self, Segment};
use crate::{keyring, ledger};

/// Looks into the file at `path`.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where it is no file of a store; the system's. Damage is in the answer.
pub fn inspect(env: &dyn Env, path: &Path) -> Result<Inspection> {
    let failed = |error| Error::io("inspect a file", path, error);
    let metadata = env.metadata(path).map_err(failed)?;
    if metadata.is_dir {
        return Err(Error::new(ErrorKind::Invalid, "this is a directory, not a file").in_file(path));
    }
    let mut front = [0; MARK_LIMIT as usize];
    let length = env.open(path, OpenMode::Read).and_then(|file| file.read_at(&mut front, 0)).map_err(failed)?;
    let front = &front[..length];
    let mut found = Inspection::default();
    found.say("bytes", metadata.len);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let outcome = match name {
        "FORMAT" => look_at_mark(path, front, &mut found),
        "durable" => look_at_hint(path, front, &mut found),
        "LOCK" => found.is("lock of the writer"),
        _ if journal::number(name).is_some() => look_at_journal(env, path, &mut found),
        _ if segment::number(name).is_some() => look_at_segment(env, path, &mut found),
        _ if dictionaries::id_of(name).is_some() => look_at_dictionary(env, path, &mut found),
        _ if extension == "log" => look_at_access_log(env, path, front, &mut found),
        _ if name.ends_with(".ledger") => look_at_ledger(env, path, &mut found),
        _ if name.ends_with(".keys") || name == "root.a" || name == "root.b" => look_at_keyring(env, path, &mut found),
        _ if extension == "lease" => look_at_lease(path, front, &mut found),
        _ if extension == ANSWERED => look_at_answer(path, front, &mut found),
        _ if extension == ASKED || extension == TAKEN => look_at_request(env, path, &mut found),
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, "this is no file of a store that can be inspected")
                .in_file(path)
                .hint("inspect takes FORMAT, durable, and files of journal, segments, ledger, access, readers, requests and keyring"));
        }
    };
    match outcome {
        Ok(()) => Ok(found),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let path = error.path().unwrap_or(path).to_path_buf();
            found.damage.push(Damage { path, offset: error.offset(), what: error.without_place() });
            Ok(found)
        }
        Err(error) => Err(error),
    }
}

impl Inspection {
    fn say(&mut self, name: &str, value: impl ToString) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    fn is(&mut self, kind: &str) -> Result<()> {
        kind.clone_into(&mut self.kind);
        Ok(())
    }
}

/// How many uses there are of which month; who and why only its month's key tells.
fn look_at_access_log(env: &dyn Env, path: &Path, front: &[u8], found: &mut Inspection) -> Result<()> {
    found.is("access log")?;
    let head = Head::decode(front).map_err(|flaw| Error::corrupt(path, 0, flaw.0))?;
    found.say("store", head.store);
    found.say("month", head.month);
    let file = LogFile { month: head.month, log: head.log, path: path.to_path_buf() };
    let scanned = access_log::scan(env, &file, &head.store, &mut |_, _| Ok(true))?;
    found.say("entries", scanned.tree.length());
    found.say("unfinished bytes", scanned.unfinished);
    Ok(())
}

fn look_at_mark(path: &Path, bytes: &[u8], found: &mut Inspection) -> Result<()> {
    found.is("mark of a store")?;
    let mark = Mark::decode(bytes).map_err(|wrong| Error::corrupt(path, 0, wrong.0))?;
    found.say("format", mark.version);
    found.say("store", mark.store);
    Ok(())
}

fn look_at_hint(path: &Path, bytes: &[u8], found: &mut Inspection) -> Result<()> {
    found.is("durable position, a hint for readers")?;
    let bytes = bytes.get(..HINT_BYTES).unwrap_or(bytes);
    let hint = Hint::decode(bytes).map_err(|wrong| Error::corrupt(path, 0, wrong.0))?;
    found.say("opening", hint.opening);
    found.say("journal file", hint.position.file);
    found.say("offset", hint.position.offset);
    Ok(())
}

fn look_at_lease(path: &Path, bytes: &[u8], found: &mut Inspection) -> Result<()> {
    found.is("lease of a reader")?;
    let lease = Lease::decode(bytes).map_err(|wrong| Error::corrupt(path, 0, wrong.0))?;
    found.say("store", lease.store);
    found.say("leaves of the ledger taken in", lease.length);
    found.say("written at", lease.at);
    Ok(())
}

fn look_at_answer(path: &Path, bytes: &[u8], found: &mut Inspection) -> Result<()> {
    found.is("answer to a request")?;
    let answer = Answer::decode(bytes).map_err(|wrong| Error::corrupt(path, 0, wrong.0))?;
    found.say("store", answer.store);
    found.say("answered at", answer.at);
    let outcome = match answer.outcome {
        Outcome::Done(act) => format!("done: receipt {act}"),
        Outcome::Placed(hold) => format!("done: hold {hold}"),
        Outcome::Kept => "done: the fact is kept".into(),
        Outcome::Amended(id) => format!("done: record {id}"),
        Outcome::Nothing => "there was nothing to do".into(),
        Outcome::Stale => "stale: it may be asked again".into(),
        Outcome::Damaged => "the request could not be read".into(),
        Outcome::Refused => "refused".into(),
        Outcome::Held => "refused: a hold stands on it".into(),
        Outcome::Failed => "failed on the way".into(),
    };
    found.say("outcome", outcome);
    Ok(())
}

/// As far as it goes without its key: who asks for what is sealed.
fn look_at_request(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("request to the writer (sealed)")?;
    let bytes = read_file(env, path, REQUEST_LIMIT).map_err(|error| Error::io("inspect a file", path, error))?;
    let sealed = SealedRequest::parse(&bytes).map_err(|wrong| Error::corrupt(path, 0, wrong.0))?;
    found.say("store", sealed.head.store);
    found.say("epoch of its key", sealed.head.epoch);
    found.say("not to be begun after", sealed.head.until);
    Ok(())
}

fn look_at_journal(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("journal file")?;
    let (mut frames, mut raw) = (0, 0);
    let scan = journal::scan(env, path, Cache::Keep, &mut |group, _| {
        frames += u64::from(group.head().frames);
        raw += group.runs().map(|run| run.head.raw_bytes).sum::<u64>();
        Ok(())
    })?;
    found.say("store", scan.head.store);
    found.say("number", scan.head.file);
    found.say("opening", scan.head.opening);
    found.say("groups", scan.groups);
    found.say("frames", frames);
    found.say("raw bytes", raw);
    found.say("valid bytes", scan.valid_length);
    found.say("known durable", format!("file {}, byte {}", scan.known.journal.file, scan.known.journal.offset));
    match scan.tail {
        Tail::Clean => found.say("tail", "clean"),
        Tail::Torn { offset, bytes } => found.say("tail", format!("torn at byte {offset}, {bytes} bytes")),
    }
    scan.judge(scan.known.journal)
}

fn look_at_segment(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("segment")?;
    let segment = Segment::open(env, path, None)?;
    let head = segment.head();
    let (first, last) = segment.span();
    found.say("store", head.store);
    found.say("partition", &head.id);
    found.say("partition number", head.partition);
    found.say("number", head.number);
    found.say("openings", segment.salts().len());
    found.say("records", segment.records());
    found.say("raw bytes", segment.raw_bytes());
    found.say("first day", first);
    found.say("last day", last);
    let hash: String = hex(segment.hash());
    found.say("sha-256", hash);
    let check = segment::verify(env, path, None)?;
    found.say("frames checked", check.frames);
    Ok(())
}

fn look_at_dictionary(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("dictionary (sealed)")?;
    let (head, _) = dictionaries::read(env, path, None)?;
    found.say("store", head.store);
    found.say("partition number", head.partition);
    found.say("dictionary", format!("{:08x}", head.dictionary));
    found.say("trained", head.provenance.trained);
    found.say("trained from partition number", head.provenance.origin);
    found.say("sample without it", head.provenance.plain_bytes);
    found.say("sample with it", head.provenance.with_bytes);
    Ok(())
}

fn look_at_ledger(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("ledger file")?;
    let check = ledger::verify(env, parent(path), None, None)?;
    found.say("leaves in all files", check.leaves);
    let root: String = hex(&check.root);
    found.say("Merkle root", root);
    found.say("bytes of an unfinished append", check.unfinished);
    Ok(())
}

fn look_at_keyring(env: &dyn Env, path: &Path, found: &mut Inspection) -> Result<()> {
    found.is("keyring file (sealed)")?;
    let check = keyring::verify(env, &[parent(path).to_path_buf()])?;
    found.say("files checked", check.files);
    found.say("bytes checked", check.bytes);
    found.damage.extend(check.damage);
    Ok(())
}
