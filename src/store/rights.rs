//! What people may ask for: everything that is on record of them, and that it be put right.

use super::{Export, Store, Timeline};
use crate::engine::visible::Sight;
use crate::error::Result;
use crate::ident::{CustomerId, RecordId};
use crate::ops::{self, body::Body};

impl Store {
    /// Everything that is shown of a customer, with what the law says of it and what is there and not shown: for somebody
    /// who asks what is on record of them. `None` where nobody knows the customer.
    ///
    /// # Errors
    /// As [`Store::timeline`]; later ones come out of the iterator, which then ends.
    pub fn export(&self, customer: &str) -> Result<Option<Export>> {
        ops::export::export(self.current()?, &CustomerId::new(customer)?)
    }

    /// Puts a record right: `body` stands in its place from now on, for every reader, with an id of its own that is
    /// returned; at the same time, of the same kind, and durable. Asked for by the old id, the new version is shown. Nothing is
    /// taken away: [`Store::history`] shows every version. A record that was amended is amended again in its last version.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] where there is no such record that is shown: unknown, redacted, erased or expired.
    /// [`crate::ErrorKind::Invalid`] for a body longer than [`crate::BODY_LIMIT`]; what an append answers. After another
    /// failure the amendment may stand, once the store is opened again.
    pub fn rectify(&self, customer: &str, id: RecordId, body: &[u8]) -> Result<RecordId> {
        ops::rectify::rectify(&self.0.engine, &CustomerId::new(customer)?, id, body)
    }

    /// Every record of `customer` in every version that it had, in the order of events and then of writing:
    /// [`crate::Stored::amends`] says which one each amends. Of a stream whose newest record counts, all of them.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub fn history(&self, customer: &str) -> Result<Timeline> {
        ops::timeline::history(self.current()?, &CustomerId::new(customer)?)
    }

    /// The body of exactly this version of a record, amended or not.
    ///
    /// # Errors
    /// As [`Store::body`].
    pub fn history_body(&self, customer: &str, id: RecordId) -> Result<Option<Body>> {
        ops::body::body(self.current()?, &CustomerId::new(customer)?, id, Sight::History)
    }
}
