//! What is scheduled by row: of how many customers something falls due, and when. Every customer counts once, so that the
//! counts are sums over groups that have nobody in common.

use std::collections::BTreeMap;

use crate::crowd::{self, Customers, Part};
use crate::engine::Engine;
use crate::engine::hold::standing;
use crate::engine::schedule::{Outlook, outlook};
use crate::error::Result;
use crate::format::ledger::Holds;
use crate::ident::SubjectNumber;
use crate::keyring::CustomerEntry;
use crate::ops::refresh::has_moved;
use crate::policy::Policy;
use crate::report::{Damage, Restriction, RowDue, Scheduled};
use crate::sync::Arc;
use crate::window::{Day, Timestamp, Window, WindowLength};

use super::whose::{damage_of, is_damage};

/// What customers are told apart by.
type Label = (RowDue, bool);

/// Customers by what is scheduled of them.
pub struct Rows<'a> {
    engine: &'a Engine,
    policy: Arc<Policy>,
    holds: Holds,
    now: Timestamp,
    crowd: u64,
    counted: BTreeMap<Label, (Customers, u64)>,
    /// What could not be read; of whom nobody knows then when something falls due.
    pub damage: Vec<Damage>,
}

/// What may be told of customers, but for how many live, which is told of enough alone.
pub struct ToldRows {
    /// How many live.
    pub living: u64,
    /// Whether the time of something of anybody has come, told of few too: as that a partition is overdue.
    pub overdue: bool,
    /// Customers by what is scheduled of them.
    pub scheduled: Vec<Scheduled>,
    /// How many an erasure has left something of.
    pub restricted: Restriction,
}

impl<'a> Rows<'a> {
    /// Nobody yet.
    pub fn new(engine: &'a Engine, now: Timestamp, crowd: u64) -> Self {
        let (policy, holds) = (engine.policy(), standing(engine));
        Rows { engine, policy, holds, now, crowd, counted: BTreeMap::new(), damage: Vec::new() }
    }

    /// Counts one who lives.
    ///
    /// # Errors
    /// Damage in what has to be read.
    pub fn add(&mut self, customer: &CustomerEntry) -> Result<()> {
        let found = match outlook(self.engine, (&self.policy, &self.holds), customer, self.now) {
            Err(error) if is_damage(&error) && !has_moved(self.engine, &error)? => {
                self.damage.push(damage_of(&error, &self.engine.root));
                Outlook::Waits
            }
            found => found?,
        };
        let due = match found {
            Outlook::Nothing => RowDue::Nothing,
            Outlook::Due => RowDue::Overdue,
            Outlook::At { notice: Some(notice), .. } if notice <= self.now => RowDue::Notice,
            Outlook::At { due, .. } => super::month_ahead(due, self.now).map_or(RowDue::Later, RowDue::In),
            Outlook::Waits => RowDue::Waiting,
            Outlook::Held => RowDue::Held,
        };
        let (customers, count) = self.counted.entry((due, customer.is_restricted())).or_default();
        customers.add(number(&customer.subject), self.crowd);
        *count += 1;
        Ok(())
    }

    /// What may be told.
    pub fn told(self) -> ToldRows {
        let living = self.counted.values().map(|(_, count)| count).sum();
        let (labels, parts): (Vec<Label>, Vec<_>) = self.counted.into_iter().map(part).unzip();
        let any = labels.iter().any(|(_, restricted)| *restricted);
        let overdue = labels.iter().any(|(due, _)| *due == RowDue::Overdue);
        let groups = crowd::crowds(&parts, self.crowd);
        let mut told: BTreeMap<_, u64> = BTreeMap::new();
        for group in groups.iter().flatten() {
            let due = crowd::common(group.iter().map(|part| labels[*part].0));
            let restricted = crowd::common(group.iter().map(|part| labels[*part].1));
            let count: u64 = group.iter().map(|part| parts[*part].weight).sum();
            *told.entry((due.is_none(), due, restricted.is_none(), restricted)).or_default() += count;
        }
        let scheduled: Vec<Scheduled> = told
            .into_iter()
            .map(|((_, due, _, restricted), customers)| Scheduled { due, restricted, customers })
            .collect();
        let of_restricted = scheduled.iter().filter(|one| one.restricted == Some(true)).map(|one| one.customers).sum();
        let apart = groups.is_some() && scheduled.iter().all(|one| one.restricted.is_some());
        let restricted = Restriction { any, customers: (apart || !any).then_some(of_restricted) };
        ToldRows { living, overdue, scheduled, restricted }
    }
}

/// A number that no other customer has.
pub fn number(subject: &SubjectNumber) -> u128 {
    u128::from_be_bytes(*subject.as_bytes())
}

/// Who is restricted is put together with others who are, first those of the same year.
fn part((label, (customers, weight)): (Label, (Customers, u64))) -> (Label, Part<(u8, bool, Option<Day>)>) {
    let (due, restricted) = label;
    let year = match due {
        RowDue::In(month) => Some(Window::containing(month.start(), WindowLength::Year).first_day()),
        _ => None,
    };
    let alike = vec![(2, restricted, year), (1, restricted, None), (0, false, None)];
    (label, Part { customers, weight, alike })
}
