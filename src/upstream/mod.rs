//! Upstreams: named groups of backends, with everything about them that outlives a request.
//!
//! It remembers (health, ejection, counters, idle connections) and answers questions; who is picked is up to `balance`,
//! who is probed up to `health`, who is asked up to `forward`. An upstream's list of members never changes: when it has to, a
//! successor takes over what is known, by backend identity.

mod attempt;
pub mod backend;
pub mod breaker;
mod budget;
pub mod counters;
pub mod dial;
pub mod fleet;
pub mod health;
mod hedging;
pub mod idle;
mod keep_alive;
mod latency;
pub mod lease;
pub mod member;
mod name;
mod outlier;
mod place;
pub mod report;
mod secure;
mod skip;
pub mod speed;
pub mod stream;
mod tls;
pub mod vacancy;
pub mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::nanos;
use crate::config::model;

use backend::{Backend, Skip};
use breaker::{Ejected, Reason, State};
use budget::Budget;
use hedging::Hedging;
use member::{Member, Tier};
use tls::Tls;
use vacancy::Vacancy;

/// A named group of backends.
#[derive(Debug)]
pub struct Upstream {
    /// Unique name.
    pub name: Arc<str>,
    /// As configured; its list of backends is that of `members`.
    pub settings: model::Upstream,
    /// In the order configured; may be empty where backends come and go.
    pub members: Vec<Member>,
    /// `settings.slow_start` in nanoseconds.
    slow_start: u64,
    /// For those of its backends that speak it.
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
}

/// What outlives a change of the members.
#[derive(Debug, Default)]
struct Shared {
    /// Held while one is ejected: two that fail at once must not each take the other for the one that stays.
    ejecting: Mutex<()>,
    budget: Mutex<Budget>,
    vacancy: Vacancy,
    hedging: Hedging,
}

impl Upstream {
    /// An upstream none of whose backends has been checked yet.
    pub fn new(settings: &model::Upstream) -> Upstream {
        let tls = Tls::of(settings, None);
        Upstream::build(settings, Arc::default(), tls, |settings, tls| {
            Arc::new(Backend::with(settings, tls))
        })
    }

    /// An upstream with the usual settings, but for what `adjust` changes.
    #[cfg(test)]
    pub(crate) fn adjusted(adjust: impl FnOnce(&mut model::Upstream)) -> Arc<Upstream> {
        let text = "[[upstream]]\nname = \"u\"\nbackends = [\"http://127.0.0.1:1\"]";
        let mut config = crate::config::load_str("test", text).unwrap().config;
        let mut settings = config.upstreams.remove(0);
        adjust(&mut settings);
        Arc::new(Upstream::new(&settings))
    }

    /// The upstream that takes over from this one, with the backends that both have.
    pub fn successor(&self, settings: &model::Upstream, now: Instant) -> Upstream {
        let tls = Tls::of(settings, self.tls.as_ref());
        let shared = Arc::clone(&self.shared);
        Upstream::build(settings, shared, tls, |settings, tls| {
            let mut known = self.backends();
            let known = known.find(|backend| backend.is(settings));
            match known {
                Some(known) if known.speaks(tls) => return Arc::clone(known),
                _ => (),
            }
            let backend = Backend::with(settings, tls);
            match known {
                // It is the same server. Only connections from before are not trusted any more.
                Some(known) => backend.restore(&known.totals(), known.speed.mean_time(), now),
                None => backend.join(now),
            }
            Arc::new(backend)
        })
    }

    fn build(
        settings: &model::Upstream,
        shared: Arc<Shared>,
        tls: Option<Arc<Tls>>,
        backend: impl Fn(&model::Backend, Option<&Arc<Tls>>) -> Arc<Backend>,
    ) -> Upstream {
        let member = |settings: &model::Backend| Member {
            backend: backend(settings, tls.as_ref()),
            settings: settings.clone(),
        };
        Upstream {
            name: settings.name.as_str().into(),
            members: settings.backends.iter().map(member).collect(),
            slow_start: u64::try_from(settings.slow_start.as_nanos()).unwrap_or(u64::MAX),
            settings: settings.clone(),
            tls,
            shared,
        }
    }

