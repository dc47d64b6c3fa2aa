//! Idle connections to one backend, last in first out, so that few stay warm and the rest age.
//!
//! It knows no HTTP: whoever checks a connection in has made sure that nothing is left unread on it. How long a connection
//! may lie here is decided in [`super::keep_alive`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::socket::Socket;

use super::keep_alive::{self, KeepAlive};
use super::stream::{News, Stream};
use super::watch::Registration;

/// Most idle connections kept per backend. Every worker can leave one behind; this bounds many workers.
const MAX_IDLE: usize = 1024;

/// A connection to a backend.
#[derive(Debug)]
pub struct Connection {
    /// Its socket blocks.
    pub stream: Stream,
    /// What a blocking receive waits at most (SO_RCVTIMEO), as it was set last; `None`: for ever.
    pub patience: Option<Duration>,
    /// Its place where requests wait for their answers, once it had one.
    pub registration: Option<Registration>,
    /// Where it leads, over TCP.
    peer: Option<SocketAddr>,
}

impl Connection {
    /// Makes it ready for a long answer: nobody is woken by what comes on it, and what comes is acknowledged at once. (After a
    /// short request the kernel holds acknowledgements back for 40 ms, and some backends wait for them in the middle of their
    /// answer.)
    pub fn expect_much(&mut self) {
        if let Some(registration) = self.registration.take() {
            registration.release(self.stream.socket());
        }
        #[cfg(target_os = "linux")]
        if let Socket::Tcp(socket) = self.stream.socket() {
            // Without it, it is slower.
            let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
        }
    }
}

impl From<Stream> for Connection {
    /// A connection that was just made.
    fn from(stream: Stream) -> Connection {
        let peer = match stream.socket() {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Unix(_) => None,
        };
        Connection {
            stream,
            peer,
            patience: None,
            registration: None,
        }
    }
}

/// A connection that waited for its next request.
#[derive(Debug)]
pub struct Reused {
    /// The connection; it was alive a moment ago.
    pub connection: Connection,
    /// For how long it waited.
    pub idle: Duration,
}

/// The idle connections of one backend.
#[derive(Debug, Default)]
pub struct IdlePool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those idle longest come first.
    connections: Vec<Idle>,
    keep_alive: KeepAlive,
    /// Where they lead; none: anywhere.
    peers: Option<Arc<[SocketAddr]>>,
}

impl State {
    fn admits(&self, connection: &Connection) -> bool {
        let (Some(peers), Socket::Tcp(_)) = (&self.peers, connection.stream.socket()) else {
            return true;
        };
        connection.peer.is_some_and(|peer| {
            peers
                .iter()
                .any(|one| (one.ip(), one.port()) == (peer.ip(), peer.port()))
        })
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    /// How long the backend says that it keeps it; wins over what was learned.
    announced: Option<Duration>,
}

impl Idle {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn is_kept(&self, now: Instant, keep_alive: KeepAlive) -> bool {
        self.age(now) < self.announced.unwrap_or(keep_alive.kept())
    }
}

impl IdlePool {
    /// The connection used last, if it is young enough and alive. With `tolerates_stale` it may be a little older than what
    /// was seen to survive: for requests that can be repeated when the backend closes it at that very moment.
    pub fn check_out(&self, now: Instant, tolerates_stale: bool) -> Option<Reused> {
        loop {
            let mut found = self.take(now, tolerates_stale)?;
            let idle = found.age(now);
            let is_alive = found.connection.stream.news() == News::None;
            // Short waits teach nothing: spare them the lock.
            if idle >= keep_alive::SHORTEST {
                self.learn(idle, is_alive);
            }
            if is_alive {
                return Some(Reused {
                    connection: found.connection,
                    idle,
                });
            }
        }
    }

    /// The last one in is the youngest or near it: when it is too old, so are the rest, and the reaper takes them.
    fn take(&self, now: Instant, tolerates_stale: bool) -> Option<Idle> {
        let mut state = self.state.lock();
        let limit = if tolerates_stale {
            state.keep_alive.kept()
        } else {
            state.keep_alive.trusted()
        };
        state
            .connections
            .pop_if(|last| last.age(now) < last.announced.unwrap_or(limit))
    }

