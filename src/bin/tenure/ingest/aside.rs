//! Lines that did not become records: counted, the first few named, and kept in a file where one was given.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tenure::{Record, RefusalReason};

use super::source::Bad;
use crate::failure::Failure;
use crate::line;
use crate::progress::Voice;

/// How many are named; the rest are counted.
const NAMED: usize = 10;

/// What was set aside from one source.
pub struct Aside {
    label: String,
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
    dirty: bool,
    named: Vec<(u64, String)>,
    /// Records that the store refused.
    pub refused: u64,
    /// Lines that are no records.
    pub bad: u64,
}

impl Aside {
    pub fn new(label: String, path: Option<PathBuf>) -> Self {
        Aside { label, path, file: None, dirty: false, named: Vec::new(), refused: 0, bad: 0 }
    }

    /// The file that collects them, where one was given.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The first few, for programs.
    pub fn named(&self) -> Vec<Value> {
        self.named.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect()
    }

    /// A line that is no record, kept as it came.
    pub fn bad(&mut self, line: u64, bad: &Bad, voice: &Voice<'_>) -> Result<(), Failure> {
        self.bad += 1;
        self.name(line, bad.fault.to_string(), voice);
        self.keep(&[&bad.raw, &b"\n"[..]].concat())
    }

    /// A record that the store refused, kept in the form of `ingest`.
    pub fn refused(
        &mut self,
        line: u64,
        record: &Record,
        reason: RefusalReason,
        voice: &Voice<'_>,
    ) -> Result<(), Failure> {
        self.refused += 1;
        self.name(line, format!("refused: {reason}"), voice);
        let mut text = Vec::new();
        line::print_record(&mut text, record);
        self.keep(&text)
    }

    fn name(&mut self, line: u64, reason: String, voice: &Voice<'_>) {
        match self.named.len() {
            NAMED => {}
            _ => {
                voice.say(format_args!("{}:{line}: {reason}", self.label));
                self.named.push((line, reason));
            }
        }
        if self.named.len() == NAMED && self.refused + self.bad == NAMED as u64 {
            voice.say("(further ones are only counted)");
        }
    }

    /// Adds to the file, behind what an earlier run left there.
    fn keep(&mut self, text: &[u8]) -> Result<(), Failure> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let failed = |error: std::io::Error| Failure::file("write", &path, &error);
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
            self.file = Some(BufWriter::new(file));
        }
        self.dirty = true;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text)).map_err(failed)
    }

    /// Makes what was kept durable.
    pub fn sync(&mut self) -> Result<(), Failure> {
        if let (Some(file), Some(path), true) = (&mut self.file, &self.path, self.dirty) {
            let synced = file.flush().and_then(|()| file.get_ref().sync_data());
            synced.map_err(|error| Failure::file("write", path, &error))?;
            self.dirty = false;
        }
        Ok(())
    }
}
