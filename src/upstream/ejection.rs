//! Passive checking: a backend that fails live traffic leaves the rotation for a while. Pure; time is passed in.
//!
//! Failures count while they come in a row: an answer in between clears them. That keeps a backend with one bad
//! endpoint in the rotation and takes out one that is gone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::model;

/// The ejection state of one backend.
#[derive(Debug, Default)]
pub struct Ejection {
    failures: VecDeque<Instant>,
    until: Option<Instant>,
    /// Ejections without an answer in between; each doubles the cooldown.
    streak: u32,
}

/// A backend has just been ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// For how long.
    pub cooldown: Duration,
}

impl Ejection {
    /// Until when the backend is out, if it is at `now`.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// True once after an ejection has ended.
    pub fn take_return(&mut self, now: Instant) -> bool {
        let is_over = self.until.is_some_and(|until| until <= now);
        if is_over {
            self.until = None;
        }
        is_over
    }

    /// The backend answered.
    pub fn record_success(&mut self) {
        self.failures.clear();
        self.streak = 0;
    }

    /// The backend failed. `may_eject` is false for the last usable backend, whose failures are not collected either.
    pub fn record_failure(
        &mut self,
        rules: &model::Ejection,
        may_eject: bool,
        now: Instant,
    ) -> Option<Ejected> {
        if rules.failures == 0 || !may_eject || self.until(now).is_some() {
            return None;
        }
        self.failures.push_back(now);
        while self
            .failures
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > rules.window)
        {
            self.failures.pop_front();
        }
        if self.failures.len() < rules.failures as usize {
            return None;
        }
        let doubled = rules.cooldown.saturating_mul(1 << self.streak.min(16));
        let cooldown = doubled.min(rules.max_cooldown.max(rules.cooldown));
        self.failures.clear();
        self.until = Some(now + cooldown);
        self.streak += 1;
        Some(Ejected { cooldown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: model::Ejection = model::Ejection {
        failures: 3,
        window: Duration::from_secs(10),
        cooldown: Duration::from_secs(10),
        max_cooldown: Duration::from_secs(60),
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn three_in_a_row_eject_and_the_cooldown_ends() {
        let start = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(ejection.record_failure(&RULES, true, start), None);
        assert_eq!(ejection.record_failure(&RULES, true, start), None);
        let ejected = ejection.record_failure(&RULES, true, start);
        assert_eq!(
            ejected,
            Some(Ejected {
                cooldown: seconds(10)
            })
        );
        assert!(ejection.until(start + seconds(9)).is_some());
        assert!(ejection.until(start + seconds(10)).is_none());
        assert!(ejection.take_return(start + seconds(10)));
        assert!(!ejection.take_return(start + seconds(10)));
    }

    #[test]
    fn an_answer_in_between_clears() {
        let start = Instant::now();
        let mut ejection = Ejection::default();
        for _ in 0..10 {
            ejection.record_failure(&RULES, true, start);
            ejection.record_failure(&RULES, true, start);
            ejection.record_success();
        }
        assert_eq!(ejection.until(start), None);
    }

    #[test]
    fn old_failures_do_not_count() {
        let start = Instant::now();
        let mut ejection = Ejection::default();
        ejection.record_failure(&RULES, true, start);
        ejection.record_failure(&RULES, true, start + seconds(6));
        assert_eq!(
            ejection.record_failure(&RULES, true, start + seconds(11)),
            None
        );
        assert!(
            ejection
                .record_failure(&RULES, true, start + seconds(12))
                .is_some()
        );
    }

    #[test]
    fn the_cooldown_doubles_up_to_its_bound() {
        let mut now = Instant::now();
        let mut ejection = Ejection::default();
        let mut cooldowns = Vec::new();
        for _ in 0..5 {
            let ejected = (0..3)
                .find_map(|_| ejection.record_failure(&RULES, true, now))
                .unwrap();
            cooldowns.push(ejected.cooldown.as_secs());
            now += ejected.cooldown;
        }
        assert_eq!(cooldowns, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn the_last_one_stays() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        assert!((0..10).all(|_| ejection.record_failure(&RULES, false, now).is_none()));
        assert_eq!(ejection.until(now), None);
    }
}
