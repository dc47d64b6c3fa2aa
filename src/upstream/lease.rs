//! A picked backend, counted as active until dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use super::backend::{Backend, Begun};
use super::breaker::Ejected;
use super::member::{Member, Tier};

/// A backend that was picked for one attempt.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    backend: Arc<Backend>,
    begun: Begun,
}

impl Lease {
    /// Leases the backend at `index`, which is asked as one of `tier`; `None` when there is no such backend, or it has all the
    /// requests that it may have.
    pub fn new(upstream: &Arc<Upstream>, index: usize, tier: Tier, now: Instant) -> Option<Lease> {
        let Member { backend, settings } = upstream.members.get(index)?;
        let begun = backend.begin(settings.max_connections, tier == Tier::Ejected, now)?;
        Some(Lease {
            upstream: Arc::clone(upstream),
            backend: Arc::clone(backend),
            begun,
        })
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The upstream it belongs to.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The head of the backend's answer came, `after` this time. `is_error`: it tells of an error of the backend's (5xx).
    pub fn record_answer(&self, is_error: bool, after: Duration, now: Instant) -> Option<Ejected> {
        self.upstream.record_time(after, now);
        let rules = &self.upstream.settings.ejection;
        let begun = self.begun;
        let reason = self
            .backend
            .record_answer(begun, rules, is_error, after, now)?;
        self.upstream.eject(&self.backend, reason, now)
    }

    /// The backend's answer was not waited for any longer than this time: another backend answered first. That is no failure.
    pub fn record_overtaken(&self, after: Duration, now: Instant) {
        self.backend.speed.record_at_least(after, now);
        self.upstream.record_time(after, now);
    }

    /// The backend's answer came whole: failures before it are forgotten.
    pub fn record_success(&self) {
        self.backend.record_success(self.begun);
    }

    /// The backend failed this attempt, `after` this time, which may eject it.
    pub fn record_failure(&self, after: Duration, now: Instant) -> Option<Ejected> {
        let rules = &self.upstream.settings.ejection;
        let reason = self.backend.record_failure(self.begun, rules, after, now)?;
        self.upstream.eject(&self.backend, reason, now)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.end(self.begun);
        self.upstream.tell_of_place();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Backend as Settings;
    use crate::upstream::breaker::State;

    #[test]
    fn what_began_before_an_ejection_neither_ends_nor_prolongs_it() {
        let now = Instant::now();
        let upstream = Upstream::adjusted(|settings| {
            let first = settings.backends.remove(0);
            let named = |id: &str| Settings::new(id, first.at.clone());
            settings.backends = vec![named("b0"), named("b1")];
            settings.ejection.failures = 1;
            settings.ejection.cooldown = Duration::from_secs(60);
        });
        let lease = |now| Lease::new(&upstream, 0, Tier::Primary, now);
        let [failing, good, late] = [(); 3].map(|()| lease(now).unwrap());
        assert!(failing.record_failure(Duration::ZERO, now).is_some());
        let tripped = failing.backend().breaker();
        assert!(matches!(tripped, State::Tripped { .. }));
        assert_eq!(good.record_answer(false, Duration::ZERO, now), None);
        good.record_success();
        assert_eq!(good.backend().breaker(), tripped);
        // Its trial is under way: only that one says whether it is back.
        let later = now + Duration::from_secs(60);
        let trial = lease(later).unwrap();
        assert_eq!(late.record_failure(Duration::ZERO, later), None);
        assert_eq!(trial.backend().breaker(), State::Probing { is_busy: true });
        assert_eq!(trial.record_answer(false, Duration::ZERO, later), None);
        assert_eq!(trial.backend().breaker(), State::Passing);
    }
}
