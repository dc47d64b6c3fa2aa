//! Active health checks: one thread schedules probes, and it alone changes what is known of a backend's health.
//!
//! Every probe runs on a short-lived thread with a connection of its own, so a backend that hangs delays nobody else's
//! probe. Traffic never passes through here.

mod line;
mod probe;
mod threshold;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rand::RngExt;

use crate::config::model;
use crate::drain::Drain;
use crate::upstream::Upstream;
use crate::upstream::backend::Backend;
use crate::upstream::health::{Health, ProbeReport, Status};

use probe::Outcome;
use threshold::Threshold;

/// The thread wakes at least this often, to notice ejections that end and a drain that stops it.
const GLANCE: Duration = Duration::from_millis(200);

/// Index of the upstream and of the backend in it.
type Key = (usize, usize);

struct Watched {
    backend: Arc<Backend>,
    upstream: Arc<str>,
    settings: model::Health,
    threshold: Threshold,
    due: Instant,
    is_running: bool,
}

/// Starts the health thread over all backends. Upstreams with probes switched off are left alone.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(upstreams: &[Arc<Upstream>], drain: Drain) -> io::Result<JoinHandle<()>> {
    let now = Instant::now();
    let mut watched = HashMap::new();
    let mut all = Vec::new();
    for (group, upstream) in upstreams.iter().enumerate() {
        for (index, backend) in upstream.backends.iter().enumerate() {
            all.push((upstream.name.clone(), Arc::clone(backend)));
            let settings = upstream.settings.health.clone();
            if settings.enabled {
                let entry = Watched {
                    backend: Arc::clone(backend),
                    upstream: upstream.name.clone(),
                    threshold: Threshold::new(settings.fall, settings.rise),
                    settings,
                    due: now,
                    is_running: false,
                };
                watched.insert((group, index), entry);
            }
        }
    }
    thread::Builder::new()
        .name("health".into())
        .spawn(move || run(watched, &all, &drain))
}

fn run(mut watched: HashMap<Key, Watched>, all: &[(Arc<str>, Arc<Backend>)], drain: &Drain) {
    // At most one probe per backend is ever under way, so no probe waits to tell its outcome.
    let (sender, results) = bounded(watched.len().max(1));
    while !drain.is_stopped() {
        let now = Instant::now();
        for (key, entry) in &mut watched {
            if entry.due <= now && !entry.is_running {
                entry.is_running = launch(*key, entry, &sender);
                entry.due = now + entry.settings.interval;
            }
        }
        announce_returns(all, now);
        let next = watched
            .values()
            .filter(|entry| !entry.is_running)
            .map(|entry| entry.due)
            .min();
        let pause = next
            .map_or(GLANCE, |due| due.saturating_duration_since(now))
            .min(GLANCE);
        match results.recv_timeout(pause) {
            Ok((key, outcome)) => {
                if let Some(entry) = watched.get_mut(&key) {
                    entry.is_running = false;
                    conclude(entry, &outcome);
                }
            }
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Starts one probe. False when there is no thread for it now; it stays due.
fn launch(key: Key, entry: &Watched, results: &Sender<(Key, Outcome)>) -> bool {
    let (backend, settings, results) = (
        Arc::clone(&entry.backend),
        entry.settings.clone(),
        results.clone(),
    );
    let work = move || {
        let outcome = probe::run(&backend, &settings);
        // The health thread is gone when tollgate ends; nobody wants to know then.
        let _ = results.send((key, outcome));
    };
    thread::Builder::new()
        .name("probe".into())
        .stack_size(256 * 1024)
        .spawn(work)
        .is_ok()
}

/// Takes a probe's outcome into account and sets the time of the next one.
fn conclude(entry: &mut Watched, outcome: &Outcome) {
    let before = entry.threshold.status();
    let status = entry.threshold.record(outcome.is_good);
    let at = SystemTime::now();
    let old = entry.backend.health();
    let health = Health {
        status,
        failures: entry.threshold.failures(),
        last_healthy: if outcome.is_good {
            Some(at)
        } else {
            old.last_healthy
        },
        last_probe: Some(ProbeReport {
            at,
            is_good: outcome.is_good,
            reason: outcome.reason.clone(),
        }),
    };
    entry.backend.set_health(health);
    if status != before {
        announce(entry, before, status, &outcome.reason);
    }
    entry.due = Instant::now() + pause(entry);
}

fn announce(entry: &Watched, before: Status, status: Status, reason: &str) {
    let level = if status == Status::Unreachable {
        log::Level::Warn
    } else {
        log::Level::Info
    };
    let (upstream, id) = (&entry.upstream, &entry.backend.id);
    log::log!(
        level,
        "backend {upstream}/{id} is {} (was {}): {reason}",
        status.as_str(),
        before.as_str()
    );
}

/// Interval with ±10 % of jitter, so that probes of many proxies do not march in step; while down it doubles up to its
/// bound.
fn pause(entry: &Watched) -> Duration {
    let settings = &entry.settings;
    let base = entry
        .threshold
        .pause(settings.interval, settings.max_interval);
    base.mul_f64(rand::rng().random_range(0.9..=1.1))
}

fn announce_returns(all: &[(Arc<str>, Arc<Backend>)], now: Instant) {
    for (upstream, backend) in all {
        if backend.take_return(now) {
            log::info!(
                "backend {upstream}/{} is back in the rotation: its ejection has ended",
                backend.id
            );
        }
    }
}
