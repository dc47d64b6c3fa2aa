//! The threads of a demo backend: a few at rest, more while slow answers and event streams hold them.
//!
//! It does not look at requests; it only sees to it that somebody takes the next one.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tiny_http::{Request, Server};

use super::handlers::Backend;

/// Threads that stay when there is nothing to do.
const AT_REST: usize = 8;

/// Most threads. Eight alone would let eight event streams starve the health check.
const MOST: usize = 256;

/// Handlers use little stack; the copy buffers are on the heap.
const STACK: usize = 256 * 1024;

/// For this long after the end, clients that kept a connection are told to leave.
const AFTERLIFE: Duration = Duration::from_secs(30);

/// The running threads.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    server: Arc<Server>,
    backend: Arc<Backend>,
    threads: Mutex<Threads>,
    fewer: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = self.threads.lock();
        formatter
            .debug_struct("Shared")
            .field("idle", &threads.idle)
            .field("total", &threads.total)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Threads {
    idle: usize,
    total: usize,
}

// === impl Pool ===

impl Pool {
    /// Starts the threads that take this server's requests.
    ///
    /// # Errors
    /// Not even the threads at rest can be started.
    pub(super) fn start(server: Arc<Server>, backend: Arc<Backend>) -> io::Result<Pool> {
        let shared = Arc::new(Shared {
            server,
            backend,
            threads: Mutex::default(),
            fewer: Condvar::new(),
        });
        for _ in 0..AT_REST {
            spawn(&shared, &mut shared.threads.lock())?;
        }
        Ok(Pool { shared })
    }

    /// Lets the threads end, waits for them that long at most, and leaves one behind for late requests.
    ///
    /// The backend must have been told to stop before.
    pub(super) fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut threads = self.shared.threads.lock();
        for _ in 0..threads.total {
            self.shared.server.unblock();
        }
        while threads.total > 0 {
            let wait = self.shared.fewer.wait_until(&mut threads, deadline);
            if wait.timed_out() {
                break;
            }
        }
        drop(threads);
        let (server, backend) = (
            Arc::clone(&self.shared.server),
            Arc::clone(&self.shared.backend),
        );
        // Without this thread, late requests get no answer at all; nothing else depends on it.
        let _ = thread::Builder::new()
            .name("demo-afterlife".to_owned())
            .stack_size(STACK)
            .spawn(move || turn_away(&server, &backend));
    }
}

/// Adds a thread, which counts as idle from now on.
fn spawn(shared: &Arc<Shared>, threads: &mut Threads) -> io::Result<()> {
    let own = Arc::clone(shared);
    thread::Builder::new()
        .name("demo-worker".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let _leaving = Leaving(&own);
            while let Some(request) = own.next_request() {
                own.backend.serve(request);
                if !own.rest() {
                    break;
                }
            }
        })?;
    threads.idle += 1;
    threads.total += 1;
    Ok(())
}

/// Counts a thread out, also when it panics.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.threads.lock().total -= 1;
        self.0.fewer.notify_all();
    }
}

// === impl Shared ===

impl Shared {
    /// The next request; `None` when the backend has stopped.
    fn next_request(self: &Arc<Self>) -> Option<Request> {
        loop {
            let received = self.server.recv();
            if let Ok(request) = received {
                self.leave_rest();
                return Some(request);
            }
            // Without a stop, tiny_http's accept loop has died; open connections are still served.
            if self.backend.is_stopped() {
                self.threads.lock().idle -= 1;
                return None;
            }
        }
    }

    /// Counts this thread as busy. When it was the last idle one, another is started.
    fn leave_rest(self: &Arc<Self>) {
        let mut threads = self.threads.lock();
        threads.idle -= 1;
        if threads.idle == 0 && threads.total < MOST && !self.backend.is_stopped() {
            // No thread to be had: requests wait until one is idle again.
            let _ = spawn(self, &mut threads);
        }
    }

    /// Counts this thread as idle; `false` when it is not needed any more.
    fn rest(&self) -> bool {
        let mut threads = self.threads.lock();
        let is_needed = threads.idle < AT_REST && !self.backend.is_stopped();
        if is_needed {
            threads.idle += 1;
        }
        is_needed
    }
}

/// Answers what still comes in over connections that clients kept.
fn turn_away(server: &Server, backend: &Backend) {
    let deadline = Instant::now() + AFTERLIFE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // An error or nothing at all: a leftover of the end of the accept loop or of `unblock`.
        if let Ok(Some(request)) = server.recv_timeout(left) {
            backend.refuse_late(request);
        }
    }
}
