//! Forgetting: customer entries that serve nothing any more disappear by a rewrite. Tombstones whose fence has lapsed, and
//! customers of whom no partition with a key is left.

use std::sync::atomic::Ordering;

use super::visible::covered;
use super::{Engine, acts, housekeeping};
use crate::error::Result;
use crate::format::ledger::{Act, Fact};
use crate::keyring::{Changes, CustomerEntry, CustomerState};
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
    let writer = engine.writer()?;
    acts::drain(engine, writer)?;
    // Nobody may begin to use an entry between the look at it and its end.
    let _shut = engine.fences.shut();
    let mut changes = Changes::new();
    let mut more = false;
    engine.keyring.walk_customers(&mut |customer| {
        if serves_nothing(engine, customer, until) {
            match changes.len() < AT_ONCE {
                true => drop(changes.insert(engine.keyring.customer_key(&customer.id), None)),
                false => more = true,
            }
        }
        Ok(())
    })?;
    if !changes.is_empty() {
        engine.record(&[Fact::Watermark])?;
        engine.keyring.shred(&changes, housekeeping::position(engine))?;
    }
    engine.forget_due.store(more, Ordering::Relaxed);
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
        CustomerState::Living => covered(engine, customer).is_empty(),
    }
}
