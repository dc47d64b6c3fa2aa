//! What one attempt shares between the code that runs ureq and the transport that ureq drives.
//!
//! ureq's connector interface carries no request data. The attempt therefore lies in a thread-local while ureq connects (it
//! calls the connector on the thread that runs the request); from then on the transport holds it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::model::UpstreamTimeouts;
use crate::error::Cause;
use crate::upstream::backend::Backend;

use super::response::RawHead;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) backend: Arc<Backend>,
    pub(super) timeouts: UpstreamTimeouts,
    /// The request head as it goes over the wire; ureq's own is swallowed.
    pub(super) head: Vec<u8>,
    /// Do not use an idle connection.
    pub(super) is_fresh: bool,
    deadline: Option<Instant>,
    /// Microseconds spent waiting for the client, which are not the backend's.
    client_micros: AtomicU64,
    is_early: AtomicBool,
    facts: Mutex<Facts>,
}

/// What the transport saw.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) is_reused: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Why the transport gave up; the first reason stands.
    pub(super) failure: Option<Cause>,
    /// The backend has ended the connection within the body.
    pub(super) is_ended: bool,
    /// The connection was reset while the request was sent.
    pub(super) is_reset: bool,
    /// The final response head.
    pub(super) head: Option<RawHead>,
}

impl Call {
    pub(super) fn new(
        backend: Arc<Backend>,
        timeouts: UpstreamTimeouts,
        head: Vec<u8>,
        is_fresh: bool,
    ) -> Arc<Call> {
        let deadline = timeouts.total.map(|total| Instant::now() + total);
        let is_early = AtomicBool::new(false);
        Arc::new(Call {
            backend,
            timeouts,
            head,
            is_fresh,
            deadline,
            client_micros: AtomicU64::new(0),
            is_early,
            facts: Mutex::default(),
        })
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

    /// Looks at or changes the facts.
    pub(super) fn facts<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.facts.lock())
    }

    /// Notes why the attempt fails and gives the error for ureq.
    pub(super) fn fail(&self, cause: Cause, detail: &'static str) -> ureq::Error {
        self.facts(|facts| {
            facts.failure.get_or_insert(cause);
        });
        ureq::Error::Other(Box::new(WireError(detail)))
    }

    /// When `timeouts.total` is over for the backend: the time that the client took for its side does not count.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let client = Duration::from_micros(self.client_micros.load(Ordering::Relaxed));
        self.deadline.map(|deadline| deadline + client)
    }

    /// Notes time that was the client's.
    pub(super) fn add_client_time(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.client_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The backend answers, or has gone, while the request body is still being sent: the rest of it is of no use.
    pub(super) fn set_early(&self) {
        self.is_early.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_early(&self) -> bool {
        self.is_early.load(Ordering::Relaxed)
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
        let backend = model::Backend {
            id: "b".into(),
            host: "127.0.0.1".into(),
            port: 1,
            weight: 1,
        };
        let total = Some(Duration::from_secs(1));
        let timeouts = UpstreamTimeouts {
            connect: Duration::ZERO,
            response: Duration::ZERO,
            idle: Duration::ZERO,
            total,
        };
        let call = Call::new(
            Arc::new(Backend::new(&backend)),
            timeouts,
            Vec::new(),
            false,
        );
        let before = call.deadline().unwrap();
        call.add_client_time(Duration::from_millis(1200));
        assert_eq!(
            call.deadline().unwrap() - before,
            Duration::from_millis(1200)
        );
    }
}
