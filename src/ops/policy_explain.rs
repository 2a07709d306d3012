//! Explaining: what the law says of a stream or of a customer, place by place, with the rules that say so.

use crate::engine::Engine;
use crate::engine::partitions::Partition;
use crate::engine::read::CellReader;
use crate::engine::row::Row;
use crate::engine::visible::covered_or_held;
use crate::engine::{duty, hold};
use crate::error::Result;
use crate::format::ledger::{Hold, Holds};
use crate::ident::{CustomerId, Stream, SubjectNumber};
use crate::keyring::{CustomerEntry, CustomerState};
use crate::ops::refresh::settled;
use crate::policy::{Facts, Happened, Policy, Question, Rule, Terms, verdict};
use crate::report::{CustomerLaw, Place, Provision, StreamLaw};
use crate::sync::Arc;
use crate::window::Timestamp;

/// Whose law is asked for.
struct Whose<'a> {
    facts: Facts,
    /// None for everybody.
    customer: Option<&'a CustomerEntry>,
}

impl Whose<'_> {
    fn subject(&self) -> Option<SubjectNumber> {
        self.customer.map(|customer| customer.subject)
    }

    /// Since when the erasure of what is restricted has been asked for.
    fn erasure(&self) -> Option<Timestamp> {
        self.customer.map(|customer| customer.not_before.unwrap_or(customer.created))
    }
}

/// A partition where records are, or may be, and whether those of them are meant that an erasure has left.
type Part = (Arc<Partition>, bool);

/// What the law says of `stream` and of each of its partitions, whoever its customers are.
pub fn stream(engine: &Engine, stream: &Stream) -> StreamLaw {
    let whose = Whose { facts: Facts::NONE, customer: None };
    let places: Vec<Part> = engine.partitions.of_stream(stream).into_iter().map(|place| (place, false)).collect();
    law(engine, &engine.policy(), stream, &places, &whose)
}

/// What the law says of a customer: of every partition where there is anything. What an erasure has left there, and what
/// came in since, are two places. None where nobody knows the customer.
///
/// # Errors
/// Damage in the keyring, or in an index.
pub fn customer(engine: &Engine, customer: &CustomerId) -> Result<Option<CustomerLaw>> {
    settled(engine, || of_customer(engine, customer))
}

fn of_customer(engine: &Engine, customer: &CustomerId) -> Result<Option<CustomerLaw>> {
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(None) };
    if found.entry.state != CustomerState::Living {
        return Ok(None);
    }
    let (policy, subject) = (engine.policy(), found.entry.subject);
    let whose = Whose { facts: duty::facts(engine, &policy, &found.entry)?, customer: Some(&found.entry) };
    let mut places = parts(engine, &found.entry)?;
    places.sort_by(|(a, a_restricted), (b, b_restricted)| (&a.id, a_restricted).cmp(&(&b.id, b_restricted)));
    let streams = places.chunk_by(|(a, _), (b, _)| a.id.stream == b.id.stream);
    let streams = streams.map(|places| law(engine, &policy, &places[0].0.id.stream, places, &whose)).collect();
    let last_contact = whose.facts.last_contact.filter(|at| *at > Timestamp::from_micros(i64::MIN));
    Ok(Some(CustomerLaw { subject: subject.to_string(), facts: Facts { last_contact, ..whose.facts }, streams }))
}

/// Where there is anything of a customer.
fn parts(engine: &Engine, customer: &CustomerEntry) -> Result<Vec<Part>> {
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let mut row = Row::new(&engine.store, customer);
    let mut parts = Vec::new();
    for partition in covered_or_held(engine, customer) {
        let (mut free, mut restricted) = (false, false);
        for (secret, probe) in row.secrets(&partition) {
            let is_there = if secret.restricted { &mut restricted } else { &mut free };
            *is_there = *is_there || reader.exists(partition.number, &probe.handle)?;
        }
        parts.extend(free.then(|| (partition.clone(), false)));
        parts.extend(restricted.then_some((partition, true)));
    }
    Ok(parts)
}

fn law(engine: &Engine, policy: &Policy, stream: &Stream, places: &[Part], whose: &Whose<'_>) -> StreamLaw {
    let terms = policy.terms(stream);
    let holds = hold::standing(engine);
    StreamLaw {
        stream: stream.clone(),
        provisions: terms.iter().flat_map(Terms::rules).map(provision).collect(),
        window: terms.map(|terms| terms.window_length()),
        latest: terms.is_some_and(|terms| terms.latest()),
        ends_by_row: terms.is_some_and(|terms| terms.ends_by_row()),
        places: places.iter().map(|part| place(engine, terms, part, &holds, whose)).collect(),
    }
}

fn provision(rule: &Rule) -> Provision {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Provision {
        rule: rule.index(),
        line: rule.line(),
        class: text(rule.class()),
        jurisdiction: text(rule.jurisdiction()),
        anchor: rule.anchor(),
        zone: text(rule.zone().map(|zone| zone.name())),
        keep_at_least: rule.keep_at_least(),
        keep_at_most: rule.keep_at_most(),
        notice: rule.notice(),
        basis: text(rule.basis()),
    }
}

fn place(engine: &Engine, terms: Option<Terms<'_>>, part: &Part, holds: &Holds, whose: &Whose<'_>) -> Place {
    let (partition, restricted) = (&*part.0, part.1);
    let policy = engine.policy();
    let concerns = |hold: &Hold| whose.subject().is_none_or(|subject| hold.concerns(&subject));
    let over = holds.over(&partition.id, &policy).filter(|(_, hold)| concerns(hold));
    let now = engine.trusted.now(&*engine.env);
    let holds: Vec<u64> = over.map(|(number, _)| number).collect();
    let (happened, facts) = (Happened::Within(partition.id.window), whose.facts);
    let erasure = whose.erasure().filter(|_| restricted);
    let question = Question { happened, facts, held: !holds.is_empty(), erasure, now };
    Place {
        partition: partition.id.clone(),
        verdict: verdict(terms, &question),
        duty: terms.and_then(|terms| terms.duty(happened, &facts)),
        limit: terms.and_then(|terms| terms.limit(happened, &facts)),
        holds,
        expired: partition.key.is_none(),
        restricted,
    }
}
