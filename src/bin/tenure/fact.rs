//! `tenure fact`: what the embedding service knows of a customer, and periods of the policy run from.

use serde_json::json;
use tenure::env::{Env, disk::Disk};

use crate::cli::{FactArgs, FactKind, Global};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;

pub fn fact(global: &Global, args: &FactArgs, output: &mut Output) -> Outcome {
    if args.fact == FactKind::RelationshipResumed && args.at.is_some() {
        return Err(Failure::usage("a relationship that goes on has no --at: it has no end"));
    }
    let at = args.at.unwrap_or_else(|| Disk::new().now());
    let store = global.open(output)?;
    let reported = match args.fact {
        FactKind::RelationshipEnded => store.relationship_ended(&args.customer, at),
        FactKind::RelationshipResumed => store.relationship_resumed(&args.customer),
        FactKind::RequestClosed => store.request_closed(&args.customer, at),
    };
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
