//! The oracle's other half: what becomes of every record, given the verbs. Kept, hidden, restricted, held, gone: what anybody
//! sees, who serves a hold, who serves a duty, and what no key opens any more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tenure::RecordId;

use super::law::{Facts, Law, Stream, What};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// For everybody, until its maximum is over.
    Free,
    /// Left by an erasure: a duty or a hold keeps its window.
    Restricted,
    /// Left of a window that has expired: a hold keeps it.
    Remnant,
    /// No key opens it.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub id: RecordId,
    pub customer: usize,
    pub stream: Stream,
    pub at: Timestamp,
    /// When it came to stand in its window: when it happened or, a state, was carried forward.
    pub since: Timestamp,
    pub window: What,
    /// The version that it stands in the place of.
    pub amends: Option<RecordId>,
    /// Its place in the order of writing.
    pub serial: usize,
    pub place: Place,
}

/// A hold on a customer, or on everybody.
#[derive(Clone, Debug)]
pub struct Hold {
    pub customer: Option<usize>,
    pub stream: Option<Stream>,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Hold {
    fn is_on(&self, customer: usize, stream: &Stream) -> bool {
        self.customer.is_none_or(|one| one == customer) && self.stream.as_ref().is_none_or(|one| one == stream)
    }

    /// Whether it names the record: those who serve it see it. Of states it names all, whatever their time.
    fn covers(&self, fate: &Fate, law: &Law) -> bool {
        let within = self.from.is_none_or(|from| from <= fate.at) && self.until.is_none_or(|until| fate.at < until);
        self.is_on(fate.customer, &fate.stream) && (within || law.latest(&fate.stream))
    }

    /// Whether it keeps the record: windows are kept as a whole.
    fn keeps(&self, fate: &Fate, law: &Law) -> bool {
        self.is_on(fate.customer, &fate.stream) && self.meets(&fate.stream, fate.window, law)
    }

    fn meets(&self, stream: &Stream, window: What, law: &Law) -> bool {
        let What::Window(start, end) = window else { return false };
        law.latest(stream) || self.from.is_none_or(|from| from < end) && self.until.is_none_or(|until| start < until)
    }
}

/// What three kinds of eyes see, by record, and how much any key opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub free: BTreeSet<RecordId>,
    pub held: BTreeSet<RecordId>,
    pub restricted: BTreeSet<RecordId>,
}

/// What a redaction must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    NotThere,
    Held,
    Refused,
}

/// Whether of the states of a customer that are `free` none is newer, by its time and then by when it was written.
fn newest(fate: &Fate, free: &[Fate]) -> bool {
    let mut others = free.iter().filter(|one| (one.customer, &one.stream) == (fate.customer, &fate.stream));
    !others.any(|one| (fate.at, fate.serial) < (one.at, one.serial))
}

#[derive(Clone, Debug)]
pub struct Oracle {
    pub law: Law,
    pub fates: Vec<Fate>,
    pub holds: BTreeMap<u64, Hold>,
    /// End of the relationship and of a request, by customer.
    pub facts: BTreeMap<usize, (Option<Timestamp>, Option<Timestamp>)>,
    /// The last contact that was reported, by customer. Of whom nothing is left that may be forgotten or not.
    pub contacts: BTreeMap<usize, Timestamp>,
    /// How many states were carried forward.
    pub carried: usize,
    /// Windows that have not expired.
    windows: BTreeSet<(Stream, What)>,
    /// By stream, the end of the last window that has.
    expired: BTreeMap<Stream, Timestamp>,
}

impl Oracle {
    pub fn new(law: Law) -> Self {
        let (fates, holds, facts, contacts) = Default::default();
        Oracle { law, fates, holds, facts, contacts, carried: 0, windows: BTreeSet::new(), expired: BTreeMap::new() }
    }

