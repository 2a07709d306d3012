//! The verdict on a customer, place by place: what dies when an erasure is asked for, and what a duty or a hold keeps.
//! It is taken once, before the intent that has it in writing.

use super::hold::standing;
use super::partitions::Partition;
use super::read::CellReader;
use super::row::Row;
use super::visible::covered_or_held;
use super::{Engine, duty};
use crate::error::Result;
use crate::format::ledger::{Kept, KeptDuty, Span};
use crate::keyring::{CustomerEntry, Secret};
use crate::policy::Happened;
use crate::sync::Arc;
use crate::window::Timestamp;

/// One place in which a customer may live, and what stands against its death.
pub struct Judged {
    /// The place.
    pub partition: Arc<Partition>,
    /// Whether any frame is there; not looked at where nothing would be kept of the customer.
    pub is_used: bool,
    /// The duty that keeps it.
    pub duty: KeptDuty,
    /// The numbers of the holds that keep it, ascending.
    pub holds: Vec<u64>,
}

impl Judged {
    /// Whether it is there, and has to stay.
    pub fn is_kept(&self) -> bool {
        self.is_used && self.would_be_kept()
    }

    /// Whether what is there has to stay.
    fn would_be_kept(&self) -> bool {
        self.duty != KeptDuty::None || !self.holds.is_empty()
    }
}

/// The time by which a duty is held to be over: neither a clock that jumped ahead nor one that fell behind ends one.
pub fn time(engine: &Engine) -> Timestamp {
    engine.now().min(engine.trusted.now(&*engine.env))
}

/// Judges every place in which `customer` may live, by stream and window, as far as the secrets `of`
/// reach.
///
/// # Errors
/// Damage in an index that has to be looked into.
pub fn judge(engine: &Engine, customer: &CustomerEntry, of: &dyn Fn(&Secret) -> bool) -> Result<Vec<Judged>> {
    let (policy, now, holds) = (engine.policy(), time(engine), standing(engine));
    let facts = duty::facts(engine, &policy, customer)?;
    let place = |partition: Arc<Partition>| {
        let id = &partition.id;
        let duty = match &partition.key {
            Some(_) => duty::duty(&policy, &id.stream, Happened::Within(id.window), &facts, now),
            None => KeptDuty::None, // Past its maximum, and here because it is held.
        };
        let on = holds.on(&customer.subject).filter(|(_, hold)| hold.scope.meets(id, &policy));
        let holds = on.map(|(number, _)| number).collect();
        Judged { partition, is_used: false, duty, holds }
    };
    let mut judged: Vec<Judged> = covered_or_held(engine, customer).into_iter().map(place).collect();
    if judged.iter().any(Judged::would_be_kept) {
        look(engine, customer, of, &mut judged)?;
    }
    Ok(judged)
}

/// Looks where there are any frames at all.
fn look(engine: &Engine, customer: &CustomerEntry, of: &dyn Fn(&Secret) -> bool, judged: &mut [Judged]) -> Result<()> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, customer);
    for place in judged {
        let partition = place.partition.clone();
        for (_, probe) in row.secrets(&partition).filter(|(secret, _)| of(secret)) {
            place.is_used |= reader.exists(partition.number, &probe.handle)?;
        }
    }
    Ok(())
}

/// What is kept, in as few spans as say it. Windows without anything beside such as are kept belong to them: so that a
/// year, or a stream, can be kept by one key.
pub fn kept(judged: &[Judged]) -> Vec<Kept> {
    let mut kept: Vec<Kept> = Vec::new();
    for stream in judged.chunk_by(|a, b| a.partition.id.stream == b.partition.id.stream) {
        // The first day of the windows without anything since the last that dies, and whether the last that is kept can
        // be made longer.
        let (mut free_from, mut open) = (None, false);
        for place in stream {
            let span = Span::of(&place.partition.id);
            if !place.is_used {
                match kept.last_mut().filter(|_| open) {
                    Some(last) => last.span.until = last.span.until.max(span.until),
                    None => drop(free_from.get_or_insert(span.from)),
                }
            } else if place.is_kept() {
                let from = free_from.take().unwrap_or(span.from);
                match kept.last_mut().filter(|last| open && is_alike(last, place)) {
                    Some(last) => {
                        last.span.until = last.span.until.max(span.until);
                        last.duty = later(last.duty, place.duty);
                    }
                    None => {
                        let span = Span { from, ..span };
                        kept.push(Kept { span, duty: place.duty, holds: place.holds.clone() });
                    }
                }
                open = true;
            } else {
                (free_from, open) = (None, false);
            }
        }
    }
    kept
}

/// Whether a place is kept for the same kind of reason as the span before it.
fn is_alike(last: &Kept, place: &Judged) -> bool {
    std::mem::discriminant(&last.duty) == std::mem::discriminant(&place.duty) && last.holds == place.holds
}

fn later(a: KeptDuty, b: KeptDuty) -> KeptDuty {
    match (a, b) {
        (KeptDuty::Until(a), KeptDuty::Until(b)) => KeptDuty::Until(a.max(b)),
        (_, b) => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Key, PartitionKey};
    use crate::ident::{PartitionId, PartitionNumber, Stream};
    use crate::window::WindowLength;

    fn place(month: u32, is_used: bool, duty: KeptDuty, holds: &[u64]) -> Judged {
        let at = format!("2025-{month:02}-10T00:00:00Z").parse().unwrap();
        let id = PartitionId::holding(Stream::new("chat", "EU").unwrap(), at, WindowLength::Month);
        let key = Some(Arc::new(PartitionKey::new(Key::take(&mut [1; 32]))));
        let partition = Arc::new(Partition::sample(PartitionNumber(month.into()), id, key));
        Judged { partition, is_used, duty, holds: holds.to_vec() }
    }

    #[test]
    fn spans_are_few_and_cover_what_is_kept_and_nothing_that_dies() {
        let until = |day: i64| KeptDuty::Until(Timestamp::from_micros(day * 86_400_000_000));
        let judged = [
            place(1, false, until(1), &[]),
            place(2, true, KeptDuty::None, &[]),
            place(3, false, KeptDuty::None, &[]),
            place(4, true, until(4), &[]),
            place(5, false, until(5), &[]),
            place(6, true, until(6), &[]),
            place(7, true, until(7), &[3]),
            place(8, true, KeptDuty::None, &[3]),
            place(9, false, KeptDuty::None, &[]),
            place(10, true, KeptDuty::None, &[]),
            place(11, true, KeptDuty::Open, &[]),
            place(12, false, KeptDuty::None, &[]),
        ];
        let kept = kept(&judged);
        let told: Vec<_> = kept
            .iter()
            .map(|kept| (kept.span.from.to_string(), kept.span.until.to_string(), kept.duty, kept.holds.clone()))
            .collect();
        let one = |from: &str, to: &str, duty, holds: &[u64]| (from.to_owned(), to.to_owned(), duty, holds.to_vec());
        let expected = [
            one("2025-03-01", "2025-07-01", until(6), &[]),
            one("2025-07-01", "2025-08-01", until(7), &[3]),
            one("2025-08-01", "2025-10-01", KeptDuty::None, &[3]),
            one("2025-11-01", "2026-01-01", KeptDuty::Open, &[]),
        ];
        assert_eq!(told, expected);
    }
}
