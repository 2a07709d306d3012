//! What falls due by row: restricted parts whose duty is over, and streams whose maximum runs from a fact about the
//! customer. There is no list of them, so customers are gone through; what comes next is remembered, so that who asks often
//! does not go through them in vain.

use crate::sync::{Arc, Mutex};

use super::hold::standing;
use super::partitions::Partition;
use super::row::reaches;
use super::visible::covered;
use super::{Engine, duty};
use crate::error::Result;
use crate::format::ledger::{Act, Going, Holds, Span};
use crate::ident::{CustomerId, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState, Secret, SecretScope, StreamUse};
use crate::policy::{Facts, Happened, Policy, Terms};
use crate::window::{Day, Timestamp};

/// Customers of whom one act lets parts go: so many that it and its rewrite stay short.
pub const AT_ONCE: usize = 4096;
/// Where periods run from facts about customers, they are gone through no more often than this, in seconds.
const LOOK_SECONDS: i64 = 86_400;

/// When something falls due next, as far as that is known.
#[derive(Default)]
pub struct Schedule(Mutex<Option<Next>>);

#[derive(Clone, Copy)]
struct Next {
    /// By this version of the policy.
    policy: u32,
    /// Nothing before this time; never, where there is none.
    at: Option<Timestamp>,
}

impl Schedule {
    /// Something has changed that it may depend on.
    pub fn forget(&self) {
        *self.0.lock().expect("no holder of this lock panics") = None;
    }

    fn has_nothing(&self, policy: u32, now: Timestamp) -> bool {
        let next = *self.0.lock().expect("no holder of this lock panics");
        next.is_some_and(|next| next.policy == policy && next.at.is_none_or(|at| now < at))
    }

    fn remember(&self, policy: u32, at: Option<Timestamp>) {
        *self.0.lock().expect("no holder of this lock panics") = Some(Next { policy, at });
    }
}

/// A customer of whom something is due.
#[derive(Clone, Debug)]
pub struct DueRow {
    /// Who.
    pub customer: CustomerId,
    /// The customer's name where no id may stand.
    pub subject: SubjectNumber,
    /// What goes.
    pub going: Vec<Going>,
}

impl DueRow {
    /// Whether all of something goes, and not what is restricted alone.
    pub fn takes_all(&self) -> bool {
        self.going.iter().any(|going| going.all)
    }
}

/// What of `rows` is due still, now that nobody writes: where all of something goes, something new may have come.
///
/// # Errors
/// Damage in what has to be read.
pub fn still_due(engine: &Engine, rows: Vec<DueRow>, now: Timestamp) -> Result<Vec<DueRow>> {
    let (policy, holds) = (engine.policy(), standing(engine));
    let mut still = Vec::with_capacity(rows.len());
    for mut row in rows {
        if row.takes_all() {
            let found = engine.keyring.customer(&row.customer)?.filter(|found| found.entry.subject == row.subject);
            let Some(found) = found else { continue };
            row.going = of_customer(engine, (&policy, &holds), &found.entry, now, &mut None)?;
        }
        if !row.going.is_empty() {
            still.push(row);
        }
    }
    Ok(still)
}

/// Up to `limit` customers of whom something is due at `now`, by subject number.
///
/// # Errors
/// Damage in the keyring.
pub fn due(engine: &Engine, now: Timestamp, limit: usize) -> Result<Vec<DueRow>> {
    let version = engine.ledger().state().policy.0;
    if !may_be_any(engine) || engine.schedule.has_nothing(version, now) {
        return Ok(Vec::new());
    }
    let (policy, holds) = (engine.policy(), standing(engine));
    let (mut due, mut next) = (Vec::new(), None);
    engine.keyring.walk_customers(&mut |customer| {
        if customer.state == CustomerState::Living && due.len() < limit {
            let going = of_customer(engine, (&policy, &holds), customer, now, &mut next)?;
            if !going.is_empty() {
                due.push(DueRow { customer: customer.id.clone(), subject: customer.subject, going });
            }
        }
        Ok(())
    })?;
    if due.is_empty() {
        // What is taken in later may be due before that, or take the place of an older contact: nothing but a look tells.
        let tomorrow = policy.ends_by_row().then(|| now.plus_seconds(LOOK_SECONDS));
        engine.schedule.remember(version, next.into_iter().chain(tomorrow).min());
    }
    due.sort_unstable_by_key(|row| row.subject);
    Ok(due)
}

