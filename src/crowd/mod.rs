//! Crowds: parts of what is stored, put together until nobody in a group stands nearly alone. Pure.
//!
//! Whatever is told of a store without names is told of groups, each of at least so many customers, that have no part in
//! common. Every table is a sum over the same groups. So whatever sums and differences somebody forms of all the numbers
//! told, they are again about whole groups: no smaller one can be got at by subtraction.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::ident::Stream;
use crate::window::{Day, Window, WindowLength};

/// The fewest customers of a group of which anything is told, unless more are asked for.
pub const CROWD: u64 = 20;

/// What is known of the customers of a part. What is not known counts for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customers {
    known: BTreeSet<u128>,
    at_least: u64,
}

impl Customers {
    /// So many at least, whoever they are.
    pub fn at_least(count: u64) -> Self {
        Customers { known: BTreeSet::new(), at_least: count }
    }

    /// Adds one, by a number that nobody else has. Once there are `enough`, nobody need know who they are.
    pub fn add(&mut self, customer: u128, enough: u64) {
        if self.at_least < enough {
            self.known.insert(customer);
            if self.known.len() as u64 >= enough {
                *self = Customers::at_least(self.known.len() as u64);
            }
        }
    }

    /// How many there are at least.
    pub fn count(&self) -> u64 {
        self.at_least.max(self.known.len() as u64)
    }

    /// Those of both. Of customers who are only counted, the same ones may be in both.
    pub fn join(&mut self, other: &Customers) {
        self.known.extend(&other.known);
        self.at_least = self.at_least.max(other.at_least);
    }
}

/// The smallest thing that may be told by itself, if its customers are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<K> {
    /// Its customers.
    pub customers: Customers,
    /// How much would be lost were it not told by itself.
    pub weight: u64,
    /// What it shares with others, the nearest first: parts with the same key at a place have the same at all behind it. All
    /// parts have as many keys.
    pub alike: Vec<K>,
}

/// Parts that are told together.
struct Group {
    parts: Vec<usize>,
    customers: Customers,
    weight: u64,
}

impl Group {
    fn of<K>(index: usize, part: &Part<K>) -> Self {
        Group { parts: vec![index], customers: part.customers.clone(), weight: part.weight }
    }

    fn join(&mut self, other: Group) {
        self.parts.extend(other.parts);
        self.customers.join(&other.customers);
        self.weight += other.weight;
    }
}

/// Divides parts, by their place in the list, into groups of at least `least` customers. Parts that are too small are put
/// with others that are alike; and where those are too few as well, with the lightest that would have been enough by itself,
/// for else it could be told from the sum. None where all together are too few.
///
/// Groups of more than [`CROWD`] are put together from those of just that: whoever asks for both, and subtracts, is told
/// of groups of [`CROWD`] again.
pub fn crowds<K: Ord>(parts: &[Part<K>], least: u64) -> Option<Vec<Vec<usize>>> {
    let single = parts.iter().enumerate().map(|(index, part)| Group::of(index, part)).collect();
    let groups = divide(parts, single, least.min(CROWD)).and_then(|groups| divide(parts, groups, least))?;
    let mut groups: Vec<Vec<usize>> = groups.into_iter().map(|group| group.parts).collect();
    groups.iter_mut().for_each(|parts| parts.sort_unstable());
    groups.sort_unstable();
    Some(groups)
}

fn divide<K: Ord>(parts: &[Part<K>], groups: Vec<Group>, least: u64) -> Option<Vec<Group>> {
    let (mut enough, mut small): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.customers.count() >= least);
    for level in 0..parts.first().map_or(0, |part| part.alike.len()) {
        let key = |group: &Group| group.parts.first().map(|part| &parts[*part].alike[level]);
        let mut alike: BTreeMap<_, Group> = BTreeMap::new();
        for group in std::mem::take(&mut small) {
            match alike.get_mut(&key(&group)) {
                Some(others) => others.join(group),
                None => drop(alike.insert(key(&group), group)),
            }
        }
        for (key_of_group, mut group) in alike {
            while group.customers.count() < least {
                let others = enough.iter().enumerate().filter(|(_, other)| key(other) == key_of_group);
                let Some((lightest, _)) = others.min_by_key(|(_, other)| other.weight) else { break };
                group.join(enough.remove(lightest));
            }
            match group.customers.count() >= least {
                true => enough.push(group),
                false => small.push(group),
            }
        }
    }
    small.is_empty().then_some(enough)
}

/// What all of some parts have in common, if they do.
pub fn common<T: PartialEq>(mut of_parts: impl Iterator<Item = T>) -> Option<T> {
    let first = of_parts.next()?;
    of_parts.all(|other| other == first).then_some(first)
}

/// The month of a day, by its first.
pub fn month(day: Day) -> Day {
    Window::containing(day.start(), WindowLength::Month).first_day()
}

/// What a part shares with others that is about `stream` and a time from `day` on: month and stream, year and stream, stream,
/// jurisdiction, everything.
pub fn alike(stream: &Stream, day: Day) -> Vec<(String, String, Option<Day>)> {
    let year = Window::containing(day.start(), WindowLength::Year).first_day();
    let of_stream = |day| (stream.class().to_owned(), stream.jurisdiction().to_owned(), day);
    let of_jurisdiction = (String::new(), stream.jurisdiction().to_owned(), None);
    vec![of_stream(Some(month(day))), of_stream(Some(year)), of_stream(None), of_jurisdiction, Default::default()]
}

/// Refuses to tell of smaller groups than [`CROWD`].
///
/// # Errors
/// [`ErrorKind::Invalid`].
pub fn check(least: u64) -> Result<()> {
    match least >= CROWD {
        true => Ok(()),
        false => {
            let wrong = format!("groups of fewer than {CROWD} customers are not told of");
            Err(Error::new(ErrorKind::Invalid, wrong).hint("ask for larger groups, or for none"))
        }
    }
}
