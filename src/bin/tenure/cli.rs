//! The command line: what can be typed. No behaviour.

use std::path::PathBuf;

use crate::audit::AuditCommand;
use crate::export::ExportArgs;
use crate::fact::FactArgs;
use crate::hold::HoldCommand;
use crate::policy::PolicyCommand;
use crate::receipt::ReceiptVerifyArgs;
use crate::rectify::RectifyArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tenure::{RecordId, Role, Stream, Timestamp};

const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed   2 usage   3 findings (damage, overdue, lines set aside)   4 refused
  10 no store   11 locked by another writer   12 key unavailable   130 interrupted

Start here:
  tenure demo                                    everything once, in a temporary store
  tenure -s calls init                           make a store
  tenure -s calls ingest calls.jsonl             take records in
  tenure -s calls timeline c-17                  read one customer's history
  tenure -s calls expire --dry-run               what the policy says is over
  tenure -s calls erase c-17 --dry-run           what letting go of one customer would take";

/// Keeps customer conversations as long as it must, no longer than it may, and lets go of any one customer on request.
#[derive(Parser)]
#[command(name = "tenure", version, after_help = EXIT_CODES, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Store and output")]
pub struct Global {
    /// Directory of the store.
    #[arg(short, long, global = true, env = "TENURE_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Directory of the keyring [default: STORE.keyring]; repeat it for mirrors (in the variable: separate with ':').
    #[arg(
        long,
        global = true,
        env = "TENURE_KEYRING",
        value_name = "DIR",
        value_delimiter = ':',
        hide_env_values = true
    )]
    pub keyring: Vec<PathBuf>,
    /// File of the file custodian, which opens the keyring [default: STORE.custodian].
    #[arg(long, global = true, env = "TENURE_CUSTODIAN", value_name = "FILE", hide_env_values = true)]
    pub custodian: Option<PathBuf>,
    /// Program that is the custodian instead of a file, with its arguments; split at spaces, started without a shell.
    #[arg(
        long,
        global = true,
        env = "TENURE_CUSTODIAN_COMMAND",
        value_name = "PROGRAM ARGS...",
        hide_env_values = true,
        conflicts_with = "custodian"
    )]
    pub custodian_command: Option<String>,
    /// How results are printed on standard output.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// The same as --format json; errors become one JSON object on standard error.
    #[arg(long, global = true, conflicts_with = "format")]
    pub json: bool,
    /// Open for writing although a copy of this store was opened since, and say why.
    #[arg(long, global = true, value_name = "REASON")]
    pub take_over: Option<String>,
    /// Open a store that was put back from an older copy under its living keyring, and say why.
    #[arg(long, global = true, value_name = "REASON")]
    pub restored: Option<String>,
    /// Vouch for the clock of this machine, although it lies more than 45 days ahead of the last fact on record.
    #[arg(long, global = true)]
    pub trust_clock: bool,
    /// Accept a file custodian on a copy-on-write or network file system, where destroyed keys may linger.
    #[arg(long, global = true)]
    pub accept_weak_erasure: bool,
    /// Never ask a question; fail instead.
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Who acts, for the access log [default: the user of the operating system].
    #[arg(long, global = true, env = "TENURE_ACTOR", value_name = "ID", hide_env_values = true)]
    pub actor: Option<String>,
    /// In which role: ingest, agent, supervisor, privacy, auditor, operator. What it does not allow is refused [default:
    /// the least role that may, taken because whoever can use the keys can take any].
    #[arg(long, global = true, env = "TENURE_ROLE", value_parser = parse_role, hide_env_values = true)]
    pub role: Option<Role>,
    /// What for, for the access log: a ticket, a request.
    #[arg(long, global = true, env = "TENURE_PURPOSE", value_name = "TEXT", hide_env_values = true)]
    pub purpose: Option<String>,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line; records come in the form that `ingest` reads.
    Jsonl,
    /// Comma-separated values with a heading.
    Csv,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Show everything once: ingest, read, crash, recover, expire, erase, on generated transcripts. Needs no files.
    Demo(DemoArgs),
    /// Make a new store.
    Init(InitArgs),
    /// Take in records from JSON Lines: a file (plain, .gz, .zst) or - for standard input.
    Ingest(IngestArgs),
    /// Take in one record from a file of any kind and length (a recording), as it is.
    Put(PutArgs),
    /// Print the records of one customer, in order of event time.
    Timeline(TimelineArgs),
    /// Print one record.
    Get(GetArgs),
    /// Search the bodies of one customer's records with a regular expression.
    Grep(GrepArgs),
    /// Print the records of all customers.
    Scan(ScanArgs),
    /// Show what is stored, per stream and partition: records, bytes, ratio, span, deadline.
    Stats,
    /// Write where the store stands by its policy, for whoever answers for it: what is overdue and falls due, volumes, ages,
    /// holds, erasures. Names nobody.
    Report(crate::report::ReportArgs),
    /// Check every checksum; with --deep, decrypt every record too. Never changes anything.
    Verify(VerifyArgs),
    /// Show which damaged segments can be made anew from what is whole in them; with --apply, do it.
    Repair(RepairArgs),
    /// Describe one file of a store, without keys.
    Inspect(InspectArgs),
    /// Check this machine, and the store where one is named.
    Doctor,
    /// Do the background work now: settle, merge, fold.
    Maintain(MaintainArgs),
    /// Let go of what the policy says is over: the keys of those months are destroyed, then their files.
    Expire(ExpireArgs),
    /// Let go of a customer, or a part, everywhere at once: their keys are destroyed, for backups as well.
    Erase(EraseArgs),
    /// Hand out what is on record of one customer: a page to read, JSON Lines, and a manifest that says why it is kept.
    Export(ExportArgs),
    /// Put one record of a customer right: another body stands in its place, and the history keeps both.
    Rectify(RectifyArgs),
    /// Destroy one record of a customer, in all its versions; the rest stays.
    Redact(RedactArgs),
    /// Keep what is on record of a customer for a legal matter, whatever the policy says; and let go of it again.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Report a fact about a customer that periods of the policy may run from.
    Fact(FactArgs),
    /// Show the accounts of what was expired, erased and redacted.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// See who did what, and prove that nothing on record was changed since.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show or replace the retention policy.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Be an external custodian that keeps its secrets in a directory: one call of the protocol in docs/custodian.md.
    #[command(hide = true)]
    Keeper(KeeperArgs),
    /// Write generated records as JSON Lines, for benchmarks.
    #[command(hide = true)]
    Generate(GenerateArgs),
}

