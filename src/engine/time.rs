//! Trusted time: what destruction may be judged by.
//!
//! A clock that jumps ahead must destroy nothing. While the store is open, trusted time advances with the monotonic
//! clock alone; at an opening it follows the wall clock by at most 45 days beyond the latest fact of the ledger, and
//! beyond that not at all, until somebody vouches for the clock.

use std::time::Duration;

use crate::env::Env;
use crate::window::Timestamp;

/// How far the wall clock may have moved between two openings before it must be vouched for.
const LEAP_SECONDS: i64 = 45 * 86_400;

/// Trusted time of one opening.
#[derive(Clone, Copy, Debug)]
pub struct TrustedTime {
    base: Timestamp,
    since: Duration,
    /// The wall clock, where it lies too far ahead to be believed.
    pub doubted: Option<Timestamp>,
}

impl TrustedTime {
    /// At an opening, `watermark` being the time of the latest fact. With `vouched`, the wall clock is believed.
    pub fn begin(env: &dyn Env, watermark: Timestamp, vouched: bool) -> Self {
        let clock = env.now();
        let believed = vouched || clock <= watermark.plus_seconds(LEAP_SECONDS);
        let base = if believed { clock.max(watermark) } else { watermark };
        TrustedTime { base, since: env.monotonic(), doubted: (!believed).then_some(clock) }
    }

    /// Now, as far as it can be trusted.
    pub fn now(&self, env: &dyn Env) -> Timestamp {
        let passed = env.monotonic().saturating_sub(self.since);
        let micros = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.base.as_micros().saturating_add(micros))
    }
}
