//! Where requests wait for a place at an upstream whose backends are all full (`max_connections`), in the order in which they
//! came, and without a worker.
//!
//! Whoever is called goes to a worker, and looks there. If somebody else was faster it comes back, and is the first again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use crate::upstream::Upstream;
use crate::upstream::vacancy::{Usher, Waiting};

use super::pool::Door;

/// What can wait here.
pub(super) trait Guest: Send + 'static {
    /// It is called: it may look for a place, and keeps this until it has one or gives up.
    fn give(&mut self, ticket: Ticket);

    /// Whether nobody waits for it any more.
    fn is_gone(&self) -> bool;
}

/// The right to wait, and where in the line.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    /// When the wait began.
    pub(super) since: Instant,
    until: Instant,
    waiting: Waiting,
    _given: Given,
}

/// Counts tickets that are out.
#[derive(Debug)]
struct Given(Arc<AtomicUsize>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why somebody may not wait, or not any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// `max_wait` is over.
    Late,
    /// As many wait as may.
    Crowded,
    /// The proxy has stopped.
    Closed,
}

/// Who waits, by upstream.
pub(super) struct Lobby<J> {
    this: Weak<Lobby<J>>,
    capacity: usize,
    given: Arc<AtomicUsize>,
    state: Mutex<State<J>>,
    /// The way to the workers.
    door: OnceLock<Door<J>>,
}

struct State<J> {
    /// By name of the upstream, and by number; no line is empty.
    lines: HashMap<Arc<str>, Line<J>>,
    last_number: u64,
    is_closed: bool,
}

type Line<J> = BTreeMap<u64, (Ticket, J)>;

impl<J: Guest> Lobby<J> {
    /// A lobby for `capacity` requests in all.
    pub(super) fn new(capacity: usize) -> Arc<Lobby<J>> {
        Arc::new_cyclic(|this| Lobby {
            this: Weak::clone(this),
            capacity,
            given: Arc::default(),
            state: Mutex::new(State {
                lines: HashMap::new(),
                last_number: 0,
                is_closed: false,
            }),
            door: OnceLock::new(),
        })
    }

    /// Those who are called go through `door`. To be called once, before anybody waits.
    pub(super) fn open(&self, door: Door<J>) {
        let _ = self.door.set(door);
    }

