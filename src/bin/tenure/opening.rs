//! From the options of the command line to an open store, and the words about what opening it found.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tenure::report::Recovery;
use tenure::{Acting, Actor, CommandCustodian, FileCustodian, Options, Store, Timestamp};

use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::words::{bytes, counted, duration};

impl Global {
    /// The directory of the store. One that has no name of its own (`.`, `..`) is called by its whole path, because the
    /// keyring stands beside it under its name.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        let missing = || Failure::usage("no store named").hint("give -s DIR, or set TENURE_STORE");
        let path = self.store.as_deref().ok_or_else(missing)?;
        match path.file_name() {
            Some(_) => Ok(path.components().as_path().to_path_buf()),
            None => path.canonicalize().map_err(|error| Failure::file("find", path, &error)),
        }
    }

    /// The directories of the keyring.
    pub fn keyring_dirs(&self) -> Result<Vec<PathBuf>, Failure> {
        match self.keyring.is_empty() {
            true => Ok(vec![beside(&self.path()?, ".keyring")]),
            false => Ok(self.keyring.clone()),
        }
    }

    /// The file of the file custodian.
    pub fn custodian_file(&self) -> Result<PathBuf, Failure> {
        Ok(self.custodian.clone().unwrap_or(beside(&self.path()?, ".custodian")))
    }

    /// The custodian, file or program, as people name it.
    pub fn custodian_shown(&self) -> Result<String, Failure> {
        match &self.custodian_command {
            Some(command) => Ok(command.clone()),
            None => Ok(self.custodian_file()?.display().to_string()),
        }
    }

    /// What the command line says about the store, for creating or opening it.
    pub fn options(&self) -> Result<Options, Failure> {
        let mut options = Store::options(self.path()?);
        for dir in &self.keyring {
            options = options.keyring(dir);
        }
        if let Some(file) = &self.custodian {
            options = options.custodian(FileCustodian::at(file));
        }
        if let Some(command) = &self.custodian_command {
            let mut words = command.split_whitespace();
            let program = words.next().ok_or_else(|| Failure::usage("--custodian-command names no program"))?;
            options = options.custodian(CommandCustodian::new(program, words));
        }
        if self.accept_weak_erasure {
            options = options.accept_weak_erasure();
        }
        Ok(options)
    }

    /// Opens the store for reading, beside whoever writes.
    pub fn open_read_only(&self) -> Result<Acting, Failure> {
        let path = self.path()?;
        let opened = self.options()?.open_read_only().map_err(|error| Failure::opening(error, &path));
        opened.map(|store| self.acting(&store)).map_err(|failure| match self.restored {
            Some(_) => failure.hint("this command only reads; give --restored to one that writes, such as maintain"),
            None => failure,
        })
    }

    /// A store as whoever uses the program may use it: every use is on the medium before anything of it is shown.
    pub fn acting(&self, store: &Store) -> Acting {
        let name = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let id = self.actor.clone().or_else(name).filter(|name| !name.is_empty()).unwrap_or_else(user_number);
        let actor = match self.role {
            Some(role) => Actor::new(id, role),
            None => Actor::holding_the_keys(id),
        };
        store.acting_as(actor.purpose(self.purpose.clone().unwrap_or_default())).promptly()
    }

    /// Opens the store for writing; where another process holds it, for reading beside that process, which can be asked
    /// then: second comes whether it must be.
    pub fn open_or_beside(&self, output: &Output) -> Result<(Acting, bool), Failure> {
        match self.open(output) {
            Err(failure) if failure.exit == Exit::Locked && self.take_over.is_none() => {
                let store = self.open_read_only()?;
                output.say("another process holds the store open; it is asked to do this");
                Ok((store, true))
            }
            outcome => outcome.map(|store| (store, false)),
        }
    }

    /// Opens the store for writing, with a thread for its background work, and tells what had to be recovered.
    pub fn open(&self, output: &Output) -> Result<Acting, Failure> {
        let mut options = self.options()?.worker();
        if let Some(reason) = &self.take_over {
            options = options.take_over(reason);
        }
        if let Some(reason) = &self.restored {
            options = options.restored(reason);
        }
        if self.trust_clock {
            options = options.trust_clock();
        }
        let path = self.path()?;
        let store = options.open().map_err(|error| Failure::opening(error, &path))?;
        let store = self.acting(&store);
        let found = recovery_in_words(store.recovery());
        if !found.is_empty() {
            let before =
                if store.recovery().clean { "opening the store" } else { "the last writer never closed the store" };
            output.say(format_args!("{before}; recovered in {}:", duration(store.recovery().took)));
            found.iter().for_each(|line| output.say(format_args!("  {line}")));
        }
        if let Some(clock) = store.recovery().clock_doubted {
            output.say(format_args!("{}; --trust-clock vouches for it", doubt(clock)));
        }
        Ok(store)
    }
}

