//! Facts about a customer that the embedding service reports, and that periods may run from.

use super::log::locked;
use super::{Anchor, CustomerState, Keyring};
use crate::error::{Error, ErrorKind, Result};
use crate::ident::{CustomerId, SubjectNumber};
use crate::window::Timestamp;

impl Keyring {
    /// Keeps that a fact of `kind` about a living customer was `at`, or is no fact any more, durably in every mirror. Of
    /// requests the latest counts. `None` where there is no such customer.
    ///
    /// # Errors
    /// As [`Keyring::use_customer`].
    pub fn report(&self, id: &CustomerId, kind: u8, at: Option<Timestamp>) -> Result<Option<SubjectNumber>> {
        let key = self.customer_key(id);
        let subject = {
            let _stripe = locked(self.stripe(&key));
            let mut entry = match self.known_customer(&key)? {
                Some((entry, _)) if entry.state == CustomerState::Living => entry.duplicate(),
                _ => return Ok(None),
            };
            let known = entry.anchors.iter().find(|anchor| anchor.kind == kind).map(|anchor| anchor.at);
            let counts = |at: Timestamp| match kind {
                Anchor::REQUEST_CLOSED | Anchor::LAST_CONTACT => known.map_or(at, |known| known.max(at)),
                _ => at,
            };
            let latest = at.map(counts);
            entry.anchors.retain(|anchor| anchor.kind != kind);
            entry.anchors.extend(latest.map(|at| Anchor { kind, at }));
            let payload = entry.encode();
            let payload = payload.ok_or_else(|| Error::new(ErrorKind::Invalid, "a customer's entry is full"))?;
            self.put_customer(key, false, entry, payload)?.entry.subject
        };
        self.sync()?;
        Ok(Some(subject))
    }
}
