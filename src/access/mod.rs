//! A store seen through somebody's rights: each call allowed or refused by their role, and each one put on record.
//!
//! It asks the [`Authorizer`], does what is asked through the plain store, and notes who did what, why, to whom and how it
//! ended. Whoever cannot be put on record is not served. It adds nothing to what a verb does.

mod records;
mod verbs;

use crate::sync::Arc;

pub use records::{Recording, Records};

use crate::access_log::Outcome;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::ident::SubjectNumber;
use crate::ops::audit;
use crate::report::Recovery;
use crate::rights::{AccessRequest, Actor, Right, Role};
use crate::store::Store;

/// A store as one actor may use it. Clones share both.
#[derive(Clone)]
pub struct Acting {
    store: Store,
    actor: Arc<Actor>,
    prompt: bool,
}

impl std::fmt::Debug for Acting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} for {:?}", self.store, self.actor)
    }
}

impl Store {
    /// This store, seen through somebody's rights. What is done through it is allowed or refused by their role, and noted
    /// in the access log: within a second; of anything grave (an erasure, an export) that it is begun before it is, and how it ended
    /// before it returns. What is done through
    /// the plain store is neither: that is for hosts which do both themselves.
    ///
    /// ```no_run
    /// # fn main() -> tenure::Result<()> {
    /// use tenure::{Actor, Role, Store};
    /// let store = Store::options("calls").open()?;
    /// let ana = store.acting_as(Actor::new("ana", Role::Agent).purpose("ticket 88"));
    /// for record in ana.timeline("c-17", ..)? {
    ///     println!("{}", record?.at);
    /// }
    /// assert_eq!(ana.erase(&["c-17"]).unwrap_err().kind(), tenure::ErrorKind::Forbidden);
    /// # Ok(()) }
    /// ```
    pub fn acting_as(&self, actor: Actor) -> Acting {
        Acting { store: self.clone(), actor: Arc::new(actor), prompt: false }
    }
}

/// How a use that did not fail ended.
enum End {
    Done,
    Nothing,
}

impl Acting {
    /// The same, and every use but of appending is on the medium before it returns: for programs that end right after.
    pub fn promptly(self) -> Self {
        Acting { prompt: true, ..self }
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What this opening found and mended.
    pub fn recovery(&self) -> &Recovery {
        self.store.recovery()
    }

    /// [`Store::close`]: for everybody who uses the store.
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<()> {
        self.store.close()
    }

    /// Does something that has no call of its own here, under one of the rights: allowed or refused, and noted, as
    /// everything else is.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] where the role does not allow it; those of `work`; those of the access log.
    pub fn perform<T>(&self, right: Right, customers: &[&str], work: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        self.run(right, customers, |_| End::Done, work)
    }

    /// Where there may be nothing to find or to do.
    fn maybe<T>(
        &self,
        right: Right,
        customers: &[&str],
        work: impl FnOnce(&Store) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.run(right, customers, |found| if found.is_some() { End::Done } else { End::Nothing }, work)
    }

    fn run<T>(
        &self,
        right: Right,
        customers: &[&str],
        end: impl FnOnce(&T) -> End,
        work: impl FnOnce(&Store) -> Result<T>,
    ) -> Result<T> {
        self.run_on(right, customers, &|engine| audit::subjects(engine, customers), end, work)
    }

    /// The same, where `subjects` knows whom it is about.
    fn run_on<T>(
        &self,
        right: Right,
        customers: &[&str],
        subjects: &dyn Fn(&Engine) -> Vec<SubjectNumber>,
        end: impl FnOnce(&T) -> End,
        work: impl FnOnce(&Store) -> Result<T>,
    ) -> Result<T> {
        self.actor.check()?;
        let (engine, _) = self.store.watch();
        audit::ready(engine)?;
        let Some(role) = self.role(right, customers) else {
            let role = self.actor.role().unwrap_or(right.usual_roles()[0]);
            self.note(right, role, Outcome::Refused, &subjects(engine))?;
            return Err(Error::new(ErrorKind::Forbidden, format!("the role {role} does not allow it: {right}"))
                .hint("act in a role that may; this was put on record"));
        };
        // What is grave is on the medium before it is done: no crash leaves it done and nobody to have done it. Of what is
        // erased, the number is known before; of what a reader has yet to hear of, after.
        let before = right.is_grave().then(|| subjects(engine));
        if let Some(before) = &before {
            self.note(right, role, Outcome::Begun, before)?;
        }
        let outcome = work(&self.store);
        let subjects = before.unwrap_or_else(|| subjects(engine));
        let ended = match outcome.as_ref().map(end) {
            Ok(End::Done) => Outcome::Done,
            Ok(End::Nothing) => Outcome::Nothing,
            Err(error) => match error.kind() {
                ErrorKind::Held | ErrorKind::Refused => Outcome::Declined,
                ErrorKind::Erased => Outcome::Nothing,
                _ => Outcome::Failed,
            },
        };
        self.note(right, role, ended, &subjects)?;
        outcome
    }

    fn note(&self, right: Right, role: Role, outcome: Outcome, subjects: &[SubjectNumber]) -> Result<()> {
        let prompt = right.is_grave() || self.prompt && right != Right::Append;
        let (actor, engine) = (&*self.actor, self.store.watch().0);
        audit::note(engine, &audit::Use { right, actor, role, outcome, subjects, prompt })
    }

    /// The role in which it is allowed; none where it is not.
    fn role(&self, right: Right, customers: &[&str]) -> Option<Role> {
        let (_, authorizer) = self.store.watch();
        let actor = &*self.actor;
        let allows = |role: &Role| authorizer.allows(&AccessRequest { actor, role: *role, right, customers });
        match actor.role() {
            Some(role) => Some(role).filter(allows),
            None => right.usual_roles().iter().copied().find(allows),
        }
    }

    /// Whether who was erased looks like who never was: to everybody but those who answer for erasures, and those who hold
    /// the keys anyway.
    fn is_discreet(&self) -> bool {
        self.actor.role().is_some_and(|role| role != Role::Privacy)
    }

    /// An answer about a customer, where an erased one is to look like an unknown one.
    fn discreetly<T>(&self, answer: Result<T>, nothing: impl FnOnce() -> T) -> Result<T> {
        match answer {
            Err(error) if error.kind() == ErrorKind::Erased && self.is_discreet() => Ok(nothing()),
            answer => answer,
        }
    }
}
