//! What a training looks at: bodies of living customers, a little of each, so that there are many of them.

use crate::sync::Arc;
use std::collections::HashMap;

use super::catalog::Snapshot;
use super::cells::probes;
use super::partitions::Partition;
use super::read::{CellReader, Hit, order};
use super::visible::{covers, shown};
use super::{Engine, duty};
use crate::compress::Sample;
use crate::keyring::{CustomerEntry, CustomerState};

/// What is sampled of a stream, in bytes of bodies.
const SAMPLE_BYTES: usize = 8 << 20;
/// What is sampled of one customer: so little that a full sample is of four hundred at least, and a stream of customers
/// with much is trained like any other.
const CUSTOMER_BYTES: usize = 20 << 10;
/// The end of a body is left off where it no longer fits, but a part shorter than this says nothing.
const PART_LEAST: usize = 256;
/// In how many slices customers are walked: between two of them a walk can end.
const SLICES: u32 = 64;

/// How much may still be taken, in all and of each customer.
pub struct Allowance {
    left: usize,
    of_customer: HashMap<u64, usize>,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { left: SAMPLE_BYTES, of_customer: HashMap::new() }
    }
}

impl Allowance {
    /// Whether nothing more is taken of anybody.
    pub fn is_used_up(&self) -> bool {
        self.left < PART_LEAST
    }

    /// Whether something more may be taken of `customer`.
    pub fn is_open_to(&self, customer: u64) -> bool {
        !self.is_used_up() && self.of_customer.get(&customer).is_none_or(|left| *left >= PART_LEAST)
    }

    /// The part of `body` that is taken: all of it, or how it begins; nothing where there is no more room.
    pub fn take<'b>(&mut self, customer: u64, body: &'b [u8]) -> Option<&'b [u8]> {
        let own = self.of_customer.entry(customer).or_insert(CUSTOMER_BYTES);
        let length = body.len().min(*own).min(self.left);
        if length == 0 || (length < body.len() && length < PART_LEAST) {
            return None;
        }
        *own -= length;
        self.left -= length;
        Some(&body[..length])
    }
}

/// What was sampled: bodies, each with a number for its customer.
pub struct Sampling<'a> {
    engine: &'a Engine,
    snapshot: Snapshot,
    allowance: Allowance,
    bodies: Vec<(u64, Vec<u8>)>,
}

impl<'a> Sampling<'a> {
    /// Nothing so far.
    pub fn new(engine: &'a Engine) -> Self {
        let snapshot = engine.catalog.snapshot();
        Sampling { engine, snapshot, allowance: Allowance::default(), bodies: Vec::new() }
    }

    /// Samples the customers of `partitions`, until there is enough or `stop` says so. What cannot be read is left out;
    /// whoever reads it is told.
    pub fn walk(&mut self, partitions: &[Arc<Partition>], stop: &dyn Fn() -> bool) {
        for partition in partitions {
            for slice in 0..SLICES {
                if self.allowance.is_used_up() || stop() {
                    return;
                }
                let walked = self.engine.keyring.walk_customers_part(slice, SLICES, &mut |customer| {
                    if covers(customer, partition) && !stop() {
                        self.take(customer, partition);
                    }
                    Ok(())
                });
                if walked.is_err() {
                    return;
                }
            }
        }
    }

    /// As a training takes them.
    pub fn samples(&self) -> Vec<Sample<'_>> {
        self.bodies.iter().map(|(customer, body)| Sample { customer: *customer, body }).collect()
    }

    /// Takes what may be taken of one customer in one partition: nothing hidden or redacted, and of a large body nothing.
    fn take(&mut self, customer: &CustomerEntry, partition: &Arc<Partition>) {
        let (engine, number) = (self.engine, fingerprint(customer));
        if !self.allowance.is_open_to(number) || !is_free(engine, customer) {
            return;
        }
        let reader = CellReader::new(&engine.catalog, &self.snapshot, engine.store);
        let (policy, now) = (engine.policy(), engine.now());
        let shown = shown(&policy, partition, &duty::reported(&customer.anchors), now);
        let mut hits: Vec<Hit> = Vec::new();
        for probe in probes(&engine.store, customer, partition) {
            if reader.read(partition, &probe, &|at| shown(at), &mut hits).is_err() {
                return;
            }
        }
        order(&mut hits);
        for hit in hits {
            if !self.allowance.is_open_to(number) {
                return;
            }
            let Ok(record) = hit.into_record(&customer.id) else { continue };
            let part = self.allowance.take(number, &record.body);
            self.bodies.extend(part.map(|part| (number, part.to_vec())));
        }
    }
}

/// A number for a customer, the same in all partitions.
fn fingerprint(customer: &CustomerEntry) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *customer.subject.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Whether anything may be sampled of a customer: nobody has let go of them, as far as anybody knows, or restricted what
/// is theirs.
pub fn is_free(engine: &Engine, customer: &CustomerEntry) -> bool {
    customer.state == CustomerState::Living
        && !engine.fences.has_subject(&customer.subject)
        && !customer.secrets.iter().any(|secret| secret.restricted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_customers_have_a_part_in_a_sample_however_much_each_has() {
        let body = vec![7; 3_000];
        let mut allowance = Allowance::default();
        let mut customers = 0;
        while !allowance.is_used_up() {
            customers += 1;
            let taken: usize = (0..100).filter_map(|_| allowance.take(customers, &body)).map(<[u8]>::len).sum();
            assert!(taken <= CUSTOMER_BYTES && !allowance.is_open_to(customers), "{taken} of customer {customers}");
        }
        assert!(customers >= 400, "{customers} customers");
        assert_eq!(allowance.take(1 << 40, &body), None);
    }

    #[test]
    fn a_long_body_is_sampled_in_part_and_the_next_customer_still_has_room() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(1, &[7; 1 << 20]).map(<[u8]>::len), Some(CUSTOMER_BYTES));
        assert!(!allowance.is_open_to(1) && allowance.is_open_to(2));
        assert_eq!(allowance.take(2, b"short"), Some(&b"short"[..]));
        assert_eq!((allowance.take(1, b"short"), allowance.take(2, b"")), (None, None));
    }
}
