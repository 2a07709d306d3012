//! Admission: what a batch is about - its customers and its partitions, each looked up once however many of its records
//! name it - or every reason why some of it may not come in. Nothing is made here, so a refused batch leaves no trace.

use std::collections::HashMap;

use super::encode::Encoder;
use crate::error::{Error, ErrorKind, Refusal, RefusalReason, Result};
use crate::ident::{CustomerId, PartitionId, Stream};
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
    /// Those that are not tried.
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

    /// The column of a name that none of the tried has.
    fn named(&mut self, id: PartitionId, expired: impl FnOnce(&Stream) -> Option<Timestamp>) -> usize {
        let next = self.found.len();
        let place = if next < TRIED { next } else { *self.by_id.entry(id.clone()).or_insert(next) };
        if place == next {
            let (from, until, expired) = (id.window.start(), id.window.end(), expired(&id.stream));
            self.found.push(AdmittedColumn { id, from, until, expired });
        }
        place
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
        let (mut columns, mut refusals) = (Columns::default(), Vec::new());
        let mut cells = Vec::with_capacity(batch.records.len());
        let mut tags = Vec::with_capacity(batch.records.len());
        let mut known: HashMap<&CustomerId, u32> = HashMap::with_capacity(batch.records.len());
        let ahead = self.now.plus_seconds(AHEAD_SECONDS);
        for record in &batch.records {
            let row = *known.entry(&record.customer).or_insert_with(|| {
                tags.push(self.keyring.tag_of(&record.customer));
                tags.len() as u32 - 1
            });
            cells.push((row, 0));
        }
        let found = self.keyring.customers_under(&tags)?;
        let rows = tags.into_iter().zip(found).map(|(tag, found)| AdmittedRow { tag, found, fence: None });
        let mut rows: Vec<AdmittedRow> = rows.collect();
        self.close_off(&mut rows, batch.backfill);
        for (index, (record, cell)) in batch.records.iter().zip(&mut cells).enumerate() {
            match self.column(&mut columns, record, &rows[cell.0 as usize], ahead) {
                Ok(column) => cell.1 = column as u32,
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
                columns.named(id, |stream| self.fences.expired_until(stream))
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

    /// Notes the time up to which the events of each customer are refused. A backfill passes the fences that
    /// have lapsed, but not the tombstone of an erasure; while that is still to be written, nothing passes: the next life
    /// has no secret yet.
    fn close_off(&self, rows: &mut [AdmittedRow], backfill: bool) {
        let closed = self.fences.closed();
        let passed = |time: Option<Timestamp>| time.filter(|_| !backfill);
        for row in rows {
            row.fence = match &row.found {
                None => passed(closed.lapsed()),
                Some(found) => match found.entry.state {
                    CustomerState::Tombstone { erased } => Some(erased),
                    CustomerState::Living if closed.has(&found.entry.subject) => Some(Timestamp::from_micros(i64::MAX)),
                    CustomerState::Living => passed(found.entry.not_before),
                },
            };
        }
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
