//! JSON as it stands in a body, laid out or taken apart without a loss: what parses it into values forgets the order of
//! its members, those that stand twice, and digits of long numbers. Pure.

use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Characters, each with whether it stands in a string.
fn characters(json: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut quoted, mut escaped) = (false, false);
    json.chars().map(move |character| {
        let within = quoted;
        quoted ^= character == '"' && !escaped;
        escaped = within && character == '\\' && !escaped;
        (character, within)
    })
}

/// The same on one line, as it stands in a line of records.
pub fn on_one_line(json: &str) -> String {
    let json = json.trim();
    if !json.contains('\n') {
        return json.to_owned();
    }
    characters(json)
        .filter(|(character, quoted)| *quoted || !character.is_ascii_whitespace())
        .map(|one| one.0)
        .collect()
}

/// The same with a line for each member, for people; what is not JSON stays as it is.
pub fn indented(json: &str) -> String {
    if serde_json::from_str::<IgnoredAny>(json).is_err() {
        return json.to_owned();
    }
    let mut out = String::with_capacity(2 * json.len());
    let mut depth = 0_usize;
    for (character, quoted) in characters(json) {
        match character {
            c if quoted => out.push(c),
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                depth += 1;
                out.push(character);
                begin_line(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                let end = out.trim_end().len();
                let is_empty = out[..end].ends_with(if character == '}' { '{' } else { '[' });
                out.truncate(end);
                if !is_empty {
                    begin_line(&mut out, depth);
                }
                out.push(character);
            }
            ',' => {
                out.push(character);
                begin_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

fn begin_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// One value, with those in it not taken apart yet.
pub enum Node<'a> {
    /// An object: every member, in the order in which they stand.
    Members(Vec<(String, &'a RawValue)>),
    /// An array.
    Items(Vec<&'a RawValue>),
    /// A string.
    Text(String),
    /// A number, a truth value or nothing, as it stands.
    Plain(&'a str),
}

impl<'a> Node<'a> {
    /// The value that stands there, if it is one.
    pub fn of(json: &'a str) -> Option<Self> {
        let json = json.trim();
        match json.bytes().next()? {
            b'{' => serde_json::from_str(json).ok().map(|Members(members)| Node::Members(members)),
            b'[' => serde_json::from_str(json).ok().map(Node::Items),
            b'"' => serde_json::from_str(json).ok().map(Node::Text),
            _ => serde_json::from_str::<IgnoredAny>(json).ok().map(|_| Node::Plain(json)),
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_comes_on_one_line_and_on_many() {
        assert_eq!(on_one_line("{\"a\": 1.0e0}\n"), "{\"a\": 1.0e0}");
        assert_eq!(
            on_one_line("{\n  \"a b\": [\"x \\\" y\", \"\\\\\", 1]\r\n}\n"),
            "{\"a b\":[\"x \\\" y\",\"\\\\\",1]}"
        );
        assert_eq!(
            indented(r#"{"z":12345678901234567890.10,"a":[{ },"[1,{"],"a":[ ]}"#),
            "{\n  \"z\": 12345678901234567890.10,\n  \"a\": [\n    {},\n    \"[1,{\"\n  ],\n  \"a\": []\n}"
        );
        assert_eq!(indented("{\"a\": "), "{\"a\": ");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn laid_out_anew_it_says_the_same(value in any_json()) {
            let line = value.to_string();
            let pretty = indented(&line);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).unwrap(), value);
            if pretty.contains('\n') {
                prop_assert_eq!(on_one_line(&pretty), line);
            }
        }
    }
}
