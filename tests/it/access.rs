//! Rights and the access log: each role may what the table says, each use is on record, and nobody else can read who did
//! what; and what is on record cannot be changed unseen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure::env::sim::Sim;
use tenure::report::{AccessUse, ReportOptions, VerifyOptions};
use tenure::{
    AccessFilter, AccessRequest, Acting, Actor, Authorizer, Batch, CustomerId, ErrorKind, ExpireOptions, Hold, RIGHTS,
    ROLES, Record, RecordId, Reported, Right, Role, ScanFilter, Store, Stream, Timestamp,
};

use crate::scene::options;

const ACTOR: &str = "ana-the-actor";
const PURPOSE: &str = "purpose-of-ticket-88";

pub fn sim(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.set_now("2026-11-23T12:00:00Z".parse().unwrap());
    sim
}

pub fn record(customer: &str, number: u8) -> Record {
    let at: Timestamp = format!("2026-11-0{}T00:00:00Z", 1 + number % 9).parse().unwrap();
    let id = RecordId::from_bytes([number; 16]);
    Record::new(customer, "chat", "EU", at, format!("words of {customer}")).unwrap().with_id(id)
}

/// A store with two customers.
pub fn lived(sim: &Sim) -> Store {
    let store = options(sim).create().unwrap();
    store.append(Batch::from(vec![record("c-ana", 1), record("c-bo", 2)])).unwrap().wait().unwrap();
    store
}

pub fn acting(store: &Store, role: Role) -> Acting {
    store.acting_as(Actor::new(ACTOR, role).purpose(PURPOSE))
}

fn log_of(store: &Store, filter: AccessFilter) -> Vec<AccessUse> {
    let report = store.access_log(&filter).unwrap();
    assert!(report.damage.is_empty() && !report.more, "{report:?}");
    report.uses
}

pub fn all(store: &Store) -> Vec<AccessUse> {
    log_of(store, AccessFilter::default())
}

fn about(store: &Store, customer: &str) -> Vec<(Right, &'static str)> {
    let filter = AccessFilter { customer: Some(CustomerId::new(customer).unwrap()), ..AccessFilter::default() };
    log_of(store, filter).iter().map(|one| (one.right, one.outcome)).collect()
}

pub fn access_files(sim: &Sim) -> Vec<PathBuf> {
    sim.files().into_iter().map(|(path, _)| path).filter(|path| path.starts_with("/calls/access")).collect()
}

/// What is on record before it is done.
fn is_grave(right: Right) -> bool {
    use Right::{Erase, Expire, Export, PlaceHold, Redact, ReleaseHold, SetPolicy};
    [Export, Redact, Erase, Expire, PlaceHold, ReleaseHold, SetPolicy].contains(&right)
}

#[test]
fn every_cell_of_the_table_is_allowed_or_refused_and_on_record() {
    let sim = sim(1);
    let store = lived(&sim);
    let mut cells = Vec::new();
    for role in ROLES {
        for right in RIGHTS {
            let done = acting(&store, role).perform(*right, &["c-ana"], |_| Ok(()));
            let allowed = right.usual_roles().contains(&role);
            assert_eq!(done.as_ref().map_err(tenure::Error::kind).is_ok(), allowed, "{role} {right}");
            if let Err(error) = done {
                assert_eq!(error.kind(), ErrorKind::Forbidden);
            }
            cells.extend((allowed && is_grave(*right)).then_some((role, *right, "begun")));
            cells.push((role, *right, if allowed { "done" } else { "refused" }));
        }
    }
    let uses = all(&store);
    let noted: Vec<_> = uses.iter().map(|one| (one.role, one.right, one.outcome)).collect();
    assert_eq!(noted, cells);
    assert!(uses.iter().all(|one| one.actor == ACTOR && one.purpose == PURPOSE && !one.role_taken));
    assert!(uses.iter().all(|one| one.everybody == (one.right == Right::Scan)));
    assert!(uses.iter().all(|one| one.everybody || one.subjects.len() == 1));
    assert!(cells.iter().any(|cell| cell.2 == "done") && cells.iter().any(|cell| cell.2 == "refused"));
}

