//! A body made ready for the page: a conversation, fields, or text, with nothing left in it that steers a reader. What
//! escapes it is the template; here only what no escaping helps against is taken out, and what is too long is cut.

use serde::Serialize;
use serde_json::value::RawValue;
use tenure::{BodyKind, Stored};

use crate::json::Node;
use crate::words::bytes;

/// Bytes of text that the page shows of one body.
const TEXT: usize = 256 << 10;
/// Bytes of JSON that are taken apart.
const PARSED: usize = 4 << 20;
/// Lines of fields and turns that the page shows of one body.
const LINES: usize = 2_000;
/// How deep it goes into one: what lies deeper is shown as it stands.
const DEEPEST: usize = 32;

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
    /// What else is told of it.
    pub more: Vec<Field>,
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
            BodyKind::Json => Shown::json(text),
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

    fn json(json: &str) -> Self {
        let node = match Node::of(json) {
            Some(Node::Text(text)) => return Shown::text(&text),
            None => return Shown::text(json),
            Some(node) => node,
        };
        let (mut shown, mut room) = (Shown::default(), Room { bytes: TEXT, lines: LINES });
        if !shown.take((json, Some(node)), "", 0, &mut room) {
            shown.note = Some("There is more of it: the whole is in records.jsonl, under this id".into());
        }
        shown
    }

    /// Takes in a value, as it stands and as what it is; `false` where there was not room for all of it.
    fn take(&mut self, (json, node): (&str, Option<Node<'_>>), name: &str, depth: usize, room: &mut Room) -> bool {
        if !room.has_line() {
            return false;
        }
        let (name, named) = room.cut(name);
        let inner = if name.is_empty() { depth } else { depth + 1 };
        let (value, whole) = match node.filter(|_| depth < DEEPEST) {
            Some(Node::Plain(plain)) => room.cut(in_words(plain)),
            Some(Node::Text(text)) => room.cut(&text),
            Some(Node::Items(items)) if items.is_empty() => (String::new(), true),
            Some(Node::Members(members)) if members.is_empty() => (String::new(), true),
            Some(Node::Items(items)) => {
                let said: Option<Vec<Said<'_>>> = items.iter().map(|item| Said::of(item)).collect();
                if let Some(said) = said.filter(|_| self.turns.is_empty()) {
                    return said.into_iter().all(|said| self.take_said(said, room)) && named;
                }
                self.head(name, depth);
                let numbered: Vec<(String, &RawValue)> =
                    items.iter().zip(1..).map(|(item, number)| (number.to_string(), *item)).collect();
                return self.take_all(&numbered, inner, room) && named;
            }
            Some(Node::Members(members)) => {
                self.head(name, depth);
                return self.take_all(&members, inner, room) && named;
            }
            None => room.cut(json),
        };
        self.fields.push(Field { depth, name, value: Some(value) });
        named && whole
    }

    fn head(&mut self, name: String, depth: usize) {
        if !name.is_empty() {
            self.fields.push(Field { depth, name, value: None });
        }
    }

    fn take_all(&mut self, members: &[(String, &RawValue)], depth: usize, room: &mut Room) -> bool {
        members.iter().all(|(name, value)| self.take((value.get(), Node::of(value.get())), name, depth, room))
    }

    fn take_said(&mut self, said: Said<'_>, room: &mut Room) -> bool {
        if !room.has_line() {
            return false;
        }
        let ((speaker, named), (text, whole)) = (room.cut(&said.speaker), room.cut(&said.text));
        self.turns.push(Turn { own: said.speaker == "customer", speaker, text, more: Vec::new() });
        let (turn, fields) = (self.turns.len() - 1, self.fields.len());
        let more = self.take_all(&said.more, 0, room);
        self.turns[turn].more = self.fields.split_off(fields);
        named && whole && more
    }
}

/// What may still be shown of a body.
struct Room {
    bytes: usize,
    lines: usize,
}

impl Room {
    fn has_line(&mut self) -> bool {
        let any = self.lines > 0 && self.bytes > 0;
        self.lines = self.lines.saturating_sub(1);
        any
    }

    /// As much of a text as there is room for, and whether that is all of it.
    fn cut(&mut self, text: &str) -> (String, bool) {
        let kept = text.floor_char_boundary(self.bytes);
        self.bytes -= kept;
        (inert(&text[..kept]), kept == text.len())
    }
}

