//! Proofs: what is on record cannot be changed, cut, exchanged or rolled back unseen by who keeps a checkpoint elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tenure::env::{Env, sim::Sim};
use tenure::{ErrorKind, ExpireOptions, Role, Timestamp, verify_proof};

use crate::access::{access_files, acting, all, lived, record, sim};
use crate::scene::options;

/// A rule for the class `access-log` ends whole months: their keys die, and then their files.
#[test]
fn access_logs_end_by_their_own_rule_and_by_no_other() {
    const ALL: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nkeep_at_most = \"P30D\"\nwindow = \"day\"\n";
    const LOGS: &str = "[[rule]]\nclass = \"access-log\"\njurisdiction = \"*\"\nkeep_at_most = \"P12M\"\n";
    let sim = sim(10);
    let store = lived(&sim);
    acting(&store, Role::Agent).timeline("c-bo", ..).unwrap();
    store.set_policy_confirmed(ALL, "it is a test").unwrap();
    let now: Timestamp = "2027-12-02T00:00:00Z".parse().unwrap();
    let confirmed = ExpireOptions { now: Some(now), confirmed: true, ..ExpireOptions::default() };
    store.expire(confirmed).unwrap();
    assert_eq!(all(&store).len(), 1);
    let with_logs = format!("{ALL}{LOGS}");
    assert_eq!(store.check_policy(&with_logs).unwrap().shortened[0].stream.to_string(), "access-log/STORE");
    assert_eq!(store.set_policy(&with_logs).unwrap_err().kind(), ErrorKind::Refused, "they were kept for ever");
    store.set_policy_confirmed(&with_logs, "it is a test").unwrap();
    let (note, key) = (store.checkpoint().unwrap(), store.audit_key());
    store.expire(ExpireOptions { now: Some("2027-11-30T00:00:00Z".parse().unwrap()), ..confirmed }).unwrap();
    assert_eq!(all(&store).len(), 1);
    let before = sim.snapshot();
    store.expire(confirmed).unwrap();
    assert_eq!(all(&store).len(), 0);
    assert!(access_files(&sim).is_empty());
    store.clone().close().unwrap();
    // A copy of the file from before opens under no key there is.
    sim.restore_missing(&before, "/calls/access");
    let store = options(&sim).open().unwrap();
    assert_eq!(all(&store).len(), 0);
    let audit = tenure::audit(&env(&sim), Path::new("/calls"), None).unwrap();
    assert_eq!((audit.damage.len(), audit.access_dropped_through.as_deref()), (0, Some("2026-11")));
    // By the time on record it was not December 2027 yet: since the checkpoint they went before their time.
    let wrong = wrong(&sim, &note, &key);
    assert!(wrong.len() == 1 && wrong[0].contains("before their time"), "{wrong:?}");
}

/// A restored store goes on from an older copy, and its ledger says what was missed. That satisfies an opening, and must
/// not satisfy who holds a checkpoint of what is lost.
#[test]
fn a_gap_of_the_ledger_does_not_account_for_a_checkpoint() {
    let sim = sim(14);
    let store = lived(&sim);
    let old = sim.snapshot();
    acting(&store, Role::Agent).timeline("c-ana", ..).unwrap();
    store.append(vec![record("c-bo", 3)]).unwrap().wait().unwrap();
    let key = store.audit_key();
    store.close().unwrap();
    let note = options(&sim).open_read_only().unwrap().checkpoint().unwrap();
    assert_eq!(wrong(&sim, &note, &key), [""; 0]);
    sim.restore(&old, "/calls");
    options(&sim).restored("the disk was lost").open().unwrap().close().unwrap();
    let wrong = wrong(&sim, &note, &key);
    assert!(wrong.iter().any(|one| one.contains("older copy")), "{wrong:?}");
}

pub fn env(sim: &Sim) -> Arc<dyn Env> {
    Arc::new(sim.clone())
}

/// What the audit finds wrong, compared with a checkpoint.
fn wrong(sim: &Sim, note: &str, key: &str) -> Vec<String> {
    let audit = tenure::audit(&env(sim), Path::new("/calls"), Some((note, key))).unwrap();
    audit.damage.into_iter().map(|damage| format!("{}: {}", damage.path.display(), damage.what)).collect()
}

