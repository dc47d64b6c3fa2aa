//! One backend: its address, its state and its counters; all that outlives a change of its upstream.
//!
//! State changes come from outside: probes through [`Backend::set_health`], attempts through [`super::attempt`]. What a
//! backend is *for* (its weight, its duty) is its [`super::member::Member`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::nanos;
use crate::config::model::{self, Resolve};

use super::breaker::{Breaker, Ejected, Reason, State};
use super::counters::{Counters, Totals};
use super::health::{Health, Status};
use super::idle::IdlePool;
use super::place::Place;
use super::speed::Speed;
use super::tls::Tls;

pub use super::skip::Skip;

/// The gate of a backend that takes requests.
pub(super) const OPEN: u64 = 0;
/// The gate of a backend that cannot be reached, or whose name does not resolve.
const CLOSED: u64 = u64::MAX;

/// One server of an upstream.
#[derive(Debug)]
pub struct Backend {
    /// Unique within its upstream.
    pub id: Arc<str>,
    /// `host:port`, as a `Host` field writes it; `localhost` for a Unix socket.
    pub authority: String,
    /// `host:port` or `unix:PATH`, for people.
    pub address: String,
    /// Connections that wait for their next request.
    pub idle: IdlePool,
    /// How fast it answers.
    pub speed: Speed,
    pub(super) place: Place,
    /// `None`: it is not spoken.
    pub(super) tls: Option<Arc<Tls>>,
    at: model::BackendAddress,
    resolve: Resolve,
    /// What of the condition a pick has to know: [`OPEN`], [`CLOSED`], or until when it is tripped or has its trial. A pick
    /// looks at every backend, under a lock that all workers share, so this costs it no second one.
    pub(super) gate: AtomicU64,
    /// That of the condition, for those who begin.
    pub(super) epoch: AtomicU64,
    /// Since when it takes requests again, for its slow start; 0: long enough.
    serving_since: AtomicU64,
    pub(super) condition: Mutex<Condition>,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Whether it is known where it is.
    pub(super) is_resolved: bool,
    /// Whether that changed, and its probes do not know yet.
    pub(super) has_moved: bool,
    /// Grows with each ejection and each move: what began before says nothing about what is now.
    pub(super) epoch: u64,
    pub(super) health: Health,
    pub(super) breaker: Breaker,
}

/// What a pick sees of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It takes requests.
    Open,
    /// It is ejected, or its trial is under way: in need it takes requests all the same.
    Ejected,
    /// It cannot be reached.
    Closed,
}

impl Backend {
    /// A backend that nobody has checked yet; to one that speaks TLS nobody can connect.
    pub fn new(settings: &model::Backend) -> Backend {
        Backend::with(settings, None)
    }

    /// A backend that nobody has checked yet, with the TLS of its upstream.
    pub(super) fn with(settings: &model::Backend, tls: Option<&Arc<Tls>>) -> Backend {
        let (place, authority, address) = Place::new(settings);
        let condition = Condition {
            is_resolved: place.is_known(),
            ..Condition::default()
        };
        let gate = if condition.is_resolved { OPEN } else { CLOSED };
        Backend {
            id: settings.id.as_str().into(),
            authority,
            address,
            idle: IdlePool::default(),
            speed: Speed::default(),
            place,
            tls: tls.filter(|_| settings.at.is_tls()).map(Arc::clone),
            at: settings.at.clone(),
            resolve: settings.resolve.clone(),
            gate: AtomicU64::new(gate),
            epoch: AtomicU64::new(0),
            serving_since: AtomicU64::new(0),
            condition: Mutex::new(condition),
            counters: Counters::default(),
        }
    }

    /// Whether `settings` mean this very backend: then what is known about it goes on.
    pub fn is(&self, settings: &model::Backend) -> bool {
        *self.id == settings.id && self.at == settings.at && self.resolve == settings.resolve
    }

    /// Whether TLS is spoken with it on these terms, if at all.
    pub(super) fn speaks(&self, tls: Option<&Arc<Tls>>) -> bool {
        let wanted = tls.filter(|_| self.at.is_tls());
        self.tls.as_ref().map(Arc::as_ptr) == wanted.map(Arc::as_ptr)
    }

    /// Where it is, as a URL.
    pub fn at(&self) -> &model::BackendAddress {
        &self.at
    }

    /// It has just joined others that are serving: it gets its share step by step where a slow start is asked for.
    pub fn join(&self, now: Instant) {
        self.serving_since.store(nanos(now), Ordering::Relaxed);
    }

