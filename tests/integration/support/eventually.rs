//! Waiting for a condition instead of for a time.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

/// How long a test waits for something that has to happen: `TOLLGATE_TEST_PATIENCE` seconds, else 20.
pub fn patience() -> Duration {
    let seconds = std::env::var("TOLLGATE_TEST_PATIENCE").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(20))
}

/// Waits until `condition` holds; panics with `what` when patience is over.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Waits until `attempt` gives something.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Binds, to a port that the system did not pick too: for a moment it may be that of somebody's connection.
#[track_caller]
pub fn bind(socket: &Socket, address: &SockAddr) {
    eventually("the port is free", || match socket.bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => false,
        bound => {
            bound.unwrap();
            true
        }
    });
}

/// So that threads that look at a flag end, and the test with them, also when it fails.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
