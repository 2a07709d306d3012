//! Expire: partitions whose window and maximum are over lose their keys, together in one rewrite, and then their files.

use crate::engine::schedule::{DueRow, Search};
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
        hold::defer(engine, &mut due);
        hold::held_back(engine, &mut due)?;
        let mut search = Search::new(engine, now);
        let rows = lapsed(&search.more(engine, usize::MAX)?);
        let partitions = due.into_iter().map(|(_, expiring)| expiring).collect();
        return Ok(Expiry { now, partitions, rows, damage: search.damage, ..Expiry::default() });
    }
    let is_over = access::over(engine, now)?.is_some();
    if !is_over && due::due(engine, now).is_empty() {
        let mut search = Search::new(engine, now);
        if search.more(engine, 1)?.is_empty() {
            return Ok(Expiry { now, damage: search.damage, ..Expiry::default() });
        }
    }
    let writer = engine.writer()?;
    due::judged_by(engine, Some(now), options.confirmed)?;
    let _one_at_a_time = writer.housekeep()?;
    let expired = due::expire(engine, writer, now)?;
    let mut receipts = expired.acts.iter().filter_map(|number| receipt(engine, *number));
    let (receipt, further) = (receipts.next(), receipts.collect());
    let (partitions, rows, damage) = (expired.partitions, lapsed(&expired.rows), expired.damage);
    Ok(Expiry { now, partitions, rows, damage, receipt, further })
}

fn lapsed(rows: &[DueRow]) -> Vec<Lapsed> {
    rows.iter().flat_map(|row| lapsed_of(&row.subject, &row.going)).collect()
}
