//! Reading against the bare work: timelines, gets and scans beside decrypting and decompressing the same bodies, held in
//! memory, with the same crates on the same cores.
//!
//! `TENURE_CORPUS=transcripts.jsonl.zst cargo bench --bench reading`; without a corpus the bodies are generated. Each
//! round measures the store and then the kernel, so that what else the machine does meets both; medians over the rounds
//! are printed, with the first and the last tenth beside a ratio. The page cache is warm, `maintain` has nothing left to
//! do. `TENURE_SETTLES` settles the journal so many times (segments per partition, 1), `TENURE_ROUNDS` (21) and
//! `TENURE_COPIES` (2, of the ordinary customers) make it longer, `TENURE_ONLY=heavy` picks the lines it names, for a
//! profiler.

#![allow(clippy::disallowed_methods)] // It measures by the clock.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{AeadInOut, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tenure::report::Budget;
use tenure::{BodyKind, Record, RecordId, ScanFilter, Store, Timestamp};
use zstd::bulk::Decompressor;

const JURISDICTIONS: [&str; 3] = ["EU", "UK", "US"];
const MONTHS: usize = 14;
/// Customers in each of the groups made for this.
const GROUP: usize = 24;
const PREFIX: usize = 11;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// September 2025 is month 0.
fn month(index: usize) -> (usize, usize) {
    (2025 + (8 + index) / 12, (8 + index) % 12 + 1)
}

fn moment(index: usize, second: usize) -> Timestamp {
    let (year, month) = month(index);
    let start: Timestamp = format!("{year}-{month:02}-02T00:00:00Z").parse().unwrap();
    start.plus_seconds((second * 37 % 2_000_000) as i64)
}

/// Bodies with whose they are and when: of the corpus, or generated.
fn conversations() -> Vec<(String, String, Timestamp, String)> {
    let Ok(path) = std::env::var("TENURE_CORPUS") else { return (0..4_000).map(generated).collect() };
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        customer: String,
        jurisdiction: String,
        at: String,
        #[serde(borrow)]
        body: &'a serde_json::value::RawValue,
    }
    let file = std::fs::File::open(path).unwrap();
    let lines = std::io::BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    lines
        .map(|line| {
            let line = line.unwrap();
            let line: Line<'_> = serde_json::from_str(&line).unwrap();
            (line.customer, line.jurisdiction, line.at.parse().unwrap(), line.body.get().to_owned())
        })
        .collect()
}

/// Words by chance, about two kilobytes of them.
fn generated(serial: usize) -> (String, String, Timestamp, String) {
    let mut state = (serial as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = move |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % sides
    };
    let customer = next(1_300) as usize;
    let mut body = String::from("{\"turns\":[\"");
    while body.len() < 2_200 {
        let word = next(400) * next(400) / 400;
        body.push_str(&format!("{}{} ", ["re", "con", "de", "in", "pro"][word as usize % 5], word * 7919 % 1_000));
    }
    body.push_str("\"]}");
    let at = moment(next(MONTHS as u64) as usize, serial);
    (format!("c-{customer:06}"), JURISDICTIONS[customer % 3].into(), at, body)
}

/// Where a record stands for the reader: its customer, and the column.
struct Made {
    records: Vec<Record>,
    /// Customers of each kind.
    groups: BTreeMap<&'static str, Vec<String>>,
}

fn made() -> Made {
    let conversations = conversations();
    let mut made = Made { records: Vec::new(), groups: BTreeMap::new() };
    let mut bodies = conversations.iter().cycle();
    let mut push = |made: &mut Made, customer: &str, jurisdiction: &str, index: usize| {
        let body = bodies.next().unwrap().3.clone();
        let at = moment(index, made.records.len());
        made.records.push(record(customer, jurisdiction, at, body));
    };
    for (name, each) in [("heavy 1", 1), ("heavy 3", 3), ("sparse", 0)] {
        for customer in 0..GROUP {
            let id = format!("{name} {customer}");
            for (jurisdiction, index) in JURISDICTIONS.iter().flat_map(|one| (0..MONTHS).map(move |index| (one, index)))
            {
                let count = if each == 0 { usize::from(index % (MONTHS - 1) == 0) } else { each };
                (0..count).for_each(|_| push(&mut made, &id, jurisdiction, index));
            }
            made.groups.entry(name).or_default().push(id);
        }
    }
    let mut counts = BTreeMap::new();
    for copy in 0..number("TENURE_COPIES", 2) {
        for (customer, jurisdiction, at, body) in &conversations {
            let customer = format!("{customer}/{copy}");
            made.records.push(record(&customer, jurisdiction, *at, body.clone()));
            *counts.entry(customer).or_insert(0) += 1;
        }
    }
    let mut sorted: Vec<usize> = counts.values().copied().collect();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    println!("{} ordinary customers, the median one with {median} records", sorted.len());
    let typical = counts.into_iter().filter(|(_, count)| *count == median).map(|(customer, _)| customer);
    made.groups.insert("typical", typical.take(200).collect());
    made
}

