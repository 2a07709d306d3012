//! Holds, facts, amendments and redactions asked of the process that holds the store: done as though it did them by itself,
//! once, and without a word in clear.

use std::time::Duration;

use tenure::env::{Env, sim::Sim};
use tenure::report::{Budget, Verb};
use tenure::{ErrorKind, Hold, RecordId, Reported, Result, Store, Stream};

use crate::beside::{PATIENCE, at, count, files, note, options, scene, served};

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"month\"\nkeep_at_least = \"P1Y\"\n";

fn hold(matter: &str) -> Hold {
    let (matter, reason) = (format!("canary {matter}"), "canary reason".into());
    Hold { matter, reason, stream: Stream::new("chat", "EU").ok(), ..Hold::default() }
}

fn bodies(store: &Store, customer: &str) -> Vec<(RecordId, String)> {
    let body = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.timeline(customer, ..).unwrap().map(Result::unwrap).map(|one| (one.id, body(&one.body))).collect()
}

#[test]
fn holds_are_placed_and_lifted_by_the_writer() {
    let (_, _, writer, reader) = scene(20);
    let first = served(&writer, || reader.request_hold("canary-ana", &hold("one"), PATIENCE)).unwrap().unwrap();
    let second = served(&writer, || reader.request_hold("canary-ana", &hold("two"), PATIENCE)).unwrap().unwrap();
    let third = served(&writer, || reader.request_hold_everybody(&hold("three"), PATIENCE)).unwrap();
    let holds = reader.holds().unwrap();
    assert_eq!(holds.iter().map(|one| one.number).collect::<Vec<_>>(), [first, second, third]);
    assert_eq!(holds, writer.holds().unwrap());
    assert_eq!((&holds[1].hold, holds[2].customer.as_ref()), (&hold("two"), None));
    assert_eq!(holds[0].customer.as_ref().unwrap().expose(), "canary-ana");
    // What needs no asking is not asked.
    assert_eq!(reader.request_hold("nobody", &hold("x"), Duration::ZERO).unwrap(), None);
    let wordless = Hold { reason: String::new(), ..hold("x") };
    assert_eq!(reader.request_hold("canary-ana", &wordless, Duration::ZERO).unwrap_err().kind(), ErrorKind::Invalid);
    let record = bodies(&reader, "canary-ana")[0].0;
    let redact = || reader.request_redact("canary-ana", record, true, PATIENCE);
    assert_eq!(served(&writer, redact).unwrap_err().kind(), ErrorKind::Held);
    for number in [first, second, third] {
        let receipt = served(&writer, || reader.request_release(number, PATIENCE)).unwrap().unwrap();
        assert_eq!(receipt.verb, Verb::Release);
    }
    assert_eq!(served(&writer, || reader.request_release(first, PATIENCE)).unwrap(), None);
    assert!(reader.holds().unwrap().is_empty());
    served(&writer, || reader.request_erase(&["canary-bo"], PATIENCE)).unwrap().unwrap();
    let late = reader.request_hold("canary-bo", &hold("x"), Duration::ZERO);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Erased);
}

#[test]
fn facts_amendments_and_redactions_are_the_writers() {
    let (_, _, writer, reader) = scene(21);
    writer.set_policy(&POLICY.replace("P1Y", "P50Y\"\nanchor = \"relationship-end")).unwrap();
    let ended = at("2025-12-20T00:00:00Z");
    let facts = |store: &Store| store.explain_customer("canary-ana").unwrap().unwrap().facts;
    for (reported, relationship, request) in [
        (Reported::RelationshipEnded(ended), Some(ended), None),
        (Reported::RequestClosed(ended), Some(ended), Some(ended)),
        (Reported::RelationshipResumed, None, Some(ended)),
    ] {
        assert!(served(&writer, || reader.request_inform("canary-ana", reported, PATIENCE)).unwrap());
        let known = facts(&reader);
        assert_eq!((known.relationship_ended, known.request_closed), (relationship, request));
        assert_eq!(facts(&writer), known);
    }
    assert!(!reader.request_inform("nobody", Reported::RelationshipResumed, Duration::ZERO).unwrap());
    let records = bodies(&reader, "canary-ana");
    let amend = || reader.request_rectify("canary-ana", records[0].0, b"canary better", PATIENCE);
    let amended = served(&writer, amend).unwrap();
    assert_eq!(bodies(&reader, "canary-ana")[0], (amended, "canary better".into()));
    assert_eq!(reader.history("canary-ana").unwrap().count(), 7);
    let nothing = || reader.request_rectify("canary-ana", RecordId::from_bytes([9; 16]), b"x", PATIENCE);
    assert_eq!(served(&writer, nothing).unwrap_err().kind(), ErrorKind::NotFound);
    let redact = |despite| {
        let reader = &reader;
        move || reader.request_redact("canary-ana", amended, despite, PATIENCE)
    };
    assert_eq!(served(&writer, redact(false)).unwrap_err().kind(), ErrorKind::Refused, "a duty runs");
    let receipt = served(&writer, redact(true)).unwrap().unwrap();
    assert_eq!((receipt.verb, count(&reader, "canary-ana")), (Verb::Redact, 5));
    assert_eq!(served(&writer, redact(true)).unwrap().map(|one| one.number), None);
}

