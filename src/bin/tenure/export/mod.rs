//! `tenure export`: everything that is on record of one customer, handed out as files: a page, JSON Lines, a manifest, and
//! what is too long for a line beside them. It is written under another name and renamed when it is whole; what an export
//! that was interrupted left under such a name is removed by the next one beside it.

mod manifest;
mod page;
mod shown;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};
use tenure::{Acting, Export, Stored};

use crate::cli::Global;
use crate::failure::{Exit, Failure, Outcome};
use crate::line;
use crate::output::Output;
use crate::words::{bytes, count};
use manifest::Tally;

/// Bytes of a body that are copied at once.
const PIECE: usize = 1 << 20;
const BODIES: &str = "bodies";
/// How the name ends under which an export is written.
const DRAFT: &str = ".tenure-export";
const ATTEMPTS: u32 = 16;

#[derive(Args)]
pub struct ExportArgs {
    /// Whose records.
    pub customer: String,
    /// A directory that is not there yet, to be written as a whole.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Who receives it, for the manifest and the access log.
    #[arg(long, value_name = "WHO")]
    pub recipient: String,
}

pub fn export(global: &Global, args: &ExportArgs, output: &mut Output) -> Outcome {
    if args.recipient.trim().is_empty() {
        return Err(Failure::usage("--recipient names nobody").hint("who is it for: the customer, an authority?"));
    }
    let draft = Draft::begin(&args.output, output)?;
    let store = global.open_read_only()?;
    let Some(mut export) = store.export(&args.customer, &args.recipient)? else {
        return Err(Failure::failed("nothing is on record of this customer; nothing was written")
            .hint("is the id right? An erased customer is nobody"));
    };
    let tally = write(&draft, &store, &mut export, args)?;
    draft.finish()?;
    let unshown: u64 = export.unshown().iter().map(|one| one.records).sum();
    let windows: BTreeSet<_> = export.unshown().iter().map(|one| &one.partition).collect();
    let people = [
        ("written to", args.output.display().to_string()),
        ("records", count(tally.records())),
        ("bytes", bytes(tally.raw_bytes())),
        ("not shown", count(unshown)),
    ];
    let document = json!({
        "output": args.output.display().to_string(), "records": tally.records(), "raw_bytes": tally.raw_bytes(),
        "windows_not_shown": windows.len(), "records_not_shown": unshown, "recipient": args.recipient,
    });
    output.facts(&people, document)?;
    Ok(Exit::Done)
}

fn write(draft: &Draft, store: &Acting, export: &mut Export, args: &ExportArgs) -> Result<Tally, Failure> {
    let page = page::Page::new();
    let mut tally = Tally::new(export.law());
    let mut lines = draft.create("records.jsonl")?;
    // The records of the page are written beside it: what stands above them is known when they are.
    let mut middle = draft.create("records.part")?;
    let mut line = Vec::new();
    while let Some(stored) = export.next() {
        let stored = stored?;
        let beside = match stored.large {
            None => {
                line.clear();
                line::print(&mut line, &stored);
                lines.put(&line)?;
                None
            }
            Some(_) => Some(beside(draft, export, &stored)?),
        };
        page.record(&mut middle, &stored, beside.as_ref().map(|file| &*file.name), tally.month(stored.at))?;
        tally.add(&stored, beside);
    }
    let lines = lines.finish()?;
    middle.finish()?;
    let about = manifest::About { export, args, actor: store.actor(), tally: &tally };
    let mut whole = draft.create("export.html")?;
    page.head(&mut whole, &about)?;
    let part = draft.path("records.part");
    let failed = |error: io::Error| Failure::file("read", &part, &error);
    io::copy(&mut File::open(&part).map_err(failed)?, &mut whole).map_err(|error| whole.failed(&error))?;
    page.foot(&mut whole)?;
    fs::remove_file(&part).map_err(failed)?;
    let mut manifest = draft.create("manifest.json")?;
    let document = about.to_json(&[lines, whole.finish()?]);
    manifest.put(format!("{document:#}\n").as_bytes())?;
    manifest.finish()?;
    Ok(tally)
}