    /// The backends.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.members.iter().map(|member| &member.backend)
    }

    /// How much the member at `index` is to get; see [`Member::share`].
    pub fn share(&self, index: usize, tier: Tier, now: u64) -> u64 {
        let member = self.members.get(index);
        member.map_or(0, |member| member.share(tier, now, self.slow_start))
    }

    /// Whether any backend may be used at `now`; one that is full may be soon.
    pub fn has_usable(&self, now: Instant) -> bool {
        let mut skips = self.members.iter().map(|member| member.skip(now));
        skips.any(|skip| matches!(skip, None | Some(Skip::Full)))
    }

    /// Whether a request can go anywhere at `now`: to a usable backend, or to one that is only ejected. Takes no lock: every
    /// request asks.
    pub fn can_serve(&self, now: Instant) -> bool {
        let now = nanos(now);
        self.members.iter().any(|member| member.can_serve(now))
    }

    fn has_ejected(&self, now: Instant) -> bool {
        let mut skips = self.members.iter().map(|member| member.skip(now));
        skips.any(|skip| matches!(skip, Some(Skip::Ejected { .. } | Skip::Probing)))
    }

    /// Whether requests go to backends that should have none, because there is no other.
    pub fn is_failing_open(&self, now: Instant) -> bool {
        let is_spared = |member: &Member| member.backend.is_spared() && member.skip(now).is_none();
        self.members.iter().any(is_spared) || !self.has_usable(now) && self.has_ejected(now)
    }

    /// Counts a request, of which a share may be retried.
    pub fn record_request(&self, now: Instant) {
        self.shared.budget.lock().record_request(now);
    }

    /// Asks for a retry, or a hedge: `retry.budget_percent` of the requests get one.
    pub fn withdraw_retry(&self, now: Instant) -> bool {
        let mut budget = self.shared.budget.lock();
        budget.withdraw(&self.settings.retry, now)
    }

    /// Gives back what was granted and not used.
    pub fn return_retry(&self, now: Instant) {
        self.shared.budget.lock().give_back(now);
    }

    /// Takes out of the rotation who is much slower than the others (`ejection.slow_factor`). To be called every second.
    pub fn eject_slow(&self, now: Instant) -> Vec<(Arc<Backend>, Ejected)> {
        let rules = &self.settings.ejection;
        if rules.slow_factor == 0 {
            return Vec::new();
        }
        let is_passing = |backend: &&Arc<Backend>| backend.breaker() == State::Passing;
        let times: Vec<(&Arc<Backend>, Duration)> = self
            .backends()
            .filter(is_passing)
            .filter_map(|backend| Some((backend, backend.mean_time(rules, now)?)))
            .collect();
        let slow = outlier::slow(times, rules.slow_factor, rules.slow_floor);
        let eject = |backend: &Arc<Backend>| {
            let ejected = self.eject(backend, Reason::Slow, now)?;
            Some((Arc::clone(backend), ejected))
        };
        slow.into_iter().filter_map(eject).collect()
    }

    /// Takes a backend out of the rotation, and tells of it; never the last usable one.
    fn eject(&self, backend: &Backend, reason: Reason, now: Instant) -> Option<Ejected> {
        let ejected = self.take_out(backend, reason, now)?;
        log::warn!(
            "backend {}/{} ejected for {} s: {}",
            self.name,
            backend.id,
            ejected.cooldown.as_secs_f32(),
            reason.as_str()
        );
        Some(ejected)
    }

    fn take_out(&self, backend: &Backend, reason: Reason, now: Instant) -> Option<Ejected> {
        let _guard = self.shared.ejecting.lock();
        let is_other = |member: &&Member| member.backend.id != backend.id;
        let mut others = self.members.iter().filter(is_other);
        let may_go = match backend.breaker() {
            State::Tripped { until } if until > now => return None,
            // One that has yet to show that it is back does not count as another.
            State::Passing => others.any(|member| {
                member.skip(now).is_none() && member.backend.breaker() == State::Passing
            }),
            State::Tripped { .. } | State::Probing { .. } => true,
        };
        if !may_go {
            backend.spare();
            return None;
        }
        Some(backend.eject(&self.settings.ejection, reason, now))
    }
}
