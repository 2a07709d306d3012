//! What is told of a store without telling of anybody; and whom somebody else is to tell.

use super::Store;
use crate::error::Result;
use crate::ops;
use crate::report::{Aggregate, Facet, Notice, Report, ReportOptions};

impl Store {
    /// Where the store stands by its policy: what is overdue and what falls due, volumes, ages, holds, what was let go of and
    /// how long that took. It costs a walk over all customers and a look into the heads and small indexes of segments; no
    /// record is opened. Whatever sums and differences somebody forms of its numbers about records, they are about at least
    /// [`ReportOptions::crowd`] customers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where groups of fewer than 20 customers are asked for; damage in keyring or ledger. Damaged
    /// segments are in the answer.
    pub fn report(&self, options: &ReportOptions) -> Result<Report> {
        ops::overview::overview(self.current()?, options)
    }

    /// Everybody who is to be told that something of theirs ends soon: a period with a `notice` that runs from a fact about
    /// them, the next to end first. Nobody is told by the store. It costs a walk over all customers.
    ///
    /// # Errors
    /// Damage in keyring or segments: who was passed over would not be told.
    pub fn notices(&self) -> Result<Vec<Notice>> {
        ops::notices::notices(self.current()?)
    }

    /// Sums over all readable records by some facets, on `threads` threads. Groups of fewer than `crowd` customers are put
    /// together until they are enough, and with others that were enough where else they could be told from the total. The
    /// groups are the same for every question: answers to several of them tell no more together, as long as the store is the
    /// same. Costs a scan of everything, without decompressing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where `crowd` is below 20; as [`Store::scan_parallel`].
    pub fn aggregate(&self, by: &[Facet], crowd: u64, threads: usize) -> Result<Aggregate> {
        ops::aggregate::aggregate(self.current()?, by, crowd, threads)
    }
}