    /// Why it is not used at `now`; `None`: it may be used.
    pub fn skip(&self, now: Instant) -> Option<Skip> {
        let condition = self.condition.lock();
        if !condition.is_resolved {
            return Some(Skip::Unresolved);
        }
        if condition.health.status == Status::Unreachable {
            return Some(Skip::Unreachable);
        }
        match condition.breaker.state() {
            State::Tripped { until } if until > now => Some(Skip::Ejected { until }),
            State::Probing { busy_until } if busy_until > Some(now) => Some(Skip::Probing),
            _ => None,
        }
    }

    /// The same for a pick, at a moment given as [`nanos`], and without a lock.
    pub(super) fn gate(&self, now: u64) -> Gate {
        match self.gate.load(Ordering::Relaxed) {
            OPEN => Gate::Open,
            CLOSED => Gate::Closed,
            until if until <= now => Gate::Open,
            _ => Gate::Ejected,
        }
    }

    /// Whether it takes requests, and not only one that shows whether it is back.
    pub fn is_passing(&self) -> bool {
        self.gate.load(Ordering::Relaxed) == OPEN
    }

    /// How far its slow start of `whole` nanoseconds is at `now`, in thousandths.
    pub(super) fn ramp(&self, now: u64, whole: u64) -> u64 {
        /// It has to get something, or it would never be seen to work.
        const LEAST: u64 = 50;
        let since = self.serving_since.load(Ordering::Relaxed);
        let served = now.saturating_sub(since);
        if since == 0 || served >= whole {
            return 1000;
        }
        let part = u128::from(served) * 1000 / u128::from(whole.max(1));
        u64::try_from(part).unwrap_or(1000).clamp(LEAST, 1000)
    }

    /// What the probes found; as long as its name does not resolve, that.
    pub fn health(&self) -> Health {
        let condition = self.condition.lock();
        let mut health = condition.health.clone();
        if !condition.is_resolved {
            health.status = Status::Unresolved;
        }
        health
    }

    /// Replaces what the probes found. A backend that turns healthy loses its idle connections: they are from before. An
    /// ejection from before ends too, as far as the next request agrees.
    pub fn set_health(&self, health: Health) {
        let mut condition = self.condition.lock();
        let is_back =
            condition.health.status == Status::Unreachable && health.status != Status::Unreachable;
        condition.health = health;
        if is_back {
            condition.breaker.reconsider();
        }
        self.publish(&condition);
        drop(condition);
        if is_back {
            self.idle.clear();
            self.join(Instant::now());
        }
    }

    /// What its breaker lets through.
    pub fn breaker(&self) -> State {
        self.condition.lock().breaker.state()
    }

    /// Whether it would be ejected, were it not the last usable one.
    pub fn is_spared(&self) -> bool {
        self.condition.lock().breaker.is_spared()
    }

    /// Whether it came back from an ejection since this was last asked.
    pub fn take_return(&self) -> bool {
        self.condition.lock().breaker.take_return()
    }

    /// Attempts under way.
    pub fn active(&self) -> usize {
        self.counters.active()
    }

    /// Counters right now.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Goes on from what an earlier process knew. `recent`: the mean time lately.
    pub fn restore(&self, totals: &Totals, recent: Option<Duration>, now: Instant) {
        self.counters.restore(totals);
        if let Some(recent) = recent {
            self.speed.restore(recent, now);
        }
    }

    /// The mean time to an answer's head lately, for comparing backends.
    pub(super) fn mean_time(&self, rules: &model::Ejection, now: Instant) -> Option<Duration> {
        self.condition.lock().breaker.mean_time(rules, now)
    }

    /// Takes it out of the rotation.
    pub(super) fn eject(&self, rules: &model::Ejection, reason: Reason, now: Instant) -> Ejected {
        let mut condition = self.condition.lock();
        let ejected = condition.breaker.trip(rules, reason, now);
        condition.epoch += 1;
        self.publish(&condition);
        ejected
    }

    /// Leaves it in, although it should go.
    pub(super) fn spare(&self) {
        self.condition.lock().breaker.spare();
    }

    /// Makes the gate say what the condition is. To be called with the lock held, so that the last word is the latest.
    pub(super) fn publish(&self, condition: &Condition) {
        let is_out = !condition.is_resolved || condition.health.status == Status::Unreachable;
        let gate = if is_out {
            CLOSED
        } else {
            match condition.breaker.state() {
                State::Passing => OPEN,
                State::Tripped { until } => nanos(until),
                // Over since the first moment there was.
                State::Probing { busy_until } => busy_until.map_or(1, nanos),
            }
        };
        self.gate.store(gate, Ordering::Relaxed);
        // Whoever sees this epoch sees its gate too.
        self.epoch.store(condition.epoch, Ordering::Release);
    }
}
