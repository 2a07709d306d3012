//! Batches on their way into the store: filled, appended in the order of their lane, acknowledged a few behind.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, TryRecvError};

use tenure::{Acting, BODY_LIMIT, Batch, Commit, ErrorKind, Record, Refusal, SourceOffset};

use super::aside::Aside;
use super::lanes::{LANES, Lanes, lane_of};
use crate::cli::IngestArgs;
use crate::failure::Failure;
use crate::progress::Voice;

/// Batches of one lane that are appended and not yet known durable.
const IN_FLIGHT: usize = 2;
/// Bytes of bodies at which a batch is full, whatever the number of records: it bounds memory.
const BATCH_BYTES: usize = 8 << 20;

/// What was acknowledged.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub records: u64,
    pub raw_bytes: u64,
    /// The lines for which that is durable.
    pub lanes: Lanes,
}

/// What a lane is told.
pub enum Entry {
    Record(u64, Record),
    /// A line that gave no record: nothing to store, but it is done with.
    Passed(u64),
}

impl Entry {
    pub fn line(&self) -> u64 {
        match self {
            Entry::Record(line, _) | Entry::Passed(line) => *line,
        }
    }
}

/// What all lanes of one source share.
pub struct Feed<'a> {
    store: &'a Acting,
    source: Option<String>,
    batch_records: usize,
    acknowledge: bool,
    backfill: bool,
    voice: &'a Voice<'a>,
    pub aside: Mutex<Aside>,
    tally: Mutex<Tally>,
    failure: Mutex<Option<Failure>>,
}

impl<'a> Feed<'a> {
    pub fn new(
        store: &'a Acting,
        source: Option<String>,
        args: &IngestArgs,
        aside: Aside,
        taken: Lanes,
        voice: &'a Voice<'a>,
    ) -> Self {
        Feed {
            store,
            source,
            batch_records: args.batch as usize,
            acknowledge: args.acknowledge,
            backfill: args.backfill,
            voice,
            aside: Mutex::new(aside),
            tally: Mutex::new(Tally { lanes: taken, ..Tally::default() }),
            failure: Mutex::new(None),
        }
    }

    pub fn tally(&self) -> Tally {
        *self.tally.lock().expect("no holder of this lock panics")
    }

    /// What was acknowledged and set aside in the end, and the first failure of a lane.
    pub fn into_parts(self) -> (Tally, Aside, Option<Failure>) {
        let held = "no holder of this lock panics";
        (
            self.tally.into_inner().expect(held),
            self.aside.into_inner().expect(held),
            self.failure.into_inner().expect(held),
        )
    }

    /// Works through the lanes of one thread until nothing more comes, then makes the rest durable. An empty message
    /// says that nothing is coming at the moment.
    pub fn run(&self, messages: &Receiver<Vec<Entry>>) {
        let taken = self.tally().lanes;
        let mut lanes: Vec<Lane<'_>> = (0..LANES).map(|lane| Lane::new(self, lane, taken.upto(lane))).collect();
        let mut work = || {
            loop {
                let message = match messages.try_recv() {
                    Ok(message) => message,
                    Err(TryRecvError::Disconnected) => break,
                    Err(TryRecvError::Empty) => {
                        // Nothing to do but to acknowledge: nobody should wait for that until there is.
                        lanes.iter_mut().try_for_each(|lane| lane.wait_down_to(0))?;
                        let Ok(message) = messages.recv() else { break };
                        message
                    }
                };
                if message.is_empty() {
                    lanes.iter_mut().try_for_each(Lane::catch_up)?;
                }
                for entry in message {
                    lanes[lane_of(entry.line())].take(entry)?;
                }
            }
            lanes.iter_mut().try_for_each(Lane::finish)
        };
        if let Err(failure) = work() {
            // The lanes of this thread that can still tell what is stored do so.
            lanes.iter_mut().for_each(|lane| drop(lane.wait_down_to(0)));
            self.failure.lock().expect("no holder of this lock panics").get_or_insert(failure);
        }
    }

    fn acknowledged(&self, lane: usize, pending: &Pending) -> Result<(), Failure> {
        let mut tally = self.tally.lock().expect("no holder of this lock panics");
        let before = tally.lanes.prefix();
        tally.records += pending.records;
        tally.raw_bytes += pending.raw_bytes;
        tally.lanes.advance(lane, pending.upto);
        let now = tally.lanes.prefix();
        if self.acknowledge && now > before {
            let mut stdout = std::io::stdout().lock();
            let told = writeln!(stdout, "{now}").and_then(|()| stdout.flush());
            told.map_err(|error| Failure::stdout(&error))?;
        }
        Ok(())
    }
}

struct Pending {
    commit: Commit,
    records: u64,
    raw_bytes: u64,
    upto: u64,
}

/// One lane: what it has not appended yet, and what is not durable yet.
struct Lane<'a> {
    feed: &'a Feed<'a>,
    lane: usize,
    records: Vec<Record>,
    /// The line of each record, to name it if it is refused.
    lines: Vec<u64>,
    bytes: usize,
    /// The last line taken, and the last one for which a batch was appended.
    upto: u64,
    sent_upto: u64,
    in_flight: VecDeque<Pending>,
}

