//! The open tunnels: who has a turn, who has been idle for too long, and how a tunnel ends.
//!
//! It waits for nothing, and the time is told to it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::pump::{CHUNK, Pump, Side, Turn};
use super::{End, Newcomer, Place, Reason, guarded};

/// The clock for idle tunnels is coarse, so that many of them cost one look and not one look each: a sweep comes at the
/// earliest this part of the limit after the last.
const SWEEPS: u32 = 16;
const SHORTEST_IDLE: Duration = Duration::from_millis(1);

/// All open tunnels.
pub(super) struct Table {
    registry: Registry,
    open: HashMap<usize, Entry>,
    /// Those who have a turn coming, each once.
    ready: VecDeque<usize>,
    /// Numbers are never used twice, so that nothing late can be taken for something else.
    next: usize,
    idle: Duration,
    sweep_at: Option<Instant>,
    scratch: Vec<u8>,
}

struct Entry {
    pump: Pump,
    on_end: Box<dyn FnOnce(End) + Send>,
    place: Place,
    /// When a byte came or went last.
    active: Instant,
    is_ready: bool,
}

impl Table {
    pub(super) fn new(registry: Registry, idle: Duration) -> Table {
        Table {
            registry,
            open: HashMap::new(),
            ready: VecDeque::new(),
            next: 0,
            idle: idle.max(SHORTEST_IDLE),
            sweep_at: None,
            scratch: vec![0; CHUNK],
        }
    }

    /// Takes in a tunnel and gives it a first turn.
    pub(super) fn adopt(&mut self, newcomer: Newcomer, now: Instant) {
        let Newcomer { place, tunnel } = newcomer;
        let entry = Entry {
            pump: Pump::new(
                tunnel.client,
                tunnel.backend,
                tunnel.to_client,
                tunnel.to_backend,
            ),
            on_end: tunnel.on_end,
            place,
            active: now,
            is_ready: false,
        };
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let watched = guarded(|| watch(&self.registry, id, &entry.pump));
        self.open.insert(id, entry);
        match watched {
            Some(Ok(())) => self.call(id),
            Some(Err((side, error))) => {
                log::warn!("a tunnel cannot be watched: {error}");
                self.end(id, side.gone());
            }
            None => self.end(id, Reason::Stopped),
        }
        if self.sweep_at.is_none() && !self.open.is_empty() {
            self.sweep_at = now.checked_add(self.idle);
        }
    }

    /// Notes what the poller says of a connection.
    pub(super) fn note(&mut self, event: &Event) {
        let (id, side) = from_token(event.token());
        let Some(entry) = self.open.get_mut(&id) else {
            return;
        };
        if event.is_error() {
            entry.pump.note_broken(side);
        }
        entry.pump.note_ready(
            side,
            event.is_readable() || event.is_read_closed(),
            event.is_writable() || event.is_write_closed(),
        );
        self.call(id);
    }

