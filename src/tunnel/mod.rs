//! Upgraded connections: one thread carries the bytes of all of them, both ways, and never waits for one of them.
//!
//! It does not know what the bytes mean, and it neither connects nor answers: whoever agreed to the upgrade hands over two
//! ready connections and learns at the end how much went through.
//!
//! - [`pump`]: moves the bytes of one tunnel; knows no poller and no clock.
//! - [`table`]: the open tunnels, whose turn it is, and which of them have been idle for too long.
//! - [`thread`]: waits for readiness and for newcomers.

mod pump;
mod table;
mod thread;

#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use mio::Waker;
use parking_lot::Mutex;

use crate::socket::Conduit;

/// All tunnels of a process, and the thread that carries them. Dropping it ends them all, as [`Tunnels::shut_down`] does.
pub struct Tunnels {
    limit: usize,
    taken: Arc<AtomicUsize>,
    doorway: Arc<Doorway>,
    thread_id: ThreadId,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Two connections to be joined. Neither may block.
pub struct Tunnel {
    /// The way to the client.
    pub client: Box<dyn Conduit>,
    /// The way to the backend.
    pub backend: Box<dyn Conduit>,
    /// What the backend has sent already; goes first.
    pub to_client: Vec<u8>,
    /// What the client has sent already; goes first.
    pub to_backend: Vec<u8>,
    /// Called once, after both connections have been closed, as a rule on the tunnel thread: it must not block.
    pub on_end: Box<dyn FnOnce(End) + Send>,
}

/// What is to be said about a tunnel once it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Bytes from the client that the way to the backend has taken.
    pub bytes_in: u64,
    /// Bytes from the backend that the way to the client has taken.
    pub bytes_out: u64,
    /// Why it ended.
    pub reason: Reason,
}

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Both sides said that they are done, and everything was delivered.
    Closed,
    /// The connection to the client broke.
    ClientGone,
    /// The connection to the backend broke.
    BackendGone,
    /// No byte came or went for too long.
    Idle,
    /// tollgate ended it: it shuts down, or this tunnel met a fault of its own.
    Stopped,
}

/// The right to open one tunnel, and later the tunnel's own claim. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    taken: Arc<AtomicUsize>,
}

/// A tunnel that the thread has not seen yet.
struct Newcomer {
    place: Place,
    tunnel: Tunnel,
}

/// Where newcomers wait for the thread. Each of them holds a place, so the limit of tunnels bounds the queue too.
struct Doorway {
    queue: Mutex<Queue>,
    waker: Waker,
}

#[derive(Default)]
struct Queue {
    newcomers: Vec<Newcomer>,
    is_closed: bool,
}

impl Tunnels {
    /// Starts the thread.
    ///
    /// `limit`: most tunnels at the same time. `idle`: a tunnel ends when no byte came or went for so long, up to a
    /// sixteenth later; less than a millisecond counts as one.
    ///
    /// # Errors
    /// When the system gives no poller or no thread.
    pub fn start(limit: usize, idle: Duration) -> io::Result<Tunnels> {
        let (doorway, thread) = thread::spawn(idle)?;
        Ok(Tunnels {
            limit,
            taken: Arc::default(),
            doorway,
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Reserves a place, or `None` when as many as the limit are open or reserved.
    pub fn reserve(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        Some(Place {
            taken: Arc::clone(&self.taken),
        })
    }

    /// Hands over a tunnel; never blocks. After [`Tunnels::shut_down`] it ends at once, on the thread that calls.
    pub fn open(&self, place: Place, tunnel: Tunnel) {
        self.doorway.enter(Newcomer { place, tunnel });
    }

    /// Tunnels that are open, and places that are reserved for others.
    pub fn len(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether there is neither a tunnel nor a reserved place.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all tunnels with [`Reason::Stopped`], then waits for the end of the thread. Called from an
    /// [`Tunnel::on_end`] it does not wait.
    pub fn shut_down(&self) {
        let is_awake = self.doorway.close();
        if std::thread::current().id() == self.thread_id {
            return;
        }
        let mut thread = self.thread.lock();
        // A thread that cannot be woken would be waited for in vain.
        if let Some(thread) = thread.take().filter(|_| is_awake) {
            // It catches the panics of tunnels, so joining cannot fail in a way that matters here.
            let _ = thread.join();
        }
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Newcomer {
    /// Ends a tunnel that never began.
    fn turn_away(self) {
        let Newcomer { place, tunnel } = self;
        let on_end = tunnel.on_end;
        guarded(|| drop((tunnel.client, tunnel.backend)));
        drop(place);
        let end = End {
            bytes_in: 0,
            bytes_out: 0,
            reason: Reason::Stopped,
        };
        guarded(|| on_end(end));
    }
}

impl Doorway {
    fn new(waker: Waker) -> Doorway {
        Doorway {
            queue: Mutex::default(),
            waker,
        }
    }

    fn enter(&self, newcomer: Newcomer) {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            drop(queue);
            return newcomer.turn_away();
        }
        // Whoever waits here already has woken the thread, and it takes all at once.
        let is_first = queue.newcomers.is_empty();
        queue.newcomers.push(newcomer);
        drop(queue);
        if is_first {
            self.wake();
        }
    }

    /// Lets nobody in any more. False when the thread could not be told.
    fn close(&self) -> bool {
        self.queue.lock().is_closed = true;
        self.wake()
    }

    /// Everyone who waits, and whether the doorway is closed.
    fn clear(&self) -> (Vec<Newcomer>, bool) {
        let mut queue = self.queue.lock();
        (std::mem::take(&mut queue.newcomers), queue.is_closed)
    }

    fn wake(&self) -> bool {
        let result = self.waker.wake();
        if let Err(error) = &result {
            log::error!("the tunnel thread cannot be woken: {error}");
        }
        result.is_ok()
    }
}

/// Runs what belongs to one tunnel only, so that its panic ends that tunnel and not the thread of all.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        log::error!("a tunnel panicked; the others go on");
    }
    result.ok()
}
