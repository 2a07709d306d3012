//! How a command ends: the documented exit codes, and a failure as the user meets it.
//!
//! A failure is one sentence of what happened, then the next thing to try. In JSON mode it is one object.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tenure::{Error, ErrorKind};

use crate::output::SCHEMA_VERSION;

/// The exit codes. They are part of the interface: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; also when whoever read the output went away.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, with findings: damage, overdue partitions, lines set aside.
    Findings = 3,
    /// Refused by policy, a hold, a role, or for want of a confirmation.
    Refused = 4,
    /// No store there.
    NoStore = 10,
    /// Held open by another writer.
    Locked = 11,
    /// Keyring or custodian missing, wrong, rolled back, or a clone's.
    NoKey = 12,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// How a command ended.
pub type Outcome = Result<Exit, Failure>;

/// What went wrong, as the user is told.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Failed, kind: "failed", message: message.into(), hint: None }
    }

    /// Wrong usage: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Usage, kind: "usage", ..Failure::failed(message) }
    }

    /// Refused for want of a confirmation: exit code 4, and nothing was done.
    pub fn refused(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Refused, kind: "refused", ..Failure::failed(message) }
    }

    /// The same failure with another exit code: for a protocol in which the codes mean something.
    pub fn exiting(self, exit: Exit) -> Self {
        Failure { exit, ..self }
    }

    /// An operation on a file of the user's (never one of the store's) that the operating system refused.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let hint = file_step(error.kind()).map(str::to_owned);
        Failure { kind: "io", hint, ..Failure::failed(format!("cannot {doing} {}: {error}", path.display())) }
    }

    /// Writing to standard output failed. A reader that went away (`| head`) is no error.
    pub fn stdout(error: &io::Error) -> Self {
        let failure = Failure { kind: "io", ..Failure::failed(format!("cannot write the output: {error}")) };
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { exit: Exit::Done, ..failure },
            _ => failure,
        }
    }

    /// The same failure with the next thing to try.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The same failure, said after what was under way.
    pub fn while_doing(self, doing: &str) -> Self {
        Failure { message: format!("{doing}: {}", self.message), ..self }
    }

    /// Whether there is nobody left to tell.
    pub fn is_silent(&self) -> bool {
        self.exit == Exit::Done
    }

    /// One object for scripts.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "schema_version": SCHEMA_VERSION,
            "code": self.exit as u8,
            "kind": self.kind,
            "message": self.message,
            "hint": self.hint,
        })
    }
}

impl fmt::Display for Failure {
    /// `tenure: what happened`, and on the next line what to try.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenure: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, kind) = match error.kind() {
            ErrorKind::Invalid => (Exit::Usage, "invalid"),
            ErrorKind::Refused => (Exit::Refused, "refused"),
            ErrorKind::Forbidden => (Exit::Refused, "forbidden"),
            ErrorKind::Held => (Exit::Refused, "held"),
            ErrorKind::NotFound => (Exit::Failed, "not-found"),
            ErrorKind::Locked => (Exit::Locked, "locked"),
            ErrorKind::KeyUnavailable => (Exit::NoKey, "key-unavailable"),
            ErrorKind::Corrupt => (Exit::Findings, "corrupt"),
            ErrorKind::OutOfSpace => (Exit::Failed, "out-of-space"),
            ErrorKind::Io => (Exit::Failed, "io"),
            ErrorKind::Poisoned => (Exit::Failed, "poisoned"),
            ErrorKind::Erased => (Exit::Failed, "erased"),
            ErrorKind::Unsupported => (Exit::Failed, "unsupported"),
            _ => (Exit::Failed, "failed"),
        };
        let hint = error.next_step().map(str::to_string).or_else(|| usual_step(error.kind()).map(str::to_string));
        Failure { exit, kind, message: error.to_string(), hint }
    }
}

/// What helps where the operating system refuses a file of the user's.
fn file_step(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::NotFound => "check the path; relative ones begin in the directory where the command is run",
        io::ErrorKind::PermissionDenied => "check who may read and write it, or run the command as somebody who may",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and run the command again",
        io::ErrorKind::IsADirectory => "name a file, not a directory",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            "it is cut or damaged: bring a whole copy, and run the same command again"
        }
        _ => return None,
    })
}

/// What helps where the error itself knows no better.
fn usual_step(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Locked => "wait until the other program has closed the store; reading commands work beside it",
        ErrorKind::KeyUnavailable => {
            "name the right keys with --keyring DIR and --custodian FILE, or TENURE_KEYRING and TENURE_CUSTODIAN"
        }
        ErrorKind::Corrupt => "`tenure verify` lists all damage; the rest of the store still reads",
        ErrorKind::OutOfSpace => "free some space and run the command again; nothing acknowledged is lost",
        ErrorKind::Poisoned => "run the command again: opening the store recovers it; nothing acknowledged is lost",
        ErrorKind::Unsupported => "check the path; if it was written by a newer tenure, use that version",
        _ => return None,
    })
}

impl Failure {
    /// An error of opening the store: only here does "not found" mean that there is no store.
    pub fn opening(error: Error, store: &Path) -> Self {
        let (kind, known) = (error.kind(), error.next_step().is_some());
        let failure = Failure::from(error);
        if kind != ErrorKind::NotFound {
            return failure;
        }
        let failure = Failure { exit: Exit::NoStore, kind: "no-store", ..failure };
        match known {
            true => failure,
            false => failure.hint(format!("check the path, or make a store there: tenure -s {} init", store.display())),
        }
    }
}
