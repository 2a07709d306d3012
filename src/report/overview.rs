//! What a report tells: where a store stands by its policy, in numbers that are about nobody.

use std::time::Duration;

use super::{Damage, PartitionStats, Verb};
use crate::crowd::CROWD;
use crate::ident::PartitionId;
use crate::rights::Role;
use crate::window::{Day, Timestamp};

/// How a report is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// The fewest customers of a group of which anything is told: 20 at least.
    pub crowd: u64,
    /// Judge by this time instead of the present.
    pub now: Option<Timestamp>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions { crowd: CROWD, now: None }
    }
}

/// What some partitions amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many of them.
    pub partitions: u64,
    /// Records stored, retries of the same record counted each.
    pub records: u64,
    /// Bytes of their bodies as they came in.
    pub raw_bytes: u64,
    /// Bytes on disk.
    pub stored_bytes: u64,
}

impl Volume {
    /// Raw bytes per stored byte; zero where nothing is stored.
    pub fn ratio(&self) -> f64 {
        if self.stored_bytes == 0 { 0.0 } else { self.raw_bytes as f64 / self.stored_bytes as f64 }
    }

    /// Takes in more.
    pub fn add(&mut self, other: &Volume) {
        self.partitions += other.partitions;
        self.records += other.records;
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

impl From<&PartitionStats> for Volume {
    fn from(one: &PartitionStats) -> Self {
        let PartitionStats { records, raw_bytes, stored_bytes, .. } = *one;
        Volume { partitions: 1, records, raw_bytes, stored_bytes }
    }
}

/// One of several shares of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T> {
    /// What all of it has in common; none for groups that are put together of several, each too small to be told by itself.
    pub of: Option<T>,
    /// What it amounts to.
    pub volume: Volume,
}

/// When something falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Its deadline has passed.
    Overdue,
    /// In this month, named by its first day.
    In(Day),
    /// In a later month than the report looks ahead.
    Later,
    /// When a fact about the customer says so.
    ByCustomer,
    /// Never: there is no maximum.
    Never,
    /// It was due, and a hold keeps it.
    Held,
}

/// How old something is, in months from the beginning of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    /// So many at least.
    pub from_months: u32,
    /// And fewer than so many; none for the oldest.
    pub until_months: Option<u32>,
}

/// A partition whose deadline has passed, and whose key is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Its name.
    pub partition: PartitionId,
    /// When it was due.
    pub deadline: Timestamp,
    /// What it amounts to; none where its customers are too few to be told of by themselves.
    pub volume: Option<Volume>,
}

/// A partition whose deadline lies ahead and of which somebody is to be told by now: the policy's notice is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// Its name.
    pub partition: PartitionId,
    /// Since when the notice runs.
    pub since: Timestamp,
    /// When it is due.
    pub deadline: Timestamp,
    /// What it amounts to; none where its customers are too few to be told of by themselves.
    pub volume: Option<Volume>,
}

/// When the first of what ends by row falls due of a customer: of what runs from a fact about them, and of what an erasure
/// has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowDue {
    /// Its time has come: the next expiry takes it.
    Overdue,
    /// It lies ahead, and the policy's notice is running.
    Notice,
    /// In this month, named by its first day.
    In(Day),
    /// In a later month than the report looks ahead.
    Later,
    /// Nobody knows yet: what it runs from has not been reported.
    Waiting,
    /// Holds keep it.
    Held,
    /// Nothing of theirs ends by row.
    Nothing,
}

/// Customers by what is scheduled of them. Every customer counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// When; none for several, each of too few customers to be told by itself.
    pub due: Option<RowDue>,
    /// Whether an erasure has left a part of them; none for some and others.
    pub restricted: Option<bool>,
    /// How many.
    pub customers: u64,
}

/// What one class in one jurisdiction amounts to, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamGrowth {
    /// The class; none for several, each too small to be told by itself.
    pub class: Option<String>,
    /// The jurisdiction, likewise.
    pub jurisdiction: Option<String>,
    /// All of it.
    pub volume: Volume,
    /// By month of event, named by its first day; a window longer than a month counts where it begins.
    pub months: Vec<Slice<Day>>,
}

