//! Time as the rooms see it: monotonic instants for durations, wall-clock time for people.
//!
//! Nothing here waits. Pure rules take the time as an argument, so that tests need no clock at all.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 for a clock before it.
pub fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// `instant` as wall-clock time, given that both `now`s are the same moment.
pub fn to_wall(instant: Instant, now: Instant, wall_now: SystemTime) -> SystemTime {
    let ago = now.saturating_duration_since(instant);
    wall_now.checked_sub(ago).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wall_time_goes_back_by_the_same_amount() {
        let now = Instant::now();
        let wall = UNIX_EPOCH + Duration::from_secs(100);
        let then = now - Duration::from_millis(1500);
        assert_eq!(unix_millis(to_wall(then, now, wall)), 98_500);
    }
}
