//! The records: real transcripts where there are some, generated ones otherwise, repeated with other customers and times
//! until there are enough. Repeating serves throughput only: it says nothing about ratios.

use std::io::Read;
use std::sync::Arc;

use tenure::{Batch, BodyKind, Record, Timestamp};

/// Records of a batch, and so of a sync.
pub const BATCH: usize = 1_000;

struct Template {
    customer: u32,
    month: u32,
    at: Timestamp,
    body: bytes::Bytes,
}

/// What records are made from.
pub struct Load {
    templates: Vec<Template>,
    names: Vec<String>,
    /// How many customers stand behind each name.
    copies: usize,
    months: usize,
}

/// A record's cell, as the kernel tells cells apart.
#[derive(Clone, Copy)]
pub struct CellOf {
    pub customer: usize,
    pub month: usize,
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

impl Load {
    /// All transcripts, with `customers` customers; zero leaves them as they are.
    pub fn new(customers: usize) -> Arc<Self> {
        let lines: Vec<(String, Timestamp, Vec<u8>)> = match std::env::var("TENURE_CORPUS") {
            Ok(path) => read(&path),
            Err(_) => (0..6_000).map(generate).collect(),
        };
        let mut names: Vec<String> = lines.iter().map(|line| line.0.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut months: Vec<String> = lines.iter().map(|line| line.1.to_string()[..7].to_owned()).collect();
        months.sort_unstable();
        months.dedup();
        let templates = lines.into_iter().map(|(customer, at, body)| Template {
            customer: names.binary_search(&customer).unwrap() as u32,
            month: months.binary_search(&at.to_string()[..7].to_owned()).unwrap() as u32,
            at,
            body: body.into(),
        });
        let templates = templates.collect();
        let copies = customers.div_ceil(names.len()).max(1);
        Arc::new(Load { templates, names, copies, months: months.len() })
    }

    pub fn customers(&self) -> usize {
        self.names.len() * self.copies
    }

    pub fn months(&self) -> usize {
        self.months
    }

    /// Bytes of an average body.
    pub fn average(&self) -> f64 {
        self.templates.iter().map(|template| template.body.len()).sum::<usize>() as f64 / self.templates.len() as f64
    }

    /// Batch `number` of `thread`: the same for whoever asks.
    pub fn batch(&self, thread: usize, number: usize) -> (Batch, Vec<CellOf>) {
        let mut state = ((thread as u64) << 40 | number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (mut records, mut cells) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        for _ in 0..BATCH {
            let template = &self.templates[(random(&mut state) >> 33) as usize % self.templates.len()];
            let copy = (random(&mut state) >> 33) as usize % self.copies;
            let name = &self.names[template.customer as usize];
            let name = if copy == 0 { name.clone() } else { format!("{name}-{copy}") };
            let record = Record::new(&name, "call-transcript", "EU", template.at, template.body.clone());
            records.push(record.unwrap().with_kind(BodyKind::Json));
            cells.push(CellOf {
                customer: template.customer as usize * self.copies + copy,
                month: template.month as usize,
            });
        }
        (Batch::from(records), cells)
    }
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    customer: String,
    at: String,
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
}

fn read(path: &str) -> Vec<(String, Timestamp, Vec<u8>)> {
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    zstd::stream::read::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    let now: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Line<'_>>(line).unwrap())
        .map(|line| {
            (line.customer, line.at.parse::<Timestamp>().unwrap().min(now), line.body.get().as_bytes().to_vec())
        })
        .collect()
}

/// A transcript of about two kilobytes that compresses about as chats do.
fn generate(serial: u64) -> (String, Timestamp, Vec<u8>) {
    let mut state = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut body = String::from("{\"turns\":[");
    for turn in 0..12 {
        let speaker = if turn % 2 == 0 { "customer" } else { "agent" };
        body.push_str(&format!("{{\"speaker\":\"{speaker}\",\"text\":\""));
        for _ in 0..20 {
            let word = random(&mut state) >> 40;
            body.push_str(["the", "a", "please", "order", "invoice", "refund", "router"][word as usize % 7]);
            let letters = (0..word / 7 % 5).map(|at| (b'a' + (word >> (3 * at) & 15) as u8) as char);
            body.extend(letters.chain([' ']));
        }
        body.push_str("\"},");
    }
    body.push_str("{}]}");
    let customer = format!("c-{:06}", (random(&mut state) >> 33) % 1_400);
    let at =
        format!("2025-{:02}-{:02}T12:00:00Z", 1 + (random(&mut state) >> 33) % 12, 1 + (random(&mut state) >> 33) % 28);
    (customer, at.parse().unwrap(), body.into_bytes())
}
