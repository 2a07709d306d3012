//! A history lived with a store on the simulated machine and told to the oracle, which must agree on every record after
//! every step.

mod laws;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use tenure::env::Env;
use tenure::env::sim::{Sim, Snapshot};
use tenure::report::{Budget, VerifyOptions};
use tenure::{ErrorKind, ExpireOptions, Options, Record, RecordId, RefusalReason, Result, Store, Timeline, Timestamp};

use super::fate::{Answer, Fate, Hold, Oracle, Place, Seen};
use super::law::{Law, Stream};
use super::steps::{Ago, CLASSES, Coming, Fact, History, JURISDICTIONS, Step, Where, policy};
use crate::vault::Vault;

const CUSTOMERS: [&str; 4] = ["ana", "bo", "cy", "dee"];
const STORE: &str = "/calls";

fn engines(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_microsecond())
}

/// The streams of histories by chance.
pub fn streams() -> Vec<Stream> {
    let of = |class: &str| JURISDICTIONS.map(|jurisdiction| (class.to_owned(), jurisdiction.to_owned()));
    CLASSES.iter().flat_map(|class| of(class)).collect()
}

/// Streams by their names, class/jurisdiction.
pub fn streams_named(names: &[&str]) -> Vec<Stream> {
    let named =
        |name: &&str| name.split_once('/').map(|(class, jurisdiction)| (class.to_owned(), jurisdiction.to_owned()));
    names.iter().filter_map(named).collect()
}

fn engines_stream((class, jurisdiction): &Stream) -> tenure::Stream {
    tenure::Stream::new(class, jurisdiction).unwrap()
}

fn open(sim: &Sim, vault: &Vault) -> Options {
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    let options = Store::options(STORE).env(env).custodian(vault.clone()).trust_clock();
    options.ballast_bytes(4096).merge_at_least(3).fold_at(4)
}

#[derive(Clone, Copy)]
enum Reported {
    Ended(jiff::Timestamp),
    Resumed,
    Closed(jiff::Timestamp),
    Contacted(jiff::Timestamp),
}

/// That a customer was erased: certainly, or perhaps there was nothing to erase.
struct Erasure {
    customer: usize,
    at: jiff::Timestamp,
    certain: bool,
}

impl Erasure {
    /// Whether it refuses what comes late, by name and for 35 days.
    fn refuses(&self, customer: usize, at: jiff::Timestamp, now: jiff::Timestamp) -> bool {
        self.certain && customer == self.customer && at < self.at && now < self.at + (24 * 35).hours()
    }
}

/// One life of a store.
pub struct Drive {
    sim: Sim,
    vault: Vault,
    store: Option<Store>,
    pub oracle: Oracle,
    customers: usize,
    streams: Vec<Stream>,
    /// Records that may have been written twice.
    twice: BTreeSet<RecordId>,
    erasures: Vec<Erasure>,
    /// The disk before things were let go, and the time.
    disks: Vec<(Snapshot, jiff::Timestamp)>,
    serial: u64,
    /// How often the power went.
    revived: usize,
    /// When expiry was last asked for.
    expired: jiff::Timestamp,
}

