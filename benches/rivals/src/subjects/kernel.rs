//! The bare work, nothing written: what no store that does this can beat on these cores.
//!
//! Appending: zstd-3 with the dictionary that Tenure has, the derivation of a cell where Tenure derives one (a cache of
//! the same size, emptied in the same way), ChaCha20-Poly1305, crc32. Reading: decryption and decompression of what lies
//! in memory in the order it is read in, one derivation for each cell where everything is scanned.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use hmac::Hmac;
use sha2::Sha256;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::{Appender, Making, Reader, Seen, Subject, on_threads};
use crate::Result;
use crate::codec::{LEVEL, keyed, mac};
use crate::records::{Feed, Item, Pool, month_of};

const SHARDS: usize = 16;
const SHARD_LIMIT: usize = 4096;
/// Bytes that are authenticated beside a record.
const ASSOCIATED: usize = 104;
/// Nonce and tag.
const AROUND: usize = 12 + 16;

type Cell = (u64, u32);

#[derive(Clone, Copy)]
struct Frame {
    cell: Cell,
    start: usize,
    length: usize,
    raw: usize,
    tag: [u8; 16],
    number: u64,
}

/// What one customer's or one thread's frames lie in.
#[derive(Default)]
struct Shelf {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

pub struct Kernel {
    encoder: Option<EncoderDictionary<'static>>,
    decoder: Option<DecoderDictionary<'static>>,
    year: Hmac<Sha256>,
    partition: Hmac<Sha256>,
    cells: [Mutex<HashMap<Cell, ChaCha20Poly1305>>; SHARDS],
    /// What was appended, by customer, where it is kept for reading.
    shelves: Mutex<HashMap<String, Shelf>>,
    keeps: bool,
    /// Whether a customer has one cell in the year, not one in each month.
    yearly: bool,
    sealed: AtomicU64,
}

fn name_number(name: &str) -> u64 {
    name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(byte))
}

impl Kernel {
    pub fn new(making: Making<'_>) -> Result<Self> {
        Ok(Kernel {
            encoder: making.dictionary.map(|bytes| EncoderDictionary::copy(bytes, LEVEL)),
            decoder: making.dictionary.map(DecoderDictionary::copy),
            year: keyed(b"a year key"),
            partition: keyed(b"a partition key"),
            cells: Default::default(),
            shelves: Mutex::default(),
            keeps: making.keeps,
            yearly: making.yearly,
            sealed: AtomicU64::new(0),
        })
    }

    fn cell_of(&self, item: &Item<'_>) -> Cell {
        let window = if self.yearly { 0 } else { month_of(item.at) as u32 };
        (name_number(item.name), window * 4 + u32::from(item.stream))
    }

    /// The same number of compressions as Tenure's cell: HMACs under midstates for the cell secret, the handle and the cell
    /// key, then the data key under that.
    fn derive(&self, cell: Cell) -> ChaCha20Poly1305 {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&cell.0.to_le_bytes());
        name[8..12].copy_from_slice(&cell.1.to_le_bytes());
        let mut half = [0; 48];
        half[16..].copy_from_slice(&mac(&self.year, &name));
        std::hint::black_box(mac(&self.partition, &half));
        half[..16].copy_from_slice(b"the cell's  key ");
        let key = keyed(&mac(&self.partition, &half));
        ChaCha20Poly1305::new((&mac(&key, b"data key, as long as a field of fixed width")).into())
    }

    fn cipher(&self, cell: Cell) -> ChaCha20Poly1305 {
        let mut shard = self.cells[cell.0 as usize % SHARDS].lock().expect("no holder panics");
        if let Some(cipher) = shard.get(&cell) {
            return cipher.clone();
        }
        drop(shard);
        let cipher = self.derive(cell);
        shard = self.cells[cell.0 as usize % SHARDS].lock().expect("no holder panics");
        if shard.len() >= SHARD_LIMIT {
            shard.clear();
        }
        shard.insert(cell, cipher.clone());
        cipher
    }

    fn compressor(&self) -> Result<Compressor<'_>> {
        Ok(match &self.encoder {
            Some(dictionary) => Compressor::with_prepared_dictionary(dictionary)?,
            None => Compressor::new(LEVEL)?,
        })
    }

    fn work(&self) -> Result<Work<'_>> {
        let decompressor = match &self.decoder {
            Some(dictionary) => Decompressor::with_prepared_dictionary(dictionary)?,
            None => Decompressor::new()?,
        };
        Ok(Work { kernel: self, compressor: self.compressor()?, decompressor, scratch: Vec::new(), body: Vec::new() })
    }
}

struct Work<'a> {
    kernel: &'a Kernel,
    compressor: Compressor<'a>,
    decompressor: Decompressor<'a>,
    scratch: Vec<u8>,
    body: Vec<u8>,
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

