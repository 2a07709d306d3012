//! What gives a record its class.

use proptest::prelude::*;

use super::super::classify::{Pattern, steps};
use super::*;

const RULES: &str = r#"
[[rule]]
class = "*"
jurisdiction = "*"

[[classify]]
pointer = "/channel/kind"
matches = "voice*"
class = "call-transcript"

[[classify]]
pointer = "/turns/1/speaker"
matches = "agent"
class = "chat"

[[classify]]
pointer = "/a~1b/~0"
matches = "7"
class = "survey"

[[classify]]
pointer = ""
matches = "*@*"
class = "email"
"#;

#[test]
fn the_first_rule_that_fits_gives_the_class() {
    let policy = Policy::parse(RULES).unwrap();
    for (json, class) in [
        (r#"{"channel":{"kind":"voicemail"}}"#, Some("call-transcript")),
        (r#"{"channel":{"kind":"voice"},"turns":[0,{"speaker":"agent"}]}"#, Some("call-transcript")),
        (r#"{"channel":{"kind":"Voice"},"turns":[0,{"speaker":"agent"}]}"#, Some("chat")),
        (r#"{"turns":[{"speaker":"agent"}]}"#, None),
        (r#"{"turns":[0,{"speaker":"agents"}]}"#, None),
        (r#"{"turns":{"1":{"speaker":"agent"}}}"#, Some("chat")),
        (r#"{"channel":{"k\u0069nd":"voi\u0063e"}}"#, Some("call-transcript")),
        (r#"{"channel":{"kind":"chat","kind":"voice"}}"#, Some("call-transcript")),
        (r#"{"channel":{"kind":["voice"]}}"#, None),
        (r#"{"channel":null}"#, None),
        (r#"{"a/b":{"~":7}}"#, Some("survey")),
        (r#"{"a/b":{"~":"7"}}"#, Some("survey")),
        (r#"{"a/b":{"~":7.0}}"#, None),
        (r#""ana@example.com""#, Some("email")),
        (r#"{"channel":{"kind":"voice"}"#, None),
        ("", None),
    ] {
        assert_eq!(policy.class_of_json(json.as_bytes()), class, "{json}");
    }
    assert_eq!(policy.class_of_text(b"to ana@example.com"), Some("email"));
    assert_eq!(policy.class_of_text(b"hello"), None);
    assert_eq!(policy.class_of_json(b"\"\xff@\""), None);
    let deep = "[".repeat(100_000);
    assert_eq!(policy.class_of_json(deep.as_bytes()), None, "nor does depth exhaust the stack");
}

#[test]
fn pointers_are_those_of_the_rfc() {
    let plain =
        |pointer: &str| steps(pointer).map(|steps| steps.iter().map(|step| step.to_string()).collect::<Vec<_>>());
    assert_eq!(plain(""), Some(vec![]));
    assert_eq!(plain("/"), Some(vec![String::new()]));
    assert_eq!(plain("/a~01/b"), Some(vec!["a~1".into(), "b".into()]));
    for wrong in ["a", "/~", "/a~", "/~2"] {
        assert_eq!(plain(wrong), None, "{wrong}");
    }
}

#[test]
fn without_a_class_nothing_is_admitted() {
    let policy = Policy::parse(RULES).unwrap();
    let now = at("2025-01-10T08:00:00Z");
    assert_eq!(policy.admits(&Stream::unclassed("EU").unwrap(), now, now), Err(RefusalReason::Unclassed));
    assert!(policy.terms(&Stream::unclassed("EU").unwrap()).is_none());
}

/// The usual definition, by recursion.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        Some((first, rest)) => text.first() == Some(first) && fits(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn patterns_fit_what_they_should(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
        prop_assert_eq!(Pattern(pattern.clone().into()).fits(&text), fits(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_body_panics(json in "[\\[\\]{}\",:a1~/ \\\\u]{0,40}") {
        let _ = Policy::parse(RULES).unwrap().class_of_json(json.as_bytes());
    }
}
