//! How a fact changes the state, and which facts cannot be true.

use std::collections::{BTreeMap, HashSet};

use super::{AccessLogs, AccessMark, Act, ActState, Acts, Effect, Fact, Gap, Holds, SegmentFact, SegmentRef, State};
use crate::format::bytes::Malformed;
use crate::format::position::Known;
use crate::ident::StoreId;
use crate::window::Timestamp;

impl State {
    /// The state after the first leaf.
    pub(super) fn created(store: StoreId, format: u16, time: Timestamp) -> State {
        State {
            store,
            format,
            policy: (0, String::new()),
            opening: 0,
            epoch: 0,
            segments: BTreeMap::new(),
            dictionaries: BTreeMap::new(),
            next_segment: 1,
            settled_through: 0,
            next_journal: 1,
            sources: BTreeMap::new(),
            known: Known::default(),
            watermark: time,
            clean: false,
            acts: Acts::default(),
            holds: Holds::default(),
            gap: None,
            access: AccessLogs::default(),
        }
    }

    /// Checks `facts` in order. Returns the state after them where finding out took building it: more than one fact.
    pub(super) fn with(&self, facts: &[Fact], time: Timestamp) -> Result<Option<State>, Malformed> {
        match facts {
            [fact] => self.check(fact).map(|()| None),
            facts => {
                let mut changed = self.clone();
                facts.iter().try_for_each(|fact| changed.apply(fact, time))?;
                Ok(Some(changed))
            }
        }
    }

    /// Takes over the outcome of [`State::with`], called with the same facts.
    pub(super) fn become_changed(&mut self, changed: Option<State>, facts: &[Fact], time: Timestamp) {
        match changed {
            Some(changed) => *self = changed,
            None => facts.iter().for_each(|fact| self.change(fact, time)),
        }
    }

    /// Checks one fact and lets it change the state; an error leaves the state as it was.
    pub(super) fn apply(&mut self, fact: &Fact, time: Timestamp) -> Result<(), Malformed> {
        self.check(fact)?;
        self.change(fact, time);
        Ok(())
    }

    fn check(&self, fact: &Fact) -> Result<(), Malformed> {
        match fact {
            Fact::StoreCreated { .. } => Err(Malformed("a store is created once, by its first leaf")),
            Fact::SnapshotTaken { .. } => Err(Malformed("a snapshot stands at the start of a file alone")),
            Fact::Opened { opening, .. } if *opening <= self.opening => Err(Malformed("an opening repeats a number")),
            Fact::PolicySet { version, .. } if *version <= self.policy.0 => {
                Err(Malformed("a policy repeats a version"))
            }
            Fact::Settled { journals, segments, .. } => {
                let mut settled = self.settled_through;
                for (file, _) in journals {
                    if *file <= settled {
                        return Err(Malformed("a journal file is settled twice or out of order"));
                    }
                    settled = *file;
                }
                segments.iter().try_for_each(|segment| self.check_segment(segment))?;
                distinct(segments.iter().map(|segment| segment.segment))
            }
            Fact::Merged { old, new } => {
                old.iter().try_for_each(|old| self.check_old(old))?;
                distinct(old.iter().map(|old| old.segment))?;
                match old.first() {
                    None => return Err(Malformed("a merge names no old segment")),
                    Some(first) => {
                        let one = old.iter().map(|old| old.partition).chain(new.iter().map(|new| new.partition));
                        if one.into_iter().any(|partition| partition != first.partition) {
                            return Err(Malformed("a merge crosses partitions"));
                        }
                    }
                }
                new.iter().try_for_each(|new| self.check_segment(new))
            }
            Fact::Dictionary(new) => match self.dictionaries.get(&new.partition) {
                _ if new.partition.0 == 0 => Err(Malformed("a dictionary has no partition")),
                Some(known) if known.iter().any(|known| known.dictionary == new.dictionary) => {
                    Err(Malformed("a dictionary is named twice"))
                }
                _ => Ok(()),
            },
            Fact::Gap(gap)
                if gap.settled_through > self.settled_through
                    || gap.next_journal < self.next_journal
                    || gap.next_segment < self.next_segment
                    || gap.acts_given.saturating_add(1) < self.acts.next() =>
            {
                Err(Malformed("a gap gives numbers again"))
            }
            Fact::Intended { number, .. } if *number != self.acts.next() => {
                Err(Malformed("an act is not numbered one more than the last"))
            }
            Fact::Effected { number, .. } | Fact::Done { number } if !self.acts.by_number.contains_key(number) => {
                Err(Malformed("an act has an effect before it was intended"))
            }
            Fact::HoldPlaced { number, .. } if *number == 0 || self.holds.standing.contains_key(number) => {
                Err(Malformed("a hold repeats a number"))
            }
            Fact::AccessNoted { logs } if logs.iter().any(|mark| self.runs_back(mark)) => {
                Err(Malformed("an access log is noted that has become shorter, or whose month is over"))
            }
            Fact::HoldReleased { number } if !self.holds.standing.contains_key(number) => {
                Err(Malformed("a hold is released that does not stand"))
            }
            _ => Ok(()),
        }
    }