fn record(customer: &str, jurisdiction: &str, at: Timestamp, body: String) -> Record {
    Record::new(customer, "call-transcript", jurisdiction, at, body).unwrap().with_kind(BodyKind::Json)
}

fn filled(dir: &Path, records: &[Record]) -> Store {
    let store = Store::options(dir.join("calls")).accept_weak_erasure().create().unwrap();
    let settles = number("TENURE_SETTLES", 1);
    // Every piece holds some of everybody's.
    for settle in 0..settles {
        let piece: Vec<Record> = records.iter().skip(settle).step_by(settles).cloned().collect();
        for chunk in piece.chunks(1_000) {
            store.append(chunk.to_vec()).unwrap().wait().unwrap();
        }
        store.settle().unwrap();
    }
    store.maintain(Budget::ALL).unwrap();
    store
}

/// What the kernel reads: a body as a frame holds it.
struct Sealed {
    nonce: [u8; 12],
    ciphertext: Vec<u8>,
    tag: Tag,
    raw_length: usize,
}

/// One customer in one partition, as the kernel sees it.
struct Cell {
    cipher: ChaCha20Poly1305,
    sealed: Vec<Sealed>,
}

const ABOUT: [u8; 77] = [7; 77];

#[derive(Default)]
struct Kernel {
    customers: BTreeMap<String, BTreeMap<(usize, String), Cell>>,
}

impl Kernel {
    fn of(records: &[Record]) -> Self {
        let mut kernel = Kernel::default();
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        for (serial, record) in records.iter().enumerate() {
            let customer = kernel.customers.entry(record.customer.expose().to_owned()).or_default();
            let cell = customer.entry((column(record.at), record.stream.jurisdiction().to_owned()));
            let cell = cell.or_insert_with(|| Cell {
                cipher: ChaCha20Poly1305::new(&[serial as u8; 32].into()),
                sealed: Vec::new(),
            });
            let mut ciphertext = vec![1; PREFIX];
            ciphertext.extend(compressor.compress(&record.body).unwrap());
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&(serial as u64).to_le_bytes());
            let tag = cell.cipher.encrypt_inout_detached(&nonce.into(), &ABOUT, ciphertext.as_mut_slice().into());
            cell.sealed.push(Sealed { nonce, ciphertext, tag: tag.unwrap(), raw_length: record.body.len() });
        }
        kernel
    }
}

fn column(at: Timestamp) -> usize {
    let text = at.to_string();
    text[..4].parse::<usize>().unwrap() * 12 + text[5..7].parse::<usize>().unwrap() - (2025 * 12 + 9)
}

/// The bare work of one cell: decrypt and decompress every body. Returns their bytes.
fn bare(cell: &Cell, zstd: &mut Decompressor<'_>, scratch: &mut Vec<u8>) -> usize {
    let mut bytes = 0;
    for sealed in &cell.sealed {
        scratch.clear();
        scratch.extend_from_slice(&sealed.ciphertext);
        let opened = cell.cipher.decrypt_inout_detached(
            &sealed.nonce.into(),
            &ABOUT,
            scratch.as_mut_slice().into(),
            &sealed.tag,
        );
        opened.unwrap();
        let body = zstd.decompress(&scratch[PREFIX..], sealed.raw_length).unwrap();
        bytes += black_box(body).len();
    }
    bytes
}

