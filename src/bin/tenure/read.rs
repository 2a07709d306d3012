//! The commands that print records: timeline, get, grep, scan.
//!
//! They open the store for reading only, and print each record as it comes, so that a long answer needs no memory.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::ops::{Bound, ControlFlow, Range};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tenure::{Acting, BodyKind, Recording, ScanFilter, Stored, Stream, Timestamp};

use crate::aggregate::aggregate;
use crate::cli::{Between, Format, GetArgs, Global, GrepArgs, ScanArgs, TimelineArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::json::indented;
use crate::line;
use crate::output::{Output, SCHEMA_VERSION};
use crate::progress::threads;
use crate::words::{bytes, harmless, preview};

/// Bytes of a large body that are printed at once.
const PIECE: usize = 1 << 20;
/// Characters of the body in a table row.
const PREVIEW: usize = 64;
const COLUMNS: [&str; 7] = ["at", "class", "jurisdiction", "customer", "id", "kind", "body"];

impl Between {
    fn range(&self) -> Result<(Bound<Timestamp>, Bound<Timestamp>), Failure> {
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from >= until
        {
            return Err(Failure::usage("--from is not before --until, so no time lies between them"));
        }
        let from = self.from.map_or(Bound::Unbounded, Bound::Included);
        Ok((from, self.until.map_or(Bound::Unbounded, Bound::Excluded)))
    }
}

pub fn timeline(global: &Global, args: &TimelineArgs, output: &mut Output) -> Outcome {
    let range = args.between.range()?;
    let store = global.open_read_only()?;
    let (which, records) = match (args.held, args.restricted, args.history) {
        (true, ..) => (Which::Held, store.held(&args.customer)?),
        (_, true, _) => (Which::Restricted, store.restricted(&args.customer)?),
        (.., true) => (Which::History, store.history(&args.customer)?),
        _ => (Which::Readable, store.timeline(&args.customer, range)?),
    };
    print_all(Bodies { store: &store, which }, records, false, output)
}

pub fn grep(global: &Global, args: &GrepArgs, output: &mut Output) -> Outcome {
    let range = args.between.range()?;
    let store = global.open_read_only()?;
    let bodies = Bodies { store: &store, which: Which::Readable };
    print_all(bodies, store.grep(&args.customer, &args.pattern, range)?, false, output)
}

pub fn scan(global: &Global, args: &ScanArgs, output: &mut Output) -> Outcome {
    args.between.range()?;
    if args.sums.aggregate {
        return aggregate(global, &args.sums, threads(args.threads), output);
    }
    let store = global.open_read_only()?;
    let filter = |stream| ScanFilter { stream, from: args.between.from, until: args.between.until };
    let filters: Vec<ScanFilter> = match (&args.class, &args.jurisdiction) {
        (None, None) => vec![filter(None)],
        _ => matching_streams(&store, args)?.into_iter().map(|stream| filter(Some(stream))).collect(),
    };
    match threads(args.threads) {
        1 => {
            let scans: tenure::Result<Vec<_>> = filters.into_iter().map(|filter| store.scan(filter)).collect();
            print_all(Bodies { store: &store, which: Which::Readable }, scans?.into_iter().flatten(), true, output)
        }
        threads => print_scans(&store, filters, threads, output),
    }
}

/// The streams of the store that the class, the jurisdiction or both name.
fn matching_streams(store: &Acting, args: &ScanArgs) -> Result<BTreeSet<Stream>, Failure> {
    let (class, jurisdiction) = (args.class.as_deref(), args.jurisdiction.as_deref());
    Stream::new(class.unwrap_or("any"), jurisdiction.unwrap_or("any"))?;
    let partitions = store.stats()?.partitions.into_iter().map(|partition| partition.partition.stream);
    let wanted = |stream: &Stream| {
        class.is_none_or(|class| class == stream.class())
            && jurisdiction.is_none_or(|jurisdiction| jurisdiction == stream.jurisdiction())
    };
    Ok(partitions.filter(wanted).collect())
}

pub fn get(global: &Global, args: &GetArgs, output: &mut Output) -> Outcome {
    let store = global.open_read_only()?;
    let bodies = Bodies { store: &store, which: Which::Readable };
    let Some(stored) = store.get(&args.customer, args.id)? else {
        let hint = "`tenure timeline CUSTOMER` lists the ids of a customer's records";
        return Err(Failure::failed("there is no such record of this customer").hint(hint));
    };
    if args.body {
        let risky = stored.kind == BodyKind::Bytes || std::str::from_utf8(&stored.body).is_err();
        if risky && std::io::stdout().is_terminal() {
            return Err(Failure::usage("the body is binary, and standard output is a terminal").hint("add > FILE"));
        }
        let range = args.range.map_or(0..stored.length(), |(first, last)| first..(last + 1).min(stored.length()));
        if range.start > range.end {
            let length = stored.length();
            return Err(Failure::usage(format!("--range begins beyond the body, which is {length} bytes long")));
        }
        bodies.stream(&stored, range, &mut |piece| output.bytes(piece))?;
    } else if output.record_format() == Format::Table {
        print_one(&stored, output)?;
    } else {
        print_all(bodies, [Ok(stored)].into_iter(), false, output)?;
    }
    Ok(Exit::Done)
}

/// One record in full, for people.
fn print_one(stored: &Stored, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("id            {}", stored.id))?;
    output.line(format_args!("customer      {}", harmless(stored.customer.expose())))?;
    output.line(format_args!("stream        {}", stored.stream))?;
    output.line(format_args!("at            {}", stored.at))?;
    output.line(format_args!("kind          {}, {}", kind_name(stored.kind), bytes(stored.length())))?;
    output.line("")?;
    match (stored.kind, std::str::from_utf8(&stored.body)) {
        _ if stored.large.is_some() => output.line("(too long to be shown; --body writes it to a file)"),
        (BodyKind::Bytes, _) | (_, Err(_)) => {
            output.line("(binary; --body writes it to a file, --format jsonl prints it in base64)")
        }
        (BodyKind::Json, Ok(text)) => print_lines(&indented(text), output),
        (BodyKind::Text, Ok(text)) => print_lines(text, output),
    }
}