    /// What is known of a customer. The last contact is the newest record that is no state, or a later one that was reported;
    /// without any, the record in question itself.
    pub fn known(&self, customer: usize) -> Facts {
        let is_there = |fate: &&Fate| matches!(fate.place, Place::Free | Place::Restricted);
        let of_customer = self.fates.iter().filter(|fate| fate.customer == customer).filter(is_there);
        let contacts = of_customer.filter(|fate| !self.law.latest(&fate.stream)).map(|fate| fate.at);
        let contacts = contacts.chain(self.contacts.get(&customer).copied());
        let (ended, closed) = self.facts.get(&customer).copied().unwrap_or_default();
        Facts { ended, closed, contact: Some(contacts.max().unwrap_or(Timestamp::MIN)) }
    }

    pub fn lives(&self, customer: usize) -> bool {
        self.fates.iter().any(|fate| fate.customer == customer && fate.place != Place::Gone)
    }

    fn is_kept(&self, fate: &Fate) -> bool {
        self.holds.values().any(|hold| hold.keeps(fate, &self.law))
    }

    /// Whether a record must be refused because of its window.
    pub fn refuses(&self, stream: &Stream, at: Timestamp, now: Timestamp) -> bool {
        let Some(window) = self.law.window(stream, at) else { return true };
        self.expired.get(stream).is_some_and(|until| at < *until)
            || self.law.over(stream, window, &Facts::default(), now)
    }

    pub fn append(&mut self, id: RecordId, customer: usize, stream: &Stream, at: Timestamp) {
        let window = self.law.window(stream, at).unwrap();
        self.windows.insert((stream.clone(), window));
        let (amends, serial, stream) = (None, self.fates.len(), stream.clone());
        self.fates.push(Fate { id, customer, stream, at, since: at, window, amends, serial, place: Place::Free });
    }

    /// Puts the record `amended` right, which is the last version of it.
    pub fn amend(&mut self, amended: RecordId, id: RecordId) {
        let is_one = |fate: &&Fate| fate.id == amended && fate.place == Place::Free;
        let fate = self.fates.iter().find(is_one).expect("it is shown").clone();
        self.fates.push(Fate { id, amends: Some(amended), serial: self.fates.len(), ..fate });
    }

    /// All versions of a record.
    pub fn versions(&self, id: RecordId) -> BTreeSet<RecordId> {
        let mut versions = BTreeSet::from([id]);
        let mut before = 0;
        while before != versions.len() {
            before = versions.len();
            for (id, amended) in self.fates.iter().filter_map(|fate| Some((fate.id, fate.amends?))) {
                if versions.contains(&id) || versions.contains(&amended) {
                    versions.extend([id, amended]);
                }
            }
        }
        versions
    }

    /// What is asked for of a customer dies, but for windows under a duty and held ones.
    fn erased(&mut self, customer: usize, now: Timestamp, goes: impl Fn(&Fate) -> bool) {
        let facts = self.known(customer);
        let mut fates = std::mem::take(&mut self.fates);
        for fate in fates.iter_mut().filter(|fate| fate.customer == customer && goes(fate)) {
            let duty = fate.place != Place::Remnant && self.law.duty(&fate.stream, fate.window, &facts, now);
            fate.place = match (fate.place, duty || self.is_kept(fate)) {
                (Place::Gone, _) | (_, false) => Place::Gone,
                (Place::Remnant, true) => Place::Remnant,
                (_, true) => Place::Restricted,
            };
        }
        self.fates = fates;
    }

    pub fn erase(&mut self, customer: usize, now: Timestamp) {
        let lived = self.lives(customer);
        self.erased(customer, now, |_| true);
        if !self.lives(customer) {
            self.facts.remove(&customer);
            // What was reported goes with the customer.
            self.contacts.retain(|one, _| *one != customer || !lived);
        }
    }

    pub fn erase_part(&mut self, customer: usize, stream: Option<&Stream>, until: Option<Timestamp>, now: Timestamp) {
        self.erased(customer, now, |fate| {
            fate.place == Place::Free
                && stream.is_none_or(|stream| *stream == fate.stream)
                && until.is_none_or(|until| fate.since < until)
        });
    }