/// One derivation: the handle of a cell from the row's and the column's key, both made ready; with its key and data key
/// where the cell exists.
fn derive(row: &Hmac<Sha256>, column: &Hmac<Sha256>, index: u64, exists: bool) {
    let of = |mac: &Hmac<Sha256>, parts: &[&[u8]]| {
        let mut mac = mac.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let secret = of(row, &[&[9; 24], &index.to_le_bytes()]);
    black_box(of(column, &[&[8; 16], &secret]));
    if exists {
        let cell = Hmac::<Sha256>::new_from_slice(&of(column, &[&[7; 16], &secret])).unwrap();
        black_box(ChaCha20Poly1305::new(&of(&cell, &[&[5; 24], &[3; 16], &[1]])));
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Time that this thread spent working, where the system tells: what others do in between does not count.
fn worked() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next().and_then(|first| first.parse().ok()));
    nanos.map_or_else(|| Instant::now().duration_since(*BEGAN), Duration::from_nanos)
}

static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Time by the clock: for work on many threads.
fn passed() -> Duration {
    Instant::now().duration_since(*BEGAN)
}

/// Rounds of both in turns: medians in microseconds for each of `count`, and the ratio with its spread.
fn compare(
    clock: fn() -> Duration,
    count: usize,
    mut store: impl FnMut() -> usize,
    mut kernel: impl FnMut() -> usize,
) -> (f64, f64, String) {
    assert_eq!(store(), kernel(), "both read the same bodies");
    let timed = |work: &mut dyn FnMut() -> usize| {
        let began = clock();
        let mut times = 0;
        while clock() - began < Duration::from_millis(40) {
            black_box(work());
            times += 1;
        }
        (clock() - began).as_secs_f64() * 1e6 / (count * times) as f64
    };
    let (mut stores, mut kernels, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..number("TENURE_ROUNDS", 21) {
        let (one, other) = (timed(&mut store), timed(&mut kernel));
        stores.push(one);
        kernels.push(other);
        ratios.push(other / one);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| ratios[ratios.len() * share / 10];
    (median(stores), median(kernels), format!("{:.2} ({:.2}-{:.2})", at(5), at(1), at(9)))
}

fn wanted(name: &str) -> bool {
    std::env::var("TENURE_ONLY").map_or(true, |only| name.contains(&only))
}

/// How many partitions a timeline of a customer with these cells looks into: per stream, from the first window on to the
/// end of the last year.
fn probed(cells: &BTreeMap<(usize, String), Cell>) -> usize {
    let mut streams: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (column, jurisdiction) in cells.keys() {
        let used = streams.entry(jurisdiction).or_insert((*column, *column));
        *used = (used.0.min(*column), used.1.max(*column));
    }
    // The first four months are of the first year.
    streams.values().map(|(first, last)| if *last < 4 { 4 - first } else { MONTHS - first }).sum()
}

fn timelines(store: &Store, kernel: &Kernel, groups: &BTreeMap<&'static str, Vec<String>>) {
    println!(
        "\ntimeline             records  probed   store us  kernel us  kernel/store       us besides, per partition"
    );
    for (name, customers) in groups.iter().filter(|(name, _)| wanted(name)) {
        let cells: Vec<_> = customers.iter().map(|customer| &kernel.customers[customer]).collect();
        let records: usize = cells.iter().flat_map(|cells| cells.values()).map(|cell| cell.sealed.len()).sum();
        let probes: usize = cells.iter().map(|cells| probed(cells)).sum();
        let mut zstd = Decompressor::new().unwrap();
        let mut scratch = Vec::new();
        let (each, bare, ratio) = compare(
            worked,
            customers.len(),
            || {
                let one = |customer: &String| {
                    let timeline = store.timeline(customer, ..).unwrap();
                    timeline.map(|stored| black_box(stored.unwrap()).body.len()).sum::<usize>()
                };
                customers.iter().map(one).sum()
            },
            || cells.iter().flat_map(|cells| cells.values()).map(|cell| bare(cell, &mut zstd, &mut scratch)).sum(),
        );
        let count = customers.len() as f64;
        let (records, probes) = (records as f64 / count, probes as f64 / count);
        println!(
            "{name:<20} {records:>7.1} {probes:>7.1} {each:>10.1} {bare:>10.1}  {ratio:<18} {:.2}",
            (each - bare) / probes
        );
    }
}

fn gets(store: &Store, kernel: &Kernel, groups: &BTreeMap<&'static str, Vec<String>>) {
    println!("\nget                                     store us  kernel us  kernel/store");
    for (name, customers) in groups.iter().filter(|(name, _)| wanted(&format!("get {name}"))) {
        let ids: Vec<(&String, RecordId, usize)> = customers
            .iter()
            .map(|customer| {
                let all: Vec<_> = store.timeline(customer, ..).unwrap().map(Result::unwrap).collect();
                let one = &all[all.len() / 2];
                (customer, one.id, one.body.len())
            })
            .collect();
        let one: Vec<(&Cell, usize)> = ids
            .iter()
            .map(|(customer, _, length)| {
                let find = |cell: &&Cell| cell.sealed.iter().any(|sealed| sealed.raw_length == *length);
                (kernel.customers[*customer].values().find(find).unwrap(), *length)
            })
            .collect();
        let mut zstd = Decompressor::new().unwrap();
        let mut scratch = Vec::new();
        let (each, bare, ratio) = compare(
            worked,
            ids.len(),
            || ids.iter().map(|(customer, id, _)| store.get(customer, *id).unwrap().unwrap().body.len()).sum(),
            || {
                let body = |(cell, length): &(&Cell, usize)| {
                    let sealed = cell.sealed.iter().find(|sealed| sealed.raw_length == *length).unwrap();
                    scratch.clear();
                    scratch.extend_from_slice(&sealed.ciphertext);
                    let buffer = scratch.as_mut_slice().into();
                    cell.cipher.decrypt_inout_detached(&sealed.nonce.into(), &ABOUT, buffer, &sealed.tag).unwrap();
                    black_box(zstd.decompress(&scratch[PREFIX..], sealed.raw_length).unwrap()).len()
                };
                one.iter().map(body).sum()
            },
        );
        println!("{name:<38} {each:>10.1} {bare:>10.1}  {ratio}");
    }
}

fn scans(store: &Store, kernel: &Kernel) {
    println!("\nscan                       threads   store MB/s  kernel MB/s  kernel/store");
    let all: Vec<_> = kernel.customers.values().collect();
    let probes: usize = all.iter().map(|cells| probed(cells)).sum();
    let exist: usize = all.iter().map(|cells| cells.len()).sum();
    let bytes: usize =
        all.iter().flat_map(|cells| cells.values()).flat_map(|cell| &cell.sealed).map(|s| s.raw_length).sum();
    println!("{exist} of {probes} probed cells exist, {} MB raw", bytes / 1_000_000);
    let key = || Hmac::<Sha256>::new_from_slice(&[8; 32]).unwrap();
    let columns: Vec<_> = (0..MONTHS).map(|_| key()).collect();
    let rows: Vec<_> = all.iter().map(|_| key()).collect();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    for threads in [1, cores] {
        let name = format!("scan {threads}");
        if !wanted(&name) {
            continue;
        }
        let share = |thread: usize| {
            let mut zstd = Decompressor::new().unwrap();
            let mut scratch = Vec::new();
            let mut bytes = 0;
            for (cells, row) in all.iter().zip(&rows).skip(thread).step_by(threads) {
                let missing = probed(cells) - cells.len();
                for index in 0..missing {
                    derive(row, &columns[index % MONTHS], index as u64, false);
                }
                for ((column, _), cell) in *cells {
                    derive(row, &columns[*column], *column as u64, true);
                    bytes += bare(cell, &mut zstd, &mut scratch);
                }
            }
            bytes
        };
        let (each, bare, ratio) = compare(
            passed,
            bytes,
            || {
                let bytes = AtomicUsize::new(0);
                let visited = store.scan_parallel(ScanFilter::default(), threads, |stored| {
                    bytes.fetch_add(black_box(stored).body.len(), Ordering::Relaxed);
                    ControlFlow::<()>::Continue(())
                });
                assert!(visited.unwrap().is_continue());
                bytes.into_inner()
            },
            || {
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
                })
            },
        );
        println!("{:<26} {threads:>7} {:>12.0} {:>12.0}  {ratio}", "", 1.0 / each, 1.0 / bare);
    }
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let made = made();
    let store = filled(dir.path(), &made.records);
    let stats = store.stats().unwrap();
    let segments: u64 = stats.partitions.iter().map(|partition| partition.segments).sum();
    println!("{} records, {} partitions, {segments} segments", made.records.len(), stats.partitions.len());
    let kernel = Kernel::of(&made.records);
    timelines(&store, &kernel, &made.groups);
    gets(&store, &kernel, &made.groups);
    scans(&store, &kernel);
}
