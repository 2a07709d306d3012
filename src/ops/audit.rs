//! Audit: reading the access logs, and putting uses on record.

use crate::access_log::{self, About, Entry, LogFile, Month, Outcome};
use crate::crypto::{Sealer, access_key};
use crate::engine::{Engine, access};
use crate::error::{Error, ErrorKind, Result};
use crate::format::access::Entry as Leaf;
use crate::ident::{CustomerId, SubjectNumber};
use crate::keyring::CustomerState;
use crate::report::{AccessReport, AccessUse, Damage, RoleUses};
use crate::rights::{Actor, ROLES, Right, Role};
use crate::window::Timestamp;

pub use crate::engine::access::ready;

/// Which uses are asked for: all, unless narrowed.
#[derive(Clone, Debug)]
pub struct AccessFilter {
    /// Only what was about this customer, or about all.
    pub customer: Option<CustomerId>,
    /// Only what was done by this actor.
    pub actor: Option<String>,
    /// Only this right.
    pub right: Option<Right>,
    /// Only at or after this time.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// The newest so many.
    pub limit: usize,
}

impl Default for AccessFilter {
    fn default() -> Self {
        AccessFilter { customer: None, actor: None, right: None, from: None, until: None, limit: 10_000 }
    }
}

/// A use that is over, or about to be, as it is to be put on record.
pub struct Use<'a> {
    /// What was done.
    pub right: Right,
    /// By whom.
    pub actor: &'a Actor,
    /// In which role.
    pub role: Role,
    /// How it ended.
    pub outcome: Outcome,
    /// The customers who live here of those it was about.
    pub subjects: &'a [SubjectNumber],
    /// Whether it must be durable before the return.
    pub prompt: bool,
}

/// Puts a use on record. One about more customers than an entry names becomes several.
///
/// # Errors
/// What the access log answers.
pub fn note(engine: &Engine, done: &Use<'_>) -> Result<()> {
    let entry = |about| Entry {
        right: done.right,
        role: done.role,
        role_taken: done.actor.role().is_none(),
        outcome: done.outcome,
        about,
        actor: done.actor.id().into(),
        purpose: done.actor.purpose_given().into(),
    };
    let mut parts = done.subjects.chunks(access_log::SUBJECTS_LIMIT);
    let first = match parts.next() {
        _ if done.right == Right::Scan => About::Everybody,
        Some(part) => About::Customers(part.to_vec()),
        None => About::Nobody,
    };
    for part in parts {
        access::note(engine, &entry(About::Customers(part.to_vec())), false)?;
    }
    access::note(engine, &entry(first), done.prompt)
}

/// The subject numbers of those of `customers` who live here. Who was erased keeps a number until the tombstone goes, and to
/// name it would tell of whom all earlier entries are. Whoever cannot be looked up is left out: what is asked of them says so by
/// itself.
pub fn subjects(engine: &Engine, customers: &[&str]) -> Vec<SubjectNumber> {
    let mut subjects = Vec::new();
    for customer in customers {
        if let Ok(id) = CustomerId::new(*customer)
            && let Ok(Some(found)) = engine.keyring.customer(&id)
            && found.entry.state == CustomerState::Living
        {
            subjects.push(found.entry.subject);
        }
    }
    subjects
}

/// The subject number of whoever hold `number` stands on; nobody's where it is on all, or stands no more.
pub fn held_by(engine: &Engine, number: u64) -> Vec<SubjectNumber> {
    engine.ledger().state().holds.standing.get(&number).and_then(|hold| hold.subject).into_iter().collect()
}

/// The uses that `filter` lets through. What was about a customer is told while the customer lives here, and of nobody
/// after.
///
/// # Errors
/// Damage in the keyring; damage of access logs is in the answer.
pub fn log(engine: &Engine, filter: &AccessFilter) -> Result<AccessReport> {
    engine.access.log.sync()?;
    let mut report = AccessReport::default();
    let subject = match &filter.customer {
        None => None,
        Some(customer) => match engine.keyring.customer(customer)? {
            Some(found) if found.entry.state == CustomerState::Living => Some(found.entry.subject),
            _ => return Ok(report),
        },
    };
    for file in access_log::files(&*engine.env, engine.access.log.dir())? {
        let early = filter.until.is_some_and(|until| Month::of(until) < file.month);
        if early || filter.from.is_some_and(|from| file.month < Month::of(from)) {
            continue;
        }
        match read(engine, &file, filter, subject, &mut report) {
            Err(error) if error.kind() == ErrorKind::Corrupt => report.damage.push(damage(&file, &error)),
            outcome => outcome?,
        }
    }
    newest(&mut report, filter.limit);
    Ok(report)
}

/// Damage of one access log.
pub fn damage(file: &LogFile, error: &Error) -> Damage {
    Damage { path: file.path.clone(), offset: error.offset(), what: error.without_place() }
}

