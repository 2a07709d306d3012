//! Samples as a training sees them: digits masked, one after the other, customers by number.

use std::collections::BTreeMap;

use super::Sample;

/// Stands between fragments in a dictionary and after every record in the text. No fragment contains it.
pub const SEPARATOR: u8 = 0;

/// Every digit becomes the same one.
pub fn masked(byte: u8) -> u8 {
    if byte.is_ascii_digit() { b'0' } else { byte }
}

/// The records one after the other, those of each customer together.
pub struct Text {
    /// Masked.
    pub bytes: Vec<u8>,
    /// As they came.
    pub raw: Vec<u8>,
    pub records: Vec<Line>,
    pub customers: u32,
}

/// One record's place in the text.
#[derive(Clone, Copy)]
pub struct Line {
    pub start: u32,
    pub end: u32,
    pub customer: u32,
}

impl Text {
    /// The text of some samples; none where they are 4 GiB or more.
    pub fn of<'a>(samples: impl Iterator<Item = &'a Sample<'a>>) -> Option<Self> {
        let mut of_customer: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        let mut length = 0;
        for sample in samples {
            of_customer.entry(sample.customer).or_default().push(sample.body);
            length += sample.body.len() + 1;
        }
        u32::try_from(length).ok()?;
        let mut text = Text {
            bytes: Vec::with_capacity(length),
            raw: Vec::with_capacity(length),
            records: Vec::new(),
            customers: of_customer.len() as u32,
        };
        for (customer, bodies) in of_customer.into_values().enumerate() {
            for body in bodies {
                let start = text.raw.len() as u32;
                text.raw.extend_from_slice(body);
                let line = Line { start, end: text.raw.len() as u32, customer: customer as u32 };
                text.raw.push(SEPARATOR);
                text.records.push(line);
            }
        }
        text.bytes.extend(text.raw.iter().map(|byte| masked(*byte)));
        Some(text)
    }

    /// The masked bytes of a record.
    pub fn line(&self, line: &Line) -> &[u8] {
        &self.bytes[line.start as usize..line.end as usize]
    }
}
