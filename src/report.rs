//! What verbs tell: plain data, no behaviour beyond sums. Nothing in it names a customer, but for a hold, which does not show it.

mod aggregate;
mod kept;
mod law;
mod overview;

use std::path::PathBuf;
use std::time::Duration;

use crate::ident::{CustomerId, PartitionId, Stream};
use crate::record::Hold;
use crate::rights::{Right, Role};
use crate::window::{Day, Timestamp};

pub use crate::crowd::CROWD;
pub use aggregate::{Aggregate, AggregateRow, Facet, Tally};
pub use kept::{Duty, Home, Kept, Lapsed, Redaction};
pub use law::{
    CustomerLaw, Effect, Notice, PartitionChange, Place, PolicyCheck, Provision, StreamLaw, Unshown, WhyUnshown,
};
pub use overview::{
    AccessByRole, ActsReport, Age, Due, Holding, Noticed, Overdue, Report, ReportOptions, Restriction, RoleUses,
    RowDue, Scheduled, Slice, StreamGrowth, Times, Volume,
};

/// What an opening found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the last opening ended with a clean close.
    pub clean: bool,
    /// Journal files that were left behind. They serve as they are, and are settled when housekeeping comes to them.
    pub journals_left: u64,
    /// Records found in them.
    pub records_recovered: u64,
    /// Bytes of a torn tail that were never acknowledged and have been cut, over all journal files.
    pub journal_bytes_cut: u64,
    /// Groups that were whole but needed keyring entries which never became durable: never acknowledged, cut.
    pub groups_cut: u64,
    /// Bytes of an unfinished keyring append that were cut.
    pub keyring_bytes_cut: u64,
    /// Bytes of an unfinished ledger append that were cut.
    pub ledger_bytes_cut: u64,
    /// Mirrors of the keyring that were behind or damaged and have been mended.
    pub mirrors_mended: u64,
    /// Root slots of the keyring that were behind or damaged and have been mended.
    pub roots_mended: u64,
    /// Files that no fact of the ledger names (leftovers of an interrupted step), removed.
    pub files_swept: u64,
    /// Erasures and expiries that a crash had interrupted, finished now.
    pub acts_finished: u64,
    /// What the store lacks, where it was opened as restored from an older copy.
    pub restored: Option<Restored>,
    /// What the wall clock says, where it lies so far ahead of the ledger that nothing is expired by it.
    pub clock_doubted: Option<Timestamp>,
    /// How long the opening took.
    pub took: Duration,
}

/// What a store lacks that was put back from an older copy under a living keyring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Facts of the ledger that are lost, at least: administration, settings of the policy, receipts.
    pub facts_lost: u64,
    /// Partitions in the copy whose keys have been destroyed since. They stay gone.
    pub partitions_gone: u64,
    /// Segments that lay there unheard of by the older ledger, taken in again.
    pub segments_found: u64,
    /// Dictionaries likewise.
    pub dictionaries_found: u64,
    /// Segments that the ledger names and that are not there. What reads their partitions is an error until they are
    /// brought back, or given up by a repair.
    pub missing: Vec<PathBuf>,
}

/// Damage found by verification, or while something else was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
}

/// How thorough a verification is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifyOptions {
    /// Decrypt and decompress every record too. Needs the keys; without it, checksums alone are checked.
    pub deep: bool,
    /// The share of segments to check, 0 to 1, drawn anew each time, and to decrypt the records of. Ledger, keyring and
    /// journal are always checked.
    pub subset: f64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { deep: false, subset: 1.0 }
    }
}

/// What a verification saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Frames whose checksum was checked.
    pub frames: u64,
    /// Records decrypted and decompressed (deep only), retries of the same one counted each.
    pub records: u64,
    /// Frames that no living customer's key opens (deep only): erased, expired, or orphans. Chunks of large bodies are
    /// among them only where all segments were checked, since they may lie in others than their record.
    pub unreachable: u64,
    /// Leaves of the ledger, and that its root was recomputed from them.
    pub ledger_leaves: u64,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub took: Duration,
}

