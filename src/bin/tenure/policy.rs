//! `tenure policy`: the law in force, another one in its place, what that would change, and what it says.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure::report::{CustomerLaw, Effect, Notice, PartitionChange, Place, PolicyCheck, Provision, StreamLaw};
use tenure::{Duty, Limit, Overhang, PartitionId, Shortening, Stream, Timestamp, Verdict, Why};

use crate::cli::{Format, Global, parse_stream};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Output, Sheet};
use crate::words::{counted, harmless};

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Print the policy in force.
    Show,
    /// Put another policy in force; - reads it from standard input.
    Set(SetArgs),
    /// Compare a policy with the one in force: what it would make due, overdue or protected. Changes nothing.
    Check {
        /// The policy (TOML); - reads it from standard input.
        file: PathBuf,
    },
    /// Say what the law is for a stream, or for every place where a customer's records may be, and by which rule.
    Explain(ExplainArgs),
    /// List who is to be told that something of theirs ends soon, by the notices of the policy.
    Notices,
}

#[derive(Args)]
pub struct SetArgs {
    /// The policy (TOML).
    pub file: PathBuf,
    /// Confirm that periods of what is stored become shorter.
    #[arg(long, requires = "reason")]
    pub confirm: bool,
    /// Why they do.
    #[arg(long, value_name = "TEXT", requires = "confirm")]
    pub reason: Option<String>,
}

#[derive(Args)]
pub struct ExplainArgs {
    /// The stream.
    #[arg(value_name = "CLASS/JURISDICTION", value_parser = parse_stream, required_unless_present = "customer")]
    pub stream: Option<Stream>,
    /// The customer.
    #[arg(long, conflicts_with = "stream")]
    pub customer: Option<String>,
}

/// A policy longer than this is no policy.
const POLICY_LIMIT: u64 = 1 << 20;
const CHANGES: [&str; 9] =
    ["class", "jurisdiction", "window", "effect", "limit_before", "limit_after", "duty_before", "duty_after", "holds"];
const NOTICES: [&str; 5] = ["customer", "class", "jurisdiction", "due", "since"];
const PLACES: [&str; 10] =
    ["class", "jurisdiction", "window", "verdict", "until", "duty_until", "limit", "notice", "holds", "restricted"];

pub fn policy(global: &Global, command: &PolicyCommand, output: &mut Output) -> Outcome {
    match command {
        PolicyCommand::Show => show(global, output),
        PolicyCommand::Set(args) => set(global, args, output),
        PolicyCommand::Check { file } => check(global, file, output),
        PolicyCommand::Explain(args) => explain(global, args, output),
        PolicyCommand::Notices => notices(global, output),
    }
}

fn notices(global: &Global, output: &mut Output) -> Outcome {
    let found = global.open_read_only()?.notices()?;
    let as_json = |one: &Notice| {
        let (class, jurisdiction) = (one.stream.class(), one.stream.jurisdiction());
        let (due, since) = (one.due.to_string(), one.since.to_string());
        json!({ "customer": one.customer.expose(), "class": class, "jurisdiction": jurisdiction, "due": due, "since": since })
    };
    let all: Vec<Value> = found.iter().map(as_json).collect();
    match output.format() {
        Format::Table if found.is_empty() => output.line("nobody is to be told of anything")?,
        Format::Table => {
            let mut sheet = Sheet::new(&["customer", "stream", "ends", "to be told since"]);
            for one in &found {
                let customer = harmless(one.customer.expose());
                sheet.row([customer, one.stream.to_string(), one.due.to_string(), one.since.to_string()]);
            }
            output.sheet(&sheet)?;
        }
        Format::Csv => output.csv(&NOTICES, &all)?,
        _ => output.document(json!({ "notices": all }))?,
    }
    Ok(Exit::Done)
}

pub fn read_policy(file: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::file("read the policy", file, &error);
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => io::stdin().take(POLICY_LIMIT).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|open| open.take(POLICY_LIMIT).read_to_string(&mut text)),
    };
    match read.map_err(failed)? as u64 {
        POLICY_LIMIT => Err(Failure::usage(format!("{} is too long for a policy", file.display()))),
        _ => Ok(text),
    }
}

/// What is wrong with a policy is told with the file that it stands in.
pub fn in_policy(file: &Path) -> impl Fn(tenure::Error) -> Failure {
    move |error| {
        let (wrong, known) = (error.to_string().starts_with("the policy"), error.next_step().is_some());
        let failure = Failure::from(error);
        match (wrong && failure.exit == Exit::Usage, known) {
            (false, _) => failure,
            (true, true) => failure.while_doing(&file.display().to_string()),
            (true, false) => failure
                .while_doing(&file.display().to_string())
                .hint("correct it and try it with `tenure policy check FILE`, which changes nothing"),
        }
    }
}

