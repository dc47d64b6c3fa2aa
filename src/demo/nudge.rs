//! Help for connections that tiny_http forgets.
//!
//! tiny_http hands an accepted connection to an idle thread, or starts one if there is none; but when several come at
//! once, it counts the same idle thread for all of them, and the rest wait until some connection ends. A connection that
//! ends at once frees a thread that takes a forgotten one, so this thread makes such connections for a while whenever
//! new clients are seen. It does nothing while the clients stay the same.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::answer::wait;

/// Time between two rounds.
const INTERVAL: Duration = Duration::from_millis(50);

/// Connections made in a round: each one helps at most one forgotten connection.
const PER_ROUND: usize = 8;

/// Rounds after the last new client. Each client helped is a new one and starts the count again.
const ROUNDS: u32 = 4;

/// Rounds after which all clients count as new again, since ports are used again.
const FORGET_AFTER: u32 = 200;

/// One bit per port of a client on this machine.
const WORDS: usize = 1024;

/// Notices new clients.
pub(super) struct Newcomers {
    ports: Vec<AtomicU64>,
    any: AtomicBool,
}

impl Newcomers {
    /// Nobody was here yet.
    pub(super) fn new() -> Newcomers {
        Newcomers {
            ports: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            any: AtomicBool::new(false),
        }
    }

    /// Notes a request that came from this address.
    pub(super) fn note(&self, client: Option<&SocketAddr>) {
        let Some(client) = client else { return };
        let bit = 1 << (client.port() % 64);
        let Some(word) = self.ports.get(usize::from(client.port() / 64)) else {
            return;
        };
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    fn forget(&self) {
        for word in &self.ports {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// Makes the connections until the backend is stopped.
pub(super) fn run(address: SocketAddr, newcomers: &Newcomers, stopped: &Receiver<()>) {
    let mut quiet = ROUNDS;
    let mut round = 0;
    while wait(INTERVAL, stopped).is_ok() {
        round += 1;
        if round % FORGET_AFTER == 0 {
            newcomers.forget();
        }
        match newcomers.any.swap(false, Ordering::Relaxed) {
            true => quiet = 0,
            false => quiet = quiet.saturating_add(1),
        }
        if quiet < ROUNDS {
            for _ in 0..PER_ROUND {
                // Closed at once; if it fails, the next round tries again.
                let _ = TcpStream::connect(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_new_once() {
        let newcomers = Newcomers::new();
        let is_new = |port: u16| {
            newcomers.note(Some(&SocketAddr::from(([127, 0, 0, 1], port))));
            newcomers.any.swap(false, Ordering::Relaxed)
        };
        assert!(is_new(0) && is_new(65535) && is_new(40000) && is_new(40001));
        assert!(!is_new(40000) && !is_new(65535));
        newcomers.forget();
        assert!(is_new(40000));
    }
}
