//! Categorisation: what class a record has that came without one, told from its body by rules of the policy.
//!
//! A rule names a place in the body by a JSON pointer (RFC 6901) and a pattern for what stands there; the first rule that
//! fits gives the class. A body of text is taken as the JSON string that it would be. What no rule fits has no class.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One rule of categorisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRule {
    pub(super) line: usize,
    /// The steps of the pointer, unescaped; none for the whole body.
    pub(super) steps: Vec<Box<str>>,
    pub(super) pattern: Pattern,
    pub(super) class: Box<str>,
}

/// The steps of a JSON pointer; none where it is no pointer.
pub(super) fn steps(pointer: &str) -> Option<Vec<Box<str>>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let unescaped = |step: &str| {
        let wrong = step.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
        (!wrong).then(|| step.replace("~1", "/").replace("~0", "~").into_boxed_str())
    };
    pointer.strip_prefix('/')?.split('/').map(unescaped).collect()
}

impl ClassRule {
    /// Whether it fits a body of JSON.
    pub(super) fn fits_json(&self, json: &str) -> bool {
        let found = self.steps.iter().try_fold(json.trim_ascii(), |value, step| within(value, step));
        found.and_then(scalar).is_some_and(|value| self.pattern.fits(&value))
    }

    /// Whether it fits a body of text.
    pub(super) fn fits_text(&self, text: &str) -> bool {
        self.steps.is_empty() && self.pattern.fits(text)
    }
}

/// What stands at `step` of an object or array; none where nothing does.
fn within<'a>(value: &'a str, step: &str) -> Option<&'a str> {
    let mut reader = serde_json::Deserializer::from_str(value);
    let found = reader.deserialize_any(Step(step)).ok()??;
    reader.end().ok().map(|()| found.get())
}

/// A string as it reads, a number or a truth value as it is written; nothing else can be compared.
fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(value).ok().map(Cow::Owned),
        b'{' | b'[' | b'n' => None,
        _ => serde_json::from_str::<&RawValue>(value).ok().map(|raw| Cow::Borrowed(raw.get())),
    }
}

/// Looks for one member of an object, or one element of an array, and passes over the others.
struct Step<'s>(&'s str);

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    /// Of members with one name, the last counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match name == self.0 {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let is_index = self.0 == "0" || (!self.0.starts_with('0') && self.0.bytes().all(|b| b.is_ascii_digit()));
        let wanted = self.0.parse::<usize>().ok().filter(|_| is_index);
        let (mut found, mut index) = (None, 0);
        loop {
            match wanted == Some(index) {
                true => match elements.next_element()? {
                    Some(value) => found = Some(value),
                    None => return Ok(found),
                },
                false if elements.next_element::<IgnoredAny>()?.is_none() => return Ok(found),
                false => {}
            }
            index += 1;
        }
    }
}

/// Text in which `*` stands for anything, nothing included; all else for itself, with its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub Box<str>);

impl Pattern {
    pub(super) fn fits(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(text) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
        // Each part at the first place where it can be leaves the most for those behind it.
        let places = middle.split('*').try_fold(text, |text, part| text.split_once(part).map(|(_, after)| after));
        places.is_some()
    }
}
