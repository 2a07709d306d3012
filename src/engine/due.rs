//! What is due: partitions whose window and maximum are over, and the time that this may be judged by.

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::ident::PartitionNumber;
use crate::report::Expiring;
use crate::window::Timestamp;

/// The time that an expiry is judged by: trusted time, or the one that was named instead.
///
/// # Errors
/// [`ErrorKind::Refused`] for a time later than trusted time that was not confirmed.
pub fn judged_by(engine: &Engine, named: Option<Timestamp>, confirmed: bool) -> Result<Timestamp> {
    let trusted = engine.trusted.now(&*engine.env);
    let now = named.unwrap_or(trusted);
    match now > trusted && !confirmed {
        false => Ok(now),
        true => Err(Error::new(ErrorKind::Refused, format!("{now} is later than the time that can be trusted, {trusted}"))
            .hint("look at what would go with --dry-run, then add --confirm; or open with --trust-clock if the clock is right")),
    }
}

/// The expiry of `due` as the ledger will have it.
pub fn act(due: &[(PartitionNumber, Expiring)], now: Timestamp) -> Act {
    let partitions = due.iter().map(|(number, expiring)| {
        let id = &expiring.partition;
        (*number, id.stream.clone(), id.window.end().day())
    });
    Act::Expire { partitions: partitions.collect(), now }
}

/// The partitions whose deadline has passed at `now`, by number.
pub fn due(engine: &Engine, now: Timestamp) -> Vec<(PartitionNumber, Expiring)> {
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