    fn runs_back(&self, mark: &AccessMark) -> bool {
        let known = self.access.marks.get(&mark.key());
        known.is_some_and(|known| known.length > mark.length) || Some(mark.month) <= self.access.dropped_through
    }

    fn check_segment(&self, new: &SegmentFact) -> Result<(), Malformed> {
        if new.segment < self.next_segment {
            return Err(Malformed("a segment repeats a number"));
        }
        if new.partition.0 == 0 || new.first_day > new.last_day {
            return Err(Malformed("a segment has no partition, or ends before it begins"));
        }
        Ok(())
    }

    fn check_old(&self, old: &SegmentRef) -> Result<(), Malformed> {
        match self.segments.get(&(old.partition, old.segment)) {
            Some(known) if known.hash == old.hash => Ok(()),
            _ => Err(Malformed("a merge names a segment that is not there")),
        }
    }

    /// Cannot fail: [`State::check`] has passed.
    fn change(&mut self, fact: &Fact, time: Timestamp) {
        self.watermark = time;
        // A snapshot changes nothing, and so does not end a clean close either.
        self.clean = match fact {
            Fact::CleanClose { .. } => true,
            Fact::SnapshotTaken { .. } => self.clean,
            _ => false,
        };
        match fact {
            Fact::Opened { opening, .. } => self.opening = *opening,
            Fact::PolicySet { version, text } => self.policy = (*version, text.clone()),
            Fact::Settled { journals, segments, sources, known } => {
                if let Some((file, _)) = journals.last() {
                    self.settled_through = *file;
                }
                segments.iter().for_each(|segment| self.insert(segment));
                self.sources.extend(sources.iter().copied());
                self.learn(*known);
            }
            Fact::Merged { old, new } => {
                for old in old {
                    self.segments.remove(&(old.partition, old.segment));
                }
                new.iter().for_each(|new| self.insert(new));
            }
            Fact::RootSealed { epoch } => self.epoch = *epoch,
            Fact::CleanClose { known } => self.learn(*known),
            Fact::Intended { number, act } => self.intend(*number, act, time),
            Fact::Effected { number, effect } => self.effect(*number, effect, time),
            Fact::Done { number } => {
                if let Some(state) = self.acts.by_number.get_mut(number) {
                    state.done.get_or_insert(time);
                }
            }
            Fact::AccessNoted { logs } => {
                self.access.marks.extend(logs.iter().map(|mark| (mark.key(), *mark)));
            }
            Fact::AccessDropped { month } => {
                self.access.dropped_through = self.access.dropped_through.max(Some(*month));
                self.access.marks.retain(|(known, _), _| known > month);
            }
            Fact::Gap(gap) => self.leap(gap),
            Fact::HoldPlaced { number, hold } => {
                self.holds.given = self.holds.given.max(*number);
                self.holds.standing.insert(*number, hold.clone());
            }
            Fact::HoldReleased { number } => drop(self.holds.standing.remove(number)),
            Fact::Dictionary(new) => self.dictionaries.entry(new.partition).or_default().push(new.clone()),
            Fact::FenceLapsed { erased } => self.acts.lapsed_fence = self.acts.lapsed_fence.max(Some(*erased)),
            Fact::StoreCreated { .. }
            | Fact::Watermark
            | Fact::ClockTrusted { .. }
            | Fact::Reported { .. }
            | Fact::SnapshotTaken { .. } => {}
        }
    }

