//! `tenure audit`: who did what, and proofs that nothing on record was changed since.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure::env::{Env, disk::Disk};
use tenure::report::{AccessReport, AccessUse, Audit};
use tenure::{AccessFilter, CustomerId, RIGHTS, Right, Timestamp};

use crate::cli::{Format, Global, parse_time};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{count, counted, harmless};

/// No checkpoint, key or proof is longer.
const TEXT_LIMIT: u64 = 64 << 20;
const COLUMNS: [&str; 9] =
    ["at", "actor", "role", "role_taken", "purpose", "action", "outcome", "everybody", "subjects"];

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Who did what: every use of the store through a role, newest last.
    Log(LogArgs),
    /// Check ledger and access logs against a checkpoint that was kept elsewhere; without one, only against themselves.
    Verify(AuditVerifyArgs),
    /// Print a signed checkpoint (C2SP tlog-checkpoint). Keep it where whoever can write to the store cannot.
    Checkpoint {
        /// Write it to a new file instead.
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the proof that a leaf is in the ledger.
    Prove {
        /// The number of the leaf, from 0.
        index: u64,
    },
    /// Print the public key that checkpoints and receipts are verified with.
    Key,
}

#[derive(Args)]
pub struct LogArgs {
    /// Only what was about this customer, or about everybody. Of somebody who was erased nothing is told.
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// Only what this actor did.
    #[arg(long = "by", value_name = "ACTOR")]
    pub by: Option<String>,
    /// Only this: timeline, get, erase and so on.
    #[arg(long, value_name = "ACTION", value_parser = parse_right)]
    pub action: Option<Right>,
    /// Only from this time on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Timestamp>,
    /// Only before this time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// The newest so many.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub limit: usize,
}

#[derive(Args)]
pub struct AuditVerifyArgs {
    /// The checkpoint, from where it was kept; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// The public key, as `tenure audit key` printed it, or a file with it in it [default: what the keyring says it is].
    #[arg(long, value_name = "KEY|FILE", requires = "against")]
    pub key: Option<String>,
}

fn parse_right(text: &str) -> Result<Right, String> {
    let names = || RIGHTS.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ");
    RIGHTS.iter().copied().find(|right| right.name() == text).ok_or_else(|| format!("not one of {}", names()))
}

pub fn audit(global: &Global, command: &AuditCommand, output: &mut Output) -> Outcome {
    match command {
        AuditCommand::Log(args) => log(global, args, output),
        AuditCommand::Verify(args) => verify(global, args, output),
        AuditCommand::Checkpoint { out } => checkpoint(global, out.as_deref(), output),
        AuditCommand::Prove { index } => {
            let proof = global.open_read_only()?.prove(*index)?;
            output.bytes(proof.as_bytes())?;
            Ok(Exit::Done)
        }
        AuditCommand::Key => {
            let key = global.open_read_only()?.audit_key()?;
            match output.format() {
                Format::Table => output.line(&key)?,
                _ => output.facts(&[], json!({ "key": key }))?,
            }
            Ok(Exit::Done)
        }
    }
}

/// A text of the user's; - is standard input.
pub fn read_text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(TEXT_LIMIT).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|open| open.take(TEXT_LIMIT).read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::file("read", file, &error))?;
    Ok(text)
}

/// A public key, or what stands in the file of that name.
pub fn read_key(key: &str) -> Result<String, Failure> {
    match key.contains('+') {
        true => Ok(key.to_owned()),
        false => read_text(Path::new(key)).map(|text| text.trim().to_owned()),
    }
}

