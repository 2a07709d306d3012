//! The protocol against a responder in this process: what is asked, byte for byte, and that nothing malformed is
//! believed.

use std::fmt;
use std::sync::Arc;

use super::*;

/// A program that is a closure from request to answer.
struct Responder<F>(F);

impl<F> fmt::Debug for Responder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

impl<F: Fn(&str) -> Result<Ran, Failure> + Send + Sync> Run for Responder<F> {
    fn run(&self, request: Zeroizing<Vec<u8>>, _limit: Duration) -> Result<Ran, Failure> {
        (self.0)(str::from_utf8(&request).unwrap())
    }
}

fn ran(code: Option<i32>, answer: &[u8], error: &[u8]) -> Result<Ran, Failure> {
    Ok(Ran { code, answer: Zeroizing::new(answer.to_vec()), error: error.to_vec() })
}

fn custodian(respond: impl Fn(&str) -> Result<Ran, Failure> + Send + Sync + 'static) -> CommandCustodian {
    CommandCustodian::over("keeper".into(), Box::new(Responder(respond)))
}

/// Gives the same answer to everything.
fn saying(answer: &str) -> CommandCustodian {
    let answer = answer.to_string();
    custodian(move |_| ran(Some(0), answer.as_bytes(), b""))
}

fn answering(fields: &str) -> CommandCustodian {
    saying(&format!("tenure-custodian 1\n{fields}end\n"))
}

const STORE: &str = "07070707070707070707070707070707";
const TOKEN: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

fn opening(number: u64) -> OpeningToken {
    OpeningToken { number, token: [10; 16] }
}

/// What is asked by `call`, and with which fields behind it.
fn asked(call: impl FnOnce(&CommandCustodian)) -> Vec<String> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let custodian = custodian(move |request| {
        seen.lock().unwrap().push(request.to_string());
        let answer = match request.lines().nth(1).unwrap() {
            "call next-epoch" => "epoch 9\n".to_string(),
            "call seal" => "sealed 00ff\n".to_string(),
            "call open" => "plain 0102\n".to_string(),
            "call destroy-before" => "final yes\nwords gone for good\n".to_string(),
            _ => String::new(),
        };
        ran(Some(0), format!("tenure-custodian 1\n{answer}end\n").as_bytes(), b"some chatter")
    });
    call(&custodian);
    drop(custodian);
    Arc::into_inner(requests).unwrap().into_inner().unwrap()
}

#[test]
fn requests_are_these_bytes() {
    let requests = asked(|custodian| {
        custodian.create(&StoreId::from_bytes([7; 16])).unwrap();
        assert_eq!(custodian.next_epoch().unwrap(), 9);
        custodian.register(&opening(1), &opening(2)).unwrap();
        assert_eq!(custodian.register(&opening(2), &opening(3)).unwrap_err().kind(), ErrorKind::Locked);
        assert_eq!(custodian.seal(9, &[0xab, 0xcd]).unwrap(), [0, 255]);
        assert_eq!(*custodian.open(&[0, 255]).unwrap(), [1, 2]);
        custodian.advance(7, &[3; 32]).unwrap();
        let evidence = custodian.destroy_before(9).unwrap();
        assert_eq!(evidence, Evidence { final_: true, words: "gone for good".into() });
    });
    let head = "03".repeat(32);
    let bodies = [
        format!("call create\nstore {STORE}\n"),
        "call next-epoch\nopening none\n".into(),
        format!("call register\nexpected 1 {TOKEN}\nnew 2 {TOKEN}\n"),
        format!("call seal\nopening 2 {TOKEN}\nepoch 9\nplain abcd\n"),
        "call open\nsealed 00ff\n".into(),
        format!("call advance\nopening 2 {TOKEN}\nledger 7 {head}\n"),
        format!("call destroy-before\nopening 2 {TOKEN}\nepoch 9\n"),
        // What is dropped while registered is released.
        format!("call release\nopening 2 {TOKEN}\n"),
    ];
    assert_eq!(requests, bodies.map(|body| format!("tenure-custodian 1\n{body}end\n")));
}

#[test]
fn a_registration_is_read() {
    let head = "0f".repeat(32);
    let fields = format!("store {STORE}\nopening 3 {TOKEN}\nledger 12 {head}\ndestroyed-before 5\n");
    let registration = answering(&fields).registration().unwrap();
    let expected = Registration {
        store: StoreId::from_bytes([7; 16]),
        opening: opening(3),
        ledger_length: 12,
        ledger_head: [15; 32],
        destroyed_before: 5,
    };
    assert_eq!(registration, expected);
    // Every cut, every line left out, doubled or swapped, and every byte changed: an error or something else, no panic.
    let whole = format!("tenure-custodian 1\n{fields}end\n");
    for end in 0..whole.len() {
        assert!(saying(&whole[..end]).registration().is_err(), "cut at {end}");
    }
    let lines: Vec<&str> = whole.lines().collect();
    for line in 0..lines.len() {
        let (mut without, mut twice) = (lines.clone(), lines.clone());
        without.remove(line);
        twice.insert(line, lines[line]);
        let mut swapped = lines.clone();
        swapped.swap(line, (line + 1) % lines.len());
        for wrong in [without, twice, swapped] {
            assert!(saying(&(wrong.join("\n") + "\n")).registration().is_err(), "{wrong:?}");
        }
    }
    for at in 0..whole.len() {
        for byte in [b' ', b'\n', b'\r', b'g', b'A', 0xff, 0] {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] = byte;
            let read = custodian(move |_| ran(Some(0), &bytes, b"")).registration();
            assert!(read.is_err() || byte == whole.as_bytes()[at], "byte {at} as {byte}");
        }
    }
}

