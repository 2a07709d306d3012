//! The small commands: init, inspect, maintain, completions, man.

use std::io::{self, Write};

use clap::CommandFactory;
use serde_json::json;
use tenure::ErrorKind;
use tenure::env::disk::Disk;
use tenure::report::Budget;

use crate::cli::{Cli, Format, Global, InitArgs, InspectArgs, MaintainArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::opening::recovery_as_json;
use crate::output::Output;
use crate::policy::{in_policy, read_policy};
use crate::receipt::needs_scrub;
use crate::verify::{damage_as_json, print_damage};
use crate::words::{bytes, count, counted};

pub fn init(global: &Global, args: &InitArgs, output: &mut Output) -> Outcome {
    let path = global.path()?;
    let mut options = global.options()?;
    if let Some(file) = &args.policy {
        options = options.policy(read_policy(file)?);
    }
    let created = match options.create() {
        Ok(store) => {
            let stats = store.stats()?;
            store.close()?;
            Some(stats.store)
        }
        Err(error) if args.if_missing && is_taken(global, &error) => None,
        Err(error) => return Err(in_policy(args.policy.as_deref().unwrap_or(&path))(error)),
    };
    let keyrings = global.keyring_dirs()?;
    let custodian = global.custodian_shown()?;
    let document = json!({
        "store": path, "keyring": keyrings, "custodian": custodian, "created": created.is_some(), "id": created,
    });
    if output.format() != Format::Table {
        output.facts(&[], document)?;
        return Ok(Exit::Done);
    }
    if created.is_none() {
        output.line(format_args!("there is a store at {} already; nothing changed", path.display()))?;
        return Ok(Exit::Done);
    }
    let keyrings: Vec<String> = keyrings.iter().map(|dir| dir.display().to_string()).collect();
    output.line(format_args!("made a store at {}", path.display()))?;
    output.line(format_args!(
        "  keyring    {}  (the keys; never back it up together with the store)",
        keyrings.join(", ")
    ))?;
    output.line(format_args!("  custodian  {custodian}  (opens the keyring; lose it and everything is lost)"))?;
    output.line(match args.policy.is_some() {
        true => "  policy     as given",
        false => "  policy     keeps everything, in monthly windows; change it with `tenure policy set FILE`",
    })?;
    output.line(format_args!("next: tenure -s {} ingest FILE.jsonl", path.display()))?;
    Ok(Exit::Done)
}

/// Whether making a store failed because one is there: it then opens.
fn is_taken(global: &Global, error: &tenure::Error) -> bool {
    error.kind() == ErrorKind::Invalid && global.open_read_only().is_ok()
}

pub fn maintain(global: &Global, args: &MaintainArgs, output: &mut Output) -> Outcome {
    let store = global.open(output)?;
    let recovery = recovery_as_json(store.recovery());
    let mut done = store.maintain(args.budget.map_or(Budget::ALL, |time| Budget { time }))?;
    if args.scrub {
        let scrubbed = store.scrub()?;
        done.journals_settled += scrubbed.journals_settled;
        done.segments_written += scrubbed.segments_written;
        done.segments_merged += scrubbed.segments_merged;
        done.bytes_written += scrubbed.bytes_written;
        done.entries_folded += scrubbed.entries_folded;
        done.more |= scrubbed.more;
    }
    let waiting = store.receipts()?.iter().filter(|receipt| needs_scrub(receipt)).count() as u64;
    store.close()?;
    let people = [
        (
            "settled",
            format!(
                "{} into {}",
                counted(done.journals_settled, "journal file"),
                counted(done.segments_written, "segment")
            ),
        ),
        ("merged", counted(done.segments_merged, "segment")),
        ("written", bytes(done.bytes_written)),
        ("trained", counted(done.dictionaries_trained, "dictionary")),
        ("keyring", {
            let compacted = if done.keyring_compacted { ", its log rewritten" } else { "" };
            format!("{} folded{compacted}", counted(done.entries_folded, "entry"))
        }),
        ("forgotten", counted(done.customers_forgotten, "customer entry") + " of which nothing is left"),
        (
            "scrubbing",
            match (waiting, args.scrub) {
                (0, true) => "the bytes of everything erased are gone".into(),
                (0, false) => "nothing waits for it".into(),
                _ => counted(waiting, "act") + " whose unreadable bytes go within 90 days, or now with --scrub",
            },
        ),
        ("left", if done.more { "more to do: run it again".into() } else { "nothing to do".into() }),
    ];
    let document = json!({
        "journals_settled": done.journals_settled,
        "segments_written": done.segments_written,
        "segments_merged": done.segments_merged,
        "bytes_written": done.bytes_written,
        "dictionaries_trained": done.dictionaries_trained,
        "entries_folded": done.entries_folded,
        "keyring_compacted": done.keyring_compacted,
        "customers_forgotten": done.customers_forgotten,
        "waiting_for_scrub": waiting,
        "more": done.more,
        "damage": damage_as_json(&done.damage),
        "recovery": recovery,
    });
    output.facts(&people, document)?;
    if output.format() == Format::Table {
        print_damage(&done.damage, output)?;
    }
    Ok(if done.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

pub fn inspect(args: &InspectArgs, output: &mut Output) -> Outcome {
    let found = tenure::inspect(&Disk::new(), &args.file)?;
    match output.format() {
        Format::Table => {
            let mut people = vec![("kind", found.kind.clone())];
            people.extend(found.facts.iter().map(|(name, value)| (name.as_str(), value.clone())));
            people.push((
                "damage",
                if found.damage.is_empty() { "none".into() } else { count(found.damage.len() as u64) },
            ));
            output.facts(&people, json!(null))?;
            print_damage(&found.damage, output)?;
        }
        _ => {
            let facts: serde_json::Map<_, _> = found.facts.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
            let damage = damage_as_json(&found.damage);
            output.facts(&[], json!({ "file": args.file, "kind": found.kind, "facts": facts, "damage": damage }))?;
        }
    }
    Ok(if found.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

pub fn completions(shell: clap_complete::Shell, output: &mut Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tenure", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Done)
}

/// One page: the program, then each command.
pub fn man(output: &mut Output) -> Outcome {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let written = render(&command, &mut page);
    written.map_err(|error| Failure::failed(format!("cannot render the manual: {error}")))?;
    output.bytes(&page)?;
    Ok(Exit::Done)
}

fn render(command: &clap::Command, page: &mut dyn Write) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for sub in shown {
        render(sub, page)?;
    }
    Ok(())
}
