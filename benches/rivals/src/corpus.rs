//! Where the records come from: real transcripts or invented ones, and the pools that are made of them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tenure::Timestamp;

use crate::Result;
use crate::generated::{self, Numbers};
use crate::records::{self, Pool, Rec, YEAR, YEAR_START, home};

/// A conversation as it was had, never repeated.
pub struct Original {
    pub customer: String,
    pub at: i64,
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Line<'a> {
    customer: &'a str,
    at: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    turns: Vec<&'a RawValue>,
}

/// All originals.
pub struct Corpus {
    pub originals: Vec<Original>,
}

impl Corpus {
    /// Reads transcripts in Tenure's ingest form (`.jsonl`, `.jsonl.zst`), or invents 6,000 of them.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Corpus { originals: invented(6_000) }) };
        let mut text = String::new();
        let mut raw = std::fs::File::open(file)?;
        match file.extension().is_some_and(|extension| extension == "zst") {
            true => zstd::Decoder::new(raw)?.read_to_string(&mut text)?,
            false => raw.read_to_string(&mut text)?,
        };
        let originals = text.lines().map(|line| {
            let line: Line = serde_json::from_str(line)?;
            let at: Timestamp = line.at.parse()?;
            let body = records::body(line.body.get().as_bytes().to_vec());
            Ok(Original { customer: line.customer.to_string(), at: at.as_micros(), body })
        });
        Ok(Corpus { originals: originals.collect::<Result<_>>()? })
    }

    /// The half of the customers that dictionaries are trained on. Ratios are taken on the other half alone.
    fn trains(original: &Original) -> bool {
        let hash = original
            .customer
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash >> 32).is_multiple_of(2)
    }

    /// The originals that dictionaries are trained on.
    pub fn training(&self) -> impl Iterator<Item = &Original> {
        self.originals.iter().filter(|original| Self::trains(original))
    }

    /// Originals of customers held out of training, each once, as one stream in one year.
    pub fn held_out(&self) -> Pool {
        let mut chosen: Vec<&Original> = self.originals.iter().filter(|original| !Self::trains(original)).collect();
        chosen.sort_by_key(|original| original.at);
        let first = chosen.first().map_or(0, |original| original.at);
        let span = chosen.last().map_or(1, |original| original.at - first + 1);
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut names = Vec::new();
        let records = chosen.iter().map(|original| {
            let customer = *numbers.entry(&original.customer).or_insert_with(|| {
                names.push(original.customer.clone());
                names.len() as u32 - 1
            });
            let at = YEAR_START + (i128::from(original.at - first) * i128::from(YEAR) / i128::from(span)) as i64;
            Rec { customer, stream: 0, at, body: original.body.clone() }
        });
        let records = records.collect();
        Pool { records, names }
    }

    /// New chats of turns out of the original ones, for many customers, spread over the year. They serve throughput and
    /// reads only: what they repeat would flatter every ratio of compression.
    pub fn recombined(&self, records: usize, seed: u64) -> Result<Pool> {
        let chats = self.originals.iter().map(|original| {
            let chat: Chat = serde_json::from_slice(&original.body)?;
            Ok(chat.turns.into_iter().map(RawValue::get).collect())
        });
        let chats: Vec<Vec<&str>> = chats.collect::<Result<_>>()?;
        let mut n = Numbers(seed);
        let customers = Customers::for_records(records);
        let records = (0..records).map(|index| {
            let body = recombine(&chats, index, &mut n);
            let customer = customers.of(index, &mut n);
            Rec { customer, stream: home(customer), at: spread(index, records), body }
        });
        Ok(Pool { records: records.collect(), names: names(customers.all) })
    }
}

/// Chats of about 0.9 KB for machines without a corpus: seeded, nobody's, and as alike and as different as those of one
/// shop are.
fn invented(count: usize) -> Vec<Original> {
    let calls = generated::calls(count as u64).into_iter().enumerate();
    let original = |(index, call): (usize, generated::Call)| Original {
        customer: format!("c-{:06}", call.customer),
        at: spread(index, count),
        body: records::body(call.body.into()),
    };
    calls.map(original).collect()
}

/// Every turn is some chat's turn at that place, so that speakers take turns as they do.
fn recombine(chats: &[Vec<&str>], index: usize, n: &mut Numbers) -> Bytes {
    let length = chats[n.below(chats.len() as u64) as usize].len();
    let mut body = format!("{{\"id\":\"conv_{index}\",\"channel\":\"chat\",\"turns\":[");
    let mut place = 0;
    while place < length {
        let chat = &chats[n.below(chats.len() as u64) as usize];
        let Some(turn) = chat.get(place) else { continue };
        if place > 0 {
            body.push(',');
        }
        body.push_str(turn);
        place += 1;
    }
    body.push_str("]}");
    records::body(body.into_bytes())
}

fn spread(index: usize, count: usize) -> i64 {
    YEAR_START + (index as i128 * i128::from(YEAR) / count as i128) as i64
}

fn names(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("c-{number:06}")).collect()
}

/// Who has how many records: the first few percent of the customers have three in every month, all others together
/// four in the year on average.
struct Customers {
    heavy: u32,
    all: u32,
}

impl Customers {
    fn for_records(records: usize) -> Self {
        let heavy = ((records * 2 / 5 / 36) as u32).max(4);
        let others = (records * 3 / 5 / 4) as u32;
        Customers { heavy, all: (heavy + others).next_multiple_of(4) }
    }

    fn of(&self, index: usize, n: &mut Numbers) -> u32 {
        match index % 5 {
            0 | 3 => (index / 5 * 2 + index % 5 / 3) as u32 % self.heavy,
            _ => self.heavy + n.below(u64::from(self.all - self.heavy)) as u32,
        }
    }
}

/// Short records, `each` of every one of `customers` customers, spread over the year: what erasing, expiring and
/// opening cost must not depend on how many there are.
pub fn sparse(customers: u32, each: usize) -> Pool {
    let count = customers as usize * each;
    let mut n = Numbers(7);
    let records = (0..count).map(|index| {
        // A step that shares no factor with the customers: everybody is spread over the whole year.
        let customer = (index as u64 * 7_919 % u64::from(customers)) as u32;
        let body = format!("{{\"note\":\"{index} said something short, {} times\"}}", n.below(1_000_000));
        Rec { customer, stream: home(customer), at: spread(index, count), body: body.into() }
    });
    Pool { records: records.collect(), names: names(customers) }
}