fn show(global: &Global, output: &mut Output) -> Outcome {
    let policy = global.open_read_only()?.policy()?;
    match output.format() {
        Format::Table => output.line(policy.text.trim_end())?,
        _ => output.facts(&[], json!({ "version": policy.version, "text": policy.text }))?,
    }
    Ok(Exit::Done)
}

fn set(global: &Global, args: &SetArgs, output: &mut Output) -> Outcome {
    let text = read_policy(&args.file)?;
    let store = global.open(output)?;
    let version = match &args.reason {
        Some(reason) if args.confirm => store.set_policy_confirmed(&text, reason),
        _ => store.set_policy(&text),
    };
    let version = version.map_err(in_policy(&args.file))?;
    let overdue = store.stats()?.partitions.iter().filter(|partition| partition.overdue).count() as u64;
    store.close()?;
    let people = [("policy", format!("version {version} is in force"))];
    output.facts(&people, json!({ "version": version, "overdue": overdue }))?;
    if overdue > 0 {
        let partitions = counted(overdue, "partition");
        output.say(format_args!("{partitions} overdue by it: `tenure expire --dry-run` shows what"));
    }
    Ok(Exit::Done)
}

fn check(global: &Global, file: &Path, output: &mut Output) -> Outcome {
    let text = read_policy(file)?;
    let check = global.open_read_only()?.check_policy(&text).map_err(in_policy(file))?;
    let changes: Vec<Value> = check.changes.iter().map(change_as_json).collect();
    match output.format() {
        Format::Table => print_check(&check, output)?,
        Format::Csv => output.csv(&CHANGES, &changes)?,
        Format::Json | Format::Jsonl => output.document(json!({
            "in_force": check.in_force,
            "now": check.now.to_string(),
            "changes": changes,
            "unchanged": check.unchanged,
            "shortened": check.shortened.iter().map(shortening_as_json).collect::<Vec<_>>(),
            "overhangs": check.overhangs.iter().map(overhang_as_json).collect::<Vec<_>>(),
        }))?,
    }
    let overdue = check.changes.iter().any(|change| change.effect == Effect::Overdue);
    Ok(if overdue || !check.shortened.is_empty() { Exit::Findings } else { Exit::Done })
}

fn print_check(check: &PolicyCheck, output: &mut Output) -> Result<(), Failure> {
    if check.changes.is_empty() {
        output.line("no partition would change")?;
    } else {
        let mut sheet =
            Sheet::new(&["partition", "would be", "goes now", "goes then", "kept now", "kept then", "held"]);
        for change in &check.changes {
            sheet.row([
                change.partition.to_string(),
                effect(change.effect).into(),
                day_or(change.limit_before, "never"),
                day_or(change.limit_after, if change.covered { "never" } else { "no rule" }),
                until(change.duty_before),
                until(change.duty_after),
                holds(&change.holds),
            ]);
        }
        output.sheet(&sheet)?;
        output.line(format_args!("{} would stay as they are", counted(check.unchanged, "other partition")))?;
    }
    for one in &check.shortened {
        let what = match (one.maximum, one.minimum) {
            (true, true) => "may go, and be erased, earlier",
            (true, false) => "may go earlier",
            _ => "may be erased earlier",
        };
        output.line(format_args!("shorter: {} {what}; that needs --confirm and --reason", one.stream))?;
    }
    for one in check.overhangs.iter().filter(|one| one.days > 0) {
        let long = if one.long { ", longer than a twelfth of it: a shorter window makes that less" } else { "" };
        let (class, jurisdiction) = (one.class.as_deref().unwrap_or("*"), one.jurisdiction.as_deref().unwrap_or("*"));
        output.line(format_args!(
            "overhang: {class}/{jurisdiction} (line {}) is hidden after {} and destroyed up to {} later, with its {}{long}",
            one.line,
            one.keep_at_most,
            counted(one.days, "day"),
            one.window.name(),
        ))?;
    }
    Ok(())
}

