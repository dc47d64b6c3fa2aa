//! The reactor's thread: waits for readiness, and lets the connections that have it make progress.
//!
//! It owns accepting, idle connections, half-read requests, undelivered answers and all their deadlines. It never waits for
//! one of them.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::drain::{Drain, Phase};
use crate::exchange::{Intake, Sideline};

use super::acceptor::{Accepted, Acceptor};
use super::crew::Crew;
use super::expiry;
use super::handover::Handover;
use super::home::Home;
use super::link::Link;
use super::progress::{Fate, Progress};
use super::readiness::Readiness;
use super::rules::Rules;

/// Events taken at a time.
const EVENTS: usize = 1024;
/// Connections accepted before those that are there get their turn.
const ACCEPTS: usize = 128;
/// The token of the call from outside; acceptors come first, then links.
const CALL: Token = Token(usize::MAX);
/// That of the sideline.
const ASIDE: Token = Token(usize::MAX - 1);

/// One thread's connections.
pub(super) struct Reactor {
    pub(super) poll: Poll,
    pub(super) acceptors: Vec<Acceptor>,
    pub(super) links: Slab<Arc<Link>>,
    pub(super) home: Arc<Home>,
    pub(super) rules: Arc<Rules>,
    pub(super) progress: Progress,
    sideline: Option<Arc<dyn Sideline>>,
    pub(super) drain: Drain,
    pub(super) handover: Handover,
    next_sweep: u64,
    /// The phase of the last sweep: idle connections are closed as soon as a drain begins.
    swept_in: Phase,
    /// Nothing is accepted before that moment; 0: accepting.
    pub(super) pause_until: u64,
    pub(super) has_warned: bool,
}

