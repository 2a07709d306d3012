//! Asking the process that holds the store, from a read-only opening: write the request, look for the answer, read what
//! came of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use crate::engine::{Engine, due, request};
use crate::env::{publish_new, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ledger::Act;
use crate::format::request::{Named, Outcome, Request, RequestHead, SUBJECTS_LIMIT};
use crate::ident::{CustomerId, PartitionNumber, SubjectNumber};
use crate::keyring::{CustomerState, HoldEntry};
use crate::ops::hold::checked;
use crate::ops::refresh::writer_lives;
use crate::ops::timeline;
use crate::record::Stored;
use crate::report::{Expiring, Expiry, Receipt};
use crate::window::Timestamp;

/// A request on its way.
pub struct Asked {
    request: PathBuf,
    answer: PathBuf,
}

/// Publishes `request`, which is not to be begun after `until`.
///
/// # Errors
/// [`ErrorKind::Invalid`] where nobody holds the store open for writing, and for too many customers at once; what the operating system answers.
pub fn ask(engine: &Engine, request: &Request, until: Timestamp) -> Result<Asked> {
    if matches!(request, Request::Erase { customers } if customers.len() > SUBJECTS_LIMIT) {
        let message = format!("one request names at most {SUBJECTS_LIMIT} customers");
        return Err(Error::new(ErrorKind::Invalid, message).hint("ask for fewer at once"));
    }
    if !writer_lives(&*engine.env, &engine.root) {
        return Err(Error::new(ErrorKind::Invalid, "no process holds the store open that could do what is asked")
            .in_file(&engine.root)
            .hint("open it for writing, and do it there"));
    }
    let drawn = |error| Error::io("draw random bytes", &engine.root, error);
    let (epoch, sealer) = engine.keyring.request_sealer();
    let nonce = random(&*engine.env).map_err(drawn)?;
    let name = u128::from_le_bytes(random(&*engine.env).map_err(drawn)?);
    let path = engine.root.join(request::DIRECTORY).join(format!("{name:032x}.{}", request::ASKED));
    let bytes = request.seal(&RequestHead { store: engine.store, epoch, until }, &sealer, &nonce);
    publish_new(&*engine.env, &path, &bytes).map_err(|error| Error::io("write a request", &path, error))?;
    Ok(Asked { answer: path.with_extension(request::ANSWERED), request: path })
}

/// The answer, once there is one; it is taken away then.
///
/// # Errors
/// What taking it away answers.
pub fn answer(engine: &Engine, asked: &Asked) -> Result<Option<Outcome>> {
    let Some(answer) = request::read_answer(engine, &asked.answer) else { return Ok(None) };
    let gone = engine.env.remove_file(&asked.answer);
    gone.map_err(|error| Error::io("take away an answer", &asked.answer, error))?;
    Ok(Some(answer.outcome))
}

/// Takes back a request that nobody has answered in time, and says what that means.
pub fn withdraw(engine: &Engine, asked: &Asked) -> Error {
    let error = match engine.env.remove_file(&asked.request) {
        Ok(()) => "the process that holds the store did not look at the request in time; it was taken back",
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "the process that holds the store has begun what was asked, but has not finished it in time"
        }
        Err(_) => "the process that holds the store did not answer in time",
    };
    Error::new(ErrorKind::Locked, error).hint(
        "that process must run with a worker, append, or call maintain; what was begun will be finished, and the \
         receipts tell of it",
    )
}

/// The error that an answer stands for; none for one that is no error.
///
/// # Errors
/// [`ErrorKind::Refused`], [`ErrorKind::Held`], or [`ErrorKind::Io`] where it failed on the way.
pub fn check(outcome: Outcome, asked: &Request) -> Result<()> {
    let (kind, message, hint) = match outcome {
        Outcome::Refused if matches!(asked, Request::Expire { .. }) => (
            ErrorKind::Refused,
            "the process that holds the store refused: the time is later than can be trusted",
            "look at what would go with --dry-run, then add --confirm",
        ),
        Outcome::Refused if matches!(asked, Request::Redact { .. }) => (
            ErrorKind::Refused,
            "nothing was done: a duty to keep the record runs",
            "what must never have been stored (card data) is redacted despite the duty, where that is said",
        ),
        Outcome::Refused => (
            ErrorKind::Refused,
            "the process that holds the store refused: the customer is being let go of, or was",
            "`tenure receipt list` shows what was let go of",
        ),
        Outcome::Held => (
            ErrorKind::Held,
            "nothing was done: a hold stands against it",
            "`tenure hold list` shows why; `tenure hold release NUMBER` lifts one",
        ),
        Outcome::Damaged => (
            ErrorKind::Io,
            "the process that holds the store could not read the request",
            "ask again; where that does not help, both may be of different versions",
        ),
        Outcome::Failed => (
            ErrorKind::Io,
            "the process that holds the store could not finish what was asked",
            "see its own errors; what was begun will be finished when the store is opened again",
        ),
        _ => return Ok(()),
    };
    Err(Error::new(kind, message).hint(hint))
}

/// Those of `customers` that live, each once, as the writer is to know them.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where their part of the keyring cannot be read.
pub fn living(engine: &Engine, customers: &[CustomerId]) -> Result<Vec<Named>> {
    let (mut living, mut seen) = (Vec::new(), HashSet::new());
    for customer in customers {
        living.extend(named(engine, customer)?.filter(|named| seen.insert(named.tag)));
    }
    Ok(living)
}