    pub fn redact(&mut self, id: RecordId, now: Timestamp, despite_duty: bool) -> Answer {
        let is_one = |fate: &Fate| fate.id == id && matches!(fate.place, Place::Free | Place::Restricted);
        let Some(index) = self.fates.iter().position(is_one) else { return Answer::NotThere };
        let fate = self.fates[index].clone();
        let facts = self.known(fate.customer);
        if self.holds.values().any(|hold| hold.covers(&fate, &self.law)) {
            Answer::Held
        } else if self.law.duty(&fate.stream, What::Event(fate.at), &facts, now) && !despite_duty {
            Answer::Refused
        } else {
            // In all its versions: who asks for one of them means what they are about.
            let versions = self.versions(id);
            let goes = |fate: &&mut Fate| matches!(fate.place, Place::Free | Place::Restricted);
            let goes = self.fates.iter_mut().filter(|fate| versions.contains(&fate.id)).filter(goes);
            goes.for_each(|fate| fate.place = Place::Gone);
            Answer::Done
        }
    }

    /// Restricted windows whose duty is over go, and those of streams whose maximum runs from a fact about the customer.
    fn expire_rows(&mut self, customers: Option<usize>, now: Timestamp) {
        let due = |fate: &Fate| {
            let facts = self.known(fate.customer);
            let duty = self.law.duty(&fate.stream, fate.window, &facts, now);
            let over = || self.law.by_row(&fate.stream) && self.law.over(&fate.stream, fate.window, &facts, now);
            customers.is_none_or(|one| one == fate.customer)
                && !duty
                && !self.is_kept(fate)
                && (fate.place == Place::Restricted || fate.place == Place::Free && over())
        };
        let due: Vec<usize> = (0..self.fates.len()).filter(|index| due(&self.fates[*index])).collect();
        due.into_iter().for_each(|index| self.fates[index].place = Place::Gone);
    }

    /// The newest records of states that stand in windows which are about to go come to stand in the window of today, unless
    /// their own maximum is over. Of what is held there the old place stays as well.
    fn carry(&mut self, due: &[(Stream, What)], now: Timestamp) {
        let free: Vec<Fate> = self.fates.iter().filter(|fate| self.is_shown(fate, now)).cloned().collect();
        let goes = |fate: &Fate| due.iter().any(|(stream, window)| (stream, *window) == (&fate.stream, fate.window));
        let is_newest = |fate: &Fate| self.law.latest(&fate.stream) && newest(fate, &free);
        let carried: Vec<RecordId> =
            free.iter().filter(|fate| goes(fate) && is_newest(fate)).map(|fate| fate.id).collect();
        let mut fates = std::mem::take(&mut self.fates);
        let mut copies = Vec::new();
        for fate in fates.iter_mut().filter(|fate| carried.contains(&fate.id) && fate.place == Place::Free) {
            let window = self.law.window(&fate.stream, now).expect("a rule covers it");
            self.windows.insert((fate.stream.clone(), window));
            self.carried += 1;
            let copy = Fate { since: now, window, ..fate.clone() };
            match self.is_kept(fate) {
                true => copies.push(copy),
                false => *fate = copy,
            }
        }
        fates.extend(copies);
        self.fates = fates;
    }

    pub fn expire(&mut self, now: Timestamp) {
        let law = &self.law;
        let is_due = |(stream, window): &&(Stream, What)| {
            law.over(stream, *window, &Facts::default(), now) || law.states_over(stream, *window, now)
        };
        let deferred = |(stream, window): &(Stream, What)| {
            self.holds.values().any(|hold| {
                let is_on = hold.customer.is_none() && hold.stream.as_ref().is_none_or(|one| one == stream);
                is_on && hold.meets(stream, *window, law)
            })
        };
        let due: Vec<_> = self.windows.iter().filter(is_due).filter(|one| !deferred(one)).cloned().collect();
        self.carry(&due, now);
        self.expire_rows(None, now);
        for (stream, window) in due {
            let mut fates = std::mem::take(&mut self.fates);
            for fate in fates.iter_mut().filter(|fate| fate.stream == stream && fate.window == window) {
                let stays = fate.place != Place::Gone && self.is_kept(fate);
                fate.place = if stays { Place::Remnant } else { Place::Gone };
            }
            self.fates = fates;
            if let What::Window(_, end) = window {
                let until = self.expired.entry(stream.clone()).or_insert(end);
                *until = end.max(*until);
            }
            self.windows.remove(&(stream, window));
        }
    }