    /// Lets `job` wait for a place at `upstream`; with the `ticket` that it got when it was called, if it was. `renew` gives the
    /// upstream's successor, if it has one by now: all in a line must wait for the same, or one for whom there is no place would
    /// hold up those behind it.
    ///
    /// # Errors
    /// With the job.
    pub(super) fn wait(
        &self,
        mut job: J,
        ticket: Option<Ticket>,
        upstream: &Arc<Upstream>,
        now: Instant,
        renew: impl FnOnce(&mut J) -> Option<Arc<Upstream>>,
    ) -> Result<(), (Denied, J)> {
        let mut ticket = match ticket.map_or_else(|| self.ticket(upstream, now), Ok) {
            Ok(ticket) if ticket.until > now => ticket,
            Ok(_) => return Err((Denied::Late, job)),
            Err(denied) => return Err((denied, job)),
        };
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            return Err((Denied::Closed, job));
        }
        // In one step with its return to the line: nobody behind it may be called in between.
        ticket.waiting.come_back();
        // Either this sees the successor, or whoever brings it takes the lock later, and sees this one in its line.
        let before = renew(&mut job).map(|upstream| self.rebook(&mut ticket, &upstream));
        let line = state.lines.entry(Arc::clone(&upstream.name)).or_default();
        line.insert(ticket.number, (ticket, job));
        drop(state);
        drop(before);
        // A place may have become free before anybody knew that it is waited for.
        self.call(&upstream.name);
        Ok(())
    }

    fn ticket(&self, upstream: &Arc<Upstream>, now: Instant) -> Result<Ticket, Denied> {
        let given = Given(Arc::clone(&self.given));
        let before = self.given.fetch_add(1, Ordering::Relaxed);
        let until = now + upstream.settings.max_wait;
        if until <= now {
            return Err(Denied::Late);
        }
        if before >= self.capacity {
            return Err(Denied::Crowded);
        }
        let mut state = self.state.lock();
        state.last_number += 1;
        let number = state.last_number;
        drop(state);
        Ok(Ticket {
            number,
            since: now,
            until,
            waiting: Waiting::begin(upstream, Weak::<Lobby<J>>::clone(&self.this)),
            _given: given,
        })
    }

    /// Calls as many as there are places for.
    pub(super) fn look(&self, now: Instant) {
        let mut state = self.state.lock();
        let names: Vec<Arc<str>> = state.lines.keys().cloned().collect();
        for name in names {
            let places = state
                .first(&name)
                .map_or(0, |ticket| ticket.waiting.upstream().places_left(now));
            for job in (0..places).map_while(|_| state.take_first(&name)) {
                self.let_go(job);
            }
        }
    }

    /// Whoever waits for an upstream that has a successor, waits for that one from now on. `renew` gives it.
    pub(super) fn renew(&self, mut renew: impl FnMut(&mut J) -> Option<Arc<Upstream>>) {
        let mut before = Vec::new();
        let mut state = self.state.lock();
        for (ticket, job) in state.lines.values_mut().flat_map(BTreeMap::values_mut) {
            if let Some(upstream) = renew(job) {
                before.push(self.rebook(ticket, &upstream));
            }
        }
        drop(state);
        drop(before);
        self.look(Instant::now());
    }

    /// Makes a ticket one for another upstream. What it was for is to be dropped without the lock: whoever stops waiting calls
    /// the next one, which takes it.
    fn rebook(&self, ticket: &mut Ticket, upstream: &Arc<Upstream>) -> Waiting {
        let waiting = Waiting::begin(upstream, Weak::<Lobby<J>>::clone(&self.this));
        std::mem::replace(&mut ticket.waiting, waiting)
    }

    /// Takes out those whose time is over at `now`, and those that nobody waits for any more.
    pub(super) fn expire(&self, now: Instant) -> Vec<J> {
        let is_over = |ticket: &Ticket, job: &J| ticket.until <= now || job.is_gone();
        self.take_out(&mut self.state.lock(), is_over)
    }

    /// Takes out everybody; nobody waits here any more.
    pub(super) fn close(&self) -> Vec<J> {
        let mut state = self.state.lock();
        state.is_closed = true;
        self.take_out(&mut state, |_, _| true)
    }

    fn take_out(&self, state: &mut State<J>, is_meant: impl Fn(&Ticket, &J) -> bool) -> Vec<J> {
        let mut out = Vec::new();
        state.lines.retain(|_, line| {
            let meant = line
                .iter()
                .filter(|(_, (ticket, job))| is_meant(ticket, job));
            let numbers: Vec<u64> = meant.map(|(number, _)| *number).collect();
            let taken = numbers.iter().filter_map(|number| line.remove(number));
            out.extend(taken.map(with_ticket));
            !line.is_empty()
        });
        out
    }

    fn let_go(&self, job: J) {
        if let Some(door) = self.door.get() {
            door.begin_again(job);
        }
    }
}

impl<J: Guest> Usher for Lobby<J> {
    fn call(&self, upstream: &str) {
        let mut state = self.state.lock();
        let has_place = state
            .first(upstream)
            .is_some_and(|ticket| ticket.waiting.upstream().places_left(Instant::now()) > 0);
        // Not without the lock: whoever closes the lobby knows then that nobody goes to the workers any more.
        if has_place && let Some(job) = state.take_first(upstream) {
            self.let_go(job);
        }
    }
}

impl<J: Guest> State<J> {
    fn first(&self, upstream: &str) -> Option<&Ticket> {
        let (_, (ticket, _)) = self.lines.get(upstream)?.first_key_value()?;
        Some(ticket)
    }

