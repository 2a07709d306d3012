//! What is known of a store: a model that is told what was asked for, and says what must be there.

use std::collections::{BTreeMap, BTreeSet};

use tenure::{Period, Record, RecordId, Refusal, RefusalReason, Store, Stream, Timestamp, Window, WindowLength};

use crate::life::{WORD, at};
use crate::scene::{CUSTOMERS, Dice};

pub type Kept = (String, Stream, Timestamp, Vec<u8>);

/// A hold as the model knows it: on whom (or on everybody), on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub customer: Option<String>,
    pub stream: Option<Stream>,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Held {
    /// Whether it keeps a record. Its ends are those of windows.
    fn covers(&self, kept: &Kept) -> bool {
        self.customer.as_ref().is_none_or(|customer| *customer == kept.0)
            && self.stream.as_ref().is_none_or(|stream| *stream == kept.1)
            && self.from.is_none_or(|from| from <= kept.2)
            && self.until.is_none_or(|until| kept.2 < until)
    }
}

/// What a call under way makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is gone.
    Dead,
    /// It is left for those who serve a hold, its partition having expired.
    Hidden,
    /// It is left for those who serve a duty or a hold.
    Restricted,
}

/// What everybody sees of a store: anybody, who serves a hold, who serves a duty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub free: BTreeMap<RecordId, Kept>,
    pub held: BTreeMap<RecordId, Kept>,
    pub restricted: BTreeMap<RecordId, Kept>,
}

/// What was acknowledged and is to stay, and what is in doubt while a call is under way.
#[derive(Clone, Default)]
pub struct Model {
    pub kept: BTreeMap<RecordId, Kept>,
    /// What a call under way adds.
    pub coming: BTreeMap<RecordId, Kept>,
    /// What a call under way does, all of it or nothing.
    pub going: BTreeMap<RecordId, Fate>,
    /// What has expired and is held: nobody sees it but who asks for what is held.
    pub hidden: BTreeMap<RecordId, Kept>,
    /// What was erased and has to be kept. Those see it who serve its own duty, or a hold on it.
    pub restricted: BTreeMap<RecordId, Kept>,
    /// The holds that stand.
    pub holds: BTreeMap<u64, Held>,
    /// A hold that a call under way places.
    pub placing: Option<Held>,
    /// A hold that a call under way lifts.
    pub lifting: Option<u64>,
    /// What was acknowledged to be gone for good.
    pub dead: BTreeMap<RecordId, Kept>,
    /// Records that were redacted, and are refused should they be sent again.
    pub redacted: Vec<Record>,
    /// Customers erased, with the latest time.
    pub erased: BTreeMap<String, Timestamp>,
    pub expired_before: Option<Timestamp>,
    serial: u64,
}

/// Whether a duty keeps a record of which `until` says how long: letters must be kept for three months.
fn binds(kept: &Kept, from: Timestamp, now: Timestamp) -> bool {
    kept.1.to_string().starts_with("email") && now < from.plus(Period::months(3))
}

/// Whether its own duty keeps a record.
fn own_duty(kept: &Kept, now: Timestamp) -> bool {
    binds(kept, kept.2, now)
}

/// Whether the duty of the last that may be in its window keeps it.
fn window_duty(kept: &Kept, now: Timestamp) -> bool {
    binds(kept, Window::containing(kept.2, WindowLength::Month).end(), now)
}

impl Model {
    pub fn is_held(&self, kept: &Kept) -> bool {
        self.holds.values().any(|hold| hold.covers(kept))
    }

    /// Whether a hold on everybody keeps the whole column.
    fn is_deferred(&self, kept: &Kept) -> bool {
        self.holds.values().any(|hold| hold.customer.is_none() && hold.covers(kept))
    }

    /// What an erasure makes of what is free and `goes`, and of what was left of earlier ones where `again`.
    pub fn begin_erasing(&mut self, again: bool, now: Timestamp, goes: impl Fn(&Kept) -> bool) {
        let free = self.kept.iter().chain(self.restricted.iter().filter(|_| again));
        let fate = |kept: &Kept| match self.is_held(kept) || window_duty(kept, now) {
            true => Fate::Restricted,
            false => Fate::Dead,
        };
        self.going = free.filter(|(_, kept)| goes(kept)).map(|(id, kept)| (*id, fate(kept))).collect();
        if again {
            // Past its maximum, and here for a hold.
            let held = self.hidden.iter().filter(|(_, kept)| goes(kept) && !self.is_held(kept));
            let held: Vec<RecordId> = held.map(|(id, _)| *id).collect();
            self.going.extend(held.into_iter().map(|id| (id, Fate::Dead)));
        }
    }

    pub fn begin_redacting(&mut self, id: RecordId) {
        self.going = BTreeMap::from([(id, Fate::Dead)]);
    }

    /// What an expiry by `now` makes of what happened `before`, and of what was left of erasures.
    pub fn begin_expiring(&mut self, before: Timestamp, now: Timestamp) {
        let mut going = BTreeMap::new();
        for (id, kept) in self.kept.iter().chain(&self.restricted) {
            let over = kept.2 < before && !self.is_deferred(kept);
            match (over, self.is_held(kept)) {
                (true, true) => drop(going.insert(*id, Fate::Hidden)),
                (true, false) => drop(going.insert(*id, Fate::Dead)),
                _ => {}
            }
        }
        for (id, kept) in &self.restricted {
            if !window_duty(kept, now) && !self.is_held(kept) {
                going.insert(*id, Fate::Dead);
            }
        }
        self.going = going;
    }