/// What can be done about a damaged segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Its frames are whole, every one: it can be made anew from them.
    Rebuild,
    /// It is not there, and the store was opened as restored: the ledger can give it up.
    GiveUp,
    /// Its frames are damaged too, or it is not there: only a copy of the file helps. Why, in words.
    Restore(String),
}

/// One damaged segment and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairStep {
    /// The partition it belongs to.
    pub partition: PartitionId,
    /// What is wrong with it.
    pub damage: Damage,
    /// How many records stand in it.
    pub records: u64,
    /// What can be done.
    pub remedy: Remedy,
}

/// What a repair found, and whether it did what it planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// A step for every damaged segment.
    pub plan: Vec<RepairStep>,
    /// Whether every [`Remedy::Rebuild`] and [`Remedy::GiveUp`] of the plan was carried out.
    pub applied: bool,
}

/// How far a long verb has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// How much background work one call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Stop beginning new steps after this long.
    pub time: Duration,
}

impl Budget {
    /// No limit: do all there is.
    pub const ALL: Budget = Budget { time: Duration::MAX };
}

/// A dictionary that was trained and is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// The stream it is for.
    pub stream: Stream,
    /// The partition it was trained for; others of the stream get copies.
    pub partition: PartitionId,
    /// Its length.
    pub bytes: u64,
    /// Customers in the sample.
    pub customers: u64,
    /// Records in the sample.
    pub records: u64,
    /// What records of customers who were held out compress to without it, in bytes.
    pub plain_bytes: u64,
    /// And with it.
    pub with_bytes: u64,
}

/// What a maintenance call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Journal files settled into segments.
    pub journals_settled: u64,
    /// Segments written by settling.
    pub segments_written: u64,
    /// Segments merged away.
    pub segments_merged: u64,
    /// Bytes of segments written, by settling and merging.
    pub bytes_written: u64,
    /// Keyring entries folded into the tree.
    pub entries_folded: u64,
    /// Customer entries dropped because nothing of them is left.
    pub customers_forgotten: u64,
    /// Whether the keyring's log was rewritten because most of it was dead.
    pub keyring_compacted: bool,
    /// Dictionaries that were trained and came into use.
    pub dictionaries_trained: u64,
    /// Segments that were found damaged by this opening, and are left out of merging and scrubbing until it ends.
    pub damage: Vec<Damage>,
    /// Whether there is more to do that the budget did not reach, or that waits for somebody who still reads.
    pub more: bool,
}

/// What stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    /// Its name.
    pub partition: PartitionId,
    /// Records stored, retries of the same record counted each; of an expired partition those that are held.
    pub records: u64,
    /// Bytes of their bodies as they came in.
    pub raw_bytes: u64,
    /// Bytes on disk: segments, and the share of the journal.
    pub stored_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// First and last day of an event, where there is any.
    pub span: Option<(Day, Day)>,
    /// When its key is to be destroyed: the window's end plus the maximum; none where the policy keeps for ever.
    pub deadline: Option<Timestamp>,
    /// Whether that deadline has passed, the key is still there, and no hold on everybody keeps it.
    pub overdue: bool,
    /// Customers whose records are held here although the partition has expired; zero where it has not.
    pub held: u64,
    /// Whether that deadline has passed, and a hold on everybody keeps the key: an expiry defers it until the hold is released.
    pub deferred: bool,
    /// What new records are compressed with, and what those before were, oldest first.
    pub dictionaries: Vec<DictionaryStats>,
}

/// A dictionary of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryStats {
    /// Its id, as file names have it: eight hexadecimal digits.
    pub id: String,
    /// Length of its file.
    pub bytes: u64,
    /// When it was trained.
    pub trained: Timestamp,
    /// What records of customers who were held out of the training compressed to without it, in bytes.
    pub plain_bytes: u64,
    /// And with it.
    pub with_bytes: u64,
}

