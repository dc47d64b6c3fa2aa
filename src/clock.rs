//! Time as the rooms see it: monotonic instants for durations, wall-clock time for people.
//!
//! Nothing here waits. Pure rules take the time as an argument, so that tests need no clock at all.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 for a clock before it.
pub fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What is left until `deadline`; zero when it has passed.
pub fn remaining(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}

/// `instant` as wall-clock time, given that both `now`s are the same moment.
pub fn to_wall(instant: Instant, now: Instant, wall_now: SystemTime) -> SystemTime {
    let ago = now.saturating_duration_since(instant);
    wall_now.checked_sub(ago).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_goes_back_by_the_same_amount() {
        let now = Instant::now();
        let wall = UNIX_EPOCH + Duration::from_secs(100);
        let then = now - Duration::from_millis(1500);
        assert_eq!(unix_millis(to_wall(then, now, wall)), 98_500);
    }

    #[test]
    fn nothing_remains_after_the_deadline() {
        let now = Instant::now();
        assert_eq!(remaining(now, now + Duration::from_secs(1)), Duration::ZERO);
    }
}
