//! The ballast: a few megabytes reserved so that a store on a full disk can still be opened, read and made smaller.
//!
//! Opening for writing lets go of it where space is short, and takes it back where there is enough. While it is gone
//! nothing is appended: what it freed is for recovery and for the verbs that make room.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::path::{Path, PathBuf};

use crate::env::{Env, OpenMode, parent};
use crate::error::{Error, ErrorKind, Result};

/// The usual size, in bytes: enough for ledger facts, a keyring rewrite and a few small segments.
pub const USUAL_BYTES: u64 = 4 << 20;

const NAME: &str = "ballast";

/// The ballast of one store.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    aboard: AtomicBool,
    /// Held while it is taken aboard: many appenders may find it missing at once.
    loading: Mutex<()>,
}

impl Ballast {
    /// Lets go of the ballast where the disk has less free than its size.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn inspect(env: &dyn Env, root: &Path, bytes: u64) -> Result<Self> {
        let path = root.join(NAME);
        let failed = |error| Error::io("look at the ballast", &path, error);
        let exists = match env.metadata(&path) {
            Ok(metadata) => metadata.len >= bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        let short = env.free_space(root).map_err(failed)? < bytes;
        if exists && short {
            env.remove_file(&path).map_err(failed)?;
        }
        let aboard = AtomicBool::new(exists && !short);
        Ok(Ballast { path, bytes, aboard, loading: Mutex::default() })
    }

    /// Makes sure that the ballast is there before anything is appended.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfSpace`] where the disk has no room for it beside some to work in.
    pub fn require(&self, env: &dyn Env) -> Result<()> {
        if self.aboard.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _one_at_a_time = self.loading.lock().expect("no holder of this lock panics");
        if self.aboard.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failed = |error| Error::io("reserve the ballast", &self.path, error);
        if env.free_space(parent(&self.path)).map_err(failed)? < 2 * self.bytes {
            return Err(Error::new(ErrorKind::OutOfSpace, "the disk is nearly full, so nothing more is taken in")
                .in_file(&self.path)
                .hint("free some space; reading goes on, and nothing acknowledged is lost"));
        }
        let _ = env.remove_file(&self.path); // One that is too small, from a reservation that failed.
        let file = env.open(&self.path, OpenMode::CreateNew).map_err(failed)?;
        file.allocate(0, self.bytes).map_err(failed)?;
        self.aboard.store(true, Ordering::Relaxed);
        Ok(())
    }
}