/// A customer as the writer is to know them; none of somebody who does not live here.
///
/// # Errors
/// As [`living`].
pub fn named(engine: &Engine, customer: &CustomerId) -> Result<Option<Named>> {
    let tag = engine.keyring.tag_of(customer);
    let found = engine.keyring.customer_under(&tag)?.filter(|found| found.entry.state == CustomerState::Living);
    Ok(found.map(|found| Named { subject: found.entry.subject, tag }))
}

/// What there was when something was asked: what has a later number may be what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    act: u64,
    hold: u64,
}

impl Since {
    /// As it is now.
    pub fn now(engine: &Engine) -> Self {
        let ledger = engine.ledger();
        Since { act: ledger.state().acts.next(), hold: ledger.state().holds.given }
    }
}

/// What came of a request that was answered with `answer`, should somebody have done it all the same: its first asking may
/// have been interrupted after it was done.
///
/// # Errors
/// Damage in what has to be read.
pub fn done_since(engine: &Engine, request: &Request, since: Since, answer: Outcome) -> Result<Option<Outcome>> {
    match request {
        Request::Hold { customer, hold } => {
            let subject = customer.as_ref().map(|customer| customer.subject);
            let scope = checked(hold)?;
            let is_this = |entry: &HoldEntry| {
                let words = (&entry.matter, &entry.reason) == (&hold.matter, &hold.reason);
                words && entry.number > since.hold && entry.subject() == subject && entry.scope == scope
            };
            Ok(engine.keyring.holds()?.iter().find(|entry| is_this(entry)).map(|entry| Outcome::Placed(entry.number)))
        }
        Request::Rectify { customer, id, body } => {
            let Some(found) = engine.keyring.customer_under(&customer.tag)? else { return Ok(None) };
            let shown = timeline::get(engine, &found.entry.id, *id)?;
            let is_this = |stored: &Stored| stored.amends.is_some() && stored.body[..] == body[..];
            Ok(shown.filter(is_this).map(|stored| Outcome::Amended(stored.id)))
        }
        // To keep a fact twice is to keep it once; and which record an act has redacted, it does not say: while there is
        // something to redact, it was another one.
        Request::Report { .. } => Ok(None),
        Request::Redact { .. } if answer != Outcome::Nothing => Ok(None),
        _ => Ok(act_since(engine, request, since.act).map(Outcome::Done)),
    }
}

/// An act from number `first` on that did what `request` asks.
fn act_since(engine: &Engine, request: &Request, first: u64) -> Option<u64> {
    let fits = |act: &Act| match (act, request) {
        (Act::Erase { subjects, kept, .. }, Request::Erase { customers }) => {
            let erased: HashSet<&SubjectNumber> =
                subjects.iter().chain(kept.iter().map(|(subject, _)| subject)).collect();
            customers.iter().all(|customer| erased.contains(&customer.subject))
        }
        (Act::ErasePart { subject, stream, until, .. }, Request::ErasePart { customer, stream: of, until: before }) => {
            (subject, stream, until) == (&customer.subject, of, before)
        }
        (Act::Expire { .. }, Request::Expire { .. }) => true,
        (Act::Release { hold, .. }, Request::Release { hold: number }) => hold == number,
        (Act::Redact { subject, .. }, Request::Redact { customer, .. }) => *subject == customer.subject,
        _ => false,
    };
    let ledger = engine.ledger();
    let acts = ledger.state().acts.by_number.range(first..);
    acts.filter(|(_, state)| state.done.is_some() && fits(&state.act)).map(|(number, _)| *number).next_back()
}

/// Every partition that has a deadline, as an expiry tells of it.
pub fn deadlines(engine: &Engine) -> HashMap<PartitionNumber, Expiring> {
    due::due(engine, Timestamp::from_micros(i64::MAX)).into_iter().collect()
}

/// The expiry that `receipt` is of, told with what was `known` of the partitions before.
pub fn expiry(engine: &Engine, receipt: Receipt, known: &HashMap<PartitionNumber, Expiring>) -> Expiry {
    let (policy, ledger) = (engine.policy(), engine.ledger());
    let (mut expired, mut at) = (Vec::new(), receipt.intended);
    if let Some(Act::Expire { partitions, now, held, .. }) =
        ledger.state().acts.by_number.get(&receipt.number).map(|state| &state.act)
    {
        let held: HashMap<_, _> = held.iter().map(|(number, subjects)| (number, subjects)).collect();
        for (number, ..) in partitions {
            let Some(mut one) = known.get(number).cloned() else { continue };
            if let Some(subjects) = held.get(number) {
                one.held = subjects.len() as u64;
                let over = ledger
                    .state()
                    .holds
                    .over(&one.partition, &policy)
                    .filter(|(_, hold)| subjects.iter().any(|one| hold.concerns(one)));
                one.holds = over.map(|(hold, _)| hold).collect();
            }
            expired.push(one);
        }
        at = *now;
    }
    let rows = receipt.lapsed.clone();
    Expiry { now: at, partitions: expired, rows, receipt: Some(receipt), ..Expiry::default() }
}
