//! Upstreams: named groups of backends, with everything about them that outlives a request.
//!
//! It remembers (health, ejection, counters, idle connections) and answers questions; who is picked is up to `balance`,
//! who is probed up to `health`, who is asked up to `forward`.

pub mod backend;
pub mod dial;
pub mod ejection;
pub mod health;
pub mod idle;
mod keep_alive;
pub mod lease;
pub mod report;
pub mod watch;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::model;

use backend::{Backend, Skip};
use ejection::Ejected;

/// A named group of backends.
#[derive(Debug)]
pub struct Upstream {
    /// Unique name.
    pub name: Arc<str>,
    /// As configured.
    pub settings: model::Upstream,
    /// In the order configured; never empty.
    pub backends: Vec<Arc<Backend>>,
    /// Held while one is ejected: two that fail at once must not each take the other for the one that stays.
    ejecting: Mutex<()>,
}

impl Upstream {
    /// An upstream none of whose backends has been checked yet.
    pub fn new(settings: &model::Upstream) -> Upstream {
        Upstream {
            name: settings.name.as_str().into(),
            backends: settings
                .backends
                .iter()
                .map(|backend| Arc::new(Backend::new(backend)))
                .collect(),
            settings: settings.clone(),
            ejecting: Mutex::new(()),
        }
    }

    /// Why the backend at `index` is not used at `now`; `None`: it may be used.
    pub fn skip(&self, index: usize, now: Instant) -> Option<Skip> {
        self.backends
            .get(index)
            .map_or(Some(Skip::Unreachable), |backend| backend.skip(now))
    }

    /// Whether any backend may be used at `now`.
    pub fn has_usable(&self, now: Instant) -> bool {
        self.backends
            .iter()
            .any(|backend| backend.skip(now).is_none())
    }

    /// Notes a failed attempt at `backend`, which may eject it; never the last usable one.
    pub fn record_failure(&self, backend: &Backend, now: Instant) -> Option<Ejected> {
        let _guard = self.ejecting.lock();
        let others_usable = self
            .backends
            .iter()
            .any(|other| other.id != backend.id && other.skip(now).is_none());
        backend.record_failure(&self.settings.ejection, others_usable, now)
    }
}