/// What a call answers that was refused; `None` where it was not.
fn kind<T>(answer: tenure::Result<T>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

const KEEP: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\n";

/// Every call, in an order in which each has something to do.
fn calls(acting: &Acting) -> Vec<(Right, Option<ErrorKind>)> {
    let id = RecordId::from_bytes([1; 16]);
    let hold = Hold { matter: "m".into(), reason: "r".into(), stream: None, from: None, until: None };
    let mut calls = vec![
        (Right::Append, kind(acting.append(Batch::from(vec![record("c-cy", 3)])).and_then(|commit| commit.wait()))),
        (Right::Append, kind(acting.upload(Record::new("c-cy", "chat", "EU", record("c", 4).at, "").unwrap()))),
        (Right::Append, kind(acting.source_offset("feed"))),
        (Right::Append, kind(acting.train(&[]))),
        (Right::Timeline, kind(acting.timeline("c-ana", ..))),
        (Right::Get, kind(acting.get("c-ana", id))),
        (Right::Get, kind(acting.body("c-ana", id))),
        (Right::Grep, kind(acting.grep("c-ana", "words", ..))),
        (Right::Held, kind(acting.held("c-ana"))),
        (Right::Held, kind(acting.held_body("c-ana", id))),
        (Right::History, kind(acting.history("c-ana"))),
        (Right::History, kind(acting.history_body("c-ana", id))),
        (Right::Rectify, kind(acting.rectify("c-ana", id, b"better words"))),
        (Right::Export, kind(acting.export("c-ana", "c-ana"))),
        (Right::Restricted, kind(acting.restricted("c-ana"))),
        (Right::Restricted, kind(acting.restricted_body("c-ana", id))),
        (Right::Explain, kind(acting.homes("c-ana"))),
        (Right::Explain, kind(acting.homes_before("c-ana", record("c", 1).at))),
        (Right::Explain, kind(acting.redaction("c-ana", id, false))),
        (Right::Explain, kind(acting.notices())),
        (Right::Inform, kind(acting.relationship_ended("c-ana", record("c", 1).at))),
        (Right::Inform, kind(acting.relationship_resumed("c-ana"))),
        (Right::Inform, kind(acting.request_closed("c-ana", record("c", 1).at))),
        (Right::Scan, kind(acting.scan(ScanFilter::default()))),
        (Right::PlaceHold, kind(acting.hold("c-ana", &hold))),
        (Right::ListHolds, kind(acting.holds())),
        (Right::PlaceHold, kind(acting.hold_everybody(&hold))),
        (Right::ReleaseHold, kind(acting.release(1))),
        (Right::ReleaseHold, kind(acting.release(2))),
        (Right::PlaceHold, kind(acting.request_hold("c-ana", &hold, Duration::ZERO))),
        (Right::PlaceHold, kind(acting.request_hold_everybody(&hold, Duration::ZERO))),
        (Right::ReleaseHold, kind(acting.request_release(3, Duration::ZERO))),
        (Right::ReleaseHold, kind(acting.request_release(4, Duration::ZERO))),
        (Right::Inform, kind(acting.request_inform("c-ana", Reported::RelationshipResumed, Duration::ZERO))),
        (Right::Rectify, kind(acting.request_rectify("c-ana", id, b"the best words", Duration::ZERO))),
        (Right::Redact, kind(acting.request_redact("c-ana", RecordId::from_bytes([9; 16]), true, Duration::ZERO))),
        (Right::Redact, kind(acting.redact_despite_duty("c-ana", RecordId::from_bytes([9; 16])))),
        (Right::Redact, kind(acting.redact("c-ana", id))),
    ];
    calls.extend(further_calls(acting));
    calls
}

/// Those that let go of something, and those about the store and not about anybody in it.
fn further_calls(acting: &Acting) -> Vec<(Right, Option<ErrorKind>)> {
    let (class, deep) = (&mut record("c-cy", 3), VerifyOptions::default());
    let stream = Stream::new("chat", "EU").unwrap();
    let mut calls = vec![
        (Right::Erase, kind(acting.erase_part("c-bo", None, Some(record("c", 1).at)))),
        (Right::Erase, kind(acting.erase(&["c-bo"]))),
        (Right::Erase, kind(acting.request_erase(&["c-bo"], Duration::ZERO))),
        (Right::Expire, kind(acting.expire(ExpireOptions::default()))),
        (Right::Expire, kind(acting.request_expire(ExpireOptions::default(), Duration::ZERO))),
        (Right::Maintain, kind(acting.maintain(tenure::report::Budget::ALL))),
        (Right::Maintain, kind(acting.settle())),
        (Right::Maintain, kind(acting.scrub())),
        (Right::Stats, kind(acting.stats())),
        (Right::Verify, kind(acting.verify(Default::default(), &mut |_| {}))),
        (Right::Repair, kind(acting.repair(false))),
        (Right::ReadPolicy, kind(acting.policy())),
        (Right::SetPolicy, kind(acting.policy().and_then(|policy| acting.set_policy(&policy.text)))),
        (Right::SetPolicy, kind(acting.set_policy_confirmed(KEEP, "because"))),
        (Right::ReadPolicy, kind(acting.check_policy(KEEP))),
        (Right::ReadPolicy, kind(acting.explain_stream(&Stream::new("chat", "EU").unwrap()))),
        (Right::Explain, kind(acting.explain_customer("c-ana"))),
        (Right::Receipts, kind(acting.receipts())),
        (Right::Receipts, kind(acting.prove_receipt(1))),
        (Right::Receipts, kind(acting.proved_receipts(&[1]))),
        (Right::AccessLog, kind(acting.access_log(&AccessFilter::default()))),
        (Right::Prove, kind(acting.checkpoint())),
        (Right::Prove, kind(acting.prove(0))),
        (Right::Prove, kind(acting.audit_key())),
        (Right::Erase, kind(acting.request_erase_part("c-bo", Some(stream), None, Duration::ZERO))),
        (Right::Report, kind(acting.report(&ReportOptions::default()))),
        (Right::Report, kind(acting.aggregate(&[], 20, 1))),
        (Right::Append, kind(acting.classify(class))),
        (Right::Verify, kind(acting.verify_parallel(deep, 1, &mut |_| {}))),
        (Right::Inform, kind(acting.contacted("c-ana", record("c", 1).at))),
    ];
    let scanned = acting.scan_parallel(ScanFilter::default(), 1, |_| std::ops::ControlFlow::<()>::Continue(()));
    calls.push((Right::Scan, kind(scanned)));
    calls
}

/// A call that is added is added here.
#[test]
fn no_call_is_left_out() {
    let asked = include_str!("access.rs");
    let calls = include_str!("../../src/access/verbs.rs").split("pub fn ").skip(1);
    let names = calls.filter_map(|call| call.split(['(', '<']).next()).filter(|name| *name != "close");
    let left_out: Vec<&str> = names.filter(|name| !asked.contains(&format!("acting.{name}("))).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn every_call_asks_for_the_right_it_needs() {
    for role in ROLES {
        let sim = sim(2);
        let store = lived(&sim);
        for (right, answer) in calls(&acting(&store, role)) {
            let refused = answer == Some(ErrorKind::Forbidden);
            assert_eq!(refused, !right.usual_roles().contains(&role), "{role} {right}: {answer:?}");
            assert!(refused || answer.is_none(), "{role} {right}: {answer:?}");
        }
        let uses = all(&store);
        for one in &uses {
            assert_eq!(one.outcome == "refused", !one.right.usual_roles().contains(&role), "{role} {}", one.right);
        }
        // Whoever gave a purpose gave a reason besides.
        let reason = format!("{PURPOSE}: because");
        assert!(uses.iter().any(|one| one.right == Right::SetPolicy && one.purpose == reason), "{role}");
        // The policy is read before it is set.
        assert_eq!(uses.iter().filter(|one| one.outcome != "begun").count(), 70, "{role}");
        for one in uses.windows(2).filter(|pair| pair[0].outcome == "begun") {
            assert_eq!((&one[0].subjects, one[0].right), (&one[1].subjects, one[1].right));
            assert!(is_grave(one[0].right) && one[1].outcome != "begun", "{role} {}", one[0].right);
        }
    }
}

#[test]
fn whoever_holds_the_keys_takes_the_least_role_that_may() {
    let sim = sim(3);
    let store = lived(&sim);
    let holder = store.acting_as(Actor::holding_the_keys("root"));
    assert!(calls(&holder).iter().all(|(right, answer)| answer.is_none() || panic!("{right} {answer:?}")));
    for one in all(&store) {
        assert_eq!((one.role, one.role_taken), (one.right.usual_roles()[0], true), "{}", one.right);
    }
}

struct OnlyOwn;

impl Authorizer for OnlyOwn {
    fn allows(&self, request: &AccessRequest<'_>) -> bool {
        request.role == Role::Auditor || request.customers == ["c-ana"] && request.actor.id() == ACTOR
    }
}

#[test]
fn a_host_may_decide_by_rules_of_its_own() {
    let sim = sim(4);
    lived(&sim).close().unwrap();
    let store = options(&sim).authorizer(OnlyOwn).open().unwrap();
    let ana = acting(&store, Role::Agent);
    assert_eq!(ana.timeline("c-ana", ..).unwrap().count(), 1);
    assert_eq!(ana.timeline("c-bo", ..).unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(ana.scan(ScanFilter::default()).unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(acting(&store, Role::Auditor).scan(ScanFilter::default()).is_ok());
    let nobody = store.acting_as(Actor::new("", Role::Agent));
    assert_eq!(nobody.timeline("c-ana", ..).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn who_has_read_a_customer_is_told_while_the_customer_lives_and_by_nobody_after() {
    let sim = sim(5);
    let store = lived(&sim);
    let (agent, privacy) = (acting(&store, Role::Agent), acting(&store, Role::Privacy));
    assert_eq!(agent.timeline("c-ana", ..).unwrap().count(), 1);
    assert_eq!(agent.timeline("c-bo", ..).unwrap().count(), 1);
    assert_eq!(agent.timeline("c-nobody", ..).unwrap().count(), 0);
    assert!(agent.erase(&["c-ana"]).is_err());
    assert_eq!(privacy.scan(ScanFilter::default()).unwrap().count(), 2);
    let told = [(Right::Timeline, "done"), (Right::Erase, "refused"), (Right::Scan, "done")];
    assert_eq!(about(&store, "c-ana"), told);
    assert_eq!(about(&store, "c-bo"), [(Right::Timeline, "done"), (Right::Scan, "done")]);
    assert_eq!(about(&store, "c-nobody"), []);
    assert!(all(&store).iter().any(|one| one.outcome == "nothing" && one.subjects.is_empty()));
    let subject = all(&store)[0].subjects.clone();
    let receipt = privacy.erase(&["c-ana"]).unwrap().unwrap();
    assert_eq!(receipt.subjects, subject);
    assert_eq!(about(&store, "c-ana"), [], "of somebody who was erased nothing is told");
    assert!(all(&store).iter().any(|one| one.right == Right::Erase && one.subjects == subject), "by number it stays");
    store.close().unwrap();
    let store = options(&sim).open().unwrap();
    assert_eq!(about(&store, "c-bo").len(), 2, "and after the next opening too");
}

/// Also who placed and lifted holds on somebody, though a hold is lifted by its number.
#[test]
fn holds_on_a_customer_are_told_of_the_customer() {
    let sim = sim(16);
    let store = lived(&sim);
    let hold = Hold { matter: "m".into(), reason: "r".into(), ..Hold::default() };
    let privacy = acting(&store, Role::Privacy);
    let number = privacy.hold("c-ana", &hold).unwrap().unwrap();
    privacy.release(number).unwrap().unwrap();
    assert_eq!(privacy.release(number).unwrap(), None);
    let told = [(Right::PlaceHold, "begun"), (Right::PlaceHold, "done"), (Right::ReleaseHold, "begun")];
    assert_eq!(about(&store, "c-ana")[..3], told);
    assert_eq!(about(&store, "c-ana")[3..], [(Right::ReleaseHold, "done")]);
    assert_eq!(about(&store, "c-bo"), []);
}

#[test]
fn who_was_erased_looks_to_most_like_who_never_was() {
    let sim = sim(6);
    let store = lived(&sim);
    let (agent, privacy) = (acting(&store, Role::Agent), acting(&store, Role::Privacy));
    let (mut theirs, mut ours) = (agent.timeline("c-ana", ..).unwrap(), privacy.timeline("c-ana", ..).unwrap());
    let mut body = agent.body("c-ana", RecordId::from_bytes([1; 16])).unwrap().unwrap();
    privacy.erase(&["c-ana"]).unwrap().unwrap();
    assert_eq!(theirs.next().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ours.next().unwrap().unwrap_err().kind(), ErrorKind::Erased);
    assert_eq!(body.read_at(0, &mut [0; 8]).unwrap_err().kind(), ErrorKind::NotFound);
    for customer in ["c-ana", "c-nobody"] {
        assert_eq!(agent.timeline(customer, ..).unwrap().count(), 0);
        assert!(agent.get(customer, RecordId::from_bytes([1; 16])).unwrap().is_none());
    }
}

#[test]
fn what_is_grave_is_durable_before_it_returns_and_the_rest_within_a_second() {
    let sim = sim(7);
    let store = lived(&sim);
    let privacy = acting(&store, Role::Privacy);
    assert_eq!(privacy.timeline("c-bo", ..).unwrap().count(), 1);
    privacy.erase(&["c-ana"]).unwrap().unwrap();
    sim.crash();
    sim.restart();
    drop((privacy, store));
    let store = options(&sim).open().unwrap();
    assert_eq!(
        all(&store).iter().map(|one| one.right).collect::<Vec<_>>(),
        [Right::Timeline, Right::Erase, Right::Erase]
    );
    let agent = acting(&store, Role::Agent);
    assert_eq!(agent.timeline("c-bo", ..).unwrap().count(), 1);
    sim.advance(Duration::from_secs(1));
    assert_eq!(agent.timeline("c-bo", ..).unwrap().count(), 1);
    sim.crash();
    sim.restart();
    drop((agent, store));
    assert_eq!(all(&options(&sim).open().unwrap()).len(), 5);
}

/// A reading process beside the writer logs in a file of its own; where it cannot, it does not read.
#[test]
fn a_reader_logs_too_and_one_that_cannot_does_not_read() {
    let sim = sim(8);
    let store = lived(&sim);
    let reader = options(&sim).open_read_only().unwrap();
    let agent = acting(&reader, Role::Agent);
    assert_eq!(agent.timeline("c-bo", ..).unwrap().count(), 1);
    assert_eq!(acting(&store, Role::Agent).timeline("c-bo", ..).unwrap().count(), 1);
    reader.clone().close().unwrap();
    assert_eq!(access_files(&sim).len(), 2);
    assert_eq!(about(&store, "c-bo").len(), 2);
    // In more than a year there is no key that a reader could use.
    sim.set_now("2028-01-01T00:00:00Z".parse().unwrap());
    let reader = options(&sim).open_read_only().unwrap();
    let refused = acting(&reader, Role::Agent).timeline("c-bo", ..).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::KeyUnavailable);
    assert_eq!(acting(&store, Role::Agent).timeline("c-bo", ..).unwrap().count(), 1, "the writer makes one");
}

#[test]
fn nothing_of_who_or_why_is_readable_in_any_file() {
    let sim = sim(9);
    sim.keep_history();
    let store = lived(&sim);
    for role in ROLES {
        calls(&acting(&store, role));
    }
    let debug = format!(
        "{:?} {:#?} {:?}",
        acting(&store, Role::Agent),
        all(&store),
        store.access_log(&AccessFilter::default())
    );
    store.close().unwrap();
    let mut searched = 0;
    for secret in [ACTOR, PURPOSE, "c-ana", "c-bo", "words of"] {
        assert!(!debug.contains(secret), "{secret} in Debug");
        sim.every_byte_ever(|path, bytes| {
            searched += bytes.len();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found && !path.contains(secret), "{secret} in {path}");
        });
    }
    assert!(searched > 100_000 && !access_files(&sim).is_empty());
}

/// A tombstone still has the number under which all that was done before is on record: what comes after does not say it.
#[test]
fn who_was_erased_is_named_by_nobody_after() {
    let store = lived(&sim(18));
    acting(&store, Role::Agent).timeline("c-ana", ..).unwrap();
    acting(&store, Role::Privacy).erase(&["c-ana"]).unwrap().unwrap();
    let before = all(&store);
    assert!(before.len() == 3 && before.iter().all(|one| one.subjects == before[0].subjects), "{before:?}");
    assert_eq!(before[0].subjects.len(), 1, "the erasure says on whom it was done");
    acting(&store, Role::Agent).timeline("c-ana", ..).unwrap();
    acting(&store, Role::Privacy).erase(&["c-ana", "c-bo"]).unwrap().unwrap();
    assert!(acting(&store, Role::Agent).erase(&["c-ana"]).is_err());
    let after = &all(&store)[before.len()..];
    assert_eq!(after.iter().map(|one| one.subjects.len()).collect::<Vec<_>>(), [0, 1, 1, 0]);
    assert!(after.iter().all(|one| one.subjects != before[0].subjects));
}

/// A power cut at every operation of a life with uses: what is on record is a beginning of what was done, nothing is
/// damaged, and the next opening goes on.
#[test]
fn access_logs_survive_a_power_cut_at_every_operation() {
    let life = |sim: &Sim| -> tenure::Result<u64> {
        let mut done = 0;
        for opening in 0..2 {
            let store = options(sim).open()?;
            let privacy = acting(&store, Role::Privacy).promptly();
            for _ in 0..2 {
                privacy.timeline("c-bo", ..)?;
                done += 1;
            }
            if opening == 0 {
                privacy.erase(&["c-ana"])?;
                done += 1;
            }
            store.checkpoint()?;
            store.close()?;
        }
        Ok(done)
    };
    let begun = |seed| {
        let sim = sim(seed);
        lived(&sim).close().unwrap();
        sim
    };
    let whole = begun(15);
    let first = whole.operations();
    assert_eq!(life(&whole).unwrap(), 5);
    let mut interrupted = 0;
    let step = std::env::var("TENURE_CRASH_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(5);
    for operation in (first..whole.operations()).step_by(step) {
        let sim = begun(15);
        sim.crash_at(operation);
        let _ = life(&sim);
        sim.restart();
        let store = options(&sim).open().unwrap_or_else(|error| panic!("cut at {operation}: {error:?}"));
        let rights: Vec<Right> = all(&store).iter().map(|one| one.right).collect();
        let usual = [Right::Timeline, Right::Timeline, Right::Erase, Right::Erase, Right::Timeline, Right::Timeline];
        assert!(usual.starts_with(&rights), "cut at {operation}: {rights:?}");
        let erased = !store.receipts().unwrap().is_empty();
        assert!(!erased || rights.contains(&Right::Erase), "cut at {operation}: an erasure by nobody");
        interrupted += usize::from(erased && rights.iter().filter(|right| **right == Right::Erase).count() == 1);
        acting(&store, Role::Agent).timeline("c-bo", ..).unwrap();
        store.close().unwrap();
        let audit = tenure::audit(&crate::proof::env(&sim), Path::new("/calls"), None).unwrap();
        assert!(audit.damage.is_empty(), "cut at {operation}: {audit:?}");
        assert_eq!(audit.access_entries, audit.access_vouched, "cut at {operation}");
    }
    assert!(interrupted > 0, "no cut came between an erasure and its end on record");
}