fn explain(global: &Global, args: &ExplainArgs, output: &mut Output) -> Outcome {
    let store = global.open_read_only()?;
    let version = store.policy()?.version;
    let (customer, streams) = match (&args.customer, &args.stream) {
        (Some(customer), _) => {
            let Some(law) = store.explain_customer(customer)? else {
                return Err(Failure::failed("nothing is known of this customer")
                    .hint("is the id right? `tenure timeline CUSTOMER` shows what there is"));
            };
            (Some(CustomerLaw { streams: Vec::new(), ..law.clone() }), law.streams)
        }
        (None, Some(stream)) => (None, vec![store.explain_stream(stream)?]),
        (None, None) => return Err(Failure::usage("name a stream, or a customer with --customer")),
    };
    let places: Vec<Value> = streams.iter().flat_map(|law| &law.places).map(place_as_json).collect();
    match output.format() {
        Format::Table => print_law(customer.as_ref(), &streams, output)?,
        Format::Csv => output.csv(&PLACES, &places)?,
        Format::Json | Format::Jsonl => output.document(json!({
            "policy": version,
            "customer": customer.as_ref().map(facts_as_json),
            "streams": streams.iter().map(law_as_json).collect::<Vec<_>>(),
        }))?,
    }
    Ok(Exit::Done)
}

fn print_law(customer: Option<&CustomerLaw>, streams: &[StreamLaw], output: &mut Output) -> Result<(), Failure> {
    if let Some(customer) = customer {
        let facts = [
            ("relationship ended", customer.facts.relationship_ended),
            ("request closed", customer.facts.request_closed),
            ("last contact", customer.facts.last_contact),
        ];
        for (what, at) in facts.into_iter().filter_map(|(what, at)| at.map(|at| (what, at))) {
            output.line(format_args!("{what} {}", at.day()))?;
        }
        if streams.is_empty() {
            output.line("nothing is left of this customer's records")?;
        }
    }
    for (index, law) in streams.iter().enumerate() {
        if index > 0 {
            output.line("")?;
        }
        output.line(&law.stream)?;
        if law.provisions.is_empty() {
            output.line("  no rule covers it: nothing comes in, and nothing goes by itself")?;
        }
        for provision in &law.provisions {
            output.line(format_args!("  {}", said(provision)))?;
        }
        if law.latest {
            output.line("  state: the newest record of each customer counts")?;
        }
        if law.ends_by_row && customer.is_none() {
            output.line("  it ends customer by customer: --customer ID shows when")?;
        }
        print_places(law, output)?;
    }
    Ok(())
}

/// What the periods of a rule run from, in words.
pub fn runs_from(provision: &Provision) -> String {
    match (provision.anchor.name(), &provision.zone) {
        ("event", _) => "the event".to_owned(),
        ("year-end", Some(zone)) => format!("the end of its year in {zone}"),
        ("relationship-end", _) => "the end of the relationship".into(),
        ("last-contact", _) => "the last contact".into(),
        ("request-closed", _) => "the end of the request".into(),
        (other, _) => other.into(),
    }
}

fn periods(provision: &Provision) -> String {
    let from = runs_from(provision);
    let least = match provision.keep_at_least.is_zero() {
        true => "no minimum".into(),
        false => format!("at least {}", provision.keep_at_least),
    };
    let most = provision.keep_at_most.map_or("no maximum".into(), |most| format!("at most {most}"));
    format!("{least}, {most} from {from}")
}

fn said(provision: &Provision) -> String {
    let (class, jurisdiction) =
        (provision.class.as_deref().unwrap_or("*"), provision.jurisdiction.as_deref().unwrap_or("*"));
    let notice = provision.notice.map_or(String::new(), |notice| format!(", notice {notice} before"));
    let basis = provision.basis.as_deref().map_or(String::new(), |basis| format!("  [{}]", harmless(basis)));
    format!("{class}/{jurisdiction} (line {}): {}{notice}{basis}", provision.line, periods(provision))
}

fn print_places(law: &StreamLaw, output: &mut Output) -> Result<(), Failure> {
    if law.places.is_empty() {
        return output.line("  no records");
    }
    let mut sheet = Sheet::new(&["window", "verdict", "must stay until", "goes", "held"]);
    for place in &law.places {
        let verdict = if place.expired { "expired, but for what is held" } else { verdict(place) };
        let duty = place.duty.map_or("-".into(), |duty| until(Some(duty)));
        let goes = day_or(place.limit.map(|limit| limit.at), if law.ends_by_row { "not known yet" } else { "never" });
        sheet.row([place.partition.window.to_string(), verdict.into(), duty, goes, holds(&place.holds)]);
    }
    output.sheet(&sheet)
}

fn verdict(place: &Place) -> &'static str {
    match place.verdict {
        Verdict::Held { .. } if place.restricted => "restricted, and held",
        Verdict::Due { .. } if place.restricted => "restricted, due",
        Verdict::Keep { why: Why::Duty(_), .. } => "must be kept",
        Verdict::Keep { .. } => "may be kept",
        Verdict::Restricted { .. } => "restricted",
        Verdict::Held { .. } => "due, but held",
        Verdict::Due { .. } => "due",
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Overdue => "overdue",
        Effect::Due => "due earlier",
        Effect::Released => "erasable earlier",
        Effect::Protected => "protected longer",
    }
}

