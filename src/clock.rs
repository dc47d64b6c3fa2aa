//! Wall-clock time as people and programs read it. Durations are measured with `Instant`, by whoever measures.
//!
//! Nothing here waits. Pure rules take the time as an argument, so that tests need no clock at all.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 for a clock before it.
pub fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_before_the_epoch_is_no_panic() {
        assert_eq!(
            unix_millis(UNIX_EPOCH + Duration::from_millis(98_500)),
            98_500
        );
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
