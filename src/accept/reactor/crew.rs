//! The threads that do the public-key operations of handshakes, so that neither the reactor nor a worker does.
//!
//! Each does one step of one handshake, then the next; between two steps of a handshake it is the client's turn, and nobody
//! waits for that here. A connection is in the queue once at most, so there is a place for each.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::handshake::{self, Gathered, Turn};
use super::link::Link;
use super::state::Stage;

/// As many threads as there are processors. Dropping it ends them.
pub(super) struct Crew {
    queue: Option<Sender<Arc<Link>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts the threads, for at most `places` connections at a time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(places: usize) -> io::Result<Arc<Crew>> {
        let (sender, receiver) = bounded(places);
        let count = thread::available_parallelism().map_or(1, usize::from);
        let mut crew = Crew {
            queue: Some(sender),
            threads: Vec::with_capacity(count),
        };
        for _ in 0..count {
            let receiver = receiver.clone();
            let named = thread::Builder::new().name("handshake".into());
            crew.threads.push(named.spawn(move || work(&receiver))?);
        }
        Ok(Arc::new(crew))
    }

    /// Gives the next step of a handshake to the crew. False: there is no place.
    pub(super) fn take(&self, link: &Arc<Link>) -> bool {
        let link = Arc::clone(link);
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(link).is_ok())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Arc<Link>>) {
    for link in queue {
        if catch_unwind(AssertUnwindSafe(|| step(&link))).is_err() {
            log::error!("a handshake panicked; the others go on");
            link.hold().cut(true);
        }
    }
}

fn step(link: &Arc<Link>) {
    let mut held = link.hold();
    // Its time may have been over while it waited.
    if !matches!(held.stage, Stage::Handshake(Turn::Crew)) {
        return;
    }
    let whole = match handshake::gathered(&held.input, false) {
        Gathered::Records(whole) => whole,
        Gathered::Incomplete | Gathered::Plain => 0,
    };
    handshake::step(&mut held, whole);
    if held.is_readable || !held.input.is_empty() {
        link.home.revisit(link);
    }
}