/// The user of this process where nothing says a name: in a timer, a container.
fn user_number() -> String {
    std::fs::metadata("/proc/self").map_or("unknown".into(), |process| format!("uid {}", process.uid()))
}

/// What is wrong with a clock that is not believed.
pub fn doubt(clock: Timestamp) -> String {
    format!("the clock says {clock}, more than 45 days after the last fact on record: nothing is expired by it")
}

/// `calls` with `.keyring` put behind.
fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// What an opening found and mended, one line each; nothing after a clean close.
pub fn recovery_in_words(recovery: &Recovery) -> Vec<String> {
    let r = recovery;
    let mut lines = Vec::new();
    let mut tell = |number: u64, line: String| {
        if number > 0 {
            lines.push(line);
        }
    };
    tell(
        r.journals_left,
        format!(
            "{} recovered from {} of the journal",
            counted(r.records_recovered, "record"),
            counted(r.journals_left, "file")
        ),
    );
    tell(r.journal_bytes_cut, format!("{} at the journal's end, never acknowledged, cut", bytes(r.journal_bytes_cut)));
    tell(r.groups_cut, format!("{} that never became durable, cut", counted(r.groups_cut, "commit")));
    tell(r.keyring_bytes_cut, format!("{} of an unfinished keyring entry, cut", bytes(r.keyring_bytes_cut)));
    tell(r.ledger_bytes_cut, format!("{} of an unfinished ledger entry, cut", bytes(r.ledger_bytes_cut)));
    tell(r.mirrors_mended, format!("{} of the keyring mended", counted(r.mirrors_mended, "mirror")));
    tell(
        r.roots_mended,
        format!("{} of the keyring's root mended", counted(r.roots_mended, "copy").replace("copys", "copies")),
    );
    tell(r.files_swept, format!("{} of an interrupted step removed", counted(r.files_swept, "leftover file")));
    if let Some(lacks) = &r.restored {
        tell(lacks.facts_lost, format!("{} lost with a part of the ledger", counted(lacks.facts_lost, "fact")));
        tell(lacks.partitions_gone, format!("{} expired since, and gone", counted(lacks.partitions_gone, "partition")));
        tell(
            lacks.segments_found,
            format!("{} taken in that the ledger lacked", counted(lacks.segments_found, "segment")),
        );
        tell(lacks.dictionaries_found, format!("{} likewise", counted(lacks.dictionaries_found, "dictionary")));
        lacks.missing.iter().for_each(|path| tell(1, format!("missing: {}", path.display())));
    }
    tell(
        r.acts_finished,
        format!("{} that had been interrupted, finished", counted(r.acts_finished, "erasure or expiry")),
    );
    lines
}

/// The same for programs.
pub fn recovery_as_json(recovery: &Recovery) -> serde_json::Value {
    serde_json::json!({
        "clean": recovery.clean,
        "journals_left": recovery.journals_left,
        "records_recovered": recovery.records_recovered,
        "journal_bytes_cut": recovery.journal_bytes_cut,
        "groups_cut": recovery.groups_cut,
        "keyring_bytes_cut": recovery.keyring_bytes_cut,
        "ledger_bytes_cut": recovery.ledger_bytes_cut,
        "mirrors_mended": recovery.mirrors_mended,
        "roots_mended": recovery.roots_mended,
        "files_swept": recovery.files_swept,
        "restored": recovery.restored.as_ref().map(|lacks| serde_json::json!({
            "facts_lost": lacks.facts_lost,
            "partitions_gone": lacks.partitions_gone,
            "segments_found": lacks.segments_found,
            "dictionaries_found": lacks.dictionaries_found,
            "missing": lacks.missing,
        })),
        "acts_finished": recovery.acts_finished,
        "clock_doubted": recovery.clock_doubted.map(|clock| clock.to_string()),
        "milliseconds": recovery.took.as_millis() as u64,
    })
}
