//! How long a backend takes, changed by the test while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A shared handle; clones are the same delay. Zero at first.
#[derive(Debug, Clone, Default)]
pub struct Delay {
    millis: Arc<AtomicU64>,
}

impl Delay {
    /// That many milliseconds from the beginning.
    pub fn of(millis: u64) -> Delay {
        let delay = Delay::default();
        delay.set(millis);
        delay
    }

    /// From now on it is so many milliseconds.
    pub fn set(&self, millis: u64) {
        self.millis.store(millis, Ordering::Release);
    }

    /// Lets this time pass.
    pub fn pass(&self) {
        let end = Instant::now() + Duration::from_millis(self.millis.load(Ordering::Acquire));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}
