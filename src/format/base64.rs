//! Base64 as signed notes have it (RFC 4648, section 4, padded). Only the one spelling of any bytes is read.

use super::bytes::Malformed;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Spells bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0, |sum, index| sum << 8 | u32::from(group.get(index).copied().unwrap_or(0)));
        for place in 0..4 {
            match place <= group.len() {
                true => text.push(char::from(DIGITS[(value >> (18 - 6 * place) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

/// Reads what [`encode`] spells, and nothing else.
pub fn decode(text: &str) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let digits: Vec<u32> = group.iter().map_while(|byte| digit(*byte)).collect();
        if group.len() < 4 || digits.len() < 2 {
            return Err(Malformed("it is not base64"));
        }
        let value = (0..4).fold(0, |sum, index| sum << 6 | digits.get(index).copied().unwrap_or(0));
        bytes.extend_from_slice(&value.to_be_bytes()[1..digits.len()]);
    }
    // Padding in the middle, stray bits, other characters: all that has another spelling.
    if encode(&bytes) == text { Ok(bytes) } else { Err(Malformed("it is not base64 as it is spelled here")) }
}

fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn bytes_are_spelled_as_the_rfc_does() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm-v", "====", "Z==="] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
