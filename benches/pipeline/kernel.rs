//! The kernel: what any store with the same promises has to do for each record, and nothing else. Compress, derive the
//! cell's keys where they are not at hand, encrypt, checksum; contexts and buffers are used again.

use std::sync::Mutex;
use std::time::Instant;

use chacha20poly1305::aead::{AeadInOut, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::Figures;
use crate::load::{BATCH, CellOf, Load};
use crate::process;

/// Cells whose keys stay at hand: as many as the store keeps.
const CELLS: usize = 65_536;

type Keyed = Hmac<Sha256>;

struct Keys {
    customers: Vec<Keyed>,
    partitions: Vec<Keyed>,
    at_hand: Vec<Mutex<Option<AtHand>>>,
}

/// A cell at hand: which one, its handle and its key.
type AtHand = (usize, [u8; 16], ChaCha20Poly1305);

fn keyed(bytes: &[u8]) -> Keyed {
    Keyed::new_from_slice(bytes).unwrap()
}

fn finish(mac: Keyed) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

impl Keys {
    fn new(load: &Load) -> Self {
        let key = |number: usize| keyed(&(number as u128 + 1).to_le_bytes().repeat(2));
        let slots = (load.customers() * load.months()).min(CELLS);
        Keys {
            customers: (0..load.customers()).map(key).collect(),
            partitions: (0..load.months()).map(|month| key(month + 1_000_000_000)).collect(),
            at_hand: (0..slots).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Twelve compressions, the keys of customer's year and of partition being at hand.
    fn derive(&self, cell: CellOf) -> ([u8; 16], ChaCha20Poly1305) {
        let mut secret = self.customers[cell.customer].clone();
        secret.update(&[7; 24]);
        secret.update(&(cell.month as u64).to_le_bytes());
        let mut key = self.partitions[cell.month].clone();
        key.update(&finish(secret));
        let key = finish(key);
        let [handle, dek] = [1, 2].map(|what| {
            let mut mac = keyed(&key);
            mac.update(&[what; 41]);
            finish(mac)
        });
        (std::array::from_fn(|index| handle[index]), ChaCha20Poly1305::new(&dek.into()))
    }

    fn with<T>(&self, cell: CellOf, months: usize, work: impl FnOnce(&[u8; 16], &ChaCha20Poly1305) -> T) -> T {
        let number = cell.customer * months + cell.month;
        let mut slot = self.at_hand[number % self.at_hand.len()].lock().unwrap();
        if slot.as_ref().is_none_or(|(held, ..)| *held != number) {
            let (handle, cipher) = self.derive(cell);
            *slot = Some((number, handle, cipher));
        }
        let (_, handle, cipher) = slot.as_ref().unwrap();
        let (handle, cipher) = (*handle, cipher.clone());
        drop(slot);
        work(&handle, &cipher)
    }
}

fn work(load: &Load, keys: &Keys, thread: usize, batches: usize) -> (u64, u64) {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    let mut out = Vec::new();
    let (mut raw, mut kept) = (0, 0);
    for number in 0..batches {
        let (batch, cells) = load.batch(thread, number);
        out.clear();
        for (index, (record, cell)) in batch.records.iter().zip(cells).enumerate() {
            let start = out.len();
            out.resize(start + 46 + 11 + record.body.len(), 0);
            let written = compressor.compress_to_buffer(&record.body, &mut out[start + 60..]).unwrap();
            out.truncate(start + 60 + written);
            let mut nonce = Nonce::default();
            nonce[..8].copy_from_slice(&((number * BATCH + index) as u64).to_le_bytes());
            nonce[8..].copy_from_slice(&(thread as u32).to_le_bytes());
            let (handle, tag) = keys.with(cell, load.months(), |handle, cipher| {
                let buffer = &mut out[start + 46..];
                (*handle, cipher.encrypt_inout_detached(&nonce, &[5; 77], buffer.into()).unwrap())
            });
            out.extend_from_slice(&tag);
            out[start + 26..start + 42].copy_from_slice(&handle);
            let crc = crc32fast::hash(&out[start + 4..]);
            out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
            raw += record.body.len() as u64;
        }
        kept += std::hint::black_box(&out).len() as u64;
    }
    (raw, kept)
}

/// Measures it on `threads` threads.
pub fn run(threads: usize, customers: usize, megabytes: usize) -> Figures {
    let load = Load::new(customers);
    let keys = Keys::new(&load);
    let batches = (megabytes as f64 * 1e6 / load.average() / (BATCH * threads) as f64).ceil() as usize;
    let (cpu, began) = (process::cpu_seconds(), Instant::now());
    let sums: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let (load, keys) = (&load, &keys);
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(load, keys, thread, batches))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let raw: u64 = sums.iter().map(|sum| sum.0).sum();
    Figures::from([
        ("seconds".to_owned(), seconds),
        ("cpu_seconds".to_owned(), process::cpu_seconds() - cpu),
        ("megabytes".to_owned(), raw as f64 / 1e6),
    ])
}
