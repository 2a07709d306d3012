//! The verdict: the one place where minimum, maximum, holds and requests for erasure meet.

use super::{Duty, Facts, Happened, Limit, Terms};
use crate::window::Timestamp;

/// What is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The event, or the window of all that is asked about.
    pub happened: Happened,
    /// What is known of the customer; [`Facts::NONE`] for a column.
    pub facts: Facts,
    /// Whether a legal hold stands on it.
    pub held: bool,
    /// Since when its erasure has been asked for.
    pub erasure: Option<Timestamp>,
    /// The time to judge by. For a destruction: trusted time.
    pub now: Timestamp,
}

/// Why something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It must be: a minimum binds.
    Duty(Duty),
    /// It may be: no minimum binds any more, and the maximum lies ahead. It goes when its erasure is asked for.
    Allowed(Limit),
    /// It may be, for as long as anybody likes: no maximum runs, or none has begun to.
    Unlimited,
    /// No rule covers its stream.
    NoRule,
}

/// What the law says of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep {
        /// The maximum, when it goes by itself; none where nothing says when.
        until: Option<Timestamp>,
        /// Why it stays.
        why: Why,
    },
    /// Its erasure is asked for and a duty forbids it: only those who serve the duty may read it, and it goes when the
    /// duty is over.
    Restricted {
        /// The duty that stands against it.
        duty: Duty,
    },
    /// It would be due, and a legal hold alone keeps it.
    Held {
        /// Since when it would be due.
        since: Timestamp,
    },
    /// It is to go, now.
    Due {
        /// Since when.
        since: Timestamp,
    },
}

/// What the law says.
///
/// A duty is stronger than a request for erasure and, should they ever cross, than a maximum; a hold is stronger than
/// either of these two, and changes nothing before something is due.
pub fn verdict(terms: Option<Terms<'_>>, question: &Question) -> Verdict {
    let Question { happened, facts, held, erasure, now } = *question;
    let limit = terms.and_then(|terms| terms.limit(happened, &facts));
    let duty = terms.and_then(|terms| terms.duty(happened, &facts)).filter(|duty| duty.binds(now));
    if let Some(duty) = duty {
        let until = limit.zip(duty.until).map(|(limit, duty)| limit.at.max(duty));
        return match erasure.is_some_and(|asked| asked <= now) {
            true => Verdict::Restricted { duty },
            false => Verdict::Keep { until, why: Why::Duty(duty) },
        };
    }
    // The duty is over: what was asked for meanwhile has been due since its end.
    let over = terms.and_then(|terms| terms.duty(happened, &facts)).and_then(|duty| duty.until);
    let causes = [limit.map(|limit| limit.at), erasure].into_iter().flatten().filter(|cause| *cause <= now);
    let since = causes.min().map(|cause| over.map_or(cause, |over| over.max(cause)));
    match (since, held, limit) {
        (Some(since), true, _) => Verdict::Held { since },
        (Some(since), false, _) => Verdict::Due { since },
        (None, _, Some(limit)) => Verdict::Keep { until: Some(limit.at), why: Why::Allowed(limit) },
        (None, _, None) => {
            Verdict::Keep { until: None, why: if terms.is_some() { Why::Unlimited } else { Why::NoRule } }
        }
    }
}
