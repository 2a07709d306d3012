//! Damage to every byte of every file, lost and foreign files, copies and rollbacks: an error or everything intact,
//! never missing, never wrong.

use super::*;
use crate::env::sim::Snapshot;
use crate::format::keyring::LogFrame;
use crate::keyring::fold::meanwhile::during;

const CUSTOMERS: usize = 24;
/// So many that they stand in two leaves.
const MORE: usize = 12;

struct Closed {
    place: Place,
    secrets: Vec<[u8; 32]>,
    floor: u64,
    files: Vec<PathBuf>,
    snapshot: Snapshot,
}

/// A keyring with some history; `tail` entries are durable but not folded.
fn closed(mirrors: usize, tail: usize) -> Closed {
    closed_with(mirrors, tail, false)
}

/// The same, in the middle of being carried over to another file where `carrying`.
fn closed_with(mirrors: usize, tail: usize, carrying: bool) -> Closed {
    let sim = Sim::new(11);
    let place = Place::new(&sim, mirrors);
    let keyring = place.create().unwrap();
    let custodian = place.custodian();
    register_opening(&*sim.env(), &place.dirs, &*custodian, None).unwrap();
    custodian.release();
    let mut secrets: Vec<_> = (0..CUSTOMERS).map(|number| secret(&add(&keyring, number).entry)).collect();
    keyring.use_partition(&partition("2025-09-01-month")).unwrap();
    keyring.fold((7, [7; 32])).unwrap();
    // Three of them stay in a chain.
    secrets.extend((CUSTOMERS..CUSTOMERS + 3).map(|number| secret(&add(&keyring, number).entry)));
    keyring.fold((8, [8; 32])).unwrap();
    if carrying {
        secrets.extend((CUSTOMERS + 3..CUSTOMERS + 3 + MORE).map(|number| secret(&add(&keyring, number).entry)));
        keyring.fold((9, [9; 32])).unwrap();
        assert!(!keyring.carry((10, [10; 32])).unwrap().compacted);
    }
    for number in secrets.len()..secrets.len() + tail {
        secrets.push(secret(&add(&keyring, number).entry));
        keyring.sync().unwrap();
    }
    let log = locked(&keyring.state).tree.log.clone();
    let (floor, end) = (keyring.durable(), log.end() - log.base());
    let written = log.mirrors()[0].path.file_name().unwrap().to_owned();
    drop(log);
    drop(keyring);
    // Without the space that was only reserved, so that there are not a million bytes of zeros to damage.
    let files = sim.files().into_iter().map(|(path, _)| path).filter(|path| !path.ends_with("LOCK"));
    let files: Vec<_> = files.collect();
    for path in files.iter().filter(|path| path.ends_with(&written)) {
        sim.truncate(path, end);
    }
    Closed { secrets, floor, files, snapshot: sim.snapshot(), place }
}

impl Closed {
    fn restore(&self) {
        self.place.sim.restore(&self.snapshot, "");
    }

    /// Opens and looks everything up: every answer is an error or right. Returns whether all answers were right.
    fn intact(&self, access: Access, what: &str) -> bool {
        let keyring = match self.place.open(access, self.floor) {
            Ok((keyring, _)) => keyring,
            Err(error) => {
                let known = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::KeyUnavailable);
                assert!(known, "{what}: {error:?}");
                return false;
            }
        };
        let mut intact = true;
        for (number, known) in self.secrets.iter().enumerate() {
            match keyring.customer(&id(number)) {
                Ok(Some(found)) => assert_eq!(secret(&found.entry), *known, "{what}: customer {number}"),
                Ok(None) => panic!("{what}: customer {number} is silently missing"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
                    assert!(error.offset().is_some() && error.path().is_some(), "{what}");
                    // Nor is a second secret made.
                    assert!(access == Access::Read || use_at(&keyring, number, "2025-09-01-month").is_err());
                    intact = false;
                }
            }
        }
        match keyring.partition(&partition("2025-09-01-month")) {
            Ok(found) => assert_eq!(found.map(|found| found.entry.number.0), Some(1), "{what}"),
            Err(_) => intact = false,
        }
        intact
    }
}

