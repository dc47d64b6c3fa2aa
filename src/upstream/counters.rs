//! What one backend has done so far. Counting takes no lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The counters of one backend.
#[derive(Debug, Default)]
pub(super) struct Counters {
    active: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    answers: AtomicU64,
    answer_micros: AtomicU64,
}

/// Counters of one backend at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Attempts under way.
    pub active: usize,
    /// Attempts begun since the start.
    pub requests: u64,
    /// Attempts that failed by the backend's doing.
    pub failures: u64,
    /// Attempts that were answered.
    pub answers: u64,
    /// All their times from the attempt's begin to the response head.
    pub answer_time: Duration,
}

impl Totals {
    /// Mean time from an attempt's begin to the response head; `None` before the first.
    pub fn mean_time(&self) -> Option<Duration> {
        let answers = u32::try_from(self.answers).unwrap_or(u32::MAX);
        self.answer_time.checked_div(answers)
    }
}

impl Counters {
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// One attempt more, unless there are `most` already.
    pub(super) fn begin(&self, most: usize) -> bool {
        // Never more, not even for a moment: whoever looks at that moment would take a free place for a taken one.
        let more = |active: usize| (active < most).then_some(active + 1);
        let begun = (self.active).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        begun.is_ok()
    }

    pub(super) fn end(&self) {
        // In one order with the count of those who wait for a place: see `vacancy`.
        self.active.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn record_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_answer(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.answer_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            active: self.active(),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            answer_time: Duration::from_micros(self.answer_micros.load(Ordering::Relaxed)),
        }
    }

    /// Goes on from what an earlier process had counted.
    pub(super) fn restore(&self, totals: &Totals) {
        let micros = u64::try_from(totals.answer_time.as_micros()).unwrap_or(u64::MAX);
        self.requests.fetch_add(totals.requests, Ordering::Relaxed);
        self.failures.fetch_add(totals.failures, Ordering::Relaxed);
        self.answers.fetch_add(totals.answers, Ordering::Relaxed);
        self.answer_micros.fetch_add(micros, Ordering::Relaxed);
    }
}