    /// Gives one turn to everyone who is ready now.
    pub(super) fn give_turns(&mut self, now: Instant) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            let Some(entry) = self.open.get_mut(&id) else {
                continue;
            };
            entry.is_ready = false;
            let turn = guarded(|| entry.pump.turn(&mut self.scratch));
            if matches!(turn, Some(Turn::Moved | Turn::Unfinished)) {
                entry.active = now;
            }
            match turn {
                Some(Turn::Still | Turn::Moved) => (),
                Some(Turn::Unfinished) => self.call(id),
                Some(Turn::Over(reason)) => self.end(id, reason),
                None => self.end(id, Reason::Stopped),
            }
        }
    }

    /// Ends the tunnels that have been idle for too long, if it is time to look.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| now < at) {
            return;
        }
        let is_overdue = |entry: &Entry| now.saturating_duration_since(entry.active) >= self.idle;
        let overdue: Vec<usize> = self
            .open
            .iter()
            .filter(|(_, entry)| is_overdue(entry))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.end(id, Reason::Idle);
        }
        let oldest = self.open.values().map(|entry| entry.active).min();
        let soonest = now.checked_add((self.idle / SWEEPS).max(SHORTEST_IDLE));
        self.sweep_at = oldest
            .and_then(|active| active.checked_add(self.idle))
            .max(soonest)
            .filter(|_| oldest.is_some());
    }

    /// How long nothing is to be done unless somebody calls; `None`: for ever.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        self.sweep_at.map(|at| at.saturating_duration_since(now))
    }

    pub(super) fn end_all(&mut self) {
        let ids: Vec<usize> = self.open.keys().copied().collect();
        for id in ids {
            self.end(id, Reason::Stopped);
        }
    }

    fn call(&mut self, id: usize) {
        if let Some(entry) = self.open.get_mut(&id)
            && !entry.is_ready
        {
            entry.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Closes both connections and frees the place before anybody is told.
    fn end(&mut self, id: usize, reason: Reason) {
        let Some(entry) = self.open.remove(&id) else {
            return;
        };
        if self.open.is_empty() {
            self.sweep_at = None;
        }
        let (bytes_in, bytes_out) = entry.pump.passed();
        guarded(|| {
            // The poller forgets a connection by itself only if nobody else holds the same one open.
            for side in Side::BOTH {
                let fd = entry.pump.fd(side).as_raw_fd();
                // It may not have been watched at all.
                let _ = self.registry.deregister(&mut SourceFd(&fd));
            }
            drop(entry.pump);
        });
        drop(entry.place);
        let end = End {
            bytes_in,
            bytes_out,
            reason,
        };
        guarded(|| (entry.on_end)(end));
    }
}

/// Asks the poller to tell of every change of both connections.
fn watch(registry: &Registry, id: usize, pump: &Pump) -> Result<(), (Side, io::Error)> {
    for side in Side::BOTH {
        let fd = pump.fd(side).as_raw_fd();
        registry
            .register(
                &mut SourceFd(&fd),
                token(id, side),
                Interest::READABLE | Interest::WRITABLE,
            )
            .map_err(|error| (side, error))?;
    }
    Ok(())
}

fn token(id: usize, side: Side) -> Token {
    Token(id << 1 | usize::from(side == Side::Backend))
}

fn from_token(token: Token) -> (usize, Side) {
    let side = if token.0 & 1 == 0 {
        Side::Client
    } else {
        Side::Backend
    };
    (token.0 >> 1, side)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use crossbeam_channel::{Receiver, bounded};
    use mio::Poll;

    use super::super::Tunnel;
    use super::*;
    use crate::socket::Socket;

    const IDLE: Duration = Duration::from_secs(160);

    fn table() -> Table {
        let poll = Poll::new().unwrap();
        Table::new(poll.registry().try_clone().unwrap(), IDLE)
    }

    /// A tunnel, the outer end of its client, and the news of its end. Its backend stays silent.
    fn newcomer() -> (Newcomer, [UnixStream; 2], Receiver<End>) {
        let (client, outer_client) = UnixStream::pair().unwrap();
        let (backend, outer_backend) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        backend.set_nonblocking(true).unwrap();
        let (sender, end) = bounded(1);
        let tunnel = Tunnel {
            client: Box::new(Socket::Unix(client)),
            backend: Box::new(Socket::Unix(backend)),
            to_client: Vec::new(),
            to_backend: Vec::new(),
            on_end: Box::new(move |end| sender.send(end).unwrap()),
        };
        let taken = Arc::new(AtomicUsize::new(1));
        let place = Place { taken };
        (
            Newcomer { place, tunnel },
            [outer_client, outer_backend],
            end,
        )
    }

    #[test]
    fn without_tunnels_nothing_is_waited_for() {
        let start = Instant::now();
        let mut table = table();
        assert_eq!(table.patience(start), None);
        let (newcomer, _outer, end) = newcomer();
        table.adopt(newcomer, start);
        assert_eq!(table.patience(start), Some(Duration::ZERO));
        table.give_turns(start);
        assert_eq!(table.patience(start), Some(IDLE));
        table.sweep(start + IDLE);
        assert_eq!(end.try_recv().unwrap().reason, Reason::Idle);
        assert_eq!(table.patience(start + IDLE), None);
    }

    #[test]
    fn a_byte_starts_the_idle_time_again() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut table = table();
        let (quiet, _quiet_outer, quiet_end) = newcomer();
        let (lively, mut outer, end) = newcomer();
        table.adopt(quiet, start);
        table.adopt(lively, start);
        table.give_turns(start);

        outer[0].write_all(b"x").unwrap();
        let entry = table.open.get_mut(&1).unwrap();
        entry.pump.note_ready(Side::Client, true, false);
        table.call(1);
        table.give_turns(start + 3 * second);

        table.sweep(start + IDLE - second);
        assert!(quiet_end.is_empty());
        table.sweep(start + IDLE);
        assert_eq!(quiet_end.try_recv().unwrap().reason, Reason::Idle);
        // Due three seconds later, but looked for at the next sweep, a sixteenth of the limit after the last.
        let next = start + IDLE + 10 * second;
        assert_eq!(table.patience(next), Some(Duration::ZERO));
        table.sweep(next - second);
        assert!(end.is_empty());
        table.sweep(next);
        let expected = End {
            bytes_in: 1,
            bytes_out: 0,
            reason: Reason::Idle,
        };
        assert_eq!(end.try_recv(), Ok(expected));
    }

    #[test]
    fn an_endless_limit_is_no_panic() {
        let now = Instant::now();
        let mut table = table();
        table.idle = Duration::MAX;
        let (newcomer, _outer, end) = newcomer();
        table.adopt(newcomer, now);
        table.give_turns(now);
        assert_eq!(table.patience(now), None);
        table.end_all();
        assert_eq!(end.try_recv().unwrap().reason, Reason::Stopped);
    }

    #[test]
    fn what_cannot_be_watched_ends_at_once() {
        let now = Instant::now();
        let mut table = table();
        let (mut newcomer, _outer, end) = newcomer();
        // A file cannot be watched.
        struct File(std::fs::File);
        impl crate::socket::Conduit for File {
            fn receive(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
            fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
            fn end_sending(&mut self) -> io::Result<()> {
                Ok(())
            }
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.0)
            }
        }
        newcomer.tunnel.backend = Box::new(File(tempfile::tempfile().unwrap()));
        table.adopt(newcomer, now);
        assert_eq!(end.try_recv().unwrap().reason, Reason::BackendGone);
        assert_eq!(table.patience(now), None);
    }

    #[test]
    fn an_idle_tunnel_is_small() {
        assert!(size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
    }
}
