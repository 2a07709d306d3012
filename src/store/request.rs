//! Asking the process that holds the store open: what a read-only opening can have done without the lock.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{ExpireOptions, Store};
use crate::error::Result;
use crate::format::request::{Named, Outcome, Request};
use crate::ident::{CustomerId, RecordId, Stream};
use crate::ops::report::Reported;
use crate::ops::{self, request};
use crate::record::Hold;
use crate::report::{Expiry, Receipt};
use crate::window::Timestamp;

/// How long to wait between two looks for the answer.
const PAUSE: Duration = Duration::from_millis(10);

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
            false => self.receipt(&Request::Erase { customers }, timeout),
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
        let Some(customer) = self.named(customer)? else { return Ok(None) };
        self.receipt(&Request::ErasePart { customer, stream, until }, timeout)
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
        match self.receipt(&asked, timeout)? {
            Some(receipt) => Ok(request::expiry(engine, receipt, &known)),
            None => {
                let now = options.now.unwrap_or_else(|| engine.trusted.now(&*engine.env));
                Ok(Expiry { now, ..Expiry::default() })
            }
        }
    }

    /// [`Store::hold`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::hold`].
    pub fn request_hold(&self, customer: &str, hold: &Hold, timeout: Duration) -> Result<Option<u64>> {
        if self.0.engine.writer.is_some() {
            return self.hold(customer, hold);
        }
        let (engine, id) = (self.current()?, CustomerId::new(customer)?);
        ops::hold::checked(hold)?;
        let Some(subject) = ops::hold::subject(engine, &id)? else { return Ok(None) };
        let customer = Some(Named { subject, tag: engine.keyring.tag_of(&id) });
        self.placed(&Request::Hold { customer, hold: hold.clone() }, timeout)
    }

    /// [`Store::hold_everybody`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::hold`].
    pub fn request_hold_everybody(&self, hold: &Hold, timeout: Duration) -> Result<u64> {
        if self.0.engine.writer.is_some() {
            return self.hold_everybody(hold);
        }
        ops::hold::checked(hold)?;
        let placed = self.placed(&Request::Hold { customer: None, hold: hold.clone() }, timeout)?;
        Ok(placed.unwrap_or_default())
    }

    fn placed(&self, wanted: &Request, timeout: Duration) -> Result<Option<u64>> {
        Ok(match self.ask(wanted, timeout)? {
            Outcome::Placed(number) => Some(number),
            _ => None,
        })
    }

    /// [`Store::release`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::release`].
    pub fn request_release(&self, number: u64, timeout: Duration) -> Result<Option<Receipt>> {
        match self.0.engine.writer.is_some() {
            true => self.release(number),
            false => self.receipt(&Request::Release { hold: number }, timeout),
        }
    }

    /// [`Store::relationship_ended`] and its like, done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::relationship_ended`].
    pub fn request_inform(&self, customer: &str, reported: Reported, timeout: Duration) -> Result<bool> {
        if self.0.engine.writer.is_some() {
            return self.inform(customer, reported);
        }
        let Some(customer) = self.named(customer)? else { return Ok(false) };
        let (kind, at) = reported.anchor();
        Ok(self.ask(&Request::Report { customer, kind, at }, timeout)? == Outcome::Kept)
    }

    /// [`Store::rectify`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::rectify`].
    pub fn request_rectify(&self, customer: &str, id: RecordId, body: &[u8], timeout: Duration) -> Result<RecordId> {
        if self.0.engine.writer.is_some() {
            return self.rectify(customer, id, body);
        }
        ops::rectify::check(body)?;
        let customer = self.named(customer)?.ok_or_else(ops::rectify::no_such_record)?;
        match self.ask(&Request::Rectify { customer, id, body: Zeroizing::new(body.to_vec()) }, timeout)? {
            Outcome::Amended(id) => Ok(id),
            _ => Err(ops::rectify::no_such_record()),
        }
    }

    /// [`Store::redact`], or [`Store::redact_despite_duty`], done by the process that holds the store open for writing.
    ///
    /// # Errors
    /// As [`Store::request_erase`] and [`Store::redact`].
    pub fn request_redact(
        &self,
        customer: &str,
        id: RecordId,
        despite_duty: bool,
        timeout: Duration,
    ) -> Result<Option<Receipt>> {
        match (self.0.engine.writer.is_some(), despite_duty) {
            (true, false) => return self.redact(customer, id),
            (true, true) => return self.redact_despite_duty(customer, id),
            (false, _) => {}
        }
        let Some(customer) = self.named(customer)? else { return Ok(None) };
        self.receipt(&Request::Redact { customer, id, despite: despite_duty }, timeout)
    }

    fn named(&self, customer: &str) -> Result<Option<Named>> {
        request::named(self.current()?, &CustomerId::new(customer)?)
    }

    /// Asks for what is an act; its account, where there was something to do.
    fn receipt(&self, wanted: &Request, timeout: Duration) -> Result<Option<Receipt>> {
        Ok(match self.ask(wanted, timeout)? {
            Outcome::Done(act) => ops::receipt::receipt(&self.0.engine, act),
            _ => None,
        })
    }

    /// Asks until there is an answer that is not stale: roots come and go, and each takes its key with it.
    fn ask(&self, wanted: &Request, timeout: Duration) -> Result<Outcome> {
        let engine = self.current()?;
        let (since, until) = (request::Since::now(engine), engine.env.now().plus_seconds(seconds(timeout)));
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
            request::check(outcome, wanted)?;
            self.current()?;
            if !matches!(outcome, Outcome::Stale | Outcome::Nothing) {
                return Ok(outcome);
            }
            // Somebody may have done it meanwhile: the opening before this answer, for one.
            match request::done_since(engine, wanted, since, outcome)? {
                Some(outcome) => return Ok(outcome),
                None if outcome == Outcome::Nothing => return Ok(outcome),
                None => {}
            }
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
