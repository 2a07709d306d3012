//! `tenure fact`: what the embedding service knows of a customer, and periods of the policy run from.

use clap::{Args, ValueEnum};
use serde_json::json;
use tenure::env::{Env, disk::Disk};
use tenure::{Reported, Timestamp};

#[derive(Args)]
pub struct FactArgs {
    /// About whom.
    pub customer: String,
    /// What.
    #[arg(value_enum)]
    pub fact: FactKind,
    /// When that was [default: now].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<Timestamp>,
}

/// Facts about customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FactKind {
    /// The relationship ended.
    RelationshipEnded,
    /// It did not end, or has begun again.
    RelationshipResumed,
    /// A request was closed; the latest counts.
    RequestClosed,
}

use crate::cli::{Global, parse_time};
use crate::erase::WAIT;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;

pub fn fact(global: &Global, args: &FactArgs, output: &mut Output) -> Outcome {
    if args.fact == FactKind::RelationshipResumed && args.at.is_some() {
        return Err(Failure::usage("a relationship that goes on has no --at: it has no end"));
    }
    let at = args.at.unwrap_or_else(|| Disk::new().now());
    let (store, _) = global.open_or_beside(output)?;
    let fact = match args.fact {
        FactKind::RelationshipEnded => Reported::RelationshipEnded(at),
        FactKind::RelationshipResumed => Reported::RelationshipResumed,
        FactKind::RequestClosed => Reported::RequestClosed(at),
    };
    let reported = store.request_inform(&args.customer, fact, WAIT);
    let closed = store.close();
    let known = reported?;
    closed?;
    if !known {
        return Err(Failure::failed("nothing is known of this customer, so nothing was kept")
            .hint("is the id right? `tenure timeline CUSTOMER` shows what there is"));
    }
    let at = (args.fact != FactKind::RelationshipResumed).then(|| at.to_string());
    let people = [("on record", at.clone().unwrap_or_else(|| "the relationship goes on".into()))];
    output.facts(&people, json!({ "at": at }))?;
    Ok(Exit::Done)
}
