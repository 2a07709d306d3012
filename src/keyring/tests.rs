//! The keyring on the simulated machine: what it keeps, what a power cut leaves of it, what damage does to it.

use std::cell::RefCell;
use std::rc::Rc;

use super::custodian::FileCustodian;
use super::*;
use crate::env::sim::Sim;
use crate::window::WindowLength;

mod attack;
mod carry;
mod crash;
mod custodian;
mod damage;
mod meanwhile;
mod shred;

/// Half-lives of a keyring in tests: where it lies and who holds its keys.
#[derive(Clone)]
struct Place {
    sim: Sim,
    dirs: Vec<PathBuf>,
}

const CUSTODIAN: &str = "safe/store.custodian";

fn store() -> StoreId {
    StoreId::from_bytes([7; 16])
}

impl Place {
    fn new(sim: &Sim, mirrors: usize) -> Self {
        env::create_dirs(&*sim.env(), "safe".as_ref()).unwrap();
        let dirs = (0..mirrors).map(|index| PathBuf::from(format!("mirror{index}/keyring"))).collect();
        Place { sim: sim.clone(), dirs }
    }

    fn custodian(&self) -> Arc<FileCustodian> {
        Arc::new(FileCustodian::with_env(self.sim.env(), CUSTODIAN))
    }

    fn options(&self) -> KeyringOptions {
        KeyringOptions { dirs: self.dirs.clone(), cache_bytes: 1 << 20 }
    }

    fn create(&self) -> Result<Keyring> {
        Keyring::create(self.sim.env(), self.options(), self.custodian(), store())
    }

    fn open(&self, access: Access, floor: u64) -> Result<(Keyring, KeyringReport)> {
        let floor = Floor { entry: floor };
        Keyring::open(self.sim.env(), self.options(), self.custodian(), &store(), access, floor)
    }

    fn write(&self, floor: u64) -> Keyring {
        self.open(Access::Write, floor).unwrap().0
    }
}

fn id(number: usize) -> CustomerId {
    CustomerId::new(format!("customer-{number:06}")).unwrap()
}

fn stream() -> Stream {
    Stream::new("chat", "EU").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(text: &str) -> Window {
    text.parse().unwrap()
}

fn add(keyring: &Keyring, number: usize) -> Found<CustomerEntry> {
    use_at(keyring, number, "2025-09-01-month").unwrap()
}

fn use_at(keyring: &Keyring, number: usize, month: &str) -> Result<Found<CustomerEntry>> {
    let id = id(number);
    keyring.use_customer((&id, keyring.tag_of(&id)), &stream(), &window(month), at("2025-09-02T00:00:00Z"), None)
}

fn partition(month: &str) -> PartitionId {
    PartitionId { stream: stream(), window: window(month) }
}

fn secret(entry: &CustomerEntry) -> [u8; 32] {
    *entry.secret().unwrap().key.expose()
}

/// Customers that have come, in the order of their numbers, with their secrets.
#[derive(Clone, Default)]
struct Crowd(Rc<RefCell<Vec<[u8; 32]>>>);

impl Crowd {
    fn count(&self) -> usize {
        self.0.borrow().len()
    }

    fn come(&self, keyring: &Keyring, count: usize) {
        (0..count).for_each(|_| {
            let secret = secret(&add(keyring, self.count()).entry);
            self.0.borrow_mut().push(secret);
        });
    }

    /// So many come whenever it is called, and in the end nobody.
    fn coming<const N: usize>(&self, counts: [usize; N]) -> impl FnMut(&Keyring) + 'static {
        let (crowd, mut counts) = (self.clone(), counts.into_iter());
        move |keyring| crowd.come(keyring, counts.next().unwrap_or(0))
    }

    fn look(&self, keyring: &Keyring) {
        for (number, known) in self.0.borrow().iter().enumerate() {
            assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
        }
    }
}

#[test]
fn what_is_synced_is_there_again() {
    let sim = Sim::new(1);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    assert!(keyring.customer(&id(1)).unwrap().is_none());
    let one = add(&keyring, 1);
    assert_eq!((one.number, keyring.appended(), keyring.durable()), (1, 1, 0));
    let column = keyring.use_partition(&partition("2025-09-01-month")).unwrap();
    assert_eq!((column.entry.number.0, column.number), (1, 2));
    assert_eq!(keyring.sync().unwrap(), 2);
    assert_eq!(add(&keyring, 1).number, 0);
    let lost = secret(&add(&keyring, 2).entry);
    drop(keyring);
    sim.crash();
    sim.restart();
    let (keyring, report) = place.open(Access::Write, 2).unwrap();
    assert_eq!(report.mirrors_mended, 0);
    assert_eq!(secret(&keyring.customer(&id(1)).unwrap().unwrap().entry), secret(&one.entry));
    assert_eq!(keyring.customer(&id(1)).unwrap().unwrap().entry.subject, one.entry.subject);
    assert!(keyring.customer(&id(2)).unwrap().is_none());
    let again = keyring.use_partition(&partition("2025-09-01-month")).unwrap();
    assert_eq!(again.entry.key.key().expose(), column.entry.key.key().expose());
    assert_eq!(keyring.use_partition(&partition("2025-10-01-month")).unwrap().entry.number.0, 2);
    assert_ne!(secret(&add(&keyring, 2).entry), lost);
    assert_eq!((keyring.appended(), keyring.durable(), keyring.customers()), (4, 2, 2));
}

