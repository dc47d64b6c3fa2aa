//! Waits for the answers of many backends on one thread, so that no worker has to.
//!
//! A worker that has sent a request leaves it here and does something else; when the connection has something to read, was
//! closed, or has been quiet for too long, the request is handed back. Being handed back means "look now", not more: whoever
//! gets it must be ready to find nothing yet. What the requests are is not known here (`T`), and nothing is read.
//!
//! Readiness is told once (edge-triggered), and a connection stays registered from one request to the next: a request on a
//! connection that was here before costs no system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use parking_lot::Mutex;
use slab::Slab;

use crate::exchange::Sideline;
use crate::socket::Socket;

/// Events taken at a time.
const EVENTS: usize = 1024;
const CALL: Token = Token(usize::MAX);

/// Where requests wait; cheap to clone.
#[derive(Debug)]
pub struct Watch<T> {
    shared: Arc<Shared<T>>,
}

/// The side of a [`Watch`] that waits.
pub struct Watcher<T> {
    descriptor: RawFd,
    turn: Mutex<Turn<T>>,
    shared: Arc<Shared<T>>,
    resume: Resume<T>,
}

/// Takes what need not wait any more.
type Resume<T> = Box<dyn Fn(&mut Vec<T>) + Send + Sync>;

/// What one turn of waiting needs.
struct Turn<T> {
    poll: Poll,
    events: Events,
    due: Vec<T>,
}

/// A connection's place in a watch. It ends with the connection.
#[derive(Debug)]
pub struct Registration {
    keys: Arc<Keys>,
    key: usize,
}

#[derive(Debug)]
struct Shared<T> {
    keys: Arc<Keys>,
    waker: Waker,
    state: Mutex<State<T>>,
    is_stopped: AtomicBool,
}

#[derive(Debug)]
struct State<T> {
    /// By key.
    places: Vec<Place<T>>,
    /// No deadline is earlier than this; `None`: nobody waits.
    earliest: Option<Instant>,
}

/// The keys in use: tokens of the poll.
#[derive(Debug)]
struct Keys {
    registry: Registry,
    used: Mutex<Slab<()>>,
}

#[derive(Debug)]
struct Place<T> {
    /// Something happened while nobody waited.
    is_ready: bool,
    waiting: Option<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    until: Instant,
    request: T,
}

