//! Forgetting: customer entries that serve nothing any more disappear by a rewrite. Tombstones whose fence has lapsed, and
//! customers of whom no partition with a key is left.

use crate::sync::atomic::Ordering;
use std::collections::HashSet;

use super::row::reaches;
use super::visible::covered;
use super::{Engine, acts, hold, housekeeping};
use crate::error::Result;
use crate::format::ledger::{Act, Fact};
use crate::ident::{CustomerId, SubjectNumber};
use crate::keyring::{Changes, CustomerEntry, CustomerState, Secret, SecretScope};
use crate::window::Timestamp;

/// How long late events of an erased customer are refused by name.
pub const FENCE_DAYS: i64 = 35;
/// Entries dropped by one rewrite.
const AT_ONCE: usize = 4096;

/// Whether there is anything to look for: a fence that has lapsed, or an expiry since the last look.
pub fn is_due(engine: &Engine) -> bool {
    engine.forget_due.load(Ordering::Relaxed) || lapsed_until(engine) > engine.fences.lapsed()
}

/// Drops entries that serve nothing any more. Returns how many.
///
/// # Errors
/// The first step that fails; doing it again goes on from there.
pub fn forget(engine: &Engine) -> Result<u64> {
    let until = lapsed_until(engine);
    if let Some(erased) = until.filter(|until| Some(*until) > engine.fences.lapsed()) {
        // On record first: whoever is new from here on takes no events from before.
        engine.record(&[Fact::FenceLapsed { erased }])?;
        engine.fences.lapse(erased);
    }
    let held: HashSet<SubjectNumber> =
        hold::standing(engine).standing.values().filter_map(|hold| hold.subject).collect();
    let mut candidates = Vec::new();
    let mut more = false;
    engine.keyring.walk_customers(&mut |customer| {
        if serves_nothing(engine, customer, until) && !held.contains(&customer.subject) {
            match candidates.len() < AT_ONCE {
                true => candidates.push(customer.id.clone()),
                false => more = true,
            }
        }
        Ok(())
    })?;
    let changes = strike(engine, &candidates, until)?;
    engine.forget_due.store(more, Ordering::Relaxed);
    Ok(changes)
}

/// Removes those of the candidates that still serve nothing. Appends wait meanwhile, so that nobody begins to use an
/// entry between the look at it and its end.
fn strike(engine: &Engine, candidates: &[CustomerId], until: Option<Timestamp>) -> Result<u64> {
    if candidates.is_empty() {
        return Ok(0);
    }
    // Shut before it is flushed: what is made ready in between would be neither durable nor forgotten.
    let _shut = engine.fences.shut();
    acts::flush(engine, engine.writer()?)?;
    let mut changes = Changes::new();
    for id in candidates {
        if let Some(found) = engine.keyring.customer(id)?
            && serves_nothing(engine, &found.entry, until)
        {
            changes.insert(engine.keyring.customer_key(id), None);
        }
    }
    engine.record(&[Fact::Watermark])?;
    engine.keyring.shred(&changes, housekeeping::position(engine))?;
    Ok(changes.len() as u64)
}

/// The latest erasure whose fence has lapsed by trusted time.
fn lapsed_until(engine: &Engine) -> Option<Timestamp> {
    let now = engine.trusted.now(&*engine.env);
    let ledger = engine.ledger();
    let erasures = ledger.state().acts.by_number.values().filter_map(|state| match &state.act {
        Act::Erase { at, .. } => Some(*at),
        _ => None,
    });
    // Acts that were lost with a part of the ledger are no later than the fact that says so.
    let lost = ledger.state().gap.as_ref().map(|gap| gap.at);
    erasures.chain(lost).filter(|at| at.plus_seconds(FENCE_DAYS * 86_400) <= now).max()
}

fn serves_nothing(engine: &Engine, customer: &CustomerEntry, lapsed: Option<Timestamp>) -> bool {
    match customer.state {
        CustomerState::Tombstone { erased } => Some(erased) <= lapsed,
        CustomerState::Living => {
            // A held cell outlives its partition's key, and with it the entry; so does the fence of an erasure.
            let partitions = covered(engine, customer);
            let opens = |secret: &Secret| match secret.scope {
                SecretScope::Cell(..) => true,
                _ => partitions.iter().any(|partition| reaches(secret, partition)),
            };
            customer.not_before <= lapsed.max(engine.fences.lapsed()) && !customer.secrets.iter().any(opens)
        }
    }
}
