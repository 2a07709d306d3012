//! `tenure receipt`: the accounts of what was let go of, stage by stage, in the custodian's own words. They name nobody
//! but by subject number.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tenure::Acting;
use tenure::report::{Duty, Kept, Lapsed, ProvedReceipt, Receipt, Verb};

use crate::audit;
use crate::cli::{Format, Global, ReceiptCommand};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{count, counted};

const COLUMNS: [&str; 11] = [
    "number",
    "verb",
    "customers",
    "partitions",
    "stage",
    "intended",
    "fenced",
    "shredded",
    "scrubbed",
    "fence_until",
    "evidence",
];
/// Subject numbers that are shown; of more, how many.
const SUBJECTS_SHOWN: usize = 3;

/// What is to be verified, and by what.
#[derive(Args)]
pub struct ReceiptVerifyArgs {
    /// The receipt; - is standard input.
    pub file: PathBuf,
    /// The public key of the store, as `tenure audit key` prints it, or a file with it in it.
    #[arg(long, value_name = "KEY|FILE")]
    pub key: String,
}

pub fn receipt(global: &Global, command: &ReceiptCommand, output: &mut Output) -> Outcome {
    if let ReceiptCommand::Verify(args) = command {
        return verify(args, output);
    }
    let store = global.open_read_only()?;
    match command {
        ReceiptCommand::Verify(_) => {}
        ReceiptCommand::List => print_list(&store.receipts()?, output)?,
        ReceiptCommand::Prove { number } => match store.prove_receipt(*number)? {
            Some(proof) => output.bytes(proof.as_bytes())?,
            None => return Err(no_such(*number)),
        },
        ReceiptCommand::Show { number } => {
            let Some(proved) = as_it_stands(&store, *number, output)? else { return Err(no_such(*number)) };
            match output.format() {
                Format::Table => print(&proved.receipt, output)?,
                Format::Csv => output.csv(&COLUMNS, [&to_json(&proved.receipt)])?,
                Format::Json | Format::Jsonl => output.document(proved_as_json(&proved))?,
            }
        }
    }
    Ok(Exit::Done)
}

/// A receipt as it stands now, for programs with its proof: to prove takes a pass over the ledger.
pub fn as_it_stands(store: &Acting, number: u64, output: &Output) -> tenure::Result<Option<ProvedReceipt>> {
    if output.is_for_programs() {
        return Ok(store.proved_receipts(&[number])?.pop());
    }
    let receipt = store.receipts()?.into_iter().find(|receipt| receipt.number == number);
    Ok(receipt.map(|receipt| ProvedReceipt { receipt, proof: None }))
}

fn no_such(number: u64) -> Failure {
    Failure::failed(format!("there is no receipt {number}")).hint("`tenure receipt list` shows all there are")
}

fn wrong(what: &str) -> Failure {
    Failure::failed(format!("the receipt does not verify: {what}")).exiting(Exit::Findings)
}

/// Checks a receipt against nothing but its proof and a public key; of what an expiry has printed, each of its receipts.
fn verify(args: &ReceiptVerifyArgs, output: &mut Output) -> Outcome {
    let text = audit::read_text(&args.file)?;
    let key = audit::read_key(&args.key)?;
    let document: Option<Value> = match text.starts_with('{') {
        true => Some(serde_json::from_str(&text).map_err(|_| wrong("it is not JSON"))?),
        false => None,
    };
    let (receipt, leaves) = match &document {
        Some(document) => worded(document, &key)?,
        None => proved(&text, &key)?,
    };
    let further = document.iter().filter_map(|document| document["further"].as_array()).flatten();
    let further = further.map(|one| worded(one, &key).map(|(receipt, _)| receipt)).collect::<Result<Vec<_>, _>>()?;
    match output.format() {
        Format::Table => {
            print(&receipt, output)?;
            further.iter().try_for_each(|receipt| print_brief(receipt, output))?;
            output.line(format_args!(
                "verified  it is in the ledger of {} that this key has signed",
                counted(leaves, "leaf").replace("leafs", "leaves")
            ))?;
        }
        Format::Csv => {
            let rows: Vec<Value> = std::iter::once(&receipt).chain(&further).map(to_json).collect();
            output.csv(&COLUMNS, &rows)?;
        }
        Format::Json | Format::Jsonl => output.document(json!({
            "verified": true, "ledger_leaves": leaves, "receipt": to_json(&receipt),
            "further": further.iter().map(to_json).collect::<Vec<_>>(),
        }))?,
    }
    Ok(Exit::Done)
}