    /// What the hold alone has kept goes, where it is due.
    pub fn release(&mut self, number: u64, now: Timestamp) {
        let Some(hold) = self.holds.remove(&number) else { return };
        let mut fates = std::mem::take(&mut self.fates);
        let concerns = |fate: &Fate| hold.customer.is_none_or(|one| one == fate.customer);
        for fate in fates.iter_mut().filter(|fate| fate.place == Place::Remnant && concerns(fate)) {
            if !self.is_kept(fate) {
                fate.place = Place::Gone;
            }
        }
        self.fates = fates;
        self.expire_rows(hold.customer, now);
    }

    /// Whether `new` has anything that is there go sooner, or be erased sooner, as things stand: that must be confirmed.
    pub fn shortens(&self, new: &Law) -> bool {
        let is_there = |fate: &&Fate| matches!(fate.place, Place::Free | Place::Restricted);
        let mut there = self.fates.iter().filter(is_there);
        there.any(|fate| {
            let facts = self.known(fate.customer);
            let [(least, most), (new_least, new_most)] =
                [&self.law, new].map(|law| law.limits(&fate.stream, fate.at, &facts));
            new_least < least || new_most < most
        })
    }

    /// Whether `new` certainly keeps all there ever was as long: that need not be confirmed.
    pub fn keeps_as_long(&self, new: &Law) -> bool {
        let streams: BTreeSet<&Stream> = self.fates.iter().map(|fate| &fate.stream).collect();
        streams.into_iter().all(|stream| self.law.keeps_as_long(new, stream))
    }

    /// Whether a duty or a maximum of anything there ends in between.
    pub fn turns(&self, from: Timestamp, until: Timestamp) -> bool {
        self.fates.iter().any(|fate| {
            let facts = self.known(fate.customer);
            let says = |what, now| {
                (self.law.over(&fate.stream, what, &facts, now), self.law.duty(&fate.stream, what, &facts, now))
            };
            [What::Event(fate.at), fate.window].into_iter().any(|what| says(what, from) != says(what, until))
        })
    }

    /// Whether anybody is shown it, as far as its own maximum is concerned.
    fn is_shown(&self, fate: &Fate, now: Timestamp) -> bool {
        let facts = self.known(fate.customer);
        fate.place == Place::Free && !self.law.over(&fate.stream, What::Event(fate.at), &facts, now)
    }

    pub fn seen(&self, now: Timestamp) -> Seen {
        let mut seen = Seen::default();
        for fate in self.fates.iter().filter(|fate| fate.place != Place::Gone) {
            let (facts, event) = (self.known(fate.customer), What::Event(fate.at));
            let held = self.holds.values().any(|hold| hold.covers(fate, &self.law));
            let duty = self.law.duty(&fate.stream, event, &facts, now);
            // What was carried while it was a state, and is none any more, is held where it stands.
            if held && self.is_kept(fate) {
                seen.held.insert(fate.id);
            }
            if fate.place == Place::Restricted && (held || duty) {
                seen.restricted.insert(fate.id);
            }
        }
        // Of state the newest counts, and of what was put right the last version.
        let free: Vec<Fate> = self.fates.iter().filter(|fate| self.is_shown(fate, now)).cloned().collect();
        let counts = |fate: &&Fate| {
            let is_last = !free.iter().any(|one| one.amends == Some(fate.id));
            is_last && (!self.law.latest(&fate.stream) || newest(fate, &free))
        };
        Seen { free: free.iter().filter(counts).map(|fate| fate.id).collect(), ..seen }
    }

    /// In how many places anything stands: what was carried forward is also there where it is held.
    pub fn places(&self) -> usize {
        self.fates.iter().filter(|fate| fate.place != Place::Gone).count()
    }

    pub fn alive(&self) -> BTreeSet<RecordId> {
        self.fates.iter().filter(|fate| fate.place != Place::Gone).map(|fate| fate.id).collect()
    }
}
