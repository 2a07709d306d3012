//! Whether anything about too few can be worked out of what is told.

use proptest::prelude::*;

use super::*;

type Key = [u8; 3];

/// A part with these customers in a class, a place and a month: alike within the class and place, within the place, and all.
fn part((class, place, month): (u8, u8, u8), customers: &[u128]) -> Part<Key> {
    let mut known = Customers::default();
    customers.iter().for_each(|customer| known.add(*customer, u64::MAX));
    let alike = vec![[1 + class, 1 + place, month / 2], [1 + class, 1 + place, 0], [0, 1 + place, 0], [0, 0, 0]];
    Part { customers: known, weight: customers.len() as u64, alike }
}

fn number(count: u128) -> Vec<u128> {
    (0..count).collect()
}

#[test]
fn one_small_part_takes_the_lightest_of_its_like_along() {
    let parts = [
        part((0, 0, 0), &number(30)),
        part((0, 0, 4), &number(25)),
        part((0, 0, 8), &number(3)),
        part((1, 0, 0), &number(21)),
    ];
    assert_eq!(crowds(&parts, 20), Some(vec![vec![0], vec![1, 2], vec![3]]));
}

#[test]
fn small_parts_are_enough_where_their_customers_are_different_ones() {
    let later: Vec<u128> = (15..30).collect();
    let different = [part((0, 0, 0), &number(15)), part((0, 0, 4), &later), part((0, 0, 8), &number(40))];
    assert_eq!(crowds(&different, 20), Some(vec![vec![0, 1], vec![2]]));
    let same = [part((0, 0, 0), &number(15)), part((0, 0, 4), &number(15)), part((0, 0, 8), &number(40))];
    assert_eq!(crowds(&same, 20), Some(vec![vec![0, 1, 2]]));
}

#[test]
fn too_few_altogether_are_not_told_of() {
    assert_eq!(crowds(&[part((0, 0, 0), &number(10)), part((1, 1, 0), &number(12))], 20), None);
    assert_eq!(crowds::<Key>(&[], 20), Some(Vec::new()));
    let unknown = Part { customers: Customers::default(), ..part((0, 0, 0), &[]) };
    assert_eq!(crowds(&[unknown], 20), None);
}

#[test]
fn customers_who_are_only_counted_may_be_the_same_ones() {
    let mut customers = Customers::at_least(19);
    customers.join(&Customers::at_least(12));
    assert_eq!(customers.count(), 19);
    for customer in 0..19 {
        customers.add(customer, 20);
    }
    assert_eq!(customers.count(), 19);
    customers.add(19, 20);
    assert_eq!(customers.count(), 20);
    assert!(customers.known.is_empty(), "enough are not remembered");
}

/// Whether `wanted` is a sum of multiples of `rows`: exact elimination modulo a prime, in which sets are told apart from sums
/// as they are among fractions, but for accidents that would only make the test stricter.
fn is_derivable(rows: &[Vec<i64>], wanted: &[i64]) -> bool {
    const PRIME: i64 = 1_000_003;
    let inverse = |value: i64| {
        let (mut base, mut power, mut result) = (value, PRIME - 2, 1);
        while power > 0 {
            if power & 1 == 1 {
                result = result * base % PRIME;
            }
            (base, power) = (base * base % PRIME, power >> 1);
        }
        result
    };
    let mut reduced: Vec<(usize, Vec<i64>)> = Vec::new();
    let reduce = |row: &[i64], by: &[(usize, Vec<i64>)]| {
        let mut row = row.to_vec();
        for (pivot, other) in by {
            let factor = row[*pivot];
            row.iter_mut().zip(other).for_each(|(value, of)| *value = (*value - factor * of).rem_euclid(PRIME));
        }
        row
    };
    for row in rows {
        let row = reduce(row, &reduced);
        if let Some(pivot) = row.iter().position(|value| *value != 0) {
            let factor = inverse(row[pivot]);
            reduced.push((pivot, row.iter().map(|value| value * factor % PRIME).collect()));
        }
    }
    reduce(wanted, &reduced).iter().all(|value| *value == 0)
}

