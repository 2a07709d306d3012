//! Setting the policy: checked as a whole, compared with the one in force, then a fact of the ledger. And the comparison
//! alone.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::engine::{access, hold};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::{Fact, Holds};
use crate::ident::{PartitionId, Stream};
use crate::policy::{Duty, Facts, Happened, Policy, Shortening, access_log_shortening, overhangs, shortenings};
use crate::report::{Effect, PartitionChange, PolicyCheck};
use crate::sync::Arc;
use crate::window::Timestamp;

/// The longest reason for shortening a period, in bytes.
const REASON_LIMIT: usize = 4096;

/// Puts the policy file `text` in force and returns its version. Where it shortens a period of what is stored, a reason
/// must be given; it stands nowhere in the ledger.
///
/// # Errors
/// [`ErrorKind::Invalid`] naming the line that is wrong, [`ErrorKind::Refused`] where a reason is missing; the policy in
/// force stays.
pub fn set(engine: &Engine, text: &str, reason: Option<&str>) -> Result<u32> {
    let writer = engine.writer()?;
    let policy = Policy::propose(text)?;
    if reason.is_some_and(|reason| reason.trim().is_empty() || reason.len() > REASON_LIMIT) {
        return Err(Error::new(ErrorKind::Invalid, format!("a reason has 1 to {REASON_LIMIT} bytes")));
    }
    // Not after a close: the ledger ends with that.
    let _one_at_a_time = writer.housekeep()?;
    // The lock on the policy is held until it is on record, so that two versions never get one number.
    let mut in_force = engine.policy.write().expect("no holder of this lock panics");
    let shortened = shortened(engine, &in_force, &policy)?;
    if !shortened.is_empty() && reason.is_none() {
        return Err(shorter(&shortened));
    }
    let version = engine.ledger().state().policy.0 + 1;
    engine.record(&[Fact::PolicySet { version, text: text.to_owned() }])?;
    *in_force = Arc::new(policy);
    Ok(version)
}

/// What is kept for a shorter time: of the streams of which a partition lives, and of the store's access logs where there
/// are any.
fn shortened(engine: &Engine, old: &Policy, new: &Policy) -> Result<Vec<Shortening>> {
    let living = engine.partitions.all().into_iter().filter(|partition| partition.key.is_some());
    let streams: BTreeSet<Stream> = living.map(|partition| partition.id.stream.clone()).collect();
    let logs = if access::any(engine)? { access_log_shortening(old, new) } else { None };
    Ok(shortenings(old, new, streams.into_iter()).into_iter().chain(logs).collect())
}

fn shorter(shortened: &[Shortening]) -> Error {
    let first = &shortened[0];
    let what = match (first.maximum, first.minimum) {
        (true, true) => "may go, and may be erased, earlier",
        (true, false) => "may go earlier",
        _ => "may be erased earlier",
    };
    let others = match shortened.len() - 1 {
        0 => String::new(),
        1 => " and one more stream".into(),
        more => format!(" and {more} more streams"),
    };
    let message = format!(
        "the policy shortens a period: what is stored in {}{others} {what} than by the one in force",
        first.stream
    );
    Error::new(ErrorKind::Refused, message)
        .hint("see what would go with `tenure policy check FILE`, then confirm it with --confirm and --reason TEXT")
}

/// Compares the policy file `text` with the one in force, as far as partitions are concerned: what waits for facts about
/// customers is told by [`crate::policy::verdict`], customer by customer.
///
/// # Errors
/// [`ErrorKind::Invalid`] naming the line that is wrong.
pub fn check(engine: &Engine, text: &str) -> Result<PolicyCheck> {
    let (old, new) = (engine.policy(), Policy::propose(text)?);
    let (now, holds) = (engine.trusted.now(&*engine.env), hold::standing(engine));
    let (mut changes, mut unchanged) = (Vec::new(), 0);
    for partition in engine.partitions.all().into_iter().filter(|partition| partition.key.is_some()) {
        match change(&old, &new, &partition.id, &holds, now) {
            Some(change) => changes.push(change),
            None => unchanged += 1,
        }
    }
    changes.sort_by(|a, b| a.partition.cmp(&b.partition));
    let shortened = shortened(engine, &old, &new)?;
    let in_force = engine.ledger().state().policy.0;
    Ok(PolicyCheck { in_force, now, changes, unchanged, shortened, overhangs: overhangs(&new) })
}

fn change(old: &Policy, new: &Policy, id: &PartitionId, holds: &Holds, now: Timestamp) -> Option<PartitionChange> {
    let law = |policy: &Policy| {
        let terms = policy.terms(&id.stream);
        let duty = terms.and_then(|terms| terms.duty(Happened::Within(id.window), &Facts::NONE));
        (terms.and_then(|terms| terms.partition_deadline(&id.window)), duty, terms.is_some())
    };
    let ((limit_before, duty_before, _), (limit_after, duty_after, covered)) = (law(old), law(new));
    let never = |limit: Option<Timestamp>| limit.map_or(i64::MAX, Timestamp::as_micros);
    let ends = |duty: Option<Duty>| duty.map_or(i64::MIN, |duty| never(duty.until));
    let effect = match (never(limit_after).cmp(&never(limit_before)), ends(duty_after).cmp(&ends(duty_before))) {
        _ if limit_after.is_some_and(|limit| limit <= now) => Effect::Overdue,
        (std::cmp::Ordering::Less, _) => Effect::Due,
        (_, std::cmp::Ordering::Less) => Effect::Released,
        (std::cmp::Ordering::Equal, std::cmp::Ordering::Equal) => return None,
        _ => Effect::Protected,
    };
    let holds = holds.over(id, new).map(|(number, _)| number).collect();
    let partition = id.clone();
    Some(PartitionChange { partition, effect, limit_before, limit_after, duty_before, duty_after, holds, covered })
}