#[test]
fn malformed_values_are_refused() {
    let refused = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::KeyUnavailable);
    for epoch in ["0", "-1", "+1", "01", "1 ", " 1", "x", "", "18446744073709551616", "1e3"] {
        refused(answering(&format!("epoch {epoch}\n")).next_epoch().map(drop));
    }
    assert_eq!(answering("epoch 18446744073709551615\n").next_epoch().unwrap(), u64::MAX);
    for sealed in ["", "0", "0G", "AB", "0x00", &"00".repeat(SEALED_LIMIT + 1)] {
        refused(answering(&format!("sealed {sealed}\n")).seal(1, b"x").map(drop));
    }
    assert_eq!(
        answering(&format!("sealed {}\n", "00".repeat(SEALED_LIMIT))).seal(1, b"x").unwrap().len(),
        SEALED_LIMIT
    );
    refused(answering(&format!("plain {}\n", "00".repeat(PLAIN_LIMIT + 1))).open(b"x").map(drop));
    for evidence in [
        "final maybe\nwords w\n".to_string(),
        "final yes\nwords \n".into(),
        "final yes\nwords \u{1b}[31mred\n".into(),
        "final yes\nwords gel\u{f6}scht\n".into(),
        format!("final yes\nwords {}\n", "x".repeat(WORDS_LIMIT + 1)),
    ] {
        refused(answering(&evidence).destroy_before(1).map(drop));
    }
    // More than was asked for, and less.
    refused(answering("epoch 1\nepoch 2\n").next_epoch().map(drop));
    refused(answering("epoch 1\n").advance(1, &[0; 32]));
    refused(answering("").next_epoch().map(drop));
    refused(saying("tenure-custodian 1\nepoch 1\nend\nend\n").next_epoch().map(drop));
    refused(saying("hello\n").next_epoch().map(drop));
    assert_eq!(answering("").seal(1, &[0; PLAIN_LIMIT + 1]).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn another_version_is_told_from_nonsense() {
    for line in ["tenure-custodian 2", "tenure-custodian 10", "tenure-custodian 1 "] {
        let error = saying(&format!("{line}\nepoch 1\nend\n")).next_epoch().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{line}");
    }
}

#[test]
fn exit_codes_and_words_become_errors() {
    let kinds = [
        (Some(1), ErrorKind::KeyUnavailable),
        (Some(2), ErrorKind::Invalid),
        (Some(3), ErrorKind::Corrupt),
        (Some(4), ErrorKind::Refused),
        (Some(11), ErrorKind::Locked),
        (Some(12), ErrorKind::KeyUnavailable),
        (Some(127), ErrorKind::KeyUnavailable),
        (None, ErrorKind::KeyUnavailable),
    ];
    for (code, kind) in kinds {
        // A whole answer counts for nothing then.
        let failing =
            custodian(move |_| ran(code, b"tenure-custodian 1\nepoch 1\nend\n", b"the vault is\n\x1b[2Jsealed"));
        let error = failing.next_epoch().unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("says: the vault is ?[2Jsealed (keeper)"), "{error}");
    }
    let long = custodian(|_| ran(Some(1), b"", &[b'x'; 100_000])).next_epoch().unwrap_err();
    assert!(long.to_string().len() < 600);
    let silent = custodian(|_| ran(Some(7), b"", b"")).next_epoch().unwrap_err();
    assert!(silent.to_string().contains("failed with exit code 7"), "{silent}");
}

#[test]
fn a_failed_registration_is_none() {
    let requests = Arc::new(Mutex::new(0));
    let seen = requests.clone();
    let failing = custodian(move |_| {
        *seen.lock().unwrap() += 1;
        ran(Some(12), b"", b"opened since")
    });
    assert_eq!(failing.register(&opening(1), &opening(2)).unwrap_err().kind(), ErrorKind::KeyUnavailable);
    failing.release();
    drop(failing);
    assert_eq!(*requests.lock().unwrap(), 1, "nothing was registered, so nothing is released");
}

/// The real thing: processes.
fn shell(script: &str) -> CommandCustodian {
    CommandCustodian::new("/bin/sh", ["-c", script])
}