fn day_or(at: Option<Timestamp>, otherwise: &str) -> String {
    at.map_or(otherwise.into(), |at| at.day().to_string())
}

fn until(duty: Option<Duty>) -> String {
    duty.map_or("-".into(), |duty| day_or(duty.until, "not known yet"))
}

fn holds(holds: &[u64]) -> String {
    match holds.is_empty() {
        true => "-".into(),
        false => holds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn time(at: Option<Timestamp>) -> Value {
    json!(at.map(|at| at.to_string()))
}

/// A duty in JSON: none, an open one, or one that ends.
fn duty_as_json(duty: Option<Duty>) -> Value {
    duty.map_or(Value::Null, |duty| json!(duty.until.map_or("open".into(), |until| until.to_string())))
}

fn named(partition: &PartitionId) -> Value {
    json!({
        "class": partition.stream.class(),
        "jurisdiction": partition.stream.jurisdiction(),
        "window": partition.window.to_string(),
    })
}

fn with(mut named: Value, more: Value) -> Value {
    if let (Value::Object(all), Value::Object(more)) = (&mut named, more) {
        all.extend(more);
    }
    named
}

fn change_as_json(change: &PartitionChange) -> Value {
    let effect = match change.effect {
        Effect::Overdue => "overdue",
        Effect::Due => "due",
        Effect::Released => "released",
        Effect::Protected => "protected",
    };
    let more = json!({
        "effect": effect,
        "limit_before": time(change.limit_before),
        "limit_after": time(change.limit_after),
        "duty_before": duty_as_json(change.duty_before),
        "duty_after": duty_as_json(change.duty_after),
        "covered": change.covered,
        "holds": change.holds,
    });
    with(named(&change.partition), more)
}

fn shortening_as_json(one: &Shortening) -> Value {
    json!({
        "class": one.stream.class(),
        "jurisdiction": one.stream.jurisdiction(),
        "maximum": one.maximum,
        "minimum": one.minimum,
    })
}

fn overhang_as_json(one: &Overhang) -> Value {
    json!({
        "line": one.line,
        "class": one.class,
        "jurisdiction": one.jurisdiction,
        "window": one.window.name(),
        "keep_at_most": one.keep_at_most.to_string(),
        "days": one.days,
        "long": one.long,
    })
}

fn place_as_json(place: &Place) -> Value {
    let (verdict, until) = match place.verdict {
        Verdict::Keep { until, why: Why::Duty(_) } => ("duty", until),
        Verdict::Keep { until, .. } => ("keep", until),
        Verdict::Restricted { duty } => ("restricted", duty.until),
        Verdict::Held { .. } => ("held", None),
        Verdict::Due { .. } => ("due", None),
    };
    let more = json!({
        "verdict": verdict,
        "until": time(until),
        "duty_until": duty_as_json(place.duty),
        "duty_rule": place.duty.map(|duty| duty.rule),
        "limit": time(place.limit.map(|limit| limit.at)),
        "limit_rule": place.limit.map(|limit| limit.rule),
        "notice": time(place.limit.and_then(|limit: Limit| limit.notice)),
        "holds": place.holds,
        "expired": place.expired,
        "restricted": place.restricted,
    });
    with(named(&place.partition), more)
}

fn facts_as_json(customer: &CustomerLaw) -> Value {
    json!({
        "subject": customer.subject,
        "relationship_ended": time(customer.facts.relationship_ended),
        "request_closed": time(customer.facts.request_closed),
        "last_contact": time(customer.facts.last_contact),
    })
}

fn law_as_json(law: &StreamLaw) -> Value {
    let provision = |one: &Provision| {
        json!({
            "rule": one.rule,
            "line": one.line,
            "class": one.class,
            "jurisdiction": one.jurisdiction,
            "anchor": one.anchor.name(),
            "zone": one.zone,
            "keep_at_least": one.keep_at_least.to_string(),
            "keep_at_most": one.keep_at_most.map(|most| most.to_string()),
            "notice": one.notice.map(|notice| notice.to_string()),
            "basis": one.basis,
        })
    };
    json!({
        "class": law.stream.class(),
        "jurisdiction": law.stream.jurisdiction(),
        "provisions": law.provisions.iter().map(provision).collect::<Vec<_>>(),
        "window": law.window.map(|window| window.name()),
        "latest": law.latest,
        "ends_by_row": law.ends_by_row,
        "places": law.places.iter().map(place_as_json).collect::<Vec<_>>(),
    })
}
