//! One client connection: its socket, what has come and what has not gone yet, and who has it right now.
//!
//! The reactor's thread and a worker share it. Whoever acts on it holds its state; the reactor never waits for that: when
//! somebody else holds it, the reactor notes so ([`Link::try_hold`]) and is called back. Everything that is decided about
//! bytes is decided elsewhere ([`super::event_loop`], [`super::exchange`], [`super::writer`]).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use crate::exchange::Peer;
use crate::socket::Socket;
use crate::tls::server::Terminator;

use super::acceptor::Door;
use super::handover::Succession;
use super::home::Home;
use super::outbox::{Delivery, Outbox};
use super::readiness::{MISSED, Readiness};
use super::rules::Rules;
use super::seats::Seat;
use super::state::{After, Stage, State};

/// How long a connection that we close is kept to take in what the client still sends: a reset would destroy the answer on
/// its way.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// How often a delivery is looked at: whether its client is too slow.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// Most parts of one send.
pub(super) const MAX_PARTS: usize = 4;

/// A client connection.
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) rules: Arc<Rules>,
    pub(super) home: Arc<Home>,
    /// Speaks TLS, with the certificates from there.
    pub(super) tls: Option<Arc<Terminator>>,
    /// Who takes the next connection from this client, if not this process.
    pub(super) succession: Succession,
    /// Its place among the reactor's links.
    pub(super) key: AtomicUsize,
    /// The client has reset the connection, or it has broken: an answer would reach nobody.
    pub(super) is_gone: AtomicBool,
    state: Mutex<State>,
    /// The reactor came while somebody else held the state; with what it had to tell, as bits.
    missed: AtomicU8,
    /// On the home's clock, in milliseconds; 0: none.
    deadline: AtomicU64,
}

/// The state of a link, held. (The fields are dropped in this order: the reactor is called back after the state is free.)
pub(super) struct Held<'a> {
    state: MutexGuard<'a, State>,
    pub(super) link: &'a Arc<Link>,
    _call_back: CallBack<'a>,
}

/// Calls the reactor back when it came in vain.
struct CallBack<'a>(&'a Arc<Link>);

impl Link {
    pub(super) fn new(
        socket: Socket,
        peer: Peer,
        seat: Seat,
        stage: Stage,
        door: &Door,
        home: &Arc<Home>,
        rules: &Arc<Rules>,
    ) -> Arc<Link> {
        Arc::new(Link {
            socket,
            rules: Arc::clone(rules),
            home: Arc::clone(home),
            tls: door.tls.clone(),
            succession: door.succession,
            key: AtomicUsize::new(usize::MAX),
            is_gone: AtomicBool::new(false),
            state: Mutex::new(State {
                stage,
                peer,
                input: BytesMut::new(),
                scanned: 0,
                outbox: None,
                session: None,
                is_readable: false,
                is_read_closed: false,
                moved: 0,
                served: 0,
                seat,
            }),
            missed: AtomicU8::new(0),
            deadline: AtomicU64::new(0),
        })
    }

