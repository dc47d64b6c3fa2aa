//! Copies of requests for one more upstream: sent on threads of their own, never waited for, their answers thrown away.
//!
//! Everything about them is bounded: how many are under way, how many wait, how long one takes, how much of an answer is
//! read. When the queue is full, or they waited too long in it, copies are dropped and counted. How the other upstream fares shows
//! in its own state only.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::balance::Wish;
use crate::config::model::Mirror;
use crate::error::Cause;
use crate::forward::{self, Attempts, Client, Forwarded, Outbound, RequestBody};
use crate::logging::Seldom;
use crate::message::head::RequestHead;

use super::context::Context;
use super::decide::Plan;

use super::snapshot::Snapshot;

/// Copies that are under way at the same time.
const THREADS: usize = 4;
/// Copies that wait. With bodies of 64 KiB, the largest there are, and heads of 32 KiB they take 24 MiB.
const WAITING: usize = 256;
/// One copy, whatever the upstream's own timeouts say; and how long it may have waited before that: what is older says nothing
/// about the present any more.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes of an answer's body that are read so that its connection can be used again. A longer one is cut.
const MOST_READ: u64 = 4 * 1024 * 1024;
/// How long a shutdown waits for copies that are under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// The threads, and the way to them.
pub(super) struct Mirrors {
    shared: Arc<Shared>,
    door: Mutex<Door>,
    /// Ends when the last thread does.
    ended: Receiver<()>,
}

/// The way to the threads.
enum Door {
    /// There are none yet. Each gets one of these.
    Closed(Sender<()>),
    Open(Sender<Duplicate>),
    /// There are none any more.
    Over,
}

/// What became of copies since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// Those that were answered, in whatever way.
    pub sent: u64,
    /// Those that were not.
    pub failed: u64,
    /// Those that were never sent: too many waited already, or they had waited for too long, or the proxy was shutting down.
    pub dropped: u64,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    is_stopped: AtomicBool,
    failures: Seldom,
    drops: Seldom,
}

/// Where the copy of one request goes.
pub(super) struct Destination {
    /// Index of the upstream.
    upstream: usize,
    /// What the request brings along for the pick there.
    wish: Wish,
    snapshot: Arc<Snapshot>,
}

/// A copy of one request.
struct Duplicate {
    /// As the backends of its own route get it.
    outbound: Outbound,
    body: Vec<u8>,
    to: Destination,
    request_id: String,
    /// When it was taken.
    since: Instant,
}

/// Why a copy is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Full,
    Stale,
    NoThreads,
    Over,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::Full => write!(f, "{WAITING} wait already"),
            Dropped::Stale => write!(f, "it has waited for {} s", LONGEST.as_secs()),
            Dropped::NoThreads => f.write_str("there are no threads for them"),
            Dropped::Over => f.write_str("the proxy is shutting down"),
        }
    }
}

/// Whether a copy of this request is sent, and where.
pub(super) fn draw(
    plan: &Plan,
    head: &RequestHead,
    client_ip: IpAddr,
    snapshot: &Arc<Snapshot>,
) -> Option<Destination> {
    let upstream = plan.mirror.filter(|mirror| draws(*mirror))?.upstream;
    let wish = snapshot.groups.get(upstream)?.wish(head, client_ip);
    Some(Destination {
        upstream,
        wish,
        snapshot: Arc::clone(snapshot),
    })
}

/// Whether this request is one of those that are copied.
fn draws(mirror: Mirror) -> bool {
    mirror.percent >= 100 || rand::random_range(0..100) < mirror.percent
}

impl Mirrors {
    /// None are under way; the threads begin with the first one.
    pub(super) fn new() -> Mirrors {
        let (alive, ended) = bounded(1);
        Mirrors {
            shared: Arc::default(),
            door: Mutex::new(Door::Closed(alive)),
            ended,
        }
    }

    /// Takes a request that has been sent on its own way, to send it again as a copy if all of its body is at hand. Upgrades
    /// are not copied.
    pub(super) fn offer(
        &self,
        to: Destination,
        outbound: Outbound,
        body: RequestBody<'_>,
        context: &Context,
    ) {
        if !outbound.is_upgrade()
            && let Some(body) = body.into_whole()
        {
            self.submit(Duplicate {
                outbound,
                body,
                to,
                request_id: context.request_id.clone(),
                since: Instant::now(),
            });
        }
    }

    /// Queues a copy, or drops it when too many wait.
    fn submit(&self, duplicate: Duplicate) {
        let mut door = self.door.lock();
        if let Door::Closed(alive) = &*door {
            match self.start(alive) {
                Ok(sender) => *door = Door::Open(sender),
                Err(error) => log::error!("copies of requests find no threads: {error}"),
            }
        }
        let why = match &*door {
            Door::Open(sender) => match sender.try_send(duplicate) {
                Ok(()) => return,
                Err(_) => Dropped::Full,
            },
            Door::Closed(_) => Dropped::NoThreads,
            Door::Over => Dropped::Over,
        };
        self.shared.drop_one(why);
    }

