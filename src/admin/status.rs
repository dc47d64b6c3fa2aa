//! `/_proxy/status`: the state of everything in one JSON document. Times in milliseconds, wall-clock times in milliseconds
//! since the Unix epoch.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::clock::unix_millis;
use crate::drain::{Drain, Phase};
use crate::upstream::Upstream;
use crate::upstream::backend::Backend;

/// What the status page shows.
pub struct View {
    pub(super) drain: Drain,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    pub(super) load: Box<dyn Fn() -> LoadView + Send + Sync>,
    pub(super) started: Instant,
}

/// Workers, queue and log as they are right now.
#[derive(Debug, Clone, Copy)]
pub struct LoadView {
    /// Worker threads.
    pub workers: usize,
    /// Those that work.
    pub busy: usize,
    /// Requests that wait for one.
    pub queued: usize,
    /// Most that may wait.
    pub queue: usize,
    /// Log lines dropped since the start.
    pub log_lines_dropped: u64,
}

impl View {
    /// The document.
    pub(super) fn render(&self, now: Instant) -> Value {
        let load = (self.load)();
        let upstreams: Vec<Value> = self
            .upstreams
            .iter()
            .map(|upstream| render_upstream(upstream, now))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": match self.drain.phase() {
                Phase::Serving => "serving",
                Phase::Leaving => "leaving",
                Phase::Draining | Phase::Stopped => "draining",
            },
            "uptime_seconds": now.saturating_duration_since(self.started).as_secs(),
            "workers": { "total": load.workers, "busy": load.busy },
            "queue": { "waiting": load.queued, "capacity": load.queue },
            "in_flight": self.drain.in_flight(),
            "log_lines_dropped": load.log_lines_dropped,
            "upstreams": upstreams,
        })
    }
}

fn render_upstream(upstream: &Upstream, now: Instant) -> Value {
    let backends: Vec<Value> = upstream
        .backends
        .iter()
        .map(|backend| render_backend(backend, now))
        .collect();
    json!({ "name": &*upstream.name, "usable": upstream.has_usable(now), "backends": backends })
}

fn render_backend(backend: &Backend, now: Instant) -> Value {
    let (health, totals) = (backend.health(), backend.totals());
    let ejected_until = backend
        .ejected_until(now)
        .map(|until| unix_millis(SystemTime::now() + until.saturating_duration_since(now)));
    json!({
        "id": &*backend.id,
        "address": backend.address,
        "weight": backend.weight,
        "state": health.status.as_str(),
        "usable": backend.skip(now).is_none(),
        "ejected_until": ejected_until,
        "active": totals.active,
        "requests": totals.requests,
        "failures": totals.failures,
        "mean_time_ms": totals.mean_time.map(|mean| (mean.as_secs_f64() * 1e6).round() / 1000.0),
        "idle_connections": backend.idle.len(),
        "failed_probes": health.failures,
        "last_healthy": health.last_healthy.map(unix_millis),
        "last_probe": health.last_probe.map(|probe| {
            json!({ "at": unix_millis(probe.at), "good": probe.is_good, "reason": probe.reason })
        }),
    })
}