impl<'a> Lane<'a> {
    fn new(feed: &'a Feed<'a>, lane: usize, taken: u64) -> Self {
        Lane {
            feed,
            lane,
            records: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            upto: taken,
            sent_upto: taken,
            in_flight: VecDeque::new(),
        }
    }

    fn take(&mut self, entry: Entry) -> Result<(), Failure> {
        if let Entry::Record(line, record) = &entry
            && record.body.len() > BODY_LIMIT
        {
            return self.upload(*line, record);
        }
        self.upto = entry.line();
        if let Entry::Record(line, record) = entry {
            self.bytes += record.body.len();
            self.records.push(record);
            self.lines.push(line);
        }
        match self.records.len() >= self.feed.batch_records || self.bytes >= BATCH_BYTES {
            true => self.append().and_then(|()| self.wait_down_to(IN_FLIGHT)),
            false => Ok(()),
        }
    }

    /// A record too long for a batch comes in by itself, in the order of its line, and is waited for.
    fn upload(&mut self, line: u64, record: &Record) -> Result<(), Failure> {
        self.catch_up()?;
        self.upto = line;
        let mut head = record.clone();
        if !head.stream.is_classed() {
            self.feed.store.classify(&mut head)?;
        }
        let body = std::mem::take(&mut head.body);
        let uploaded = self.feed.store.upload(head).and_then(|upload| {
            let name = self.feed.source.as_ref().map(|name| Lanes::name(name, self.lane));
            let mut upload = match name {
                Some(name) => upload.with_source(name, line),
                None => upload,
            };
            upload.add(&body)?;
            upload.finish()
        });
        match uploaded {
            Ok((_, commit)) => {
                let raw_bytes = body.len() as u64;
                self.in_flight.push_back(Pending { commit, records: 1, raw_bytes, upto: line });
                self.sent_upto = line;
                self.wait_down_to(0)
            }
            Err(error) if error.kind() == ErrorKind::Refused && !error.refusals().is_empty() => {
                let (mut records, mut lines) = (vec![record.clone()], vec![line]);
                self.set_aside(error.refusals(), &mut records, &mut lines)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what is waiting and waits until it is durable: nothing else is coming at the moment.
    fn catch_up(&mut self) -> Result<(), Failure> {
        if !self.records.is_empty() {
            self.append()?;
        }
        self.wait_down_to(0)
    }

    /// The same at the end, the lines included that gave no record.
    fn finish(&mut self) -> Result<(), Failure> {
        if self.upto > self.sent_upto && self.feed.source.is_some() && self.records.is_empty() {
            self.append()?;
        }
        self.catch_up()
    }

    /// One batch. Refused records are set aside, and the rest is sent again with the same offset.
    fn append(&mut self) -> Result<(), Failure> {
        let mut records = std::mem::take(&mut self.records);
        let mut lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let upto = self.upto;
        loop {
            // Lines set aside must be kept before the offset that passes them can be durable.
            self.feed.aside.lock().expect("no holder of this lock panics").sync()?;
            let name = self.feed.source.as_ref().map(|name| Lanes::name(name, self.lane));
            let source = name.map(|name| SourceOffset { name, offset: upto });
            let batch = Batch { records: records.clone(), source, backfill: self.feed.backfill };
            let error = match self.feed.store.append(batch) {
                Ok(commit) => {
                    let raw_bytes = records.iter().map(|record| record.body.len() as u64).sum();
                    self.in_flight.push_back(Pending { commit, records: records.len() as u64, raw_bytes, upto });
                    self.sent_upto = upto;
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Refused || error.refusals().is_empty() {
                // Where the store had given up already, the commit that made it give up tells why.
                let waited = self.wait_down_to(0);
                return match error.kind() {
                    ErrorKind::Poisoned => waited.and(Err(error.into())),
                    _ => Err(error.into()),
                };
            }
            self.set_aside(error.refusals(), &mut records, &mut lines)?;
            if records.is_empty() && self.feed.source.is_none() {
                return Ok(());
            }
        }
    }

    fn set_aside(&self, refusals: &[Refusal], records: &mut Vec<Record>, lines: &mut Vec<u64>) -> Result<(), Failure> {
        let mut aside = self.feed.aside.lock().expect("no holder of this lock panics");
        let mut keep = vec![true; records.len()];
        for refusal in refusals {
            keep[refusal.index] = false;
            aside.refused(lines[refusal.index], &records[refusal.index], refusal.reason, self.feed.voice)?;
        }
        let mut kept = keep.iter();
        records.retain(|_| kept.next() == Some(&true));
        let mut kept = keep.iter();
        lines.retain(|_| kept.next() == Some(&true));
        Ok(())
    }

    fn wait_down_to(&mut self, count: usize) -> Result<(), Failure> {
        while self.in_flight.len() > count {
            let Some(pending) = self.in_flight.pop_front() else { break };
            pending.commit.wait()?;
            self.feed.acknowledged(self.lane, &pending)?;
        }
        Ok(())
    }
}