#[test]
fn a_checkpoint_kept_elsewhere_catches_whatever_was_changed_since() {
    let sim = sim(11);
    let store = lived(&sim);
    let agent = acting(&store, Role::Agent);
    for _ in 0..5 {
        agent.timeline("c-bo", ..).unwrap();
        sim.advance(Duration::from_secs(2));
    }
    let old = sim.snapshot();
    let (early, key) = (store.checkpoint().unwrap(), store.audit_key());
    agent.timeline("c-ana", ..).unwrap();
    let note = store.checkpoint().unwrap();
    store.close().unwrap();
    for checkpoint in [&early, &note] {
        assert_eq!(wrong(&sim, checkpoint, &key), [""; 0]);
    }
    let audit = tenure::audit(&env(&sim), Path::new("/calls"), None).unwrap();
    assert_eq!((audit.access_logs, audit.access_entries, audit.access_vouched, audit.against), (1, 6, 6, None));
    let whole = sim.snapshot();
    let (log, ledger) = (access_files(&sim).remove(0), PathBuf::from("/calls/ledger/0000000001.ledger"));
    let log_bytes = sim.read(&log).unwrap();
    let spoil = |name: &str, spoil: &dyn Fn()| {
        spoil();
        assert!(!wrong(&sim, &note, &key).is_empty(), "{name}");
        sim.restore(&whole, "/");
    };
    spoil("a bit of the access log", &|| sim.flip(&log, 100, 1));
    spoil("the access log cut", &|| sim.truncate(&log, log_bytes.len() as u64 - 1));
    spoil("the access log cut between commits", &|| {
        let first = 64 + u32::from_le_bytes(log_bytes[68..72].try_into().unwrap()) as u64;
        sim.truncate(&log, first);
    });
    spoil("the access log away", &|| sim.remove(&log));
    spoil("the access log rolled back", &|| sim.restore(&old, "/calls/access"));
    spoil("a bit of the ledger", &|| sim.flip(&ledger, 200, 1));
    spoil("the ledger rolled back", &|| sim.restore(&old, "/calls/ledger"));
    spoil("ledger and access log rolled back", &|| {
        sim.restore(&old, "/calls/ledger");
        sim.restore(&old, "/calls/access");
    });
    spoil("two commits of the access log exchanged", &|| {
        let length = |at: usize| u32::from_le_bytes(log_bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let (first, second) = (64, 64 + length(64));
        let third = second + length(second);
        let parts = [&log_bytes[..first], &log_bytes[second..third], &log_bytes[first..second], &log_bytes[third..]];
        sim.write(&log, &parts.concat());
    });
    spoil("the ledger made anew", &|| {
        // Another store's ledger, whole by itself, under this store's name.
        let other = self::sim(12);
        lived(&other).close().unwrap();
        sim.write(&ledger, &other.read(&ledger).unwrap());
    });
    let foreign = key.replace('+', "x+");
    assert!(tenure::audit(&env(&sim), Path::new("/calls"), Some((&note, &foreign))).is_err());
}

#[test]
fn a_receipt_verifies_offline_and_not_after_one_changed_byte() {
    let sim = sim(13);
    let store = lived(&sim);
    let receipt = acting(&store, Role::Privacy).erase(&["c-ana"]).unwrap().unwrap();
    let (proof, key) = (store.prove_receipt(receipt.number).unwrap().unwrap(), store.audit_key());
    assert!(store.prove_receipt(99).unwrap().is_none());
    drop(store);
    let proved = verify_proof(&proof, &key).unwrap();
    assert_eq!(proved.receipt.unwrap().subjects, receipt.subjects);
    for at in 0..proof.len() {
        for with in *b"A7\n " {
            let mut bytes = proof.clone().into_bytes();
            if bytes[at] == with {
                continue;
            }
            bytes[at] = with;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(verify_proof(&changed, &key).is_err(), "byte {at} as {with}");
        }
    }
    assert!(verify_proof(&proof, &key.replacen('A', "B", 1)).is_err());
    // A leaf left out is a shorter account, and no other: what is left is still in the ledger.
    let lines: Vec<&str> = proof.lines().collect();
    assert!(lines.iter().filter(|line| line.starts_with("leaf ")).count() >= 4, "{proof}");
}

#[test]
fn a_leaf_is_proved_to_be_in_the_ledger() {
    let sim = sim(14);
    let store = lived(&sim);
    let proved = verify_proof(&store.prove(0).unwrap(), &store.audit_key()).unwrap();
    assert_eq!((proved.leaves[0].0, proved.leaves[0].1, proved.receipt), (0, 1, None));
    assert_eq!(store.prove(10_000).unwrap_err().kind(), ErrorKind::Invalid);
}
