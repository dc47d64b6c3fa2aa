//! What one attempt shares between the code that runs ureq and the transport that ureq drives.
//!
//! ureq's connector interface carries no request data. The attempt therefore lies in a thread-local while ureq connects (it
//! calls the connector on the thread that runs the request); from then on the transport holds it. All of it happens on one
//! thread; the atomics and locks are there because ureq asks for transports that could be shared.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::model::UpstreamTimeouts;
use crate::error::Cause;
use crate::tls::failure::{Failure, Fault};
use crate::upstream::backend::Backend;
use crate::upstream::idle::{Connection, Reused};
use crate::upstream::lease::Lease;

use super::body::KEPT;
use super::response::RawHead;
use super::{BackendConduit, Outbound};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) backend: Arc<Backend>,
    pub(super) timeouts: UpstreamTimeouts,
    /// The request head as it goes over the wire; ureq's own is swallowed.
    pub(super) head: Arc<Vec<u8>>,
    pub(super) manner: Manner,
    pub(super) facts: Facts,
    deadline: Option<Instant>,
    /// Microseconds spent waiting for the client, which are not the backend's.
    client_micros: Tally,
}

/// How an attempt is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// Do not use an idle connection.
    pub(super) is_fresh: bool,
    /// It can be repeated when its idle connection turns out to be stale.
    pub(super) tolerates_stale: bool,
    /// Reading the begin of the body does not block: the head waits for it, so that both go out in one send.
    pub(super) is_body_at_hand: bool,
    /// A 101 is wanted, and the connection with it.
    pub(super) is_upgrade: bool,
}

impl Manner {
    /// How a request is sent at first: over an idle connection, its head alone.
    pub(super) fn of(outbound: &Outbound) -> Manner {
        let length = outbound.framing().length();
        let is_repeatable = length.is_some_and(|length| length <= KEPT as u64);
        Manner {
            is_fresh: outbound.is_upgrade(),
            tolerates_stale: outbound.is_idempotent() && is_repeatable,
            is_body_at_hand: false,
            is_upgrade: outbound.is_upgrade(),
        }
    }
}

/// What the transport saw.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) is_reused: Flag,
    /// How long that connection was idle, in milliseconds.
    pub(super) idle_millis: Tally,
    pub(super) sent: Tally,
    pub(super) received: Tally,
    /// The backend answers, or has gone, while the request body is still being sent: the rest of it is of no use.
    pub(super) is_early: Flag,
    /// The backend has ended the connection within the body.
    pub(super) is_ended: Flag,
    /// The connection was reset while the request was sent.
    pub(super) is_reset: Flag,
    /// The begin of the response body came together with its head.
    pub(super) is_body_ready: Flag,
    /// Why the transport gave up; the first reason stands.
    failure: Mutex<Option<Cause>>,
    /// More about it, for the log.
    pub(super) reason: Mutex<Option<String>>,
    /// The final response head.
    pub(super) head: Mutex<Option<RawHead>>,
    /// The connection over which the head has gone out already, and when it did.
    pub(super) launched: Mutex<Option<(Connection, Instant)>>,
    /// The connection after a 101.
    pub(super) conduit: Mutex<Option<BackendConduit>>,
}

/// Something that happened or not.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows, on one thread: reading and writing it apart costs no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn add(&self, amount: u64) {
        let sum = self.get().saturating_add(amount);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Call {
    /// A call to the leased backend.
    pub(super) fn new(lease: &Lease, outbound: &Outbound, manner: Manner) -> Arc<Call> {
        let backend = Arc::clone(lease.backend());
        let head = outbound.head(&backend.authority);
        let timeouts = lease.upstream().settings.timeouts;
        let timeouts = UpstreamTimeouts {
            total: outbound.total(timeouts.total),
            ..timeouts
        };
        Call::over(backend, timeouts, head, manner)
    }

    fn over(
        backend: Arc<Backend>,
        timeouts: UpstreamTimeouts,
        head: Arc<Vec<u8>>,
        manner: Manner,
    ) -> Arc<Call> {
        let deadline = timeouts.total.map(|total| Instant::now() + total);
        Arc::new(Call {
            backend,
            timeouts,
            head,
            manner,
            facts: Facts::default(),
            deadline,
            client_micros: Tally::default(),
        })
    }

    /// Notes that an idle connection is used.
    pub(super) fn reuse(&self, reused: Reused) -> Connection {
        let millis = u64::try_from(reused.idle.as_millis()).unwrap_or(u64::MAX);
        self.facts.is_reused.set();
        self.facts.idle_millis.add(millis);
        reused.connection
    }

    /// The head has gone out over `connection`, at `since`: whoever connects for this call gets that one.
    pub(super) fn resume(&self, connection: Connection, since: Instant) {
        *self.facts.launched.lock() = Some((connection, since));
    }

    /// Runs `work` with this call as the one that connectors on this thread work for.
    pub(super) fn scope<T>(self: &Arc<Call>, work: impl FnOnce() -> T) -> T {
        CURRENT.set(Some(Arc::clone(self)));
        let result = work();
        CURRENT.set(None);
        result
    }

    /// The call that this thread works for.
    pub(super) fn current() -> Option<Arc<Call>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Notes why the attempt fails and gives the error for ureq.
    pub(super) fn fail(&self, cause: Cause, detail: &'static str) -> ureq::Error {
        self.facts.failure.lock().get_or_insert(cause);
        ureq::Error::Other(Box::new(WireError(detail)))
    }

    /// Notes that TLS came to nothing and gives the error for ureq.
    pub(super) fn fail_tls(&self, failure: Failure) -> ureq::Error {
        self.facts.reason.lock().get_or_insert(failure.reason);
        let cause = match failure.fault {
            Fault::Certificate => Cause::BackendCertificate,
            Fault::Protocol => Cause::BackendTls,
        };
        self.fail(cause, "TLS with the backend came to nothing")
    }

    /// Why the transport gave up.
    pub(super) fn failure(&self) -> Option<Cause> {
        *self.facts.failure.lock()
    }

    /// When `timeouts.total` is over for the backend: the time that the client took for its side does not count.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let client = Duration::from_micros(self.client_micros.get());
        self.deadline.map(|deadline| deadline + client)
    }

    /// Until when a wait of `patience` that began at `since` may last.
    pub(super) fn limit(&self, since: Instant, patience: Duration) -> Instant {
        let limit = since + patience;
        self.deadline()
            .map_or(limit, |deadline| deadline.min(limit))
    }

    /// Notes time that was the client's.
    pub(super) fn add_client_time(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.client_micros.add(micros);
    }
}

/// An error of our own transport. ureq passes it through; an I/O error it might take for the end of a body.
#[derive(Debug)]
struct WireError(&'static str);

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model;

    #[test]
    fn the_time_of_the_client_moves_the_deadline() {
        let at = model::BackendAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 1,
        };
        let backend = model::Backend::new("b", at);
        let timeouts = UpstreamTimeouts {
            connect: Duration::ZERO,
            response: Duration::ZERO,
            idle: Duration::ZERO,
            total: Some(Duration::from_secs(1)),
        };
        let backend = Arc::new(Backend::new(&backend));
        let call = Call::over(backend, timeouts, Arc::default(), Manner::default());
        let before = call.deadline().unwrap();
        call.add_client_time(Duration::from_millis(1200));
        assert_eq!(
            call.deadline().unwrap() - before,
            Duration::from_millis(1200)
        );
    }
}
