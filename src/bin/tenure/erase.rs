//! `tenure erase`: letting go of customers, whole or in part, after a look at where they live and a confirmation.
//!
//! No message here holds a customer id: what is said may end up in a log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::report::{Home, Maintenance, ProvedReceipt, Receipt};
use tenure::{Acting, PartitionId, Timestamp};

use crate::cli::{EraseArgs, Format, Global};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::receipt;
use crate::words::{bytes, count, counted, harmless};

/// A list longer than this is none.
const LIST_LIMIT: u64 = 1 << 30;
/// How long another process that holds the store may take to do what it is asked.
pub const WAIT: Duration = Duration::from_secs(60);
/// What is said where another process holds the store.
pub const SCRUBS_BY_ITSELF: &str =
    "it drops the dead bytes by itself, in time: --scrub-now is for a store that nobody holds";
/// How often dropping the dead bytes is tried.
const SCRUBS: u32 = 20;
const COLUMNS: [&str; 7] = ["class", "jurisdiction", "window", "verdict", "customers", "records", "raw_bytes"];

pub fn erase(global: &Global, args: &EraseArgs, output: &mut Output) -> Outcome {
    let customers = match (&args.customer, &args.list) {
        (Some(customer), _) => vec![customer.clone()],
        (None, Some(list)) => read_list(list, output)?,
        (None, None) => return Err(Failure::usage("no customer named")),
    };
    if args.how.dry_run {
        let store = global.open_read_only()?;
        let homes = homes(&store, &customers, args)?;
        print_homes(&homes, customers.len() as u64, output)?;
        return Ok(Exit::Done);
    }
    confirm(args, customers.len())?;
    let (store, beside) = global.open_or_beside(output)?;
    if beside && args.how.scrub_now {
        output.say(SCRUBS_BY_ITSELF);
    }
    let (named, is_part) = (customers.len() as u64, args.stream.is_some() || args.until.is_some());
    let erased = let_go(&store, &customers, args, beside, output).map(|proved| {
        let receipt = proved.as_ref().map(|proved| &proved.receipt);
        let all = receipt.is_some_and(|receipt| receipt.subjects.len() as u64 == named);
        let kept = if all { Ok(0) } else { kept(&store, &customers, args, receipt) };
        // Whoever may erase may not always look: then it is said that it is not known, and the receipt is shown all the same.
        (proved, kept.ok())
    });
    let closed = store.close();
    let (proved, kept) = erased?;
    closed?;
    print(&Told { proved: proved.as_ref(), named, kept, is_part }, output)?;
    Ok(Exit::Done)
}

/// The ids in a list: one per line, each once, empty lines passed over. A blank at an end is part of an id, and worth a word.
fn read_list(file: &Path, output: &Output) -> Result<Vec<String>, Failure> {
    let failed = |error: io::Error| Failure::file("read the list", file, &error);
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => io::stdin().take(LIST_LIMIT).read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|open| open.take(LIST_LIMIT).read_to_end(&mut bytes)),
    };
    if read.map_err(failed)? as u64 == LIST_LIMIT {
        return Err(Failure::usage(format!("{} is too long for a list of customers", file.display())));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8, so it is no list of customers", file.display())))?;
    let ids: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let blank = ids.iter().filter(|id| id.trim() != **id).count() as u64;
    if blank > 0 {
        let begins = counted(blank, "id");
        output.say(format_args!("{begins} of the list with a blank at the beginning or end, taken as part of the id"));
    }
    match ids.is_empty() {
        true => Err(Failure::usage(format!("{} names no customer", file.display()))),
        false => Ok(ids.into_iter().map(str::to_string).collect()),
    }
}

/// Whether what was typed again is what is meant.
fn confirm(args: &EraseArgs, customers: usize) -> Result<(), Failure> {
    let look = "look with --dry-run at what would go, then add";
    let (wanted, hint) = match &args.customer {
        Some(customer) => (customer.clone(), format!("{look} --confirm and the same customer id once more")),
        None => (customers.to_string(), format!("{look} --confirm {customers}, the number of customers in the list")),
    };
    match &args.confirm {
        Some(confirm) if *confirm == wanted => Ok(()),
        Some(_) if args.customer.is_some() => {
            Err(Failure::refused("nothing was erased: --confirm names another customer").hint(hint))
        }
        Some(_) => Err(Failure::refused("nothing was erased: --confirm is not the length of the list").hint(hint)),
        None => Err(Failure::refused("nothing was erased: this cannot be undone and needs --confirm").hint(hint)),
    }
}