    /// Keeps `connection`. `announced`: how long the backend says that it does (`Keep-Alive: timeout=N`).
    pub fn check_in(&self, connection: Connection, now: Instant, announced: Option<Duration>) {
        let announced = announced.map(keep_alive::announced);
        if announced.is_some_and(|age| age.is_zero()) {
            return;
        }
        let mut state = self.state.lock();
        if state.connections.len() < MAX_IDLE && state.admits(&connection) {
            state.connections.push(Idle {
                connection,
                since: now,
                announced,
            });
        }
    }

    /// A connection that was idle for `idle` was closed at the moment it was used again.
    pub fn note_stale(&self, idle: Duration) {
        self.learn(idle, false);
    }

    fn learn(&self, idle: Duration, is_alive: bool) {
        let keep_alive = &mut self.state.lock().keep_alive;
        if is_alive {
            keep_alive.survived(idle);
        } else {
            keep_alive.closed(idle);
        }
    }

    /// Closes what is too old and what the backend has closed, and learns from the latter. Called every second: an idle
    /// connection must not linger in CLOSE_WAIT.
    pub fn reap(&self, now: Instant) {
        // System calls are made outside the lock; what is looked at is out of the pool meanwhile.
        let old = self.take_old(now);
        let mut alive = Vec::with_capacity(old.len());
        for mut idle in old {
            let is_alive = idle.connection.stream.news() == News::None;
            if idle.announced.is_none() {
                self.learn(idle.age(now), is_alive);
            }
            if is_alive {
                alive.push(idle);
            }
        }
        let mut state = self.state.lock();
        let keep_alive = state.keep_alive;
        let expired: Vec<Idle> = alive
            .extract_if(.., |idle| {
                !idle.is_kept(now, keep_alive) || !state.admits(&idle.connection)
            })
            .collect();
        state.connections.splice(0..0, alive);
        drop(state);
        drop(expired);
    }

    /// Those that are not relied upon any more, for their age.
    fn take_old(&self, now: Instant) -> Vec<Idle> {
        let mut state = self.state.lock();
        let trusted = state.keep_alive.trusted();
        state
            .connections
            .extract_if(.., |idle| {
                idle.age(now) >= idle.announced.unwrap_or(trusted)
            })
            .collect()
    }

    /// From now on connections to other addresses than these are closed, not kept.
    pub fn keep_only(&self, peers: Arc<[SocketAddr]>) {
        let mut state = self.state.lock();
        state.peers = Some(peers);
        let all = std::mem::take(&mut state.connections);
        let (kept, gone): (Vec<Idle>, Vec<Idle>) = all
            .into_iter()
            .partition(|idle| state.admits(&idle.connection));
        state.connections = kept;
        drop(state);
        drop(gone);
    }

    /// Closes all.
    pub fn clear(&self) {
        let all = std::mem::take(&mut self.state.lock().connections);
        drop(all);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.state.lock().connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const SECOND: Duration = Duration::from_secs(1);

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::Plain(Socket::Unix(ours)).into(), theirs)
    }

    fn marked(patience: u64) -> (Connection, UnixStream) {
        let (mut connection, theirs) = pair();
        connection.patience = Some(Duration::from_secs(patience));
        (connection, theirs)
    }

    fn mark(reused: Option<Reused>) -> Option<u64> {
        Some(reused?.connection.patience?.as_secs())
    }

