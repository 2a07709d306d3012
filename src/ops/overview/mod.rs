//! Overview: where the store stands by its policy, for a report. It opens no frame, and tells of nobody.

mod rows;
mod whose;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crowd::{self, Part};
use crate::engine::{Engine, hold};
use crate::error::Result;
use crate::ops::audit;
use crate::ops::receipt::receipts;
use crate::ops::refresh::settled;
use crate::ops::stats;
use crate::policy::{Facts, Happened, Policy};
use crate::report::{
    AccessByRole, ActsReport, Age, Due, Holding, Noticed, Overdue, PartitionStats, Receipt, Report, ReportOptions,
    Slice, StreamGrowth, Times, Verb, Volume,
};
use crate::window::{Day, Period, Timestamp};
use rows::Rows;

/// How far a report looks ahead.
const MONTHS_AHEAD: u32 = 24;
/// How far it looks back on who used the store.
const ACCESS_DAYS: i64 = 30;
/// Where one age ends and the next begins, in months.
const AGES: [u32; 14] = [0, 3, 6, 9, 12, 24, 36, 48, 60, 72, 84, 96, 108, 120];

/// The overview of a store.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] where groups of fewer than 20 are asked for; damage in the keyring.
pub fn overview(engine: &Engine, options: &ReportOptions) -> Result<Report> {
    crowd::check(options.crowd)?;
    settled(engine, || gather(engine, options))
}

fn gather(engine: &Engine, options: &ReportOptions) -> Result<Report> {
    let (policy, now) = (engine.policy(), options.now.unwrap_or_else(|| engine.now()));
    let stats = stats::gather(engine, now)?;
    let mut rows = Rows::new(engine, now, options.crowd);
    let whose = whose::whose(engine, &engine.catalog.snapshot(), options.crowd, &mut |customer| rows.add(customer))?;
    let row_damage = std::mem::take(&mut rows.damage);
    let rows = rows.told();
    let stored: Vec<&PartitionStats> = stats.partitions.iter().filter(|one| one.records > 0).collect();
    let part = |one: &&PartitionStats| Part {
        customers: whose.customers.get(&one.partition).cloned().unwrap_or_default(),
        weight: one.records,
        alike: crowd::alike(&one.partition.stream, one.partition.window.first_day()),
    };
    let parts: Vec<_> = stored.iter().map(part).collect();
    let groups = crowd::crowds(&parts, options.crowd);
    let told = Told { partitions: &stored, groups: groups.as_deref().unwrap_or_default() };
    // The ledger is let go of before anything else asks for it.
    let version = engine.ledger().state().policy.0;
    let mut damage = stats.damage;
    damage.extend(whose.damage.into_iter().chain(row_damage));
    let from = now.plus_seconds(-ACCESS_DAYS * 86_400);
    let access = AccessByRole { from, roles: audit::by_role(engine, from, &mut damage)? };
    damage.sort();
    damage.dedup();
    Ok(Report {
        store: stats.store,
        now,
        crowd: options.crowd,
        policy: version,
        customers: Some(rows.living).filter(|count| *count >= options.crowd || *count == 0),
        total: groups.is_some().then(|| told.all()),
        overdue: told.overdue(),
        rows_overdue: rows.overdue,
        notices: told.notices(&policy, now),
        due: told.slices(|one| due(&policy, one, now)),
        scheduled: rows.scheduled,
        streams: told.streams(),
        months: told.slices(|one| crowd::month(one.partition.window.first_day())),
        ages: told.slices(|one| age(one, now)),
        holds: holding(engine, &stats.partitions)?,
        restricted: rows.restricted,
        access,
        acts: acts(&receipts(engine)?),
        damage,
    })
}

/// What may be told: partitions with records, and the groups in which.
struct Told<'a> {
    partitions: &'a [&'a PartitionStats],
    groups: &'a [Vec<usize>],
}