/// Leaves the newest `limit`.
fn newest(report: &mut AccessReport, limit: usize) {
    report.uses.sort_by_key(|one| one.at);
    if report.uses.len() > limit {
        report.uses.drain(..report.uses.len() - limit);
        report.more = true;
    }
}

/// What was done in each role from a time on. Damaged logs go to `damage`, and the others are read.
///
/// # Errors
/// Damage in the keyring.
pub fn by_role(engine: &Engine, from: Timestamp, damaged: &mut Vec<Damage>) -> Result<Vec<RoleUses>> {
    engine.access.log.sync()?;
    let mut uses: Vec<RoleUses> =
        ROLES.into_iter().map(|role| RoleUses { role, uses: 0, reads: 0, refused: 0, taken: 0 }).collect();
    let mut report = AccessReport::default();
    let files = access_log::files(&*engine.env, engine.access.log.dir())?;
    for file in files.into_iter().filter(|file| Month::of(from) <= file.month) {
        let filter = AccessFilter { from: Some(from), ..AccessFilter::default() };
        let counted = walk(engine, &file, &filter, &mut report, &mut |_, _, entry| {
            let Some(of_role) = uses.iter_mut().find(|uses| uses.role == entry.role) else { return };
            if entry.outcome == Outcome::Begun {
                return; // How it ended counts.
            }
            of_role.uses += 1;
            of_role.reads += u64::from(entry.right.is_reading() && entry.outcome == Outcome::Done);
            of_role.refused += u64::from(entry.outcome == Outcome::Refused);
            of_role.taken += u64::from(entry.role_taken);
        });
        match counted {
            Err(error) if error.kind() == ErrorKind::Corrupt => damaged.push(damage(&file, &error)),
            outcome => outcome?,
        }
    }
    uses.retain(|uses| uses.uses > 0);
    Ok(uses)
}

fn read(
    engine: &Engine,
    file: &LogFile,
    filter: &AccessFilter,
    subject: Option<SubjectNumber>,
    report: &mut AccessReport,
) -> Result<()> {
    walk(engine, file, filter, report, &mut |report, at, entry| {
        report.uses.extend(wanted(&entry, filter, subject).then(|| tell(at, entry)));
        if report.uses.len() >= filter.limit.saturating_mul(2).max(1024) {
            newest(report, filter.limit);
        }
    })
}

/// Visits what one log says of the time that `filter` asks for, and notes in `report` what cannot be read of it.
fn walk(
    engine: &Engine,
    file: &LogFile,
    filter: &AccessFilter,
    report: &mut AccessReport,
    visit: &mut dyn FnMut(&mut AccessReport, Timestamp, Entry),
) -> Result<()> {
    let Some(month) = engine.keyring.month_key(file.month)? else {
        report.closed += 1;
        return Ok(());
    };
    let sealer = Sealer::new(&access_key(&engine.store, &month, &file.log.0));
    let head = crate::format::access::Head { store: engine.store, log: file.log, month: file.month };
    let scanned = access_log::scan(&*engine.env, file, &engine.store, &mut |before, leaf| {
        let within = filter.from.is_none_or(|from| leaf.time >= from);
        if within && filter.until.is_none_or(|until| leaf.time < until) {
            let (at, entry) = Leaf::open(&head, &sealer, before.length(), leaf.bytes)
                .map_err(|flaw| Error::new(ErrorKind::Corrupt, flaw.0).in_file(&file.path))?;
            visit(report, at, entry);
        }
        Ok(true)
    })?;
    report.unfinished_bytes += scanned.unfinished;
    Ok(())
}

fn wanted(entry: &Entry, filter: &AccessFilter, subject: Option<SubjectNumber>) -> bool {
    let about = subject.is_none_or(|subject| match &entry.about {
        About::Customers(subjects) => subjects.contains(&subject),
        About::Everybody => true,
        About::Nobody => false,
    });
    about
        && filter.actor.as_deref().is_none_or(|actor| *actor == *entry.actor)
        && filter.right.is_none_or(|right| right == entry.right)
}

fn tell(at: Timestamp, entry: Entry) -> AccessUse {
    let subjects = match &entry.about {
        About::Customers(subjects) => subjects.iter().map(ToString::to_string).collect(),
        About::Nobody | About::Everybody => Vec::new(),
    };
    AccessUse {
        at,
        everybody: entry.about == About::Everybody,
        actor: entry.actor.into(),
        role: entry.role,
        role_taken: entry.role_taken,
        purpose: entry.purpose.into(),
        right: entry.right,
        outcome: match entry.outcome {
            Outcome::Done => "done",
            Outcome::Nothing => "nothing",
            Outcome::Refused => "refused",
            Outcome::Declined => "declined",
            Outcome::Failed => "failed",
            Outcome::Begun => "begun",
        },
        subjects,
    }
}
