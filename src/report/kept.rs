//! What the law says of a customer: where they live, what is kept of them and why, and what goes when its time has come.

use crate::ident::{PartitionId, Stream};
use crate::window::{Day, Timestamp};

/// A duty to keep something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// None, or none any more.
    #[default]
    None,
    /// One that runs until this time.
    Until(Timestamp),
    /// One that runs from a fact about the customer which has not been reported, and so without an end as yet.
    Open,
}

/// Some days of one stream of a customer that an erasure has left, for nobody but those who serve what keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The customer's random number, in hexadecimal.
    pub subject: String,
    /// The stream.
    pub stream: Stream,
    /// The first day.
    pub from: Day,
    /// The first day after it.
    pub until: Day,
    /// The duty that keeps them, the one that is over last; by the policy that was in force.
    pub duty: Duty,
    /// The numbers of the holds that keep them.
    pub holds: Vec<u64>,
}

/// Some days of one stream of a customer whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// The customer's random number, in hexadecimal.
    pub subject: String,
    /// The stream.
    pub stream: Stream,
    /// The first day.
    pub from: Day,
    /// The first day after it.
    pub until: Day,
    /// Whether it was what an erasure had left. Else it was all there was, and its period ran from a fact about the
    /// customer.
    pub restricted: bool,
}

/// One place in which a customer lives, and what the law says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The place.
    pub partition: PartitionId,
    /// Records, retries of the same record counted once.
    pub records: u64,
    /// Bytes of their bodies as they came in.
    pub raw_bytes: u64,
    /// Whether an erasure has left it, for nobody but those who serve what keeps it.
    pub restricted: bool,
    /// Whether it has expired and is there because it is held.
    pub expired: bool,
    /// The duty that keeps it from an erasure.
    pub duty: Duty,
    /// The words of the policy for that duty, where there are any.
    pub basis: Option<String>,
    /// The numbers of the holds that keep it from everything.
    pub holds: Vec<u64>,
    /// When it goes by itself at the latest, unless it is held; none where nothing says when.
    pub deadline: Option<Timestamp>,
}

impl Home {
    /// Whether an erasure lets go of it.
    pub fn may_go(&self) -> bool {
        self.duty == Duty::None && self.holds.is_empty()
    }
}

/// What a redaction would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The stream of the record.
    pub stream: Stream,
    /// When it happened.
    pub at: Timestamp,
    /// Bytes of its body as it came in.
    pub raw_bytes: u64,
    /// Whether an erasure has left it, for nobody but those who serve what keeps it.
    pub restricted: bool,
    /// The duty to keep it, despite which it would go.
    pub duty: Duty,
}