#[test]
fn a_use_outside_the_known_facts_is_noted_once() {
    let sim = Sim::new(2);
    let place = Place::new(&sim, 1);
    let keyring = place.create().unwrap();
    let first = add(&keyring, 1);
    for (month, number) in [("2025-10-01-month", 1), ("2025-08-01-month", 2), ("2026-01-01-month", 3)] {
        let used = use_at(&keyring, 1, month).unwrap();
        assert_eq!((used.number, secret(&used.entry)), (number, secret(&first.entry)), "{month}");
    }
    keyring.sync().unwrap();
    drop(keyring);
    let keyring = place.write(3);
    let entry = keyring.customer(&id(1)).unwrap().unwrap().entry;
    assert_eq!(entry.streams[0].first_day, window("2025-08-01-month").first_day());
    assert_eq!((entry.streams[0].last_year, keyring.customers()), (2026, 1));
    assert_eq!(use_at(&keyring, 1, "2025-12-01-month").unwrap().number, 0);
}

#[test]
fn folds_and_compactions_keep_everything_in_a_deep_tree() {
    let sim = Sim::new(3);
    let place = Place::new(&sim, 1);
    let mut keyring = place.create().unwrap();
    let mut secrets = Vec::new();
    for round in 0..6 {
        for number in round * 3_000..(round + 1) * 3_000 {
            secrets.push(secret(&add(&keyring, number).entry));
        }
        let month = format!("2025-0{}-01-month", round + 1);
        assert_eq!(keyring.use_partition(&partition(&month)).unwrap().entry.number.0, round as u64 + 1);
        keyring.sync().unwrap();
        if round != 2 {
            keyring.fold((round as u64, [round as u8; 32])).unwrap();
        }
        if round == 3 {
            let before = keyring.bytes();
            keyring.compact((round as u64, [round as u8; 32])).unwrap();
            assert!(keyring.bytes() < before);
        }
        if round % 2 == 1 {
            drop(keyring);
            keyring = place.write(0);
        }
        let deep = keyring.verify_deep().unwrap();
        assert_eq!((deep.customers, deep.partitions), (secrets.len() as u64, round as u64 + 1));
        assert_eq!(keyring.customers(), deep.customers);
    }
    assert!(locked(&keyring.state).tree.crown.level >= 2, "the tree is not deep");
    for (number, known) in secrets.iter().enumerate() {
        assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
    }
    let (mut seen, mut parts) = (0, 0);
    let count = |count: &mut usize| {
        *count += 1;
        Ok(())
    };
    keyring.walk_customers(&mut |_| count(&mut seen)).unwrap();
    for part in 0..7 {
        keyring.walk_customers_part(part, 7, &mut |_| count(&mut parts)).unwrap();
    }
    assert_eq!((seen, parts), (secrets.len(), secrets.len()));
    assert_eq!(keyring.columns().unwrap().len(), 6);
    assert!(verify(&*sim.env(), &place.dirs).unwrap().damage.is_empty());
    assert!(keyring.nodes.bytes() + keyring.customers.bytes() <= 1 << 20);
}