/// Every number told, as which parts it adds up: each table a row per label that groups have, and the sum of all.
fn tables(parts: &[Part<Key>], labels: &[(u8, u8, u8)], groups: &[Vec<usize>]) -> Vec<Vec<i64>> {
    type Label = fn((u8, u8, u8)) -> (u8, u8, u8);
    let by: [Label; 6] = [
        |(class, _, _)| (class, 0, 0),
        |(_, place, _)| (0, place, 0),
        |(_, _, month)| (0, 0, month),
        |(class, place, _)| (class, place, 0),
        |(class, _, month)| (class, 0, month / 2),
        |all| all,
    ];
    let mut rows = vec![vec![1; parts.len()]];
    for label in by {
        let mut table: BTreeMap<Option<(u8, u8, u8)>, Vec<i64>> = BTreeMap::new();
        for group in groups {
            let row =
                table.entry(common(group.iter().map(|part| label(labels[*part])))).or_insert(vec![0; parts.len()]);
            group.iter().for_each(|part| row[*part] += 1);
        }
        rows.extend(table.into_values());
    }
    rows
}

/// Of two reports with groups of 20 and of 50, the difference is about 20 again.
#[test]
fn groups_of_more_are_put_together_from_groups_of_fewer() {
    let some = |from: u128, count: u128, weight: u64| {
        let mut customers = Customers::default();
        (from..from + count).for_each(|customer| customers.add(customer, 50));
        Part { customers, weight, alike: vec![0] }
    };
    // By itself a group of 50 would be the first two, and seven people the difference to the first alone.
    let parts = [some(0, 45, 1_000), some(100, 7, 7), some(200, 60, 60)];
    assert_eq!(crowds(&parts, 20), Some(vec![vec![0], vec![1, 2]]));
    assert_eq!(crowds(&parts, 50), Some(vec![vec![0, 1, 2]]));
}

/// Parts as they may be: what each is about, and its customers.
fn parts() -> impl Strategy<Value = Vec<((u8, u8, u8), Vec<u128>)>> {
    let customers = proptest::collection::vec(0_u128..12, 1..10);
    proptest::collection::vec(((0_u8..2, 0_u8..2, 0_u8..4), customers), 0..9)
}

proptest! {
    /// Of all tables together no sums and differences give a number about fewer customers than allowed.
    #[test]
    fn no_small_group_can_be_worked_out(parts in parts(), least in 2_u64..8) {
        let labels: Vec<_> = parts.iter().map(|(label, _)| *label).collect();
        let made: Vec<_> = parts.iter().map(|(label, customers)| part(*label, customers)).collect();
        let distinct = |chosen: &dyn Fn(usize) -> bool| {
            let chosen = parts.iter().enumerate().filter(|(index, _)| chosen(*index));
            chosen.flat_map(|(_, (_, customers))| customers).collect::<BTreeSet<_>>().len() as u64
        };
        let Some(groups) = crowds(&made, least) else {
            prop_assert!(distinct(&|_| true) < least, "too little is told");
            return Ok(());
        };
        let mut told: Vec<usize> = groups.concat();
        told.sort_unstable();
        prop_assert_eq!(told, (0..parts.len()).collect::<Vec<_>>(), "each part is told once");
        let rows = tables(&made, &labels, &groups);
        for set in 1_u32..1 << parts.len() {
            let chosen = |index: usize| set >> index & 1 == 1;
            if distinct(&chosen) < least {
                let wanted: Vec<i64> = (0..parts.len()).map(|index| i64::from(chosen(index))).collect();
                prop_assert!(!is_derivable(&rows, &wanted), "{set:b} of {groups:?} is about too few");
            }
        }
    }
}

#[test]
fn the_oracle_sees_what_a_difference_gives_away() {
    let sum = vec![1, 1, 1];
    assert!(is_derivable(&[sum.clone(), vec![1, 1, 0]], &[0, 0, 1]));
    assert!(!is_derivable(&[sum.clone(), vec![1, 0, 0]], &[0, 0, 1]));
    assert!(is_derivable(&[sum, vec![1, 0, 1], vec![0, 1, 1]], &[0, 0, 1]));
}
