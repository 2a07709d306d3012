//! `tenure put`: one record from a file of any kind and length, streamed into the store as it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tenure::{Acting, Record};

use crate::cli::{Global, PutArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::progress::Voice;
use crate::words::{bytes, duration, rate};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

pub fn put(global: &Global, args: &PutArgs, output: &mut Output) -> Outcome {
    let record = Record::new(&args.customer, &args.class, &args.jurisdiction, args.at, "")?;
    let record = Record { id: args.id, ..record };
    let (input, length) = open(&args.file)?;
    let store = global.open(output)?;
    let began = Instant::now();
    let stored = take_in(&store, record, args, (input, length), output);
    let closed = store.close();
    let (id, size) = stored?;
    closed?;
    let took = began.elapsed();
    output.say(format_args!("stored {} in {} ({})", bytes(size), duration(took), rate(size, took)));
    let people = [("id", id.to_string()), ("bytes", size.to_string())];
    output.facts(&people, json!({ "id": id.to_string(), "raw_bytes": size }))?;
    Ok(Exit::Done)
}

type Input = (Box<dyn Read>, Option<u64>);

fn open(file: &Path) -> Result<Input, Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let failed = |error: io::Error| Failure::file("read", file, &error);
    let opened = File::open(file).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    match metadata.is_dir() {
        true => Err(Failure::failed(format!("{} is a directory, not a file", file.display()))
            .hint("name the file that is the body, or - for standard input")),
        false => Ok((Box::new(opened), metadata.is_file().then_some(metadata.len()))),
    }
}

fn take_in(
    store: &Acting,
    record: Record,
    args: &PutArgs,
    (mut input, length): Input,
    output: &Output,
) -> Result<(tenure::RecordId, u64), Failure> {
    let voice = Voice::new("storing", length, output);
    let (bar, mut upload) = (voice.bar(), store.upload(record)?);
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                voice.end();
                return Err(Failure::file("read", &args.file, &error).hint("nothing was stored; run the command again"));
            }
        };
        upload.add(&buffer[..count])?;
        bar.progress(upload.length(), length.unwrap_or(upload.length()));
    }
    let size = upload.length();
    let (id, commit) = upload.finish()?;
    commit.wait()?;
    voice.end();
    Ok((id, size))
}
