//! Lives of a store in which customers are erased, in whole and in part, records redacted, months expired and traces
//! scrubbed; and a model that knows what must still be there and what must never be seen again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenure::env::Env;
use tenure::env::sim::Sim;
use tenure::report::{Budget, Receipt};
use tenure::{
    Batch, Custodian, Error, ErrorKind, ExpireOptions, FileCustodian, Hold, Options, Record, RecordId, Result,
    ScanFilter, Store, Stream, Timeline, Timestamp,
};

use crate::model::{Held, Kept, Model, Seen, keep};
use crate::scene::{CUSTOMERS, Dice};
use crate::vault::Vault;
use crate::watched::Watched;

pub const STORE: &str = "/calls";
/// What every hold is for; nothing that a store or a custodian tells may say it.
pub const MATTER: &str = "Miller";
/// What every body says; nothing that a store or a custodian tells may say it too.
pub const WORD: &str = "confided";
/// Chats may go when they like; letters must be kept for three months.
const POLICY: &str = "
[[rule]]
class = \"*\"
jurisdiction = \"*\"
window = \"month\"
keep_at_most = \"P6M\"
[[rule]]
class = \"email\"
jurisdiction = \"US-CA\"
window = \"month\"
keep_at_least = \"P3M\"
keep_at_most = \"P6M\"
";
/// When November and December are over and past their maximum. The clock of a life never comes near.
const DEADLINES: [(&str, &str); 2] =
    [("2026-06-02T00:00:00Z", "2025-12-01T00:00:00Z"), ("2026-07-02T00:00:00Z", "2026-01-01T00:00:00Z")];

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A machine, and the custodian beside it.
#[derive(Clone)]
pub struct Place {
    pub sim: Sim,
    pub custodian: Watched,
    pub vault: Option<Vault>,
}

impl Place {
    /// An empty machine on January 20th, 2026; the custodian is a file on it or, outside of it, `vault`.
    pub fn new(seed: u64, vault: Option<Vault>) -> Self {
        let sim = Sim::new(seed);
        sim.set_now(at("2026-01-20T00:00:00Z"));
        Place { custodian: Watched::over(handle(&sim, vault.as_ref()), &sim), sim, vault }
    }

    pub fn options(&self) -> Options {
        let env: Arc<dyn Env> = Arc::new(self.sim.clone());
        let custodian = self.custodian.reached_by(handle(&self.sim, self.vault.as_ref()));
        let options = Store::options(STORE).env(env).custodian(custodian).policy(POLICY);
        options.ballast_bytes(4096).merge_at_least(3).fold_at(4)
    }
}

fn handle(sim: &Sim, vault: Option<&Vault>) -> Arc<dyn Custodian> {
    match vault {
        Some(vault) => Arc::new(vault.clone()),
        None => Arc::new(FileCustodian::with_env(Arc::new(sim.clone()), "/calls.custodian")),
    }
}

/// Everything that anybody was told: errors, receipts, recoveries.
#[derive(Default)]
pub struct Told(pub Vec<String>);

impl Told {
    pub fn error(&mut self, error: &Error) {
        self.0.push(format!("{error:?} {error} {error:#?}"));
    }

    fn receipt(&mut self, receipt: Option<&Receipt>) {
        self.0.extend(receipt.map(|receipt| format!("{receipt:?}")));
    }

    /// Nobody was told a customer's id or a word.
    pub fn is_discreet(&self) {
        for told in &self.0 {
            let leaked = CUSTOMERS.iter().chain([&WORD, &MATTER]).find(|secret| told.contains(**secret));
            assert_eq!(leaked, None, "{told}");
        }
    }
}

/// One life: the place, the store while it is open, what it must hold, what it told.
pub struct Life {
    pub place: Place,
    pub dice: Dice,
    pub model: Model,
    pub told: Told,
}

impl Life {
    pub fn new(place: &Place, seed: u64) -> Self {
        let dice = Dice(seed ^ 0x1e77_1460);
        Life { place: place.clone(), dice, model: Model::default(), told: Told::default() }
    }

    pub fn append(&mut self, store: &Store) -> Result<()> {
        let count = 2 + self.dice.roll(4);
        let now = self.place.sim.now();
        let records: Vec<Record> = (0..count).map(|_| self.model.record(&mut self.dice, now)).collect();
        let batch = Batch::from(records.clone());
        match self.commit(store, batch, &records) {
            Err(error) if error.kind() == ErrorKind::Refused => {
                self.told.error(&error);
                error.refusals().iter().for_each(|refusal| self.model.judge(&records, refusal));
                let refused: BTreeSet<usize> = error.refusals().iter().map(|refusal| refusal.index).collect();
                let left = records.into_iter().enumerate().filter(|(index, _)| !refused.contains(index));
                let left: Vec<Record> = left.map(|(_, record)| record).collect();
                self.commit(store, Batch::from(left.clone()), &left)
            }
            other => other,
        }
    }

