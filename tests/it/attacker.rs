//! An attacker who kept every version of every file ever written and holds today's custodian: nothing that was let go is
//! to be had from it, in whatever mixture of old and new files. And where the custodian only says that it destroys, the
//! attacker must get at it, or these tests would be worth nothing.

use tenure::env::Env;
use tenure::env::sim::{Sim, Snapshot};
use tenure::{ScanFilter, Store};

use crate::life::{Life, MATTER, Place, STORE, WORD, every_seed, held};
use crate::scene::CUSTOMERS;
use crate::vault::{SEALED, Vault};

const KEYRING: &str = "/calls.keyring";
/// What may be put back by itself from an older time.
const PARTS: [&str; 5] =
    ["/calls/segments", "/calls/journal", "/calls/ledger", KEYRING, "/calls.keyring/0000000001.keys"];

/// What the attacker has.
struct Loot {
    life: Life,
    vault: Vault,
    /// The disk after every step, the last one today's.
    disks: Vec<Snapshot>,
    /// Every root that was ever written, as the vault sealed it, with its number.
    roots: Vec<(u64, Vec<u8>)>,
}

/// A life with an expiry and an erasure of each kind in it.
fn loot(seed: u64, vault: Vault) -> Loot {
    let place = Place::new(seed, Some(vault.clone()));
    place.sim.keep_history();
    let mut life = Life::new(&place, seed);
    let mut store = place.options().create().unwrap();
    let mut disks = Vec::new();
    for _ in 0..2 {
        life.append(&store).unwrap();
        disks.push(place.sim.snapshot());
    }
    if seed.is_multiple_of(2) {
        store.settle().unwrap();
        disks.push(place.sim.snapshot());
    }
    for step in 0..5 + seed % 4 {
        match (step + seed) % 10 {
            1 => life.erase(&store).unwrap(),
            3 => life.erase_part(&store).unwrap(),
            5 => life.redact(&store).unwrap(),
            6 => life.expire(&store).unwrap(),
            8 => life.hold(&store).unwrap(),
            9 => life.release(&store).unwrap(),
            _ => store = life.step(store).unwrap(),
        }
        disks.push(place.sim.snapshot());
    }
    while life.model.dead.is_empty() {
        life.append(&store).unwrap();
        life.release(&store).unwrap();
        life.erase(&store).unwrap();
        disks.push(place.sim.snapshot());
    }
    if seed.is_multiple_of(3) {
        store.close().unwrap();
        disks.push(place.sim.snapshot());
    }
    let roots = roots(&place.sim);
    Loot { life, vault, disks, roots }
}

