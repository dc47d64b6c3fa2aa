//! A picked backend, counted as active until dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use super::backend::Backend;
use super::ejection::Ejected;

/// A backend that was picked for one attempt.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    backend: Arc<Backend>,
}

impl Lease {
    /// Leases the backend at `index`; `None` when there is no such backend.
    pub fn new(upstream: &Arc<Upstream>, index: usize) -> Option<Lease> {
        let backend = Arc::clone(upstream.backends.get(index)?);
        backend.begin();
        Some(Lease {
            upstream: Arc::clone(upstream),
            backend,
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

    /// The backend's answer came whole: failures before it are forgotten.
    pub fn record_success(&self) {
        self.backend.record_success();
    }

    /// The head of the backend's answer came, `after` this time.
    pub fn record_answer(&self, after: Duration) {
        self.backend.record_answer(after);
    }

    /// The backend failed this attempt, which may eject it.
    pub fn record_failure(&self, now: Instant) -> Option<Ejected> {
        self.upstream.record_failure(&self.backend, now)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.end();
    }
}