    fn commit(&mut self, store: &Store, batch: Batch, records: &[Record]) -> Result<()> {
        // Refused, nothing of it is written; so it is in doubt only once it has been let in.
        let commit = match store.append(batch) {
            Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
            other => other,
        };
        self.model.coming = records.iter().map(keep).collect();
        commit?.wait()?;
        self.model.acknowledge();
        Ok(())
    }

    /// Sends a redacted record again, exactly as it was.
    fn again(&mut self, store: &Store) -> Result<()> {
        let Some(record) = self.model.redacted.last().cloned() else { return Ok(()) };
        match store.append(vec![record]).and_then(|commit| commit.wait()) {
            Err(error) if error.kind() == ErrorKind::Refused => Ok(()),
            other => other,
        }
    }

    pub fn erase(&mut self, store: &Store) -> Result<()> {
        let first = self.dice.roll(4) as usize;
        let count = 1 + self.dice.roll(2) as usize;
        let customers: Vec<&str> = (0..count).map(|index| CUSTOMERS[(first + index) % 4]).collect();
        self.model.begin_erasing(true, self.place.sim.now(), |kept| customers.contains(&&*kept.0));
        // The time is taken inside; whatever it is, it is no later than this.
        let latest = self.place.sim.now().plus_seconds(1);
        for customer in &customers {
            self.model.erased.insert((*customer).to_owned(), latest);
        }
        let receipt = store.erase(&customers)?;
        self.told.receipt(receipt.as_ref());
        self.model.acknowledge();
        self.model.redacted.retain(|record| !customers.contains(&record.customer.expose()));
        Ok(())
    }

    /// A hold stands against it, or a duty: it must be refused.
    fn refused(&mut self, outcome: Result<Option<Receipt>>, kind: ErrorKind) -> Result<()> {
        match outcome {
            Err(error) if error.kind() == kind => {
                self.told.error(&error);
                Ok(())
            }
            other => other.map(|receipt| panic!("let go of, although it must be kept: {receipt:?}")),
        }
    }

    /// Places a hold on somebody.
    pub fn hold(&mut self, store: &Store) -> Result<()> {
        let customer = (self.dice.roll(4) > 0).then(|| CUSTOMERS[self.dice.roll(4) as usize]);
        let stream = (customer.is_none() || self.dice.roll(2) == 0).then(|| Stream::new("chat", "EU").unwrap());
        let december = Some(at("2025-12-01T00:00:00Z"));
        let (from, until) = [(None, None), (december, None), (None, december)][self.dice.roll(3) as usize];
        let held = Held { customer: customer.map(str::to_owned), stream: stream.clone(), from, until };
        self.model.placing = Some(held.clone());
        let (matter, reason) = (format!("{MATTER} {}", customer.unwrap_or_default()), format!("{WORD} of {MATTER}"));
        let hold = Hold { matter, reason, stream, from, until };
        let placed = match customer {
            Some(customer) => store.hold(customer, &hold),
            None => store.hold_everybody(&hold).map(Some),
        };
        let placed = match placed {
            // There is nobody any more to be held.
            Err(error)
                if error.kind() == ErrorKind::Erased
                    && customer.is_some_and(|one| self.model.erased.contains_key(one)) =>
            {
                self.told.error(&error);
                Ok(None)
            }
            placed => placed,
        };
        if let Some(number) = placed? {
            assert!(self.model.holds.insert(number, held).is_none());
        }
        self.model.placing = None;
        Ok(())
    }

    /// Lifts one of the holds.
    pub fn release(&mut self, store: &Store) -> Result<()> {
        let count = self.model.holds.len() as u64;
        if count == 0 {
            assert_eq!(store.release(1 + self.dice.roll(3))?, None);
            return Ok(());
        }
        let number = *self.model.holds.keys().nth(self.dice.roll(count) as usize).unwrap();
        self.model.lifting = Some(number);
        let receipt = store.release(number)?.expect("it stands");
        self.told.receipt(Some(&receipt));
        self.model.lifting = None;
        self.model.lifted(number, self.place.sim.now());
        Ok(())
    }

    pub fn erase_part(&mut self, store: &Store) -> Result<()> {
        let customer = CUSTOMERS[self.dice.roll(4) as usize];
        let stream = (self.dice.roll(2) == 0).then(|| Stream::new("chat", "EU").unwrap());
        let until = (stream.is_none() || self.dice.roll(2) == 0).then(|| {
            let day = 10 + self.dice.roll(9);
            at(&format!("2025-1{}-{day}T00:00:00Z", 1 + self.dice.roll(2)))
        });
        let hit = |stream_of: &Stream, time: Timestamp| {
            stream.as_ref().is_none_or(|one| one == stream_of) && until.is_none_or(|until| time < until)
        };
        let now = self.place.sim.now();
        self.model.begin_erasing(false, now, |kept| kept.0 == customer && hit(&kept.1, kept.2));
        let receipt = store.erase_part(customer, stream.clone(), until)?;
        self.told.receipt(receipt.as_ref());
        self.model.acknowledge();
        self.model.redacted.retain(|one| one.customer.expose() != customer || !hit(&one.stream, one.at));
        Ok(())
    }

