//! Moves the bytes of one tunnel, a bounded amount per turn, without ever blocking.
//!
//! It knows no poller and no clock. Readiness is told only once per change, so it remembers what each connection can do until
//! the connection says otherwise. A direction holds bytes only while its receiver has no room, and reads nothing meanwhile.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

use crate::socket::Conduit;

use super::Reason;

/// Bytes of one read and of one write, and so the most that a direction holds: enough to make system calls cheap, and
/// little enough for a thousand receivers who do not read.
pub(super) const CHUNK: usize = 32 * 1024;
/// Reads per direction in one turn. With [`CHUNK`] it bounds how long the other tunnels wait.
const ROUNDS: usize = 8;

/// One end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing moved, and nothing will until a connection is ready.
    Still,
    /// Something moved; the rest waits until a connection is ready.
    Moved,
    /// There is more to do at once.
    Unfinished,
    /// The tunnel is over.
    Over(Reason),
}

/// Both ends of a tunnel and what lies between them.
pub(super) struct Pump {
    client: Party,
    backend: Party,
    inward: Flow,
    outward: Flow,
    broken: Option<Side>,
}

/// A connection, and what is known of it.
struct Party {
    side: Side,
    conduit: Box<dyn Conduit>,
    is_readable: bool,
    is_writable: bool,
    /// The conduit may keep bytes that are not on the wire yet.
    is_unflushed: bool,
    sending: Sending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// The end was told to the conduit, which may keep it still.
    Ending,
    Ended,
}

/// One direction.
#[derive(Default)]
struct Flow {
    kept: Vec<u8>,
    /// How much of `kept` is sent.
    sent: usize,
    has_ended: bool,
    passed: u64,
}

impl Pump {
    pub(super) fn new(
        client: Box<dyn Conduit>,
        backend: Box<dyn Conduit>,
        to_client: Vec<u8>,
        to_backend: Vec<u8>,
    ) -> Pump {
        Pump {
            client: Party::new(Side::Client, client),
            backend: Party::new(Side::Backend, backend),
            inward: Flow::new(to_backend),
            outward: Flow::new(to_client),
            broken: None,
        }
    }

    /// Bytes that have been delivered: client to backend, and backend to client.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.inward.passed, self.outward.passed)
    }

    pub(super) fn fd(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Client => self.client.conduit.as_fd(),
            Side::Backend => self.backend.conduit.as_fd(),
        }
    }

    /// Notes that a connection can be read or written again.
    pub(super) fn note_ready(&mut self, side: Side, is_readable: bool, is_writable: bool) {
        let party = match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        };
        party.is_readable |= is_readable;
        party.is_writable |= is_writable;
    }

    /// Notes that a connection is broken; the next turn is the last.
    pub(super) fn note_broken(&mut self, side: Side) {
        self.broken.get_or_insert(side);
    }

    /// Moves what can be moved now, but no more than is fair. `scratch` must not be empty.
    pub(super) fn turn(&mut self, scratch: &mut [u8]) -> Turn {
        let mut has_moved = false;
        for _ in 0..ROUNDS {
            match self.round(scratch) {
                Ok(true) => has_moved = true,
                Ok(false) if has_moved => return Turn::Moved,
                Ok(false) => return Turn::Still,
                Err(side) => {
                    self.hear_out(side, scratch);
                    return Turn::Over(side.gone());
                }
            }
            if self.client.sending == Sending::Ended && self.backend.sending == Sending::Ended {
                return Turn::Over(Reason::Closed);
            }
        }
        Turn::Unfinished
    }

    /// One step each way. True when anything has changed; the error is the side whose connection broke.
    fn round(&mut self, scratch: &mut [u8]) -> Result<bool, Side> {
        if let Some(side) = self.broken {
            return Err(side);
        }
        let (client, backend) = (&mut self.client, &mut self.backend);
        let inward = self.inward.step(client, backend, scratch)?;
        let outward = self.outward.step(backend, client, scratch)?;
        Ok(inward || outward)
    }

    /// Passes on what a broken connection had delivered before it broke, as far as that goes without waiting: whoever closes
    /// right behind a last message, with bytes unread, resets the connection.
    fn hear_out(&mut self, side: Side, scratch: &mut [u8]) {
        let (flow, from, to) = match side {
            Side::Client => (&mut self.inward, &mut self.client, &mut self.backend),
            Side::Backend => (&mut self.outward, &mut self.backend, &mut self.client),
        };
        from.is_readable = true;
        for _ in 0..ROUNDS {
            // An end behind a broken connection is not one that may be passed on as if all had been said.
            if flow.has_ended || flow.step(from, to, scratch) != Ok(true) {
                return;
            }
        }
    }
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Client, Side::Backend];

    pub(super) fn gone(self) -> Reason {
        match self {
            Side::Client => Reason::ClientGone,
            Side::Backend => Reason::BackendGone,
        }
    }
}

impl Flow {
    fn new(kept: Vec<u8>) -> Flow {
        Flow {
            kept,
            ..Flow::default()
        }
    }

