//! What is told of a store without telling of anybody.

use super::Store;
use crate::error::Result;
use crate::ops;
use crate::report::{Aggregate, Facet, Report, ReportOptions};

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
