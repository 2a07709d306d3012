//! Expire: partitions whose window and maximum are over lose their keys, together in one rewrite, and then their files.

use crate::engine::schedule::{self, DueRow};
use crate::engine::{Engine, access, due, hold};
use crate::error::Result;
use crate::ops::receipt::{lapsed_of, receipt};
use crate::report::{Expiry, Lapsed};
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
        let mut due = due::due(engine, now);
        hold::held_back(engine, &mut due)?;
        let rows = schedule::due(engine, now, usize::MAX)?;
        let partitions = due.into_iter().map(|(_, expiring)| expiring).collect();
        return Ok(Expiry { now, partitions, rows: lapsed(&rows), receipt: None, further: Vec::new() });
    }
    let is_over = access::over(engine, now)?.is_some();
    if !is_over && due::due(engine, now).is_empty() && schedule::due(engine, now, 1)?.is_empty() {
        return Ok(Expiry { now, ..Expiry::default() });
    }
    let writer = engine.writer()?;
    due::judged_by(engine, Some(now), options.confirmed)?;
    let _one_at_a_time = writer.housekeep()?;
    let expired = due::expire(engine, writer, now)?;
    let mut receipts = expired.acts.iter().filter_map(|number| receipt(engine, *number));
    let (receipt, further) = (receipts.next(), receipts.collect());
    Ok(Expiry { now, partitions: expired.partitions, rows: lapsed(&expired.rows), receipt, further })
}

fn lapsed(rows: &[DueRow]) -> Vec<Lapsed> {
    rows.iter().flat_map(|row| lapsed_of(&row.subject, &row.going)).collect()
}
