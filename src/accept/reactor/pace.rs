//! Whether a client moves its bytes fast enough: a minimum rate, on average, after a time of grace. Pure.

use std::time::Duration;

/// Nobody is measured before that much time has passed.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes that one client has moved since a moment, in milliseconds of the engine's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    since: u64,
    bytes: u64,
}

impl Pace {
    /// A client that begins now.
    pub(super) fn begin(now: u64) -> Pace {
        Pace {
            since: now,
            bytes: 0,
        }
    }

    /// The client has moved `bytes` more.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whether it is below `rate` bytes per second at `now`. A rate of 0 asks for nothing.
    pub(super) fn is_too_slow(&self, rate: u64, now: u64) -> bool {
        let millis = now.saturating_sub(self.since);
        if rate == 0 || u128::from(millis) < GRACE.as_millis() {
            return false;
        }
        u128::from(self.bytes) * 1000 < u128::from(rate) * u128::from(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_counts_and_only_after_the_grace() {
        let mut pace = Pace::begin(500);
        assert!(!pace.is_too_slow(1024, 10_499));
        assert!(pace.is_too_slow(1024, 10_500));
        assert!(!pace.is_too_slow(0, 10_500));
        pace.add(10_240);
        assert!(!pace.is_too_slow(1024, 10_500));
        assert!(pace.is_too_slow(1024, 10_502));
    }
}
