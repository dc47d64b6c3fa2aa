//! The breaker of one backend: `passing`, `tripped` for a while, `probing` with one request at a time. Pure; time is passed in.
//!
//! It counts what live traffic meets. Whether a backend may be taken out at all (never the last usable one), and who is slow in
//! comparison with others, is for those to say who see all of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::model;

/// The breaker of one backend.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Failures in a row: an answer in between clears them. That keeps a backend with one bad endpoint in the rotation and
    /// takes out one that is gone.
    failures: VecDeque<Instant>,
    /// Times tripped in a row; each doubles the cooldown.
    streak: u32,
    /// The last time out.
    cooldown: Duration,
    /// Once it is back: from then on the next one is the first again. It will have been back for as long as it
    /// was out, and for as long as it takes to be found slow.
    settled_at: Option<Instant>,
    sample: Sample,
    /// It would have tripped, had another backend been usable.
    is_spared: bool,
    /// It is passing again, and nobody has asked yet.
    has_returned: bool,
    /// Trials begun; the last one has this number.
    trials: u64,
}

/// What it lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Everything.
    #[default]
    Passing,
    /// Nothing.
    Tripped {
        /// Until then.
        until: Instant,
    },
    /// One request at a time: its answer decides.
    Probing {
        /// That request is under way, and the only one until then. (It may be a download, or a client that reads nothing.)
        busy_until: Option<Instant>,
    },
}

/// A backend has just been ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// For how long.
    pub cooldown: Duration,
    /// What for.
    pub reason: Reason,
}

/// What a backend is ejected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Failed attempts in a row (`ejection.failures`).
    Failures,
    /// The share of errors (`ejection.error_percent`).
    Errors,
    /// Slower than the others (`ejection.slow_factor`).
    Slow,
    /// The request that was to show whether it is back has failed.
    StillFailing,
}

/// What attempts of the current window came to. A window begins with the first attempt after the last one's end.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    since: Option<Instant>,
    attempts: u32,
    errors: u32,
    answers: u32,
    time: Duration,
    /// When the window before ended, and its mean time.
    last: Option<(Instant, Duration)>,
}

impl State {
    /// The word that people and programs see. A backend whose time out is over is probing: the next request shows.
    pub fn as_str(self, now: Instant) -> &'static str {
        match self {
            State::Passing => "passing",
            State::Tripped { until } if until > now => "tripped",
            State::Tripped { .. } | State::Probing { .. } => "probing",
        }
    }
}

impl Reason {
    /// In words, after "ejected for 10 s: ".
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Failures => "too many failures in a row",
            Reason::Errors => "too many errors",
            Reason::Slow => "slower than the others",
            Reason::StillFailing => "it still fails",
        }
    }
}

impl Breaker {
    /// What it lets through.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it was spared because no other backend was usable, and has not answered well since.
    pub fn is_spared(&self) -> bool {
        self.is_spared
    }

    /// True once after it came back.
    pub fn take_return(&mut self) -> bool {
        std::mem::take(&mut self.has_returned)
    }

    /// There is reason to think that the backend is back: the next request shows, without waiting for the cooldown's end.
    pub fn reconsider(&mut self) {
        if matches!(self.state, State::Tripped { .. }) {
            self.state = State::Probing { busy_until: None };
        }
    }

    /// Asks to be the one request that a probing breaker lets through; that is, with a number.
    pub fn begin_trial(&mut self, rules: &model::Ejection, now: Instant) -> Option<u64> {
        let is_free = match self.state {
            State::Passing => false,
            State::Tripped { until } => until <= now,
            State::Probing { busy_until } => busy_until <= Some(now),
        };
        if !is_free {
            return None;
        }
        let busy_until = Some(now + rules.cooldown);
        self.state = State::Probing { busy_until };
        self.trials += 1;
        Some(self.trials)
    }

    /// That request has ended. Without a verdict (its client left, say) the next one shows.
    pub fn end_trial(&mut self, number: u64) {
        if number == self.trials && matches!(self.state, State::Probing { .. }) {
            self.state = State::Probing { busy_until: None };
        }
    }