impl<T> Default for Place<T> {
    fn default() -> Place<T> {
        Place {
            is_ready: false,
            waiting: None,
        }
    }
}

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Watch<T> {
        Watch {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Watch<T> {
    /// A watch, and what waits for it.
    ///
    /// # Errors
    /// When the system has no descriptors for it.
    pub fn new() -> io::Result<(Watch<T>, Poll)> {
        let poll = Poll::new()?;
        let keys = Keys {
            registry: poll.registry().try_clone()?,
            used: Mutex::default(),
        };
        let shared = Shared {
            waker: Waker::new(poll.registry(), CALL)?,
            keys: Arc::new(keys),
            state: Mutex::new(State {
                places: Vec::new(),
                earliest: None,
            }),
            is_stopped: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        Ok((Watch { shared }, poll))
    }

    /// The other side. `resume` gets what need not wait any more, and must not block.
    pub fn watcher(
        &self,
        poll: Poll,
        resume: impl Fn(&mut Vec<T>) + Send + Sync + 'static,
    ) -> Watcher<T> {
        Watcher {
            descriptor: poll.as_raw_fd(),
            turn: Mutex::new(Turn {
                poll,
                events: Events::with_capacity(EVENTS),
                due: Vec::new(),
            }),
            shared: Arc::clone(&self.shared),
            resume: Box::new(resume),
        }
    }

    /// Makes sure that what happens on `socket` from now on is noticed. To be called before the request is sent.
    ///
    /// # Errors
    /// When the system does not take one more.
    pub fn arm(&self, socket: &Socket, place: &mut Option<Registration>) -> io::Result<()> {
        let key = match place {
            Some(registration) => registration.key,
            None => {
                let registration = Keys::register(&self.shared.keys, socket)?;
                place.insert(registration).key
            }
        };
        // What happened before has been dealt with.
        if let Some(place) = self.shared.state.lock().place(key) {
            place.is_ready = false;
        }
        Ok(())
    }

    /// Leaves `request` until there is something to read, or until that moment. Comes back with it when there is already.
    pub fn leave(&self, key: usize, until: Instant, request: T) -> Option<T> {
        let mut state = self.shared.state.lock();
        let Some(place) = state.place(key) else {
            return Some(request);
        };
        if std::mem::take(&mut place.is_ready) {
            return Some(request);
        }
        place.waiting = Some(Waiting { until, request });
        if state.earliest.is_none_or(|earliest| until < earliest) {
            state.earliest = Some(until);
            drop(state);
            self.wake();
        }
        None
    }

    /// Ends the thread. What still waits is dropped with the last handle.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.shared.waker.wake() {
            log::error!("the thread that waits for backends cannot be woken: {error}");
        }
    }
}

impl<T> Watcher<T> {
    /// Waits for all, until the watch is stopped.
    pub fn run(&self) {
        while !self.shared.is_stopped.load(Ordering::SeqCst) {
            let patience = self.until_due();
            if let Err(error) = self.turn(patience) {
                return log::error!("backends cannot be waited for any more: {error}");
            }
        }
    }

    /// Waits once, and lets go on what can. True: there may be more.
    fn turn(&self, patience: Option<Duration>) -> io::Result<bool> {
        let turn = &mut *self.turn.lock();
        match turn.poll.poll(&mut turn.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => (),
        }
        let mut state = self.shared.state.lock();
        for event in turn.events.iter().filter(|event| event.token() != CALL) {
            turn.due.extend(state.happened(event.token().0));
        }
        state.expire(&mut turn.due);
        drop(state);
        if !turn.due.is_empty() {
            (self.resume)(&mut turn.due);
            turn.due.clear();
        }
        Ok(turn.events.iter().count() >= EVENTS)
    }

    fn until_due(&self) -> Option<Duration> {
        let earliest = self.shared.state.lock().earliest?;
        Some(earliest.saturating_duration_since(Instant::now()))
    }
}

impl<T: Send> Sideline for Watcher<T> {
    fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    fn patience(&self) -> Option<Duration> {
        self.until_due()
    }

    fn look(&self) {
        // Whoever polls our descriptor is told once: nothing may be left over.
        loop {
            match self.turn(Some(Duration::ZERO)) {
                Ok(true) => (),
                Ok(false) => return,
                Err(error) => return log::error!("backends cannot be waited for: {error}"),
            }
        }
    }
}

impl<T> State<T> {
    fn place(&mut self, key: usize) -> Option<&mut Place<T>> {
        if key >= self.places.len() {
            self.places.resize_with(key + 1, Place::default);
        }
        self.places.get_mut(key)
    }

    /// Something happened on the connection with this key: whoever waits for it, else a note.
    fn happened(&mut self, key: usize) -> Option<T> {
        let place = self.places.get_mut(key)?;
        let waiting = place.waiting.take();
        place.is_ready = waiting.is_none();
        Some(waiting?.request)
    }

    /// Takes out those whose time is over.
    fn expire(&mut self, due: &mut Vec<T>) {
        let now = Instant::now();
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for place in &mut self.places {
            if let Some(waiting) = place.waiting.take_if(|waiting| waiting.until <= now) {
                due.push(waiting.request);
            }
            let next = place.waiting.as_ref().map(|waiting| waiting.until);
            self.earliest = [self.earliest, next].into_iter().flatten().min();
        }
    }
}

impl Keys {
    fn register(keys: &Arc<Keys>, socket: &Socket) -> io::Result<Registration> {
        let registration = Registration {
            key: keys.used.lock().insert(()),
            keys: Arc::clone(keys),
        };
        let token = Token(registration.key);
        keys.registry.register(
            &mut SourceFd(&socket.as_fd().as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        Ok(registration)
    }
}

impl Registration {
    /// Where requests on this connection wait.
    pub fn key(&self) -> usize {
        self.key
    }

    /// Ends the registration of a connection that lives on: before a long body, whose every piece would wake the thread.
    pub fn release(self, socket: &Socket) {
        let _ = self
            .keys
            .registry
            .deregister(&mut SourceFd(&socket.as_fd().as_raw_fd()));
    }
}

impl Drop for Registration {
    /// The system forgets a socket when it is closed. If the key has a new owner before the last event of the old one is
    /// seen, the new one is told to look too early, which does no harm.
    fn drop(&mut self) {
        self.keys.used.lock().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, bounded};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    const LONG: Duration = Duration::from_secs(60);

    /// A watch with its thread, and what comes back from it.
    struct Rig {
        watch: Watch<usize>,
        back: Receiver<usize>,
        thread: Option<JoinHandle<()>>,
    }

    struct Line {
        socket: Socket,
        place: Option<Registration>,
        backend: UnixStream,
    }

    impl Rig {
        fn new() -> Rig {
            let (watch, poll) = Watch::new().unwrap();
            let (sender, back) = bounded(10_000);
            let watcher = watch.watcher(poll, move |due: &mut Vec<usize>| {
                due.drain(..)
                    .for_each(|request| sender.send(request).unwrap());
            });
            let thread = Some(thread::spawn(move || watcher.run()));
            Rig {
                watch,
                back,
                thread,
            }
        }

        fn line(&self) -> Line {
            let (ours, backend) = UnixStream::pair().unwrap();
            let mut line = Line {
                socket: Socket::Unix(ours),
                place: None,
                backend,
            };
            self.arm(&mut line);
            line
        }

        fn arm(&self, line: &mut Line) {
            self.watch.arm(&line.socket, &mut line.place).unwrap();
        }

        fn leave(&self, line: &Line, patience: Duration, request: usize) -> Option<usize> {
            let key = line.place.as_ref().unwrap().key();
            self.watch.leave(key, Instant::now() + patience, request)
        }

        fn next(&self) -> usize {
            self.back.recv_timeout(LONG).unwrap()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.watch.stop();
            self.thread.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn a_request_comes_back_with_its_answer_or_the_end_of_the_connection() {
        let rig = Rig::new();
        let mut lines: Vec<Line> = (0..100).map(|_| rig.line()).collect();
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(rig.leave(line, LONG, number), None);
        }
        assert!(rig.back.is_empty());
        lines[7].backend.write_all(b"x").unwrap();
        assert_eq!(rig.next(), 7);
        lines[20]
            .backend
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        assert_eq!(rig.next(), 20);
    }

    #[test]
    fn what_was_answered_before_it_is_left_is_not_kept() {
        let rig = Rig::new();
        let (mut line, mut other) = (rig.line(), rig.line());
        assert_eq!(rig.leave(&other, LONG, 1), None);
        line.backend.write_all(b"x").unwrap();
        other.backend.write_all(b"x").unwrap();
        // Once the later one is told, the earlier one is known.
        assert_eq!(rig.next(), 1);
        assert_eq!(rig.leave(&line, LONG, 2), Some(2));
        // That is told once.
        assert_eq!(rig.leave(&line, LONG, 3), None);
        line.backend.write_all(b"x").unwrap();
        assert_eq!(rig.next(), 3);
    }

    #[test]
    fn what_happened_before_arming_does_not_count() {
        let rig = Rig::new();
        let (mut line, mut other) = (rig.line(), rig.line());
        for round in 0..20 {
            assert_eq!(rig.leave(&other, LONG, 1000), None);
            line.backend.write_all(b"early").unwrap();
            other.backend.write_all(b"x").unwrap();
            // Once the later one is told, the earlier one is known.
            assert_eq!(rig.next(), 1000);
            (&line.socket).read_exact(&mut [0; 5]).unwrap();
            (&other.socket).read_exact(&mut [0]).unwrap();
            rig.arm(&mut line);
            assert_eq!(rig.leave(&line, LONG, round), None);
            line.backend.write_all(b"x").unwrap();
            assert_eq!(rig.next(), round);
            (&line.socket).read_exact(&mut [0]).unwrap();
        }
    }

    /// Whoever looks after a watch in passing is told once that something is ready, however much that is.
    #[test]
    fn one_look_finds_all_that_is_ready() {
        let (watch, poll) = Watch::new().unwrap();
        let (sender, back) = bounded(10_000);
        let watcher = watch.watcher(poll, move |due: &mut Vec<usize>| {
            due.drain(..)
                .for_each(|request| sender.send(request).unwrap());
        });
        let mut lines = Vec::new();
        for request in 0..EVENTS + 100 {
            let (ours, backend) = UnixStream::pair().unwrap();
            let (ours, mut place) = (Socket::Unix(ours), None);
            watch.arm(&ours, &mut place).unwrap();
            let key = place.as_ref().unwrap().key();
            assert_eq!(watch.leave(key, Instant::now() + LONG, request), None);
            lines.push((ours, backend, place));
        }
        for (_, backend, _) in &mut lines {
            backend.write_all(b"x").unwrap();
        }
        watcher.look();
        assert_eq!(back.len(), lines.len());
    }

    #[test]
    fn time_runs_out_in_its_order() {
        let rig = Rig::new();
        let lines: Vec<Line> = (0..4).map(|_| rig.line()).collect();
        let begun = Instant::now();
        for (number, millis) in [(0, 60_000), (1, 300), (2, 100), (3, 200)] {
            let patience = Duration::from_millis(millis);
            assert_eq!(rig.leave(&lines[number], patience, number), None);
        }
        assert_eq!([rig.next(), rig.next(), rig.next()], [2, 3, 1]);
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert!(rig.back.is_empty());
    }

    #[test]
    fn a_released_connection_wakes_nobody_and_can_be_armed_again() {
        let rig = Rig::new();
        let (mut line, mut other) = (rig.line(), rig.line());
        let released = line.place.take().unwrap();
        let key = released.key();
        released.release(&line.socket);
        assert_eq!(rig.leave(&other, LONG, 1), None);
        line.backend.write_all(b"x").unwrap();
        other.backend.write_all(b"x").unwrap();
        assert_eq!(rig.next(), 1);
        assert!(!rig.watch.shared.state.lock().places[key].is_ready);
        // Armed again, what comes is told. What lies there already may be told or not.
        rig.arm(&mut line);
        if rig.leave(&line, LONG, 2).is_none() {
            line.backend.write_all(b"x").unwrap();
            assert_eq!(rig.next(), 2);
        }
    }
}
