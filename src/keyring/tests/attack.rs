//! An attacker who kept every version of the log and of the root slots and holds today's custodian: with every key that
//! is to be had, every node and every entry ever written is tried. What was removed must not come out; with the fresh
//! keys or the destruction left out it must, or the attack would be worth nothing.

use std::collections::BTreeSet;

use super::shred::{CUSTOMERS, DOOMED, lived_in, removal};
use super::*;
use crate::format::keyring::{CROWN_LEVEL, LOG_HEAD_BYTES, LogFrame};
use crate::format::keyring_root::{RootRecord, RootSlot};
use crate::format::keyring_tree::{Crown, Inner};
use crate::keyring::rewrite::planted;

/// Everything that ever stood on the disk.
#[derive(Default)]
struct Loot {
    roots: BTreeSet<Vec<u8>>,
    frames: BTreeSet<Vec<u8>>,
}

impl Loot {
    fn take(&mut self, sim: &Sim) {
        for (path, bytes) in sim.files() {
            let path = path.to_string_lossy();
            if path.contains("root.") {
                self.roots.insert(bytes);
            } else if path.ends_with(".keys") {
                let mut at = LOG_HEAD_BYTES;
                while let Ok((_, length)) = LogFrame::parse(&bytes[at.min(bytes.len())..]) {
                    self.frames.insert(bytes[at..at + length].to_vec());
                    at += length;
                }
            }
        }
    }

    /// All that opens with what the custodian opens, and with what that opens, and so on.
    fn opened(&self, custodian: &FileCustodian) -> Vec<Vec<u8>> {
        let mut plains = Vec::new();
        let mut keys = Vec::new();
        for root in self.roots.iter().filter_map(|root| RootSlot::decode(root).ok()) {
            if let Ok(record) = custodian.open(&root.sealed) {
                keys.push(RootRecord::decode(&record).unwrap().crown_key);
                plains.push(record.to_vec());
            }
        }
        // Every key is tried on every frame, whatever it was meant for.
        while let Some(key) = keys.pop() {
            for frame in &self.frames {
                match LogFrame::parse(frame).unwrap().0 {
                    LogFrame::Node(node) => {
                        let Ok(plain) = node.open(&store(), &key) else { continue };
                        match node.head.level {
                            CROWN_LEVEL => keys.push(Crown::decode(&plain).unwrap().top.key.duplicate()),
                            0 => {}
                            _ => keys.extend(Inner::decode(plain.clone()).unwrap().children().map(|child| child.key)),
                        }
                        plains.push(plain.to_vec());
                    }
                    LogFrame::Entry(entry) => {
                        plains.extend(entry.open_body(&store(), &key).map(|plain| plain.to_vec()))
                    }
                }
            }
        }
        plains
    }
}

fn comes_out(plains: &[Vec<u8>], secret: &[u8; 32]) -> bool {
    plains.iter().any(|plain| plain.windows(32).any(|window| window == secret))
}

/// Lives, shreds, lives on; answers which customers' secrets the attacker gets at, before the shred and at the end.
fn attack(seed: u64, keep_custodian: bool) -> [Vec<bool>; 2] {
    let sim = Sim::new(seed);
    let place = Place::new(&sim, 1);
    let (keyring, secrets) = lived_in(&place);
    let mut loot = Loot::default();
    loot.take(&sim);
    let gained = |loot: &Loot| {
        let plains = loot.opened(&place.custodian());
        secrets.iter().map(|secret| comes_out(&plains, secret)).collect::<Vec<_>>()
    };
    let before = gained(&loot);
    let custodian = sim.read(CUSTODIAN).unwrap();
    // In one rewrite or one after the other.
    let together = if seed.is_multiple_of(2) { DOOMED.len() } else { 1 };
    for doomed in DOOMED.chunks(together) {
        if seed.is_multiple_of(5) {
            keyring.carry((1, [1; 32])).unwrap();
            loot.take(&sim);
        }
        keyring.shred(&removal(&keyring, doomed), (1, [1; 32])).unwrap();
        loot.take(&sim);
    }
    for number in CUSTOMERS..CUSTOMERS + 40 {
        add(&keyring, number);
        if number % 10 == 0 {
            match seed % 4 {
                1 => keyring.carry((1, [1; 32])).unwrap(),
                _ => keyring.fold((1, [1; 32])).unwrap(),
            };
            loot.take(&sim);
        }
    }
    if seed.is_multiple_of(3) {
        keyring.compact((1, [1; 32])).unwrap();
        loot.take(&sim);
    }
    if keep_custodian {
        sim.write(CUSTODIAN, &custodian);
    }
    [before, gained(&loot)]
}

#[test]
fn what_is_shredded_does_not_come_out_of_everything_ever_written() {
    for seed in 0..12 {
        let [before, after] = attack(seed, false);
        assert!(before.iter().all(|out| *out), "seed {seed}: the attack must work where nothing was destroyed");
        let expected: Vec<bool> = (0..CUSTOMERS).map(|number| !DOOMED.contains(&number)).collect();
        assert_eq!(after, expected, "seed {seed}");
    }
}

#[test]
fn with_the_fresh_keys_or_the_destruction_left_out_it_comes_out() {
    for seed in 0..12 {
        let [_, after] = attack(seed, true);
        assert!(DOOMED.iter().all(|number| after[*number]), "seed {seed}: a copy of the custodian undoes everything");
        let [_, after] = planted::without_fresh_keys(|| attack(seed, false));
        assert!(
            DOOMED.iter().any(|number| after[*number]),
            "seed {seed}: old keys under the new root were not noticed"
        );
    }
}