    pub fn redact(&mut self, store: &Store) -> Result<()> {
        let (free, restricted) = (&self.model.kept, &self.model.restricted);
        if free.is_empty() && restricted.is_empty() {
            return Ok(());
        }
        let index = self.dice.roll((free.len() + restricted.len()) as u64) as usize;
        let (id, kept) = free.iter().chain(restricted).nth(index).map(|(id, kept)| (*id, kept.clone())).unwrap();
        let (held, has_duty) = (self.model.is_held(&kept), self.model.has_duty(&kept, self.place.sim.now()));
        if held || has_duty && self.dice.roll(2) == 0 {
            return self.refused(store.redact(&kept.0, id), if held { ErrorKind::Held } else { ErrorKind::Refused });
        }
        self.model.begin_redacting(id);
        let redacted = match has_duty {
            true => store.redact_despite_duty(&kept.0, id),
            false => store.redact(&kept.0, id),
        };
        let receipt = redacted?.expect("it is there to be redacted");
        self.told.receipt(Some(&receipt));
        self.model.acknowledge();
        let (class, jurisdiction) =
            kept.1.to_string().split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let record = Record::new(&kept.0, &class, &jurisdiction, kept.2, kept.3).unwrap().with_id(id);
        self.model.redacted.push(record);
        Ok(())
    }

    pub fn expire(&mut self, store: &Store) -> Result<()> {
        let (now, before) = DEADLINES[self.dice.roll(2) as usize];
        let before = at(before);
        self.model.begin_expiring(before, at(now));
        self.model.expired_before = self.model.expired_before.max(Some(before));
        let options = ExpireOptions { now: Some(at(now)), confirmed: true, ..ExpireOptions::default() };
        let expiry = store.expire(options)?;
        self.told.receipt(expiry.receipt.as_ref());
        self.model.acknowledge();
        self.model.redacted.retain(|record| record.at >= before);
        Ok(())
    }

    /// Time passes, so that fences lapse and scrubbing falls due.
    fn pass(&mut self, store: &Store) -> Result<()> {
        if self.place.sim.now() < at("2026-03-20T00:00:00Z") {
            self.place.sim.advance(Duration::from_secs(36 * 86_400));
        }
        store.maintain(Budget::ALL).map(drop)
    }

    /// One step, by chance.
    pub fn step(&mut self, store: Store) -> Result<Store> {
        match self.dice.roll(20) {
            0..=2 => self.append(&store)?,
            3 => {
                store.settle()?;
            }
            4 => {
                store.maintain(Budget::ALL)?;
            }
            5 | 6 => self.erase(&store)?,
            7 | 8 => self.erase_part(&store)?,
            9 | 10 => self.redact(&store)?,
            11 | 12 => self.expire(&store)?,
            13 => {
                store.scrub()?;
            }
            14 => self.pass(&store)?,
            15 | 16 => self.hold(&store)?,
            17 => self.release(&store)?,
            _ => {
                store.close()?;
                return self.place.options().open();
            }
        }
        if self.dice.roll(3) == 0 {
            self.again(&store)?;
        }
        Ok(store)
    }
}

fn collect(of: &dyn Fn(&str) -> Result<Timeline>) -> BTreeMap<RecordId, Kept> {
    let mut found = BTreeMap::new();
    for customer in CUSTOMERS {
        for stored in of(customer).unwrap() {
            let stored = stored.unwrap();
            let kept = (customer.to_owned(), stored.stream, stored.at, stored.body.to_vec());
            assert!(found.insert(stored.id, kept).is_none(), "a record came back twice");
        }
    }
    found
}

/// What the timelines of all customers give.
pub fn timelines(store: &Store) -> BTreeMap<RecordId, Kept> {
    collect(&|customer| store.timeline(customer, ..))
}

/// What is held of all customers.
pub fn held(store: &Store) -> BTreeMap<RecordId, Kept> {
    collect(&|customer| store.held(customer))
}

/// What everybody sees.
pub fn seen(store: &Store) -> Seen {
    Seen { free: timelines(store), held: held(store), restricted: collect(&|customer| store.restricted(customer)) }
}

/// What a scan of everything gives.
pub fn scanned(store: &Store) -> BTreeMap<RecordId, Kept> {
    let mut found = BTreeMap::new();
    for stored in store.scan(ScanFilter::default()).unwrap() {
        let stored = stored.unwrap();
        let kept = (stored.customer.expose().to_owned(), stored.stream, stored.at, stored.body.to_vec());
        assert!(found.insert(stored.id, kept).is_none(), "a record was scanned twice");
    }
    found
}

/// How many seeds a suite lives: `TENURE_SEEDS`, or as many as it has time for by default.
pub fn seeds(default: u64) -> u64 {
    std::env::var("TENURE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Lives every seed, on all cores; returns the sum of what they answer.
pub fn every_seed(seeds: std::ops::Range<u64>, one: &(impl Fn(u64) -> u64 + Sync)) -> u64 {
    let (next, sum) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            sum.fetch_add(one(seed), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    sum.into_inner()
}
