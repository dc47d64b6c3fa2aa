//! Leaving an address that somebody else goes on serving: nothing that was accepted, or waits to be, is lost.
//!
//! Where other sockets listen on the same address (SO_REUSEPORT), the kernel resets connections that have chosen this socket and
//! are not accepted when it is closed, unless it is told to give them to the others (net.ipv4.tcp_migrate_req). So first no
//! further handshakes begin, then those under way get their time, then the socket is emptied and closed. A socket that others
//! have too is simply left. Where nobody follows, listening goes on, and requests are refused elsewhere.

use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;

use crate::drain::{Drain, Hold};

use super::acceptor::Acceptor;
use super::event_loop::Reactor;
use super::link::Link;
use super::rules::Rules;
use super::state::Stage;

/// How long handshakes that have begun may take: a round trip between client and proxy, and some. Clients that come meanwhile
/// try again after a second, and find the others.
const HANDSHAKES: Duration = Duration::from_millis(100);
/// How often it is looked for connections that still wait for a request.
const GLANCE: u64 = 20;
/// Says 1 where the kernel gives connections of a closed socket to the others; for IPv6 too (Linux 5.14).
const MIGRATION: &str = "/proc/sys/net/ipv4/tcp_migrate_req";
/// More than any queue of a listening socket holds.
const WHOLE_QUEUE: usize = 1 << 17;

/// Who takes the connections that come once this process drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Succession {
    /// Nobody that it knows of.
    Nobody,
    /// Other sockets on the same address.
    OtherSockets,
    /// Whoever else has this very socket, now or later.
    SameSocket,
}

impl Succession {
    /// Whether there is somebody.
    pub(super) fn is_arranged(self) -> bool {
        self != Succession::Nobody
    }
}

/// How far the leaving has come. Times are on the home's clock, in milliseconds.
pub(super) struct Handover {
    /// The drain waits for it.
    hold: Option<Hold>,
    farewell: u64,
    keep_alive: u64,
    /// `None`: no drain has begun.
    times: Option<Times>,
}

struct Times {
    /// When sockets are emptied and closed.
    close: u64,
    /// When connections that wait for a request are given up.
    farewell: u64,
    /// When the next look is due.
    look: u64,
}

