//! Notices: who is to be told that something of theirs ends soon.

use crate::engine::Engine;
use crate::engine::hold::standing;
use crate::engine::schedule;
use crate::error::Result;
use crate::keyring::CustomerState;
use crate::ops::refresh::settled;
use crate::report::Notice;

/// Everybody whose notice has begun to run and of whom nothing has ended by it yet, the next to end first.
///
/// # Errors
/// Damage in what has to be read: who is passed over would not be told.
pub fn notices(engine: &Engine) -> Result<Vec<Notice>> {
    settled(engine, || gather(engine))
}

fn gather(engine: &Engine) -> Result<Vec<Notice>> {
    let (policy, holds, now) = (engine.policy(), standing(engine), engine.now());
    let mut found = Vec::new();
    if policy.ends_by_row() {
        engine.keyring.walk_customers(&mut |customer| {
            if customer.state == CustomerState::Living {
                found.extend(schedule::notices(engine, (&policy, &holds), customer, now)?);
            }
            Ok(())
        })?;
    }
    found.sort_by(|a, b| (a.due, &a.customer, &a.stream).cmp(&(b.due, &b.customer, &b.stream)));
    Ok(found)
}