#[test]
fn damage_to_entries_that_were_sealed_anew_costs_nothing() {
    let sim = Sim::new(12);
    let place = Place::new(&sim, 1);
    let keyring = place.create().unwrap();
    let crowd = Crowd::default();
    during(crowd.coming([3, 5, 4, 3, 1]), || keyring.fold((1, [1; 32]))).unwrap();
    let (epoch, fold, end, log) = {
        let tree = locked(&keyring.state).tree.clone();
        (tree.root.epoch, tree.root.fold, tree.log.end(), tree.log.mirrors()[0].path.clone())
    };
    let floor = keyring.durable();
    drop(keyring);
    let bytes = sim.read(&log).unwrap();
    let (mut at, mut dead, mut living) = (fold, 0, 0);
    while at < end {
        let (frame, length) = LogFrame::parse(&bytes[at as usize..]).unwrap();
        let is_dead = !matches!(frame, LogFrame::Entry(entry) if entry.head.epoch == epoch);
        for byte in (at..at + length as u64).step_by(41) {
            sim.flip(&log, byte, (byte % 8) as u8);
            let opened = place.open(Access::Read, floor);
            assert!(opened.is_ok() || !is_dead, "byte {byte}: {:?}", opened.err());
            if let Ok((keyring, _)) = opened {
                crowd.look(&keyring);
            }
            sim.flip(&log, byte, (byte % 8) as u8);
        }
        *(if is_dead { &mut dead } else { &mut living }) += 1;
        at += length as u64;
    }
    assert_eq!((dead, living), (13, 16), "some came between what was sealed anew");
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_mended() {
    for (tail, carrying) in [(0, false), (4, false), (2, true)] {
        let closed = closed_with(1, tail, carrying);
        let sim = &closed.place.sim;
        assert!(closed.intact(Access::Read, "no damage"));
        let (mut flips, mut whole) = (0, 0);
        for path in &closed.files {
            let length = sim.read(path).unwrap().len() as u64;
            let small = path.extension().is_none_or(|extension| extension != "keys");
            for byte in (0..length).step_by(1 + 4 * usize::from(carrying)) {
                let bit = (byte % 8) as u8;
                let what = format!("{} byte {byte} of {length}", path.display());
                sim.flip(path, byte, bit);
                let intact = closed.intact(Access::Read, &what);
                assert!(intact || !small || path.ends_with("opening"), "{what}: there is a second copy of it");
                whole += u64::from(intact);
                sim.flip(path, byte, bit);
                // A writer mends, so that everything must be put back.
                if byte % 15 == 0 || (byte % 5 == 0 && !carrying) {
                    sim.flip(path, byte, bit);
                    closed.intact(Access::Write, &what);
                    closed.restore();
                }
                flips += 1;
            }
        }
        let (least, harmless) = if carrying { (4_000, 1_500) } else { (6_000, 4_000) };
        assert!(flips > least && whole > harmless && whole < flips, "{flips} flips, {whole} harmless");
    }
}

#[test]
fn a_flipped_bit_in_one_mirror_changes_nothing_at_all() {
    for (carrying, step) in [(false, 3), (true, 9)] {
        let closed = closed_with(2, 3, carrying);
        let sim = &closed.place.sim;
        for path in closed.files.iter().filter(|path| path.starts_with("mirror0")) {
            for byte in (0..sim.read(path).unwrap().len() as u64).step_by(step) {
                let what = format!("{} byte {byte}", path.display());
                sim.flip(path, byte, (byte % 8) as u8);
                assert!(closed.intact(Access::Write, &what), "{what}");
                let custodian = closed.place.custodian();
                register_opening(&*sim.env(), &closed.place.dirs, &*custodian, None).unwrap();
                closed.restore();
            }
        }
    }
}

#[test]
fn a_lost_cut_or_emptied_file_in_one_mirror_is_made_again() {
    let closed = closed(2, 3);
    let sim = &closed.place.sim;
    let mirror: Vec<_> = closed.files.iter().filter(|path| path.starts_with("mirror0")).collect();
    for (step, path) in mirror.iter().enumerate() {
        let length = sim.read(path).unwrap().len() as u64;
        for cut in [0, 1, length / 2, length - 1, u64::MAX] {
            match cut {
                u64::MAX => sim.remove(path),
                cut => sim.truncate(path, cut),
            }
            let (keyring, report) = closed.place.open(Access::Write, closed.floor).unwrap();
            let mended = report.mirrors_mended + report.roots_mended;
            assert!(mended > 0 || path.ends_with("opening"), "step {step}, cut {cut}");
            drop(keyring);
            let custodian = closed.place.custodian();
            register_opening(&*sim.env(), &closed.place.dirs, &*custodian, None).unwrap();
            assert!(closed.intact(Access::Read, "mended"));
            assert!(verify(&*sim.env(), &closed.place.dirs).unwrap().damage.is_empty());
            closed.restore();
        }
    }
    mirror.iter().for_each(|path| sim.remove(path));
    assert!(closed.intact(Access::Write, "a whole mirror gone"));
    assert_eq!(sim.files().iter().filter(|(path, _)| path.starts_with("mirror0")).count(), 3);
}

#[test]
fn two_mirrors_that_are_each_damaged_elsewhere_make_one_whole() {
    let closed = closed(2, 3);
    let sim = &closed.place.sim;
    let log = sim.read("mirror0/keyring/0000000001.keys").unwrap();
    let length = log.len() as u64;
    let mut starts = vec![64];
    while let Some(rest) = log.get(starts[starts.len() - 1]..).filter(|rest| !rest.is_empty()) {
        starts.push(starts[starts.len() - 1] + crate::format::keyring::LogFrame::parse(rest).unwrap().1);
    }
    let frame = |byte: u64| starts.partition_point(|start| *start as u64 <= byte);
    for byte in (64..length).step_by(11) {
        let other = 64 + (byte + length / 2) % (length - 64);
        sim.flip("mirror0/keyring/0000000001.keys", byte, 1);
        sim.flip("mirror1/keyring/0000000001.keys", other, 2);
        let first = closed.intact(Access::Write, "both damaged");
        assert!(first || frame(byte) == frame(other), "bytes {byte} and {other}");
        closed.restore();
        // One mirror is behind, and is about to be written over from one that is damaged.
        sim.remove("mirror0/keyring/root.a");
        sim.remove("mirror0/keyring/root.b");
        sim.flip("mirror1/keyring/0000000001.keys", byte.min(length - 2_500), 1);
        assert!(closed.intact(Access::Write, "one behind, the other damaged"), "byte {byte}");
        closed.restore();
    }
}

#[test]
fn a_log_cut_at_any_length_is_an_error_or_whole() {
    let closed = closed(1, 4);
    let sim = &closed.place.sim;
    let log = closed.files.iter().find(|path| path.ends_with("0000000001.keys")).unwrap();
    let length = sim.read(log).unwrap().len() as u64;
    for cut in 0..length {
        sim.truncate(log, cut);
        assert!(!closed.intact(Access::Read, &format!("cut at {cut}")));
        closed.restore();
    }
}

#[test]
fn an_unfinished_append_is_cut_and_counted_but_not_a_durable_one() {
    let closed = closed(1, 4);
    let sim = &closed.place.sim;
    let log = closed.files.iter().find(|path| path.ends_with("0000000001.keys")).unwrap();
    let length = sim.read(log).unwrap().len() as u64;
    sim.truncate(log, length - 5);
    // Nobody knows that the last entry was durable.
    let (keyring, report) = closed.place.open(Access::Write, closed.floor - 1).unwrap();
    assert!(report.bytes_cut > 100);
    assert_eq!((keyring.durable(), keyring.customers() as usize), (closed.floor - 1, closed.secrets.len() - 1));
    closed.restore();
    sim.truncate(log, length - 5);
    let error = closed.place.open(Access::Write, closed.floor).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(log.as_path())));
    closed.restore();
    // Later entries say that the first of four was durable, whatever the caller knows.
    let first = locked(&closed.place.open(Access::Read, 0).unwrap().0.state).tree.root.fold;
    sim.flip(log, first + 60, 3);
    let error = closed.place.open(Access::Write, 0).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(first)));
    assert!(!verify(&*sim.env(), &closed.place.dirs).unwrap().damage.is_empty());
}