    /// Waits for the state.
    pub(super) fn hold(self: &Arc<Link>) -> Held<'_> {
        Held {
            state: self.state.lock(),
            link: self,
            _call_back: CallBack(self),
        }
    }

    /// The state, unless somebody else holds it: then that one calls the reactor back. Either way it gets to know `ready`.
    pub(super) fn try_hold(self: &Arc<Link>, ready: Readiness) -> Option<Held<'_>> {
        let state = self.state.try_lock().or_else(|| {
            self.missed.fetch_or(ready.to_bits(), Ordering::SeqCst);
            // It may have been let go before the note was there.
            self.state.try_lock()
        })?;
        let noted = Readiness::from_bits(self.missed.swap(0, Ordering::SeqCst));
        let mut held = Held {
            state,
            link: self,
            _call_back: CallBack(self),
        };
        held.is_read_closed |= ready.is_read_closed || noted.is_read_closed;
        held.is_readable |= ready.is_readable || noted.is_readable || held.is_read_closed;
        Some(held)
    }

    /// The state for the reactor to look at only; `None` also when there is a note that it has still to act upon.
    pub(super) fn peek(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.state.try_lock()?;
        (self.missed.load(Ordering::SeqCst) == 0).then_some(state)
    }

    /// When the reactor has to look at it, on its clock; 0: never.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    pub(super) fn set_deadline(&self, after: Duration) {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX / 2);
        self.deadline
            .store(self.home.now() + millis.max(1), Ordering::Relaxed);
    }

    pub(super) fn clear_deadline(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Receives what is there, without waiting.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                result => return result,
            }
        }
    }

    /// Blocks the calling worker until one of `wanted`. False: the time is over.
    pub(super) fn wait(&self, wanted: PollFlags, patience: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(patience).unwrap_or(Timespec {
            tv_sec: 86_400,
            tv_nsec: 0,
        });
        let mut fds = [PollFd::new(&self.socket, wanted)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            // The caller's loop comes back and knows how much time is left.
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Held<'_> {
    /// Sends what was left over before. True: nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let link = self.link;
        let Some(outbox) = &mut self.outbox else {
            return Ok(true);
        };
        let before = outbox.len();
        let is_empty = outbox.flush(&link.socket, link.home.now())?;
        let moved = (before - outbox.len()) as u64;
        self.moved += moved;
        if is_empty {
            self.outbox = None;
        }
        Ok(is_empty)
    }

    /// Leaves `parts` from byte `from` on to be sent later. False: no room for that.
    pub(super) fn keep(&mut self, parts: &[&[u8]], from: usize) -> bool {
        if self.session.is_some() {
            return self.keep_sealed(parts, from);
        }
        let mut outbox = self.take_outbox();
        let is_kept = outbox.keep(parts, from);
        self.put_outbox(outbox);
        is_kept
    }

    /// The outbox, or a new one, to be given back.
    pub(super) fn take_outbox(&mut self) -> Box<Outbox> {
        let link = self.link;
        let fresh = || Box::new(Outbox::new(link.rules.budget.share(), link.home.now()));
        self.outbox.take().unwrap_or_else(fresh)
    }

    pub(super) fn put_outbox(&mut self, outbox: Box<Outbox>) {
        self.outbox = Some(outbox).filter(|outbox| !outbox.is_empty());
    }

    /// Sends as much of `parts` as the socket takes, beginning at byte `from` of all of them together.
    pub(super) fn send(&mut self, parts: &[&[u8]], from: usize) -> io::Result<usize> {
        if self.session.is_some() {
            return self.send_sealed(parts, from);
        }
        let mut skip = from;
        let mut slices = [IoSlice::new(&[]); MAX_PARTS];
        let mut count = 0;
        for part in parts {
            let rest = part.get(skip.min(part.len())..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            if let Some(slice) = slices.get_mut(count).filter(|_| !rest.is_empty()) {
                *slice = IoSlice::new(rest);
                count += 1;
            }
        }
        let slices = slices.get(..count).unwrap_or_default();
        let send = |mut socket: &Socket| match slices {
            [one] => socket.write(one),
            many => socket.write_vectored(many),
        };
        loop {
            match send(&self.link.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) => return Err(error),
                Ok(count) => {
                    self.moved += count as u64;
                    return Ok(count);
                }
            }
        }
    }

    /// The exchange is over: the reactor has the connection again.
    pub(super) fn settle(&mut self, after: After) {
        self.served += 1;
        if after == After::Close {
            // Who has left already needs no word.
            let _ = self.say_end();
        }
        if self.outbox.is_some() {
            let label = Arc::new(Delivery(self.peer.ip()));
            let guard = self.link.home.drain.enter(label, Instant::now());
            self.stage = Stage::Delivering(after, guard);
            let idle = self.link.rules.timeouts.write_idle;
            return self.link.set_deadline(GLANCE.min(idle));
        }
        self.proceed(after);
    }

    /// What comes after an answer that is out.
    pub(super) fn proceed(&mut self, after: After) {
        match after {
            After::Keep => {
                self.stage = Stage::Head;
                self.scanned = 0;
                let timeouts = &self.link.rules.timeouts;
                let is_begun = self.has_begun();
                self.link.set_deadline(if is_begun {
                    timeouts.head
                } else {
                    timeouts.keep_alive
                });
            }
            After::Close => self.linger(),
        }
        if self.is_readable || !self.input.is_empty() {
            self.link.home.revisit(self.link);
        }
    }

    /// Ends the connection at once, so that the client sees a cut. `is_reset`: also where an end would look clean.
    pub(super) fn cut(&mut self, is_reset: bool) {
        if matches!(self.stage, Stage::Ended | Stage::GivenAway) {
            return;
        }
        self.stage = Stage::Ended;
        self.outbox = None;
        if is_reset {
            let _ = SockRef::from(&self.link.socket).set_linger(Some(Duration::ZERO));
        } else {
            let _ = self.link.socket.shutdown(Shutdown::Both);
        }
        self.link.home.revisit(self.link);
    }

    /// Makes the exchange the owner of the connection.
    pub(super) fn make_busy(&mut self) -> Stage {
        self.link.clear_deadline();
        std::mem::replace(&mut self.stage, Stage::Busy)
    }
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for CallBack<'_> {
    fn drop(&mut self) {
        if self.0.missed.fetch_and(!MISSED, Ordering::SeqCst) & MISSED != 0 {
            self.0.home.revisit(self.0);
        }
    }
}