    /// Whether a redaction of it is refused.
    pub fn has_duty(&self, kept: &Kept, now: Timestamp) -> bool {
        own_duty(kept, now)
    }

    /// The call under way has been acknowledged.
    pub fn acknowledge(&mut self) {
        self.kept.append(&mut self.coming);
        for (id, fate) in std::mem::take(&mut self.going) {
            let Some(kept) = self.kept.remove(&id).or(self.restricted.remove(&id)).or(self.hidden.remove(&id)) else {
                continue;
            };
            let place = match fate {
                Fate::Dead => &mut self.dead,
                Fate::Hidden => &mut self.hidden,
                Fate::Restricted => &mut self.restricted,
            };
            place.insert(id, kept);
        }
    }

    /// A hold does not stand any more: what it alone has kept is gone.
    pub fn lifted(&mut self, number: u64, now: Timestamp) {
        let Some(lifted) = self.holds.remove(&number) else { return };
        let held = |model: &Self, kept: &Kept| model.holds.values().any(|hold| hold.covers(kept));
        for (id, kept) in std::mem::take(&mut self.hidden) {
            let place = if held(self, &kept) { &mut self.hidden } else { &mut self.dead };
            place.insert(id, kept);
        }
        // Of one on everybody all is gone through that was ever left of an erasure.
        let concerns = |kept: &Kept| lifted.customer.as_ref().is_none_or(|customer| *customer == kept.0);
        for (id, kept) in std::mem::take(&mut self.restricted) {
            let stays = !concerns(&kept) || held(self, &kept) || window_duty(&kept, now);
            let place = if stays { &mut self.restricted } else { &mut self.dead };
            place.insert(id, kept);
        }
    }

    /// After a power cut: what was under way with holds has been done, or has not.
    pub fn adopt_holds(&mut self, store: &Store, now: Timestamp) {
        let found: BTreeSet<u64> = store.holds().unwrap().iter().map(|hold| hold.number).collect();
        if let Some(held) = self.placing.take()
            && let Some(number) = found.iter().find(|number| !self.holds.contains_key(number))
        {
            self.holds.insert(*number, held);
        }
        if let Some(number) = self.lifting.take()
            && !found.contains(&number)
        {
            self.lifted(number, now);
        }
        assert!(self.holds.keys().eq(found.iter()), "holds {found:?} stand, not {:?}", self.holds.keys());
    }

    /// What everybody must see.
    pub fn seen(&self, now: Timestamp) -> Seen {
        let all = self.kept.iter().chain(&self.hidden).chain(&self.restricted);
        let held = all.filter(|(_, kept)| self.is_held(kept)).map(|(id, kept)| (*id, kept.clone()));
        let restricted = self.restricted.iter().filter(|(_, kept)| self.is_held(kept) || own_duty(kept, now));
        let restricted = restricted.map(|(id, kept)| (*id, kept.clone()));
        Seen { free: self.kept.clone(), held: held.collect(), restricted: restricted.collect() }
    }

    /// Whether `found` is what must be seen: every record, the call under way done or not done as a whole.
    pub fn allows(&self, found: &Seen, now: Timestamp) -> bool {
        let mut done = self.clone();
        done.acknowledge();
        *found == self.seen(now) || *found == done.seen(now)
    }

    pub fn record(&mut self, dice: &mut Dice, now: Timestamp) -> Record {
        self.serial += 1;
        let customer = CUSTOMERS[dice.roll(4) as usize];
        let (class, jurisdiction) = [("chat", "EU"), ("email", "US-CA")][dice.roll(2) as usize];
        let day = 10 + dice.roll(9);
        let time = match dice.roll(3) {
            0 => at(&format!("2025-11-{day}T00:00:00.{:06}Z", self.serial)),
            1 => at(&format!("2025-12-{day}T00:00:00.{:06}Z", self.serial)),
            // A little ahead, so that it is later than any erasure before.
            _ => now.plus_seconds(60 + self.serial as i64),
        };
        let body = format!("{WORD} {} by {customer} {}", self.serial, "word ".repeat(dice.roll(8) as usize));
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&self.serial.to_le_bytes());
        Record::new(customer, class, jurisdiction, time, body).unwrap().with_id(RecordId::from_bytes(id))
    }

    /// A refusal must have a reason that the model knows of.
    pub fn judge(&self, records: &[Record], refusal: &Refusal) {
        let record = &records[refusal.index];
        let known = match refusal.reason {
            // Whoever is new takes nothing from before the newest fence that has lapsed, whosever it was.
            RefusalReason::Erased => self.erased.values().any(|erased| record.at <= *erased),
            RefusalReason::Expired => self.expired_before.is_some_and(|before| record.at < before),
            _ => false,
        };
        assert!(known, "refused for no reason: {refusal:?}");
    }
}

pub fn keep(record: &Record) -> (RecordId, Kept) {
    let kept = (record.customer.expose().to_owned(), record.stream.clone(), record.at, record.body.to_vec());
    (record.id.unwrap(), kept)
}
