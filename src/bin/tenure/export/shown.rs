//! A body made ready for the page: a conversation, fields, or text, with nothing left in it that steers a reader. What
//! escapes it is the template; here only what no escaping helps against is taken out, and what is too long is cut.

use serde::Serialize;
use serde_json::Value;
use tenure::{BodyKind, Stored};

use crate::words::bytes;

/// Bytes of text that the page shows of one body.
const TEXT: usize = 256 << 10;
/// Bytes of JSON that are taken apart.
const PARSED: usize = 4 << 20;
/// Lines of fields and turns that the page shows of one body.
const LINES: usize = 2_000;

/// A body as the page shows it.
#[derive(Default, Serialize)]
pub struct Shown {
    pub turns: Vec<Turn>,
    pub fields: Vec<Field>,
    pub text: String,
    /// What is not on the page, and where it is.
    pub note: Option<String>,
}

/// What somebody said.
#[derive(Serialize)]
pub struct Turn {
    pub speaker: String,
    pub text: String,
    /// Whether the customer said it.
    pub own: bool,
}

/// A named value; without one, the heading of those below it.
#[derive(Serialize)]
pub struct Field {
    pub depth: usize,
    pub name: String,
    pub value: Option<String>,
}

impl Shown {
    pub fn of(stored: &Stored, beside: Option<&str>) -> Self {
        if let Some(file) = beside {
            let note = format!("{}, too long for this page: see the file {file}", bytes(stored.length()));
            return Shown { note: Some(note), ..Shown::default() };
        }
        let Ok(text) = std::str::from_utf8(&stored.body) else { return Shown::binary(stored) };
        match stored.kind {
            BodyKind::Bytes => Shown::binary(stored),
            BodyKind::Text => Shown::text(text),
            BodyKind::Json if text.len() > PARSED => Shown::text(text),
            BodyKind::Json => match serde_json::from_str(text) {
                Ok(Value::String(text)) => Shown::text(&text),
                Ok(value) => Shown::json(&value),
                Err(_) => Shown::text(text),
            },
        }
    }

    fn binary(stored: &Stored) -> Self {
        let size = bytes(stored.length());
        let note = format!("{size} that are no text: in records.jsonl as base64, under this id");
        Shown { note: Some(note), ..Shown::default() }
    }

    fn text(text: &str) -> Self {
        let kept = text.floor_char_boundary(TEXT);
        let rest =
            (kept < text.len()).then(|| format!("the first {} of {}", bytes(kept as u64), bytes(text.len() as u64)));
        let note = rest.map(|rest| format!("This is {rest}: the rest is in records.jsonl, under this id"));
        Shown { text: inert(&text[..kept]), note, ..Shown::default() }
    }

    fn json(value: &Value) -> Self {
        let mut shown = Shown::default();
        let mut room = TEXT;
        let whole = shown.take(value, "", 0, &mut room);
        if !whole {
            shown.note = Some("There is more of it: the whole is in records.jsonl, under this id".into());
        }
        shown
    }

    /// Takes a value in; `false` where there was not room for all of it.
    fn take(&mut self, value: &Value, name: &str, depth: usize, room: &mut usize) -> bool {
        if self.turns.len() + self.fields.len() >= LINES || *room == 0 {
            return false;
        }
        let mut scalar = |text: &str| {
            let kept = text.floor_char_boundary(*room);
            *room -= kept;
            (inert(&text[..kept]), kept == text.len())
        };
        let (name, _) = scalar(name);
        let (value, whole) = match value {
            Value::Null => (Some(String::new()), true),
            Value::Bool(value) => (Some(if *value { "yes" } else { "no" }.into()), true),
            Value::Number(number) => (Some(number.to_string()), true),
            Value::String(text) => {
                let (text, whole) = scalar(text);
                (Some(text), whole)
            }
            Value::Array(items) if items.is_empty() => (Some(String::new()), true),
            Value::Object(fields) if fields.is_empty() => (Some(String::new()), true),
            Value::Array(items) => return self.take_all(items, name, depth, room),
            Value::Object(fields) => {
                let inner = if name.is_empty() { depth } else { depth + 1 };
                self.heading(name, depth);
                return fields.iter().all(|(name, value)| self.take(value, name, inner, room));
            }
        };
        self.fields.push(Field { depth, name, value });
        whole
    }

    fn heading(&mut self, name: String, depth: usize) {
        if !name.is_empty() {
            self.fields.push(Field { depth, name, value: None });
        }
    }

    fn take_all(&mut self, items: &[Value], name: String, depth: usize, room: &mut usize) -> bool {
        let said: Option<Vec<(&str, &str)>> = items.iter().map(said).collect();
        if let Some(said) = said.filter(|_| self.turns.is_empty()) {
            return said.into_iter().all(|(speaker, text)| {
                let kept = text.floor_char_boundary(*room);
                *room -= kept;
                let speaker_name: String = inert(speaker).chars().take(60).collect();
                self.turns.push(Turn { own: speaker == "customer", speaker: speaker_name, text: inert(&text[..kept]) });
                kept == text.len() && self.turns.len() < LINES
            });
        }
        let inner = if name.is_empty() { depth } else { depth + 1 };
        self.heading(name, depth);
        items.iter().zip(1..).all(|(item, number)| self.take(item, &number.to_string(), inner, room))
    }
}

/// Who said what, of an object that tells it.
fn said(item: &Value) -> Option<(&str, &str)> {
    let first = |names: &[&str]| names.iter().find_map(|name| item.get(*name)?.as_str());
    Some((first(&["speaker", "author", "role", "from", "by"])?, first(&["text", "message", "content", "body"])?))
}

/// The text with nothing in it that steers whoever shows it: control characters but line ends and tabs, and what turns the
/// direction of what follows.
pub fn inert(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let change = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_conversations_fields_or_text() {
        let value =
            serde_json::json!({ "case": "7", "paid": true, "turns": [{ "speaker": "customer", "text": "hello" }] });
        let shown = Shown::json(&value);
        assert_eq!((shown.turns.len(), shown.turns[0].own, &*shown.turns[0].text), (1, true, "hello"));
        let fields: Vec<_> = shown.fields.iter().map(|field| (&*field.name, field.value.as_deref())).collect();
        assert_eq!(fields, [("case", Some("7")), ("paid", Some("yes"))]);
        let nested = Shown::json(&serde_json::json!({ "a": { "b": [1, { "c": null }] } }));
        let depths: Vec<_> = nested.fields.iter().map(|field| (&*field.name, field.depth)).collect();
        assert_eq!(depths, [("a", 0), ("b", 1), ("1", 2), ("2", 2), ("c", 3)]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_said_to_be() {
        let long = "x".repeat(TEXT + 1);
        let shown = Shown::text(&long);
        assert_eq!((shown.text.len(), shown.note.is_some()), (TEXT, true));
        assert!(Shown::text("short").note.is_none());
        let many = Value::Array((0..LINES + 1).map(|number| Value::from(number as u64)).collect());
        assert!(Shown::json(&many).note.is_some() && Shown::json(&Value::String(long)).note.is_some());
    }

    #[test]
    fn nothing_steers_the_reader() {
        assert_eq!(inert("a\0b\u{202e}c\r\nd\te\x1b[31m\u{9b}"), "a\u{fffd}b\u{fffd}c\nd\te\u{fffd}[31m\u{fffd}");
    }
}