fn print_lines(text: &str, output: &mut Output) -> Result<(), Failure> {
    text.lines().try_for_each(|text| output.line(harmless(text)))
}

/// Which records are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// What anybody reads.
    Readable,
    /// What a hold keeps, whatever has expired.
    Held,
    /// What an erasure has left.
    Restricted,
    /// Every version of what was put right.
    History,
}

/// Where the bodies of printed records are read from.
#[derive(Clone, Copy)]
struct Bodies<'a> {
    store: &'a Acting,
    which: Which,
}

impl Bodies<'_> {
    fn open(&self, stored: &Stored) -> Result<Recording, Failure> {
        let (customer, id) = (stored.customer.expose(), stored.id);
        let body = match self.which {
            Which::Readable => self.store.body(customer, id),
            Which::Held => self.store.held_body(customer, id),
            Which::Restricted => self.store.restricted_body(customer, id),
            Which::History => self.store.history_body(customer, id),
        };
        body?.ok_or_else(gone)
    }

    /// Hands on what lies in `range` of a body, a piece at a time.
    fn stream(
        &self,
        stored: &Stored,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut body = self.open(stored)?;
        let mut buffer = vec![0; PIECE.min(usize::try_from(range.end - range.start).unwrap_or(PIECE))];
        let mut offset = range.start;
        while offset < range.end {
            let wanted = (range.end - offset).min(buffer.len() as u64) as usize;
            match body.read_at(offset, &mut buffer[..wanted])? {
                0 => return Err(gone()),
                count => {
                    take(&buffer[..count])?;
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// A record whose body did not come with it, as a line, passed on piece by piece.
    fn print(&self, stored: &Stored, output: &mut Output) -> Result<(), Failure> {
        let form = line::Form::of(stored.kind, self.open(stored)?).map_err(unread)?;
        let (head, tail) = line::around(stored, form);
        output.bytes(&head)?;
        let mut rest = Vec::new();
        self.stream(stored, 0..stored.length(), &mut |piece| output.bytes(&form.piece(piece, &mut rest)))?;
        output.bytes(&form.last(&rest))?;
        output.bytes(&tail)
    }
}

fn gone() -> Failure {
    Failure::failed("a record was let go of while it was read").hint("run the command again")
}

/// Errors of reading a body carry the store's inside.
fn unread(error: io::Error) -> Failure {
    let said = error.to_string();
    match error.into_inner().and_then(|inner| inner.downcast::<tenure::Error>().ok()) {
        Some(inner) => Failure::from(*inner),
        None => Failure::failed(said),
    }
}

fn print_all(
    bodies: Bodies<'_>,
    records: impl Iterator<Item = tenure::Result<Stored>>,
    with_customer: bool,
    output: &mut Output,
) -> Outcome {
    let mut list = List::open(with_customer, output)?;
    let mut buffer = Vec::new();
    for stored in records {
        let stored = stored.inspect_err(|_| drop(list.output.flush()))?;
        buffer.clear();
        print_record(list.form, with_customer, &stored, &mut buffer)?;
        mark(list.form, &stored, bodies.which, &mut buffer);
        list.add(bodies, &stored, &buffer)?;
    }
    list.close()
}

/// Scans on many threads, each of which makes its records ready to print.
fn print_scans(store: &Acting, filters: Vec<ScanFilter>, threads: usize, output: &mut Output) -> Outcome {
    let bodies = Bodies { store, which: Which::Readable };
    let list = Mutex::new(List::open(true, output)?);
    let form = list.lock().unwrap_or_else(PoisonError::into_inner).form;
    for filter in filters {
        let scanned = store.scan_parallel(filter, threads, |stored| {
            let mut buffer = Vec::new();
            let printed = print_record(form, true, &stored, &mut buffer)
                .and_then(|()| list.lock().unwrap_or_else(PoisonError::into_inner).add(bodies, &stored, &buffer));
            printed.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        });
        if let ControlFlow::Break(failure) =
            scanned.inspect_err(|_| drop(list.lock().unwrap_or_else(PoisonError::into_inner).output.flush()))?
        {
            return Err(failure);
        }
    }
    list.into_inner().unwrap_or_else(PoisonError::into_inner).close()
}

/// Records while they are printed.
struct List<'a> {
    output: &'a mut Output,
    form: Format,
    printed: u64,
}

impl<'a> List<'a> {
    fn open(with_customer: bool, output: &'a mut Output) -> Result<Self, Failure> {
        let form = output.record_format();
        open_list(form, with_customer, output)?;
        Ok(List { output, form, printed: 0 })
    }

    /// A record made ready to print; large bodies are fetched only here.
    fn add(&mut self, bodies: Bodies<'_>, stored: &Stored, printed: &[u8]) -> Result<(), Failure> {
        if self.form == Format::Json {
            self.output.bytes(if self.printed == 0 { b"\n    " } else { b",\n    " })?;
        }
        self.printed += 1;
        match (self.form, stored.large) {
            (Format::Json | Format::Jsonl, Some(_)) => bodies.print(stored, self.output),
            _ => self.output.bytes(printed),
        }
    }

    fn close(self) -> Outcome {
        match self.form {
            Format::Json => self.output.line(if self.printed == 0 { "]\n}" } else { "\n  ]\n}" })?,
            Format::Table if self.printed == 0 => self.output.say("no records"),
            _ => {}
        }
        Ok(Exit::Done)
    }
}

fn print_record(form: Format, with_customer: bool, stored: &Stored, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    match form {
        Format::Table => table_row(buffer, stored, with_customer),
        Format::Json | Format::Jsonl if stored.large.is_some() => {}
        Format::Jsonl => line::print(buffer, stored),
        Format::Json => {
            line::print(buffer, stored);
            buffer.pop();
        }
        Format::Csv => csv_row(buffer, stored)?,
    }
    Ok(())
}

/// Says of a version which one it amends, where all of them are shown. Lines that say so are no input for `ingest`: there a
/// record is what it is now.
fn mark(form: Format, stored: &Stored, which: Which, buffer: &mut Vec<u8>) {
    let Some(amends) = stored.amends.filter(|_| which == Which::History) else { return };
    let (end, words) = match form {
        Format::Table => ("\n", format!("  (amends {amends})\n")),
        Format::Jsonl => ("}\n", format!(",\"amends\":\"{amends}\"}}\n")),
        Format::Json => ("}", format!(",\"amends\":\"{amends}\"}}")),
        Format::Csv => return,
    };
    if buffer.ends_with(end.as_bytes()) {
        buffer.truncate(buffer.len() - end.len());
        buffer.extend_from_slice(words.as_bytes());
    }
}

fn open_list(form: Format, with_customer: bool, output: &mut Output) -> Result<(), Failure> {
    match form {
        Format::Jsonl => Ok(()),
        Format::Json => {
            output.bytes(format!("{{\n  \"schema_version\": {SCHEMA_VERSION},\n  \"records\": [").as_bytes())
        }
        Format::Csv => output.csv(&COLUMNS, []),
        Format::Table => {
            let customer = if with_customer { "customer          " } else { "" };
            let head = format!("{:27}  {:22}  {customer}{:36}  kind   begins", "at", "stream", "id");
            output.line(head)
        }
    }
}

fn table_row(buffer: &mut Vec<u8>, stored: &Stored, with_customer: bool) {
    let customer = match with_customer {
        true => format!("{:16}  ", harmless(stored.customer.expose())),
        false => String::new(),
    };
    let (at, stream, kind) = (stored.at.to_string(), stored.stream.to_string(), kind_name(stored.kind));
    let words = match stored.large {
        Some(length) => format!("({}, too long to be shown)", bytes(length)),
        None => preview(stored.kind, &stored.body, PREVIEW),
    };
    let row = format!("{at:27}  {stream:22}  {customer}{}  {kind:5}  {words}\n", stored.id);
    buffer.extend_from_slice(row.as_bytes());
}

/// Bytes stand in base64; JSON and text as they are; of a large body the kind `large` and nothing.
fn csv_row(buffer: &mut Vec<u8>, stored: &Stored) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(buffer);
    let (kind, body) = match (stored.kind, std::str::from_utf8(&stored.body)) {
        _ if stored.large.is_some() => ("large", String::new()),
        (BodyKind::Bytes, _) | (_, Err(_)) => ("bytes", STANDARD.encode(&stored.body)),
        (kind, Ok(text)) => (kind_name(kind), text.to_string()),
    };
    let (at, id) = (stored.at.to_string(), stored.id.to_string());
    let (class, jurisdiction) = (stored.stream.class(), stored.stream.jurisdiction());
    let cells = [&at, class, jurisdiction, stored.customer.expose(), &id, kind, &body];
    let written = writer.write_record(cells).and_then(|()| Ok(writer.flush()?));
    written.map_err(|error| Failure::failed(format!("cannot write CSV: {error}")))
}

fn kind_name(kind: BodyKind) -> &'static str {
    match kind {
        BodyKind::Json => "json",
        BodyKind::Text => "text",
        BodyKind::Bytes => "bytes",
    }
}
