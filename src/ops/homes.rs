//! Homes: every place in which a customer lives, and what the law says of each. What an erasure is shown by before it is
//! asked for, by the same verdict.

use crate::engine::judge::judge;
use crate::engine::read::{CellReader, order};
use crate::engine::row::Row;
use crate::engine::{Engine, duty, erase};
use crate::error::Result;
use crate::ident::CustomerId;
use crate::ops::receipt;
use crate::ops::refresh::settled;
use crate::policy::Happened;
use crate::report::{Duty, Home};
use crate::window::Timestamp;

/// The places in which `customer` lives, by stream and window, or with what of them lies before `until`: what an erasure of
/// that would come upon. None where nobody knows the customer.
///
/// # Errors
/// Damage in what has to be read.
pub fn homes(engine: &Engine, customer: &CustomerId, until: Option<Timestamp>) -> Result<Vec<Home>> {
    settled(engine, || look(engine, customer, until))
}

fn look(engine: &Engine, customer: &CustomerId, until: Option<Timestamp>) -> Result<Vec<Home>> {
    let Some(entry) = erase::living(engine, customer)? else { return Ok(Vec::new()) };
    let policy = engine.policy();
    let facts = duty::facts(engine, &policy, &entry)?;
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, &entry);
    let mut homes = Vec::new();
    for place in judge(engine, &entry, &|_| true)? {
        let id = &place.partition.id;
        if until.is_some_and(|until| until <= id.window.start()) {
            continue;
        }
        for restricted in [false, true] {
            let mut hits = Vec::new();
            for (_, probe) in row.secrets(&place.partition).filter(|(secret, _)| secret.restricted == restricted) {
                reader.read(&place.partition, &probe, &|_| true, &mut hits)?;
            }
            // By where it stands, as an erasure cuts: a state that was carried forward lies where it was carried to.
            hits.retain(|hit| until.is_none_or(|until| hit.at < until));
            order(&mut hits);
            if hits.is_empty() {
                continue;
            }
            let happened = Happened::Within(id.window);
            let duty = receipt::duty(place.duty);
            let basis = (duty != Duty::None).then(|| duty::basis(&policy, &id.stream, happened, &facts)).flatten();
            let limit = policy.terms(&id.stream).and_then(|terms| terms.limit(happened, &facts)).map(|limit| limit.at);
            let by_duty = match duty {
                Duty::Until(until) if restricted => Some(until),
                _ => None,
            };
            homes.push(Home {
                partition: id.clone(),
                records: hits.len() as u64,
                raw_bytes: hits.iter().map(|hit| hit.length()).sum(),
                restricted,
                expired: place.partition.key.is_none(),
                duty,
                basis,
                holds: place.holds.clone(),
                deadline: by_duty.into_iter().chain(limit).min(),
            });
        }
    }
    Ok(homes)
}
