//! Admission: what a batch is about - its customers and its partitions, each looked up once however many of its records
//! name it - or every reason why some of it may not come in. Nothing is made here, so a refused batch leaves no trace.

use crate::sync::Arc;
use std::collections::HashMap;

use super::encode::Encoder;
use super::partitions::Partition;
use crate::error::{Error, ErrorKind, Refusal, RefusalReason, Result};
use crate::ident::{CustomerId, PartitionId};
use crate::keyring::{CustomerEntry, CustomerState, Found};
use crate::record::{BODY_LIMIT, Batch, Record};
use crate::window::Timestamp;

/// Events further ahead of the clock are refused.
const AHEAD_SECONDS: i64 = crate::policy::AHEAD_LIMIT_SECONDS;

/// A customer of the batch.
pub struct AdmittedRow {
    /// Where the keyring keeps it.
    pub tag: [u8; 16],
    /// What the keyring has, none for a customer nobody knows yet.
    pub found: Option<Found<CustomerEntry>>,
    /// Events up to this time are refused.
    fence: Option<Timestamp>,
}

/// A partition of the batch.
pub struct AdmittedColumn {
    /// Its name.
    pub id: PartitionId,
    /// Its key, and the keyring entry that a commit depends on; none before it is used.
    pub partition: Option<(Arc<Partition>, u64)>,
    from: Timestamp,
    until: Timestamp,
    /// Events before this time fall into a window that has expired.
    expired: Option<Timestamp>,
}

impl AdmittedColumn {
    fn holds(&self, record: &Record) -> bool {
        self.from <= record.at && record.at < self.until && self.id.stream == record.stream
    }
}

/// Columns that are tried one by one, before the name of a record's partition is made to look it up.
const TRIED: usize = 32;

/// The partitions of a batch as they are found.
#[derive(Default)]
struct Columns {
    found: Vec<AdmittedColumn>,
    by_id: HashMap<PartitionId, usize>,
    /// Where the record before went.
    last: usize,
}

impl Columns {
    fn holding(&self, record: &Record) -> Option<usize> {
        match self.found.get(self.last).is_some_and(|column| column.holds(record)) {
            true => Some(self.last),
            false => self.found.iter().take(TRIED).position(|column| column.holds(record)),
        }
    }
}

/// A batch that may come in.
pub struct Admitted {
    /// Its customers.
    pub rows: Vec<AdmittedRow>,
    /// Its partitions.
    pub columns: Vec<AdmittedColumn>,
    /// Row and column of every record.
    pub cells: Vec<(u32, u32)>,
}

impl Encoder<'_> {
    /// Looks at every record of a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with every refused record; what the keyring answers.
    pub fn admit(&self, batch: &Batch) -> Result<Admitted> {
        let (mut rows, mut columns, mut refusals) = (Vec::new(), Columns::default(), Vec::new());
        let mut cells = Vec::with_capacity(batch.records.len());
        let mut known: HashMap<&CustomerId, u32> = HashMap::with_capacity(batch.records.len());
        let ahead = self.now.plus_seconds(AHEAD_SECONDS);
        for (index, record) in batch.records.iter().enumerate() {
            let row = match known.get(&record.customer) {
                Some(row) => *row,
                None => {
                    let row = rows.len() as u32;
                    rows.push(self.row(&record.customer, batch.backfill)?);
                    known.insert(&record.customer, row);
                    row
                }
            };
            match self.column(&mut columns, record, &rows[row as usize], ahead) {
                Ok(column) => cells.push((row, column as u32)),
                Err(reason) => refusals.push(Refusal { index, reason }),
            }
        }
        match refusals.is_empty() {
            true => Ok(Admitted { rows, columns: columns.found, cells }),
            false => Err(refused(refusals)),
        }
    }

    /// The column of a record, unless it is refused. What the policy says of one record of a column holds for all of
    /// them, but for how far ahead they lie.
    fn column(
        &self,
        columns: &mut Columns,
        record: &Record,
        row: &AdmittedRow,
        ahead: Timestamp,
    ) -> Result<usize, RefusalReason> {
        if record.body.len() > BODY_LIMIT {
            return Err(RefusalReason::TooLarge);
        }
        let column = match columns.holding(record) {
            Some(_) if record.at > ahead => return Err(RefusalReason::Future),
            Some(known) => known,
            None => {
                let length = self.policy.admits(&record.stream, record.at, self.now)?;
                let id = PartitionId::holding(record.stream.clone(), record.at, length);
                *columns.by_id.entry(id).or_insert_with_key(|id| {
                    let expired = self.fences.expired_until(&id.stream);
                    let (from, until) = (id.window.start(), id.window.end());
                    columns.found.push(AdmittedColumn { id: id.clone(), partition: None, from, until, expired });
                    columns.found.len() - 1
                })
            }
        };
        columns.last = column;
        if columns.found[column].expired.is_some_and(|until| record.at < until) {
            return Err(RefusalReason::Expired);
        }
        match row.fence.is_some_and(|fence| record.at <= fence) {
            true => Err(RefusalReason::Erased),
            false => Ok(column),
        }
    }

    /// What is known of a customer, and the time up to which its events are refused. A backfill passes the fences that
    /// have lapsed, but not the tombstone of an erasure; while that is still to be written, nothing passes: the next life
    /// has no secret yet.
    fn row(&self, customer: &CustomerId, backfill: bool) -> Result<AdmittedRow> {
        let lapsed = |time: Option<Timestamp>| time.filter(|_| !backfill);
        let tag = self.keyring.tag_of(customer);
        let found = self.keyring.customer_under(&tag)?;
        let fence = match &found {
            None => lapsed(self.fences.lapsed()),
            Some(found) => match found.entry.state {
                CustomerState::Tombstone { erased } => Some(erased),
                CustomerState::Living if self.fences.has_subject(&found.entry.subject) => {
                    Some(Timestamp::from_micros(i64::MAX))
                }
                CustomerState::Living => lapsed(found.entry.not_before),
            },
        };
        Ok(AdmittedRow { tag, found, fence })
    }
}

fn refused(refusals: Vec<Refusal>) -> Error {
    let first = &refusals[0];
    let message = match refusals.len() {
        1 => format!("record {} of the batch is refused: {}", first.index, first.reason),
        count => {
            format!("{count} records of the batch are refused, the first ({}) because {}", first.index, first.reason)
        }
    };
    Error::new(ErrorKind::Refused, message)
        .refusing(refusals)
        .hint("nothing was written; append the batch without them")
}