#[test]
fn a_rolled_back_keyring_and_a_foreign_custodian_are_refused() {
    let sim = Sim::new(12);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    add(&keyring, 1);
    keyring.fold((5, [5; 32])).unwrap();
    let old = sim.snapshot();
    add(&keyring, 2);
    keyring.fold((6, [6; 32])).unwrap();
    drop(keyring);
    for mirror in ["mirror0", "mirror1"] {
        sim.restore(&old, mirror);
    }
    for access in [Access::Read, Access::Write] {
        assert_eq!(place.open(access, 0).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    }
    let other: Arc<FileCustodian> = Arc::new(FileCustodian::with_env(sim.env(), "safe/other.custodian"));
    let missing = Keyring::open(sim.env(), place.options(), other.clone(), &store(), Access::Read, Floor::default());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::KeyUnavailable);
    let options = KeyringOptions { dirs: vec!["elsewhere".into()], cache_bytes: 1 << 20 };
    let foreign = StoreId::from_bytes([8; 16]);
    Keyring::create(sim.env(), options.clone(), other.clone(), foreign).unwrap();
    let wrong = Keyring::open(sim.env(), place.options(), other.clone(), &store(), Access::Write, Floor::default());
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::KeyUnavailable);
    let wrong = Keyring::open(sim.env(), options, other.clone(), &store(), Access::Write, Floor::default());
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::KeyUnavailable);
    let wrong = register_opening(&*sim.env(), &place.dirs, &*other, None).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::KeyUnavailable);
    let mixed = KeyringOptions { dirs: vec!["elsewhere".into(), place.dirs[0].clone()], cache_bytes: 1 << 20 };
    let wrong = Keyring::open(sim.env(), mixed, other, &foreign, Access::Write, Floor::default());
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::KeyUnavailable);
}

