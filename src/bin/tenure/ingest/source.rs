//! Where lines come from: a file or standard input, plain or compressed, read and parsed on a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use tenure::Record;

use super::lanes::Lanes;
use crate::failure::Failure;
use crate::line::{self, Fault};

/// The longest line, in bytes: a body of 1 GiB in base64, and room for the other fields. What is longer comes in by `tenure put`.
const LINE_LIMIT: u64 = (1 << 30) / 3 * 4 + (64 << 10);
/// How much of the first line goes into the name of a source.
const NAME_BYTES: u64 = 256;
/// Lines, and bytes of them, that travel from the reading thread at once; and how many such chunks may wait.
const CHUNK_LINES: usize = 128;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_WAITING: usize = 8;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A line that is no record, as it came.
pub struct Bad {
    pub raw: Vec<u8>,
    pub fault: Fault,
}

/// What the reading thread tells, with the line number from one.
pub enum Item {
    Line(u64, Result<Record, Bad>),
    /// An empty line: nothing, but it counts.
    Blank(u64),
    /// The input ended before the line after which it was to go on; it has this many lines.
    Shorter(u64),
    /// Reading failed after this line.
    Failed(u64, io::Error),
}

type Reader = Box<dyn BufRead + Send>;
/// Opens the reader, on the reading thread; what is read live passes on what it has before it waits for more.
type Start = Box<dyn FnOnce(&Arc<Mutex<Sink>>) -> io::Result<Reader> + Send>;

/// An input, not yet read.
pub struct Source {
    /// Under which its progress is kept, if at all.
    pub name: Option<String>,
    /// How messages call it.
    pub label: String,
    /// Its length in bytes as it lies on disk, where known.
    pub length: Option<u64>,
    /// Bytes read from it so far.
    pub read: Arc<AtomicU64>,
    start: Start,
}

impl Source {
    /// Opens `file`, or standard input for `-`. A file that nobody named is named by its path and its first line, so
    /// that another file under the same path is not mistaken for the rest of the first.
    pub fn open(file: &Path, name: Option<&str>) -> Result<Self, Failure> {
        if file == Path::new("-") {
            return Ok(Source::live(io::stdin(), "-".into(), name));
        }
        let failed = |error: io::Error| Failure::file("read", file, &error);
        let opened = File::open(file).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        let label = file.display().to_string();
        if metadata.is_dir() {
            return Err(Failure::failed(format!("{label} is a directory, not a file of JSON Lines"))
                .hint("name one of its files, or pipe them in: cat DIR/* | tenure ingest -"));
        }
        if !metadata.is_file() {
            return Ok(Source::live(opened, label, name));
        }
        let read = Arc::new(AtomicU64::new(0));
        let mut reader = decoded(Counted { inner: opened, read: read.clone(), sink: None }).map_err(failed)?;
        let mut head = Vec::new();
        reader.by_ref().take(NAME_BYTES).read_to_end(&mut head).map_err(failed)?;
        let own = own_name(&file.canonicalize().map_err(failed)?, &head);
        let name = Some(name.map_or(own, str::to_string));
        let start: Start = Box::new(move |_| Ok(Box::new(Cursor::new(head).chain(reader))));
        Ok(Source { name, label, length: Some(metadata.len()), read, start })
    }

    /// A pipe or a terminal: its first byte may be long in coming, and it cannot be told from another.
    fn live(inner: impl Read + Send + 'static, label: String, name: Option<&str>) -> Self {
        let read = Arc::new(AtomicU64::new(0));
        let counter = read.clone();
        let start: Start = Box::new(move |sink| decoded(Counted { inner, read: counter, sink: Some(sink.clone()) }));
        Source { name: name.map(str::to_string), label, length: None, read, start }
    }

    /// Starts reading; lines that are `taken` already are passed over. The thread ends when the input does, or when
    /// nobody listens any more.
    pub fn into_items(self, taken: Lanes) -> Receiver<Vec<Item>> {
        let (sender, receiver) = sync_channel(CHUNKS_WAITING);
        thread::spawn(move || {
            let sink = Arc::new(Mutex::new(Sink { sender, chunk: Vec::new(), bytes: 0 }));
            let mut line = 0;
            let read = (self.start)(&sink).and_then(|mut reader| read_lines(&mut *reader, taken, &mut line, &sink));
            let mut sink = Sink::of(&sink);
            if let Err(error) = read {
                sink.give(Item::Failed(line, error), 0);
            }
            sink.pass_on();
        });
        receiver
    }
}

fn own_name(path: &Path, head: &[u8]) -> String {
    let first_line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    format!("{}\n{}", path.display(), String::from_utf8_lossy(first_line))
}

