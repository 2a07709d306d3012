//! `tenure expire`: what the policy says is over, and letting go of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure::env::{Env, disk::Disk};
use tenure::report::{Damage, Expiring, Expiry, ProvedReceipt};
use tenure::{Acting, ExpireOptions, Timestamp};

use crate::cli::{ExpireArgs, Format, Global};
use crate::erase::WAIT;
use crate::failure::{Exit, Failure, Outcome};
use crate::opening::doubt;
use crate::output::{Output, Sheet};
use crate::receipt;
use crate::verify::{damage_as_json, print_damage};
use crate::words::{bytes, count, counted};

const COLUMNS: [&str; 8] =
    ["class", "jurisdiction", "window", "records", "stored_bytes", "deadline", "held", "deferred"];
/// How far the clock may be ahead of the time that was judged by, before that is worth a word.
const DOUBT_SECONDS: i64 = 60;

pub fn expire(global: &Global, args: &ExpireArgs, output: &mut Output) -> Outcome {
    let clock = Disk::new().now();
    let options = ExpireOptions { dry_run: args.dry_run, now: args.now, confirmed: args.confirm };
    // An opening for writing has said already what is wrong with the clock.
    let (expiry, receipts, told) = match args.dry_run {
        true => {
            // A look needs no lock, and an opening for reading has no way to vouch for the clock but this.
            let now = args.now.or(global.trust_clock.then_some(clock));
            (global.open_read_only()?.expire(ExpireOptions { now, ..options })?, Vec::new(), false)
        }
        false => {
            let (store, beside) = global.open_or_beside(output)?;
            let now = args.now.or((beside && global.trust_clock).then_some(clock));
            let expired = store.request_expire(ExpireOptions { now, ..options }, WAIT);
            let expired = expired.and_then(|expiry| Ok((receipts(&store, &expiry, output)?, expiry)));
            let closed = store.close();
            let (receipts, expiry) = expired?;
            closed?;
            (expiry, receipts, !beside)
        }
    };
    if !told && args.now.is_none() && clock > expiry.now.plus_seconds(DOUBT_SECONDS) {
        output.say(format_args!("{}; judged by {}; --trust-clock vouches for it", doubt(clock), expiry.now));
    }
    print(&expiry, &receipts, args.dry_run, output)?;
    Ok(if damage(&expiry).is_empty() { Exit::Done } else { Exit::Findings })
}

/// The receipts of it, for programs with their proofs: to prove a great many takes a while.
fn receipts(store: &Acting, expiry: &Expiry, output: &Output) -> tenure::Result<Vec<ProvedReceipt>> {
    let bare = expiry.receipt.iter().chain(&expiry.further);
    let numbers: Vec<u64> = bare.clone().map(|receipt| receipt.number).collect();
    match output.is_for_programs() && !numbers.is_empty() {
        true => store.proved_receipts(&numbers),
        false => Ok(bare.map(|receipt| ProvedReceipt { receipt: receipt.clone(), proof: None }).collect()),
    }
}

/// What stood against letting something go because it could not be read.
fn damage(expiry: &Expiry) -> Vec<Damage> {
    let of_partitions = expiry.partitions.iter().filter_map(|due| due.damage.clone());
    of_partitions.chain(expiry.damage.iter().cloned()).collect()
}

fn print(expiry: &Expiry, receipts: &[ProvedReceipt], dry_run: bool, output: &mut Output) -> Result<(), Failure> {
    let partitions: Vec<Value> = expiry.partitions.iter().map(expiring_as_json).collect();
    match output.format() {
        Format::Table => print_table(expiry, receipts, dry_run, output),
        Format::Csv => output.csv(&COLUMNS, &partitions),
        Format::Json | Format::Jsonl => output.document(json!({
            "dry_run": dry_run,
            "now": expiry.now.to_string(),
            "partitions": partitions,
            "damage": damage_as_json(&damage(expiry)),
            "rows": expiry.rows.iter().map(receipt::lapsed_as_json).collect::<Vec<_>>(),
            "receipt": receipts.first().map(|one| receipt::to_json(&one.receipt)),
            "proof": receipts.first().map(|one| &one.proof),
            "further": receipts.iter().skip(1).map(receipt::proved_as_json).collect::<Vec<_>>(),
        })),
    }
}

fn expiring_as_json(due: &Expiring) -> Value {
    json!({
        "class": due.partition.stream.class(),
        "jurisdiction": due.partition.stream.jurisdiction(),
        "window": due.partition.window.to_string(),
        "records": due.records,
        "stored_bytes": due.bytes,
        "deadline": due.deadline.to_string(),
        "held": due.held,
        "holds": due.holds,
        "deferred": due.deferred,
    })
}

fn print_table(expiry: &Expiry, receipts: &[ProvedReceipt], dry_run: bool, output: &mut Output) -> Result<(), Failure> {
    if expiry.partitions.is_empty() && expiry.rows.is_empty() {
        output.line(format_args!("nothing is due on {}", whole_seconds(expiry.now)))?;
        return print_damage(&damage(expiry), output);
    }
    let mut sheet = Sheet::new(&["partition", "records#", "stored#", "due since", "held back"]);
    for due in &expiry.partitions {
        let since = due.deadline.day().to_string();
        sheet.row([due.partition.to_string(), count(due.records), bytes(due.bytes), since, held_back(due)]);
    }
    let records = expiry.partitions.iter().map(|due| due.records).sum();
    let stored = expiry.partitions.iter().map(|due| due.bytes).sum();
    sheet.row(["total".into(), count(records), bytes(stored), String::new(), String::new()]);
    output.sheet(&sheet)?;
    output.line("")?;
    let customers: BTreeSet<&str> = expiry.rows.iter().map(|row| row.subject.as_str()).collect();
    if !customers.is_empty() {
        let parts = counted(expiry.rows.len() as u64, "part");
        output.line(format_args!(
            "and {parts} of {}, whose time has come by itself",
            counted(customers.len() as u64, "customer")
        ))?;
    }
    print_damage(&damage(expiry), output)?;
    match receipts.split_first() {
        Some((first, further)) => {
            receipt::print(&first.receipt, output)?;
            further.iter().try_for_each(|one| receipt::print_brief(&one.receipt, output))
        }
        None if dry_run => output.line("a dry run: nothing was changed"),
        None => Ok(()),
    }
}

/// What stays of a partition, and why.
fn held_back(due: &Expiring) -> String {
    if due.damage.is_some() {
        return "all of it: see the damage below".into();
    }
    let holds: Vec<String> = due.holds.iter().map(u64::to_string).collect();
    let by = format!("by {} {}", if holds.len() == 1 { "hold" } else { "holds" }, holds.join(", "));
    match (due.held, due.deferred) {
        (0, false) => "-".into(),
        (0, true) => format!("all of it {by}"),
        (held, false) => format!("{} {by}", counted(held, "customer")),
        (_, true) => format!("all of it {by}: too many to be kept apart"),
    }
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().div_euclid(1_000_000) * 1_000_000)
}
