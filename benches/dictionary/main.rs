//! What a dictionary gains and costs, on customers held out of its training: none, zstd's usual training (which carries
//! customers' words, and is here to compare with only), and ours. And what a store with ours takes on the disk beside the
//! bare work: body, nonce, tag.
//!
//! `cargo bench --all-features --bench dictionary` measures generated records of 0.9 KB. With
//! `TENURE_CORPUS=transcripts.jsonl`, a file in ingest form, plain or compressed with zstd, it measures those as well.

#![allow(clippy::disallowed_methods)] // It measures by the clock and reads a corpus.

mod generated;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use generated::{Call, Own};
use serde_json::value::RawValue;
use tenure::simulation::{Dictionary, Sample, Training, compress_into, decompress, prove, train};
use tenure::{FileCustodian, Record, Store, Timestamp};

/// As stores train.
const TRAINING: Training = Training { k: 20, size: 64 << 10 };
/// Records that the training takes.
const TAKEN: usize = 4_000;
const GENERATED: u64 = 90_000;
const ROUNDS: usize = 9;
/// Nonce and tag.
const AROUND: usize = 12 + 16;

const POLICY: &str = "[[rule]]\nclass = \"*\"\njurisdiction = \"*\"\nwindow = \"year\"\n";

/// The records to train on, and others of other customers.
struct Corpus {
    name: String,
    taken: Vec<Call>,
    held_out: Vec<Call>,
    /// What was planted in the taken records, by customer.
    planted: Vec<(u64, String)>,
}

impl Corpus {
    fn of(name: &str, calls: Vec<Call>) -> Self {
        let (held_out, mut taken): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.customer % 3 == 0);
        taken.truncate(TAKEN);
        Corpus { name: name.into(), taken, held_out, planted: Vec::new() }
    }

    fn generated() -> Self {
        let mut corpus = Corpus::of("generated", generated::calls(GENERATED));
        let customers: HashSet<u64> = corpus.taken.iter().map(|call| call.customer).collect();
        let secrets = |customer| Own::of(customer).all().map(|secret| (customer, secret.to_owned()));
        corpus.planted = customers.into_iter().flat_map(secrets).collect();
        corpus
    }

    fn samples(&self) -> Vec<Sample<'_>> {
        self.taken.iter().map(|call| Sample { customer: call.customer, body: &call.body }).collect()
    }

    fn raw(&self) -> usize {
        self.held_out.iter().map(|call| call.body.len()).sum()
    }
}

fn number(customer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    customer.hash(&mut hasher);
    hasher.finish()
}

fn read(path: &str) -> Vec<Call> {
    let bytes = std::fs::read(path).unwrap();
    let lines = if path.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
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

/// Where every run of eight bytes of a dictionary stands.
struct Places<'d> {
    bytes: &'d [u8],
    starts: HashMap<&'d [u8], Vec<usize>>,
}

impl<'d> Places<'d> {
    fn of(dictionary: &'d Dictionary) -> Self {
        let bytes = dictionary.bytes();
        let mut starts: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, run) in bytes.windows(8).enumerate() {
            starts.entry(run).or_default().push(at);
        }
        Places { bytes, starts }
    }

    fn has(&self, word: &[u8]) -> bool {
        let places = self.starts.get(&word[..8]);
        places.is_some_and(|places| places.iter().any(|at| self.bytes[*at..].starts_with(word)))
    }
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
    let places = Places::of(dictionary);
    let found = whose.iter().filter(|(word, customers)| customers.len() < TRAINING.k && places.has(word));
    found.flat_map(|(_, customers)| customers).collect::<HashSet<_>>().len()
}

