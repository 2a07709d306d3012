//! Expire: partitions whose window and maximum are over lose their keys, together in one rewrite, and then their files.

use crate::engine::{Engine, access, due, hold};
use crate::error::Result;
use crate::ops::receipt::receipt;
use crate::report::Expiry;
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
    let mut due = due::due(engine, now);
    if options.dry_run || due.is_empty() && access::over(engine, now)?.is_none() {
        hold::held_back(engine, &mut due)?;
        let partitions = due.into_iter().map(|(_, expiring)| expiring).collect();
        return Ok(Expiry { now, partitions, receipt: None });
    }
    let writer = engine.writer()?;
    due::judged_by(engine, Some(now), options.confirmed)?;
    let _one_at_a_time = writer.housekeep()?;
    let (partitions, number) = due::expire(engine, writer, now)?;
    Ok(Expiry { now, partitions, receipt: number.and_then(|number| receipt(engine, number)) })
}