    /// Does the next thing there is to do in this direction, once. True when anything has changed.
    fn step(&mut self, from: &mut Party, to: &mut Party, scratch: &mut [u8]) -> Result<bool, Side> {
        // While the conduit keeps bytes of its own it is given no more: what lies in there stays bounded too.
        if to.sending == Sending::Ended || !to.flush()? {
            return Ok(false);
        }
        if !self.kept.is_empty() {
            return self.send_kept(to);
        }
        if to.sending == Sending::Ending {
            to.sending = Sending::Ended;
            return Ok(true);
        }
        if self.has_ended {
            return to.end_sending();
        }
        let received = from.receive(scratch)?;
        match received {
            None => (),
            Some([]) => self.has_ended = true,
            Some(bytes) => {
                let taken = to.send(bytes)?;
                self.passed += taken as u64;
                self.kept = bytes.get(taken..).unwrap_or_default().to_vec();
                to.flush()?;
            }
        }
        let has_changed = received.is_some();
        from.flush()?;
        Ok(has_changed)
    }

    fn send_kept(&mut self, to: &mut Party) -> Result<bool, Side> {
        let rest = self.kept.get(self.sent..).unwrap_or_default();
        let taken = to.send(rest.get(..CHUNK).unwrap_or(rest))?;
        self.passed += taken as u64;
        self.sent += taken;
        if self.sent >= self.kept.len() {
            // An idle tunnel holds no memory.
            self.kept = Vec::new();
            self.sent = 0;
        }
        to.flush()?;
        Ok(taken > 0)
    }
}

impl Party {
    fn new(side: Side, conduit: Box<dyn Conduit>) -> Party {
        Party {
            side,
            conduit,
            // Only a try can tell; the poller tells of changes.
            is_readable: true,
            is_writable: true,
            is_unflushed: true,
            sending: Sending::Open,
        }
    }

