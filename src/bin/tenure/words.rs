//! Numbers as people read them, and text made safe for a terminal.

use std::time::Duration;

use tenure::BodyKind;

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `2 records`, `1 record`.
pub fn counted(number: u64, noun: &str) -> String {
    match (number, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "erasure or expiry") => format!("{} erasures or expiries", count(number)),
        (_, "leaf") => format!("{} leaves", count(number)),
        (_, noun) if noun.ends_with("ry") => format!("{} {}ies", count(number), &noun[..noun.len() - 1]),
        _ => format!("{} {noun}s", count(number)),
    }
}

/// `118.2 MB`: powers of 1000, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if size < 999.95 || unit == "TB" {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    unreachable!("the last unit takes every size")
}

/// `62.1 MB/s`.
pub fn rate(bytes_done: u64, took: Duration) -> String {
    format!("{}/s", bytes((bytes_done as f64 / took.as_secs_f64().max(1e-6)) as u64))
}

/// `1.9 s`, `12 ms`, `3 min 5 s`.
pub fn duration(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
    }
}

/// The text on one line, with nothing in it that could steer a terminal.
pub fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | '\r' => safe.push(' '),
            // Control characters, and those that turn the direction of what follows.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                safe.push('\u{fffd}');
            }
            c => safe.push(c),
        }
    }
    safe
}

/// The first words of a body, at most `width` characters: of JSON what the customer said first, else the first text
/// in it that reads like a sentence.
pub fn preview(kind: BodyKind, body: &[u8], width: usize) -> String {
    let text = match (kind, std::str::from_utf8(body)) {
        (BodyKind::Bytes, _) | (_, Err(_)) => return format!("({} of binary)", bytes(body.len() as u64)),
        (BodyKind::Json, Ok(json)) => {
            let value = serde_json::from_str(json).unwrap_or_default();
            said_by_customer(&value).or_else(|| first_sentence(&value)).unwrap_or_else(|| json.to_string())
        }
        (BodyKind::Text, Ok(text)) => text.to_string(),
    };
    let text = harmless(&text);
    match text.char_indices().nth(width) {
        None => text,
        Some(_) => text.chars().take(width.saturating_sub(3)).chain("...".chars()).collect(),
    }
}

/// The sentence of the first object that says `"customer"` of its speaker, author or role: greetings tell little.
fn said_by_customer(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Array(items) => items.iter().find_map(said_by_customer),
        serde_json::Value::Object(fields) => match fields.values().any(|value| value == "customer") {
            true => fields.values().find_map(first_sentence),
            false => fields.values().find_map(said_by_customer),
        },
        _ => None,
    }
}

fn first_sentence(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => (text.split_whitespace().count() >= 4).then(|| text.clone()),
        serde_json::Value::Array(items) => items.iter().find_map(first_sentence),
        serde_json::Value::Object(fields) => fields.values().find_map(first_sentence),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(2_000, "entry"), "2,000 entries");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(duration(Duration::from_millis(1_900)), "1.9 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
    }

    #[test]
    fn previews_are_words_and_never_steer_the_terminal() {
        let json = br#"{"id":"conv_1","turns":[{"speaker":"agent","text":"Good morning, how can I help?"}]}"#;
        assert_eq!(preview(BodyKind::Json, json, 80), "Good morning, how can I help?");
        let asked =
            br#"[{"by":"agent","text":"Good morning to you"},{"by":"customer","text":"My parcel is late again"}]"#;
        assert_eq!(preview(BodyKind::Json, asked, 80), "My parcel is late again");
        assert_eq!(preview(BodyKind::Json, b"[1,2]", 80), "[1,2]");
        assert_eq!(preview(BodyKind::Text, b"a\x1b[31m\nb", 80), "a\u{fffd}[31m b");
        assert_eq!(preview(BodyKind::Text, "0123456789".as_bytes(), 8), "01234...");
        assert_eq!(preview(BodyKind::Bytes, b"abc", 80), "(3 B of binary)");
        assert_eq!(preview(BodyKind::Text, b"\xff", 80), "(1 B of binary)");
    }
}
