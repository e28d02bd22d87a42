//! Requests a second of each caller, by the generic cell rate algorithm.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Denied;
use crate::config::GuardConfig;

/// Requests between two sweeps of callers that have not come for long.
const SWEEP: u64 = 100_000;

/// See [`take`](Self::take).
pub(super) struct Quotas {
    limiter: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    taken: AtomicU64,
}

impl Quotas {
    pub fn of(config: &GuardConfig) -> Self {
        let rate = NonZeroU32::new(config.requests_per_sec);
        let limiter = rate.map(|rate| {
            let burst = NonZeroU32::new(config.burst).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self { limiter, taken: AtomicU64::new(0) }
    }

    /// Counts a request of `caller`.
    pub fn take(&self, caller: &Arc<str>) -> Result<(), Denied> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.taken.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(caller).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let reason = "more requests than the settings allow this caller";
            Denied::later(StatusCode::TOO_MANY_REQUESTS, reason, wait.as_secs() + 1)
        })
    }
}