/// The account that a proof is of, and how long the ledger was.
fn proved(proof: &str, key: &str) -> Result<(Receipt, u64), Failure> {
    let proved = tenure::verify_proof(proof, key).map_err(|error| wrong(&error.to_string()))?;
    let receipt = proved.receipt.ok_or_else(|| wrong("what it proves is not the account of one act"))?;
    Ok((receipt, proved.length))
}

/// The same, of a proof that comes with the words.
fn worded(document: &Value, key: &str) -> Result<(Receipt, u64), Failure> {
    let proof = document["proof"].as_str().ok_or_else(|| wrong("it carries no proof"))?;
    let (receipt, leaves) = proved(proof, key)?;
    match document["receipt"] == to_json(&receipt) {
        true => Ok((receipt, leaves)),
        false => Err(wrong("its words are not what its proof says")),
    }
}

fn print_list(receipts: &[Receipt], output: &mut Output) -> Result<(), Failure> {
    let documents: Vec<Value> = receipts.iter().map(to_json).collect();
    match output.format() {
        Format::Json => return output.document(json!({ "receipts": documents })),
        Format::Jsonl => return documents.iter().try_for_each(|document| output.line(document)),
        Format::Csv => return output.csv(&COLUMNS, &documents),
        Format::Table if receipts.is_empty() => {
            output.say("nothing was let go of so far");
            return Ok(());
        }
        Format::Table => {}
    }
    let mut sheet = Sheet::new(&["receipt#", "what", "when", "stage", "unreadable bytes"]);
    for receipt in receipts {
        let bytes = match (receipt.scrubbed, needs_scrub(receipt)) {
            (Some(at), _) => format!("gone since {}", at.day()),
            (None, true) => "go within 90 days".into(),
            (None, false) => "went with the files".into(),
        };
        sheet.row([count(receipt.number), what(receipt), receipt.intended.to_string(), receipt.stage().into(), bytes]);
    }
    output.sheet(&sheet)
}

/// Whether unreadable bytes are left that a scrub would drop: an expiry removes whole files instead.
pub fn needs_scrub(receipt: &Receipt) -> bool {
    (receipt.verb != Verb::Expire || !receipt.lapsed.is_empty()) && receipt.scrubbed.is_none()
}

fn what(receipt: &Receipt) -> String {
    match receipt.verb {
        Verb::Expire if receipt.subjects.is_empty() => format!("{} expired", counted(receipt.partitions, "partition")),
        Verb::Expire => format!(
            "{} expired, and parts of {}",
            counted(receipt.partitions, "partition"),
            counted(receipt.subjects.len() as u64, "customer")
        ),
        Verb::Erase => format!("{} erased", counted(receipt.subjects.len() as u64, "customer")),
        Verb::ErasePart => "a part of a customer erased".into(),
        Verb::Redact => "one record redacted".into(),
        Verb::Release => "a hold lifted".into(),
    }
}

/// One receipt in full, for people.
pub fn print(receipt: &Receipt, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("receipt   {}: {}", receipt.number, what(receipt)))?;
    stages(receipt).iter().try_for_each(|line| output.line(line))?;
    receipt.kept.iter().map(kept).try_for_each(|line| output.line(format_args!("kept      {line}")))?;
    if !receipt.subjects.is_empty() {
        let mut shown: Vec<String> = receipt.subjects.iter().take(SUBJECTS_SHOWN).cloned().collect();
        if let Some(more @ 1..) = receipt.subjects.len().checked_sub(SUBJECTS_SHOWN) {
            shown.push(format!("and {} more", count(more as u64)));
        }
        output.line(format_args!("subject   {} (a random number; no customer id is kept)", shown.join(", ")))?;
    }
    Ok(())
}

/// One receipt in a line, behind one in full.
pub fn print_brief(receipt: &Receipt, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("receipt   {}: {}; {}", receipt.number, what(receipt), receipt.stage()))
}