fn log(global: &Global, args: &LogArgs, output: &mut Output) -> Outcome {
    let customer = args.customer.as_deref().map(CustomerId::new).transpose()?;
    let (actor, right) = (args.by.clone(), args.action);
    let filter = AccessFilter { customer, actor, right, from: args.from, until: args.until, limit: args.limit };
    let report = global.open_read_only()?.access_log(&filter)?;
    print_log(&report, output)?;
    tell_rest(&report, output);
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

fn to_json(one: &AccessUse) -> Value {
    json!({
        "at": one.at.to_string(),
        "actor": one.actor,
        "role": one.role.name(),
        "role_taken": one.role_taken,
        "purpose": one.purpose,
        "action": one.right.name(),
        "outcome": one.outcome,
        "everybody": one.everybody,
        "subjects": one.subjects,
    })
}

fn print_log(report: &AccessReport, output: &mut Output) -> Result<(), Failure> {
    let documents = || report.uses.iter().map(to_json).collect::<Vec<_>>();
    match output.format() {
        Format::Json => {
            return output.document(json!({
                "uses": documents(), "more": report.more, "logs_closed": report.closed,
                "unfinished_bytes": report.unfinished_bytes, "damage": damage(&report.damage),
            }));
        }
        Format::Jsonl => return report.uses.iter().try_for_each(|one| output.line(to_json(one))),
        Format::Csv => {
            let flat = |mut one: Value| {
                let subjects = one["subjects"].as_array().into_iter().flatten().filter_map(Value::as_str);
                one["subjects"] = json!(subjects.collect::<Vec<_>>().join(" "));
                one
            };
            return output.csv(&COLUMNS, &documents().into_iter().map(flat).collect::<Vec<_>>());
        }
        Format::Table if report.uses.is_empty() => {
            output.say("nothing of that is on record");
            return Ok(());
        }
        Format::Table => {}
    }
    let mut sheet = Sheet::new(&["when", "who", "role", "did", "about", "outcome", "purpose"]);
    for one in &report.uses {
        let about = match (one.everybody, one.subjects.as_slice()) {
            (true, _) => "everybody".into(),
            (false, []) => "-".into(),
            (false, [subject]) => subject.chars().take(8).collect(),
            (false, many) => counted(many.len() as u64, "customer"),
        };
        let role = format!("{}{}", one.role, if one.role_taken { " (taken)" } else { "" });
        let (who, what_for) = (harmless(&one.actor).to_string(), harmless(&one.purpose).to_string());
        sheet.row([one.at.to_string(), who, role, one.right.to_string(), about, one.outcome.into(), what_for]);
    }
    output.sheet(&sheet)
}

fn tell_rest(report: &AccessReport, output: &Output) {
    if report.more {
        output.say("there are older ones: narrow it with --from and --until, or raise --limit");
    }
    if report.closed > 0 {
        let logs = counted(report.closed, "access log");
        output.say(format_args!("{logs} of months that are over cannot be read any more"));
    }
    report.damage.iter().for_each(|one| output.say(format_args!("damaged: {}: {}", one.path.display(), one.what)));
}

fn damage(damage: &[tenure::report::Damage]) -> Vec<Value> {
    let one = |one: &tenure::report::Damage| json!({ "path": one.path.display().to_string(), "offset": one.offset, "what": one.what });
    damage.iter().map(one).collect()
}

fn checkpoint(global: &Global, out: Option<&Path>, output: &mut Output) -> Outcome {
    let (store, beside) = global.open_or_beside(output)?;
    let checkpoint = store.checkpoint();
    let closed = store.close();
    let checkpoint = checkpoint?;
    closed?;
    if beside {
        output.say("of the access logs it covers what the process that holds the store has noted so far");
    }
    match out {
        None => output.bytes(checkpoint.as_bytes())?,
        Some(file) => {
            let failed = |error| Failure::file("write", file, &error);
            let mut new = std::fs::File::create_new(file).map_err(failed)?;
            std::io::Write::write_all(&mut new, checkpoint.as_bytes()).and_then(|()| new.sync_all()).map_err(failed)?;
        }
    }
    Ok(Exit::Done)
}

/// Opens the store only to learn its key, where none was given: what is checked needs none.
fn verify(global: &Global, args: &AuditVerifyArgs, output: &mut Output) -> Outcome {
    let note = args.against.as_deref().map(read_text).transpose()?;
    let key = match (&note, &args.key) {
        (None, _) => None,
        (Some(_), Some(key)) => Some(read_key(key)?),
        (Some(_), None) => Some(
            global
                .open_read_only()
                .and_then(|store| Ok(store.audit_key()?))
                .map_err(|failure| failure.hint("give the key with --key, as `tenure audit key` printed it once"))?,
        ),
    };
    let env: Arc<dyn Env> = Arc::new(Disk::new());
    let audit = tenure::audit(&env, &global.path()?, note.as_deref().zip(key.as_deref()))?;
    print_audit(&audit, output)?;
    Ok(if audit.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

fn print_audit(audit: &Audit, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        return output.facts(
            &[],
            json!({
                "against": audit.against, "ledger_leaves": audit.ledger_leaves, "ledger_root": audit.ledger_root,
                "access_logs": audit.access_logs, "access_entries": audit.access_entries,
                "access_vouched": audit.access_vouched, "access_dropped_through": audit.access_dropped_through,
                "unfinished_bytes": audit.unfinished_bytes,
                "damage": damage(&audit.damage),
            }),
        );
    }
    if audit.damage.is_empty() {
        output.line(format_args!("ledger       {} leaves, root {}", count(audit.ledger_leaves), audit.ledger_root))?;
        output.line(format_args!(
            "access logs  {} in {}, of which the ledger vouches for {}",
            counted(audit.access_entries, "use"),
            counted(audit.access_logs, "file"),
            count(audit.access_vouched)
        ))?;
    }
    if let Some(month) = &audit.access_dropped_through {
        output.line(format_args!("let go of    access logs up to {month}, as the ledger says"))?;
    }
    for one in &audit.damage {
        output.line(format_args!("WRONG        {}: {}", one.path.display(), one.what))?;
    }
    match (audit.against, audit.damage.is_empty()) {
        (Some(length), true) => output.line(format_args!(
            "verified     everything that was on record at {} leaves still is, unchanged and in order",
            count(length)
        )),
        (Some(_), false) => output.line("NOT VERIFIED against the checkpoint"),
        (None, _) => output.line(
            "self-check   it agrees with itself, or not; that nobody made all of it anew shows only --against a checkpoint \
             kept elsewhere",
        ),
    }
}