impl Reactor {
    pub(super) fn new(
        acceptors: Vec<Acceptor>,
        rules: Arc<Rules>,
        crew: Option<Arc<Crew>>,
        intake: Arc<dyn Intake>,
        drain: Drain,
    ) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), CALL)?;
        let home = Arc::new(Home::new(waker, drain.clone()));
        let sockets = acceptors.iter().filter_map(Acceptor::as_raw_fd);
        for (number, socket) in sockets.enumerate() {
            poll.registry()
                .register(&mut SourceFd(&socket), Token(number), Interest::READABLE)?;
        }
        let sideline = intake.sideline();
        if let Some(sideline) = &sideline {
            let descriptor = sideline.descriptor();
            poll.registry()
                .register(&mut SourceFd(&descriptor), ASIDE, Interest::READABLE)?;
        }
        let caller = Arc::downgrade(&home);
        drain.on_advance(move || {
            if let Some(home) = caller.upgrade() {
                home.wake();
            }
        });
        let handover = Handover::new(&acceptors, &rules, &drain);
        Ok(Reactor {
            poll,
            acceptors,
            links: Slab::new(),
            home,
            rules,
            progress: Progress::new(intake, crew),
            sideline,
            drain,
            handover,
            next_sweep: 0,
            swept_in: Phase::Serving,
            pause_until: 0,
            has_warned: false,
        })
    }

    /// Runs until the drain is over.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.drain.is_stopped() {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => (),
            }
            let mut is_told = false;
            for event in &events {
                is_told |= event.token() == ASIDE;
                self.happened(event);
            }
            self.look_aside(is_told);
            for link in self.home.take_calls() {
                self.look_at(&link, Readiness::default());
            }
            self.accept();
            self.leave();
            self.sweep();
        }
        self.close_all();
        Ok(())
    }

    /// Looks after the sideline, if it was told of something there or its time has come.
    fn look_aside(&self, is_told: bool) {
        if let Some(sideline) = &self.sideline
            && (is_told || sideline.patience().is_some_and(|left| left.is_zero()))
        {
            sideline.look();
        }
    }

    /// How long to wait for events: for ever when there is nothing to look after.
    fn patience(&self) -> Option<Duration> {
        let now = self.home.now();
        if self.pause_until == 0 && self.acceptors.iter().any(|acceptor| acceptor.is_ready) {
            return Some(Duration::ZERO);
        }
        let sweep = Some(self.next_sweep).filter(|_| !self.links.is_empty());
        let pause = Some(self.pause_until).filter(|until| *until > 0);
        let next = [sweep, pause, self.handover.due()];
        let next = next.into_iter().flatten().min();
        let own = next.map(|next| Duration::from_millis(next.saturating_sub(now)));
        let aside = self.sideline.as_ref().and_then(|aside| aside.patience());
        own.into_iter().chain(aside).min()
    }

    fn happened(&mut self, event: &Event) {
        if event.token() == CALL || event.token() == ASIDE {
            return;
        }
        if let Some(acceptor) = self.acceptors.get_mut(event.token().0) {
            acceptor.is_ready = true;
            return;
        }
        let Some(link) = self.links.get(event.token().0 - self.acceptors.len()) else {
            return;
        };
        let link = Arc::clone(link);
        if event.is_error() || event.is_write_closed() {
            link.is_gone.store(true, Ordering::Relaxed);
        }
        let ready = Readiness {
            is_readable: event.is_readable(),
            is_read_closed: event.is_read_closed() || event.is_error(),
        };
        self.look_at(&link, ready);
    }

    pub(super) fn look_at(&mut self, link: &Arc<Link>, ready: Readiness) {
        let fate = self.progress.make(link, ready);
        self.settle(link, fate);
    }

    pub(super) fn settle(&mut self, link: &Arc<Link>, fate: Fate) {
        if fate == Fate::Stays {
            return;
        }
        let key = link.key.load(Ordering::Relaxed);
        // A call may come late, when the place has another link already, or none.
        if !self
            .links
            .get(key)
            .is_some_and(|known| Arc::ptr_eq(known, link))
        {
            return;
        }
        // Somebody else may still have the link, and with it the open socket: nothing more is to be heard of it.
        let socket = link.socket.as_fd().as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket));
        self.links.remove(key);
    }

    fn accept(&mut self) {
        if self.pause_until > self.home.now() {
            return;
        }
        self.pause_until = 0;
        for number in 0..self.acceptors.len() {
            self.accept_from(number, ACCEPTS);
        }
    }

    /// Takes up to `most` connections off one socket. Whether nobody waits there any more.
    pub(super) fn accept_from(&mut self, number: usize, most: usize) -> bool {
        for _ in 0..most {
            let acceptor = self.acceptors.get_mut(number);
            let Some(acceptor) = acceptor.filter(|acceptor| acceptor.is_ready) else {
                return true;
            };
            let door = acceptor.door.clone();
            match acceptor.accept() {
                Accepted::Connection(socket, peer) => self.admit(socket, peer, &door),
                Accepted::Nobody => acceptor.is_ready = false,
                Accepted::Gone => (),
                Accepted::Starved(error) => {
                    self.starved(error);
                    return false;
                }
            }
        }
        false
    }

    pub(super) fn register(&mut self, link: &Arc<Link>) -> io::Result<()> {
        let entry = self.links.vacant_entry();
        let token = Token(self.acceptors.len() + entry.key());
        let socket = link.socket.as_fd().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut SourceFd(&socket), token, interest)?;
        link.key.store(entry.key(), Ordering::Relaxed);
        entry.insert(Arc::clone(link));
        Ok(())
    }

    /// Looks at all deadlines now and then.
    fn sweep(&mut self) {
        let now = self.home.now();
        let phase = self.drain.phase();
        if now < self.next_sweep && phase == self.swept_in {
            return;
        }
        self.swept_in = phase;
        let is_draining = self.drain.is_draining();
        let is_over = |link: &Arc<Link>| {
            is_draining && !self.handover.spares(link, now) && expiry::is_idle(link)
        };
        let due: Vec<(Arc<Link>, bool)> = self
            .links
            .iter()
            .filter(|(_, link)| (1..=now).contains(&link.deadline()) || is_over(link))
            .map(|(_, link)| (Arc::clone(link), is_over(link)))
            .collect();
        for (link, is_over) in due {
            let fate = if is_over {
                self.progress.end(link.hold())
            } else {
                expiry::expire(&link, &self.progress)
            };
            self.settle(&link, fate);
        }
        self.has_warned &= self.pause_until > 0;
        self.next_sweep = now + u64::try_from(self.rules.sweep().as_millis()).unwrap_or(250);
    }

    fn close_all(&mut self) {
        for (_, link) in std::mem::take(&mut self.links) {
            let _ = link.socket.shutdown(Shutdown::Both);
            // Not under the lock: an exchange that waits for its body would want it too when it is dropped.
            self.progress.end(link.hold());
        }
    }
}
