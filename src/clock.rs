//! Wall-clock time as people and programs read it. Durations are measured with `Instant`, by whoever measures.
//!
//! Nothing here waits. Pure rules take the time as an argument, so that tests need no clock at all.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where [`nanos`] counts from: some moment of this process.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the Unix epoch; 0 for a clock before it.
pub fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A moment as a number that an atomic can hold: nanoseconds since some moment of this process, for comparing and for
/// differences. Never 0; 1 for what was before that moment.
pub fn nanos(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*BASE).as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
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

    #[test]
    fn moments_keep_their_distance_and_none_is_zero() {
        let now = Instant::now() + Duration::from_secs(1);
        let later = now + Duration::from_millis(3);
        assert_eq!(nanos(later) - nanos(now), 3_000_000);
        assert_eq!(nanos(*BASE), 1);
    }
}