    fn intend(&mut self, number: u64, act: &Act, time: Timestamp) {
        match act {
            Act::Expire { partitions, held, .. } => {
                for (partition, stream, end) in partitions {
                    self.acts.expired.insert(*partition);
                    let until = self.acts.expired_until.entry(stream.clone()).or_insert(*end);
                    *until = (*until).max(*end);
                }
                for (partition, subjects) in held {
                    self.acts.held.entry(*partition).or_default().extend(subjects);
                }
            }
            Act::Release { hold, .. } => drop(self.holds.standing.remove(hold)),
            _ => {}
        }
        let state = ActState {
            act: act.clone(),
            intended: time,
            fenced: None,
            shredded: None,
            is_final: false,
            evidence: String::new(),
            scrubbed: None,
            done: None,
        };
        self.acts.by_number.insert(number, state);
    }

    fn effect(&mut self, number: u64, effect: &Effect, time: Timestamp) {
        let Some(state) = self.acts.by_number.get_mut(&number) else { return };
        match effect {
            Effect::Fenced => drop(state.fenced.get_or_insert(time)),
            Effect::Scrubbed => drop(state.scrubbed.get_or_insert(time)),
            Effect::Shredded { epoch, is_final, evidence } => {
                state.shredded = Some((time, *epoch));
                state.is_final = *is_final;
                evidence.clone_into(&mut state.evidence);
                let act = state.act.clone();
                self.shredded(&act);
            }
        }
    }

    /// Segments that are ciphertext without a key are invisible from here on.
    fn shredded(&mut self, act: &Act) {
        let mut dead = HashSet::new();
        match act {
            Act::Expire { partitions, .. } => dead.extend(partitions.iter().map(|(partition, ..)| *partition)),
            Act::Release { cells, .. } => {
                cells.iter().for_each(|(partition, subjects)| self.acts.let_go(*partition, subjects));
                dead.extend(cells.iter().map(|(partition, _)| *partition));
            }
            Act::Erase { subjects, .. } => {
                dead.extend(self.acts.held.keys());
                dead.iter().for_each(|partition| self.acts.let_go(*partition, subjects));
            }
            Act::ErasePart { .. } | Act::Redact { .. } => {}
        }
        dead.retain(|partition| !self.acts.held.contains_key(partition) && self.acts.expired.contains(partition));
        if !dead.is_empty() {
            self.segments.retain(|(partition, _), _| !dead.contains(partition));
            self.dictionaries.retain(|partition, _| !dead.contains(partition));
        }
    }

    fn leap(&mut self, gap: &Gap) {
        self.settled_through = gap.settled_through;
        self.next_journal = gap.next_journal;
        self.next_segment = gap.next_segment;
        let acts = &mut self.acts;
        acts.given = acts.given.max(gap.acts_given);
        acts.lapsed_fence = acts.lapsed_fence.max(Some(gap.lapsed_fence));
        acts.expired.extend(&gap.expired);
        for (stream, end) in &gap.expired_until {
            let until = acts.expired_until.entry(stream.clone()).or_insert(*end);
            *until = (*until).max(*end);
        }
        // What is held in a partition that still has its key is left to the act that was about to take it.
        acts.held.retain(|partition, _| !gap.expired.contains(partition));
        for (partition, subjects) in &gap.held {
            acts.held.insert(*partition, subjects.iter().copied().collect());
        }
        let held = &acts.held;
        self.segments.retain(|(partition, _), _| !gap.expired.contains(partition) || held.contains_key(partition));
        let held = &self.acts.held;
        self.dictionaries.retain(|partition, _| !gap.expired.contains(partition) || held.contains_key(partition));
        self.gap = Some(gap.clone());
    }

    /// Lets the first leaf of a file that begins with a snapshot pass.
    pub(super) fn snapshot_taken(&mut self, fact: &Fact, time: Timestamp) {
        self.change(fact, time);
    }

    fn insert(&mut self, segment: &SegmentFact) {
        self.next_segment = self.next_segment.max(segment.segment.saturating_add(1));
        self.segments.insert((segment.partition, segment.segment), segment.clone());
    }

    fn learn(&mut self, known: Known) {
        self.known = self.known.or_later(known);
        let last = self.settled_through.max(self.known.journal.file);
        self.next_journal = self.next_journal.max(last.saturating_add(1));
    }
}

fn distinct(numbers: impl Iterator<Item = u64>) -> Result<(), Malformed> {
    let mut seen = HashSet::new();
    for number in numbers {
        if !seen.insert(number) {
            return Err(Malformed("a segment is named twice"));
        }
    }
    Ok(())
}