/// Whether there can be anything to look for.
fn may_be_any(engine: &Engine) -> bool {
    let ledger = engine.ledger();
    let acts = &ledger.state().acts.by_number;
    let leaves_some = |act: &Act| match act {
        Act::Erase { kept, .. } => !kept.is_empty(),
        Act::ErasePart { kept, .. } => !kept.is_empty(),
        _ => false,
    };
    let by_row = engine.policy().ends_by_row();
    by_row || ledger.state().gap.is_some() || acts.values().any(|state| leaves_some(&state.act))
}

/// What of a customer is due. `next` becomes the earliest time at which more will be.
fn of_customer(
    engine: &Engine,
    (policy, holds): (&Policy, &Holds),
    customer: &CustomerEntry,
    now: Timestamp,
    next: &mut Option<Timestamp>,
) -> Result<Vec<Going>> {
    let by_row = |used: &StreamUse| policy.terms(&used.stream).is_some_and(|terms| terms.ends_by_row());
    if !customer.is_restricted() && !customer.streams.iter().any(by_row) {
        return Ok(Vec::new());
    }
    let Some(facts) = facts(engine, policy, customer, now, next)? else { return Ok(Vec::new()) };
    let mut going: Vec<Going> = Vec::new();
    for Place { partition, held, restricted } in places(engine, holds, customer) {
        let place = (&partition.id.stream, &partition.id.window);
        if duty::is_due(policy, place, (&facts, held, restricted), now) {
            add(&mut going, Span::of(&partition.id), !restricted);
        } else if !held {
            *next = duty::next(policy, place, (&facts, restricted), now).into_iter().chain(*next).min();
        }
    }
    Ok(going)
}

/// Where a customer may have something: what anybody may read, or what an erasure has left.
struct Place {
    partition: Arc<Partition>,
    held: bool,
    restricted: bool,
}

fn places(engine: &Engine, holds: &Holds, customer: &CustomerEntry) -> Vec<Place> {
    let mut places = Vec::new();
    for partition in covered(engine, customer) {
        let held = holds.on(&customer.subject).any(|(_, hold)| hold.scope.meets(&partition.id));
        let reaching = || customer.secrets.iter().filter(|secret| reaches(secret, &partition));
        for restricted in [false, true] {
            if reaching().any(|secret| secret.restricted == restricted) {
                places.push(Place { partition: partition.clone(), held, restricted });
            }
        }
    }
    places
}

/// What lies ahead of a customer, of all that ends by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing of theirs ends by row.
    Nothing,
    /// The time of something has come.
    Due,
    /// The first falls due then.
    At {
        /// When.
        due: Timestamp,
        /// When somebody is to be told of it.
        notice: Option<Timestamp>,
    },
    /// What it runs from is outstanding.
    Waits,
    /// Holds keep it.
    Held,
}