/// The holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Those that stand.
    pub standing: u64,
    /// When the oldest of them was placed.
    pub oldest: Option<Timestamp>,
    /// Partitions past their maximum that holds keep something of: those that have expired but for that, and those that a hold on
    /// everybody keeps from expiring.
    pub partitions: u64,
}

/// What erasures have left of customers because a duty or a hold keeps it: restricted to those who serve that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// Whether there are any such customers.
    pub any: bool,
    /// How many; none where they are too few to be told of, or told together with others.
    pub customers: Option<u64>,
}

/// What was done in one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleUses {
    /// The role.
    pub role: Role,
    /// Uses of the store.
    pub uses: u64,
    /// Those of them that read or handed out records.
    pub reads: u64,
    /// Those that the role did not allow.
    pub refused: u64,
    /// Those in a role that somebody who holds the keys had taken, rather than was given.
    pub taken: u64,
}

/// Who used the store, by role and for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessByRole {
    /// From when on.
    pub from: Timestamp,
    /// The roles that anything was done in.
    pub roles: Vec<RoleUses>,
}

/// How long something took, from the intent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many times it was reached.
    pub count: u64,
    /// The median of the times it took.
    pub median: Duration,
    /// The longest.
    pub max: Duration,
}

/// What was let go of by one verb, and how long each stage took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActsReport {
    /// The verb.
    pub verb: Verb,
    /// Every act of it on record.
    pub count: u64,
    /// How many stand at which stage, as receipts name them.
    pub stages: Vec<(&'static str, u64)>,
    /// Until no read or write passed any more.
    pub fenced: Times,
    /// Until the keys were gone from here.
    pub shredded: Times,
    /// Until the custodian had destroyed every older root for good, where it said so.
    pub finished: Times,
    /// Until the dead bytes were gone too.
    pub scrubbed: Times,
}

impl ActsReport {
    /// Acts that were set out to do and whose keys are not gone yet.
    pub fn pending(&self) -> u64 {
        self.count - self.shredded.count
    }
}

/// Where a store stands by its policy. Every number about records, and every sum and difference of them, is about at least so
/// many customers as were asked for. What was done (acts, holds) is counted as it is, for the whole store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The store's id, in hexadecimal.
    pub store: String,
    /// The time that it is judged by.
    pub now: Timestamp,
    /// The fewest customers of a group.
    pub crowd: u64,
    /// The version of the policy in force.
    pub policy: u32,
    /// Customers who live here, those who were erased not counted; none where they are too few to be told of.
    pub customers: Option<u64>,
    /// All that is stored; none where its customers are too few to be told of, and then of no part either.
    pub total: Option<Volume>,
    /// What is overdue, the longest first. What a hold defers is not.
    pub overdue: Vec<Overdue>,
    /// Whether something is overdue that ends by row: of whom, `scheduled` counts where they are enough.
    pub rows_overdue: bool,
    /// What somebody is to be told of because it falls due soon, the nearest first.
    pub notices: Vec<Noticed>,
    /// What falls due when.
    pub due: Vec<Slice<Due>>,
    /// How many customers have something that ends by row, and when the first of it does.
    pub scheduled: Vec<Scheduled>,
    /// Volumes by class and jurisdiction.
    pub streams: Vec<StreamGrowth>,
    /// Volumes by month of event.
    pub months: Vec<Slice<Day>>,
    /// Volumes by age.
    pub ages: Vec<Slice<Age>>,
    /// Holds.
    pub holds: Holding,
    /// What erasures had to leave.
    pub restricted: Restriction,
    /// Who used the store.
    pub access: AccessByRole,
    /// What was let go of.
    pub acts: Vec<ActsReport>,
    /// Damage that is known of, without looking for it beyond the heads and indexes of segments.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Whether anything is overdue: a partition, or something of a customer that ends by row.
    pub fn is_overdue(&self) -> bool {
        self.rows_overdue || !self.overdue.is_empty()
    }
}
