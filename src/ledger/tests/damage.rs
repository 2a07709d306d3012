//! Damage of every kind at every place: an error, or the last append cut and counted, or nothing lost.

use proptest::prelude::*;

use super::*;

fn files(sim: &Sim) -> Vec<PathBuf> {
    numbers(&*sim.env(), Path::new(DIR))
        .unwrap()
        .into_iter()
        .map(|number| ledger_path(Path::new(DIR), number))
        .collect()
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_once_the_length_is_known() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 14);
    let mark = Some((ledger.length(), ledger.head()));
    let files = files(&sim);
    assert!(files.len() >= 3);
    for path in &files {
        for byte in 0..sim.read(path).unwrap().len() as u64 {
            let bit = (byte % 8) as u8;
            sim.flip(path, byte, bit);
            assert!(check(&sim, mark).is_err(), "{} byte {byte}", path.display());
            if path == files.last().unwrap() {
                let error = open(&sim, Access::Write, mark).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {byte}: {error}");
                assert!(error.path() == Some(path) && error.offset().is_some_and(|offset| offset <= byte));
            }
            sim.flip(path, byte, bit);
        }
    }
    assert_eq!(check(&sim, mark).unwrap().unfinished, 0);
}

#[test]
fn without_a_known_length_only_the_last_append_can_pass_for_unfinished() {
    let sim = Sim::new(1);
    let mut ledger = lived(&sim, 10);
    let path = files(&sim).pop().unwrap();
    let before = (ledger.length(), ledger.state().clone());
    let last = sim.read(&path).unwrap().len() as u64;
    ledger.append(at(11), &life(10)).unwrap();
    let whole = sim.snapshot();
    let length = sim.read(&path).unwrap().len() as u64;
    for byte in 0..length {
        sim.flip(&path, byte, (byte % 8) as u8);
        match open(&sim, Access::Write, None) {
            Err(error) => assert!(byte < last && error.kind() == ErrorKind::Corrupt, "byte {byte}: {error}"),
            Ok((again, cut)) => {
                assert!(byte >= last, "byte {byte}");
                assert_eq!((again.length(), again.state(), cut), (before.0, &before.1, length - last));
                assert_eq!(sim.read(&path).unwrap().len() as u64, last);
            }
        }
        sim.restore(&whole, "");
    }
}