impl DictionaryStats {
    /// The share of the bytes that it takes off records, 0 to 1, as measured when it was trained.
    pub fn gain(&self) -> f64 {
        let (plain, with) = (self.plain_bytes, self.with_bytes);
        if plain == 0 { 0.0 } else { plain.saturating_sub(with) as f64 / plain as f64 }
    }
}

impl PartitionStats {
    /// Raw bytes per stored byte; zero where nothing is stored.
    pub fn ratio(&self) -> f64 {
        if self.stored_bytes == 0 { 0.0 } else { self.raw_bytes as f64 / self.stored_bytes as f64 }
    }
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The store's id, in hexadecimal.
    pub store: String,
    /// Customers with an entry in the keyring.
    pub customers: u64,
    /// Partitions, by stream and window.
    pub partitions: Vec<PartitionStats>,
    /// Journal files not yet settled, and their bytes.
    pub journals: u64,
    /// Bytes of those journal files.
    pub journal_bytes: u64,
    /// Bytes of batches that wait to be written: beyond 64 MiB, appending waits for the disk.
    pub waiting_bytes: u64,
    /// The longest that this opening has held up an append until there was room for more.
    pub longest_pause: std::time::Duration,
    /// Bytes of the keyring, one mirror.
    pub keyring_bytes: u64,
    /// Leaves of the ledger.
    pub ledger_leaves: u64,
    /// The ledger's Merkle root (RFC 6962), in hexadecimal.
    pub ledger_root: String,
    /// The opening number of this (or the last) writer.
    pub opening: u64,
    /// What background work of this opening has stumbled over: damaged segments, and the step that failed last.
    pub damage: Vec<Damage>,
}

/// What one file of a store is and says, as far as it can be told without a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What kind of file it is.
    pub kind: String,
    /// What it says of itself, by name.
    pub facts: Vec<(String, String)>,
    /// What is wrong with it.
    pub damage: Vec<Damage>,
}

/// One partition in an expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Its name.
    pub partition: PartitionId,
    /// Records in it, retries counted each.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Since when it is overdue.
    pub deadline: Timestamp,
    /// Customers whose records in it are held back, and stay.
    pub held: u64,
    /// The numbers of the holds that keep them.
    pub holds: Vec<u64>,
    /// Whether it does not expire at all for now: a hold on everybody keeps it, more is held in it than can be kept apart,
    /// or there is `damage`.
    pub deferred: bool,
    /// What could not be read, or not be written: what is held in it was to be found, or states in it carried forward.
    pub damage: Option<Damage>,
}

/// What an expiry did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// The time it was judged by.
    pub now: Timestamp,
    /// What was due, by stream and window.
    pub partitions: Vec<Expiring>,
    /// What was due of single customers.
    pub rows: Vec<Lapsed>,
    /// What could not be read where something may be due of single customers. They were passed over.
    pub damage: Vec<Damage>,
    /// The account of it; none where nothing was due, or nothing was to be done yet.
    pub receipt: Option<Receipt>,
    /// Further accounts, where more customers were concerned than one act takes in.
    pub further: Vec<Receipt>,
}

/// The account of an act, with the proof of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedReceipt {
    /// The account: what the proof says, to the word.
    pub receipt: Receipt,
    /// What [`crate::verify_proof`] verifies without the store; none where the ledger no longer has every leaf about it.
    pub proof: Option<String>,
}

/// How far a destructive verb reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Partitions lost their keys.
    Expire,
    /// Customers lost their secrets.
    Erase,
    /// A part of a customer was erased.
    ErasePart,
    /// One record was destroyed.
    Redact,
    /// A hold was lifted, and what it alone had kept from an expiry is gone.
    Release,
}

/// A hold that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReport {
    /// Its number.
    pub number: u64,
    /// On whom; none is on everybody.
    pub customer: Option<CustomerId>,
    /// The customer's random number, by which receipts and ledger name it, in hexadecimal.
    pub subject: Option<String>,
    /// What is held and why.
    pub hold: Hold,
    /// When it was placed.
    pub placed: Timestamp,
    /// The numbers of the receipts of what came before it, and is not held: it had been let go of.
    pub after: Vec<u64>,
    /// Expired partitions of which it keeps records.
    pub kept: u64,
}

