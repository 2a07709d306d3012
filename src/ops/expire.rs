//! Expire: partitions whose window and maximum are over lose their keys, together in one rewrite, and then their files.

use crate::engine::Engine;
use crate::engine::acts;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::ident::PartitionNumber;
use crate::ops::receipt::receipt;
use crate::report::{Expiring, Expiry};
use crate::window::Timestamp;

/// How an expiry is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireOptions {
    /// Only tell what is due. Beats `confirmed`.
    pub dry_run: bool,
    /// Judge by this time instead of trusted time.
    pub now: Option<Timestamp>,
    /// Whether a time later than trusted time has been confirmed.
    pub confirmed: bool,
}

/// Expires what is due.
///
/// # Errors
/// [`ErrorKind::Refused`] for a time later than trusted time that was not confirmed; nothing has happened then.
/// Otherwise the first step that fails: the intent stands, and the next opening finishes it.
pub fn expire(engine: &Engine, options: ExpireOptions) -> Result<Expiry> {
    let trusted = engine.trusted.now(&*engine.env);
    let now = options.now.unwrap_or(trusted);
    let due = due(engine, now);
    let partitions = due.iter().map(|(_, expiring)| expiring.clone()).collect();
    let expiry = Expiry { now, partitions, receipt: None };
    if options.dry_run || due.is_empty() {
        return Ok(expiry);
    }
    let writer = engine.writer()?;
    if now > trusted && !options.confirmed {
        let message = format!("{now} is later than the time that can be trusted, {trusted}");
        return Err(Error::new(ErrorKind::Refused, message)
            .hint("look at what would go with --dry-run, then add --confirm; or open with --trust-clock if the clock is right"));
    }
    let _one_at_a_time = writer.housekeep();
    let partitions = due
        .iter()
        .map(|(number, expiring)| {
            let id = &expiring.partition;
            (*number, id.stream.clone(), id.window.end().day())
        })
        .collect();
    let number = acts::intend(engine, Act::Expire { partitions, now })?;
    acts::perform(engine, number, None)?;
    Ok(Expiry { receipt: receipt(engine, number), ..expiry })
}

/// The partitions whose deadline has passed at `now`, by number.
fn due(engine: &Engine, now: Timestamp) -> Vec<(PartitionNumber, Expiring)> {
    let policy = engine.policy();
    let snapshot = engine.catalog.snapshot();
    let mut due = Vec::new();
    for partition in engine.partitions.all() {
        let rule = policy.rule(&partition.id.stream);
        let deadline = rule.and_then(|rule| rule.partition_deadline(&partition.id.window));
        let Some(deadline) = deadline.filter(|deadline| *deadline <= now) else { continue };
        let mut expiring = Expiring { partition: partition.id.clone(), records: 0, bytes: 0, deadline };
        for slot in snapshot.segments(partition.number) {
            expiring.records += slot.fact.records;
            expiring.bytes += slot.fact.bytes;
        }
        for journal in &snapshot.view.journals {
            if let Some(totals) = journal.totals().get(&partition.number) {
                expiring.records += totals.records;
                expiring.bytes += totals.frame_bytes;
            }
        }
        due.push((partition.number, expiring));
    }
    due.sort_by(|a, b| a.1.partition.cmp(&b.1.partition));
    due
}
