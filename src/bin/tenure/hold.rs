//! `tenure hold`: keeping what is on record of a customer for a legal matter, whatever the policy says, and letting go of
//! it again.
//!
//! No message here holds a customer id or a matter: those are printed only where somebody asks for the list.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure::report::HoldReport;
use tenure::{Acting, Hold, Stream};

use crate::cli::{Between, Format, Global, parse_stream};
use crate::erase::{WAIT, latest};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::receipt;
use crate::words::{count, counted, harmless};

#[derive(Subcommand)]
pub enum HoldCommand {
    /// Place a hold on a customer, or on everybody's records of a stream or a time: what it covers outlives erasure and expiry,
    /// until it is released.
    Place(PlaceArgs),
    /// Lift a hold; what it alone has kept of expired months is gone at once.
    Release {
        /// Its number in the list.
        number: u64,
    },
    /// Those that stand, oldest first: on whom, for what matter and why.
    List,
}

#[derive(Args)]
pub struct PlaceArgs {
    /// On whom; without one, on everybody, and then it names a stream or a time.
    pub customer: Option<String>,
    /// The matter that it is for: a case, a request.
    #[arg(long, value_name = "MATTER")]
    pub matter: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only this stream.
    #[arg(long, value_name = "CLASS/JURISDICTION", value_parser = parse_stream)]
    pub stream: Option<Stream>,
    #[command(flatten)]
    pub between: Between,
}

const COLUMNS: [&str; 11] =
    ["number", "customer", "matter", "reason", "class", "jurisdiction", "from", "until", "placed", "kept", "after"];

pub fn hold(global: &Global, command: &HoldCommand, output: &mut Output) -> Outcome {
    match command {
        HoldCommand::Place(args) => place(global, args, output),
        HoldCommand::Release { number } => release(global, *number, output),
        HoldCommand::List => list(global, output),
    }
}

fn place(global: &Global, args: &PlaceArgs, output: &mut Output) -> Outcome {
    let hold = Hold {
        matter: args.matter.clone(),
        reason: args.reason.clone(),
        stream: args.stream.clone(),
        from: args.between.from,
        until: args.between.until,
    };
    if args.customer.is_none() && hold.stream.is_none() && hold.from.is_none() && hold.until.is_none() {
        return Err(Failure::usage("a hold names a customer, or a stream or a time of everybody's"));
    }
    let (store, _) = global.open_or_beside(output)?;
    let placed = match &args.customer {
        Some(customer) => store.request_hold(customer, &hold, WAIT),
        None => store.request_hold_everybody(&hold, WAIT).map(Some),
    };
    let after = placed.as_ref().ok().copied().flatten().map(|number| after(&store, number)).transpose();
    let closed = store.close();
    let number = placed?;
    let after = after?.unwrap_or_default();
    closed?;
    let Some(number) = number else {
        return Err(Failure::failed("nothing is known of this customer, so nothing is held")
            .hint("is the id right? `tenure timeline CUSTOMER` shows what there is"));
    };
    if !after.is_empty() {
        let receipts = numbers(&after);
        output.say(format_args!(
            "it came after receipts {receipts}: what they let go of is not held, if it would have been"
        ));
    }
    output.facts(&[("hold", number.to_string())], json!({ "hold": number, "after": after }))?;
    Ok(Exit::Done)
}

/// The receipts of what came before a hold.
fn after(store: &Acting, number: u64) -> Result<Vec<u64>, tenure::Error> {
    let holds = store.holds()?;
    Ok(holds.into_iter().find(|hold| hold.number == number).map(|hold| hold.after).unwrap_or_default())
}

fn release(global: &Global, number: u64, output: &mut Output) -> Outcome {
    let (store, _) = global.open_or_beside(output)?;
    let released =
        store.request_release(number, WAIT).map_err(Failure::from).and_then(|receipt| latest(&store, receipt, output));
    let closed = store.close();
    let receipt = released?;
    closed?;
    let Some(proved) = receipt else {
        return Err(
            Failure::failed(format!("there is no hold {number}")).hint("`tenure hold list` shows those that stand")
        );
    };
    match output.format() {
        Format::Table => receipt::print(&proved.receipt, output)?,
        _ => output.facts(&[], receipt::proved_as_json(&proved))?,
    }
    Ok(Exit::Done)
}

fn list(global: &Global, output: &mut Output) -> Outcome {
    let holds = global.open_read_only()?.holds()?;
    let documents: Vec<Value> = holds.iter().map(to_json).collect();
    match output.format() {
        Format::Json => output.document(json!({ "holds": documents }))?,
        Format::Jsonl => documents.iter().try_for_each(|document| output.line(document))?,
        Format::Csv => output.csv(&COLUMNS, &documents)?,
        Format::Table if holds.is_empty() => output.say("no hold stands"),
        Format::Table => print(&holds, output)?,
    }
    Ok(Exit::Done)
}

fn to_json(report: &HoldReport) -> Value {
    let HoldReport { hold, .. } = report;
    json!({
        "number": report.number,
        "customer": report.customer.as_ref().map(|customer| customer.expose()),
        "subject": report.subject,
        "matter": hold.matter,
        "reason": hold.reason,
        "class": hold.stream.as_ref().map(|stream| stream.class()),
        "jurisdiction": hold.stream.as_ref().map(|stream| stream.jurisdiction()),
        "from": hold.from.map(|at| at.to_string()),
        "until": hold.until.map(|at| at.to_string()),
        "placed": report.placed.to_string(),
        "kept": report.kept,
        "after": report.after,
    })
}

fn print(holds: &[HoldReport], output: &mut Output) -> Result<(), Failure> {
    let mut sheet = Sheet::new(&["hold#", "customer", "matter", "why", "covers", "placed", "keeps", "after"]);
    for report in holds {
        let keeps = match report.kept {
            0 => "-".into(),
            kept => counted(kept, "expired partition"),
        };
        let customer = report.customer.as_ref().map(|customer| harmless(customer.expose()).to_string());
        let customer = customer.unwrap_or_else(|| "everybody".into());
        let [matter, why] = [&report.hold.matter, &report.hold.reason].map(|text| harmless(text).to_string());
        let after = match report.after.is_empty() {
            true => "-".into(),
            false => format!("receipt {}", numbers(&report.after)),
        };
        let placed = report.placed.day().to_string();
        sheet.row([count(report.number), customer, matter, why, covers(&report.hold), placed, keeps, after]);
    }
    output.sheet(&sheet)
}

fn numbers(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn covers(hold: &Hold) -> String {
    let stream = hold.stream.as_ref().map_or("everything".into(), ToString::to_string);
    let from = hold.from.map_or(String::new(), |at| format!(" from {at}"));
    let until = hold.until.map_or(String::new(), |at| format!(" until {at}"));
    stream + &from + &until
}
