//! What becomes of appends, merges and acts when a step beside them fails: tests that look inside an opening.

use super::*;
use crate::ErrorKind;
use crate::engine::catalog::JournalFile;
use crate::env::sim::Sim;
use crate::keyring::FileCustodian;

fn options(sim: &Sim) -> Options {
    let custodian = FileCustodian::with_env(sim.env(), "/calls.custodian");
    Store::options("/calls").env(sim.env()).custodian(custodian).ballast_bytes(4096)
}

fn note(customer: &str, time: &str, body: &str) -> Record {
    Record::new(customer, "chat", "EU", time.parse().unwrap(), body.to_owned()).unwrap()
}

fn july(body: &str) -> Record {
    note("ana", "2025-07-01T00:00:00Z", body)
}

fn append(store: &Store, record: Record) {
    store.append([record]).unwrap().wait().unwrap();
}

fn bodies(store: &Store, customer: &str) -> Vec<Vec<u8>> {
    store.timeline(customer, ..).unwrap().map(|stored| stored.unwrap().body.to_vec()).collect()
}

/// Leaves so many journal files to be settled, and damages the oldest of them, so that whoever settles it fails. What
/// comes back mends it.
fn unsettleable(sim: &Sim, store: &Store, files: usize) -> impl Fn() + use<> {
    for _ in 0..files {
        append(store, july("earlier"));
        store.0.engine.writer().unwrap().committer.retire();
    }
    let first: Arc<JournalFile> = store.0.engine.catalog.snapshot().view.journals[0].clone();
    let (sim, path, byte) = (sim.clone(), first.path.clone(), first.end() - 1);
    let flip = move || sim.flip(&path, byte, 3);
    flip();
    flip
}

#[test]
fn an_append_that_fails_to_settle_has_queued_nothing() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    let mend = unsettleable(&sim, &store, 3);
    assert_eq!(store.append([july("once")]).unwrap_err().kind(), ErrorKind::Corrupt);
    mend();
    append(&store, july("once"));
    let found = bodies(&store, "ana");
    assert_eq!(found.iter().filter(|body| *body == b"once").count(), 1, "a batch that was said to have failed came in");
}

#[test]
fn an_upload_that_failed_never_becomes_a_record() {
    let sim = Sim::new(1);
    let store = options(&sim).create().unwrap();
    let mut upload = store.upload(july("")).unwrap();
    let mend = unsettleable(&sim, &store, 3);
    let piece = vec![7; 5 << 20];
    assert_eq!(upload.add(&piece).unwrap_err().kind(), ErrorKind::Corrupt);
    mend();
    // How much of the piece came in nobody can tell: neither more of it nor an end makes sense now.
    assert_eq!(upload.add(&piece).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(upload.finish().unwrap_err().kind(), ErrorKind::Corrupt);
    let mut upload = store.upload(july("")).unwrap();
    upload.add(&piece).unwrap();
    let (id, commit) = upload.finish().unwrap();
    commit.wait().unwrap();
    assert_eq!(store.body("ana", id).unwrap().unwrap().length(), piece.len() as u64);
}
