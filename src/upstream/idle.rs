//! Idle connections to one backend, last in first out, so that few stay warm and the rest age.
//!
//! It knows no HTTP: whoever checks a connection in has made sure that nothing is left unread on it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Most idle connections kept per backend. Every worker can leave one behind; this bounds many workers.
const MAX_IDLE: usize = 1024;

/// The idle connections of one backend.
#[derive(Debug, Default)]
pub struct IdlePool {
    connections: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    expires: Instant,
}

impl IdlePool {
    /// The connection used last, if one is young enough. Whether it is still alive is for the caller to probe.
    pub fn check_out(&self, now: Instant) -> Option<TcpStream> {
        // The last one in is the youngest or near it: when it is too old, so are the rest, and the reaper takes them.
        let last = self.connections.lock().pop()?;
        (last.expires > now).then_some(last.stream)
    }

    /// Keeps `stream` for at most `age`.
    pub fn check_in(&self, stream: TcpStream, now: Instant, age: Duration) {
        let mut connections = self.connections.lock();
        if connections.len() < MAX_IDLE {
            connections.push(Idle {
                stream,
                expires: now + age,
            });
        }
    }

    /// Closes what is too old. Called every second: an idle connection must not linger in CLOSE_WAIT.
    pub fn reap(&self, now: Instant) {
        let expired: Vec<Idle> = {
            let mut connections = self.connections.lock();
            let (kept, expired) = connections.drain(..).partition(|idle| idle.expires > now);
            *connections = kept;
            expired
        };
        // Closing is a system call each: outside the lock.
        drop(expired);
    }

    /// Closes all.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.connections.lock());
        drop(all);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.connections.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_last_one_in_comes_out_first_and_old_ones_never() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (first, second) = (connect(), connect());
        let ports = (
            first.local_addr().unwrap().port(),
            second.local_addr().unwrap().port(),
        );
        let pool = IdlePool::default();
        let now = Instant::now();
        pool.check_in(first, now, Duration::from_secs(4));
        pool.check_in(second, now, Duration::from_secs(9));
        pool.reap(now + Duration::from_secs(5));
        assert_eq!(pool.len(), 1);
        assert!(pool.check_out(now + Duration::from_secs(9)).is_none());
        pool.check_in(connect(), now, Duration::from_secs(4));
        let last = connect();
        let port = last.local_addr().unwrap().port();
        pool.check_in(last, now, Duration::from_secs(4));
        assert_eq!(
            pool.check_out(now).unwrap().local_addr().unwrap().port(),
            port
        );
        assert_ne!(ports.0, ports.1);
    }
}
