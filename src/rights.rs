//! Who may do what: roles, rights, and the one table of both. Pure; what comes of it is `access`'s.
//!
//! It knows no store. A host that decides by rules of its own (Cedar, OPA, casbin, its own tables) implements
//! [`Authorizer`]; everybody else has [`RoleTable`].

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The longest name of an actor in bytes of UTF-8.
pub const ACTOR_LIMIT: usize = 128;
/// The longest purpose in bytes of UTF-8.
pub const PURPOSE_LIMIT: usize = 1024;

/// In whose place somebody acts. The numbers stand in access logs and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Role {
    /// A service that brings records in, and reads none.
    Ingest = 1,
    /// Somebody who serves customers, one at a time.
    Agent = 2,
    /// Somebody who looks after agents, and over many customers.
    Supervisor = 3,
    /// Somebody who answers for people's rights: erases, exports, holds.
    Privacy = 4,
    /// Somebody who checks what others did, and reads no records.
    Auditor = 5,
    /// Somebody, or a timer, who runs the store, and reads no records.
    Operator = 6,
}

/// Every role, in the order of their numbers.
pub const ROLES: [Role; 6] =
    [Role::Ingest, Role::Agent, Role::Supervisor, Role::Privacy, Role::Auditor, Role::Operator];

impl Role {
    /// The role with this number.
    pub fn from_code(code: u8) -> Option<Role> {
        ROLES.into_iter().find(|role| *role as u8 == code)
    }

    /// Its name, as the program takes it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Agent => "agent",
            Role::Supervisor => "supervisor",
            Role::Privacy => "privacy",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ROLES.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "there is no such role")
                .hint("ingest, agent, supervisor, privacy, auditor or operator")
        })
    }
}

/// Declares the rights with their numbers, names and rows of the table.
macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident = $code:literal $name:literal: $($role:ident)+;)+) => {
        /// What can be done with a store. The numbers stand in access logs and never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Right {
            $($(#[$doc])* $right = $code,)+
        }

        /// Every right.
        pub const RIGHTS: &[Right] = &[$(Right::$right),+];

        impl Right {
            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Right::$right => $name,)+
                }
            }

            /// The roles that may, by the usual table. The first is the least that does.
            pub fn usual_roles(self) -> &'static [Role] {
                match self {
                    $(Right::$right => &[$(Role::$role),+],)+
                }
            }
        }
    };
}

rights! {
    /// Take records in.
    Append = 1 "append": Ingest;
    /// Report a fact about a customer that periods run from.
    Inform = 2 "inform": Ingest Supervisor Privacy;
    /// Read one customer's records.
    Timeline = 3 "timeline": Agent Supervisor Privacy;
    /// Read one record, or its body.
    Get = 4 "get": Agent Supervisor Privacy;
    /// Search one customer's records.
    Grep = 5 "grep": Agent Supervisor Privacy;
    /// Read everybody's records.
    Scan = 6 "scan": Supervisor Privacy;
    /// Read what only a hold still keeps.
    Held = 7 "held": Privacy;
    /// Hand out everything about a customer.
    Export = 8 "export": Privacy;
    /// Put a record right.
    Rectify = 9 "rectify": Supervisor Privacy;
    /// Destroy one record.
    Redact = 10 "redact": Privacy;
    /// Erase customers, whole or in part.
    Erase = 11 "erase": Privacy;
    /// Place a legal hold.
    PlaceHold = 12 "hold-place": Privacy;
    /// Lift a legal hold.
    ReleaseHold = 13 "hold-release": Privacy;
    /// See the holds that stand.
    ListHolds = 14 "hold-list": Privacy Auditor;
    /// See where a customer lives, and what the law says of it.
    Explain = 15 "explain": Privacy Auditor;
    /// Let go of what is over.
    Expire = 16 "expire": Operator Privacy;
    /// Background work.
    Maintain = 17 "maintain": Operator;
    /// See how much is stored where.
    Stats = 18 "stats": Operator Ingest Supervisor Privacy Auditor;
    /// See the report on the whole store.
    Report = 19 "report": Operator Supervisor Privacy Auditor;
    /// Check every byte.
    Verify = 20 "verify": Operator Auditor;
    /// Make damaged files anew.
    Repair = 21 "repair": Operator;
    /// See the policy.
    ReadPolicy = 22 "policy": Operator Ingest Agent Supervisor Privacy Auditor;
    /// Put another policy in force.
    SetPolicy = 23 "policy-set": Operator Privacy;
    /// See what was let go of.
    Receipts = 24 "receipts": Operator Privacy Auditor;
    /// See who did what.
    AccessLog = 25 "audit-log": Auditor Privacy;
    /// Sign checkpoints, prove what is on record.
    Prove = 26 "audit-prove": Auditor Operator Privacy;
    /// Read what an erasure has left because a duty keeps it.
    Restricted = 27 "restricted": Privacy;
    /// Read every version of one customer's records, those before an amendment too.
    History = 28 "history": Supervisor Privacy;
}

