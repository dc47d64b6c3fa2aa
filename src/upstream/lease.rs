//! A picked backend, counted as active until dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use super::attempt::Begun;
use super::backend::Backend;
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
        let (most, rules) = (settings.max_connections, &upstream.settings.ejection);
        let begun = backend.begin(most, tier == Tier::Ejected, rules, now)?;
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

    /// Two backends, so that one may go.
    fn two(adjust: impl FnOnce(&mut crate::config::model::Upstream)) -> Arc<Upstream> {
        Upstream::adjusted(|settings| {
            let first = settings.backends.remove(0);
            let named = |id: &str| Settings::new(id, first.at.clone());
            settings.backends = vec![named("b0"), named("b1")];
            adjust(settings);
        })
    }

    fn lease(upstream: &Arc<Upstream>, now: Instant) -> Lease {
        Lease::new(upstream, 0, Tier::Primary, now).unwrap()
    }

    #[test]
    fn what_began_before_an_ejection_neither_ends_nor_prolongs_it() {
        let now = Instant::now();
        let upstream = two(|settings| {
            settings.ejection.failures = 1;
            settings.ejection.cooldown = Duration::from_secs(60);
        });
        let [failing, good, late] = [(); 3].map(|()| lease(&upstream, now));
        assert!(failing.record_failure(Duration::ZERO, now).is_some());
        let tripped = failing.backend().breaker();
        assert!(matches!(tripped, State::Tripped { .. }));
        assert_eq!(good.record_answer(false, Duration::ZERO, now), None);
        good.record_success();
        assert_eq!(good.backend().breaker(), tripped);
        // Its trial is under way: only that one says whether it is back.
        let later = now + Duration::from_secs(60);
        let trial = lease(&upstream, later);
        assert_eq!(late.record_failure(Duration::ZERO, later), None);
        let breaker = trial.backend().breaker();
        assert!(matches!(
            breaker,
            State::Probing {
                busy_until: Some(_)
            }
        ));
        assert_eq!(trial.record_answer(false, Duration::ZERO, later), None);
        assert_eq!(trial.backend().breaker(), State::Passing);
    }
    #[test]
    fn what_hung_when_it_was_ejected_does_not_eject_it_again_when_it_is_back() {
        let now = Instant::now();
        let upstream = two(|_| ());
        let hanging = [(); 3].map(|()| lease(&upstream, now));
        let failing = [(); 3].map(|()| lease(&upstream, now));
        let mut ejected = failing
            .iter()
            .filter_map(|one| one.record_failure(Duration::ZERO, now));
        assert!(ejected.next().is_some());
        let back = now + Duration::from_secs(10);
        let trial = lease(&upstream, back);
        trial.record_answer(false, Duration::ZERO, back);
        trial.record_success();
        assert_eq!(trial.backend().breaker(), State::Passing);
        let long = Duration::from_secs(30);
        let late = hanging.map(|one| one.record_failure(long, now + long));
        assert_eq!(late, [None; 3]);
        let anew = [(); 3].map(|()| lease(&upstream, now + long));
        let ejected = anew.map(|one| one.record_failure(Duration::ZERO, now + long));
        assert!(
            ejected.iter().any(Option::is_some),
            "what began since counts"
        );
    }

    #[test]
    fn what_was_under_way_to_where_it_was_before_says_nothing_about_where_it_is() {
        let now = Instant::now();
        let upstream = two(|settings| {
            let host = "app.test".into();
            settings.backends[0].at = crate::config::model::BackendAddress::Tcp { host, port: 80 };
        });
        let backend = &upstream.members[0].backend;
        backend.set_addresses(&[[10, 0, 0, 1].into()], now);
        let old = [(); 3].map(|()| lease(&upstream, now));
        backend.set_addresses(&[[10, 0, 0, 2].into()], now);
        let ejected = old.map(|one| one.record_failure(Duration::ZERO, now));
        assert_eq!(ejected, [None; 3]);
    }

    #[test]
    fn an_error_that_comes_whole_shortens_no_cooldown() {
        let mut now = Instant::now();
        let upstream = two(|settings| {
            settings.ejection.error_percent = 50;
            settings.ejection.min_requests = 1;
        });
        let mut cooldowns = Vec::new();
        for _ in 0..5 {
            let one = lease(&upstream, now);
            let ejected = one.record_answer(true, Duration::ZERO, now).unwrap();
            one.record_success();
            cooldowns.push(ejected.cooldown.as_secs());
            now += Duration::from_secs(61);
        }
        assert_eq!(cooldowns, [10, 20, 40, 60, 60]);
    }
}