/// Writes a body that is too long for a line to a file of its own.
fn beside(draft: &Draft, export: &Export, stored: &Stored) -> Result<Written, Failure> {
    draft.make_dir(BODIES)?;
    let gone = || Failure::failed("a record was let go of while it was written; nothing is left of the export");
    let mut body = export.body(stored.id)?.ok_or_else(gone)?;
    let mut file = draft.create(&format!("{BODIES}/{}", stored.id))?;
    let mut buffer = vec![0; PIECE];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return file.finish(),
            Ok(length) => file.put(&buffer[..length])?,
            Err(error) => return Err(Failure::failed(format!("cannot read a body: {error}"))),
        }
    }
}

/// A directory under another name, locked while it is written, and removed unless it is finished.
struct Draft {
    temporary: PathBuf,
    wanted: PathBuf,
    _lock: File,
}

/// The lock of a directory that nobody holds and that is still there; none where somebody does, or it is not.
fn locked(dir: &Path) -> io::Result<Option<File>> {
    let open = File::open(dir)?;
    match open.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (ours, there) = (open.metadata()?, fs::symlink_metadata(dir)?);
    Ok((ours.dev() == there.dev() && ours.ino() == there.ino()).then_some(open))
}

/// Removes what exports that were interrupted left in `parent`: directories with the name of a draft that nobody has locked.
fn sweep(parent: &Path, output: &Output) {
    let is_draft = |name: &str| name.starts_with('.') && name.ends_with(DRAFT);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || !entry.file_name().to_str().is_some_and(is_draft) {
            continue;
        }
        let path = entry.path();
        let Ok(Some(_lock)) = locked(&path) else { continue };
        match fs::remove_dir_all(&path) {
            Ok(()) => {
                output.say(format_args!("{} was left by an export that was interrupted; removed", path.display()))
            }
            Err(error) => output.say(format_args!(
                "{} was left by an export that was interrupted, with data in clear, and cannot be removed: {error}",
                path.display()
            )),
        }
    }
}

impl Draft {
    fn begin(wanted: &Path, output: &Output) -> Result<Self, Failure> {
        let exists = || {
            Failure::refused(format!("{} is there already; nothing was written", wanted.display()))
                .hint("name a directory that does not exist yet")
        };
        if fs::symlink_metadata(wanted).is_ok() {
            return Err(exists());
        }
        let name = wanted.file_name().ok_or_else(|| Failure::usage("--output names no directory"))?;
        let parent = wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
        sweep(parent.unwrap_or(Path::new(".")), output);
        let mut attempt = 0_u32;
        loop {
            attempt += 1;
            let name = format!(".{}.{}-{attempt}{DRAFT}", name.to_string_lossy(), std::process::id());
            let temporary = wanted.with_file_name(name);
            let made = DirBuilder::new().mode(0o700).create(&temporary);
            made.map_err(|error| Failure::file("make the directory", &temporary, &error))?;
            // Another export may have taken it for a leftover before it was locked: then it is, or will be, gone.
            match locked(&temporary) {
                Ok(Some(lock)) => return Ok(Draft { temporary, wanted: wanted.to_path_buf(), _lock: lock }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::file("lock the directory", &temporary, &error));
                }
                _ if attempt < ATTEMPTS => {}
                _ => {
                    return Err(Failure::failed(
                        "others keep taking the directory of this export; nothing was written",
                    ));
                }
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    fn make_dir(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Failure::file("make the directory", &path, &error))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, name: &str) -> Result<Sheet, Failure> {
        let path = self.path(name);
        let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| Failure::file("write", &path, &error))?;
        let file = BufWriter::with_capacity(64 << 10, file);
        Ok(Sheet { name: name.to_owned(), path, file, hash: Sha256::new(), bytes: 0 })
    }

    /// Gives it the name it is to have, durable.
    fn finish(self) -> Result<(), Failure> {
        let sync = |path: &Path| {
            let synced = File::open(path).and_then(|dir| dir.sync_all());
            synced.map_err(|error| Failure::file("make durable", path, &error))
        };
        if self.path(BODIES).exists() {
            sync(&self.path(BODIES))?;
        }
        sync(&self.temporary)?;
        fs::rename(&self.temporary, &self.wanted).map_err(|error| Failure::file("rename", &self.temporary, &error))?;
        let parent = self.wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is finished there is nothing under that name.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// A file on its way out, hashed as it is written.
pub struct Sheet {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

/// A file that is written.
pub struct Written {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Sheet {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::file("write", &self.path, error)
    }

    fn finish(mut self) -> Result<Written, Failure> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| self.failed(&error))?;
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written { name: self.name, bytes: self.bytes, sha256 })
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