/// Counts what is read, for the progress bar, and passes on finished lines before it waits for more.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
    sink: Option<Arc<Mutex<Sink>>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(sink) = &self.sink {
            Sink::of(sink).pass_on();
        }
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Decompresses what begins like gzip or zstd; file names are not trusted.
fn decoded(input: impl Read + Send + 'static) -> io::Result<Reader> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, input);
    let head = reader.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let decoder = flate2::bufread::MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    Ok(Box::new(reader))
}

/// Items on their way to the lanes.
struct Sink {
    sender: SyncSender<Vec<Item>>,
    chunk: Vec<Item>,
    bytes: usize,
}

impl Sink {
    fn of(shared: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
        shared.lock().expect("no holder of this lock panics")
    }

    /// Whether somebody still listens.
    fn give(&mut self, item: Item, bytes: usize) -> bool {
        self.chunk.push(item);
        self.bytes += bytes;
        match self.chunk.len() >= CHUNK_LINES || self.bytes >= CHUNK_BYTES {
            true => self.pass_on(),
            false => true,
        }
    }

    fn pass_on(&mut self) -> bool {
        self.bytes = 0;
        let chunk = std::mem::take(&mut self.chunk);
        chunk.is_empty() || self.sender.send(chunk).is_ok()
    }
}

fn read_lines(reader: &mut dyn BufRead, taken: Lanes, line: &mut u64, sink: &Mutex<Sink>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if taken.has(*line + 1) {
            if reader.skip_until(b'\n')? == 0 {
                Sink::of(sink).give(Item::Shorter(*line), 0);
                return Ok(());
            }
            *line += 1;
            continue;
        }
        buffer.clear();
        if (&mut *reader).take(LINE_LIMIT).read_until(b'\n', &mut buffer)? == 0 {
            return Ok(());
        }
        let whole = buffer.len() as u64 != LINE_LIMIT || buffer.ends_with(b"\n");
        if !whole {
            reader.skip_until(b'\n')?;
        }
        *line += 1;
        let item = understand(*line, &buffer, whole);
        if !Sink::of(sink).give(item, buffer.len()) {
            return Ok(());
        }
    }
}

fn understand(number: u64, raw: &[u8], whole: bool) -> Item {
    let text = raw.strip_suffix(b"\n").unwrap_or(raw);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Item::Blank(number);
    }
    let parsed = match whole {
        true => line::parse(text),
        false => Err(Fault { field: None, reason: format!("longer than {LINE_LIMIT} bytes") }),
    };
    Item::Line(number, parsed.map_err(|fault| Bad { raw: text.to_vec(), fault }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LINE: &str = r#"{"customer":"c","class":"chat","jurisdiction":"EU","at":"2025-01-01T00:00:00Z","body":1}"#;

    fn read(bytes: &[u8], taken: u64) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, bytes).unwrap();
        let mut lanes = Lanes::default();
        lanes.advance(0, taken);
        let items = Source::open(&path, None).unwrap().into_items(lanes);
        let told = |item: Item| match item {
            Item::Line(line, Ok(_)) => format!("{line} good"),
            Item::Line(line, Err(bad)) => format!("{line} bad {}", bad.raw.len()),
            Item::Blank(line) => format!("{line} blank"),
            Item::Shorter(lines) => format!("only {lines}"),
            Item::Failed(line, _) => format!("failed after {line}"),
        };
        items.into_iter().flatten().map(told).collect()
    }

    #[test]
    fn lines_are_counted_whatever_is_in_them() {
        let text = format!("{LINE}\r\n\nbad\n{LINE}");
        assert_eq!(read(text.as_bytes(), 0), ["1 good", "2 blank", "3 bad 3", "4 good"]);
        assert_eq!(read(text.as_bytes(), 3), ["4 good"]);
        assert_eq!(read(text.as_bytes(), 4), [""; 0]);
        assert_eq!(read(text.as_bytes(), 9), ["only 4"]);
        assert_eq!(read(b"", 0), [""; 0]);
    }

    #[test]
    fn compression_is_seen_in_the_bytes_and_a_cut_file_is_an_error() {
        let text = format!("{LINE}\n{LINE}\n");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
        for packed in [&gzip, &zstd] {
            assert_eq!(read(packed, 0), ["1 good", "2 good"]);
            assert_eq!(read(packed, 1), ["2 good"]);
            let twice = [&packed[..], &packed[..]].concat();
            assert_eq!(read(&twice, 3), ["4 good"]);
        }
        let mut many = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        many.write_all(text.repeat(1000).as_bytes()).unwrap();
        let many = many.finish().unwrap();
        let told = read(&many[..many.len() / 2], 0);
        assert!(told.last().unwrap().starts_with("failed after"), "{:?}", told.last());
    }

    #[test]
    fn a_source_is_named_by_path_and_first_line() {
        let path = Path::new("/data/a");
        assert_eq!(own_name(path, b"one\ntwo"), own_name(path, b"one\nthree"));
        assert_ne!(own_name(path, b"one\n"), own_name(path, b"two\n"));
    }
}