/// The sealed roots in every byte ever written.
fn roots(sim: &Sim) -> Vec<(u64, Vec<u8>)> {
    let mut roots = Vec::new();
    sim.every_byte_ever(|path, bytes| {
        if !path.contains("root.") {
            return;
        }
        for start in bytes.windows(SEALED.len()).enumerate().filter(|(_, window)| *window == SEALED) {
            let number = bytes[start.0 + SEALED.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            let number: Vec<u8> = number.copied().collect();
            let sealed = [SEALED, &number].concat();
            roots.push((String::from_utf8(number).unwrap().parse().unwrap(), sealed));
        }
    });
    roots.sort();
    roots.dedup();
    roots
}

/// How many of the roots from before the last destruction still open.
fn old_roots_that_open(loot: &Loot) -> u64 {
    let destroyed = loot.life.place.custodian.destroyed_before();
    let old = loot.roots.iter().filter(|(epoch, _)| *epoch < destroyed);
    let opens = old.clone().filter(|(_, sealed)| loot.vault.still_opens(sealed)).count();
    assert!(destroyed == 0 || old.count() > 0, "the attacker must have old roots to try");
    opens as u64
}

/// What an attempt gave.
#[derive(Clone, Copy, Default)]
struct Gain {
    opened: u64,
    living: u64,
    dead: u64,
}

/// Reads all there is to read, as far as it goes.
fn plunder(life: &Life, store: &Store) -> Gain {
    let mut gain = Gain { opened: 1, ..Gain::default() };
    let mut see = |id| match life.model.dead.contains_key(&id) {
        true => gain.dead += 1,
        false => gain.living += 1,
    };
    for customer in CUSTOMERS {
        let Ok(timeline) = store.timeline(customer, ..) else { continue };
        timeline.flatten().for_each(|stored| see(stored.id));
        let Ok(held) = store.held(customer) else { continue };
        held.flatten().for_each(|stored| see(stored.id));
        let Ok(restricted) = store.restricted(customer) else { continue };
        restricted.flatten().for_each(|stored| see(stored.id));
    }
    if let Ok(scan) = store.scan(ScanFilter::default()) {
        scan.map_while(Result::ok).for_each(|stored| see(stored.id));
    }
    for (id, kept) in &life.model.dead {
        if let Ok(Some(stored)) = store.get(&kept.0, *id) {
            see(stored.id);
        }
    }
    gain
}

/// Today's disk with `put_back` upon it, opened for reading and then for writing.
fn attempt(loot: &Loot, put_back: impl Fn(&Sim)) -> Gain {
    let mut gain = Gain::default();
    let place = Place::new(99, Some(loot.vault.seized()));
    place.sim.set_now(loot.life.place.sim.now());
    place.sim.restore(loot.disks.last().unwrap(), "/");
    put_back(&place.sim);
    let reading = place.options().open_read_only().map(|store| plunder(&loot.life, &store));
    let writing = place.options().take_over("taking what there is").open();
    let writing = writing.map(|store| plunder(&loot.life, &store));
    for one in [reading, writing].into_iter().flatten() {
        gain = Gain { opened: gain.opened + one.opened, living: gain.living + one.living, dead: gain.dead + one.dead };
    }
    gain
}

/// Every mixture of today's disk with each older one.
fn every_attempt(loot: &Loot) -> Gain {
    let mut gain = Gain::default();
    for old in &loot.disks {
        for mixture in 1_u32..1 << PARTS.len() {
            let parts = PARTS.iter().enumerate().filter(|(index, _)| mixture >> index & 1 == 1);
            let parts: Vec<&str> = parts.map(|(_, part)| *part).collect();
            if parts.contains(&KEYRING) && parts.contains(&PARTS[4]) {
                continue; // The whole contains the part.
            }
            let one = attempt(loot, |sim| parts.iter().for_each(|part| sim.restore(old, part)));
            gain =
                Gain { opened: gain.opened + one.opened, living: gain.living + one.living, dead: gain.dead + one.dead };
        }
        for whole in [STORE, KEYRING] {
            let one = attempt(loot, |sim| sim.restore_missing(old, whole));
            gain =
                Gain { opened: gain.opened + one.opened, living: gain.living + one.living, dead: gain.dead + one.dead };
        }
    }
    gain
}

#[test]
fn no_mixture_of_files_brings_back_what_was_let_go() {
    let opened = every_seed(0..24, &|seed| {
        let loot = loot(seed, Vault::default());
        assert!(!loot.life.model.dead.is_empty(), "seed {seed}: nothing was let go");
        assert_eq!(old_roots_that_open(&loot), 0, "seed {seed}: an old root still opens");
        let gain = every_attempt(&loot);
        assert_eq!(gain.dead, 0, "seed {seed}: the attacker read what had been let go");
        gain.opened
    });
    println!("{opened} mixtures opened, none gave anything back");
    assert!(opened > 1000, "the attacker must get somewhere: {opened}");
}

#[test]
fn with_a_custodian_that_only_says_so_the_attacker_wins() {
    let won = every_seed(0..8, &|seed| {
        let mut vault = Vault::default();
        vault.keep_everything = true;
        let loot = loot(seed, vault);
        let dead = every_attempt(&loot).dead;
        u64::from(old_roots_that_open(&loot) > 0 && dead > 0)
    });
    assert_eq!(won, 8, "it must be noticed in every life");
}

/// A life in which something is held, expires, and (`whole`) is let go of in the end.
fn held_loot(seed: u64, whole: bool, keep_columns: bool) -> Loot {
    let vault = Vault::default();
    let place = Place::new(seed, Some(vault.clone()));
    place.sim.keep_history();
    let mut life = Life::new(&place, seed);
    let store = place.options().keep_columns(keep_columns).create().unwrap();
    for _ in 0..3 {
        life.append(&store).unwrap();
    }
    let mut disks = vec![place.sim.snapshot()];
    store.settle().unwrap();
    life.append(&store).unwrap();
    for _ in 0..3 {
        life.hold(&store).unwrap();
    }
    disks.push(place.sim.snapshot());
    life.expire(&store).unwrap();
    disks.push(place.sim.snapshot());
    if seed.is_multiple_of(2) {
        store.settle().unwrap();
        store.maintain(tenure::report::Budget::ALL).unwrap();
        disks.push(place.sim.snapshot());
    }
    while whole && !life.model.holds.is_empty() {
        life.release(&store).unwrap();
        disks.push(place.sim.snapshot());
    }
    let roots = roots(&place.sim);
    Loot { life, vault, disks, roots }
}

#[test]
fn of_an_expired_column_the_held_cells_alone_are_to_be_had_and_after_the_release_nothing() {
    let hidden = every_seed(200..216, &|seed| {
        let loot = held_loot(seed, false, false);
        assert_eq!(every_attempt(&loot).dead, 0, "seed {seed}: the attacker read what was not held");
        let place = Place::new(99, Some(loot.vault.seized()));
        place.sim.set_now(loot.life.place.sim.now());
        place.sim.restore(loot.disks.last().unwrap(), "/");
        let store = place.options().open().unwrap();
        let found = held(&store);
        assert!(loot.life.model.hidden.keys().all(|id| found.contains_key(id)), "seed {seed}: held, and not there");
        let loot = held_loot(seed, true, false);
        assert!(loot.life.model.hidden.is_empty());
        assert_eq!(every_attempt(&loot).dead, 0, "seed {seed}: released, and not dead");
        found.len() as u64
    });
    assert!(hidden > 16, "these lives held next to nothing: {hidden}");
}

#[test]
fn a_column_key_that_is_not_destroyed_is_noticed() {
    let won = every_seed(200..208, &|seed| u64::from(every_attempt(&held_loot(seed, false, true)).dead > 0));
    assert!(won >= 4, "noticed in {won} of 8 lives, in some of which nothing is left that could be");
}

#[test]
fn no_byte_ever_written_and_no_word_ever_told_gives_anybody_away() {
    every_seed(100..140, &|seed| {
        let vault = (seed.is_multiple_of(2)).then(Vault::default);
        let place = Place::new(seed, vault);
        place.sim.keep_history();
        let mut life = Life::new(&place, seed);
        let mut store = place.options().create().unwrap();
        life.append(&store).unwrap();
        for _ in 0..12 {
            store = life.step(store).unwrap();
        }
        life.told.0.push(format!("{store:?} {:?} {:?}", store.receipts().unwrap(), store.stats().unwrap()));
        life.told.0.push(format!("{:?}", store.holds().unwrap()));
        life.told.0.push(format!("{:?} {:?} {:?}", store.recovery(), place.options(), store.timeline("c-ana", ..)));
        life.told.is_discreet();
        place.sim.every_byte_ever(|path, bytes| {
            for secret in CUSTOMERS.iter().chain([&WORD, &MATTER]) {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found && !path.contains(secret), "seed {seed}: {secret} in {path}");
            }
        });
        0
    });
}