#[test]
fn threads_agree_on_new_customers_while_the_keyring_folds() {
    let sim = Sim::new(4);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    let secrets: Vec<Vec<[u8; 32]>> = crate::sync::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let keyring = &keyring;
                scope.spawn(move || {
                    let mut secrets = Vec::new();
                    for number in 0..1_500 {
                        let found = add(keyring, number);
                        if number % 100 == thread {
                            assert!(keyring.sync().unwrap() >= found.number);
                        }
                        secrets.push(secret(&found.entry));
                    }
                    secrets
                })
            })
            .collect();
        for round in 0..8 {
            keyring.fold((round, [0; 32])).unwrap();
            keyring.compact((round, [0; 32])).unwrap();
            for _ in 0..3 {
                keyring.carry((round, [0; 32])).unwrap();
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
    let durable = keyring.sync().unwrap();
    assert_eq!((durable, keyring.customers()), (1_500, 1_500));
    drop(keyring);
    let keyring = place.write(durable);
    for (number, known) in secrets[0].iter().enumerate() {
        assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
    }
}

#[test]
fn readers_follow_a_living_writer_and_change_nothing() {
    let sim = Sim::new(5);
    let place = Place::new(&sim, 1);
    let keyring = place.create().unwrap();
    add(&keyring, 1);
    keyring.sync().unwrap();
    let (reader, _) = place.open(Access::Read, 0).unwrap();
    let changes = sim.changes();
    assert!(reader.customer(&id(1)).unwrap().is_some());
    assert!(!reader.refresh().unwrap());
    assert_eq!(reader.use_partition(&partition("2025-09-01-month")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(sim.changes(), changes);
    for round in 0..6 {
        // Asked for before it is there: that nobody knows a customer holds until somebody does.
        assert!(reader.customer(&id(10 + round)).unwrap().is_none());
        add(&keyring, 10 + round);
        keyring.sync().unwrap();
        if round % 2 == 1 {
            keyring.fold((round as u64, [0; 32])).unwrap();
        }
        if round == 4 {
            keyring.compact((round as u64, [0; 32])).unwrap();
        }
        let changes = sim.changes();
        assert!(reader.refresh().unwrap(), "round {round}");
        assert!(!reader.refresh().unwrap());
        assert_eq!(sim.changes(), changes);
        assert_eq!(
            secret(&reader.customer(&id(10 + round)).unwrap().unwrap().entry),
            secret(&add(&keyring, 10 + round).entry)
        );
        assert_eq!(reader.customers(), keyring.customers());
    }
}

#[test]
fn a_failed_sync_poisons_and_reading_goes_on() {
    let sim = Sim::new(6);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    add(&keyring, 1);
    keyring.sync().unwrap();
    add(&keyring, 2);
    sim.fail_from(sim.operations(), crate::env::sim::Failure::Io);
    assert!(keyring.sync().is_err());
    sim.heal();
    assert_eq!(keyring.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(use_at(&keyring, 3, "2025-09-01-month").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(keyring.fold((0, [0; 32])).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!((keyring.durable(), keyring.customer(&id(1)).unwrap().is_some()), (1, true));
    drop(keyring);
    assert!(place.write(1).customer(&id(1)).unwrap().is_some());
}

#[test]
fn window_lengths_do_not_matter_to_the_facts() {
    let sim = Sim::new(7);
    let keyring = Place::new(&sim, 1).create().unwrap();
    let year = Window::containing(at("2024-05-05T00:00:00Z"), WindowLength::Year);
    let found = keyring.use_customer(
        (&id(1), keyring.tag_of(&id(1))),
        &stream(),
        &year,
        at("2025-01-01T00:00:00Z"),
        Some(at("2020-01-01T00:00:00Z")),
    );
    let entry = found.unwrap().entry;
    assert_eq!((entry.streams[0].last_year, entry.not_before), (2024, Some(at("2020-01-01T00:00:00Z"))));
    assert!(!format!("{entry:?} {keyring:?}").contains("customer-"));
}

#[test]
fn it_lives_on_a_real_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let env: Arc<dyn Env> = Arc::new(env::disk::Disk::new());
    let custodian = || Arc::new(FileCustodian::at(dir.path().join("custodian")).accept_weak_erasure());
    let dirs = vec![dir.path().join("keyring"), dir.path().join("mirror")];
    let options = KeyringOptions { dirs: dirs.clone(), cache_bytes: 1 << 20 };
    let first = custodian();
    let keyring = Keyring::create(env.clone(), options.clone(), first.clone(), store()).unwrap();
    assert_eq!(register_opening(&*env, &dirs, &*first, None).unwrap(), 1);
    assert_eq!(register_opening(&*env, &dirs, &*custodian(), None).unwrap_err().kind(), ErrorKind::Locked);
    let known: Vec<_> = (0..300).map(|number| secret(&add(&keyring, number).entry)).collect();
    keyring.sync().unwrap();
    let (reader, _) =
        Keyring::open(env.clone(), options.clone(), custodian(), &store(), Access::Read, Floor { entry: 300 }).unwrap();
    keyring.compact((1, [1; 32])).unwrap();
    assert!(reader.refresh().unwrap() || reader.customers() == 300);
    drop(keyring);
    first.release();
    let second = custodian();
    assert_eq!(register_opening(&*env, &dirs, &*second, None).unwrap(), 2);
    let (keyring, _) = Keyring::open(env, options, second, &store(), Access::Write, Floor { entry: 300 }).unwrap();
    for (number, known) in known.iter().enumerate() {
        for keyring in [&keyring, &reader] {
            assert_eq!(secret(&keyring.customer(&id(number)).unwrap().unwrap().entry), *known);
        }
    }
}