/// A number, a truth value or nothing.
fn in_words(plain: &str) -> &str {
    match plain {
        "null" => "",
        "true" => "yes",
        "false" => "no",
        number => number,
    }
}

/// Who said what, and what else is told of it.
struct Said<'a> {
    speaker: String,
    text: String,
    more: Vec<(String, &'a RawValue)>,
}

impl<'a> Said<'a> {
    fn of(item: &'a RawValue) -> Option<Self> {
        let Some(Node::Members(mut more)) = Node::of(item.get()) else { return None };
        let mut text_of = |names: &[&str]| {
            let place =
                |name: &&str| more.iter().position(|(other, value)| other == name && value.get().starts_with('"'));
            match Node::of(more.remove(names.iter().find_map(place)?).1.get()) {
                Some(Node::Text(text)) => Some(text),
                _ => None,
            }
        };
        let speaker = text_of(&["speaker", "author", "role", "from", "by"])?;
        let text = text_of(&["text", "message", "content", "body"])?;
        Some(Said { speaker, text, more })
    }
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

    fn told(fields: &[Field]) -> Vec<(&str, usize, Option<&str>)> {
        fields.iter().map(|field| (&*field.name, field.depth, field.value.as_deref())).collect()
    }

    #[test]
    fn bodies_become_conversations_fields_or_text() {
        let shown =
            Shown::json(r#"{ "case": "7", "paid": true, "turns": [{ "speaker": "customer", "text": "hello" }] }"#);
        assert_eq!((shown.turns.len(), shown.turns[0].own, &*shown.turns[0].text), (1, true, "hello"));
        assert_eq!(told(&shown.fields), [("case", 0, Some("7")), ("paid", 0, Some("yes"))]);
        let nested = Shown::json(r#"{ "a": { "b": [1, { "c": null }] } }"#);
        let depths: Vec<_> = nested.fields.iter().map(|field| (&*field.name, field.depth)).collect();
        assert_eq!(depths, [("a", 0), ("b", 1), ("1", 2), ("2", 2), ("c", 3)]);
    }

    /// Whoever asks what is on record is shown all of it, as it is: also what parsers of JSON forget.
    #[test]
    fn nothing_is_left_out_and_no_digit_changed() {
        let shown = Shown::json(r#"{"z":12345678901234567890123.50,"a":"first","a":"second"}"#);
        let all = [("z", 0, Some("12345678901234567890123.50")), ("a", 0, Some("first")), ("a", 0, Some("second"))];
        assert_eq!(told(&shown.fields), all);
        let shown = Shown::json(
            r#"[{"second":9,"speaker":"agent","text":"hello","note":{"of":"customer","mood":"bad"}},{"from":"b","text":""}]"#,
        );
        let more = [("second", 0, Some("9")), ("note", 0, None), ("of", 1, Some("customer")), ("mood", 1, Some("bad"))];
        assert_eq!((told(&shown.turns[0].more), shown.turns.len(), shown.fields.len()), (more.to_vec(), 2, 0));
        let long = format!(r#"[{{"speaker":"{}","text":"x"}}]"#, "s".repeat(100));
        assert_eq!(Shown::json(&long).turns[0].speaker.len(), 100);
        let deep = format!("{}7{}", "[".repeat(400), "]".repeat(400));
        let shown = Shown::json(&deep);
        assert!(shown.fields.last().unwrap().value.as_ref().unwrap().contains("[[7]]") && shown.note.is_none());
    }

    #[test]
    fn what_is_too_long_is_cut_and_said_to_be() {
        let long = "x".repeat(TEXT + 1);
        let shown = Shown::text(&long);
        assert_eq!((shown.text.len(), shown.note.is_some()), (TEXT, true));
        assert!(Shown::text("short").note.is_none());
        let many = |count: usize| format!("[{}]", vec!["7"; count].join(","));
        assert!(Shown::json(&many(LINES)).note.is_some() && Shown::json(&many(LINES - 1)).note.is_none());
        assert!(Shown::json(&format!("{{\"a\":\"{long}\"}}")).note.is_some());
        assert!(Shown::json(&format!("{{\"{long}\":1}}")).note.is_some());
    }

    #[test]
    fn nothing_steers_the_reader() {
        assert_eq!(inert("a\0b\u{202e}c\r\nd\te\x1b[31m\u{9b}"), "a\u{fffd}b\u{fffd}c\nd\te\u{fffd}[31m\u{fffd}");
    }
}