    /// The head of an answer came. `is_error`: it tells of an error of the backend's (5xx). Returns why the backend is to be
    /// ejected, if it is.
    pub fn record_answer(
        &mut self,
        rules: &model::Ejection,
        is_error: bool,
        after: Duration,
        now: Instant,
    ) -> Option<Reason> {
        if self.state != State::Passing {
            // A backend that says nothing but 503 is not back.
            if is_error && rules.error_percent > 0 {
                return Some(Reason::StillFailing);
            }
            self.state = State::Passing;
            self.has_returned = true;
            self.settled_at = Some(now + self.cooldown.max(rules.window));
            self.failures.clear();
            self.sample = Sample::default();
        }
        let sample = self.sample.current(rules, now);
        sample.attempts = sample.attempts.saturating_add(1);
        sample.answers = sample.answers.saturating_add(1);
        sample.time = sample.time.saturating_add(after);
        if !is_error {
            return None;
        }
        sample.errors = sample.errors.saturating_add(1);
        sample.is_bad(rules).then_some(Reason::Errors)
    }

    /// An answer came whole: what failed before is forgotten.
    pub fn record_success(&mut self) {
        self.failures.clear();
        self.is_spared = false;
    }

    /// An attempt failed. Returns why the backend is to be ejected, if it is.
    pub fn record_failure(&mut self, rules: &model::Ejection, now: Instant) -> Option<Reason> {
        match self.state {
            State::Passing => (),
            State::Probing { .. } => return Some(Reason::StillFailing),
            State::Tripped { .. } => return None,
        }
        let sample = self.sample.current(rules, now);
        sample.attempts = sample.attempts.saturating_add(1);
        sample.errors = sample.errors.saturating_add(1);
        let is_bad = sample.is_bad(rules);
        self.failures.push_back(now);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) > rules.window;
        while self.failures.front().is_some_and(is_old) {
            self.failures.pop_front();
        }
        let most = rules.failures as usize;
        if most > 0 && self.failures.len() >= most {
            return Some(Reason::Failures);
        }
        // Nobody asks for more than these.
        while self.failures.len() > most {
            self.failures.pop_front();
        }
        is_bad.then_some(Reason::Errors)
    }

    /// The mean time to an answer's head in the current window, else in the last one, when there were enough attempts to go by.
    pub fn mean_time(&self, rules: &model::Ejection, now: Instant) -> Option<Duration> {
        let sample = &self.sample;
        let of_now = sample
            .mean(rules)
            .filter(|_| sample.is_current(rules.window, now));
        // Windows of several backends end at different times: one that has just begun must not hide what the last one told.
        let is_recent = |at: Instant| now.saturating_duration_since(at) <= rules.window;
        of_now.or_else(|| {
            sample
                .last
                .and_then(|(at, mean)| is_recent(at).then_some(mean))
        })
    }

    /// Lets nothing through for a while.
    pub fn trip(&mut self, rules: &model::Ejection, reason: Reason, now: Instant) -> Ejected {
        if self
            .settled_at
            .take()
            .is_some_and(|settled_at| settled_at <= now)
        {
            self.streak = 0;
        }
        let doubled = rules.cooldown.saturating_mul(1 << self.streak.min(16));
        let cooldown = doubled.min(rules.max_cooldown.max(rules.cooldown));
        self.failures.clear();
        self.sample = Sample::default();
        self.is_spared = false;
        self.cooldown = cooldown;
        self.state = State::Tripped {
            until: now + cooldown,
        };
        self.streak = self.streak.saturating_add(1);
        Ejected { cooldown, reason }
    }

    /// It would have tripped, but is the last usable one. Its failures are not collected: when another one comes back, it
    /// must not be ejected for what is long past.
    pub fn spare(&mut self) {
        self.failures.clear();
        self.sample = Sample::default();
        self.is_spared = true;
    }
}