#[test]
fn cut_at_every_length_it_holds_what_is_whole() {
    let sim = Sim::new(1);
    let mut ledger = create(&sim);
    let mut ends = vec![(sim.read(ledger_path(Path::new(DIR), 1)).unwrap().len() as u64, 1)];
    for step in 0..5 {
        ledger.append(at(step as i64), &life(step)).unwrap();
        ends.push((ledger.last.end, ledger.length()));
    }
    let path = ledger_path(Path::new(DIR), 1);
    let whole = sim.snapshot();
    for length in 0..ledger.last.end {
        sim.truncate(&path, length);
        let mark = Some((ledger.length(), ledger.head()));
        assert_eq!(open(&sim, Access::Write, mark).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(check(&sim, mark).unwrap_err().kind(), ErrorKind::Corrupt);
        let survivors = ends.iter().rev().find(|(end, _)| *end <= length);
        match (open(&sim, Access::Write, None), survivors) {
            (Ok((again, cut)), Some((end, leaves))) => {
                assert_eq!((again.length(), cut), (*leaves, length - end), "length {length}");
                assert_eq!(open(&sim, Access::Write, None).unwrap().1, 0, "cut once");
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            (outcome, _) => panic!("length {length}: {outcome:?}"),
        }
        sim.restore(&whole, "");
    }
}

#[test]
fn what_follows_the_end_is_cut_and_counted() {
    let sim = Sim::new(1);
    let mut ledger = lived(&sim, 3);
    let path = ledger_path(Path::new(DIR), 1);
    let mark = Some((ledger.length(), ledger.head()));
    for rest in [vec![0; 5_000], vec![0xA5; 700], vec![1]] {
        let mut bytes = sim.read(&path).unwrap();
        let whole = bytes.clone();
        bytes.extend(&rest);
        sim.write(&path, &bytes);
        assert_eq!(check(&sim, mark).unwrap().unfinished, rest.len() as u64);
        assert_eq!(open(&sim, Access::Read, mark).unwrap().1, rest.len() as u64);
        assert_eq!(sim.read(&path).unwrap(), bytes, "a reader cuts nothing");
        (ledger, _) = open(&sim, Access::Write, mark).unwrap();
        assert_eq!(sim.read(&path).unwrap(), whole);
    }
    ledger.append(at(9), &life(3)).unwrap();
    assert_eq!(open(&sim, Access::Write, None).unwrap().1, 0);
}

#[test]
fn missing_swapped_and_foreign_files_are_found() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 25);
    let mark = Some((ledger.length(), ledger.head()));
    let files = files(&sim);
    let whole = sim.snapshot();
    for (index, path) in files.iter().enumerate() {
        sim.remove(path);
        let missing_in_between = index + 1 < files.len();
        assert_eq!(open(&sim, Access::Read, mark).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(check(&sim, None).is_err(), missing_in_between, "a whole last file is missed by its mark only");
        sim.restore(&whole, "");
        for other in &files {
            if other != path {
                sim.write(path, &sim.read(other).unwrap());
                assert!(check(&sim, None).is_err());
                sim.restore(&whole, "");
            }
        }
    }
    // A ledger of another store that is whole in itself, file by file in place of ours.
    let other = Sim::new(2);
    let mut theirs =
        Ledger::create_rolling(other.env(), Path::new(DIR), StoreId::from_bytes([3; 16]), at(0), SMALL).unwrap();
    (0..25).for_each(|step| theirs.append(at(step as i64 + 1), &life(step)).unwrap());
    for path in &files {
        sim.write(path, &other.read(path).unwrap());
        assert!(check(&sim, None).is_err());
        sim.restore(&whole, "");
    }
}

#[test]
fn a_file_from_an_older_copy_is_refused_by_the_mark() {
    let sim = Sim::new(1);
    let mut ledger = lived(&sim, 11);
    let old = sim.snapshot();
    ledger.append(at(50), &life(11)).unwrap();
    let mark = Some((ledger.length(), ledger.head()));
    sim.restore(&old, "");
    let error = open(&sim, Access::Write, mark).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.next_step().unwrap().contains("backup"));
    // One that went another way to the same length.
    let mut other = open(&sim, Access::Write, None).unwrap().0;
    other.append(at(51), &life(11)).unwrap();
    assert_eq!(other.length(), ledger.length());
    assert_eq!(open(&sim, Access::Write, mark).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Commits whose checksum fits and that still cannot be: damage, not an end.
#[test]
fn what_cannot_be_is_refused_though_its_checksum_fits() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 3);
    let path = ledger_path(Path::new(DIR), 1);
    let whole = sim.read(&path).unwrap();
    let leaf = |second, fact: Fact| leaf_bytes(at(second), &fact);
    let mut unknown = leaf(9, Fact::Watermark);
    unknown[0] = 16;
    let mut zero = leaf(9, Fact::Watermark);
    zero[0] = 0;
    let next = ledger.length();
    let watermark = leaf(9, Fact::Watermark);
    for (first, leaves, kind) in [
        (next - 1, vec![watermark.clone()], ErrorKind::Corrupt),
        (next + 1, vec![watermark.clone()], ErrorKind::Corrupt),
        (next, vec![watermark.clone(), leaf(8, Fact::Watermark)], ErrorKind::Corrupt),
        (next, vec![leaf(1, Fact::Watermark)], ErrorKind::Corrupt),
        (next, vec![leaf(9, Fact::StoreCreated { store: store(), format: 0 })], ErrorKind::Corrupt),
        (next, vec![leaf(9, Fact::SnapshotTaken { file: 1, hash: [0; 32] })], ErrorKind::Corrupt),
        (next, vec![leaf(9, life(0).remove(0))], ErrorKind::Corrupt),
        (next, vec![watermark, zero], ErrorKind::Corrupt),
        (next, vec![unknown], ErrorKind::Unsupported),
    ] {
        let mut bytes = whole.clone();
        format::encode_commit(&mut bytes, &store(), first, &leaves).unwrap();
        sim.write(&path, &bytes);
        let error = open(&sim, Access::Write, None).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (kind, Some(whole.len() as u64)), "{error}");
        assert_eq!(check(&sim, None).unwrap_err().kind(), kind);
        assert_eq!(sim.read(&path).unwrap(), bytes, "nothing was touched");
    }
}

/// Someone who can compute checksums rewrites the state that openings start from.
#[test]
fn a_forged_snapshot_is_found_through_the_tree() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 12);
    let mark = Some((ledger.length(), ledger.head()));
    let path = files(&sim).pop().unwrap();
    let bytes = sim.read(&path).unwrap();
    let start = file::start(&path, ledger.last.number, &bytes).unwrap();
    let mut snapshot = start.snapshot.unwrap();
    snapshot.state.epoch += 1; // Nothing that the leaves after it contradict.
    let snapshot = snapshot.encode();
    let mut forged = Vec::new();
    Header { snapshot_hash: sha256(&snapshot), ..start.header }.encode(&mut forged);
    forged.extend(&snapshot);
    forged.extend(&bytes[start.body..]);
    sim.write(&path, &forged);
    for outcome in [open(&sim, Access::Read, mark), open(&sim, Access::Read, None)] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_later_file_without_its_first_commit_is_damage() {
    let sim = Sim::new(1);
    let ledger = lived(&sim, 8);
    let path = files(&sim).pop().unwrap();
    for length in [0, ledger.last.body - 1, ledger.last.body, ledger.last.body + 5] {
        sim.truncate(&path, length);
        assert_eq!(open(&sim, Access::Write, None).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(check(&sim, None).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes in place of the last file, or over a part of it: an answer, never a panic.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600), offset in 0usize..900, whole: bool) {
        let sim = Sim::new(1);
        lived(&sim, 7);
        let path = files(&sim).pop().unwrap();
        let mut contents = sim.read(&path).unwrap();
        if whole {
            contents = bytes;
        } else {
            let offset = offset.min(contents.len());
            contents.truncate(offset);
            contents.extend(bytes);
        }
        sim.write(&path, &contents);
        let _ = check(&sim, None);
        if let Ok((mut ledger, _)) = open(&sim, Access::Write, None) {
            ledger.append(at(99), &[Fact::Watermark]).unwrap();
            let (again, _) = open(&sim, Access::Write, None).unwrap();
            prop_assert_eq!(again.state(), ledger.state());
        }
    }
}
