//! One line of the ingest form, read and printed.
//!
//! Pure: text to record and back, no file, no store, no clock. What [`print`] writes, [`parse`] reads back as the same
//! record with the same bytes; a fuzz target includes this file as it stands. It never names the values it refuses,
//! because they are about customers.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tenure::{BodyKind, CustomerId, Record, RecordId, Stored, Stream, Timestamp};

/// Why a line is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field at fault, where it is one field.
    pub field: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault {
    fn of(field: &str, reason: impl Into<String>) -> Self {
        Fault { field: Some(field.to_string()), reason: reason.into() }
    }

    fn whole(reason: impl Into<String>) -> Self {
        Fault { field: None, reason: reason.into() }
    }

    /// From the parser's complaint about the line as a whole. Its position is kept, its "line 1" is not: the reader
    /// of the message wants the line of the file.
    fn from_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        let named = |prefix: &str| reason.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
        if let Some(field) = named("duplicate field `") {
            return Fault::of(field, "given twice");
        }
        if let Some(field) = named("unknown field `") {
            // What is no plain name may be about somebody, or steer a terminal.
            let is_plain = field.len() <= 40 && field.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            return if is_plain {
                Fault::of(field, "no such field")
            } else {
                Fault::whole("has a field of no known name")
            };
        }
        Fault::whole(format!("not JSON: {reason} at column {}", error.column()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The fields as they stand in the line, none understood yet, so that each can be named when it is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    customer: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    class: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    jurisdiction: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    body_base64: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// A field that is there, even as `null`: `null` is a body like any other.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn text<'a>(field: &str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Fault> {
    let raw = value.ok_or_else(|| Fault::of(field, "missing"))?.get();
    if !raw.starts_with('"') {
        return Err(Fault::of(field, "not a string"));
    }
    // Most strings have no escape: then the text between the quotes is the value.
    match raw.contains('\\') {
        false => Ok(Cow::Borrowed(&raw[1..raw.len() - 1])),
        true => serde_json::from_str::<String>(raw)
            .map(Cow::Owned)
            .map_err(|_| Fault::of(field, "has an escape that is no character")),
    }
}

fn body(fields: &Fields<'_>) -> Result<(BodyKind, Vec<u8>), Fault> {
    match (fields.body, fields.body_base64) {
        (Some(_), Some(_)) => Err(Fault::of("body_base64", "given together with body")),
        (None, None) => Err(Fault::of("body", "missing")),
        (Some(raw), None) if raw.get().starts_with('"') => {
            Ok((BodyKind::Text, text("body", Some(raw))?.into_owned().into_bytes()))
        }
        (Some(raw), None) => Ok((BodyKind::Json, raw.get().as_bytes().to_vec())),
        (None, encoded) => {
            let bytes = STANDARD.decode(text("body_base64", encoded)?.as_bytes());
            Ok((BodyKind::Bytes, bytes.map_err(|_| Fault::of("body_base64", "not base64 (RFC 4648, padded)"))?))
        }
    }
}

/// Reads one line, without its line end.
pub fn parse(line: &[u8]) -> Result<Record, Fault> {
    let line = std::str::from_utf8(line)
        .map_err(|error| Fault::whole(format!("not UTF-8 at column {}", error.valid_up_to() + 1)))?;
    if line.contains('\n') {
        return Err(Fault::whole("more than one line"));
    }
    // The parser would take an array for the fields in their order.
    if !line.trim_ascii_start().starts_with('{') {
        return Err(Fault::whole("not a JSON object"));
    }
    let fields: Fields<'_> = serde_json::from_str(line).map_err(|error| Fault::from_json(&error))?;
    let complaint = |field: &'static str| move |error: tenure::Error| Fault::of(field, error.to_string());

    let customer = CustomerId::new(text("customer", fields.customer)?).map_err(complaint("customer"))?;
    let class = fields.class.map(|class| text("class", Some(class))).transpose()?;
    let jurisdiction = text("jurisdiction", fields.jurisdiction)?;
    let unclassed = Stream::unclassed(&jurisdiction).map_err(complaint("jurisdiction"))?;
    let stream = match class {
        Some(class) => Stream::new(&class, &jurisdiction).map_err(complaint("class"))?,
        None => unclassed, // The store may know what it is.
    };
    let at: Timestamp = text("at", fields.at)?.parse().map_err(complaint("at"))?;
    let (kind, body) = body(&fields)?;
    let id = match fields.id {
        None => None,
        Some(raw) => Some(text("id", Some(raw))?.parse::<RecordId>().map_err(complaint("id"))?),
    };
    Ok(Record { customer, stream, at, kind, body: body.into(), id })
}

/// Appends a stored record as one line, its line end included.
pub fn print(out: &mut Vec<u8>, stored: &Stored) {
    write(out, stored.customer.expose(), &stored.stream, stored.at, (stored.kind, &stored.body), Some(stored.id));
}

/// Appends a record that was not stored, as one line.
pub fn print_record(out: &mut Vec<u8>, record: &Record) {
    write(out, record.customer.expose(), &record.stream, record.at, (record.kind, &record.body), record.id);
}

fn write(
    out: &mut Vec<u8>,
    customer: &str,
    stream: &Stream,
    at: Timestamp,
    (kind, body): (BodyKind, &[u8]),
    id: Option<RecordId>,
) {
    match (kind, std::str::from_utf8(body)) {
        (BodyKind::Json, Ok(json)) if reads_back(json) => {
            head(out, customer, stream, at, Form::Json);
            out.extend_from_slice(body);
            tail(out, Form::Json, id);
        }
        (BodyKind::Text, Ok(text)) => {
            head(out, customer, stream, at, Form::Text);
            // It brings its own quotes.
            out.pop();
            quote(out, text);
            out.pop();
            tail(out, Form::Text, id);
        }
        _ => {
            head(out, customer, stream, at, Form::Base64);
            out.extend_from_slice(STANDARD.encode(body).as_bytes());
            tail(out, Form::Base64, id);
        }
    }
}

/// How a body stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Json,
    /// As a string.
    Text,
    /// Bytes, and what an embedding service called JSON or text although it is not: the bytes matter most.
    Base64,
}

impl Form {
    /// The form of a body that is too long to be held, which is read once for that unless it is bytes.
    pub fn of(kind: BodyKind, body: impl Read) -> io::Result<Form> {
        let mut look = Look::new(body);
        let fits = match kind {
            BodyKind::Bytes => return Ok(Form::Base64),
            BodyKind::Text => io::copy(&mut look, &mut io::sink()).map(|_| look.is_text())?,
            BodyKind::Json => {
                let parsed = {
                    let mut json = serde_json::Deserializer::from_reader(io::BufReader::new(&mut look));
                    IgnoredAny::deserialize(&mut json).and_then(|_| json.end())
                };
                match parsed {
                    Err(error) if error.is_io() => return Err(error.into()),
                    parsed => parsed.is_ok() && look.is_text() && look.is_one_line_of_json(),
                }
            }
        };
        Ok(match kind {
            BodyKind::Json if fits => Form::Json,
            BodyKind::Text if fits => Form::Text,
            _ => Form::Base64,
        })
    }

    /// A piece of a body as it stands in the line. `rest` is what was left over of the pieces before, and then of this one;
    /// nothing after the last.
    pub fn piece(self, piece: &[u8], rest: &mut Vec<u8>) -> Vec<u8> {
        rest.extend_from_slice(piece);
        let (printed, length) = match self {
            Form::Json => (rest.clone(), rest.len()),
            Form::Text => {
                let text = match std::str::from_utf8(rest) {
                    Ok(text) => text,
                    Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
                };
                (quoted(text), text.len())
            }
            Form::Base64 => {
                let whole = rest.len() - rest.len() % 3;
                (STANDARD.encode(&rest[..whole]).into_bytes(), whole)
            }
        };
        rest.drain(..length);
        printed
    }

    /// What is left over after the last piece.
    pub fn last(self, rest: &[u8]) -> Vec<u8> {
        if self == Form::Base64 { STANDARD.encode(rest).into_bytes() } else { Vec::new() }
    }
}

/// The line of a record whose body is too long to be held: what stands before it, and after it.
pub fn around(stored: &Stored, form: Form) -> (Vec<u8>, Vec<u8>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    head(&mut before, stored.customer.expose(), &stored.stream, stored.at, form);
    tail(&mut after, form, Some(stored.id));
    (before, after)
}

fn head(out: &mut Vec<u8>, customer: &str, stream: &Stream, at: Timestamp, form: Form) {
    out.extend_from_slice(b"{\"customer\":");
    quote(out, customer);
    // Labels, times and ids have no character that JSON escapes.
    if stream.is_classed() {
        out.extend_from_slice(format!(",\"class\":\"{}\"", stream.class()).as_bytes());
    }
    out.extend_from_slice(format!(",\"jurisdiction\":\"{}\",\"at\":\"{at}\"", stream.jurisdiction()).as_bytes());
    out.extend_from_slice(match form {
        Form::Json => b",\"body\":",
        Form::Text => b",\"body\":\"",
        Form::Base64 => b",\"body_base64\":\"",
    });
}

fn tail(out: &mut Vec<u8>, form: Form, id: Option<RecordId>) {
    if form != Form::Json {
        out.push(b'"');
    }
    if let Some(id) = id {
        out.extend_from_slice(format!(",\"id\":\"{id}\"").as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

/// Notes of what is read through it whether it is UTF-8, and what stands at its ends.
struct Look<R> {
    inner: R,
    /// The beginning of a character that is not whole yet.
    rest: Vec<u8>,
    broken: bool,
    line_ends: bool,
    first: Option<u8>,
    last: u8,
}

impl<R: Read> Look<R> {
    fn new(inner: R) -> Self {
        Look { inner, rest: Vec::new(), broken: false, line_ends: false, first: None, last: 0 }
    }

    fn is_text(&self) -> bool {
        !self.broken && self.rest.is_empty()
    }

    /// Of what was parsed as JSON: whether it is read back from a line as the same bytes of the same kind.
    fn is_one_line_of_json(&self) -> bool {
        let space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        !self.line_ends && !space(self.last) && self.first.is_some_and(|first| first != b'"' && !space(first))
    }
}

impl<R: Read> Read for Look<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let Some(bytes) = into.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(count) };
        self.first = self.first.or(bytes.first().copied());
        self.last = bytes[count - 1];
        self.line_ends |= bytes.contains(&b'\n');
        self.rest.extend_from_slice(bytes);
        if let Err(error) = std::str::from_utf8(&self.rest) {
            self.broken |= error.error_len().is_some();
            self.rest.drain(..error.valid_up_to());
        } else {
            self.rest.clear();
        }
        if self.broken {
            self.rest.clear();
        }
        Ok(count)
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote(&mut out, text);
    out.drain(1..out.len() - 1).collect()
}

fn quote(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every byte, and a string is always JSON");
}

/// Whether a body of JSON, put into a line as it is, is read back as the same bytes of the same kind.
fn reads_back(json: &str) -> bool {
    let whole = |raw: &RawValue| raw.get().len() == json.len();
    !json.starts_with('"') && !json.contains('\n') && serde_json::from_str::<&RawValue>(json).is_ok_and(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"customer":"c-1","class":"chat","jurisdiction":"EU","at":"2025-09-01T03:59:31.928Z","body":{"a": [1,  2]}}"#;

    fn with(field: &str, value: &str) -> String {
        let mut fields = vec![
            ("customer", "\"c-1\""),
            ("class", "\"chat\""),
            ("jurisdiction", "\"EU\""),
            ("at", "\"2025-09-01T00:00:00Z\""),
            ("body", "1"),
        ];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let all: Vec<String> = fields.iter().filter(|f| !f.1.is_empty()).map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{{{}}}", all.join(","))
    }

    #[test]
    fn bodies_keep_every_byte_and_their_kind() {
        let record = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(&record.body[..], br#"{"a": [1,  2]}"#);
        for (value, kind, body) in [
            ("null", BodyKind::Json, &b"null"[..]),
            ("1.0e0", BodyKind::Json, b"1.0e0"),
            (r#"{"k":1,"k":2}"#, BodyKind::Json, br#"{"k":1,"k":2}"#),
            (r#""a\n\u0041""#, BodyKind::Text, b"a\nA"),
            (r#""""#, BodyKind::Text, b""),
        ] {
            let record = parse(with("body", value).as_bytes()).unwrap();
            assert_eq!((record.kind, &record.body[..]), (kind, body), "{value}");
        }
        let line = with("body", "").replace('}', r#","body_base64":"AP8="}"#);
        let record = parse(line.as_bytes()).unwrap();
        assert_eq!((record.kind, &record.body[..]), (BodyKind::Bytes, &b"\0\xff"[..]));
    }

    #[test]
    fn a_fault_names_its_field_and_never_the_value() {
        for (field, value, fault) in [
            ("customer", "", "customer: missing"),
            ("customer", "null", "customer: not a string"),
            ("customer", "\"\"", "customer: a customer id has 1 to 256 bytes"),
            ("class", "\"a/b\"", "class: the class is not 1 to 32 letters, digits or hyphens"),
            ("jurisdiction", "7", "jurisdiction: not a string"),
            ("at", "\"yesterday\"", "at: not an RFC 3339 time"),
            ("body", "", "body: missing"),
            ("body", "\"\\ud800\"", "body: has an escape that is no character"),
            ("body_base64", "\"AA==\"", "body_base64: given together with body"),
            ("id", "\"7\"", "id: not a UUID"),
            ("colour", "1", "colour: no such field"),
        ] {
            let said = parse(with(field, value).as_bytes()).unwrap_err().to_string();
            assert_eq!(said, fault, "{field} {value}");
        }
        for name in ["anna@example.org", "\\u001b[31m", "+49 30 1234"] {
            let line = with("colour", "1").replace("colour", name);
            assert_eq!(parse(line.as_bytes()).unwrap_err().to_string(), "has a field of no known name", "{name}");
        }
        let twice = GOOD.replace("\"class\"", "\"customer\":\"c-2\",\"class\"");
        assert_eq!(parse(twice.as_bytes()).unwrap_err().to_string(), "customer: given twice");
        for line in [&b"[1]"[..], b"7", b"hello", br#"["c-1","chat","EU","2025-01-01T00:00:00Z",1,"","7"]"#] {
            assert_eq!(parse(line).unwrap_err().to_string(), "not a JSON object");
        }
        let broken = GOOD.replace("[1,", "[1,\n");
        assert_eq!(parse(broken.as_bytes()).unwrap_err().to_string(), "more than one line");
        assert_eq!(parse(b"\"c\xff\"").unwrap_err().to_string(), "not UTF-8 at column 3");
        assert!(parse(&GOOD.as_bytes()[..50]).unwrap_err().to_string().starts_with("not JSON: EOF"));
        assert!(parse(format!("{GOOD} x").as_bytes()).unwrap_err().to_string().starts_with("not JSON: trailing"));
    }

    /// Bodies of every kind, among them those that only claim to be JSON or text.
    fn any_record() -> impl Strategy<Value = Record> {
        let json = prop_oneof![
            Just(r#"{"a":1, "b":[true,null,"x\u0000y"]}"#.to_string()),
            Just("[\n1]".to_string()),
            Just(" 1".to_string()),
            Just("\"quoted\"".to_string()),
            any::<f64>().prop_map(|n| format!("{{\"n\":{n:e}}}")),
            any::<String>(),
        ];
        let body = prop_oneof![
            json.prop_map(|text| (BodyKind::Json, text.into_bytes())),
            any::<String>().prop_map(|text| (BodyKind::Text, text.into_bytes())),
            any::<Vec<u8>>().prop_map(|bytes| (BodyKind::Text, bytes)),
            any::<Vec<u8>>().prop_map(|bytes| (BodyKind::Bytes, bytes)),
        ];
        let customer = any::<String>().prop_filter("1 to 256 bytes", |id| (1..=256).contains(&id.len()));
        (customer, "[A-Za-z0-9-]{0,32}", any::<i64>(), body, any::<Option<[u8; 16]>>()).prop_map(
            |(customer, class, micros, (kind, body), id)| Record {
                customer: CustomerId::new(customer).unwrap(),
                stream: Stream::new(&class, "US-CA").or_else(|_| Stream::unclassed("US-CA")).unwrap(),
                at: Timestamp::from_micros(micros),
                kind,
                body: body.into(),
                id: id.map(RecordId::from_bytes),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(record in any_record()) {
            let mut line = Vec::new();
            print_record(&mut line, &record);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let read = parse(&line[..line.len() - 1]).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            let honest = read.kind == record.kind;
            prop_assert!(honest || read.kind == BodyKind::Bytes);
            prop_assert_eq!(Record { kind: record.kind, ..read }, record);
        }

        #[test]
        fn what_is_printed_in_pieces_is_the_same(record in any_record(), size in 1_usize..9) {
            let id = record.id.unwrap_or(RecordId::from_bytes([7; 16]));
            let Record { customer, stream, at, kind, body, .. } = record.clone();
            let stored = Stored { customer, stream, at, kind, body, id, large: None, amends: None };
            let mut whole = Vec::new();
            print(&mut whole, &stored);
            let form = Form::of(kind, &record.body[..]).unwrap();
            let (mut line, after) = around(&stored, form);
            let mut rest = Vec::new();
            record.body.chunks(size).for_each(|piece| line.extend(form.piece(piece, &mut rest)));
            line.extend(form.last(&rest));
            line.extend(after);
            prop_assert_eq!(String::from_utf8_lossy(&line), String::from_utf8_lossy(&whole));
        }

        #[test]
        fn no_line_panics(line in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let _ = parse(&line);
            let _ = parse(&GOOD.as_bytes()[..cut.index(GOOD.len())]);
        }
    }
}