fn let_go(
    store: &Acting,
    customers: &[String],
    args: &EraseArgs,
    beside: bool,
    output: &Output,
) -> Result<Option<ProvedReceipt>, Failure> {
    let receipt = match (customers, &args.stream, args.until) {
        (_, None, None) => store.request_erase(&customers.iter().map(String::as_str).collect::<Vec<_>>(), WAIT)?,
        ([customer], stream, until) => store.request_erase_part(customer, stream.clone(), until, WAIT)?,
        _ => return Err(Failure::usage("--stream and --until are for one customer")),
    };
    if args.how.scrub_now && !beside {
        // Also where nothing was left to erase: it may have been erased by a run that came no further.
        scrub_now(|| store.scrub())?;
    }
    latest(store, receipt, output)
}

/// Drops the dead bytes, once nobody reads the files any more in which they stood: the background work of this very opening
/// may, for a moment. Whoever reads for longer is not waited for.
pub fn scrub_now(scrub: impl Fn() -> tenure::Result<Maintenance>) -> tenure::Result<()> {
    for _ in 0..SCRUBS {
        if !scrub()?.more {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The receipt as it stands now: later steps may have added a stage.
pub fn latest(store: &Acting, receipt: Option<Receipt>, output: &Output) -> Result<Option<ProvedReceipt>, Failure> {
    let Some(receipt) = receipt else { return Ok(None) };
    let now = receipt::as_it_stands(store, receipt.number, output)?;
    Ok(Some(now.unwrap_or(ProvedReceipt { receipt, proof: None })))
}

/// Of those named, how many an erasure had nothing to do for because all that is left of them must be kept and is restricted
/// already.
fn kept(store: &Acting, customers: &[String], args: &EraseArgs, receipt: Option<&Receipt>) -> tenure::Result<u64> {
    let is_new = |subject: &String| receipt.is_none_or(|receipt| !receipt.subjects.contains(subject));
    let mut kept = 0;
    for customer in customers {
        let is_kept = match (&args.stream, args.until) {
            (None, None) => store.explain_customer(customer)?.is_some_and(|law| {
                let mut places = law.streams.iter().flat_map(|stream| &stream.places).peekable();
                is_new(&law.subject) && places.peek().is_some() && places.all(|place| place.restricted)
            }),
            (stream, until) => lives(store, customer, until)?
                .iter()
                .any(|home| home.restricted && stream.as_ref().is_none_or(|stream| *stream == home.partition.stream)),
        };
        kept += u64::from(is_kept);
    }
    Ok(kept)
}

/// What became of those who were named. Of those of whom nothing was erased, `kept` must be kept; it is none where it may
/// not be looked at.
struct Told<'a> {
    proved: Option<&'a ProvedReceipt>,
    named: u64,
    kept: Option<u64>,
    is_part: bool,
}

fn print(told: &Told<'_>, output: &mut Output) -> Result<(), Failure> {
    let receipt = told.proved.map(|proved| &proved.receipt);
    let erased = receipt.map_or(0, |receipt| receipt.subjects.len() as u64);
    if output.format() != Format::Table {
        let (receipt, proof) = (receipt.map(receipt::to_json), told.proved.map(|proved| &proved.proof));
        let document = json!({
            "dry_run": false, "named": told.named, "erased": erased, "restricted_already": told.kept, "receipt": receipt,
            "proof": proof,
        });
        return output.facts(&[], document);
    }
    if let Some(receipt) = receipt {
        receipt::print(receipt, output)?;
    }
    let rest = told.named.saturating_sub(erased);
    match (told.kept, receipt) {
        _ if rest == 0 => Ok(()),
        (None, _) => {
            output.line(format_args!("{}: unknown, or all that is left must be kept", counted(rest, "customer")))
        }
        (Some(1..), None) if told.is_part => {
            output.line("all that is left of that kind must be kept and is restricted already: nothing was changed")
        }
        (Some(0), None) if told.is_part => {
            output.line("nothing of that kind is known of this customer, and nothing was changed")
        }
        (Some(1..), None) if told.named == 1 => {
            output.line("all that is left of this customer must be kept and is restricted already: nothing was changed")
        }
        (Some(0), None) if told.named == 1 => output.line("nothing is known of this customer"),
        (Some(0), None) => output.line("nothing is known of these customers"),
        (Some(kept), _) => {
            if kept > 0 {
                let all = "all that is left must be kept and is restricted already";
                output.line(format_args!("of {} in the list {all}", count(kept)))?;
            }
            match rest.saturating_sub(kept) {
                0 => Ok(()),
                unknown => output.line(format_args!("of {} in the list nothing is known", count(unknown))),
            }
        }
    }
}

/// What customers have in one partition.
#[derive(Default)]
struct Here {
    customers: u64,
    records: u64,
    raw_bytes: u64,
}

/// What becomes of something: it goes, or stays, and why.
type Fate = String;

/// Where customers live, and how many of those named do.
struct Homes {
    partitions: BTreeMap<(PartitionId, Fate), Here>,
    known: u64,
}

impl Homes {
    fn add(&mut self, home: &Home) {
        let here = self.partitions.entry((home.partition.clone(), fate(home))).or_default();
        here.customers += 1;
        here.records += home.records;
        here.raw_bytes += home.raw_bytes;
    }
}

fn homes(store: &Acting, customers: &[String], args: &EraseArgs) -> Result<Homes, Failure> {
    let is_part = args.stream.is_some() || args.until.is_some();
    let mut homes = Homes { partitions: BTreeMap::new(), known: 0 };
    for customer in customers {
        let mut known = false;
        // What an erasure has left is judged anew by one that takes all.
        let meant = |home: &Home| {
            args.stream.as_ref().is_none_or(|stream| *stream == home.partition.stream) && !(is_part && home.restricted)
        };
        for home in lives(store, customer, args.until)?.iter().filter(|home| meant(home)) {
            homes.add(home);
            known = true;
        }
        homes.known += u64::from(known);
    }
    Ok(homes)
}

/// Where a customer lives, or with what from before a time.
fn lives(store: &Acting, customer: &str, until: Option<Timestamp>) -> tenure::Result<Vec<Home>> {
    until.map_or_else(|| store.homes(customer), |until| store.homes_before(customer, until))
}

/// What an erasure does that nothing stands against.
const GOES: &str = "goes now";

/// What an erasure makes of a place.
fn fate(home: &Home) -> Fate {
    if home.may_go() {
        return GOES.into();
    }
    let reasons = receipt::reasons(home.duty, &home.holds).join(", ");
    let basis = home.basis.as_ref().map_or(String::new(), |basis| format!(" ({})", harmless(basis)));
    format!("kept, restricted: {reasons}{basis}")
}

fn print_homes(homes: &Homes, named: u64, output: &mut Output) -> Result<(), Failure> {
    let records = homes.partitions.values().map(|home| home.records).sum::<u64>();
    let partitions: Vec<Value> = homes
        .partitions
        .iter()
        .map(|((id, fate), home)| {
            json!({
                "verdict": fate,
                "class": id.stream.class(), "jurisdiction": id.stream.jurisdiction(), "window": id.window.to_string(),
                "customers": home.customers, "records": home.records, "raw_bytes": home.raw_bytes,
            })
        })
        .collect();
    match output.format() {
        Format::Table => {}
        Format::Csv => return output.csv(&COLUMNS, &partitions),
        Format::Json | Format::Jsonl => {
            return output.document(json!({
                "dry_run": true, "named": named, "known": homes.known, "records": records, "partitions": partitions,
                "receipt": null,
            }));
        }
    }
    if homes.partitions.is_empty() {
        return output.line("a dry run: there is no record of that kind, and nothing was changed");
    }
    let mut sheet = Sheet::new(&["partition", "records#", "raw#", "customers#", "what becomes of it"]);
    for ((id, fate), home) in &homes.partitions {
        let (records, raw, customers) = (count(home.records), bytes(home.raw_bytes), count(home.customers));
        sheet.row([id.to_string(), records, raw, customers, fate.clone()]);
    }
    let raw = homes.partitions.values().map(|home| home.raw_bytes).sum();
    sheet.row(["total".into(), count(records), bytes(raw), count(homes.known), String::new()]);
    output.sheet(&sheet)?;
    output.line("")?;
    if named > 1 {
        output.line(format_args!("{} named, {} of them have records", counted(named, "customer"), homes.known))?;
    }
    let go: u64 = homes.partitions.iter().filter(|((_, fate), _)| fate == GOES).map(|(_, here)| here.records).sum();
    let stay = match records - go {
        0 => String::new(),
        stay => format!(", and {} would stay, restricted", count(stay)),
    };
    output.line(format_args!("a dry run: {} would go now{stay}; nothing was changed", counted(go, "record")))
}
