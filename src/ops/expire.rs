//! Expire: partitions whose window and maximum are over lose their keys, together in one rewrite, and then their files.

use crate::engine::{Engine, acts, due};
use crate::error::Result;
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
/// [`crate::ErrorKind::Refused`] for a time later than trusted time that was not confirmed; nothing has happened then.
/// Otherwise the first step that fails: the intent stands, and the next opening finishes it.
pub fn expire(engine: &Engine, options: ExpireOptions) -> Result<Expiry> {
    let now = options.now.unwrap_or_else(|| engine.trusted.now(&*engine.env));
    if options.dry_run {
        return Ok(Expiry { now, partitions: told(&due::due(engine, now)), receipt: None });
    }
    // Before anything is refused: where nothing is due, there is nothing to confirm or to be open for.
    if due::due(engine, now).is_empty() {
        return Ok(Expiry { now, partitions: Vec::new(), receipt: None });
    }
    let writer = engine.writer()?;
    due::judged_by(engine, Some(now), options.confirmed)?;
    let _one_at_a_time = writer.housekeep()?;
    // Only now: what was due before may have gone meanwhile, or have grown.
    let due = due::due(engine, now);
    if due.is_empty() {
        return Ok(Expiry { now, partitions: Vec::new(), receipt: None });
    }
    let number = acts::intend(engine, due::act(&due, now))?;
    acts::perform(engine, number, None)?;
    Ok(Expiry { now, partitions: told(&due), receipt: receipt(engine, number) })
}

fn told(due: &[(PartitionNumber, Expiring)]) -> Vec<Expiring> {
    due.iter().map(|(_, expiring)| expiring.clone()).collect()
}