/// Of how many customers a planted secret stands in a dictionary, from its first byte to its last.
fn betrayed(corpus: &Corpus, dictionary: &Dictionary) -> usize {
    let places = Places::of(dictionary);
    let found = corpus.planted.iter().filter(|(_, secret)| places.has(secret.as_bytes()));
    found.map(|(customer, _)| customer).collect::<HashSet<_>>().len()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// MB/s of one core, compressing and decompressing, of each kind: medians of rounds in which each takes its turn.
fn speeds(corpus: &Corpus, kinds: &[Option<&Dictionary>]) -> Vec<(f64, f64)> {
    let frames: Vec<_> = kinds.iter().map(|dictionary| compressed(&corpus.held_out, *dictionary)).collect();
    let mut taken = vec![(Vec::new(), Vec::new()); kinds.len()];
    let mut out = Vec::new();
    for _ in 0..ROUNDS {
        for ((dictionary, frames), (there, back)) in kinds.iter().zip(&frames).zip(&mut taken) {
            there.push(seconds(|| {
                for call in &corpus.held_out {
                    out.clear();
                    black_box(compress_into(&call.body, *dictionary, &mut out));
                }
            }));
            back.push(seconds(|| {
                for (frame, call) in frames.iter().zip(&corpus.held_out).filter(|(f, c)| f.len() < c.body.len()) {
                    black_box(decompress(frame, call.body.len(), *dictionary).unwrap());
                }
            }));
        }
    }
    let speed = |seconds| corpus.raw() as f64 / 1e6 / median(seconds);
    taken.into_iter().map(|(there, back)| (speed(there), speed(back))).collect()
}

fn compare(corpus: &Corpus) {
    let samples = corpus.samples();
    let mut trained = None;
    let for_ours = seconds(|| trained = train(&samples, &TRAINING, &|| false));
    let ours = trained.expect("many customers share something").dictionary;
    let for_proof = seconds(|| prove(ours.bytes(), &samples, TRAINING.k).unwrap());
    let mut trained = None;
    let for_usual = seconds(|| trained = Some(usual(corpus)));
    let usual = trained.expect("it was just made");
    let raw = corpus.raw();
    println!(
        "\n{}: trained on {} records, measured on {} of other customers, {} bytes each on average; training {for_usual:.1} s usually, \
         {for_ours:.1} s ours, {for_proof:.2} s of it for the proof; {} secrets planted",
        corpus.name,
        corpus.taken.len(),
        corpus.held_out.len(),
        raw / corpus.held_out.len(),
        corpus.planted.len(),
    );
    println!(
        "| dictionary | bytes | ratio | compress MB/s | decompress MB/s | customers identified | secrets of customers |"
    );
    println!("|---|---|---|---|---|---|---|");
    let kinds = [None, Some(&usual), Some(&ours)];
    for ((name, dictionary), (there, back)) in
        ["none", "usual training", "k = 20"].iter().zip(kinds).zip(speeds(corpus, &kinds))
    {
        let stored: usize = compressed(&corpus.held_out, dictionary).iter().map(Vec::len).sum();
        let length = dictionary.map_or(0, |dictionary| dictionary.bytes().len());
        let [identified, betrayed] = [identified, betrayed].map(|count| dictionary.map_or(0, |one| count(corpus, one)));
        let ratio = raw as f64 / stored as f64;
        println!("| {name} | {length} | {ratio:.3} | {there:.0} | {back:.0} | {identified} | {betrayed} |");
    }
    beside_zstd(corpus, &ours);
    assert_eq!((identified(corpus, &ours), betrayed(corpus, &ours)), (0, 0), "a dictionary tells on somebody");
    assert!(corpus.planted.is_empty() || betrayed(corpus, &usual) > 0, "nobody would have noticed");
}

/// What zstd's own encoder makes of the same records with the same dictionary, in turns with ours.
fn beside_zstd(corpus: &Corpus, dictionary: &Dictionary) {
    const HEAD: usize = 10; // Of a frame; ours are without.
    let mut zstd = zstd::bulk::Compressor::with_dictionary(3, dictionary.bytes()).unwrap();
    let mut back = zstd::bulk::Decompressor::with_dictionary(dictionary.bytes()).unwrap();
    let frames: Vec<_> = corpus.held_out.iter().map(|call| zstd.compress(&call.body).unwrap()).collect();
    let own = compressed(&corpus.held_out, Some(dictionary));
    let (mut out, mut taken) = (Vec::with_capacity(1 << 20), [(); 4].map(|()| Vec::new()));
    for _ in 0..ROUNDS {
        let calls = || corpus.held_out.iter();
        taken[0].push(seconds(|| {
            calls().for_each(|call| {
                out.clear();
                black_box(compress_into(&call.body, Some(dictionary), &mut out));
            })
        }));
        taken[1].push(seconds(|| {
            calls().for_each(|call| {
                black_box(zstd.compress_to_buffer(&call.body, &mut out).unwrap());
            })
        }));
        taken[2].push(seconds(|| {
            own.iter().zip(calls()).for_each(|(own, call)| {
                black_box(decompress(own, call.body.len(), Some(dictionary)).unwrap());
            })
        }));
        taken[3].push(seconds(|| {
            frames.iter().zip(calls()).for_each(|(frame, call)| {
                black_box(back.decompress(frame, call.body.len()).unwrap());
            })
        }));
    }
    let length = |frames: &[Vec<u8>], head: usize| frames.iter().map(|frame| frame.len() - head).sum::<usize>() as f64;
    let [there, zstd_there, back, zstd_back] = taken.map(median);
    println!(
        "with k = 20, ours of zstd's own encoder: {:.3} of the bytes, {:.2} of the time; decompressed in {:.2} of the time",
        length(&own, 0) / length(&frames, HEAD),
        there / zstd_there,
        back / zstd_back,
    );
}

/// The ratio that other sizes and another k would come to.
fn by_size_and_k(corpus: &Corpus) {
    let samples = corpus.samples();
    let ratio = |training: &Training| {
        let dictionary = train(&samples, training, &|| false).expect("many customers share something").dictionary;
        let stored: usize = compressed(&corpus.held_out, Some(&dictionary)).iter().map(Vec::len).sum();
        corpus.raw() as f64 / stored as f64
    };
    let row = |name: &str, trainings: &[(String, Training)]| {
        let cells = |cell: &dyn Fn(&(String, Training)) -> String| trainings.iter().map(cell).collect::<String>();
        println!("\n| {name} |{}", cells(&|(label, _)| format!(" {label} |")));
        println!("|---|{}", "---|".repeat(trainings.len()));
        println!("| {} |{}", corpus.name, cells(&|(_, training)| format!(" {:.3} |", ratio(training))));
    };
    let sizes = [8, 16, 32, 48, 64].map(|size| (format!("{size} KB"), Training { size: size << 10, ..TRAINING }));
    row("size, k = 20", &sizes);
    row("k, 64 KB", &[2, 5, 10, 20, 30, 50].map(|k| (k.to_string(), Training { k, ..TRAINING })));
}

fn records(calls: &[Call]) -> Vec<Record> {
    let first: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let step = 31_000_000 / calls.len() as i64;
    let record = |(index, call): (usize, &Call)| {
        let customer = format!("c-{:016x}", call.customer);
        Record::new(&customer, "chat", "EU", first.plus_seconds(index as i64 * step), call.body.clone()).unwrap()
    };
    calls.iter().enumerate().map(record).collect()
}

/// The length of all files below a directory whose name begins so.
fn on_disk(dir: &Path, prefix: &str) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let length = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => on_disk(&path, prefix),
        _ if entry.file_name().to_string_lossy().starts_with(prefix) => entry.metadata().unwrap().len(),
        _ => 0,
    };
    entries.map(length).sum()
}

