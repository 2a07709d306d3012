//! What goes to standard output, in the form that was asked for; and the words that go to standard error.
//!
//! It owns the two streams. It never decides what is said.

use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use crate::cli::{Format, Global};
use crate::failure::Failure;

/// Version of the JSON documents. It grows when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Standard output in one form, and standard error for people.
pub struct Output {
    format: Option<Format>,
    stdout: BufWriter<io::Stdout>,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        let format = if global.json { Some(Format::Json) } else { global.format };
        Output { format, stdout: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// The form of a summary: for people unless asked otherwise.
    pub fn format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// The form of records: for people on a terminal, in the form of `ingest` when a program or a file reads it.
    pub fn record_format(&self) -> Format {
        let usual = if io::stdout().is_terminal() { Format::Table } else { Format::Jsonl };
        self.format.unwrap_or(usual)
    }

    /// Whether a program is reading, so that standard error carries nothing but one error object.
    pub fn is_for_programs(&self) -> bool {
        matches!(self.format, Some(Format::Json | Format::Jsonl))
    }

    /// A message for people, on standard error. Nothing in JSON mode.
    pub fn say(&self, words: impl std::fmt::Display) {
        if !self.is_for_programs() {
            let _ = writeln!(io::stderr(), "{words}"); // Nobody is left to tell that telling failed.
        }
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| Failure::stdout(&error))
    }

    /// One line of text.
    pub fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(|error| Failure::stdout(&error))
    }

    /// One JSON document, with the schema version in front: indented, or on one line for JSON Lines.
    pub fn document(&mut self, document: Value) -> Result<(), Failure> {
        let mut whole = Map::new();
        whole.insert("schema_version".into(), json!(SCHEMA_VERSION));
        match document {
            Value::Object(fields) => whole.extend(fields),
            other => drop(whole.insert("value".into(), other)),
        }
        let text = match self.format {
            Some(Format::Jsonl) => serde_json::to_string(&whole),
            _ => serde_json::to_string_pretty(&whole),
        };
        self.line(text.expect("names are strings, and every number is finite"))
    }

    /// A table for people.
    pub fn sheet(&mut self, sheet: &Sheet) -> Result<(), Failure> {
        self.line(sheet.to_text())
    }

    /// Objects as comma-separated values, in the order of `columns`; a missing or null field is empty.
    pub fn csv<'a>(&mut self, columns: &[&str], objects: impl IntoIterator<Item = &'a Value>) -> Result<(), Failure> {
        let failed = |error: csv::Error| Failure::stdout(&io::Error::other(error));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(columns).map_err(failed)?;
        for object in objects {
            let cells = columns.iter().map(|column| match &object[*column] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            writer.write_record(cells).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| Failure::stdout(error.error()))?;
        self.bytes(&bytes)
    }

    /// A result of named facts: a two-column table for people, a row in CSV, a document in JSON.
    pub fn facts(&mut self, people: &[(&str, String)], document: Value) -> Result<(), Failure> {
        match self.format() {
            Format::Table => {
                let width = people.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                people.iter().try_for_each(|(name, value)| self.line(format_args!("{name:width$}  {value}")))
            }
            Format::Json | Format::Jsonl => self.document(document),
            Format::Csv => {
                let columns: Vec<&str> =
                    document.as_object().into_iter().flat_map(|o| o.keys()).map(|k| &**k).collect();
                self.csv(&columns, [&document])
            }
        }
    }

    /// Sends out what is still held back.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::stdout(&error))
    }
}

/// Rows under headings, for people.
pub struct Sheet {
    headings: Vec<&'static str>,
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// A heading that ends in `#` is of a column of numbers, which stand to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Sheet {
            headings: headings.iter().map(|heading| heading.trim_end_matches('#')).collect(),
            numeric: headings.iter().map(|heading| heading.ends_with('#')).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Plain text without borders or colours, so that it reads the same in a terminal, a log and a mail.
    fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.headings);
        table.add_rows(&self.rows);
        for (index, numeric) in self.numeric.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, 2));
                if *numeric {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.lines().map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
    }
}