impl Right {
    /// The right with this number.
    pub fn from_code(code: u8) -> Option<Right> {
        RIGHTS.iter().copied().find(|right| *right as u8 == code)
    }

    /// Whether it is about reading records, or handing them out.
    pub fn is_reading(self) -> bool {
        matches!(
            self,
            Right::Timeline
                | Right::Get
                | Right::Grep
                | Right::Scan
                | Right::Held
                | Right::Restricted
                | Right::History
                | Right::Export
        )
    }

    /// Whether its use must be on the medium before it returns: what cannot be taken back, and what leaves the house.
    pub fn is_grave(self) -> bool {
        matches!(
            self,
            Right::Export
                | Right::Redact
                | Right::Erase
                | Right::Expire
                | Right::PlaceHold
                | Right::ReleaseHold
                | Right::SetPolicy
        )
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Somebody who uses a store: a person or a service, in a role, for a purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Actor {
    id: Box<str>,
    role: Option<Role>,
    purpose: Box<str>,
}

impl Actor {
    /// Somebody whom the host knows by `id` (1 to 128 bytes), in one role.
    pub fn new(id: impl Into<Box<str>>, role: Role) -> Self {
        Actor { id: id.into(), role: Some(role), purpose: "".into() }
    }

    /// Somebody who holds the keys of the store, and so can take any role: of each call the log says in which role it was
    /// done, the least that may, and that it was taken rather than given.
    pub fn holding_the_keys(id: impl Into<Box<str>>) -> Self {
        Actor { id: id.into(), role: None, purpose: "".into() }
    }

    /// The same, for a purpose (at most 1,024 bytes): a ticket, a request, a case.
    pub fn purpose(self, purpose: impl Into<Box<str>>) -> Self {
        Actor { purpose: purpose.into(), ..self }
    }

    /// Who.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// In which role; none for whoever holds the keys.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// What for; empty where nothing was said.
    pub fn purpose_given(&self) -> &str {
        &self.purpose
    }

    /// Whether it can be put on record.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Invalid, what));
        match (self.id.len(), self.purpose.len()) {
            (0, _) => wrong("an actor has a name".into()),
            (id, _) if id > ACTOR_LIMIT => wrong(format!("the name of an actor has at most {ACTOR_LIMIT} bytes")),
            (_, purpose) if purpose > PURPOSE_LIMIT => wrong(format!("a purpose has at most {PURPOSE_LIMIT} bytes")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Actor {
    /// Neither who nor why: both belong into the access log alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({})", self.role.map_or("holding the keys", Role::name))
    }
}

/// What somebody is about to do.
#[derive(Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Who, and what for.
    pub actor: &'a Actor,
    /// In which role.
    pub role: Role,
    /// What.
    pub right: Right,
    /// To which customers, by id; empty where it is not about single customers.
    pub customers: &'a [&'a str],
}

impl fmt::Debug for AccessRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessRequest({} as {} on {})", self.right, self.role, self.customers.len())
    }
}

/// Decides who may do what. It is asked before every call that somebody makes through their rights, and its answer stands.
pub trait Authorizer: Send + Sync {
    /// Whether it may be done. Called on the caller's thread; a slow answer is a slow call.
    fn allows(&self, request: &AccessRequest<'_>) -> bool;
}

/// The usual table: [`Right::usual_roles`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RoleTable;

impl Authorizer for RoleTable {
    fn allows(&self, request: &AccessRequest<'_>) -> bool {
        request.right.usual_roles().contains(&request.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_distinct_and_read_back() {
        for (index, right) in RIGHTS.iter().enumerate() {
            assert_eq!(Right::from_code(*right as u8), Some(*right));
            assert!(RIGHTS[..index].iter().all(|other| other.name() != right.name()), "{right}");
        }
        assert!(ROLES.iter().all(|role| role.name().parse::<Role>().unwrap() == *role));
        assert!(Right::from_code(0).is_none() && Role::from_code(0).is_none() && Role::from_code(7).is_none());
    }

    #[test]
    fn nobody_who_reads_no_records_reads_any() {
        let reading: Vec<Right> = RIGHTS.iter().copied().filter(|right| right.is_reading()).collect();
        let names: Vec<&str> = reading.iter().map(|right| right.name()).collect();
        assert_eq!(names, ["timeline", "get", "grep", "scan", "held", "export", "restricted", "history"]);
        for right in reading {
            for role in [Role::Ingest, Role::Auditor, Role::Operator] {
                assert!(!right.usual_roles().contains(&role), "{right} {role}");
            }
        }
    }

    #[test]
    fn an_actor_is_not_shown() {
        let actor = Actor::new("ana", Role::Agent).purpose("ticket 88");
        assert_eq!(format!("{actor:?}"), "Actor(agent)");
        assert!(actor.check().is_ok());
        assert!(Actor::new("", Role::Agent).check().is_err());
        assert!(Actor::new("x".repeat(129), Role::Agent).check().is_err());
        assert!(actor.purpose("x".repeat(1025)).check().is_err());
    }
}
