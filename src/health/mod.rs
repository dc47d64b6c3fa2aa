//! Active health checks: one thread schedules probes, and it alone changes what is known of a backend's health.
//!
//! Every probe runs on a short-lived thread with a connection of its own, so a backend that hangs delays nobody else's
//! probe. Traffic never passes through here.

mod line;
mod probe;
mod threshold;

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
use crate::upstream::fleet::Fleet;
use crate::upstream::health::{Health, ProbeReport, Status};

use probe::Outcome;
use threshold::Threshold;

/// The thread wakes at least this often, to notice ejections that end and a drain that stops it.
const GLANCE: Duration = Duration::from_millis(200);

/// Outcomes of probes that may wait to be looked at.
const OUTCOMES: usize = 64;

struct Watched {
    number: u64,
    backend: Arc<Backend>,
    upstream: Arc<str>,
    settings: model::Health,
    threshold: Threshold,
    due: Instant,
    is_running: bool,
}

impl Watched {
    /// Whether a probe may begin: nobody knows where to as long as its name does not resolve.
    fn is_free(&self) -> bool {
        !self.is_running && self.backend.is_resolved()
    }
}

/// What is probed, brought up to date whenever the fleet changes.
struct Round {
    fleet: Fleet,
    seen: Arc<[Arc<Upstream>]>,
    watched: Vec<Watched>,
    /// Probes are told apart by this: a backend may leave while its probe is under way.
    last_number: u64,
}

/// Starts the health thread over all backends of the fleet. Upstreams with probes switched off are left alone.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(fleet: Fleet, drain: Drain) -> io::Result<JoinHandle<()>> {
    let round = Round::new(fleet);
    thread::Builder::new()
        .name("health".into())
        .spawn(move || run(round, &drain))
}

fn run(mut round: Round, drain: &Drain) {
    let (sender, results) = bounded(OUTCOMES);
    while !drain.is_stopped() {
        round.follow();
        let now = Instant::now();
        round.follow_moves(now);
        for entry in &mut round.watched {
            if entry.due <= now && entry.is_free() {
                entry.is_running = launch(entry, &sender);
                entry.due = now + entry.settings.interval;
            }
        }
        announce_returns(&round.seen);
        let next = round
            .watched
            .iter()
            .filter(|entry| entry.is_free())
            .map(|entry| entry.due)
            .min();
        let pause = next
            .map_or(GLANCE, |due| due.saturating_duration_since(now))
            .min(GLANCE);
        match results.recv_timeout(pause) {
            Ok((number, outcome)) => round.take(number, &outcome),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Round {
    fn new(fleet: Fleet) -> Round {
        let mut round = Round {
            seen: fleet.upstreams(),
            fleet,
            watched: Vec::new(),
            last_number: 0,
        };
        round.renew();
        round
    }

    fn follow(&mut self) {
        let upstreams = self.fleet.upstreams();
        if !Arc::ptr_eq(&upstreams, &self.seen) {
            self.seen = upstreams;
            self.renew();
        }
    }

    /// Forgets what is known about who has moved: it is about another server, and so is what a probe under way will find.
    fn follow_moves(&mut self, now: Instant) {
        for entry in &mut self.watched {
            if entry.backend.take_move() {
                self.last_number += 1;
                entry.number = self.last_number;
                entry.is_running = false;
                entry.threshold = Threshold::new(entry.settings.fall, entry.settings.rise);
                entry.due = now;
            }
        }
    }

    /// Takes the outcome of the probe with this number, unless nobody waits for it any more.
    fn take(&mut self, number: u64, outcome: &Outcome) {
        self.follow_moves(Instant::now());
        let mut watched = self.watched.iter_mut();
        if let Some(entry) = watched.find(|entry| entry.number == number) {
            entry.is_running = false;
            conclude(entry, outcome);
        }
    }

    /// Takes in who is new and lets go of who has left; who stays goes on as before.
    fn renew(&mut self) {
        let mut before = std::mem::take(&mut self.watched);
        for upstream in self.seen.iter() {
            let settings = &upstream.settings.health;
            for backend in upstream.backends() {
                let known = before
                    .iter()
                    .position(|entry| Arc::ptr_eq(&entry.backend, backend))
                    .map(|place| before.swap_remove(place));
                match known {
                    Some(mut entry) if settings.enabled => {
                        entry.threshold.adjust(settings.fall, settings.rise);
                        entry.settings = settings.clone();
                        self.watched.push(entry);
                    }
                    // What probes found is worth nothing when nobody looks any more.
                    Some(entry) => entry.backend.set_health(Health::default()),
                    None if settings.enabled => {
                        self.last_number += 1;
                        self.watched.push(Watched {
                            number: self.last_number,
                            backend: Arc::clone(backend),
                            upstream: Arc::clone(&upstream.name),
                            threshold: Threshold::new(settings.fall, settings.rise),
                            settings: settings.clone(),
                            due: Instant::now(),
                            is_running: false,
                        });
                    }
                    None => (),
                }
            }
        }
    }
}

/// Starts one probe. False when there is no thread for it now: the next one is due after the usual interval.
fn launch(entry: &Watched, results: &Sender<(u64, Outcome)>) -> bool {
    let number = entry.number;
    let (backend, settings, results) = (
        Arc::clone(&entry.backend),
        entry.settings.clone(),
        results.clone(),
    );
    let work = move || {
        let outcome = probe::run(&backend, &settings);
        // The health thread is gone when tollgate ends; nobody wants to know then.
        let _ = results.send((number, outcome));
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

fn announce_returns(upstreams: &[Arc<Upstream>]) {
    for upstream in upstreams {
        for backend in upstream.backends().filter(|one| one.take_return()) {
            let (name, id) = (&upstream.name, &backend.id);
            log::info!("backend {name}/{id} is back in the rotation: its ejection has ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::BackendAddress;

    #[test]
    fn what_a_probe_finds_where_a_backend_was_is_not_about_where_it_is() {
        let upstream = Upstream::adjusted(|settings| {
            let host = "app.test".into();
            settings.backends[0].at = BackendAddress::Tcp { host, port: 80 };
            settings.health.enabled = true;
            settings.health.fall = 1;
        });
        let fleet = Fleet::new(vec![Arc::clone(&upstream)]);
        let mut round = Round::new(fleet);
        let backend = &upstream.members[0].backend;
        let now = Instant::now();
        backend.set_addresses(&[[10, 0, 0, 1].into()], now);
        let old = round.watched[0].number;
        round.watched[0].is_running = true;
        backend.set_addresses(&[[10, 0, 0, 2].into()], now);
        let bad = Outcome {
            is_good: false,
            reason: "refused".into(),
        };
        round.take(old, &bad);
        assert_eq!(backend.health().status, Status::NotChecked);
        let entry = &round.watched[0];
        assert!(entry.is_free() && entry.number != old, "it is probed anew");
        let new = entry.number;
        round.take(new, &bad);
        assert_eq!(backend.health().status, Status::Unreachable);
    }
}
