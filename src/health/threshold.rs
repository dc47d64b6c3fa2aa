//! When good and bad probes make a verdict. Pure.

use std::time::Duration;

use crate::upstream::health::Status;

/// Counts probes in a row.
#[derive(Debug)]
pub(super) struct Threshold {
    fall: u32,
    rise: u32,
    status: Status,
    failures: u32,
    successes: u32,
    /// Probes since the verdict fell to unreachable.
    down: u32,
}

impl Threshold {
    pub(super) fn new(fall: u32, rise: u32) -> Threshold {
        Threshold {
            fall,
            rise,
            status: Status::NotChecked,
            failures: 0,
            successes: 0,
            down: 0,
        }
    }

    /// From now on these decide.
    pub(super) fn adjust(&mut self, fall: u32, rise: u32) {
        (self.fall, self.rise) = (fall, rise);
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Failed probes in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes one probe into account. Before the first verdict one good probe is enough.
    pub(super) fn record(&mut self, is_good: bool) -> Status {
        if is_good {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
            let needed = if self.status == Status::NotChecked {
                1
            } else {
                self.rise
            };
            if self.successes >= needed {
                self.status = Status::Healthy;
                self.down = 0;
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
            if self.status == Status::Unreachable {
                self.down = self.down.saturating_add(1);
            } else if self.failures >= self.fall {
                self.status = Status::Unreachable;
            }
        }
        self.status
    }

    /// Until the next probe: `interval`, doubling with every failed probe while down, up to `longest`. The first good one
    /// ends the doubling: a backend that comes back is not kept waiting for its second.
    pub(super) fn pause(&self, interval: Duration, longest: Duration) -> Duration {
        if self.status != Status::Unreachable || self.successes > 0 {
            return interval;
        }
        interval
            .saturating_mul(1 << self.down.min(16))
            .min(longest.max(interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(threshold: &mut Threshold, probes: &str) -> Vec<&'static str> {
        probes
            .chars()
            .map(|probe| threshold.record(probe == '+').as_str())
            .collect()
    }

    #[test]
    fn fall_and_rise() {
        let mut threshold = Threshold::new(3, 2);
        assert_eq!(threshold.status(), Status::NotChecked);
        assert_eq!(
            statuses(&mut threshold, "+--+---"),
            [
                "healthy",
                "healthy",
                "healthy",
                "healthy",
                "healthy",
                "healthy",
                "unreachable"
            ]
        );
        assert_eq!(
            statuses(&mut threshold, "+-++"),
            ["unreachable", "unreachable", "unreachable", "healthy"]
        );
    }

    #[test]
    fn a_backend_that_never_answered_falls_too() {
        let mut threshold = Threshold::new(2, 2);
        assert_eq!(
            statuses(&mut threshold, "--"),
            ["not_checked", "unreachable"]
        );
    }

    #[test]
    fn probing_slows_down_while_down() {
        let second = Duration::from_secs(1);
        let mut threshold = Threshold::new(1, 2);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            threshold.record(false);
            pauses.push(threshold.pause(second, 6 * second).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 6, 6]);
        threshold.record(true);
        assert_eq!(threshold.pause(second, 6 * second), second);
    }
}
