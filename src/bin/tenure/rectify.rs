//! `tenure rectify`: another body stands in the place of a record's, and the history keeps both.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::json;
use tenure::{Acting, BODY_LIMIT, BodyKind, RecordId};

use crate::cli::{Global, parse_id};
use crate::erase::WAIT;
use crate::failure::{Exit, Failure, Outcome};
use crate::json::on_one_line;
use crate::output::Output;

#[derive(Args)]
pub struct RectifyArgs {
    /// Whose record.
    pub customer: String,
    /// Its id, or that of any of its versions.
    #[arg(value_parser = parse_id)]
    pub id: RecordId,
    /// The file that is the new body, of the same kind as the old one; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
}

pub fn rectify(global: &Global, args: &RectifyArgs, output: &mut Output) -> Outcome {
    let body = read(&args.body)?;
    let (store, _) = global.open_or_beside(output)?;
    let amended = amend(&store, args, &body);
    let closed = store.close();
    let id = amended?;
    closed?;
    let people = [("id", id.to_string()), ("amends", args.id.to_string())];
    output.facts(&people, json!({ "id": id.to_string(), "amends": args.id.to_string() }))?;
    Ok(Exit::Done)
}

fn amend(store: &Acting, args: &RectifyArgs, body: &[u8]) -> Result<RecordId, Failure> {
    // A body of another kind would be kept, and never be read as what it is said to be.
    if let Some(stored) = store.get(&args.customer, args.id)? {
        let text = std::str::from_utf8(body);
        let fits = match stored.kind {
            BodyKind::Json => text.is_ok_and(|json| serde_json::from_str::<IgnoredAny>(json).is_ok()),
            BodyKind::Text => text.is_ok(),
            BodyKind::Bytes => true,
        };
        if !fits {
            let kind = if stored.kind == BodyKind::Json { "JSON" } else { "text in UTF-8" };
            let message = format!("nothing was changed: the record is {kind}, and the new body is not");
            return Err(Failure::usage(message).hint("give the whole body as it should have been"));
        }
        if let (BodyKind::Json, Ok(json)) = (stored.kind, text) {
            // Files are written with line ends, at least the last.
            return Ok(store.request_rectify(&args.customer, args.id, on_one_line(json).as_bytes(), WAIT)?);
        }
    }
    Ok(store.request_rectify(&args.customer, args.id, body, WAIT)?)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::file("read", file, &error);
    let input: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file).map_err(failed)?),
    };
    let mut body = Vec::new();
    input.take(BODY_LIMIT as u64 + 1).read_to_end(&mut body).map_err(failed)?;
    Ok(body)
}
