//! Append, timeline and open on the real disk, on generated transcripts.
//!
//! Figures for publishing come from `benches/rivals/`, where rivals run beside it; these are for seeing a change.

#![allow(clippy::disallowed_methods)] // It measures by the clock.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tenure::{Batch, BodyKind, Record, Store};

const CUSTOMERS: u64 = 500;

/// A transcript of about two kilobytes that compresses about as chats do.
fn transcript(serial: u64) -> Record {
    const WORDS: [&str; 24] = [
        "invoice",
        "refund",
        "router",
        "please",
        "restart",
        "delivery",
        "address",
        "thank",
        "moment",
        "order",
        "account",
        "email",
        "charged",
        "twice",
        "apologies",
        "number",
        "ticket",
        "waiting",
        "technician",
        "monday",
        "balance",
        "contract",
        "upgrade",
        "cancel",
    ];
    let mut state = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut body = String::from("{\"turns\":[");
    for turn in 0..12 {
        let speaker = if turn % 2 == 0 { "customer" } else { "agent" };
        body.push_str(&format!("{{\"speaker\":\"{speaker}\",\"text\":\""));
        for _ in 0..20 {
            body.push_str(WORDS[(next() % 24) as usize]);
            body.push(' ');
        }
        body.push_str(&format!("{}\"}},", next() % 100_000));
    }
    body.push_str("{}]}");
    let customer = format!("customer-{}", next() % CUSTOMERS);
    let at = format!("2025-{:02}-{:02}T12:00:00Z", 1 + next() % 12, 1 + next() % 28).parse().unwrap();
    Record::new(&customer, "call-transcript", "EU", at, body).unwrap().with_kind(BodyKind::Json)
}

fn filled(dir: &Path, records: u64) -> Store {
    let store = Store::options(dir.join("calls")).create().unwrap();
    let serials: Vec<u64> = (0..records).collect();
    for chunk in serials.chunks(1_000) {
        let batch: Vec<Record> = chunk.iter().map(|serial| transcript(*serial)).collect();
        store.append(batch).unwrap().wait().unwrap();
    }
    store
}

fn append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 1_000);
    let batch: Vec<Record> = (0..1_000).map(transcript).collect();
    let bytes = batch.iter().map(|record| record.body.len() as u64).sum();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Bytes(bytes));
    let fresh = || Batch::from(batch.clone());
    group.bench_function("1000 records, one sync", |bencher| {
        bencher.iter_batched(fresh, |batch| store.append(batch).unwrap().wait().unwrap(), BatchSize::LargeInput);
    });
    group.throughput(Throughput::Elements(1));
    let single = || Batch::from(vec![batch[0].clone()]);
    group.bench_function("one record, one sync", |bencher| {
        bencher.iter_batched(single, |batch| store.append(batch).unwrap().wait().unwrap(), BatchSize::SmallInput);
    });
    group.finish();
}

/// Durable appends of one record each, by 1 and by 64 threads: how well they share syncs.
fn threads(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 5_000);
    let records: Vec<Record> = (0..1_000).map(transcript).collect();
    let mut group = criterion.benchmark_group("single durable appends");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 64] {
        group.bench_function(format!("{threads} threads"), |bencher| {
            bencher.iter_custom(|count| {
                let each = count.div_ceil(threads);
                let began = Instant::now();
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (store, records) = (&store, &records);
                        scope.spawn(move || {
                            for serial in 0..each {
                                let record = records[((thread * 31 + serial) % 1_000) as usize].clone();
                                store.append(vec![record]).unwrap().wait().unwrap();
                            }
                        });
                    }
                });
                began.elapsed().mul_f64(count as f64 / (each * threads) as f64)
            });
        });
    }
    group.finish();
}

fn timeline(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 10_000);
    store.settle().unwrap();
    let mut customer = 0;
    criterion.bench_function("timeline of 20 records in 12 partitions", |bencher| {
        bencher.iter(|| {
            customer = (customer + 1) % CUSTOMERS;
            let timeline = store.timeline(&format!("customer-{customer}"), ..).unwrap();
            timeline.map(|stored| black_box(stored.unwrap()).body.len()).sum::<usize>()
        });
    });
}

fn open(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 10_000).close().unwrap();
    let path = dir.path().join("calls");
    criterion.bench_function("open and close, cleanly closed", |bencher| {
        bencher.iter(|| Store::options(&path).open().unwrap().close().unwrap());
    });
    criterion.bench_function("open for reading only", |bencher| {
        bencher.iter(|| black_box(Store::options(&path).open_read_only().unwrap()));
    });
}

criterion_group!(benches, append, threads, timeline, open);
criterion_main!(benches);
