//! Custodians: who seals, opens and destroys the root records of a keyring, and remembers what must not run back. The
//! trait is public; [`FileCustodian`] keeps its keys in one file, [`CommandCustodian`] asks an external program. A custodian
//! knows no customer and no tree.

mod command;
mod file;
mod process;
mod slots;

use std::fmt;

use zeroize::Zeroizing;

pub use crate::format::keyring_root::OpeningToken;
pub use command::CommandCustodian;
pub use file::FileCustodian;

use crate::crypto::Digest;
use crate::error::Result;
use crate::ident::StoreId;

/// What a custodian remembers of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The store whose roots it seals.
    pub store: StoreId,
    /// The opening registered last.
    pub opening: OpeningToken,
    /// The ledger was at least this many leaves long.
    pub ledger_length: u64,
    /// And had this Merkle root there.
    pub ledger_head: Digest,
    /// Keys of epochs below this were destroyed.
    pub destroyed_before: u64,
}

/// What a custodian says about a destruction, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whether no copy that the custodian knows of can undo it.
    pub final_: bool,
    /// What exactly it vouches for.
    pub words: String,
}

/// Seals, opens and destroys root records. Every call may be made from any thread.
pub trait Custodian: Send + Sync + fmt::Debug {
    /// Begins to keep keys for `store`. What it kept for a store that was never opened is given up.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where it already keeps the keys of a store that was opened.
    fn create(&self, store: &StoreId) -> Result<()>;

    /// What it remembers.
    fn registration(&self) -> Result<Registration>;

    /// Makes `new` the opening, if the last one is `expected`, and keeps other openers out until [`Custodian::release`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Locked`] where somebody else has it open; [`crate::ErrorKind::KeyUnavailable`] where the last
    /// opening is another.
    fn register(&self, expected: &OpeningToken, new: &OpeningToken) -> Result<()>;

    /// Lets other openers in again.
    fn release(&self);

    /// An epoch that was never given out before, durably.
    fn next_epoch(&self) -> Result<u64>;

    /// Seals `plain` so that only the key of `epoch` opens it, which is durable on return. At most 900 bytes come back.
    fn seal(&self, epoch: u64, plain: &[u8]) -> Result<Vec<u8>>;

    /// Opens what was sealed; also while somebody else is registered.
    ///
    /// # Errors
    /// [`crate::ErrorKind::KeyUnavailable`] where the key was never here, or no longer is.
    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>>;

    /// Destroys the keys of all epochs before `epoch`. Repeatable.
    fn destroy_before(&self, epoch: u64) -> Result<Evidence>;

    /// Remembers that the ledger is `length` leaves long with the Merkle root `head`; a shorter one is ignored.
    fn advance(&self, length: u64, head: &Digest) -> Result<()>;
}
