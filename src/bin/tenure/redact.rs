//! `tenure redact`: one record goes, the rest of the history stays.

use serde_json::json;

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
        latest(&store, receipt)
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

fn look(global: &Global, args: &RedactArgs, output: &mut Output) -> Outcome {
    let store = global.open_read_only()?;
    let Some(stored) = store.get(&args.customer, args.id)? else { return Err(no_such_record()) };
    let size = stored.length();
    let people = [
        ("stream", stored.stream.to_string()),
        ("at", stored.at.to_string()),
        ("size", bytes(size)),
        ("done", "nothing: a dry run".into()),
    ];
    let document = json!({
        "dry_run": true, "class": stored.stream.class(), "jurisdiction": stored.stream.jurisdiction(),
        "at": stored.at.to_string(), "raw_bytes": size, "receipt": null,
    });
    output.facts(&people, document)?;
    Ok(Exit::Done)
}

fn no_such_record() -> Failure {
    Failure::failed("there is no such record of this customer; nothing was changed")
        .hint("`tenure timeline CUSTOMER` lists the ids of a customer's records")
}
