//! Batches on their way into the store: filled, appended in order, acknowledged a few behind.

use std::collections::VecDeque;

use tenure::{Batch, Commit, ErrorKind, Record, Refusal, SourceOffset, Store};

use super::aside::Aside;
use super::source::Bad;
use crate::cli::IngestArgs;
use crate::failure::Failure;
use crate::output::Output;

/// Batches appended and not yet known durable.
const IN_FLIGHT: usize = 4;
/// Bytes of bodies at which a batch is full, whatever the number of records: it bounds memory.
const BATCH_BYTES: usize = 8 << 20;

/// What was acknowledged.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub records: u64,
    pub raw_bytes: u64,
    /// The last line taken in, skipped and blank ones included.
    pub upto: u64,
    /// The last line for which that is durable.
    pub durable_upto: u64,
}

struct Pending {
    commit: Commit,
    records: u64,
    raw_bytes: u64,
    upto: u64,
}

/// The way of the lines of one source into one store.
pub struct Feed<'a> {
    store: &'a Store,
    source: Option<String>,
    batch_records: usize,
    acknowledge: bool,
    aside: Aside,
    records: Vec<Record>,
    /// The line of each record, to name it if it is refused.
    lines: Vec<u64>,
    bytes: usize,
    /// The last line for which a batch was appended.
    sent_upto: u64,
    in_flight: VecDeque<Pending>,
    pub tally: Tally,
}

impl<'a> Feed<'a> {
    pub fn new(store: &'a Store, source: Option<String>, args: &IngestArgs, aside: Aside, taken: u64) -> Self {
        Feed {
            store,
            source,
            batch_records: args.batch as usize,
            acknowledge: args.acknowledge,
            aside,
            records: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            sent_upto: taken,
            in_flight: VecDeque::new(),
            tally: Tally { upto: taken, durable_upto: taken, ..Tally::default() },
        }
    }

    /// Whether bad lines are collected instead of stopping.
    pub fn skips(&self) -> bool {
        self.aside.path().is_some()
    }

    pub fn take(&mut self, line: u64, record: Record, output: &mut Output) -> Result<(), Failure> {
        self.bytes += record.body.len();
        self.records.push(record);
        self.lines.push(line);
        self.tally.upto = line;
        match self.records.len() >= self.batch_records || self.bytes >= BATCH_BYTES {
            true => self.send(output),
            false => Ok(()),
        }
    }

    pub fn skip(&mut self, line: u64, bad: &Bad, output: &Output) -> Result<(), Failure> {
        self.aside.bad(line, bad, output)?;
        self.tally.upto = line;
        Ok(())
    }

    pub fn pass(&mut self, line: u64) {
        self.tally.upto = line;
    }

    /// Appends what is waiting, and waits for older batches so that only a few stay in flight.
    pub fn send(&mut self, output: &mut Output) -> Result<(), Failure> {
        if !self.records.is_empty() {
            self.append(output)?;
        }
        self.wait_down_to(IN_FLIGHT, output)
    }

    /// Appends the rest and waits until all of it is durable, the lines at the end that gave no record included.
    pub fn finish(&mut self, output: &mut Output) -> Result<(), Failure> {
        let moved = self.tally.upto > self.sent_upto && self.source.is_some();
        if moved || !self.records.is_empty() {
            self.append(output)?;
        }
        self.wait_down_to(0, output)
    }

    pub fn into_parts(self) -> (Tally, Aside) {
        (self.tally, self.aside)
    }

    /// One batch. Refused records are set aside, and the rest is sent again with the same offset.
    fn append(&mut self, output: &mut Output) -> Result<(), Failure> {
        let mut records = std::mem::take(&mut self.records);
        let mut lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let upto = self.tally.upto;
        loop {
            // Lines set aside must be kept before the offset that passes them can be durable.
            self.aside.sync()?;
            let source = self.source.clone().map(|name| SourceOffset { name, offset: upto });
            let error = match self.store.append(Batch { records: records.clone(), source, backfill: false }) {
                Ok(commit) => {
                    let raw_bytes = records.iter().map(|record| record.body.len() as u64).sum();
                    self.in_flight.push_back(Pending { commit, records: records.len() as u64, raw_bytes, upto });
                    self.sent_upto = upto;
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Refused || error.refusals().is_empty() {
                self.wait_down_to(0, output)?; // So that the failure tells truly what is stored.
                return Err(error.into());
            }
            self.set_aside(error.refusals(), &mut records, &mut lines, output)?;
            if records.is_empty() && self.source.is_none() {
                return Ok(());
            }
        }
    }

    fn set_aside(
        &mut self,
        refusals: &[Refusal],
        records: &mut Vec<Record>,
        lines: &mut Vec<u64>,
        output: &Output,
    ) -> Result<(), Failure> {
        for refusal in refusals {
            self.aside.refused(lines[refusal.index], &records[refusal.index], refusal.reason, output)?;
        }
        let refused = |index: usize| refusals.iter().any(|refusal| refusal.index == index);
        let keep: Vec<bool> = (0..records.len()).map(|index| !refused(index)).collect();
        let mut kept = keep.iter();
        records.retain(|_| kept.next() == Some(&true));
        let mut kept = keep.iter();
        lines.retain(|_| kept.next() == Some(&true));
        Ok(())
    }

    fn wait_down_to(&mut self, count: usize, output: &mut Output) -> Result<(), Failure> {
        while self.in_flight.len() > count {
            let Some(pending) = self.in_flight.pop_front() else { break };
            pending.commit.wait()?;
            self.tally.records += pending.records;
            self.tally.raw_bytes += pending.raw_bytes;
            self.tally.durable_upto = pending.upto;
            if self.acknowledge {
                output.line(pending.upto)?;
                output.flush()?;
            }
        }
        Ok(())
    }
}