/// Names, words and bodies of everything that can be asked stand in no byte that is ever written.
#[test]
fn what_is_asked_is_asked_in_no_clear_word() {
    let (sim, _, writer, reader) = scene(22);
    sim.keep_history();
    let record = bodies(&reader, "canary-ana")[0].0;
    let number = served(&writer, || reader.request_hold("canary-ana", &hold("matter"), PATIENCE)).unwrap().unwrap();
    served(&writer, || reader.request_rectify("canary-ana", record, b"canary body", PATIENCE)).unwrap();
    let end = Reported::RelationshipEnded(at("2025-12-20T00:00:00Z"));
    served(&writer, || reader.request_inform("canary-ana", end, PATIENCE)).unwrap();
    served(&writer, || reader.request_release(number, PATIENCE)).unwrap();
    served(&writer, || reader.request_redact("canary-ana", record, false, PATIENCE)).unwrap();
    let mut seen = 0;
    sim.every_byte_ever(|path, bytes| {
        assert!(!path.contains("canary") && !bytes.windows(6).any(|window| window == b"canary"), "{path}");
        seen += usize::from(path.contains("/requests/"));
    });
    assert!(seen >= 10 && files(&sim, ".request").is_empty() && files(&sim, ".answer").is_empty());
}

/// Asks on another thread; the writer takes it, does it `by_itself`, and is gone before it can answer. The next opening knows
/// of no answer, and the request is not carried out again.
fn interrupted<T: Send>(
    seed: u64,
    ask: impl FnOnce(&Store) -> T + Send,
    by_itself: impl FnOnce(&Store, RecordId),
) -> (Sim, Store, T) {
    let (sim, vault, writer, reader) = scene(seed);
    let record = bodies(&reader, "canary-ana")[0].0;
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&reader));
        let path = loop {
            match files(&sim, ".request").pop() {
                Some(path) => break path,
                None => std::thread::yield_now(),
            }
        };
        sim.rename_new(&path, &path.with_extension("taken")).unwrap();
        by_itself(&writer, record);
        writer.close().unwrap();
        let writer = options(&sim, &vault).open().unwrap();
        while !asking.is_finished() {
            writer.maintain(Budget::ALL).unwrap();
        }
        asking.join().unwrap()
    });
    (sim.clone(), options(&sim, &vault).open_read_only().unwrap(), asked)
}

#[test]
fn what_was_done_before_the_answer_was_lost_is_not_done_again() {
    let ask = |reader: &Store| reader.request_hold("canary-ana", &hold("one"), PATIENCE).unwrap();
    let (_, store, placed) = interrupted(23, ask, |writer, _| {
        writer.hold("canary-ana", &hold("another")).unwrap();
        writer.hold("canary-ana", &hold("one")).unwrap();
    });
    assert_eq!((placed, store.holds().unwrap().len()), (Some(2), 2));

    let ask = |reader: &Store| {
        let record = bodies(reader, "canary-ana")[0].0;
        reader.request_rectify("canary-ana", record, b"better", PATIENCE).unwrap()
    };
    let mend = |writer: &Store, record| assert!(writer.rectify("canary-ana", record, b"better").is_ok());
    let (_, store, amended) = interrupted(24, ask, mend);
    assert_eq!((bodies(&store, "canary-ana")[0].0, store.history("canary-ana").unwrap().count()), (amended, 7));

    let ask = |reader: &Store| {
        let record = bodies(reader, "canary-ana")[0].0;
        reader.request_redact("canary-ana", record, false, PATIENCE).unwrap()
    };
    let redact = |writer: &Store, record| assert!(writer.redact("canary-ana", record).unwrap().is_some());
    let (_, store, receipt) = interrupted(25, ask, redact);
    assert_eq!((receipt.unwrap().number, count(&store, "canary-ana")), (1, 5));

    // What was not done is done now.
    let ask = |reader: &Store| reader.request_hold("canary-ana", &hold("one"), PATIENCE).unwrap();
    let (_, store, placed) = interrupted(26, ask, |writer, _| {
        writer.append(vec![note("canary-ana", 12, "x")]).unwrap().wait().unwrap();
    });
    assert_eq!((placed, store.holds().unwrap().len()), (Some(1), 1));
}

/// A request of `reader` that nobody has answered in time.
fn in_vain(sim: &Sim, reader: &Store) -> Vec<u8> {
    std::thread::scope(|scope| {
        loop {
            let wait = Duration::from_millis(50);
            let asking = scope.spawn(move || reader.request_hold("canary-ana", &hold("one"), wait));
            let mut seen = None;
            while !asking.is_finished() && seen.is_none() {
                seen = files(sim, ".request").pop().and_then(|path| sim.read(path));
            }
            assert_eq!(asking.join().unwrap().unwrap_err().kind(), ErrorKind::Locked);
            if let Some(request) = seen {
                return request;
            }
        }
    })
}

#[test]
fn a_crash_between_request_and_answer_places_one_hold_or_none() {
    let mut outcomes = [0; 2];
    for change in 0.. {
        let (sim, vault, writer, reader) = scene(27);
        let request = in_vain(&sim, &reader);
        sim.write(format!("/calls/requests/{:032x}.request", 5), &request);
        sim.crash_at_change(sim.changes() + change);
        let _ = writer.maintain(Budget::ALL);
        let crashed = sim.crashed();
        drop((writer, reader));
        if crashed {
            sim.restart();
        }
        let Ok(writer) = options(&sim, &vault).open() else {
            assert!(!crashed, "it opens after a crash");
            break;
        };
        let placed = writer.holds().unwrap().len();
        outcomes[placed] += 1;
        writer.maintain(Budget::ALL).unwrap();
        assert!((placed..=1).contains(&writer.holds().unwrap().len()));
        assert!(files(&sim, ".request").is_empty() && files(&sim, ".taken").is_empty());
        writer.close().unwrap();
        if !crashed {
            break;
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 2, "{outcomes:?}");
}