impl Handover {
    pub(super) fn new(acceptors: &[Acceptor], rules: &Rules, drain: &Drain) -> Handover {
        let is_arranged = |acceptor: &Acceptor| acceptor.door.succession.is_arranged();
        Handover {
            hold: acceptors.iter().any(is_arranged).then(|| drain.hold()),
            farewell: millis(rules.farewell),
            keep_alive: millis(rules.timeouts.keep_alive),
            times: None,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<u64> {
        let times = self.times.as_ref().filter(|_| self.hold.is_some());
        times.map(|times| times.look)
    }

    /// Whether `link`, which is idle, may still wait for a further request, though there is a drain.
    pub(super) fn spares(&self, link: &Link, now: u64) -> bool {
        link.succession.is_arranged() && self.hold.is_some() && now < self.farewell_of(link)
    }

    /// How long a kept link may stay idle: for a moment after its last answer, which may have gone out in the drain and
    /// still not have said that it is the last.
    fn farewell_of(&self, link: &Link) -> u64 {
        let Some(times) = &self.times else {
            return u64::MAX;
        };
        let idle_since = link.deadline().saturating_sub(self.keep_alive);
        times.farewell.max(idle_since + self.farewell)
    }

    /// Whether a request may still come over `link`, and must be served.
    fn expects_of(&self, link: &Arc<Link>, now: u64) -> bool {
        let Some(times) = self
            .times
            .as_ref()
            .filter(|_| link.succession.is_arranged())
        else {
            return false;
        };
        // Somebody is at it right now: whatever it is, the next look tells.
        let Some(state) = link.peek() else {
            return true;
        };
        match &state.stage {
            Stage::Preamble | Stage::Head if state.has_begun() || state.is_readable => true,
            Stage::Head if state.served > 0 => now < self.farewell_of(link),
            Stage::Preamble | Stage::Handshake(_) | Stage::Head => now < times.farewell,
            // The answer that is under way may have been begun before the drain: then the connection is kept.
            Stage::Body(_) | Stage::Busy | Stage::Delivering(..) => true,
            Stage::Lingering | Stage::Ended | Stage::GivenAway => false,
        }
    }

    /// The drain has begun.
    fn begin(&mut self, acceptors: &[Acceptor], now: u64) -> &mut Times {
        let farewell = now + self.farewell;
        self.times.get_or_insert_with(|| {
            let mut close = now;
            let is_left = |acceptor: &&Acceptor| {
                acceptor.door.succession == Succession::OtherSockets && !kernel_migrates()
            };
            for acceptor in acceptors.iter().filter(is_left) {
                if acceptor.turn_away() {
                    close = now + millis(HANDSHAKES);
                }
            }
            Times {
                close,
                farewell,
                look: now,
            }
        })
    }
}

impl Reactor {
    /// Goes on leaving, once the drain has begun.
    pub(super) fn leave(&mut self) {
        let now = self.home.now();
        if self.handover.hold.is_none() || !self.drain.is_draining() {
            return;
        }
        let times = self.handover.begin(&self.acceptors, now);
        if now < times.look {
            return;
        }
        times.look = now + GLANCE;
        let is_closing = now >= times.close;
        let mut is_left = true;
        for number in 0..self.acceptors.len() {
            is_left &= match self.acceptors.get(number).map(|one| one.door.succession) {
                Some(Succession::OtherSockets) => is_closing && self.empty_and_close(number),
                Some(Succession::SameSocket) => self.close(number),
                Some(Succession::Nobody) | None => true,
            };
        }
        let mut links = self.links.iter();
        if is_left && !links.any(|(_, link)| self.handover.expects_of(link, now)) {
            self.give_up_waiting();
            self.handover.hold = None;
        }
    }

    /// Ends connections that no request has come over for long enough: from now on it would be refused.
    fn give_up_waiting(&mut self) {
        let is_waiting = |link: &&Arc<Link>| {
            let state = link.peek();
            link.succession.is_arranged()
                && state.is_some_and(|state| {
                    matches!(
                        state.stage,
                        Stage::Preamble | Stage::Handshake(_) | Stage::Head
                    )
                })
        };
        let links = self.links.iter().map(|(_, link)| link);
        let waiting: Vec<Arc<Link>> = links.filter(is_waiting).map(Arc::clone).collect();
        for link in waiting {
            let fate = self.progress.end(link.hold());
            self.settle(&link, fate);
        }
    }

    /// Accepts all that have connected, then closes. Between both there is next to no time: who connects then is reset.
    fn empty_and_close(&mut self, number: usize) -> bool {
        self.forget(number);
        if let Some(acceptor) = self.acceptors.get_mut(number) {
            acceptor.is_ready = acceptor.as_raw_fd().is_some();
        }
        let is_empty = self.accept_from(number, WHOLE_QUEUE);
        if is_empty && let Some(acceptor) = self.acceptors.get_mut(number) {
            acceptor.close();
        }
        is_empty
    }

    /// Closes without a look at who waits: they wait for whoever else has the socket.
    fn close(&mut self, number: usize) -> bool {
        self.forget(number);
        if let Some(acceptor) = self.acceptors.get_mut(number) {
            acceptor.close();
        }
        true
    }

    /// Others may have the same socket, so closing it would not end its events.
    fn forget(&self, number: usize) {
        let descriptor = self.acceptors.get(number).and_then(Acceptor::as_raw_fd);
        if let Some(descriptor) = descriptor {
            let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor));
        }
    }
}

fn kernel_migrates() -> bool {
    std::fs::read_to_string(MIGRATION).is_ok_and(|value| value.trim() == "1")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