#[test]
fn one_mirror_that_was_rolled_back_is_brought_forward() {
    let sim = Sim::new(13);
    let place = Place::new(&sim, 2);
    let keyring = place.create().unwrap();
    add(&keyring, 1);
    keyring.sync().unwrap();
    let old = sim.snapshot();
    drop(keyring);
    // Something else is written after the old state, which must not be taken for it, although it is shorter.
    let alone = Place { sim: sim.clone(), dirs: vec![place.dirs[1].clone()] };
    let keyring = alone.write(1);
    let two = secret(&add(&keyring, 2).entry);
    keyring.sync().unwrap();
    drop(keyring);
    sim.restore(&old, "mirror0");
    let (keyring, report) = place.open(Access::Write, 2).unwrap();
    assert!(report.mirrors_mended == 1 && report.roots_mended >= 2, "{report:?}");
    assert_eq!(secret(&keyring.customer(&id(2)).unwrap().unwrap().entry), two);
    drop(keyring);
    let alone = Place { sim: sim.clone(), dirs: vec![place.dirs[0].clone()] };
    assert_eq!(secret(&alone.write(2).customer(&id(2)).unwrap().unwrap().entry), two);
}

#[test]
fn a_clone_is_refused_until_it_is_told_to_take_over() {
    let sim = Sim::new(14);
    let place = Place::new(&sim, 1);
    drop(place.create().unwrap());
    let open = |dirs: &[PathBuf], take_over| {
        let custodian = place.custodian();
        let number = register_opening(&*sim.env(), dirs, &*custodian, take_over);
        custodian.release();
        number
    };
    assert_eq!(open(&place.dirs, None).unwrap(), 1);
    sim.copy_tree("mirror0", "clone");
    let clone = [PathBuf::from("clone/keyring")];
    assert_eq!(open(&clone, None).unwrap(), 2);
    assert_eq!(open(&clone, None).unwrap(), 3);
    assert_eq!(open(&place.dirs, None).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    assert_eq!(open(&place.dirs, Some("the clone is gone")).unwrap(), 4);
    assert_eq!(open(&clone, None).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    // Two openings at a time exclude each other.
    let (one, two) = (place.custodian(), place.custodian());
    assert_eq!(register_opening(&*sim.env(), &place.dirs, &*one, None).unwrap(), 5);
    assert_eq!(register_opening(&*sim.env(), &place.dirs, &*two, None).unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(two.next_epoch().unwrap_err().kind(), ErrorKind::Locked);
    assert!(one.next_epoch().is_ok() && two.registration().is_ok());
    // A clone that was not let in by force stays a clone, with its opening file or without.
    assert_eq!(open(&clone, Some("not yet")).unwrap_err().kind(), ErrorKind::Locked);
    let bare = [PathBuf::from("bare/keyring")];
    env::create_dirs(&*sim.env(), &bare[0]).unwrap();
    assert_eq!(open(&bare, Some("not yet")).unwrap_err().kind(), ErrorKind::Locked);
    one.release();
    assert_eq!(open(&clone, None).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    assert_eq!(open(&bare, None).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    assert_eq!(register_opening(&*sim.env(), &place.dirs, &*two, None).unwrap(), 6);
}

#[test]
fn nothing_is_created_over_a_keyring_in_use() {
    let sim = Sim::new(15);
    let place = Place::new(&sim, 1);
    drop(place.create().unwrap());
    drop(place.create().unwrap());
    let custodian = place.custodian();
    register_opening(&*sim.env(), &place.dirs, &*custodian, None).unwrap();
    custodian.release();
    assert_eq!(place.create().unwrap_err().kind(), ErrorKind::Invalid);
    let other = Arc::new(FileCustodian::with_env(sim.env(), "safe/other.custodian"));
    let over = Keyring::create(sim.env(), place.options(), other, StoreId::from_bytes([9; 16]));
    assert_eq!(over.unwrap_err().kind(), ErrorKind::Invalid);
    drop(place.write(0));
}

#[test]
fn the_file_custodian_clears_what_it_destroys_and_claims_no_more() {
    let sim = Sim::new(16);
    let place = Place::new(&sim, 1);
    let custodian = place.custodian();
    custodian.create(&store()).unwrap();
    let epochs: Vec<u64> = (0..20).map(|_| custodian.next_epoch().unwrap()).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]));
    let sealed: Vec<Vec<u8>> = epochs.iter().map(|epoch| custodian.seal(*epoch, b"root").unwrap()).collect();
    assert!(custodian.seal(epochs[19] + 1, b"root").is_err());
    let evidence = custodian.destroy_before(epochs[15]).unwrap();
    assert!(!evidence.final_ && evidence.words.contains("undone by any copy"));
    for (index, sealed) in sealed.iter().enumerate() {
        assert_eq!(custodian.open(sealed).is_ok(), index >= 15, "epoch {index}");
    }
    assert!(custodian.seal(epochs[3], b"root").is_err());
    let length = sim.read(CUSTODIAN).unwrap().len();
    for _ in 0..15 {
        let epoch = custodian.next_epoch().unwrap();
        custodian.seal(epoch, b"root").unwrap();
    }
    assert_eq!(sim.read(CUSTODIAN).unwrap().len(), length, "slots are used again");
    sim.set_medium(env::Medium::CopyOnWrite);
    let token = custodian.registration().unwrap().opening;
    assert_eq!(custodian.register(&token, &token).unwrap_err().kind(), ErrorKind::Refused);
    let lenient = FileCustodian::with_env(sim.env(), CUSTODIAN).accept_weak_erasure();
    lenient.register(&token, &token).unwrap();
}