impl Work<'_> {
    /// Seals one record at the end of `out`.
    fn seal(&mut self, item: &Item<'_>, number: u64, out: &mut Vec<u8>) -> Result<Frame> {
        let cell = self.kernel.cell_of(item);
        let cipher = self.kernel.cipher(cell);
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(item.body.len()));
        self.compressor.compress_to_buffer(item.body, &mut self.scratch)?;
        let nonce = nonce(number);
        let text = self.scratch.as_mut_slice().into();
        let tag =
            cipher.encrypt_inout_detached((&nonce).into(), &[0; ASSOCIATED], text).map_err(|_| "cannot encrypt")?;
        let start = out.len();
        out.extend_from_slice(&self.scratch);
        std::hint::black_box(crc32fast::hash(&out[start..]));
        Ok(Frame { cell, start, length: self.scratch.len(), raw: item.body.len(), tag: tag.into(), number })
    }

    fn open(&mut self, frame: &Frame, bytes: &[u8], cipher: &ChaCha20Poly1305) -> Result<usize> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&bytes[frame.start..frame.start + frame.length]);
        let text = self.scratch.as_mut_slice().into();
        let (nonce, tag) = (nonce(frame.number), Tag::from(frame.tag));
        cipher.decrypt_inout_detached((&nonce).into(), &[0; ASSOCIATED], text, &tag).map_err(|_| "cannot decrypt")?;
        self.body.clear();
        self.body.reserve(frame.raw);
        Ok(self.decompressor.decompress_to_buffer(&self.scratch, &mut self.body)?)
    }
}

impl Appender for Work<'_> {
    fn append(&mut self, items: &[Item<'_>]) -> Result<()> {
        let mut out = Vec::with_capacity(items.iter().map(|item| item.body.len() / 2).sum());
        let mut sealed = 0;
        for item in items {
            sealed += self.seal(item, item.sequence, &mut out)?.length + AROUND;
        }
        self.kernel.sealed.fetch_add(sealed as u64, Ordering::Relaxed);
        std::hint::black_box(&out);
        Ok(())
    }
}

impl Kernel {
    /// Seals a pool into memory, each customer's frames together and by cell.
    fn keep(&self, feed: &Feed<'_>) -> Result<()> {
        let mut work = self.work()?;
        let mut shelves = self.shelves.lock().expect("no holder panics");
        while let Some(items) = feed.next() {
            for item in &items {
                let shelf = shelves.entry(item.name.to_string()).or_default();
                let frame = work.seal(item, item.sequence, &mut shelf.bytes)?;
                shelf.frames.push(frame);
            }
        }
        Ok(())
    }
}

impl Subject for Kernel {
    fn appender(&self) -> Result<Box<dyn Appender + '_>> {
        Ok(Box::new(self.work()?))
    }

    fn ingest(&self, feed: &Feed<'_>, threads: usize) -> Result<()> {
        if self.keeps {
            return self.keep(feed);
        }
        on_threads(threads, |_| {
            let mut work = self.work()?;
            while let Some(items) = feed.next() {
                work.append(&items)?;
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self.work()?))
    }

    fn scan(&self, threads: usize) -> Result<Seen> {
        let shelves = self.shelves.lock().expect("no holder panics");
        let shelves: Vec<&Shelf> = shelves.values().collect();
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Seen::default()));
        on_threads(threads, |_| {
            let mut work = self.work()?;
            let mut mine = Seen::default();
            while let Some(shelf) = shelves.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut last: Option<(Cell, ChaCha20Poly1305)> = None;
                for frame in &shelf.frames {
                    if last.as_ref().is_none_or(|(cell, _)| *cell != frame.cell) {
                        last = Some((frame.cell, self.derive(frame.cell)));
                    }
                    let Some((_, cipher)) = &last else { return Err("no cipher".into()) };
                    mine.note(work.open(frame, &shelf.bytes, cipher)?);
                }
            }
            seen.lock().expect("no holder panics").add(mine);
            Ok(())
        })?;
        Ok(seen.into_inner()?)
    }

    fn expire(&self, _: &Pool, _: usize) -> Result<()> {
        Err("the kernel keeps nothing".into())
    }

    fn erase(&self, _: &str) -> Result<()> {
        Err("the kernel keeps nothing".into())
    }

    fn settings(&self) -> String {
        let dictionary = if self.encoder.is_some() { "with a dictionary" } else { "without a dictionary" };
        format!("bare kernel: zstd-3 {dictionary}, cell derivation, ChaCha20-Poly1305, crc32; nothing written")
    }

    fn state(&self) -> String {
        "nothing kept".into()
    }

    /// Body, nonce and tag of everything sealed.
    fn record_bytes(&self) -> Result<Option<u64>> {
        Ok(Some(self.sealed.load(Ordering::Relaxed)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Reader for Work<'_> {
    fn timeline(&mut self, name: &str) -> Result<Seen> {
        let shelves = self.kernel.shelves.lock().expect("no holder panics");
        let shelf = shelves.get(name).ok_or("nobody knows the customer")?;
        // The key is not derived anew: this is decryption and decompression alone.
        let mut seen = Seen::default();
        let mut last: Option<(Cell, ChaCha20Poly1305)> = None;
        for frame in &shelf.frames {
            if last.as_ref().is_none_or(|(cell, _)| *cell != frame.cell) {
                last = Some((frame.cell, self.kernel.cipher(frame.cell)));
            }
            let Some((_, cipher)) = &last else { return Err("no cipher".into()) };
            seen.note(self.open(frame, &shelf.bytes, cipher)?);
        }
        Ok(seen)
    }

    fn get(&mut self, _: &Item<'_>) -> Result<Seen> {
        Err("the kernel finds nothing".into())
    }
}