    fn take_first(&mut self, upstream: &str) -> Option<J> {
        let line = self.lines.get_mut(upstream)?;
        let (_, mut first) = line.pop_first()?;
        first.0.waiting.call();
        if line.is_empty() {
            self.lines.remove(upstream);
        }
        Some(with_ticket(first))
    }
}

/// The job keeps its ticket: until that is dropped it counts as one that waits.
fn with_ticket<J: Guest>((ticket, mut job): (Ticket, J)) -> J {
    job.give(ticket);
    job
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::serve::pool::{Pool, Ran};
    use crate::upstream::lease::Lease;
    use crate::upstream::member::Tier;

    const PATIENCE: Duration = Duration::from_secs(30);

    struct Visitor {
        number: u32,
        ticket: Option<Ticket>,
        is_gone: bool,
    }

    impl Guest for Visitor {
        fn give(&mut self, ticket: Ticket) {
            self.ticket = Some(ticket);
        }

        fn is_gone(&self) -> bool {
            self.is_gone
        }
    }

    /// A lobby whose callers come out at the other end.
    struct Rig {
        lobby: Arc<Lobby<Visitor>>,
        pool: Pool<Visitor>,
        called: Receiver<Visitor>,
        upstream: Arc<Upstream>,
        now: Instant,
    }

    impl Rig {
        /// One backend with one place.
        fn new(capacity: usize) -> Rig {
            let (sender, called) = bounded(100);
            let lobby = Lobby::new(capacity);
            let run = move |visitor| {
                sender.send(visitor).unwrap();
                Ran::ToTheEnd
            };
            let pool = Pool::start(1, 10, PATIENCE, run).unwrap();
            lobby.open(pool.door());
            let upstream = Upstream::adjusted(|settings| {
                settings.backends[0].max_connections = 1;
                settings.max_wait = Duration::from_secs(1);
            });
            let now = Instant::now();
            Rig {
                lobby,
                pool,
                called,
                upstream,
                now,
            }
        }

        fn lease(&self) -> Option<Lease> {
            Lease::new(&self.upstream, 0, Tier::Primary, self.now)
        }

        fn wait(&self, visitor: Visitor, after: u64) -> Option<(Denied, u32)> {
            let at = self.now + Duration::from_millis(after);
            let (mut visitor, upstream) = (visitor, &self.upstream);
            let ticket = visitor.ticket.take();
            let wait = (self.lobby).wait(visitor, ticket, upstream, at, |_| None);
            let denied = wait.err();
            denied.map(|(denied, visitor)| (denied, visitor.number))
        }

        fn next(&self) -> Visitor {
            self.called.recv_timeout(PATIENCE).unwrap()
        }

        /// Takes out all that waits too long after so many milliseconds.
        fn expired(&self, after: u64) -> Vec<u32> {
            let now = self.now + Duration::from_millis(after);
            let out = self.lobby.expire(now).into_iter();
            out.map(|visitor| visitor.number).collect()
        }
    }

    fn visitor(number: u32) -> Visitor {
        Visitor {
            number,
            ticket: None,
            is_gone: false,
        }
    }

    #[test]
    fn the_first_is_called_and_stays_the_first_when_it_comes_back() {
        let rig = Rig::new(10);
        let lease = rig.lease();
        for number in 1..=3 {
            assert_eq!(rig.wait(visitor(number), 0), None);
        }
        assert!(rig.called.is_empty());
        drop(lease);
        let first = rig.next();
        assert_eq!((first.number, rig.upstream.waiting()), (1, 3));
        // Somebody else was faster.
        let lease = rig.lease();
        assert_eq!(rig.wait(first, 500), None);
        assert!(rig.called.is_empty());
        drop(lease);
        let first = rig.next();
        assert_eq!(first.number, 1);
        // It gives up, so that the place is the next one's.
        drop(first);
        let (second, third) = (rig.next(), rig.expired(1000));
        assert_eq!(
            (second.number, third, rig.upstream.waiting()),
            (2, vec![3], 1)
        );
        assert_eq!(rig.wait(second, 1000), Some((Denied::Late, 2)));
        assert_eq!(rig.upstream.waiting(), 0);
        rig.pool.shut_down();
    }

    #[test]
    fn nobody_is_called_for_a_place_that_somebody_is_on_the_way_to() {
        let rig = Rig::new(10);
        let lease = rig.lease();
        for number in 1..=2 {
            assert_eq!(rig.wait(visitor(number), 0), None);
        }
        drop(lease);
        let first = rig.next();
        // The place is free still, and whoever looks could take it for one that nobody has.
        rig.lobby.look(rig.now);
        assert_eq!(rig.wait(visitor(3), 0), None);
        assert_eq!(rig.expired(0), [] as [u32; 0]);
        let left = rig.lobby.close();
        let numbers: Vec<u32> = left.iter().map(|one| one.number).collect();
        assert_eq!((first.number, numbers), (1, vec![2, 3]));
        rig.pool.shut_down();
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_nobody_after_its_end() {
        let rig = Rig::new(2);
        let _lease = rig.lease();
        assert_eq!(
            (rig.wait(visitor(1), 0), rig.wait(visitor(2), 10)),
            (None, None)
        );
        assert_eq!(rig.wait(visitor(3), 20), Some((Denied::Crowded, 3)));
        assert_eq!(rig.expired(999), [] as [u32; 0]);
        assert_eq!(rig.expired(1000), [1]);
        let gone = Visitor {
            is_gone: true,
            ..visitor(4)
        };
        assert_eq!(rig.wait(gone, 1001), None);
        assert_eq!(rig.expired(1002), [4]);
        let left = rig.lobby.close();
        assert_eq!(left.iter().map(|one| one.number).collect::<Vec<_>>(), [2]);
        drop(left);
        assert_eq!(rig.wait(visitor(5), 1003), Some((Denied::Closed, 5)));
        assert_eq!(rig.upstream.waiting(), 0);
        rig.pool.shut_down();
    }

    #[test]
    fn a_successor_with_places_ends_the_wait() {
        let rig = Rig::new(10);
        let _lease = rig.lease();
        for number in 1..=4 {
            assert_eq!(rig.wait(visitor(number), 0), None);
        }
        rig.lobby.look(rig.now);
        assert!(rig.called.is_empty());
        let mut settings = rig.upstream.settings.clone();
        settings.backends[0].max_connections = 3;
        let successor = Arc::new(rig.upstream.successor(&settings, rig.now));
        rig.lobby.renew(|_| Some(Arc::clone(&successor)));
        let called = [rig.next(), rig.next()];
        assert_eq!(called.map(|one| one.number), [1, 2]);
        rig.pool.shut_down();
    }
    #[test]
    fn who_comes_late_with_what_was_before_holds_nobody_up() {
        let rig = Rig::new(10);
        let _lease = rig.lease();
        let mut settings = rig.upstream.settings.clone();
        settings.backends[0].max_connections = 3;
        let successor = Arc::new(rig.upstream.successor(&settings, rig.now));
        rig.lobby.renew(|_| None);
        // Decided before the change, comes here after it.
        let renewed = |_: &mut Visitor| Some(Arc::clone(&successor));
        let late = (rig.lobby).wait(visitor(1), None, &rig.upstream, rig.now, renewed);
        assert!(late.is_ok());
        let next = (rig.lobby).wait(visitor(2), None, &successor, rig.now, |_| None);
        assert!(next.is_ok());
        assert_eq!([rig.next(), rig.next()].map(|one| one.number), [1, 2]);
        assert_eq!(rig.upstream.waiting(), 0);
        rig.pool.shut_down();
    }
}
