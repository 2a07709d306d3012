//! What a dictionary gains and costs, on customers held out of its training: none, zstd's usual training (which carries
//! customers' words, and is here to compare with only), and ours.
//!
//! `TENURE_CORPUS=transcripts.jsonl cargo bench --all-features --bench dictionary` takes records in ingest form, plain
//! or compressed with zstd; without it they are generated.

#![allow(clippy::disallowed_methods)] // It measures by the clock and reads a corpus.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::value::RawValue;
use tenure::simulation::{Dictionary, Sample, Training, compress_into, decompress, prove, train};

const TRAINING: Training = Training { k: 20, size: 64 << 10 };
/// Records that the training takes.
const TAKEN: usize = 4_000;

struct Call {
    customer: u64,
    body: Vec<u8>,
}

/// The records to train on, and others of other customers.
struct Corpus {
    name: String,
    taken: Vec<Call>,
    held_out: Vec<Call>,
}

impl Corpus {
    fn load() -> Self {
        let (name, lines) = match std::env::var("TENURE_CORPUS") {
            Ok(path) => (path.clone(), read(&path)),
            Err(_) => ("generated records".into(), generated()),
        };
        let (held_out, mut taken): (Vec<_>, Vec<_>) =
            calls(&lines).into_iter().partition(|call| call.customer % 3 == 0);
        taken.truncate(TAKEN);
        Corpus { name, taken, held_out }
    }

    fn samples(&self) -> Vec<Sample<'_>> {
        self.taken.iter().map(|call| Sample { customer: call.customer, body: &call.body }).collect()
    }
}

fn number(customer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    customer.hash(&mut hasher);
    hasher.finish()
}

fn read(path: &str) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes }
}

fn generated() -> Vec<u8> {
    let tenure = env!("CARGO_BIN_EXE_tenure");
    Command::new(tenure).args(["generate", "--records", "6000", "-"]).output().unwrap().stdout
}

fn calls(lines: &[u8]) -> Vec<Call> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let call = |line| {
        let fields: HashMap<&str, &RawValue> = serde_json::from_slice(line).unwrap();
        let body = fields["body"].get();
        // A string is the text that it means, anything else is kept as it stands.
        let body = serde_json::from_str::<String>(body).unwrap_or_else(|_| body.to_owned());
        Call { customer: number(fields["customer"].get()), body: body.into_bytes() }
    };
    lines.map(call).collect()
}

fn usual(corpus: &Corpus) -> Dictionary {
    let bodies: Vec<&[u8]> = corpus.taken.iter().map(|call| &call.body[..]).collect();
    let mut bytes = zstd::dict::from_samples(&bodies, TRAINING.size).unwrap();
    bytes[4..8].fill(0); // So that frames do not name it, as they do not name ours.
    Dictionary::new(bytes).unwrap()
}

fn compressed(calls: &[Call], dictionary: Option<&Dictionary>) -> Vec<Vec<u8>> {
    let one = |call: &Call| {
        let mut out = Vec::new();
        if compress_into(&call.body, dictionary, &mut out) { out } else { call.body.clone() }
    };
    calls.iter().map(one).collect()
}

/// Of how many customers something stands in a dictionary that fewer than k customers have: a word with an at sign or
/// with six digits or more.
fn identified(corpus: &Corpus, dictionary: &Dictionary) -> usize {
    let mut whose: HashMap<&[u8], HashSet<u64>> = HashMap::new();
    for call in &corpus.taken {
        let words = call.body.split(|byte| !(byte.is_ascii_alphanumeric() || b"@._-+".contains(byte)));
        let words = words.map(|word| word.trim_ascii_end().strip_suffix(b".").unwrap_or(word));
        let identifies = |word: &&[u8]| {
            let digits = || word.iter().filter(|byte| byte.is_ascii_digit());
            // Zeros alone are what every number becomes.
            let number = digits().count() >= 6 && digits().any(|digit| *digit != b'0');
            word.len() >= 8 && (word.contains(&b'@') || number)
        };
        for word in words.filter(identifies) {
            whose.entry(word).or_default().insert(call.customer);
        }
    }
    let mut starts: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, window) in dictionary.bytes().windows(8).enumerate() {
        starts.entry(window).or_default().push(at);
    }
    let inside = |word: &[u8]| {
        starts.get(&word[..8]).is_some_and(|places| places.iter().any(|at| dictionary.bytes()[*at..].starts_with(word)))
    };
    let found = whose.iter().filter(|(word, customers)| customers.len() < TRAINING.k && inside(word));
    found.flat_map(|(_, customers)| customers).collect::<HashSet<_>>().len()
}

fn dictionary(criterion: &mut Criterion) {
    let corpus = Corpus::load();
    let samples = corpus.samples();
    let began = Instant::now();
    let ours = train(&samples, &TRAINING, &|| false).expect("many customers share something").dictionary;
    let seconds = began.elapsed().as_secs_f64();
    prove(ours.bytes(), &samples, TRAINING.k).unwrap();
    let usual = usual(&corpus);

    let raw: usize = corpus.held_out.iter().map(|call| call.body.len()).sum();
    let (taken, held_out) = (corpus.taken.len(), corpus.held_out.len());
    println!(
        "{}: trained on {taken} records in {seconds:.1} s, measured on {held_out} of other customers",
        corpus.name
    );
    let kinds = [("none", None), ("usual training", Some(&usual)), ("k = 20", Some(&ours))];
    for (name, dictionary) in kinds {
        let stored: usize = compressed(&corpus.held_out, dictionary).iter().map(Vec::len).sum();
        let length = dictionary.map_or(0, |dictionary| dictionary.bytes().len());
        let identified = dictionary.map_or(0, |dictionary| identified(&corpus, dictionary));
        println!(
            "{name}: {:.3}x, {length} bytes, something of {identified} customers verbatim inside",
            raw as f64 / stored as f64
        );
    }

    let mut group = criterion.benchmark_group("dictionary");
    group.throughput(Throughput::Bytes(raw as u64));
    for (name, dictionary) in kinds {
        let mut out = Vec::new();
        group.bench_function(format!("compress, {name}"), |bencher| {
            bencher.iter(|| {
                for call in &corpus.held_out {
                    out.clear();
                    black_box(compress_into(&call.body, dictionary, &mut out));
                }
            });
        });
        let frames = compressed(&corpus.held_out, dictionary);
        group.bench_function(format!("decompress, {name}"), |bencher| {
            bencher.iter(|| {
                for (frame, call) in frames.iter().zip(&corpus.held_out).filter(|(f, c)| f.len() < c.body.len()) {
                    black_box(decompress(frame, call.body.len(), dictionary).unwrap());
                }
            });
        });
    }
    group.sample_size(10).throughput(Throughput::Elements(taken as u64));
    group.bench_function("train", |bencher| bencher.iter(|| train(&samples, &TRAINING, &|| false)));
    group.bench_function("prove", |bencher| bencher.iter(|| prove(ours.bytes(), &samples, TRAINING.k)));
    group.finish();
}

criterion_group!(benches, dictionary);
criterion_main!(benches);