#[test]
fn a_program_is_asked_and_answers() {
    let epoch = shell("cat >/dev/null; printf 'tenure-custodian 1\\nepoch 4\\nend\\n'").next_epoch();
    assert_eq!(epoch.unwrap(), 4);
    // One that reads nothing, and one that chatters on standard error all the while.
    let epoch = shell("printf 'tenure-custodian 1\\nepoch 5\\nend\\n'; yes | head -c 300000 >&2").next_epoch();
    assert_eq!(epoch.unwrap(), 5);
    // The request arrives: the program answers with the epoch it was asked to seal under, as if it were sealed bytes.
    let echo = "grep -x 'plain 6b6579' >/dev/null && printf 'tenure-custodian 1\\nsealed 77\\nend\\n'";
    assert_eq!(shell(echo).seal(1, b"key").unwrap(), b"w");
}

#[test]
fn a_program_that_fails_hangs_or_never_stops_is_an_error() {
    let kind = |script: &str| {
        let error = shell(script).time_limit(Duration::from_millis(300)).next_epoch().unwrap_err();
        (error.kind(), error.to_string())
    };
    let (code, words) = kind("echo 'somebody else has it' >&2; exit 11");
    assert!(code == ErrorKind::Locked && words.contains("says: somebody else has it"), "{words}");
    let (code, words) = kind("exec sleep 60");
    assert!(code == ErrorKind::KeyUnavailable && words.contains("did not answer within 300ms"), "{words}");
    let (code, words) = kind("exec yes");
    assert!(code == ErrorKind::KeyUnavailable && words.contains("more than 65536 bytes"), "{words}");
    let (code, words) = kind("kill -9 $$");
    assert!(code == ErrorKind::KeyUnavailable && words.contains("ended by a signal"), "{words}");
    let (code, words) = kind("exit 0");
    assert!(code == ErrorKind::KeyUnavailable && words.contains("it is empty"), "{words}");
    let missing = CommandCustodian::new("/nonexistent/keeper", [""; 0]).next_epoch().unwrap_err();
    assert!(missing.kind() == ErrorKind::KeyUnavailable && missing.to_string().contains("cannot start"), "{missing}");
}

#[test]
fn nothing_secret_is_in_arguments_or_environment() {
    // How many lines of both name four bytes of the secret; the script itself does not.
    let script = "(env; tr '\\0' '\\n' </proc/$$/cmdline) | grep -c \"$(printf '5a%.0s' 1 2 3 4)\" >&2; exit 1";
    let error = shell(script).seal(1, &[0x5a; 20]).unwrap_err();
    assert!(error.to_string().contains("says: 0 "), "{error}");
    let told = CommandCustodian::new("/bin/sh", ["-c", script, "5a5a5a5a5a"]);
    let error = told.seal(1, &[0x5a; 20]).unwrap_err();
    assert!(error.to_string().contains("says: 1 "), "{error}");
}

/// The requests and answers of the transcript in docs/custodian.md.
fn transcript() -> Vec<(String, String)> {
    let page = include_str!("../../../../docs/custodian.md");
    let text = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let part = |call: &str, mark: &str| {
        call.lines().filter_map(|line| line.strip_prefix(mark)).map(|line| format!("{line}\n")).collect::<String>()
    };
    text.split("\n\n").map(|call| (part(call, "> "), part(call, "< "))).collect()
}

#[test]
fn the_documents_transcript_is_what_is_said() {
    let calls = transcript();
    let expected = calls.len();
    let turn = Arc::new(Mutex::new(calls.into_iter()));
    let turns = turn.clone();
    let custodian = custodian(move |request| {
        let (expected, answer) = turns.lock().unwrap().next().expect("a call that the transcript has not");
        assert_eq!(request, expected);
        ran(Some(0), answer.as_bytes(), b"")
    });
    let store = unhex("6f1d2c3b4a5968778695a4b3c2d1e0f0").unwrap();
    let store = StoreId::from_bytes(store.as_slice().try_into().unwrap());
    custodian.create(&store).unwrap();
    let first = custodian.next_epoch().unwrap();
    let sealed = custodian.seal(first, b"key").unwrap();
    let known = custodian.registration().unwrap();
    assert_eq!((known.store, known.opening.number, known.ledger_length), (store, 0, 0));
    let token = unhex("51c2f6a0b17d4e8893aa0c5de2764fb1").unwrap();
    let new = OpeningToken { number: 1, token: token.as_slice().try_into().unwrap() };
    custodian.register(&known.opening, &new).unwrap();
    assert_eq!(**custodian.open(&sealed).unwrap(), *b"key");
    let second = custodian.next_epoch().unwrap();
    custodian.seal(second, b"new").unwrap();
    let head = unhex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08").unwrap();
    custodian.advance(4, head.as_slice().try_into().unwrap()).unwrap();
    assert!(custodian.destroy_before(second).unwrap().final_);
    custodian.release();
    assert!(expected == 11 && turn.lock().unwrap().next().is_none(), "the transcript says more");
}
