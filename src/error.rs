//! What can go wrong, told by what the caller does about it.
//!
//! One opaque, clonable [`Error`]: a [`ErrorKind`] to branch on, one sentence of what happened, the file and byte
//! offset where there is one, and the next thing to try. Errors are shared between the threads of a group commit,
//! which is why they clone. No error ever carries a customer id, a body or key bytes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure, few enough to handle each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call or its input is wrong: correct it and call again. Nothing was written.
    Invalid,
    /// Policy, a fence or a missing confirmation forbids it; [`Error::refusals`] names each refused record.
    /// Nothing was written.
    Refused,
    /// The role does not allow it: act in another role, or ask somebody who may. Nothing was done, and it was put on record.
    Forbidden,
    /// A legal hold stands against it: release that first. Nothing was done.
    Held,
    /// There is no store (or no such record or file) where one was named.
    NotFound,
    /// Somebody else holds the store open for writing: wait, or go through them.
    Locked,
    /// The keyring, its root or its custodian is missing, wrong, rolled back, or belongs to a clone.
    KeyUnavailable,
    /// Stored bytes are damaged. The file, offset and extent are named; everything else keeps serving.
    Corrupt,
    /// The disk is full. Free space and open again; nothing acknowledged is lost.
    OutOfSpace,
    /// The operating system refused an operation.
    Io,
    /// An earlier sync failed, so nothing more is acknowledged: open the store again. Reads go on.
    Poisoned,
    /// The customer was erased, or the partition expired, while this was under way.
    Erased,
    /// Written by a newer version, or not by Tenure at all. Nothing is touched.
    Unsupported,
}

/// Why one record of a batch was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position of the record in its batch, from zero.
    pub index: usize,
    /// Why, without naming the customer.
    pub reason: RefusalReason,
}

/// The reasons for which a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The record's window is past the maximum of its stream.
    Expired,
    /// The event lies more than 24 hours ahead of the clock.
    Future,
    /// The customer was erased, and the event is older than the erasure; or the erasure is under way.
    Erased,
    /// No rule of the policy covers the stream.
    NoRule,
    /// The body is longer than the limit.
    TooLarge,
    /// It came without a class, and neither a rule of the policy nor a classifier gives it one.
    Unclassed,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefusalReason::Expired => "its time to be kept is already over",
            RefusalReason::Future => "it lies more than 24 hours in the future",
            RefusalReason::Erased => "its customer was erased after it happened",
            RefusalReason::NoRule => "no rule of the policy covers its class and jurisdiction",
            RefusalReason::TooLarge => "its body is longer than the limit",
            RefusalReason::Unclassed => "it has no class, and nothing gives it one",
        })
    }
}

/// An error of the store.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    hint: Option<String>,
    refusals: Vec<Refusal>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`, one sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            path: None,
            offset: None,
            hint: None,
            refusals: Vec::new(),
            source: None,
        }))
    }

    /// Damage found in `path` at `offset` bytes from its start.
    pub fn corrupt(path: &Path, offset: u64, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, message).at(path, offset)
    }

    /// The operating system's answer to `doing` something with `path`; a full disk gets its own kind.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        let hint = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space and open the store again; nothing acknowledged is lost")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                Some("mount it so that it can be written to; reading goes on as it is")
            }
            io::ErrorKind::PermissionDenied => {
                Some("see who may read and write there: store, keyring and custodian belong to one user")
            }
            _ => None,
        };
        let error = Error::new(kind, format!("cannot {doing}")).in_file(path).caused_by(source);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Error(Arc::new(inner))
    }

    /// The same error, naming the file.
    pub fn in_file(self, path: &Path) -> Self {
        self.with(|inner| inner.path = Some(path.to_path_buf()))
    }

    /// The same error, naming the file and the byte offset in it.
    pub fn at(self, path: &Path, offset: u64) -> Self {
        self.with(|inner| {
            inner.path = Some(path.to_path_buf());
            inner.offset = Some(offset);
        })
    }

    /// The same error with the next thing to try.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.with(|inner| inner.hint = Some(hint.into()))
    }

    /// The same error with what caused it.
    pub fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    /// The same error with the refused records named.
    pub fn refusing(self, refusals: Vec<Refusal>) -> Self {
        self.with(|inner| inner.refusals = refusals)
    }

    /// What happened and why, without the file and the offset: for reports that name those by themselves.
    pub fn without_place(&self) -> String {
        match &self.0.source {
            Some(source) => format!("{}: {source}", self.0.message),
            None => self.0.message.clone(),
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte offset in that file, where there is one.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The next thing to try, where one is known.
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The refused records of a batch, each with its reason; empty for every kind but [`ErrorKind::Refused`].
    pub fn refusals(&self) -> &[Refusal] {
        &self.0.refusals
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (&self.0.path, self.0.offset) {
            (Some(path), Some(offset)) => write!(f, " ({}, byte {offset})", path.display())?,
            (Some(path), None) => write!(f, " ({})", path.display())?,
            (None, _) => {}
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
