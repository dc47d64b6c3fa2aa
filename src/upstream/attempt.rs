//! Attempts at one backend: whether another may begin, and what its outcome says about the backend.
//!
//! An outcome counts in the epoch in which its attempt began. What hung when the backend was ejected, or was under way to the
//! server that its name stood for before, fails later, and says nothing about the server that is there now.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::config::model;

use super::backend::{Backend, Condition, OPEN};
use super::breaker::{Reason, State};

/// How an attempt began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    epoch: u64,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As any other.
    Passing,
    /// It is the one that shows whether the backend is back.
    Trial { number: u64 },
    /// At an ejected backend, because there was no other. That it is answered well shows as much.
    InNeed,
}

impl Begun {
    /// Whether its outcome counts.
    fn counts(self, condition: &Condition) -> bool {
        let is_passing = condition.breaker.state() == State::Passing;
        self.epoch == condition.epoch && (is_passing || self.manner != Manner::Passing)
    }
}

impl Backend {
    /// Begins an attempt, unless it has `most` already, or is to get one at a time and has it. `in_need`: nobody else is
    /// there, so that it gets more than that.
    pub(super) fn begin(
        &self,
        most: usize,
        in_need: bool,
        rules: &model::Ejection,
        now: Instant,
    ) -> Option<Begun> {
        if !self.counters.begin(most) {
            return None;
        }
        let mut begun = Begun {
            epoch: self.epoch.load(Ordering::Acquire),
            manner: Manner::Passing,
        };
        if self.gate.load(Ordering::Relaxed) != OPEN {
            let mut condition = self.condition.lock();
            begun.epoch = condition.epoch;
            if let Some(number) = condition.breaker.begin_trial(rules, now) {
                begun.manner = Manner::Trial { number };
                self.publish(&condition);
            } else if condition.breaker.state() != State::Passing {
                if !in_need {
                    self.counters.end();
                    return None;
                }
                begun.manner = Manner::InNeed;
            }
        }
        self.counters.record_request();
        Some(begun)
    }

    pub(super) fn end(&self, begun: Begun) {
        self.counters.end();
        let Manner::Trial { number } = begun.manner else {
            return;
        };
        let mut condition = self.condition.lock();
        if begun.epoch == condition.epoch {
            condition.breaker.end_trial(number);
            self.publish(&condition);
        }
    }

    /// The head of an answer came. Returns what the backend is to be ejected for.
    pub(super) fn record_answer(
        &self,
        begun: Begun,
        rules: &model::Ejection,
        is_error: bool,
        after: Duration,
        now: Instant,
    ) -> Option<Reason> {
        self.counters.record_answer(after);
        if is_error {
            self.speed.record_failure(after, now);
        } else {
            self.speed.record_answer(after, now);
        }
        let mut condition = self.condition.lock();
        if !begun.counts(&condition) {
            return None;
        }
        let was_passing = condition.breaker.state() == State::Passing;
        let reason = condition.breaker.record_answer(rules, is_error, after, now);
        if !was_passing && condition.breaker.state() == State::Passing {
            self.join(now);
            self.publish(&condition);
        }
        reason
    }

    /// An answer came whole. An error of a trial's may come whole too: it shows nothing good.
    pub(super) fn record_success(&self, begun: Begun) {
        let mut condition = self.condition.lock();
        if begun.counts(&condition) && condition.breaker.state() == State::Passing {
            condition.breaker.record_success();
        }
    }

    /// An attempt failed. Returns what the backend is to be ejected for.
    pub(super) fn record_failure(
        &self,
        begun: Begun,
        rules: &model::Ejection,
        after: Duration,
        now: Instant,
    ) -> Option<Reason> {
        self.counters.record_failure();
        self.speed.record_failure(after, now);
        let mut condition = self.condition.lock();
        if !begun.counts(&condition) {
            return None;
        }
        condition.breaker.record_failure(rules, now)
    }
}
