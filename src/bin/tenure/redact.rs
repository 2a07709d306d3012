//! `tenure redact`: one record goes, the rest of the history stays.

use serde_json::json;
use tenure::report::Redaction;

use crate::cli::{Format, Global, RedactArgs};
use crate::erase::{SCRUBS_BY_ITSELF, WAIT, latest, scrub_now};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::receipt;
use crate::words::bytes;

pub fn redact(global: &Global, args: &RedactArgs, output: &mut Output) -> Outcome {
    if args.how.dry_run {
        return look(global, args, output);
    }
    let hint = "look with --dry-run at what would go, then add --confirm and the same record id once more";
    match args.confirm {
        Some(confirm) if confirm == args.id => {}
        Some(_) => return Err(Failure::refused("nothing was redacted: --confirm names another record").hint(hint)),
        None => {
            let message = "nothing was redacted: this cannot be undone and needs --confirm";
            return Err(Failure::refused(message).hint(hint));
        }
    }
    let (store, beside) = global.open_or_beside(output)?;
    if beside && args.how.scrub_now {
        output.say(SCRUBS_BY_ITSELF);
    }
    let redacted = store.request_redact(&args.customer, args.id, args.despite_duty, WAIT);
    let redacted = redacted.map_err(Failure::from).and_then(|receipt| {
        if args.how.scrub_now && !beside {
            scrub_now(|| store.scrub())?;
        }
        latest(&store, receipt, output)
    });
    let closed = store.close();
    let receipt = redacted?;
    closed?;
    let Some(proved) = receipt else { return Err(no_such_record()) };
    match output.format() {
        Format::Table => receipt::print(&proved.receipt, output)?,
        _ => {
            let (receipt, proof) = (receipt::to_json(&proved.receipt), proved.proof);
            output.facts(&[], json!({ "dry_run": false, "receipt": receipt, "proof": proof }))?;
        }
    }
    Ok(Exit::Done)
}

/// What the real one would take, or why it would not: the same verdict, so that a refusal is the same too.
fn look(global: &Global, args: &RedactArgs, output: &mut Output) -> Outcome {
    let store = global.open_read_only()?;
    let found = store.redaction(&args.customer, args.id, args.despite_duty)?;
    let Some(Redaction { stream, at, raw_bytes, restricted, duty }) = found else { return Err(no_such_record()) };
    let mut people = vec![("stream", stream.to_string()), ("at", at.to_string()), ("size", bytes(raw_bytes))];
    if restricted {
        people.push(("restricted", "an erasure has left it".into()));
    }
    people.extend(receipt::reasons(duty, &[]).into_iter().map(|reason| ("despite", reason)));
    people.push(("done", "nothing: a dry run".into()));
    let document = json!({
        "dry_run": true, "class": stream.class(), "jurisdiction": stream.jurisdiction(),
        "at": at.to_string(), "raw_bytes": raw_bytes, "restricted": restricted,
        "despite_duty": receipt::duty_as_json(duty), "receipt": null,
    });
    output.facts(&people, document)?;
    Ok(Exit::Done)
}

fn no_such_record() -> Failure {
    Failure::failed("there is no such record of this customer; nothing was changed")
        .hint("`tenure timeline CUSTOMER` lists the ids of a customer's records")
}