#[derive(Args)]
pub struct DemoArgs {
    /// Keep the store here (a directory that does not exist yet) instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// How many records to generate.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(2_000..=10_000_000))]
    pub records: u64,
    /// Seed of the generator: the same seed gives the same records.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub struct GenerateArgs {
    /// Where to write; - is standard output.
    #[arg(default_value = "-")]
    pub out: PathBuf,
    /// How many records.
    #[arg(long, default_value_t = 60_000, conflicts_with = "bytes")]
    pub records: u64,
    /// About how many bytes of lines instead (1000000000, 500MB, 1GB).
    #[arg(long, value_parser = parse_bytes)]
    pub bytes: Option<u64>,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub struct InitArgs {
    /// Retention policy (TOML) to start with; without it everything is kept, in monthly windows.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Succeed if there is a store already, and leave it as it is.
    #[arg(long)]
    pub if_missing: bool,
}

#[derive(Args)]
pub struct IngestArgs {
    /// The file, or - for standard input.
    pub file: PathBuf,
    /// Collect bad and refused lines in FILE and go on, instead of stopping at the first bad line.
    #[arg(long, value_name = "FILE")]
    pub skip_bad: Option<PathBuf>,
    /// Name under which the progress of this input is kept [default: its path and first line; - has none].
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Take in all lines, also those taken in by an earlier run.
    #[arg(long)]
    pub from_start: bool,
    /// Records in one batch: what becomes durable together.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Let in events from before an erasure whose fence of 35 days has lapsed: for loading history on purpose.
    #[arg(long)]
    pub backfill: bool,
    /// Print the line number behind each durable batch on standard output.
    #[arg(long, hide = true)]
    pub acknowledge: bool,
}

#[derive(Args)]
pub struct PutArgs {
    /// Whose record.
    pub customer: String,
    /// The file that is its body, or - for standard input; up to 4 GiB.
    pub file: PathBuf,
    /// What kind of data it is.
    #[arg(long, default_value = "recording")]
    pub class: String,
    /// Whose law it is under.
    #[arg(long)]
    pub jurisdiction: String,
    /// When it happened: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Timestamp,
    /// Its id: a record sent twice is read back once [default: one that the store gives].
    #[arg(long, value_name = "UUID", value_parser = parse_id)]
    pub id: Option<RecordId>,
}

/// A range of event time.
#[derive(Args)]
pub struct Between {
    /// Only from this time on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Timestamp>,
    /// Only before this time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
}

#[derive(Args)]
pub struct TimelineArgs {
    /// Whose records.
    pub customer: String,
    /// What holds keep of this customer instead, expired or not.
    #[arg(long, conflicts_with_all = ["from", "until"])]
    pub held: bool,
    /// Every version of what was put right instead, each with the one it amends; and every state of what is state.
    #[arg(long, conflicts_with_all = ["from", "until", "held"])]
    pub history: bool,
    /// What an erasure has left of this customer instead, because a duty or a hold keeps it.
    #[arg(long, conflicts_with_all = ["from", "until", "held", "history"])]
    pub restricted: bool,
    #[command(flatten)]
    pub between: Between,
}

#[derive(Args)]
pub struct GetArgs {
    /// Whose record.
    pub customer: String,
    /// Its id.
    #[arg(value_parser = parse_id)]
    pub id: RecordId,
    /// Print the body alone, byte for byte.
    #[arg(long)]
    pub body: bool,
    /// Of the body, only the bytes from FIRST to LAST, counted from 0, both included.
    #[arg(long, value_name = "FIRST-LAST", value_parser = parse_range, requires = "body")]
    pub range: Option<(u64, u64)>,
}

#[derive(Args)]
pub struct GrepArgs {
    /// Whose records.
    pub customer: String,
    /// Regular expression; (?i) in front of it ignores case.
    pub pattern: String,
    #[command(flatten)]
    pub between: Between,
}

#[derive(Args)]
pub struct ScanArgs {
    /// Only this class.
    #[arg(long)]
    pub class: Option<String>,
    /// Only this jurisdiction.
    #[arg(long)]
    pub jurisdiction: Option<String>,
    #[command(flatten)]
    pub between: Between,
    /// Read on so many threads (0: one per core). With one, records come partition by partition; with more, the records
    /// of a customer in a partition come together and else in no order.
    #[arg(long, value_name = "COUNT", default_value_t = 1, hide_default_value = true)]
    pub threads: usize,
    #[command(flatten)]
    pub sums: crate::aggregate::AggregateArgs,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Decrypt and decompress every record too (needs the keys).
    #[arg(long)]
    pub deep: bool,
    /// Check only this share of the segments, drawn anew each time (5%).
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub subset: Option<f64>,
    /// Check on so many threads (0: one per core).
    #[arg(long, value_name = "COUNT", default_value_t = 1, hide_default_value = true)]
    pub threads: usize,
}

#[derive(Args)]
pub struct RepairArgs {
    /// Do it; otherwise nothing is changed.
    #[arg(long)]
    pub apply: bool,
}

#[derive(Args)]
pub struct InspectArgs {
    /// A file of a store or a keyring.
    pub file: PathBuf,
}

#[derive(Args)]
pub struct MaintainArgs {
    /// Begin nothing new after this long (10s, 5m, 1h) [default: until all is done].
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub budget: Option<std::time::Duration>,
    /// Drop the unreadable bytes of everything erased so far as well, instead of within 90 days.
    #[arg(long)]
    pub scrub: bool,
}

#[derive(Args)]
pub struct ExpireArgs {
    /// Only show what is due. Beats --confirm.
    #[arg(long)]
    pub dry_run: bool,
    /// Judge by this time instead of the present: RFC 3339, or a date. A later one needs --confirm.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub now: Option<Timestamp>,
    /// Confirm a time later than the present.
    #[arg(long)]
    pub confirm: bool,
}

#[derive(Args)]
pub struct EraseArgs {
    /// Whom to let go of.
    #[arg(required_unless_present = "list")]
    pub customer: Option<String>,
    /// Many customers at once: a file with one id per line; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["customer", "stream", "until"])]
    pub list: Option<PathBuf>,
    /// Only this stream of the customer; the rest stays.
    #[arg(long, value_name = "CLASS/JURISDICTION", value_parser = parse_stream)]
    pub stream: Option<Stream>,
    /// Only what happened before this time: RFC 3339, or a date; the rest stays.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Confirm: the same customer id again; for a list, the number of customers in it.
    #[arg(long, value_name = "CUSTOMER|COUNT")]
    pub confirm: Option<String>,
    #[command(flatten)]
    pub how: LettingGo,
}

#[derive(Args)]
pub struct RedactArgs {
    /// Whose record.
    pub customer: String,
    /// Its id.
    #[arg(value_parser = parse_id)]
    pub id: RecordId,
    /// Confirm: the same record id again.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub confirm: Option<RecordId>,
    /// Although a duty to keep the record stands against it: for what must never have been stored, as card numbers.
    #[arg(long)]
    pub despite_duty: bool,
    #[command(flatten)]
    pub how: LettingGo,
}

/// How something is let go of.
#[derive(Args)]
pub struct LettingGo {
    /// Only show what would go. Beats --confirm.
    #[arg(long)]
    pub dry_run: bool,
    /// Drop the unreadable bytes at once as well, instead of within 90 days.
    #[arg(long)]
    pub scrub_now: bool,
}

#[derive(Subcommand)]
pub enum ReceiptCommand {
    /// All of them, oldest first.
    List,
    /// One of them, with its stages.
    Show {
        /// Its number in the list.
        number: u64,
    },
    /// Print one with its proof, for somebody who has no access to the store: `receipt verify` checks it.
    Prove {
        /// Its number in the list.
        number: u64,
    },
    /// Check a receipt that `receipt prove` or `receipt show --json` has printed. Needs no store.
    Verify(ReceiptVerifyArgs),
}

#[derive(Args)]
pub struct KeeperArgs {
    /// Where it keeps its secrets; one directory is one store.
    pub dir: PathBuf,
    /// Vouch that nobody ever copies that directory.
    #[arg(long)]
    pub no_copies: bool,
}

fn said(error: &tenure::Error) -> String {
    match error.next_step() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<tenure::Day>().ok().filter(|_| text.len() == 10);
    day.map_or_else(|| text.parse().map_err(|error| said(&error)), |day| Ok(day.start()))
}

pub fn parse_id(text: &str) -> Result<RecordId, String> {
    text.parse().map_err(|error| said(&error))
}

fn parse_role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error| said(&error))
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let numbers = numbers.filter(|(first, last)| first <= last && *last < u64::MAX);
    numbers.ok_or_else(|| "not a range of bytes like 0-1023".into())
}

pub fn parse_stream(text: &str) -> Result<Stream, String> {
    let (class, jurisdiction) = text.split_once('/').ok_or("not of the form CLASS/JURISDICTION")?;
    Stream::new(class, jurisdiction).map_err(|error| said(&error))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().map(|number| number * unit).ok();
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| "not a share like 5% or 0.05".into())
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("not a time like 10s, 5m or 1h".into()),
    };
    let seconds = digits.parse::<f64>().ok().map(|number| number * factor);
    seconds
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a time like 10s, 5m or 1h".into())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("not a size like 500MB".into()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.ok_or_else(|| "not a size like 500MB".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(parse_time("2025-09-01").unwrap().to_string(), "2025-09-01T00:00:00Z");
        assert!(parse_time("2025-09").is_err());
        assert_eq!(parse_share("5%"), Ok(0.05));
        assert!(parse_share("0").is_err() && parse_share("101%").is_err() && parse_share("NaN").is_err());
        assert_eq!(parse_duration("1.5m"), Ok(std::time::Duration::from_secs(90)));
        assert!(parse_duration("soon").is_err() && parse_duration("-1s").is_err());
        assert_eq!(parse_bytes("500MB"), Ok(500_000_000));
    }
}
