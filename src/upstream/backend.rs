//! One backend: its address, its state and its counters.
//!
//! State changes come from outside: probes through [`Backend::set_health`], attempts through the record functions.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::model;

use super::ejection::{Ejected, Ejection};
use super::health::{Health, Status};
use super::idle::IdlePool;

/// How long resolved addresses are used before the name is looked up again.
const ADDRESS_AGE: Duration = Duration::from_secs(10);

/// One server of an upstream.
#[derive(Debug)]
pub struct Backend {
    /// Unique within its upstream.
    pub id: Arc<str>,
    /// `host:port`, as a `Host` field writes it; `localhost` for a Unix socket.
    pub authority: String,
    /// `host:port` or `unix:PATH`, for people.
    pub address: String,
    /// Share of the traffic.
    pub weight: u32,
    /// Connections that wait for their next request.
    pub idle: IdlePool,
    pub(super) place: Place,
    health: Mutex<Health>,
    ejection: Mutex<Ejection>,
    counters: Counters,
}

/// Where it listens.
#[derive(Debug)]
pub(super) enum Place {
    Tcp(Name),
    Unix(PathBuf),
}

/// A name or an address, with the addresses that were found for it.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    port: u16,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    answers: AtomicU64,
    answer_micros: AtomicU64,
}

/// Why a backend is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Its probes fail.
    Unreachable,
    /// Live traffic failed; it comes back by itself.
    Ejected {
        /// Until then.
        until: Instant,
    },
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
    /// Mean time from the attempt's begin to the response head; `None` before the first.
    pub mean_time: Option<Duration>,
}

impl Name {
    fn new(host: &str, port: u16) -> Name {
        Name {
            host: host.to_owned(),
            port,
            known: Mutex::new(None),
        }
    }

    /// The addresses of the name, looked up at most every 10 s. A lookup takes as long as the system's resolver lets it; when
    /// it fails, the addresses that were known before are used for another 10 s.
    ///
    /// # Errors
    /// The resolver's, when nothing was known before; also when the name has no address.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let known = self.known.lock().clone();
        if let Some((at, addresses)) = &known
            && at.elapsed() < ADDRESS_AGE
        {
            return Ok(addresses.clone());
        }
        // Outside the lock: a slow resolver must not stop those who could use a fresh answer.
        let found = self.look_up().or_else(|error| match known {
            Some((_, addresses)) => {
                log::warn!("{} does not resolve: {error}", self.host);
                Ok(addresses)
            }
            None => Err(error),
        })?;
        *self.known.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }
}

impl Backend {
    /// A backend that nobody has checked yet.
    pub fn new(settings: &model::Backend) -> Backend {
        let (authority, place) = match &settings.at {
            model::BackendAddress::Tcp { host, port } => {
                let authority = if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                };
                (authority, Place::Tcp(Name::new(host, *port)))
            }
            model::BackendAddress::Unix(path) => ("localhost".into(), Place::Unix(path.clone())),
        };
        let address = match &settings.at {
            model::BackendAddress::Tcp { .. } => authority.clone(),
            unix @ model::BackendAddress::Unix(_) => unix.to_string(),
        };
        Backend {
            id: settings.id.as_str().into(),
            authority,
            address,
            weight: settings.weight,
            idle: IdlePool::default(),
            place,
            health: Mutex::new(Health::default()),
            ejection: Mutex::new(Ejection::default()),
            counters: Counters::default(),
        }
    }

    /// Why it is not used at `now`; `None`: it may be used.
    pub fn skip(&self, now: Instant) -> Option<Skip> {
        if self.health.lock().status == Status::Unreachable {
            return Some(Skip::Unreachable);
        }
        self.ejection
            .lock()
            .until(now)
            .map(|until| Skip::Ejected { until })
    }

    /// What the probes found.
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// Replaces what the probes found. A backend that turns healthy loses its idle connections: they are from before.
    pub fn set_health(&self, health: Health) {
        let before = std::mem::replace(&mut *self.health.lock(), health);
        if before.status == Status::Unreachable {
            self.idle.clear();
        }
    }

    /// Until when it is ejected.
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        self.ejection.lock().until(now)
    }

    /// Whether its ejection ended since this was last asked.
    pub fn take_return(&self, now: Instant) -> bool {
        self.ejection.lock().take_return(now)
    }

    /// Attempts under way.
    pub fn active(&self) -> usize {
        self.counters.active.load(Ordering::Relaxed)
    }

    /// Counters right now.
    pub fn totals(&self) -> Totals {
        let counters = &self.counters;
        let answers = counters.answers.load(Ordering::Relaxed);
        let micros = counters.answer_micros.load(Ordering::Relaxed);
        Totals {
            active: self.active(),
            requests: counters.requests.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
            mean_time: micros.checked_div(answers).map(Duration::from_micros),
        }
    }

    pub(super) fn begin(&self) {
        self.counters.active.fetch_add(1, Ordering::Relaxed);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.counters.active.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn record_answer(&self, after: Duration) {
        self.counters.answers.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.counters
            .answer_micros
            .fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn record_success(&self) {
        self.ejection.lock().record_success();
    }

    pub(super) fn record_failure(
        &self,
        rules: &model::Ejection,
        others_usable: bool,
        now: Instant,
    ) -> Option<Ejected> {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        self.ejection
            .lock()
            .record_failure(rules, others_usable, now)
    }
}