impl Drive {
    /// An empty store in November 2027: the next February has 29 days.
    pub fn new(seed: u64, customers: usize, streams: Vec<Stream>, text: &str) -> Option<Drive> {
        let (sim, vault) = (Sim::new(seed), Vault::default());
        sim.set_now("2027-11-17T09:30:00Z".parse().unwrap());
        let store = match open(&sim, &vault).policy(text).create() {
            Err(error) if error.kind() == ErrorKind::Invalid => return None, // Rules that could not both be kept.
            store => Some(store.unwrap()),
        };
        let (twice, erasures, disks) = Default::default();
        let oracle = Oracle::new(Law::parse(text));
        Some(Drive {
            sim,
            vault,
            store,
            oracle,
            customers,
            streams,
            twice,
            erasures,
            disks,
            serial: 0,
            revived: 0,
            expired: jiff::Timestamp::MIN,
        })
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.sim.now().as_micros()).unwrap()
    }

    fn ago(&self, Ago(days, place): Ago) -> jiff::Timestamp {
        let now = self.now();
        let day = now - (24 * days).hours();
        let month = day.to_zoned(TimeZone::UTC).first_of_month().unwrap().start_of_day().unwrap();
        match place {
            Where::Within(seconds) => day - seconds.seconds(),
            Where::FirstOfMonth => month.timestamp(),
            Where::LastOfMonth => now.min(month.checked_add(1.month()).unwrap().timestamp() - 1.microsecond()),
        }
    }

    fn customer(&self, index: usize) -> (usize, &'static str) {
        (index % self.customers, CUSTOMERS[index % self.customers])
    }

    /// Lets pass what is about to end: the clock goes on while the store is asked, and what it is asked takes far less than
    /// this.
    fn wait_for_what_ends(&self) {
        let short = 100.milliseconds();
        while self.oracle.turns(self.now(), self.now() + short) {
            self.sim.advance(Duration::from_millis(100));
        }
    }

    /// Does a step, and has the oracle do it.
    pub fn step(&mut self, step: &Step) -> Result<()> {
        self.wait_for_what_ends();
        match step {
            Step::Append(coming) => self.append(coming)?,
            Step::Pass(days) => self.sim.advance(Duration::from_secs(86_400 * *days as u64)),
            Step::MonthEnd(after) => self.month_end(*after),
            Step::Expire => self.expire()?,
            Step::Erase(customers) => self.erase(customers)?,
            Step::ErasePart(customer, stream, until) => self.erase_part(*customer, *stream, *until)?,
            Step::Redact(index, despite) => self.redact(*index, *despite)?,
            Step::Rectify(index) => self.rectify(*index)?,
            Step::Hold { customer, stream, from, until } => self.hold(*customer, *stream, *from, *until)?,
            Step::Release(index) => self.release(*index)?,
            Step::Fact(customer, fact) => self.fact(*customer, *fact)?,
            Step::Law(rules) => self.law(&policy(rules), true)?,
            Step::TryLaw(rules) => self.law(&policy(rules), false)?,
            Step::LiftMaximum(index) => self.lift_maximum(*index)?,
            Step::Settle => drop(self.store().settle()?),
            Step::Scrub => drop(self.store().scrub()?),
            Step::Maintain => drop(self.store().maintain(Budget::ALL)?),
            Step::Reopen => {
                self.store.take().expect("it is open").close()?;
                self.store = Some(open(&self.sim, &self.vault).open()?);
            }
            Step::Cut(change, step) => drop(self.cut(*change, step)?),
        }
        Ok(())
    }

    fn month_end(&mut self, after: bool) {
        let now = self.now();
        let month = now.to_zoned(TimeZone::UTC).first_of_month().unwrap().start_of_day().unwrap();
        let next = month.checked_add(1.month()).unwrap().timestamp();
        let next = if after { next } else { next - 1.second() };
        if now < next {
            self.sim.advance(Duration::from_micros((next.as_microsecond() - now.as_microsecond()) as u64));
        }
    }

    fn append(&mut self, coming: &[Coming]) -> Result<()> {
        for one in coming {
            let (customer, name) = self.customer(one.customer);
            let (stream, at) = (self.streams[one.stream].clone(), self.ago(one.ago));
            self.serial += 1;
            let mut id = [0xee; 16];
            id[..8].copy_from_slice(&self.serial.to_be_bytes());
            let id = RecordId::from_bytes(id);
            let record = Record::new(name, &stream.0, &stream.1, engines(at), format!("note {}", self.serial))?;
            self.send(customer, &stream, at, record.with_id(id))?;
        }
        Ok(())
    }

    fn send(&mut self, customer: usize, stream: &Stream, at: jiff::Timestamp, record: Record) -> Result<()> {
        let (now, id) = (self.now(), record.id.unwrap());
        let must_wait = self.oracle.refuses(stream, at, now);
        match self.store().append(vec![record.clone()]).and_then(|commit| commit.wait()) {
            Err(error) if error.kind() == ErrorKind::Refused => {
                let reason = error.refusals()[0].reason;
                let erased = self.erasures.iter().any(|erasure| at <= erasure.at + 1.second());
                let known = if reason == RefusalReason::Erased { erased } else { must_wait };
                assert!(known, "refused for no reason: {reason:?}");
            }
            Err(error) => {
                if self.sim.crashed() {
                    // Whether it came in shows when it is sent again.
                    self.revive();
                    self.twice.insert(id);
                    return self.send(customer, stream, at, record);
                }
                return Err(error);
            }
            Ok(()) => {
                assert!(!must_wait, "taken in, although its window is past its maximum");
                assert!(!self.erasures.iter().any(|one| one.refuses(customer, at, now)), "taken in, although erased");
                let was_there = self.oracle.lives(customer);
                self.oracle.append(id, customer, stream, at);
                if !was_there {
                    self.anew(customer)?;
                    self.contact_anew(customer)?;
                }
            }
        }
        Ok(())
    }

    /// Who comes back after nothing was left may be known by what was reported before, or not: the service says it again.
    fn anew(&mut self, customer: usize) -> Result<()> {
        let now = self.now();
        self.report(customer, Reported::Resumed)?;
        self.report(customer, Reported::Closed(now))?;
        self.oracle.facts.insert(customer, (None, Some(now)));
        Ok(())
    }

    /// The same of a contact that was reported before.
    fn contact_anew(&mut self, customer: usize) -> Result<()> {
        let now = self.now();
        if let Some(contact) = self.oracle.contacts.get_mut(&customer) {
            *contact = now;
            self.report(customer, Reported::Contacted(now))?;
        }
        Ok(())
    }

    /// The first and the last two are kept.
    fn keep_disk(&mut self) {
        if self.disks.len() == 3 {
            self.disks.remove(1);
        }
        self.disks.push((self.sim.snapshot(), self.now()));
    }

    fn expire(&mut self) -> Result<()> {
        // What falls due by row, for something that was taken in since the last look, is looked for once a day.
        let tomorrow = self.expired + 25.hours();
        if self.now() < tomorrow {
            self.sim.advance(Duration::from_secs(25 * 3600));
        }
        self.expired = self.now();
        self.keep_disk();
        let now = self.now();
        let before = self.receipts();
        let outcome = self.store().expire(ExpireOptions::default()).map(drop);
        if self.is_done(outcome, before)? {
            self.oracle.expire(now);
        } else if self.oracle.law.has_states() {
            // What had been carried forward by then stands where it was carried to: it is gone on with at once.
            self.store().expire(ExpireOptions::default())?;
            self.oracle.expire(now);
        }
        Ok(())
    }

    fn erase(&mut self, customers: &[usize]) -> Result<()> {
        self.keep_disk();
        let customers: BTreeSet<usize> = customers.iter().map(|customer| customer % self.customers).collect();
        let names: Vec<&str> = customers.iter().map(|customer| CUSTOMERS[*customer]).collect();
        let (now, before) = (self.now(), self.receipts());
        let outcome = self.store().erase(&names).map(drop);
        if self.is_done(outcome, before)? {
            for customer in customers {
                let was = self.oracle.fates.clone();
                self.oracle.erase(customer, now);
                // Of whom all had to stay already nothing was asked.
                let certain = self.oracle.fates != was;
                self.erasures.push(Erasure { customer, at: now, certain });
            }
        }
        Ok(())
    }

    fn erase_part(&mut self, customer: usize, stream: Option<usize>, until: Option<Ago>) -> Result<()> {
        self.keep_disk();
        let (customer, name) = self.customer(customer);
        let stream = stream.map(|stream| self.streams[stream].clone());
        let until = until.map(|until| self.ago(until));
        if stream.is_none() && until.is_none() {
            return Ok(());
        }
        let (now, before) = (self.now(), self.receipts());
        let outcome = self.store().erase_part(name, stream.as_ref().map(engines_stream), until.map(engines)).map(drop);
        if self.is_done(outcome, before)? {
            self.oracle.erase_part(customer, stream.as_ref(), until, now);
        }
        Ok(())
    }

    fn redact(&mut self, index: usize, despite: bool) -> Result<()> {
        if self.oracle.fates.is_empty() {
            return Ok(());
        }
        self.keep_disk();
        let index = index % self.oracle.fates.len();
        let (id, name) = (self.oracle.fates[index].id, CUSTOMERS[self.oracle.fates[index].customer]);
        let (now, before) = (self.now(), self.receipts());
        let mut done = self.oracle.clone();
        let expected = done.redact(id, now, despite);
        let outcome = match despite {
            true => self.store().redact_despite_duty(name, id),
            false => self.store().redact(name, id),
        };
        let answer = match &outcome {
            Ok(Some(_)) => Answer::Done,
            Ok(None) => Answer::NotThere,
            Err(error) if error.kind() == ErrorKind::Held => Answer::Held,
            Err(error) if error.kind() == ErrorKind::Refused => Answer::Refused,
            Err(_) => expected, // The power went.
        };
        assert_eq!(answer, expected, "the answer to a redaction");
        let refused = matches!(answer, Answer::Held | Answer::Refused);
        let outcome = if refused { Ok(()) } else { outcome.map(drop) };
        if self.is_done(outcome, before)? {
            self.oracle = done;
        }
        Ok(())
    }

    /// Puts a record right: as shown, that is in its last version.
    fn rectify(&mut self, index: usize) -> Result<()> {
        if self.oracle.fates.is_empty() {
            return Ok(());
        }
        let fate = self.oracle.fates[index % self.oracle.fates.len()].clone();
        let (name, versions) = (CUSTOMERS[fate.customer], self.oracle.versions(fate.id));
        let shown = self.oracle.seen(self.now()).free.into_iter().find(|id| versions.contains(id));
        let is_free = |one: &Fate| one.id == fate.id && one.place == Place::Free;
        let shown = shown.filter(|_| self.oracle.fates.iter().any(is_free));
        let amended = match self.store().rectify(name, fate.id, b"put right") {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) if self.sim.crashed() => {
                self.revive();
                // Whether it came in shows by an id that nobody knows.
                let known = |id: &RecordId| self.oracle.fates.iter().any(|fate| fate.id == *id);
                let mut history = self.store().history(name)?.map(|stored| stored.unwrap().id);
                match history.find(|id| !known(id)) {
                    None => return Ok(()),
                    new => new,
                }
            }
            outcome => Some(outcome?),
        };
        assert_eq!(amended.is_some(), shown.is_some(), "whether there is a record to be put right");
        shown.zip(amended).into_iter().for_each(|(shown, id)| self.oracle.amend(shown, id));
        Ok(())
    }

    fn hold(
        &mut self,
        customer: Option<usize>,
        stream: Option<usize>,
        from: Option<Ago>,
        until: Option<Ago>,
    ) -> Result<()> {
        let (customer, stream) =
            (customer.map(|one| self.customer(one)), stream.map(|stream| self.streams[stream].clone()));
        let (from, until) = (from.map(|ago| self.ago(ago)), until.map(|ago| self.ago(ago)));
        if from.zip(until).is_some_and(|(from, until)| until <= from) {
            return Ok(());
        }
        let asked = tenure::Hold {
            matter: "matter".into(),
            reason: "reason".into(),
            stream: stream.as_ref().map(engines_stream),
            from: from.map(engines),
            until: until.map(engines),
        };
        let outcome = match customer {
            Some((_, name)) => self.store().hold(name, &asked),
            None => self.store().hold_everybody(&asked).map(Some),
        };
        match outcome {
            Ok(placed) => {
                let lives = customer.is_none_or(|(customer, _)| self.oracle.lives(customer));
                assert!(placed.is_some() || !lives, "not held, although there is something");
            }
            Err(error) if error.kind() == ErrorKind::Erased => {
                assert!(customer.is_some_and(|(customer, _)| !self.oracle.lives(customer)), "{error}");
            }
            Err(error) if !self.sim.crashed() => return Err(error),
            Err(_) => self.revive(),
        }
        let known: BTreeSet<u64> = self.oracle.holds.keys().copied().collect();
        for report in self.store().holds()?.into_iter().filter(|hold| !known.contains(&hold.number)) {
            let hold = Hold { customer: customer.map(|(customer, _)| customer), stream: stream.clone(), from, until };
            self.oracle.holds.insert(report.number, hold);
        }
        Ok(())
    }

    fn release(&mut self, index: usize) -> Result<()> {
        let numbers: Vec<u64> = self.oracle.holds.keys().copied().collect();
        let Some(number) = numbers.get(index % numbers.len().max(1)).copied() else { return Ok(()) };
        self.keep_disk();
        let (now, before, on_all) = (self.now(), self.receipts(), self.oracle.holds[&number].customer.is_none());
        let outcome = self.store().release(number).map(drop);
        let cut = outcome.is_err();
        if self.is_done(outcome, before)? {
            self.oracle.release(number, now);
            if cut && on_all {
                // What it has kept of erasures may be left for the next expiry.
                return self.expire();
            }
        }
        Ok(())
    }

    fn fact(&mut self, customer: usize, fact: Fact) -> Result<()> {
        let reported = match fact {
            Fact::Ended(ago) => Reported::Ended(self.ago(ago)),
            Fact::Resumed => Reported::Resumed,
            Fact::Closed(ago) => Reported::Closed(self.ago(ago)),
            Fact::Contacted(ago) => Reported::Contacted(self.ago(ago)),
        };
        let customer = self.customer(customer).0;
        let known = self.report(customer, reported)?;
        assert!(known || !self.oracle.lives(customer), "somebody is not known");
        if known {
            let facts = self.oracle.facts.entry(customer).or_default();
            match reported {
                Reported::Ended(at) => facts.0 = Some(at),
                Reported::Resumed => facts.0 = None,
                Reported::Closed(at) => facts.1 = facts.1.max(Some(at)),
                Reported::Contacted(at) => {
                    let contact = self.oracle.contacts.entry(customer).or_insert(at);
                    *contact = at.max(*contact);
                }
            }
        }
        Ok(())
    }

    fn report(&mut self, customer: usize, reported: Reported) -> Result<bool> {
        let name = CUSTOMERS[customer];
        let outcome = match reported {
            Reported::Ended(at) => self.store().relationship_ended(name, engines(at)),
            Reported::Resumed => self.store().relationship_resumed(name),
            Reported::Closed(at) => self.store().request_closed(name, engines(at)),
            Reported::Contacted(at) => self.store().contacted(name, engines(at)),
        };
        match outcome {
            Err(_) if self.sim.crashed() => {
                self.revive();
                self.report(customer, reported) // Said once more, it is the same.
            }
            known => known,
        }
    }

    fn receipts(&self) -> usize {
        self.store().receipts().unwrap().len()
    }

    /// Whether a verb has been done: after a power cut, once the store has been opened again.
    fn is_done(&mut self, outcome: Result<()>, before: usize) -> Result<bool> {
        match outcome {
            Err(_) if self.sim.crashed() => {
                self.revive();
                // What is appended again by an act that is taken apart in the midst may stand there twice.
                self.twice.extend(self.oracle.alive());
                Ok(self.receipts() > before)
            }
            outcome => outcome.map(|()| true),
        }
    }

    /// Does a step, and has the power go at one of its changes, or after the last. Answers whether it went in between.
    pub fn cut(&mut self, change: u64, step: &Step) -> Result<bool> {
        let before = self.revived;
        self.sim.crash_at_change(self.sim.changes() + change);
        self.step(step)?;
        let went = self.revived > before;
        self.sim.crash();
        self.revive();
        Ok(went)
    }

    fn revive(&mut self) {
        self.revived += 1;
        self.store = None;
        self.sim.restart();
        self.store = Some(open(&self.sim, &self.vault).open().expect("it opens after a power cut"));
    }

    /// What everybody sees of the store.
    fn seen(&self, store: &Store) -> Seen {
        let mut seen = Seen::default();
        let ids = |timeline: Result<Timeline>| timeline.unwrap().map(|stored| stored.unwrap().id).collect::<Vec<_>>();
        for customer in &CUSTOMERS[..self.customers] {
            seen.free.extend(ids(store.timeline(customer, ..)));
            seen.held.extend(ids(store.held(customer)));
            seen.restricted.extend(ids(store.restricted(customer)));
        }
        seen
    }

    /// Compares everything that can be compared while the store lives on.
    pub fn compare(&self) {
        self.wait_for_what_ends();
        let (store, expected) = (self.store(), self.oracle.seen(self.now()));
        assert_eq!(self.seen(store), expected, "what is seen (left) and what the oracle says, {}", self.now());
        for fate in self.oracle.fates.iter().rev().take(2) {
            let got = store.get(CUSTOMERS[fate.customer], fate.id).unwrap().is_some();
            let versions = self.oracle.versions(fate.id);
            let is_free = |one: &Fate| one.id == fate.id && one.place == Place::Free;
            let shown = expected.free.iter().any(|id| versions.contains(id));
            let shown = shown && self.oracle.fates.iter().any(is_free);
            assert_eq!(got, shown, "get of {:?}", fate.id);
        }
        let deep = store.verify(VerifyOptions { deep: true, ..VerifyOptions::default() }, &mut |_| {}).unwrap();
        assert!(deep.damage.is_empty(), "{:?}", deep.damage);
        let alive = self.oracle.alive();
        let most = self.oracle.places() + alive.intersection(&self.twice).count();
        let opened = deep.records as usize;
        assert!((alive.len()..=most).contains(&opened), "keys open {opened} records, not {}", alive.len());
    }

    /// Compares with everything that today's keys open: of today's disk, and of each older one.
    pub fn seize(&self) {
        let alive = self.oracle.alive();
        let found = self.plunder(&self.sim.snapshot(), None).expect("today's disk opens");
        assert_eq!(found, alive, "what keys open (left) and what the oracle says is not gone");
        for (disk, time) in &self.disks {
            let found = self.plunder(disk, Some(*time)).unwrap_or_default();
            assert!(
                found.is_subset(&alive),
                "gone, and read all the same with an older disk: {:?} of {alive:?}",
                found
            );
        }
    }

    /// Today's keyring over a disk: everything is put under a hold and read.
    fn plunder(&self, disk: &Snapshot, time: Option<jiff::Timestamp>) -> Option<BTreeSet<RecordId>> {
        let (sim, vault) = (Sim::new(99), self.vault.seized());
        sim.set_now(time.map_or(self.sim.now(), engines));
        sim.restore(&self.sim.snapshot(), "/");
        sim.restore(disk, STORE);
        let store = open(&sim, &vault).take_over("taking what there is").open().ok()?;
        let everything = tenure::Hold { matter: "all".into(), reason: "all".into(), ..tenure::Hold::default() };
        store.hold_everybody(&everything).ok()?;
        let seen = self.seen(&store);
        Some(seen.free.into_iter().chain(seen.held).chain(seen.restricted).collect())
    }
}

/// Lives a history. Answers how many comparisons there were and how many states were carried forward; none where its law is
/// refused.
pub fn live(seed: u64, history: &History) -> (usize, usize) {
    let Some(mut drive) = Drive::new(seed, history.customers, streams(), &policy(&history.law)) else { return (0, 0) };
    for (number, step) in history.steps.iter().enumerate() {
        drive.step(step).unwrap_or_else(|error| panic!("step {number}, {step:?}: {error}"));
        drive.compare();
    }
    drive.seize();
    (history.steps.len(), drive.oracle.carried)
}