    #[test]
    fn the_last_one_in_comes_out_first() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let ((first, _one), (second, _two)) = (marked(1), marked(2));
        pool.check_in(first, now, None);
        pool.check_in(second, now + SECOND, None);
        assert_eq!(mark(pool.check_out(now + SECOND, false)), Some(2));
        assert_eq!(mark(pool.check_out(now + SECOND, false)), Some(1));
        assert!(pool.check_out(now, false).is_none());
    }

    #[test]
    fn what_was_not_seen_to_survive_is_for_requests_that_can_be_repeated() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let (connection, _theirs) = pair();
        pool.check_in(connection, now, None);
        assert!(pool.check_out(now + 5 * SECOND, false).is_none());
        let reused = pool.check_out(now + 5 * SECOND, true).unwrap();
        assert_eq!(reused.idle, 5 * SECOND);
        pool.check_in(reused.connection, now, None);
        // Now it was seen: after 6 s it is alive, so 5 s are fine for all.
        assert_eq!(
            pool.check_out(now + 6 * SECOND, true).unwrap().idle,
            6 * SECOND
        );
        let (connection, _theirs) = pair();
        pool.check_in(connection, now, None);
        assert!(pool.check_out(now + 49 * SECOND / 10, false).is_some());
    }

    #[test]
    fn what_the_backend_announces_wins() {
        let pool = IdlePool::default();
        let now = Instant::now();
        for (timeout, at, is_there) in [(20, 18, true), (20, 20, false), (3, 3, false)] {
            pool.clear();
            let (connection, _theirs) = pair();
            pool.check_in(connection, now, Some(timeout * SECOND));
            assert_eq!(pool.check_out(now + at * SECOND, true).is_some(), is_there);
        }
        let (connection, _theirs) = pair();
        pool.clear();
        pool.check_in(connection, now, Some(SECOND));
        assert!(pool.is_empty());
    }

    #[test]
    fn connections_to_addresses_that_are_gone_are_not_kept() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [old, new] = listeners.each_ref().map(|one| one.local_addr().unwrap());
        let connect = |to| {
            let socket = std::net::TcpStream::connect(to).unwrap();
            Connection::from(Stream::Plain(Socket::Tcp(socket)))
        };
        for to in [old, new] {
            pool.check_in(connect(to), now, None);
        }
        let under_way = connect(old);
        pool.keep_only([new].into());
        assert_eq!(pool.len(), 1);
        pool.check_in(under_way, now, None);
        assert_eq!(pool.len(), 1, "it came back too late");
        pool.check_in(connect(new), now, None);
        pool.reap(now + 6 * SECOND);
        assert_eq!(pool.len(), 2);
        let kept = pool.check_out(now, false).unwrap().connection.stream;
        assert!(
            matches!(kept, Stream::Plain(Socket::Tcp(kept)) if kept.peer_addr().unwrap() == new)
        );
    }

    #[test]
    fn a_dead_one_is_passed_over() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let ((alive, _one), (dead, two), (talking, three)) = (marked(1), marked(2), marked(3));
        for connection in [alive, dead, talking] {
            pool.check_in(connection, now, None);
        }
        drop(two);
        std::io::Write::write_all(&mut &three, b"HTTP/1.1 408 Late\r\n\r\n").unwrap();
        assert_eq!(mark(pool.check_out(now, false)), Some(1));
    }

    #[test]
    fn the_reaper_keeps_what_survives_and_learns() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let ((old, _one), (young, _two)) = (marked(1), marked(2));
        pool.check_in(old, now, None);
        pool.check_in(young, now + 5 * SECOND, None);
        pool.reap(now + 6 * SECOND);
        assert_eq!(pool.len(), 2);
        // The first is at the bottom again, the second one trusted, as it has to be.
        assert_eq!(mark(pool.check_out(now + 9 * SECOND, false)), Some(2));
        assert!(pool.check_out(now + 9 * SECOND, false).is_none());
        pool.reap(now + 60 * SECOND);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn the_reaper_takes_what_the_backend_closed() {
        let pool = IdlePool::default();
        let now = Instant::now();
        let ((one, theirs), (two, _kept)) = (pair(), pair());
        pool.check_in(one, now, None);
        pool.check_in(two, now + 2 * SECOND, None);
        drop(theirs);
        pool.reap(now + 45 * SECOND / 10);
        assert_eq!(pool.len(), 1);
        // 4.5 s were too long, so what is relied upon is 2.5 s.
        assert!(pool.check_out(now + 5 * SECOND, false).is_none());
        assert!(pool.check_out(now + 5 * SECOND, true).is_some());
    }
}