    /// What has come; empty: nothing more will. `None`: nothing is there.
    fn receive<'a>(&mut self, scratch: &'a mut [u8]) -> Result<Option<&'a [u8]>, Side> {
        if !self.is_readable {
            return Ok(None);
        }
        // A conduit with a protocol of its own may have to answer what it has read.
        self.is_unflushed |= self.sending != Sending::Ended;
        match uninterrupted(|| self.conduit.receive(scratch)) {
            Ok(count) => scratch.get(..count).map(Some).ok_or(self.side),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(None)
            }
            Err(_) => Err(self.side),
        }
    }

    /// How many of `bytes`, which must not be empty, were taken.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Side> {
        if !self.is_writable {
            return Ok(0);
        }
        match uninterrupted(|| self.conduit.send(bytes)) {
            Ok(taken) if (1..=bytes.len()).contains(&taken) => {
                self.is_unflushed = true;
                Ok(taken)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_writable = false;
                Ok(0)
            }
            _ => Err(self.side),
        }
    }

    /// Whether the conduit keeps nothing, as far as it was asked to.
    fn flush(&mut self) -> Result<bool, Side> {
        if !self.is_unflushed {
            return Ok(true);
        }
        if !self.is_writable {
            return Ok(false);
        }
        match uninterrupted(|| self.conduit.flush()) {
            Ok(()) => {
                self.is_unflushed = false;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_writable = false;
                Ok(false)
            }
            Err(_) => Err(self.side),
        }
    }

    /// Tells the conduit that nothing more comes. False when it has to be told again once there is room.
    fn end_sending(&mut self) -> Result<bool, Side> {
        match uninterrupted(|| self.conduit.end_sending()) {
            Ok(()) => {
                self.sending = Sending::Ending;
                self.is_unflushed = true;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_writable = false;
                self.is_unflushed = true;
                Ok(false)
            }
            Err(_) => Err(self.side),
        }
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// What a conduit is to do, and what it was asked.
    #[derive(Default)]
    struct Play {
        /// When there are none left, nothing is there.
        reads: VecDeque<io::Result<Vec<u8>>>,
        /// Errors for what is sent, flushed or ended next.
        faults: VecDeque<ErrorKind>,
        room: usize,
        sent: Vec<u8>,
        read_calls: usize,
        ends: usize,
    }

    struct Actor(UnixStream, Arc<Mutex<Play>>);

    impl Play {
        fn fault(&mut self) -> io::Result<()> {
            self.faults
                .pop_front()
                .map_or(Ok(()), |kind| Err(kind.into()))
        }
    }

    impl Conduit for Actor {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut play = self.1.lock();
            play.read_calls += 1;
            let bytes = match play.reads.pop_front() {
                Some(read) => read?,
                None => return Err(ErrorKind::WouldBlock.into()),
            };
            let count = buffer.len().min(bytes.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(bytes.len())
        }

        fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut play = self.1.lock();
            play.fault()?;
            let taken = bytes.len().min(play.room);
            play.room -= taken;
            play.sent.extend_from_slice(&bytes[..taken]);
            match taken {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn end_sending(&mut self) -> io::Result<()> {
            let mut play = self.1.lock();
            play.ends += 1;
            play.fault()
        }

        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    /// A pump between two actors: the pump, client, backend.
    fn stage() -> (Pump, Arc<Mutex<Play>>, Arc<Mutex<Play>>) {
        let plays: [Arc<Mutex<Play>>; 2] = Default::default();
        for play in &plays {
            play.lock().room = usize::MAX;
        }
        let (one, other) = UnixStream::pair().unwrap();
        let [client, backend] = plays;
        let pump = Pump::new(
            Box::new(Actor(one, Arc::clone(&client))),
            Box::new(Actor(other, Arc::clone(&backend))),
            Vec::new(),
            Vec::new(),
        );
        (pump, client, backend)
    }

    fn turn(pump: &mut Pump) -> Turn {
        pump.turn(&mut [0; CHUNK])
    }

    /// How many bytes were sent to a conduit, and how often it was told the end.
    fn told(play: &Mutex<Play>) -> (usize, usize) {
        let play = play.lock();
        (play.sent.len(), play.ends)
    }

    #[test]
    fn a_turn_is_bounded() {
        let (mut pump, client, backend) = stage();
        for play in [client, backend] {
            let endless = (0..100).map(|_| Ok(vec![1; CHUNK]));
            play.lock().reads.extend(endless);
        }
        assert_eq!(turn(&mut pump), Turn::Unfinished);
        let bound = (CHUNK * ROUNDS) as u64;
        assert_eq!(pump.passed(), (bound, bound));
    }

    #[test]
    fn reading_waits_for_room_and_goes_on_without_being_told_twice() {
        let (mut pump, client, backend) = stage();
        let pieces = (0..3).map(|number| Ok(vec![number; CHUNK]));
        client.lock().reads.extend(pieces);
        backend.lock().room = 10;
        assert_eq!(turn(&mut pump), Turn::Moved);
        assert_eq!(client.lock().read_calls, 1);
        assert_eq!(pump.passed(), (10, 0));
        pump.note_ready(Side::Client, true, false);
        assert_eq!(turn(&mut pump), Turn::Still);
        assert_eq!(client.lock().read_calls, 1);

        backend.lock().room = usize::MAX;
        pump.note_ready(Side::Backend, false, true);
        assert_eq!(turn(&mut pump), Turn::Moved);
        let expected = [[0; CHUNK], [1; CHUNK], [2; CHUNK]].concat();
        assert!(backend.lock().sent == expected);
        assert_eq!(pump.inward.kept.capacity(), 0, "idle, it holds no memory");
    }

    #[test]
    fn an_end_follows_the_last_byte_and_is_told_until_it_is_taken() {
        let (mut pump, client, backend) = stage();
        client.lock().reads.extend([Ok(vec![5; 100]), Ok(vec![])]);
        backend.lock().room = 60;
        assert_eq!(turn(&mut pump), Turn::Moved);
        assert_eq!(told(&backend), (60, 0));
        backend.lock().room = 40;
        pump.note_ready(Side::Backend, false, true);
        backend.lock().faults.push_back(ErrorKind::Interrupted);
        turn(&mut pump);
        assert_eq!(told(&backend), (100, 1));

        backend.lock().reads.push_back(Ok(vec![]));
        client.lock().faults.push_back(ErrorKind::WouldBlock);
        pump.note_ready(Side::Backend, true, false);
        assert_eq!(turn(&mut pump), Turn::Moved);
        pump.note_ready(Side::Client, false, true);
        assert_eq!(turn(&mut pump), Turn::Over(Reason::Closed));
        assert_eq!((told(&client), told(&backend)), ((0, 2), (100, 1)));
    }

    #[test]
    fn an_error_names_the_side_it_came_from() {
        for (kind, reason) in [
            (ErrorKind::ConnectionReset, Reason::ClientGone),
            (ErrorKind::TimedOut, Reason::ClientGone),
        ] {
            let (mut pump, client, _) = stage();
            client.lock().reads.push_back(Err(kind.into()));
            assert_eq!(turn(&mut pump), Turn::Over(reason));
        }
        let (mut pump, client, backend) = stage();
        client.lock().reads.push_back(Ok(vec![1]));
        backend.lock().faults.push_back(ErrorKind::BrokenPipe);
        assert_eq!(turn(&mut pump), Turn::Over(Reason::BackendGone));
        assert_eq!(pump.passed(), (0, 0));
    }

    #[test]
    fn a_broken_side_is_heard_out_but_its_end_is_not_passed_on() {
        let (mut pump, client, backend) = stage();
        backend.lock().reads.extend([Ok(vec![1; 10]), Ok(vec![])]);
        pump.note_broken(Side::Backend);
        assert_eq!(turn(&mut pump), Turn::Over(Reason::BackendGone));
        assert_eq!(told(&client), (10, 0));
        assert_eq!(backend.lock().read_calls, 2);
    }

    #[test]
    fn a_conduit_that_claims_more_than_it_was_given_is_broken() {
        let (mut pump, client, _) = stage();
        client.lock().reads.push_back(Ok(vec![1; CHUNK + 1]));
        assert_eq!(turn(&mut pump), Turn::Over(Reason::ClientGone));
    }
}
