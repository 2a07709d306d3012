//! Serve: what other processes ask is done by the steps that the verbs are made of, and answered.
//!
//! A request is taken (renamed) before it is carried out and removed once it is answered, so that none is carried out
//! twice. What a crash interrupts after the intent is finished by the next opening like any other act; the request itself
//! is then answered as stale, and whoever asked looks for what came of it.

use std::io;
use std::path::Path;

use crate::engine::request::{self, ASKED, TAKEN};
use crate::engine::{Engine, Writer, due, erase, lease};
use crate::env::read_file;
use crate::error::{Error, ErrorKind, Result};
use crate::format::request::{Named, Outcome, REQUEST_LIMIT, Request, SealedRequest};
use crate::ident::CustomerId;
use crate::keyring::CustomerState;
use crate::ops::{hold, rectify, report};

/// Serves what waits, for those who come by often: looks no more than five times a second, and leaves it to somebody
/// else where housekeeping is under way. What fails is in the answer, or is tried again.
pub fn serve_in_passing(engine: &Engine, writer: &Writer) {
    if !request::is_time(engine, &writer.looked.requests, request::LOOK_MICROS) {
        return;
    }
    let Some(_one_at_a_time) = writer.try_housekeep() else { return };
    if request::waiting(engine, ASKED).is_ok_and(|paths| !paths.is_empty()) {
        let _ = serve(engine, writer);
    }
    let _ = lease::record_fenced(engine, writer);
}

/// Carries out and answers what waits. Housekeeping must be held. Returns how many were answered.
///
/// # Errors
/// What keeps it from answering; what goes wrong within a request is its answer.
pub fn serve(engine: &Engine, writer: &Writer) -> Result<u64> {
    let mut served = 0;
    for path in request::waiting(engine, ASKED)? {
        let taken = path.with_extension(TAKEN);
        match engine.env.rename_new(&path, &taken) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // Withdrawn.
            Err(error) => return Err(Error::io("take a request", &path, error)),
        }
        let outcome = judge(engine, writer, &taken)?;
        request::answer(engine, &taken, outcome)?;
        served += 1;
    }
    if served > 0 || request::is_time(engine, &writer.looked.leftovers, request::SWEEP_MICROS) {
        request::sweep(engine, false)?;
    }
    Ok(served)
}

fn judge(engine: &Engine, writer: &Writer, path: &Path) -> Result<Outcome> {
    let bytes = match read_file(&*engine.env, path, REQUEST_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Outcome::Damaged),
        Err(error) => return Err(Error::io("read a request", path, error)),
    };
    let Ok(sealed) = SealedRequest::parse(&bytes) else { return Ok(Outcome::Damaged) };
    let (epoch, sealer) = engine.keyring.request_sealer();
    if sealed.head.store != engine.store {
        return Ok(Outcome::Damaged);
    }
    if sealed.head.epoch != epoch || sealed.head.until < engine.env.now() {
        return Ok(Outcome::Stale);
    }
    let Ok(request) = sealed.open(&sealer) else { return Ok(Outcome::Damaged) };
    Ok(match carry_out(engine, writer, request) {
        Ok(outcome) => outcome,
        Err(error) => match error.kind() {
            ErrorKind::Refused | ErrorKind::Erased => Outcome::Refused,
            ErrorKind::Held => Outcome::Held,
            ErrorKind::NotFound => Outcome::Nothing,
            _ => Outcome::Failed,
        },
    })
}

/// Does what is asked.
fn carry_out(engine: &Engine, writer: &Writer, request: Request) -> Result<Outcome> {
    writer.committer.check()?;
    let done = |act: Option<u64>| act.map_or(Outcome::Nothing, Outcome::Done);
    match request {
        Request::Erase { customers } => {
            let ids = customers.iter().map(|one| living(engine, one)).collect::<Result<Vec<_>>>()?;
            let ids: Vec<CustomerId> = ids.into_iter().flatten().collect();
            erase::whole(engine, writer, &ids).map(done)
        }
        // All of a customer is not asked for by this name.
        Request::ErasePart { stream: None, until: None, .. } => Ok(Outcome::Nothing),
        Request::ErasePart { customer, stream, until } => {
            let Some(id) = living(engine, &customer)? else { return Ok(Outcome::Nothing) };
            erase::part(engine, writer, &id, stream, until).map(done)
        }
        Request::Expire { now, confirmed } => {
            let now = due::judged_by(engine, now, confirmed)?;
            due::expire(engine, writer, now).map(|expired| done(expired.acts.first().copied()))
        }
        Request::Hold { customer, hold } => {
            let id = customer.map(|customer| living(engine, &customer)).transpose()?;
            if id == Some(None) {
                return Ok(Outcome::Nothing);
            }
            let number = hold::placed(engine, writer, id.flatten().as_ref(), &hold)?;
            Ok(number.map_or(Outcome::Nothing, Outcome::Placed))
        }
        Request::Release { hold } => hold::released(engine, hold).map(done),
        Request::Report { customer, kind, at } => {
            let Some(id) = living(engine, &customer)? else { return Ok(Outcome::Nothing) };
            let is_known = report::kept(engine, &id, kind, at)?;
            Ok(if is_known { Outcome::Kept } else { Outcome::Nothing })
        }
        Request::Rectify { customer, id, body } => {
            let Some(of) = living(engine, &customer)? else { return Ok(Outcome::Nothing) };
            writer.ballast.require(&*engine.env)?;
            rectify::amended(engine, writer, &of, id, &body).map(Outcome::Amended)
        }
        Request::Redact { customer, id, despite } => {
            let Some(of) = living(engine, &customer)? else { return Ok(Outcome::Nothing) };
            erase::record(engine, &of, id, despite).map(done)
        }
    }
}

/// The id of a customer who has a life to lose, as somebody who asks has named them.
fn living(engine: &Engine, named: &Named) -> Result<Option<CustomerId>> {
    let found = engine
        .keyring
        .customer_under(&named.tag)?
        .filter(|found| found.entry.subject == named.subject && found.entry.state == CustomerState::Living);
    Ok(found.map(|found| found.entry.id.clone()))
}
