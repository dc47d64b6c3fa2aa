//! What links know of the reactor that they belong to: its clock, and the way to call it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::Instant;

use mio::Waker;
use parking_lot::Mutex;

use crate::drain::Drain;

use super::link::Link;

/// One reactor thread, seen from outside.
pub(super) struct Home {
    begun: Instant,
    /// The thread that must never wait.
    thread: ThreadId,
    waker: Waker,
    /// A call is under way: one is enough for many.
    is_called: AtomicBool,
    calls: Mutex<Vec<Arc<Link>>>,
    pub(super) drain: Drain,
}

impl Home {
    pub(super) fn new(waker: Waker, drain: Drain) -> Home {
        Home {
            begun: Instant::now(),
            thread: thread::current().id(),
            waker,
            is_called: AtomicBool::new(false),
            calls: Mutex::default(),
            drain,
        }
    }

    /// Whether the caller is the reactor.
    pub(super) fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Milliseconds on this reactor's clock; never 0.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
    }

    /// Asks the reactor to look at `link` again.
    pub(super) fn revisit(&self, link: &Arc<Link>) {
        self.calls.lock().push(Arc::clone(link));
        self.wake();
    }

    /// Makes the reactor go round once.
    pub(super) fn wake(&self) {
        if !self.is_called.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log::error!("the listener thread cannot be woken: {error}");
        }
    }

    /// The links that wait for a look.
    pub(super) fn take_calls(&self) -> Vec<Arc<Link>> {
        if !self.is_called.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.calls.lock())
    }
}
