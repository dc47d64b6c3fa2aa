//! Keeps tiny_http's accept side moving, by connecting to ourselves.
//!
//! tiny_http gives a new connection to a thread that it believes idle; in a burst it believes that of too few threads for too
//! many connections, and the rest wait until some other connection closes. A throwaway connection cures that: its thread is
//! done at once and takes up one that waits. The same connections tell whether anybody accepts at all, and keep `accept`
//! from running into the read timeout that its socket has for the sake of others.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;
use socket2::SockRef;

use crate::drain::Drain;

use super::Report;
use super::connections::Connections;

/// Between two looks.
const TICK: Duration = Duration::from_millis(50);
/// A heartbeat goes out every so many ticks.
const HEARTBEAT: u32 = 5;
/// The list of known peers starts anew every so many ticks (60 s).
const FORGET: u32 = 1200;
/// Throwaway connections per tick while requests come over new connections, and for so many ticks after.
const NUDGES: usize = 16;
const AFTERGLOW: u32 = 6;
/// So many heartbeats without any answer, and nobody accepts. Two seconds: a loaded machine answers late, not never.
const SILENT: usize = 8;
/// Connecting to ourselves takes no time, unless the backlog is full.
const CONNECT: Duration = Duration::from_millis(200);

pub(super) fn spawn(
    local: SocketAddr,
    connections: Arc<Connections>,
    reports: Sender<Report>,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let target = reachable(local);
    let work = move || {
        let mut heart = Heart::default();
        let mut seen = 0;
        let mut glow = 0_u32;
        let mut tick = 0;
        while !drain.sleep(TICK) {
            let newcomers = connections.newcomers();
            glow = if newcomers == seen {
                glow.saturating_sub(1)
            } else {
                AFTERGLOW
            };
            seen = newcomers;
            if glow > 0 {
                (0..NUDGES).for_each(|_| nudge(target));
            }
            tick = (tick + 1) % FORGET;
            if tick == 0 {
                connections.forget_recent();
            }
            if tick % HEARTBEAT == 0 && heart.beat(target) {
                let _ = reports.try_send(Report::Silent);
            }
        }
    };
    thread::Builder::new()
        .name("listener-nudge".into())
        .spawn(work)
}

/// Where a socket bound to `local` can be reached from here.
fn reachable(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, local.port())
}

/// A connection that is reset at once, so that it leaves nothing in TIME_WAIT.
fn nudge(target: SocketAddr) {
    if let Ok(stream) = TcpStream::connect_timeout(&target, CONNECT) {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Heartbeats that wait for their answer: the end that tiny_http gives a connection on which nothing came.
#[derive(Default)]
struct Heart {
    waiting: VecDeque<TcpStream>,
}

impl Heart {
    /// Sends one more. True when too many in a row are unanswered; they are forgotten then.
    fn beat(&mut self, target: SocketAddr) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(is_unanswered);
        if self.waiting.len() < before {
            self.waiting.clear();
        }
        if let Ok(stream) = TcpStream::connect_timeout(&target, CONNECT)
            && stream.shutdown(Shutdown::Write).is_ok()
            && stream.set_nonblocking(true).is_ok()
        {
            self.waiting.push_back(stream);
        }
        let is_silent = self.waiting.len() >= SILENT;
        if is_silent {
            self.waiting.clear();
        }
        is_silent
    }
}

fn is_unanswered(stream: &TcpStream) -> bool {
    matches!((&*stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn silence_is_noticed_and_an_answer_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let mut heart = Heart::default();
        let beats = (1..=20).find(|_| heart.beat(target));
        assert_eq!(beats, Some(SILENT));
        for _ in 0..SILENT - 1 {
            assert!(!heart.beat(target));
        }
        for _ in 0..2 * SILENT {
            drop(listener.accept().unwrap());
            if heart.waiting.iter().any(|stream| !is_unanswered(stream)) {
                break;
            }
        }
        assert!(!heart.beat(target));
        assert_eq!(heart.waiting.len(), 1);
    }

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()).to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(
            reachable("[::]:80".parse().unwrap()).to_string(),
            "[::1]:80"
        );
        assert_eq!(
            reachable("10.0.0.1:80".parse().unwrap()).to_string(),
            "10.0.0.1:80"
        );
    }
}
