//! `/_proxy/status`: the state of everything in one JSON document. Times in milliseconds, wall-clock times in milliseconds
//! since the Unix epoch.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::tls;
use crate::clock::unix_millis;
use crate::drain::{Drain, Phase};
use crate::tls::server::Terminator;
use crate::upstream::Upstream;
use crate::upstream::backend::Skip;
use crate::upstream::breaker::State;
use crate::upstream::fleet::Fleet;
use crate::upstream::member::Member;

use super::limits::LimitsView;

/// What the status page shows.
pub struct View {
    pub(super) drain: Drain,
    pub(super) fleet: Fleet,
    pub(super) load: Box<dyn Fn() -> LoadView + Send + Sync>,
    pub(super) terminator: Option<Arc<Terminator>>,
    pub(super) started: Instant,
}

/// Workers, queue and log as they are right now.
#[derive(Debug, Clone)]
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
    /// Copies of requests since the start.
    pub mirror: MirrorView,
    /// Limits of how often and how many.
    pub limits: LimitsView,
}

/// What became of copies of requests.
#[derive(Debug, Clone, Copy)]
pub struct MirrorView {
    /// Answered.
    pub sent: u64,
    /// Not answered.
    pub failed: u64,
    /// Not sent, since too many waited already.
    pub dropped: u64,
}

impl View {
    /// The document.
    pub(super) fn render(&self, now: Instant) -> Value {
        let load = (self.load)();
        let upstreams: Vec<Value> = self
            .fleet
            .upstreams()
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
            "mirror": {
                "sent": load.mirror.sent,
                "failed": load.mirror.failed,
                "dropped": load.mirror.dropped,
            },
            "tls": self.terminator.as_deref().map(|terminator| tls::render(terminator, SystemTime::now())),
            "limits": load.limits.render(),
            "upstreams": upstreams,
        })
    }
}

pub(super) fn render_upstream(upstream: &Upstream, now: Instant) -> Value {
    let backends: Vec<Value> = upstream
        .members
        .iter()
        .map(|member| render_member(member, now))
        .collect();
    let hedges = upstream.hedges();
    json!({
        "name": &*upstream.name,
        "usable": upstream.has_usable(now),
        "failing_open": upstream.is_failing_open(now),
        "waiting": upstream.waiting(),
        "hedges": { "sent": hedges.sent, "won": hedges.won },
        "backends": backends,
    })
}

pub(super) fn render_member(member: &Member, now: Instant) -> Value {
    let (backend, settings) = (&member.backend, &member.settings);
    let (health, totals, breaker) = (backend.health(), backend.totals(), backend.breaker());
    let ejected_until = match breaker {
        State::Tripped { until } if until > now => {
            Some(unix_millis(SystemTime::now() + (until - now)))
        }
        _ => None,
    };
    let skip = member.skip(now);
    json!({
        "id": &*backend.id,
        "url": backend.at().to_string(),
        "address": backend.address,
        "addresses": backend.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "weight": settings.weight,
        "backup": settings.is_backup,
        "max_connections": Some(settings.max_connections).filter(|most| *most < usize::MAX),
        "duty": settings.duty.as_str(),
        "state": health.status.as_str(),
        "breaker": breaker.as_str(now),
        "usable": skip.is_none(),
        "skipped": skip.map(Skip::as_str),
        "ejected_until": ejected_until,
        "active": totals.active,
        "requests": totals.requests,
        "failures": totals.failures,
        "mean_time_ms": totals.mean_time().map(millis),
        "recent_time_ms": backend.speed.mean_time().map(millis),
        "idle_connections": backend.idle.len(),
        "failed_probes": health.failures,
        "last_healthy": health.last_healthy.map(unix_millis),
        "last_probe": health.last_probe.map(|probe| {
            json!({ "at": unix_millis(probe.at), "good": probe.is_good, "reason": probe.reason })
        }),
    })
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}
