//! Tenure keeps customer-service interactions as long as it must, no longer than it may, and lets go of any one
//! customer on request, backups included.
//!
//! The layers, each using only those below it:
//!
//! | layer | rooms |
//! |---|---|
//! | L0 | `error`, `sync`, `mixer`, `cache`, `window`, `ident` |
//! | L1 | `record`, `rights`, `crowd`, `env`, `crypto`, `compress`, `policy` |
//! | L2 | `report`, `format` |
//! | L3 | `journal`, `segment`, `keyring`, `ledger`, `access_log` |
//! | L4 | `engine` |
//! | L5 | `ops` |
//! | L6 | `store` |
//! | L7 | `access` |

mod access;
mod access_log;
mod cache;
mod compress;
mod crowd;
mod crypto;
mod engine;
pub mod env;
mod error;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod ident;
mod journal;
mod keyring;
mod ledger;
mod mixer;
mod ops;
mod policy;
mod record;
pub mod report;
mod rights;
mod segment;
mod store;
mod sync;
mod window;

/// What the benchmarks beside other engines take apart; no part of the interface.
#[doc(hidden)]
pub mod bare {
    pub use crate::compress::{Sample, Training, train};
}

/// What the crash suite, the canary search and the benchmarks look at.
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation {
    pub use crate::compress::{
        Dictionary, Malformed, Sample, Trained, Training, Unproved, compress_into, decompress, prove, train,
    };
    pub use crate::crypto::{keys, seals};
}

pub use access::{Acting, Recording, Records};
pub use error::{Error, ErrorKind, Refusal, RefusalReason, Result};
pub use ident::{CUSTOMER_ID_LIMIT, CustomerId, PartitionId, RecordId, StoreId, Stream};
pub use keyring::{CommandCustodian, Custodian, Evidence, FileCustodian, OpeningToken, Registration};
pub use ops::audit::AccessFilter;
pub use ops::audit_proof::audit;
pub use ops::inspect::inspect;
pub use ops::verify::verify_keyless;
pub use policy::{AnchorKind, Duty, Facts, Limit, Overhang, Shortening, Verdict, Why};
pub use record::{BODY_LIMIT, Batch, BodyKind, Classifier, Hold, Record, SourceOffset, Stored};
pub use rights::{AccessRequest, Actor, Authorizer, RIGHTS, ROLES, Right, Role, RoleTable};
pub use store::{
    Body, Commit, ExpireOptions, Export, Options, PolicyInForce, Proved, Reported, Scan, ScanFilter, Store, Timeline,
    Upload, verify_proof,
};
pub use window::{Day, Period, Timestamp, Window, WindowLength};

/// The program in the README, which compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