/// What lies ahead of `customer` at `now`. Where a period runs from the last contact, that is read.
///
/// # Errors
/// Damage in what has to be read.
pub fn outlook(
    engine: &Engine,
    (policy, holds): (&Policy, &Holds),
    customer: &CustomerEntry,
    now: Timestamp,
) -> Result<Outlook> {
    let mut facts = None;
    let mut outlook = Outlook::Nothing;
    for Place { partition, held, restricted } in places(engine, holds, customer) {
        let (stream, window) = (&partition.id.stream, &partition.id.window);
        let terms = policy.terms(stream).filter(Terms::ends_by_row);
        if !restricted && terms.is_none() {
            continue;
        }
        if facts.is_none() {
            facts = Some(duty::facts(engine, policy, customer)?);
        }
        let Some(facts) = &facts else { continue };
        if duty::is_due(policy, (stream, window), (facts, held, restricted), now) {
            return Ok(Outlook::Due);
        }
        let next = duty::next(policy, (stream, window), (facts, restricted), now);
        outlook = match (next, outlook) {
            _ if held => {
                if outlook == Outlook::Nothing {
                    Outlook::Held
                } else {
                    outlook
                }
            }
            (Some(due), Outlook::At { due: first, .. }) if first <= due => outlook,
            (Some(due), _) => {
                let limit = terms.and_then(|terms| terms.limit(Happened::Within(*window), facts));
                Outlook::At { due, notice: limit.filter(|limit| limit.at == due).and_then(|limit| limit.notice) }
            }
            (None, Outlook::At { .. }) => outlook,
            (None, _) => Outlook::Waits,
        };
    }
    Ok(outlook)
}

/// What is known of a customer, the last contact read only where it can have been long enough ago: none where nothing of the
/// customer can be due before it was.
fn facts(
    engine: &Engine,
    policy: &Policy,
    customer: &CustomerEntry,
    now: Timestamp,
    next: &mut Option<Timestamp>,
) -> Result<Option<Facts>> {
    let of_records = earliest_contact(engine, policy, customer);
    let earliest = duty::reported_contact(&customer.anchors).map_or(of_records, |reported| reported.max(of_records));
    let earliest = Facts { last_contact: Some(earliest), ..duty::reported(&customer.anchors) };
    let may_be_due = customer.is_restricted()
        || covered(engine, customer).iter().any(|partition| {
            let place = (&partition.id.stream, &partition.id.window);
            let due = duty::is_due(policy, place, (&earliest, false, false), now);
            if !due {
                *next = duty::next(policy, place, (&earliest, false), now).into_iter().chain(*next).min();
            }
            due
        });
    may_be_due.then(|| duty::facts(engine, policy, customer)).transpose()
}

/// A time that the last contact was no earlier than: the beginning of the last year in which anything but state was used. A
/// row that was taken apart may have lost the records of that year, and so may one whose columns have expired: then nothing
/// but a look tells.
fn earliest_contact(engine: &Engine, policy: &Policy, customer: &CustomerEntry) -> Timestamp {
    let nothing = Timestamp::from_micros(i64::MIN);
    if !matches!(&customer.secrets[..], [Secret { scope: SecretScope::Whole, restricted: false, .. }]) {
        return nothing;
    }
    let began = |used: &StreamUse| {
        let first = Day::first_of(used.last_year)?.start();
        let is_state = policy.terms(&used.stream).is_some_and(|terms| terms.latest());
        let is_there = engine.fences.expired_until(&used.stream).is_none_or(|until| until <= first);
        (is_there && !is_state).then_some(first)
    };
    customer.streams.iter().filter_map(began).max().unwrap_or(nothing)
}

/// Adds a span to the last where one follows from the other.
fn add(going: &mut Vec<Going>, span: Span, all: bool) {
    let last = going.iter_mut().rev().find(|last| last.all == all).map(|last| &mut last.span);
    match last.filter(|last| last.stream == span.stream && span.from <= last.until) {
        Some(last) => last.until = last.until.max(span.until),
        None => going.push(Going { span, all }),
    }
}

/// What falls due of one customer when hold `number` is lifted.
///
/// # Errors
/// Damage in what has to be read.
pub fn without_hold(engine: &Engine, customer: &CustomerEntry, number: u64, now: Timestamp) -> Result<Vec<Going>> {
    let (policy, mut holds) = (engine.policy(), standing(engine));
    holds.standing.remove(&number);
    of_customer(engine, (&policy, &holds), customer, now, &mut None)
}
