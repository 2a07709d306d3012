//! So many values by name: those that were put there or asked for lately. Of a fixed size, in sets of few: a hash map that
//! lets go of one for each that comes fills with marks of what has gone, and doubles for them, twice.

use std::array::from_fn;
use std::hash::{BuildHasher, Hash};

use crate::mixer::Mixed;

/// How many names share a set; one byte has a bit for each.
const WAYS: usize = 8;

/// Values that are cheap to clone, by names that nobody outside chooses.
pub struct Lately<K, V> {
    /// Made when something is first put there.
    sets: Vec<Option<Box<Set<K, V>>>>,
}

struct Set<K, V> {
    /// A part of each name's hash, so that whatever is not here is seldom looked at.
    marks: [u8; WAYS],
    /// Which were asked for since their turn to go.
    touched: u8,
    /// Whose turn it is to go.
    turn: u8,
    ways: [Option<(K, V)>; WAYS],
}

impl<K: Hash + Eq + Copy, V: Clone> Lately<K, V> {
    /// Room for `limit` values, about.
    pub fn new(limit: usize) -> Self {
        Lately { sets: (0..limit.div_ceil(WAYS)).map(|_| None).collect() }
    }

    fn place(&self, name: &K) -> (usize, u8) {
        let hash = Mixed::default().hash_one(name);
        ((hash >> 8) as usize % self.sets.len(), hash as u8)
    }

    /// The value of that name.
    pub fn get(&mut self, name: &K) -> Option<V> {
        let (place, mark) = self.place(name);
        let set = self.sets[place].as_deref_mut()?;
        let way = set.way(name, mark)?;
        set.touched |= 1 << way;
        set.ways[way].as_ref().map(|(_, value)| value.clone())
    }

    /// Keeps a value; where its set is full, one goes that was not asked for lately.
    pub fn insert(&mut self, name: K, value: V) {
        let (place, mark) = self.place(&name);
        let empty = || Box::new(Set { marks: [0; WAYS], touched: 0, turn: 0, ways: from_fn(|_| None) });
        let set = self.sets[place].get_or_insert_with(empty);
        let way = set.way(&name, mark).unwrap_or_else(|| set.free());
        set.marks[way] = mark;
        set.touched &= !(1 << way);
        set.ways[way] = Some((name, value));
    }
}

impl<K: Eq, V> Set<K, V> {
    fn way(&self, name: &K, mark: u8) -> Option<usize> {
        let is = |way: &usize| self.marks[*way] == mark && self.ways[*way].as_ref().is_some_and(|one| one.0 == *name);
        (0..WAYS).find(is)
    }

    /// Where there is nothing, or what is not asked for goes: those that were, had their turn and stay until the next.
    fn free(&mut self) -> usize {
        if let Some(empty) = self.ways.iter().position(Option::is_none) {
            return empty;
        }
        loop {
            let way = usize::from(self.turn);
            self.turn = (self.turn + 1) % WAYS as u8;
            if self.touched & 1 << way == 0 {
                return way;
            }
            self.touched &= !(1 << way);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_lets_go_of_what_nobody_asked_for() {
        const LIMIT: u64 = 4096;
        let mut lately = Lately::new(LIMIT as usize);
        let held = |lately: &Lately<u64, u64>| lately.sets.iter().flatten().flat_map(|set| &set.ways).flatten().count();
        (0..100).for_each(|number| lately.insert(number, number));
        for number in 100..100_000 {
            lately.insert(number, number);
            // They are asked for whenever a few others have come.
            if number % 64 == 0 {
                assert!((0..100).all(|known| lately.get(&known) == Some(known)), "at {number}");
            }
        }
        assert_eq!(held(&lately), LIMIT as usize);
        assert!((99_000..100_000).all(|number| lately.get(&number) == Some(number)), "they came last");
        assert!((100..90_000).all(|number| lately.get(&number).is_none()), "nobody asked for them");
        lately.insert(7, 8);
        assert_eq!((lately.get(&7), held(&lately)), (Some(8), LIMIT as usize), "under one name there is one value");
    }
}
