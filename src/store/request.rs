//! Asking the process that holds the store open: what a read-only opening can have done without the lock.

use std::time::Duration;

use super::{ExpireOptions, Store};
use crate::error::Result;
use crate::format::request::{Outcome, Request};
use crate::ident::{CustomerId, Stream};
use crate::ops::{self, request};
use crate::report::{Expiry, Receipt};
use crate::window::Timestamp;

/// How long to wait between two looks for the answer.
const PAUSE: Duration = Duration::from_millis(10);

/// What came of a request: the act that did it, or that nothing was to be done.
type Came = Option<Receipt>;

impl Store {
    /// [`Store::erase`], done by the process that holds the store open for writing. It names customers by subject
    /// number and place in the keyring, encrypted, in a small file of the store. A store that is open for writing itself just does it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where nobody holds the store open; [`crate::ErrorKind::Locked`] where there is no
    /// answer within `timeout`: the error says whether the request was taken back or has been begun, in which case it
    /// will be finished. Otherwise as [`Store::erase`].
    pub fn request_erase(&self, customers: &[&str], timeout: Duration) -> Result<Option<Receipt>> {
        if self.0.engine.writer.is_some() {
            return self.erase(customers);
        }
        let ids = customers.iter().map(|id| CustomerId::new(*id)).collect::<Result<Vec<_>>>()?;
        let customers = request::living(self.current()?, &ids)?;
        match customers.is_empty() {
            true => Ok(None),
            false => self.ask(&Request::Erase { customers }, timeout),
        }
    }

    /// [`Store::erase_part`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::erase_part`].
    pub fn request_erase_part(
        &self,
        customer: &str,
        stream: Option<Stream>,
        until: Option<Timestamp>,
        timeout: Duration,
    ) -> Result<Option<Receipt>> {
        if self.0.engine.writer.is_some() || stream.is_none() && until.is_none() {
            return self.erase_part(customer, stream, until);
        }
        let customers = request::living(self.current()?, &[CustomerId::new(customer)?])?;
        match customers.first() {
            None => Ok(None),
            Some(customer) => self.ask(&Request::ErasePart { customer: *customer, stream, until }, timeout),
        }
    }

    /// [`Store::expire`], done by the process that holds the store open for writing; a dry run is done here.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::expire`].
    pub fn request_expire(&self, options: ExpireOptions, timeout: Duration) -> Result<Expiry> {
        if self.0.engine.writer.is_some() {
            return self.expire(options);
        }
        let engine = self.current()?;
        if options.dry_run {
            return ops::expire::expire(engine, options);
        }
        let known = request::deadlines(engine);
        let asked = Request::Expire { now: options.now, confirmed: options.confirmed };
        match self.ask(&asked, timeout)? {
            Some(receipt) => Ok(request::expiry(engine, receipt, &known)),
            None => {
                let now = options.now.unwrap_or_else(|| engine.trusted.now(&*engine.env));
                Ok(Expiry { now, ..Expiry::default() })
            }
        }
    }

    /// Asks until there is an answer that is not stale: roots come and go, and each takes its key with it.
    fn ask(&self, wanted: &Request, timeout: Duration) -> Result<Came> {
        let engine = self.current()?;
        let (first, until) = (request::next_act(engine), engine.env.now().plus_seconds(seconds(timeout)));
        let mut left = timeout;
        loop {
            let asked = request::ask(engine, wanted, until)?;
            let outcome = loop {
                if let Some(outcome) = request::answer(engine, &asked)? {
                    break outcome;
                }
                if left.is_zero() {
                    return Err(request::withdraw(engine, &asked));
                }
                crate::sync::thread::sleep(PAUSE.min(left));
                left = left.saturating_sub(PAUSE);
            };
            request::check(outcome)?;
            self.current()?;
            match outcome {
                Outcome::Done(act) => return Ok(ops::receipt::receipt(engine, act)),
                // Somebody may have done it meanwhile: the opening before this answer, for one.
                _ => match request::done_since(engine, wanted, first) {
                    Some(receipt) => return Ok(Some(receipt)),
                    None if outcome == Outcome::Nothing => return Ok(None),
                    None => {}
                },
            }
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
