//! Create: a new, empty store. The mark `FORMAT` is written last: without it a directory is no store.

use crate::sync::Arc;
use std::path::Path;

use crate::engine::{access, lease, request};
use crate::env::{Env, create_dirs, publish_new, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Fact;
use crate::format::mark::{FORMAT_VERSION, Mark};
use crate::ident::StoreId;
use crate::keyring::{Custodian, Keyring, KeyringOptions};
use crate::ledger::Ledger;
use crate::policy::{KEEP_EVERYTHING, Policy};

/// The name of the mark.
pub const MARK: &str = "FORMAT";
/// The name of the file that writers lock.
pub const LOCK: &str = "LOCK";
/// The directories of a store.
pub const DIRECTORIES: [&str; 6] =
    ["journal", "ledger", "segments", lease::DIRECTORY, request::DIRECTORY, access::DIRECTORY];

/// Makes an empty store in `root`, its keyring, and its custodian's root, under `policy` or one that keeps everything.
///
/// # Errors
/// [`ErrorKind::Invalid`] where something is already there (nothing of it is touched) or the policy is wrong.
pub fn create(
    env: &Arc<dyn Env>,
    root: &Path,
    keyring: KeyringOptions,
    custodian: Arc<dyn Custodian>,
    policy: Option<&str>,
) -> Result<()> {
    let text = policy.unwrap_or(KEEP_EVERYTHING).to_owned();
    Policy::propose(&text)?;
    vacant(&**env, root)?;
    let store = StoreId::from_bytes(random(&**env).map_err(|error| Error::io("draw random bytes", root, error))?);
    for name in DIRECTORIES {
        let dir = root.join(name);
        create_dirs(&**env, &dir).map_err(|error| Error::io("create a directory of the store", &dir, error))?;
    }
    publish(&**env, &root.join(LOCK), b"")?;
    Keyring::create(env.clone(), keyring, custodian, store)?;
    let mut ledger = Ledger::create(env.clone(), &root.join("ledger"), store, env.now())?;
    ledger.append(env.now(), &[Fact::PolicySet { version: 1, text }])?;
    publish(&**env, &root.join(MARK), Mark { version: FORMAT_VERSION, store }.encode().as_bytes())
}

fn publish(env: &dyn Env, path: &Path, contents: &[u8]) -> Result<()> {
    publish_new(env, path, contents).map_err(|error| Error::io("create a file of the store", path, error))
}

/// Refuses a place where anything is.
fn vacant(env: &dyn Env, path: &Path) -> Result<()> {
    let error = |error| Error::io("look at where the store is to be", path, error);
    match env.metadata(path) {
        Err(absent) if absent.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(error(other)),
        Ok(metadata) if metadata.is_dir && env.list(path).map_err(error)?.is_empty() => return Ok(()),
        Ok(_) => {}
    }
    let (message, hint) = match env.metadata(&path.join(MARK)) {
        Ok(_) => ("there is a store already", "use it, or name another directory"),
        Err(_) => ("there is something already", "name a directory that does not exist yet, or empty it"),
    };
    Err(Error::new(ErrorKind::Invalid, message).in_file(path).hint(hint))
}
