//! Samples as a training sees them: digits masked, one after the other, customers by number.

use std::collections::BTreeMap;

use super::Sample;

/// Stands between fragments in a dictionary and after every record in the text. No fragment contains it.
pub const SEPARATOR: u8 = 0;

/// Every digit becomes the same one.
pub fn masked(byte: u8) -> u8 {
    if byte.is_ascii_digit() { b'0' } else { byte }
}

/// The masked records one after the other, those of each customer together.
pub struct Text {
    pub bytes: Vec<u8>,
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
    pub fn of<'a>(samples: impl Iterator<Item = &'a Sample<'a>>) -> Self {
        let mut of_customer: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        for sample in samples {
            of_customer.entry(sample.customer).or_default().push(sample.body);
        }
        let mut text = Text { bytes: Vec::new(), records: Vec::new(), customers: of_customer.len() as u32 };
        for (customer, bodies) in of_customer.into_values().enumerate() {
            for body in bodies {
                let start = text.bytes.len() as u32;
                text.bytes.extend(body.iter().map(|byte| masked(*byte)));
                text.bytes.push(SEPARATOR);
                let end = text.bytes.len() as u32 - 1;
                text.records.push(Line { start, end, customer: customer as u32 });
            }
        }
        text
    }

    /// The bytes of a record.
    pub fn line(&self, line: &Line) -> &[u8] {
        &self.bytes[line.start as usize..line.end as usize]
    }
}
