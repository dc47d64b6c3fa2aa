//! What an upstream knows about hedges: from when on an answer is late, and how many second attempts were made and won.
//!
//! Nothing is kept where `retry.hedge` is off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::nanos;

use super::Upstream;
use super::latency::Latency;

/// It outlives a change of the members.
#[derive(Debug, Default)]
pub(super) struct Hedging {
    latency: Mutex<Option<Box<Latency>>>,
    sent: AtomicU64,
    won: AtomicU64,
}

/// Second attempts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hedges {
    /// Attempts made while the first was still waited for.
    pub sent: u64,
    /// Those of them that answered first.
    pub won: u64,
}

impl Upstream {
    /// From when on a request is taken for slow: 95 of 100 are answered sooner. `None`: there is no hedging, or too little is
    /// known.
    pub fn slow_after(&self, now: Instant) -> Option<Duration> {
        if !self.settings.retry.hedge {
            return None;
        }
        let mut latency = self.shared.hedging.latency.lock();
        latency.as_mut()?.slow_after(nanos(now))
    }

    /// It took so long until a request was answered, or was given up for another attempt.
    pub(super) fn record_time(&self, after: Duration, now: Instant) {
        if self.settings.retry.hedge {
            let mut latency = self.shared.hedging.latency.lock();
            latency.get_or_insert_default().record(after, nanos(now));
        }
    }

    /// A second attempt went out.
    pub fn record_hedge(&self, has_won: bool) {
        let hedging = &self.shared.hedging;
        hedging.sent.fetch_add(1, Ordering::Relaxed);
        hedging.won.fetch_add(has_won.into(), Ordering::Relaxed);
    }

    /// Second attempts so far.
    pub fn hedges(&self) -> Hedges {
        let hedging = &self.shared.hedging;
        Hedges {
            sent: hedging.sent.load(Ordering::Relaxed),
            won: hedging.won.load(Ordering::Relaxed),
        }
    }
}
