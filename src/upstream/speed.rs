//! How fast one backend answers now: a moving average of the time to the head of its answers that forgets by time.
//!
//! What that is good for is decided in `balance` and by who ejects.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::nanos;

/// After this long without an answer, what was known counts for a third of what comes next.
const MEMORY: Duration = Duration::from_millis(400);

/// A failure counts as an answer that took at least this long: who fails at once must not look fast.
const FAILURE: Duration = Duration::from_secs(1);

/// The average. Two answers at the very same time may overwrite each other: it is an estimate.
#[derive(Debug, Default)]
pub struct Speed {
    /// Bits of an `f64`, in nanoseconds; 0: nothing is known.
    mean: AtomicU64,
    /// When it was last brought up to date, as [`nanos`].
    at: AtomicU64,
}

impl Speed {
    /// The mean time in nanoseconds; `None` before the first answer.
    pub fn mean(&self) -> Option<f64> {
        let mean = f64::from_bits(self.mean.load(Ordering::Relaxed));
        (mean > 0.0).then_some(mean)
    }

    /// The same as a duration.
    pub fn mean_time(&self) -> Option<Duration> {
        self.mean().map(|mean| Duration::from_nanos(mean as u64))
    }

    /// An answer came after this time.
    pub fn record_answer(&self, after: Duration, now: Instant) {
        let now = nanos(now);
        let before = self.at.swap(now, Ordering::Relaxed);
        let value = (after.as_nanos() as f64).max(1.0);
        let mean = self.mean().map_or(value, |mean| {
            let kept = kept(now.saturating_sub(before));
            mean * kept + value * (1.0 - kept)
        });
        self.mean.store(mean.to_bits(), Ordering::Relaxed);
    }

    /// An attempt failed after this time.
    pub fn record_failure(&self, after: Duration, now: Instant) {
        self.record_answer(after.max(FAILURE), now);
    }

    /// Nobody waited any longer for an answer than this time: it would have come later.
    pub fn record_at_least(&self, after: Duration, now: Instant) {
        self.record_answer(after.max(self.mean_time().unwrap_or_default()), now);
    }

    /// Takes over what another process knew.
    pub fn restore(&self, mean: Duration, now: Instant) {
        self.record_answer(mean, now);
    }
}

/// How much of the old mean is kept after this many nanoseconds. Never all of it: answers that come in a rush count too.
fn kept(nanos: u64) -> f64 {
    const MOST: f64 = 0.99;
    (-(nanos as f64) / MEMORY.as_nanos() as f64).exp().min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn millis(speed: &Speed) -> f64 {
        speed.mean().unwrap() / 1e6
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let speed = Speed::default();
        assert_eq!(speed.mean(), None);
        speed.record_answer(5 * MILLI, Instant::now());
        assert_eq!(speed.mean_time(), Some(5 * MILLI));
    }

    #[test]
    fn it_forgets_by_time_and_not_by_count() {
        let start = Instant::now();
        let speed = Speed::default();
        speed.record_answer(2000 * MILLI, start);
        for step in 1..=8 {
            speed.record_answer(MILLI, start + Duration::from_secs(step));
        }
        assert!(millis(&speed) < 2.0, "{}", millis(&speed));
        let (rush, now) = (Speed::default(), Instant::now());
        rush.record_answer(MILLI, now);
        rush.record_answer(101 * MILLI, now);
        assert!((millis(&rush) - 2.0).abs() < 0.01, "{}", millis(&rush));
    }

    #[test]
    fn what_took_longer_makes_nobody_faster() {
        let now = Instant::now();
        let speed = Speed::default();
        speed.record_answer(50 * MILLI, now);
        let later = now + Duration::from_secs(1);
        speed.record_at_least(MILLI, later);
        assert_eq!(speed.mean_time(), Some(50 * MILLI));
        speed.record_at_least(500 * MILLI, later + Duration::from_secs(1));
        assert!(millis(&speed) > 200.0, "{}", millis(&speed));
    }

    #[test]
    fn who_fails_fast_is_not_fast() {
        let now = Instant::now();
        let speed = Speed::default();
        speed.record_failure(MILLI, now);
        assert_eq!(speed.mean_time(), Some(FAILURE));
    }
}