/// The stages, a line each: when, and what it means.
pub fn stages(receipt: &Receipt) -> Vec<String> {
    let mut lines = vec![format!("intended  {}  on record: done from here on, crash or not", receipt.intended)];
    if let Some(at) = receipt.fenced {
        lines.push(format!("fenced    {at}  nobody reads or writes it any more"));
    }
    let Some(shredded) = receipt.shredded else { return lines };
    lines.push(format!("shredded  {shredded}  the keys are gone from the keyring (its root {})", receipt.epoch));
    let stage = if receipt.is_final { "final" } else { "cleared" };
    let words = receipt.evidence.trim_start_matches(stage).trim_start_matches(": ");
    lines.push(format!("{stage:8}  the custodian destroyed what opens older keyrings: {words}"));
    match (receipt.scrubbed, needs_scrub(receipt)) {
        (Some(at), _) => lines.push(format!("scrubbed  {at}  the unreadable bytes are gone too")),
        (None, true) => lines.push(
            "scrubbed  not yet: the unreadable bytes go with merges to come, or now by `tenure maintain --scrub`"
                .into(),
        ),
        (None, false) => {}
    }
    if let Some(until) = receipt.fence_until {
        lines.push(format!("refused   until {until}: late events from before the erasure, by name"));
    }
    lines
}

/// A verb for programs.
pub fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Expire => "expire",
        Verb::Erase => "erase",
        Verb::ErasePart => "erase-part",
        Verb::Redact => "redact",
        Verb::Release => "release",
    }
}

/// One receipt with its proof, for programs: `receipt verify` takes it as it is.
pub fn proved_as_json(proved: &ProvedReceipt) -> Value {
    json!({ "receipt": to_json(&proved.receipt), "proof": proved.proof })
}

/// One receipt for programs.
pub fn to_json(receipt: &Receipt) -> Value {
    let verb = verb_name(receipt.verb);
    let time = |at: Option<tenure::Timestamp>| at.map(|at| at.to_string());
    json!({
        "number": receipt.number,
        "verb": verb,
        "subjects": receipt.subjects,
        "customers": receipt.subjects.len(),
        "partitions": receipt.partitions,
        "stage": receipt.stage(),
        "intended": receipt.intended.to_string(),
        "fenced": time(receipt.fenced),
        "shredded": time(receipt.shredded),
        "epoch": receipt.epoch,
        "final": receipt.is_final,
        "evidence": receipt.evidence,
        "scrubbed": time(receipt.scrubbed),
        "fence_until": time(receipt.fence_until),
        "kept": receipt.kept.iter().map(kept_as_json).collect::<Vec<_>>(),
        "lapsed": receipt.lapsed.iter().map(lapsed_as_json).collect::<Vec<_>>(),
    })
}

/// What an erasure has left, and why, for people.
fn kept(kept: &Kept) -> String {
    format!(
        "{} from {} to before {}: {}",
        kept.stream,
        kept.from,
        kept.until,
        reasons(kept.duty, &kept.holds).join(", ")
    )
}

/// Why something is kept, in words.
pub fn reasons(duty: Duty, holds: &[u64]) -> Vec<String> {
    let mut reasons = match duty {
        Duty::None => Vec::new(),
        Duty::Until(until) => vec![format!("a duty until {}", until.day())],
        Duty::Open => vec!["a duty that runs from what has not been reported".into()],
    };
    reasons.extend(holds.iter().map(|hold| format!("hold {hold}")));
    reasons
}

/// A duty for programs: none, a time, or open.
pub fn duty_as_json(duty: Duty) -> Value {
    match duty {
        Duty::None => Value::Null,
        Duty::Until(until) => json!(until.to_string()),
        Duty::Open => json!("open"),
    }
}

fn kept_as_json(kept: &Kept) -> Value {
    json!({
        "subject": kept.subject, "class": kept.stream.class(), "jurisdiction": kept.stream.jurisdiction(),
        "from": kept.from.to_string(), "until": kept.until.to_string(), "duty": duty_as_json(kept.duty),
        "holds": kept.holds,
    })
}

/// What went of single customers, for programs.
pub fn lapsed_as_json(lapsed: &Lapsed) -> Value {
    json!({
        "subject": lapsed.subject, "class": lapsed.stream.class(), "jurisdiction": lapsed.stream.jurisdiction(),
        "from": lapsed.from.to_string(), "until": lapsed.until.to_string(), "restricted": lapsed.restricted,
    })
}
