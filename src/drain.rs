//! Draining: the stop flag that everyone reads, and the register of what is still in flight.
//!
//! It decides nothing and kills nothing: `serve` refuses new exchanges when it says so, and `app` waits on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use slab::Slab;

/// How far the shutdown has come. Only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Business as usual.
    Serving,
    /// `/readyz` fails already, requests are still taken (`drain_delay`).
    Leaving,
    /// New exchanges are refused, those in flight finish. (Where another process takes the next connections, what has come to
    /// this one is served.)
    Draining,
    /// Nothing is waited for any more; every thread ends.
    Stopped,
}

/// A shared handle; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    phase: AtomicU8,
    flights: Mutex<Slab<Entry>>,
    /// Changed under the lock of the flights, so that no wait misses it.
    holds: AtomicUsize,
    changed: Condvar,
    /// Those who wait for something else than the condition, and have to be woken.
    sleepers: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// What people see when something is cut; put into words only then.
pub type Label = Arc<dyn fmt::Display + Send + Sync>;

struct Entry {
    label: Label,
    since: Instant,
}

/// One exchange that is being worked on.
#[derive(Debug, Clone)]
pub struct Flight {
    /// What people see when it is cut: method, target and client.
    pub label: String,
    /// When it was taken.
    pub since: Instant,
}

/// Counts an exchange as in flight until dropped.
#[derive(Debug)]
pub struct FlightGuard {
    inner: Arc<Inner>,
    key: usize,
}

/// Keeps a drain from being over until dropped, though nothing is in flight.
#[derive(Debug)]
pub struct Hold {
    inner: Arc<Inner>,
}

impl Drain {
    /// A new one, serving.
    pub fn new() -> Drain {
        Drain::default()
    }

    /// Where the shutdown stands.
    pub fn phase(&self) -> Phase {
        match self.inner.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// Moves on to `phase`; an earlier phase than the current one changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.inner.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // The lock orders the change before any wait that has read the old phase.
        drop(self.inner.flights.lock());
        self.inner.changed.notify_all();
        for wake in self.inner.sleepers.lock().iter() {
            wake();
        }
    }

    /// Calls `wake` whenever the phase may have changed. It must not block.
    pub fn on_advance(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.inner.sleepers.lock().push(Box::new(wake));
    }

    /// Whether new exchanges are to be refused.
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Whether threads are to end.
    pub fn is_stopped(&self) -> bool {
        self.phase() == Phase::Stopped
    }

    /// Registers an exchange that was taken at `since`.
    pub fn enter(&self, label: Label, since: Instant) -> FlightGuard {
        let key = self.inner.flights.lock().insert(Entry { label, since });
        FlightGuard {
            inner: Arc::clone(&self.inner),
            key,
        }
    }

    /// Holds the drain up: exchanges may still begin that have to be served. It counts as nothing in flight.
    pub fn hold(&self) -> Hold {
        let _order = self.inner.flights.lock();
        self.inner.holds.fetch_add(1, Ordering::AcqRel);
        Hold {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Whether something is in flight, or may still come to be.
    pub fn is_busy(&self) -> bool {
        self.is_busy_with(&self.inner.flights.lock())
    }

    fn is_busy_with(&self, flights: &Slab<Entry>) -> bool {
        !flights.is_empty() || self.inner.holds.load(Ordering::Acquire) > 0
    }

    /// How many exchanges are in flight.
    pub fn in_flight(&self) -> usize {
        self.inner.flights.lock().len()
    }

    /// What is in flight, oldest first.
    pub fn flights(&self) -> Vec<Flight> {
        let entries = self.inner.flights.lock();
        let flight = |(_, entry): (usize, &Entry)| Flight {
            label: entry.label.to_string(),
            since: entry.since,
        };
        let mut flights: Vec<Flight> = entries.iter().map(flight).collect();
        drop(entries);
        flights.sort_by_key(|flight| flight.since);
        flights
    }

    /// Waits until nothing is in flight or held, the phase is [`Phase::Stopped`], or `patience` is over, whichever comes
    /// first. Returns how many are in flight.
    pub fn wait_idle(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        let mut flights = self.inner.flights.lock();
        while self.is_busy_with(&flights) && !self.is_stopped() {
            if self
                .inner
                .changed
                .wait_until(&mut flights, deadline)
                .timed_out()
            {
                break;
            }
        }
        flights.len()
    }

    /// Sleeps for `duration`, or less when the phase becomes [`Phase::Stopped`]. Returns whether it is stopped.
    pub fn sleep(&self, duration: Duration) -> bool {
        self.sleep_until_phase(duration, Phase::Stopped)
    }

    /// Sleeps for `duration`, or less when at least `phase` is reached. Returns whether it is.
    pub fn sleep_until_phase(&self, duration: Duration, phase: Phase) -> bool {
        let deadline = Instant::now() + duration;
        let mut flights = self.inner.flights.lock();
        while self.phase() < phase {
            if self
                .inner
                .changed
                .wait_until(&mut flights, deadline)
                .timed_out()
            {
                break;
            }
        }
        self.phase() >= phase
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        let mut flights = self.inner.flights.lock();
        let entry = flights.try_remove(self.key);
        let is_last = flights.is_empty();
        drop(flights);
        drop(entry);
        if is_last {
            self.inner.changed.notify_all();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let order = self.inner.flights.lock();
        self.inner.holds.fetch_sub(1, Ordering::AcqRel);
        drop(order);
        self.inner.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_forward() {
        let drain = Drain::new();
        drain.advance(Phase::Draining);
        drain.advance(Phase::Leaving);
        assert_eq!(drain.phase(), Phase::Draining);
    }

    #[test]
    fn waiting_ends_when_the_last_flight_lands() {
        let drain = Drain::new();
        let guard = drain.enter(Arc::new("GET /slow"), Instant::now());
        drain.advance(Phase::Draining);
        assert_eq!(drain.wait_idle(Duration::ZERO), 1);
        let waiter = {
            let drain = drain.clone();
            std::thread::spawn(move || drain.wait_idle(Duration::from_secs(60)))
        };
        drop(guard);
        assert_eq!(waiter.join().unwrap(), 0);
    }

    #[test]
    fn a_hold_is_waited_for_but_is_nothing_in_flight() {
        let drain = Drain::new();
        let holds = [drain.hold(), drain.hold()];
        drain.advance(Phase::Draining);
        assert_eq!(drain.wait_idle(Duration::ZERO), 0);
        assert!(drain.is_busy());
        let waiter = {
            let drain = drain.clone();
            std::thread::spawn(move || drain.wait_idle(Duration::from_secs(60)))
        };
        drop(holds);
        assert_eq!(waiter.join().unwrap(), 0);
        assert!(!drain.is_busy());
    }

    #[test]
    fn a_second_signal_ends_the_wait_and_says_what_is_left() {
        let drain = Drain::new();
        let _guard = drain.enter(Arc::new("GET /slow"), Instant::now());
        drain.advance(Phase::Stopped);
        assert_eq!(drain.wait_idle(Duration::from_secs(60)), 1);
        assert_eq!(drain.flights()[0].label, "GET /slow");
    }
}
