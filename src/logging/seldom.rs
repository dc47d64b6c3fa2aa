//! Saying something that may happen thousands of times a second, but not that often.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts what happens, and lets somebody tell of it every 10 s at most.
#[derive(Debug, Default)]
pub struct Seldom {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Counts one more, at `now`. How many there were since it was told of last, this one included, when it is time to tell.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        state.untold += 1;
        let is_time = state
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
        if !is_time {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_together() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.count(start), Some(1));
        for second in 0..10 {
            assert_eq!(seldom.count(start + Duration::from_secs(second)), None);
        }
        assert_eq!(seldom.count(start + PAUSE), Some(11));
        assert_eq!(seldom.count(start + PAUSE), None);
    }
}
