//! An engine that knows no customers, and the application around it that does.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::{Appender, Name, Reader, Seen, Subject, on_threads};
use crate::Result;
use crate::codec::{Codec, Form, Worker, after, bound, key};
use crate::engines::{self, Engine};
use crate::records::{Feed, Item, Pool, month_start};

pub struct Rival {
    engine: Box<dyn Engine>,
    codec: Codec,
}

impl Rival {
    pub fn open(name: &Name, dir: &Path, dictionary: Option<&[u8]>) -> Result<Self> {
        let engine = engines::open(&name.engine, name.form, dir)?;
        Ok(Rival { engine, codec: Codec::new(name.form, dictionary)? })
    }

    /// One thread commits what all cores encode.
    fn ingest_by_one(&self, feed: &Feed<'_>) -> Result<()> {
        let cores = crate::cores();
        let (sender, receiver) = mpsc::sync_channel(2 * cores);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut worker = self.codec.worker()?;
                    while let Some(items) = feed.next() {
                        let pairs: Result<Vec<_>> = items.iter().map(|item| worker.encode(item)).collect();
                        if sender.send(pairs?).is_err() {
                            break;
                        }
                    }
                    Result::Ok(())
                });
            }
            drop(sender);
            receiver.iter().try_for_each(|pairs| self.engine.commit(pairs))
        })
    }
}

impl Subject for Rival {
    fn appender(&self) -> Result<Box<dyn Appender + '_>> {
        Ok(Box::new(Caller { rival: self, worker: self.codec.worker()? }))
    }

    fn ingest(&self, feed: &Feed<'_>, threads: usize) -> Result<()> {
        if threads == 1 {
            return self.ingest_by_one(feed);
        }
        on_threads(threads, |_| {
            let mut appender = self.appender()?;
            while let Some(items) = feed.next() {
                appender.append(&items)?;
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        self.engine.flush()
    }

    fn tidy(&self) -> Result<()> {
        self.engine.compact()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(Caller { rival: self, worker: self.codec.worker()? }))
    }

    fn scan(&self, threads: usize) -> Result<Seen> {
        // Pseudonyms are evenly spread, so equal slices of them are equal work.
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Seen::default()));
        on_threads(threads, |_| {
            let mut worker = self.codec.worker()?;
            let mut mine = Seen::default();
            loop {
                let slice = next.fetch_add(1, Ordering::Relaxed);
                let Ok(first) = u8::try_from(slice) else { break };
                let until = if first == 0xff { vec![0xff; 64] } else { vec![first + 1] };
                self.engine.range(&[first], &until, &mut |key, value| {
                    mine.note(worker.decode(key, value)?);
                    Ok(())
                })?;
            }
            seen.lock().expect("no holder panics").add(mine);
            Ok(())
        })?;
        Ok(seen.into_inner()?)
    }

    /// The application knows its customers, and removes each one's month.
    fn expire(&self, pool: &Pool, month: usize) -> Result<()> {
        let (first, end) = (month_start(month), month_start(month + 1));
        let ranges = pool.names.iter().enumerate().map(|(number, name)| {
            let (pseudonym, stream) = (self.codec.pseudonym(name), crate::records::home(number as u32));
            (bound(&pseudonym, stream, first), bound(&pseudonym, stream, end))
        });
        self.engine.remove(&ranges.collect::<Vec<_>>())
    }

    fn erase(&self, name: &str) -> Result<()> {
        let pseudonym = self.codec.pseudonym(name);
        self.engine.remove(&[(pseudonym.to_vec(), after(&pseudonym))])
    }

    fn settings(&self) -> String {
        let what = match self.codec.form {
            Form::Usual => "application: zstd-3 per record, ChaCha20-Poly1305 per customer",
            Form::Expert => {
                "application: zstd-3 with a 110 KB dictionary trained on records, ChaCha20-Poly1305 per customer"
            }
            Form::Plain => "no encryption, the engine's own compression",
        };
        format!("{}; {what}", self.engine.settings())
    }

    fn state(&self) -> String {
        self.engine.state()
    }

    fn record_bytes(&self) -> Result<Option<u64>> {
        Ok(self.engine.record_bytes())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.engine.close()
    }
}

/// The application on one thread.
struct Caller<'a> {
    rival: &'a Rival,
    worker: Worker<'a>,
}

impl Appender for Caller<'_> {
    fn append(&mut self, items: &[Item<'_>]) -> Result<()> {
        let pairs: Result<Vec<_>> = items.iter().map(|item| self.worker.encode(item)).collect();
        self.rival.engine.commit(pairs?)
    }
}

impl Reader for Caller<'_> {
    fn timeline(&mut self, name: &str) -> Result<Seen> {
        let pseudonym = self.rival.codec.pseudonym(name);
        let mut seen = Seen::default();
        self.rival.engine.range(&pseudonym, &after(&pseudonym), &mut |key, value| {
            seen.note(self.worker.decode(key, value)?);
            Ok(())
        })?;
        Ok(seen)
    }

    fn get(&mut self, item: &Item<'_>) -> Result<Seen> {
        let key = key(&self.rival.codec.pseudonym(item.name), item);
        let mut seen = Seen::default();
        self.rival.engine.get(&key, &mut |key, value| {
            seen.note(self.worker.decode(key, value)?);
            Ok(())
        })?;
        Ok(seen)
    }
}