impl Sample {
    fn is_current(&self, window: Duration, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) <= window)
    }

    fn current(&mut self, rules: &model::Ejection, now: Instant) -> &mut Sample {
        if !self.is_current(rules.window, now) {
            *self = Sample {
                since: Some(now),
                last: self.mean(rules).map(|mean| (now, mean)),
                ..Sample::default()
            };
        }
        self
    }

    /// The mean time, when there were enough attempts to go by.
    fn mean(&self, rules: &model::Ejection) -> Option<Duration> {
        let is_enough = self.attempts >= rules.min_requests;
        self.time.checked_div(self.answers).filter(|_| is_enough)
    }

    fn is_bad(&self, rules: &model::Ejection) -> bool {
        rules.error_percent > 0
            && self.attempts >= rules.min_requests
            && u64::from(self.errors) * 100
                >= u64::from(self.attempts) * u64::from(rules.error_percent)
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
        error_percent: 50,
        min_requests: 4,
        slow_factor: 0,
        slow_floor: Duration::ZERO,
    };
    const QUICK: Duration = Duration::from_millis(2);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Fails until it trips.
    fn trip(breaker: &mut Breaker, now: Instant) -> Ejected {
        let reason = (0..3).find_map(|_| breaker.record_failure(&RULES, now));
        breaker.trip(&RULES, reason.unwrap(), now)
    }

    #[test]
    fn three_in_a_row_trip_and_one_answer_passes() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        let ejected = trip(&mut breaker, start);
        assert_eq!(
            (ejected.cooldown, ejected.reason),
            (seconds(10), Reason::Failures)
        );
        assert_eq!(breaker.begin_trial(&RULES, start + seconds(9)), None);
        assert_eq!(breaker.state().as_str(start + seconds(9)), "tripped");
        assert_eq!(breaker.state().as_str(start + seconds(10)), "probing");
        assert_eq!(breaker.begin_trial(&RULES, start + seconds(10)), Some(1));
        let another = breaker.begin_trial(&RULES, start + seconds(10));
        assert_eq!(another, None, "one at a time");
        breaker.end_trial(1);
        let another = breaker.begin_trial(&RULES, start + seconds(11));
        assert_eq!(another, Some(2), "it told nothing");
        assert_eq!(
            breaker.record_answer(&RULES, false, QUICK, start + seconds(11)),
            None
        );
        assert_eq!(breaker.state(), State::Passing);
        assert!(breaker.take_return());
        assert!(!breaker.take_return());
    }

    #[test]
    fn a_trial_that_lasts_is_not_the_only_one_for_ever() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        trip(&mut breaker, now);
        assert_eq!(breaker.begin_trial(&RULES, now + seconds(10)), Some(1));
        assert_eq!(breaker.begin_trial(&RULES, now + seconds(19)), None);
        assert_eq!(breaker.begin_trial(&RULES, now + seconds(20)), Some(2));
        breaker.end_trial(1);
        let third = breaker.begin_trial(&RULES, now + seconds(21));
        assert_eq!(third, None, "the second is under way");
        breaker.end_trial(2);
        assert_eq!(breaker.begin_trial(&RULES, now + seconds(21)), Some(3));
    }

    #[test]
    fn with_reason_to_think_that_it_is_back_the_cooldown_is_cut_short() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.reconsider();
        assert_eq!(breaker.state(), State::Passing);
        trip(&mut breaker, now);
        breaker.reconsider();
        assert!(breaker.begin_trial(&RULES, now).is_some());
        assert_eq!(
            breaker.record_failure(&RULES, now),
            Some(Reason::StillFailing)
        );
        let again = breaker.trip(&RULES, Reason::StillFailing, now);
        assert_eq!(again.cooldown, seconds(20));
    }

    #[test]
    fn a_failed_trial_trips_for_twice_as_long_up_to_the_bound() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut cooldowns = vec![trip(&mut breaker, now).cooldown.as_secs()];
        for _ in 0..4 {
            now += seconds(60);
            assert!(breaker.begin_trial(&RULES, now).is_some());
            let reason = breaker.record_failure(&RULES, now);
            assert_eq!(reason, Some(Reason::StillFailing));
            cooldowns.push(
                breaker
                    .trip(&RULES, Reason::StillFailing, now)
                    .cooldown
                    .as_secs(),
            );
        }
        assert_eq!(cooldowns, [10, 20, 40, 60, 60]);
        breaker.begin_trial(&RULES, now + seconds(60));
        breaker.record_answer(&RULES, false, QUICK, now + seconds(60));
        breaker.record_success();
        // Back for a moment only, and then for as long as it was out.
        let again = now + seconds(61);
        assert_eq!(trip(&mut breaker, again).cooldown, seconds(60));
        breaker.begin_trial(&RULES, again + seconds(60));
        breaker.record_answer(&RULES, false, QUICK, again + seconds(60));
        let settled = again + seconds(120);
        assert_eq!(trip(&mut breaker, settled).cooldown, seconds(10));
    }

    #[test]
    fn an_answer_in_between_clears() {
        let start = Instant::now();
        let rules = model::Ejection {
            error_percent: 0,
            ..RULES
        };
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(breaker.record_failure(&rules, start), None);
            assert_eq!(breaker.record_failure(&rules, start), None);
            breaker.record_success();
        }
    }

    #[test]
    fn old_failures_do_not_count() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for after in [0, 6, 11] {
            assert_eq!(breaker.record_failure(&RULES, start + seconds(after)), None);
        }
        assert!(
            breaker
                .record_failure(&RULES, start + seconds(12))
                .is_some()
        );
    }

    #[test]
    fn errors_count_by_their_share_of_enough_attempts() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        let mut answer = |is_error, after| {
            let reason = breaker.record_answer(&RULES, is_error, QUICK, start + after);
            breaker.record_success();
            reason
        };
        let none = [true, false, true].map(|is_error| answer(is_error, seconds(0)));
        assert_eq!(none, [None; 3], "three are too few");
        assert_eq!(answer(true, seconds(1)), Some(Reason::Errors));
        assert_eq!(answer(true, seconds(12)), None, "another window");
    }

    #[test]
    fn an_error_does_not_bring_it_back_where_errors_count() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        trip(&mut breaker, now);
        breaker.begin_trial(&RULES, now + seconds(10));
        let reason = breaker.record_answer(&RULES, true, QUICK, now + seconds(10));
        assert_eq!(reason, Some(Reason::StillFailing));
    }

    #[test]
    fn the_mean_needs_enough_attempts_of_now() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for millis in [10, 20, 30] {
            breaker.record_answer(&RULES, false, Duration::from_millis(millis), start);
        }
        assert_eq!(breaker.mean_time(&RULES, start), None);
        breaker.record_answer(&RULES, false, Duration::from_millis(40), start);
        assert_eq!(
            breaker.mean_time(&RULES, start),
            Some(Duration::from_millis(25))
        );
        assert_eq!(breaker.mean_time(&RULES, start + seconds(11)), None);
        // The next window has begun: what the last one told still holds, for as long as a window.
        let next = start + seconds(12);
        breaker.record_answer(&RULES, false, QUICK, next);
        let told = Some(Duration::from_millis(25));
        assert_eq!(breaker.mean_time(&RULES, next), told);
        breaker.record_answer(&RULES, false, QUICK, next + seconds(10));
        assert_eq!(breaker.mean_time(&RULES, next + seconds(10)), told);
        assert_eq!(breaker.mean_time(&RULES, next + seconds(11)), None);
    }

    #[test]
    fn the_last_one_is_spared_and_starts_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            assert!((0..3).any(|_| breaker.record_failure(&RULES, now).is_some()));
            breaker.spare();
        }
        assert!(breaker.is_spared());
        assert_eq!(breaker.state(), State::Passing);
        breaker.record_success();
        assert!(!breaker.is_spared());
    }
}