impl Told<'_> {
    fn of(&self, group: &[usize]) -> impl Iterator<Item = &PartitionStats> {
        group.iter().map(|index| self.partitions[*index])
    }

    fn volume(&self, group: &[usize]) -> Volume {
        let mut volume = Volume::default();
        self.of(group).for_each(|one| volume.add(&one.into()));
        volume
    }

    fn all(&self) -> Volume {
        let mut volume = Volume::default();
        self.groups.iter().for_each(|group| volume.add(&self.volume(group)));
        volume
    }

    /// A table by `label`, in its order; last what is put together of several.
    fn slices<T: Ord + Clone>(&self, label: impl Fn(&PartitionStats) -> T) -> Vec<Slice<T>> {
        self.slices_of(self.groups.iter(), label)
    }

    fn slices_of<'g, T: Ord + Clone>(
        &self,
        groups: impl Iterator<Item = &'g Vec<usize>>,
        label: impl Fn(&PartitionStats) -> T,
    ) -> Vec<Slice<T>> {
        let mut table: BTreeMap<(bool, Option<T>), Volume> = BTreeMap::new();
        for group in groups {
            let of = crowd::common(self.of(group).map(&label));
            table.entry((of.is_none(), of)).or_default().add(&self.volume(group));
        }
        table.into_iter().map(|((_, of), volume)| Slice { of, volume }).collect()
    }

    fn streams(&self) -> Vec<StreamGrowth> {
        let class = |group: &[usize]| crowd::common(self.of(group).map(|one| one.partition.stream.class()));
        let place = |group: &[usize]| crowd::common(self.of(group).map(|one| one.partition.stream.jurisdiction()));
        let mut streams: BTreeMap<_, Vec<&Vec<usize>>> = BTreeMap::new();
        for group in self.groups {
            let (class, place) = (class(group), place(group));
            streams.entry((class.is_none(), class, place.is_none(), place)).or_default().push(group);
        }
        let mut told = Vec::new();
        for ((_, class, _, place), groups) in streams {
            let mut volume = Volume::default();
            groups.iter().for_each(|group| volume.add(&self.volume(group)));
            let months = self.slices_of(groups.into_iter(), |one| crowd::month(one.partition.window.first_day()));
            let (class, jurisdiction) = (class.map(str::to_owned), place.map(str::to_owned));
            told.push(StreamGrowth { class, jurisdiction, volume, months });
        }
        told
    }

    /// The volume of a partition, where its customers are enough to be told of by themselves.
    fn volume_alone(&self, index: usize) -> Option<Volume> {
        self.groups.iter().any(|group| **group == [index]).then(|| self.partitions[index].into())
    }

    fn notices(&self, policy: &Policy, now: Timestamp) -> Vec<Noticed> {
        let running = self.partitions.iter().enumerate().filter_map(|(index, one)| {
            let partition = &one.partition;
            let limit = policy.terms(&partition.stream)?.limit(Happened::Within(partition.window), &Facts::NONE)?;
            let since = limit.notice.filter(|since| one.held == 0 && *since <= now && now < limit.at)?;
            let volume = self.volume_alone(index);
            Some(Noticed { partition: partition.clone(), since, deadline: limit.at, volume })
        });
        let mut running: Vec<Noticed> = running.collect();
        running.sort_by(|a, b| a.deadline.cmp(&b.deadline).then_with(|| a.partition.cmp(&b.partition)));
        running
    }

    fn overdue(&self) -> Vec<Overdue> {
        let late = self.partitions.iter().enumerate().filter_map(|(index, one)| {
            let deadline = one.deadline.filter(|_| one.overdue)?;
            Some(Overdue { partition: one.partition.clone(), deadline, volume: self.volume_alone(index) })
        });
        let mut late: Vec<Overdue> = late.collect();
        late.sort_by(|a, b| a.deadline.cmp(&b.deadline).then_with(|| a.partition.cmp(&b.partition)));
        late
    }
}

fn due(policy: &Policy, one: &PartitionStats, now: Timestamp) -> Due {
    match one.deadline {
        _ if one.held > 0 || one.deferred => Due::Held,
        Some(_) if one.overdue => Due::Overdue,
        Some(deadline) => month_ahead(deadline, now).map_or(Due::Later, Due::In),
        None => match policy.terms(&one.partition.stream).is_some_and(|terms| terms.ends_by_row()) {
            true => Due::ByCustomer,
            false => Due::Never,
        },
    }
}

/// The month of a time to come, if it is one that a report of `now` tells apart.
fn month_ahead(at: Timestamp, now: Timestamp) -> Option<Day> {
    let end = crowd::month(now.day()).start().plus(Period::months(MONTHS_AHEAD)).day();
    Some(crowd::month(at.day())).filter(|month| *month < end)
}

fn age(one: &PartitionStats, now: Timestamp) -> Age {
    let begun = one.partition.window.start();
    let older = AGES.iter().rposition(|months| begun <= now.minus(Period::months(*months))).unwrap_or(0);
    Age { from_months: AGES[older], until_months: AGES.get(older + 1).copied() }
}

fn holding(engine: &Engine, partitions: &[PartitionStats]) -> Result<Holding> {
    let standing = hold::standing(engine).standing;
    let placed = engine.keyring.holds()?.into_iter().filter(|hold| standing.contains_key(&hold.number));
    Ok(Holding {
        standing: standing.len() as u64,
        oldest: placed.map(|hold| hold.placed).min(),
        partitions: partitions.iter().filter(|one| one.held > 0 || one.deferred).count() as u64,
    })
}

fn acts(receipts: &[Receipt]) -> Vec<ActsReport> {
    let verbs = [Verb::Expire, Verb::Erase, Verb::ErasePart, Verb::Redact, Verb::Release];
    let of_verb = verbs.into_iter().map(|verb| {
        let all: Vec<&Receipt> = receipts.iter().filter(|receipt| receipt.verb == verb).collect();
        let mut stages: Vec<(&'static str, u64)> =
            ["intended", "fenced", "cleared", "final", "scrubbed"].into_iter().map(|stage| (stage, 0)).collect();
        for receipt in &all {
            stages.iter_mut().filter(|(stage, _)| *stage == receipt.stage()).for_each(|(_, count)| *count += 1);
        }
        let times = |reached: fn(&Receipt) -> Option<Timestamp>| times(&all, reached);
        ActsReport {
            verb,
            count: all.len() as u64,
            stages: stages.into_iter().filter(|(_, count)| *count > 0).collect(),
            fenced: times(|receipt| receipt.fenced),
            shredded: times(|receipt| receipt.shredded),
            finished: times(|receipt| receipt.shredded.filter(|_| receipt.is_final)),
            scrubbed: times(|receipt| receipt.scrubbed),
        }
    });
    of_verb.filter(|acts| acts.count > 0).collect()
}

fn times(receipts: &[&Receipt], reached: fn(&Receipt) -> Option<Timestamp>) -> Times {
    let took = |receipt: &&Receipt| {
        let micros = reached(receipt)?.as_micros().saturating_sub(receipt.intended.as_micros());
        Some(Duration::from_micros(micros.max(0).unsigned_abs()))
    };
    let mut took: Vec<Duration> = receipts.iter().filter_map(took).collect();
    took.sort_unstable();
    let middle = took.get(took.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    Times { count: took.len() as u64, median: middle, max: took.last().copied().unwrap_or_default() }
}
