//! Setting the policy: checked as a whole, then a fact of the ledger.

use crate::sync::Arc;

use crate::engine::Engine;
use crate::error::Result;
use crate::format::ledger::Fact;
use crate::policy::Policy;

/// Puts the policy file `text` in force and returns its version.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming the line that is wrong; the policy in force stays.
pub fn set(engine: &Engine, text: &str) -> Result<u32> {
    let writer = engine.writer()?;
    let policy = Policy::parse(text)?;
    // Not after a close: the ledger ends with that.
    let _one_at_a_time = writer.housekeep()?;
    // The lock on the policy is held until it is on record, so that two versions never get one number.
    let mut in_force = engine.policy.write().expect("no holder of this lock panics");
    let version = engine.ledger().state().policy.0 + 1;
    engine.record(&[Fact::PolicySet { version, text: text.to_owned() }])?;
    *in_force = Arc::new(policy);
    Ok(version)
}