/// Bytes on the disk of a store that has held-out records, one stream in one year, beside those of the bare work.
fn beside_the_kernel(corpus: &Corpus, held_out: &[Call]) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let custodian = FileCustodian::at(scratch.path().join("custodian")).accept_weak_erasure();
    let store = Store::options(&root).custodian(custodian).policy(POLICY).ballast_bytes(4_096).create().unwrap();
    assert_eq!(store.train(&records(&corpus.taken)).unwrap().len(), 1);
    for batch in records(held_out).chunks(1_000) {
        store.append(batch.to_vec()).unwrap().wait().unwrap();
    }
    store.settle().unwrap();
    let words = store.dictionaries().unwrap();
    store.close().unwrap();
    let mut kernel = zstd::bulk::Compressor::with_dictionary(3, &words[0]).unwrap();
    let bare = |call: &Call| kernel.compress(&call.body).unwrap().len() + AROUND;
    let kernel: usize = held_out.iter().map(bare).sum();
    let count = held_out.len() as f64;
    let (dictionary, segments) = (on_disk(&root, "dictionary-"), on_disk(&root.join("segments"), "0"));
    let whole = on_disk(scratch.path(), "");
    let customers: HashSet<u64> = held_out.iter().map(|call| call.customer).collect();
    println!(
        "\n| {}, {count} records of {} customers | bytes | a record | of the kernel's |",
        corpus.name,
        customers.len()
    );
    println!("|---|---|---|---|");
    for (name, bytes) in [
        ("kernel: body, nonce, tag", kernel as u64),
        ("segments", segments),
        ("and dictionary", segments + dictionary),
        ("and keys, ledger and all else", whole),
    ] {
        println!("| {name} | {bytes} | {:.1} | {:.3} |", bytes as f64 / count, bytes as f64 / kernel as f64);
    }
}

fn main() {
    let mut corpora = vec![Corpus::generated()];
    if let Ok(path) = std::env::var("TENURE_CORPUS") {
        corpora.push(Corpus::of("TENURE_CORPUS", read(&path)));
    }
    for corpus in &corpora {
        compare(corpus);
        by_size_and_k(corpus);
        // A dictionary weighs less in a partition that has more.
        beside_the_kernel(corpus, &corpus.held_out[..corpus.held_out.len() / 3]);
        beside_the_kernel(corpus, &corpus.held_out);
    }
}