/// The account of a destructive verb: its stages and when each was reached. It names nobody but by subject number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the act in the ledger.
    pub number: u64,
    /// What was done.
    pub verb: Verb,
    /// Whom it concerned, by subject number in hexadecimal; empty for an expiry of whole partitions.
    pub subjects: Vec<String>,
    /// What it left, and why.
    pub kept: Vec<Kept>,
    /// What it took of single customers whose time had come.
    pub lapsed: Vec<Lapsed>,
    /// How many partitions lost their keys; of a lifted hold, in how many of them nothing is held for the customer any more.
    pub partitions: u64,
    /// When it was written down to be done; from here on it was done, crash or not.
    pub intended: Timestamp,
    /// When no read or write passed any more, in any process.
    pub fenced: Option<Timestamp>,
    /// When the new root was durable.
    pub shredded: Option<Timestamp>,
    /// The epoch of that root.
    pub epoch: u64,
    /// Whether the custodian said that every older root is destroyed for good. Where it did not, the stage is
    /// `cleared`: the key is gone from here, but `evidence` says what could undo that.
    pub is_final: bool,
    /// The custodian's own words.
    pub evidence: String,
    /// When the dead bytes were gone too.
    pub scrubbed: Option<Timestamp>,
    /// Until when late events of an erased customer are refused by name.
    pub fence_until: Option<Timestamp>,
}

impl Receipt {
    /// The stage that has been reached: `intended`, `fenced`, `shredded`, `cleared` or `final`, `scrubbed`.
    pub fn stage(&self) -> &'static str {
        match self {
            Receipt { shredded: None, fenced: None, .. } => "intended",
            Receipt { shredded: None, .. } => "fenced",
            Receipt { scrubbed: Some(_), is_final: true, .. } => "scrubbed",
            Receipt { is_final: true, .. } => "final",
            Receipt { .. } => "cleared",
        }
    }
}

/// One use of a store, as its access log has it. `Debug` shows neither who nor why.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUse {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// In which role.
    pub role: Role,
    /// Whether the role was taken by somebody who holds the keys, rather than given.
    pub role_taken: bool,
    /// What for; empty where nothing was said.
    pub purpose: String,
    /// What was done.
    pub right: Right,
    /// How it ended: `begun` (a grave one, whose end another entry tells unless a crash came first), `done`, `nothing` (there was nothing), `refused` (by the role), `declined` (by a hold, the policy or
    /// for want of a confirmation) or `failed`.
    pub outcome: &'static str,
    /// The customers it was about, by subject number in hexadecimal; empty where it was about none, or about all.
    pub subjects: Vec<String>,
    /// Whether it was about all customers.
    pub everybody: bool,
}

impl std::fmt::Debug for AccessUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessUse({} as {}: {})", self.right, self.role, self.outcome)
    }
}

/// What an access log says of what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessReport {
    /// The uses, oldest first.
    pub uses: Vec<AccessUse>,
    /// Whether older ones were left out because there were too many.
    pub more: bool,
    /// Logs whose month's key is gone: nobody reads them any more.
    pub closed: u64,
    /// Bytes of appends that never finished, or are under way.
    pub unfinished_bytes: u64,
    /// Logs that are damaged; the others were read.
    pub damage: Vec<Damage>,
}

/// What checking ledger and access logs has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Leaves of the ledger.
    pub ledger_leaves: u64,
    /// Its Merkle root (RFC 6962), in hexadecimal.
    pub ledger_root: String,
    /// Access logs that were checked.
    pub access_logs: u64,
    /// Their entries.
    pub access_entries: u64,
    /// Entries that the ledger vouches for.
    pub access_vouched: u64,
    /// The last month (`2026-11`) whose access logs were let go of, by the ledger; none where none was.
    pub access_dropped_through: Option<String>,
    /// Bytes of appends that never finished, or are under way.
    pub unfinished_bytes: u64,
    /// How long the ledger was by the checkpoint that was compared with; none where none was.
    pub against: Option<u64>,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
}