    fn start(&self, alive: &Sender<()>) -> io::Result<Sender<Duplicate>> {
        let (sender, duplicates) = bounded::<Duplicate>(WAITING);
        for number in 0..THREADS {
            let (shared, duplicates) = (Arc::clone(&self.shared), duplicates.clone());
            let alive = alive.clone();
            let work = move || {
                let _alive = alive;
                shared.work(&duplicates);
            };
            let thread = thread::Builder::new().name(format!("mirror-{number}"));
            thread.spawn(work)?;
        }
        Ok(sender)
    }

    pub(super) fn totals(&self) -> Mirrored {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Mirrored {
            sent: get(&self.shared.sent),
            failed: get(&self.shared.failed),
            dropped: get(&self.shared.dropped),
        }
    }

    /// Drops what waits, and ends the threads after what they are doing.
    pub(super) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        *self.door.lock() = Door::Over;
    }

    /// The same, and gives what is under way a second to end.
    pub(super) fn shut_down(&self) {
        self.stop();
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(PATIENCE) {
            log::info!(
                "copies of requests were still under way; their answers would be lost anyway"
            );
        }
    }
}

impl Drop for Mirrors {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Until nobody is left who could send more.
    fn work(&self, duplicates: &Receiver<Duplicate>) {
        let client = Client::new();
        for duplicate in duplicates {
            if self.is_stopped.load(Ordering::Acquire) {
                self.drop_one(Dropped::Over);
            } else if is_stale(duplicate.since, Instant::now()) {
                self.drop_one(Dropped::Stale);
            } else if catch_unwind(AssertUnwindSafe(|| self.send(&client, duplicate))).is_err() {
                self.failed.fetch_add(1, Ordering::Relaxed);
                log::error!("a copy of a request panicked; the next one goes on");
            }
        }
    }

    fn send(&self, client: &Client, duplicate: Duplicate) {
        let to = &duplicate.to;
        let name = to.snapshot.name(to.upstream).to_owned();
        let id = duplicate.request_id.clone();
        let Err(cause) = ask(client, duplicate) else {
            self.sent.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        log::debug!("the copy for upstream {name} failed: {cause} (id={id})");
        if let Some(count) = self.failures.count(Instant::now()) {
            log::warn!(
                "copies of requests fail, the latest for upstream {name}: {cause} (since this was told last: {count})"
            );
        }
    }

    fn drop_one(&self, why: Dropped) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        // That a shutdown drops what waits is as it should be.
        if why != Dropped::Over
            && let Some(count) = self.drops.count(Instant::now())
        {
            log::warn!(
                "copies of requests are dropped, the latest because {why} (since this was told last: {count})"
            );
        }
    }
}

/// Whether a copy has waited for too long.
fn is_stale(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= LONGEST
}

/// Asks one backend, once.
fn ask(client: &Client, duplicate: Duplicate) -> Result<(), Cause> {
    let Duplicate {
        outbound, body, to, ..
    } = duplicate;
    let groups = &to.snapshot.groups;
    let group = groups.get(to.upstream).ok_or(Cause::Internal)?;
    let mut lease = group.balancer.candidates(&group.upstream, to.wish).take(1);
    let outbound = outbound.bounded(LONGEST);
    let mut source = body.as_slice();
    let framing = outbound.framing();
    let mut body = RequestBody::new(&mut source, framing, u64::MAX).at_hand(true);
    let since = Instant::now();
    let forwarded = forward::send(
        client,
        &outbound,
        &mut body,
        None,
        &mut lease,
        &mut std::iter::empty(),
        &mut Attempts::new(),
    );
    forwarded
        .map(|forwarded| discard(forwarded, since))
        .map_err(|gave_up| gave_up.cause)
}

/// Reads the body, so that the connection can be used again; not endlessly.
fn discard(forwarded: Forwarded, since: Instant) {
    let Forwarded { answer, lease, .. } = forwarded;
    let mut body = answer.body.take(MOST_READ + 1);
    match io::copy(&mut body, &mut io::sink()) {
        Ok(count) if count <= MOST_READ => lease.record_success(),
        Ok(_) => (),
        // It was our own time that was over, or the upstream's: as on the road of requests, nobody's fault.
        Err(error) if error.kind() == io::ErrorKind::TimedOut => (),
        Err(_) => {
            lease.record_failure(since.elapsed(), Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_share() {
        let draws = |percent| {
            let mirror = Mirror {
                upstream: 0,
                percent,
            };
            (0..10_000).filter(|_| draws(mirror)).count()
        };
        assert_eq!(draws(100), 10_000);
        // Six standard deviations: one run in 10^8 or so is further off.
        assert!(draws(10).abs_diff(1000) < 180);
    }

    #[test]
    fn what_has_waited_for_too_long_is_dropped_and_counted() {
        let since = Instant::now();
        assert!(!is_stale(since, since) && !is_stale(since, since + LONGEST / 2));
        assert!(is_stale(since, since + LONGEST));
        let shared = Shared::default();
        shared.drop_one(Dropped::Stale);
        assert_eq!(shared.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(Dropped::Stale.to_string(), "it has waited for 30 s");
    }
}
