//! What there is of a customer and an export does not show: counted window by window, so that nothing is left out without a
//! word. It looks at every record there is and says of none what it contains.

use std::collections::{BTreeMap, HashSet};

use crate::engine::read::{CellReader, Hit, order};
use crate::engine::row::Row;
use crate::engine::visible::{covered_or_held, shown};
use crate::engine::{Engine, amend, duty, hold};
use crate::error::Result;
use crate::ident::{CustomerId, PartitionId};
use crate::ops::refresh::settled;
use crate::policy::HoldScope;
use crate::report::{CustomerLaw, Unshown, WhyUnshown};
use crate::window::Timestamp;

/// What is not shown of `customer`, by window and reason; `law` is what the law says of them.
///
/// # Errors
/// Damage in what has to be read.
pub fn unshown(engine: &Engine, customer: &CustomerId, law: &CustomerLaw) -> Result<Vec<Unshown>> {
    settled(engine, || count(engine, customer, law))
}

fn count(engine: &Engine, customer: &CustomerId, law: &CustomerLaw) -> Result<Vec<Unshown>> {
    let Some(found) = engine.keyring.customer(customer)? else { return Ok(Vec::new()) };
    let (entry, policy, now) = (&*found.entry, engine.policy(), engine.now());
    let (facts, holds) = (duty::facts(engine, &policy, entry)?, hold::standing(engine));
    let scopes: Vec<&HoldScope> = holds.on(&entry.subject).map(|(_, hold)| &hold.scope).collect();
    let snapshot = engine.catalog.snapshot();
    let reader = CellReader::new(&engine.catalog, &snapshot, engine.store);
    let (mut row, mut tally) = (Row::new(&engine.store, entry), Tally::default());
    for stream in covered_or_held(engine, entry).chunk_by(|a, b| a.id.stream == b.id.stream) {
        let (name, is_state) = (&stream[0].id.stream, policy.is_state(&stream[0].id.stream));
        let is_shown = shown(&policy, &stream[0], &facts, now);
        let is_held = |at| scopes.iter().any(|scope| scope.contains(name, at, &policy));
        let mut free = Vec::new();
        for partition in stream {
            let mut restricted = Vec::new();
            for (secret, probe) in row.secrets(partition) {
                let hits = if secret.restricted { &mut restricted } else { &mut free };
                reader.read(partition, &probe, &|_| true, hits)?;
            }
            tally.restricted(restricted);
            // Which state is the newest is known only once all of them were seen.
            if !is_state {
                tally.free(std::mem::take(&mut free), (&is_shown, &is_held), is_state);
            }
        }
        tally.free(free, (&is_shown, &is_held), is_state);
    }
    Ok(tally.of(law))
}

/// Records that are not shown, by window and reason.
#[derive(Default)]
struct Tally(BTreeMap<(PartitionId, WhyUnshown), u64>);

/// Something asked of the time at which a record happened.
type Asked<'a> = &'a dyn Fn(Timestamp) -> bool;

impl Tally {
    fn add(&mut self, hit: &Hit, why: WhyUnshown) {
        *self.0.entry((hit.partition.id.clone(), why)).or_default() += 1;
    }

    /// What an erasure has left in a window.
    fn restricted(&mut self, mut hits: Vec<Hit>) {
        order(&mut hits);
        for hit in &hits {
            let expired = hit.partition.key.is_none();
            self.add(hit, if expired { WhyUnshown::Held } else { WhyUnshown::Restricted });
        }
    }

    /// What anybody may see, but for what is over, superseded, or no longer the newest: the same steps as a timeline's.
    fn free(&mut self, mut hits: Vec<Hit>, (is_shown, is_held): (Asked<'_>, Asked<'_>), is_state: bool) {
        order(&mut hits);
        for hit in hits.extract_if(.., |hit| hit.partition.key.is_none() || !is_shown(hit.event())) {
            let is_held = hit.partition.key.is_none() || is_held(hit.event());
            self.add(&hit, if is_held { WhyUnshown::Held } else { WhyUnshown::Over });
        }
        let mut last = hits.clone();
        amend::supersede(&mut last);
        let names: HashSet<_> = last.iter().map(Hit::name).collect();
        for hit in hits.iter().filter(|hit| !names.contains(&hit.name())) {
            self.add(hit, WhyUnshown::Superseded);
        }
        if is_state {
            last.pop();
            last.iter().for_each(|hit| self.add(hit, WhyUnshown::Older));
        }
    }

    fn of(self, law: &CustomerLaw) -> Vec<Unshown> {
        let places: Vec<_> = law.streams.iter().flat_map(|stream| &stream.places).collect();
        let told = |((partition, why), records)| {
            let is_restricted = why == WhyUnshown::Restricted;
            let mut here = places.iter().filter(|place| place.partition == partition);
            let place = here.find(|place| place.restricted == is_restricted || place.expired);
            let until = place.and_then(|place| place.duty).and_then(|duty| duty.until).filter(|_| is_restricted);
            let holds = place.map_or_else(Vec::new, |place| place.holds.clone());
            Unshown { partition, why, records, holds, until }
        };
        self.0.into_iter().map(told).collect()
    }
}
