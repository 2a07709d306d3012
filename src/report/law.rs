//! What the law says: of a stream, of a customer, and of what a new policy would change.

use crate::ident::{CustomerId, PartitionId, Stream};
use crate::policy::{AnchorKind, Duty, Facts, Limit, Overhang, Shortening, Verdict};
use crate::window::{Period, Timestamp, WindowLength};

/// What a new policy would do to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its maximum is over by the new policy: the next expiry takes it.
    Overdue,
    /// Its maximum lies ahead, and comes earlier than by the policy in force, or at all.
    Due,
    /// The duty to keep it ends earlier: it may be erased sooner when that is asked for.
    Released,
    /// Its maximum comes later, or the duty to keep it ends later.
    Protected,
}

/// One partition under the policy in force and under a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionChange {
    /// The partition.
    pub partition: PartitionId,
    /// What the new policy would do to it.
    pub effect: Effect,
    /// Its maximum under the policy in force; none for ever, or where facts about customers decide.
    pub limit_before: Option<Timestamp>,
    /// And under the new one.
    pub limit_after: Option<Timestamp>,
    /// The duty to keep it under the policy in force; none where there is none.
    pub duty_before: Option<Duty>,
    /// And under the new one.
    pub duty_after: Option<Duty>,
    /// The holds that stand on anything in it.
    pub holds: Vec<u64>,
    /// Whether a rule of the new policy covers its stream.
    pub covered: bool,
}

/// A new policy compared with the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCheck {
    /// The version in force.
    pub in_force: u32,
    /// The time that was judged by: trusted time.
    pub now: Timestamp,
    /// The partitions for which something changes, and all that would be overdue.
    pub changes: Vec<PartitionChange>,
    /// How many partitions stay as they are.
    pub unchanged: u64,
    /// Streams of the store that would be kept shorter: with any of them, the policy needs a confirmation and a reason.
    pub shortened: Vec<Shortening>,
    /// How long records of each rule can outlive their maximum, hidden, in their windows.
    pub overhangs: Vec<Overhang>,
}

/// One rule as it binds a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Its place in the policy, from zero: what a [`Duty`] or [`Limit`] names.
    pub rule: usize,
    /// The line of the policy in which it begins.
    pub line: usize,
    /// The class it covers; `None` is every class.
    pub class: Option<String>,
    /// The jurisdiction it covers; `None` is every jurisdiction.
    pub jurisdiction: Option<String>,
    /// What its periods run from.
    pub anchor: AnchorKind,
    /// Where its years end.
    pub zone: Option<String>,
    /// How long its streams must be kept.
    pub keep_at_least: Period,
    /// How long they may be kept; `None` is for ever.
    pub keep_at_most: Option<Period>,
    /// How long before that somebody is to be told.
    pub notice: Option<Period>,
    /// The citation.
    pub basis: Option<String>,
}

/// One place where records are, and what the law says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: PartitionId,
    /// The verdict, as of now: restricted where an erasure has left it.
    pub verdict: Verdict,
    /// The duty to keep it, whether it is over or not.
    pub duty: Option<Duty>,
    /// When it must be gone, whether that is over or not.
    pub limit: Option<Limit>,
    /// The holds that stand on it.
    pub holds: Vec<u64>,
    /// Whether its key has been destroyed and only what holds keep is left.
    pub expired: bool,
    /// Whether it is what an erasure has left of a customer there, for nobody but those who serve what keeps it. What came in
    /// since is another place.
    pub restricted: bool,
}

/// What the law says of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLaw {
    /// The stream.
    pub stream: Stream,
    /// The rules that bind it, one or two; none where it is not covered.
    pub provisions: Vec<Provision>,
    /// How long new windows are.
    pub window: Option<WindowLength>,
    /// Whether it is state: the newest record of each customer counts.
    pub latest: bool,
    /// Whether its maximum, or one of two, waits for facts about each customer.
    pub ends_by_row: bool,
    /// Its partitions, oldest first.
    pub places: Vec<Place>,
}

/// What the law says of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerLaw {
    /// The customer's random name in ledger and receipts.
    pub subject: String,
    /// What is known that periods run from.
    pub facts: Facts,
    /// Every stream the customer has records in, with the partitions where they are.
    pub streams: Vec<StreamLaw>,
}

/// Why something that is there of a customer is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyUnshown {
    /// Its erasure was asked for, and a duty or a hold keeps it: only those who serve that may read it.
    Restricted,
    /// Its maximum is over, and a hold alone keeps it.
    Held,
    /// Its maximum is over: it goes with its window.
    Over,
    /// It was put right: a later version stands in its place.
    Superseded,
    /// Of its stream the newest record counts, and there is a newer one.
    Older,
}

/// What there is of a customer in one window that is not shown, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unshown {
    /// The partition.
    pub partition: PartitionId,
    /// Why.
    pub why: WhyUnshown,
    /// How many records, retries of the same record counted once.
    pub records: u64,
    /// The holds that stand on it.
    pub holds: Vec<u64>,
    /// When the duty to keep it is over, where one is known to end.
    pub until: Option<Timestamp>,
}

/// Somebody who is to be told: of a stream of theirs something ends by itself soon, and the policy asks for a notice before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who.
    pub customer: CustomerId,
    /// Of what.
    pub stream: Stream,
    /// When it ends.
    pub due: Timestamp,
    /// Since when they are to be told.
    pub since: Timestamp,
}
