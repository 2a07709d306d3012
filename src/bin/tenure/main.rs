//! `tenure`, the admin program: everything it does, an embedding service could do too, through the same library.
//!
//! It reads the user's files and clock by itself, which the library above `env` never does.
#![allow(clippy::disallowed_methods)]

mod admin;
mod aggregate;
mod audit;
mod cli;
mod demo;
mod doctor;
mod erase;
mod expire;
mod export;
mod fact;
mod failure;
mod hold;
mod ingest;
mod json;
mod keeper;
mod line;
mod opening;
mod output;
mod page;
mod policy;
mod progress;
mod put;
mod read;
mod receipt;
mod rectify;
mod redact;
mod repair;
mod report;
mod stats;
mod verify;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use cli::{Cli, Command};
use failure::{Exit, Failure, Outcome};
use output::{Output, SCHEMA_VERSION};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut output = Output::new(&cli.global);
    let outcome = run(&cli, &mut output);
    // What was printed before a failure still belongs to the reader.
    let flushed = output.flush();
    match outcome.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            tell(&failure, &output);
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli, output: &mut Output) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Demo(args) => demo::demo(args, output),
        Command::Init(args) => admin::init(global, args, output),
        Command::Ingest(args) => ingest::ingest(global, args, output),
        Command::Put(args) => put::put(global, args, output),
        Command::Timeline(args) => read::timeline(global, args, output),
        Command::Get(args) => read::get(global, args, output),
        Command::Grep(args) => read::grep(global, args, output),
        Command::Scan(args) => read::scan(global, args, output),
        Command::Stats => stats::stats(global, output),
        Command::Report(args) => report::report(global, args, output),
        Command::Verify(args) => verify::verify(global, args, output),
        Command::Repair(args) => repair::repair(global, args, output),
        Command::Inspect(args) => admin::inspect(args, output),
        Command::Doctor => doctor::doctor(global, output),
        Command::Maintain(args) => admin::maintain(global, args, output),
        Command::Expire(args) => expire::expire(global, args, output),
        Command::Erase(args) => erase::erase(global, args, output),
        Command::Export(args) => export::export(global, args, output),
        Command::Rectify(args) => rectify::rectify(global, args, output),
        Command::Redact(args) => redact::redact(global, args, output),
        Command::Hold(command) => hold::hold(global, command, output),
        Command::Fact(args) => fact::fact(global, args, output),
        Command::Receipt(command) => receipt::receipt(global, command, output),
        Command::Audit(command) => audit::audit(global, command, output),
        Command::Policy(command) => policy::policy(global, command, output),
        Command::Completions { shell } => admin::completions(*shell, output),
        Command::Man => admin::man(output),
        Command::Keeper(args) => keeper::keeper(args, output),
        Command::Generate(args) => demo::generate(args, output),
    }
}

fn tell(failure: &Failure, output: &Output) {
    if failure.is_silent() {
        return;
    }
    // Nobody is left to tell that telling failed.
    let _ = match output.is_for_programs() {
        true => writeln!(std::io::stderr(), "{}", failure.to_json()),
        false => writeln!(std::io::stderr(), "{failure}"),
    };
}

/// What clap says about the command line; help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().any(|arg| arg == "--json" || arg == "--format=json");
    if error.use_stderr() && wants_json {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let hint = "tenure --help";
        let object = json!({
            "schema_version": SCHEMA_VERSION, "code": Exit::Usage as u8, "kind": "usage", "message": message, "hint": hint,
        });
        let _ = writeln!(std::io::stderr(), "{object}");
        return Exit::Usage.into();
    }
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
